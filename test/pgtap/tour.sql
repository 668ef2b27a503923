-- The tour of the README under the virtual clock: from sign-up to win-back, the workflow with both branches, its goal, and 90 quiet days.
\ir shop.psql
SELECT plan(33);

SELECT is(define_transition('customer', 'awareness', 'consideration', on_event => 'newsletter_signup'), 'created', 'a rule is created');
SELECT define_transition('customer', '{awareness,consideration}', 'conversion', on_event => 'purchase');
SELECT define_transition('customer', 'conversion', 'retention', on_event => 'purchase');
SELECT define_transition('customer', 'retention', 'advocacy', condition => $$ customer.plan = 'team' $$);
SELECT define_transition('customer', '{conversion,retention,advocacy}', 'inactive', without_event => 'purchase', after => '90 days');
SELECT define_transition('customer', 'inactive', 'retention', on_event => 'purchase');
SELECT define_template('customer', 'welcome', subject_line => 'Welcome, {{ customer.first_name | default: "friend" }}',
    body => 'Thank you for your order of {{ event.properties.amount }}.');
SELECT define_template('customer', 'tips', subject_line => 'Three tips', body => 'Hello {{ customer.first_name }}');
SELECT define_template('customer', 'come_back', subject_line => 'We kept your seat', body => 'Hello {{ customer.first_name }}');
SELECT is(define_workflow('customer', 'onboarding', state => 'live',
    entry => on_stage('conversion'),
    goal  => goal(on_event('activated'), within => '14 days'),
    steps => steps(
        send('email', 'welcome'),
        delay('2 days'),
        branch($$ EXISTS (SELECT FROM events e WHERE e.customer_id = customer.id
                          AND e.name = 'login' AND e.occurred_at >= enrollment.entered_at) $$,
            yes => send('email', 'tips'),
            no  => send('email', 'come_back')))), 'created', 'the workflow is created');

SELECT customer(1), customer(2), customer(3);
UPDATE customers SET first_name = NULL WHERE id = 2;
SELECT is(path(1), 'awareness', 'a row of the subject table is a subject, in the first stage');
SELECT event(1, 'newsletter_signup');
SELECT is(path(1), 'awareness > consideration', 'an event moves');
INSERT INTO events (customer_id, name, properties) VALUES (1, 'purchase', '{"amount": "42 EUR"}'), (2, 'purchase', '{"amount": "7 EUR"}');
SELECT is(path(1), 'awareness > consideration > conversion', 'a purchase converts');
SELECT is(path(2), 'awareness > conversion', 'also straight from awareness');
SELECT is(runs(1), 'onboarding: …', 'the stage begins the workflow, in the same statement');
SELECT is(sent(1), NULL, 'nothing is sent within the statement');
SELECT is(run_due(), 2::bigint, 'two runs are due at once');
SELECT results_eq($$ SELECT subject_line, body, address, status FROM customer.messages ORDER BY subject_id $$,
    $$ VALUES ('Welcome, C1', 'Thank you for your order of 42 EUR.', 'c1@example.com', 'queued'),
              ('Welcome, friend', 'Thank you for your order of 7 EUR.', 'c2@example.com', 'queued') $$, 'messages are rendered from subject and event');
SELECT is(run_due(), 0::bigint, 'then nothing is due');
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 1 AND kind = 'workflow'), '2026-01-03 09:00+00', 'two days later the run goes on');

SELECT advance_clock('1 day');
SELECT event(1, 'login');
SELECT advance_clock('23 hours 59 minutes');
SELECT is(runs(1), 'onboarding: …', 'a minute before the delay ends, nothing has happened');
SELECT advance_clock('1 minute');
SELECT is(sent(1), 'welcome queued c1@example.com, tips queued c1@example.com', 'who has logged in gets tips');
SELECT is((SELECT status || ' ' || coalesce(reason, '') FROM customer.messages WHERE subject_id = 2 AND template = 'come_back'),
    'failed customer.first_name has no value, and no "default" filter gives it one (line 1, column 7)', 'who has not is asked to come back; a missing value fails the message');
SELECT is(runs(1), 'onboarding: completed', 'the run is complete');
SELECT results_eq($$ SELECT ended_at FROM customer.enrollments WHERE workflow = 'onboarding' $$,
    $$ SELECT '2026-01-03 09:00+00'::timestamptz FROM generate_series(1, 2) $$, 'at the end of the delay');

-- the goal counts after the run has ended, within its window
SELECT event(1, 'activated', '2026-01-15 09:00+00');
SELECT event(2, 'activated', '2026-01-15 09:00:01+00');
SELECT is((SELECT converted_at FROM customer.enrollments WHERE subject_id = 1), '2026-01-15 09:00+00', 'activated at the very end of the window: converted');
SELECT is((SELECT converted_at FROM customer.enrollments WHERE subject_id = 2), NULL, 'a second later: not converted');
SELECT results_eq($$ SELECT entered, completed, converted, conversion_rate FROM customer.workflow_summary $$, $$ VALUES (2::bigint, 2::bigint, 1::bigint, 0.5000) $$,
    'the summary says so');

-- 90 days without a purchase
SELECT advance_clock(until => '2026-02-01 12:00+00');
SELECT event(2, 'purchase');
SELECT is(path(2), 'awareness > conversion > retention', 'the second purchase retains');
SELECT advance_clock(until => '2026-04-01 08:59:59+00');
SELECT is(path(1), 'awareness > consideration > conversion', 'a second before the 90 days are over: still there');
SELECT advance_clock('1 second');
SELECT is(path(1), 'awareness > consideration > conversion > inactive', 'inactive after 90 days without a purchase');
SELECT is(since(1), '2026-04-01 09:00+00', 'at that very time');
SELECT advance_clock(until => '2026-06-01 00:00+00');
SELECT is(since(2), '2026-05-02 12:00+00', 'a later purchase puts it off, by itself');
SELECT is(path(3), 'awareness', 'who never bought does not become inactive');
SELECT event(1, 'purchase');
SELECT is(path(1), 'awareness > consideration > conversion > inactive > retention', 'a purchase brings back');
UPDATE customers SET plan = 'team' WHERE id = 1;
SELECT is(path(1), 'awareness > consideration > conversion > inactive > retention > advocacy', 'a changed row moves');
SELECT is(causes(1), 'entry, rule:awareness to consideration on newsletter_signup, rule:awareness, consideration to conversion on purchase, '
    || 'timer:conversion, retention, advocacy to inactive without purchase for 90 days, rule:inactive to retention on purchase, '
    || 'rule:retention to advocacy if condition',
    'each transition with its cause');
SELECT is(runs(1), 'onboarding: completed', 'onboarding once only');
SELECT results_eq($$ SELECT stage::text, subjects FROM customer.stage_summary WHERE subjects > 0 $$,
    $$ VALUES ('awareness', 1::bigint), ('advocacy', 1), ('inactive', 1) $$, 'stage_summary counts them');
SELECT isnt_empty($$ SELECT * FROM explain('customer', '1') $$, 'explain has a story');
SELECT verified();
SELECT * FROM finish();
ROLLBACK;
