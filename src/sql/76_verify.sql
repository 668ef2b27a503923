-- lifecycle.verify: the invariants of the state of a lifecycle, one query each.
--
-- A query gives (subject_id text, detail text) for each violation. In it %1$I is the lifecycle's schema, %2$L its name, %3$s its subject table,
-- %4$I the key column there. All queries of one call see the same snapshot, since verify is STABLE. They are set-based: at most one
-- pass over each state table.

CREATE FUNCTION lifecycle._source_problem(lifecycle name, source name) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__source_problem';
COMMENT ON FUNCTION lifecycle._source_problem(name, name) IS 'Private: why the rows of an event source cannot be read, in words; NULL: they can, or there is no such source.';

CREATE FUNCTION lifecycle._invariants() RETURNS TABLE (invariant text, query text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $invariants$
VALUES
('a subject is in the stage that its last transition led to', $query$
    SELECT coalesce(s.subject_id, t.subject_id)::text,
           CASE WHEN s.subject_id IS NULL
                THEN format('it is not in subjects, but its last transition (seq %%s) led to %%s', t.seq, t.to_stage)
                WHEN t.subject_id IS NULL
                THEN format('it is in %%s with seq %%s, but has no transition', s.stage, s.seq)
                ELSE format('it is in %%s since %%s with seq %%s, but its last transition (seq %%s) led to %%s at %%s',
                            s.stage, s.since, s.seq, t.seq, coalesce(t.to_stage::text, 'nowhere'), t.at)
           END
      FROM %1$I.subjects s
           FULL JOIN (SELECT DISTINCT ON (subject_id) subject_id, seq, to_stage, at
                        FROM %1$I.transitions
                       ORDER BY subject_id DESC, seq DESC) AS t USING (subject_id)
     WHERE CASE WHEN s.subject_id IS NULL THEN t.to_stage IS NOT NULL
                ELSE (s.stage, s.since, s.seq) IS DISTINCT FROM (t.to_stage, t.at, t.seq) END
$query$),
('transitions chain without a gap', $query$
    SELECT subject_id::text,
           CASE WHEN seq <> coalesce(before_seq, 0) + 1
                THEN format('seq %%s follows seq %%s', seq, coalesce(before_seq, 0))
                WHEN from_stage IS DISTINCT FROM before_stage
                THEN format('seq %%s leaves %%s, but the subject was in %%s',
                            seq, coalesce(from_stage::text, 'no stage'), coalesce(before_stage::text, 'no stage'))
                WHEN at < before_at
                THEN format('seq %%s is at %%s, before seq %%s at %%s', seq, at, before_seq, before_at)
                ELSE format('seq %%s says since %%s, but the stage was entered at %%s', seq, coalesce(since::text, 'never'), before_at)
           END
      FROM (SELECT subject_id, seq, from_stage, to_stage, at, since,
                   lag(seq) OVER in_order AS before_seq,
                   lag(to_stage) OVER in_order AS before_stage,
                   lag(at) OVER in_order AS before_at
              FROM %1$I.transitions
            WINDOW in_order AS (PARTITION BY subject_id ORDER BY seq)) AS t
     WHERE seq <> coalesce(before_seq, 0) + 1
        OR from_stage IS DISTINCT FROM before_stage
        OR at < before_at
        OR from_stage IS NOT NULL AND since IS DISTINCT FROM before_at
$query$),
('a subject has a row in the subject table', $query$
    SELECT s.subject_id::text, format('there is no row with %%I = %%s in %%s', %4$L, s.subject_id, %3$L)
      FROM %1$I.subjects s
     WHERE NOT EXISTS (SELECT FROM %3$s AS t WHERE t.%4$I = s.subject_id)
$query$),
('a row in the subject table is a subject', $query$
    SELECT t.%4$I::text, format('it is in no stage; CALL lifecycle.backfill(%%L) takes it in', l.name)
      FROM lifecycle.lifecycles l, %3$s AS t
     WHERE l.name = %2$L AND l.enrolls AND NOT l.waived
       AND NOT EXISTS (SELECT FROM %1$I.subjects s WHERE s.subject_id = t.%4$I)
$query$),
('a workflow runs once at a time for a subject and key', $query$
    SELECT subject_id::text, format('workflow %%s has %%s active runs with key "%%s"', workflow, count(*), key)
      FROM %1$I.enrollments
     WHERE ended_at IS NULL
     GROUP BY subject_id, workflow, key
    HAVING count(*) > 1
$query$),
('a run that has ended says why, an active one does not', $query$
    SELECT subject_id::text, format('run %%s of workflow %%s', id, workflow)
      FROM %1$I.enrollments
     WHERE (ended_at IS NULL) <> (exit_reason IS NULL)
$query$),
('a run follows a version that exists', $query$
    SELECT e.subject_id::text, format('run %%s of workflow %%s follows version %%s', e.id, e.workflow, e.version)
      FROM %1$I.enrollments e
     WHERE NOT EXISTS (SELECT FROM lifecycle.workflow_versions v
                        WHERE v.id = e.version_id AND v.lifecycle = %2$L AND v.workflow = e.workflow AND v.version = e.version)
$query$),
('an active run waits for exactly one thing', $query$
    SELECT e.subject_id::text,
           format('run %%s of workflow %%s has %%s rows in _due and %%s parked failures', e.id, e.workflow,
                  coalesce(d.n, 0), coalesce(f.n, 0))
      FROM %1$I.enrollments e
           LEFT JOIN (SELECT subject_id, enrollment_id, count(*) AS n
                        FROM %1$I._due WHERE kind IN ('s', 'w')
                       GROUP BY subject_id, enrollment_id) AS d
                  ON d.subject_id = e.subject_id AND d.enrollment_id = e.id
           LEFT JOIN (SELECT subject_id, enrollment_id, count(*) AS n
                        FROM %1$I.failures WHERE parked AND enrollment_id IS NOT NULL
                       GROUP BY subject_id, enrollment_id) AS f
                  ON f.subject_id = e.subject_id AND f.enrollment_id = e.id
     WHERE e.ended_at IS NULL AND coalesce(d.n, 0) + coalesce(f.n, 0) <> 1
$query$),
('what is due belongs to an active run', $query$
    SELECT d.subject_id::text, format('a step of run %%s is due at %%s', coalesce(d.enrollment_id::text, 'NULL'), d.due_at)
      FROM %1$I._due d
     WHERE d.kind IN ('s', 'w')
       AND NOT EXISTS (SELECT FROM %1$I.enrollments e
                        WHERE e.subject_id = d.subject_id AND e.id = d.enrollment_id AND e.ended_at IS NULL
                          AND e.version_id = d.program)
$query$),
('what is due is a step of its workflow version', $query$
    SELECT d.subject_id::text,
           format('step %%s of workflow %%s, version %%s, is due at %%s for run %%s', d.step, v.workflow, v.version, d.due_at, d.enrollment_id)
      FROM %1$I._due d
           LEFT JOIN lifecycle.workflow_versions v ON v.id = d.program
     WHERE d.kind IN ('s', 'w')
       AND NOT EXISTS (SELECT FROM lifecycle.workflow_steps st WHERE st.version_id = d.program AND st.step = d.step)
$query$),
('a subject has at most one timer for a rule', $query$
    SELECT d.subject_id::text, format('rule "%%s" has %%s timers', coalesce(min(r.name), d.program::text), count(*))
      FROM %1$I._due d
           LEFT JOIN lifecycle.transition_rules r ON r.id = d.program
     WHERE d.kind = 'r'
     GROUP BY d.subject_id, d.program
    HAVING count(*) > 1
$query$),
('a message that a workflow made has its activity', $query$
    SELECT m.subject_id::text, format('message %%s of workflow %%s, run %%s, step %%s', m.id, m.workflow, m.enrollment_id, m.step)
      FROM %1$I.messages m
     WHERE m.enrollment_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM %1$I.activity a
                        WHERE a.subject_id = m.subject_id AND a.enrollment_id = m.enrollment_id AND a.step = m.step)
$query$),
('a send that was not skipped has a message', $query$
    SELECT a.subject_id::text, format('run %%s, step %%s at %%s', a.enrollment_id, st.label, a.at)
      FROM %1$I.activity a
           JOIN lifecycle.workflow_steps st ON st.version_id = a.version_id AND st.step = a.step
     WHERE st.kind = 'send' AND a.outcome <> 'skipped'
       AND NOT EXISTS (SELECT FROM %1$I.messages m
                        WHERE m.subject_id = a.subject_id AND m.enrollment_id = a.enrollment_id AND m.step = a.step)
$query$),
('the stages of the definition are those of the type', $query$
    SELECT NULL, format('stage "%%s" is only in %%s', coalesce(s.name, e.enumlabel),
                        CASE WHEN s.name IS NULL THEN 'the type' ELSE 'lifecycle.stages' END)
      FROM (SELECT name FROM lifecycle.stages WHERE lifecycle = %2$L) AS s
           FULL JOIN (SELECT e.enumlabel::text
                        FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace
                       WHERE n.nspname = %1$L AND t.typname = 'stage') AS e ON e.enumlabel = s.name
     WHERE s.name IS NULL OR e.enumlabel IS NULL
$query$),
('functions of conditions exist and are the owner''s', $query$
    SELECT NULL, format('function %%I.%%I of %%s', %1$L, used.function, used.what)
      FROM (SELECT condition_function AS function, format('transition "%%s"', name) AS what
              FROM lifecycle.transition_rules WHERE lifecycle = %2$L
            UNION ALL
            SELECT date_function, format('transition "%%s"', name)
              FROM lifecycle.transition_rules WHERE lifecycle = %2$L
            UNION ALL
            SELECT becomes_function, format('event source "%%s"', name)
              FROM lifecycle.event_sources WHERE lifecycle = %2$L
            UNION ALL
            SELECT '_timezone of the subject', 'the time-zone expression' FROM lifecycle.lifecycles WHERE name = %2$L AND timezone IS NOT NULL
            UNION ALL
            SELECT '_recipients of the subject', 'the recipients query' FROM lifecycle.lifecycles WHERE name = %2$L AND recipients IS NOT NULL
            UNION ALL
            SELECT t.condition_function, format('a trigger of workflow "%%s", version %%s', v.workflow, v.version)
              FROM lifecycle.workflow_triggers t JOIN lifecycle.workflow_versions v ON v.id = t.version_id
             WHERE t.lifecycle = %2$L
               AND (EXISTS (SELECT FROM lifecycle.workflows w WHERE w.lifecycle = %2$L AND w.name = v.workflow AND w.version = v.version AND w.state <> 'archived')
                    OR EXISTS (SELECT FROM %1$I.enrollments e WHERE e.version_id = v.id AND e.ended_at IS NULL))
            UNION ALL
            SELECT function, format('step "%%s" of workflow "%%s", version %%s', st.label, v.workflow, v.version)
              FROM lifecycle.workflow_steps st
                   JOIN lifecycle.workflow_versions v ON v.id = st.version_id,
                   unnest(ARRAY[st.only_if_function, st.condition_function]) AS function
             WHERE st.lifecycle = %2$L
               AND (EXISTS (SELECT FROM lifecycle.workflows w WHERE w.lifecycle = %2$L AND w.name = v.workflow AND w.version = v.version AND w.state <> 'archived')
                    OR EXISTS (SELECT FROM %1$I.enrollments e WHERE e.version_id = v.id AND e.ended_at IS NULL))) AS used
     WHERE used.function IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                        WHERE n.nspname = %1$L AND p.proname = used.function AND p.prosqlbody IS NOT NULL
                          AND p.proowner = (SELECT c.relowner FROM pg_class c JOIN lifecycle.lifecycles l ON l.on_table = c.oid WHERE l.name = %2$L))
