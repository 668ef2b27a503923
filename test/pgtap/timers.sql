-- Rules that wait for time: after, without_event, on_date; they fire at their own time, follow what happens, and arm themselves again.
\ir shop.psql
SELECT plan(73);

-- after
SELECT define_transition('customer', 'awareness', 'lost', after => '30 days');
SELECT customer(1);
SELECT advance_clock('10 days');
SELECT customer(2);
SELECT advance_clock(until => '2026-01-31 08:59:59.999999+00');
SELECT is(path(1), 'awareness', 'after: not a microsecond too early');
SELECT advance_clock('1 microsecond');
SELECT is(path(1), 'awareness > lost', 'at its time');
SELECT is(since(1), '2026-01-31 09:00+00', 'since the time at which it was due');
SELECT is(path(2), 'awareness', 'who came later waits longer');
SELECT advance_clock('30 days');
SELECT is(since(2), '2026-02-10 09:00+00', 'and each is moved at its own time, also when the clock jumps');
SELECT is(causes(2), 'entry, timer:awareness to lost after 30 days', 'the timer is the cause');
-- leaving in time; coming back arms again
SELECT define_transition('customer', 'any', 'retention', on_event => 'call');
SELECT define_transition('customer', 'retention', 'awareness', on_event => 'back');
SELECT customer(3);
SELECT event(3, 'call', now('customer') + interval '29 days');
SELECT advance_clock('29 days');
SELECT event(3, 'back');
SELECT is((SELECT count(*) FROM customer._due WHERE subject_id = 3), 1::bigint, 'who comes back has one timer');
SELECT advance_clock('29 days');
SELECT is(path(3), 'awareness > retention > awareness', 'and the old time counts no more');
SELECT advance_clock('1 day');
SELECT is(path(3), 'awareness > retention > awareness > lost', 'but the new one does');
SELECT verified();

-- a condition beside it is asked when it fires
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', after => '10 days', condition => $$ customer.plan = 'free' $$);
SELECT customer(5), customer(6, plan => 'team');
SELECT advance_clock('10 days');
SELECT is(path(5), 'awareness > lost', 'its condition is true then: moved');
SELECT is(path(6), 'awareness', 'not true: not moved');
UPDATE customers SET plan = 'free' WHERE id = 6;
SELECT is(path(6), 'awareness', 'a change alone does not fire a timer');
SELECT advance_clock('10 days');
SELECT is(path(6), 'awareness > lost', 'it is asked again after the same time');
SELECT verified();

-- without_event
SELECT forget();
SET lifecycle.clock = '2026-06-01 00:00+00';
SELECT define_transition('customer', 'awareness', 'inactive', without_event => 'login', after => '7 days');
SELECT define_transition('customer', 'inactive', 'awareness', on_event => 'login');
SELECT customer(id) FROM generate_series(10, 15) AS id;
-- 10 nothing; 11 exactly at the deadline; 12 just after; 13 before, twice; 14 another event; 15 comes late, with an early time
SELECT event(13, 'login', '2026-06-03 12:00+00'), event(13, 'login', '2026-06-05 06:00+00'), event(14, 'look', '2026-06-05 00:00+00');
SELECT event(11, 'login', '2026-06-08 00:00+00');
SELECT advance_clock(until => '2026-06-07 23:59:59+00');
SELECT is((SELECT string_agg(DISTINCT path(id), ', ') FROM generate_series(10, 15) AS id), 'awareness', 'all are there before the deadline');
SELECT advance_clock('1 second');
SELECT is(path(10), 'awareness > inactive', 'no event: inactive');
SELECT is(path(11), 'awareness', 'an event at the very time of the deadline wins');
SELECT is(path(13), 'awareness', 'an event before puts it off');
SELECT is(path(14), 'awareness > inactive', 'another event does not');
SELECT event(12, 'login', '2026-06-08 00:00:01+00');
SELECT is(path(12), 'awareness > inactive > awareness', 'an event just after comes too late, and brings back');
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 13), '2026-06-12 06:00+00', 'the last of the events counts');
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 12), '2026-06-15 00:00:01+00', 'who came back has a new deadline');
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 11), '2026-06-15 00:00+00', 'the timer has put itself off');
SELECT advance_clock(until => '2026-06-12 05:59:59+00');
SELECT is(path(13), 'awareness', 'not before');
SELECT advance_clock('1 second');
SELECT is(since(13), '2026-06-12 06:00+00', 'seven days after the last event');
-- an event that is known by the time it fires counts by its own time, however late it was written
SELECT event(15, 'login', '2026-06-02 00:00+00');
SELECT is(path(15), 'awareness > inactive > awareness', 'an event of the past brings back: it is news');
SELECT verified();
-- a timer costs nothing per event
SELECT customer(16);
SELECT event(16, 'login') FROM generate_series(1, 50);
SELECT is((SELECT count(*) FROM customer._due WHERE subject_id = 16), 1::bigint, 'fifty events, one timer');

