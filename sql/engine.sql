-- The engine: steps, waits, ends, failures, the virtual clock.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
SET TimeZone = 'UTC';
CREATE TABLE people (id integer PRIMARY KEY, email text, phone text, first_name text, plan text NOT NULL DEFAULT 'free',
    zone text NOT NULL DEFAULT 'UTC', divisor integer NOT NULL DEFAULT 1);
CREATE TABLE people_log (person integer, note text);
SET search_path = public, lifecycle;
SELECT define_lifecycle('person', on_table => 'people', stages => '{new,active,gone}', simulated => true, timezone => 'person.zone');
SELECT define_template('person', 'hello', subject_line => 'Hello, {{ person.first_name | default: "friend" }}',
    body => 'Plan {{ person.plan }}, stage {{ subject.stage }}, run {{ enrollment.workflow }}.', html_body => '<p>{{ person.first_name | default: "<friend>" }}</p>');
SELECT define_template('person', 'strict', body => 'Dear {{ person.first_name }}');
SET lifecycle.clock = '2026-01-01 09:00+00';

-- Every kind of step in one workflow; what waits, waits, the rest is done at once.
SELECT define_workflow('person', 'tour', state => 'live', entry => on_stage('new'), steps => steps(
    send('email', 'hello'),
    delay('2 days'),
    branch($$ person.plan = 'free' $$,
        yes => steps(send('email', 'strict'), exit('still free')),
        no => steps(set_stage('active'), send('email', 'hello', only_if => $$ subject.stage = 'active' $$),
                    send('email', 'hello', only_if => $$ person.first_name = 'Nobody' $$))),
    run_sql($$ INSERT INTO public.people_log VALUES (person.id, enrollment.workflow) $$),
    delay('1 hour')));
INSERT INTO people (id, email, first_name, plan) VALUES
    (1, 'ada@example.com', 'Ada', 'free'), (2, 'bob@example.com', 'Bob', 'team'), (3, NULL, 'Cy', 'team'), (4, 'dan@example.com', NULL, 'free');
SELECT run_due();
SELECT run_due();
SELECT subject_id, kind, step, due_at FROM person._due WHERE kind <> 'r' ORDER BY subject_id;
SELECT subject_id, step, status, address, subject_line, body, html_body, reason FROM person.messages ORDER BY subject_id;
SELECT advance_clock('1 day');
SELECT count(*) FROM person.messages;
SELECT advance_clock(until => '2026-02-01 00:00+00');
SELECT subject_id, step, waited, at, outcome, detail FROM person.activity ORDER BY subject_id, at, step;
SELECT subject_id, stage FROM person.subjects ORDER BY 1;
SELECT subject_id, step, status, address, body, reason FROM person.messages WHERE step > 1 ORDER BY subject_id, id;
SELECT subject_id, ended_at, exit_reason FROM person.enrollments ORDER BY subject_id;
SELECT * FROM people_log ORDER BY 1;
SELECT subject_id, from_stage, to_stage, at, cause, rule FROM person.transitions WHERE cause = 'workflow' ORDER BY 1;
SELECT count(*) FROM person._due WHERE kind <> 'r';
SELECT count(*) - count(DISTINCT idempotency_key) AS repeated FROM person.messages WHERE address IS NOT NULL;
SELECT * FROM verify('person');

