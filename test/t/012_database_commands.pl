# Commands that need a database without connections end its scheduler, sleeping or busy, and nobody else's; so does DROP EXTENSION.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'max_worker_processes = 16', 'lifecycle.batch_size = 5');
my $databases = 0;

# A database with a scheduler that sleeps, or that is in the middle of a batch which does not end.
sub make_database
{
	my ($busy) = @_;
	my $db = 'db' . ++$databases;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	define_shop($node, $db);
	wait_for_scheduler($node, $db);
	return $db unless $busy;
	$node->safe_psql(
		$db, q{
		SET search_path = public, lifecycle;
		SELECT define_workflow('customer', 'endless', state => 'live', entry => on_event('stay'),
			steps => steps(run_sql('SELECT pg_sleep(1000)')));
		INSERT INTO customers VALUES (1, 'x');
		INSERT INTO events (customer_id, name) VALUES (1, 'stay')});
	wait_until_there($db, 1);
	return $db;
}

sub wait_until_there
{
	my ($db, $busy) = @_;
	my $event = $busy ? 'PgSleep' : 'Extension';
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler' AND datname = '$db' AND wait_event = '$event'");
}

for my $busy (0, 1)
{
	my $what = $busy ? 'busy' : 'sleeping';
	my $db = make_database($busy);
	my $other = make_database(0);
	my $other_pid = scheduler_pid($node, $other);

	$node->safe_psql('postgres', "ALTER DATABASE $db RENAME TO renamed");
	ok(wait_until_there('renamed', $busy),
		"$what: RENAME, and it runs again under the new name");
	$node->safe_psql('postgres', "SET allow_in_place_tablespaces = on; CREATE TABLESPACE ts$busy LOCATION ''");
	$node->safe_psql('postgres', "ALTER DATABASE renamed SET TABLESPACE ts$busy");
	ok(wait_until_there('renamed', $busy),
		"$what: SET TABLESPACE");
	$node->safe_psql('postgres', "CREATE DATABASE copy_of_it TEMPLATE renamed");
	ok(wait_for_scheduler($node, 'copy_of_it'), "$what: CREATE DATABASE … TEMPLATE");
	ok(wait_until_there('renamed', $busy), "$what: and the template has its own again");
	$node->safe_psql('renamed', 'CREATE DATABASE copy_by_it TEMPLATE renamed');
	ok(wait_until_there('renamed', $busy), "$what: and again when a session of its own has copied it");
	$node->safe_psql('postgres', 'DROP DATABASE copy_by_it');
	my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE renamed');
	is($rc, 0, "$what: DROP DATABASE") or diag($err);
	ok(wait_for_no_scheduler($node, 'renamed'), "$what: none is left behind");
	$node->safe_psql('postgres', 'DROP DATABASE copy_of_it');
	is(scheduler_pid($node, $other), $other_pid, "$what: the scheduler of another database was left alone");
	$node->safe_psql('postgres', "DROP DATABASE $other");
}

# who may not, or cannot
my $db = make_database(0);
my $pid = scheduler_pid($node, $db);
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN CREATEDB');
for my $command ("DROP DATABASE $db", "ALTER DATABASE $db RENAME TO x", "CREATE DATABASE x TEMPLATE $db")
{
	my ($rc, $out, $err) = $node->psql('postgres', "SET ROLE nobody; $command");
	like($err, qr/must be owner|permission denied/, "$command is refused");
}
is(wait_for_scheduler($node, $db), $pid, 'and the scheduler left alone');
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE $db RENAME TO x; ROLLBACK");
isnt(wait_for_scheduler($node, $db), $pid, 'after a rollback it is started again');
my ($rc, $out, $err) = $node->psql($db, "DROP DATABASE $db");
like($err, qr/cannot drop the currently open database/, 'DROP DATABASE of the current one');
ok(wait_for_scheduler($node, $db), 'keeps the scheduler');

# Settings: the scheduler whose settings they are ends, and comes back with them.
my $left_alone = make_database(0);
my $left_pid = scheduler_pid($node, $left_alone);
$pid = wait_for_scheduler($node, $db);

sub is_renewed
{
	my ($command, $state) = @_;
	$node->safe_psql('postgres', $command);
	ok(wait_until_gone($node, $pid), "$command ends the scheduler");
	$node->poll_query_until($db, "SELECT state = '$state' FROM lifecycle._worker_info()") or die "not $state";
	$pid = wait_for_scheduler($node, $db);
	return;
}

is_renewed("ALTER DATABASE $db SET lifecycle.scheduler = off", 'off');
enter($node, $db, 1, 1);
is_renewed("ALTER DATABASE $db RESET lifecycle.scheduler", 'idle');
ok(wait_until_done($node, $db, 1), 'and the next one runs what is due');
is_renewed("BEGIN; ALTER DATABASE $db SET work_mem = '5MB'; ALTER ROLE nobody SET work_mem = '5MB'; COMMIT", 'idle');
is_renewed("ALTER ROLE ALL IN DATABASE $db SET lifecycle.scheduler = off", 'off');
is_renewed("ALTER DATABASE $db RESET ALL", 'idle');
is_renewed("ALTER ROLE CURRENT_USER IN DATABASE $db SET lifecycle.scheduler = off", 'off');
is_renewed("ALTER ROLE CURRENT_USER IN DATABASE $db RESET ALL", 'idle');
$node->safe_psql(
	'postgres', qq{
	ALTER ROLE nobody SET lifecycle.scheduler = off;
	ALTER ROLE nobody IN DATABASE $left_alone SET work_mem = '5MB';
	BEGIN; ALTER DATABASE $left_alone SET lifecycle.scheduler = off; ROLLBACK;
	SET ROLE nobody;
	DO \$\$ BEGIN ALTER DATABASE $left_alone SET work_mem = '6MB'; EXCEPTION WHEN insufficient_privilege THEN END \$\$});
enter($node, $left_alone, 1, 1);
ok(wait_until_done($node, $left_alone, 1), 'the scheduler of another database');
is(scheduler_pid($node, $left_alone), $left_pid, 'is left alone, also by what is refused, rolled back or of other roles');
is_renewed("ALTER ROLE ALL SET work_mem = '7MB'", 'idle');
ok(wait_until_gone($node, $left_pid), 'settings of all databases are those of all schedulers');
enter($node, $db, 2, 500);
$node->safe_psql('postgres', "ALTER DATABASE $db SET lifecycle.scheduler = off");
$node->poll_query_until($db, "SELECT state = 'off' FROM lifecycle._worker_info()") or die 'not off';
is($node->safe_psql($db, 'SELECT unfinished_run IS NULL FROM lifecycle._installation'), 't', 'one that works ends in peace');
$node->safe_psql('postgres', "ALTER DATABASE $db RESET lifecycle.scheduler");
ok(wait_until_done($node, $db, 500), 'and the next one goes on');
is_sound($node, $db, 500, 'after settings');

# DROP EXTENSION in the middle of much work
for my $round (1 .. 3)
{
	my $busy_db = make_database(0);
	enter($node, $busy_db, 1, 500 * $round);
	$node->poll_query_until($busy_db, 'SELECT EXISTS (SELECT FROM customer.messages)') or die 'nothing sent';
	$node->safe_psql($busy_db, 'DROP EXTENSION lifecycle CASCADE');
	ok(wait_for_no_scheduler($node, $busy_db), 'DROP EXTENSION ends a busy scheduler');
	is($node->safe_psql($busy_db, 'SELECT count(*) FROM customer.transitions'), 2 * 500 * $round, 'and leaves the state there');
	$node->safe_psql('postgres', "DROP DATABASE $busy_db");
}

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
