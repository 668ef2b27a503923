# After a crash batches are small until what was interrupted has been run: few batches when no row is to blame, few crashes when one is.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'lifecycle.batch_size = 512', 'lifecycle.max_attempts = 2', 'restart_after_crash = on');

# A step that waits while the test has the gate closed, and one that kills the server for one customer.
define_shop($node, 'postgres', '1 hour');
define_gate($node, 1000, q{IF id = -1300 THEN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; END IF;});
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'),
		steps => steps(run_sql('SELECT pass_gate(customer.id)')));
});

wait_for_scheduler($node, 'postgres');
is(interrupted($node), '', 'nothing is interrupted on a healthy server');
my $pid = get_busy($node, 1, 6000);
kill 'KILL', $pid;
wait_until_gone($node, $pid);
wait_until_busy($node);
is(interrupted($node), 'customer|64|0', 'after a crash batches are an eighth');
like($node->safe_psql('postgres', "SELECT value || ': ' || detail FROM lifecycle.status() WHERE what = 'batches'"),
	qr/^64 rows: .*crash/, 'status() says so');
set_gate($node, 'true');
ok(wait_until_done($node, 'postgres', 6000), 'all runs end');
$node->wait_for_log(qr/batches of lifecycle "customer" have their full size again, after 10 smaller ones/);
pass('eight small batches and two that grow, then they are full');
is(interrupted($node), '', 'and nothing is interrupted');
cmp_ok(worker($node, 'postgres', 'batches'), '<', 25, 'few batches for 6,000 rows');

# a row in the middle that kills the server each time
my $before = crashes($node);
$node->psql(
	'postgres', q{
	INSERT INTO customers SELECT -g, 'x' FROM generate_series(1001, 2000) g;
	INSERT INTO events (customer_id, name) SELECT -g, 'go' FROM generate_series(1001, 2000) g});
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM customer.failures WHERE subject_id = -1300 AND parked"),
	'a row that kills the server is parked');
ok($node->poll_query_until('postgres', "SELECT count(*) = 999 FROM customer.enrollments WHERE subject_id < 0 AND exit_reason = 'completed'"),
	'and the others run on');
is(crashes($node) - $before, 5, 'after a crash each with 512, 64 and 8 rows, and lifecycle.max_attempts alone');
is($node->safe_psql('postgres', 'SELECT subject_id, attempts, sqlstate FROM customer.failures'), '-1300|2|57P02', 'nobody else has failed');
is($node->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() finds nothing');

is($node->safe_psql('postgres', "SELECT count(*) FROM lifecycle.status() WHERE what = 'parked failures'"), 1, 'status() shows it');
$node->stop;
$node->start;
wait_for_scheduler($node, 'postgres');
is(interrupted($node), '', 'a server that was stopped in peace begins with full batches');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP|leaked/, 'nothing else crashed');
done_testing();
