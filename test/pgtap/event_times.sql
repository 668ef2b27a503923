-- The times of events: backwards, equal, several in one statement, in the future; what enrolls and what does not; events of nobody.
\ir shop.psql
SELECT plan(44);

SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'a');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'b');
SELECT define_transition('customer', 'conversion', 'retention', on_event => 'c');
SELECT define_transition('customer', 'any', 'lost', on_event => 'x');
SELECT customer(id) FROM generate_series(1, 9) AS id;
SET lifecycle.clock = '2026-02-01 00:00+00';

-- several events of one statement, in the order of their times, not of their rows
INSERT INTO events (customer_id, name, occurred_at) VALUES
    (1, 'c', '2026-01-13'), (2, 'b', '2026-01-11'), (1, 'a', '2026-01-11'), (2, 'a', '2026-01-12'), (1, 'b', '2026-01-12');
SELECT is(path(1), 'awareness > consideration > conversion > retention', 'events of one statement are taken in the order of their times');
SELECT is(path(2), 'awareness > consideration', 'the one that came before its time in this order is lost on the rule');
SELECT results_eq($$ SELECT at, event_at FROM customer.transitions WHERE subject_id = 1 AND seq > 1 ORDER BY seq $$,
    $$ VALUES ('2026-01-11'::timestamptz, '2026-01-11'::timestamptz), ('2026-01-12', '2026-01-12'), ('2026-01-13', '2026-01-13') $$, 'each at its own time');
-- equal times: in the order in which they were inserted
INSERT INTO events (customer_id, name, occurred_at) VALUES (3, 'a', '2026-01-15'), (3, 'b', '2026-01-15'), (3, 'c', '2026-01-15'), (4, 'c', '2026-01-15'), (4, 'b', '2026-01-15'),
    (4, 'a', '2026-01-15');
SELECT is(path(3), 'awareness > consideration > conversion > retention', 'of equal times the first row comes first');
SELECT is(path(4), 'awareness > consideration', 'and the last row last');
-- backwards: at does not go back, event_at says what the event said
SELECT event(5, 'a', '2026-01-20'), event(5, 'b', '2026-01-10'), event(5, 'c', '2026-01-25');
SELECT results_eq($$ SELECT at, event_at, since FROM customer.transitions WHERE subject_id = 5 AND seq > 1 ORDER BY seq $$,
    $$ VALUES ('2026-01-20'::timestamptz, '2026-01-20'::timestamptz, '2026-01-01 09:00+00'::timestamptz), ('2026-01-20', '2026-01-10', '2026-01-20'), ('2026-01-25', '2026-01-25', '2026-01-20') $$,
    'an event of the past: at is never before since, event_at is its own time');
SELECT is(since(5), '2026-01-25', 'and the stage is since the last');
-- before the subject was there
SELECT event(6, 'a', '2020-01-01');
SELECT is(since(6), '2026-01-01 09:00+00', 'an event before the subject was there counts from its beginning');
-- in the future
SELECT event(7, 'a', '2026-03-01');
SELECT is(since(7), '2026-03-01', 'an event of the future is taken at its word');
SELECT event(7, 'b', '2026-02-10');
SELECT is((SELECT at FROM customer.transitions WHERE subject_id = 7 AND seq = 3), '2026-03-01', 'and what follows does not go back behind it');
-- the subject and its events in one statement
WITH new AS (INSERT INTO customers (id) VALUES (20) RETURNING id)
INSERT INTO events (customer_id, name, occurred_at) SELECT id, 'a', '2026-02-01' FROM new;
SELECT is(path(20), 'awareness > consideration', 'a subject and its event in one statement');
-- null and infinite times
SELECT throws_ok($$ INSERT INTO events (customer_id, name, occurred_at) VALUES (1, 'x', NULL) $$, '23502', NULL, 'a table that refuses NULL refuses it');
INSERT INTO events (customer_id, name, occurred_at) VALUES (9, 'x', 'infinity');
SELECT ok(since(9) < 'infinity', 'an infinite time is none: the event is taken as of now');
SELECT verified();

-- of nobody
SELECT lives_ok($$ INSERT INTO events (customer_id, name) VALUES (999, 'a'), (8, 'a'), (998, 'a') $$, 'events of unknown subjects are no error');
SELECT is(path(8), 'awareness > consideration', 'the others of the statement count');
SELECT is_empty($$ SELECT FROM customer.subjects WHERE subject_id > 900 $$, 'nobody is made of them');
SELECT customer(999);
SELECT is(path(999), 'awareness', 'who comes later begins at the beginning');

-- many events of many subjects in one statement: the same as one by one
SELECT customer(id) FROM generate_series(1001, 1400) AS id;
CREATE TABLE script AS SELECT 1001 + i % 200 AS id, (ARRAY['a', 'b', 'c', 'x', 'other'])[1 + (hashint4(i) & 65535) % 5] AS name,
    '2026-02-02'::timestamptz + (hashint4(i + 7) & 255) * interval '1 minute' AS at, i FROM generate_series(1, 2000) AS i;
