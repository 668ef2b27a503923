-- Runs and timers that set off each other for ever, each in a turn of its own, are cut; what has time passing, or news, goes on.
\ir shop.psql
SELECT plan(36);
SET statement_timeout = '1min';

-- the runs of a customer, and what was cut
CREATE FUNCTION turns(customer bigint, lifecycle text DEFAULT 'customer', OUT runs bigint, OUT active bigint, OUT cut bigint) LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE format('SELECT (SELECT count(*) FROM %1$I.enrollments WHERE subject_id = $1), (SELECT count(*) FROM %1$I.enrollments WHERE subject_id = $1 AND ended_at IS NULL),
        (SELECT count(*) FROM %1$I.failures WHERE subject_id = $1)', lifecycle) INTO runs, active, cut USING customer; END $$;

-- a condition that is true, and two workflows that lead back and so each to the other, on a clock that stands still
SELECT define_transition('customer', 'awareness', 'consideration', condition => 'true', name => 'on');
SELECT define_workflow('customer', name, state => 'live', entry => on_stage('consideration'), reentry => 'always', steps => steps(delay('0 days'), set_stage('awareness')))
  FROM unnest('{back,forth}'::text[]) AS name;
INSERT INTO customers (id) VALUES (1), (2);
SELECT lives_ok('SELECT run_due()', 'run_due ends');
SELECT results_eq('SELECT * FROM turns(1)', 'VALUES (101::bigint, 0::bigint, 1::bigint)', 'after a hundred runs, one of which has begun both');
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 1), 'consideration', 'what the last one has done stays');
SELECT results_eq('SELECT kind, name, sqlstate, parked FROM customer.failures WHERE subject_id = 2', $$ VALUES ('trigger', 'back', 'LC001', false) $$, 'recorded once');
SELECT matches((SELECT message FROM customer.failures WHERE subject_id = 2), 'workflow "back" loops without end: 100 runs and timers .* \(delay\)', 'with what to do');
SELECT is(run_due(), 0::bigint, 'and nothing is left');
SELECT is_empty($$ SELECT FROM customer.waiting $$, '… to wait for');
-- what the application does begins anew, by whatever way
UPDATE customers SET plan = 'team' WHERE id = 1;
SELECT is((turns(1)).runs, 101::bigint, 'who stays where he is enters nothing');
SELECT move('customer', 1, 'awareness');
SELECT run_due();
SELECT results_eq('SELECT * FROM turns(1)', 'VALUES (202::bigint, 0::bigint, 2::bigint)', 'a move by hand');
SELECT enroll('customer', 'back', 1) IS NOT NULL AS by_hand;
SELECT run_due();
SELECT results_eq('SELECT * FROM turns(1)', 'VALUES (302::bigint, 0::bigint, 3::bigint)', 'an enrollment by hand');
SELECT results_eq('SELECT * FROM turns(2)', 'VALUES (101::bigint, 0::bigint, 1::bigint)', 'of nobody else');
-- a batch of one row, and time that passes elsewhere
SET lifecycle.batch_size = 1;
SELECT customer(3);
SELECT advance_clock('1 day');
SELECT results_eq('SELECT * FROM turns(3)', 'VALUES (101::bigint, 0::bigint, 1::bigint)', 'one by one: the same');
RESET lifecycle.batch_size;
-- raise: the step fails
SET lifecycle.on_error = raise;
SELECT customer(4);
SELECT run_due();
RESET lifecycle.on_error;
SELECT results_eq('SELECT kind, name, message FROM customer.failures WHERE subject_id = 4', $$ VALUES ('step', 'forth: set_stage_1', 'workflow "back" of lifecycle "customer" loops without end') $$, 'as an error: the step fails');
SELECT is((turns(4)).runs, 101::bigint, 'and what was before stays');
SELECT forget();
SELECT verified();
DELETE FROM customer.failures;

-- statements: of the row, of events, of another customer's
SELECT define_workflow('customer', 'to_free', state => 'live', entry => on_change($$ customer.plan = 'team' $$), reentry => 'always', steps => run_sql($$ UPDATE customers SET plan = 'free' WHERE id = customer.id $$));
SELECT define_workflow('customer', 'to_team', state => 'live', entry => on_change($$ customer.plan = 'free' $$), reentry => 'always', steps => run_sql($$ UPDATE customers SET plan = 'team' WHERE id = customer.id $$));
SELECT customer(10);
SELECT run_due();
SELECT results_eq('SELECT * FROM turns(10)', 'VALUES (100::bigint, 0::bigint, 1::bigint)', 'two workflows that change the row to and fro');
SELECT forget();
SELECT define_workflow('customer', 'throw', state => 'live', entry => on_event('ball'), reentry => 'always', steps => run_sql($$ INSERT INTO events (customer_id, name) VALUES (31 - customer.id, 'ball') $$));
SELECT customer(id) FROM generate_series(11, 20) AS id;
SELECT event(15, 'ball');
SELECT run_due();
SELECT is((turns(15)).runs + (turns(16)).runs, 100::bigint, 'two customers who throw a ball to and fro');
SELECT is((turns(15)).cut + (turns(16)).cut, 1::bigint, '… until it falls');
SELECT event(14, 'ball'), run_due() FROM generate_series(1, 3);
SELECT is((turns(14)).runs + (turns(17)).runs, 300::bigint, 'each throw is news');
SELECT verified();
DELETE FROM customer.failures;

