-- Definitions of workflows and templates: what they make, that they are declarative, their states, and their errors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
CREATE SCHEMA workflow;
SET search_path = workflow, public, lifecycle;
SET TimeZone = 'UTC';
CREATE TABLE members (id bigint PRIMARY KEY, email text, first_name text, plan text, "odd ""name" text, gone text);
CREATE TABLE actions (id bigint PRIMARY KEY, member_id bigint, name text, occurred_at timestamptz, properties jsonb);
CREATE TABLE payments (id bigint PRIMARY KEY, member_id bigint, paid_at timestamptz, amount numeric);
SELECT define_lifecycle('member', 'members', stages => '{new,active,"very loyal",lost}', simulated => true);
SELECT define_event_source('member', 'actions', subject_column => 'member_id', name_column => 'name', time_column => 'occurred_at');
SELECT define_event_source('member', 'payments', subject_column => 'member_id', event_name => 'payment', time_column => 'paid_at');

-- the vocabulary gives JSON
SELECT jsonb_pretty(steps(send('email', 'welcome', "to" => 'SELECT 1', label => 'a', only_if => 'true'), NULL, steps(delay('36 hours'), steps()),
    branch('true', yes => steps(exit()), no => set_stage('lost')), run_sql('SELECT 1'), exit('enough')));
SELECT triggers(on_event('login', 'event.id > 0', source => 'actions'), on_stage('active'), on_stage(ARRAY['a', 'b'], ARRAY['c']), on_change('true'));
SELECT goal(on_event('payment'), within => '14 days', exit => true), goal(triggers(on_stage('active'), on_stage()));
SET IntervalStyle = iso_8601;
SELECT delay('1 year 2 mons 3 days 04:05:06.7');
RESET IntervalStyle;

-- templates
SELECT define_template('member', 'welcome', subject_line => 'Welcome, {{ member.first_name | default: "friend" }}', body => 'You are {{ subject.stage }}.');
SELECT define_template('member', 'welcome', subject_line => 'Welcome, {{ member.first_name | default: "friend" }}', body => 'You are {{ subject.stage }}.');
SELECT define_template('member', 'welcome', subject_line => 'Welcome, {{ member.first_name | default: "friend" }}', body => 'You are {{ subject.stage }}.',
    html_body => '<p>{{ member[''odd "name''] }} {{ recipient.address }} {{ enrollment.entered_at }}</p>');
SELECT define_template('member', 'receipt', body => 'You paid {{ event.amount }}.');
SELECT define_template('member', 'plain', body => 'Hello');
SELECT define_template('member', 'it''s "odd" 日本', body => '');
SELECT name, subject_line, body FROM lifecycle.templates WHERE lifecycle = 'member' ORDER BY name COLLATE "C";

\set VERBOSITY terse
SELECT define_template('membr', 'x', body => 'x');
\set VERBOSITY default
SELECT define_template('member', NULL, body => 'x');
SELECT define_template('member', ' ', body => 'x');
SELECT define_template('member', repeat('x', 64), body => 'x');
SELECT define_template('member', repeat('x', 63), body => 'x');
SELECT drop_template('member', repeat('x', 63));
SELECT define_template('member', 'x', subject_line => 'x');
SELECT define_template('member', 'x', body => E'a\nb {{ member.frist_name }}');
SELECT define_template('member', 'x', body => 'x', html_body => '{% if subject.stag == "new" %}x{% endif %}');
SELECT define_template('member', 'x', body => '{{ enrollment.nothing_like_it }}');
SELECT define_template('member', 'x', body => '{{ membr.email }}');
SELECT define_template('member', 'x', subject_line => E'a\n{% if %}', body => 'x');
SELECT count(*) FROM lifecycle.templates WHERE lifecycle = 'member' AND name = 'x';