INSERT INTO events (customer_id, name, occurred_at) SELECT id, name, at FROM script ORDER BY i;
SELECT event(id + 200, name, at) FROM script ORDER BY at, i;
SELECT is_empty($$ SELECT seq, from_stage, to_stage, at, event_at, event_name FROM customer.transitions WHERE subject_id BETWEEN 1001 AND 1200
                   EXCEPT ALL
                   SELECT seq, from_stage, to_stage, at, event_at, event_name FROM customer.transitions WHERE subject_id BETWEEN 1201 AND 1400 $$,
    '2000 events in one statement move as 2000 statements do');
SELECT cmp_ok((SELECT count(*) FROM customer.transitions WHERE subject_id BETWEEN 1001 AND 1200 AND seq > 1), '>', 300::bigint, 'and they do move');
SELECT verified();

-- entries: enroll_within, lifecycle.enroll
SELECT forget();
SELECT define_template('customer', 'hello', body => 'Hello');
SELECT is(define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at', enroll_within => '3 days'),
    'replaced', 'a source says how old an event may be to enroll');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'a');
SELECT define_workflow('customer', 'by event', state => 'live', entry => on_event('a'), steps => delay('1 hour'));
SELECT define_workflow('customer', 'by stage', state => 'live', entry => on_stage('consideration'), steps => delay('1 hour'));
SELECT customer(id) FROM generate_series(30, 35) AS id;
CREATE FUNCTION too_old() RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce(sum(value::bigint), 0)::bigint FROM status() WHERE lifecycle = 'customer' AND what = 'entries suppressed by enroll_within' $$;
SELECT too_old() AS before \gset
SELECT event(30, 'a', now('customer') - interval '3 days'), event(31, 'a', now('customer') - interval '3 days 1 second');
SELECT is(runs(30), 'by event: …, by stage: …', 'an event of just that age enrolls');
SELECT is(runs(31), NULL, 'an older one does not');
SELECT is(path(31), 'awareness > consideration', 'but it moves');
SELECT is(too_old() - :before, 2::bigint, 'and status counts the two entries');
-- which is older: only events are asked, not moves by hand
SELECT move('customer', 32, 'consideration');
SELECT is(runs(32), 'by stage: …', 'a move by hand enrolls');
SET lifecycle.enroll = off;
SELECT event(33, 'a');
SELECT is(path(33), 'awareness > consideration', 'lifecycle.enroll = off: moves');
SELECT is(runs(33), NULL, 'and enrolls nobody');
SELECT is(enroll('customer', 'by event', 33), NULL, 'not by hand either');
RESET lifecycle.enroll;
SELECT event(34, 'a');
SELECT is(runs(34), 'by event: …, by stage: …', 'and on again');
SET lifecycle.capture = off;
SELECT event(35, 'a');
SELECT is(path(35), 'awareness', 'lifecycle.capture = off: nothing happens');
RESET lifecycle.capture;
SELECT is(capture('customer', 'events', (SELECT array_agg(e) FROM events e WHERE customer_id = 35)), 1::bigint, 'until the rows are fed by hand');
SELECT is(path(35) || ', ' || runs(35), 'awareness > consideration, by event: …, by stage: …', 'as if they had just come');

-- entered_at is the event's time; the first step is due now
SELECT customer(40);
SELECT event(40, 'a', now('customer') - interval '1 day');
SELECT is((SELECT entered_at FROM customer.enrollments WHERE subject_id = 40 AND workflow = 'by event'), now('customer') - interval '1 day', 'a run began with its event');
SELECT run_due();
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 40 AND name = 'by event'), now('customer') + interval '1 hour', 'its delay begins when the step runs');
SELECT verified();

-- several events of one statement: exits before entries, in their order
SELECT forget();
SELECT define_workflow('customer', 'w', state => 'live', entry => on_event('in'), exit => on_event('out'), reentry => 'always', steps => delay('1 day'));
SELECT customer(50), customer(51), customer(52);
INSERT INTO events (customer_id, name, occurred_at) VALUES (50, 'in', '2026-02-01 01:00'), (50, 'out', '2026-02-01 02:00'), (50, 'in', '2026-02-01 03:00'),
    (51, 'out', '2026-02-01 01:00'), (51, 'in', '2026-02-01 02:00'), (51, 'in', '2026-02-01 03:00'), (52, 'in', '2026-02-01 05:00'), (52, 'out', '2026-02-01 04:00');
SELECT is(runs(50), 'w: exit, w: …', 'in, out and in again');
SELECT is(runs(51), 'w: …', 'out of nothing, in, and in once only');
SELECT is(runs(52), 'w: …', 'an exit before the entry ends nothing');
SELECT results_eq($$ SELECT entered_at, ended_at FROM customer.enrollments WHERE subject_id = 50 ORDER BY entered_at $$,
    $$ VALUES ('2026-02-01 01:00+00'::timestamptz, '2026-02-01 02:00+00'::timestamptz), ('2026-02-01 03:00+00', NULL) $$, 'each run with the times of its events');
SELECT verified();
-- a run that began with an event of the future does not end before it
SELECT customer(60);
SELECT define_workflow('customer', 'short', state => 'live', entry => on_event('later'), steps => lifecycle.exit('done'));
SELECT event(60, 'later', now('customer') + interval '2 days');
SELECT run_due();
SELECT results_eq($$ SELECT entered_at, ended_at, exit_reason FROM customer.enrollments WHERE subject_id = 60 $$,
    $$ SELECT now('customer') + interval '2 days', now('customer') + interval '2 days', 'done' $$, 'a run that began with an event of the future does not end before it');
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
