# The extension on a server of its own: it loads by shared_preload_libraries, can be created, survives a restart and can be dropped.
use strict;
use warnings FATAL => 'all';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'lifecycle'");
$node->start;

$node->safe_psql('postgres', 'CREATE EXTENSION lifecycle');
my $version = "SELECT extversion FROM pg_extension WHERE extname = 'lifecycle'";
is($node->safe_psql('postgres', $version), '0.1.0', 'the extension is created');

$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', $version), '0.1.0', 'it is there after a crash of the server');

$node->safe_psql('postgres', 'DROP EXTENSION lifecycle');
is($node->safe_psql('postgres', $version), '', 'it can be dropped');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'no process crashed');

done_testing();
