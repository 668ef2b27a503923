-- Reading a lifecycle: views, funnel, explain, verify, status. The state is written by hand, with capture off, so that each number is
-- known, and in a time to come, so that no scheduler finds anything due.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
CREATE SCHEMA reading;
SET search_path = reading, public;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
SET lifecycle.clock = '2100-03-10 00:00+00';
SET lifecycle.capture = off;

CREATE TABLE customers (id bigint PRIMARY KEY, email text);
CREATE TABLE events (id bigint PRIMARY KEY, customer_id bigint NOT NULL, name text NOT NULL, occurred_at timestamptz NOT NULL);
SELECT lifecycle.define_lifecycle('customer', on_table => 'customers', simulated => true,
    stages => '{awareness,consideration,conversion,retention,inactive}');
SELECT lifecycle.define_event_source('customer', 'events',
    subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at');
SELECT lifecycle.define_transition('customer', 'awareness', 'consideration', on_event => 'newsletter_signup', name => 'signs up');
SELECT lifecycle.define_transition('customer', '{conversion,retention}', 'inactive',
    without_event => 'purchase', after => '90 days', name => 'falls asleep');
SELECT lifecycle.define_template('customer', 'welcome', subject_line => 'Welcome', body => 'Hello');
SELECT lifecycle.define_workflow('customer', 'onboarding', state => 'live',
    entry => lifecycle.on_stage('conversion'),
    goal => lifecycle.goal(lifecycle.on_event('activated'), within => '14 days'),
    steps => lifecycle.steps(
        lifecycle.send('email', 'welcome', label => 'welcome'),
        lifecycle.delay('2 days', label => 'pause'),
        lifecycle.branch('customer.email IS NULL',
            yes => lifecycle.send('email', 'welcome', label => 'again'),
            no => lifecycle.send('email', 'welcome', label => 'tips'),
            label => 'has address')));
SELECT id AS version FROM lifecycle.workflow_versions WHERE workflow = 'onboarding' \gset
SELECT id AS rule FROM lifecycle.transition_rules WHERE name = 'falls asleep' \gset

-- Five customers. 1 waits in onboarding, 2 has gone through it, 3 is new, 4 was moved by hand, the onboarding of 5 failed.
INSERT INTO customers SELECT g, 'c' || g || '@example.com' FROM generate_series(1, 5) g;
INSERT INTO events VALUES (1, 1, 'newsletter_signup', '2100-03-02'), (2, 1, 'purchase', '2100-03-09'), (3, 1, 'purchase', '2100-03-09 12:00');
DELETE FROM customer.subjects;
DELETE FROM customer.transitions;
INSERT INTO customer.subjects (subject_id, stage, seq, since)
VALUES (1, 'conversion', 3, '2100-03-09'), (2, 'conversion', 1, '2100-03-01'), (3, 'awareness', 1, '2100-02-01'),
       (4, 'consideration', 2, '2100-03-04'), (5, 'inactive', 3, '2100-03-01');
INSERT INTO customer.transitions (subject_id, seq, from_stage, to_stage, at, since, event_at, cause, rule, event_source, event_name, event_id, actor, reason)
VALUES (1, 1, NULL, 'awareness', '2100-03-01', NULL, NULL, 'entry', NULL, NULL, NULL, NULL, NULL, NULL),
       (1, 2, 'awareness', 'consideration', '2100-03-02', '2100-03-01', '2100-03-02', 'rule', 'signs up', 'events', 'newsletter_signup', '1', NULL, NULL),
       (1, 3, 'consideration', 'conversion', '2100-03-09', '2100-03-02', '2100-03-08', 'rule', 'buys', 'events', 'purchase', '2', NULL, NULL),
       (2, 1, NULL, 'conversion', '2100-03-01', NULL, NULL, 'entry', NULL, NULL, NULL, NULL, NULL, NULL),
       (3, 1, NULL, 'awareness', '2100-02-01', NULL, NULL, 'entry', NULL, NULL, NULL, NULL, NULL, NULL),
       (4, 1, NULL, 'awareness', '2100-03-03', NULL, NULL, 'entry', NULL, NULL, NULL, NULL, NULL, NULL),
       (4, 2, 'awareness', 'consideration', '2100-03-04', '2100-03-03', NULL, 'manual', NULL, NULL, NULL, NULL, 'alice', 'phone call'),
       (5, 1, NULL, 'conversion', '2099-12-01', NULL, NULL, 'entry', NULL, NULL, NULL, NULL, NULL, NULL),
       (5, 2, 'conversion', 'retention', '2099-12-03', '2099-12-01', NULL, 'workflow', 'onboarding', NULL, NULL, NULL, NULL, NULL),
       (5, 3, 'retention', 'inactive', '2100-03-01', '2099-12-03', NULL, 'timer', 'falls asleep', NULL, NULL, NULL, NULL, NULL);
INSERT INTO customer.enrollments (id, subject_id, version, version_id, workflow, entered_at, ended_at, converted_at, exit_reason)
OVERRIDING SYSTEM VALUE
VALUES (1, 1, 1, :version, 'onboarding', '2100-03-09', NULL, NULL, NULL),
       (2, 2, 1, :version, 'onboarding', '2100-03-01', '2100-03-03', '2100-03-02', 'completed'),
       (3, 4, 1, :version, 'onboarding', '2100-03-05', '2100-03-05 01:00', '2100-03-05 01:00', 'goal'),
       (4, 5, 1, :version, 'onboarding', '2099-12-01', NULL, NULL, NULL);
INSERT INTO customer.activity (subject_id, enrollment_id, version_id, step, waited, at, outcome, detail)
VALUES (1, 1, :version, 1, NULL, '2100-03-09', 'sent', NULL),
       (2, 2, :version, 1, NULL, '2100-03-01', 'sent', NULL),
       (2, 2, :version, 3, 2, '2100-03-03', 'no', NULL),
       (2, 2, :version, 5, NULL, '2100-03-03', 'skipped', 'only_if is not true'),
       (4, 3, :version, 1, NULL, '2100-03-05', 'sent', NULL);
INSERT INTO customer.messages (id, subject_id, enrollment_id, version, step, workflow, template, channel, address, subject_line, status, reason,
                               idempotency_key, created_at, sent_at)
OVERRIDING SYSTEM VALUE
VALUES (1, 1, 1, 1, 1, 'onboarding', 'welcome', 'email', 'c1@example.com', 'Welcome', 'queued', NULL, '1', '2100-03-09', NULL),
       (2, 2, 2, 1, 1, 'onboarding', 'welcome', 'email', 'c2@example.com', 'Welcome', 'sent', NULL, '2', '2100-03-01', '2100-03-01 00:01'),
       (3, 4, 3, 1, 1, 'onboarding', 'welcome', 'email', NULL, NULL, 'suppressed', 'no address', '3', '2100-03-05', NULL);
INSERT INTO customer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
VALUES ('2100-03-11', 1, 1, '2100-03-09', :version, 2, 'w'), ('2100-06-07', 1, NULL, '2100-03-09', :rule, 0, 'r');
INSERT INTO customer.failures (subject_id, kind, name, enrollment_id, version_id, step, attempts, at, parked, sqlstate, message)
VALUES (5, 'step', 'onboarding: welcome', 4, :version, 1, 5, '2099-12-01 02:00', true, '22012', 'division by zero');

SELECT * FROM lifecycle.verify('customer');

-- Views
SELECT * FROM customer.stage_summary;
SELECT * FROM customer.transition_matrix;
SELECT * FROM customer.time_in_stage;
SELECT * FROM customer.workflow_summary;
SELECT * FROM customer.step_summary;
SELECT * FROM customer.waiting ORDER BY subject_id, kind;
-- in the transaction that adds a stage they do without it
BEGIN;
SELECT lifecycle.add_stage('customer', 'trial', before => 'conversion');
SELECT stage, subjects FROM customer.stage_summary WHERE stage IS NULL OR stage BETWEEN 'consideration' AND 'conversion';
SELECT stage, visits FROM customer.time_in_stage WHERE stage IS NULL OR stage BETWEEN 'consideration' AND 'conversion';
SELECT count(*) FROM lifecycle.funnel('customer', '{awareness,conversion}');
SELECT lifecycle.rename_stage('customer', 'awareness', 'new');
SELECT stage FROM customer.stage_summary LIMIT 2;
ROLLBACK;
-- every view and column has a comment
SELECT c.relname, a.attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relnamespace = 'customer'::regnamespace AND c.relkind = 'v'
   AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL);
