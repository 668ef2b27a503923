-- What one statement writes is folded once, at its end, in the order of the events' times: also with triggers of the user on the same table, errors
-- that are caught, definitions that change under it, more rows than are kept at once, and through the root of partitions.
\ir shop.psql
SELECT plan(51);
CREATE TABLE log (id bigint, customer_id bigint NOT NULL, name text NOT NULL, at timestamptz NOT NULL, properties jsonb) PARTITION BY RANGE (at);
CREATE TABLE log_jan PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE log_feb PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (name);
CREATE TABLE log_feb_rest PARTITION OF log_feb DEFAULT;
SELECT define_event_source('customer', 'log', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'seen');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'bought');
SELECT define_transition('customer', 'conversion', 'retention', on_event => 'bought');
SELECT customer(id) FROM generate_series(1, 60) AS id;

-- in the order of time
INSERT INTO events (customer_id, name, occurred_at) VALUES (1, 'bought', '2026-02-02'), (1, 'seen', '2026-01-02');
SELECT is(path(1), 'awareness > consideration > conversion', 'a plain table: in the order of time');
INSERT INTO log VALUES (1, 2, 'bought', '2026-02-02'), (2, 2, 'seen', '2026-01-02');
SELECT is(path(2), 'awareness > consideration > conversion', 'a partitioned table: in the order of time, across partitions');
INSERT INTO log_feb VALUES (3, 3, 'bought', '2026-02-02'), (4, 3, 'seen', '2026-02-01'), (5, 3, 'bought', '2026-02-03');
SELECT is(path(3), 'awareness > consideration > conversion', 'straight into a partition that has partitions: each row by itself');
COPY log FROM stdin;
1	4	bought	2026-02-02 00:00+00	\N
1	4	unheard	2026-01-01 00:00+00	\N
2	4	seen	2026-01-02 00:00+00	\N
\.
SELECT is(path(4), 'awareness > consideration > conversion', 'COPY into a partitioned table');
WITH bought AS (INSERT INTO log VALUES (1, 5, 'bought', '2026-02-02') RETURNING 1), plain AS (INSERT INTO events (customer_id, name, occurred_at) VALUES (6, 'bought', '2026-02-02'))
INSERT INTO log SELECT 2, n, 'seen', '2026-01-02' FROM generate_series(5, 6) AS n;
SELECT is(path(5), 'awareness > consideration > conversion', 'several parts of one statement into one table');
SELECT is(path(6), 'awareness > consideration', 'and into two: the one is folded before the other');
MERGE INTO log USING (VALUES (1, 'bought', timestamptz '2026-02-02'), (2, 'seen', '2026-01-02')) AS v (id, name, at) ON log.id = v.id AND log.customer_id = 7
  WHEN NOT MATCHED THEN INSERT VALUES (v.id, 7, v.name, v.at);
SELECT is(path(7), 'awareness > consideration > conversion', 'MERGE into a partitioned table');
-- all rows go, or none
INSERT INTO log SELECT 1, 8, 'seen', '2026-01-02' WHERE false;
SELECT is(path(8), 'awareness', 'no row at all');

-- triggers of the user on the same table, before and behind ours
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name = 'seen' AND pg_trigger_depth() = 1 THEN
        INSERT INTO events (customer_id, name, occurred_at) VALUES (NEW.customer_id, 'bought', '2026-02-02'), (NEW.customer_id + 1, 'seen', '2026-01-02');
        INSERT INTO log VALUES (1, NEW.customer_id + 2, 'bought', '2026-02-02'), (1, NEW.customer_id + 2, 'seen', '2026-01-02');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_echo AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION echo();
