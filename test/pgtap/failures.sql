-- What fails: a rule, a trigger, a timer, a step; who is recorded, who goes on, what is tried again, what is parked and retried.
\ir shop.psql
SELECT plan(101);
SELECT define_template('customer', 'a', body => 'a');

-- a rule's condition fails for one row of a statement: recorded, the statement and the others go on
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'buy', condition => $$ (event.properties->>'amount')::numeric > 10 $$, name => 'big');
SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'buy', priority => 200, name => 'any');
SELECT customer(id) FROM generate_series(1, 5) AS id;
SELECT lives_ok($$ INSERT INTO events (customer_id, name, properties) VALUES (1, 'buy', '{"amount": 20}'), (2, 'buy', '{"amount": "42 EUR"}'), (3, 'buy', '{"amount": 5}') $$,
    'a condition that fails does not break the statement');
SELECT is(path(1), 'awareness > conversion', 'the rows around it are evaluated');
SELECT is(path(2), 'awareness > consideration', 'the rule that fails does not fire, the next one does');
SELECT is(path(3), 'awareness > consideration', 'and the other one that is false');
SELECT results_eq($$ SELECT subject_id, kind, name, sqlstate, message, parked FROM customer.failures $$,
    $$ VALUES (2::bigint, 'rule', 'big', '22P02', 'invalid input syntax for type numeric: "42 EUR"', false) $$, 'it is recorded, for that rule and subject');
SELECT is((SELECT count(*) FROM events), 3::bigint, 'all events are there');
-- raise
SET lifecycle.on_error = 'raise';
SELECT throws_ok($$ SELECT event(4, 'buy', properties => '{"amount": "42 EUR"}') $$, '22P02', 'invalid input syntax for type numeric: "42 EUR"', 'on_error = raise: the error is the statement''s');
SELECT is((SELECT count(*) FROM events), 3::bigint, 'which leaves nothing');
RESET lifecycle.on_error;
-- an object that is gone, a right that is missing
CREATE TABLE limits (amount numeric);
INSERT INTO limits VALUES (10);
CREATE FUNCTION over_limit(n numeric) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN n > (SELECT max(amount) FROM scenario.limits); END $$;
SELECT define_transition('customer', 'awareness', 'conversion', on_event => 'buy', condition => $$ over_limit((event.properties->>'amount')::numeric) $$, name => 'big');
SELECT event(4, 'buy', properties => '{"amount": 11}');
SELECT is(path(4), 'awareness > conversion', 'a function of the user');
DROP TABLE limits;
SELECT lives_ok($$ SELECT event(5, 'buy', properties => '{"amount": 11}') $$, 'whose table is gone');
SELECT is((SELECT sqlstate FROM customer.failures WHERE subject_id = 5), '42P01', 'fails alone');
SELECT is(path(5), 'awareness > consideration', 'the others go on');
SELECT verified();

-- entries and goals that fail; a changed row whose condition fails
SELECT forget();
SELECT define_workflow('customer', 'entry', state => 'live', entry => on_event('in', $$ (event.properties->>'n')::int > 0 $$), goal => goal(on_event('yes', $$ 1 / (event.properties->>'n')::int > 0 $$)), steps => delay('1 day'));
SELECT define_transition('customer', 'any', 'lost', condition => $$ customer.plan::int > 7 $$, name => 'number');
INSERT INTO customers (id, plan) VALUES (10, '1'), (11, 'x'), (12, '8');
SELECT is(path(10) || '; ' || path(11) || '; ' || path(12), 'awareness; awareness; awareness > lost', 'a condition over new rows that fails for one of them');
SELECT is((SELECT string_agg(subject_id || ' ' || name, ', ') FROM customer.failures WHERE subject_id >= 10), '11 number', 'is recorded for that one');
SELECT event(10, 'in', properties => '{"n": 1}'), event(11, 'in', properties => '{"n": "one"}');
SELECT is(coalesce(runs(10), '-') || '; ' || coalesce(runs(11), '-'), 'entry: …; -', 'an entry that fails is none');
SELECT event(10, 'yes', properties => '{"n": 0}');
SELECT is((SELECT converted_at FROM customer.enrollments WHERE subject_id = 10), NULL, 'a goal that fails is not reached');
SELECT is((SELECT string_agg(kind || ' ' || name || ' ' || sqlstate, ', ' ORDER BY id) FROM customer.failures WHERE subject_id IN (10, 11) AND kind <> 'rule'),
    'trigger entry 22P02, trigger entry 22012', 'both are recorded');
