-- Backfill: replaying what was there before comes to what live capture would have come to; what is interrupted goes on; a waiver.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE SCHEMA backfill;
SET search_path = backfill, public, lifecycle;
CREATE TABLE people (id int PRIMARY KEY, plan text NOT NULL DEFAULT 'free', ends timestamptz);
CREATE TABLE clicks (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person int, name text, at timestamptz NOT NULL);
CREATE INDEX ON clicks (person, at);
CREATE TABLE orders (id int PRIMARY KEY, person bigint, status text, day date);
CREATE FUNCTION define_it(name text) RETURNS void LANGUAGE sql AS $$
    SELECT define_lifecycle(name, 'people', stages => '{new,lead,buyer,idle,lost,expired,vip}', simulated => true);
    SELECT define_event_source(name, 'clicks', subject_column => 'person', name_column => 'name', time_column => 'at');
    SELECT define_event_source(name, 'orders', subject_column => 'person', event_name => 'paid', time_column => 'day', becomes => $b$ event.status = 'paid' $b$);
    SELECT define_transition(name, 'new', 'lead', on_event => 'signup', name => 'signup');
    SELECT define_transition(name, '{new,lead,idle}', 'buyer', on_event => 'purchase', name => 'buy');
    SELECT define_transition(name, 'buyer', 'idle', without_event => 'purchase', after => '30 days', name => 'silence');
    SELECT define_transition(name, 'idle', 'lost', after => '1 month', name => 'give up');
    SELECT define_transition(name, 'lost', 'new', on_event => 'signup', name => 'again');
    SELECT define_transition(name, 'any', 'expired', on_date => name || '.ends', name => 'end');
    SELECT define_transition(name, 'any', 'vip', on_event => 'paid', condition => name || $b$.plan = 'pro' AND subject.stage <> 'expired' $b$, name => 'paid');
$$;
-- the same history twice: live, under the clock, and replayed. No event comes at the very time of a timer: replay lets the event win, live the first to come
SET lifecycle.clock = '2025-01-01';
SELECT define_it('live');
INSERT INTO people SELECT i, CASE WHEN i % 7 = 0 THEN 'pro' ELSE 'free' END, CASE WHEN i % 5 = 0 THEN '2025-06-01'::timestamptz END FROM generate_series(1, 60) i;
DO $$
DECLARE
    day int;
BEGIN
    FOR day IN 0 .. 250 LOOP
        PERFORM lifecycle.advance_clock(until => '2025-01-01 12:00+00'::timestamptz + day * interval '1 day 1 minute');
        INSERT INTO clicks (person, name, at)
            SELECT p, (ARRAY['signup', 'purchase', 'purchase', 'other'])[1 + abs(hashint4(p + day * 1000) % 4)], '2025-01-01 12:00+00'::timestamptz + day * interval '1 day 1 minute'
              FROM generate_series(1, 58) p WHERE hashint4(p * 1000 + day) % 37 = 0;
        INSERT INTO orders SELECT day * 1000 + p, p, CASE WHEN p % 2 = 0 THEN 'paid' ELSE 'open' END, '2025-01-02'::date + day
              FROM generate_series(1, 60) p WHERE (p * 5 + day * 3) % 97 = 0;
    END LOOP;
