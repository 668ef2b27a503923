# What a step leaves to the end of its transaction, in a batch of which another step fails: constraints that are deferred, and open cursors.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION lifecycle;
	SET search_path = public, lifecycle;
	CREATE TABLE parents (id bigint PRIMARY KEY);
	CREATE TABLE children (parent bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
	CREATE FUNCTION family(id bigint) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.children VALUES (id);
		IF id = 101 THEN RAISE 'too bad'; END IF;
		IF id <> 103 THEN INSERT INTO public.parents VALUES (id); END IF;
	END $$;
	CREATE TABLE customers (id bigint PRIMARY KEY);
	SELECT define_lifecycle('customer', 'customers', stages => '{a}');
	SELECT define_workflow('customer', 'family', state => 'live', entry => on_stage('a'), steps => run_sql('SELECT public.family(customer.id)'));
});
wait_for_scheduler($node, 'postgres');
$node->safe_psql('postgres', 'INSERT INTO customers SELECT generate_series(101, 106)');
$node->poll_query_until('postgres', "SELECT count(*) = 6 FROM (SELECT FROM customer.failures UNION ALL SELECT FROM customer.enrollments WHERE exit_reason = 'completed') AS done")
  or die 'not run';
is( $node->safe_psql('postgres', 'SELECT subject_id, sqlstate FROM customer.failures ORDER BY 1'),
	"101|P0001\n103|23503",
	'a row that fails, one that breaks a deferred constraint');
is($node->safe_psql('postgres', 'SELECT string_agg(parent::text, $$ $$ ORDER BY parent) FROM children'), '102 104 105 106', 'the others may break theirs until the end');

# Cursors on a temporary table, which is to go after the batch.
$node->safe_psql(
	'postgres', q{
	SET search_path = public, lifecycle;
	CREATE TABLE orders (id bigint);
	CREATE FUNCTION leave_open(id bigint) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		row refcursor;
	BEGIN
		CREATE TEMP TABLE IF NOT EXISTS scratch (n int);
		INSERT INTO scratch VALUES (1), (2);
		OPEN row FOR SELECT * FROM scratch;
		MOVE row;
		IF id = 201 THEN RAISE 'too bad'; END IF;
		INSERT INTO public.orders VALUES (id);
	END $$;
	SELECT define_workflow('customer', 'cursor', state => 'live', entry => on_stage('a'), steps => run_sql('SELECT public.leave_open(customer.id)'));
	SELECT drop_workflow('customer', 'family');
	INSERT INTO customers SELECT generate_series(201, 204);
});
ok($node->poll_query_until('postgres', "SELECT count(*) = 3 FROM customer.enrollments WHERE workflow = 'cursor' AND exit_reason = 'completed'"),
	'steps that leave cursors open');
is($node->safe_psql('postgres', 'SELECT subject_id, message FROM customer.failures WHERE subject_id > 200'), '201|too bad', 'one that fails');
is($node->safe_psql('postgres', 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM orders'), '202 203 204', 'each once');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'scratch'"), 0, 'and the temporary table is gone');
is($node->safe_psql('postgres', 'SELECT * FROM lifecycle.verify()'), '', 'verify finds nothing');

done_testing();
