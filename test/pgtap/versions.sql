-- States and versions of workflows: draft, shadow, live, paused, archived, dropped; a new version pins those in flight; nobody is lost.
\ir shop.psql
SELECT plan(67);
SELECT define_template('customer', 'a', body => 'a {{ customer.first_name }}');
SELECT define_template('customer', 'b', body => 'b');
CREATE TABLE done (customer_id bigint, what text);
CREATE FUNCTION define_flow(state text, template text DEFAULT 'a', wait interval DEFAULT '1 day') RETURNS text LANGUAGE sql AS $f$
    SELECT define_workflow('customer', 'flow', state => state, entry => on_event('in'), exit => on_event('out'), goal => goal(on_event('yes')), reentry => 'always', steps => steps(
        send('email', template), set_stage('retention'), run_sql($$ INSERT INTO done SELECT customer.id, 'ran' $$), delay(wait), send('email', template, label => 'again'))) $f$;

-- draft
SELECT is(define_flow('draft'), 'created', 'a draft');
SELECT customer(id) FROM generate_series(1, 9) AS id;
SELECT event(1, 'in');
SELECT is(runs(1), NULL, 'a draft does nothing');
SELECT throws_ok($$ SELECT enroll('customer', 'flow', 1) $$, '42704', NULL, 'not by hand either');

-- shadow
SELECT is(define_flow('shadow'), 'replaced', 'shadow');
SELECT is((SELECT version FROM lifecycle.workflows WHERE name = 'flow'), 1, 'another state is no new version');
SELECT event(1, 'in');
SELECT run_due();
SELECT is(sent(1), 'a shadow c1@example.com', 'shadow: messages are rendered and not for sending');
SELECT is((SELECT body FROM customer.messages WHERE subject_id = 1), 'a C1', 'so that one can read them');
SELECT is(path(1), 'awareness', 'shadow: set_stage is skipped');
SELECT is_empty($$ SELECT FROM done $$, 'shadow: run_sql is skipped');
SELECT is((SELECT string_agg(outcome, ' ' ORDER BY step) FROM customer.activity WHERE subject_id = 1), 'shadow shadow shadow', 'and recorded');
SELECT is((SELECT count(*) FROM claim_messages('customer', 'email', 10, '1 minute')), 0::bigint, 'nobody can take such a message');

-- live: who is in shadow stays there
SELECT is(define_flow('live'), 'replaced', 'live');
SELECT event(2, 'in');
SELECT run_due();
SELECT is(sent(2) || ', ' || path(2), 'a queued c2@example.com, awareness > retention', 'live: it acts');
SELECT advance_clock('1 day');
SELECT is(sent(1), 'a shadow c1@example.com, a shadow c1@example.com', 'a run that began in shadow goes on in shadow');
SELECT is(sent(2), 'a queued c2@example.com, a queued c2@example.com', 'a live one does not');
SELECT is(define_flow('live'), 'unchanged', 'the same again');
SELECT throws_ok($$ SELECT event(3, 'in'), define_flow('draft') $$, '55006', NULL, 'no draft in place of a workflow with runs');
SELECT verified();

-- a new version pins those in flight
SELECT event(3, 'in');
SELECT run_due();
SELECT is(define_flow('live', 'b', '2 hours'), 'replaced', 'the next version');
SELECT event(4, 'in');
SELECT run_due();
SELECT advance_clock('2 hours');
SELECT is(sent(4), 'b queued c4@example.com, b queued c4@example.com', 'new runs follow the new version');
SELECT is(sent(3), 'a queued c3@example.com', 'those in flight keep the wait that they began');
SELECT advance_clock('22 hours');
SELECT is(sent(3), 'a queued c3@example.com, a queued c3@example.com', 'and finish the version that they began');
SELECT results_eq($$ SELECT subject_id, version FROM customer.enrollments WHERE subject_id IN (3, 4) ORDER BY 1 $$, $$ VALUES (3::bigint, 1), (4, 2) $$, 'each run says which it follows');
-- exits and goals of the old version still count for its runs
SELECT event(5, 'in');
SELECT define_workflow('customer', 'flow', state => 'live', entry => on_event('in again'), steps => delay('1 hour'));
SELECT event(5, 'yes'), event(5, 'out');
SELECT is((SELECT exit_reason || (converted_at IS NOT NULL) FROM customer.enrollments WHERE subject_id = 5), 'exittrue', 'goal and exit of a version that is not the current one');
SELECT event(6, 'in');
SELECT is(runs(6), NULL, 'its entry counts no more');
SELECT verified();