SELECT verified();

-- a step that fails for one: the others go on, it is tried again, later each time, and then parked
SELECT forget();
SET lifecycle.max_attempts = 3;
CREATE TABLE done (customer_id bigint PRIMARY KEY, quota int);
SELECT define_workflow('customer', 'poison', state => 'live', entry => on_event('go'), steps => steps(
    send('email', 'a'), run_sql($$ INSERT INTO done SELECT customer.id, customer.plan::int $$, label => 'write'), delay('1 hour'), send('email', 'a')));
INSERT INTO customers (id, email, plan) SELECT id, 'c', CASE WHEN id IN (113, 171) THEN 'bad' ELSE '1' END FROM generate_series(100, 199) AS id;
SELECT event(id, 'go') FROM generate_series(100, 199) AS id;
SELECT run_due();
SELECT is((SELECT count(*) FROM done), 98::bigint, 'a batch with two rows that fail: the others are done');
SELECT is((SELECT count(*) FROM customer.messages), 98::bigint, 'each once');
SELECT is((SELECT count(*) FROM customer.messages WHERE subject_id IN (113, 171)), 0::bigint, 'of those that fail nothing stays, also what went before');
SELECT results_eq($$ SELECT subject_id, kind, name, attempts, sqlstate, parked FROM customer.failures WHERE subject_id >= 100 ORDER BY 1 $$,
    $$ VALUES (113::bigint, 'step', 'poison: write', 1, '22P02', false), (171, 'step', 'poison: write', 1, '22P02', false) $$, 'they are recorded, with their step');
SELECT cmp_ok((SELECT until FROM customer.waiting WHERE subject_id = 113), '>', now('customer'), 'and put off');
SELECT verified();
SELECT advance_clock('1 hour');
SELECT results_eq($$ SELECT attempts, parked FROM customer.failures WHERE subject_id = 113 ORDER BY id $$, $$ VALUES (1, false), (2, false), (3, true) $$, 'tried again, and parked after max_attempts');
SELECT is((SELECT count(*) FROM customer.messages), 2 * 98::bigint, 'while the others go on');
SELECT is_empty($$ SELECT FROM customer._due WHERE subject_id = 113 $$, 'a parked run is not in the queue');
SELECT is((SELECT waits_for FROM customer.waiting WHERE subject_id = 113), 'lifecycle.retry, after invalid input syntax for type integer: "bad"', 'but among those that wait');
SELECT is(runs(113), 'poison: …', 'it has not ended');
SELECT verified();
-- retry
SELECT define_workflow('customer', 'another', steps => send('email', 'a'));
SELECT is(retry('customer', workflow => 'another'), 0::bigint, 'retry of another workflow');
SELECT throws_ok($$ SELECT retry('customer', workflow => 'poisn') $$, '42704', 'workflow "poisn" of lifecycle "customer" does not exist', 'retry of a workflow that is not there');
SELECT is(retry('customer', (SELECT id FROM customer.failures WHERE subject_id = 113 AND parked)), 1::bigint, 'retry of one');
SELECT run_due();
SELECT is((SELECT max(attempts) FROM customer.failures WHERE subject_id = 113 AND NOT parked), 3, 'it fails again, from the first attempt on');
SELECT advance_clock('1 hour');
UPDATE customers SET plan = '5' WHERE id IN (113, 171);
SELECT is(retry('customer'), 2::bigint, 'retry of all that is parked');
SELECT run_due();
SELECT is((SELECT string_agg(quota::text, ' ') FROM done WHERE customer_id IN (113, 171)), '5 5', 'and once its reason is gone, it works');
SELECT advance_clock('1 hour');
SELECT is(sent(113), 'a queued c, a queued c', 'and goes on, each message once');
SELECT is(runs(113), 'poison: completed', 'to the end');
SELECT is(retry('customer'), 0::bigint, 'nothing is parked any more');
SELECT verified();
-- an exit of a parked run
UPDATE customers SET plan = 'bad' WHERE id = 1;
SELECT define_workflow('customer', 'poison', state => 'live', entry => on_event('go'), exit => on_event('stop'), steps => run_sql($$ INSERT INTO done SELECT customer.id, customer.plan::int $$));
SELECT event(1, 'go');
SELECT advance_clock('1 hour');
SELECT is((SELECT count(*) FROM customer.failures WHERE subject_id = 1 AND parked), 1::bigint, 'parked');
SELECT event(1, 'stop');
SELECT is(runs(1), 'poison: exit', 'a parked run can exit');
SELECT verified();
SELECT is(retry('customer'), 0::bigint, 'and does not come back');
SELECT verified();

