-- Rights: who inserts an event needs none on the lifecycle and gets none; code runs as the owner of the table, under no search_path but its author's.
\ir shop.psql
SELECT plan(57);
RESET search_path;
RESET lifecycle.clock;
CREATE ROLE lc_owner;
CREATE ROLE lc_writer;
CREATE ROLE lc_other;
CREATE SCHEMA app AUTHORIZATION lc_owner;
CREATE SCHEMA evil AUTHORIZATION lc_writer;
GRANT USAGE ON SCHEMA app TO lc_writer, lc_other;
GRANT USAGE ON SCHEMA scenario TO lc_owner, lc_writer, lc_other;
GRANT CREATE ON DATABASE :"DBNAME" TO lc_owner;
SET lifecycle.clock = '2026-01-01 09:00+00';
-- whoever runs a query below is also to record the result of its test
GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA pg_temp TO PUBLIC;

SET ROLE lc_owner;
SET search_path = app, scenario, public, lifecycle;
CREATE TABLE app.members (id bigint PRIMARY KEY, email text, plan text);
CREATE TABLE app.visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, member_id bigint, name text, at timestamptz, note text);
CREATE TABLE app.log (who name, what text);
GRANT INSERT ON app.visits TO lc_writer;
GRANT INSERT, UPDATE, DELETE, SELECT ON app.members TO lc_writer;
SELECT define_lifecycle('member', 'members', stages => '{new,active,gone}', simulated => true);
SELECT define_event_source('member', 'visits', subject_column => 'member_id', name_column => 'name', time_column => 'at');
SELECT define_transition('member', 'new', 'active', on_event => 'login', condition => $$ lower(event.note) = 'yes' AND member.id > 0 $$);
SELECT define_transition('member', 'active', 'gone', condition => $$ member.plan || '' = 'none' $$);
SELECT define_template('member', 't', body => '{{ member.plan | default: "-" }}');
SELECT define_workflow('member', 'w', state => 'live', entry => on_stage('active'), steps => steps(send('email', 't'), run_sql($$ INSERT INTO log VALUES (current_user, lower('DONE')) $$)));
INSERT INTO members VALUES (1, 'a@b', 'x'), (2, 'c@d', 'y'), (3, 'e@f', 'z');

-- a role with INSERT on events only
SET ROLE lc_writer;
SET search_path = app, scenario, public, lifecycle;
SELECT lives_ok($$ INSERT INTO app.visits (member_id, name, at, note) VALUES (1, 'login', '2026-01-02', 'Yes') $$, 'who may insert an event may insert it');
SELECT throws_ok($$ SELECT * FROM app.visits $$, '42501', NULL, 'and may not read it');
SELECT throws_ok($$ SELECT * FROM member.subjects $$, '42501', NULL, 'nor the state');
SELECT throws_ok($$ SELECT * FROM member.transitions $$, '42501', NULL, 'nor the transitions');
SELECT throws_ok($$ SELECT * FROM member.stage_summary $$, '42501', NULL, 'nor a view');
SELECT throws_ok($$ SELECT * FROM explain('member', 1) $$, '42501', NULL, 'explain shows nothing');
SELECT throws_ok($$ SELECT * FROM verify('member') $$, '42501', NULL, 'nor verify');
SELECT throws_ok($$ SELECT move('member', 1, 'gone') $$, '42501', NULL, 'may not move');
SELECT throws_ok($$ SELECT enroll('member', 'w', 2) $$, '42501', NULL, 'may not enroll');
SELECT throws_ok($$ SELECT run_due('member') $$, '42501', NULL, 'may not run what is due');
SELECT throws_ok($$ SELECT capture('member', 'visits', NULL::app.visits[]) $$, '42501', NULL, 'may not feed rows');
SELECT throws_ok($$ SELECT retry('member') $$, '42501', NULL, 'may not retry');
SELECT throws_ok($$ SELECT * FROM claim_messages('member', 'email', 1, '1 minute') $$, '42501', NULL, 'may not take messages');
SELECT throws_ok($$ SELECT pause('member') $$, '42501', NULL, 'may not pause the lifecycle');
SELECT throws_ok($$ SELECT pause() $$, '42501', NULL, 'nor everything');
SELECT throws_ok($$ SELECT define_transition('member', 'new', 'gone', on_event => 'x') $$, '42501', NULL, 'may not define');
SELECT throws_ok($$ SELECT drop_lifecycle('member') $$, '42501', NULL, 'nor drop');
SELECT throws_ok($$ SET lifecycle.capture = off $$, '42501', NULL, 'may not switch capture off');
SELECT throws_ok($$ SET lifecycle.clock = '2030-01-01' $$, '42501', NULL, 'nor turn the clock');
SELECT throws_ok($$ INSERT INTO lifecycle.transition_rules (lifecycle, name, from_kind, to_stage) VALUES ('member', 'x', 'any', 'gone') $$, '42501', NULL, 'nor write definitions');
SELECT throws_ok($$ CREATE TABLE evil.t (id bigint); CREATE TRIGGER x AFTER INSERT ON evil.t FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._capture_event('member', 'visits') $$, '42501', NULL,
    'nor attach the trigger functions elsewhere');
