-- Steps for many subjects at once ask for their rows in one way when the keys lie close together and in another when they do not, and for a few in a
-- third: the answers are the same.
\ir shop.psql
SELECT plan(9);
CREATE TABLE pets (owner bigint, name text);
CREATE TABLE ran (customer bigint, stage text, entered_at timestamptz, event text);
SELECT define_template('customer', 'all', subject_line => '{{ customer.first_name }} {{ subject.stage }}',
    body => '{{ event.properties.n }} {{ enrollment.entered_at | date: "%Y-%m-%d %H:%M" }} {{ customer.timezone }}');
SELECT define_template('customer', 'pet', body => '{{ recipient.pet }} of {{ customer.first_name }}');
SELECT define_workflow('customer', 'flow', state => 'live', entry => on_event('go'), steps => steps(
    send('email', 'all'),
    send('email', 'pet', "to" => $$ SELECT p.name || '@pets' AS address, p.name AS pet FROM pets p WHERE p.owner = customer.id $$, only_if => $$ customer.first_name <> 'C3' $$),
    branch($$ event.properties->>'n' > '5' AND enrollment.entered_at > '2026-01-01' AND subject.stage = 'awareness' $$,
           yes => delay('1 day'), no => delay('2 days')),
    run_sql($$ INSERT INTO ran VALUES (customer.id, subject.stage, enrollment.entered_at, enrollment.context->'event'->>'name') $$),
    set_stage('conversion')));

-- Plays three days for n customers with the keys first + apart, first + 2 * apart, …, beside others that do nothing; says what came of them.
CREATE FUNCTION play(first bigint, apart bigint, n integer) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
BEGIN
    SET lifecycle.clock = '2026-01-01 09:00+00';
    INSERT INTO customers (id, email, first_name, timezone)
    SELECT first + i * apart, i || '@example.com', 'C' || i, CASE i % 2 WHEN 0 THEN 'UTC' ELSE 'America/New_York' END FROM generate_series(1, n) AS i;
    INSERT INTO customers (id, first_name) SELECT first + i * apart + 100, 'N' || i FROM generate_series(1, n) AS i;
    INSERT INTO pets SELECT first + i * apart, 'p' || i || '-' || j FROM generate_series(1, n) AS i, generate_series(1, i % 3) AS j;
    INSERT INTO events (customer_id, name, properties)
    SELECT first + i * apart, 'go', jsonb_build_object('n', i % 10) FROM generate_series(1, n) AS i ORDER BY i % 7;
    PERFORM lifecycle.run_due(), lifecycle.advance_clock('3 days');
    RETURN QUERY
    WITH played AS (SELECT id, (id - first) / apart AS number FROM customers WHERE id > first AND first_name LIKE 'C%')
    SELECT concat_ws(' ', number, m.step, status, address, subject_line, body, reason) FROM played JOIN customer.messages m ON m.subject_id = played.id
     UNION ALL SELECT concat_ws(' ', number, stage, entered_at, event) FROM played JOIN ran ON customer = played.id
     UNION ALL SELECT concat_ws(' ', number, a.step, outcome, at) FROM played JOIN customer.activity a ON a.subject_id = played.id
     UNION ALL SELECT concat_ws(' ', number, t.seq, from_stage, to_stage, at) FROM played JOIN customer.transitions t ON t.subject_id = played.id;
END $$;
CREATE TEMP TABLE few AS SELECT line FROM play(1000, 1, 10);
CREATE TEMP TABLE dense AS SELECT line FROM play(2000, 1, 60);
CREATE TEMP TABLE sparse AS SELECT line FROM play(100000, 100000, 60);
SELECT is((SELECT count(*) FROM dense), 619::bigint, 'messages, activity, transitions');
SELECT is((SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM dense WHERE line LIKE '7 %'), '7 1 awareness 2026-01-01 09:00:00+00
7 1 queued 7@example.com C7 awareness 7 2026-01-01 04:00 America/New_York
7 1 sent 2026-01-01 09:00:00+00
7 2 awareness conversion 2026-01-02 09:00:00+00
7 2 queued p7-1@pets p7-1 of C7
7 2 sent 2026-01-01 09:00:00+00
7 3 yes 2026-01-01 09:00:00+00
7 6 done 2026-01-02 09:00:00+00
7 7 moved 2026-01-02 09:00:00+00
7 awareness 2026-01-01 09:00:00+00 go', 'all of one of them');
SELECT bag_eq('TABLE dense', 'TABLE sparse', 'close together or far apart');
SELECT bag_eq($$ SELECT * FROM dense WHERE substring(line FROM '^\d+')::integer <= 10 $$, 'TABLE few', 'many or few');
SELECT verified();

-- lifecycles and columns may be called what our own columns and tables are in the statements
CREATE TABLE rooms (room bigint PRIMARY KEY, plan text, key text, subject text, pg_key text, pg_id text, r text, s text, q text,
    ends date);
CREATE TABLE visits (id bigint PRIMARY KEY, room bigint, e text, at timestamptz DEFAULT lifecycle.now('key'));
SELECT define_lifecycle('key', 'rooms', key_column => 'room', stages => '{new,seen,old,over}', simulated => true, schema => 'keys',
    timezone => $$ 'UTC' $$, recipients => $$ SELECT key.room || '@rooms' AS address $$);
SELECT define_event_source('key', 'visits', 'room', 'at', event_name => 'visit', becomes => $$ event.e = 'yes' $$);
SELECT define_transition('key', 'new', 'seen', on_event => 'visit', condition => $$ key.r IS NULL AND subject.stage = 'new' AND event.e = 'yes' $$);
SELECT define_template('key', 'rows', body => '{{ key.plan }}, {{ key }}, {{ subject }}, {{ enrollment }}');
SELECT define_workflow('key', 'flow', state => 'live', entry => on_stage('seen'), steps => steps(
    send('email', 'rows'),
    branch($$ key.plan = 'a' AND subject.stage = 'seen' AND enrollment.workflow = 'flow' $$, yes => run_sql($$ INSERT INTO pets VALUES (key.room, enrollment.workflow) $$)),
    set_stage('old')));
INSERT INTO rooms (room, plan, ends) VALUES (-1, 'a', '2026-02-01'), (-2, 'b', NULL);
INSERT INTO visits VALUES (1, -1, 'yes'), (2, -2, 'no');
UPDATE visits SET e = 'yes' WHERE id = 2;
SELECT define_transition('key', 'old', 'over', on_date => 'key.ends');
SELECT run_due() > 0, advance_clock('60 days') IS NOT NULL;
SELECT bag_eq('SELECT owner, name FROM pets WHERE owner < 0', $$ VALUES (-1::bigint, 'flow') $$, 'a step of a lifecycle called key');
SELECT alike(body, 'a, {%"room": -1%}, {%"seen"%}, {%"flow"%}', 'whole rows in a template') FROM keys.messages WHERE subject_id = -1;
SELECT bag_eq('SELECT subject_id, stage::text FROM keys.subjects', $$ VALUES (-1::bigint, 'over'), (-2, 'old') $$, 'its events and dates');
SELECT verified('key');
SELECT * FROM finish();
ROLLBACK;