-- a workflow: created, unchanged, replaced
CREATE FUNCTION define_first(state text DEFAULT 'draft', wait interval DEFAULT '2 days') RETURNS text LANGUAGE sql AS $f$
    SELECT define_workflow('member', 'first', state => state,
        entry => triggers(on_stage('{active,"very loyal"}', 'new'), on_event('login', $$ event.properties ? 'first' $$, source => 'actions')),
        exit => on_change($$ member.plan = 'none' $$),
        goal => goal(triggers(on_event('payment', 'event.amount > 0', 'payments'), on_stage('very loyal')), within => '14 days', exit => true),
        reentry => '720 hours',
        steps => steps(
            send('email', 'welcome', label => 'hello', only_if => 'member.email IS NOT NULL'),
            delay(wait),
            branch($$ EXISTS (SELECT FROM actions a WHERE a.member_id = member.id AND a.occurred_at >= enrollment.entered_at) $$,
                yes => steps(set_stage('very loyal'), exit('done', only_if => $$ member.plan = 'team' $$)),
                no => branch('subject.since < now()', no => exit()),
                only_if => $$ member.plan <> 'free' $$),
            run_sql($$ UPDATE members m SET plan = 'free' WHERE m.id = member.id $$),
            send('letter', 'plain', "to" => $$ SELECT m.email AS address, m.plan FROM members m WHERE m.id = member.id $$))) $f$;
SELECT define_first();
SELECT define_first();
SELECT define_first('live');
SELECT define_first('live');
SELECT define_first('shadow');
SELECT define_first('shadow', '3 days');
SELECT define_first('shadow', '48 hours');
SELECT define_first('shadow', '2 days');
SELECT w.name, w.state, w.paused, w.version FROM lifecycle.workflows w WHERE w.lifecycle = 'member';
SELECT v.version, v.reentry, v.keeps_event, v.created_by = current_user AS mine, v.entry, v.exits, v.goal FROM lifecycle.workflow_versions v WHERE v.lifecycle = 'member' AND v.version = 1;
SELECT jsonb_pretty(v.steps) FROM lifecycle.workflow_versions v WHERE v.lifecycle = 'member' AND v.version = 1;
SELECT v.version, t.role, t.position, t.kind, t.event_name, t.source, t.stage, t.from_stage, t.condition, t.within, t.exits,
       substring(t.condition_function from ' .*: ') IS NOT NULL AS bound
  FROM lifecycle.workflow_triggers t JOIN lifecycle.workflow_versions v ON v.id = t.version_id
 WHERE t.lifecycle = 'member' AND v.version = 1 ORDER BY t.role, t.position;
SELECT s.step, s.label, s.kind, s.next, s.otherwise, s.skip, regexp_replace(s.only_if_function, '\d+', 'N') AS only_if,
       regexp_replace(s.condition_function, '\d+', 'N') AS condition, s.arguments
  FROM lifecycle.workflow_steps s JOIN lifecycle.workflow_versions v ON v.id = s.version_id
 WHERE s.lifecycle = 'member' AND v.version = 1 ORDER BY s.step;
-- functions of each version, of the owner, over rows
SELECT regexp_replace(p.proname, '^(\S+) \d+', '\1 N') AS name, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result, count(*)
  FROM pg_proc p WHERE p.pronamespace = 'member'::regnamespace AND p.proname LIKE '\_%' GROUP BY 1, 2, 3 ORDER BY 1;
-- a column that a condition uses cannot be dropped
DO $$ BEGIN ALTER TABLE members DROP COLUMN plan; EXCEPTION WHEN dependent_objects_still_exist THEN RAISE NOTICE 'refused'; END $$;

-- the event of the entry: kept when a step or its template reads it, also when the template changes
SELECT define_workflow('member', 'keeps', state => 'live', entry => on_event('payment'), steps => send('email', 'receipt'));
SELECT define_workflow('member', 'keeps 2', entry => on_event('payment', source => 'payments'), steps => branch('event.amount > 100', yes => send('email', 'plain')));
SELECT define_workflow('member', 'keeps 3', entry => on_stage('active'), steps => exit(only_if => $$ (enrollment.context->'event'->>'amount')::numeric > 1 $$));
SELECT define_workflow('member', 'no event', entry => on_event('login'), steps => send('email', 'plain'));
SELECT workflow, keeps_event FROM lifecycle.workflow_versions WHERE lifecycle = 'member' AND workflow <> 'first' ORDER BY 1;
BEGIN;
SELECT define_template('member', 'plain', body => 'Hello {{ event.name }}');
SELECT workflow, keeps_event FROM lifecycle.workflow_versions WHERE lifecycle = 'member' AND workflow = 'no event';
ROLLBACK;