INSERT INTO events (customer_id, name, occurred_at) VALUES (10, 'seen', '2026-01-02'), (10, 'bought', '2026-03-02'), (13, 'unheard', '2026-01-02');
SELECT is(path(10), 'awareness > consideration > conversion', 'what a trigger writes is folded when its statement ends, before the statement that fired it');
SELECT is(path(11) || '; ' || path(12), 'awareness > consideration; awareness > consideration > conversion', 'whole, and for whomever it is');
ALTER TABLE events DISABLE TRIGGER a_echo;
CREATE TRIGGER z_echo AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION echo();
INSERT INTO events (customer_id, name, occurred_at) VALUES (15, 'seen', '2026-01-02'), (15, 'bought', '2026-03-02'), (18, 'seen', '2026-01-02');
SELECT is(path(15) || '; ' || path(16), 'awareness > consideration > conversion; awareness > consideration', 'behind ours: the same');
SELECT is(path(18) || '; ' || path(20), 'awareness > consideration; awareness > consideration > conversion', 'for each row');
DROP TRIGGER z_echo ON events;
SELECT is((SELECT count(*) FROM customer.transitions WHERE seq > 1 AND subject_id BETWEEN 10 AND 20), 14::bigint, 'nothing counts twice');

-- errors that are caught
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.name = 'refused' THEN RAISE 'refused'; END IF; RETURN NULL; END $$;
CREATE TRIGGER z_refuse AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER z_refuse AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN raise_exception THEN RETURN SQLERRM; END $$;
SELECT is(try($$ INSERT INTO events (customer_id, name) VALUES (21, 'seen'), (21, 'refused') $$), 'refused', 'a statement that fails when its first row has been kept');
SELECT event(22, 'seen');
SELECT is(path(21) || '; ' || path(22), 'awareness; awareness > consideration', 'leaves nothing to the next one');
SELECT is(try($$ INSERT INTO log VALUES (1, 23, 'seen', '2026-01-02'), (1, 23, 'refused', '2026-01-02') $$), 'refused', 'the same, partitioned');
INSERT INTO log_jan VALUES (1, 24, 'seen', '2026-01-02');
SELECT is(path(23) || '; ' || path(24), 'awareness; awareness > consideration', 'also when the next one goes straight into a partition');
SAVEPOINT undone;
INSERT INTO log VALUES (1, 25, 'seen', '2026-01-02');
ROLLBACK TO undone;
SELECT is(path(25), 'awareness', 'a savepoint that is rolled back');

-- definitions that change while the rows of a statement are captured
CREATE FUNCTION define_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name = 'seen' AND NEW.customer_id = 31 THEN PERFORM lifecycle.define_transition('customer', 'awareness', 'advocacy', on_event => 'praised', condition => 'customer.id > 0'); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER m_define AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION define_more();
INSERT INTO events (customer_id, name, occurred_at) VALUES (30, 'bought', '2026-02-02'), (30, 'seen', '2026-01-02'), (31, 'seen', '2026-01-02'), (32, 'bought', '2026-02-02'), (32, 'seen', '2026-01-02'), (33, 'praised', '2026-01-02');
SELECT is(path(30) || '; ' || path(31), 'awareness > consideration > conversion; awareness > consideration', 'rows before the change');
SELECT is(path(32), 'awareness > consideration > conversion', 'and behind it');
SELECT event(33, 'praised');
SELECT is(path(33), 'awareness > advocacy', 'a name that is listened to since');
DROP TRIGGER m_define ON events;

-- what the triggers read
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'wide', condition => $$ length(event.properties->>'x') = 20000 $$);
SELECT customer(id) FROM generate_series(1001, 5500) AS id;
INSERT INTO events (customer_id, name, properties) SELECT id, 'wide', jsonb_build_object('x', repeat('x', 20000)) FROM generate_series(1001, 5499) AS id;
SELECT is((SELECT count(*) FROM customer.subjects WHERE stage = 'lost'), 4499::bigint, 'more than is kept at once');
INSERT INTO events (customer_id, name) VALUES (40, 'bought'), (40, 'seen');
SELECT is(path(40), 'awareness > consideration', 'the next statement is one of its own; of one time, in the order of the rows');
SELECT forget();
SELECT define_transition('customer', 'lost', 'inactive', on_event => 'wide', condition => $$ length(event.properties->>'x') = 20000 $$);
INSERT INTO log SELECT id, id, 'wide', '2026-02-02', jsonb_build_object('x', repeat('x', 20000)) FROM generate_series(1001, 5499) AS id;
SELECT is((SELECT count(*) FROM customer.subjects WHERE stage = 'inactive'), 4499::bigint, 'partitioned too');

