-- Reading a lifecycle: funnel, explain, status, rule_stats. All of it runs with the rights of who asks: the owner of the lifecycle, and roles that
-- may read the tables of its schema.

-- Called for each row and running no SQL, these two have no search_path of their own: setting it would cost more than they do.
CREATE FUNCTION lifecycle._funnel_add(state internal, stage anyenum, at timestamptz, stages anyarray, within interval, until timestamptz, zone text)
    RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lifecycle__funnel_add';
CREATE FUNCTION lifecycle._funnel_result(state internal) RETURNS timestamptz[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lifecycle__funnel_result';
CREATE AGGREGATE lifecycle._funnel(stage anyenum, at timestamptz, stages anyarray, within interval, until timestamptz, zone text) (
    SFUNC = lifecycle._funnel_add, STYPE = internal, FINALFUNC = lifecycle._funnel_result, PARALLEL = SAFE
);
COMMENT ON FUNCTION lifecycle._funnel_add(internal, anyenum, timestamptz, anyarray, interval, timestamptz, text) IS 'Private: part of lifecycle._funnel.';
COMMENT ON FUNCTION lifecycle._funnel_result(internal) IS 'Private: part of lifecycle._funnel.';
COMMENT ON AGGREGATE lifecycle._funnel(anyenum, timestamptz, anyarray, interval, timestamptz, text) IS 'Private: over the entries of one subject in their order, when the best attempt at a funnel reached each of its steps.';

CREATE FUNCTION lifecycle._zones(lifecycle name) RETURNS SETOF record
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__zones';
COMMENT ON FUNCTION lifecycle._zones(name) IS 'Private: key and time zone of each subject of a lifecycle that has a time-zone expression, for those who may read all its subjects.';

CREATE FUNCTION lifecycle._local_sum(lifecycle name, key text, at timestamptz, after interval) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__local_sum';
COMMENT ON FUNCTION lifecycle._local_sum(name, text, timestamptz, interval) IS 'Private: so long after a time, by the calendar of a subject''s time zone; of UTC for those who may not read all subjects.';

CREATE FUNCTION lifecycle.funnel(lifecycle name, stages text[], within interval DEFAULT NULL,
                                 since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL)
    RETURNS TABLE (step integer, stage text, subjects bigint, conversion numeric, step_conversion numeric, median_time interval)
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    schema name := lifecycle._schema_of(lifecycle);
    zones text := '(SELECT NULL::text) AS z (zone) ON true';
    wrong text;
BEGIN
    IF coalesce(cardinality(stages), 0) NOT BETWEEN 1 AND 100 OR EXISTS (SELECT FROM unnest(stages) AS asked WHERE asked IS NULL) THEN
        RAISE EXCEPTION 'a funnel needs 1 to 100 stages, none of them null'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Name them in order, as in funnel(''customer'', ''{awareness,conversion}'').';
    END IF;
    SELECT asked INTO wrong FROM unnest(stages) AS asked
     WHERE NOT EXISTS (SELECT FROM lifecycle.stages s WHERE s.lifecycle = $1 AND s.name = asked)
     LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'lifecycle "%" has no stage "%"', lifecycle, wrong
            USING ERRCODE = 'undefined_object',
                  HINT = (SELECT 'Its stages are: ' || string_agg(quote_ident(s.name), ', ' ORDER BY s.position) || '.'
                            FROM lifecycle.stages s WHERE s.lifecycle = $1);
    END IF;
    IF within < interval '0' THEN
        RAISE EXCEPTION 'window of a funnel must not be negative'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Write it as in within => ''30 days'', or leave it out.';
    END IF;
    IF (extract(year FROM within), extract(month FROM within), extract(day FROM within)) <> (0, 0, 0)
       AND EXISTS (SELECT FROM lifecycle.lifecycles l WHERE l.name = $1 AND l.timezone IS NOT NULL)
    THEN
        SELECT format('lifecycle._zones(%L) AS z (subject_id %s, zone text) USING (subject_id)', lifecycle, format_type(a.atttypid, a.atttypmod))
          INTO zones
          FROM pg_attribute a
         WHERE a.attrelid = format('%I.subjects', schema)::regclass AND a.attname = 'subject_id';
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH attempts AS (
            SELECT lifecycle._funnel(t.to_stage, t.at, $1::%1$I.stage[], $2, $4, t.zone) AS reached
              FROM (SELECT subject_id, to_stage, at, z.zone
                      FROM %1$I.transitions LEFT JOIN %2$s
                     WHERE to_stage = ANY ($1::%1$I.stage[]) AND ($3 IS NULL OR at >= $3)
                     ORDER BY subject_id, seq) AS t
             GROUP BY t.subject_id
        ), steps AS (
            SELECT r.step, count(*) AS subjects,
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY r.at - a.reached[r.step - 1]) AS median_time
              FROM attempts a, unnest(a.reached) WITH ORDINALITY AS r (at, step)
             GROUP BY r.step
        )
        SELECT asked.step::integer,
               asked.stage,
               coalesce(s.subjects, 0),
               round(coalesce(s.subjects, 0) / nullif(first_value(s.subjects) OVER in_order, 0)::numeric, 4),
               round(coalesce(s.subjects, 0) / nullif(lag(s.subjects) OVER in_order, 0)::numeric, 4),
               s.median_time
          FROM unnest($1) WITH ORDINALITY AS asked (stage, step)
               LEFT JOIN steps s USING (step)
        WINDOW in_order AS (ORDER BY asked.step)
         ORDER BY asked.step
        $query$, schema, zones)
        USING stages, within, since, until;
