-- Workflows: entries, re-entry, parallel runs, exits and goals in the middle of a delay, nested branches, and every kind of step.
\ir shop.psql
SELECT plan(68);
SELECT define_template('customer', 'a', subject_line => 'A', body => 'a {{ customer.first_name }}');
SELECT define_template('customer', 'b', body => 'b {{ subject.stage }}');
SELECT define_template('customer', 'c', body => 'c {{ event.properties.amount }} {{ enrollment.entered_at | date: "%Y-%m-%d" }}');

-- entries: by event, stage, change, several, by hand; conditions
SELECT define_workflow('customer', 'event', state => 'live', entry => on_event('signup', $$ event.properties->>'from' = 'web' $$), steps => delay('1 day'));
SELECT define_workflow('customer', 'stage', state => 'live', entry => on_stage('{retention,advocacy}', from_stage => 'awareness'), steps => delay('1 day'));
SELECT define_workflow('customer', 'change', state => 'live', entry => on_change($$ customer.plan = 'team' $$), steps => delay('1 day'), reentry => 'always');
SELECT define_workflow('customer', 'either', state => 'live', entry => triggers(on_event('signup'), on_stage('lost')), steps => delay('1 day'));
SELECT define_workflow('customer', 'hand', state => 'live', steps => send('email', 'a'));
SELECT customer(id) FROM generate_series(1, 6) AS id;
SELECT event(1, 'signup', properties => '{"from": "web"}'), event(2, 'signup', properties => '{"from": "shop"}'), event(3, 'signup');
SELECT is(runs(1), 'either: …, event: …', 'by an event whose condition is true');
SELECT is(runs(2), 'either: …', 'not when it is false');
SELECT is(runs(3), 'either: …', 'nor when it is NULL');
SELECT move('customer', 4, 'retention'), move('customer', 5, 'consideration'), move('customer', 5, 'retention'), move('customer', 6, 'lost');
SELECT is(runs(4), 'stage: …', 'by a stage, from another');
SELECT is(runs(5), NULL, 'not from elsewhere');
SELECT is(runs(6), 'either: …', 'the other of two triggers');
UPDATE customers SET plan = 'team' WHERE id IN (4, 5);
SELECT is(runs(5), 'change: …', 'by a change that makes a condition true');
UPDATE customers SET plan = 'team' WHERE id IN (4, 5);
UPDATE customers SET first_name = 'Other' WHERE id = 5;
SELECT is(runs(5), 'change: …', 'which it stays: nothing becomes true');
SELECT customer(7, plan => 'team');
SELECT is(runs(7), 'change: …', 'an insertion makes it true too');
SELECT ok(enroll('customer', 'hand', 7) IS NOT NULL, 'by hand');
SELECT is(enroll('customer', 'hand', 7), NULL, 'once');
SELECT throws_ok($$ SELECT enroll('customer', 'hand', 12345) $$, 'P0002', NULL, 'nobody else');
SELECT throws_ok(format('SELECT enroll(''customer'', ''hand'', 7, %L)', context), '22023', 'context must be a JSON object', 'not with ' || context)
  FROM unnest('{[1],"\"SPRING\"","null",7}'::text[]) AS context;
SELECT run_due();
SELECT is(sent(7), 'a queued c7@example.com', 'and it runs');
SELECT verified();

-- re-entry: once, always, an interval
SELECT forget();
SELECT define_workflow('customer', 'once', state => 'live', entry => on_event('in'), steps => delay('1 hour'));
SELECT define_workflow('customer', 'always', state => 'live', entry => on_event('in'), reentry => 'always', steps => delay('1 hour'));
SELECT define_workflow('customer', 'interval', state => 'live', entry => on_event('in'), reentry => '2 days', steps => delay('1 hour'));
SELECT customer(10);
SELECT event(10, 'in');
SELECT is(runs(10), 'always: …, interval: …, once: …', 'three workflows at the same time');
SELECT event(10, 'in');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 10), 3::bigint, 'nobody enters twice while in it');
SELECT advance_clock('1 hour');
SELECT event(10, 'in');
SELECT is((SELECT string_agg(workflow, ', ' ORDER BY workflow) FROM customer.enrollments WHERE subject_id = 10 AND ended_at IS NULL), 'always', 'always: as soon as it has ended');
SELECT advance_clock('46 hours 59 minutes 59 seconds');
SELECT event(10, 'in');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 10 AND workflow = 'interval'), 1::bigint, 'interval: not a second before');
SELECT advance_clock('1 second');
SELECT event(10, 'in');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 10 AND workflow = 'interval'), 2::bigint, 'interval: two days after the last entry');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 10 AND workflow = 'once'), 1::bigint, 'once: never again');
SELECT verified();

