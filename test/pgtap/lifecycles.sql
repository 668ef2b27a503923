-- Several lifecycles over the same tables, a table that is its own source, stages that change their names, strict lifecycles, and rules that change
-- while people wait.
\ir shop.psql
SELECT plan(59);

-- two lifecycles of one table, one event table for both; deals of customers as a third, fed by the same events
SELECT define_lifecycle('loyalty', 'customers', stages => '{bronze,silver,gold}', simulated => true);
SELECT define_event_source('loyalty', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'purchase');
SELECT define_transition('loyalty', 'bronze', 'silver', on_event => 'purchase', condition => $$ (SELECT count(*) FROM events e WHERE e.customer_id = loyalty.id AND e.name = 'purchase') >= 2 $$);
SELECT define_transition('loyalty', 'silver', 'gold', condition => $$ loyalty.plan = 'team' $$);
CREATE FUNCTION grades(customer bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg(coalesce(to_stage::text, '-'), ' > ' ORDER BY seq) FROM loyalty.transitions WHERE subject_id = customer); END $$;
SELECT customer(1), customer(2);
SELECT event(1, 'purchase');
SELECT is(path(1) || '; ' || grades(1), 'awareness > conversion; bronze', 'one event, two lifecycles');
INSERT INTO events (customer_id, name) VALUES (1, 'purchase'), (2, 'purchase'), (2, 'purchase');
SELECT is(grades(1) || '; ' || grades(2), 'bronze > silver; bronze > silver', 'a condition with a subquery sees all rows of the statement');
UPDATE customers SET plan = 'team';
SELECT is(grades(1) || '; ' || path(1), 'bronze > silver > gold; awareness > conversion', 'a changed row');
DELETE FROM customers WHERE id = 2;
SELECT is((SELECT event_at FROM customer.transitions WHERE subject_id = 2 AND cause = 'delete'), NULL, 'a deletion is no event');
SELECT is(grades(2) || '; ' || path(2), 'bronze > silver > gold > -; awareness > conversion > -', 'a deleted one');
SELECT verified();
SELECT verified('loyalty');
SELECT drop_lifecycle('loyalty');
SELECT event(1, 'purchase');
SELECT verified();

-- the subject table as a source of its own events
CREATE TABLE tickets (id serial PRIMARY KEY, status text NOT NULL DEFAULT 'open', severity int DEFAULT 1, opened_at timestamptz DEFAULT lifecycle.now('ticket'), changed_at timestamptz);
SELECT define_lifecycle('ticket', 'tickets', stages => '{waiting,answered,solved,escalated}', simulated => true);
SELECT define_event_source('ticket', 'tickets', subject_column => 'id', event_name => 'answer', time_column => 'changed_at', becomes => $$ event.status = 'answered' $$, name => 'answers');
SELECT define_event_source('ticket', 'tickets', subject_column => 'id', event_name => 'solved', time_column => 'changed_at', becomes => $$ event.status = 'solved' $$, name => 'solutions');
SELECT define_transition('ticket', 'waiting', 'answered', on_event => 'answer');
SELECT define_transition('ticket', '{waiting,answered,escalated}', 'solved', on_event => 'solved');
SELECT define_transition('ticket', 'waiting', 'escalated', after => '4 hours', condition => 'ticket.severity > 1');
CREATE FUNCTION ways() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg(way, '; ' ORDER BY subject_id) FROM (SELECT subject_id, string_agg(to_stage::text, ' > ' ORDER BY seq) AS way FROM ticket.transitions GROUP BY 1) AS w); END $$;
INSERT INTO tickets (severity, status, changed_at) VALUES (1, 'open', NULL), (2, 'open', NULL), (2, 'open', NULL), (1, 'solved', lifecycle.now('ticket'));
SELECT is(ways(), 'waiting; waiting; waiting; waiting > solved', 'a row that is an event at its insertion');
UPDATE tickets SET status = 'answered', changed_at = lifecycle.now('ticket') + interval '1 hour' WHERE id = 2;
SELECT advance_clock('5 hours');
SELECT is(ways(), 'waiting; waiting > answered; waiting > escalated; waiting > solved', 'an update that is one, and a service level that is missed');
UPDATE tickets SET status = 'solved', changed_at = lifecycle.now('ticket');
SELECT is(ways(), 'waiting > solved; waiting > answered > solved; waiting > escalated > solved; waiting > solved', 'an update of all');
SELECT verified('ticket');

