-- Definitions of lifecycles, stages, event sources and transitions: what they make, that they are declarative, and their errors.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
CREATE SCHEMA define;
SET search_path = define, public, lifecycle;
CREATE TABLE people (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email   text,
    plan    text NOT NULL DEFAULT 'free',
    zone    text,
    renewal timestamptz
);
CREATE TABLE clicks (id bigint PRIMARY KEY, person bigint, name text, at timestamptz, properties jsonb);

SELECT define_lifecycle('person', 'people');
SELECT define_lifecycle('person', 'people');
SELECT name, position, phase FROM lifecycle.stages WHERE lifecycle = 'person' ORDER BY position;
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name');

-- stages: as text, as a literal, as an array, any, none
SELECT define_transition('person', 'awareness', 'consideration', on_event => 'signup');
SELECT define_transition('person', '{awareness,consideration}', 'conversion', on_event => 'purchase', condition => $$ event.properties ? 'amount' $$);
SELECT define_transition('person', ARRAY['conversion'], 'retention', on_event => 'purchase');
SELECT define_transition('person', 'any', 'lost', on_event => 'unsubscribe');
SELECT define_transition('person', NULL, 'consideration', condition => $$ person.plan <> 'free' $$);
SELECT define_transition('person', 'retention', 'inactive', without_event => 'purchase', after => '90 days');
SELECT define_transition('person', 'inactive', 'lost', after => '1 year', priority => 5, name => 'give up');
SELECT define_transition('person', 'retention', 'advocacy', on_date => $$ person.renewal - interval '7 days' $$);
SELECT name, from_kind, from_stages, to_stage, priority FROM lifecycle.transition_rules WHERE lifecycle = 'person' ORDER BY name;
-- the same again; other in one thing; 30 days is not a month
SELECT define_transition('person', 'inactive', 'lost', after => '1 year', priority => 5, name => 'give up');
SELECT define_transition('person', 'inactive', 'lost', after => '2 years', priority => 5, name => 'give up');
SELECT define_transition('person', 'inactive', 'lost', after => '30 days', name => 'give up');
SELECT define_transition('person', 'inactive', 'lost', after => '1 month', name => 'give up');
-- without a name: the same stages and trigger are the same rule
BEGIN;
SELECT define_transition('person', NULL, 'consideration', condition => $$ person.plan <> 'free' $$);
SELECT define_transition('person', NULL, 'consideration', condition => $$ person.plan = 'team' $$);
SELECT define_transition('person', NULL, 'consideration', condition => $$ person.plan = 'free' $$, name => 'free');
SELECT name, condition FROM lifecycle.transition_rules WHERE lifecycle = 'person' AND from_kind = 'entry' ORDER BY name;
ROLLBACK;

-- a definition that is rolled back leaves nothing
BEGIN;
SELECT define_transition('person', 'advocacy', 'lost', on_event => 'complaint');
ROLLBACK;
SELECT count(*) FROM lifecycle.transition_rules WHERE lifecycle = 'person' AND on_event = 'complaint';
SELECT count(*) FROM pg_proc WHERE pronamespace = 'person'::regnamespace AND proname LIKE '%complaint%';

-- bound conditions: a rename is followed, a used column cannot be dropped
ALTER TABLE people RENAME plan TO tariff;
SELECT pg_get_function_sqlbody(oid) FROM pg_proc WHERE proname = '_rule new to consideration if condition';
ALTER TABLE people DROP tariff;
ALTER TABLE people RENAME tariff TO plan;

-- names
SELECT define_lifecycle('', 'people');
SELECT define_lifecycle('user', 'people');
SELECT define_lifecycle('event', 'people');
SELECT define_lifecycle('pg_person', 'people');
SELECT define_lifecycle(repeat('x', 64), 'people');
SELECT define_lifecycle(NULL, 'people');
SELECT define_lifecycle('other', 'people', schema => 'define');

