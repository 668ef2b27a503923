# What is due together lies together in the queue, whatever else waits, and leaves whole pages, which are used again; single holes are not.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'lifecycle.batch_size = 2000');
$node->safe_psql('postgres', q{
	CREATE EXTENSION lifecycle;
	SET search_path = public, lifecycle;
	CREATE TABLE customers (id bigint PRIMARY KEY);
	CREATE TABLE events (customer_id bigint NOT NULL, name text NOT NULL, at timestamptz NOT NULL DEFAULT now());
	SELECT define_lifecycle('customer', on_table => 'customers', stages => '{new}');
	SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
	SELECT define_workflow('customer', 'soon', state => 'live', entry => on_event('soon'), steps => steps(delay('1 day')));
	SELECT define_workflow('customer', 'late', state => 'live', entry => on_event('late'), steps => steps(delay('30 days')));
	CREATE FUNCTION rows(workflow text) RETURNS TABLE (page integer) LANGUAGE sql AS $$
		SELECT (d.ctid::text::point)[0]::integer FROM customer._due d JOIN lifecycle.workflow_versions v ON v.id = d.program WHERE v.workflow = rows.workflow $$;
	CREATE FUNCTION pages(workflow text) RETURNS bigint LANGUAGE sql RETURN (SELECT count(DISTINCT page) FROM rows(workflow));
	CREATE FUNCTION shared_pages() RETURNS bigint LANGUAGE sql RETURN
		(SELECT count(*) FROM (SELECT page FROM rows('soon') INTERSECT SELECT page FROM rows('late')) AS shared);
});
wait_for_scheduler($node, 'postgres');

# New customers with an event each, until so many runs wait; the dead rows of the queue are gone then.
sub enroll
{
	my ($first, $last, $event, $waiting) = @_;
	$node->safe_psql('postgres', "INSERT INTO customers SELECT generate_series($first, $last)");
	$node->safe_psql('postgres', "INSERT INTO events (customer_id, name) SELECT id, $event FROM generate_series($first, $last) AS id");
	ok($node->poll_query_until('postgres', "SELECT count(*) = $waiting FROM customer._due WHERE kind = 'w'"), "$waiting wait");
	$node->safe_psql('postgres', 'VACUUM customer._due');
	return;
}

sub ask { return $node->safe_psql('postgres', "SELECT $_[0]"); }

enroll(1, 4000, q{CASE id % 2 WHEN 0 THEN 'soon' ELSE 'late' END}, 4000);
my $full = ask(q{8168 / (pg_column_size(d) + 4) FROM customer._due d LIMIT 1});
my $needed = int(2000 / $full) + 1;
cmp_ok(ask(q{pages('soon')}), '<=', $needed + 3, 'those who are due soon lie together, in each batch');
cmp_ok(ask('shared_pages()'), '<=', 3, 'apart from the others');

# Some of those who wait leave: the holes are too small to scatter others over them.
$node->safe_psql('postgres', 'DELETE FROM customers WHERE id % 20 = 1');
$node->safe_psql('postgres', 'VACUUM customer._due');
enroll(4001, 6000, q{'soon'}, 5800);
cmp_ok(ask('shared_pages()'), '<=', 5, 'new ones do not lie in the holes');

# All who are due soon leave: others take their pages.
my $size = ask(q{pg_relation_size('customer._due')});
$node->safe_psql('postgres', 'DELETE FROM customers WHERE id % 2 = 0 OR id > 4000');
$node->safe_psql('postgres', 'VACUUM customer._due');
enroll(6001, 8000, q{'soon'}, 3800);
cmp_ok(ask(q{pg_relation_size('customer._due')}), '<=', $size, 'but in the room that whole pages leave');
cmp_ok(ask('shared_pages()'), '<=', 5, 'again together');

# Pages may be told to stay nearly empty: then nothing is searched for.
$node->safe_psql('postgres', 'ALTER TABLE customer._due SET (fillfactor = 20)');
enroll(8001, 9000, q{'late'}, 4800);
$node->safe_psql('postgres', 'ALTER TABLE customer._due SET (fillfactor = 60)');
enroll(9001, 10000, q{'late'}, 5800);

# Rows that are larger than the room that is looked for: keys of 2,112 characters.
$node->safe_psql('postgres', q{
	SET search_path = public, lifecycle;
	CREATE TABLE books (title text PRIMARY KEY);
	SELECT define_lifecycle('book', on_table => 'books', stages => '{new}');
	SELECT define_workflow('book', 'soon', state => 'live', entry => on_stage('new'), steps => steps(delay('1 day')));
	INSERT INTO books SELECT (SELECT string_agg(md5(format('%s of %s', j, i)), '') FROM generate_series(1, 66) AS j) FROM generate_series(1, 1000) AS i;
});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1000 FROM book._due WHERE kind = 'w'}), 'large rows wait');

is(ask('count(*) FROM lifecycle.verify()'), 0, 'verify finds nothing');
is(worker($node, 'postgres', 'errors'), 0, 'no error');
done_testing();
