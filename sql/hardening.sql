-- What capture and engine must survive: keys, times and tables that are not as they should be, steps that disturb each other, definitions that go.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE SCHEMA hardening;
SET search_path = hardening, public, lifecycle;
CREATE TABLE people (id bigint PRIMARY KEY, plan text);
CREATE TABLE clicks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person bigint, name text, at timestamptz NOT NULL DEFAULT '2026-01-01 12:00+00');
SET lifecycle.clock = '2026-01-01 12:00+00';
SELECT define_lifecycle('person', 'people', stages => '{new,lead,buyer,gone}', simulated => true);
SELECT define_event_source('person', 'clicks', subject_column => 'person', name_column => 'name', time_column => 'at', enroll_within => '30 days');
SELECT define_transition('person', 'new', 'lead', on_event => 'signup', name => 'signup');
SELECT define_transition('person', 'lead', 'gone', after => '1000 hours', name => 'tired');
SELECT define_template('person', 'hi', subject_line => 'Hi', body => 'Hi');
INSERT INTO people SELECT generate_series(1, 9);

-- an exit that a step of one run causes also ends a run of the same batch
SELECT define_workflow('person', 'killer', state => 'live', entry => on_event('kill'), steps => steps(
    run_sql($$ INSERT INTO hardening.clicks (person, name, at) VALUES (person.id + 1, 'stop', lifecycle.now('person')) $$)));
SELECT define_workflow('person', 'victim', state => 'live', entry => on_event('victim'), exit => on_event('stop'),
    steps => steps(delay('1 hour'), send('email', 'hi', "to" => $$ SELECT 'x@example.com' AS address $$), delay('1 day')));
INSERT INTO clicks (person, name) VALUES (2, 'victim');
SELECT advance_clock('30 minutes');
INSERT INTO clicks (person, name, at) VALUES (1, 'kill', '2026-01-01 12:30+00'), (4, 'victim', '2026-01-01 12:30+00');
BEGIN;
SET LOCAL lifecycle.clock = '2026-01-01 14:00+00';
SELECT run_due('person');
SELECT subject_id, workflow, ended_at IS NULL AS active, exit_reason FROM person.enrollments ORDER BY subject_id;
SELECT subject_id, kind FROM person._due ORDER BY subject_id;
SELECT subject_id, status FROM person.messages ORDER BY subject_id;
SELECT * FROM verify('person');
ROLLBACK;

-- run_sql is no security-restricted operation: it may use temporary tables and deferred constraints
CREATE FUNCTION note(bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('pg_temp.notes') IS NULL THEN
        CREATE TEMP TABLE notes (id bigint);
    END IF;
    INSERT INTO notes VALUES ($1);
END $$;
CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE children (parent bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
SELECT define_workflow('person', 'notes', state => 'live', entry => on_event('note'), steps => steps(
    run_sql($$ SELECT hardening.note(person.id) $$), run_sql($$ INSERT INTO hardening.children VALUES (person.id) $$)));
INSERT INTO parents VALUES (5);
INSERT INTO clicks (person, name) VALUES (5, 'note'), (6, 'note');
SELECT run_due('person');
SELECT subject_id, name, sqlstate, message FROM person.failures ORDER BY subject_id;
TABLE pg_temp.notes;
TABLE children;

-- times near the end of time, where an interval cannot be added
INSERT INTO clicks (person, name, at) VALUES (7, 'signup', '294276-12-31 20:00+00'), (7, 'victim', '294276-12-31 20:00+00'),
    (8, 'signup', 'infinity'), (9, 'signup', '4714-11-24 00:00+00 BC');
SELECT subject_id, stage, since FROM person.subjects WHERE subject_id IN (7, 8, 9) ORDER BY subject_id;

-- a key that may be null, a key with a collation
CREATE TABLE codes (code text COLLATE "C" NOT NULL UNIQUE, n int);
SELECT define_lifecycle('code', 'codes', stages => '{a,b}', key_column => 'code');
SELECT define_transition('code', 'a', 'b', condition => $$ code.n > 1 $$);
ALTER TABLE codes ALTER code DROP NOT NULL;
INSERT INTO codes VALUES (NULL, 1), ('a', 1), ('B', 1);
UPDATE codes SET n = 2;
UPDATE codes SET code = 'c' WHERE code IS NULL;
UPDATE codes SET code = NULL WHERE code = 'a';
SELECT c.code, s.stage FROM codes c JOIN code.subjects s ON s.subject_id = c.code ORDER BY 1;
DELETE FROM codes;
SELECT count(*) FROM code.subjects;

-- runs are found by keys in an order of their own
CREATE TABLE accounts (code text COLLATE "und-x-icu" PRIMARY KEY);
CREATE TABLE account_events (account text, name text, at timestamptz DEFAULT now());
SELECT define_lifecycle('account', 'accounts', stages => '{a}');
SELECT define_event_source('account', 'account_events', subject_column => 'account', name_column => 'name', time_column => 'at');
SELECT define_workflow('account', 'w', state => 'live', entry => on_event('go'), exit => on_event('stop'), steps => steps(delay('1 day')));
INSERT INTO accounts VALUES ('a'), ('B'), ('c'), ('D');
INSERT INTO account_events SELECT code, 'go' FROM accounts;
INSERT INTO account_events VALUES ('B', 'stop'), ('c', 'stop'), ('D', 'go'), ('a', 'go');
SELECT subject_id, exit_reason FROM account.enrollments ORDER BY subject_id COLLATE "C";

-- a partition whose columns are in another order
CREATE TABLE parts (person bigint, name text, at date) PARTITION BY LIST (name);
CREATE TABLE parts_all (dropped int, at date, name text, person bigint);
ALTER TABLE parts_all DROP COLUMN dropped;
ALTER TABLE parts ATTACH PARTITION parts_all DEFAULT;
SELECT define_event_source('person', 'parts', subject_column => 'person', name_column => 'name', time_column => 'at');
INSERT INTO parts VALUES (3, 'signup', '2026-02-01');
INSERT INTO parts_all (person, name, at) VALUES (4, 'signup', '2026-02-01');
SELECT subject_id, stage, since FROM person.subjects WHERE subject_id IN (3, 4) ORDER BY subject_id;

SET client_min_messages = warning;
SELECT drop_lifecycle(name) FROM lifecycle.lifecycles WHERE name IN ('person', 'code', 'account') ORDER BY name;
DROP SCHEMA hardening CASCADE;
RESET client_min_messages;