-- a step behind a delay: the delay is over, whatever becomes of the step
SELECT forget();
SELECT define_workflow('customer', 'late', state => 'live', entry => on_event('late'), steps => steps(delay('1 hour'),
    run_sql($$ INSERT INTO done SELECT -customer.id, customer.plan::int $$, label => 'write'), delay('1 day')));
CREATE FUNCTION steps() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT string_agg(format('%s: %s reached = %s waiting + %s done + %s failed', label, reached, waiting, s.done, failed), ', ' ORDER BY step)
      FROM customer.step_summary s WHERE workflow = 'late' AND step <= 2); END $$;
INSERT INTO customers (id, plan) VALUES (201, '1'), (202, 'bad');
SELECT event(201, 'late'), event(202, 'late');
SELECT run_due();
SELECT advance_clock('1 hour');
SELECT is(steps(), 'delay_1: 2 reached = 0 waiting + 2 done + 0 failed, write: 2 reached = 1 waiting + 1 done + 0 failed', 'of two, one has failed and will try again');
SELECT is((SELECT step || ', ' || waits_for || ', ' || attempts FROM customer.waiting WHERE subject_id = 202), 'write, its turn: run_sql INSERT INTO done SELECT -customer.id, customer.plan::int, 1', 'at the step that failed');
SELECT advance_clock('1 hour');
SELECT is(steps(), 'delay_1: 2 reached = 0 waiting + 2 done + 0 failed, write: 2 reached = 0 waiting + 1 done + 1 failed', 'parked');
UPDATE customers SET plan = '1' WHERE id = 202;
SELECT is(retry('customer'), 1::bigint, 'retried');
SELECT run_due();
SELECT is(steps(), 'delay_1: 2 reached = 0 waiting + 2 done + 0 failed, write: 2 reached = 0 waiting + 2 done + 0 failed', 'and done, the delay once');
SELECT is(steps_of(202), 'end=ended write=done', 'so say its activities');
SELECT advance_clock('1 day');
SELECT is(runs(202), runs(201), 'both are through');
SELECT verified();

