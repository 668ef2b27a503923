# pg_upgrade keeps definitions and state with work in flight as they are; the new server starts paused, as a copy, and loses nothing.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_node('old', 'max_worker_processes = 16', 'lifecycle.scheduler = off');
my $new = new_node('new', 'max_worker_processes = 16');
$new->stop;

# Dropped objects make the OIDs of the two servers differ. Besides the lifecycle that is looked at further down there is one with what else there is.
$old->safe_psql('postgres', 'CREATE TABLE dropped AS SELECT 1; DROP TABLE dropped; CREATE DATABASE shop; CREATE ROLE baker');
define_shop($old, 'shop', '1 hour');
my $definitions = q{
	SET search_path = public, lifecycle;
	SET ROLE baker;
	SELECT define_lifecycle('guest', 'guests', stages => '{a,b,c}', timezone => 'guest.zone');
	SELECT define_event_source('guest', 'visits', subject_column => 'guest_id', name_column => 'what', time_column => 'at');
	SELECT define_event_source('guest', 'orders', subject_column => 'guest_id', event_name => 'paid', time_column => 'at',
		becomes => $$ event.status = 'paid' $$);
	SELECT define_transition('guest', 'a', 'b', on_event => 'paid', source => 'orders',
		condition => $$ twice(event.amount) > 20 AND guest.mood = 'good' $$);
	SELECT define_transition('guest', 'b', 'c', on_date => 'guest.birthday');
	SELECT define_transition('guest', 'c', 'a', without_event => 'come', after => '3 days');
	SELECT define_template('guest', 'bill', subject_line => 'Bill', body => 'Bill',
		html_body => '<b>{{ guest.name }}</b> {% if subject.stage == "b" %}b{% endif %}');
	SELECT define_workflow('guest', 'billing', state => 'live', entry => on_stage('b'), exit => on_event('come', $$ event.guest_id <> guest.id $$, 'visits'),
		goal => goal(on_change($$ guest.mood = 'bad' $$), within => '2 days'),
		steps => steps(run_sql('INSERT INTO bills VALUES (guest.id)'), send('letter', 'bill', "to" => 'SELECT guest.name AS address'), delay('1 day'),
			branch($$ twice(guest.amount) > 0 $$, yes => set_stage('c'), no => exit('nothing'))));
};
$old->safe_psql(
	'shop', qq{
	SELECT lifecycle.define_transition('customer', 'regular', 'new', after => '1 day', name => 'falls asleep');
	GRANT CREATE ON DATABASE shop TO baker;
	GRANT ALL ON SCHEMA public TO baker;
	SET ROLE baker;
	CREATE TYPE mood AS ENUM ('bad', 'good');
	CREATE TABLE guests (dropped int, id uuid PRIMARY KEY, name text, zone text DEFAULT 'Europe/Rome', birthday date, mood mood DEFAULT 'good', amount numeric);
	ALTER TABLE guests DROP COLUMN dropped;
	CREATE TABLE orders (guest_id uuid, status text, amount numeric, at timestamptz DEFAULT now());
	CREATE TABLE visits (guest_id uuid, what text, at timestamptz DEFAULT now()) PARTITION BY HASH (guest_id);
	CREATE TABLE visits_1 PARTITION OF visits FOR VALUES WITH (MODULUS 1, REMAINDER 0);
	CREATE TABLE bills (guest_id uuid);
	CREATE FUNCTION twice(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
	$definitions
	INSERT INTO guests (id, name, birthday, amount)
	SELECT gen_random_uuid(), 'g' || g, CASE WHEN g % 2 = 0 THEN date '2200-01-01' END, g FROM generate_series(1, 20) g;
	INSERT INTO visits SELECT id, 'come' FROM guests;
	INSERT INTO orders SELECT id, 'new', amount FROM guests;
	UPDATE orders SET status = 'paid';
	SELECT lifecycle.run_due('guest', 4)});

# Runs that wait and are due, timers, messages. The old server has a scheduler from the next start on, which is the one that pg_upgrade makes.
enter($old, 'shop', 1, 50);
$old->safe_psql('shop', "SELECT lifecycle.run_due('customer')");
$old->safe_psql('shop', "UPDATE customer._due SET due_at = due_at - interval '2 hours' WHERE kind <> 'r'");
my $in_flight = in_flight($old, 'shop');
like($in_flight, qr/^100\|/, 'runs and timers wait');

# All rows that there are in the database, and the triggers.
sub dump_of
{
	my ($node) = @_;
	my ($dump, $errors) = run_command([ 'pg_dump', '--data-only', '-d', $node->connstr('shop') ]);
	is($errors, '', 'pg_dump of the ' . $node->name . ' server');
	my $triggers = $node->safe_psql('shop',
		"SELECT pg_get_triggerdef(oid), tgenabled, obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname");
	return grep { !/^\\(un)?restrict/ } split /\n/, "$dump\n$triggers";
}

my @before = dump_of($old);
$old->append_conf('postgresql.conf', "lifecycle.scheduler = on");
$old->stop;
chdir PostgreSQL::Test::Utils::tempdir() or die;
my $bin = $new->config_data('--bindir');
command_ok(
	[ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin, '-s', $new->host, '-p', $old->port, '-P', $new->port ],
	'pg_upgrade');

$new->start;
is_paused_copy($new, 'shop', 'upgraded', $in_flight);
is_deeply([ dump_of($new) ], \@before, 'rows and triggers are those of the old server');
is($new->safe_psql('shop', $definitions), join("\n", ('unchanged') x 8), 'definitions are unchanged');
is($new->safe_psql('shop', "SELECT * FROM lifecycle.verify()"), '', 'verify() finds nothing');
my $guests = "SELECT count(*), count(DISTINCT guest_id), (SELECT count(*) FROM guest.messages) FROM bills";
is($new->safe_psql('shop', $guests), '4|4|4', 'of the other lifecycle some runs had not begun');
$new->safe_psql('shop', "UPDATE orders SET amount = 11 WHERE amount = 10; UPDATE orders SET status = status || 'x'; UPDATE orders SET status = 'paid' WHERE amount = 11");
copy_resumes($new, 'shop', 'upgraded');
ok($new->poll_query_until('shop', 'SELECT count(*) = 11 FROM guest.messages'), 'the other lifecycle goes on too');
is($new->safe_psql('shop', $guests), '11|11|11', 'with every effect once, also of what came while it was paused');

# So would the old one.
$old->start;
ok(wait_until_done($old, 'shop', 50), 'the old server could go on too');
is($old->safe_psql('shop', "SELECT count(*), count(DISTINCT (subject_id, step)) FROM customer.messages"), '100|100', 'with every effect once');
for my $node ($old, $new)
{
	$node->stop;
	unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
}
done_testing();