END $$;
COMMENT ON FUNCTION lifecycle.funnel(name, text[], interval, timestamptz, timestamptz) IS
'How many subjects went through the stages in that order. An attempt begins when a subject enters the first stage, from since (included) until until (excluded), and reaches a step when the subject enters its stage later than that of the step before; other stages may lie in between. within: only steps reached at most so long after the attempt began (days and months are those of the subject''s time zone, of UTC for those deleted since), NULL: whenever. Each subject counts once, with its attempt that came furthest; of several, the one that got there first; of those, the one that began last. conversion: share of the first step; step_conversion: share of the step before; median_time: from the step before to this one. Subjects deleted since are counted. Errors: unknown lifecycle or stage, no stages, a negative window; with days in the window, a reader who may not read all of the lifecycle''s subjects.';

CREATE FUNCTION lifecycle._last_events(lifecycle name, key text) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    source record;
    at timestamptz;
    result jsonb := '{}';
BEGIN
    FOR source IN
        SELECT r.id AS rule, r.without_event AS event, s.on_table, s.subject_column, s.name_column, s.time_column,
               format_type(a.atttypid, a.atttypmod) AS subject_type, format_type(coalesce(nullif(tt.typbasetype, 0), tt.oid), -1) AS time_type,
               k.atttypid AS key_type, a.atttypid
          FROM lifecycle.transition_rules r
               JOIN lifecycle.lifecycles l ON l.name = r.lifecycle
               JOIN lifecycle.event_sources s ON s.lifecycle = r.lifecycle AND (r.source IS NULL OR s.name = r.source)
                    AND (s.event_name IS NULL OR s.event_name = r.without_event) AND s.becomes IS NULL
               JOIN pg_class c ON c.oid = s.on_table AND c.relkind IN ('r', 'p')
               JOIN pg_attribute a ON a.attrelid = s.on_table AND a.attname = s.subject_column
               JOIN pg_attribute t ON t.attrelid = s.on_table AND t.attname = s.time_column
               JOIN pg_attribute k ON k.attrelid = l.on_table AND k.attname = l.key_column
               JOIN pg_type kt ON kt.oid = a.atttypid   -- no type whose casts or input are functions of the table's owner
                    AND kt.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype, 'varchar'::regtype)
               JOIN pg_type tt ON tt.oid = t.atttypid
                    AND (tt.oid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
                         OR tt.typbasetype IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype))
               LEFT JOIN pg_attribute na ON na.attrelid = s.on_table AND na.attname = s.name_column
               LEFT JOIN pg_type nt ON nt.oid = na.atttypid
         WHERE r.lifecycle = $1 AND r.without_event IS NOT NULL AND has_table_privilege(s.on_table, 'SELECT')
           AND (s.name_column IS NULL OR nt.typcategory = 'S'
                OR EXISTS (SELECT FROM pg_enum label WHERE label.enumtypid = nt.oid AND label.enumlabel = r.without_event))
    LOOP
        EXECUTE format(CASE source.time_type WHEN 'timestamp with time zone' THEN 'SELECT max(%1$I)'
                                             ELSE 'SELECT max(%1$I)::timestamp AT TIME ZONE ''UTC''' END
                       || ' FROM %2$s WHERE '
                       || CASE WHEN source.atttypid = source.key_type THEN '%3$I = %4$L::%5$s' ELSE '%3$I::text = %4$L' END
                       || ' AND %1$I < ''infinity'''
                       || CASE WHEN source.name_column IS NULL THEN '' ELSE ' AND %6$I = %7$L' END,
                       source.time_column, source.on_table, source.subject_column, key, source.subject_type,
                       source.name_column, source.event)
           INTO at;
        IF at > coalesce((result->>source.rule::text)::timestamptz, '-infinity') THEN
            result := result || jsonb_build_object(source.rule::text, at);
        END IF;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION lifecycle._last_events(name, text) IS 'Private: for each without_event rule, by its id, when that event last happened to a subject, as far as the caller may read the event sources.';

