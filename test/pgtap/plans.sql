-- Plans for few keys use the indexes of the state tables, also when they are made while those are new and empty.
\ir shop.psql
SELECT plan(8);

SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'signup');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'purchase', condition => $$ customer.plan = 'free' $$);
SELECT define_transition('customer', 'conversion', 'inactive', without_event => 'purchase', after => '1 day');
SELECT define_template('customer', 'hello', subject_line => 'Hello', body => 'Hello {{ customer.first_name }}');
SELECT define_workflow('customer', 'greet', state => 'live', reentry => 'always', entry => on_stage('conversion'), exit => on_event('stop'),
    goal => goal(on_event('signup')), steps => steps(send('email', 'hello'), delay('1 hour'), set_stage('advocacy')));
SELECT define_workflow('customer', 'win_back', state => 'live', entry => on_stage('inactive'), steps => steps(delay('1 hour'), exit()));
SELECT customer(id) FROM generate_series(1, 3) id;

CREATE FUNCTION life(id bigint) RETURNS void LANGUAGE sql AS $$
    SELECT event(id, 'signup');
    SELECT event(id, 'purchase');
    SELECT lifecycle.run_due('customer');
    SELECT event(id, 'stop');
    SELECT lifecycle.advance_clock('2 days') $$;
SELECT life(1);
SELECT is(runs(1), 'greet: exit, win_back: exited', 'one went all the way');

-- all plans have been made; from here on the tables are read by key
CREATE TEMP TABLE before AS SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = 'customer';
SELECT life(2), life(3);
SELECT is(runs(3), 'greet: exit, win_back: exited', 'two more did');
SELECT is(now.seq_scan, before.seq_scan, before.relname || ' is not read as a whole')
  FROM before JOIN pg_stat_xact_user_tables now USING (relname)
 WHERE now.schemaname = 'customer' AND relname IN ('subjects', 'transitions', 'enrollments', '_due', 'messages') ORDER BY relname;
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