-- making them again changes nothing
SELECT lifecycle._create_views('customer');

-- Explain
SELECT * FROM lifecycle.explain('customer', '1');
SELECT * FROM lifecycle.explain('customer', 2);
SELECT * FROM lifecycle.explain('customer', 4::smallint);
SELECT * FROM lifecycle.explain('customer', 5);
INSERT INTO customers VALUES (6, NULL);
SELECT * FROM lifecycle.explain('customer', 6);
\set VERBOSITY terse
SELECT * FROM lifecycle.explain('customer', 7);
SELECT * FROM lifecycle.explain('customer', 'x');
SELECT * FROM lifecycle.explain('customer', NULL::text);
SELECT * FROM lifecycle.explain('customers', 1);
\set VERBOSITY default
\set SHOW_CONTEXT never
DELETE FROM customers WHERE id = 6;

-- Funnel: the stages in their order, as an array or as a literal
SELECT * FROM lifecycle.funnel('customer', '{awareness,consideration,conversion}');
SELECT step, stage, subjects FROM lifecycle.funnel('customer', ARRAY['conversion', 'inactive']);
SELECT step, stage, subjects, conversion, step_conversion FROM lifecycle.funnel('customer', '{retention,awareness,conversion}');
-- the window begins with the first step: customer 1 took 1 day and 8 days
SELECT step, stage, subjects FROM lifecycle.funnel('customer', '{awareness,consideration,conversion}', within => '8 days');
SELECT step, stage, subjects FROM lifecycle.funnel('customer', '{awareness,consideration,conversion}', within => '7 days 23:59:59');
-- since and until bound the beginning of attempts, not their end
SELECT step, stage, subjects FROM lifecycle.funnel('customer', '{awareness,consideration}', since => '2100-03-01', until => '2100-03-03');
-- a stage entered again: the attempt that began last counts for the window, and one entry is one step
CREATE TABLE visits (id text PRIMARY KEY);
SELECT lifecycle.define_lifecycle('visit', on_table => 'visits', stages => '{a,b,c}');
INSERT INTO visit.transitions (subject_id, seq, from_stage, to_stage, at, cause)
SELECT subject, row_number() OVER (PARTITION BY subject ORDER BY day, place), NULL, stage::visit.stage, '2100-01-01'::timestamptz + day * interval '1 day', 'manual'
  FROM (VALUES ('again', 0, 1, 'a'), ('again', 5, 1, 'b'), ('again', 10, 1, 'a'), ('again', 11, 1, 'b'), ('again', 12, 1, 'c'),
               ('tie', 0, 1, 'a'), ('tie', 0, 2, 'b'), ('tie', 0, 3, 'c'),
               ('backwards', 0, 1, 'c'), ('backwards', 1, 1, 'b'), ('backwards', 2, 1, 'a'),
               ('two', 0, 1, 'a'), ('two', 3, 1, 'c'), ('two', 4, 1, 'a')) AS v (subject, day, place, stage);