-- a source whose rows are written by a trigger of the user on another source: capture within capture
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.name = 'order' THEN INSERT INTO scenario.events (customer_id, name, occurred_at) VALUES (new.customer_id, 'purchase', new.occurred_at); END IF; RETURN NULL; END $$;
CREATE TRIGGER echo AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION echo();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'order');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'purchase');
SELECT customer(10);
SELECT event(10, 'order');
SELECT is((SELECT count(*) FROM customer.transitions WHERE subject_id = 10), 2::bigint, 'the inner statement is captured first, then the outer one');
DROP TRIGGER echo ON events;
-- a trigger on the user's table that writes the subject's row
CREATE FUNCTION upgrade() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE scenario.customers SET plan = 'vip' WHERE id = new.customer_id; RETURN NULL; END $$;
CREATE TRIGGER upgrade AFTER INSERT ON events FOR EACH ROW WHEN (new.name = 'upgrade') EXECUTE FUNCTION upgrade();
SELECT define_transition('customer', 'any', 'advocacy', condition => $$ customer.plan = 'vip' $$);
SELECT customer(11);
SELECT event(11, 'upgrade');
SELECT is(path(11), 'awareness > advocacy', 'a row changed by a trigger of the user');
SELECT verified();

-- stages: renamed with people in them, retired
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'x', name => 'to be renamed');
SELECT define_transition('customer', 'consideration', 'conversion', after => '5 days', name => 'timer');
SELECT define_workflow('customer', 'move', state => 'live', entry => on_stage('consideration'), steps => steps(delay('1 day'), set_stage('retention'), branch($$ subject.stage = 'retention' $$, yes => exit('renamed'))));
SELECT customer(20), customer(21);
SELECT event(20, 'x');
SELECT run_due();
SELECT rename_stage('customer', 'consideration', 'thinking about it'), rename_stage('customer', 'retention', 'kept');
SELECT is(path(20), 'awareness > thinking about it', 'a renamed stage, in history too');
SELECT event(21, 'x');
SELECT is(path(21), 'awareness > thinking about it', 'and in rules');
SELECT is(runs(21), 'move: …', 'and in triggers');
SELECT advance_clock('1 day');
SELECT is(path(20), 'awareness > thinking about it > kept', 'a step that sets it');
SELECT is(runs(20), 'move: renamed', 'a condition that compares it');
SELECT verified();
SELECT rename_stage('customer', 'thinking about it', 'consideration'), rename_stage('customer', 'kept', 'retention');
SELECT drop_workflow('customer', 'move');
SELECT move('customer', 21, 'lost');
SELECT retire_stage('customer', 'lost');
SELECT throws_ok($$ SELECT move('customer', 20, 'lost') $$, NULL, NULL, 'nobody enters a retired stage');
SELECT throws_ok($$ SELECT define_transition('customer', 'awareness', 'lost', on_event => 'x') $$, NULL, NULL, 'no rule leads to it');
SELECT lives_ok($$ SELECT move('customer', 21, 'awareness') $$, 'who is there may leave');
SELECT verified();

-- strict: a manual move needs a rule that allows it
SELECT define_lifecycle('pipeline', 'tickets', stages => '{a,b,c}', strict => true, simulated => true);
SELECT define_transition('pipeline', 'a', 'b');
SELECT define_transition('pipeline', 'b', 'c', on_date => 'pipeline.opened_at + interval ''1 year''');
SELECT waive_backfill('pipeline');
SELECT is(move('pipeline', 1, 'b'), true, 'strict: a move that a rule without a trigger allows');
SELECT throws_ok($$ SELECT move('pipeline', 1, 'a') $$, 'LC003', NULL, 'one that no rule allows');
SELECT is(move('pipeline', 1, 'c'), true, 'a rule with a trigger allows it too');
SELECT define_workflow('pipeline', 'force', state => 'live', steps => set_stage('a'));
SELECT enroll('pipeline', 'force', 1) AS run \gset
SELECT run_due('pipeline');
SELECT is((SELECT stage::text FROM pipeline.subjects WHERE subject_id = 1), 'a', 'workflows are not manual');
SELECT is_empty($$ SELECT * FROM verify('pipeline') WHERE invariant <> 'a row in the subject table is a subject' $$, 'verify finds nothing but those who were there before');

