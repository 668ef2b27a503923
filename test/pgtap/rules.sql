-- Transition rules: where they lead from, who wins, chains to a fixpoint, cycles, and what conditions may read.
\ir shop.psql
SELECT plan(44);

-- from one stage, several in both spellings, any, none
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'one');
SELECT define_transition('customer', '{awareness,consideration}', 'conversion', on_event => 'several');
SELECT define_transition('customer', ARRAY['conversion', 'retention'], 'advocacy', on_event => 'array');
SELECT define_transition('customer', 'any', 'lost', on_event => 'unsubscribed');
SELECT define_transition('customer', NULL, 'retention', condition => $$ customer.plan = 'migrated' $$);
SELECT customer(1), customer(2), customer(3), customer(4, plan => 'migrated');
SELECT is(path(4), 'retention', 'an entry rule whose condition is true says where a subject begins');
SELECT is(causes(4), 'entry:new to retention if condition', 'and it is the cause');
SELECT is(causes(1), 'entry', 'others begin in the first stage, by no rule');
SELECT event(1, 'one'), event(1, 'one');
SELECT is(path(1), 'awareness > consideration', 'from one stage: the second event finds the subject elsewhere');
SELECT event(1, 'several'), event(2, 'several');
SELECT is(path(1), 'awareness > consideration > conversion', 'from the second of several stages');
SELECT is(path(2), 'awareness > conversion', 'from the first of several');
SELECT event(2, 'array'), event(4, 'array'), event(3, 'array');
SELECT is(path(2), 'awareness > conversion > advocacy', 'an array of stages: the first');
SELECT is(path(4), 'retention > advocacy', 'an array of stages: the second');
SELECT is(path(3), 'awareness', 'a stage that is not in it');
SELECT event(id, 'unsubscribed') FROM generate_series(1, 4) AS id;
SELECT is(path(3), 'awareness > lost', 'from any stage');
SELECT is(path(4), 'retention > advocacy > lost', 'from any other stage');
SELECT event(3, 'unsubscribed');
SELECT is(path(3), 'awareness > lost', 'any does not mean from the stage itself');
SELECT verified();

-- priorities, ties
SELECT forget();
SELECT customer(10), customer(11), customer(12, plan => 'team');
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'go', name => 'a last', priority => 200);
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'go', name => 'c');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'go', name => 'b');
SELECT define_transition('customer', 'awareness', 'advocacy', on_event => 'go', name => 'z first', priority => -1, condition => $$ customer.plan = 'team' $$);
SELECT event(10, 'go');
SELECT is(causes(10), 'entry, rule:b', 'of equal priority the first name wins');
SELECT event(12, 'go');
SELECT is(causes(12), 'entry, rule:z first', 'the lowest number wins, when its condition is true');
SELECT is(path(10), 'awareness > consideration', 'one event moves once');
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'go', name => 'c', priority => 50);
SELECT event(11, 'go');
SELECT is(causes(11), 'entry, rule:c', 'a new priority counts from now on');

-- ties between rules with a condition alone
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', condition => $$ customer.plan = 'x' $$, name => 'z', priority => 5);
SELECT define_transition('customer', 'awareness', 'advocacy', condition => $$ customer.plan IN ('x', 'y') $$, name => 'a');
SELECT customer(20), customer(21);
UPDATE customers SET plan = CASE id WHEN 20 THEN 'x' ELSE 'y' END WHERE id IN (20, 21);
SELECT is(causes(20), 'entry, rule:z', 'conditions: the lowest number wins');
SELECT is(causes(21), 'entry, rule:a', 'the only one that is true');
SELECT verified();

-- chains to a fixpoint
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'go', name => 'start');
SELECT define_transition('customer', 'consideration', 'conversion', condition => 'true', name => 'chain 1');
SELECT define_transition('customer', 'conversion', 'retention', condition => $$ customer.plan <> 'stop' $$, name => 'chain 2');
SELECT define_transition('customer', 'retention', 'advocacy', condition => $$ customer.plan = 'team' $$, name => 'chain 3');
SELECT customer(30), customer(31, plan => 'team'), customer(32, plan => 'stop');
SELECT event(id, 'go') FROM generate_series(30, 32) AS id;
SELECT is(path(30), 'awareness > consideration > conversion > retention', 'rules chain as far as their conditions are true');
SELECT is(path(31), 'awareness > consideration > conversion > retention > advocacy', 'one of them further');
SELECT is(path(32), 'awareness > consideration > conversion', 'one of them not so far');
SELECT is((SELECT count(DISTINCT at) FROM customer.transitions WHERE subject_id = 31 AND cause = 'rule'), 1::bigint, 'all at the time of the event');
UPDATE customers SET plan = 'team' WHERE id = 32;
SELECT is(path(32), 'awareness > consideration > conversion > retention > advocacy', 'a changed row goes on with the chain');
SELECT verified();

