-- Capture: every way in which a row can change, and what it comes to.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
DROP ROLE IF EXISTS capture_app;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE SCHEMA capture;
SET search_path = capture, public, lifecycle;
CREATE TABLE people (
    id    bigint PRIMARY KEY,
    name  text,
    plan  text NOT NULL DEFAULT 'free',
    score int NOT NULL DEFAULT 0,
    ends  timestamptz
);
CREATE TABLE clicks (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person int,
    name   text,
    at     timestamptz NOT NULL DEFAULT '2026-01-01 12:00+00',
    amount text
);
CREATE INDEX ON clicks (person, at);
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT define_lifecycle('person', 'people', stages => '{new,lead,buyer,fan,asleep,gone}', simulated => true);
SELECT define_event_source('person', 'clicks', subject_column => 'person', name_column => 'name', time_column => 'at');
SELECT define_transition('person', 'new', 'lead', on_event => 'signup', name => 'signup');
SELECT define_transition('person', '{new,lead}', 'buyer', on_event => 'purchase', name => 'buy');
SELECT define_transition('person', 'buyer', 'fan', condition => $$ person.score >= 10 $$, name => 'score');
SELECT define_transition('person', 'any', 'gone', on_event => 'bye', name => 'bye');
CREATE VIEW log AS SELECT subject_id AS id, seq, from_stage AS "from", to_stage AS "to", at, event_at, cause, rule, event_name AS event, event_id
    FROM person.transitions ORDER BY subject_id, seq;

-- INSERT: a subject enters the initial stage; several events of a statement are several transitions, in the order of their times
INSERT INTO people (id, name) VALUES (1, 'Ada'), (2, 'Bob'), (3, 'Cy');
INSERT INTO clicks (person, name, at) VALUES (1, 'purchase', '2026-01-02'), (1, 'signup', '2026-01-01'), (2, 'purchase', '2026-01-01'),
    (2, 'nothing', '2026-01-01'), (99, 'purchase', '2026-01-01'), (-1, 'purchase', '2026-01-01'), (NULL, 'purchase', '2026-01-01'), (3, NULL, '2026-01-01');
TABLE log;
-- event times may run backwards, transitions do not
INSERT INTO clicks (person, name, at) VALUES (1, 'bye', '2020-01-01');
SELECT * FROM log WHERE id = 1 AND seq > 3;
TABLE person.subjects ORDER BY subject_id;

-- UPDATE: only columns that conditions read matter; a rule with a condition alone chains after an event
UPDATE people SET name = upper(name);
UPDATE people SET score = 10 WHERE id IN (2, 3);
INSERT INTO clicks (person, name) VALUES (3, 'purchase');
SELECT * FROM log WHERE id IN (2, 3) AND seq > 1;

-- upsert, MERGE, COPY
INSERT INTO people (id, score) VALUES (2, 50), (4, 50) ON CONFLICT (id) DO UPDATE SET score = excluded.score;
MERGE INTO people p USING (VALUES (4, 'Dee'), (5, 'Eve')) v (id, name) ON v.id = p.id
    WHEN MATCHED THEN UPDATE SET name = v.name
    WHEN NOT MATCHED THEN INSERT (id, name, score) VALUES (v.id, v.name, 20);
MERGE INTO clicks c USING (VALUES (4), (5)) v (id) ON false WHEN NOT MATCHED THEN INSERT (person, name) VALUES (v.id, 'purchase');
COPY people (id, name) FROM stdin;
6	Fay
7	Gus
\.
COPY clicks (person, name) FROM stdin;
6	signup
7	signup
7	purchase
6	unknown
\.
SELECT id, seq, "from", "to", cause, rule FROM log WHERE id BETWEEN 4 AND 7;

