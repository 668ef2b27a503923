-- Stepping: enrollments of two workflows, all in their first wait. One sends one message and waits again, the other sends four in a row.
-- Variables: enrollments, chained.
SELECT bench.create_customers('public.customers', :enrollments);
SELECT lifecycle.define_lifecycle('customer', 'customers');
SELECT lifecycle.define_template('customer', 'welcome', subject_line => 'Welcome, {{ customer.first_name | default: "friend" }}',
    body => 'Hello {{ customer.first_name }}, thank you for being with us on the {{ customer.plan }} plan.');
SELECT lifecycle.define_workflow('customer', 'one', state => 'live', steps => lifecycle.steps(
    lifecycle.delay('1 day'), lifecycle.send('email', 'welcome'),
    lifecycle.delay('30 days'), lifecycle.send('email', 'welcome')));
SELECT lifecycle.define_workflow('customer', 'four', state => 'live', steps => lifecycle.steps(
    lifecycle.delay('1 day'), lifecycle.send('email', 'welcome'), lifecycle.send('email', 'welcome'),
    lifecycle.send('email', 'welcome'), lifecycle.send('email', 'welcome'),
    lifecycle.delay('30 days'), lifecycle.send('email', 'welcome')));
SELECT lifecycle.pause();

CALL bench.load('customer.subjects', 'INSERT INTO customer.subjects (subject_id, stage, seq, since)
    SELECT id, ''awareness'', 0, created_at FROM customers');
SELECT format($$ INSERT INTO customer.enrollments (subject_id, version, version_id, workflow, entered_at)
    SELECT c.id, v.version, v.id, v.workflow, now() - interval '1 day'
      FROM customers c, lifecycle.workflow_versions v
     WHERE v.workflow = 'one' OR v.workflow = 'four' AND c.id <= %s ORDER BY v.workflow, c.id $$, :chained) AS statement \gset
CALL bench.load('customer.enrollments', :'statement');
VACUUM ANALYZE customers, customer.subjects, customer.enrollments;

-- The waits of one workflow have all ended within the last hour, in an order that has nothing to do with that of the rows.
CREATE PROCEDURE bench.arm(which text, n bigint)
    LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE customer._due, customer.activity, customer.messages;
    CALL bench.load('customer._due', format($arm$
        INSERT INTO customer._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
        SELECT now() - bench.draw(id, 1, 3600000000) * interval '1 us', subject_id, id, entered_at, version_id, 1, 'w'
          FROM customer.enrollments WHERE workflow = %L LIMIT %s $arm$, which, n));
END $$;