$query$),
('state belongs to the owner of the subject table', $query$
    SELECT NULL, format('table %%s belongs to %%s, table %%s to %%s: nothing is captured', c.oid::regclass, pg_get_userbyid(c.relowner),
                        t.oid::regclass, pg_get_userbyid(t.relowner))
      FROM lifecycle.lifecycles l
           JOIN pg_class t ON t.oid = l.on_table
           JOIN pg_namespace n ON n.nspname = l.schema
           JOIN pg_class c ON c.relnamespace = n.oid AND c.relowner <> t.relowner
     WHERE l.name = %2$L AND c.relname IN ('subjects', 'transitions', 'enrollments', 'activity', 'messages', 'failures', '_due')
$query$),
('what is listened to can come', $query$
    SELECT NULL, format('%%s listens to event "%%s", which no event source can carry', l.what, l.event)
      FROM (SELECT format('transition "%%s"', r.name), coalesce(r.on_event, r.without_event), r.source
              FROM lifecycle.transition_rules r WHERE r.lifecycle = %2$L
            UNION
            SELECT format('workflow "%%s"', v.workflow), t.event_name, t.source
              FROM lifecycle.workflow_triggers t
                   JOIN lifecycle.workflow_versions v ON v.id = t.version_id
                   JOIN lifecycle.workflows w ON w.lifecycle = v.lifecycle AND w.name = v.workflow AND w.version = v.version AND w.state <> 'archived'
             WHERE t.lifecycle = %2$L) AS l (what, event, source)
     WHERE l.event IS NOT NULL
       AND NOT EXISTS (SELECT FROM lifecycle.event_sources s
                        WHERE s.lifecycle = %2$L AND (l.source IS NULL OR s.name = l.source) AND (s.event_name IS NULL OR s.event_name = l.event))
$query$),
('event sources can be read', $query$
    SELECT NULL, format('event source "%%s" is not captured: %%s', s.name, lifecycle._source_problem(s.lifecycle, s.name))
      FROM lifecycle.event_sources s
     WHERE s.lifecycle = %2$L AND lifecycle._source_problem(s.lifecycle, s.name) IS NOT NULL
$query$),
('the tables of event sources exist', $query$
    SELECT NULL, format('event source "%%s" has lost its table: define it on another one, or call lifecycle.drop_event_source(%%L, %%L)',
                        s.name, s.lifecycle, s.name)
      FROM lifecycle.event_sources s
     WHERE s.lifecycle = %2$L AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.on_table)
