-- A jump of the clock is the same as many small steps: timers, delays, what follows from them, each at its own time.
\ir shop.psql
SELECT plan(12);

SELECT define_transition('customer', 'awareness', 'inactive', without_event => 'login', after => '10 days', name => 'silent');
SELECT define_transition('customer', 'inactive', 'lost', after => '1 month', condition => $$ customer.plan = 'free' $$, name => 'give up');
SELECT define_transition('customer', 'retention', 'awareness', after => '36 hours', name => 'cool down');
SELECT define_template('customer', 'news', body => '{{ subject.stage }} {{ enrollment.entered_at }}');
SELECT define_workflow('customer', 'win back', state => 'live', entry => on_stage('inactive'), exit => on_stage('lost'), reentry => '20 days', steps => steps(
    send('email', 'news'),
    delay('3 days'),
    branch($$ customer.id % 2 = 0 $$, yes => steps(set_stage('retention'), delay('2 days'), send('email', 'news'))),
    delay('1 month'),
    send('email', 'news')));
SELECT define_workflow('customer', 'thanks', state => 'live', entry => on_stage('retention'), reentry => 'always', steps => steps(delay('1 hour'), send('email', 'news')));

CREATE FUNCTION play(first int, step interval, until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL lifecycle.clock = '2026-01-01 00:00+00';
    FOR i IN 0 .. 19 LOOP
        PERFORM set_config('lifecycle.clock', ('2026-01-01 00:00+00'::timestamptz + i * interval '17 hours')::text, true);
        INSERT INTO customers (id, email, timezone, plan)
        VALUES (first + i, 'someone', (ARRAY['UTC', 'Europe/Berlin', 'America/New_York'])[1 + i % 3], CASE WHEN i % 5 = 0 THEN 'team' ELSE 'free' END);
        INSERT INTO events (customer_id, name, occurred_at)
        SELECT first + i, 'login', now('customer') + (n * (i + 3)) % 23 * interval '1 day' FROM generate_series(1, i % 4) AS n;
    END LOOP;
    WHILE now('customer') + step < until LOOP
        PERFORM advance_clock(step);
    END LOOP;
    PERFORM advance_clock(until => until);
END $$;
SELECT play(1000, '1 year', '2026-07-01');
SELECT play(2000, '1 day', '2026-07-01');
SELECT play(3000, '7 hours', '2026-07-01');

CREATE FUNCTION same(what text, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT is_empty(format('(%1$s WHERE subject_id / 1000 = 2 EXCEPT ALL %1$s WHERE subject_id / 1000 = 1) UNION ALL (%1$s WHERE subject_id / 1000 = 1 EXCEPT ALL %1$s WHERE subject_id / 1000 = 2)', query),
        what || ': a jump is the same as days');
    RETURN NEXT is_empty(format('(%1$s WHERE subject_id / 1000 = 3 EXCEPT ALL %1$s WHERE subject_id / 1000 = 2) UNION ALL (%1$s WHERE subject_id / 1000 = 2 EXCEPT ALL %1$s WHERE subject_id / 1000 = 3)', query),
        what || ': days are the same as hours');
END $$;
SELECT same('transitions', 'SELECT subject_id % 1000, seq, from_stage, to_stage, at, since, event_at, cause, rule FROM customer.transitions');
SELECT same('runs', 'SELECT subject_id % 1000, workflow, entered_at, ended_at, exit_reason FROM customer.enrollments');
SELECT same('steps', 'SELECT subject_id % 1000, step, waited, at, outcome, detail FROM customer.activity');
SELECT same('messages', 'SELECT subject_id % 1000, workflow, step, status, body, created_at FROM customer.messages');
SELECT cmp_ok((SELECT count(*) FROM customer.messages WHERE subject_id / 1000 = 1), '>', 50::bigint, 'and there are messages');
SELECT is_empty($$ SELECT subject_id FROM customer.messages m JOIN customer.enrollments e USING (subject_id) WHERE e.id = m.enrollment_id AND created_at < entered_at $$,
    'no message before its run');
SELECT is((SELECT max(created_at) FROM customer.messages WHERE workflow = 'win back' AND step = 1), (SELECT max(entered_at) FROM customer.enrollments WHERE workflow = 'win back'),
    'the first step is done when the run begins');
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