-- several statements in a transaction, a savepoint that is rolled back, and a transaction that is
BEGIN;
INSERT INTO people (id) VALUES (8);
INSERT INTO clicks (person, name) VALUES (8, 'signup');
SAVEPOINT s;
INSERT INTO clicks (person, name) VALUES (8, 'bye');
SELECT stage FROM person.subjects WHERE subject_id = 8;
ROLLBACK TO s;
SELECT stage FROM person.subjects WHERE subject_id = 8;
INSERT INTO clicks (person, name) VALUES (8, 'purchase');
COMMIT;
BEGIN;
INSERT INTO clicks (person, name) VALUES (8, 'bye');
ROLLBACK;
SELECT id, seq, "from", "to", rule FROM log WHERE id = 8;
-- a data-modifying CTE: the subject and its event in one statement
WITH p AS (INSERT INTO people (id) VALUES (9) RETURNING id::int) INSERT INTO clicks (person, name) SELECT id, 'signup' FROM p;
SELECT id, seq, "from", "to", rule FROM log WHERE id = 9;

-- DELETE, the same key again, a change of the key, TRUNCATE
DELETE FROM people WHERE id IN (8, 9);
SELECT id, seq, "from", "to", cause FROM log WHERE id = 8 AND seq > 3;
INSERT INTO people (id) VALUES (8);
SELECT id, seq, "from", "to", cause FROM log WHERE id = 8 AND seq > 3;
UPDATE people SET id = id + 100 WHERE id IN (7, 8);
SELECT id, seq, "from", "to", cause FROM log WHERE id IN (7, 8, 107, 108) AND (seq > 4 OR id > 100 OR id = 7);
TRUNCATE people;
SELECT count(*) FROM person.subjects;
SELECT id, seq, "from", "to", cause FROM log WHERE id IN (1, 108) ORDER BY id, seq DESC;
SELECT * FROM verify('person');

-- the role that inserts has no right on anything of the lifecycle
CREATE ROLE capture_app;
GRANT USAGE ON SCHEMA capture TO capture_app;
GRANT INSERT ON people, clicks TO capture_app;
SET ROLE capture_app;
INSERT INTO people (id) VALUES (20);
INSERT INTO clicks (person, name) VALUES (20, 'signup');
SELECT * FROM person.subjects;
SELECT lifecycle._capture_event();
RESET ROLE;
SELECT stage FROM person.subjects WHERE subject_id = 20;

-- lifecycle.capture = off: not captured; the next event finds no row of the subject and makes one
SET lifecycle.capture = off;
INSERT INTO people (id) VALUES (21);
INSERT INTO clicks (person, name) VALUES (21, 'signup');
RESET lifecycle.capture;
SELECT count(*) FROM person.subjects WHERE subject_id = 21;
SELECT lifecycle.capture('person', 'clicks', array_agg(c)) FROM clicks c WHERE person = 21;
SELECT id, seq, "from", "to", at, rule FROM log WHERE id = 21;
SELECT lifecycle.capture('person', 'clicks', array_agg(p)) FROM people p;
SELECT lifecycle.capture('person', 'nothing', array_agg(p)) FROM people p;
-- nothing is written in a read-only transaction
BEGIN READ ONLY;
SELECT lifecycle.capture('person', 'clicks', array_agg(c)) FROM clicks c WHERE person = 21;
ROLLBACK;
BEGIN READ ONLY;
SELECT lifecycle.move('person', 21, 'lost');
ROLLBACK;

-- conditions: of the event, with subqueries, of the subject's stage; the lowest priority wins, ties by name
SELECT define_transition('person', 'lead', 'fan', on_event => 'order', condition => $$ event.amount::numeric > 100 $$, priority => 10, name => 'big');
SELECT define_transition('person', 'lead', 'buyer', on_event => 'order', priority => 20, name => 'order b');
SELECT define_transition('person', 'lead', 'gone', on_event => 'order', priority => 20, name => 'order c');
SELECT define_transition('person', 'buyer', 'fan', on_event => 'order',
    condition => $$ (SELECT count(*) FROM clicks c WHERE c.person = person.id AND c.name = 'order') >= 3 AND subject.stage = 'buyer' $$, name => 'third order');