-- switched off and on
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'seen');
SELECT set_config('lifecycle.capture', 'off', true);
SELECT event(41, 'seen');
SELECT set_config('lifecycle.capture', 'on', true);
SELECT event(42, 'seen');
SELECT is(path(41) || '; ' || path(42), 'awareness; awareness > consideration', 'lifecycle.capture');
SELECT set_config('session_replication_role', 'replica', true);
SELECT event(43, 'seen');
INSERT INTO log VALUES (1, 44, 'seen', '2026-01-02');
SELECT set_config('session_replication_role', 'origin', true);
SELECT is(path(43) || '; ' || path(44), 'awareness; awareness', 'what is replicated is not captured');
SELECT define_event_source('customer', 'log', subject_column => 'customer_id', name_column => 'name', time_column => 'at', replicated => true);
CREATE TABLE log_mar PARTITION OF log FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
SELECT set_config('session_replication_role', 'replica', true);
INSERT INTO log VALUES (1, 44, 'seen', '2026-01-02'), (1, 45, 'seen', '2026-03-02');
INSERT INTO log_feb_rest VALUES (1, 46, 'seen', '2026-02-02');
SELECT set_config('session_replication_role', 'origin', true);
SELECT is(path(44) || '; ' || path(45) || '; ' || path(46), 'awareness > consideration; awareness > consideration; awareness > consideration', 'unless the source says so, partitioned too');
INSERT INTO log VALUES (1, 47, 'seen', '2026-03-02');
SELECT is(path(47), 'awareness > consideration', 'and what is written here is captured as before');

-- verify() names what is missing
SAVEPOINT missing;
ALTER TABLE events DISABLE TRIGGER lifecycle_customer_fold_events;
SELECT is((SELECT string_agg(detail, '; ') FROM verify('customer')), 'INSERT on scenario.events is not seen: its trigger is disabled', 'a disabled statement trigger');
ROLLBACK TO missing;
DROP TRIGGER lifecycle_customer_begin_log ON log;
SELECT is((SELECT string_agg(detail, '; ') FROM verify('customer')), 'INSERT on scenario.log is not seen: its trigger is missing', 'a missing one before a statement');
INSERT INTO log VALUES (1, 48, 'seen', '2026-03-02');
SELECT is(path(48), 'awareness > consideration', 'without it each row is folded by itself');
SELECT is(define_event_source('customer', 'log', subject_column => 'customer_id', name_column => 'name', time_column => 'at', replicated => true), 'unchanged', 'the same definition again …');
SELECT is_empty($$ SELECT * FROM verify('customer') $$, '… makes what is missing');
ROLLBACK TO missing;
ALTER TABLE log DISABLE TRIGGER lifecycle_customer_event_log;
SELECT is((SELECT count(*) FROM verify('customer')), 4::bigint, 'a disabled row trigger, here and in each partition');
ROLLBACK TO missing;
-- triggers that fire for others than they did, as a load that disables all of them leaves them
ALTER TABLE log DISABLE TRIGGER ALL;
ALTER TABLE log ENABLE TRIGGER ALL;
SELECT is((SELECT count(*) FROM verify('customer') WHERE detail LIKE 'INSERT by a subscription into %replicated => true'), 4::bigint, 'a row trigger that is not for replicas any more');
SELECT lives_ok($$ SELECT define_event_source('customer', 'log', subject_column => 'customer_id', name_column => 'name', time_column => 'at', replicated => true) $$, 'the same definition …');
SELECT verified();
ROLLBACK TO missing;
CREATE TABLE members (id bigint PRIMARY KEY);
SELECT define_lifecycle('member', 'members', replicated => true);
ALTER TABLE members DISABLE TRIGGER ALL;
ALTER TABLE members ENABLE TRIGGER ALL;
SELECT is((SELECT string_agg(detail, '; ') FROM verify('member')), 'what a subscription writes into scenario.members is not seen: define its lifecycle again with replicated => true',
    'nor that of subjects');
