# Whatever is killed in the middle of a batch, every effect is there once afterwards; a row that kills the server is parked.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('main', 'lifecycle.batch_size = 7', 'lifecycle.max_attempts = 2', 'restart_after_crash = on');
my $last = 0;

# A step that does something besides the engine's own writes, and waits while the test holds a lock.
define_shop($node, 'postgres');
define_gate($node, 10);
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	CREATE TABLE effects (subject_id bigint);
	SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'),
		steps => steps(send('email', 'hello'), run_sql('INSERT INTO effects SELECT pass_gate(customer.id)'), delay('20 milliseconds'),
			send('email', 'hello')));
	CREATE FUNCTION question(id bigint) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT public.pass_gate(id) > 0';
	SELECT define_transition('customer', 'regular', 'new', on_event => 'come', condition => $$ question(customer.id) $$);
});

# A hundred customers more.
sub busy
{
	$last += 100;
	return get_busy($node, $last - 99, $last);
}

sub check
{
	my ($what) = @_;
	$node->poll_query_until('postgres', 'SELECT true') or die 'no server';
	set_gate($node, 'true');
	ok(wait_until_done($node, 'postgres', $last), "$what: all runs end");
	is_sound($node, 'postgres', $last, $what);
	is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT subject_id) FROM effects'), "$last|$last", "$what: effects of run_sql too");
	return;
}

busy();
check('nothing killed');

my $pid = busy();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
check('worker terminated');

$pid = busy();
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
check('batch canceled');

$pid = busy();
kill 'KILL', $pid;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
check('worker killed');
ok($node->log_contains(qr/the last run of lifecycles in database "postgres" was interrupted/), 'the interrupted run was noticed');

# A backend that waits in a transaction behind rows that were captured, and one that is about to capture some, in the condition of a rule.
my $write = "SET lifecycle.condition_timeout = 0; BEGIN; INSERT INTO customers VALUES (1000003, 'x');\n"
  . "INSERT INTO events (customer_id, name) VALUES (1000003, 'go');\n";
my $ask = "INSERT INTO events (customer_id, name) VALUES (1000003, 'come');\n";
for my $case (
	[ 'in a transaction', $write, "state = 'idle in transaction'" ],
	[ 'capturing', $write . $ask, "state = 'active' AND wait_event = 'PgSleep' AND query LIKE 'INSERT INTO events%come%'" ])
{
	my ($what, $in, $there) = @$case;
	my $backend = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND $there";
	busy();
	my ($out, $err) = ('', '');
	my $session = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$session->pump until $in eq '';
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($backend) AS b") or die "not $what";
	$pid = $node->safe_psql('postgres', $backend);
	kill 'KILL', $pid;
	$session->kill_kill;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	check("backend killed $what");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM customer.subjects WHERE subject_id = 1000003'), 0, 'and its own work is gone');
	is($node->safe_psql('postgres', "$write $ask SELECT seq, event_name FROM customer.transitions WHERE subject_id = 1000003 ORDER BY seq; ROLLBACK"),
		"1|\n2|go\n3|come", 'done again, it is there once');
}

# the whole server
busy();
my @children = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
$node->kill9;
# its children hold on to the shared memory until they notice
for my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if !kill(0, @children);
	usleep(100_000);
}
$node->start;
check('server killed');
busy();
$node->stop('immediate');
$node->start;
check('server stopped at once');
busy();
$node->restart;
check('server restarted');

# a row that kills the server each time that it is run
my $crashes = crashes($node);
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	CREATE FUNCTION poison(id bigint) RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		IF id = -13 THEN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; END IF;
		RETURN id;
	END$$;
	SELECT define_workflow('customer', 'poison', state => 'live', entry => on_event('drink'),
		steps => steps(send('email', 'hello'), run_sql('SELECT poison(customer.id)'), send('email', 'hello')));
});
$node->psql(
	'postgres', q{
	INSERT INTO customers SELECT -g, 'x' FROM generate_series(11, 20) g;
	INSERT INTO events (customer_id, name) SELECT -g, 'drink' FROM generate_series(11, 20) g});
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM customer.failures WHERE subject_id = -13 AND parked"),
	'a row that kills the server is parked');
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 9 FROM customer.enrollments WHERE workflow = 'poison' AND exit_reason = 'completed'"),
	'and the others run on');
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT (subject_id, step)) FROM customer.messages WHERE workflow = 'poison'"),
	'18|18', 'with every effect once');
is(crashes($node) - $crashes, 3, 'after one crash unseen and lifecycle.max_attempts counted');
is($node->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() finds nothing');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP|leaked/, 'nothing else crashed');
done_testing();