SELECT * FROM lifecycle.funnel('visit', '{a,b,c}');
SELECT step, stage, subjects, median_time FROM lifecycle.funnel('visit', '{a,b,c}', within => '3 days');
SELECT step, stage, subjects FROM lifecycle.funnel('visit', '{a,c}', within => '12 days');
SELECT step, stage, subjects FROM lifecycle.funnel('visit', '{a,a,a}');
SELECT step, stage, subjects, conversion FROM lifecycle.funnel('visit', '{b}', since => '2101-01-01');
-- every chain of entries, counted the slow way, gives the same
DELETE FROM visit.transitions;
INSERT INTO visit.transitions (subject_id, seq, to_stage, at, cause)
SELECT s, q, (enum_range(NULL::visit.stage))[1 + abs(hashint4(s * 100 + q)) % 3],
       '2100-01-01'::timestamptz + floor(q * (s % 7) / 4.0) * interval '12 hours', 'manual'
  FROM generate_series(1, 400) s, generate_series(1, 12) q;
CREATE FUNCTION slow_funnel(stages text[], within interval, since timestamptz, until timestamptz) RETURNS TABLE (step integer, subjects bigint)
LANGUAGE sql AS $$
    WITH RECURSIVE chains AS (
        SELECT subject_id, seq, at AS first, 1 AS step
          FROM visit.transitions
         WHERE to_stage::text = stages[1] AND ($3 IS NULL OR at >= $3) AND ($4 IS NULL OR at < $4)
        UNION
        SELECT c.subject_id, t.seq, c.first, c.step + 1
          FROM chains c
               JOIN visit.transitions t ON t.subject_id = c.subject_id AND t.seq > c.seq AND t.to_stage::text = stages[c.step + 1]
         WHERE within IS NULL OR t.at <= c.first + within)
    SELECT s, (SELECT count(DISTINCT subject_id) FROM chains c WHERE c.step = s) FROM generate_series(1, cardinality(stages)) s