$query$),
('templates find their columns', $query$
    SELECT DISTINCT NULL, format('template "%%s" uses column "%%s" of %%s, which does not exist', t.name, r.element, r.root)
      FROM lifecycle.templates t
           JOIN lifecycle.lifecycles l ON l.name = t.lifecycle
           CROSS JOIN LATERAL (VALUES (t.subject_line, false), (t.body, false), (t.html_body, true)) AS part (source, html)
           CROSS JOIN LATERAL lifecycle._template_references(part.source, part.html) AS r
     WHERE t.lifecycle = %2$L AND r.root = l.name::text AND r.element IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = l.on_table AND a.attname = r.element::name AND a.attnum > 0 AND NOT a.attisdropped)
$query$),
('sends find the address', $query$
    SELECT NULL, format('step "%%s" of workflow "%%s", version %%s, sends to column "%%s" of %%s, which does not exist',
                        st.label, v.workflow, v.version, st.arguments->>'column', l.on_table)
      FROM lifecycle.workflow_steps st
           JOIN lifecycle.workflow_versions v ON v.id = st.version_id
           JOIN lifecycle.workflows w ON w.lifecycle = v.lifecycle AND w.name = v.workflow AND w.version = v.version AND w.state <> 'archived'
           JOIN lifecycle.lifecycles l ON l.name = st.lifecycle
     WHERE st.lifecycle = %2$L AND st.kind = 'send' AND st.arguments ? 'column'
       AND NOT EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = l.on_table AND a.attname = (st.arguments->>'column')::name AND a.attnum > 0 AND NOT a.attisdropped)