INSERT INTO people (id) VALUES (30), (31), (32);
INSERT INTO clicks (person, name) SELECT id, 'signup' FROM people WHERE id >= 30;
INSERT INTO clicks (person, name, amount) VALUES (30, 'order', '200'), (31, 'order', '99'), (31, 'order', '1');
INSERT INTO clicks (person, name, amount) VALUES (31, 'order', '1');
-- a condition that fails is recorded, for that rule and subject; the others go on
INSERT INTO clicks (person, name, amount) VALUES (32, 'order', '42 EUR');
SELECT id, seq, "from", "to", rule FROM log WHERE id >= 30;
SELECT subject_id, kind, name, sqlstate, message FROM person.failures ORDER BY id;
SET lifecycle.on_error = 'raise';
INSERT INTO people (id) VALUES (33);
INSERT INTO clicks (person, name) VALUES (33, 'signup');
INSERT INTO clicks (person, name, amount) VALUES (33, 'order', '42 EUR');
RESET lifecycle.on_error;
-- in a batch, only the rows that fail fail
INSERT INTO people (id) SELECT generate_series(1000, 1099);
INSERT INTO clicks (person, name) SELECT id, 'signup' FROM people WHERE id >= 1000;
INSERT INTO clicks (person, name, amount) SELECT id, 'order', CASE WHEN id % 10 = 0 THEN 'x' ELSE '200' END FROM people WHERE id >= 1000;
SELECT rule, count(*), min(id), max(id) FROM log WHERE id >= 1000 AND event = 'order' GROUP BY rule ORDER BY rule;
SELECT count(*), min(subject_id), max(subject_id) FROM person.failures WHERE subject_id >= 1000;
-- a rule that fails on every row is skipped after a while, with a warning
INSERT INTO people (id) SELECT generate_series(2000, 2299);
INSERT INTO clicks (person, name) SELECT id, 'signup' FROM people WHERE id >= 2000;
INSERT INTO clicks (person, name, amount) SELECT id, 'order', 'x' FROM people WHERE id >= 2000;
SELECT count(*) FROM person.failures WHERE subject_id >= 2000;
SELECT count(*) FROM person.subjects WHERE subject_id >= 2000 AND stage = 'buyer';
-- a condition that never ends is stopped
SET lifecycle.condition_timeout = '100ms';
SELECT define_transition('person', 'new', 'gone', on_event => 'slow', name => 'slow',
    condition => $$ (SELECT count(*) FROM generate_series(1, 1000000000) g) > person.id $$);
INSERT INTO clicks (person, name) VALUES (20, 'slow');
INSERT INTO people (id) VALUES (40);
INSERT INTO clicks (person, name) VALUES (40, 'slow');
SELECT subject_id, name, sqlstate, message FROM person.failures WHERE subject_id IN (20, 40);
RESET lifecycle.condition_timeout;
SELECT drop_transition('person', 'slow');

-- chains stop at a fixpoint; a cycle is recorded and stopped, or raised
SELECT define_transition('person', 'asleep', 'new', condition => $$ person.plan = 'loop' $$, name => 'wake');
SELECT define_transition('person', 'new', 'asleep', condition => $$ person.plan = 'loop' $$, name => 'sleep');
INSERT INTO people (id, plan) VALUES (50, 'loop');
SELECT id, seq, "from", "to", rule FROM log WHERE id = 50;
SELECT name, sqlstate, message FROM person.failures WHERE subject_id = 50;
SET lifecycle.on_error = 'raise';
INSERT INTO people (id, plan) VALUES (51, 'loop');
RESET lifecycle.on_error;
SELECT drop_transition('person', 'wake');
SELECT drop_transition('person', 'sleep');

-- entry rules
SELECT define_transition('person', NULL, 'buyer', condition => $$ person.plan = 'pro' $$, name => 'born a buyer');
INSERT INTO people (id, plan) VALUES (60, 'pro'), (61, 'free');
SELECT id, seq, "from", "to", cause, rule FROM log WHERE id IN (60, 61);