-- a branch, a timer, constraints that are deferred
SELECT forget();
CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE children (parent bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
INSERT INTO parents SELECT id FROM generate_series(20, 28) AS id;
SELECT define_workflow('customer', 'deferred', state => 'live', entry => on_event('go'), steps => run_sql($$ INSERT INTO children VALUES (customer.id) $$));
SELECT define_workflow('customer', 'branch', state => 'live', entry => on_event('go'), steps => steps(branch($$ customer.plan::int > 1 $$, yes => exit('yes'), no => exit('no'), label => 'number?')));
SELECT define_transition('customer', 'awareness', 'lost', after => '1 day', condition => $$ customer.plan::int > 1 $$, name => 'timer');
INSERT INTO customers (id, plan) SELECT id, CASE id WHEN 25 THEN 'bad' ELSE '2' END FROM generate_series(20, 29) AS id;
SELECT event(id, 'go') FROM generate_series(20, 29) AS id;
SELECT run_due();
SELECT is((SELECT string_agg(subject_id || ' ' || name || ' ' || sqlstate, ', ' ORDER BY subject_id) FROM customer.failures WHERE subject_id BETWEEN 20 AND 29), '25 branch: number? 22P02, 29 deferred: run_sql_1 23503',
    'a branch that fails, a deferred constraint that fails: each for one');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id BETWEEN 20 AND 29 AND ended_at IS NOT NULL), 18::bigint, 'the others are done');
SELECT advance_clock('1 day');
SELECT is((SELECT count(*) FROM customer.subjects WHERE subject_id BETWEEN 20 AND 29 AND stage = 'lost'), 9::bigint, 'a timer whose condition fails for one');
SELECT cmp_ok((SELECT count(*) FROM customer.failures WHERE subject_id = 25 AND name = 'timer'), '>=', 1::bigint, 'is recorded for that one');
UPDATE customers SET plan = '3' WHERE id = 25;
SELECT advance_clock('1 day');
SELECT is((SELECT stage::text FROM customer.subjects WHERE subject_id = 25), 'lost', 'and fires when it can');
SELECT verified();

-- deferred by a step itself, and found at the end of the batch
CREATE FUNCTION defer() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL DEFERRED; END $$;
SELECT define_workflow('customer', 'deferred by a step', state => 'live', entry => on_event('defer'), steps => steps(run_sql('SELECT defer()'), run_sql($$ INSERT INTO children VALUES (customer.id) $$)));
SELECT event(28, 'defer'), event(29, 'defer');
SELECT run_due();
SELECT is((SELECT string_agg(subject_id || ' ' || sqlstate, ', ') FROM customer.failures WHERE name LIKE 'deferred by a step%'), '29 23503', 'a constraint that a step deferred fails for that one');
SELECT is(runs(28), 'branch: yes, deferred: completed, deferred by a step: completed', 'the other is done');

-- the caller's own deferred violation is the caller's error, not a due row's
SELECT event(20, 'go');
SELECT throws_ok($$ INSERT INTO children VALUES (12345); SELECT run_due() $$, '23503', NULL, 'a violation that the caller has pending is raised to him');
SELECT verified();

-- a row that has failed, and whose run another row of the batch ends then: it does not come back; its exit could not find it
SELECT forget();
SELECT define_workflow('customer', 'send', state => 'live', entry => on_event('begin'), exit => on_stage('advocacy'), steps => steps(
    send('email', 'a', only_if => $$ 1 / (customer.id - customer.id) > 0 $$), delay('1 day'), send('email', 'a')));
SELECT define_workflow('customer', 'sql', state => 'live', entry => on_event('begin'), exit => on_event('out'), steps => run_sql($$ SELECT 1 / (customer.id - customer.id) $$));
SELECT define_workflow('customer', 'again', state => 'live', entry => on_event('begin'), exit => on_stage('advocacy'),
    steps => steps(delay('1 hour'), run_sql($$ SELECT 1 / (customer.id - customer.id) $$)));
SELECT define_workflow('customer', 'end', state => 'live', entry => on_event('end'), steps => steps(
    run_sql($$ INSERT INTO events (customer_id, name) VALUES (customer.id, 'out') $$), set_stage('advocacy')));
