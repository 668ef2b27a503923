-- The views of each lifecycle, in its own schema: one template for each view, with its comments.
--
-- In a template %1$I is the lifecycle's schema and %2$L its name; a statement ends with a semicolon at the end of a line. The views run with the
-- rights of who reads them. Add columns at the end only: CREATE OR REPLACE VIEW keeps the rights that were granted.

CREATE FUNCTION lifecycle._clock(simulated boolean) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
    AS 'MODULE_PATHNAME', 'lifecycle__clock';
COMMENT ON FUNCTION lifecycle._clock(boolean) IS 'Private: the time now; the virtual clock, when it is set, for a simulated lifecycle.';

CREATE FUNCTION lifecycle._now(lifecycle name) RETURNS timestamptz
    LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT lifecycle._clock(l.simulated) FROM lifecycle.lifecycles l WHERE l.name = $1;
    END;
COMMENT ON FUNCTION lifecycle._now(name) IS 'Private: the time now, by the virtual clock for a simulated lifecycle.';

-- Whoever asks reads tables of somebody else, with his own rights. A cast that their owner has made for a type of his own would be a function that
-- runs with those rights, so types must be the prototypes', and the one that is the owner's, the stage, must have no such cast. Nor may anything call a
-- function of his, or an operator, that the planner of any query runs: indexes, extended statistics, constraints, partition keys, also of what inherits.
CREATE FUNCTION lifecycle._strange_type(lifecycle name, schema name) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        WITH RECURSIVE stage AS (
            SELECT t.oid, t.typarray FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
             WHERE n.nspname = $2 AND t.typname = 'stage' AND t.typtype = 'e'
        ), key AS (
            SELECT CASE a.atttypid WHEN 'varchar'::regtype THEN 'text'::regtype ELSE a.atttypid END AS oid
              FROM lifecycle.lifecycles l JOIN pg_attribute a ON a.attrelid = l.on_table AND a.attname = l.key_column
             WHERE l.name = $1
               AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype, 'varchar'::regtype)
        ), state (oid, kind, name) AS (
            SELECT c.oid, c.relkind, c.relname
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $2 AND c.relname = ANY ('{subjects,transitions,enrollments,activity,messages,failures,_due}'::name[])
            UNION
            SELECT c.oid, c.relkind, s.name
              FROM state s JOIN pg_inherits i ON i.inhparent = s.oid JOIN pg_class c ON c.oid = i.inhrelid
        ), planned (name, class, oid) AS (
            SELECT s.name, 'pg_class'::regclass, s.oid FROM state s
            UNION ALL
            SELECT s.name, 'pg_class'::regclass, x.indexrelid FROM state s JOIN pg_index x ON x.indrelid = s.oid
            UNION ALL
            SELECT s.name, 'pg_statistic_ext'::regclass, x.oid FROM state s JOIN pg_statistic_ext x ON x.stxrelid = s.oid
            UNION ALL
            SELECT s.name, 'pg_constraint'::regclass, x.oid FROM state s JOIN pg_constraint x ON x.conrelid = s.oid
        ), problems (place, problem) AS (
            SELECT 1, format('there is no type %I.stage', $2) WHERE NOT EXISTS (SELECT FROM stage)
            UNION ALL
            SELECT 2, format('type %I.stage has a cast with a function', $2)
             WHERE EXISTS (SELECT FROM stage s JOIN pg_cast c ON c.castsource IN (s.oid, s.typarray) OR c.casttarget IN (s.oid, s.typarray)
                            WHERE c.castfunc <> 0)
            UNION ALL
            SELECT 4, format('table %I.%I has the foreign table %s among its parts', $2, s.name, s.oid::regclass)
              FROM state s WHERE s.kind = 'f'
            UNION ALL
            SELECT 5, format('%s of table %I.%I calls %s', pg_describe_object(p.class, p.oid, 0), $2, p.name,
                             pg_describe_object(d.refclassid, d.refobjid, 0))
              FROM planned p
                   JOIN pg_depend d ON d.classid = p.class AND d.objid = p.oid
                        AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
            UNION ALL
            SELECT 3, format('column %I of table %I.%I must be of type %s', p.attname, $2, c.relname, coalesce(format_type(e.wanted, NULL), 'smallint, integer, bigint, uuid or text, and so must be the key'))
              FROM unnest('{subjects,transitions,enrollments,activity,messages,failures,_due}'::name[]) WITH ORDINALITY AS t (name, place)
                   JOIN pg_class pc ON pc.relnamespace = 'lifecycle'::regnamespace AND pc.relname = ('_' || ltrim(t.name, '_'))::name
                   JOIN pg_attribute p ON p.attrelid = pc.oid AND p.attnum > 0 AND NOT p.attisdropped
                   JOIN pg_namespace n ON n.nspname = $2
                   JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name
                   CROSS JOIN LATERAL (SELECT CASE WHEN p.attname = 'subject_id' THEN (SELECT k.oid FROM key k)
                                                   WHEN p.attname IN ('stage', 'from_stage', 'to_stage') THEN (SELECT s.oid FROM stage s)
                                                   ELSE p.atttypid END) AS e (wanted)
                   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = p.attname AND NOT a.attisdropped
             WHERE a.atttypid IS DISTINCT FROM e.wanted
               -- of a subject table that is gone nobody asks for the key any more
               AND NOT (p.attname = 'subject_id' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype, 'text'::regtype)
                        AND NOT EXISTS (SELECT FROM lifecycle.lifecycles l JOIN pg_class s ON s.oid = l.on_table WHERE l.name = $1))
        )
        SELECT p.problem FROM problems p ORDER BY p.place, p.problem LIMIT 1;
    END;
