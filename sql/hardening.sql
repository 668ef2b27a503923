-- What capture and engine must survive: keys, times and tables that are not as they should be, steps that disturb each other, definitions that go.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
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
SELECT define_lifecycle('account', 'accounts', stages => '{a}', simulated => true);
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

-- renamed columns are followed: key, subject, name and time of events, address of messages, and what conditions read
CREATE TABLE clients (id int PRIMARY KEY, email text, plan text);
CREATE TABLE visits (client int, name text, at timestamptz DEFAULT now(), amount text);
SELECT define_lifecycle('client', 'clients', stages => '{a,b,c}', simulated => true);
SELECT define_event_source('client', 'visits', subject_column => 'client', name_column => 'name', time_column => 'at');
SELECT define_transition('client', 'a', 'b', on_event => 'go', condition => $$ event.amount::numeric > 1 $$, name => 'go');
SELECT define_transition('client', 'b', 'c', condition => $$ client.plan = 'pro' $$, name => 'pro');
SELECT define_template('client', 'hi', body => 'Hi');
SELECT define_workflow('client', 'w', state => 'live', entry => on_stage('b'), steps => send('email', 'hi'));
ALTER TABLE clients RENAME id TO client_id;
ALTER TABLE clients RENAME COLUMN email TO mail;
ALTER TABLE clients RENAME plan TO tariff;
DO $$ BEGIN
    ALTER TABLE visits RENAME client TO client_id;
    ALTER TABLE hardening.visits RENAME name TO what;
    ALTER TABLE visits RENAME at TO happened_at;
    ALTER TABLE visits RENAME amount TO sum;
END $$;
INSERT INTO clients VALUES (1, 'one@example.com', 'free'), (2, 'two@example.com', 'pro');
INSERT INTO visits (client_id, what, sum) VALUES (1, 'go', '2'), (2, 'go', '2');
SELECT run_due('client');
SELECT subject_id, stage FROM client.subjects ORDER BY 1;
SELECT subject_id, address FROM client.messages ORDER BY 1;
SELECT * FROM verify('client');
SELECT key_column FROM lifecycle.lifecycles WHERE name = 'client';
SELECT define_event_source('client', 'visits', subject_column => 'client_id', name_column => 'what', time_column => 'happened_at');
BEGIN;
ALTER TABLE visits RENAME what TO name;
ROLLBACK;
INSERT INTO visits (client_id, what, sum) VALUES (1, 'go', '2');

-- a column that goes, or is no time any more: the application goes on, its rows are not captured
CREATE TABLE calls (client int, at timestamptz DEFAULT now());
SELECT define_event_source('client', 'calls', subject_column => 'client', event_name => 'call', time_column => 'at');
SELECT define_transition('client', 'a', 'c', on_event => 'call', name => 'call');
INSERT INTO clients VALUES (3), (4), (5);
BEGIN;
ALTER TABLE calls DROP at;
INSERT INTO calls VALUES (3);
INSERT INTO clients VALUES (6);
SELECT subject_id, stage FROM client.subjects WHERE subject_id IN (3, 6) ORDER BY 1;
SELECT capture('client', 'calls', array_agg(c)) FROM calls c;
ROLLBACK;
BEGIN;
ALTER TABLE calls ALTER at DROP DEFAULT, ALTER at TYPE text;
INSERT INTO calls VALUES (3, 'now');
ALTER TABLE calls ALTER at TYPE timestamptz USING at::timestamptz;
SELECT define_event_source('client', 'calls', subject_column => 'client', event_name => 'call', time_column => 'at');
INSERT INTO calls VALUES (3, now());
SELECT subject_id, stage FROM client.subjects WHERE subject_id = 3;
ROLLBACK;
ALTER TABLE calls ALTER client TYPE text;
INSERT INTO calls VALUES (3);
SELECT define_event_source('client', 'calls', subject_column => 'client', event_name => 'call', time_column => 'at');
ALTER TABLE calls ALTER client TYPE smallint USING client::smallint;
INSERT INTO calls VALUES (4);
SELECT subject_id, stage FROM client.subjects WHERE subject_id IN (3, 4) ORDER BY 1;
CREATE DOMAIN day AS date;
CREATE TABLE letters (client int, at day);
SELECT define_event_source('client', 'letters', subject_column => 'client', event_name => 'call', time_column => 'at');
INSERT INTO letters VALUES (5, '2026-02-03');
SELECT to_stage, event_at FROM client.transitions WHERE subject_id = 5 AND seq = 2;
CREATE TABLE clocks (client int, at time);
SELECT define_event_source('client', 'clocks', subject_column => 'client', event_name => 'call', time_column => 'at');

