# One scheduler runs the statements of several owners: what the one leaves in the session must not be in the way of the other, who would use it
# with his own rights.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
$node->safe_psql('postgres', "CREATE EXTENSION lifecycle; CREATE TABLE orders (id bigint); GRANT ALL ON SCHEMA public TO public");
for my $name ('alice', 'bob')
{
	my $work = $name eq 'alice' ? 'CREATE TEMP TABLE orders (id bigint)' : 'INSERT INTO orders VALUES (1)';
	$node->safe_psql(
		'postgres', qq{
		CREATE ROLE $name;
		GRANT ALL ON orders TO $name;
		GRANT CREATE ON DATABASE postgres TO $name;
		SET ROLE $name;
		SET search_path = public, lifecycle;
		CREATE TABLE ${name}s (id bigint PRIMARY KEY);
		CREATE FUNCTION $name() RETURNS void LANGUAGE plpgsql SET search_path = public AS \$\$ BEGIN $work; END \$\$;
		SELECT define_lifecycle('$name', '${name}s', stages => '{a}');
		SELECT define_workflow('$name', 'work', state => 'live', entry => on_stage('a'), steps => run_sql('SELECT public.$name()'));
	});
}
wait_for_scheduler($node, 'postgres');
for my $round (1, 2)
{
	for my $name ('alice', 'bob')
	{
		$node->safe_psql('postgres', "INSERT INTO ${name}s VALUES ($round)");
		$node->poll_query_until('postgres',
			"SELECT count(*) = $round OR EXISTS (SELECT FROM $name.failures) FROM $name.enrollments WHERE exit_reason = 'completed'") or die "no run of $name";
		is($node->safe_psql('postgres', "SELECT message FROM $name.failures"), '', "the statement of $name works, round $round");
	}
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM orders'), 2, 'one owner does not find the temporary table of another');

# A session's first temporary table changes its search path, so statements are bound again: forced row security hides no more than before. The schema
# for it is there from the second session on that has the same number.
$node->safe_psql(
	'postgres', q{
	CREATE ROLE carol;
	GRANT CREATE ON DATABASE postgres TO carol;
	SET ROLE carol;
	SET search_path = public, lifecycle;
	CREATE TABLE carols (id bigint PRIMARY KEY);
	CREATE TABLE doings (carol_id bigint, at timestamptz DEFAULT now());
	SELECT define_lifecycle('carol', 'carols', stages => '{a,b}');
	SELECT define_event_source('carol', 'doings', subject_column => 'carol_id', event_name => 'turn', time_column => 'at');
	SELECT define_transition('carol', 'a', 'b', on_event => 'turn');
	SELECT define_transition('carol', 'b', 'a', on_event => 'turn');
	ALTER TABLE carol.subjects ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	INSERT INTO carols VALUES (1);
});
$node->safe_psql('postgres', 'INSERT INTO doings VALUES (1); CREATE TEMP TABLE t (); INSERT INTO doings VALUES (1)') for 1 .. 6;
is($node->safe_psql('postgres', "SELECT count(*) FROM carol.transitions WHERE rule IS NOT NULL"), 12, 'events before and behind a temporary table');

# Everything else that a session keeps, left behind by a statement that works and by one that fails.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE seen (who name, what text, value text);
	GRANT ALL ON seen TO public;
	SET ROLE alice;
	CREATE OR REPLACE FUNCTION public.alice() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_lock(7), setseed(0.5), set_config('app.owner', 'alice', false);
		SET work_mem = '128kB';
		SET statement_timeout = '1ms';
		SET search_path = alice;
		SET default_transaction_read_only = on;
		EXECUTE 'PREPARE greet AS SELECT 1';
		IF EXISTS (SELECT FROM public.alices WHERE id = 4) THEN RAISE 'too bad'; END IF;
	END $$;
	RESET ROLE;
	SET ROLE bob;
	CREATE OR REPLACE FUNCTION public.bob() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.seen SELECT 'bob', s, current_setting(s, true)
		  FROM unnest('{app.owner,work_mem,statement_timeout,search_path,default_transaction_read_only}'::text[]) AS s;
		INSERT INTO public.seen SELECT 'bob', 'prepared', name FROM pg_prepared_statements;
		INSERT INTO public.seen SELECT 'bob', 'lock', objid FROM pg_locks WHERE locktype = 'advisory';
		INSERT INTO public.seen SELECT 'bob', 'random', random();
	END $$;
});
my $random = $node->safe_psql('postgres', 'SELECT setseed(0.5); SELECT random()');
$random =~ s/\s//g;
for my $round (3, 4)
{
	$node->safe_psql('postgres', "INSERT INTO alices VALUES ($round)");
	$node->poll_query_until('postgres',
		"SELECT count(*) = $round FROM (SELECT FROM alice.failures UNION ALL SELECT FROM alice.enrollments WHERE exit_reason = 'completed') AS done")
	  or die "no run of alice";
	$node->safe_psql('postgres', "TRUNCATE seen; INSERT INTO bobs VALUES ($round)");
	$node->poll_query_until('postgres', "SELECT count(*) = $round FROM bob.enrollments WHERE exit_reason = 'completed'") or die "no run of bob";
	is( $node->safe_psql('postgres', "SELECT what, value FROM seen WHERE what <> 'random'"),
		"app.owner|\nwork_mem|4MB\nstatement_timeout|0\nsearch_path|pg_catalog, pg_temp\ndefault_transaction_read_only|off",
		"no settings, prepared statements and locks of another owner, round $round");
	isnt($node->safe_psql('postgres', "SELECT value FROM seen WHERE what = 'random'"), $random, "nor his random numbers, round $round");
}
is($node->safe_psql('postgres', 'SELECT message FROM alice.failures'), 'too bad', 'one of them has failed');

done_testing();
