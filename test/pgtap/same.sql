-- However the same rows come and however time passes, the same happens: one statement or row by row in the order of the events' times, the clock in one
-- jump or in many, batches of any size. A few thousand rows that look random, the same each time, through rules and workflows of every kind.
\ir shop.psql
SELECT plan(11);

CREATE FUNCTION pick(n int, seed int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT (hashint4(seed) & 2147483647) % n $$;
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'a', condition => $$ (event.properties->>'v')::int >= 2 $$);
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'a', condition => $$ customer.plan = 'team' $$, priority => 10);
SELECT define_transition('customer', '{awareness,consideration}', 'conversion', on_event => 'b');
SELECT define_transition('customer', 'conversion', 'retention', on_event => 'b', condition => $$ (event.properties->>'v')::int <= 3 AND subject.since < event.occurred_at $$);
SELECT define_transition('customer', 'conversion', 'advocacy', condition => $$ customer.plan = 'pro' $$);
SELECT define_transition('customer', 'any', 'lost', on_event => 'x');
SELECT define_transition('customer', 'lost', 'awareness', on_event => 'a');
SELECT define_transition('customer', 'consideration', 'inactive', after => '31 hours 7 minutes', condition => $$ customer.plan <> 'pro' $$);
SELECT define_transition('customer', '{conversion,retention}', 'inactive', without_event => 'b', after => '49 hours 3 minutes');
SELECT define_transition('customer', 'inactive', 'awareness', on_date => 'customer.renewal_at');
SELECT define_template('customer', 't', body => '{{ subject.stage }} {{ event.properties.v | default: "-" }}');
SELECT define_workflow('customer', 'welcome', state => 'live', entry => on_event('a'), exit => on_event('x'), reentry => 'always', steps => steps(send('email', 't'), delay('17 hours 11 minutes'),
    branch($$ subject.stage >= 'conversion' $$, yes => send('email', 't'), no => steps(delay('5 hours 13 minutes'), set_stage('conversion'))), send('email', 't', only_if => $$ customer.plan = 'free' $$)));
SELECT define_workflow('customer', 'stages', state => 'live', entry => on_stage('{conversion,inactive}'), exit => on_stage('lost'), goal => goal(on_event('b'), within => '40 hours', exit => true), reentry => '20 hours',
    steps => steps(delay('23 hours 17 minutes'), run_sql($$ UPDATE customers SET plan = 'pro' WHERE id = customer.id AND id % 3 = 0 $$), send('email', 't'), delay('29 hours'), lifecycle.exit('late')));
SELECT define_workflow('customer', 'plans', state => 'live', entry => on_change($$ customer.plan = 'team' $$), reentry => 'always', steps => steps(delay('90 minutes'), send('email', 't')));

CREATE TABLE script AS SELECT i, 1 + pick(40, i) AS id, (ARRAY['a', 'b', 'x', 'unheard', 'a', 'b'])[1 + pick(6, i + 10000)] AS name, 1 + (i - 1) / 300 AS part,
    timestamptz '2026-01-01 09:00+00' + ((i - 1) / 300) * interval '1 day' - pick(100000, i + 20000) * interval '1.000001 seconds' + i * interval '1 microsecond' AS at,
    jsonb_build_object('v', pick(6, i + 30000)) AS properties FROM generate_series(1, 1500) AS i;
-- Five days of 300 events and some changed customers each; after each day time passes. Answers all that has come of it, a line each.
CREATE FUNCTION play(by_row boolean, jumps int, out happened text) LANGUAGE plpgsql AS $$
DECLARE
    row record;
