-- Local time: delays and timers of days and months keep the local time of day of the subject, those of hours do not; both DST weekends of 2026,
-- the ends of months, zones that do not exist; and a comparison with PostgreSQL's own arithmetic around the changes of many zones.
\ir shop.psql
SELECT plan(25);

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
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
