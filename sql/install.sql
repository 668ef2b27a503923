-- What CREATE EXTENSION makes: everything has a comment, nothing that writes can be called by everyone, no function follows its caller's search_path.
CREATE EXTENSION lifecycle;
-- a schema that somebody has made beforehand stops the installation
DROP EXTENSION lifecycle;
CREATE SCHEMA lifecycle;
\set SHOW_CONTEXT never
CREATE EXTENSION lifecycle;
\set SHOW_CONTEXT errors
DROP SCHEMA lifecycle;
CREATE EXTENSION lifecycle;

SELECT p.oid::regprocedure AS function_without_comment FROM pg_proc p
 WHERE p.pronamespace = 'lifecycle'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
SELECT c.oid::regclass AS relation_without_comment FROM pg_class c
 WHERE c.relnamespace = 'lifecycle'::regnamespace AND c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL ORDER BY 1;
SELECT a.attrelid::regclass AS relation, a.attname AS column_without_comment FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'lifecycle'::regnamespace AND c.relkind IN ('r', 'v') AND col_description(c.oid, a.attnum) IS NULL ORDER BY 1, a.attnum;

-- functions in a language that resolves names when it runs, with the caller's search_path
SELECT p.oid::regprocedure AS unsafe_function FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'lifecycle'::regnamespace AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL AND p.prokind = 'f'
   AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c = 'search_path=pg_catalog, pg_temp') ORDER BY 1;
SELECT p.oid::regprocedure AS security_definer FROM pg_proc p WHERE p.pronamespace = 'lifecycle'::regnamespace AND p.prosecdef ORDER BY 1;

-- trigger functions are nobody's to attach elsewhere
SELECT p.oid::regprocedure AS attachable FROM pg_proc p
 WHERE p.pronamespace = 'lifecycle'::regnamespace AND p.prorettype = 'trigger'::regtype AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1;
-- nobody but the owner writes definitions
SELECT c.oid::regclass AS writable FROM pg_class c
 WHERE c.relnamespace = 'lifecycle'::regnamespace AND c.relkind IN ('r', 'v', 'S')
   AND (CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('public', c.oid, 'USAGE')
             ELSE has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') END) ORDER BY 1;

-- settings: what they are without being set, and who may set them
SELECT name, boot_val, unit, context FROM pg_settings WHERE name LIKE 'lifecycle.%' AND context <> 'postmaster' ORDER BY name COLLATE "C";
CREATE ROLE install_plain;
SET ROLE install_plain;
SET lifecycle.capture = off;
SET lifecycle.scheduler = off;
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT lifecycle.advance_clock('1 hour') > now() AS set;
RESET ROLE;
RESET lifecycle.clock;
GRANT SET ON PARAMETER lifecycle.clock TO install_plain;
SET ROLE install_plain;
SET lifecycle.clock = '2026-01-01 00:00+00';
SHOW lifecycle.clock;
RESET lifecycle.clock;
RESET ROLE;
DROP OWNED BY install_plain;
DROP ROLE install_plain;