-- pause: due times stay, nobody is lost, nothing twice
SELECT define_flow('live');
SELECT event(6, 'in'), event(7, 'in');
SELECT run_due();
SELECT until AS before FROM customer.waiting WHERE subject_id = 6 \gset
SELECT advance_clock('1 hour');
SELECT pause_workflow('customer', 'flow');
SELECT event(8, 'in'), event(9, 'in');
SELECT event(7, 'out'), event(9, 'out');
SELECT is(runs(8) || ', ' || runs(7), 'flow: …, flow: exit', 'paused: people enter and leave');
SELECT advance_clock('10 days');
SELECT is(sent(8), NULL, 'but nothing runs');
SELECT is((SELECT until FROM customer.waiting WHERE subject_id = 6), :'before', 'due times stay');
SELECT is(define_flow('live'), 'unchanged', 'the definition of a paused workflow may be said again');
SELECT is((SELECT paused FROM lifecycle.workflows WHERE name = 'flow'), true, 'and does not resume it');
SELECT verified();
SELECT resume_workflow('customer', 'flow');
SELECT cmp_ok(run_due(), '>', 1::bigint, 'what fell due in the pause runs at resume');
SELECT is(sent(6), 'a queued c6@example.com, a queued c6@example.com', 'who waited goes on');
SELECT is(sent(8), 'a queued c8@example.com', 'who entered begins');
SELECT is(sent(7) || coalesce(sent(9), ''), 'a queued c7@example.com', 'who left is gone');
SELECT advance_clock('1 day');
SELECT is(sent(8), 'a queued c8@example.com, a queued c8@example.com', 'each once');
-- a paused lifecycle, and everything
SELECT event(9, 'in');
SELECT pause('customer');
SELECT is(run_due(), 0::bigint, 'a paused lifecycle');
SELECT move('customer', 9, 'lost');
SELECT is(path(9), 'awareness > lost', 'whose stages move on');
SELECT resume('customer');
SELECT pause();
SELECT is(run_due(), 0::bigint, 'everything paused');
SELECT resume();
SELECT is(run_due(), 1::bigint, 'and resumed');
SELECT verified();

-- archive
SELECT event(1, 'in'), event(2, 'in');
SELECT run_due();
SELECT is(archive_workflow('customer', 'flow'), 3::bigint, 'archiving ends the active runs');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE ended_at = now('customer') AND exit_reason = 'archived'), 3::bigint, 'with that reason');
SELECT is_empty($$ SELECT FROM customer._due $$, 'nothing stays due');
SELECT event(3, 'in');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 3), 1::bigint, 'nobody enters any more');
SELECT throws_ok($$ SELECT resume_workflow('customer', 'flow') $$, '55000', NULL, 'an archived workflow cannot be resumed');
SELECT is(define_flow('live'), 'replaced', 'but defined again');
SELECT event(3, 'in');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE subject_id = 3 AND ended_at IS NULL), 1::bigint, 'and entered');
SELECT verified();

-- drop
SELECT run_due();
SELECT drop_workflow('customer', 'flow');
SELECT is((SELECT count(*) FROM customer.enrollments WHERE ended_at IS NULL), 0::bigint, 'dropping ends the runs');
SELECT cmp_ok((SELECT count(*) FROM customer.messages WHERE workflow = 'flow'), '>', 10::bigint, 'and keeps what has happened');
SELECT is((SELECT max(version) FROM lifecycle.workflow_versions WHERE workflow = 'flow'), (SELECT max(version) FROM customer.enrollments) + 0, 'and the versions');
SELECT is(define_flow('live', 'b'), 'created', 'a workflow of the same name');
SELECT event(4, 'in');
SELECT ok((SELECT max(version) FROM customer.enrollments WHERE subject_id = 4) > (SELECT max(version) FROM customer.enrollments WHERE subject_id <> 4), 'counts on from there');
SELECT lives_ok($$ SELECT * FROM explain('customer', 4) $$, 'explain tells of the old and the new');
SELECT verified();

-- what is late is run at the end of the pause, by the clock that says when that is, and by no other
CREATE FUNCTION due() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(to_char(due_at, 'MM-DD HH24:MI'), ', ' ORDER BY due_at) FROM customer._due WHERE subject_id = 1 $$;
SELECT is(define_flow('live', 'a', '1 hour'), 'replaced', 'it waits for an hour');
SELECT event(1, 'in');
SELECT run_due();
SELECT due() AS before \gset
SELECT lifecycle.now('customer') + interval '1 day' AS later \gset
SET lifecycle.clock = :'later';
SELECT to_char(lifecycle.now('customer'), 'MM-DD HH24:MI') AS now \gset
SELECT resume();
SELECT is(due(), :'before', 'resume() where nothing was paused');
SELECT pause_workflow('customer', 'flow'), pause('customer'), pause();
SET lifecycle.clock = '';
SELECT resume();
SELECT is(due(), :'before', 'resume() without a clock');
SELECT resume('customer');
SELECT is(due(), :'before', 'resume(lifecycle) without a clock');
SELECT resume_workflow('customer', 'flow');
SELECT is(due(), :'before', 'resume_workflow without a clock');
SET lifecycle.clock = :'later';
SELECT pause();
-- one that is broken keeps nobody paused
CREATE TABLE gone (id bigint PRIMARY KEY);
SELECT define_lifecycle('gone', 'gone', simulated => true);
DROP TABLE gone;
SET client_min_messages = error;
SELECT lives_ok('SELECT resume()', 'resume() beside a broken lifecycle');
SET client_min_messages = warning;
SELECT is(lifecycle._installation_state(), 'here', 'is the end of the pause');
SELECT is(due(), :'now', 'and what was late is due at that moment');
SELECT drop_lifecycle('gone');
UPDATE customer._due SET due_at = due_at - interval '1 hour';
UPDATE lifecycle._installation SET database = 1;
SELECT resume();
SELECT is(due(), :'now', 'the same in a copy');
SELECT run_due();
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
