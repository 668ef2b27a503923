# Event sources that logical replication feeds: statement triggers do not fire for its workers, so of such a table each row is folded by itself.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_node('publisher', 'wal_level = logical', 'lifecycle.scheduler = off');
my $subscriber = new_node('subscriber');
my $tables = q{
	CREATE TABLE events (id bigint PRIMARY KEY, customer_id bigint NOT NULL, name text NOT NULL, occurred_at timestamptz NOT NULL, amount text);
	CREATE TABLE tickets (id bigint PRIMARY KEY, customer_id bigint NOT NULL, status text NOT NULL, changed_at timestamptz NOT NULL);
	CREATE TABLE plain (id bigint PRIMARY KEY, customer_id bigint NOT NULL, at timestamptz NOT NULL);
};
$publisher->safe_psql('postgres', $tables . q{ CREATE PUBLICATION pub FOR TABLE events, tickets, plain });
$subscriber->safe_psql(
	'postgres', $tables . q{
	CREATE EXTENSION lifecycle;
	SET search_path = public, lifecycle;
	CREATE TABLE customers (id bigint PRIMARY KEY, email text);
	SELECT define_lifecycle('customer', on_table => 'customers', stages => '{new,regular,big,served,plain}');
	SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at', replicated => true);
	SELECT define_event_source('customer', 'tickets', subject_column => 'customer_id', event_name => 'solved', time_column => 'changed_at',
		becomes => $$ event.status = 'solved' $$, replicated => true);
	SELECT define_event_source('customer', 'plain', subject_column => 'customer_id', event_name => 'plain', time_column => 'at');
	SELECT define_transition('customer', 'new', 'regular', on_event => 'go');
	SELECT define_transition('customer', 'regular', 'big', on_event => 'buy', condition => 'event.amount::numeric >= 10', name => 'buy');
	SELECT define_transition('customer', 'big', 'served', on_event => 'solved');
	SELECT define_transition('customer', 'any', 'plain', on_event => 'plain', name => 'plain');
	SELECT define_template('customer', 'hello', subject_line => 'Hello {{ customer.email }}', body => 'Hello');
	SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'), steps => send('email', 'hello'));
	INSERT INTO customers SELECT g, 'c' || g || '@example.com' FROM generate_series(1, 100) g;
});
my $connection = $publisher->connstr . ' dbname=postgres';

# What was there before is copied by a worker of its own.
$publisher->safe_psql('postgres', "INSERT INTO events SELECT g, g, 'go', now() FROM generate_series(1, 50) g");
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION sub CONNECTION '$connection' PUBLICATION pub");
$subscriber->wait_for_subscription_sync($publisher, 'sub');

sub paths
{
	my ($first, $last) = @_;
	return $subscriber->safe_psql(
		'postgres', qq{
		SELECT path || ' ' || count(*) FROM (SELECT string_agg(to_stage::text, ' > ' ORDER BY seq) AS path FROM customer.transitions
			WHERE subject_id BETWEEN $first AND $last GROUP BY subject_id) AS t GROUP BY path ORDER BY path});
}

sub publish
{
	my ($sql) = @_;
	$publisher->safe_psql('postgres', $sql);
	$publisher->wait_for_catchup('sub');
	return;
}
is(paths(1, 50), 'new > regular 50', 'the first copy is captured');

publish("INSERT INTO events SELECT 100 + g, g, 'go', now() FROM generate_series(51, 100) g");
is(paths(51, 100), 'new > regular 50', 'rows that are streamed are captured');
ok( $subscriber->poll_query_until('postgres', "SELECT count(*) = 100 FROM customer.messages WHERE status = 'queued'"),
	'and the workflows that follow from them run');

# one transaction of several statements; an event that nobody listens to; one of nobody; a condition that fails
publish(
	q{
	BEGIN;
	INSERT INTO events VALUES (1001, 1, 'buy', now(), '9'), (1002, 1, 'buy', now(), '10'), (1003, 2, 'look', now(), '10'), (1004, 12345, 'buy', now(), '10');
	INSERT INTO events VALUES (1005, 3, 'buy', now(), 'ten');
	INSERT INTO events VALUES (1006, 4, 'buy', now(), '11');
	COMMIT});
is(paths(1, 4), "new > regular 2\nnew > regular > big 2", 'in one transaction: those for which the condition is true');
is($subscriber->safe_psql('postgres', 'SELECT subject_id, name, sqlstate FROM customer.failures'), '3|buy|22P02', 'an error of a condition does not stop replication');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM events WHERE id BETWEEN 1001 AND 1006'), 6, 'all rows have come');

# updates that make a row an event
publish("INSERT INTO tickets VALUES (1, 1, 'open', now()), (2, 4, 'solved', now())");
is(paths(1, 4), "new > regular 2\nnew > regular > big 1\nnew > regular > big > served 1", 'becomes: an insert');
publish("UPDATE tickets SET status = 'solved' WHERE id = 1");
is(paths(1, 1), 'new > regular > big > served 1', 'an update');

# a name that is listened to from now on
$subscriber->safe_psql('postgres', "SELECT lifecycle.define_transition('customer', 'regular', 'new', on_event => 'look', name => 'look')");
publish("INSERT INTO events VALUES (2001, 2, 'look', now())");
is(paths(2, 2), 'new > regular > new 1', 'a name that somebody listens to now');
# both ways count once
$subscriber->safe_psql('postgres', "INSERT INTO events VALUES (3001, 2, 'go', now()), (3002, 5, 'look', now())");
is(paths(2, 2) . '; ' . paths(5, 5), 'new > regular > new > regular 1; new > regular > new 1', 'rows that are written here are captured as well');

# a source that was defined before its subscription
publish("INSERT INTO plain VALUES (1, 6, now())");
like($subscriber->safe_psql('postgres', "SELECT detail FROM lifecycle.verify('customer')"),
	qr/^INSERT by a subscription into public\.plain is not seen: .*replicated => true$/, 'verify says what is not seen, and what to do');
my $define = q{SELECT lifecycle.define_event_source('customer', 'plain', subject_column => 'customer_id', event_name => 'plain', time_column => 'at')};
is($subscriber->safe_psql('postgres', $define), 'replaced', 'defined again, it notices the subscription');
is($subscriber->safe_psql('postgres', $define), 'unchanged', 'once');
is($subscriber->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify finds nothing');
publish("INSERT INTO plain VALUES (2, 7, now())");
is(paths(6, 7), "new > regular 1\nnew > regular > plain 1", 'and from then on it is captured');
# without a subscription it is not captured from there any more
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION sub');
is($subscriber->safe_psql('postgres', $define), 'replaced', 'without the subscription');
is( $subscriber->safe_psql('postgres', "SELECT tgtype & 1, tgenabled FROM pg_trigger WHERE tgrelid = 'plain'::regclass AND NOT tgisinternal ORDER BY 1"),
	"0|O\n1|O", 'its row trigger is no longer always enabled');
$subscriber->safe_psql('postgres', 'INSERT INTO plain VALUES (3, 8, now())');
is(paths(8, 8), 'new > regular > plain 1', 'that captures');
is($subscriber->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify finds nothing');

$publisher->stop;
$subscriber->stop;
unlike(slurp_file($subscriber->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
