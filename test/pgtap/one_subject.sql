-- Many rows of one subject that are due at once: run in one batch, one after the other in due order, each seeing what those before it have done.
\ir shop.psql
SELECT plan(16);

CREATE TABLE buyers (id bigint PRIMARY KEY, plan text NOT NULL DEFAULT 'free');
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, buyer_id bigint NOT NULL, name text NOT NULL,
                     occurred_at timestamptz NOT NULL DEFAULT now());
SELECT define_lifecycle('buyer', 'buyers', stages => '{new,tried,kept}') AS defined \gset
SELECT define_event_source('buyer', 'orders', subject_column => 'buyer_id', name_column => 'name', time_column => 'occurred_at') AS defined \gset
CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, buyer_id bigint, enrollment_id bigint, what text);

-- How many entries of the index on due_at this transaction has read.
CREATE FUNCTION entries_read() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT pg_stat_get_xact_tuples_returned(i.indexrelid)
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     WHERE i.indrelid = 'buyer._due'::regclass AND a.attname = 'due_at'); END $$;
-- How many batches have written effects: each in a subtransaction of its own.
CREATE FUNCTION batches() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(DISTINCT xmin::text) FROM effects); END $$;
CREATE FUNCTION effects() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(what, ' ' ORDER BY n) FROM effects $$;

