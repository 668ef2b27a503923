# No more than lifecycle.max_databases databases have a scheduler. The others are named in the log, wait, and get theirs when one ends; databases without
# the extension do not count.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'max_worker_processes = 16', 'lifecycle.max_databases = 2');
my %oid;

# A database that has work which is due.
sub make_database
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	define_shop($node, $db);
	enter($node, $db, 1, 3);
	$oid{$db} = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$db'");
	return;
}

# How often it was logged that these have none.
sub logged
{
	my $log = slurp_file($node->logfile);
	return join ' ', map { my $oid = $oid{$_}; scalar(() = $log =~ /no scheduler for database with OID $oid: there are already 2\n/g) } @_;
}

sub warned_of
{
	my ($db) = @_;
	return $node->wait_for_log(qr/WARNING:  no scheduler for database with OID $oid{$db}: there are already 2\n.*HINT:  Raise lifecycle.max_databases\./);
}

make_database($_), wait_until_done($node, $_, 3) for ('one', 'two');
$node->safe_psql('postgres', "CREATE DATABASE empty$_") for (1 .. 3);
make_database('three');
ok(warned_of('three'), 'the log names a database that is one too many');
is(worker($node, 'three', 'state'), 'no scheduler', 'which has no scheduler');
like($node->safe_psql('three', 'SELECT detail FROM lifecycle.status() WHERE lifecycle IS NULL'), qr/lifecycle\.max_databases is too low/, 'status() says why');
make_database('four');
ok(warned_of('four'), 'and the next one');
is($node->safe_psql('three', 'SELECT count(*) FROM customer.transitions'), 6, 'stages move all the same');
is($node->safe_psql('three', 'SELECT lifecycle.run_due()') >= 3, 1, 'and lifecycle.run_due() runs what is due');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler' AND datname IN ('one', 'two')"),
	2, 'the others have theirs');

# One ends, one that waits begins: at once, and not when it would be looked at again, after a minute.
my $began = time;
$node->safe_psql('one', 'DROP EXTENSION lifecycle CASCADE');
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler' AND datname IN ('two', 'three', 'four')"),
	'when one ends, another takes its place');
my ($next, $last) = scheduler_pid($node, 'three') ? ('three', 'four') : ('four', 'three');
ok(wait_until_done($node, $next, 3), 'and does its work');
is(worker($node, $last, 'state'), 'no scheduler', 'the last one waits on');
$node->safe_psql('postgres', 'DROP DATABASE two');
ok(wait_until_done($node, $last, 3), 'until another has been dropped');
cmp_ok(time - $began, '<', 50, 'none has waited for longer');
is(logged('three', 'four'), '1 1', 'each was logged once');

# As many as may be, and databases without the extension: nobody waits, and nothing is logged.
$node->restart;
my $offset = -s $node->logfile;
enter($node, $_, 4, 6) for ('three', 'four');
ok(wait_until_done($node, $_, 6), "$_ goes on after a restart") for ('three', 'four');
is(logged('three', 'four'), '1 1', 'nothing is logged');
unlike(slurp_file($node->logfile), qr/no scheduler for database with OID (?!$oid{three}:|$oid{four}:)/, 'nor ever was of any other');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