$query$),
('all changes are captured', $query$
    -- level: 1 for each row, 2 before a statement, 0 after one; as in pg_trigger.tgtype
    WITH RECURSIVE wanted (root, relation, function, arguments, event, bit, level, replicated) AS (
        SELECT l.on_table::oid, l.on_table::oid, '_capture_subject', ARRAY[l.name], e.event, e.bit, e.level, l.replicated
          FROM lifecycle.lifecycles l,
               (VALUES ('INSERT', 4, 0), ('DELETE', 8, 0), ('UPDATE', 16, 0), ('TRUNCATE', 32, 0), ('INSERT', 4, 1)) AS e (event, bit, level)
         WHERE l.name = %2$L
        UNION ALL
        SELECT s.on_table, s.on_table, '_capture_event', ARRAY[s.lifecycle, s.name], e.event, e.bit, e.level, s.replicated
          FROM lifecycle.event_sources s LEFT JOIN pg_class c ON c.oid = s.on_table,
               (VALUES ('INSERT', 4, 1), ('INSERT', 4, 0), ('INSERT', 4, 2), ('UPDATE', 16, 1), ('UPDATE', 16, 0)) AS e (event, bit, level)
         WHERE s.lifecycle = %2$L AND (s.becomes IS NOT NULL OR e.event = 'INSERT') AND (c.relkind = 'p' OR e.level <> 2)
        UNION ALL
        SELECT w.root, i.inhrelid, w.function, w.arguments, w.event, w.bit, w.level, w.replicated
          FROM wanted w JOIN pg_inherits i ON i.inhparent = w.relation
         WHERE w.event = 'INSERT' AND (w.level = 1 OR w.function = '_capture_subject')
    ), captured AS (
        SELECT w.*,
               count(t.oid) > 0 AS has_trigger,
               coalesce(bool_or(t.tgenabled <> 'D'), false) AS enabled,
               coalesce(bool_or(t.tgenabled IN ('A', 'R')), false) AS fires_for_replicas
          FROM wanted w
               JOIN pg_proc p ON p.pronamespace = 'lifecycle'::regnamespace AND p.proname = w.function
               LEFT JOIN pg_trigger t ON t.tgrelid = w.relation AND t.tgfoid = p.oid AND (t.tgtype & w.bit) <> 0 AND (t.tgtype & 3) = w.level
                    AND starts_with(encode(t.tgargs, 'hex'),
                                    (SELECT string_agg(encode(convert_to(a, getdatabaseencoding()), 'hex') || '00', '')
                                       FROM unnest(w.arguments::text[]) AS a))
         GROUP BY w.root, w.relation, w.function, w.arguments, w.event, w.bit, w.level, w.replicated
    )
    SELECT DISTINCT NULL,
           format(CASE WHEN function = '_capture_subject' AND level = 1
                       THEN 'what a subscription writes into %%2$s is not seen' ||
                            CASE WHEN relation = root AND c.relkind = 'r' THEN ': define its lifecycle again with replicated => true' ELSE '' END
                       WHEN NOT has_trigger AND relation <> root AND function = '_capture_subject'
                       THEN '%%2$s is a part of %%3$s and has no triggers of its own: rows that are written straight into it, changed or deleted there are not seen'
                       WHEN NOT has_trigger AND relation <> root
                       THEN '%%s into %%s itself is not seen: it inherits from %%s and has no trigger of its own'
                       WHEN NOT has_trigger THEN '%%s on %%s is not seen: its trigger is missing'
                       WHEN NOT enabled THEN '%%s on %%s is not seen: its trigger is disabled'
                       ELSE '%%s by a subscription into %%s is not seen: it has no row trigger that is always enabled; ' ||
                            'define its event source again with replicated => true'
                  END, event, relation::regclass, root::regclass)
      FROM captured
           JOIN pg_class c ON c.oid = relation
     WHERE (c.relkind = 'r' OR relation = root)
       AND (NOT enabled AND NOT (level = 1 AND function = '_capture_subject')
            OR NOT fires_for_replicas AND level = 1 AND (replicated OR EXISTS (SELECT FROM pg_subscription_rel sr WHERE sr.srrelid = relation)))
$query$)
$invariants$;
COMMENT ON FUNCTION lifecycle._invariants() IS 'Private: what lifecycle.verify checks, in words, with the query that finds violations.';