-- The timeline of one subject: %1$I is the lifecycle's schema, %2$L its name, %3$L the key, %4$s its type, %5$L what _last_events says. Lines are sorted by
-- section (past, now, next), time and place.
CREATE FUNCTION lifecycle._timeline() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN $query$
WITH clock AS (
    SELECT lifecycle._now(%2$L) AS now
), steps AS (
    SELECT v.id AS version_id, v.workflow, st.step, st.label, st.kind, st.next, lifecycle._step_words(st.kind, st.arguments) AS words
      FROM lifecycle.workflow_versions v
           JOIN lifecycle.workflow_steps st ON st.version_id = v.id
     WHERE v.lifecycle = %2$L
), messages AS (
    SELECT m.enrollment_id, m.step, m.template, m.created_at,
           format('%%s to %%s%%s: %%s%%s%%s', m.channel, coalesce(lifecycle._one_line(m.address), 'nobody'),
                  ', "' || lifecycle._one_line(m.subject_line) || '"', m.status,
                  ' at ' || date_trunc('second', m.sent_at),
                  ' (' || coalesce(m.reason, CASE WHEN m.status <> 'sent' THEN m.last_error END) || ')') AS words,
           row_number() OVER (PARTITION BY m.enrollment_id, m.step ORDER BY m.id) AS place,
           EXISTS (SELECT FROM %1$I.activity a
                    WHERE a.subject_id = m.subject_id AND a.enrollment_id = m.enrollment_id AND a.step = m.step) AS of_step
      FROM %1$I.messages m
     WHERE m.subject_id = %3$L::%4$s
), lines (section, place, at, what, detail) AS (
    -- moves of a workflow come behind its steps, and so does what moves the subject on at the same time
    SELECT 0, ARRAY[max(CASE t.cause WHEN 'workflow' THEN 4 ELSE 1 END) OVER (PARTITION BY t.at ORDER BY t.seq), 0, t.seq], t.at,
           CASE WHEN t.from_stage IS NULL THEN format('entered stage %%s', t.to_stage)
                WHEN t.to_stage IS NULL THEN format('left stage %%s', t.from_stage)
                ELSE format('moved from %%s to %%s', t.from_stage, t.to_stage)
           END,
           concat_ws('; ',
               CASE t.cause
                   WHEN 'entry' THEN 'a new subject' || coalesce(', by rule "' || t.rule || '"', '')
                   WHEN 'rule' THEN format('rule "%%s"', t.rule)
                   WHEN 'timer' THEN format('rule "%%s"', t.rule)
                       || coalesce(': ' || (SELECT lifecycle._rule_words(r) FROM lifecycle.transition_rules r
                                             WHERE r.lifecycle = %2$L AND r.name = t.rule), '')
                   WHEN 'workflow' THEN 'workflow ' || t.rule || coalesce(', run ' || t.enrollment_id, '')
                   WHEN 'manual' THEN 'by hand' || coalesce(', by ' || t.actor, '') || coalesce(': ' || t.reason, '')
                   WHEN 'delete' THEN 'its row was deleted'
                   ELSE t.cause
               END,
               'event ' || t.event_name || coalesce(' (row ' || t.event_id || ' of ' || t.event_source || ')', ''),
               CASE WHEN t.event_at <> t.at THEN CASE t.cause WHEN 'timer' THEN 'date ' ELSE 'event time ' END || date_trunc('second', t.event_at) END,
               CASE WHEN t.cause <> 'manual' THEN t.reason END,
               'after ' || nullif(date_trunc('second', t.at - t.since), interval '0'))
      FROM %1$I.transitions t
     WHERE t.subject_id = %3$L::%4$s
    UNION ALL
    SELECT 0, ARRAY[2, e.id], e.entered_at,
           format('entered workflow %%s', e.workflow),
           concat_ws('; ', format('version %%s, run %%s', e.version, e.id),
               'key ' || nullif(e.key, ''),
               CASE WHEN e.shadow THEN 'in shadow: sends and changes nothing' END)
      FROM %1$I.enrollments e
     WHERE e.subject_id = %3$L::%4$s
    UNION ALL
    SELECT 0, ARRAY[3, a.enrollment_id, a.waited, 0], a.at,
           format('%%s: %%s', st.workflow, st.label),
           format('%%s is over', st.words)
      FROM %1$I.activity a
           JOIN steps st ON st.version_id = a.version_id AND st.step = a.waited
     WHERE a.subject_id = %3$L::%4$s
    UNION ALL
    SELECT 0, ARRAY[3, a.enrollment_id, a.step, 1], a.at,
           coalesce(st.workflow || ': ' || st.label, 'step ' || a.step, a.outcome),
           concat_ws('; ', format('%%s: %%s', coalesce(st.words, 'unknown step'), a.outcome), coalesce(
               (SELECT string_agg(m.words, '; ' ORDER BY m.words) FILTER (WHERE m.place <= 5)
                       || CASE WHEN count(*) > 5 THEN format('; and %%s more', count(*) - 5) ELSE '' END
                  FROM messages m
                 WHERE m.enrollment_id = a.enrollment_id AND m.step = a.step), a.detail))
      FROM %1$I.activity a
           LEFT JOIN steps st ON st.version_id = a.version_id AND st.step = a.step
     WHERE a.subject_id = %3$L::%4$s AND (a.step IS NOT NULL OR a.enrollment_id IS NULL)
    UNION ALL
    SELECT 0, ARRAY[5, coalesce(m.enrollment_id, 0)], m.created_at, format('message %%s', m.template), m.words
      FROM messages m
     WHERE NOT m.of_step
    UNION ALL
    SELECT 0, ARRAY[6, e.id], e.converted_at,
           format('reached the goal of %%s', e.workflow),
           format('run %%s, %%s after it began', e.id, date_trunc('second', e.converted_at - e.entered_at))
      FROM %1$I.enrollments e
     WHERE e.subject_id = %3$L::%4$s AND e.converted_at IS NOT NULL
    UNION ALL
    SELECT 0, ARRAY[7, e.id], e.ended_at,
           format('left workflow %%s', e.workflow),
           format('%%s; run %%s, %%s after it began', e.exit_reason, e.id, date_trunc('second', e.ended_at - e.entered_at))
      FROM %1$I.enrollments e
     WHERE e.subject_id = %3$L::%4$s AND e.ended_at IS NOT NULL
    UNION ALL
    SELECT 0, ARRAY[8, f.id], f.at,
           format('failed: %%s %%s', f.kind, f.name),
           concat_ws('; ', format('%%s (SQLSTATE %%s)', f.message, f.sqlstate),
               CASE WHEN f.attempts > 1 THEN format('tried %%s times', f.attempts) END,
               CASE WHEN f.parked
                         AND CASE WHEN f.enrollment_id IS NULL
                                  THEN EXISTS (SELECT FROM %1$I.subjects s WHERE s.subject_id = f.subject_id)
                                  ELSE EXISTS (SELECT FROM %1$I.enrollments e WHERE e.subject_id = f.subject_id AND e.id = f.enrollment_id AND e.ended_at IS NULL)
                             END
                    THEN 'stands still until lifecycle.retry' END)
      FROM %1$I.failures f
     WHERE f.subject_id = %3$L::%4$s
    UNION ALL
    SELECT 1, ARRAY[0], clock.now,
           format('now in stage %%s', s.stage),
           format('since %%s, for %%s', date_trunc('second', s.since), date_trunc('second', clock.now - s.since))
      FROM %1$I.subjects s, clock
     WHERE s.subject_id = %3$L::%4$s
    UNION ALL
    SELECT 2, ARRAY[0, d.enrollment_id], d.due_at,
           CASE WHEN st.step IS NULL THEN 'next: a step that does not exist'
                WHEN d.kind = 's' THEN format('next: %%s: %%s', st.workflow, st.label)
                WHEN next_step.step IS NULL THEN format('next: %%s ends', st.workflow)
                ELSE format('next: %%s: %%s', st.workflow, next_step.label)
           END,
           concat_ws('; ',
               CASE WHEN d.kind = 'w' THEN format('waits: %%s', st.words) ELSE st.words END,
               format('run %%s', d.enrollment_id),
               CASE WHEN d.attempts > 0 THEN format('has failed %%s times', d.attempts) END,
               CASE WHEN w.paused THEN 'the workflow is paused'
                    WHEN l.paused THEN 'the lifecycle is paused'
                    WHEN d.due_at <= clock.now THEN 'due now' END)
      FROM clock, lifecycle.lifecycles l, %1$I._due d
           LEFT JOIN steps st ON st.version_id = d.program AND st.step = d.step
           LEFT JOIN steps next_step ON next_step.version_id = d.program AND next_step.step = st.next
           LEFT JOIN lifecycle.workflows w ON w.lifecycle = %2$L AND w.name = st.workflow
     WHERE d.subject_id = %3$L::%4$s AND d.kind IN ('s', 'w') AND l.name = %2$L
    UNION ALL
    SELECT 2, ARRAY[1, d.program], greatest(d.due_at, lifecycle._local_sum(%2$L, %3$L, last.at, r.after)),
           format('next: to %%s %%s', r.to_stage,
                  CASE WHEN r.without_event IS NULL THEN lifecycle._rule_words(r) ELSE format('unless %%s before', r.without_event) END),
           concat_ws('; ', format('rule "%%s"', r.name),
               CASE WHEN r.without_event IS NOT NULL THEN lifecycle._rule_words(r) END,
               'last ' || r.without_event || ' at ' || date_trunc('second', last.at),
               CASE WHEN d.attempts > 0 THEN format('has failed %%s times', d.attempts) END,
               CASE WHEN l.paused THEN 'the lifecycle is paused' END)
      FROM %1$I._due d
           JOIN lifecycle.lifecycles l ON l.name = %2$L
           JOIN %1$I.subjects s ON s.subject_id = d.subject_id
           -- a timer outlives its stage: it finds out when it fires
           JOIN lifecycle.transition_rules r ON r.id = d.program
                AND (s.stage::text = ANY (r.from_stages) OR r.from_kind = 'any' AND s.stage::text <> r.to_stage)
           CROSS JOIN LATERAL (SELECT (%5$L::jsonb ->> r.id::text)::timestamptz AS at) AS last
     WHERE d.subject_id = %3$L::%4$s AND d.kind = 'r'
)
SELECT at, what, detail
  FROM lines
 ORDER BY section, at, place
