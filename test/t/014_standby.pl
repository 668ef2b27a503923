# A standby runs nothing; promoted, it takes up the work that was in flight.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node('primary');
define_shop($primary, 'postgres', '1 second');
$primary->safe_psql('postgres',
	q{SELECT lifecycle.define_lifecycle('customer', on_table => 'customers', stages => '{new,regular}', timezone => $$ 'Europe/Berlin' $$)});
wait_for_scheduler($primary, 'postgres');
enter($primary, 'postgres', 1, 50);
ok(wait_until_done($primary, 'postgres', 50), 'the primary runs what is due');

# from here on work stays in flight on the primary
$primary->append_conf('postgresql.conf', 'lifecycle.scheduler = off');
$primary->reload;
$primary->poll_query_until('postgres', "SELECT state = 'off' FROM lifecycle._worker_info()") or die 'not off';

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'lifecycle.scheduler = on');
$standby->start;

enter($primary, 'postgres', 51, 100);
$primary->wait_for_catchup($standby);
my $state = $standby->safe_psql('postgres', 'SELECT state FROM lifecycle._worker_info()');
is($state, 'no launcher', 'a standby has no workers');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'lifecycle%'"), 0, 'none at all');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM customer._due'), 50, 'work is in flight');
is($standby->safe_psql('postgres', "SELECT * FROM lifecycle.verify('customer')"), '', 'verify() can be called there');
is($standby->safe_psql('postgres', "SELECT subjects FROM lifecycle.funnel('customer', '{new,regular}', within => '1 day')"), "100\n100",
	'so can funnel(), with local days');

$primary->stop('immediate');
$standby->promote;
ok($standby->poll_query_until('postgres', 'SELECT scheduler_pid IS NOT NULL FROM lifecycle._worker_info()'), 'promoted, it starts a scheduler');
ok(wait_until_done($standby, 'postgres', 100), 'which runs what was in flight');
is_sound($standby, 'postgres', 100, 'after the promotion');

$standby->stop;
unlike(slurp_file($standby->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