CREATE FUNCTION lifecycle.verify(name DEFAULT NULL)
    RETURNS TABLE (lifecycle name, invariant text, subject_id text, detail text)
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 10 SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    one record;
    state name;
    rule record;
BEGIN
    IF $1 IS NOT NULL AND NOT EXISTS (SELECT FROM lifecycle.lifecycles l WHERE l.name = $1) THEN
        PERFORM lifecycle._schema_of($1);
    END IF;
    FOR one IN
        SELECT l.name, l.on_table, l.key_column, c.relkind
          FROM lifecycle.lifecycles l LEFT JOIN pg_class c ON c.oid = l.on_table
         WHERE $1 IS NULL OR l.name = $1
         ORDER BY l.name
    LOOP
        BEGIN
            state := lifecycle._schema_of(one.name);
        EXCEPTION WHEN undefined_table THEN
            RETURN QUERY SELECT one.name, 'the state tables exist'::text, NULL::text, SQLERRM;
            CONTINUE;
        END;
        IF one.relkind IS NULL OR one.relkind NOT IN ('r', 'p') THEN
            RETURN QUERY SELECT one.name, 'the subject table exists'::text, NULL::text, format('%s is not a table', one.on_table);
            CONTINUE;
        END IF;
        IF row_security_active(one.on_table) OR lifecycle._hides_rows(state) THEN
            RAISE EXCEPTION 'verify needs to see all rows of lifecycle "%", but row security hides some from you', one.name
                USING ERRCODE = 'insufficient_privilege', HINT = 'Call it as a role with BYPASSRLS.';
        END IF;
        FOR rule IN SELECT i.invariant, i.query FROM lifecycle._invariants() i LOOP
            RETURN QUERY EXECUTE format('SELECT $1, $2, v.subject_id, v.detail FROM (%s) AS v (subject_id, detail)',
                                        format(rule.query, state, one.name, one.on_table, one.key_column))
                USING one.name, rule.invariant;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION lifecycle.verify(name) IS
'Verifies the invariants of one lifecycle, or of all (NULL), and returns a row for each violation: no row is good news. subject_id is NULL when the violation is not about one subject. Reads every state table once or twice, in one snapshot. Errors: unknown lifecycle, row security that hides rows from the caller.';
