-- Tables of lifecycles can be altered as any tables: columns with a default, changed types, rewrites; conditions follow, or refuse by name.
\ir shop.psql
SELECT plan(49);
CREATE TABLE archive (id bigint, customer_id bigint, name text, at timestamptz, amount numeric) PARTITION BY RANGE (at);
CREATE TABLE archive_2026 PARTITION OF archive FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
SELECT define_event_source('customer', 'archive', subject_column => 'customer_id', name_column => 'name', time_column => 'at', becomes => 'event.amount > 1');
SELECT define_template('customer', 't', body => '{{ customer.plan }} {{ customer.first_name }}');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'buy', condition => $$ (event.properties->>'n')::int > 1 AND customer.plan <> 'none' $$, source => 'events', name => 'buy');
SELECT define_transition('customer', 'consideration', 'conversion', condition => $$ customer.plan IN ('team', 'pro') AND EXISTS (SELECT FROM events e WHERE e.customer_id = customer.id AND e.name = 'buy') $$, name => 'team');
SELECT define_transition('customer', 'conversion', 'inactive', on_date => $$ customer.renewal_at $$, name => 'renewal');
SELECT define_transition('customer', 'any', 'lost', on_event => 'refund', source => 'archive', condition => 'event.amount > 5', name => 'refund');
CREATE TABLE done (customer_id bigint, plan text, whole jsonb);
SELECT define_workflow('customer', 'w', state => 'live', entry => on_stage('conversion'), exit => on_change($$ customer.first_name = 'stop' $$), goal => goal(on_event('yes', $$ event.properties ? 'x' $$, 'events')),
    steps => steps(send('email', 't', "to" => $$ SELECT customer.email AS address $$), branch($$ customer.plan = 'team' AND subject.stage = 'conversion' $$, yes => run_sql($$ INSERT INTO done SELECT customer.id, customer.plan, to_jsonb(customer) $$)), delay('1 day')));
CREATE FUNCTION functions() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT p.oid || pg_get_functiondef(p.oid) || p.proowner || p.prosqlbody::text IS NOT NULL || coalesce(p.proacl::text, '') FROM pg_proc p WHERE pronamespace = 'customer'::regnamespace ORDER BY p.oid $$;
SELECT md5(string_agg(f, ' ')) AS before FROM functions() AS f \gset

