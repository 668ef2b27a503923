-- Local time: delays, timers, windows of goals, funnels and entries and re-entry of days and months keep the local time of day of the subject, those of hours do not; dates are local; both DST weekends of 2026,
-- the ends of months, zones that do not exist; and a comparison with PostgreSQL's own arithmetic around the changes of many zones.
\ir shop.psql
SELECT plan(68);

-- one run for each duration; its delay is the first step
CREATE TABLE durations (i int PRIMARY KEY, calendar interval, clock interval);
INSERT INTO durations VALUES (1, '1 day', '0'), (2, '0', '24 hours'), (3, '1 month', '0'), (4, '7 days', '0'), (5, '1 year', '0'), (6, '2 mons 3 days', '0'),
    (7, '1 day', '2 hours'), (8, '0', '90 minutes'), (9, '1 mon', '30 minutes 15.5 seconds'), (10, '11 mons 30 days', '0');
SELECT define_workflow('customer', 'w' || i, state => 'live', entry => on_stage('awareness'), steps => delay(calendar + clock)) FROM durations;
CREATE VIEW ends AS SELECT w.subject_id, d.i, d.calendar, d.clock, w.until
    FROM customer.waiting w JOIN durations d ON w.name = 'w' || d.i WHERE w.waits_for LIKE 'delay%';
