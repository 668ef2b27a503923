-- Conditions over columns of all kinds of types: what goes through an array comes out as it went in.
\ir shop.psql
SELECT plan(9);
CREATE TYPE address AS (street text, number integer);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN home AS address;
CREATE DOMAIN small AS integer CHECK (VALUE < 100);
CREATE TABLE people (id integer PRIMARY KEY, place address, flat home, places address[], mood mood, size small, period int4range, note text);
CREATE TABLE moves (person integer, name text, at timestamptz, place address, flat home, places address[], mood mood, size small, period int4range, note text);
SELECT define_lifecycle('person', 'people', stages => '{new,old,moved}', simulated => true);
SELECT define_event_source('person', 'moves', subject_column => 'person', name_column => 'name', time_column => 'at');
SELECT define_transition('person', 'new', 'moved', on_event => 'move', condition => $$ (event.place).number = 1 AND (event.flat).street = 's, "t"' AND
    (event.places[2]).number = 3 AND event.mood = 'bad' AND event.size = 7 AND event.period @> 5 AND event.note = 'x' $$);
SELECT define_workflow('person', 'kept', state => 'live', entry => on_event('move'),
    steps => steps(delay('1 day'), run_sql($$ UPDATE people p SET note = event.note WHERE p.id = person.id $$, only_if => $$ (event.place).street = 's' $$)));
SELECT define_workflow('person', 'changed', state => 'live', entry => on_change($$ (person.place).number = 5 AND (person.flat).number = 6 AND person.note = 'n' $$),
    steps => delay('1 day'));
INSERT INTO people SELECT i, '(s,1)', '(f,6)', '{}', 'good', 1, '[1,2)', 'n' FROM generate_series(1, 40) i;
INSERT INTO moves SELECT i, 'move', '2026-01-01', '(s,1)', '("s, ""t""",2)', '{"(a,2)","(b,3)"}', 'bad', 7, '[4,9)', 'x' FROM generate_series(1, 40) i WHERE i <> 7;
SELECT is((SELECT string_agg(DISTINCT stage::text, ' ') FROM person.subjects WHERE subject_id <> 7), 'moved', 'columns of events');
UPDATE people SET place = '(s,5)' WHERE id = 7;
SELECT is((SELECT string_agg(subject_id::text, ' ') FROM person.enrollments WHERE workflow = 'changed'), '7', 'of rows as they were');
UPDATE people SET place = '(t,5)';
SELECT is((SELECT count(*) FROM person.enrollments WHERE workflow = 'changed'), 40::bigint, 'of many');
SELECT run_due(), advance_clock('2 days');
SELECT is((SELECT count(*) FROM people WHERE note = 'x'), 39::bigint, 'of events that a run keeps');
SELECT is_empty('SELECT * FROM person.failures', 'nothing fails');
SELECT verified('person');
-- types whose names alone mean one character, or one bit
CREATE TABLE lists (person integer, name text, at timestamptz, tags char(5)[], tag char(5), bits bit(3)[], bit bit(3), words varchar(4)[]);
ALTER TABLE people ADD tags char(5)[], ADD tag char(5);
SELECT define_event_source('person', 'lists', subject_column => 'person', event_name => 'list', time_column => 'at');
SELECT define_transition('person', 'any', 'old', on_event => 'list', name => 'list', source => 'lists', condition => $$ 'vip' = ANY (event.tags) AND event.tag = 'abc' AND B'101' = ANY (event.bits)
    AND event.bit = B'110' AND event.words[1] = 'word' $$);
SELECT define_workflow('person', 'tagged', state => 'live', entry => on_change($$ 'vip' = ANY (person.tags) AND person.tag = 'abc' $$), reentry => 'always', steps => run_sql('SELECT 1'));
INSERT INTO lists SELECT i, 'list', '2026-02-01', '{vip}', 'abc', '{101}', B'110', '{word}' FROM generate_series(1, 40) i WHERE i <> 7;
SELECT is((SELECT count(*) FROM person.subjects WHERE stage = 'old'), 39::bigint, 'arrays of char(n) and bit(n) are whole');
UPDATE people SET tags = '{vip}', tag = 'abc';
SELECT run_due();
UPDATE people SET tags = '{vip,x}', tag = 'abc';
SELECT is((SELECT count(*) FROM person.enrollments WHERE workflow = 'tagged'), 40::bigint, '… in rows as they were too');
SELECT verified('person');
SELECT * FROM finish();
ROLLBACK;
