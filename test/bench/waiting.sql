-- A queue as the worker leaves it: everybody is enrolled in one of many workflows, which wait for different times, mixed at random, and the worker runs all
-- of them into their waits. The waits of the first `rounds` workflows are over first, those of `due` enrollments each.
-- Variables: customers, waiting, due, rounds.
SELECT bench.create_customers('public.customers', :customers);
SELECT lifecycle.define_lifecycle('customer', 'customers');
SELECT lifecycle.define_template('customer', 'welcome', subject_line => 'Welcome', body => 'Hello {{ customer.first_name }}');
SELECT count(lifecycle.define_workflow('customer', 'wait ' || i, state => 'live', steps => lifecycle.steps(
           lifecycle.delay(CASE WHEN i <= :rounds THEN make_interval(days => 1, hours => i) ELSE make_interval(days => 10 * (i - :rounds)) END),
           lifecycle.send('email', 'welcome'), lifecycle.delay('30 days'), lifecycle.send('email', 'welcome'))))
  FROM generate_series(1, :rounds + 30) AS i;
SELECT lifecycle.pause();

CALL bench.load('customer.subjects', 'INSERT INTO customer.subjects (subject_id, stage, seq, since)
    SELECT id, ''awareness'', 0, created_at FROM customers');
SELECT format($$ INSERT INTO customer.enrollments (subject_id, version, version_id, workflow, key, entered_at)
    SELECT 1 + bench.draw(i, 1, %1$s), v.version, v.id, v.workflow, i::text, now() - interval '1 hour'
      FROM (SELECT i, bench.draw(i, 2, %2$s) AS place FROM generate_series(1::bigint, %2$s) AS i) AS drawn
      JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS number FROM lifecycle.workflow_versions) AS v
        ON v.number = CASE WHEN place < %3$s * %4$s THEN place / %3$s ELSE %4$s + bench.draw(i, 3, 30) END $$,
    :customers, :waiting + :rounds * :due, :due, :rounds) AS statement \gset
CALL bench.load('customer.enrollments', :'statement');
CALL bench.load('customer._due', $$ INSERT INTO customer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
    SELECT now() - bench.draw(id, 4, 3600000000) * interval '1 us', subject_id, id, entered_at, version_id, 1, 's' FROM customer.enrollments $$);
VACUUM (FREEZE, ANALYZE) customers, customer.subjects, customer.enrollments, customer._due;

-- Keeps what the worker has left.
CREATE PROCEDURE bench.keep_queue(rounds integer)
    LANGUAGE plpgsql SET max_parallel_workers_per_gather = 0 SET synchronize_seqscans = off AS $$
BEGIN
    CREATE TABLE bench.queue AS SELECT * FROM customer._due;
    CREATE TABLE bench.rounds AS
        SELECT v.id AS program, row_number() OVER (ORDER BY v.id) - 1 AS round, (SELECT min(q.due_at) FROM bench.queue q WHERE q.program = v.id) AS began
          FROM lifecycle.workflow_versions v ORDER BY v.id LIMIT rounds;
END $$;

-- Puts it back; the waits of the first round are over after `first`, those of each further round so much later. What lies beside what stays so.
CREATE PROCEDURE bench.fill(first interval, later interval)
    LANGUAGE plpgsql SET max_parallel_workers_per_gather = 0 SET synchronize_seqscans = off AS $$
BEGIN
    TRUNCATE customer._due, customer.activity, customer.messages;
    CALL bench.load('customer._due', format('INSERT INTO customer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
        SELECT CASE WHEN round IS NULL THEN due_at ELSE now() + %L::interval + round * %L::interval + (due_at - began) / 1000 END,
               subject_id, enrollment_id, entered_at, program, step, kind
          FROM bench.queue LEFT JOIN bench.rounds USING (program)', first, later));
END $$;