SELECT customer(400), event(400, 'begin'), event(400, 'end');
SELECT is(run_due('customer'), 4::bigint, 'two rows that fail, one that waits, and one that ends them all');
SELECT is(runs(400), 'again: exit, end: completed, send: exit, sql: exit', 'they have ended');
SELECT is((SELECT string_agg(concat_ws(' ', name, attempts, parked), ', ' ORDER BY name) FROM customer.failures WHERE subject_id = 400), 'send: send_1 1 f, sql: run_sql_1 1 f', 'their failures are recorded');
SELECT is_empty($$ SELECT FROM customer._due WHERE subject_id = 400 $$, 'and nothing of them is due');
SELECT verified();
-- … at the last attempt, which parks nothing then, and behind a wait
SET lifecycle.max_attempts = 1;
SELECT customer(401), event(401, 'begin');
UPDATE customer._due SET due_at = now('customer') + interval '1 hour' WHERE subject_id = 401;
UPDATE customer._due SET kind = 'w' WHERE subject_id = 401 AND enrollment_id = (SELECT id FROM customer.enrollments WHERE subject_id = 401 AND workflow = 'again');
SELECT event(401, 'end');
UPDATE customer._due SET due_at = now('customer') + interval '1 hour' WHERE subject_id = 401 AND due_at = now('customer');
SELECT advance_clock('1 hour');
SELECT is((SELECT string_agg(concat_ws(' ', name, parked), ', ' ORDER BY name) FROM customer.failures WHERE subject_id = 401), 'again: run_sql_1 f, send: send_1 f, sql: run_sql_1 f', 'what an exit ends is not parked');
SELECT is_empty($$ SELECT FROM customer.activity WHERE subject_id = 401 AND waited IS NOT NULL $$, 'nor has its wait come to an end');
SELECT verified();
RESET lifecycle.max_attempts;
SELECT retry('customer');
-- … and those that were not even tried, behind a step that everybody fails at
SELECT define_workflow('customer', 'out', state => 'live', entry => on_event('all out'), steps => run_sql($$ INSERT INTO events (customer_id, name) SELECT id, 'out' FROM customers WHERE customers.id > 500 $$));
SELECT count(customer(id)) FROM generate_series(500, 600) AS id;
SELECT event(id, 'begin') FROM generate_series(501, 600) AS id;
SELECT event(500, 'all out');
SELECT run_due('customer');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id > 500 AND workflow = 'sql' AND exit_reason = 'exit'), 100::bigint, 'many that fail, and one behind them that ends them');
SELECT cmp_ok((SELECT count(*) FROM customer.failures WHERE subject_id > 500 AND name LIKE 'sql:%'), '<', 100::bigint, 'of which not all were tried');
SELECT is_empty($$ SELECT FROM customer._due JOIN customer.enrollments e ON e.id = enrollment_id WHERE e.subject_id > 500 AND workflow = 'sql' $$, 'none of them is due');
SELECT verified();