-- on_date follows its row
SELECT forget();
SET lifecycle.clock = '2026-07-01 00:00+00';
SELECT define_transition('customer', 'awareness', 'consideration', on_date => $$ customer.renewal_at - interval '7 days' $$, name => 'renewal');
INSERT INTO customers (id, renewal_at) VALUES (20, '2026-07-20'), (21, '2026-07-20'), (22, '2026-07-20'), (23, NULL), (24, '2026-07-04'), (25, 'infinity'),
    (26, '2026-07-20');
SELECT is((SELECT count(*) FROM customer.waiting WHERE subject_id IN (23, 25)), 0::bigint, 'no date, no timer');
UPDATE customers SET renewal_at = '2026-07-10' WHERE id = 21;
UPDATE customers SET renewal_at = '2026-08-10' WHERE id = 22;
UPDATE customers SET renewal_at = '2026-07-15' WHERE id = 23;
UPDATE customers SET renewal_at = NULL WHERE id = 26;
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 21), '2026-07-03 00:00+00', 'an earlier date counts at once');
SELECT is((SELECT count(*) FROM (SELECT FROM customer._due GROUP BY subject_id HAVING count(*) > 1) AS twice), 0::bigint, 'one timer each');
SELECT run_due();
SELECT is(path(24), 'awareness > consideration', 'a date in the past fires at once');
SELECT advance_clock(until => '2026-07-12 23:59+00');
SELECT is(since(21), '2026-07-03 00:00+00', 'the earlier one fired at its time');
SELECT is(since(23), '2026-07-08 00:00+00', 'a date that came later too');
SELECT is(path(20), 'awareness', 'the one that stayed is not due yet');
SELECT advance_clock('1 minute');
SELECT is(path(20), 'awareness > consideration', 'now it is');
SELECT is(path(22), 'awareness', 'the one put off is not');
SELECT is(path(26), 'awareness', 'nor the one whose date was taken away');
SELECT advance_clock(until => '2026-08-03 00:00+00');
SELECT is(since(22), '2026-08-03 00:00+00', 'it fires at its new time');
SELECT is(causes(22), 'entry, timer:renewal', 'once');
SELECT verified();

-- a date comes once: rules whose dates are past do not lead from one stage to the other for ever
SELECT forget();
SET statement_timeout = '1min';
SELECT define_transition('customer', 'any', 'inactive', on_date => 'customer.renewal_at', name => 'over');
SELECT define_transition('customer', 'any', 'retention', on_date => $$ customer.renewal_at + interval '1 day' $$, name => 'renewed');
SELECT define_transition('customer', 'retention', 'lost', on_event => 'left');
INSERT INTO customers (id, renewal_at) VALUES (40, '2026-08-01'), (41, '2026-08-05');
SELECT advance_clock('1 minute');
SELECT is(causes(40), 'entry, timer:over, timer:renewed', 'each rule fires once for its date');
SELECT results_eq('SELECT at, event_at FROM customer.transitions WHERE subject_id = 40 AND seq > 1 ORDER BY seq',
    $$ SELECT min(at) OVER (), d FROM customer.transitions, unnest('{2026-08-01 00:00+00,2026-08-02 00:00+00}'::timestamptz[]) AS d WHERE subject_id = 40 AND seq = 1 $$, 'when the stage was entered, for dates before that');
SELECT is((SELECT count(*) FROM explain('customer', 40) WHERE what = 'moved from awareness to inactive' AND detail LIKE '%; date 2026-08-01 00:00:00+00%'), 1::bigint, 'explain says which');
SELECT advance_clock('10 days');
SELECT is(path(41), 'awareness > inactive > retention', 'those that become due while time passes do too');
SELECT results_eq('SELECT at, event_at FROM customer.transitions WHERE subject_id = 41 AND seq > 1 ORDER BY seq',
    $$ VALUES ('2026-08-05 00:00+00'::timestamptz, '2026-08-05 00:00+00'::timestamptz), ('2026-08-06', '2026-08-06') $$, 'each at its time');