-- by hand
SELECT lifecycle.move('person', 61, 'asleep', reason => 'phone call'), lifecycle.move('person', '61'::text, 'asleep');
SELECT to_stage, cause, actor = session_user AS me, reason FROM person.transitions WHERE subject_id = 61 ORDER BY seq;
SELECT lifecycle.move('person', 61, 'nowhere');
SELECT lifecycle.move('person', 777, 'new');
SELECT lifecycle.move('person', 'x'::text, 'new');
SELECT lifecycle.move('nobody', 61, 'new');
SET ROLE capture_app;
SELECT lifecycle.move('person', 61, 'new');
SELECT lifecycle.capture('person', 'clicks', ARRAY[NULL::clicks]);
CALL lifecycle.backfill('person');
RESET ROLE;
SELECT * FROM verify('person');

-- in a transaction without an event that somebody listens to no trigger is called; one event is enough for all that follows
SET track_functions = 'all';
INSERT INTO clicks (person, name) VALUES (81, 'nothing');
SELECT pg_stat_force_next_flush();
BEGIN;
INSERT INTO clicks (person, name) VALUES (81, 'nothing');
INSERT INTO clicks (person, name) SELECT 81, 'nothing' FROM generate_series(1, 3);
SELECT funcname, calls FROM pg_stat_xact_user_functions WHERE schemaname = 'lifecycle';
INSERT INTO clicks (person, name) VALUES (81, 'bye'), (82, 'nothing'), (81, 'bye');
INSERT INTO clicks (person, name) VALUES (81, 'nothing');
SELECT funcname, calls FROM pg_stat_xact_user_functions WHERE schemaname = 'lifecycle';
ROLLBACK;
RESET track_functions;
-- of several parts of one statement, and of several updates by foreign keys, the server keeps the trigger event of the last, which wrote nothing
INSERT INTO people (id) SELECT generate_series(83, 86);
WITH first AS (INSERT INTO clicks (person, name) VALUES (83, 'signup')) INSERT INTO clicks (person, name) VALUES (84, 'nothing');
WITH first AS (INSERT INTO clicks (person, name) VALUES (84, 'nothing')) INSERT INTO clicks (person, name) VALUES (84, 'signup');
CREATE TABLE boxes (id int PRIMARY KEY);
CREATE TABLE parcels (person bigint, box int REFERENCES boxes ON DELETE SET NULL, at timestamptz NOT NULL DEFAULT '2026-01-01 12:00+00');
INSERT INTO boxes VALUES (1), (2), (3);
INSERT INTO parcels VALUES (85, 1), (86, 2);
SELECT define_event_source('person', 'parcels', subject_column => 'person', event_name => 'unpacked', time_column => 'at', becomes => 'event.box IS NULL');
SELECT define_transition('person', 'new', 'asleep', on_event => 'unpacked', name => 'unpacked');
DELETE FROM boxes WHERE id = 3;
DELETE FROM boxes WHERE id IN (1, 3);
INSERT INTO boxes VALUES (4), (5);
DELETE FROM boxes;
-- rows of partitions ask by themselves
CREATE TABLE visits (person bigint, name text, at timestamptz NOT NULL, amount text) PARTITION BY RANGE (at);
CREATE TABLE visits_jan PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
SELECT define_event_source('person', 'visits', subject_column => 'person', name_column => 'name', time_column => 'at');
INSERT INTO people (id) VALUES (87), (88);
INSERT INTO visits VALUES (87, 'nothing', '2026-01-01');
INSERT INTO visits VALUES (87, 'purchase', '2026-01-02'), (87, 'nothing', '2026-01-02');
BEGIN;
INSERT INTO visits VALUES (88, 'nothing', '2026-01-01');
INSERT INTO visits_jan VALUES (88, 'purchase', '2026-01-01');
COMMIT;
SELECT id, "to", event FROM log WHERE id BETWEEN 81 AND 88 AND seq > 1;
-- a row that an UPDATE moves to another partition is an event again, one that stays where it is is none
CREATE TABLE visits_feb PARTITION OF visits FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT move('person', 87, 'new'), move('person', 88, 'new');
UPDATE visits SET at = at + interval '1 day' WHERE name = 'purchase';
UPDATE visits SET at = at + interval '1 month' WHERE person = 87;
SELECT id, seq, "to", cause, event, event_at FROM log WHERE id IN (87, 88) AND seq > 1;
SELECT drop_event_source('person', 'parcels'), drop_event_source('person', 'visits');