END $$;
SELECT advance_clock(until => '2025-10-01') > '2025-01-01' AS played;
SET client_min_messages = warning;
SELECT define_it('past');
RESET client_min_messages;
SELECT enrolls FROM lifecycles WHERE name = 'past';
-- live events that come before the backfill count once
INSERT INTO clicks (person, name, at) VALUES (59, 'purchase', '2025-10-01');
SELECT to_stage FROM past.transitions WHERE subject_id = 59 ORDER BY seq;
-- somebody whom a person has moved is left alone
SELECT move('past', 60, 'vip', reason => 'known');
SELECT count(*) FROM verify('past') WHERE invariant <> 'every row is in a stage';
CALL backfill('past', batch_size => 7);
SELECT enrolls FROM lifecycles WHERE name = 'past';
SELECT subjects, position IS NULL AS at_the_end, finished_at IS NOT NULL AS finished FROM backfills WHERE lifecycle = 'past';
SELECT to_stage, cause FROM past.transitions WHERE subject_id IN (59, 60) ORDER BY subject_id, seq;
-- the same transitions, but for when the first stage was entered; subjects without an event begin now
SELECT count(*) > 300 AS many, count(DISTINCT rule) AS rules FROM past.transitions;
SELECT subject_id, seq, from_stage::text, to_stage::text, at, event_at, cause, rule, event_name, event_id FROM live.transitions WHERE seq > 1 AND subject_id <> 60 AND subject_id IN (SELECT person FROM clicks)
EXCEPT SELECT subject_id, seq, from_stage::text, to_stage::text, at, event_at, cause, rule, event_name, event_id FROM past.transitions;
SELECT subject_id, seq, from_stage::text, to_stage::text, at, event_at, cause, rule, event_name, event_id FROM past.transitions WHERE seq > 1 AND subject_id <> 60 AND subject_id IN (SELECT person FROM clicks)
EXCEPT SELECT subject_id, seq, from_stage::text, to_stage::text, at, event_at, cause, rule, event_name, event_id FROM live.transitions;
SELECT * FROM verify('past');
-- what is due next is the same
SELECT advance_clock(until => '2026-03-01') > '2025-01-01' AS played;
SELECT s.subject_id, s.stage, p.stage FROM live.subjects s JOIN past.subjects p USING (subject_id) WHERE s.stage::text <> p.stage::text AND s.subject_id <> 60;
-- once more: the same
CREATE TEMP TABLE before AS SELECT * FROM past.transitions;
CALL backfill('past');
SELECT count(*) FROM (TABLE before EXCEPT TABLE past.transitions) x;
SELECT subjects, began_at <= finished_at AS finished FROM backfills WHERE lifecycle = 'past';
-- a lifecycle that is dropped in the middle of its backfill begins at the beginning when it is defined again
UPDATE backfills SET position = '30', finished_at = NULL WHERE lifecycle = 'past';
SELECT drop_lifecycle('past');
SELECT count(*) FROM backfills WHERE lifecycle = 'past';
SET client_min_messages = warning;
SELECT define_it('past');
RESET client_min_messages;
CALL backfill('past');
SELECT subjects FROM backfills WHERE lifecycle = 'past';
-- one that fails in a batch: those before it stay, are recorded, and are not done again; meanwhile life goes on. In the end it is as if nothing had failed
CREATE TABLE obstacle (person int);
INSERT INTO clicks (person, name, at) VALUES (40, 'halt', '2025-06-15'), (50, 'halt', '2025-06-15');
CREATE FUNCTION define_with_obstacle(name text) RETURNS void LANGUAGE sql AS $$
    SELECT define_it(name);
    SELECT define_transition(name, 'any', 'vip', on_event => 'halt', condition => '(SELECT 1 / (o.person - ' || name || '.id) FROM obstacle o) IS DISTINCT FROM 2', name => 'halt');
    SELECT define_workflow(name, 'greeting', state => 'live', entry => on_stage('buyer'), steps => delay('1 day'));
