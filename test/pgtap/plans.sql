-- Statements find rows of the state tables by their indexes: for few keys also when the plans are made while the tables are new and empty, for many
-- also when the planner would rather read all of a table, or compare each key with each row of it.
\ir shop.psql
SELECT plan(32);

SELECT define_transition('customer', 'awareness', 'consideration', on_event => 'signup');
SELECT define_transition('customer', 'consideration', 'conversion', on_event => 'purchase', condition => $$ customer.plan = 'free' $$);
SELECT define_transition('customer', 'conversion', 'inactive', without_event => 'purchase', after => '1 day');
SELECT define_template('customer', 'hello', subject_line => 'Hello', body => 'Hello {{ customer.first_name }}');
SELECT define_workflow('customer', 'greet', state => 'live', reentry => 'always', entry => on_stage('conversion'), exit => on_event('stop'),
    goal => goal(on_event('signup')), steps => steps(send('email', 'hello'), delay('1 hour'),
    branch($$ enrollment.entered_at >= '2026-01-01' AND subject.stage = 'conversion' $$, yes => set_stage('advocacy'))));
SELECT define_workflow('customer', 'win_back', state => 'live', entry => on_stage('inactive'), steps => steps(delay('1 hour'),
    branch($$ EXISTS (SELECT FROM events e WHERE e.customer_id = customer.id) AND subject.stage = 'inactive' AND enrollment.workflow = 'win_back' $$, yes => exit())));
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

-- the same of 400 customers at a time, whose keys lie close together or far apart, and the end of all that is left of them
CREATE FUNCTION lives(first bigint, apart bigint) RETURNS void LANGUAGE sql AS $$
    SELECT count(customer(first + i * apart)) FROM generate_series(0, 399) i;
    INSERT INTO events (customer_id, name) SELECT first + i * apart, name FROM generate_series(0, 399) i, unnest('{signup,purchase}'::text[]) name;
    SELECT lifecycle.run_due('customer');
    INSERT INTO events (customer_id, name) SELECT first + i * apart, 'stop' FROM generate_series(0, 399, 2) i;
    SELECT lifecycle.advance_clock('1 hour');
    SELECT lifecycle.advance_clock('2 days');
    DELETE FROM customers WHERE id IN (SELECT first + i * apart FROM generate_series(0, 399, 5) i) $$;

-- 10,000 others wait, of whom no statement reads more than a few; of each of the 800 several read a few rows
SELECT define_workflow('customer', 'stay', state => 'live', entry => on_event('stay'), steps => steps(delay('1 year')));
SELECT count(customer(id)) FROM generate_series(10001, 20000) id;
INSERT INTO events (customer_id, name) SELECT generate_series(10001, 20000), 'stay';
SELECT lifecycle.run_due('customer');
CREATE FUNCTION read_by_key(first bigint, far bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE before;
    INSERT INTO before SELECT relname, seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE schemaname = 'customer';
    PERFORM lives(first, 1), lives(far, 1000);
    RETURN NEXT is(runs(first + 1), 'greet: completed', 'some went to the end of one');
    RETURN NEXT is(runs(far + 2000), 'greet: exit, win_back: exited', 'others of the other');
    RETURN QUERY SELECT is(now.seq_scan, before.seq_scan, before.relname || ' is not read as a whole for many')
      FROM before JOIN pg_stat_xact_user_tables now USING (relname)
     WHERE now.schemaname = 'customer' AND relname IN ('subjects', 'transitions', 'enrollments', '_due', 'messages') ORDER BY relname;
    RETURN QUERY SELECT cmp_ok(now.idx_tup_fetch - before.idx_tup_fetch, '<', 9000::bigint, before.relname || ' is not read by the whole of an index')
      FROM before JOIN pg_stat_xact_user_tables now USING (relname)
     WHERE now.schemaname = 'customer' AND relname IN ('subjects', 'transitions', 'enrollments', '_due', 'messages') ORDER BY relname;
END $$;
ALTER TABLE before ADD idx_tup_fetch bigint;
SELECT read_by_key(1000, 100000);
ANALYZE;
SELECT read_by_key(2000, 1000000);
SELECT verified();

SELECT * FROM finish();
ROLLBACK;
