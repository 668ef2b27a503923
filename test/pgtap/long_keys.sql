-- Keys so long that a table stores them compressed or out of line, and the queue beside it as they are.
\set ON_ERROR_STOP on
BEGIN;
SET client_min_messages = warning;
CREATE SCHEMA scenario;
SET search_path = scenario, public, lifecycle;
SET lifecycle.clock = '2026-01-01 09:00+00';
SELECT plan(6);

CREATE TABLE words (id text PRIMARY KEY, n integer NOT NULL, pad text NOT NULL, email text);
CREATE TABLE says (word text NOT NULL, name text NOT NULL, occurred_at timestamptz NOT NULL DEFAULT lifecycle.now('word'));
CREATE FUNCTION noise(n integer, pieces integer) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5(n || ' ' || i), '') FROM generate_series(1, pieces) AS i $$;
SELECT define_lifecycle('word', 'words', stages => '{new,regular}', simulated => true);
SELECT define_event_source('word', 'says', subject_column => 'word', name_column => 'name', time_column => 'occurred_at');
SELECT define_transition('word', 'new', 'regular', on_event => 'go');
SELECT define_template('word', 'hello', subject_line => 'Hello {{ word.n }}', body => 'Hello');
SELECT define_workflow('word', 'greeting', state => 'live', entry => on_stage('regular'), steps => steps(
    branch('word.n % 2 = 0', yes => send('email', 'hello')), delay('1 day'), run_sql('UPDATE words SET email = NULL WHERE id = word.id')));

INSERT INTO words SELECT n || repeat('z', 1500), n, noise(n, 44), n || '@example.com' FROM generate_series(1, 20) AS n;
INSERT INTO words SELECT n || noise(n, 42), n, noise(n, 30), n || '@example.com' FROM generate_series(21, 40) AS n;
SELECT cmp_ok((SELECT max(pg_column_size(id)) FROM words WHERE n <= 20), '<', 1000, 'some are compressed');
SELECT cmp_ok((SELECT pg_table_size(reltoastrelid) FROM pg_class WHERE oid = 'words'::regclass), '>', 0::bigint, 'some are out of line');
INSERT INTO says (word, name) SELECT id, 'go' FROM words;
SELECT run_due() > 0;
SELECT is((SELECT count(*) FROM word.messages m JOIN words w ON w.id = m.subject_id AND m.subject_line = 'Hello ' || w.n AND m.status = 'queued'), 20::bigint,
    'each row is found by its key');
SELECT advance_clock('1 day');
SELECT is((SELECT count(*) FROM words WHERE email IS NULL), 40::bigint, 'again after a wait');
SELECT is((SELECT string_agg(DISTINCT exit_reason, ', ') FROM word.enrollments), 'completed', 'and all runs end');
SELECT is((SELECT count(*) FROM verify('word')), 0::bigint, 'verify');
SELECT * FROM finish();
ROLLBACK;