$$;
SET client_min_messages = warning;
SELECT define_with_obstacle('whole'), define_with_obstacle('halted');
RESET client_min_messages;
CALL backfill('whole', batch_size => 7, enroll => true);
SET lifecycle.on_error = 'raise';
\set VERBOSITY terse
INSERT INTO obstacle VALUES (40);
CALL backfill('halted', batch_size => 7, enroll => true);
SELECT position, subjects, finished_at IS NULL AS goes_on, enrolls FROM backfills JOIN lifecycles ON name = lifecycle WHERE lifecycle = 'halted';
SELECT max(subject_id) AS last, count(*) = (SELECT transitions FROM backfills WHERE lifecycle = 'halted') AS recorded FROM halted.transitions;
CREATE TEMP TABLE kept AS SELECT subject_id, seq, xmin::text AS written_by FROM halted.transitions;
INSERT INTO clicks (person, name, at) VALUES (10, 'purchase', lifecycle.now('halted')), (45, 'purchase', lifecycle.now('halted'));
UPDATE obstacle SET person = 50;
CALL backfill('halted', batch_size => 7, enroll => true);
SELECT position, subjects, finished_at IS NULL AS goes_on, enrolls FROM backfills JOIN lifecycles ON name = lifecycle WHERE lifecycle = 'halted';
\set VERBOSITY default
RESET lifecycle.on_error;
DELETE FROM obstacle;
CALL backfill('halted', batch_size => 100, enroll => true);
SELECT position, subjects, finished_at IS NOT NULL AS finished, enrolls FROM backfills JOIN lifecycles ON name = lifecycle WHERE lifecycle = 'halted';
SELECT count(*) > 100 AS many, count(*) FILTER (WHERE t.xmin::text IS DISTINCT FROM k.written_by) AS written_again FROM kept k LEFT JOIN halted.transitions t USING (subject_id, seq);
SELECT subject_id, seq, from_stage::text, to_stage::text, at, since, event_at, cause, rule, event_name, event_id FROM whole.transitions
EXCEPT ALL SELECT subject_id, seq, from_stage::text, to_stage::text, at, since, event_at, cause, rule, event_name, event_id FROM halted.transitions;
SELECT subject_id, seq, from_stage::text, to_stage::text, at, since, event_at, cause, rule, event_name, event_id FROM halted.transitions
EXCEPT ALL SELECT subject_id, seq, from_stage::text, to_stage::text, at, since, event_at, cause, rule, event_name, event_id FROM whole.transitions;
SELECT count(*) > 30 AS many, count(*) = count(DISTINCT subject_id) AS once, count(*) = (SELECT count(*) FROM whole.enrollments) AS as_many FROM halted.enrollments;
SELECT count(*) > 0 AS some, count(*) = (SELECT count(*) FROM whole._due) AS as_many FROM halted._due;
SELECT * FROM verify('halted');
SELECT drop_lifecycle('whole'), drop_lifecycle('halted');
-- conditions over values that are stored out of line, in batches after the first
CREATE TABLE notes (person int NOT NULL, name text NOT NULL, at timestamptz NOT NULL, payload text NOT NULL);
INSERT INTO notes SELECT id, 'note', '2025-01-01', (SELECT string_agg(md5(id || ' ' || i), '') FROM generate_series(1, 400) AS i) FROM people WHERE id <= 10;
SELECT define_lifecycle('noted', 'people', stages => '{new,long}');
SELECT define_event_source('noted', 'notes', subject_column => 'person', name_column => 'name', time_column => 'at');
SELECT define_transition('noted', 'new', 'long', on_event => 'note', condition => 'length(event.payload) = 12800');
CALL backfill('noted', batch_size => 3);
SELECT stage, count(*) FROM noted.subjects WHERE subject_id <= 10 GROUP BY stage;
SELECT drop_lifecycle('noted');
-- a waiver; errors
SELECT define_lifecycle('third', 'people');
SELECT define_workflow('third', 'by hand', state => 'live', steps => delay('1 day'));
SELECT enroll('third', 'by hand', 1);
SELECT waive_backfill('third');
SELECT enrolls FROM lifecycles WHERE name = 'third';
SELECT enroll('third', 'by hand', 1);
CALL backfill('nobody');
CALL backfill('past', batch_size => 0);
SELECT drop_lifecycle('live'), drop_lifecycle('past'), drop_lifecycle('third');
SET client_min_messages = warning;
DROP SCHEMA backfill CASCADE;