-- Days and months are those of the subject's zone: across the change to summer time, noon stays noon.
SELECT define_workflow('person', 'zones', state => 'live', steps => steps(delay('1 day'), send('email', 'hello'), delay('24 hours'), delay('1 month')));
INSERT INTO people (id, email, zone) VALUES (10, 'ny@example.com', 'America/New_York'), (11, 'b@example.com', 'Europe/Berlin'), (12, 'x@example.com', 'Nowhere/Town');
SET lifecycle.clock = '2026-03-07 17:00+00';
SELECT enroll('person', 'zones', 10);
SELECT enroll('person', 'zones', 11);
SELECT enroll('person', 'zones', 12);
SELECT run_due() > 0;
SELECT subject_id, due_at FROM person._due WHERE kind = 'w' AND subject_id >= 10 AND program = (SELECT max(id) FROM workflow_versions) ORDER BY 1;
SELECT advance_clock('3 days');
SELECT subject_id, due_at FROM person._due WHERE kind = 'w' AND subject_id >= 10 AND program = (SELECT max(id) FROM workflow_versions) ORDER BY 1;
SELECT subject_id, step, waited, outcome FROM person.activity WHERE subject_id = 10 AND version_id = (SELECT max(id) FROM workflow_versions) ORDER BY at, step;

-- Recipients: one message for each address, a repeated one once, none at all is a row too.
CREATE TABLE admins (person integer, address text, title text);
INSERT INTO admins VALUES (1, 'a1@example.com', 'Dr'), (1, 'a2@example.com', 'Ms'), (1, 'a1@example.com', 'Dr'), (2, '', 'Mr');
SELECT define_template('person', 'board', body => 'Dear {{ recipient.title }} {{ recipient.address }}');
SELECT define_workflow('person', 'board', state => 'live', steps => steps(
    send('email', 'board', "to" => $$ SELECT a.address, a.title FROM public.admins a WHERE a.person = person.id $$)));
SELECT enroll('person', 'board', 1), enroll('person', 'board', 2), enroll('person', 'board', 3);
SELECT run_due() > 0;
SELECT subject_id, address, body, status, reason FROM person.messages WHERE template = 'board' ORDER BY subject_id, address;
SELECT subject_id, outcome, detail FROM person.activity WHERE version_id = (SELECT max(id) FROM workflow_versions) ORDER BY 1;

-- A shadow changes nothing and sends nothing.
SELECT define_workflow('person', 'ghost', state => 'shadow', steps => steps(
    send('email', 'hello'), set_stage('gone'), run_sql($$ DELETE FROM public.people $$)));
SELECT enroll('person', 'ghost', 1);
SELECT run_due() > 0;
SELECT step, outcome FROM person.activity WHERE version_id = (SELECT max(id) FROM workflow_versions) ORDER BY step;
SELECT status FROM person.messages WHERE workflow = 'ghost';
SELECT stage FROM person.subjects WHERE subject_id = 1;

-- A row that fails is put off, then parked; the others of its batch go on. What it did before is undone.
SET lifecycle.max_attempts = 3;
SELECT define_workflow('person', 'divide', state => 'live', steps => steps(
    run_sql($$ INSERT INTO public.people_log VALUES (person.id, 'divide') $$),
    run_sql($$ UPDATE public.people SET divisor = 10 / divisor WHERE people.id = person.id $$),
    send('email', 'hello')));
INSERT INTO people (id, email, divisor) SELECT i, i || '@example.com', CASE WHEN i IN (105, 131) THEN 0 ELSE 2 END FROM generate_series(100, 150) i;
DELETE FROM people_log;
SELECT sum(enroll('person', 'divide', i)) FROM generate_series(100, 150) i;
SELECT run_due() > 0;
SELECT count(*), count(DISTINCT person) FROM people_log WHERE note = 'divide';
SELECT count(*) FILTER (WHERE divisor = 5) AS done FROM people WHERE id BETWEEN 100 AND 150;
SELECT subject_id, kind, name, step, attempts, parked, sqlstate, message FROM person.failures ORDER BY id;
SELECT subject_id, attempts, due_at - lifecycle.now('person') AS put_off FROM person._due WHERE subject_id IN (105, 131) AND attempts > 0 ORDER BY 1;
SELECT advance_clock('1 minute') IS NOT NULL;
SELECT advance_clock('10 minutes') IS NOT NULL;
SELECT subject_id, attempts, parked FROM person.failures ORDER BY id;
SELECT count(*) FROM person._due WHERE subject_id IN (105, 131) AND attempts > 0;
UPDATE people SET divisor = 1 WHERE id = 105;
SELECT retry('person', workflow => 'divide');
SELECT retry('person', workflow => 'divide');
SELECT run_due() > 0;
SELECT subject_id, attempts, parked FROM person.failures WHERE attempts = 1 OR parked ORDER BY id;
SELECT subject_id, exit_reason FROM person.enrollments WHERE subject_id IN (105, 131) AND workflow = 'divide' ORDER BY 1;
SELECT advance_clock('1 day') IS NOT NULL;
-- a failure by its number; a run that has ended since is not put back
SELECT retry('person', failure => (SELECT id FROM person.failures WHERE parked));
SELECT advance_clock('1 day') IS NOT NULL;
UPDATE person.enrollments SET ended_at = entered_at, exit_reason = 'by hand' WHERE subject_id = 131 AND workflow = 'divide';
SELECT retry('person');
SELECT count(*) FROM person.failures WHERE parked;
SELECT count(*) FROM person._due WHERE subject_id = 131 AND kind <> 'r';
RESET lifecycle.max_attempts;

