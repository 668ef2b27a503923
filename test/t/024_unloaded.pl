# A server that does not preload the library: there each session loads it in the middle of the first statement that needs it, and does the same as on a
# server that preloads it. What workers and counters do is missing, and lifecycle.run_due() does the rest.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $plain = new_node('plain', "shared_preload_libraries = ''");
my $loaded = new_node('loaded', 'lifecycle.scheduler = off');
my $is_loaded = "SELECT count(*) FROM pg_settings WHERE name = 'lifecycle.batch_size'";

for my $node ($plain, $loaded)
{
	$node->safe_psql(
		'postgres', q{
		CREATE EXTENSION lifecycle;
		CREATE ROLE seller;
		ALTER DATABASE postgres SET search_path = public, lifecycle;
		ALTER DATABASE postgres SET lifecycle.clock = '2026-03-01 09:00+00';
		SET search_path = public, lifecycle;
		SET lifecycle.clock = '2026-03-01 09:00+00';
		CREATE TABLE customers (id bigint PRIMARY KEY, email text, plan text NOT NULL DEFAULT 'free');
		CREATE TABLE events (customer_id bigint NOT NULL, name text NOT NULL, at timestamptz NOT NULL DEFAULT '2026-03-01 09:00+00');
		CREATE TABLE orders (customer_id bigint NOT NULL, status text NOT NULL, at timestamptz NOT NULL DEFAULT '2026-03-01 09:00+00');
		CREATE TABLE visits (customer_id bigint, name text, at timestamptz DEFAULT '2026-03-01 09:00+00') PARTITION BY RANGE (customer_id);
		CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (1000);
		CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (1000) TO (1000000);
		GRANT ALL ON events TO seller;
		SELECT define_lifecycle('customer', on_table => 'customers', stages => '{new,regular,fan,asleep}', simulated => true);
		SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
		SELECT define_event_source('customer', 'visits', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
		SELECT define_event_source('customer', 'orders', subject_column => 'customer_id', event_name => 'paid', time_column => 'at',
			becomes => $$ event.status = 'paid' $$);
		SELECT define_transition('customer', 'new', 'regular', on_event => 'go', source => 'events');
		SELECT define_transition('customer', 'regular', 'new', on_event => 'back', source => 'events');
		SELECT define_transition('customer', 'any', 'fan', on_event => 'paid', source => 'orders');
		SELECT define_transition('customer', 'any', 'asleep', on_event => 'leave', source => 'visits');
		SELECT define_transition('customer', 'new', 'fan', condition => $$ customer.plan = 'team' $$);
		SELECT define_transition('customer', 'regular', 'asleep', after => '90 days');
		SELECT define_transition('customer', 'any', 'fan', on_event => 'divide', source => 'events', name => 'divide',
			condition => $$ 1 / (event.customer_id - event.customer_id) = 0 $$);
		SELECT define_template('customer', 'hello', subject_line => 'Hello {{ customer.email }}', body => 'Hello');
		SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go', source => 'events'),
			steps => steps(send('email', 'hello'), delay('1 day'), send('email', 'hello')));
		CREATE VIEW state AS
			SELECT 1 AS what, s::text AS row FROM customer.subjects s UNION ALL SELECT 2, t::text FROM customer.transitions t
			UNION ALL SELECT 3, e::text FROM customer.enrollments e UNION ALL SELECT 4, a::text FROM customer.activity a
			UNION ALL SELECT 5, m::text FROM customer.messages m UNION ALL SELECT 6, f::text FROM customer.failures f
			UNION ALL SELECT 7, d::text FROM customer._due d;
		INSERT INTO customers SELECT g, 'c' || g FROM generate_series(1, 100) g;
	});
}

sub on_plain
{
	my ($sql) = @_;
	return $plain->safe_psql('postgres', $sql);
}

