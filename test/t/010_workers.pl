# The launcher keeps one scheduler in each database that has the extension, whatever happens to either.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'max_worker_processes = 8');
my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'lifecycle launcher'";
$node->poll_query_until('postgres', "SELECT EXISTS ($launcher)") or die 'no launcher';
is(scheduler_pid($node, 'postgres'), '', 'a database without the extension has no scheduler');

$node->safe_psql('postgres', 'CREATE EXTENSION lifecycle');
my $pid = wait_for_scheduler($node, 'postgres');
ok($pid, 'CREATE EXTENSION starts a scheduler');
is(worker($node, 'postgres', 'scheduler_pid'), $pid, '_worker_info() names it');

$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION lifecycle; ROLLBACK');
is(wait_for_scheduler($node, 'postgres'), $pid, 'DROP EXTENSION rolled back leaves it alone');
$node->safe_psql('postgres', 'DROP EXTENSION lifecycle');
ok(wait_for_no_scheduler($node, 'postgres'), 'DROP EXTENSION ends a sleeping scheduler');
$node->safe_psql('postgres', 'DROP EXTENSION IF EXISTS lifecycle; CREATE EXTENSION lifecycle; DROP EXTENSION lifecycle; CREATE EXTENSION lifecycle');
$pid = wait_for_scheduler($node, 'postgres');
ok($pid, 'created again, it has a scheduler again');
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION lifecycle; CREATE EXTENSION lifecycle; COMMIT');
ok(wait_until_gone($node, $pid), 'a scheduler of the former extension ends');
$pid = wait_for_scheduler($node, 'postgres');
ok($pid, 'and another takes its place');

# either is ended by hand
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
my $next = wait_for_scheduler($node, 'postgres');
isnt($next, $pid, 'a scheduler that was terminated is started again');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($next)");
$node->safe_psql('postgres', 'CREATE TABLE t ()');
is(wait_for_scheduler($node, 'postgres'), $next, 'a cancel does nothing to one that sleeps');

my $old_launcher = $node->safe_psql('postgres', $launcher);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old_launcher, 10000)");
$node->poll_query_until('postgres', "SELECT EXISTS ($launcher)") or die 'no launcher';
is(wait_for_scheduler($node, 'postgres'), $next, 'a new launcher keeps the schedulers of the one before');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($next, 10000)");
isnt(wait_for_scheduler($node, 'postgres'), $next, 'and looks after them');

# databases come and go
$node->safe_psql('postgres', 'CREATE DATABASE with_extension');
$node->safe_psql('with_extension', 'CREATE EXTENSION lifecycle');
wait_for_scheduler($node, 'with_extension');
$node->safe_psql('postgres', 'CREATE DATABASE from_template TEMPLATE with_extension');
ok(wait_for_scheduler($node, 'from_template'), 'a database made from a template with the extension gets a scheduler');
ok(wait_for_scheduler($node, 'with_extension'), 'and the template has its own again');
$node->safe_psql('postgres', 'ALTER DATABASE from_template ALLOW_CONNECTIONS false');
ok(wait_for_no_scheduler($node, 'from_template'), 'no scheduler in a database that allows no connections');
$node->safe_psql('postgres', 'ALTER DATABASE from_template ALLOW_CONNECTIONS true');
ok(wait_for_scheduler($node, 'from_template'), 'and again when it does');

# more than there are workers for: 8, less the launchers of lifecycle and of logical replication
for my $i (1 .. 4)
{
	$node->safe_psql('postgres', "CREATE DATABASE more$i TEMPLATE with_extension");
}
$node->wait_for_log(qr/all background workers are in use/);
my $log = slurp_file($node->logfile);
is(() = $log =~ /all background workers are in use/g, 1, 'exhausted worker slots are logged once');
$node->safe_psql('postgres', "DROP DATABASE more$_") for (1 .. 3);
ok($node->poll_query_until('postgres',
		"SELECT count(DISTINCT datname) = 4 FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler'"),
	'the last database gets its scheduler when there is room');

$node->restart;
ok(wait_for_scheduler($node, 'with_extension'), 'after a restart there are schedulers again');
$node->safe_psql('postgres', 'DROP EXTENSION lifecycle');
ok(wait_for_no_scheduler($node, 'postgres'), 'which end as before');

$node->stop;
$log = slurp_file($node->logfile);
unlike($log, qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
unlike($log, qr/FATAL:  database .* does not exist/, 'no scheduler ran into a dropped database');

done_testing();
