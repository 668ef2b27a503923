-- Rules that wait for time to pass, and runs of workflows as capture begins, converts and ends them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS lifecycle;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE SCHEMA timers;
SET search_path = timers, public, lifecycle;
CREATE TABLE members (
    id    uuid PRIMARY KEY,
    email text,
    plan  text NOT NULL DEFAULT 'free',
    zone  text NOT NULL DEFAULT 'UTC',
    ends  timestamptz
);
CREATE TABLE visits (member uuid NOT NULL, name text NOT NULL, at timestamptz NOT NULL DEFAULT now(), place jsonb);
CREATE TABLE orders (id int PRIMARY KEY, member uuid, status text NOT NULL, day date NOT NULL);
SET lifecycle.clock = '2026-01-01 00:00+00';
SELECT define_lifecycle('member', 'members', stages => '{new,active,idle,expired,lost}', timezone => 'member.zone', simulated => true);
-- events, and rows that become events
SELECT define_event_source('member', 'visits', subject_column => 'member', name_column => 'name', time_column => 'at');
SELECT define_event_source('member', 'orders', subject_column => 'member', event_name => 'paid', time_column => 'day', becomes => $$ event.status = 'paid' $$);
SELECT define_transition('member', '{new,idle}', 'active', on_event => 'login', name => 'login');
SELECT define_transition('member', 'active', 'idle', without_event => 'login', after => '30 days', name => 'silence');
SELECT define_transition('member', 'idle', 'lost', after => '1 month', condition => $$ member.plan = 'free' $$, name => 'give up');
SELECT define_transition('member', '{new,active,idle}', 'expired', on_date => 'member.ends', name => 'end');
CREATE VIEW log AS SELECT right(subject_id::text, 1) AS id, seq, from_stage AS "from", to_stage AS "to", at, cause, rule
    FROM member.transitions ORDER BY subject_id, seq;
CREATE VIEW armed AS SELECT right(d.subject_id::text, 1) AS id, d.due_at, r.name AS rule
    FROM member._due d JOIN lifecycle.transition_rules r ON r.id = d.program WHERE d.kind = 'r' ORDER BY d.subject_id, r.name;
CREATE FUNCTION k(int) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN ('00000000-0000-0000-0000-00000000000' || $1)::uuid;

INSERT INTO members (id, zone) VALUES (k(1), 'UTC'), (k(2), 'America/New_York'), (k(3), 'Mars/Olympus');
INSERT INTO visits SELECT id, 'login', '2026-01-01' FROM members;
INSERT INTO visits VALUES ('00000000-0000-0000-0000-000000000009', 'login', '2026-01-01');
TABLE armed;
-- an event costs the timer nothing; when it fires it puts itself off
INSERT INTO visits VALUES (k(1), 'login', '2026-01-20'), (k(1), 'other', '2026-01-21');
TABLE armed;
SELECT advance_clock(until => '2026-02-10');
TABLE log;
TABLE armed;
-- an event of the very time of the deadline wins
INSERT INTO visits VALUES (k(1), 'login', '2026-02-19');
SELECT advance_clock(until => '2026-02-19 00:00:01');
SELECT * FROM armed WHERE id = '1' AND rule = 'silence';
-- a month in the subject's zone; a condition that is not true asks again after the same time
UPDATE members SET plan = 'pro' WHERE id = k(3);
SELECT advance_clock(until => '2026-03-01 00:00:01');
SELECT * FROM log WHERE rule = 'give up';
TABLE armed;
UPDATE members SET plan = 'free' WHERE id = k(3);
SELECT advance_clock(until => '2026-04-10');
SELECT * FROM log WHERE rule = 'give up';

-- on_date: follows the row; earlier replaces the timer, later puts it off, none drops it
INSERT INTO members (id, ends) VALUES (k(4), '2026-06-01'), (k(5), '2026-06-01'), (k(6), '2026-06-01'), (k(7), NULL);
UPDATE members SET ends = '2026-05-01' WHERE id = k(4);
UPDATE members SET ends = '2026-07-01' WHERE id = k(5);
UPDATE members SET ends = NULL WHERE id = k(6);
SELECT * FROM armed WHERE rule = 'end';
SELECT advance_clock(until => '2026-06-02');
SELECT * FROM log WHERE rule = 'end';
SELECT * FROM armed WHERE rule = 'end';
DELETE FROM members WHERE id = k(5);
SELECT * FROM armed WHERE rule = 'end';
SELECT * FROM verify('member');

