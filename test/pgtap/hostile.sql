-- Owners of lifecycles who mean harm, or who have altered what is theirs: nobody else's rights are theirs to use, and nothing crashes.
\ir shop.psql
SELECT plan(60);
CREATE ROLE lc_mallory;
GRANT CREATE ON DATABASE :"DBNAME" TO lc_mallory;
GRANT ALL ON SCHEMA scenario TO lc_mallory;
GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA pg_temp TO PUBLIC;
SET ROLE lc_mallory;
CREATE TABLE trap (who name, what text);
GRANT ALL ON trap TO PUBLIC;
CREATE FUNCTION spring(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO scenario.trap VALUES (current_user, what); RETURN ''; END $$;
CREATE TABLE things (id bigint PRIMARY KEY, email text);
CREATE TABLE doings (id bigint, name text, at timestamptz DEFAULT now());

-- the name of a schema is no SQL
SELECT define_lifecycle('thing', 'things', '{a,b}', schema => $$t'||scenario.spring('schema')||'t$$);
SELECT define_lifecycle('it''s', 'things', '{a,b}');
RESET ROLE;
SELECT lives_ok($$ SELECT count(*) FROM status() $$, 'status works with any name of a schema');
SELECT is_empty($$ SELECT * FROM trap $$, '… and runs nothing of it');
SELECT isnt_empty($$ SELECT * FROM status() WHERE lifecycle = 'it''s' AND what = 'queue depth' $$, '… and says something about each');

-- nor are the casts of a type that is the owner's, or the types that he gives his columns
CREATE FUNCTION trapped() RETURNS text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM scenario.trap RETURNING who, what) SELECT string_agg(what || ' as ' || who, ', ') FROM gone $$;
SELECT is_empty($$ SELECT * FROM verify() $$, 'nothing is wrong');
SET ROLE lc_mallory;
SELECT define_lifecycle('loot', 'things', '{a,b}');
SELECT define_event_source('loot', 'doings', 'id', 'at', name_column => 'name');
SELECT define_transition('loot', 'a', 'b', without_event => 'x', after => '1 hour');
INSERT INTO things VALUES (1, 'a@b');
INSERT INTO doings VALUES (1, 'x');
CREATE TYPE word AS ENUM ('x', '1');
CREATE FUNCTION to_word(text) RETURNS word LANGUAGE sql AS $$ SELECT CASE scenario.spring('text to word') WHEN '' THEN 'x'::scenario.word END $$;
CREATE FUNCTION from_word(word) RETURNS text LANGUAGE sql AS $$ SELECT scenario.spring('word to text') || '1' $$;
CREATE CAST (word AS text) WITH FUNCTION from_word(word) AS IMPLICIT;
CREATE FUNCTION from_stage(loot.stage) RETURNS text LANGUAGE sql AS $$ SELECT scenario.spring('stage to text') || 'a' $$;
CREATE FUNCTION to_stage(text) RETURNS loot.stage LANGUAGE sql AS $$ SELECT CASE scenario.spring('text to stage') WHEN '' THEN 'a'::loot.stage END $$;
RESET ROLE;
SELECT lives_ok($$ SELECT * FROM explain('loot', 1) $$, 'all can be read');
SET ROLE lc_mallory;
CREATE CAST (loot.stage AS text) WITH FUNCTION from_stage(loot.stage);
CREATE CAST (text AS loot.stage) WITH FUNCTION to_stage(text);
RESET ROLE;
SELECT throws_like($$ SELECT * FROM explain('loot', 1) $$, '%type loot.stage has a cast with a function%', 'a stage with a cast: explain refuses');
SELECT throws_like($$ SELECT * FROM funnel('loot', '{a,b}') $$, '%type loot.stage has a cast with a function%', '… funnel too');
SELECT matches((SELECT string_agg(detail, ', ') FROM verify('loot')), 'type loot.stage has a cast with a function', '… verify says so');
SELECT matches((SELECT string_agg(detail, ', ') FROM status() WHERE lifecycle = 'loot'), 'type loot.stage has a cast with a function', '… status too');
DROP CAST (loot.stage AS text);
DROP CAST (text AS loot.stage);
CREATE CAST (loot.stage AS text) WITH INOUT;
SELECT lives_ok($$ SELECT * FROM explain('loot', 1) $$, 'a cast without a function does no harm');
-- nor the functions of an index, which the planner of any query calls
SELECT is(trapped(), NULL, 'nothing ran');
SET ROLE lc_mallory;
CREATE FUNCTION still() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM scenario.spring('index'); RETURN 0; END $$;
CREATE INDEX odd ON loot._due ((subject_id + still()));
RESET ROLE;
SELECT trapped();
SELECT throws_like($$ SELECT * FROM explain('loot', 1) $$, '%index loot.odd of table loot._due calls function scenario.still()%', 'an index with a function: explain refuses');
SELECT matches((SELECT string_agg(detail, ', ') FROM verify('loot')), 'index loot.odd of table loot._due calls ', '… verify says so');
SELECT matches((SELECT string_agg(detail, ', ') FROM status() WHERE lifecycle = 'loot'), 'index loot.odd of table loot._due calls ', '… status too');
SELECT is(trapped(), NULL, 'and it did not run');
DROP INDEX loot.odd;
-- nor anything else that the planner runs
CREATE FUNCTION strange(made text, problem text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN
    BEGIN
        SET LOCAL ROLE lc_mallory;
        EXECUTE made;
        RESET ROLE;
        DELETE FROM trap;
        RETURN NEXT alike((SELECT string_agg(detail, ', ') FROM status() WHERE lifecycle = 'loot'), '%' || problem || '%', made);
        RETURN NEXT is((SELECT count(*) FROM trap), 0::bigint, '… and it does not run');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
    END;
END $$;
SET ROLE lc_mallory;
CREATE FUNCTION as_it_is(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM scenario.spring('operator'); RETURN $1; END $$;
CREATE OPERATOR @# (FUNCTION = as_it_is, RIGHTARG = bigint);
RESET ROLE;
SELECT strange('CREATE INDEX odd ON loot._due ((subject_id + (@# 1::bigint)))', 'index loot.odd of table loot._due calls operator scenario.@#');
SELECT strange('CREATE STATISTICS loot.odd ON (subject_id + still()) FROM loot._due', 'statistics object loot.odd of table loot._due calls function scenario.still()');
SELECT strange('CREATE TABLE loot.part () INHERITS (loot._due); CREATE INDEX odd ON loot.part ((subject_id + still()))', 'index loot.odd of table loot._due calls function scenario.still()');
SELECT strange('CREATE TABLE loot.part (CHECK (subject_id > still())) INHERITS (loot._due)', 'of table loot._due calls function scenario.still()');
CREATE ROLE lc_reader;
GRANT USAGE ON SCHEMA scenario TO lc_reader;
SET ROLE lc_mallory;
GRANT USAGE ON SCHEMA loot TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA loot TO PUBLIC;
ALTER TABLE loot.failures ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON loot.failures USING (spring('policy') = '');
SET ROLE lc_reader;
SELECT is((SELECT string_agg(detail, ', ') FROM status() WHERE lifecycle = 'loot'), 'row security hides some of it from you', 'row security on the state of a lifecycle: status says so');
SELECT throws_like($$ SELECT * FROM verify('loot') $$, '%row security hides some from you%', '… verify refuses');
RESET ROLE;
SELECT is(trapped(), NULL, '… and no policy has run');
DROP POLICY odd ON loot.failures;
ALTER TABLE loot.failures DISABLE ROW LEVEL SECURITY;
SET ROLE lc_mallory;
DROP VIEW loot.waiting;
ALTER TABLE loot.failures ALTER name TYPE word USING NULL;
RESET ROLE;
SELECT matches((SELECT string_agg(detail, ', ') FROM status() WHERE lifecycle = 'loot'), 'column name of table loot.failures must be of type text', 'a column of another type: status says so');
SET ROLE lc_mallory;
ALTER TABLE loot.failures ALTER name TYPE text USING NULL;
ALTER TABLE doings ALTER id TYPE word USING id::text::word;
RESET ROLE;
SELECT lives_ok($$ SELECT * FROM explain('loot', 1) $$, 'an event source is read only where its columns have types of PostgreSQL''s own');
SET ROLE lc_mallory;
ALTER TABLE doings ALTER id TYPE bigint USING 1;
ALTER TABLE things ALTER id TYPE word USING id::text::word;
RESET ROLE;
SELECT matches((SELECT string_agg(detail, ', ') FROM verify('loot')), 'column subject_id of table loot.\w+ must be of type smallint', 'a key of another type: verify says so');
SELECT is(trapped(), NULL, 'in all of this nothing of the owner''s ran for anybody else');

-- what is not as it was made is an error that says what, not a crash
SELECT customer(1), customer(2);
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'signup');
CREATE FUNCTION refuses(change text, message text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE change;
        -- other functions: all definitions are read anew
        CREATE FUNCTION reread() RETURNS integer LANGUAGE sql AS 'SELECT 1';
        RETURN NEXT throws_like('SELECT run_due(''customer'')', '%' || message || '%', change);
        SET LOCAL client_min_messages = error;
        PERFORM event(1, 'signup', '2026-01-02');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
    END;
END $$;
SELECT refuses('ALTER TABLE customer.transitions ALTER event_at TYPE text', 'table customer.transitions has not the columns that it was made with: event_at');
SELECT refuses('ALTER TABLE customer.enrollments ALTER context TYPE integer USING 1', 'context is not there, or is not of type pg_catalog.jsonb');
SELECT refuses('ALTER TABLE customer.messages ALTER created_at TYPE text', 'customer.messages has not the columns');
SELECT refuses('ALTER TABLE customer.messages RENAME reason TO why', 'reason is not there');
SELECT refuses('DROP VIEW customer.stage_summary; ALTER TABLE customer.subjects DROP seq; ALTER TABLE customer.subjects ADD seq integer NOT NULL DEFAULT 1', 'seq is not there');
SELECT refuses('ALTER TABLE customer.enrollments ALTER id DROP IDENTITY', 'column id of table customer.enrollments has no identity any more');
SELECT refuses('ALTER TABLE customer.failures ALTER id DROP IDENTITY', 'column id of table customer.failures has no identity any more');
SELECT refuses('ALTER TYPE customer.stage RENAME TO phase', 'type customer.stage is missing, or is no enum');
SELECT refuses('ALTER TYPE customer.stage RENAME VALUE ''retention'' TO ''kept''', 'type customer.stage has no value ''retention''');
SAVEPOINT other_key;
ALTER TABLE customer.subjects DROP CONSTRAINT subjects_pkey, ADD PRIMARY KEY (seq, subject_id);
SELECT throws_like($$ SELECT event(1, 'signup') $$, '%primary key of table customer.subjects does not begin with subject_id%', 'another primary key of a state table');
ROLLBACK TO other_key;
ALTER TABLE customer.transitions DROP reason, ADD reason text;
ALTER TABLE customer.enrollments ADD serial bigserial, ADD note text;
SELECT lives_ok($$ SELECT event(1, 'signup') $$, 'columns behind those that it was made with are the owner''s affair');
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 1), 'consideration', '… all works');
SELECT is_empty($$ SELECT * FROM verify('customer') $$, '… and is well');