$$;
SELECT count(*) AS funnels, count(DISTINCT fast) AS different, count(*) FILTER (WHERE fast <> slow) AS wrong
  FROM (VALUES ('{a,b,c}'::text[]), ('{a,a,b}'), ('{c,b,a}'), ('{a,b,a,b}'), ('{c}')) AS stages (stages),
       (VALUES (NULL::interval), ('0'), ('12 hours'), ('1 day'), ('3 days')) AS within (within),
       (VALUES (NULL::timestamptz, NULL::timestamptz), ('2100-01-02', '2100-01-04'), (NULL, '2100-01-03')) AS bounds (since, until),
       LATERAL (SELECT array_agg(subjects ORDER BY step) FROM lifecycle.funnel('visit', stages, within, since, until)) AS fast (fast),
       LATERAL (SELECT array_agg(subjects ORDER BY step) FROM slow_funnel(stages, within, since, until)) AS slow (slow);
DROP FUNCTION slow_funnel;
SELECT * FROM lifecycle.funnel('visit', '{a,d}');
SELECT * FROM lifecycle.funnel('visit', '{}');
SELECT * FROM lifecycle.funnel('visit', '{a,NULL}');
SELECT * FROM lifecycle.funnel('visit', NULL);
SELECT * FROM lifecycle.funnel('visit', '{a,b}', within => '-1 day');
\set VERBOSITY terse
SELECT * FROM lifecycle.funnel('nothing', '{a,b}');
\set VERBOSITY default
SET client_min_messages = warning;
SELECT lifecycle.drop_lifecycle('visit');
RESET client_min_messages;

-- Verify: each invariant broken by hand, in a transaction that is rolled back. A break may show in more than one of them.
BEGIN;
UPDATE customer.subjects SET stage = 'retention' WHERE subject_id = 1;
UPDATE customer.subjects SET seq = 7 WHERE subject_id = 2;
DELETE FROM customer.transitions WHERE subject_id = 3;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
DELETE FROM customer.subjects WHERE subject_id IN (3, 4);
DELETE FROM customers WHERE id = 4;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY subject_id, invariant COLLATE "C";
ROLLBACK;
BEGIN;
DELETE FROM customer.transitions WHERE subject_id = 1 AND seq = 2;
UPDATE customer.transitions SET from_stage = 'retention' WHERE subject_id = 4 AND seq = 2;
UPDATE customer.transitions SET at = '2099-12-04' WHERE subject_id = 5 AND seq = 2;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
UPDATE customer.transitions SET at = '2099-11-30' WHERE subject_id = 5 AND seq = 2;
UPDATE customer.transitions SET since = '2099-11-30' WHERE subject_id = 5 AND seq = 3;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
DELETE FROM customers WHERE id = 3;
INSERT INTO customers VALUES (7, NULL);
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
-- the unique index makes this impossible
SELECT indexrelid::regclass AS index FROM pg_index
 WHERE indrelid = 'customer.enrollments'::regclass AND indisunique AND indpred IS NOT NULL \gset
