# A backlog is taken in the order of subjects, a window of it at a time: everything is run once, whatever else happens to its rows meanwhile.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $customers = 4000;
my $node = new_node('main', 'lifecycle.batch_size = 600', 'log_min_messages = debug1', 'restart_after_crash = on');
my $taken = qr/lifecycle "customer": \d+ overdue rows are taken in the order of their subjects/;

# Two workflows: each customer has two rows in the queue, which may be in one batch or in two.
define_shop($node, 'postgres', '1 hour');
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	SELECT define_workflow('customer', 'other', state => 'live', entry => on_event('go'), exit => on_event('stop'),
		steps => steps(delay('1 hour'), send('email', 'hello')))});
wait_for_scheduler($node, 'postgres');

# So many customers more, who wait twice; then all of them are overdue, in an order that has nothing to do with that of the table.
sub enter_overdue
{
	my ($first, $last) = @_;
	enter($node, 'postgres', $first, $last);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 2 * $customers FROM customer._due WHERE kind = 'w'"), "$first to $last wait twice");
	$node->safe_psql('postgres', 'SELECT lifecycle.pause()');
	$node->safe_psql('postgres',
		"UPDATE customer._due SET due_at = now() - interval '1 second' - ('x' || left(md5(enrollment_id::text), 6))::bit(24)::integer * interval '1 ms'");
	return;
}

# Lets the worker go, until it has a window in hand.
sub resume_into_window
{
	my $offset = -s $node->logfile;
	$node->safe_psql('postgres', 'SELECT lifecycle.resume()');
	$node->wait_for_log($taken, $offset);
	return;
}

enter_overdue(1, $customers);

# Some are held by somebody else, some leave while the backlog is run.
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
$holder->query_safe('SELECT count(*) FROM (SELECT FROM customer._due WHERE subject_id <= 10 FOR UPDATE) held');
resume_into_window();
for my $part (0 .. 7)
{
	$node->safe_psql('postgres', "INSERT INTO events (customer_id, name) SELECT g, 'stop' FROM generate_series(11 + $part, $customers, 8) g");
}
ok($node->poll_query_until('postgres', 'SELECT count(*) = 20 FROM customer._due'), 'what nobody holds is run');
is($node->safe_psql('postgres', 'SELECT count(*) FROM customer._due WHERE subject_id > 10'), 0, 'and what is held waits');
$holder->query_safe('COMMIT');
$holder->quit;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM customer._due'), 'until it is held no more');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL), count(*) FILTER (WHERE workflow = 'greeting' AND exit_reason <> 'completed')
		  FROM customer.enrollments}),
	2 * $customers . '|0|0', 'every run has ended, and only those that have an exit have taken it');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FILTER (WHERE n <> CASE WHEN workflow = 'greeting' THEN 2 WHEN exit_reason = 'completed' THEN 1 ELSE 0 END)
		  FROM (SELECT e.workflow, e.exit_reason, count(m.id) AS n
		          FROM customer.enrollments e LEFT JOIN customer.messages m ON m.subject_id = e.subject_id AND m.enrollment_id = e.id
		         GROUP BY e.subject_id, e.id) AS runs}),
	0, 'each has the messages of its steps, once');
is($node->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() finds nothing');

# A worker that is killed with a window in hand: what it knew of places is gone, and nothing else.
enter_overdue($customers + 1, 2 * $customers);
$node->safe_psql('postgres', 'CREATE TABLE planned AS SELECT subject_id, enrollment_id, due_at FROM customer._due');
resume_into_window();
kill 'KILL', scheduler_pid($node, 'postgres');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM customer._due'), 'after a crash the rest is run');
is( $node->safe_psql('postgres', "SELECT count(*), count(DISTINCT (enrollment_id, step)) FROM customer.messages WHERE subject_id > $customers"),
	3 * $customers . '|' . 3 * $customers, 'every message is there once');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*), count(*) FILTER (WHERE planned <> done)
		  FROM (SELECT array_agg(p.enrollment_id ORDER BY p.due_at) AS planned, array_agg(p.enrollment_id ORDER BY m.id) AS done
		          FROM planned p CROSS JOIN LATERAL (SELECT max(id) AS id FROM customer.messages m
		               WHERE m.subject_id = p.subject_id AND m.enrollment_id = p.enrollment_id) AS m
		         GROUP BY p.subject_id) AS subjects}),
	"$customers|0", 'those of one customer in the order in which they were due');
is($node->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() finds nothing');

# A lifecycle that is dropped while the worker runs a window of it: neither waits for the other with something in hand.
enter_overdue(2 * $customers + 1, 3 * $customers);
resume_into_window();
$node->safe_psql('postgres', "SELECT lifecycle.drop_lifecycle('customer')");
wait_for_scheduler($node, 'postgres');
pass('the worker goes on without it');

# Long text keys: compressed in the table of words, and read as they are stored in the queue.
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	CREATE TABLE words (id text PRIMARY KEY, pad text, email text);
	CREATE TABLE says (word text NOT NULL, name text NOT NULL, occurred_at timestamptz NOT NULL DEFAULT now());
	SELECT define_lifecycle('customer', on_table => 'words', stages => '{new,regular}');
	SELECT define_event_source('customer', 'says', subject_column => 'word', name_column => 'name', time_column => 'occurred_at');
	SELECT define_template('customer', 'hello', subject_line => 'Hello {{ customer.email }}', body => 'Hello');
	SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'), steps => steps(delay('1 hour'), send('email', 'hello')));
	INSERT INTO words SELECT md5(g::text) || repeat('z', CASE WHEN g % 2 = 0 THEN 0 ELSE 1500 END), repeat(md5(g::text), 40), g || '@example.com'
	  FROM generate_series(1, 2000) g;
	INSERT INTO says (word, name) SELECT id, 'go' FROM words;});
ok($node->poll_query_until('postgres', "SELECT count(*) = 2000 FROM customer._due WHERE kind = 'w'"), 'words wait');
$node->safe_psql('postgres', 'SELECT lifecycle.pause()');
$node->safe_psql('postgres', "UPDATE customer._due SET due_at = now() - interval '1 second'");
resume_into_window();
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM customer._due'), 'and are run');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT subject_id) FROM customer.messages'), '2000|2000', 'once each');
is($node->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() finds nothing');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP|leaked/, 'nothing else crashed');
done_testing();