-- rules that change while people wait
SELECT forget();
SET lifecycle.clock = '2026-02-01 00:00+00';
SELECT define_transition('customer', 'awareness', 'conversion', after => '30 days', name => 'timer');
SELECT customer(30);
SELECT advance_clock('5 days');
SELECT define_transition('customer', 'awareness', 'conversion', after => '10 days', name => 'timer');
SELECT advance_clock(until => '2026-02-11 00:00+00');
SELECT is(since(30), '2026-02-11', 'a timer that has become shorter');
SELECT customer(31);
SELECT define_transition('customer', 'awareness', 'conversion', after => '20 days', name => 'timer');
SELECT advance_clock(until => '2026-02-21 00:00+00');
SELECT is(path(31), 'awareness', 'one that has become longer');
SELECT advance_clock(until => '2026-03-03 00:00+00');
SELECT is(since(31), '2026-03-03', 'fires at its new time');
SELECT customer(32);
SELECT define_transition('customer', 'awareness', 'advocacy', after => '3 days', name => 'timer');
SELECT advance_clock('3 days');
SELECT is(path(32), 'awareness > advocacy', 'one that leads elsewhere now');
SELECT customer(33);
SELECT define_transition('customer', 'awareness', 'retention', on_event => 'x', name => 'timer');
SELECT advance_clock('30 days');
SELECT is(path(33), 'awareness', 'one that waits for an event now');
SELECT verified();
-- a rule that is defined when people are there already
SELECT drop_transition('customer', 'timer');
SET lifecycle.clock = '2026-05-01 00:00+00';
INSERT INTO customers (id, renewal_at) VALUES (40, '2026-06-01'), (41, NULL);
SELECT advance_clock('10 days');
SELECT define_transition('customer', 'awareness', 'inactive', without_event => 'login', after => '30 days', name => 'silent');
SELECT define_transition('customer', 'awareness', 'consideration', on_date => 'customer.renewal_at - interval ''7 days''', name => 'renewal');
SELECT advance_clock(until => '2026-05-25 00:00+00');
SELECT is(path(40), 'awareness > consideration', 'a date of someone who was there before the rule');
SELECT advance_clock(until => '2026-05-31 00:00+00');
SELECT is(since(41), '2026-05-31', 'a silence that began before the rule');
SELECT verified();

-- a column that a rule reads is renamed, and a table
ALTER TABLE customers RENAME COLUMN plan TO tariff;
ALTER TABLE events RENAME COLUMN name TO what;
ALTER TABLE events RENAME TO happenings;
ALTER TABLE customers RENAME TO people;
SELECT define_transition('customer', 'any', 'advocacy', on_event => 'go', condition => $$ customer.tariff = 'gold' $$, name => 'go');
INSERT INTO people (id, tariff) VALUES (50, 'gold');
INSERT INTO happenings (customer_id, what) VALUES (50, 'go');
SELECT is(path(50), 'awareness > advocacy', 'tables and columns may be renamed');
ALTER TABLE people RENAME COLUMN tariff TO plan;
INSERT INTO people (id, plan) VALUES (51, 'gold');
INSERT INTO happenings (customer_id, what) VALUES (51, 'go');
SELECT is(path(51), 'awareness > advocacy', 'also those that conditions read');
ALTER TABLE people SET SCHEMA public;
INSERT INTO public.people (id, plan) VALUES (52, 'gold');
INSERT INTO happenings (customer_id, what) VALUES (52, 'go');
SELECT is(path(52), 'awareness > advocacy', 'and move to another schema');
SELECT throws_ok($$ ALTER TABLE public.people DROP COLUMN plan $$, '2BP01', NULL, 'a column that a condition reads cannot be dropped');
SELECT verified();
-- templates are text, which renames do not reach
SELECT define_template('customer', 'tariff', subject_line => '{{ customer.plan }}', body => '{{ customer.email | default: "-" }} {{ event.anything }}', html_body => '{{ customer.plan | upcase }}');
SELECT verified();
ALTER TABLE public.people RENAME COLUMN plan TO tariff;
SELECT results_eq($$ SELECT invariant, detail FROM verify('customer') $$,
    $$ VALUES ('templates find their columns', 'template "tariff" uses column "plan" of customer, which does not exist') $$, 'verify names the columns that templates miss');