-- the end of a delay that moments at a time, in local time and UTC
CREATE FUNCTION ends_at(start timestamptz, zone text, duration int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    number int := 1 + (SELECT coalesce(max(id), 0) FROM customers);
    ends timestamptz;
BEGIN
    PERFORM set_config('lifecycle.clock', start::text, true), customer(number, zone), run_due('customer');
    SELECT until INTO ends FROM ends WHERE subject_id = number AND i = duration;
    RETURN to_char(ends AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI') || ' = ' || to_char(ends AT TIME ZONE 'UTC', 'DD HH24:MI"Z"');
END $$;

-- a day keeps the time of day, 24 hours do not
SELECT is(ends_at('2026-03-28 08:00+00', 'Europe/Berlin', 1), '2026-03-29 09:00 = 29 07:00Z', 'Berlin, spring: a day is 23 hours');
SELECT is(ends_at('2026-03-28 08:00+00', 'Europe/Berlin', 2), '2026-03-29 10:00 = 29 08:00Z', 'Berlin, spring: 24 hours are 24 hours');
SELECT is(ends_at('2026-10-24 07:00+00', 'Europe/Berlin', 1), '2026-10-25 09:00 = 25 08:00Z', 'Berlin, autumn: a day is 25 hours');
SELECT is(ends_at('2026-10-24 07:00+00', 'Europe/Berlin', 2), '2026-10-25 08:00 = 25 07:00Z', 'Berlin, autumn: 24 hours are 24 hours');
SELECT is(ends_at('2026-03-07 14:00+00', 'America/New_York', 1), '2026-03-08 09:00 = 08 13:00Z', 'New York, spring: a day');
SELECT is(ends_at('2026-03-07 14:00+00', 'America/New_York', 2), '2026-03-08 10:00 = 08 14:00Z', 'New York, spring: 24 hours');
SELECT is(ends_at('2026-10-31 13:00+00', 'America/New_York', 1), '2026-11-01 09:00 = 01 14:00Z', 'New York, autumn: a day');
SELECT is(ends_at('2026-10-31 13:00+00', 'America/New_York', 2), '2026-11-01 08:00 = 01 13:00Z', 'New York, autumn: 24 hours');
SELECT is(ends_at('2026-03-22 08:00+00', 'Europe/Berlin', 4), '2026-03-29 09:00 = 29 07:00Z', 'a week over the change');
SELECT is(ends_at('2026-03-28 08:00+00', 'Europe/Berlin', 7), '2026-03-29 11:00 = 29 09:00Z', 'a day and two hours');
-- local times that there are not, or twice
SELECT is(ends_at('2026-03-28 01:30+00', 'Europe/Berlin', 1), '2026-03-29 03:30 = 29 01:30Z', 'a local time that does not exist is an hour later');
SELECT is(ends_at('2026-10-24 00:30+00', 'Europe/Berlin', 1), '2026-10-25 02:30 = 25 01:30Z', 'of a local time that there is twice it is the second');
-- months
SELECT is(ends_at('2026-01-31 12:00+00', 'UTC', 3), '2026-02-28 12:00 = 28 12:00Z', '31 January and a month');
SELECT is(ends_at('2028-01-31 12:00+00', 'UTC', 3), '2028-02-29 12:00 = 29 12:00Z', 'in a leap year');
SELECT is(ends_at('2028-02-29 12:00+00', 'UTC', 5), '2029-02-28 12:00 = 28 12:00Z', '29 February and a year');
SELECT is(ends_at('2026-12-31 23:00+00', 'UTC', 6), '2027-03-03 23:00 = 03 23:00Z', 'two months first, three days then');
SELECT is(ends_at('2026-01-31 01:00+00', 'America/New_York', 3), '2026-02-28 20:00 = 01 01:00Z', 'the day of the month is the local one');
-- timers of rules as well
SELECT define_transition('customer', 'awareness', 'inactive', after => '1 month', name => 'after');
SELECT define_transition('customer', 'awareness', 'lost', without_event => 'login', after => '30 days', name => 'without');
SET lifecycle.clock = '2026-03-01 08:00+00';
SELECT customer(100001, 'Europe/Berlin'), customer(100002, 'America/New_York');
SELECT results_eq($$ SELECT name, until FROM customer.waiting WHERE kind = 'rule' AND subject_id = 100001 ORDER BY name $$,
    $$ VALUES ('after', '2026-04-01 07:00+00'::timestamptz), ('without', '2026-03-31 07:00+00') $$, 'timers keep the local time of day');
SELECT drop_transition('customer', 'after'), drop_transition('customer', 'without');

-- zones that do not exist
SELECT is((SELECT ends_at('2026-03-28 08:00+00', 'UTC', 1)), '2026-03-29 08:00 = 29 08:00Z', 'UTC');
SELECT coalesce(sum(n), 0) AS counted FROM lifecycle._counters() WHERE what = 'unknown time zones' \gset
SELECT customer(100010, 'Mars/Olympus'), customer(100011, '');
SELECT run_due();
SELECT results_eq($$ SELECT subject_id, until FROM ends WHERE i = 1 AND subject_id IN (100010, 100011) ORDER BY 1 $$,
    $$ VALUES (100010::bigint, '2026-03-29 08:00+00'::timestamptz), (100011, '2026-03-29 08:00+00') $$, 'a zone that does not exist falls back to UTC');
SELECT CASE WHEN current_setting('shared_preload_libraries') LIKE '%lifecycle%'
            THEN cmp_ok((SELECT sum(n) FROM lifecycle._counters() WHERE what = 'unknown time zones'), '>', :counted::numeric, 'and is counted')
            ELSE skip('counters need shared_preload_libraries', 1) END;

-- PostgreSQL's own arithmetic, around every change of 2026 and 2027
CREATE TABLE zones AS SELECT name FROM unnest('{UTC,Europe/Berlin,Europe/London,Europe/Lisbon,Europe/Dublin,Europe/Kiev,Europe/Istanbul,Europe/Moscow,
    America/New_York,America/Chicago,America/Denver,America/Phoenix,America/Los_Angeles,America/Anchorage,America/St_Johns,America/Halifax,America/Havana,
    America/Sao_Paulo,America/Santiago,America/Asuncion,America/Godthab,Africa/Casablanca,Africa/Cairo,Africa/Johannesburg,Asia/Jerusalem,Asia/Beirut,
    Asia/Kolkata,Asia/Kathmandu,Asia/Tokyo,Australia/Sydney,Australia/Lord_Howe,Australia/Eucla,Pacific/Auckland,Pacific/Chatham,Pacific/Kiritimati,
    Antarctica/Troll}'::text[]) AS name JOIN pg_timezone_names USING (name);
CREATE TABLE cases AS
WITH hours AS (
    SELECT name, at, (at AT TIME ZONE name) - (at AT TIME ZONE 'UTC') AS utc_offset
      FROM zones, generate_series('2026-01-01 00:00+00'::timestamptz, '2027-12-31', '1 hour') AS at
), changes AS (
    SELECT name, at FROM (SELECT name, at, utc_offset, lag(utc_offset) OVER (PARTITION BY name ORDER BY at) AS before FROM hours) AS o WHERE before <> utc_offset
    UNION ALL SELECT name, '2026-06-30 23:59:59.999999+00' FROM zones
)
SELECT row_number() OVER (ORDER BY start, name) + 200000 AS id, name AS zone, start
  FROM (SELECT DISTINCT name, at - before + shift AS start
          FROM changes, unnest('{1 day,31 days,365 days}'::interval[]) AS before, unnest('{-90 min,-30 min,0,30 min}'::interval[]) AS shift) AS s;
DO $$
DECLARE moment timestamptz;
BEGIN
    FOR moment IN SELECT DISTINCT c.start FROM cases c ORDER BY 1 DESC LOOP
        PERFORM set_config('lifecycle.clock', moment::text, true);
        INSERT INTO customers (id, timezone) SELECT c.id, c.zone FROM cases c WHERE c.start = moment;
        PERFORM run_due('customer');
    END LOOP;
END $$;
SELECT cmp_ok((SELECT count(*) FROM cases), '>', 1000::bigint, 'more than a thousand times before changes');
SELECT is((SELECT count(*) FROM ends WHERE subject_id > 200000), (SELECT count(*) FROM cases, durations), 'each with a delay of each duration');
SELECT is_empty($$ SELECT c.zone, c.start, e.calendar, e.clock, e.until, (c.start AT TIME ZONE c.zone + e.calendar) AT TIME ZONE c.zone + e.clock
                     FROM cases c JOIN ends e ON e.subject_id = c.id
                    WHERE e.until <> CASE WHEN e.calendar = '0' THEN c.start ELSE (c.start AT TIME ZONE c.zone + e.calendar) AT TIME ZONE c.zone END + e.clock $$,
    'all end when PostgreSQL says');
-- on_date: dates and times without a zone are those of the subject's zone
SELECT forget();
ALTER TABLE customers ADD COLUMN day date, ADD COLUMN moment timestamp, ADD COLUMN region int;
CREATE TABLE regions (id int PRIMARY KEY, zone varchar(40), day date);
CREATE DOMAIN day_of_year AS date;
CREATE FUNCTION due(customer bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg(to_char(due_at, 'MM-DD HH24:MI'), ', ' ORDER BY due_at) FROM customer._due WHERE subject_id = customer AND kind = 'r'); END $$;
CREATE FUNCTION at(customer bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT to_char(t.at, 'MM-DD HH24:MI') FROM customer.transitions t WHERE subject_id = customer AND seq = 2); END $$;
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT define_transition('customer', 'awareness', 'lost', on_date => 'customer.day', name => 'day');
SELECT define_transition('customer', 'awareness', 'inactive', on_date => 'customer.moment', name => 'moment');
INSERT INTO customers (id, timezone, day) VALUES (300001, 'Europe/Berlin', '2026-03-29'), (300002, 'Europe/Berlin', '2026-03-30'), (300003, 'Europe/Berlin', '2026-10-25'),
    (300004, 'Europe/Berlin', '2026-10-26'), (300005, 'America/New_York', '2026-03-08'), (300006, 'America/New_York', '2026-03-09'), (300007, 'America/New_York', '2026-11-01'),
    (300008, 'America/New_York', '2026-11-02'), (300009, 'Mars/Olympus', '2026-03-29'), (300010, 'Pacific/Kiritimati', '2026-03-29'), (300011, 'UTC', 'infinity');
SELECT is(due(300001) || '; ' || due(300002), '03-28 23:00; 03-29 22:00', 'Berlin, spring: midnight there, on the day of the change and after it');
SELECT is(due(300003) || '; ' || due(300004), '10-24 22:00; 10-25 23:00', 'Berlin, autumn');
SELECT is(due(300005) || '; ' || due(300006), '03-08 05:00; 03-09 04:00', 'New York, spring');
SELECT is(due(300007) || '; ' || due(300008), '11-01 04:00; 11-02 05:00', 'New York, autumn');
SELECT is(due(300009) || '; ' || due(300010), '03-29 00:00; 03-28 10:00', 'a zone that does not exist is UTC; the first place of the day');
SELECT is(due(300011), NULL, 'never');
INSERT INTO customers (id, timezone, moment) VALUES (300021, 'Europe/Berlin', '2026-03-29 02:30'), (300022, 'Europe/Berlin', '2026-10-25 02:30'),
    (300023, 'America/New_York', '2026-03-08 02:30'), (300024, 'America/New_York', '2026-11-01 01:30');
SELECT is(due(300021) || '; ' || due(300022), '03-29 01:30; 10-25 01:30', 'a local time that does not exist is an hour later, of one that there is twice it is the second');
SELECT is(due(300023) || '; ' || due(300024), '03-08 07:30; 11-01 06:30', 'in New York as well');
-- they fire at that time, and follow the zone
UPDATE customers SET timezone = 'America/New_York' WHERE id = 300002;
UPDATE customers SET timezone = 'Asia/Tokyo' WHERE id = 300004;
SELECT is(due(300002) || '; ' || due(300004), '03-29 22:00; 10-25 15:00', 'who moves to the west is looked at too early, who moves to the east at once');
SELECT advance_clock(until => '2026-12-01 00:00+00');
SELECT is(at(300001) || '; ' || at(300003) || '; ' || at(300005) || '; ' || at(300021), '03-28 23:00; 10-24 22:00; 03-08 05:00; 03-29 01:30', 'each fires at its time');
SELECT is(at(300002) || '; ' || at(300004), '03-30 04:00; 10-25 15:00', 'where the subject is then');
SELECT verified();
-- a rule that comes later than its subjects; the time of a transition is that of the date, however late it is
SELECT forget();
SET lifecycle.clock = '2027-03-20 00:00+00';
INSERT INTO customers (id, timezone, day) VALUES (300031, 'America/New_York', '2027-03-28'), (300032, 'Asia/Tokyo', '2027-03-28'), (300033, 'Asia/Tokyo', '2027-03-02');
SELECT define_transition('customer', 'awareness', 'lost', on_date => $$ customer.day - 1 $$, name => 'day');
SELECT run_due();
SELECT is(at(300033), '03-20 00:00', 'what is over fires at once');
SELECT advance_clock(until => '2027-04-01 00:00+00');
SELECT is(at(300031) || '; ' || at(300032), '03-27 04:00; 03-26 15:00', 'a new rule of subjects that are there');
SELECT forget();
SET lifecycle.clock = '2027-04-20 00:00+00';
INSERT INTO customers (id, timezone, day) VALUES (300041, 'America/New_York', '2027-04-25');
SELECT define_transition('customer', 'awareness', 'lost', on_date => 'customer.day', name => 'day');
SET lifecycle.clock = '2027-04-29 00:00+00';
SELECT run_due();
SELECT is(at(300041), '04-25 04:00', 'a timer that was armed early and fires late has its own time');
-- dates from other tables; a zone from another table
SELECT forget();
INSERT INTO regions VALUES (1, 'America/New_York', '2027-06-01');
SELECT define_transition('customer', 'awareness', 'lost', on_date => $$ (SELECT r.day::day_of_year FROM regions r WHERE r.id = customer.region) $$, name => 'day');
SELECT define_lifecycle('customer', 'customers', stages => '{awareness,consideration,conversion,retention,advocacy,inactive,lost}',
    timezone => $$ (SELECT r.zone FROM regions r WHERE r.id = customer.region) $$, simulated => true);
INSERT INTO customers (id, region) VALUES (300051, 1), (300052, 2);
SELECT is(due(300051), '06-01 04:00', 'a date and a zone from another table');
SELECT define_shop();
-- with a zone of its own a time is what it is
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', on_date => $$ customer.moment AT TIME ZONE 'UTC' $$, name => 'moment');
INSERT INTO customers (id, timezone, moment) VALUES (300061, 'America/New_York', '2028-01-01 12:00');
SELECT is(due(300061), '01-01 12:00', 'a time with a zone stays');
-- in real time a timer that was armed early and fires late has the time at which it was due
CREATE TABLE people (id int PRIMARY KEY, zone text);
CREATE TABLE visits (person int, name text, at timestamptz);
INSERT INTO people VALUES (1, 'Asia/Tokyo');
SELECT define_lifecycle('real', 'people', stages => '{a,b}', timezone => 'real.zone');
SELECT define_event_source('real', 'visits', subject_column => 'person', name_column => 'name', time_column => 'at');
SELECT define_transition('real', 'b', 'a', on_event => 'visit');
INSERT INTO visits VALUES (1, 'visit', '2026-01-01');
SELECT define_transition('real', 'a', 'b', after => '1 month', name => 'month');
SELECT run_due();
SELECT is((SELECT string_agg(to_stage || ' ' || t.at::date, ', ' ORDER BY seq) FROM real.transitions t), 'a 2026-01-01, b 2026-02-01', 'in real time too');
SELECT verified('real');
-- in a backfill
SELECT forget();
SET lifecycle.capture = off;
INSERT INTO customers (id, timezone, day) VALUES (300071, 'Asia/Tokyo', '2026-06-02');
INSERT INTO events (customer_id, name, occurred_at) VALUES (300071, 'login', '2026-06-01 12:00'), (300071, 'login', '2026-06-01 16:00');
SET lifecycle.capture = on;
SELECT define_transition('customer', 'awareness', 'lost', on_date => 'customer.day', name => 'day');
SELECT define_transition('customer', 'lost', 'retention', on_event => 'login', name => 'back');
CREATE FUNCTION replay() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL backfill('customer'); END $$;
SELECT replay();
SELECT is((SELECT string_agg(to_stage || ' ' || to_char(t.at, 'MM-DD HH24:MI'), ', ' ORDER BY seq) FROM customer.transitions t WHERE subject_id = 300071),
    'awareness 06-01 12:00, lost 06-01 15:00, retention 06-01 16:00', 'in a backfill too');

-- goal windows and intervals of re-entry
SELECT forget();
SELECT define_workflow('customer', 'w', state => 'live', entry => on_event('in'), goal => goal(on_event('win'), within => '1 day'), reentry => '1 month', steps => delay('1 hour'));
-- entered at 12:00 of the day before the change: the window ends at 12:00 of the day of the change
CREATE TABLE windows AS SELECT row_number() OVER () + 400000 AS id, * FROM (VALUES
    ('Europe/Berlin', '2026-03-28 11:00+00'::timestamptz, '2026-03-29 10:00+00'::timestamptz), ('Europe/Berlin', '2026-10-24 10:00+00', '2026-10-25 11:00+00'),
    ('America/New_York', '2026-03-07 17:00+00', '2026-03-08 16:00+00'), ('America/New_York', '2026-10-31 16:00+00', '2026-11-01 17:00+00'),
    ('UTC', '2026-03-28 11:00+00', '2026-03-29 11:00+00'), ('Mars/Olympus', '2026-03-28 11:00+00', '2026-03-29 11:00+00')) AS w (zone, entered, ends);
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT customer(id, zone), customer(id + 100, zone) FROM windows;
CREATE FUNCTION play() RETURNS void LANGUAGE plpgsql AS $$
DECLARE w windows;
BEGIN
    FOR w IN SELECT * FROM windows ORDER BY entered LOOP
        PERFORM event(w.id, 'in', w.entered), event(w.id, 'win', w.ends);
        PERFORM event(w.id + 100, 'in', w.entered), event(w.id + 100, 'win', w.ends + interval '1 microsecond');
    END LOOP;
END $$;
SELECT play();
SELECT results_eq($$ SELECT w.id, e.converted_at FROM windows w LEFT JOIN customer.enrollments e ON e.subject_id = w.id ORDER BY w.id $$,
    $$ SELECT id, ends FROM windows ORDER BY id $$, 'the window of a goal ends at the same local time');
SELECT is_empty($$ SELECT FROM windows w JOIN customer.enrollments e ON e.subject_id = w.id + 100 WHERE converted_at IS NOT NULL $$, 'and not a microsecond later');
-- windows of a funnel: id + 1000 enters the second stage when the window ends, id + 1100 a microsecond later
CREATE FUNCTION pass(customer bigint, entered timestamptz, ends timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO customer.transitions (subject_id, seq, to_stage, at, cause)
    VALUES (customer, 101, 'advocacy', entered, 'manual'), (customer, 102, 'conversion', ends, 'manual') $$;
SELECT customer(id + 1000, zone), customer(id + 1100, zone) FROM windows;
SELECT pass(id + 1000, entered, ends) FROM windows;
CREATE FUNCTION reached(within interval) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(subjects::text, ', ' ORDER BY step) FROM funnel('customer', '{advocacy,conversion}', within => within) $$;
SELECT is(reached('1 day'), '6, 6', 'the window of a funnel ends at the same local time');
SELECT pass(id + 1100, entered, ends + interval '1 microsecond') FROM windows;
SELECT is(reached('1 day'), '12, 6', 'and not a microsecond later');
SELECT is(reached('23 hours'), '12, 2', 'hours are hours');
SELECT is(reached('1 month'), '12, 12', 'months too');
DELETE FROM customers WHERE id = 401101;
SELECT is(reached('1 day'), '12, 7', 'of who is deleted it is UTC');
CREATE ROLE analyst;
GRANT USAGE ON SCHEMA customer, scenario TO analyst;
GRANT SELECT ON customer.transitions TO analyst;
SET ROLE analyst;
SELECT is(reached('23 hours'), '12, 2', 'hours need no zones');
SELECT throws_ok($$ SELECT reached('1 day') $$, '42501', 'permission denied for table customer.subjects', 'zones are for those who may read the subjects');
RESET ROLE;
GRANT SELECT ON customer.subjects TO analyst;
SET ROLE analyst;
SELECT is(reached('1 day'), '12, 7', 'for whom the owner reads them');
RESET ROLE;
SELECT results_eq($$ SELECT zone FROM lifecycle._zones('customer') AS z (subject bigint, zone text) WHERE subject = 401106 $$, $$ VALUES ('Mars/Olympus') $$, 'each subject has one');
SELECT throws_ok($$ SELECT * FROM lifecycle._zones('customer') AS z (subject text, zone bigint) $$, '42804', NULL, 'of these types and no others');
DELETE FROM customers WHERE id BETWEEN 401000 AND 401999;
DELETE FROM customer.transitions WHERE subject_id BETWEEN 401000 AND 401999;

-- enroll_within: id + 2000 is of just that age, id + 2100 a microsecond older
SELECT define_event_source('customer', 'events', subject_column => 'customer_id', name_column => 'name', time_column => 'occurred_at', enroll_within => '1 day');
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT customer(id + 2000, zone), customer(id + 2100, zone) FROM windows;
CREATE FUNCTION come_late() RETURNS void LANGUAGE plpgsql AS $$
DECLARE w windows;
BEGIN
    FOR w IN SELECT * FROM windows ORDER BY ends LOOP
        PERFORM set_config('lifecycle.clock', w.ends::text, true);
        PERFORM event(w.id + 2000, 'in', w.entered), event(w.id + 2100, 'in', w.entered - interval '1 microsecond');
    END LOOP;
END $$;
SELECT come_late();
SELECT is((SELECT string_agg((id - 2000)::text, ', ' ORDER BY id) FROM customers WHERE id BETWEEN 402000 AND 402999 AND runs(id) IS NOT NULL),
    '400001, 400002, 400003, 400004, 400005, 400006', 'an event of just that age enrolls, in local time');
SELECT define_shop();
SELECT verified();

-- entered on 31 January at 20:00 in New York, when it is February in UTC: a month on it is 28 February
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT customer(400201, 'America/New_York'), customer(400202, 'UTC'), customer(400203, 'Europe/Berlin');
SELECT event(id, 'in', '2026-02-01 01:00+00') FROM unnest('{400201,400202}'::int[]) AS id;
SELECT event(400203, 'in', '2026-03-10 11:00+00');
SET lifecycle.clock = '2026-02-02 00:00+00';
SELECT run_due();
SELECT event(id, 'in', '2026-03-01 00:59:59+00') FROM unnest('{400201,400202}'::int[]) AS id;
SELECT is(runs(400201) || '; ' || runs(400202), 'w: completed; w: completed', 're-entry: not a second too early');
SELECT event(id, 'in', '2026-03-01 01:00+00') FROM unnest('{400201,400202}'::int[]) AS id;
SELECT is(runs(400201) || '; ' || runs(400202), 'w: completed, w: …; w: completed, w: …', 'a month later');
SET lifecycle.clock = '2026-03-11 00:00+00';
SELECT run_due();
SELECT event(400203, 'in', '2026-04-10 09:59:59+00');
SELECT is(runs(400203), 'w: completed', 'over the change the same local time: not yet');
SELECT event(400203, 'in', '2026-04-10 10:00+00');
SELECT is(runs(400203), 'w: completed, w: …', 'now');
SELECT enroll('customer', 'w', 400202) IS NULL AS too_early \gset
SELECT ok(:'too_early', 'by hand as well');
-- months in a timer of a rule that comes later: from the first of March it is a longer one than from the last of February
SELECT forget();
SET lifecycle.clock = '2027-03-01 02:00+00';
SELECT customer(400301, 'America/New_York');
SELECT define_transition('customer', 'awareness', 'lost', after => '1 month', name => 'month');
SELECT advance_clock(until => '2027-04-10 00:00+00');
SELECT is(at(400301), '03-29 01:00', 'a month from the last of February');
SELECT verified();
-- the timers of a lifecycle that gets time zones
SELECT forget();
SELECT define_lifecycle('customer', 'customers', stages => '{awareness,consideration,conversion,retention,advocacy,inactive,lost}', simulated => true);
SELECT customer(400401, 'Asia/Tokyo');
UPDATE customers SET renewal_at = '2027-06-01 00:00+00' WHERE id = 400401;
SELECT define_transition('customer', 'awareness', 'lost', on_date => $$ (customer.renewal_at AT TIME ZONE 'UTC')::date $$, name => 'date');
SELECT define_shop();
SELECT advance_clock(until => '2027-05-31 15:00+00');
SELECT is(path(400401), 'awareness > lost', 'timers are armed anew when the time zones change');
SELECT verified();
-- keys of type varchar
CREATE TABLE words (id varchar(40) PRIMARY KEY, zone text);
SELECT define_lifecycle('word', 'words', stages => '{a,b}', timezone => 'word.zone');
SELECT define_transition('word', 'a', 'b', condition => 'word.zone = ''Asia/Tokyo''');
INSERT INTO words VALUES ('x', 'Asia/Tokyo'), ('y', 'UTC');
SELECT is((SELECT string_agg(stage || ' ' || subjects, ', ' ORDER BY step) FROM funnel('word', '{a,b}', within => '7 days')), 'a 2, b 1', 'the funnel of keys of type varchar');
SELECT * FROM finish();
ROLLBACK;
