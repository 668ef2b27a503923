-- Odd schemas and odd values.
\ir shop.psql
SELECT plan(37);

-- an event at infinity hides no other from a timer
SELECT define_transition('customer', 'awareness', 'lost', without_event => 'login', after => '10 days');
SELECT customer(1), customer(2);
SELECT event(1, 'login', 'infinity'), event(1, 'login', '2026-01-08 09:00+00'), event(2, 'login', '2026-01-08 09:00+00');
SELECT advance_clock('12 days');
SELECT is(path(1), path(2), 'an event at infinity does not hide a later one');
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 1), 'awareness', '… from the timer of an inactivity');
SELECT is((SELECT count(*) FROM explain('customer', 1) WHERE detail LIKE '%last login at 2026-01-08 09:00:00+00%'), 1::bigint, '… nor from explain');

-- a rule with a timer can be defined whatever times subjects have
SELECT customer(3), customer(4);
SELECT define_transition('customer', 'awareness', 'retention', on_event => 'far');
SELECT event(3, 'far', '294276-12-31 20:00+00');
INSERT INTO customers (id) VALUES (5);
UPDATE customer.subjects SET since = '4714-11-24 00:00+00 BC', stage = 'retention' WHERE subject_id = 5;
SELECT lives_ok($$ SELECT define_transition('customer', 'retention', 'lost', after => '1 mon', name => 'month') $$, 'a timer for a subject at the end of time');
SELECT results_eq($$ SELECT d.subject_id FROM customer._due d JOIN lifecycle.transition_rules r ON r.id = d.program WHERE d.kind = 'r' AND r.name = 'month' $$,
    ARRAY[5::bigint], '… is never due');
DELETE FROM customers WHERE id = 5;

-- the names of an event source may be an enum, which has not all the names that somebody listens to
CREATE TYPE word AS ENUM ('signup', 'visit');
CREATE TABLE words (customer_id bigint, word word, at timestamptz);
SELECT define_event_source('customer', 'words', 'customer_id', 'at', name_column => 'word');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'signup');
INSERT INTO words VALUES (4, 'signup', '2026-01-12 09:00+00');
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 4), 'consideration', 'an event by an enum');
SELECT lives_ok($$ CALL backfill('customer') $$, '… a backfill over it');
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 4), 'consideration', '… comes to the same');
SELECT lives_ok($$ SELECT * FROM explain('customer', 4) $$, '… and explain');

-- one condition over events of several tables
SELECT drop_event_source('customer', 'words');
CREATE TABLE visits (id bigint PRIMARY KEY, customer_id bigint, name text, at timestamptz, properties jsonb);
SELECT define_event_source('customer', 'visits', 'customer_id', 'at', name_column => 'name');
SELECT lives_ok($$ SELECT define_transition('customer', 'any', 'advocacy', on_event => 'loud', condition => $c$ event.properties ? 'loud' AND event.id > 0 $c$,
                                            name => 'loud') $$, 'one condition over events of two tables');
SELECT is(define_transition('customer', 'any', 'advocacy', on_event => 'loud', condition => $$ event.properties ? 'loud' AND event.id > 0 $$, name => 'loud'), 'unchanged', '… again');
SELECT is((SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'x' WHERE p.proname = '_rule loud'), 2::bigint, '… has two functions of the extension');
SELECT customer(6), customer(7), customer(8);
INSERT INTO visits VALUES (1, 6, 'loud', '2026-01-13 09:00+00', '{"loud": 1}'), (-1, 7, 'loud', '2026-01-13 09:00+00', '{"loud": 1}');
SELECT event(8, 'loud', '2026-01-13 09:00+00', '{"loud": 1}');
SELECT is((SELECT string_agg(stage::text, ', ' ORDER BY subject_id) FROM customer.subjects WHERE subject_id IN (6, 7, 8)), 'advocacy, awareness, advocacy', '… is asked of both');
CREATE TABLE calls (LIKE visits INCLUDING ALL);
SELECT lives_ok($$ SELECT define_event_source('customer', 'calls', 'customer_id', 'at', name_column => 'name') $$, '… and of one that comes later');
SELECT lives_ok($$ ALTER TABLE visits ADD minutes integer DEFAULT 1 $$, '… whose tables can be altered');

-- an event source whose table is gone
DROP TABLE calls CASCADE;
SELECT is((SELECT string_agg(detail, ', ') FROM verify('customer') WHERE invariant LIKE '%event source%'),
          'event source "calls" has lost its table: define it on another one, or call lifecycle.drop_event_source(''customer'', ''calls'')', 'verify names a source without a table');
SELECT lives_ok($$ SELECT drop_event_source('customer', 'calls') $$, '… which can be dropped');
SELECT is_empty($$ SELECT * FROM verify('customer') WHERE invariant LIKE '%event source%' $$, '… and is gone');
SELECT throws_like($$ SELECT drop_event_source('customer', 'calls') $$, '%event source "calls" of lifecycle "customer" does not exist%', '… for good');

-- a condition over a materialized view that was not refreshed yet
CREATE MATERIALIZED VIEW best AS SELECT 1::bigint AS id WITH NO DATA;
SELECT define_transition('customer', 'awareness', 'advocacy', on_event => 'praise', condition => $$ EXISTS (SELECT FROM best b WHERE b.id = customer.id) $$, name => 'praise');
SELECT customer(9);
SELECT lives_ok($$ SELECT event(9, 'praise') $$, 'a condition that cannot be asked yet does not break the statement');
SELECT is((SELECT name || ': ' || message FROM customer.failures WHERE subject_id = 9), 'praise: materialized view "best" has not been populated', '… but is recorded');
SET lifecycle.on_error = 'raise';
SELECT throws_ok($$ SELECT event(9, 'praise') $$, '55000', NULL, '… or raised');
SET lifecycle.on_error = 'record';

