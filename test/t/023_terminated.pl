# A worker that is terminated in a batch, maybe by what it runs, comes back with small batches, as after a crash; not when that was in peace.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'lifecycle.batch_size = 64', 'lifecycle.max_attempts = 2');
my $last = 0;

define_shop($node, 'postgres', '1 hour');
define_gate($node, 100, 'IF id = -30 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;');
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	CREATE TABLE effects (subject_id bigint);
	SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'),
		steps => steps(run_sql('INSERT INTO effects SELECT pass_gate(customer.id)')));
});

# A hundred customers more.
sub busy
{
	wait_for_scheduler($node, 'postgres');
	$last += 100;
	return get_busy($node, $last - 99, $last);
}

sub finish
{
	my ($what) = @_;
	set_gate($node, 'true');
	ok(wait_until_done($node, 'postgres', $last), "$what: all runs end");
	is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT subject_id) FROM effects'), "$last|$last", "$what: every effect is there once");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM customer.failures'), 0, "$what: nobody has failed");
	return;
}

# by an administrator
my $pid = busy();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
wait_until_busy($node);
is(interrupted($node), 'customer|8|0', 'terminated in a batch: careful');
finish('terminated');

# in peace
my $log = -s $node->logfile;
busy();
$node->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
is(interrupted($node), '', 'stopped for a command: not careful');
finish('stopped for a command');
busy();
$node->restart;
wait_until_busy($node);
is(interrupted($node), '', 'stopped with the server: not careful');
finish('restarted');
unlike(slurp_file($node->logfile, $log), qr/run of lifecycles in database "postgres" was interrupted/, 'nothing was interrupted');

# by a row, each time that it is run
$log = -s $node->logfile;
wait_for_scheduler($node, 'postgres');
$node->safe_psql(
	'postgres', q{
	INSERT INTO customers SELECT -g, 'x' FROM generate_series(1, 60) g;
	INSERT INTO events (customer_id, name) SELECT -g, 'go' FROM generate_series(1, 60) g});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM customer.failures WHERE subject_id = -30 AND parked'),
	'a row that terminates its worker is parked');
ok($node->poll_query_until('postgres', "SELECT count(*) = 59 FROM customer.enrollments WHERE subject_id < 0 AND exit_reason = 'completed'"),
	'and the others run on');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT subject_id) FROM effects WHERE subject_id < 0'), '59|59', 'each once');
is($node->safe_psql('postgres', 'SELECT subject_id, attempts, sqlstate FROM customer.failures'), '-30|2|57P02', 'nobody else has failed');
my $terminated = () = slurp_file($node->logfile, $log) =~ /terminating background worker "lifecycle scheduler/g;
is($terminated, 4, 'terminated once each with 64 and 8 rows, and lifecycle.max_attempts alone');
is($node->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() finds nothing');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