SELECT lives_ok($$ SELECT define_lifecycle('member', 'members', replicated => true) $$, 'the same definition …');
SELECT is((SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'members'::regclass),
    'lifecycle_member_delete O, lifecycle_member_insert O, lifecycle_member_row R, lifecycle_member_truncate A, lifecycle_member_update O', '… makes them what they were');

-- names that give the same names of triggers
CREATE TABLE passes (id bigint PRIMARY KEY, name text, at timestamptz);
SELECT define_event_source('member', 'passes', subject_column => 'id', name_column => 'name', time_column => 'at', name => 'row');
SELECT throws_ok($$ SELECT define_lifecycle('member_event', 'passes', replicated => true) $$, '42710',
    'trigger "lifecycle_member_event_row" of table scenario.passes is not one of lifecycle "member_event"', 'a trigger of another lifecycle is not replaced');
-- a schema with more than the lifecycle's own tables
CREATE TABLE member.notes (note text);
SELECT throws_ok($$ SELECT drop_lifecycle('member') $$, '2BP01', 'schema "member" of lifecycle "member" also has table "notes"', 'what is not the lifecycle''s is not dropped');
DROP TABLE member.notes;
CREATE TABLE notes (note text, seen_in member.stage);
SELECT throws_ok($$ SELECT drop_lifecycle('member') $$, '2BP01', 'column "seen_in" of table scenario.notes has the type of the stages of lifecycle "member"', 'nor are columns elsewhere');
ALTER TABLE notes ALTER seen_in TYPE text;
SELECT lives_ok($$ SELECT drop_lifecycle('member') $$, 'without it');
SELECT verified();
-- rows that two foreign keys change in one query
CREATE TABLE staff (id int PRIMARY KEY);
CREATE TABLE clients (id int PRIMARY KEY, manager int REFERENCES staff ON DELETE SET NULL ON UPDATE CASCADE, support int REFERENCES staff ON DELETE SET NULL ON UPDATE CASCADE);
SELECT define_lifecycle('client', 'clients', stages => '{kept,alone,helpless}');
SELECT define_workflow('client', 'no ' || col, state => 'live', entry => on_change(format('client.%I IS NULL', col)), steps => steps(delay('1 day'))) FROM unnest('{manager,support}'::text[]) col;
SELECT define_transition('client', 'kept', 'alone', condition => 'client.manager IS NULL');
SELECT define_transition('client', 'alone', 'helpless', condition => 'client.support IS NULL');
INSERT INTO staff VALUES (1), (2), (3);
INSERT INTO clients VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 3, 3);
DELETE FROM staff WHERE id = 1;
SELECT is((SELECT string_agg(subject_id || ' ' || workflow, ', ' ORDER BY subject_id, workflow) FROM client.enrollments), '1 no manager, 1 no support, 2 no manager, 3 no support', 'both changes count');
SELECT is((SELECT string_agg(subject_id || ' ' || stage, ', ' ORDER BY subject_id) FROM client.subjects), '1 helpless, 2 alone, 3 kept, 4 kept', '… also for rules');
SELECT define_workflow('client', 'new ' || col, state => 'live', entry => on_change(format('client.%I = 9', col)), steps => steps(delay('1 day'))) FROM unnest('{manager,support}'::text[]) col;
UPDATE staff SET id = 9 WHERE id = 3;
SELECT is((SELECT string_agg(workflow, ', ' ORDER BY workflow) FROM client.enrollments WHERE subject_id = 4), 'new manager, new support', 'and when a key is changed');
-- many, in batches
INSERT INTO staff VALUES (20), (21);
INSERT INTO clients SELECT i, 20, CASE WHEN i % 2 = 0 THEN 20 ELSE 21 END FROM generate_series(101, 5100) i;
DELETE FROM staff WHERE id = 20;
SELECT is((SELECT string_agg(stage || ' ' || n, ', ' ORDER BY stage) FROM (SELECT stage, count(*) AS n FROM client.subjects WHERE subject_id > 100 GROUP BY stage) x), 'alone 2500, helpless 2500', 'many of them');
SELECT is((SELECT count(*) FROM client.enrollments WHERE subject_id > 100), 7500::bigint, '… all changes count');
SELECT verified('client');
SELECT * FROM finish();
ROLLBACK;