-- codes of the surroundings that a step raises by itself, or brings from another server
SELECT forget();
CREATE FUNCTION fail(code text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF code <> '' THEN RAISE EXCEPTION 'raised' USING ERRCODE = code; END IF; END $$;
SELECT define_workflow('customer', 'raise', state => 'live', entry => on_event('raise'), exit => on_event('out'), steps => run_sql($$ SELECT fail(customer.email) $$));
INSERT INTO customers (id, email) SELECT 700 + n, code FROM unnest('{"",57014,57P01,57P02,"",53100,53100,58030,58030,25006,""}'::text[]) WITH ORDINALITY AS x(code, n);
SELECT event(700 + n, 'raise') FROM generate_series(1, 11) AS n;
SELECT is(run_due('customer'), 11::bigint, 'a cancel, a shutdown, a full disk that steps raise');
SELECT is((SELECT string_agg(sqlstate, ' ' ORDER BY subject_id) FROM customer.failures WHERE subject_id > 700), '57014 57P01 57P02 53100 53100 58030 58030 25006', 'are recorded, each for its run');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id > 700 AND exit_reason = 'completed'), 3::bigint, 'the others are done');
SELECT event(700 + n, 'out') FROM generate_series(1, 11) AS n;
-- deadlocks and serialization failures: again soon, and after some of them like any other error
SET lifecycle.max_attempts = 2;
INSERT INTO customers (id, email) VALUES (721, '40001'), (722, '40P01'), (723, '');
SELECT event(id, 'raise') FROM generate_series(721, 723) AS id;
SELECT advance_clock('3 seconds');
SELECT is(runs(723), 'raise: completed', 'beside deadlocks the others go on');
SELECT is_empty($$ SELECT FROM customer.failures WHERE subject_id > 720 $$, 'which are not recorded');
UPDATE customers SET email = '' WHERE id = 722;
SELECT advance_clock('1 minute');
SELECT is(runs(722), 'raise: completed', 'as long as they pass');
SELECT results_eq($$ SELECT subject_id, attempts, sqlstate, parked FROM customer.failures WHERE subject_id > 720 ORDER BY id $$,
    $$ VALUES (721::bigint, 1, '40001', false), (721, 2, '40001', true) $$, 'what does not pass is recorded, put off, and parked');
RESET lifecycle.max_attempts;
-- a disk that is full for one is its fault, for one after the other it is nobody's
CREATE FUNCTION fill(path text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF path <> '' THEN EXECUTE format('COPY (SELECT 1) TO %L', path); END IF; END $$;
SELECT define_workflow('customer', 'fill', state => 'live', entry => on_event('fill'), exit => on_event('out'), steps => run_sql($$ SELECT fill(customer.email) $$));
INSERT INTO customers (id, email) VALUES (731, ''), (732, '/dev/full'), (733, ''), (734, '/dev/full');
SELECT event(id, 'fill') FROM generate_series(731, 734) AS id;
SELECT run_due('customer');
SELECT is((SELECT string_agg(subject_id || ' ' || sqlstate, ', ' ORDER BY subject_id) FROM customer.failures WHERE subject_id > 730), '732 53100, 734 53100', 'a full disk for one');
INSERT INTO customers (id, email) VALUES (735, '/dev/full'), (736, '/dev/full');
SELECT event(735, 'fill'), event(736, 'fill');
SELECT throws_ok('SELECT run_due()', '53100', NULL, 'for one after the other');
SELECT event(id, 'out') FROM generate_series(731, 736) AS id;
-- who cancels run_due ends it
CREATE FUNCTION run_and_cancel() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM run_due(); RETURN 'not canceled'; EXCEPTION WHEN query_canceled THEN RETURN SQLERRM; END $$;
SELECT define_workflow('customer', 'long', state => 'live', entry => on_event('long'), exit => on_event('out'), steps => run_sql($$ SELECT pg_sleep(60) $$));
SELECT customer(741), event(741, 'long'), customer(742), event(742, 'long');
SET statement_timeout = '200ms';
SELECT is(run_and_cancel(), 'canceling statement due to statement timeout', 'statement_timeout ends run_due');
RESET statement_timeout;
SELECT is((SELECT count(*) FROM customer._due WHERE subject_id > 740), 2::bigint, 'and what it ran is due as before');
SELECT is_empty($$ SELECT FROM customer.failures WHERE subject_id > 740 $$, 'without a failure');
SELECT event(741, 'out'), event(742, 'out');
SELECT verified();

-- a rule that fails on every row is skipped, with a warning, and works again when it is corrected
SELECT forget();
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'e', condition => $$ (event.properties->>'n')::int = 1 $$, name => 'always fails');
SELECT customer(300);
SELECT count(*) AS before FROM customer.failures \gset
SET client_min_messages = error;
INSERT INTO events (customer_id, name, properties) SELECT 300, 'e', '{"n": "x"}' FROM generate_series(1, 3000);
INSERT INTO events (customer_id, name, properties) SELECT 300, 'e', '{"n": "x"}' FROM generate_series(1, 3000);
RESET client_min_messages;
SET client_min_messages = warning;
SELECT cmp_ok((SELECT count(*) FROM customer.failures), '<', :before + 6000::bigint, 'a rule that fails on every row is skipped after a while');
SELECT is(path(300), 'awareness', 'it moves nobody');
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'e', condition => $$ event.properties->>'n' = '1' $$, name => 'always fails');
SELECT event(300, 'e', properties => '{"n": 1}');
SELECT is(path(300), 'awareness > lost', 'corrected, it works again');
-- what stands still of a run that has ended meanwhile waits for nothing
SELECT forget();
DELETE FROM customer.failures;
SELECT define_workflow('customer', 'halts', state => 'live', entry => on_event('halt'), exit => on_event('quit'), steps => run_sql('SELECT 1 / (customer.id - customer.id)'));
SELECT customer(1400), customer(1401);
SELECT event(1400, 'halt'), event(1401, 'halt');
SELECT advance_clock('2 days') FROM generate_series(1, 10);
CREATE FUNCTION standing() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN concat_ws('; ',
    (SELECT string_agg(subject_id::text, ' ' ORDER BY subject_id) FROM customer.waiting WHERE waits_for LIKE 'lifecycle.retry%'),
    (SELECT failed FROM customer.workflow_summary WHERE workflow = 'halts'),
    (SELECT value FROM status() WHERE what = 'parked failures' AND lifecycle = 'customer'),
    (SELECT count(*) FROM explain('customer', 1400) WHERE detail LIKE '%stands still%')); END $$;