DROP INDEX :index;
INSERT INTO customer.enrollments (id, subject_id, version, version_id, workflow, entered_at) OVERRIDING SYSTEM VALUE
VALUES (9, 1, 1, :version, 'onboarding', '2100-03-09');
INSERT INTO customer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
VALUES ('2100-03-11', 1, 9, '2100-03-09', :version, 2, 'w');
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
UPDATE customer.enrollments SET exit_reason = NULL WHERE id = 2;
UPDATE customer.enrollments SET version = 99 WHERE id = 3;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
INSERT INTO customer._due SELECT * FROM customer._due WHERE subject_id = 1;
UPDATE customer.failures SET parked = false;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY subject_id, invariant COLLATE "C";
ROLLBACK;
BEGIN;
INSERT INTO customer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
VALUES ('2100-03-11', 2, 2, '2100-03-09', :version, 2, 'w');
UPDATE customer._due SET step = 77 WHERE subject_id = 1 AND kind = 'w';
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY subject_id, invariant COLLATE "C";
ROLLBACK;
BEGIN;
DELETE FROM customer.activity WHERE subject_id = 2 AND step = 1;
DELETE FROM customer.messages WHERE subject_id = 1;
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY 1;
ROLLBACK;
BEGIN;
INSERT INTO lifecycle.stages (lifecycle, name, position) VALUES ('customer', 'nowhere', 99);
DELETE FROM lifecycle.stages WHERE lifecycle = 'customer' AND name = 'retention';
UPDATE lifecycle.transition_rules SET condition_function = 'gone' WHERE name = 'signs up';
SELECT subject_id, invariant, detail FROM lifecycle.verify('customer') ORDER BY invariant COLLATE "C", detail COLLATE "C";
ROLLBACK;
-- changes that nobody captures
BEGIN;
CREATE TABLE old_events () INHERITS (events);
ALTER TABLE customers DISABLE TRIGGER USER;
CREATE TABLE old_customers () INHERITS (customers);
SELECT invariant, detail FROM lifecycle.verify('customer') ORDER BY detail COLLATE "C";
ROLLBACK;
BEGIN;
DO $$ DECLARE t name; BEGIN
    FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'events'::regclass AND NOT tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON events', t);
    END LOOP;
END $$;
SELECT invariant, detail FROM lifecycle.verify('customer') ORDER BY detail COLLATE "C";
ROLLBACK;
-- a partition is captured with its parent
CREATE TABLE clicks (id bigint, customer_id bigint, at timestamptz) PARTITION BY RANGE (id);
CREATE TABLE clicks_1 PARTITION OF clicks FOR VALUES FROM (0) TO (100);
SELECT lifecycle.define_event_source('customer', 'clicks',
    subject_column => 'customer_id', event_name => 'newsletter_signup', time_column => 'at');
CREATE TABLE clicks_2 PARTITION OF clicks FOR VALUES FROM (100) TO (200);
SELECT * FROM lifecycle.verify('customer');
-- rows that a subscription writes fire no statement trigger
BEGIN;
INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) VALUES (1, 'events'::regclass, 'r');
SELECT invariant, detail FROM lifecycle.verify('customer');
ROLLBACK;
-- state tables that are no tables
BEGIN;
ALTER TABLE customer.activity RENAME TO activity_1;
CREATE VIEW customer.activity AS SELECT * FROM customer.activity_1;
SELECT * FROM lifecycle.verify('customer');
ROLLBACK;
BEGIN;
ALTER TABLE customer.activity RENAME TO activity_1;
SELECT invariant, detail FROM lifecycle.verify() WHERE lifecycle = 'customer';
ROLLBACK;
\set VERBOSITY terse
SELECT * FROM lifecycle.verify('nobody');
\set VERBOSITY default