-- A run by hand in the wait of the first step, which has ended that long ago.
CREATE FUNCTION waits(buyer bigint, workflow text, key text, ago interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH run AS (
        INSERT INTO buyer.enrollments (subject_id, version, version_id, workflow, key, entered_at)
        SELECT buyer, v.version, v.id, v.workflow, waits.key, now() - interval '1 day'
          FROM lifecycle.workflow_versions v WHERE v.lifecycle = 'buyer' AND v.workflow = waits.workflow RETURNING *)
    INSERT INTO buyer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
    SELECT now() - ago, subject_id, id, entered_at, version_id, 1, 'w' FROM run;
END $$;

SELECT define_workflow('buyer', 'note', state => 'live', reentry => 'always', exit => on_event('stop'), steps => steps(delay('1 day'),
    run_sql($$ INSERT INTO effects (buyer_id, enrollment_id, what) SELECT buyer.id, enrollment.id, enrollment.key $$))) AS defined \gset
INSERT INTO buyers SELECT generate_series(1, 4);

-- in due order, which is not that of the table, and beside others
SELECT count(waits(1, 'note', i::text, i * interval '1 s')) AS n FROM generate_series(1, 600) AS i \gset
SELECT count(waits(2, 'note', i::text, i * interval '1 s')) AS n FROM generate_series(1, 3) AS i \gset
SELECT entries_read() AS before \gset
SELECT is(run_due('buyer'), 603::bigint, 'many rows of one subject');
SELECT cmp_ok(entries_read() - :before, '<', 2 * 603::bigint, 'are found without walking over them again and again');
SELECT is(batches(), 1::bigint, 'and run in one batch');
SELECT is((SELECT array_agg(what::integer ORDER BY n) FROM effects WHERE buyer_id = 1), (SELECT array_agg(i ORDER BY i DESC) FROM generate_series(1, 600) AS i),
          'each once, in due order');
SELECT is((SELECT string_agg(what, ' ' ORDER BY n) FROM effects WHERE buyer_id = 2), '3 2 1', 'and so are those of another');

-- more than one batch may have of one subject
TRUNCATE effects;
SELECT count(waits(1, 'note', i::text, i * interval '1 s')) AS n FROM generate_series(1, 10000) AS i \gset
ANALYZE buyer.enrollments;
SELECT entries_read() AS before \gset
SELECT is(run_due('buyer'), 10000::bigint, 'more rows of one subject than a batch takes');
SELECT cmp_ok(entries_read() - :before, '<', 3 * 10000::bigint, 'are looked at a few times, and not for each row');
SELECT is((SELECT array_agg(what::integer ORDER BY n) FROM effects), (SELECT array_agg(i ORDER BY i DESC) FROM generate_series(1, 10000) AS i),
          'each once, in due order');

-- one sees what the one before it has done: its stage, its exits
TRUNCATE effects;
SELECT define_workflow('buyer', 'climb', state => 'live', reentry => 'always', steps => steps(delay('1 day'),
    branch('subject.stage = ''new''', yes => steps(set_stage('tried')), no => steps(set_stage('kept'))))) AS defined \gset
SELECT define_workflow('buyer', 'stop', state => 'live', reentry => 'always', steps => steps(delay('1 day'),
    run_sql($$ INSERT INTO orders (buyer_id, name) VALUES (buyer.id, 'stop') $$))) AS defined \gset
SELECT waits(1, 'climb', 'first', '5 s'), waits(1, 'climb', 'second', '4 s'),
       waits(2, 'note', 'before', '5 s'), waits(2, 'stop', '', '4 s'), waits(2, 'note', 'behind', '3 s');
SELECT run_due('buyer') AS done \gset
SELECT is((SELECT string_agg(to_stage::text, ' ' ORDER BY seq) FROM buyer.transitions WHERE subject_id = 1 AND cause = 'workflow'), 'tried kept',
          'the second run sees the stage that the first has set');
SELECT is(effects() || ', ' || (SELECT exit_reason FROM buyer.enrollments WHERE subject_id = 2 AND key = 'behind'), 'before, exit',
          'a run that an earlier one of the batch has ended does nothing');

-- … which nobody asks for where none was ended
CREATE FUNCTION scans_of_enrollments() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (
    SELECT pg_stat_get_xact_numscans('buyer.enrollments'::regclass) + sum(pg_stat_get_xact_numscans(indexrelid))
      FROM pg_index WHERE indrelid = 'buyer.enrollments'::regclass); END $$;
SELECT define_workflow('buyer', 'idle', state => 'live', reentry => 'always', steps => steps(delay('1 day'), delay('1 day'))) AS defined \gset
SELECT count(waits(1, 'idle', i::text, i * interval '1 s')) AS n FROM generate_series(1, 3) AS i \gset
SELECT scans_of_enrollments() AS before \gset
SELECT run_due('buyer') AS done \gset
SELECT is(:done || ' rows, ' || scans_of_enrollments() - :before || ' scans', '3 rows, 0 scans', 'where nothing was ended, enrollments are not read for that');

-- a row that fails does not disturb those around it, and what it would have run after still ends
TRUNCATE effects;
SELECT define_workflow('buyer', 'fail', state => 'live', reentry => 'always', steps => steps(delay('1 day'),
    run_sql($$ SELECT 1 / (buyer.id - buyer.id) $$))) AS defined \gset
SELECT waits(3, 'note', 'one', '9 s'), waits(3, 'fail', '', '8 s'), waits(3, 'note', 'two', '7 s'), waits(3, 'stop', '', '6 s'),
       waits(3, 'note', 'three', '5 s');
SELECT run_due('buyer') AS done \gset
SELECT is(effects(), 'one two', 'those before and behind a row that fails are run once, those that have been ended are not');

-- the timer of a rule, between two runs
TRUNCATE effects;
SELECT define_transition('buyer', '{new,tried}', 'kept', after => '1 hour') AS defined \gset
SELECT waits(4, 'climb', '', '9 s');
UPDATE buyer._due SET due_at = now() - interval '8 s' WHERE subject_id = 4 AND kind = 'r';
SELECT run_due('buyer') AS done \gset
SELECT is((SELECT count(*) FROM buyer._due WHERE subject_id = 4 AND kind = 'r'), 1::bigint, 'a stage that is left takes its timer along, and is entered with one');

-- simulated time: what a row leads to comes before what is due later
CREATE FUNCTION note_effect(what text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT run_sql(format('INSERT INTO effects (buyer_id, what) SELECT customer.id, %L', what)) $$;
SELECT define_workflow('customer', 'early', state => 'live', entry => on_event('go'), steps => steps(
    delay('1 hour'), note_effect('early'), delay('30 minutes'), note_effect('later'))) AS defined \gset
SELECT define_workflow('customer', 'late', state => 'live', entry => on_event('go'), steps => steps(delay('2 hours'), note_effect('late'))) AS defined \gset
SELECT customer(1), event(1, 'go');
SELECT run_due('customer') AS done \gset
SET lifecycle.clock = '2026-01-03 09:00+00';
SELECT run_due('customer') AS done \gset
SELECT is(effects(), 'early later late', 'simulated: in the order of time');
SELECT verified(name) FROM lifecycles;
SELECT * FROM finish();
ROLLBACK;