-- stages
SELECT define_lifecycle('other', 'people', stages => '{}');
SELECT define_lifecycle('other', 'people', stages => '{a,b,a}');
SELECT define_lifecycle('other', 'people', stages => '{any}');
SELECT define_lifecycle('other', 'people', stages => ARRAY['{a']);
SELECT define_lifecycle('other', 'people', stages => ARRAY['a', NULL]);
SELECT define_lifecycle('other', 'people', stages => ARRAY[repeat('x', 64)]);
SELECT define_lifecycle('other', 'people', stages => ARRAY(SELECT 's' || i FROM generate_series(1, 1001) i));
SELECT define_lifecycle('other', 'people', stages => '{a,b}', initial_stage => 'c');
SELECT define_lifecycle('other', 'people', stages => '{a,b}', phases => '{"c": "x"}');
SELECT define_lifecycle('person', 'people', stages => '{a,b}');
SELECT define_lifecycle('other', 'people', stages => '{a,b}', phases => '["a"]');
SELECT define_lifecycle('other', 'people', stages => '{a,b}', phases => '{"a": 1}');
SELECT define_lifecycle('other', 'people', initial_stage => 'c');

-- tables
CREATE VIEW people_view AS SELECT * FROM people;
CREATE TABLE keyless (a int);
CREATE TABLE two_keys (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE odd_key (a numeric PRIMARY KEY);
CREATE TABLE late_key (a int PRIMARY KEY DEFERRABLE);
CREATE TABLE divided (a int PRIMARY KEY) PARTITION BY RANGE (a);
CREATE TABLE divided_1 PARTITION OF divided DEFAULT;
CREATE TEMP TABLE fleeting (a int PRIMARY KEY);
CREATE MATERIALIZED VIEW people_copy AS SELECT * FROM people;
CREATE FOREIGN DATA WRAPPER define_nothing;
CREATE SERVER define_elsewhere FOREIGN DATA WRAPPER define_nothing;
CREATE FOREIGN TABLE foreign_people (id bigint NOT NULL, renewal timestamptz) SERVER define_elsewhere;
CREATE SEQUENCE numbers;
SELECT define_lifecycle('other', 'people_view');
SELECT define_lifecycle('other', 'people_copy', key_column => 'id');
SELECT define_lifecycle('other', 'foreign_people', key_column => 'id');
SELECT define_lifecycle('other', 'numbers');
SELECT define_lifecycle('other', 'keyless');
SELECT define_lifecycle('other', 'two_keys');
SELECT define_lifecycle('other', 'two_keys', key_column => 'a');
SELECT define_lifecycle('other', 'odd_key');
SELECT define_lifecycle('other', 'late_key');
SELECT define_lifecycle('other', 'divided_1');
SELECT define_lifecycle('other', 'divided', replicated => true);
SELECT define_lifecycle('other', 'fleeting');
SELECT define_lifecycle('other', 'no_such_table');
SELECT define_lifecycle('other', 'people', key_column => 'idd');
SELECT define_lifecycle('person', 'two_keys', key_column => 'a');
-- of a lifecycle that is there: another table, key or schema
CREATE TABLE crowd (id bigint PRIMARY KEY);
SELECT define_lifecycle('person', 'crowd');
BEGIN;
ALTER TABLE people ADD code int NOT NULL UNIQUE;
SELECT define_lifecycle('person', 'people', key_column => 'code');
ROLLBACK;
SELECT define_lifecycle('person', 'people', schema => 'persons');
SELECT count(*) FROM pg_namespace WHERE nspname = 'persons';
SELECT define_lifecycle('other', 'people', timezone => 'person.zone');
SELECT define_lifecycle('other', 'people', timezone => 'other.zone = 1');
SELECT define_lifecycle('other', 'people', timezone => 'Europe/Berlin');
SELECT define_lifecycle('other', 'people', timezone => 'enrollment.workflow');
SELECT define_lifecycle('other', 'people', recipients => 'SELECT email FROM people');
SELECT define_lifecycle('other', 'people', recipients => 'DELETE FROM people RETURNING email AS address');
SELECT count(*) FROM lifecycle.lifecycles WHERE name = 'other';

-- event sources
SELECT define_event_source('nobody', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name');
SELECT define_event_source('person', 'clicks', subject_column => 'persona', time_column => 'at', name_column => 'name');
SELECT define_event_source('person', 'clicks', subject_column => 'name', time_column => 'at', name_column => 'name');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'name', name_column => 'name');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'properties');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name', event_name => 'x');
SELECT define_event_source('person', 'people', subject_column => 'id', time_column => 'renewal', event_name => 'renewed');
SELECT define_event_source('person', 'people_view', subject_column => 'id', time_column => 'renewal', event_name => 'renewed');
SELECT define_event_source('person', 'people_copy', subject_column => 'id', time_column => 'renewal', event_name => 'renewed');
SELECT define_event_source('person', 'foreign_people', subject_column => 'id', time_column => 'renewal', event_name => 'renewed');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name', name => '');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name', name => repeat('x', 64));
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name', enroll_within => '-1 day');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', event_name => 'big', name => 'big', becomes => 'event.amount > 1');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', event_name => 'big', name => 'big', becomes => 'event.id > person.id');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', event_name => 'big', name => 'big', becomes => 'subject.stage IS NULL');