-- the column with the address is followed when it is renamed, and named when it is gone
ALTER TABLE public.people RENAME COLUMN tariff TO plan;
ALTER TABLE public.people ADD COLUMN letter text;
SELECT define_workflow('customer', 'post', steps => send('letter', 'tariff'));
ALTER TABLE public.people RENAME COLUMN letter TO mailbox;
SELECT verified();
ALTER TABLE public.people DROP COLUMN mailbox;
SELECT results_eq($$ SELECT invariant, detail FROM verify('customer') $$,
    $$ VALUES ('sends find the address', 'step "send_1" of workflow "post", version 1, sends to column "mailbox" of public.people, which does not exist') $$, 'verify names the columns that sends miss');
SELECT drop_workflow('customer', 'post');

-- what comes to nothing is counted; counters are kept over rollbacks, so others may have counted before
CREATE FUNCTION counted(lifecycle text, what text) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(value::bigint), 0)::bigint FROM status() s WHERE s.lifecycle = $1 AND s.what = $2 $$;
SELECT counted('customer', 'events without subject') AS before \gset
INSERT INTO happenings (customer_id, what) VALUES (987654, 'go');
SELECT is(counted('customer', 'events without subject') - :before, 1::bigint, 'an event without a subject is counted');
INSERT INTO happenings (customer_id, what) VALUES (987654, 'go'), (50, 'go'), (987655, 'go'), (987654, 'go'), (987654, 'unheard');
SELECT is(counted('customer', 'events without subject') - :before, 4::bigint, '… each of several, but none that nobody listens to');
CREATE TABLE calls (ticket bigint, at timestamptz);
SELECT define_event_source('ticket', 'calls', subject_column => 'ticket', time_column => 'at', event_name => 'answer');
SELECT counted('ticket', 'events without subject') AS before \gset
INSERT INTO calls VALUES (NULL, '2026-05-31'), (1, '2026-05-31'), (5000000000, '2026-05-31');
SELECT is(counted('ticket', 'events without subject') - :before, 2::bigint, '… also those whose key is missing, or is none of the subjects'' type');
SELECT define_workflow('customer', 'greeting', state => 'live', entry => on_event('go'), steps => delay('1 day'));
SELECT counted('customer', 're-entries suppressed') AS before \gset
INSERT INTO happenings (customer_id, what) VALUES (51, 'go'), (52, 'go');
SELECT is(counted('customer', 're-entries suppressed') - :before, 0::bigint, 'first entries are not counted');
INSERT INTO happenings (customer_id, what) VALUES (51, 'go'), (52, 'go'), (52, 'go');
SELECT is(counted('customer', 're-entries suppressed') - :before, 3::bigint, '… those that the rule of re-entry forbids are');
SELECT is(enroll('customer', 'greeting', 51), NULL, '… also by hand');
SELECT is(counted('customer', 're-entries suppressed') - :before, 4::bigint, '… each once');
SELECT verified();

-- counters go with what they count
SELECT id AS rule FROM lifecycle.transition_rules WHERE lifecycle = 'customer' AND name = 'go' \gset
SELECT is((SELECT count(*) FROM lifecycle._rule_counters() WHERE rule_id = :rule), 1::bigint, 'and what a rule does');
SELECT drop_transition('customer', 'go');
SELECT is((SELECT count(*) FROM lifecycle._rule_counters() WHERE rule_id = :rule), 0::bigint, 'a dropped rule leaves no counters');
SELECT drop_lifecycle('customer');
SELECT is((SELECT count(*) FROM lifecycle._counters() WHERE lifecycle = 'customer'), 0::bigint, 'nor does a lifecycle');

SELECT * FROM finish();
ROLLBACK;
