-- Two lifecycles, alike but for the number of enrollments that wait and are not due. Variables: customers, waiting, few, due.
SELECT bench.create_customers('public.few_customers', :customers), bench.create_customers('public.many_customers', :customers);
SELECT lifecycle.define_lifecycle(name, (name || '_customers')::regclass),
       lifecycle.define_template(name, 'welcome', subject_line => 'Welcome', body => format('Hello {{ %s.first_name }}', name)),
       lifecycle.define_workflow(name, 'one', state => 'live', steps => lifecycle.steps(
           lifecycle.delay('1 day'), lifecycle.send('email', 'welcome'), lifecycle.delay('30 days'), lifecycle.send('email', 'welcome')))
  FROM unnest('{few,many}'::text[]) AS name;
SELECT lifecycle.pause();

-- The first wait ends some time in the next 300 days.
CREATE PROCEDURE bench.wait(name text, customers bigint, n bigint)
    LANGUAGE plpgsql AS $$
BEGIN
    CALL bench.load(format('%I.subjects', name)::regclass, format('INSERT INTO %I.subjects (subject_id, stage, seq, since)
        SELECT id, ''awareness'', 0, created_at FROM %I', name, name || '_customers'));
    CALL bench.load(format('%I.enrollments', name)::regclass, format($load$
        INSERT INTO %1$I.enrollments (subject_id, version, version_id, workflow, key, entered_at)
        SELECT 1 + bench.draw(i, 1, %2$s), v.version, v.id, v.workflow, i::text, now() - interval '1 day'
          FROM generate_series(1::bigint, %3$s) AS i, lifecycle.workflow_versions v
         WHERE v.lifecycle = %1$L $load$, name, customers, n));
    CALL bench.load(format('%I._due', name)::regclass, format($load$
        INSERT INTO %1$I._due (due_at, subject_id, enrollment_id, entered_at, program, step, kind)
        SELECT now() + (3600 + bench.draw(id, 2, 25920000)) * interval '1 s', subject_id, id, entered_at, version_id, 1, 'w'
          FROM %1$I.enrollments $load$, name));
END $$;
CALL bench.wait('few', :customers, :few + :due);
CALL bench.wait('many', :customers, :waiting);
VACUUM (FREEZE, ANALYZE) few_customers, many_customers, few.subjects, many.subjects, few.enrollments, many.enrollments, few._due, many._due;

-- Makes about n of them due now, in random order and wherever they lie, others in each round; says how many.
CREATE FUNCTION bench.make_due(name text, round integer, n bigint) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    EXECUTE format('TRUNCATE %1$I.activity, %1$I.messages', name);
    EXECUTE format($due$
        UPDATE %1$I._due SET due_at = now() - bench.draw(enrollment_id, 3, 3600000000) * interval '1 us', step = 1
         WHERE bench.draw(enrollment_id, 4 + %2$s, (SELECT max(id) FROM %1$I.enrollments)) < %3$s $due$, name, round, n);
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END $$;