CREATE FUNCTION passes(id bigint, what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO customers (id, email, first_name, plan) VALUES (%s, ''e'', ''F'', ''team'')', id);
    EXECUTE format('INSERT INTO events (customer_id, name, properties) VALUES (%s, ''buy'', ''{"n": 2}'')', id);
    PERFORM run_due();
    RETURN NEXT is(path(id) || '; ' || sent(id) || '; ' || (SELECT count(*) FROM done WHERE customer_id = id), 'awareness > consideration > conversion; t queued e; 1', what);
END $$;
SELECT passes(1, 'as it was');

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE context text;
BEGIN EXECUTE statement; RETURN 'done';
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT; RETURN SQLERRM || ' / ' || context; END $$;

-- what migrations do
SELECT lives_ok($$ ALTER TABLE customers ADD COLUMN score int NOT NULL DEFAULT 0 $$, 'a column with a default');
SELECT is((SELECT md5(string_agg(f, ' ')) FROM functions() AS f), :'before', 'the functions are what they were');
SELECT passes(2, 'and work');
SELECT lives_ok($$ ALTER TABLE customers ADD COLUMN seen timestamptz DEFAULT clock_timestamp(), ADD COLUMN n serial $$, 'columns that rewrite the table');
SELECT lives_ok($$ ALTER TABLE customers ALTER COLUMN score TYPE bigint $$, 'the type of a column that nothing reads');
SELECT lives_ok($$ ALTER TABLE events ADD COLUMN source text DEFAULT 'web' $$, 'on events');
SELECT lives_ok($$ ALTER TABLE archive ADD COLUMN source text DEFAULT 'web' $$, 'on partitioned events');
SELECT lives_ok($$ ALTER TABLE customers SET UNLOGGED $$, 'another kind of storage');
SELECT passes(3, 'everything works');
SELECT lives_ok($$ ALTER TABLE customers ALTER COLUMN plan TYPE varchar(20) $$, 'the type of a column that conditions read');
SELECT lives_ok($$ ALTER TABLE customers ALTER COLUMN renewal_at TYPE date USING renewal_at::date $$, 'also of a date');
SELECT passes(4, 'they read it as it is now');
SELECT lives_ok($$ ALTER TABLE events ALTER COLUMN name TYPE varchar(100) $$, 'of the column with the names of events, which subqueries read too');
SELECT lives_ok($$ ALTER TABLE archive ALTER COLUMN name TYPE varchar(100), ADD COLUMN more int DEFAULT 1 $$, 'on partitioned events');
SELECT is((SELECT string_agg(tgrelid::regclass || ' ' || tgname, ', ' ORDER BY tgrelid::regclass::text, tgname) FROM pg_trigger WHERE tgname ~ 'event_(events|archive)$'), 'archive lifecycle_customer_event_archive, archive_2026 lifecycle_customer_event_archive, events lifecycle_customer_event_events', 'the row triggers are there again');
SELECT passes(7, 'and fire');
SELECT throws_ok($$ ALTER TABLE events DROP COLUMN name $$, '2BP01', NULL, 'it cannot be dropped');
CREATE TABLE base (customer_id bigint, name text, at timestamptz);
CREATE TABLE derived () INHERITS (base);
SELECT define_event_source('customer', 'derived', subject_column => 'customer_id', name_column => 'name', time_column => 'at');
SELECT lives_ok($$ ALTER TABLE base ALTER COLUMN name TYPE varchar(100) $$, 'where the table inherits it');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = 'derived'::regclass), 2::bigint, 'the triggers are there again');
SET LOCAL standard_conforming_strings = off;
SELECT lives_ok('ALTER TABLE derived ADD COLUMN more int DEFAULT 1', 'whatever backslashes mean');
SET LOCAL standard_conforming_strings = on;
CREATE TABLE limits (amount int, used int);
SELECT define_transition('customer', 'lost', 'inactive', on_event => 'buy', condition => '(SELECT max(l.amount) FROM limits l) < 0', source => 'events', name => 'limit');
SELECT lives_ok($$ ALTER TABLE limits ALTER COLUMN amount TYPE numeric, ADD COLUMN other int DEFAULT 1 $$, 'in a table that is none of a lifecycle''s');
SELECT define_transition('customer', 'lost', 'inactive', on_event => 'buy', condition => $$ EXISTS (SELECT FROM limits l WHERE l = ROW(1, 2, 3)::limits) $$, source => 'events', name => 'row');
SELECT matches(refusal($$ ALTER TABLE limits ADD COLUMN third int DEFAULT 1 $$), 'binding customer."_rule row"', 'a row of it that is written out is refused by name when it has another column');
SELECT drop_transition('customer', 'row');
SELECT is((SELECT count(*) FROM pg_proc WHERE pronamespace = 'customer'::regnamespace AND prosqlbody IS NULL), 0::bigint, 'everything is bound');
UPDATE customers SET renewal_at = '2026-01-02' WHERE id = 4;
SELECT advance_clock('1 day');
SELECT is(path(4), 'awareness > consideration > conversion > inactive', 'on_date too');
INSERT INTO archive (customer_id, name, at, amount) VALUES (3, 'refund', '2026-01-02', 6);
SELECT is(path(3), 'awareness > consideration > conversion > lost', 'and events');
SELECT verified();

-- refused, by name, and nothing is left of it
SELECT md5(string_agg(f, ' ')) AS before FROM functions() AS f \gset
SELECT matches(refusal($$ ALTER TABLE customers ALTER COLUMN first_name TYPE int USING 1 $$), 'operator does not exist.*binding customer."_exit.* again to the altered table', 'a type that a condition does not fit is refused, by name');
SELECT is((SELECT md5(string_agg(f, ' ')) FROM functions() AS f), :'before', 'and leaves everything');
SELECT matches(refusal($$ ALTER TABLE customers ADD COLUMN other int DEFAULT 1, DROP COLUMN plan $$), 'plan', 'so is a column that goes on the way');
SELECT matches(refusal($$ ALTER TABLE customers DROP COLUMN plan $$), 'depend', 'or alone');
SELECT matches(refusal($$ ALTER TABLE customers ADD COLUMN score int DEFAULT 0 $$), 'already exists', 'an ALTER TABLE that fails by itself');
SELECT is((SELECT md5(string_agg(f, ' ')) FROM functions() AS f), :'before', 'leaves everything too');
SELECT passes(5, 'which still works');
SELECT lives_ok($$ ALTER TABLE customers ADD COLUMN after_that int DEFAULT 1 $$, 'and the next one is none the worse');

