-- A backfill sees event sources as of the time that it replays: in every form in which a condition can read them.
\ir shop.psql
SELECT plan(92);

-- the past, which nobody has captured: purchases on days 1, 3, 5, 7, logins on days 2, 4, 6
ALTER TABLE events ADD COLUMN gone int;
ALTER TABLE events ADD COLUMN note text;
ALTER TABLE events DROP COLUMN gone;
CREATE TABLE kinds (name text PRIMARY KEY, id int);
INSERT INTO kinds VALUES ('login', 1), ('purchase', 2), ('logout', 3);
SET lifecycle.capture = off;
SELECT customer(1), customer(2);
INSERT INTO events (customer_id, name, occurred_at) SELECT 1, CASE WHEN d % 2 = 1 THEN 'purchase' ELSE 'login' END, '2025-06-01'::timestamptz + d * interval '1 day'
  FROM unnest('{5,2,6,7,1,4,3}'::int[]) AS d;
RESET lifecycle.capture;
CREATE FUNCTION is_login(e events) RETURNS boolean LANGUAGE sql STABLE RETURN e.name = 'login';

-- the day of the first purchase at which the condition was true
CREATE FUNCTION day_of(rule text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce((
    SELECT to_char(at, 'DD') FROM customer.transitions t WHERE subject_id = 1 AND t.rule = $1 ORDER BY seq LIMIT 1), 'never'); END $$;
CREATE FUNCTION replay() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL backfill('customer'); END $$;
CREATE FUNCTION first_day(condition text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    PERFORM define_transition('customer', 'awareness', 'consideration', on_event => 'purchase', condition => $1, name => 'x'), replay();
    RETURN day_of('x');
END $$;

CREATE TABLE forms (i int GENERATED ALWAYS AS IDENTITY, day text, what text, condition text);
INSERT INTO forms (day, what, condition) VALUES
('04', 'a table with an alias', $$ (SELECT count(*) FROM events e WHERE e.customer_id = customer.id AND e.name = 'login') = 1 $$),
('04', 'without one', $$ (SELECT count(*) FROM events WHERE customer_id = customer.id AND name = 'login') = 1 $$),
('04', 'aliases of columns', $$ (SELECT count(*) FROM events AS e (a, b, c, d) WHERE b = customer.id AND c = 'login' AND d IS NOT NULL) = 1 $$),
('04', 'an alias that wants quotes', $$ (SELECT count(*) FROM events AS "as (""x)" ("from", "b )") WHERE "b )" = customer.id AND "as (""x)".name = 'login') = 1 $$),
('04', 'ONLY', $$ (SELECT count(*) FROM ONLY events e WHERE e.name = 'login') = 1 $$),
('04', 'a sample', $$ (SELECT count(*) FROM events e TABLESAMPLE bernoulli (100) REPEATABLE (4) WHERE e.name = 'login') = 1 $$),
('04', 'ONLY a sample of columns with aliases', $$ (SELECT count(*) FROM ONLY events e (i, c) TABLESAMPLE system (100) WHERE e.c = 1 AND e.name = 'login') = 1 $$),
('04', 'the event itself is there', $$ (SELECT count(*) FROM events e WHERE e.name = 'purchase') = 2 $$),
('02', 'and what comes later is not', $$ NOT EXISTS (SELECT FROM events e WHERE e.name = 'login') $$),
('02', 'by the event', $$ NOT EXISTS (SELECT FROM events e WHERE e.customer_id = event.customer_id AND e.occurred_at > event.occurred_at) $$),
('06', 'a list of tables', $$ (SELECT count(*) FROM events e, kinds k WHERE k.name = e.name AND k.id = 1) = 2 $$),
('06', 'a join', $$ (SELECT count(*) FROM kinds k JOIN events e ON k.name = e.name WHERE k.id = 1) = 2 $$),
('06', 'USING', $$ (SELECT count(*) FROM events e JOIN kinds k USING (name) WHERE name = 'login') = 2 $$),
('06', 'a natural join', $$ (SELECT count(*) FROM (SELECT k.name FROM kinds k) k NATURAL JOIN events WHERE name = 'login') = 2 $$),
('06', 'a join with an alias', $$ (SELECT count(*) FROM (events e JOIN kinds k USING (name)) AS j (a, b) WHERE j.a = 'login') = 2 $$),
('06', 'a join that names what it merges', $$ (SELECT count(*) FROM events e JOIN kinds k USING (name) AS m WHERE m.name = 'login') = 2 $$),
('04', 'the nullable side', $$ NOT EXISTS (SELECT FROM kinds k LEFT JOIN events e ON e.name = k.name WHERE k.name = 'login' AND e.id IS NULL) $$),
('04', 'of a right join', $$ NOT EXISTS (SELECT FROM events e RIGHT JOIN kinds k ON e.name = k.name WHERE k.name = 'login' AND e.id IS NULL) $$),
('04', 'of a left join USING', $$ NOT EXISTS (SELECT FROM kinds k LEFT JOIN events e USING (name) WHERE name = 'login' AND e.id IS NULL) $$),
('04', 'both sides of a full join', $$ (SELECT count(*) FROM events e FULL JOIN kinds k USING (name) WHERE e.id IS NULL) = 1 $$),
('04', 'its whole row', $$ (SELECT count(e) FROM kinds k LEFT JOIN events e ON e.name = k.name WHERE k.id = 1) = 1 $$),
('04', 'as an argument of its type', $$ (SELECT count(*) FROM events e WHERE is_login(e)) = 1 $$),
('04', 'as a document', $$ (SELECT count(*) FROM events e WHERE to_jsonb(e) ->> 'name' = 'login' AND to_jsonb(e) ? 'note') = 1 $$),
('04', 'system columns', $$ (SELECT count(*) FROM events e WHERE e.ctid IS NOT NULL AND e.tableoid = event.tableoid_of AND e.name = 'login') = 1 $$),
('04', 'joined with itself', $$ (SELECT count(*) FROM events a JOIN events b ON a.id <> b.id AND a.name <> b.name) = 4 $$),
('06', 'in a lateral table', $$ (SELECT sum(l.n) FROM kinds k, LATERAL (SELECT count(*) AS n FROM events e WHERE e.name = k.name) AS l WHERE k.id = 1) = 2 $$),
('06', 'before a lateral table', $$ (SELECT count(*) FROM events e, LATERAL (SELECT e.name) AS l (n) WHERE l.n = 'login') = 2 $$),
('06', 'WITH', $$ (WITH l AS (SELECT * FROM events e WHERE e.name = 'login') SELECT count(*) FROM l) = 2 $$),
('06', 'WITH, materialized', $$ (WITH l AS MATERIALIZED (SELECT * FROM events e WHERE e.customer_id = customer.id) SELECT count(*) FROM l WHERE name = 'login') = 2 $$),
('06', 'WITH of the same name', $$ (WITH events AS (SELECT * FROM events e WHERE e.name = 'login') SELECT count(*) FROM events) = 2 $$),
('06', 'WITH RECURSIVE', $$ (WITH RECURSIVE r AS (SELECT min(e.id) AS id FROM events e UNION ALL SELECT (SELECT min(e.id) FROM events e WHERE e.id > r.id) FROM r WHERE r.id IS NOT NULL)
            SELECT count(id) FROM r) = 5 $$),
('04', 'a subquery in a subquery', $$ EXISTS (SELECT FROM events p WHERE p.id = event.id AND (SELECT count(*) FROM events e WHERE e.customer_id = p.customer_id AND e.name = 'login') = 1) $$),
('04', 'in FROM', $$ (SELECT l.n FROM (SELECT count(*) AS n FROM events WHERE name = 'login') AS l) = 1 $$),
('04', 'in a list', $$ (SELECT (SELECT count(*) FROM events WHERE name = 'login') FROM kinds WHERE kinds.id = 1) = 1 $$),
('04', 'in ORDER BY and HAVING', $$ EXISTS (SELECT k.id FROM kinds k GROUP BY k.id HAVING (SELECT count(*) FROM events WHERE name = 'login') = 1 ORDER BY (SELECT max(id) FROM events)) $$),
('06', 'UNION', $$ (SELECT count(*) FROM (SELECT id, name FROM events UNION ALL SELECT id, name FROM events) AS u WHERE name = 'login') = 4 $$),
('04', 'IN', $$ 'login' IN (SELECT name FROM events) $$),
('04', 'ANY', $$ 'login' = ANY (SELECT name FROM events) $$),
('02', 'ALL', $$ 'login' <> ALL (SELECT name FROM events) $$),
('06', 'an array', $$ cardinality(ARRAY(SELECT id FROM events WHERE name = 'login')) = 2 $$),
('06', 'windows and DISTINCT', $$ (SELECT max(n) FROM (SELECT DISTINCT row_number() OVER (ORDER BY e.occurred_at) AS n FROM events e WHERE e.name = 'login') AS w) = 2 $$),
('04', 'several subqueries', $$ (SELECT count(*) FROM events WHERE name = 'login') = 1 AND (SELECT count(*) FROM events WHERE name = 'purchase') = 2 $$),
('04', 'text that looks like a table', $$ (SELECT count(*) FROM events e WHERE 'FROM scenario.events e' <> $x$(scenario.events $1)$x$ AND e.name = 'login') = 1 $$),
('04', 'an alias that is like ours', $$ (SELECT count(*) FROM events "as of 1" JOIN kinds "as of 2" USING (name) WHERE name = 'login' AND "as of 1".id > 0) = 1 $$),
('02', 'other tables are those of today', $$ (SELECT count(*) FROM kinds) = 3 $$);
UPDATE forms SET condition = replace(condition, 'event.tableoid_of', (SELECT format('%s', 'events'::regclass::oid)));

SELECT is(first_day(condition), day, what) FROM forms ORDER BY i;
SELECT is_empty('SELECT * FROM customer.failures', 'and none has failed');
SELECT verified();

-- bound once, then everything gets other names
SELECT forget();
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'purchase', condition => condition, name => 'x' || i, priority => i) FROM forms;
ALTER TABLE events RENAME COLUMN occurred_at TO "at (x";
ALTER TABLE events RENAME COLUMN name TO what;
ALTER TABLE events ADD COLUMN name text;
ALTER TABLE events RENAME TO "hap ""pened";
ALTER SCHEMA scenario RENAME TO "the scenario";
SET search_path = "the scenario", public, lifecycle;
-- all rules are there; only the one in question leaves the first stage
CREATE FUNCTION first_day_of(i int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    UPDATE lifecycle.transition_rules SET from_stages = CASE WHEN name = 'x' || $1 THEN '{awareness}'::text[] ELSE '{lost}' END WHERE lifecycle = 'customer';
    PERFORM define_transition('customer', 'lost', 'advocacy', on_event => 'never' || $1), replay();
    RETURN day_of('x' || $1);
END $$;
SELECT is(first_day_of(i), day, 'renamed: ' || what) FROM forms WHERE what <> 'as a document' ORDER BY i;
SELECT is_empty('SELECT * FROM customer.failures', 'and none has failed');


SELECT * FROM finish();
ROLLBACK;