-- definitions that cannot be loaded do not break the application
BEGIN;
ALTER TABLE clicks DROP COLUMN at;
INSERT INTO clicks (person, name) VALUES (30, 'signup');
SET LOCAL lifecycle.on_error = 'raise';
INSERT INTO clicks (person, name) VALUES (30, 'signup');
ROLLBACK;
-- into a stage that is added nobody comes before the commit: rows and moves are refused, timers and steps fail, all else is as it will be
BEGIN;
INSERT INTO people (id) VALUES (90);
SELECT add_stage('person', 'vip', after => 'fan');
SELECT define_transition('person', 'lead', 'vip', on_event => 'medal', name => 'medal');
SELECT define_transition('person', 'lead', 'vip', after => '1 day', name => 'patience');
SELECT define_workflow('person', 'promote', state => 'live', entry => on_stage('lead'), steps => set_stage('vip', label => 'up'));
INSERT INTO clicks (person, name) VALUES (90, 'signup');
SAVEPOINT s;
SHOW lifecycle.on_error;
INSERT INTO clicks (person, name) VALUES (90, 'medal');
ROLLBACK TO s;
SELECT move('person', 90, 'vip');
ROLLBACK TO s;
SELECT define_lifecycle('person', 'people', stages => '{new,lead,buyer,fan,vip,asleep,gone}', initial_stage => 'vip', simulated => true);
INSERT INTO people (id) VALUES (91);
ROLLBACK TO s;
SELECT advance_clock('2 days');
SELECT stage FROM person.subjects WHERE subject_id = 90;
SELECT DISTINCT kind, name, sqlstate, message FROM person.failures WHERE subject_id = 90 ORDER BY kind;
ROLLBACK TO s;
COMMIT;
INSERT INTO clicks (person, name) VALUES (90, 'medal');
SELECT stage FROM person.subjects WHERE subject_id = 90;
SELECT drop_workflow('person', 'promote');
-- wide rows are asked about in pieces
INSERT INTO people (id) SELECT generate_series(5001, 5600);
INSERT INTO clicks (person, name) SELECT id, 'signup' FROM people WHERE id > 5000;
SELECT define_transition('person', 'lead', 'gone', on_event => 'wide', condition => $$ length(event.amount) > 40000 $$, name => 'wide');
INSERT INTO clicks (person, name, amount) SELECT id, 'wide', repeat('x', 40000 + id::int % 2) FROM people WHERE id > 5000;
SELECT stage, count(*) FROM person.subjects WHERE subject_id > 5000 GROUP BY stage ORDER BY stage;

-- a trigger without its lifecycle, as after a restore of the schema alone: it warns once, and does nothing
BEGIN;
ALTER TABLE lifecycle.lifecycles DISABLE TRIGGER USER;
CREATE TABLE other (id bigint PRIMARY KEY);
CREATE TRIGGER lifecycle_ghost AFTER INSERT ON other REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._capture_subject('ghost');
CREATE TRIGGER lifecycle_person AFTER INSERT ON other REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._capture_subject('person');
INSERT INTO other VALUES (1);
INSERT INTO other VALUES (2);
SELECT count(*) FROM person.subjects WHERE subject_id IN (1, 2);
ROLLBACK;

SELECT drop_lifecycle('person');
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('people'::regclass, 'clicks'::regclass);
SET client_min_messages = warning;
DROP SCHEMA capture CASCADE;
DROP ROLE capture_app;