SELECT event(41, 'left');
SELECT run_due();
SELECT is(path(41), 'awareness > inactive > retention > lost', 'an event does not bring the dates back');
SELECT move('customer', 41, 'awareness');
SELECT run_due();
SELECT is(path(41), 'awareness > inactive > retention > lost > awareness', 'nor does a person');
-- another date is another one, also a past one on a clock that stands still, and one that has been there before is not
UPDATE customers SET renewal_at = '2026-08-07' WHERE id = 41;
SELECT run_due();
SELECT is(causes(41), 'entry, timer:over, timer:renewed, rule:retention to lost on left, manual, timer:over, timer:renewed', 'another date fires at once');
UPDATE customers SET renewal_at = '2026-08-03' WHERE id = 41;
SELECT run_due();
SELECT is(causes(41), 'entry, timer:over, timer:renewed, rule:retention to lost on left, manual, timer:over, timer:renewed, timer:over, timer:renewed', '… and once more');
UPDATE customers SET renewal_at = '2026-08-05' WHERE id = 41;
SELECT run_due();
SELECT is((SELECT count(*) FROM customer.transitions WHERE subject_id = 41), 9::bigint, 'not one that has fired before');
DELETE FROM customers WHERE id = 40;
INSERT INTO customers (id, renewal_at) VALUES (40, '2026-08-01');
SELECT run_due();
SELECT is(causes(40), 'entry, timer:over, timer:renewed, delete, entry, timer:over, timer:renewed', 'a row that was deleted and comes again begins anew');
SELECT is_empty('SELECT FROM customer.failures', 'nothing of that is a failure');
SELECT is_empty($$ SELECT FROM customer.waiting WHERE subject_id = 41 $$, 'and nothing waits');
-- a workflow that leads back to where the date is past
SELECT forget();
SELECT define_transition('customer', 'awareness', 'inactive', on_date => 'customer.renewal_at', name => 'over');
SELECT define_workflow('customer', 'back', state => 'live', entry => on_stage('inactive'), reentry => 'always', steps => steps(delay('0 days'), set_stage('awareness')));
INSERT INTO customers (id, renewal_at) VALUES (42, '2026-08-01');
SELECT run_due();
SELECT is(path(42), 'awareness > inactive > awareness', 'a date that is past brings nobody back');
SELECT advance_clock('1 day');
SELECT is(path(42), 'awareness > inactive > awareness', 'nor later');
RESET statement_timeout;
SELECT verified();

-- a rule that is dropped takes its timers along
SELECT define_transition('customer', 'awareness', 'lost', after => '1 day', name => 'short');
SELECT customer(30);
SELECT isnt_empty($$ SELECT FROM customer._due WHERE subject_id = 30 AND kind = 'r' $$, 'armed');
SELECT drop_transition('customer', 'short');
SELECT is_empty($$ SELECT FROM customer._due WHERE subject_id = 30 AND kind = 'r' $$, 'disarmed');
SELECT verified();

-- a batch that fails and is divided: a step in its first half moves a subject whose timer is in the second
SELECT forget();
SELECT define_transition('customer', '{awareness,consideration}', 'conversion', after => '1 hour', name => 'slow',
    condition => $$ CASE WHEN customer.first_name = 'bad' THEN 1 / (customer.id - customer.id) ELSE 1 END = 1 $$);
SELECT define_transition('customer', 'awareness', 'consideration', condition => $$ customer.plan = 'team' $$);
SELECT define_transition('customer', 'any', 'awareness', on_event => 'back');
SELECT define_workflow('customer', 'mover', state => 'live', entry => on_event('move next'), reentry => 'always',
    steps => run_sql($$ UPDATE customers SET plan = 'team' WHERE customers.id = customer.id + 1 $$));
SELECT define_workflow('customer', 'bad', state => 'live', entry => on_event('bad'), steps => run_sql($$ SELECT 1 / (customer.id - customer.id) $$));
CREATE FUNCTION timers(customer bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg((due_at - now('customer'))::text, ' ' ORDER BY due_at) FROM customer._due WHERE subject_id = customer AND kind = 'r'); END $$;
SELECT run_due('customer');
SELECT customer(301), customer(302), customer(303), event(301, 'move next'), event(303, 'bad');
UPDATE customer._due SET due_at = now('customer') WHERE subject_id = 302 AND kind = 'r';
SELECT is(run_due('customer'), 3::bigint, 'a step that moves another subject, one that fails, a timer of that subject');
SELECT is(path(302), 'awareness > consideration', 'which is moved');
SELECT is(timers(302), '01:00:00', 'and has one timer');
SELECT verified();
SELECT archive_workflow('customer', 'bad');
-- a timer that fails, and whose subject is moved then
SET lifecycle.on_error = 'raise';
SELECT customer(311), customer(312);
UPDATE customers SET first_name = 'bad' WHERE id = 312;
UPDATE customer._due SET due_at = now('customer') WHERE subject_id = 312 AND kind = 'r';
SELECT event(311, 'move next');
SELECT run_due('customer');
SELECT is((SELECT string_agg(name || ' ' || parked, ', ') FROM customer.failures WHERE subject_id = 312), 'slow false', 'a timer that fails before its subject is moved');
SELECT is(timers(312), '01:00:00', 'gives way to the one of the stage that it comes to');
SELECT verified();
-- retry: whatever was parked and armed since, one timer is left
SET lifecycle.max_attempts = 1;
SELECT advance_clock('1 hour');
SELECT event(312, 'back');
SELECT advance_clock('1 hour');
SELECT is((SELECT count(*) FROM customer.failures WHERE subject_id = 312 AND parked), 2::bigint, 'the same timer is parked twice');
SELECT is(retry('customer'), 1::bigint, 'retried, it is one');
SELECT run_due('customer');
UPDATE customers SET plan = 'free' WHERE id = 312;
SELECT event(312, 'back');
SELECT is(timers(312), '01:00:00', 'parked, and armed since');
SELECT retry('customer');
SELECT is(timers(312), '00:00:00', 'retried, it replaces a later one');
SELECT verified();
RESET lifecycle.max_attempts;
RESET lifecycle.on_error;

SELECT * FROM finish();
ROLLBACK;
