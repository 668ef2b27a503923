# The memory of the scheduler and of a backend that captures does not grow with the number of batches and statements: two of each for each of
# LIFECYCLE_MEMORY_RUNS customers: 100,000 batches.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $runs = $ENV{LIFECYCLE_MEMORY_RUNS} // 50000;
my $node = new_node('main', 'fsync = off', 'lifecycle.batch_size = 1', 'max_wal_size = 4GB', 'shared_buffers = 128MB',
	'log_statement = none');
define_shop($node, 'postgres');
my $pid = wait_for_scheduler($node, 'postgres');

# Bytes in all memory contexts of a process, as it writes them to the log.
sub memory
{
	my $offset = -s $node->logfile;
	$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log(qr/\[$pid\].*Grand total: \d+ bytes/, $offset);
	my ($bytes) = slurp_file($node->logfile, $offset) =~ /\[$pid\].*Grand total: (\d+) bytes/;
	return $bytes;
}

sub resident
{
	my ($kilobytes) = slurp_file("/proc/$pid/smaps_rollup") =~ /^Anonymous: *(\d+) kB/m;
	return 1024 * $kilobytes;
}

# New customers, each in two statements of its own, and so in two batches or more; the bytes in all memory contexts of the session afterwards.
my $customers = 0;

sub run
{
	my ($n) = @_;
	my $statements = join('',
		map { "INSERT INTO customers VALUES ($_, 'x'); INSERT INTO events (customer_id, name) VALUES ($_, 'go');\n" }
		  ($customers + 1 .. $customers + $n));
	$customers += $n;
	return $statements . "SELECT sum(total_bytes) FROM pg_backend_memory_contexts;\n";
}

sub finish
{
	local $PostgreSQL::Test::Utils::timeout_default = 600;
	ok(wait_until_done($node, 'postgres', $customers), "$customers runs have ended");
	return;
}

$node->safe_psql('postgres', run(1000));
finish();
my $batches = worker($node, 'postgres', 'batches');
my $before = memory();
my $resident = -r "/proc/$pid/smaps_rollup" ? resident() : undef;
my $session = $node->safe_psql('postgres', run(1000) . run($runs));
finish();
my ($first, $second) = split(/\n/, $session);
cmp_ok($second, '<=', $first + 65536, 'the memory of the session that inserts has not grown');
cmp_ok(worker($node, 'postgres', 'batches') - $batches, '>=', 2 * $runs, 'in ' . 2 * $runs . ' batches');
is($node->safe_psql('postgres', 'SELECT scheduler_pid FROM lifecycle._worker_info()'), $pid, 'by the same process');
cmp_ok(memory(), '<=', $before + 65536, 'the memory contexts have not grown');
SKIP:
{
	skip 'no /proc/PID/smaps_rollup', 1 unless defined $resident;
	cmp_ok(resident(), '<=', $resident + 1048576, 'nor has the process');
}
is_sound($node, 'postgres', $customers, 'afterwards');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