-- becomes: the insert or the update that makes it true, once
SELECT define_transition('member', 'any', 'active', on_event => 'paid', name => 'paid');
INSERT INTO members (id) VALUES (k(8)), (k(9));
INSERT INTO orders VALUES (1, k(8), 'open', '2026-06-03'), (2, k(9), 'paid', '2026-06-03');
SELECT id, "to", at, rule FROM log WHERE rule = 'paid';
UPDATE orders SET status = 'sent' WHERE id = 1;
UPDATE orders SET status = 'paid' WHERE id = 1;
SELECT id, "to", at, rule FROM log WHERE rule = 'paid';
SELECT move('member', k(8), 'idle');
UPDATE orders SET day = '2026-06-04' WHERE id = 1;
SELECT stage FROM member.subjects WHERE subject_id = k(8);

-- a rule that comes after its subjects, or changes, arms their timers
SELECT define_transition('member', 'idle', 'lost', after => '3 months', condition => $$ member.plan = 'free' $$, name => 'give up');
SELECT define_transition('member', 'new', 'lost', on_date => $$ member.ends + interval '1 year' $$, name => 'late');
UPDATE members SET ends = '2026-06-30' WHERE id = k(7);
SELECT define_transition('member', 'new', 'lost', on_date => $$ member.ends + interval '2 years' $$, name => 'late');
TABLE armed;
SELECT drop_transition('member', 'late');

-- runs: entries by event, stage and change; re-entry; goals and exits
CREATE VIEW runs AS SELECT right(subject_id::text, 1) AS id, workflow, entered_at, ended_at, converted_at, exit_reason, context FROM member.enrollments ORDER BY subject_id, entered_at, workflow;
SELECT define_template('member', 'hello', subject_line => 'Hello', body => 'You came from {{ event.place.city }}.');
SELECT define_workflow('member', 'by event', state => 'live', entry => on_event('signup', condition => $$ event.place->>'city' IS NOT NULL $$),
    goal => goal(on_event('buy', condition => $$ event.at > enrollment.entered_at $$), within => '3 days'), steps => steps(send('email', 'hello'), delay('10 days')));
SELECT define_workflow('member', 'by stage', state => 'live', entry => on_stage('active', from_stage => 'new'), reentry => 'always', exit => on_stage('idle'), steps => delay('20 days'));
SELECT define_workflow('member', 'by change', state => 'live', entry => on_change($$ member.plan = 'pro' $$), reentry => '10 days',
    goal => goal(on_event('buy'), exit => true), steps => delay('1 day'));
SELECT define_workflow('member', 'by hand', state => 'live', reentry => 'always', steps => delay('1 day'));
SELECT define_workflow('member', 'asleep', entry => on_event('signup'), steps => delay('1 day'));
TRUNCATE members, visits, orders;
INSERT INTO members (id) VALUES (k(1)), (k(2));
INSERT INTO members (id, plan) VALUES (k(3), 'pro');
INSERT INTO visits VALUES (k(1), 'signup', '2026-06-02', '{"city": "Bonn"}'), (k(2), 'signup', '2026-06-02', NULL);
INSERT INTO visits VALUES (k(1), 'signup', '2026-06-02', '{"city": "Rome"}');
INSERT INTO visits VALUES (k(1), 'login', '2026-06-02'), (k(1), 'buy', '2026-06-03');
TABLE runs;
SELECT right(subject_id::text, 1) AS id, due_at, step, kind FROM member._due WHERE kind = 's' ORDER BY subject_id, enrollment_id;
-- on_change: edge, not level; the same value again is no change, an upsert of the same row neither
UPDATE members SET plan = 'pro';
UPDATE members SET plan = 'pro', email = 'x';
INSERT INTO members (id, plan) VALUES (k(2), 'pro') ON CONFLICT (id) DO UPDATE SET plan = excluded.plan;
UPDATE members SET plan = 'free' WHERE id = k(2);
UPDATE members SET plan = 'pro' WHERE id = k(2);
SELECT id, workflow, entered_at FROM runs WHERE workflow = 'by change';
-- a goal that also ends the run; one that comes too late; an exit by stage; what was suppressed
INSERT INTO visits VALUES (k(2), 'buy', '2026-06-20'), (k(3), 'buy', '2026-06-02');
SELECT move('member', k(1), 'idle');
SELECT enroll('member', 'by hand', k(1), '{"why": "asked"}') IS NOT NULL AS enrolled, enroll('member', 'by hand', k(1)) IS NOT NULL AS again;
SELECT enroll('member', 'asleep', k(1));
TABLE runs;
-- lifecycle.enroll = off
SET lifecycle.enroll = off;
INSERT INTO members (id, plan) VALUES (k(4), 'pro');
SELECT enroll('member', 'by hand', k(4));
RESET lifecycle.enroll;
SELECT count(*) FROM runs WHERE id = '4';
-- the subject's row goes: its runs end, nothing stays due
DELETE FROM members WHERE id = k(1);
SELECT id, workflow, exit_reason FROM runs WHERE id = '1';
SELECT count(*) FROM member._due WHERE subject_id = k(1);
SELECT * FROM verify('member');
SELECT drop_lifecycle('member');
SET client_min_messages = warning;
DROP SCHEMA timers CASCADE;
