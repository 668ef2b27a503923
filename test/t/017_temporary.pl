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

done_testing();