-- the same rows under two names
BEGIN;
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name', name => 'twin');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', name_column => 'name', name => 'twin');
SELECT define_event_source('person', 'clicks', subject_column => 'person', time_column => 'at', event_name => 'seen', name => 'seen');
ROLLBACK;

-- transitions
SELECT define_transition('person', 'awarenes', 'lost', on_event => 'x');
SELECT define_transition('person', 'awareness', 'lots', on_event => 'x');
SELECT define_transition('person', 'lost', 'lost', on_event => 'x');
SELECT define_transition('person', '{awareness,awareness}', 'lost', on_event => 'x');
SELECT define_transition('person', '{}', 'lost', on_event => 'x');
SELECT define_transition('person', '{awareness', 'lost', on_event => 'x');
SELECT define_transition('person', 'awareness', 'lost', on_event => '');
SELECT define_transition('person', 'awareness', 'lost', on_event => 'x', after => '1 day');
SELECT define_transition('person', 'awareness', 'lost', without_event => 'x');
SELECT define_transition('person', 'awareness', 'lost', after => '-1 day');
SELECT define_transition('person', 'awareness', 'lost', after => '0');
SELECT define_transition('person', 'awareness', 'lost', after => '200 years');
SELECT define_transition('person', NULL, 'lost', on_event => 'x');
SELECT define_transition('person', 'awareness', 'lost', on_event => 'x', source => 'nowhere');
SELECT define_transition('person', 'awareness', 'lost', source => 'clicks');
SELECT define_transition('person', 'awareness', 'lost', on_event => 'x', name => '');
-- an event that no source can carry
BEGIN;
SELECT define_lifecycle('other', 'people');
SELECT define_transition('other', 'awareness', 'lost', on_event => 'seen');
ROLLBACK;
BEGIN;
SELECT define_lifecycle('other', 'people');
SELECT define_event_source('other', 'clicks', subject_column => 'person', time_column => 'at', event_name => 'seen');
SELECT define_transition('other', 'awareness', 'lost', without_event => 'seen', after => '1 day');
SAVEPOINT s;
SELECT define_transition('other', 'awareness', 'lost', on_event => 'heard');
ROLLBACK TO s;
SELECT define_transition('other', 'awareness', 'lost', on_event => 'heard', source => 'clicks');
ROLLBACK TO s;
SELECT define_transition('other', 'awareness', 'lost', without_event => 'heard', after => '1 day');
ROLLBACK;