-- a key with a collation by which different texts are equal
CREATE COLLATION nobody_cares (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE nicks (nick text COLLATE nobody_cares PRIMARY KEY);
SELECT throws_like($$ SELECT define_lifecycle('nick', 'nicks', '{a,b}') $$, '%key column "nick" of table scenario.nicks has a nondeterministic collation%', 'a key by which different texts are one');

-- a condition that never ends, asked about many rows
SELECT customer(g) FROM generate_series(1001, 1300) g;
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'slow',
    condition => $$ (SELECT count(*) FROM generate_series(1, 300000) a, generate_series(1, 300000) b WHERE a + b > customer.id) > 0 $$, name => 'slow');
SET lifecycle.condition_timeout = '50ms';
SET client_min_messages = error;
SELECT clock_timestamp() AS began \gset
INSERT INTO events (customer_id, name, occurred_at) SELECT g, 'slow', '2026-01-14 09:00+00' FROM generate_series(1001, 1300) g;
SELECT cmp_ok(clock_timestamp() - :'began', '<', interval '2 seconds', 'a condition that never ends holds a statement up for some of its time limits, not for one for each row');
SELECT is((SELECT count(*) FROM customer.failures WHERE name = 'slow'), 100::bigint, '… is recorded until it is in quarantine');
SELECT matches((SELECT string_agg(what || ' ' || value, ', ') FROM status() WHERE lifecycle = 'customer' AND what LIKE 'rule%'), 'rule in quarantine slow', '… which status shows');
SELECT is((SELECT errors_in_a_row FROM rule_stats WHERE rule = 'slow'), 100::bigint, '… and rule_stats counts');
SELECT reset_stats();
INSERT INTO events (customer_id, name, occurred_at) VALUES (1001, 'slow', '2026-01-14 09:00+00');
SELECT is((SELECT count(*) FROM customer.failures WHERE name = 'slow'), 101::bigint, '… until reset_stats ends that');
-- … also as one of a workflow
SELECT define_template('customer', 'hello', body => 'x');
SELECT define_workflow('customer', 'endless branch', state => 'live', entry => on_event('branch'),
    steps => branch($$ (SELECT count(*) FROM generate_series(1, 300000) a, generate_series(1, 300000) b WHERE a + b > customer.id) > 0 $$, yes => exit('yes')));
SELECT define_workflow('customer', 'endless recipients', state => 'live', entry => on_event('send'),
    steps => send('email', 'hello', "to" => $$ SELECT count(*)::text AS address FROM generate_series(1, 300000) a, generate_series(1, 300000) b WHERE a + b > customer.id $$));
SELECT define_workflow('customer', 'other', state => 'live', entry => on_event('other'), steps => exit('other'));
SELECT event(g, name, '2026-01-14 09:00+00') FROM generate_series(1001, 1003) g, unnest('{branch,send,other}'::text[]) name;
SELECT clock_timestamp() AS began \gset
SELECT lives_ok($$ SELECT run_due('customer') $$, 'conditions of workflows that never end');
SELECT cmp_ok(clock_timestamp() - :'began', '<', interval '4 seconds', '… are not waited for');
SELECT is((SELECT string_agg(DISTINCT f.name || ' ' || f.sqlstate, ', ') FROM customer.failures f WHERE f.kind = 'step'), 'endless branch: branch_1 54000, endless recipients: send_1 54000', '… but recorded');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE exit_reason = 'other'), 3::bigint, '… and the others go on');
-- … and a statement of run_sql, also one whose events are captured with conditions that do
SET lifecycle.step_timeout = '100ms';
SELECT define_workflow('customer', 'endless statement', state => 'live', entry => on_event('compute'),
    steps => run_sql($$ SELECT count(*) FROM generate_series(1, 300000) a, generate_series(1, 300000) b WHERE a + b > customer.id $$));
SELECT define_workflow('customer', 'events', state => 'live', entry => on_event('write'),
    steps => run_sql($$ INSERT INTO scenario.events (customer_id, name) VALUES (customer.id, 'slow') $$));
SELECT customer(1401), customer(1402), event(1401, 'compute', '2026-01-14 09:00+00'), event(1402, 'other', '2026-01-14 09:00+00'), event(1402, 'write', '2026-01-14 09:00+00');
SELECT clock_timestamp() AS began \gset
SELECT lives_ok($$ SELECT run_due('customer') $$, 'a statement that never ends');
SELECT cmp_ok(clock_timestamp() - :'began', '<', interval '3 seconds', '… is not waited for');
SELECT is((SELECT string_agg(concat_ws(': ', f.name, f.sqlstate, f.message), ', ') FROM customer.failures f WHERE subject_id = 1401),
    'endless statement: run_sql_1: 54000: the statement took longer than lifecycle.step_timeout (100 ms)', '… but recorded');
SELECT is(runs(1402), 'events: completed, other: other', '… and the others go on, with what they write');
SELECT is((SELECT string_agg(DISTINCT name, ', ') FROM events WHERE customer_id = 1402), 'other, slow, write', '… in which a condition may take too long');
RESET lifecycle.step_timeout;
RESET lifecycle.condition_timeout;
SET client_min_messages = warning;
SELECT * FROM finish();
ROLLBACK;