-- a parked row that its owner has written himself
CREATE FUNCTION park(due jsonb) RETURNS void LANGUAGE sql AS $$
    DELETE FROM customer.failures;
    INSERT INTO customer.failures (subject_id, kind, name, at, parked, sqlstate, message, due) VALUES (1, 'timer', 'x', now(), true, '22012', 'x', due) $$;
CREATE FUNCTION parked(change jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT '{"enrollment_id": 0, "entered_at": 1, "program": 99, "step": 0, "kind": "r", "shadow": false}' || change $$;
SELECT throws_like(format('SELECT park(%L); SELECT retry(''customer'')', due), '%parked row in customer.failures cannot be read%' || what || '%', due::text)
  FROM (VALUES (parked('{"enrollment_id": "aaaaaaaaaaaaaaaa"}'), 'enrollment_id'), (parked('{"entered_at": 1e30}'), 'entered_at'),
               (parked('{"program": {"a": 1}}'), 'program'), (parked('{"step": 99999999999}'), 'step'), (parked('{"kind": 5}'), 'kind'),
               (parked('{"kind": ""}'), 'kind'), (parked('{"shadow": "yes"}'), 'shadow'), ('[1, 2]', 'enrollment_id')) AS v (due, what);
SELECT park(parked('{}'));
SELECT is(retry('customer'), 1::bigint, 'one that is as the runner writes it is put back');

-- functions in a lifecycle's schema that are the user's
SELECT define_transition('customer', 'any', 'lost', on_event => 'quit', condition => 'customer.plan = ''free''', name => 'quit');
CREATE PROCEDURE customer.note(c customers) LANGUAGE sql BEGIN ATOMIC SELECT (c).email; END;
CREATE FUNCTION customer.mails(c customers) RETURNS TABLE (mail text, n integer) LANGUAGE sql BEGIN ATOMIC SELECT (c).email, 1; END;
SELECT lives_ok($$ ALTER TABLE customers ADD note1 text $$, 'a table that functions of the user are over can be altered');
SELECT is((SELECT count(*) FROM pg_proc WHERE proname IN ('note', 'mails', '_rule quit') AND prosqlbody IS NOT NULL), 3::bigint, '… and all keep their bodies');
DROP PROCEDURE customer.note;
DROP FUNCTION customer.mails;
SELECT lives_ok($$ ALTER TABLE customers ADD note2 text DEFAULT 'x' $$, '… also one that is rewritten, for ours it is no obstacle');

-- a table and its lifecycle's schema that have parted
SET ROLE lc_mallory;
CREATE TABLE parted (id bigint PRIMARY KEY);
SELECT define_lifecycle('parted', 'parted', '{a,b}');
RESET ROLE;
CREATE ROLE lc_alice;
GRANT ALL ON SCHEMA scenario TO lc_alice;
GRANT SELECT ON parted TO lc_alice;
ALTER TABLE parted OWNER TO lc_alice;
SELECT matches((SELECT string_agg(detail, ', ') FROM verify('parted')), 'table parted.subjects belongs to lc_mallory, table scenario.parted to lc_alice: nothing is captured', 'verify says that owners differ');
SET ROLE lc_alice;
SELECT throws_like($$ SELECT drop_lifecycle('parted') $$, '%must be owner of schema "parted" to drop lifecycle "parted"%', 'who owns the table alone cannot drop the lifecycle');
SET ROLE lc_mallory;
SELECT throws_like($$ SELECT drop_lifecycle('parted') $$, '%must be owner of table scenario.parted%', '… nor who owns the schema alone');
RESET ROLE;
SELECT lives_ok($$ SELECT drop_lifecycle('parted') $$, '… but a superuser');
SELECT is_empty($$ SELECT FROM lifecycle.lifecycles WHERE name = 'parted' $$, '… and it is gone');
SELECT * FROM finish();
ROLLBACK;