-- conditions
SELECT define_transition('person', 'awareness', 'lost', condition => 'person.paln = 1');
SELECT define_transition('person', 'awareness', 'lost', condition => 'customer.plan = 1');
SELECT define_transition('person', 'awareness', 'lost', condition => 'event.name = 1');
SELECT define_transition('person', 'awareness', 'lost', condition => 'person.plan');
SELECT define_transition('person', 'awareness', 'lost', condition => 'person.plan =');
SELECT define_transition('person', 'awareness', 'lost', condition => '');
SELECT define_transition('person', 'awareness', 'lost', condition => 'true, false');
SELECT define_transition('person', 'awareness', 'lost', condition => 'true) OR (true');
SELECT define_transition('person', 'awareness', 'lost', condition => 'true; DELETE FROM people');
SELECT define_transition('person', 'awareness', 'lost', condition => 'true FROM people');
SELECT define_transition('person', 'awareness', 'lost', condition => 'DELETE FROM people');
SELECT define_transition('person', 'awareness', 'lost', condition => '(WITH x AS (DELETE FROM people RETURNING 1) SELECT true FROM x)');
SELECT define_transition('person', 'awareness', 'lost', condition => 'random() < 0.5');
SELECT define_transition('person', 'awareness', 'lost', condition => repeat('true AND ', 10000) || 'true');
SELECT define_transition('person', 'awareness', 'lost', on_date => 'person.plan');
-- a column without its row, an element of jsonb, rows that are not there, more than one row
SELECT define_transition('person', 'awareness', 'lost', condition => 'person.id > 0 AND lower(plan) = ''x''');
SELECT define_transition('person', 'awareness', 'lost', on_event => 'x', condition => '"id" > 0');
SELECT define_transition('person', 'awareness', 'lost', condition => 'nowhere');
SELECT define_transition('person', 'awareness', 'lost', on_event => 'x', condition => 'event.properties.amount > 0');
SELECT define_transition('person', 'awareness', 'lost', condition => 'person.plan = ''ü'' AND enrollment.id > 0');
SELECT define_transition('person', 'awareness', 'lost', on_event => 'x', condition => 'event.id = enrollment.id');
SELECT define_transition('person', 'awareness', 'lost', on_date => 'enrollment.entered_at');
SELECT define_transition('person', 'awareness', 'lost', condition => 'count(*) > 1');
SELECT define_transition('person', 'awareness', 'lost', condition => 'max(person.id) > (SELECT count(*) FROM clicks)');
SELECT define_transition('person', 'awareness', 'lost', condition => 'row_number() OVER () = 1');
SELECT define_transition('person', 'awareness', 'lost', condition => 'unnest(ARRAY[true, false])');
SELECT define_transition('person', 'awareness', 'lost', condition => 'EXISTS (SELECT FROM clicks c WHERE c.person = person.id FOR UPDATE)');
SELECT define_transition('person', 'awareness', 'lost', condition => 'person.id < (SELECT count(*) FROM clicks)', name => 'subquery');
SELECT drop_transition('person', 'subquery');
-- with comments and text that looks like the end of a statement it works
SELECT define_transition('person', 'awareness', 'lost', condition => $$ person.plan = ');' -- a comment $$, name => 'odd text');
SELECT drop_transition('person', 'odd text');
SELECT drop_transition('person', 'odd text');

-- one condition over two sources
CREATE TABLE visits (id bigint PRIMARY KEY, person bigint, name text, at timestamptz, page text);
SELECT define_event_source('person', 'visits', subject_column => 'person', time_column => 'at', name_column => 'name');
SELECT drop_event_source('person', 'visits');
SELECT drop_transition('person', 'awareness, consideration to conversion on purchase if condition');
SELECT define_event_source('person', 'visits', subject_column => 'person', time_column => 'at', name_column => 'name');
SELECT define_transition('person', '{awareness,consideration}', 'conversion', on_event => 'purchase', condition => $$ event.page = '/buy' $$);
SELECT define_transition('person', '{awareness,consideration}', 'conversion', on_event => 'purchase', condition => $$ event.page = '/buy' $$, source => 'visits');
SELECT drop_event_source('person', 'visits');