-- exits and goals, in the middle of a delay and at its end
SELECT forget();
SELECT define_workflow('customer', 'course', state => 'live', entry => on_event('in'), reentry => 'always',
    exit => triggers(on_event('stop'), on_stage('lost'), on_change($$ customer.email IS NULL $$)),
    goal => goal(on_event('bought', $$ (event.properties->>'amount')::numeric >= 10 $$), within => '3 days', exit => true),
    steps => steps(send('email', 'a'), delay('2 days'), send('email', 'b'), delay('10 days'), send('email', 'a')));
SELECT customer(id) FROM generate_series(20, 28) AS id;
SELECT event(id, 'in') FROM generate_series(20, 28) AS id;
SELECT advance_clock('1 day');
SELECT event(20, 'stop');
SELECT is(runs(20), 'course: exit', 'an exit in the middle of a delay acts at once');
SELECT is_empty($$ SELECT FROM customer._due WHERE subject_id = 20 $$, 'and nothing is due any more');
SELECT results_eq($$ SELECT ended_at FROM customer.enrollments WHERE subject_id = 20 $$, $$ SELECT now('customer') $$, 'at the time of the event');
SELECT move('customer', 21, 'lost');
UPDATE customers SET email = NULL WHERE id = 22;
SELECT is(runs(21) || ', ' || runs(22), 'course: exit, course: exit', 'by a stage, by a changed row');
SELECT event(23, 'bought', properties => '{"amount": 5}'), event(24, 'bought', properties => '{"amount": 10}');
SELECT is(runs(23), 'course: …', 'a goal whose condition is false');
SELECT is(runs(24), 'course: goal', 'a goal that ends the run');
SELECT is((SELECT converted_at = ended_at FROM customer.enrollments WHERE subject_id = 24), true, 'it is converted');
-- an exit at the very moment at which a step falls due: the exit wins, when it is there before the step has run
SELECT event(25, 'stop', now('customer') + interval '1 day');
SELECT is(runs(25), 'course: exit', 'an exit with the time of the due step wins');
SELECT advance_clock('1 day');
SELECT is(sent(25), 'a queued c25@example.com', 'and the step does not run');
SELECT is(sent(26), 'a queued c26@example.com, b queued c26@example.com', 'the others go on');
SELECT event(26, 'bought', now('customer') + interval '1 day', '{"amount": 99}'), event(27, 'bought', now('customer') + interval '1 day 1 second', '{"amount": 99}');
SELECT is(runs(26), 'course: goal', 'a goal at the end of its window');
SELECT is(runs(27), 'course: …', 'a second later it is none');
SELECT event(20, 'in');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 20 AND ended_at IS NULL), 1::bigint, 'who has left may come again');
SELECT verified();

-- nested branches, only_if, exit steps with a reason
SELECT forget();
SELECT define_workflow('customer', 'tree', state => 'live', entry => on_event('go'), steps => steps(
    branch($$ customer.plan IN ('team', 'pro') $$,
        yes => steps(
            send('email', 'a', label => 'paid', only_if => $$ customer.plan = 'team' $$),
            branch($$ customer.id % 2 = 0 $$, yes => exit('even'), no => branch($$ customer.id > 33 $$, yes => send('email', 'b', label => 'late')), label => 'even?')),
        no => steps(send('email', 'b', label => 'free'), exit('never', only_if => 'NULL::boolean')), label => 'paid?'),
    delay('1 hour', only_if => $$ customer.plan <> 'pro' $$, label => 'wait'),
    exit(only_if => $$ customer.plan = 'none' $$, label => 'out'),
    send('email', 'a', label => 'last')));
SELECT customer(30, plan => 'free'), customer(31, plan => 'team'), customer(32, plan => 'pro'), customer(33, plan => 'pro'), customer(35, plan => 'pro'), customer(37, plan => 'none');
SELECT event(id, 'go') FROM customers WHERE id BETWEEN 30 AND 37;
SELECT run_due();
SELECT advance_clock('1 hour');
SELECT results_eq($$ SELECT subject_id, string_agg(st.label || '=' || a.outcome, ' ' ORDER BY a.at, a.step) FROM customer.activity a
                       JOIN lifecycle.workflow_steps st USING (version_id, step) WHERE subject_id BETWEEN 30 AND 37 GROUP BY subject_id ORDER BY subject_id $$,
    $$ VALUES (30::bigint, 'paid?=no free=sent exit_2=skipped out=skipped last=sent'), (31, 'paid?=yes paid=sent even?=no branch_1=no out=skipped last=sent'),
              (32, 'paid?=yes paid=skipped even?=yes exit_1=ended'), (33, 'paid?=yes paid=skipped even?=no branch_1=no wait=skipped out=skipped last=sent'),
              (35, 'paid?=yes paid=skipped even?=no branch_1=yes late=sent wait=skipped out=skipped last=sent'), (37, 'paid?=no free=sent exit_2=skipped out=ended') $$,
    'each takes its way through the tree');