-- timers
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', after => '1 ms', name => 'there');
SELECT define_transition('customer', 'consideration', 'awareness', after => '1 ms', name => 'here');
SELECT customer(30);
SELECT advance_clock('1 hour');
SELECT cmp_ok((SELECT max(seq) FROM customer.transitions WHERE subject_id = 30), '<=', 101, 'timers of less than a second');
SELECT results_eq('SELECT kind, sqlstate FROM customer.failures WHERE subject_id = 30', $$ VALUES ('timer', 'LC001') $$, '… are cut too');
DELETE FROM customer.failures;

-- time passes: for ever
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', after => '1 second');
SELECT define_workflow('customer', 'daily', state => 'live', entry => on_stage('consideration'), reentry => 'always', steps => steps(delay('1 day'), set_stage('awareness')));
SELECT customer(40);
SELECT advance_clock('201 days');
SELECT results_eq('SELECT * FROM turns(40)', 'VALUES (201::bigint, 1::bigint, 0::bigint)', 'every day');
SELECT forget();
SELECT define_workflow('customer', 'tick', state => 'live', entry => on_stage('awareness'), reentry => 'always', steps => steps(delay('1 second'), set_stage('lost')));
SELECT define_workflow('customer', 'tock', state => 'live', entry => on_stage('lost'), reentry => 'always', steps => set_stage('awareness'));
SELECT customer(41);
SELECT advance_clock('200 seconds');
SELECT results_eq('SELECT * FROM turns(41)', 'VALUES (401::bigint, 1::bigint, 0::bigint)', 'every second, with a workflow that does not wait between');
-- news comes: for ever
SELECT forget();
SELECT define_workflow('customer', 'each', state => 'live', entry => on_event('call'), reentry => 'always', steps => set_stage('advocacy'));
SELECT customer(42);
SELECT event(42, 'call'), run_due() FROM generate_series(1, 150);
SELECT enroll('customer', 'each', 42), run_due() FROM generate_series(1, 150);
SELECT results_eq('SELECT * FROM turns(42)', 'VALUES (300::bigint, 0::bigint, 0::bigint)', 'each event, and each enrollment by hand');
-- workflows that are entered once are no loop, however many
SELECT forget();
SELECT define_workflow('customer', 'w' || n, state => 'live', entry => on_event('e' || n), steps => run_sql(format('INSERT INTO events (customer_id, name) VALUES (customer.id, %L)', 'e' || n + 1))) FROM generate_series(1, 130) AS n;
SELECT customer(43);
SELECT event(43, 'e1');
SELECT run_due();
SELECT results_eq('SELECT * FROM turns(43)', 'VALUES (130::bigint, 0::bigint, 0::bigint)', 'a long chain has its end');
SELECT verified();

-- the real clock
CREATE TABLE people (id bigint PRIMARY KEY, day timestamptz);
SELECT define_lifecycle('person', 'people', stages => '{here,there}');
SELECT define_transition('person', 'here', 'there', condition => 'true', name => 'on');
SELECT define_workflow('person', name, state => 'live', entry => on_stage('there'), reentry => 'always', steps => steps(delay('0 days'), set_stage('here')))
  FROM unnest('{back,forth}'::text[]) AS name;
INSERT INTO people VALUES (1);
SELECT lives_ok($$ SELECT run_due('person') $$, 'the real clock: run_due ends');
SELECT results_eq($$ SELECT * FROM turns(1, 'person') $$, 'VALUES (101::bigint, 0::bigint, 1::bigint)', '… after as many runs');
SELECT drop_transition('person', 'on'), drop_workflow('person', 'forth');
SELECT define_transition('person', 'here', 'there', on_date => 'person.day', name => 'day');
INSERT INTO people VALUES (2, '2020-01-01');
SELECT run_due('person');
SELECT results_eq($$ SELECT * FROM turns(2, 'person') $$, 'VALUES (1::bigint, 0::bigint, 0::bigint)', 'a date comes once');
-- a scheduler that was down for long is no loop: its timers are late, but not short
SELECT drop_workflow('person', 'back'), drop_transition('person', 'day');
SELECT define_transition('person', 'here', 'there', after => '1 minute', name => 'to');
SELECT define_transition('person', 'there', 'here', after => '1 minute', name => 'fro');
INSERT INTO people VALUES (3);
UPDATE person.subjects SET since = now() - interval '200 minutes' WHERE subject_id = 3;
UPDATE person.transitions SET at = now() - interval '200 minutes' WHERE subject_id = 3;
UPDATE person._due SET due_at = now() - interval '199 minutes' WHERE subject_id = 3;
SELECT run_due('person');
SELECT cmp_ok((SELECT max(seq) FROM person.transitions WHERE subject_id = 3), '>=', 200, 'what is late is made up for');
SELECT is_empty('SELECT FROM person.failures WHERE subject_id = 3', '… and is no loop');
SELECT verified('person');

-- a chain through many stages is no loop
CREATE TABLE chained (id int PRIMARY KEY);
SELECT define_lifecycle('chain', 'chained', stages => (SELECT array_agg('s' || i ORDER BY i) FROM generate_series(1, 400) i));
SELECT count(define_transition('chain', 's' || i, 's' || i + 1, condition => 'true')) FROM generate_series(1, 399) i;
INSERT INTO chained VALUES (1), (2);
SELECT is((SELECT string_agg(DISTINCT stage || ' ' || seq, ', ') FROM chain.subjects), 's400 400', 'a chain through 400 stages');
SELECT is_empty('SELECT FROM chain.failures', '… is not cut');
SELECT verified('chain');

SELECT * FROM finish();
ROLLBACK;