SELECT is(run_due(), 0::bigint, 'run_due runs what one owns: nothing');

-- search_path tricks: his own functions and operators are never called as the owner
CREATE TABLE evil.trap (who name);
GRANT INSERT ON evil.trap TO PUBLIC;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.trap VALUES (current_user); RETURN 'yes'; END $$;
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.trap VALUES (current_user); RETURN true; END $$;
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION evil.greater(bigint, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.trap VALUES (current_user); RETURN true; END $$;
CREATE OPERATOR evil.> (FUNCTION = evil.greater, LEFTARG = bigint, RIGHTARG = integer);
CREATE FUNCTION evil.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.trap VALUES (current_user); END $$;
CREATE FUNCTION evil.max(timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.trap VALUES (current_user); RETURN $1; END $$;
CREATE TEMP TABLE subjects (subject_id bigint, stage text);
CREATE TEMP TABLE events (id bigint);
SET search_path = evil, pg_temp, pg_catalog, app, scenario, public, lifecycle;
INSERT INTO app.visits (member_id, name, at, note) VALUES (2, 'login', '2026-01-02', 'No'), (3, 'login', '2026-01-02', 'YES');
UPDATE app.members SET plan = 'none' WHERE id OPERATOR(pg_catalog.=) 3;
SET search_path = app, scenario, public, lifecycle;
SELECT is_empty($$ SELECT * FROM evil.trap WHERE who <> 'lc_writer' $$, 'nothing of the inserter ran as the owner');
RESET ROLE;
CREATE FUNCTION moved(id bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT string_agg(to_stage::text, ' > ' ORDER BY seq) FROM member.transitions WHERE subject_id = id); END $$;
SELECT is(moved(1), 'new > active', 'the event of the one who may insert only is captured');
SELECT is(moved(2), 'new', 'a condition means what it meant to its author');
SELECT is(moved(3), 'new > active > gone', 'whatever the path');
SELECT is_empty($$ SELECT * FROM member.failures $$, 'and nothing failed');

-- steps run as the owner
SET ROLE lc_owner;
SELECT is(run_due(), 2::bigint, 'the owner runs what is due');
SELECT results_eq($$ SELECT who::text COLLATE "C", what FROM app.log $$, $$ VALUES ('lc_owner' COLLATE "C", 'done'), ('lc_owner', 'done') $$, 'run_sql is the owner');
SELECT is((SELECT count(*) FROM member.messages), 2::bigint, 'messages are there');
RESET ROLE;
UPDATE app.members SET plan = 'x' WHERE id = 3;
INSERT INTO app.members VALUES (4, 'x', NULL);
INSERT INTO app.visits (member_id, name, at, note) VALUES (4, 'login', '2026-01-02', 'yes');
SELECT run_due();
SELECT is((SELECT string_agg(DISTINCT who, ' ') FROM app.log), 'lc_owner', 'also when a superuser runs it');

-- forced row security on the subject table and on the events
SET ROLE lc_owner;
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
ALTER TABLE members FORCE ROW LEVEL SECURITY;
ALTER TABLE visits ENABLE ROW LEVEL SECURITY;
ALTER TABLE visits FORCE ROW LEVEL SECURITY;
CREATE POLICY writes ON visits FOR INSERT TO lc_writer WITH CHECK (true);
CREATE POLICY writes ON members FOR ALL TO lc_writer USING (true) WITH CHECK (true);
ALTER TABLE member.subjects ENABLE ROW LEVEL SECURITY;
ALTER TABLE member.subjects FORCE ROW LEVEL SECURITY;
SET ROLE lc_writer;
INSERT INTO members VALUES (5, 'a@b', 'x'), (6, 'a@b', 'none');
INSERT INTO visits (member_id, name, at, note) VALUES (5, 'login', '2026-01-02', 'yes'), (6, 'login', '2026-01-02', 'yes');
RESET ROLE;
SELECT is(moved(5) || '; ' || moved(6), 'new > active; new > active > gone', 'forced row security hides nothing from capture');
SET ROLE lc_owner;
SELECT is(run_due(), 2::bigint, 'nor from the engine');
RESET ROLE;
SELECT is((SELECT status || ' ' || body FROM member.messages WHERE subject_id = 5), 'queued x', 'whose templates see the row');
SET ROLE lc_writer;
DELETE FROM members WHERE id = 5;
RESET ROLE;
SELECT ok(moved(5) IS NOT NULL AND NOT EXISTS (SELECT FROM member.subjects WHERE subject_id = 5), 'a deletion is captured too');

-- … but only from the statements of ours: what functions see by it is theirs
CREATE ROLE lc_vault;
GRANT ALL ON SCHEMA app TO lc_vault;
SET ROLE lc_vault;
CREATE TABLE app.secrets (tenant text, secret text);
ALTER TABLE app.secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY reads ON app.secrets FOR SELECT USING (tenant = current_setting('vault.tenant', true));
CREATE POLICY writes ON app.secrets FOR INSERT WITH CHECK (true);
INSERT INTO app.secrets VALUES ('t1', 's1@x'), ('t2', 's2@x');
CREATE FUNCTION app.my_secrets() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT secret FROM app.secrets';
SET ROLE lc_owner;
CREATE POLICY reads ON members FOR SELECT TO lc_owner USING (plan = current_setting('vault.tenant', true));
CREATE FUNCTION app.count_members() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM app.members); END';
SELECT define_transition('member', 'new', 'gone', on_event => 'peek', condition => 'EXISTS (SELECT FROM app.my_secrets())', name => 'peek');
SELECT define_transition('member', 'new', 'gone', on_event => 'count', condition => 'app.count_members() >= 0', name => 'count');
SELECT define_template('member', 'peek', body => 'x');
SELECT define_workflow('member', 'peek', state => 'live', entry => on_event('mail'), steps => steps(
    send('email', 'peek', "to" => 'SELECT s AS address FROM app.my_secrets() s UNION ALL SELECT m.email FROM app.members m WHERE m.id = member.id'),
    run_sql('INSERT INTO app.log VALUES (''run_sql'', member.plan)')));
SET ROLE lc_writer;
INSERT INTO members VALUES (7, 'seven@x', 'x');
INSERT INTO visits (member_id, name, at) VALUES (7, 'peek', '2026-01-02');
RESET ROLE;
SELECT is(moved(7), 'new', 'a function of another owner shows a condition no more than anybody');
SET ROLE lc_owner;
SET vault.tenant = 'nobody';
CREATE POLICY owner_writes ON visits FOR INSERT TO lc_owner WITH CHECK (true);
SELECT lives_ok($$ INSERT INTO visits (member_id, name, at) VALUES (7, 'count', '2026-01-02') $$, 'an event by the owner');
SELECT is(app.count_members(), 0::bigint, '… leaves no plan behind that would show the application what row security hides from it');
RESET ROLE;
SELECT is(moved(7), 'new > gone', '… though the condition was asked');
SET ROLE lc_writer;
INSERT INTO visits (member_id, name, at) VALUES (7, 'mail', '2026-01-02');
SET ROLE lc_owner;
SELECT is(run_due(), 1::bigint, 'the engine runs');
RESET ROLE;
SELECT is((SELECT string_agg(coalesce(address, '-'), ', ' ORDER BY address) FROM member.messages WHERE template = 'peek'), 'seven@x', '… and sends to whom its own query finds');
SELECT is((SELECT string_agg(what, ', ') FROM app.log WHERE who = 'run_sql'), 'x', '… run_sql finds its subject');
-- nor do those that the planner calls, to estimate or since they are IMMUTABLE
SET ROLE lc_vault;
CREATE FUNCTION app.estimated() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS 'BEGIN RETURN (SELECT count(*) FROM app.secrets); END';
CREATE FUNCTION app.folded() RETURNS text LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER AS 'BEGIN RETURN (SELECT count(*) FROM app.secrets); END';
SET ROLE lc_owner;
CREATE TABLE app.answers (answer text);
INSERT INTO app.answers VALUES ('2');
SELECT define_transition('member', 'new', 'gone', condition => 'member.plan = ''estimate'' AND EXISTS (SELECT FROM app.answers a WHERE a.answer = app.estimated())', name => 'estimate');
SELECT define_transition('member', 'new', 'gone', condition => 'member.plan = ''fold'' AND EXISTS (SELECT FROM app.answers a WHERE a.answer = app.folded())', name => 'fold');
SET ROLE lc_writer;
INSERT INTO members VALUES (20, 'a', 'estimate'), (21, 'b', 'fold');
INSERT INTO members SELECT i, 'c', 'estimate' FROM generate_series(22, 60) i;
RESET ROLE;
SELECT is((SELECT string_agg(DISTINCT moved(id), ', ') FROM generate_series(20, 60) id), 'new', 'functions that the planner calls see no more either');
-- plans that have become invalid are made in the same way
ANALYZE members, visits, member.subjects;
SET ROLE lc_writer;
INSERT INTO members VALUES (8, 'eight@x', 'x');
INSERT INTO visits (member_id, name, at, note) VALUES (8, 'login', '2026-01-02', 'yes');
RESET ROLE;
SELECT is(moved(8), 'new > active', 'also with plans that have become invalid');
DROP POLICY reads ON members;

-- the owner is the table's owner, now
ALTER TABLE app.members OWNER TO lc_other;
SET ROLE lc_owner;
SELECT throws_ok($$ SELECT pause('member') $$, '55000', NULL, 'the former owner owns the lifecycle no more');
SET ROLE lc_writer;
SET client_min_messages = error;
SELECT lives_ok($$ INSERT INTO app.visits (member_id, name, at, note) VALUES (2, 'login', '2026-01-02', 'no') $$, 'and the application goes on while the state is another''s');
RESET ROLE;
SET client_min_messages = warning;
ALTER TABLE app.members OWNER TO lc_owner;
REASSIGN OWNED BY lc_owner TO lc_other;
SET ROLE lc_writer;
INSERT INTO app.visits (member_id, name, at, note) VALUES (2, 'login', '2026-01-02', 'yes');
RESET ROLE;
SELECT is(moved(2), 'new > active', 'REASSIGN OWNED moves the lifecycle with its table');
SET ROLE lc_other;
SELECT lives_ok($$ SELECT define_transition('member', 'gone', 'active', on_event => 'login') $$, 'its new owner defines');
RESET ROLE;
SELECT is((SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = 'lifecycle' AND p.proname LIKE '\_capture%' AND has_function_privilege('public', p.oid, 'EXECUTE')), 0::bigint, 'EXECUTE on the trigger functions is revoked');
SELECT is(has_schema_privilege('public', 'member', 'USAGE'), false, 'the schema of the lifecycle is for nobody else');
SELECT is_empty($$ SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
                    WHERE n.nspname = 'member' AND a.grantee = 0 $$, 'nor is a table');
SELECT is_empty($$ SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'member' AND c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false) $$, 'views have the rights of who reads them');
SELECT verified('member');