-- … by the row that begins a run of a live workflow; a draft does nothing
BEGIN;
INSERT INTO members (id, email) VALUES (7, 'ada@example.com');
INSERT INTO payments VALUES (1, 7, now(), 250);
SELECT workflow, shadow, context->'event'->>'amount' AS amount FROM member.enrollments;
SELECT define_workflow('member', 'keeps 2', state => 'shadow', entry => on_event('payment', source => 'payments'), steps => branch('event.amount > 100', yes => send('email', 'plain')));
SELECT archive_workflow('member', 'keeps');
INSERT INTO members (id, email) VALUES (8, 'bob@example.com');
INSERT INTO payments VALUES (2, 8, now(), 350);
SELECT workflow, shadow, context->'event'->>'amount' AS amount, exit_reason FROM member.enrollments ORDER BY id;
SELECT count(*) FROM member._due;
SELECT * FROM verify('member');
ROLLBACK;

-- names: quotes, spaces, 63 bytes
SELECT define_workflow('member', repeat('日', 21), steps => steps(
    send('email', 'it''s "odd" 日本', label => repeat('é', 31), only_if => 'member."odd ""name" = ''x'''),
    exit(label => 'it''s "the" end', only_if => 'true')));
SELECT define_workflow('member', repeat('日', 21), steps => steps(
    send('email', 'it''s "odd" 日本', label => repeat('é', 31), only_if => 'member."odd ""name" = ''x'''),
    exit(label => 'it''s "the" end', only_if => 'true')));
SELECT drop_workflow('member', repeat('日', 21));
SELECT count(*) FROM pg_proc WHERE pronamespace = 'member'::regnamespace AND proname LIKE '%日%';