BEGIN
    INSERT INTO customers (id, email, plan, renewal_at)
    SELECT id, 'c' || id, (ARRAY['free', 'team', 'pro', 'free'])[1 + pick(4, id)], timestamptz '2026-01-01' + pick(12, id + 50) * interval '1 day 7 seconds' FROM generate_series(1, 40) AS id;
    FOR day IN 1..5 LOOP
        IF by_row THEN
            FOR row IN SELECT * FROM script WHERE part = day ORDER BY at LOOP
                INSERT INTO events (customer_id, name, occurred_at, properties) VALUES (row.id, row.name, row.at, row.properties);
            END LOOP;
        ELSE
            INSERT INTO events (customer_id, name, occurred_at, properties) SELECT id, name, at, script.properties FROM script WHERE part = day ORDER BY i;
        END IF;
        UPDATE customers SET plan = (ARRAY['free', 'team', 'pro'])[1 + pick(3, id::int * day)] WHERE id % 5 = day % 5;
        FOR i IN 1..jumps LOOP
            PERFORM advance_clock((CASE day WHEN 5 THEN interval '10 days' ELSE interval '1 day' END) / jumps);
        END LOOP;
    END LOOP;
    SELECT string_agg(line, E'\n' ORDER BY line) INTO happened FROM (
        SELECT concat_ws('|', 'transition', subject_id, lpad(seq::text, 3, '0'), from_stage, to_stage, at, event_at, cause, rule, event_name) FROM customer.transitions
        UNION ALL SELECT concat_ws('|', 'run', subject_id, workflow, entered_at, ended_at, converted_at, exit_reason) FROM customer.enrollments
        UNION ALL SELECT concat_ws('|', 'message', m.subject_id, m.workflow, m.step, m.created_at, m.body, m.status) FROM customer.messages m
        UNION ALL SELECT concat_ws('|', 'activity', subject_id, version_id, coalesce(step, 0), at, outcome, detail) FROM customer.activity
        UNION ALL SELECT concat_ws('|', 'violated', invariant, subject_id, detail) FROM lifecycle.verify('customer')
        UNION ALL SELECT concat_ws('|', 'failed', subject_id, name, message) FROM customer.failures) AS all_of_it (line);
END $$;
CREATE FUNCTION differences(a text, b text) RETURNS SETOF text LANGUAGE sql AS $$
    (SELECT 'first: ' || l FROM (SELECT unnest(string_to_array(a, E'\n')) EXCEPT ALL SELECT unnest(string_to_array(b, E'\n'))) AS d (l) LIMIT 10)
    UNION ALL (SELECT 'second: ' || l FROM (SELECT unnest(string_to_array(b, E'\n')) EXCEPT ALL SELECT unnest(string_to_array(a, E'\n'))) AS d (l) LIMIT 10) $$;

SAVEPOINT before;
SELECT play(false, 1) AS one \gset
SELECT bag_eq($$ SELECT DISTINCT rule FROM customer.transitions WHERE cause IN ('rule', 'timer') $$, $$ SELECT name::text FROM lifecycle.transition_rules WHERE lifecycle = 'customer' $$, 'every rule moves somebody');
SELECT cmp_ok((SELECT count(*) FROM customer.transitions), '>', 500::bigint, 'many moves');
SELECT cmp_ok((SELECT count(*) FROM customer.messages), '>', 200::bigint, 'many messages');
SELECT is((SELECT array_agg(DISTINCT exit_reason ORDER BY exit_reason) FROM customer.enrollments WHERE ended_at IS NOT NULL), '{completed,exit,goal,late}', 'runs end in every way');
SELECT verified();
ROLLBACK TO before;
SELECT play(true, 1) AS other \gset
SELECT is_empty(format('SELECT * FROM differences(%L, %L)', :'one', :'other'), 'row by row: the same');
ROLLBACK TO before;
SELECT play(false, 24) AS other \gset
SELECT is_empty(format('SELECT * FROM differences(%L, %L)', :'one', :'other'), 'time in many small jumps: the same');
ROLLBACK TO before;
SET lifecycle.batch_size = 1;
SELECT play(false, 1) AS other \gset
SELECT is_empty(format('SELECT * FROM differences(%L, %L)', :'one', :'other'), 'batches of one row: the same');
ROLLBACK TO before;
SET lifecycle.batch_size = 7;
SELECT play(true, 3) AS other \gset
SELECT is_empty(format('SELECT * FROM differences(%L, %L)', :'one', :'other'), 'batches of seven rows, row by row, three jumps: the same');
ROLLBACK TO before;
SELECT drop_event_source('customer', 'events');
ALTER TABLE events RENAME TO plain_events;
CREATE TABLE events (id bigint, customer_id bigint, name text, occurred_at timestamptz, properties jsonb) PARTITION BY RANGE (occurred_at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-03');
CREATE TABLE events_2 PARTITION OF events DEFAULT;
SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');
SELECT play(false, 1) AS other \gset
SELECT is_empty(format('SELECT * FROM differences(%L, %L)', :'one', :'other'), 'a partitioned table: the same');
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