SELECT matches(refusal($$ ALTER TABLE limits ALTER COLUMN amount TYPE text $$), 'operator does not exist.*binding customer."_rule limit".* again to the altered table', 'also of tables that are none of a lifecycle''s');

-- errors that are caught, and several in one transaction
SELECT lives_ok($$ DO $do$ BEGIN
    BEGIN ALTER TABLE customers ADD COLUMN caught int DEFAULT 1, ADD COLUMN by_zero int DEFAULT (1 / 0); EXCEPTION WHEN division_by_zero THEN NULL; END;
    BEGIN ALTER TABLE customers ADD COLUMN caught int DEFAULT 1; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
    ALTER TABLE customers ADD COLUMN caught bigint DEFAULT 2; ALTER TABLE customers ALTER COLUMN caught TYPE int; ALTER TABLE customers DROP COLUMN caught;
END $do$ $$, 'errors that are caught');
SELECT passes(6, 'and it works');
-- switched off: PostgreSQL's own errors, whose detail names the rule; half switched off: verify() tells
ALTER EVENT TRIGGER lifecycle_table_altering DISABLE;
SELECT throws_ok($$ ALTER TABLE customers ALTER COLUMN plan TYPE text $$, '0A000', 'cannot alter type of a column used by a function or procedure', 'without the event trigger the ALTER TABLE is refused');
ALTER EVENT TRIGGER lifecycle_table_altering ENABLE ALWAYS;
SAVEPOINT unbound;
ALTER EVENT TRIGGER lifecycle_table_altered DISABLE;
ALTER TABLE limits ALTER COLUMN amount TYPE int;
SELECT is((SELECT string_agg(detail, ' ') FROM lifecycle.verify('customer')), 'function customer."_rule limit" of transition "limit"', 'a function that is not bound again is found');
ROLLBACK TO unbound;

-- by the owner, and not by others
CREATE ROLE lc_alters;
CREATE ROLE lc_stranger;
GRANT USAGE ON SCHEMA scenario TO lc_alters, lc_stranger;
GRANT CREATE ON DATABASE :"DBNAME" TO lc_alters;
CREATE SCHEMA alters AUTHORIZATION lc_alters;
GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA pg_temp TO PUBLIC;
SET ROLE lc_alters;
CREATE TABLE alters.things (id int PRIMARY KEY, what text);
GRANT USAGE ON SCHEMA alters TO lc_stranger;
SELECT define_lifecycle('thing', 'alters.things', stages => '{a,b}');
SELECT define_transition('thing', 'a', 'b', condition => $$ thing.what = 'b' $$);
SELECT lives_ok($$ ALTER TABLE alters.things ADD COLUMN n int DEFAULT 7 $$, 'the owner alters his table');
SET ROLE lc_stranger;
SELECT throws_ok($$ ALTER TABLE alters.things ADD COLUMN m int DEFAULT 7 $$, '42501', NULL, 'others do not');
RESET ROLE;
SELECT lives_ok($$ ALTER TABLE alters.things ADD COLUMN m int DEFAULT 7 $$, 'a superuser may');
INSERT INTO alters.things VALUES (1, 'b');
SELECT is((SELECT stage::text FROM thing.subjects), 'b', 'and it works');
SELECT is((SELECT string_agg(DISTINCT proowner::regrole::text, ' ') FROM pg_proc WHERE pronamespace = 'thing'::regnamespace), 'lc_alters', 'functions stay their owner''s');
-- tables without a lifecycle
SELECT lives_ok($$ CREATE TEMP TABLE plain (a int); ALTER TABLE plain ADD COLUMN b int DEFAULT 1; ALTER TABLE IF EXISTS nothing ADD COLUMN b int DEFAULT 1 $$, 'other tables are left alone');
SELECT verified();
SELECT verified('thing');
-- conditions go with the extension, and do not stand in the way of tables that are used no more
DROP EXTENSION lifecycle CASCADE;
SELECT lives_ok($$ ALTER TABLE customers ADD COLUMN later int DEFAULT 1 $$, 'without the extension');
SELECT * FROM finish();
ROLLBACK;