COMMENT ON FUNCTION lifecycle._strange_type(name, name) IS 'Private: what is not of the type that it was made with in the state of a lifecycle, in words; NULL: nothing.';

CREATE FUNCTION lifecycle._hides_rows(schema name) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT coalesce(bool_or(row_security_active(c.oid)), false)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY ('{subjects,transitions,enrollments,activity,messages,failures,_due}'::name[]);
    END;
COMMENT ON FUNCTION lifecycle._hides_rows(name) IS 'Private: does row security, whose policies would run with the rights of who reads, hide rows of a state table from the caller?';

CREATE FUNCTION lifecycle._schema_of(lifecycle name) RETURNS name
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    found name;
    wrong text;
BEGIN
    SELECT l.schema INTO found FROM lifecycle.lifecycles l WHERE l.name = $1;
    IF found IS NULL THEN
        RAISE EXCEPTION 'lifecycle "%" does not exist', $1
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'There are: ' || string_agg(quote_ident(l.name), ', ' ORDER BY l.name) || '.'
                                     FROM lifecycle.lifecycles l),
                                  'Call lifecycle.define_lifecycle first.');
    END IF;
    SELECT string_agg(quote_ident(t.name), ', ') INTO wrong
      FROM unnest('{subjects,transitions,enrollments,activity,messages,failures,_due}'::name[]) AS t (name)
     WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = found AND c.relname = t.name AND c.relkind IN ('r', 'p'));
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'state of lifecycle "%" is not complete: % in schema "%" is missing or is not a table', $1, wrong, found
            USING ERRCODE = 'undefined_table',
                  HINT = 'Restore the tables from a dump, or drop the lifecycle with lifecycle.drop_lifecycle and define it again.';
    END IF;
    SELECT lifecycle._strange_type($1, found) INTO wrong;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'state of lifecycle "%" is not as it was made: %', $1, wrong
            USING ERRCODE = 'undefined_table', HINT = 'Give back what was altered, or drop the lifecycle with lifecycle.drop_lifecycle and define it again.';
    END IF;
    RETURN found;
END $$;
COMMENT ON FUNCTION lifecycle._schema_of(name) IS 'Private: the schema of a lifecycle; an error when there is no such lifecycle or its state tables are not tables of the types that they were made with.';

CREATE FUNCTION lifecycle._stage(type anyenum, name name) RETURNS anyenum
    LANGUAGE c STABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lifecycle__stage';
COMMENT ON FUNCTION lifecycle._stage(anyenum, name) IS 'Private: the stage of that name, of the type of the first argument; NULL: there is none, or this transaction has added it and may not use it yet.';