-- Status: the lines about the scheduler depend on whether the server has preloaded the extension
SELECT what, value, detail FROM lifecycle.status() WHERE lifecycle = 'customer';
SELECT count(*) FROM lifecycle.status() WHERE lifecycle IS NULL AND what = 'scheduler' AND value <> '' AND detail <> '';
BEGIN;
UPDATE lifecycle.lifecycles SET paused = true, enrolls = false;
UPDATE lifecycle.workflows SET paused = true;
UPDATE customer._due SET due_at = '2100-03-09' WHERE kind = 'w';
UPDATE customer.failures SET at = '2100-03-09 12:00';
UPDATE customer.messages SET status = 'failed', reason = 'mailbox full' WHERE id = 2;
SELECT what, value, detail FROM lifecycle.status() WHERE lifecycle = 'customer';
ROLLBACK;
BEGIN;
UPDATE lifecycle.lifecycles SET format = 0;
SELECT what, value, detail FROM lifecycle.status() WHERE lifecycle = 'customer';
ROLLBACK;
SELECT rule, to_stage, trigger, hits, errors FROM lifecycle.rule_stats WHERE lifecycle = 'customer';

-- Names
CREATE SCHEMA "the ""shop"" %";
CREATE TABLE "the ""shop"" %"."it's a table" ("the key" text PRIMARY KEY);
SELECT lifecycle.define_lifecycle('a name; with "quotes" and spaces, of 63 bytes: just what fits i', on_table => '"the ""shop"" %"."it''s a table"',
    stages => ARRAY['it''s new', 'a "b", %s', repeat('x', 63)]);
SELECT schema FROM lifecycle.lifecycles WHERE name LIKE 'a name%' \gset
SET lifecycle.capture = on;
INSERT INTO "the ""shop"" %"."it's a table" VALUES ('it''s %'), ('b');
SELECT stage, subjects FROM :"schema".stage_summary;
SELECT * FROM :"schema".transition_matrix;
SELECT stage, visits FROM :"schema".time_in_stage;
SELECT count(*) FROM :"schema".workflow_summary;
SELECT count(*) FROM :"schema".step_summary;
SELECT count(*) FROM :"schema".waiting;
SELECT * FROM lifecycle.funnel((SELECT name FROM lifecycle.lifecycles WHERE name LIKE 'a name%'), ARRAY['it''s new', 'a "b", %s']);
SELECT what, detail FROM lifecycle.explain((SELECT name FROM lifecycle.lifecycles WHERE name LIKE 'a name%'), 'it''s %') WHERE what NOT LIKE 'now %';
DELETE FROM "the ""shop"" %"."it's a table" WHERE "the key" = 'b';
SELECT what FROM lifecycle.explain((SELECT name FROM lifecycle.lifecycles WHERE name LIKE 'a name%'), 'b');
SELECT * FROM lifecycle.verify() WHERE lifecycle LIKE 'a name%';

-- Who may read: the owner, and who is granted it
CREATE ROLE lifecycle_reader;
SET ROLE lifecycle_reader;
SELECT count(*) FROM customer.stage_summary;
SELECT count(*) FROM lifecycle.explain('customer', 1);
RESET ROLE;
GRANT USAGE ON SCHEMA customer, reading TO lifecycle_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA customer TO lifecycle_reader;
SET ROLE lifecycle_reader;
SELECT count(*) FROM customer.stage_summary;
SELECT count(*) FROM customer.waiting;
SELECT count(*) FROM lifecycle.explain('customer', 1);
SELECT count(*) FROM lifecycle.funnel('customer', '{awareness,conversion}');
SELECT count(*) FROM lifecycle.status() WHERE lifecycle = 'customer';
SELECT count(*) FROM lifecycle.verify('customer');
RESET ROLE;
DROP OWNED BY lifecycle_reader;
DROP ROLE lifecycle_reader;

SET client_min_messages = warning;
SELECT lifecycle.drop_lifecycle('customer');
SELECT lifecycle.drop_lifecycle(name) FROM lifecycle.lifecycles WHERE name LIKE 'a name%';
DROP SCHEMA "the ""shop"" %" CASCADE;
DROP SCHEMA reading CASCADE;