-- errors of names and arguments
\set VERBOSITY terse
SELECT define_workflow('membr', 'x', steps => exit());
\set VERBOSITY default
SELECT define_workflow(NULL, 'x', steps => exit());
SELECT define_workflow('member', NULL, steps => exit());
SELECT define_workflow('member', '', steps => exit());
SELECT define_workflow('member', repeat('x', 64), steps => exit());
SELECT define_workflow('member', 'x', state => 'lively', steps => exit());
SELECT define_workflow('member', 'x', state => 'archived', steps => exit());
SELECT define_workflow('member', 'x', reentry => 'never', steps => exit());
SELECT define_workflow('member', 'x', reentry => '3 fortnights', steps => exit());
SELECT define_workflow('member', 'x', reentry => '0 days', steps => exit());
SELECT define_workflow('member', 'x', reentry => '-1 day', steps => exit());
-- errors of form
SELECT define_workflow('member', 'x');
SELECT define_workflow('member', 'x', steps => steps());
SELECT define_workflow('member', 'x', steps => '"send"');
SELECT define_workflow('member', 'x', steps => '[{"kind": "exit"}, 5]');
SELECT define_workflow('member', 'x', steps => '{"channel": "email"}');
SELECT define_workflow('member', 'x', steps => '{"kind": "sned", "channel": "email"}');
SELECT define_workflow('member', 'x', steps => '{"kind": {"send": [1, 2]}}');
SELECT define_workflow('member', 'x', steps => '[{"kind": "exit", "only_if": "true"}, {"kind": "branch", "condition": "true", "yes": [[{"kind": "send", "chanel": "email"}]]}]');
SELECT define_workflow('member', 'x', steps => send('email', NULL));
SELECT define_workflow('member', 'x', steps => delay(NULL));
SELECT define_workflow('member', 'x', steps => '{"kind": "delay", "duration": 5}');
SELECT define_workflow('member', 'x', steps => '{"kind": "delay", "duration": "soon"}');
SELECT define_workflow('member', 'x', steps => delay('-1 second'));
SELECT define_workflow('member', 'x', steps => delay('101 years'));
SELECT define_workflow('member', 'x', steps => '{"kind": "delay", "duration": "infinity"}');
SELECT define_workflow('member', 'x', steps => branch(''));
SELECT define_workflow('member', 'x', steps => exit(label => ''));
SELECT define_workflow('member', 'x', steps => exit(label => repeat('x', 64)));
SELECT define_workflow('member', 'x', steps => steps(delay('1 day', label => 'a'), branch('true', no => delay('1 day', label => 'a'))));
SELECT define_workflow('member', 'x', steps => steps(exit(), delay('1 day')));
SELECT define_workflow('member', 'x', entry => exit(), steps => exit());
SELECT define_workflow('member', 'x', entry => '"on_stage"', steps => exit());
SELECT define_workflow('member', 'x', entry => on_event(NULL), steps => exit());
SELECT define_workflow('member', 'x', entry => on_stage('{}'), steps => exit());
SELECT define_workflow('member', 'x', goal => goal(NULL), steps => exit());
SELECT define_workflow('member', 'x', goal => '{"kind": "goal", "trigger": {"kind": "on_stage"}, "exit": "yes"}', steps => exit());
-- errors about the lifecycle
SELECT define_workflow('member', 'x', entry => on_stage('actve'), steps => exit());
SELECT define_workflow('member', 'x', exit => triggers(on_stage('active'), on_stage('active', from_stage => 'nwe')), steps => exit());
SELECT define_workflow('member', 'x', steps => set_stage('gone', label => 'move'));
SELECT define_workflow('member', 'x', steps => send('email', 'welcom'));
SELECT define_workflow('member', 'x', steps => send('sms', 'welcome', label => 'text'));
SELECT define_workflow('member', 'x', steps => send('webhook', 'welcome'));
SELECT define_workflow('member', 'x', entry => on_event('payment', source => 'payment'), steps => exit());
SELECT define_workflow('member', 'x', entry => on_event('login', source => 'payments'), steps => exit());
SELECT define_workflow('member', 'x', entry => on_event('payment', 'event.amount > 5'), steps => exit());
SELECT define_workflow('member', 'x', entry => on_event('payment', 'event.amuont > 5', 'payments'), steps => exit());
SELECT define_workflow('member', 'x', entry => on_event('payment', 'event.amount', 'payments'), steps => exit());
-- a condition that does not read the event fits every source
SELECT define_workflow('member', 'x', entry => on_event('payment', $$ member.plan = 'team' $$), steps => exit());
SELECT drop_workflow('member', 'x');
SELECT define_workflow('member', 'x', exit => on_change('event.amount > 5'), steps => exit());
SELECT define_workflow('member', 'x', steps => branch('member.pln = 1', label => 'ask'));
SELECT define_workflow('member', 'x', steps => branch('member.id'));
SELECT define_workflow('member', 'x', steps => exit(only_if => 'true) OR (true'));
SELECT define_workflow('member', 'x', steps => exit(only_if => 'true; DROP TABLE members'));
SELECT define_workflow('member', 'x', steps => branch('(DELETE FROM members)'));
SELECT define_workflow('member', 'x', steps => branch('nextval(''s'') > 1'));
SELECT define_workflow('member', 'x', steps => branch('event.id > 1'));
SELECT define_workflow('member', 'x', steps => send('email', 'plain', "to" => 'SELECT email FROM members'));
SELECT define_workflow('member', 'x', steps => send('email', 'plain', "to" => 'DELETE FROM members'));
SELECT define_workflow('member', 'x', steps => run_sql('DROP TABLE members'));
SELECT define_workflow('member', 'x', steps => run_sql('DELETE FROM members; DELETE FROM members'));
SELECT define_workflow('member', 'x', steps => run_sql('UPDATE members SET pln = 1 WHERE id = member.id', label => 'fix'));
-- a table that hides the subject's row: every row of it would be changed
SELECT define_workflow('member', 'x', steps => run_sql('UPDATE members member SET plan = 1 WHERE id = member.id'));
SELECT define_workflow('member', 'x', steps => run_sql('WITH one AS (SELECT 1) DELETE FROM ONLY members AS member WHERE id = member.id'));
SELECT define_workflow('member', 'x', steps => branch(repeat('x', 65537)));
SELECT define_workflow('member', 'x', steps => send('email', 'plain', "to" => 'SELECT m.emial AS address FROM members m'));
-- too deep, too wide
SELECT define_workflow('member', 'x', steps => (repeat('{"kind": "branch", "condition": "true", "yes": ', 101) || '{"kind": "exit"}' || repeat('}', 101))::jsonb);
SELECT define_workflow('member', 'x', steps => (repeat('[', 3000) || repeat(']', 3000))::jsonb);
DO $$ DECLARE deep jsonb; BEGIN FOR i IN 1 .. 10000 LOOP deep := lifecycle.branch('true', yes => deep); END LOOP; END $$;
SELECT define_workflow('member', 'x', steps => (repeat('{"kind": "branch", "condition": "true", "yes": ', 10000) || '{"kind": "exit"}' || repeat('}', 10000))::jsonb) \g (format=unaligned) /dev/null
SELECT define_workflow('member', 'x', steps => steps(VARIADIC ARRAY(SELECT delay('1 day') FROM generate_series(1, 10001))));
-- none of these has left anything
SELECT count(*) FROM lifecycle.workflows WHERE lifecycle = 'member' AND name = 'x';
SELECT count(*) FROM pg_proc WHERE pronamespace = 'member'::regnamespace AND proname LIKE '% x: %';
-- as deep and as wide as may be
SELECT define_workflow('member', 'deep', steps => (repeat('{"kind": "branch", "condition": "true", "yes": ', 100) || '{"kind": "exit"}' || repeat('}', 100))::jsonb);
SELECT define_workflow('member', 'wide', steps => steps(VARIADIC ARRAY(SELECT delay('1 day') FROM generate_series(1, 10000))));
SELECT v.workflow, count(*), max(s.step), max(s.next) FROM lifecycle.workflow_steps s JOIN lifecycle.workflow_versions v ON v.id = s.version_id
 WHERE v.lifecycle = 'member' AND v.workflow IN ('deep', 'wide') GROUP BY 1 ORDER BY 1;