SELECT is(runs(30) || ', ' || runs(32) || ', ' || runs(37), 'tree: completed, tree: even, tree: exited', 'and ends with its reason');
SELECT verified();

-- set_stage leads into another workflow, and into rules
SELECT forget();
SELECT define_transition('customer', 'retention', 'advocacy', condition => $$ customer.plan = 'team' $$);
SELECT define_workflow('customer', 'first', state => 'live', entry => on_event('go'), steps => steps(delay('1 hour'), set_stage('retention'), send('email', 'b'), delay('1 hour'), send('email', 'b')));
SELECT define_workflow('customer', 'second', state => 'live', entry => on_stage('retention'), exit => on_stage('advocacy'), steps => steps(send('email', 'a'), delay('1 day')));
SELECT define_workflow('customer', 'third', state => 'live', entry => on_stage('advocacy'), steps => send('email', 'c'));
-- a workflow that its own step ends
SELECT define_workflow('customer', 'suicide', state => 'live', entry => on_event('die'), exit => on_stage('lost'), steps => steps(set_stage('lost'), send('email', 'a')));
SELECT customer(40), customer(41, plan => 'team'), customer(42);
SELECT event(40, 'go'), event(41, 'go'), event(42, 'die');
SELECT advance_clock('90 minutes');
SELECT is(path(40) || '; ' || path(41), 'awareness > retention; awareness > retention > advocacy', 'set_stage moves, and rules follow');
SELECT is(causes(40), 'entry, workflow:first', 'its cause is the workflow');
SELECT is((SELECT e.workflow FROM customer.transitions t JOIN customer.enrollments e ON e.subject_id = t.subject_id AND e.id = t.enrollment_id WHERE t.subject_id = 40), 'first', 'and the run');
SELECT is(runs(40), 'first: …, second: …', 'the stage begins another workflow');
SELECT is(runs(41), 'first: …, second: exit, third: completed', 'whose exit comes with the next stage');
SELECT is((SELECT body FROM customer.messages WHERE subject_id = 40 AND workflow = 'first'), 'b retention', 'the next step sees the new stage');
SELECT is((SELECT reason FROM customer.messages WHERE subject_id = 41 AND workflow = 'third') IS NOT NULL, true, 'a template that reads an event that there is not fails its message');
SELECT is(runs(42) || coalesce(sent(42), ''), 'suicide: exit', 'a step that ends its own run is its last');
SELECT verified();

-- run_sql
SELECT forget();
CREATE TABLE calls (customer_id bigint, stage text, workflow text, amount numeric, at timestamptz);
SELECT define_workflow('customer', 'sql', state => 'live', entry => on_event('order'), exit => on_event('cancelled'), steps => steps(
    run_sql($$ INSERT INTO calls SELECT customer.id, subject.stage, enrollment.workflow, (enrollment.context->'event'->'properties'->>'amount')::numeric, lifecycle.now('customer') $$),
    run_sql($$ UPDATE customers c SET plan = 'team' WHERE c.id = customer.id $$, only_if => $$ customer.id <> 52 $$),
    branch($$ customer.plan = 'team' $$, yes => run_sql($$ INSERT INTO events (customer_id, name) VALUES (customer.id, 'upgraded') $$)),
    delay('1 hour'),
    run_sql($$ INSERT INTO events (customer_id, name) VALUES (customer.id, 'cancelled') $$),
    send('email', 'a')));
SELECT define_transition('customer', 'any', 'advocacy', on_event => 'upgraded');
SELECT customer(50), customer(51), customer(52);
SELECT event(50, 'order', properties => '{"amount": 42.50}'), event(51, 'order', properties => '{"amount": 1}');
SELECT advance_clock('10 minutes');
SELECT event(52, 'order');
SELECT run_due();
SELECT is((SELECT format('%s %s %s %s', customer_id, stage, workflow, amount) FROM calls WHERE customer_id = 50), '50 awareness sql 42.50', 'run_sql reads subject, enrollment and context');
SELECT is((SELECT plan FROM customers WHERE id = 50), 'team', 'and changes rows');
SELECT is(path(50) || '; ' || path(52), 'awareness > advocacy; awareness', 'whose changes are captured');
SELECT advance_clock('1 day');
SELECT is(runs(50) || coalesce(', ' || sent(50), ''), 'sql: exit', 'also when they end the run itself');
SELECT is((SELECT e.occurred_at FROM events e WHERE customer_id = 50 AND name = 'cancelled'), (SELECT at + interval '1 hour' FROM calls WHERE customer_id = 50), 'at the time at which the step was due');
SELECT is((SELECT e.occurred_at - c.at FROM events e JOIN calls c USING (customer_id) WHERE customer_id = 52 AND name = 'cancelled'), interval '1 hour', 'each at its own');
SELECT verified();