# Both servers do the same in a new session: what it says, and what is in the tables of the lifecycle afterwards.
sub both
{
	my ($what, $sql, $settings) = @_;
	my @is;
	for my $node ($plain, $loaded)
	{
		my ($rc, $out, $err) = $node->psql('postgres', $sql, on_error_stop => 0, connstr => $node->connstr('postgres') . ($settings // ''));
		my $state = $node->safe_psql('postgres', "SELECT * FROM state ORDER BY what, row; SELECT * FROM lifecycle.verify('customer')");
		push @is, join("\n", $rc, $out, $err =~ s/^psql:<stdin>:\d+: //mgr, $state);
	}
	is($is[0], $is[1], "$what: as with the library preloaded");
	return;
}

# Inserts of one row each: pairs of a customer and the name of the event.
sub events
{
	my $sql = '';
	while (my ($customer, $name) = splice @_, 0, 2)
	{
		$sql .= "INSERT INTO events (customer_id, name) VALUES ($customer, '$name');\n";
	}
	return $sql;
}

sub transaction { return "BEGIN;\n" . join('', @_) . ";\nCOMMIT;\n"; }

# what is said of the workers
is(on_plain($is_loaded), 0, 'a new session has not loaded the library');
is(on_plain('SELECT state, launcher_pid, scheduler_pid, batches, uncounted FROM lifecycle._worker_info()'), 'not preloaded||||', 'no launcher, no scheduler');
is( on_plain("SELECT value, detail FROM lifecycle.status() WHERE what = 'scheduler'"),
	"not preloaded|nothing runs by itself: set shared_preload_libraries = 'lifecycle' and restart the server, or call lifecycle.run_due() every minute",
	'status() says so, and what to do');

# Which statement loads it. Until then the server itself asks the WHEN of the triggers.
is(on_plain("BEGIN; $is_loaded; " . events(1, 'nothing') . "$is_loaded; ROLLBACK"), "0\n1", 'a row that nobody listens to loads it');
is(on_plain("BEGIN; $is_loaded; UPDATE customers SET email = email WHERE id = 1; $is_loaded; ROLLBACK"), "0\n1", 'a subject does');
both('one row', events(1, 'go') . events(2, 'go'));
both('no row', "INSERT INTO events SELECT 1, 'back' WHERE false;" . events(2, 'back'));
both('rows that nobody listens to', events(1, 'nothing', 2, 'nothing'));
both('unlistened, then listened', transaction(events(3, 'nothing', 4, 'nothing', 3, 'go', 3, 'nothing', 3, 'back')));
both('listened, then unlistened', transaction(events(4, 'go', 4, 'nothing', 5, 'nothing', 5, 'go', 4, 'back')));
both('many rows', transaction(
		"INSERT INTO events SELECT g, (ARRAY['nothing', 'go', 'back'])[g % 3 + 1] FROM generate_series($_) g;",
		events(12, 'nothing', 13, 'back')))
  for ('6, 6', '6, 14', '15, 20');
both('COPY', transaction("COPY events (customer_id, name) FROM STDIN;\n21\tnothing\n21\tgo\n22\tgo\n21\tback\n\\.\n", events(21, 'go', 22, 'nothing')));
both('COPY later', transaction(events(23, 'nothing'), "COPY events (customer_id, name) FROM STDIN;\n23\tgo\n24\tgo\n23\tback\n\\.\n"));
both('subjects', transaction(
		"UPDATE customers SET plan = 'team' WHERE id IN (25, 26);", events(27, 'go'), "UPDATE customers SET plan = 'team' WHERE id = 27;",
		"INSERT INTO customers VALUES (1001, 'x', 'team'), (1002, 'y', 'free'); DELETE FROM customers WHERE id = 28;", events(1001, 'go', 1002, 'go')));
both('subjects that are gone', 'BEGIN; TRUNCATE customers;' . events(29, 'go') . 'ROLLBACK; DELETE FROM customers WHERE id = 30');
both('loaded in a savepoint that is rolled back', transaction(
		'SAVEPOINT s;', events(31, 'go'), 'ROLLBACK TO s;', events(32, 'nothing', 32, 'go', 31, 'nothing'),
		'SAVEPOINT s;', events(33, 'go'), 'ROLLBACK TO s;', events(32, 'back')));
both('loaded in a transaction that is rolled back', 'BEGIN;' . events(34, 'go') . 'ROLLBACK;' . events(35, 'nothing', 35, 'go'));
both('loaded in a statement that fails', "INSERT INTO events VALUES (36, 'go'), (36, NULL);" . events(37, 'go')
	  . "INSERT INTO events VALUES (38, 'go'), (38, NULL)");
both('prepared', 'PREPARE p AS INSERT INTO events VALUES ($1, $2);' . join('', map { "EXECUTE p($_, 'nothing'); EXECUTE p($_, 'go');" } 39 .. 46));
both('a trigger of the user that writes the source', transaction(q{
		CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.customer_id < 60 THEN INSERT INTO events VALUES (NEW.customer_id + 10, 'go'), (NEW.customer_id, 'nothing'); END IF;
			RETURN NEW;
		END$$;
		CREATE TRIGGER echo BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.name <> 'nothing') EXECUTE FUNCTION echo()}));
both('such a trigger', $_)
  for ("INSERT INTO events VALUES (50, 'go'), (50, 'nothing'), (51, 'go')", "INSERT INTO events VALUES (52, 'nothing'), (52, 'other')",
	transaction(events(53, 'nothing', 54, 'other', 55, 'go', 53, 'go')));
both('no such trigger', 'DROP TRIGGER echo ON events');
both('several tables in one statement', qq{
	WITH c AS (INSERT INTO customers VALUES (1003, 'z')), e AS (INSERT INTO events VALUES (71, 'go'), (71, 'nothing'))
	INSERT INTO orders VALUES (72, 'paid'), (73, 'new')});
both('partitions', transaction(
		"INSERT INTO visits VALUES (74, 'nothing'); INSERT INTO visits VALUES (74, 'leave'), (1002, 'leave'), (75, 'nothing');",
		"INSERT INTO visits_1 VALUES (75, 'leave');"));
both('COPY into partitions', "COPY visits FROM STDIN;\n76\tnothing\t2026-03-01\n76\tleave\t2026-03-01\n1001\tleave\t2026-03-01\n\\.\n");
both('rows that become events', "UPDATE orders SET status = 'paid'; INSERT INTO orders VALUES (77, 'new'), (78, 'paid'); UPDATE orders SET status = 'paid'");
both('a rule that comes in the transaction', transaction(events(79, 'late', 79, 'nothing'),
		"SELECT define_transition('customer', 'new', 'asleep', on_event => 'late', source => 'events', name => 'late');", events(80, 'late')));
both('settings made before', transaction('SET LOCAL lifecycle.enroll = off;', events(81, 'go')) . events(82, 'go'));
both('capture off', 'SET lifecycle.capture = off;' . events(83, 'go'));
both('LOAD', "LOAD 'lifecycle';" . transaction(events(84, 'nothing', 84, 'go', 85, 'nothing', 84, 'back')));
both('session_preload_libraries', $is_loaded . ';' . transaction(events(86, 'go', 86, 'nothing', 87, 'nothing', 86, 'back')),
	" options='-c session_preload_libraries=lifecycle'");
both('events without a subject', events(999, 'go') . "INSERT INTO events VALUES (998, 'nothing'), (999, 'go')");

# Settings that were made before the library knew whose they are.
my ($rc, $out, $err) = $plain->psql('postgres', 'SET ROLE seller; SET lifecycle.capture = off;' . events(88, 'go') . 'SHOW lifecycle.capture');
is("$rc|$out", '0|on', 'a setting of superusers that another user has made before is not kept');
like($err, qr/WARNING:  permission denied to set parameter "lifecycle.capture"/, 'which the session is warned of');
$loaded->safe_psql('postgres', 'SET ROLE seller;' . events(88, 'go'));

# A rule that fails is skipped after so many errors, which the session counts by itself.
both('a rule that fails', "SET lifecycle.enroll = on; INSERT INTO events SELECT 89, 'divide' FROM generate_series(1, 30);" . events(89, 'divide', 90, 'divide'));
is(on_plain("SELECT count(*) FROM customer.failures WHERE name = 'divide'") > 0, 1, 'it has failed');

# What is due is run by hand, and the counters that there are not are nowhere missed.
both('nothing is due', "SELECT lifecycle.run_due(); SELECT lifecycle.run_due()");
both('a day', "SELECT lifecycle.run_due(); SET lifecycle.clock = '2026-03-02 09:00+00'; SELECT lifecycle.run_due('customer', 5); SELECT lifecycle.run_due()");
both('90 days', "SET lifecycle.clock = '2026-03-02 09:00+00'; SELECT lifecycle.advance_clock('90 days')");
both('by hand', "SELECT lifecycle.move('customer', 91, 'fan'), lifecycle.enroll('customer', 'greeting', 91), lifecycle.run_due()");
both('messages', "SELECT count(*), sum((finish_message('customer', id, token) = 'sent')::int) FROM claim_messages('customer')");
is(on_plain("SELECT string_agg(n, ' ' ORDER BY n) FROM (SELECT coalesce(event_name, cause) || ' ' || count(*) AS n FROM customer.transitions
	GROUP BY coalesce(event_name, cause)) AS t"),
	'back 8 delete 2 entry 103 go 42 late 1 leave 5 manual 1 paid 4 rule 3 timer 33', 'they have moved');
is(on_plain("SELECT status, count(*) FROM customer.messages GROUP BY status"), 'sent|83', 'the workflow has run');
is(on_plain('SELECT count(*) FROM lifecycle._counters()') . on_plain('SELECT sum(calls) FROM lifecycle.rule_stats'), '00', 'nothing is counted');
is($loaded->safe_psql('postgres', "SELECT n FROM lifecycle._counters() WHERE what = 'events without subject'"), 3, 'which is, where the library is preloaded');
both('counters', 'SELECT lifecycle.reset_stats()');
both('dropped rule', "SELECT drop_transition('customer', 'late')");
both('paused', 'SELECT lifecycle.pause(); SELECT lifecycle.run_due(); SELECT lifecycle.resume()');
for my $node ($plain, $loaded)
{
	$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres; ALTER DATABASE copy RENAME TO other; DROP DATABASE other');
	$node->safe_psql('postgres', "DROP VIEW state; SELECT lifecycle.drop_lifecycle('customer'); DROP EXTENSION lifecycle");
	$node->safe_psql('postgres', events(92, 'go'));
	$node->stop;
	unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
}
done_testing();