SELECT drop_workflow('member', 'deep');
SELECT drop_workflow('member', 'wide');

-- rollback leaves nothing, and what was there before is there again
BEGIN;
SELECT define_workflow('member', 'planned', state => 'live', entry => on_stage('active'), steps => branch('member.id > 1'));
SELECT define_first('live', '5 days');
SELECT drop_workflow('member', 'no event');
SAVEPOINT s;
SELECT define_workflow('member', 'planned', state => 'live', entry => on_stage('active'), steps => branch('member.id > 2'));
ROLLBACK TO s;
SELECT define_workflow('member', 'planned', state => 'live', entry => on_stage('active'), steps => branch('member.id > 1'));
ROLLBACK;
SELECT name, state, version FROM lifecycle.workflows WHERE lifecycle = 'member' ORDER BY name;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'member'::regnamespace AND proname LIKE '%planned%';
SELECT define_workflow('member', 'planned', state => 'live', entry => on_stage('active'), steps => branch('member.id > 2'));

-- runs, by hand: archive and drop end them and take their due rows
INSERT INTO member.enrollments (subject_id, version, version_id, workflow, entered_at)
SELECT g, v.version, v.id, v.workflow, '2026-03-01' FROM generate_series(1, 3) g, lifecycle.workflow_versions v WHERE v.lifecycle = 'member' AND v.workflow IN ('planned', 'keeps');
UPDATE member.enrollments SET ended_at = '2026-03-02', exit_reason = 'completed' WHERE subject_id = 3;
INSERT INTO member._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
SELECT '2026-03-05', subject_id, id, entered_at, version_id, 1, 's' FROM member.enrollments WHERE ended_at IS NULL;
INSERT INTO member._due (due_at, subject_id, entered_at, program, step, kind) VALUES ('2026-03-05', 1, '2026-03-01', 1, 0, 'r');
SELECT define_workflow('member', 'planned', state => 'draft', entry => on_stage('active'), steps => branch('member.id > 2'));
SELECT pause_workflow('member', 'planned');
SELECT name, state, paused FROM lifecycle.workflows WHERE lifecycle = 'member' AND name = 'planned';
SELECT resume_workflow('member', 'planned');
SELECT name, state, paused FROM lifecycle.workflows WHERE lifecycle = 'member' AND name = 'planned';
SELECT archive_workflow('member', 'planned');
SELECT archive_workflow('member', 'planned');
SELECT subject_id, workflow, ended_at > entered_at AS ended, exit_reason FROM member.enrollments ORDER BY workflow, subject_id;
SELECT subject_id, kind FROM member._due ORDER BY kind, subject_id;
SELECT subject_id, outcome, detail FROM member.activity ORDER BY subject_id;
SELECT pause_workflow('member', 'planned');
SELECT define_workflow('member', 'planned', state => 'draft', entry => on_stage('active'), steps => branch('member.id > 2'));
-- versions count on after a drop, and stay for those who look back
SELECT drop_workflow('member', 'planned');
SELECT count(*) FROM pg_proc WHERE pronamespace = 'member'::regnamespace AND proname LIKE '%planned%';
SELECT define_workflow('member', 'planned', entry => on_stage('active'), steps => branch('member.id > 3'));
SELECT v.version, s.label, s.condition_function IS NOT NULL AS bound FROM lifecycle.workflow_versions v JOIN lifecycle.workflow_steps s ON s.version_id = v.id
 WHERE v.lifecycle = 'member' AND v.workflow = 'planned' ORDER BY 1;