-- a condition reads subject.stage and subject.since, again after each move
SELECT forget();
SELECT define_transition('customer', 'any', 'advocacy', condition => $$ subject.stage = 'conversion' AND subject.since >= '2026-02-01' $$, name => 'late converts');
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'purchase', name => 'buy');
SELECT customer(40), customer(41);
SELECT event(40, 'purchase', '2026-01-31 23:59:59+00'), event(41, 'purchase', '2026-02-01 00:00+00');
SELECT is(path(40), 'awareness > conversion', 'subject.since: too early');
SELECT is(path(41), 'awareness > conversion > advocacy', 'subject.stage and since are those of the stage just entered');

-- level-triggered: the condition was true long before; entering a stage that the rule leaves makes it count
SELECT forget();
SELECT define_transition('customer', 'retention', 'advocacy', condition => $$ customer.plan = 'team' $$, name => 'team');
SELECT customer(50, plan => 'team');
SELECT is(path(50), 'awareness', 'true, but in another stage');
SELECT move('customer', 50, 'retention', reason => 'phone call');
SELECT is(path(50), 'awareness > retention > advocacy', 'true already when the stage is entered: the rule fires');
SELECT is((SELECT reason || ', ' || actor FROM customer.transitions WHERE subject_id = 50 AND cause = 'manual'), 'phone call, ' || session_user, 'a manual move says who and why');
SELECT is(move('customer', 50, 'advocacy'), false, 'a move to where one is, is none');
-- a definition alone moves nobody
SELECT customer(51, plan => 'gone');
SELECT define_transition('customer', 'awareness', 'lost', condition => $$ customer.plan = 'gone' $$, name => 'gone');
SELECT is(path(51), 'awareness', 'a new rule moves nobody by itself');
UPDATE customers SET first_name = 'Changed' WHERE id = 51;
SELECT is(path(51), 'awareness', 'nor does a change of a column that no condition reads');
UPDATE customers SET plan = 'gone' WHERE id = 51;
SELECT is(path(51), 'awareness', 'nor an update that changes nothing');
SELECT verified();

-- cycles
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', condition => $$ customer.plan = 'spin' $$, name => 'there');
SELECT define_transition('customer', 'consideration', 'conversion', condition => $$ customer.plan = 'spin' $$, name => 'on');
SELECT define_transition('customer', 'conversion', 'awareness', condition => $$ customer.plan = 'spin' $$, name => 'and back');
SELECT customer(60);
SET lifecycle.on_error = 'raise';
SELECT throws_ok($$ UPDATE customers SET plan = 'spin' WHERE id = 60 $$, 'LC001', 'transition rules of lifecycle "customer" chain without end',
    'on_error = raise: a cycle is an error');
RESET lifecycle.on_error;
SELECT is(path(60), 'awareness', 'and nothing has changed');
UPDATE customers SET plan = 'spin' WHERE id = 60;
SELECT is((SELECT plan FROM customers WHERE id = 60), 'spin', 'on_error = record: the statement goes on');
SELECT is((SELECT message FROM customer.failures WHERE subject_id = 60), 'transition rules chain without end: "there", "on", "and back"', 'the rules of the cycle are named');
SELECT is(path(60), 'awareness > consideration > conversion > awareness', 'and the subject stays where the chain came round');
-- two rules back and forth on events are no cycle
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'toggle');
SELECT define_transition('customer', 'consideration', 'awareness', on_event => 'toggle');
SELECT customer(61);
INSERT INTO events (customer_id, name) SELECT 61, 'toggle' FROM generate_series(1, 100);
SELECT is((SELECT count(*) FROM customer.transitions WHERE subject_id = 61), 101::bigint, 'a hundred events back and forth are no cycle');
SELECT is((SELECT count(*) FROM customer.failures), 1::bigint, 'nothing else failed');
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
