-- A backfill asks every kind of rule as of the time at which it would have been asked; see as_of.sql for how conditions read event sources.
\ir shop.psql
SELECT plan(20);

SET lifecycle.capture = off;
CREATE TABLE parts (customer_id bigint, name text, at date) PARTITION BY LIST (name);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (name text, at date, customer_id bigint);
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
CREATE TABLE bills (id bigint PRIMARY KEY, customer_id bigint, made timestamp, paid timestamptz, status text);
SELECT customer(id) FROM generate_series(1, 9) AS id;
RESET lifecycle.capture;
CREATE FUNCTION replay() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL backfill('customer'); END $$;
-- "stage day" of every transition of one customer
CREATE FUNCTION days(customer bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg(to_stage || ' ' || to_char(at, 'MM-DD'), ', ' ORDER BY seq) FROM customer.transitions WHERE subject_id = customer); END $$;
CREATE FUNCTION past(customer bigint, name text, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    SET LOCAL lifecycle.capture = off;
    PERFORM event(customer, name, at);
    SET LOCAL lifecycle.capture = on;
END $$;

-- a rule with a condition alone: in the stage that is entered, at the time at which it is
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'purchase', name => 'buys');
SELECT define_transition('customer', 'consideration', 'conversion', condition => $$ (SELECT count(*) FROM events WHERE customer_id = customer.id AND name = 'login') >= 1 $$, name => 'knows');
SELECT define_transition('customer', 'consideration', 'awareness', on_event => 'back', name => 'back');
SELECT past(1, 'purchase', '2025-06-01'), past(1, 'login', '2025-06-02'), past(1, 'back', '2025-06-03'), past(1, 'purchase', '2025-06-04');
SELECT replay();
SELECT is(days(1), 'awareness 06-01, consideration 06-01, awareness 06-03, consideration 06-04, conversion 06-04', 'a condition alone is asked as of the transition before it');
-- in the first stage: as of the first event
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', condition => $$ EXISTS (SELECT FROM events WHERE customer_id = customer.id AND name = 'login') $$, name => 'knows');
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'purchase', name => 'buys');
SELECT past(2, 'login', '2025-06-01'), past(2, 'purchase', '2025-06-02');
SELECT replay();
SELECT is(days(1) || '; ' || days(2), 'awareness 06-01, conversion 06-01; awareness 06-02, consideration 06-02', 'and in the first stage as of its beginning');
-- for new subjects
SELECT forget();
SELECT define_transition('customer', NULL, 'retention', condition => $$ EXISTS (SELECT FROM events WHERE customer_id = customer.id AND name = 'login') $$, name => 'entry');
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'purchase', name => 'buys');
SELECT replay();
SELECT is(days(1) || '; ' || days(2), 'awareness 06-01, conversion 06-01; retention 06-02', 'so is a rule of entry');

-- timers: as of the time at which they fire
SELECT forget();
SELECT define_transition('customer', 'awareness', 'inactive', without_event => 'purchase', after => '10 days', name => 'silent',
    condition => $$ (SELECT count(*) FROM events e WHERE e.customer_id = customer.id AND e.name = 'login') = 1 $$);
SELECT past(3, 'purchase', '2025-06-01'), past(3, 'login', '2025-06-11'), past(3, 'login', '2025-06-12');
SELECT past(4, 'purchase', '2025-06-01'), past(4, 'login', '2025-06-11 00:00:01'), past(4, 'login', '2025-06-12');
SELECT past(5, 'purchase', '2025-06-01'), past(5, 'login', '2025-06-12'), past(5, 'login', '2025-06-22');
SELECT replay();
SELECT is(days(3), 'awareness 06-01, inactive 06-11', 'without_event: as of its time, that moment included');
SELECT is(days(4), 'awareness 06-01', 'a second later is later; ten days on there are two');
SELECT is(days(5), 'awareness 06-01, inactive 06-21', 'true when it is asked again');
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', on_date => $$ (SELECT max(e.occurred_at) FROM events e WHERE e.customer_id = customer.id) + interval '5 days' $$, name => 'date');
SELECT define_transition('customer', 'lost', 'awareness', on_event => 'purchase', name => 'back');
SELECT past(6, 'purchase', '2025-06-01'), past(6, 'login', '2025-06-04'), past(6, 'purchase', '2025-06-20'), past(6, 'purchase', '2025-06-28');
SELECT replay();
SELECT is(days(6), 'awareness 06-01, lost 06-09, awareness 06-20, lost 06-25, awareness 06-28, lost 07-03', 'a date that is read from events');