SELECT pause_workflow('member', 'panned');
SELECT resume_workflow('member', 'panned');
SELECT archive_workflow('member', 'panned');
SELECT drop_workflow('member', 'panned');

-- templates in use, by a current version or by runs of an older one
SELECT drop_template('member', 'receipt');
SELECT define_workflow('member', 'keeps', state => 'live', entry => on_event('payment'), steps => send('email', 'plain'));
SELECT drop_template('member', 'receipt');
SELECT archive_workflow('member', 'keeps');
SELECT drop_template('member', 'receipt');
SELECT drop_template('member', 'receipt');
-- a definition that was good once is checked again
SELECT define_workflow('member', 'keeps', steps => send('email', 'receipt'));
SELECT drop_event_source('member', 'payments');

-- pausing a lifecycle and everything
SELECT pause('member');
SELECT paused FROM lifecycle.lifecycles WHERE name = 'member';
SELECT resume(lifecycle => 'member');
SELECT paused FROM lifecycle.lifecycles WHERE name = 'member';
\set VERBOSITY terse
SELECT pause('nobody');
\set VERBOSITY default
BEGIN;
SELECT pause();
SELECT paused FROM lifecycle._installation;
SELECT resume();
SELECT paused, system_identifier = (pg_control_system()).system_identifier AS here FROM lifecycle._installation;
ROLLBACK;

-- recipients of the lifecycle, and who may define
ALTER TABLE members DROP COLUMN gone;
SELECT define_lifecycle('member', 'members', stages => '{new,active,"very loyal",lost}', simulated => true, recipients => $$ SELECT m.email AS address FROM members m WHERE m.id = member.id $$);
SELECT define_workflow('member', 'post', steps => send('letter', 'plain'));
SELECT define_lifecycle('member', 'members', stages => '{new,active,"very loyal",lost}', simulated => true);
SELECT s.arguments FROM lifecycle.workflow_steps s JOIN lifecycle.workflow_versions v ON v.id = s.version_id WHERE v.lifecycle = 'member' AND v.workflow = 'post';
CREATE ROLE workflow_stranger;
GRANT USAGE ON SCHEMA workflow TO workflow_stranger;
SET ROLE workflow_stranger;
SELECT define_workflow('member', 'post', steps => exit());
SELECT define_template('member', 'plain', body => 'Ha');
SELECT drop_workflow('member', 'post');
SELECT archive_workflow('member', 'post');
SELECT pause_workflow('member', 'post');
SELECT drop_template('member', 'plain');
SELECT pause('member');
SELECT pause();
SELECT resume();
RESET ROLE;
-- the owner of the table needs no right on the definitions
CREATE ROLE workflow_owner;
GRANT CREATE ON DATABASE :DBNAME TO workflow_owner;
GRANT ALL ON SCHEMA workflow TO workflow_owner;
SET ROLE workflow_owner;
CREATE TABLE workflow.leads (id uuid PRIMARY KEY, email text);
SELECT define_lifecycle('lead', 'leads', stages => '{cold,hot}', simulated => true);
SELECT define_template('lead', 'hi', body => 'Hi {{ lead.email }}');
SELECT define_workflow('lead', 'warm', state => 'live', entry => on_stage('hot'), steps => steps(branch('lead.email IS NULL', yes => exit()), send('email', 'hi')));
SELECT created_by FROM lifecycle.workflow_versions WHERE lifecycle = 'lead';
SELECT archive_workflow('lead', 'warm');
SELECT drop_workflow('lead', 'warm');
SELECT drop_template('lead', 'hi');
SELECT drop_lifecycle('lead');
DROP TABLE workflow.leads;
RESET ROLE;
REVOKE CREATE ON DATABASE :DBNAME FROM workflow_owner;

SELECT drop_lifecycle('member');
SELECT count(*) FROM lifecycle.workflow_versions WHERE lifecycle = 'member';
SET client_min_messages = warning;
DROP SCHEMA workflow CASCADE;
DROP ROLE workflow_stranger, workflow_owner;
