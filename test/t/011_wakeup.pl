# A commit wakes the scheduler; what nobody tells it of, it finds at its next sweep. The server's log of statements is not needed: the clock is.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'max_prepared_transactions = 5');
define_shop($node, 'postgres', '1 hour');
wait_for_scheduler($node, 'postgres');

# Milliseconds from the event to the message that it caused, of the customers first … last.
sub latency
{
	my ($first, $last) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = $last - $first + 1 FROM customer.messages WHERE subject_id BETWEEN $first AND $last")
	  or die 'no message';
	return $node->safe_psql('postgres',
		"SELECT round(extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY m.created_at - e.occurred_at)) * 1000)
		   FROM customer.messages m JOIN events e ON e.customer_id = m.subject_id WHERE m.subject_id BETWEEN $first AND $last");
}

for my $i (1 .. 20)
{
	enter($node, 'postgres', $i, $i);
	latency($i, $i);
}
cmp_ok(latency(1, 20), '<', 1000, 'a commit wakes the scheduler');

$node->safe_psql('postgres', "BEGIN; INSERT INTO customers VALUES (21, 'x'); SAVEPOINT a;
	INSERT INTO events (customer_id, name) VALUES (21, 'go'); ROLLBACK TO a; COMMIT;
	BEGIN; INSERT INTO events (customer_id, name) VALUES (21, 'go'); ROLLBACK");
my $batches = worker($node, 'postgres', 'batches');
enter($node, 'postgres', 22, 22);
latency(22, 22);
is($node->safe_psql('postgres', 'SELECT count(*) FROM customer.enrollments WHERE subject_id = 21'), 0, 'what is rolled back leaves nothing');
is(worker($node, 'postgres', 'batches'), $batches + 1, 'and runs nothing');

$node->safe_psql('postgres', "INSERT INTO customers VALUES (23, 'x'); BEGIN; INSERT INTO events (customer_id, name) VALUES (23, 'go');
	PREPARE TRANSACTION 'p'");
$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
ok(latency(23, 23), 'a prepared transaction is found by the sweep');

# many sessions at once
$node->safe_psql('postgres', "INSERT INTO customers SELECT g, 'c' || g FROM generate_series(101, 1100) g; CREATE SEQUENCE s START 101");
$node->pgbench('--client=4 --jobs=2 --transactions=250 --no-vacuum', 0, [qr{processed: 1000/1000}], [qr{^$}], 'events from four sessions',
	{ '011_event' => "INSERT INTO events (customer_id, name) VALUES (nextval('s'), 'go');" });
cmp_ok(latency(101, 1100), '<', 1000, 'no wake-up is lost among many');

# a definition changes: the scheduler hears of it at once
$node->safe_psql('postgres', "SELECT lifecycle.pause()");
ok($node->poll_query_until('postgres', "SELECT state = 'paused' FROM lifecycle._worker_info()"), 'pause() stops it');
enter($node, 'postgres', 2001, 2001);
$node->safe_psql('postgres', "SELECT lifecycle.resume()");
ok(latency(2001, 2001), 'resume() lets it go on, with what had become due');

is(worker($node, 'postgres', 'errors'), 0, 'no error');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