$query$;
COMMENT ON FUNCTION lifecycle._timeline() IS 'Private: the query behind lifecycle.explain, a template.';

CREATE FUNCTION lifecycle.explain(lifecycle name, key text)
    RETURNS TABLE (at timestamptz, what text, detail text)
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 100 SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    schema name := lifecycle._schema_of(lifecycle);
    subject_table regclass;
    key_column name;
    key_type text;
    in_table boolean;
    stage text;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'key must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT l.on_table, l.key_column INTO subject_table, key_column FROM lifecycle.lifecycles l WHERE l.name = $1;
    SELECT format_type(a.atttypid, a.atttypmod) INTO key_type
      FROM pg_attribute a
     WHERE a.attrelid = format('%I.subjects', schema)::regclass AND a.attname = 'subject_id';
    EXECUTE format('SELECT %L::%s', key, key_type);

    RETURN QUERY EXECUTE format(lifecycle._timeline(), schema, lifecycle, key, key_type, lifecycle._last_events(lifecycle, key));
    IF FOUND THEN
        RETURN;
    END IF;

    -- Nothing is known: is it no subject, or one that nobody has looked at yet?
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = subject_table AND c.relkind IN ('r', 'p'))
       AND has_table_privilege(subject_table, 'SELECT')
    THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %I = %L::%s)', subject_table, key_column, key, key_type) INTO in_table;
    END IF;
    IF in_table THEN
        SELECT initial_stage INTO stage FROM lifecycle.lifecycles l WHERE l.name = $1;
        RETURN QUERY SELECT NULL::timestamptz, 'not in any stage yet'::text,
            format('its row is older than the lifecycle; its first event, or CALL lifecycle.backfill(%L), takes it in', lifecycle);
        RETURN;
    END IF;
    RAISE EXCEPTION 'lifecycle "%" has no subject "%"', lifecycle, key
        USING ERRCODE = 'no_data_found',
              DETAIL = format('No row of %s has this key, and none that was deleted had it.', subject_table);
END $$;
COMMENT ON FUNCTION lifecycle.explain(name, text) IS
'What happened to one subject, why, and what is next: a line for each transition with its cause, each run of a workflow with its steps and messages, each failure, the stage now, and what is due (whose time is a time to come, or past when it is due now). Errors: unknown lifecycle, a key that no row has or had.';

CREATE FUNCTION lifecycle.explain(lifecycle name, key anyelement)
    RETURNS TABLE (at timestamptz, what text, detail text)
    LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 100 SET search_path = pg_catalog, pg_temp
    AS $$ SELECT e.at, e.what, e.detail FROM lifecycle.explain($1, $2::text) e $$;
COMMENT ON FUNCTION lifecycle.explain(name, anyelement) IS 'The same for a key of another type, such as bigint or uuid.';
