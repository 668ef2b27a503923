# What the tests of the workers share: a server that preloads the library, a lifecycle with a workflow, and looking at the workers.
package LifecycleTest;

use strict;
use warnings FATAL => 'all';
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node define_shop enter worker scheduler_pid wait_for_scheduler wait_for_no_scheduler wait_until_done is_sound wait_until_gone
	wait_until_busy crashes define_gate set_gate get_busy interrupted
	in_flight is_paused_copy copy_resumes);

# A server with the library preloaded; further lines of configuration.
sub new_node
{
	my ($name, @conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', join("\n", "shared_preload_libraries = 'lifecycle'", 'autovacuum = off', @conf) . "\n");
	$node->start;
	return $node;
}

# A lifecycle `customer` with a workflow `greeting`: each event `go` of a customer enrolls, sends, waits, and sends again.
sub define_shop
{
	my ($node, $db, $delay) = @_;
	$delay //= '50 milliseconds';
	$node->safe_psql(
		$db, qq{
		CREATE EXTENSION IF NOT EXISTS lifecycle;
		SET search_path = public, lifecycle;
		CREATE TABLE customers (id bigint PRIMARY KEY, email text);
		CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL, name text NOT NULL,
			occurred_at timestamptz NOT NULL DEFAULT now());
		SELECT define_lifecycle('customer', on_table => 'customers', stages => '{new,regular}');
		SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name',
			time_column => 'occurred_at');
		SELECT define_transition('customer', 'new', 'regular', on_event => 'go');
		SELECT define_template('customer', 'hello', subject_line => 'Hello {{ customer.email }}', body => 'Hello');
		SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'),
			steps => steps(send('email', 'hello'), delay('$delay'), send('email', 'hello')));
	});
	return;
}

# New customers first … last, each with the event that enrolls it.
sub enter
{
	my ($node, $db, $first, $last) = @_;
	$node->safe_psql(
		$db, qq{
		INSERT INTO customers SELECT g, 'c' || g || '\@example.com' FROM generate_series($first, $last) g;
		INSERT INTO events (customer_id, name) SELECT g, 'go' FROM generate_series($first, $last) g;
	});
	return;
}

sub worker
{
	my ($node, $db, $column) = @_;
	return $node->safe_psql($db, "SELECT $column FROM lifecycle._worker_info()");
}

sub scheduler_pid
{
	my ($node, $db) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler' AND datname = '$db'");
}

# Waits for a scheduler in the database that sleeps; returns its pid.
sub wait_for_scheduler
{
	my ($node, $db) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity
		  WHERE backend_type = 'lifecycle scheduler' AND datname = '$db' AND state = 'idle' AND wait_event = 'Extension'")
	  or die "no scheduler in $db";
	return scheduler_pid($node, $db);
}

sub wait_for_no_scheduler
{
	my ($node, $db) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler' AND datname = '$db'");
}

sub wait_until_gone
{
	my ($node, $pid) = @_;
	return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
}

# Waits until the scheduler is in a batch that sleeps.
sub wait_until_busy
{
	my ($node) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'lifecycle scheduler' AND wait_event = 'PgSleep'")
	  or die 'not busy';
	return;
}

# A function pass_gate(id) for steps, in which every n-th customer waits while the gate is closed; further lines of its body.
sub define_gate
{
	my ($node, $nth, $more) = @_;
	$more //= '';
	$node->safe_psql(
		'postgres', qq{
		CREATE TABLE gate (open boolean);
		INSERT INTO gate VALUES (true);
		CREATE FUNCTION pass_gate(id bigint) RETURNS bigint LANGUAGE plpgsql AS \$\$
		BEGIN
			WHILE id % $nth = 3 AND NOT (SELECT open FROM public.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
			$more
			RETURN id;
		END\$\$});
	return;
}

sub set_gate
{
	my ($node, $open) = @_;
	$node->safe_psql('postgres', "UPDATE gate SET open = $open");
	return;
}

# New customers first … last, and the scheduler in the middle of one of their batches, at the gate; returns its pid.
sub get_busy
{
	my ($node, $first, $last) = @_;
	set_gate($node, 'false');
	enter($node, 'postgres', $first, $last);
	wait_until_busy($node);
	return scheduler_pid($node, 'postgres');
}

# What is known of batches that were interrupted.
sub interrupted
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT lifecycle, batch_rows, attempts FROM lifecycle._interrupted');
}

# How often a process of the server was killed.
sub crashes
{
	my ($node) = @_;
	my $n = () = slurp_file($node->logfile) =~ /was terminated by signal 9/g;
	return $n;
}

# Waits until every run of the workflow has ended.
sub wait_until_done
{
	my ($node, $db, $customers) = @_;
	return $node->poll_query_until($db,
		"SELECT count(*) = $customers AND count(*) FILTER (WHERE ended_at IS NULL) = 0 FROM customer.enrollments");
}

# Every customer has been through the workflow once, with every effect once, and no invariant is broken.
sub is_sound
{
	my ($node, $db, $customers, $what) = @_;
	is( $node->safe_psql(
			$db, q{
			SELECT (SELECT count(*) FROM customer.enrollments WHERE exit_reason = 'completed'), count(*), count(DISTINCT subject_id),
			       count(DISTINCT (subject_id, step)), count(DISTINCT idempotency_key), (SELECT count(*) FROM customer._due),
			       (SELECT count(*) FROM customer.transitions WHERE to_stage = 'regular'), (SELECT count(*) FROM customer.failures)
			  FROM customer.messages}),
		join('|', $customers, 2 * $customers, $customers, 2 * $customers, 2 * $customers, 0, $customers, 0),
		"$what: every effect is there once");
	is($node->safe_psql($db, "SELECT * FROM lifecycle.verify('customer')"), '', "$what: verify() finds nothing");
	return;
}

# What waits.
sub in_flight
{
	my ($server, $db) = @_;
	return $server->safe_psql($db, 'SELECT count(*), min(due_at), max(due_at) FROM customer._due');
}

# A copy of a database in which the workflow had sent to 50 customers and had more to do, which is due.
sub is_paused_copy
{
	my ($server, $db, $what, $in_flight) = @_;
	ok($server->poll_query_until($db, "SELECT state = 'paused' FROM lifecycle._worker_info()"), "$what: paused");
	is($server->safe_psql($db, 'SELECT lifecycle._installation_state()'), 'copy', "$what: for being a copy");
	is(in_flight($server, $db), $in_flight, "$what: work is in flight");
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
sub copy_resumes
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

1;
