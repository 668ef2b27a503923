-- Many events of one subject in one statement take time that grows with their number, not with its square. What grew were walks over lists in memory,
-- which nothing counts; so this counts the ticks of the processor that the server has used, as a multiple of those for as many events that are
-- asked about together. It was more than twenty times as many, and is up to four.
\ir shop.psql
SELECT plan(17);
CREATE FUNCTION ticks() RETURNS bigint LANGUAGE sql AS $$
    SELECT f[12]::bigint + f[13]::bigint FROM string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', ''), ' ') AS f $$;
CREATE FUNCTION visits(customer bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := ticks();
BEGIN
    INSERT INTO events (customer_id, name, occurred_at, properties)
    SELECT customer, 'visit', now('customer') - i * interval '1 s', CASE WHEN i = 1 THEN '{"last": true}' ELSE '{}' END::jsonb FROM generate_series(1, 50000) AS i;
    RETURN greatest(ticks() - before, 1);
END $$;
CREATE FUNCTION begins(customer bigint) RETURNS void LANGUAGE sql AS $$ SELECT event(customer, 'begin', now('customer') - interval '1 day') $$;
SELECT count(customer(i)) FROM generate_series(1, 9) AS i;
SET lifecycle.clock = '2026-02-01 09:00+00';

SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'visit', condition => $$ event.properties ? 'last' $$);
SELECT 10 * visits(1) AS bound \gset
SELECT is(path(1), 'awareness > consideration', 'many events that are asked about together: the last one moves');

-- what reads the stage beside the event cannot be asked ahead, nor can anything where errors are raised
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'visit',
                         condition => $$ event.properties ? 'last' AND subject.since < event.occurred_at $$);
SELECT cmp_ok(visits(2), '<', :bound::bigint, 'a condition that is asked event by event');
SELECT is(path(2), 'awareness > consideration', 'the last one moves');
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'visit', condition => $$ event.properties ? 'last' $$);
SET lifecycle.on_error = raise;
SELECT cmp_ok(visits(3), '<', :bound::bigint, 'so are all where errors are raised');
RESET lifecycle.on_error;
SELECT is(path(3), 'awareness > consideration', 'the last one moves');

-- the answers of a run
SELECT forget();
SELECT define_workflow('customer', 'ends', state => 'live', entry => on_event('begin'), exit => on_event('visit', $$ event.properties ? 'last' $$),
                       steps => steps(delay('90 days')));
SELECT begins(4);
SELECT cmp_ok(visits(4), '<', :bound::bigint, 'an exit');
SELECT is((SELECT exit_reason || ' ' || ended_at FROM customer.enrollments WHERE subject_id = 4), 'exit 2026-02-01 08:59:59+00', 'the last one ends it');
SELECT forget();
SELECT define_workflow('customer', 'converts', state => 'live', entry => on_event('begin'),
                       goal => goal(on_event('visit', $$ event.properties ? 'last' AND enrollment.entered_at < event.occurred_at $$), within => '14 days'),
                       steps => steps(delay('90 days')));
SELECT begins(5);
SELECT cmp_ok(visits(5), '<', :bound::bigint, 'a goal with a window');
SELECT is((SELECT converted_at FROM customer.enrollments WHERE subject_id = 5), '2026-02-01 08:59:59+00', 'the last one converts');

-- the answers of a subject, which hold for one of its stays
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'visit');
SELECT define_transition('customer', 'consideration', 'awareness', on_event => 'visit');
SELECT define_transition('customer', 'any', 'lost', condition => $$ customer.plan = 'none' AND subject.stage = 'awareness' $$);
SELECT cmp_ok(visits(6), '<', :bound::bigint, 'a condition that is asked whenever a stage is entered');
SELECT is((SELECT count(*) FROM customer.transitions WHERE subject_id = 6), 50001::bigint, 'each one moves');

-- the runs of a subject
SELECT forget();
SELECT define_workflow('customer', 'always', state => 'live', entry => on_event('visit'), exit => on_event('visit'), reentry => 'always', steps => steps(delay('90 days')));
SELECT define_workflow('customer', 'once', state => 'live', entry => on_event('visit'), exit => on_event('visit', $$ event.properties ? 'last' $$),
                       steps => steps(delay('90 days')));
SELECT define_workflow('customer', 'pauses', state => 'live', entry => on_event('visit'), exit => on_event('visit'), reentry => '2 seconds', steps => steps(delay('90 days')));
SELECT cmp_ok(visits(7), '<', :bound::bigint, 'runs that end and begin with each event');
SELECT is((SELECT string_agg(n, ', ' ORDER BY n) FROM (SELECT concat_ws(' ', workflow, exit_reason, count(*)) AS n
           FROM customer.enrollments WHERE subject_id = 7 GROUP BY workflow, exit_reason) AS r),
          'always 1, always exit 49999, once exit 1, pauses exit 25000', 'all that should have');
SELECT is((SELECT count(*) FROM (SELECT ended_at <> lead(entered_at) OVER (ORDER BY entered_at) AS late FROM customer.enrollments
           WHERE subject_id = 7 AND workflow = 'always') AS r WHERE late), 0::bigint, 'each when the next one begins');

-- others in the statement, which have long been folded
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'visit',
                         condition => $$ event.properties ? 'last' AND subject.since < event.occurred_at $$);
SELECT count(customer(i)) FROM generate_series(11, 5000) AS i;
CREATE FUNCTION visits_of_all() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := ticks();
BEGIN
    INSERT INTO events (customer_id, name, occurred_at, properties)
    SELECT least(10 + i, 5000), 'visit', now('customer') - i * interval '1 s', '{}' FROM generate_series(1, 50000) AS i;
    RETURN greatest(ticks() - before, 1);
END $$;
SELECT cmp_ok(visits_of_all(), '<', :bound::bigint, 'one among thousands');
SELECT is((SELECT count(*) FROM customer.failures), 0::bigint, 'nothing fails');
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
