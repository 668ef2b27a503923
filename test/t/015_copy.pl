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
$node->poll_query_until('shop', "SELECT state = 'off' FROM lifecycle._worker_info()") or die 'not off';
$node->safe_psql('shop', "UPDATE customer._due SET due_at = due_at - interval '2 hours' WHERE kind <> 'r'");
my $in_flight = in_flight($node, 'shop');

# a template
$node->safe_psql('postgres', 'CREATE DATABASE cloned TEMPLATE shop');
is_paused_copy($node, 'cloned', 'template', $in_flight);
$node->wait_for_log(qr/lifecycles are paused in database "cloned".*\n.*HINT: .*lifecycle\.resume\(\)/);
copy_resumes($node, 'cloned', 'template');

# a plain dump, to the same and to another server
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", '-d', $node->connstr('shop') ], 'pg_dump');
for my $server ($node, $other)
{
	my $what = 'dump to ' . $server->name;
	$server->safe_psql('postgres', 'CREATE DATABASE restored');
	$server->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", '-d', $server->connstr('restored') ], $what);
	is_paused_copy($server, 'restored', $what, $in_flight);
	copy_resumes($server, 'restored', $what);
}

# a dump in parts, restored in parallel, in which the data comes in any order
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/parts", '-d', $node->connstr('shop') ], 'pg_dump -Fd -j2');
$other->safe_psql('postgres', 'CREATE DATABASE parts');
$other->command_ok([ 'pg_restore', '-j2', '--exit-on-error', '-d', $other->connstr('parts'), "$dir/parts" ], 'pg_restore -j2');
is_paused_copy($other, 'parts', 'parallel dump', $in_flight);
copy_resumes($other, 'parts', 'parallel dump');

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
ok(wait_until_done($node, 'shop', 50), 'the original runs its own work');
is($node->safe_psql('shop', 'SELECT count(*), count(DISTINCT (subject_id, step)) FROM customer.messages'), '100|100', 'every effect once');

for my $server ($node, $other)
{
	$server->stop;
	unlike(slurp_file($server->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
}
done_testing();
