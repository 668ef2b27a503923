# Definitions wait for the locks that others hold on the user's tables, as long as lock_timeout allows, and the error says which lock it was.
use strict;
use warnings FATAL => 'all';
use FindBin;
use lib $FindBin::RealBin;
use LifecycleTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', 'lifecycle.scheduler = off');
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION lifecycle;
	CREATE TABLE customers (id bigint PRIMARY KEY);
	CREATE TABLE events (customer_id bigint, name text, at timestamptz DEFAULT now());
	CREATE TABLE visits (LIKE events INCLUDING ALL);
	CREATE TABLE "it's %s" (LIKE events INCLUDING ALL)});

my $lifecycle = "lifecycle.define_lifecycle('customer', 'customers', stages => '{new,regular}')";
my $source = "lifecycle.define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'at')";
my $moved = "lifecycle.define_event_source('customer', 'visits', subject_column => 'customer_id', name_column => 'name', time_column => 'at', name => 'events')";
my $odd = q{lifecycle.define_event_source('customer', '"it''s %s"', subject_column => 'customer_id', name_column => 'name', time_column => 'at')};
my $rule = "lifecycle.define_transition('customer', 'new', 'regular', on_event => 'go')";
my $holder = $node->background_psql('postgres');

# While $held has been done and not committed, $sql gives up, having said what it waited for, and has done nothing; after that it returns $result.
sub gives_up
{
	my ($sql, $held, $lock, $result) = @_;
	$holder->query_safe("BEGIN; $held");
	my ($rc, $out, $err) = $node->psql('postgres', "SET lock_timeout = '50ms'; SELECT $sql");
	like($err, qr/ERROR:  canceling statement due to lock timeout\nCONTEXT:  waiting for \Q$lock\E$/m, "$sql: waits for $lock");
	$holder->query_safe('ROLLBACK');
	is($node->safe_psql('postgres', "SELECT $sql"), $result, '… and works when nobody holds it');
	return;
}

gives_up($lifecycle, 'INSERT INTO customers VALUES (1)', 'a SHARE ROW EXCLUSIVE lock on table public.customers', 'created');
gives_up($source, "INSERT INTO events VALUES (1, 'go')", 'a SHARE ROW EXCLUSIVE lock on table public.events', 'created');
gives_up($odd, q{INSERT INTO "it's %s" VALUES (1, 'go')}, q{a SHARE ROW EXCLUSIVE lock on table public."it's %s"}, 'created');
# the table that a source leaves
gives_up($moved, "INSERT INTO events VALUES (1, 'go')", 'a SHARE ROW EXCLUSIVE lock on table public.events', 'replaced');
gives_up($source, "INSERT INTO visits VALUES (1, 'go')", 'a SHARE ROW EXCLUSIVE lock on table public.visits', 'replaced');
# another definition that is under way
gives_up($rule, "SELECT lifecycle.define_template('customer', 'hello', body => 'Hello')", 'a SHARE ROW EXCLUSIVE lock on table lifecycle.lifecycles', 'created');
gives_up($lifecycle, "SELECT lifecycle.define_template('customer', 'hello', body => 'Hello')",
	'a SHARE ROW EXCLUSIVE lock on table lifecycle.lifecycles', 'unchanged');
gives_up(q{lifecycle.drop_event_source('customer', 'it''s %s')}, q{INSERT INTO "it's %s" VALUES (1, 'go')},
	q{a SHARE ROW EXCLUSIVE lock on table public."it's %s"}, '');

# What drops a lifecycle takes all locks or none: any of them may be the one.
for my $table ('public.customers', 'public.events', 'customer._due')
{
	gives_up('lifecycle.drop_lifecycle(\'customer\')', "LOCK TABLE $table IN ROW EXCLUSIVE MODE", "an ACCESS EXCLUSIVE lock on table $table", '');
	is($node->safe_psql('postgres', "SELECT $lifecycle; SELECT $source"), "created\ncreated", '… and leaves nothing');
}

$holder->quit;
done_testing();