-- MERGE
SELECT forget();
CREATE TABLE tally (customer_id bigint PRIMARY KEY, n int NOT NULL, plan text);
SELECT define_workflow('customer', 'merge', state => 'live', entry => on_event('order'), reentry => 'always', steps => steps(
    run_sql($$ MERGE INTO tally AS t USING (SELECT customer.id, customer.plan) AS c ON t.customer_id = c.id
               WHEN MATCHED AND t.n > 1 THEN DELETE
               WHEN MATCHED THEN UPDATE SET n = t.n + 1, plan = c.plan
               WHEN NOT MATCHED THEN INSERT (customer_id, n, plan) VALUES (c.id, 1, subject.stage) $$),
    run_sql($$ MERGE INTO customers AS c USING (SELECT customer.id) AS x ON c.id = x.id WHEN MATCHED THEN UPDATE SET plan = 'merged' $$)));
SELECT define_transition('customer', 'any', 'lost', condition => $$ customer.plan = 'merged' $$);
SELECT customer(60), customer(61);
CREATE FUNCTION order_and_run(VARIADIC customers bigint[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    PERFORM event(id, 'order') FROM unnest(customers) AS id;
    PERFORM run_due();
    RETURN (SELECT string_agg(format('%s %s %s', t.customer_id, t.n, t.plan), ', ' ORDER BY t.customer_id) FROM tally t);
END $$;
SELECT is(order_and_run(60, 61), '60 1 awareness, 61 1 awareness', 'MERGE inserts');
SELECT is(path(60), 'awareness > lost', 'what it changes is captured');
ALTER TABLE tally ALTER COLUMN n TYPE bigint;
ALTER TABLE tally RENAME COLUMN plan TO last_plan;
ALTER TABLE customers ADD COLUMN score int DEFAULT 1;
CREATE OR REPLACE FUNCTION order_and_run(VARIADIC customers bigint[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    PERFORM event(id, 'order') FROM unnest(customers) AS id;
    PERFORM run_due();
    RETURN (SELECT string_agg(format('%s %s %s', t.customer_id, t.n, t.last_plan), ', ' ORDER BY t.customer_id) FROM tally t);
END $$;
SELECT is(order_and_run(60), '60 2 merged, 61 1 awareness', 'and updates, when its tables were altered as well');
SELECT is(order_and_run(60), '61 1 awareness', 'and deletes');
SELECT throws_ok($$ SELECT define_workflow('customer', 'merge', steps => run_sql('MERGE INTO tally t USING (SELECT customer.id) c ON t.customer_id = c.id WHEN MATCHED THEN UPDATE SET m = 1')) $$,
    '42703', NULL, 'it is bound when it is defined');
SELECT is((SELECT count(pg_get_functiondef(p.oid)) FROM pg_proc p WHERE proname LIKE '%merge: run_sql%'), 2::bigint, 'and can be dumped');
-- a lifecycle that gets recipients: the same definition is another program then
SELECT define_template('customer', 'hello', body => 'x');
CREATE TABLE mates (customer_id bigint, mail text);
CREATE FUNCTION define_hello() RETURNS text LANGUAGE sql AS $$
    SELECT define_workflow('customer', 'hello', state => 'live', entry => on_event('hello'), reentry => 'always', steps => send('email', 'hello')) $$;
SELECT define_hello();
SELECT define_lifecycle('customer', 'customers', stages => '{awareness,consideration,conversion,retention,advocacy,inactive,lost}', timezone => 'customer.timezone', simulated => true,
    recipients => 'SELECT m.mail AS address FROM mates m WHERE m.customer_id = customer.id');
SELECT is(define_hello(), 'replaced', 'recipients of the lifecycle make another version');
SELECT is(define_hello(), 'unchanged', '… once');
INSERT INTO mates VALUES (60, 'm@x'), (60, 'n@x');
SELECT event(60, 'hello');
SELECT run_due();
SELECT is(sent(60), 'hello queued m@x, hello queued n@x', '… which sends to them');
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
