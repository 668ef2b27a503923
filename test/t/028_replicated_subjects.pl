# A subject table that logical replication feeds: its rows are captured one by one, and those that are written here as ever, once.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_node('publisher', 'wal_level = logical', 'lifecycle.scheduler = off');
my $subscriber = new_node('subscriber', 'lifecycle.scheduler = off');
my $table = 'CREATE TABLE members (id bigint PRIMARY KEY, plan text, note text)';
$publisher->safe_psql('postgres', "$table; CREATE PUBLICATION pub FOR TABLE members; INSERT INTO members VALUES (1, 'free'), (2, 'paid')");
my $define = q{SELECT lifecycle.define_lifecycle('member', 'members', stages => '{new,paying,lost}')};
$subscriber->safe_psql(
	'postgres', qq{
	$table;
	CREATE EXTENSION lifecycle;
	$define;
	SET search_path = public, lifecycle;
	SELECT define_transition('member', 'new', 'paying', condition => \$\$ member.plan = 'paid' \$\$);
	SELECT define_transition('member', 'paying', 'lost', condition => \$\$ member.plan = 'none' \$\$);
	SELECT define_workflow('member', 'changed', state => 'live', reentry => 'always', entry => on_change(\$\$ member.plan = 'paid' \$\$), steps => steps(delay('1 day')));
});
my $connection = $publisher->connstr . ' dbname=postgres';
my $subscribe = "CREATE SUBSCRIPTION sub CONNECTION '$connection' PUBLICATION pub";

sub ask { return $subscriber->safe_psql('postgres', $_[0]); }

sub publish
{
	my ($sql) = @_;
	$publisher->safe_psql('postgres', $sql);
	$publisher->wait_for_catchup('sub');
	return;
}

# Who is where, and what became of their runs.
sub stages { return ask(q{SELECT string_agg(subject_id || ' ' || stage, ', ' ORDER BY subject_id) FROM member.subjects}); }

sub runs
{
	return ask(q{SELECT string_agg(subject_id || ' ' || coalesce(exit_reason, 'waits'), ', ' ORDER BY id) FROM member.enrollments});
}
my $verify = 'SELECT detail FROM lifecycle.verify()';

# defined before the subscription: named, and mended by the same definition
ask($subscribe);
$subscriber->wait_for_subscription_sync($publisher, 'sub');
is(stages(), '', 'a table that is not known to be replicated');
my $unseen = "$verify WHERE invariant = 'all changes are captured'";
is(ask($unseen), "what a subscription writes into public.members is not seen: define its lifecycle again with replicated => true", 'is named by verify');
is(ask($define), 'replaced', 'defined again, it notices the subscription');
is(ask($define), 'unchanged', 'once');
is(ask($unseen), '', 'verify finds nothing');

# the first copy
ask('DROP SUBSCRIPTION sub; TRUNCATE members');
ask(q{SELECT lifecycle.define_lifecycle('member', 'members', stages => '{new,paying,lost}', replicated => true)});
ask($subscribe);
$subscriber->wait_for_subscription_sync($publisher, 'sub');
is(stages(), '1 new, 2 paying', 'the first copy');
is(runs(), '2 waits', 'enrolls');

publish(q{BEGIN; INSERT INTO members VALUES (3, 'free'), (4, 'paid'); UPDATE members SET plan = 'none' WHERE id = 4; COMMIT});
is(stages(), '1 new, 2 paying, 3 new, 4 lost', 'inserts and an update of one transaction, one after the other');
is(runs(), '2 waits, 4 waits', 'with a run');
publish(q{UPDATE members SET note = 'x'; DELETE FROM members WHERE id = 4});
is(stages(), '1 new, 2 paying, 3 new', 'who is deleted is gone');
is(runs(), '2 waits, 4 subject_deleted', 'and so is the run');
publish(q{UPDATE members SET id = 5 WHERE id = 2});
is(stages(), '1 new, 3 new, 5 paying', 'a changed key is a deletion and an insertion');
publish(q{UPDATE members SET plan = 'paid' WHERE id = 1});
is(stages(), '1 paying, 3 new, 5 paying', 'an update');
is(runs(), '2 subject_deleted, 4 subject_deleted, 5 waits, 1 waits', 'that makes a condition true');

# what is written here counts once
ask(q{INSERT INTO members VALUES (10, 'paid')});
ask(q{UPDATE members SET plan = 'none' WHERE id = 10});
is(ask('SELECT count(*) FROM member.transitions WHERE subject_id = 10'), 3, 'a row that is written here');
is(ask($verify), '', 'verify finds nothing');

publish('TRUNCATE members');
is(stages(), '', 'all are gone');
is(ask('SELECT count(*) FROM member.enrollments WHERE ended_at IS NULL'), 0, 'with their runs');
is(ask($verify), '', 'verify finds nothing');

# without a subscription
ask('DROP SUBSCRIPTION sub');
is(ask($define), 'replaced', 'without the subscription');
is(ask(q{SELECT string_agg(DISTINCT tgtype & 1 || tgenabled::text, ' ') FROM pg_trigger WHERE tgrelid = 'members'::regclass}), '0O', 'the triggers are the usual ones');

$publisher->stop;
$subscriber->stop;
unlike(slurp_file($subscriber->logfile), qr/PANIC|was terminated by signal|TRAP|leaked/, 'no process crashed or leaked');
done_testing();