-- an event source that is dropped with the conditions over it: other rows are captured, the rule fails for itself
DROP TABLE visits CASCADE;
INSERT INTO clients VALUES (7);
UPDATE clients SET tariff = 'pro' WHERE client_id = 7;
INSERT INTO letters VALUES (7, '2026-02-03');
SELECT subject_id, stage FROM client.subjects WHERE subject_id = 7;
DROP FUNCTION client."_rule pro"(clients, client.subjects, client.enrollments);
SELECT move('client', 7, 'b');
SELECT kind, name, sqlstate, message FROM client.failures;
SELECT drop_transition('client', 'go');
SELECT drop_transition('client', 'pro');

-- a key of another type than the state tables have
CREATE TABLE things (id text PRIMARY KEY);
SELECT define_lifecycle('thing', 'things', stages => '{a,b}');
INSERT INTO things VALUES (1);
ALTER TABLE things ALTER id TYPE bigint USING id::bigint;
INSERT INTO things VALUES (2);
SELECT move('thing', 2, 'b');
SELECT run_due() IS NULL AS "none";
ALTER TABLE things ALTER id TYPE varchar(20);
SELECT move('thing', '2'::text, 'b');

-- another owner than that of the state tables could be made to run his predecessor's triggers and functions
CREATE ROLE hardening_one;
CREATE ROLE hardening_two;
GRANT ALL ON SCHEMA hardening TO hardening_one, hardening_two;
GRANT CREATE ON DATABASE :"DBNAME" TO hardening_one;
ALTER TABLE things OWNER TO hardening_two;
INSERT INTO things VALUES (3);
SELECT move('thing', '3'::text, 'b');
ALTER TABLE things OWNER TO CURRENT_USER;
SET ROLE hardening_one;
CREATE TABLE owned (id int PRIMARY KEY, n int);
SELECT define_lifecycle('owned', 'owned', stages => '{a,b}');
SELECT define_transition('owned', 'a', 'b', condition => $$ owned.n > 0 $$, name => 'more');
RESET ROLE;
ALTER SCHEMA owned OWNER TO CURRENT_USER;
REASSIGN OWNED BY hardening_one TO CURRENT_USER;
ALTER FUNCTION owned."_rule more"(owned, owned.subjects, owned.enrollments) OWNER TO hardening_one;
INSERT INTO owned VALUES (1, 1);
SELECT kind, name, message FROM owned.failures;
ALTER FUNCTION owned."_rule more"(owned, owned.subjects, owned.enrollments) OWNER TO CURRENT_USER;
UPDATE owned SET n = 2;
SELECT subject_id, stage FROM owned.subjects;

-- a lifecycle whose table or whose schema is gone can be dropped
DROP TABLE things CASCADE;
SELECT run_due() IS NULL AS "none";
SELECT advance_clock('1 day');
SELECT move('thing', '3'::text, 'b');
SELECT drop_lifecycle('thing');
-- its schema is found by name
ALTER SCHEMA code RENAME TO coded;
SELECT move('code', 'x'::text, 'b');
ALTER SCHEMA coded RENAME TO code;
SELECT move('code', 'x'::text, 'b');
SET client_min_messages = warning;
DROP SCHEMA code CASCADE;
RESET client_min_messages;
INSERT INTO codes VALUES ('z');
SELECT drop_lifecycle('code');
INSERT INTO codes VALUES ('y');

SET client_min_messages = warning;
SELECT drop_lifecycle(name) FROM lifecycle.lifecycles WHERE name IN ('person', 'account', 'client', 'owned') ORDER BY name;
DROP SCHEMA hardening CASCADE;
REVOKE CREATE ON DATABASE :"DBNAME" FROM hardening_one;
DROP ROLE hardening_one, hardening_two;
RESET client_min_messages;
