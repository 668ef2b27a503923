-- Owners of lifecycles who mean harm, or who have altered what is theirs: nobody else's rights are theirs to use, and nothing crashes.
\ir shop.psql
SELECT plan(4);
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
SELECT is_empty($$ SELECT * FROM verify() $$, 'nothing is wrong');
SELECT * FROM finish();
ROLLBACK;