-- A step that fails for everybody: after a while the others are put off without being tried; nothing is lost when it is mended.
CREATE TABLE switch (works boolean);
INSERT INTO switch VALUES (false);
SELECT define_workflow('person', 'broken', state => 'live', steps => steps(
    run_sql($$ UPDATE public.people SET divisor = 1 / (SELECT works::int FROM public.switch) WHERE people.id = person.id $$)));
SELECT count(enroll('person', 'broken', i)) FROM generate_series(100, 150) i;
SELECT run_due();
SELECT count(*), min(subject_id), max(attempts) FROM person.failures WHERE name LIKE 'broken%';
SELECT attempts, count(*), count(DISTINCT subject_id) FROM person._due WHERE kind <> 'r' AND program = (SELECT max(id) FROM workflow_versions) GROUP BY 1 ORDER BY 1;
UPDATE switch SET works = true;
SELECT advance_clock('1 minute') IS NOT NULL;
SELECT exit_reason, count(*) FROM person.enrollments WHERE workflow = 'broken' GROUP BY 1;

-- A constraint that is only checked at the commit fails its own row, and no other.
CREATE TABLE once (person integer, UNIQUE (person) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO once VALUES (101);
SELECT define_workflow('person', 'defer', state => 'live', steps => steps(run_sql($$ INSERT INTO public.once VALUES (person.id) $$)));
SELECT sum(enroll('person', 'defer', i)) FROM generate_series(100, 103) i;
SELECT run_due() > 0;
SELECT * FROM once ORDER BY 1;
SELECT subject_id, sqlstate FROM person.failures WHERE name LIKE 'defer%';

-- A statement must not leave a cursor behind that the commit would run with other rights.
CREATE FUNCTION hold() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DECLARE sneaky CURSOR WITH HOLD FOR SELECT 1'; END $$;
SELECT define_workflow('person', 'cursor', state => 'live', steps => steps(run_sql($$ SELECT public.hold() $$)));
SELECT enroll('person', 'cursor', 100);
SELECT run_due() > 0;
SELECT sqlstate, message FROM person.failures WHERE name LIKE 'cursor%';
SELECT count(*) FROM pg_cursors WHERE is_holdable;

-- Paused: due times stay, nobody is lost.
SELECT define_workflow('person', 'pausing', state => 'live', steps => steps(send('email', 'hello')));
SELECT pause_workflow('person', 'pausing');
SELECT enroll('person', 'pausing', 100);
SELECT run_due(max_rows => 10);
SELECT count(*) FROM person.messages WHERE workflow = 'pausing';
SELECT resume_workflow('person', 'pausing');
SELECT run_due();
SELECT count(*) FROM person.messages WHERE workflow = 'pausing';

-- The subject's row is gone; the version is gone; the step is gone.
SELECT define_workflow('person', 'leaving', state => 'live', steps => steps(delay('1 hour'), branch($$ person.plan = 'x' $$, yes => exit('x')), send('email', 'hello')));
SELECT sum(enroll('person', 'leaving', i)) FROM generate_series(110, 113) i;
SELECT run_due();
SET lifecycle.capture = off;
DELETE FROM people WHERE id = 110;
RESET lifecycle.capture;
UPDATE person._due SET program = -1 WHERE subject_id = 111 AND kind = 'w';
UPDATE person._due SET step = 77 WHERE subject_id = 112 AND kind = 'w';
SELECT advance_clock('1 hour') IS NOT NULL;
SELECT subject_id, exit_reason FROM person.enrollments WHERE workflow = 'leaving' ORDER BY 1;
SELECT subject_id, name, parked, sqlstate, message FROM person.failures WHERE subject_id IN (110, 111, 112) ORDER BY 1;

-- At most so many rows; rows of one subject in due order, also when all are overdue.
SELECT define_workflow('person', 'chain', state => 'live', steps => steps(
    run_sql($$ INSERT INTO public.people_log VALUES (person.id, 'first') $$), delay('1 minute'),
    run_sql($$ INSERT INTO public.people_log VALUES (person.id, 'second') $$), delay('1 minute'),
    run_sql($$ INSERT INTO public.people_log VALUES (person.id, 'third') $$)));
DELETE FROM people_log;
SELECT sum(enroll('person', 'chain', i)) FROM generate_series(120, 122) i;
SELECT run_due('person', 2);
SELECT run_due('person', 0);
SELECT advance_clock('1 year') IS NOT NULL;
SELECT person, array_agg(note) FROM people_log GROUP BY 1 ORDER BY 1;
SELECT subject_id, at - lag(at) OVER (PARTITION BY subject_id ORDER BY at) AS later FROM person.activity
 WHERE version_id = (SELECT max(id) FROM workflow_versions) AND subject_id = 121 ORDER BY at;

-- State tables that the user has given more to do: a foreign key, a column, a trigger.
ALTER TABLE person.messages ADD COLUMN region text DEFAULT 'eu';
ALTER TABLE person.activity ADD FOREIGN KEY (subject_id) REFERENCES people ON DELETE CASCADE NOT VALID;
SELECT define_workflow('person', 'more', state => 'live', steps => steps(send('email', 'hello')));
SELECT sum(enroll('person', 'more', i)) FROM generate_series(120, 122) i;
SELECT run_due() > 0;
SELECT subject_id, region FROM person.messages WHERE workflow = 'more' ORDER BY 1;
SELECT count(*) FROM person.activity WHERE version_id = (SELECT max(id) FROM workflow_versions);
ALTER TABLE person.messages ADD CHECK (address <> '121@example.com') NOT VALID;
SELECT define_workflow('person', 'more2', state => 'live', steps => steps(send('email', 'hello')));
SELECT sum(enroll('person', 'more2', i)) FROM generate_series(120, 122) i;
SELECT run_due() > 0;
SELECT subject_id FROM person.messages WHERE workflow = 'more2' ORDER BY 1;
SELECT subject_id, sqlstate FROM person.failures WHERE name LIKE 'more2%';
ALTER TABLE person.messages DROP CONSTRAINT messages_address_check;

-- Messages are taken by an application.
SELECT count(*) > 0 AS some, count(DISTINCT token) = count(*) AS tokens FROM claim_messages('person', 'email', 5);
SELECT count(*) FROM person.messages WHERE status = 'claimed';
SELECT id, token FROM claim_messages('person', max_messages => 1, lease => '1 minute') \gset
SELECT finish_message('person', :id, gen_random_uuid());
\set VERBOSITY sqlstate
SELECT finish_message('person', :id, gen_random_uuid());
\set VERBOSITY terse
SELECT advance_clock('2 minutes') IS NOT NULL;
SELECT count(*) FROM claim_messages('person', 'sms');
SELECT c.id = :id AS again, c.attempts, c.token AS token2, c.claimed_until - lifecycle.now('person') AS lease FROM claim_messages('person', 'email', 100000) c WHERE c.id = :id \gset
\echo :again :attempts :lease
SELECT finish_message('person', :id, :'token');
SELECT finish_message('person', :id, :'token2', 'retry', 'mailbox busy');
SELECT status, last_error, claimed_until - lifecycle.now('person') AS again_in FROM person.messages WHERE id = :id;
SELECT count(*) FROM claim_messages('person') WHERE id = :id;
SELECT advance_clock('1 hour') IS NOT NULL;
SELECT token FROM claim_messages('person', max_messages => 100000) WHERE id = :id \gset
SELECT finish_message('person', :id, :'token', 'sent');
SELECT finish_message('person', :id, :'token', 'sent');
SELECT status, sent_at = lifecycle.now('person') AS sent_now, attempts FROM person.messages WHERE id = :id;
SET lifecycle.max_attempts = 1;
SELECT id, token FROM person.messages, LATERAL (SELECT claim_token AS token) t WHERE status = 'claimed' LIMIT 1 \gset
SELECT finish_message('person', :id, :'token', 'retry', 'no such host');
SELECT status, reason, last_error FROM person.messages WHERE id = :id;
RESET lifecycle.max_attempts;
SELECT finish_message('person', 1, gen_random_uuid(), 'lost');
SELECT finish_message('person', NULL, NULL);
SELECT claim_messages('person', max_messages => 0);
SELECT claim_messages('person', lease => '0');
SELECT claim_messages('person', lease => NULL);
SELECT claim_messages('nobody');

-- Errors.
SELECT run_due('nobody');
SELECT run_due(max_rows => -1);
SELECT advance_clock();
SELECT advance_clock('1 day', '2030-01-01');
SELECT advance_clock(until => '2020-01-01');
SELECT advance_clock('-1 day');
SELECT advance_clock(until => 'infinity');
SELECT advance_clock('9000 years');
-- what the clock can show: nothing of it has moved after an error
\set VERBOSITY default
SET lifecycle.clock = 'noon or so';
SET lifecycle.clock = '2026-02-30 00:00+00';
SET lifecycle.clock = 'infinity';
SET lifecycle.clock = '-infinity';
SET lifecycle.clock = '1800-01-01 00:00+00';
SET lifecycle.clock = '1899-12-31 23:59:59+00';
SET lifecycle.clock = '10000-01-01 00:00+00';
SELECT advance_clock(until => '10000-01-01 00:00+00');
SHOW lifecycle.clock;
BEGIN;
SET LOCAL lifecycle.clock = '1900-01-01 00:00+00';
SELECT lifecycle.now('person');
SET LOCAL lifecycle.clock = '9999-12-31 23:59:59+00';
SELECT lifecycle.now('person');
SELECT advance_clock('1 second');
ROLLBACK;
\set VERBOSITY terse
SELECT retry('nobody');
SELECT lifecycle.now('nobody');
CREATE ROLE lifecycle_stranger;
GRANT USAGE ON SCHEMA public TO lifecycle_stranger;
SET ROLE lifecycle_stranger;
SELECT run_due('person');
SELECT run_due();
SELECT retry('person');
SELECT claim_messages('person');
RESET ROLE;
DROP OWNED BY lifecycle_stranger;
DROP ROLE lifecycle_stranger;
BEGIN READ ONLY;
SELECT run_due();
ROLLBACK;
BEGIN READ ONLY;
SELECT enroll('person', 'zones', 1);
ROLLBACK;
SELECT * FROM verify('person');

RESET lifecycle.clock;
DROP EXTENSION lifecycle CASCADE;
DROP SCHEMA person CASCADE;
DROP TABLE people, people_log, admins, once, switch;
DROP FUNCTION hold();