-- stages: add, rename, retire
SELECT add_stage('person', 'trial', before => 'conversion');
SELECT add_stage('person', 'trial', before => 'conversion');
SELECT add_stage('person', 'x', before => 'nowhere');
SELECT add_stage('person', 'x', before => 'trial', after => 'trial');
SELECT rename_stage('person', 'trial', 'test drive');
SELECT rename_stage('person', 'trial', 'lost');
SELECT rename_stage('person', 'test drive', 'lost');
SELECT retire_stage('person', 'lost');
SELECT retire_stage('person', 'awareness');
SELECT retire_stage('person', 'test drive');
SELECT define_transition('person', 'awareness', 'test drive', on_event => 'x');
SELECT define_lifecycle('person', 'people', initial_stage => 'test drive', stages => '{awareness,consideration,"test drive",conversion,retention,advocacy,inactive,lost}');
SELECT name, position, retired_at IS NOT NULL AS retired FROM lifecycle.stages WHERE lifecycle = 'person' ORDER BY position;
SELECT enum_range(NULL::person.stage);
-- a rule may lead away from a retired stage; one that a workflow leads to is not retired; add_stage brings back
SELECT define_transition('person', 'test drive', 'conversion', on_event => 'x');
SELECT add_stage('person', 'test drive');
SELECT add_stage('person', 'test drive', phase => 'lead_nurturing');
SELECT add_stage('person', 'test drive', phase => 'lead_nurturing');
SELECT name, phase, retired_at FROM lifecycle.stages WHERE lifecycle = 'person' AND name = 'test drive';
SELECT define_workflow('person', 'driver', steps => set_stage('test drive'));
SELECT retire_stage('person', 'test drive');
SELECT drop_workflow('person', 'driver');
SELECT retire_stage('person', 'test drive');

-- who may
CREATE ROLE define_stranger;
GRANT USAGE ON SCHEMA define TO define_stranger;
SET ROLE define_stranger;
SELECT lifecycle.define_lifecycle('other', 'define.people');
SELECT lifecycle.define_transition('person', 'awareness', 'lost', on_event => 'x');
SELECT lifecycle.drop_lifecycle('person');
RESET ROLE;
CREATE TABLE theirs (id int PRIMARY KEY);
ALTER TABLE theirs OWNER TO define_stranger;
SELECT define_lifecycle('theirs', 'theirs');
DROP TABLE theirs;

-- quotes, spaces, 63 bytes
CREATE TABLE "odd ""people""" ("the key" uuid PRIMARY KEY, "e mail" text);
SELECT define_lifecycle('my "odd" shop', '"odd ""people"""', stages => ARRAY['first stage', 'it''s "2nd"', repeat('s', 63)]);
SELECT define_transition('my "odd" shop', 'first stage', 'it''s "2nd"', condition => $$ "my ""odd"" shop"."e mail" IS NOT NULL $$, name => repeat('long ', 20));
SELECT drop_lifecycle('my "odd" shop');
SELECT count(*) FROM pg_namespace WHERE nspname = 'my "odd" shop';

-- tables of a later format
UPDATE lifecycle.lifecycles SET format = 2 WHERE name = 'person';
SELECT upgrade_lifecycle('person');
UPDATE lifecycle.lifecycles SET format = 1 WHERE name = 'person';
SELECT upgrade_lifecycle('person');

SELECT drop_lifecycle('person');
SELECT drop_lifecycle('person');
SELECT count(*) FROM lifecycle.lifecycles;
SET client_min_messages = warning;
DROP SCHEMA define CASCADE;
DROP FOREIGN DATA WRAPPER define_nothing CASCADE;
DROP ROLE define_stranger;
