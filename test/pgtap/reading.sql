-- What the reading functions say where it is not obvious: local time, months of different lengths, a waived past, sources that cannot be read.
\ir shop.psql
SELECT plan(12);
CREATE TABLE people (id integer PRIMARY KEY, c text, zone text);
CREATE TABLE acts (person integer, name text, at timestamptz);
SET lifecycle.clock = '2026-03-20 00:00+00';
SELECT define_lifecycle('person', 'people', stages => '{a,b,r}', simulated => true, timezone => 'person.zone');
SELECT define_event_source('person', 'acts', subject_column => 'person', name_column => 'name', time_column => 'at');
SELECT define_transition('person', 'a', 'b', without_event => 'x', after => '10 days');
INSERT INTO people VALUES (1, 'c', 'Europe/Berlin'), (2, 'c', NULL);
SELECT advance_clock(until => '2026-03-27 12:00+00');
INSERT INTO acts VALUES (1, 'x', '2026-03-27 12:00+00'), (2, 'x', '2026-03-27 12:00+00');
SET timezone = 'America/New_York';
SELECT is((SELECT at FROM explain('person', 1) WHERE what LIKE 'next%'), '2026-04-06 11:00+00', 'ten days of the subject''s calendar');
SELECT is((SELECT at FROM explain('person', 2) WHERE what LIKE 'next%'), '2026-04-06 12:00+00', 'of UTC, whatever the session''s is');
SET timezone = 'UTC';
SELECT advance_clock(until => '2026-04-20');
SELECT is((SELECT string_agg(at::text, ', ' ORDER BY subject_id) FROM person.transitions WHERE to_stage = 'b'), '2026-04-06 11:00:00+00, 2026-04-06 12:00:00+00', 'so it is');

-- a month after 30 January, one o'clock, ends before one after the 29th, 23 o'clock
CREATE TABLE monthly (id integer PRIMARY KEY);
SET lifecycle.clock = '2026-01-29 23:00+00';
SELECT define_lifecycle('monthly', 'monthly', stages => '{p,q,r}', simulated => true);
INSERT INTO monthly VALUES (1);
SELECT advance_clock('1 hour'), move('monthly', 1, 'r'), advance_clock('1 hour'), move('monthly', 1, 'p');
SELECT advance_clock(until => '2026-02-28 12:00+00'), move('monthly', 1, 'q');
SELECT is((SELECT array_agg(subjects ORDER BY step) FROM funnel('monthly', '{p,q}', within => '1 month')), '{1,1}', 'the attempt that has longest');
SELECT is((SELECT array_agg(subjects ORDER BY step) FROM funnel('monthly', '{p,q}', within => '28 days')), '{1,0}', 'none has so little');
SELECT throws_ok($$ SELECT * FROM funnel('monthly', '{p,NULL}') $$, '22023', NULL, 'a stage that is null');

-- who does without the past has nobody missing
CREATE TABLE old_people (id integer PRIMARY KEY);
INSERT INTO old_people VALUES (1), (2);
SELECT define_lifecycle('old', 'old_people', stages => '{a,b}');
SELECT waive_backfill('old');
SELECT verified('old');
SET lifecycle.capture = off;
INSERT INTO old_people VALUES (3);
RESET lifecycle.capture;
CALL backfill('old');
SELECT verified('old');
SET lifecycle.capture = off;
INSERT INTO old_people VALUES (4);
RESET lifecycle.capture;
SELECT is((SELECT string_agg(subject_id, ', ') FROM verify('old')), '4', 'after a backfill somebody can be missing again');

-- a source whose rows cannot be read any more
SAVEPOINT whole;
ALTER TABLE acts DROP COLUMN person;
SELECT is((SELECT string_agg(detail, '; ') FROM verify('person')), 'event source "acts" is not captured: table scenario.acts has no column "person" any more', 'a column that is gone');
ROLLBACK TO whole;
ALTER TABLE acts ALTER at TYPE text;
SELECT is((SELECT count(*) FROM verify('person') WHERE detail LIKE 'event source "acts" is not captured: %'), 1::bigint, 'one of another type');
ROLLBACK TO whole;
SELECT verified('person');
SELECT * FROM finish();
ROLLBACK;