-- the time-zone expression in a funnel
SET ROLE lc_other;
CREATE FUNCTION app.zone() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN
    IF current_user <> 'lc_other' THEN RAISE 'the zone is asked for by %', current_user; END IF;
    RETURN 'Europe/Berlin'; END $$;
SELECT define_lifecycle('member', 'members', stages => '{new,active,gone}', simulated => true, timezone => 'app.zone()');
GRANT USAGE ON SCHEMA member TO lc_writer;
GRANT SELECT ON member.subjects, member.transitions TO lc_writer;
RESET ROLE;
SELECT lives_ok($$ SELECT * FROM funnel('member', '{new,active}', within => '1 day') $$, 'a superuser who reads a funnel runs nothing of the owner himself');
SELECT is((SELECT count(*) FROM lifecycle._zones('member') AS z (id bigint, zone text)), (SELECT count(*) FROM app.members), 'of all subjects, whatever forced row security hides from the owner');
SET ROLE lc_writer;
SELECT throws_ok($$ SELECT * FROM funnel('member', '{new,active}', within => '1 day') $$, '42501', 'row security of table member.subjects hides the time zones of subjects',
    'who does not see all subjects does not get their zones');
SELECT lives_ok($$ SELECT * FROM funnel('member', '{new,active}', within => '24 hours') $$, 'and needs none for hours');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