-- dates, partitions, times that are not there, two times of one table, what becomes an event
SELECT forget();
SET lifecycle.capture = off;
SELECT define_event_source('customer', 'parts', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
SELECT define_event_source('customer', 'bills', subject_column => 'customer_id', event_name => 'billed', time_column => 'made', name => 'billed');
SELECT define_event_source('customer', 'bills', subject_column => 'customer_id', event_name => 'paid', time_column => 'paid', name => 'paid',
    becomes => $$ event.status = 'paid' AND (SELECT count(*) FROM bills b WHERE b.customer_id = event.customer_id) <= 2 $$);
INSERT INTO parts VALUES (7, 'a', '2025-06-01'), (7, 'b', '2025-06-02'), (7, 'a', '2025-06-03'), (7, 'a', NULL);
INSERT INTO bills VALUES (1, 8, '2025-06-01', '2025-06-10', 'paid'), (2, 8, '2025-06-02', NULL, 'open'), (3, 8, '2025-06-15', '2025-06-16', 'paid'), (4, 8, '2025-06-20', '2025-06-12', 'open');
RESET lifecycle.capture;
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'a', condition => $$ (SELECT count(*) FROM parts_a) = 2 AND (SELECT count(*) FROM parts_b AS p (n, d)) = 1 $$, name => 'partitions');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'a', condition => $$ (SELECT count(*) FROM parts) = 4 $$, name => 'null is now');
SELECT define_transition('customer', 'awareness', 'retention', on_event => 'paid', condition => $$ (SELECT count(*) FROM bills) = 2 $$, name => 'two times');
SELECT define_transition('customer', 'retention', 'advocacy', on_event => 'paid', name => 'no event');
SELECT replay();
SELECT is(days(7), 'awareness 06-01, consideration 06-03, conversion 01-01', 'a partition is part of its table; what has no time happens now');
SELECT is(days(8), 'awareness 06-10, retention 06-10', 'a row of two sources is there from the first of its times on, and what becomes an event is asked as of its time');

-- two dates that were past when the stage was entered: the earlier one first, as in the queue, whatever the priorities
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'purchase');
SELECT define_transition('customer', 'consideration', 'lost', on_date => $$ customer.renewal_at + interval '1 day' $$, priority => 1);
SELECT define_transition('customer', 'consideration', 'retention', on_date => 'customer.renewal_at');
INSERT INTO customers (id, renewal_at) VALUES (10, '2025-01-01'), (11, '2025-01-01');
SELECT past(10, 'purchase', '2025-06-03');
SELECT event(11, 'purchase');
SELECT run_due();
SELECT replay();
SELECT is(days(10), 'awareness 06-03, consideration 06-03, retention 06-03', 'of two overdue dates the earlier one comes first');
SELECT is(path(11), path(10), 'as it did live');
-- a date comes once, live as in history
SELECT forget();
SELECT define_transition('customer', 'any', 'retention', on_date => 'customer.renewal_at', name => 'renewed');
SELECT define_transition('customer', 'any', 'lost', on_date => $$ customer.renewal_at + interval '1 day' $$, name => 'over');
SELECT define_transition('customer', 'any', 'advocacy', on_event => 'praise');
INSERT INTO customers (id, renewal_at) VALUES (12, '2025-06-01');
SELECT past(12, 'praise', '2025-05-31'), past(12, 'praise', '2025-06-05');
SELECT replay();
SELECT is(days(12), 'awareness 05-31, advocacy 05-31, retention 06-01, lost 06-02, advocacy 06-05', 'rules whose dates are past do not lead from one stage to the other for ever');
SELECT run_due();
SELECT is(path(12), 'awareness > advocacy > retention > lost > advocacy', 'nor do they when history is over');
INSERT INTO customers (id, renewal_at) VALUES (13, '2025-06-01');
SELECT event(13, 'praise', '2026-01-01 08:00+00');
SELECT run_due();
SELECT event(13, 'praise', '2026-01-01 08:30+00');
SELECT run_due();
SELECT path(13) AS live \gset
SELECT is(:'live'::text, 'awareness > advocacy > retention > lost > advocacy', 'live: the same');
SELECT replay();
SELECT is(path(13), :'live'::text, '… and in a backfill of it');
SELECT is_empty('SELECT FROM customer.failures', 'nothing of that is a failure');

-- entries, exits and goals of workflows
SELECT forget();
SELECT define_template('customer', 'hello', body => 'hello');
SELECT define_workflow('customer', 'w', state => 'live', entry => on_event('purchase', condition => $$ NOT EXISTS (SELECT FROM events e WHERE e.customer_id = customer.id AND e.name = 'login') $$),
    exit => triggers(on_event('leave', condition => $$ (SELECT count(*) FROM events e WHERE e.customer_id = customer.id AND e.name = 'leave') = 2 AND enrollment.workflow = 'w' $$)),
    goal => goal(on_event('win', condition => $$ (SELECT count(*) FROM events e WHERE e.customer_id = customer.id AND e.name = 'win' AND e.occurred_at >= enrollment.entered_at) = 2 $$)),
    steps => steps(delay('100 years')));
SELECT past(9, 'purchase', '2025-06-01'), past(9, 'win', '2025-06-02'), past(9, 'leave', '2025-06-03'), past(9, 'login', '2025-06-04'), past(9, 'leave', '2025-06-05'), past(9, 'win', '2025-06-06'),
    past(9, 'win', '2025-06-07'), past(9, 'leave', '2025-06-08');
CREATE FUNCTION replay_and_enroll() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL backfill('customer', enroll => true); END $$;
SELECT replay_and_enroll();
SELECT results_eq($$ SELECT exit_reason, to_char(entered_at, 'DD'), to_char(ended_at, 'DD'), to_char(converted_at, 'DD') FROM customer.enrollments WHERE subject_id = 9 $$,
    $$ VALUES ('exit', '01', '05', '06') $$, 'entries, exits and goals too');
SELECT is_empty('SELECT * FROM customer.failures', 'and none has failed');
SELECT verified();
-- live, they see all there is
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'purchase', condition => $$ (SELECT count(*) FROM events e WHERE e.customer_id = customer.id AND e.name = 'login') = 2 $$);
SELECT past(9, 'login', '2027-06-04');
SELECT event(9, 'purchase');
SELECT is(path(9), 'awareness > lost', 'live rules see all that there is');

SELECT * FROM finish();
ROLLBACK;