SELECT is(standing(), '1400 1401; 2; 2; 1', 'two stand still');
SELECT event(1400, 'quit');
SELECT is(standing(), '1401; 1; 1; 0', 'one has ended');
SELECT is(retry('customer'), 1::bigint, '… so one is put back');
-- the timer of a rule from any stage is nothing to wait for in the stage that it leads to
SELECT forget();
SELECT define_transition('customer', 'any', 'lost', after => '10 days', name => 'leaves any');
SELECT customer(1403);
SELECT is((SELECT string_agg(waits_for, ' ') FROM customer.waiting WHERE subject_id = 1403), 'to lost after 10 days in the stage', 'a rule from any stage');
SELECT move('customer', 1403, 'lost');
SELECT is_empty('SELECT FROM customer.waiting WHERE subject_id = 1403', '… is over in its own');
SELECT is_empty($$ SELECT FROM explain('customer', 1403) WHERE what LIKE 'next:%' $$, '… explain says so too');
-- more kinds of failures than status names
DELETE FROM customer.failures;
INSERT INTO customer.failures (subject_id, kind, name, at, sqlstate, message)
SELECT 1403, 'rule', 'r' || i, lifecycle.now('customer'), '22012', 'x' FROM generate_series(1, 7) i, generate_series(1, 2);
SELECT is((SELECT value || ': ' || detail FROM status() WHERE what = 'failures in the last day' AND lifecycle = 'customer'),
    '14: rule r1: x (2); rule r2: x (2); rule r3: x (2); rule r4: x (2); rule r5: x (2); and others', 'status counts them all');
DELETE FROM customer.failures;
-- functions that are not the owner's any more
SELECT define_transition('customer', 'awareness', 'lost', on_event => 'own', condition => 'customer.plan = ''free''', name => 'own');
CREATE ROLE lc_other;
ALTER FUNCTION customer."_rule own" OWNER TO lc_other;
SELECT is((SELECT string_agg(detail, ', ') FROM verify('customer')) || '; ' || define_transition('customer', 'awareness', 'lost', on_event => 'own', condition => 'customer.plan = ''free''', name => 'own'),
    'function customer."_rule own" of transition "own"; replaced', 'verify names a function of another owner, the same definition mends it');
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
