# Workflows that lead to each other, and a date that is past: the scheduler, whose turns are transactions of their own, comes to an end with both.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
$node->safe_psql('postgres', q{
	CREATE EXTENSION lifecycle;
	SET search_path = public, lifecycle;
	CREATE TABLE customers (id bigint PRIMARY KEY, ends_at timestamptz);
	SELECT define_lifecycle('customer', on_table => 'customers', stages => '{here,there,over}');
	SELECT define_transition('customer', 'here', 'over', on_date => 'customer.ends_at', name => 'over');
	SELECT define_workflow('customer', 'forth', state => 'live', entry => on_stage('here'), reentry => 'always', steps => steps(delay('0 seconds'), set_stage('there')));
	SELECT define_workflow('customer', 'back', state => 'live', entry => on_stage('{there,over}'), reentry => 'always', steps => steps(delay('0 seconds'), set_stage('here')));
});
wait_for_scheduler($node, 'postgres');
$node->safe_psql('postgres', "INSERT INTO customers SELECT id, CASE WHEN id % 2 = 0 THEN now() - interval '1 day' END FROM generate_series(1, 20) AS id");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 20 FROM customer.failures'), 'each loop is cut');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM customer._due'), 'nothing of it is left');
is($node->safe_psql('postgres', 'SELECT DISTINCT n FROM (SELECT count(*) AS n FROM customer.enrollments WHERE subject_id % 2 = 1 GROUP BY subject_id) AS runs'), 100, 'a hundred runs each');
is($node->safe_psql('postgres', "SELECT DISTINCT n FROM (SELECT count(*) AS n FROM customer.transitions WHERE rule = 'over' GROUP BY subject_id) AS fired"), 1, 'the date comes once');
is($node->safe_psql('postgres', q{SELECT value FROM lifecycle.status() WHERE what = 'endless loops cut'}), 20, 'status counts them');
$node->safe_psql('postgres', "INSERT INTO customers VALUES (21)");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 21 FROM customer.failures'), 'and the scheduler goes on');
is(worker($node, 'postgres', 'errors'), 0, 'no error');
is($node->safe_psql('postgres', 'SELECT count(*) FROM lifecycle.verify()'), 0, 'verify finds nothing');
done_testing();
