-- The event that begins a run is kept where steps, exits or goals may read it, however they write it; and what a run in the shadow leaves.
\ir shop.psql
SELECT plan(20);
CREATE TABLE seen (who bigint, what text);
SELECT define_workflow('customer', 'exits', state => 'live', entry => on_event('go'),
    exit => on_event('back', $$ event.properties->>'o' = enrollment.context->'event'->'properties'->>'o' $$), steps => delay('10 days'));
SELECT define_workflow('customer', 'goals', state => 'live', entry => on_event('go'),
    goal => goal(on_event('back', $$ enrollment.context->'event'->>'name' = 'go' $$)), steps => delay('10 days'));
SELECT define_workflow('customer', 'capitals', state => 'live', entry => on_event('go'),
    steps => run_sql($$ INSERT INTO seen VALUES (customer.id, 'capitals ' || (ENROLLMENT.CONTEXT->'event'->>'name')) $$));
SELECT define_workflow('customer', 'whole', state => 'live', entry => on_event('go'),
    steps => run_sql($$ INSERT INTO seen VALUES (customer.id, 'whole ' || (to_jsonb(enrollment)->'context'->'event'->>'name')) $$));
SELECT define_workflow('customer', 'star', state => 'live', entry => on_event('go'),
    steps => run_sql($$ INSERT INTO seen SELECT customer.id, 'star ' || (e.context->'event'->>'name') FROM (SELECT enrollment.*) AS e $$));
SELECT define_workflow('customer', 'plain', state => 'live', entry => on_event('go'), steps => run_sql($$ INSERT INTO seen VALUES (customer.id, enrollment.workflow) $$));
SELECT customer(1), customer(2), customer(3);
INSERT INTO events (customer_id, name, properties) VALUES (1, 'go', '{"o": "1"}'), (2, 'go', '{"o": "2"}');
SELECT run_due();
INSERT INTO events (customer_id, name, properties) VALUES (1, 'back', '{"o": "1"}'), (2, 'back', '{"o": "1"}');
SELECT is((SELECT string_agg(concat_ws(' ', subject_id, exit_reason), ', ' ORDER BY subject_id) FROM customer.enrollments WHERE workflow = 'exits'), '1 exit, 2', 'an exit');
SELECT is((SELECT count(converted_at) FROM customer.enrollments WHERE workflow = 'goals'), 2::bigint, 'a goal');
SELECT is((SELECT string_agg(what, ', ' ORDER BY what) FROM seen WHERE who = 1), 'capitals go, plain, star go, whole go', 'steps');
SELECT is((SELECT string_agg(DISTINCT workflow, ', ') FROM customer.enrollments WHERE context IS NULL), 'plain', 'it is not kept where nothing can read it');
-- both events in one statement: the run is not yet written when the exit is asked
INSERT INTO events (customer_id, name, properties) VALUES (3, 'go', '{"o": "3"}'), (3, 'back', '{"o": "3"}');
SELECT is((SELECT exit_reason FROM customer.enrollments WHERE workflow = 'exits' AND subject_id = 3), 'exit', 'an exit from a run of the same statement');
SELECT verified();

-- by hand
SELECT throws_ok($$ SELECT enroll('customer', 'plain', 1, '{"event": null}') $$, '22023', 'event in context must be a JSON object', 'the event is an object');
SELECT throws_ok($$ SELECT enroll('customer', 'plain', 1, '{"event": [1]}') $$, '22023', 'event in context must be a JSON object', 'and no array');

-- a rehearsal in the shadow does not use up the one time that a workflow may be entered; another that is under way does
CREATE FUNCTION define_once(state text) RETURNS text LANGUAGE sql AS $$
    SELECT define_workflow('customer', 'once', state => state, entry => on_event('once'), steps => steps(run_sql('INSERT INTO seen VALUES (customer.id, ''once'')'), delay('1 day'))) $$;
SELECT define_once('shadow');
SELECT event(1, 'once');
SELECT run_due(), advance_clock('2 days'), event(2, 'once');
SELECT event(1, 'once');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE workflow = 'once' AND subject_id = 1), 1::bigint, 'once in the shadow');
SELECT define_once('live');
SELECT event(1, 'once'), event(2, 'once'), event(3, 'once');
SELECT run_due();
SELECT is((SELECT string_agg(who::text, ', ' ORDER BY who) FROM seen WHERE what = 'once'), '1, 3', 'live, who has been through enters, who is on the way does not');
SELECT is(enroll('customer', 'once', 1), NULL, 'once');
SELECT advance_clock('2 days');
SELECT ok(enroll('customer', 'once', 2) IS NOT NULL, 'after the rehearsal');
SELECT verified();
-- what cannot become jsonb does not break the statement of the application
CREATE TABLE papers (id int PRIMARY KEY, customer_id bigint, name text, at timestamptz, doc json);
SELECT define_event_source('customer', 'papers', subject_column => 'customer_id', event_name => 'paper', time_column => 'at');
SELECT define_workflow('customer', 'paper', state => 'live', entry => on_event('paper'), reentry => 'always',
    steps => steps(run_sql('INSERT INTO seen VALUES (customer.id, enrollment.context->''event''->''doc''->>''a'')')));
SELECT count(*) AS failures FROM customer.failures \gset
INSERT INTO papers VALUES (1, 1, 'paper', '2026-01-05', '{"a": "x"}'), (2, 2, 'paper', '2026-01-05', '{"a": "\u0000"}'), (3, 3, 'paper', '2026-01-05', '{"a": "y"}');
SELECT is((SELECT string_agg(subject_id::text, ', ' ORDER BY subject_id) FROM customer.enrollments WHERE workflow = 'paper'), '1, 3', 'a run does not begin with an event that it cannot keep');
SELECT results_eq($$ SELECT subject_id, kind, name, sqlstate, parked FROM customer.failures ORDER BY id DESC LIMIT 1 $$, $$ VALUES (2::bigint, 'trigger', 'paper', '22P05', false) $$, '… which is recorded');
SELECT is((SELECT count(*) FROM customer.failures), :failures + 1::bigint, '… once');
SELECT run_due();
SELECT is((SELECT string_agg(who || ' ' || what, ', ' ORDER BY who) FROM seen WHERE what IN ('x', 'y')), '1 x, 3 y', 'the others are kept');
SET lifecycle.on_error = raise;
SELECT throws_ok($$ INSERT INTO papers VALUES (4, 2, 'paper', '2026-01-05', '{"a": "\u0000"}') $$, '22P05', NULL, 'with on_error = raise it is an error');
RESET lifecycle.on_error;
SELECT lives_ok($$ INSERT INTO papers VALUES (5, 2, 'paper', '2026-01-05', '{"a": "z"}') $$, 'another one enters');
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
