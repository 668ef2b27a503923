# Copies of a database with work in flight (dumps, templates) start paused and lose nothing; a dump of the schema alone does no harm.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
my $other = new_node('other');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
define_shop($node, 'shop', '1 hour');
$node->safe_psql('shop', "SELECT lifecycle.define_transition('customer', 'regular', 'new', after => '1 day', name => 'falls asleep')");
wait_for_scheduler($node, 'shop');
enter($node, 'shop', 1, 50);
$node->poll_query_until('shop', 'SELECT count(*) = 50 FROM customer.messages') or die 'not sent';

# Everything falls due, so that a copy which is not paused would run it at once. The original's own scheduler is off meanwhile.
$node->safe_psql('postgres', 'ALTER DATABASE shop SET lifecycle.scheduler = off');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . scheduler_pid($node, 'shop') . ', 10000)');
$node->poll_query_until('shop', "SELECT state = 'off' FROM lifecycle._worker_info()") or die 'not off';
$node->safe_psql('shop', "UPDATE customer._due SET due_at = due_at - interval '2 hours' WHERE kind <> 'r'");
my $in_flight = $node->safe_psql('shop', 'SELECT count(*), min(due_at), max(due_at) FROM customer._due');

sub is_paused_copy
{
	my ($server, $db, $what) = @_;
	ok($server->poll_query_until($db, "SELECT state = 'paused' FROM lifecycle._worker_info()"), "$what: paused");
	is($server->safe_psql($db, 'SELECT lifecycle._installation_state()'), 'copy', "$what: for being a copy");
	is($server->safe_psql($db, 'SELECT count(*), min(due_at), max(due_at) FROM customer._due'), $in_flight, "$what: work is in flight");
	for my $call ('run_due()', "run_due('customer')", "claim_messages('customer')")
	{
		my ($rc, $out, $err) = $server->psql($db, "SELECT count(n) FROM lifecycle.$call AS n WHERE n::text <> '0'");
		is("$rc|$out", '0|0', "$what: $call does nothing");
		like($err, qr/WARNING:  lifecycles are paused in database "$db": it is a copy .*\nHINT: .*lifecycle\.resume\(\)/, "$what: and $call says why");
	}
	is($server->safe_psql($db, 'SELECT count(*), count(claim_token) FROM customer.messages'), '50|0', "$what: nothing was sent");
	is($server->safe_psql($db, 'SELECT * FROM lifecycle.verify(\'customer\')'), '', "$what: verify() finds nothing");
	return;
}

# Resumed, it does all that was in flight, once, and works on.
sub resumes
{
	my ($server, $db, $what) = @_;
	$server->safe_psql($db, 'SELECT lifecycle.resume()');
	ok(wait_until_done($server, $db, 50), "$what: resumed, the runs end");
	is($server->safe_psql($db, "BEGIN; SELECT count(*) FROM lifecycle.claim_messages('customer'); ROLLBACK"), 100, "$what: and messages are given out");
	is($server->safe_psql($db, "SELECT count(*), count(DISTINCT (subject_id, step)) FROM customer.messages"), '100|100', "$what: every effect once");
	enter($server, $db, 51, 51);
	ok($server->poll_query_until($db, 'SELECT count(*) = 1 FROM customer.messages WHERE subject_id = 51'), "$what: new events too");
	is($server->safe_psql($db, "SELECT * FROM lifecycle.verify('customer')"), '', "$what: verify() finds nothing afterwards");
	return;
}

# a template
$node->safe_psql('postgres', 'CREATE DATABASE cloned TEMPLATE shop');
is_paused_copy($node, 'cloned', 'template');
$node->wait_for_log(qr/lifecycles are paused in database "cloned".*\n.*HINT: .*lifecycle\.resume\(\)/);
resumes($node, 'cloned', 'template');

# a plain dump, to the same and to another server
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $node->connstr('shop') ], 'pg_dump');
for my $server ($node, $other)
{
	my $what = 'dump to ' . $server->name;
	$server->safe_psql('postgres', 'CREATE DATABASE restored');
	$server->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $server->connstr('restored') ], $what);
	is_paused_copy($server, 'restored', $what);
	resumes($server, 'restored', $what);
}

# a dump in parts, restored in parallel, in which the data comes in any order
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/parts", '-d', $node->connstr('shop') ], 'pg_dump -Fd -j2');
$other->safe_psql('postgres', 'CREATE DATABASE parts');
$other->command_ok([ 'pg_restore', '-j2', '--exit-on-error', '-d', $other->connstr('parts'), "$dir/parts" ], 'pg_restore -j2');
is_paused_copy($other, 'parts', 'parallel dump');
resumes($other, 'parts', 'parallel dump');

# the schema alone: triggers without definitions
$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/schema.sql", '-d', $node->connstr('shop') ], 'pg_dump --schema-only');
$other->safe_psql('postgres', 'CREATE DATABASE schema_only');
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/schema.sql", '-d', $other->connstr('schema_only') ], 'schema only');
my ($rc, $out, $err) = $other->psql('schema_only',
	"INSERT INTO customers VALUES (1, 'x'); INSERT INTO events (customer_id, name) VALUES (1, 'go'); INSERT INTO events (customer_id, name) VALUES (1, 'go')");
is($rc, 0, 'schema only: rows can be inserted');
like($err, qr/WARNING/, 'schema only: with a warning') or diag($err);
is(() = $err =~ /WARNING/g, 1, 'schema only: once in a session');
is($other->safe_psql('schema_only', 'SELECT count(*) FROM customer.transitions'), 0, 'schema only: and nothing else happens');

# the original goes on where it was
$node->safe_psql('postgres', 'ALTER DATABASE shop RESET lifecycle.scheduler');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . scheduler_pid($node, 'shop') . ', 10000)');
ok(wait_until_done($node, 'shop', 50), 'the original runs its own work');
is($node->safe_psql('shop', 'SELECT count(*), count(DISTINCT (subject_id, step)) FROM customer.messages'), '100|100', 'every effect once');

for my $server ($node, $other)
{
	$server->stop;
	unlike(slurp_file($server->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
}
done_testing();