CREATE FUNCTION lifecycle._one_line(source_text text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN length(line) > 200 THEN left(line, 199) || '…' ELSE line END
          FROM (SELECT btrim(regexp_replace(source_text, '\s+', ' ', 'g')) AS line) AS lines;
    END;
COMMENT ON FUNCTION lifecycle._one_line(text) IS 'Private: an SQL text on one line of at most 200 characters.';

CREATE FUNCTION lifecycle._step_words(kind text, arguments jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT kind || coalesce(' ' || CASE kind
                   WHEN 'delay' THEN arguments->>'duration'
                   WHEN 'send' THEN (arguments->>'channel') || ' ' || (arguments->>'template')
                   WHEN 'set_stage' THEN arguments->>'stage'
                   WHEN 'exit' THEN arguments->>'reason'
                   WHEN 'branch' THEN 'on ' || lifecycle._one_line(arguments->>'condition')
                   WHEN 'run_sql' THEN lifecycle._one_line(arguments->>'statement')
               END, '');
    END;
COMMENT ON FUNCTION lifecycle._step_words(text, jsonb) IS 'Private: a step of a workflow in words.';

CREATE FUNCTION lifecycle._rule_words(rule lifecycle.transition_rules) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT concat_ws(', ',
                   CASE WHEN (rule).without_event IS NOT NULL
                        THEN format('unless %s within %s', (rule).without_event, (rule).after)
                        WHEN (rule).on_event IS NOT NULL THEN 'on ' || (rule).on_event
                        WHEN (rule).after IS NOT NULL THEN format('after %s in the stage', (rule).after)
                        WHEN (rule).on_date IS NOT NULL
                        THEN 'on the date ' || lifecycle._one_line((rule).on_date)
                   END,
                   'if ' || lifecycle._one_line((rule).condition));
    END;
COMMENT ON FUNCTION lifecycle._rule_words(lifecycle.transition_rules) IS 'Private: what makes a transition rule fire, in words.';

CREATE FUNCTION lifecycle._view_templates() RETURNS SETOF text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $templates$
VALUES ($view$
CREATE OR REPLACE VIEW %1$I.stage_summary WITH (security_invoker = true) AS
WITH clock AS (
    SELECT lifecycle._now(%2$L) AS now
), here AS (
    SELECT s.stage,
           count(*) AS subjects,
           percentile_disc('{0.5,0.9}'::float8[]) WITHIN GROUP (ORDER BY s.since DESC) AS since,
           count(*) FILTER (WHERE s.since > clock.now - interval '7 days') AS new_7_days,
           count(*) FILTER (WHERE s.since > clock.now - interval '30 days') AS new_30_days
      FROM %1$I.subjects s, clock
     GROUP BY s.stage
), stages AS (
    SELECT lifecycle._stage(NULL::%1$I.stage, st.name) AS stage, st.phase, st.position, st.retired_at
      FROM lifecycle.stages st
     WHERE st.lifecycle = %2$L
)
SELECT st.stage,
       st.phase,
       coalesce(here.subjects, 0) AS subjects,
       round(coalesce(here.subjects, 0) / sum(here.subjects) OVER (), 4) AS share,
       clock.now - here.since[1] AS median_time,
       clock.now - here.since[2] AS p90_time,
       coalesce(here.new_7_days, 0) AS new_7_days,
       coalesce(here.new_30_days, 0) AS new_30_days
  FROM clock
       CROSS JOIN stages st
       LEFT JOIN here ON here.stage = st.stage
 WHERE st.stage IS NOT NULL AND (st.retired_at IS NULL OR here.subjects > 0)
 ORDER BY st.position;
COMMENT ON VIEW %1$I.stage_summary IS 'One row per stage, in order: who is there now. Retired stages appear while somebody is in them, new ones once they are committed.';
COMMENT ON COLUMN %1$I.stage_summary.stage IS 'The stage.';
COMMENT ON COLUMN %1$I.stage_summary.phase IS 'The phase of the relationship that the stage belongs to.';
COMMENT ON COLUMN %1$I.stage_summary.subjects IS 'Subjects that are in the stage now.';
COMMENT ON COLUMN %1$I.stage_summary.share IS 'Their share of all subjects, from 0 to 1; NULL: there are none.';
COMMENT ON COLUMN %1$I.stage_summary.median_time IS 'How long those who are there now have been there: the median. Who has left is not counted; see time_in_stage.';
COMMENT ON COLUMN %1$I.stage_summary.p90_time IS 'The same, 90th percentile: nine of ten have been there for at most so long.';
COMMENT ON COLUMN %1$I.stage_summary.new_7_days IS 'Those who are there now and entered in the last 7 days. Who entered and has left again is not counted.';
COMMENT ON COLUMN %1$I.stage_summary.new_30_days IS 'Those who are there now and entered in the last 30 days.';
$view$), ($view$
CREATE OR REPLACE VIEW %1$I.transition_matrix WITH (security_invoker = true) AS
SELECT t.from_stage,
       t.to_stage,
       count(*) AS transitions,
       count(DISTINCT t.subject_id) AS subjects,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY t.at - t.since) AS median_time
  FROM %1$I.transitions t
 GROUP BY t.from_stage, t.to_stage
 ORDER BY t.from_stage NULLS FIRST, t.to_stage NULLS LAST;
COMMENT ON VIEW %1$I.transition_matrix IS 'One row per pair of stages between which subjects have moved, over all time, those deleted since included.';
COMMENT ON COLUMN %1$I.transition_matrix.from_stage IS 'The stage that was left; NULL: the subjects were new.';
COMMENT ON COLUMN %1$I.transition_matrix.to_stage IS 'The stage that was entered; NULL: the subjects'' rows were deleted.';
COMMENT ON COLUMN %1$I.transition_matrix.transitions IS 'Moves from the one to the other.';
COMMENT ON COLUMN %1$I.transition_matrix.subjects IS 'Different subjects that made such a move.';
COMMENT ON COLUMN %1$I.transition_matrix.median_time IS 'Median time that they had been in from_stage before the move; NULL: they were new.';
$view$), ($view$
CREATE OR REPLACE VIEW %1$I.time_in_stage WITH (security_invoker = true) AS
WITH visits AS (
    SELECT t.from_stage AS stage,
           count(*) AS visits,
           percentile_disc('{0.5,0.9}'::float8[]) WITHIN GROUP (ORDER BY t.at - t.since) AS percentiles
      FROM %1$I.transitions t
     WHERE t.from_stage IS NOT NULL
     GROUP BY t.from_stage
), here AS (
    SELECT s.stage, count(*) AS subjects
      FROM %1$I.subjects s
     GROUP BY s.stage
), stages AS (
    SELECT lifecycle._stage(NULL::%1$I.stage, st.name) AS stage, st.position, st.retired_at
      FROM lifecycle.stages st
     WHERE st.lifecycle = %2$L
)
SELECT st.stage,
       coalesce(visits.visits, 0) AS visits,
       visits.percentiles[1] AS median_time,
       visits.percentiles[2] AS p90_time,
       coalesce(here.subjects, 0) AS still_there
  FROM stages st
       LEFT JOIN visits ON visits.stage = st.stage
       LEFT JOIN here ON here.stage = st.stage
 WHERE st.stage IS NOT NULL AND (st.retired_at IS NULL OR visits.visits > 0 OR here.subjects > 0)
 ORDER BY st.position;
COMMENT ON VIEW %1$I.time_in_stage IS 'One row per stage, in order: how long subjects stay, from the visits that are over.';
COMMENT ON COLUMN %1$I.time_in_stage.stage IS 'The stage.';
COMMENT ON COLUMN %1$I.time_in_stage.visits IS 'Visits that are over: a subject entered the stage and left it. Who was there twice counts twice; a deleted row ends the visit.';
COMMENT ON COLUMN %1$I.time_in_stage.median_time IS 'Median duration of those visits.';
COMMENT ON COLUMN %1$I.time_in_stage.p90_time IS '90th percentile: nine of ten visits were at most so long.';
COMMENT ON COLUMN %1$I.time_in_stage.still_there IS 'Subjects that are in the stage now; their time so far is not in the percentiles, see stage_summary.';
$view$), ($view$
CREATE OR REPLACE VIEW %1$I.workflow_summary WITH (security_invoker = true) AS
WITH reasons AS (
    SELECT e.version_id, e.shadow, e.exit_reason,
           count(*) AS entered,
           count(*) FILTER (WHERE e.ended_at IS NULL) AS active,
           count(*) FILTER (WHERE e.ended_at IS NOT NULL) AS ended,
           count(*) FILTER (WHERE e.converted_at IS NOT NULL) AS converted
      FROM %1$I.enrollments e
     GROUP BY e.version_id, e.shadow, e.exit_reason
), runs AS (
    SELECT r.version_id, r.shadow,
           sum(r.entered)::bigint AS entered,
           sum(r.active)::bigint AS active,
           coalesce(sum(r.ended) FILTER (WHERE r.exit_reason = 'completed'), 0)::bigint AS completed,
           jsonb_object_agg(r.exit_reason, r.ended) FILTER (WHERE r.exit_reason <> 'completed' AND r.ended > 0) AS exited,
           sum(r.converted)::bigint AS converted
      FROM reasons r
     GROUP BY r.version_id, r.shadow
), parked AS (
    SELECT f.version_id, e.shadow, count(*) AS failed
      FROM %1$I.failures f
           JOIN %1$I.enrollments e ON e.subject_id = f.subject_id AND e.id = f.enrollment_id
     WHERE f.parked AND e.ended_at IS NULL
     GROUP BY f.version_id, e.shadow
)
SELECT w.name AS workflow,
       w.state,
       w.paused,
       v.version,
       mode.shadow,
       coalesce(runs.entered, 0) AS entered,
       coalesce(runs.active, 0) AS active,
       coalesce(runs.completed, 0) AS completed,
       coalesce(runs.exited, '{}') AS exited,
       CASE WHEN v.goal IS NOT NULL THEN coalesce(runs.converted, 0) END AS converted,
       CASE WHEN v.goal IS NOT NULL THEN round(runs.converted::numeric / runs.entered, 4) END AS conversion_rate,
       coalesce(parked.failed, 0) AS failed
  FROM lifecycle.workflows w
       JOIN lifecycle.workflow_versions v ON v.lifecycle = w.lifecycle AND v.workflow = w.name
       CROSS JOIN (VALUES (false), (true)) AS mode (shadow)
       LEFT JOIN runs ON runs.version_id = v.id AND runs.shadow = mode.shadow
       LEFT JOIN parked ON parked.version_id = v.id AND parked.shadow = mode.shadow
 WHERE w.lifecycle = %2$L
   AND (runs.entered > 0 OR v.version = w.version AND mode.shadow = (w.state = 'shadow'))
 ORDER BY w.name, v.version, mode.shadow;
COMMENT ON VIEW %1$I.workflow_summary IS 'One row per version of a workflow: the current one, and those that anybody ever entered. Runs in shadow are counted in rows of their own.';
COMMENT ON COLUMN %1$I.workflow_summary.workflow IS 'Name of the workflow.';
COMMENT ON COLUMN %1$I.workflow_summary.state IS 'State of the workflow now: draft, shadow, live or archived.';
COMMENT ON COLUMN %1$I.workflow_summary.paused IS 'The workflow is paused: nobody moves on in it until lifecycle.resume_workflow.';
COMMENT ON COLUMN %1$I.workflow_summary.version IS 'The version; new runs follow the highest.';
COMMENT ON COLUMN %1$I.workflow_summary.shadow IS 'This row counts runs in shadow, which send and change nothing.';
COMMENT ON COLUMN %1$I.workflow_summary.entered IS 'Runs that have begun; a subject that entered twice counts twice.';
COMMENT ON COLUMN %1$I.workflow_summary.active IS 'Runs that have not ended, those that stand still after a failure included.';
COMMENT ON COLUMN %1$I.workflow_summary.completed IS 'Runs that came to the end of the steps.';
COMMENT ON COLUMN %1$I.workflow_summary.exited IS 'Runs that ended otherwise, counted by exit_reason, such as {"goal": 12, "subject_deleted": 1}.';
COMMENT ON COLUMN %1$I.workflow_summary.converted IS 'Runs that reached the goal within its window, whether they have ended or not; NULL: this version has no goal.';
COMMENT ON COLUMN %1$I.workflow_summary.conversion_rate IS 'converted / entered, from 0 to 1.';
COMMENT ON COLUMN %1$I.workflow_summary.failed IS 'Steps that failed and stand still until lifecycle.retry.';
$view$), ($view$
CREATE OR REPLACE VIEW %1$I.step_summary WITH (security_invoker = true) AS
WITH tally AS MATERIALIZED (
    SELECT a.version_id, a.step, a.waited, a.outcome, count(*) AS n
      FROM %1$I.activity a
     WHERE a.version_id IS NOT NULL
     GROUP BY a.version_id, a.step, a.waited, a.outcome
), outcomes AS (
    SELECT version_id, step, outcome, sum(n)::bigint AS n
      FROM (SELECT version_id, step, outcome, n FROM tally WHERE step IS NOT NULL
            UNION ALL
            SELECT version_id, waited, 'done', n FROM tally WHERE waited IS NOT NULL) AS both_steps
     GROUP BY version_id, step, outcome
), done AS (
    SELECT version_id, step,
           coalesce(sum(n) FILTER (WHERE outcome NOT IN ('skipped', 'failed')), 0)::bigint AS done,
           coalesce(sum(n) FILTER (WHERE outcome = 'skipped'), 0)::bigint AS skipped,
           coalesce(sum(n) FILTER (WHERE outcome = 'failed'), 0)::bigint AS failed,
           jsonb_object_agg(outcome, n) AS outcomes
      FROM outcomes
     GROUP BY version_id, step
), waiting AS (
    SELECT d.program AS version_id, d.step, count(*) AS waiting
      FROM %1$I._due d
     WHERE d.kind IN ('s', 'w')
     GROUP BY d.program, d.step
), parked AS (
    SELECT f.version_id, f.step, count(*) AS parked
      FROM %1$I.failures f
     WHERE f.parked AND f.enrollment_id IS NOT NULL
     GROUP BY f.version_id, f.step
)
SELECT v.workflow,
       v.version,
       st.step,
       st.label,
       st.kind,
       coalesce(done.done, 0) + coalesce(done.skipped, 0) + coalesce(done.failed, 0)
           + coalesce(waiting.waiting, 0) + coalesce(parked.parked, 0) AS reached,
       coalesce(waiting.waiting, 0) AS waiting,
       coalesce(done.done, 0) AS done,
       coalesce(done.failed, 0) + coalesce(parked.parked, 0) AS failed,
       coalesce(done.skipped, 0) AS skipped,
       coalesce(done.outcomes, '{}') AS outcomes
  FROM lifecycle.workflow_versions v
       JOIN lifecycle.workflow_steps st ON st.version_id = v.id
       LEFT JOIN done ON done.version_id = st.version_id AND done.step = st.step
       LEFT JOIN waiting ON waiting.version_id = st.version_id AND waiting.step = st.step
       LEFT JOIN parked ON parked.version_id = st.version_id AND parked.step = st.step
 WHERE v.lifecycle = %2$L
 ORDER BY v.workflow, v.version, st.step;
COMMENT ON VIEW %1$I.step_summary IS 'One row per step of each version of each workflow: how many runs came how far. Runs in shadow are counted too.';
COMMENT ON COLUMN %1$I.step_summary.workflow IS 'Name of the workflow.';
COMMENT ON COLUMN %1$I.step_summary.version IS 'Version of the workflow.';
COMMENT ON COLUMN %1$I.step_summary.step IS 'Number of the step in its version, in the order in which it was written.';
COMMENT ON COLUMN %1$I.step_summary.label IS 'Label of the step.';
COMMENT ON COLUMN %1$I.step_summary.kind IS 'send, delay, branch, set_stage, run_sql, exit, …';
COMMENT ON COLUMN %1$I.step_summary.reached IS 'Runs that came to the step: waiting + done + failed + skipped. Who leaves the workflow in the middle of a wait is counted no more.';
COMMENT ON COLUMN %1$I.step_summary.waiting IS 'Runs that are at the step now: a delay that is not over, or a step that has not run yet.';
COMMENT ON COLUMN %1$I.step_summary.done IS 'Runs that went through the step, also when its message was suppressed; in shadow, when it would have been done.';
COMMENT ON COLUMN %1$I.step_summary.failed IS 'Runs in which the step failed for good, those that stand still until lifecycle.retry included.';
COMMENT ON COLUMN %1$I.step_summary.skipped IS 'Runs that went past the step because its only_if was not true.';
COMMENT ON COLUMN %1$I.step_summary.outcomes IS 'What the step came to, counted, such as {"yes": 3, "no": 4} for a branch.';
$view$), ($view$
CREATE OR REPLACE VIEW %1$I.waiting WITH (security_invoker = true) AS
SELECT d.subject_id,
       CASE d.kind WHEN 'r' THEN 'rule' ELSE 'workflow' END AS kind,
       coalesce(v.workflow, r.name) AS name,
       d.enrollment_id,
       st.label AS step,
       CASE
           WHEN d.kind = 'w' THEN lifecycle._step_words(st.kind, st.arguments)
           WHEN d.kind = 's' THEN 'its turn: ' || lifecycle._step_words(st.kind, st.arguments)
           WHEN r.id IS NULL THEN 'nothing any more: the rule was dropped'
           ELSE format('to %%s %%s', r.to_stage, lifecycle._rule_words(r))
       END AS waits_for,
       d.due_at AS until,
       greatest(d.attempts, 0) AS attempts
  FROM %1$I._due d
       LEFT JOIN lifecycle.workflow_versions v ON d.kind IN ('s', 'w') AND v.id = d.program
       LEFT JOIN lifecycle.workflow_steps st ON d.kind IN ('s', 'w') AND st.version_id = d.program AND st.step = d.step
       LEFT JOIN lifecycle.transition_rules r ON d.kind = 'r' AND r.id = d.program
       LEFT JOIN %1$I.subjects s ON d.kind = 'r' AND s.subject_id = d.subject_id
 WHERE r.id IS NULL OR s.stage::text = ANY (r.from_stages) OR r.from_kind = 'any' AND s.stage::text <> r.to_stage
UNION ALL
SELECT f.subject_id,
       CASE WHEN f.enrollment_id IS NULL THEN 'rule' ELSE 'workflow' END,
       coalesce(v.workflow, f.name),
       f.enrollment_id,
       st.label,
       format('lifecycle.retry, after %%s', f.message),
       NULL,
       f.attempts
  FROM %1$I.failures f
       LEFT JOIN lifecycle.workflow_versions v ON v.id = f.version_id
       LEFT JOIN lifecycle.workflow_steps st ON st.version_id = f.version_id AND st.step = f.step
 WHERE f.parked
   -- a run that has ended meanwhile, and a subject that is gone, wait for nothing any more
   AND CASE WHEN f.enrollment_id IS NULL
            THEN EXISTS (SELECT FROM %1$I.subjects s WHERE s.subject_id = f.subject_id)
            ELSE EXISTS (SELECT FROM %1$I.enrollments e WHERE e.subject_id = f.subject_id AND e.id = f.enrollment_id AND e.ended_at IS NULL)
       END;
COMMENT ON VIEW %1$I.waiting IS 'One row per thing that somebody waits for: runs of workflows in their delays, timers of rules that leave the subject''s stage, and what stands still after a failure.';
COMMENT ON COLUMN %1$I.waiting.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN %1$I.waiting.kind IS 'workflow: a run of a workflow; rule: the timer of a transition rule.';
COMMENT ON COLUMN %1$I.waiting.name IS 'Name of the workflow or of the rule.';
COMMENT ON COLUMN %1$I.waiting.enrollment_id IS 'The run; NULL: the timer of a rule.';
COMMENT ON COLUMN %1$I.waiting.step IS 'Label of the step that the run is at.';
COMMENT ON COLUMN %1$I.waiting.waits_for IS 'What it waits for, in words. Its turn: for the scheduler, to run the step.';
COMMENT ON COLUMN %1$I.waiting.until IS 'When the scheduler looks at it; in the past: it is due. The timer of a without_event rule is put off only then, by the events that came meanwhile. NULL: not before lifecycle.retry.';
COMMENT ON COLUMN %1$I.waiting.attempts IS 'How often it has failed so far.';
$view$)
$templates$;
COMMENT ON FUNCTION lifecycle._view_templates() IS 'Private: the definition of each view of a lifecycle, with %1$I for its schema and %2$L for its name.';

CREATE FUNCTION lifecycle._create_views(lifecycle name) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    schema name := lifecycle._schema_of(lifecycle);
    statement text;
BEGIN
    FOR statement IN
        SELECT part
          FROM lifecycle._view_templates() AS template,
               regexp_split_to_table(template, ';[ \t]*(\n|$)') WITH ORDINALITY AS parts (part, position)
         WHERE part ~ '\S'
    LOOP
        EXECUTE format(statement, schema, lifecycle);
    END LOOP;
END $$;
COMMENT ON FUNCTION lifecycle._create_views(name) IS 'Private: creates or replaces the views of a lifecycle, with the caller''s rights.';
