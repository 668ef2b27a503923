-- lifecycle.status and lifecycle.rule_stats: what is going on now. With the rights of who asks.

CREATE FUNCTION lifecycle._format() RETURNS integer
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lifecycle__format';
COMMENT ON FUNCTION lifecycle._format() IS 'Private: the format of state tables that this version works with.';

CREATE FUNCTION lifecycle._quarantine_after() RETURNS integer
    LANGUAGE c IMMUTABLE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'lifecycle__quarantine_after';
COMMENT ON FUNCTION lifecycle._quarantine_after() IS 'Private: errors in a row after which a rule is skipped.';

CREATE VIEW lifecycle.rule_stats WITH (security_invoker = true) AS
SELECT r.lifecycle,
       r.name AS rule,
       r.to_stage,
       lifecycle._rule_words(r) AS trigger,
       coalesce(c.calls, 0) AS calls,
       coalesce(c.rows, 0) AS rows,
       coalesce(c.hits, 0) AS hits,
       coalesce(c.errors, 0) AS errors,
       coalesce(c.milliseconds, 0) AS milliseconds,
       coalesce(c.error_streak, 0) AS errors_in_a_row,
       c.last_error_at
  FROM lifecycle.transition_rules r
       LEFT JOIN lifecycle._rule_counters() AS c ON c.rule_id = r.id
 ORDER BY r.lifecycle, r.priority, r.name;
GRANT SELECT ON lifecycle.rule_stats TO PUBLIC;
COMMENT ON VIEW lifecycle.rule_stats IS 'One row per transition rule: what it has done since the server started or lifecycle.reset_stats was called, also in transactions that were rolled back. All 0 on a server that has not preloaded the extension.';
COMMENT ON COLUMN lifecycle.rule_stats.lifecycle IS 'Name of the lifecycle.';
COMMENT ON COLUMN lifecycle.rule_stats.rule IS 'Name of the rule.';
COMMENT ON COLUMN lifecycle.rule_stats.to_stage IS 'The stage that it leads to.';
COMMENT ON COLUMN lifecycle.rule_stats.trigger IS 'What makes it fire, in words.';
COMMENT ON COLUMN lifecycle.rule_stats.calls IS 'Statements that it was evaluated in.';
COMMENT ON COLUMN lifecycle.rule_stats.rows IS 'Rows that its condition was evaluated for.';
COMMENT ON COLUMN lifecycle.rule_stats.hits IS 'Transitions that it caused.';
COMMENT ON COLUMN lifecycle.rule_stats.errors IS 'Rows that it failed on; see the table failures of the lifecycle.';
COMMENT ON COLUMN lifecycle.rule_stats.milliseconds IS 'Time spent on its condition, in ms; a statement that evaluates several rules divides its time among them.';
COMMENT ON COLUMN lifecycle.rule_stats.errors_in_a_row IS 'Errors since it last succeeded. A rule that fails on every row is skipped, see lifecycle.status.';
COMMENT ON COLUMN lifecycle.rule_stats.last_error_at IS 'When it last failed.';

-- The lines about one lifecycle: %1$I is its schema, %2$L its name.
CREATE FUNCTION lifecycle._status_lines() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN $query$
WITH clock AS (
    SELECT lifecycle._now(%2$L) AS now
), queue AS (
    SELECT (SELECT count(*) FROM %1$I._due d, clock WHERE d.due_at <= clock.now) AS due,
           (SELECT min(d.due_at) FROM %1$I._due d) AS earliest,
           pg_relation_size(format('%%I._due', %1$L)::regclass) > 100000000 AS big,
           (SELECT c.reltuples::bigint FROM pg_class c WHERE c.oid = format('%%I._due', %1$L)::regclass) AS estimate
), lines (place, what, value, detail) AS (
    SELECT 1, 'paused', 'yes', format('call lifecycle.resume(%%L)', l.name)
      FROM lifecycle.lifecycles l WHERE l.name = %2$L AND l.paused
    UNION ALL
    SELECT 2, 'enrolls', 'no', format('its table had rows when it was defined: CALL lifecycle.backfill(%%L)', l.name)
      FROM lifecycle.lifecycles l WHERE l.name = %2$L AND NOT l.enrolls
    UNION ALL
    SELECT 3, 'workflow paused', w.name, format('call lifecycle.resume_workflow(%%L, %%L)', w.lifecycle, w.name)
      FROM lifecycle.workflows w WHERE w.lifecycle = %2$L AND w.paused AND w.state <> 'archived'
    UNION ALL
    SELECT 3, 'batches', i.batch_rows || CASE i.batch_rows WHEN 1 THEN ' row' ELSE ' rows' END,
           'small since a crash or a termination in the middle of one; they grow again as they are run'
      FROM lifecycle._interrupted i WHERE i.lifecycle = %2$L
    UNION ALL
    SELECT 4, 'queue depth',
           CASE WHEN big AND estimate > 0 THEN 'about ' || estimate ELSE (SELECT count(*) FROM %1$I._due)::text END,
           'delays of runs and timers of rules'
      FROM queue
    UNION ALL
    SELECT 5, 'due now', due::text, 'oldest due at ' || CASE WHEN due > 0 THEN earliest END FROM queue
    UNION ALL
    SELECT 6, 'next due', earliest::text, NULL FROM queue WHERE due = 0 AND earliest IS NOT NULL
    UNION ALL
    SELECT 7, 'parked failures', count(*)::text,
           'stand still until lifecycle.retry: ' || string_agg(DISTINCT f.name, ', ')
      FROM %1$I.failures f
     WHERE f.parked
       AND CASE WHEN f.enrollment_id IS NULL
                THEN EXISTS (SELECT FROM %1$I.subjects s WHERE s.subject_id = f.subject_id)
                ELSE EXISTS (SELECT FROM %1$I.enrollments e WHERE e.subject_id = f.subject_id AND e.id = f.enrollment_id AND e.ended_at IS NULL)
           END
    UNION ALL
    SELECT 8, 'failures in the last day', sum(f.n)::text,
           string_agg(format('%%s %%s: %%s (%%s)', f.kind, f.name, f.message, f.n), '; ' ORDER BY f.place) FILTER (WHERE f.place <= 5)
               || CASE WHEN count(*) > 5 THEN '; and others' ELSE '' END
      FROM (SELECT kind, name, count(*) AS n, min(message) AS message, row_number() OVER (ORDER BY count(*) DESC, kind, name) AS place
              FROM %1$I.failures, clock
             WHERE at > clock.now - interval '1 day'
             GROUP BY kind, name) AS f
    HAVING count(*) > 0
    UNION ALL
    SELECT 9, 'messages ' || m.status, count(*)::text,
           CASE m.status WHEN 'queued' THEN 'wait for lifecycle.claim_messages' ELSE 'claimed and not finished yet' END
      FROM %1$I.messages m
     WHERE m.status IN ('queued', 'claimed')
     GROUP BY m.status
    UNION ALL
    SELECT 10, 'messages ' || m.status, count(*)::text, coalesce(m.reason, 'no reason recorded')
      FROM %1$I.messages m
     WHERE m.status IN ('failed', 'held', 'suppressed')
     GROUP BY m.status, m.reason
    UNION ALL
    SELECT 11, c.what, c.n::text, 'since the server started'
      FROM lifecycle._counters() AS c
     WHERE c.lifecycle = %2$L AND c.n > 0
    UNION ALL
    SELECT 12, CASE WHEN s.errors_in_a_row < lifecycle._quarantine_after() THEN 'rule fails' ELSE 'rule in quarantine' END, s.rule,
           format('%%s errors in a row, the last at %%s', s.errors_in_a_row, date_trunc('second', s.last_error_at))
               || CASE WHEN s.errors_in_a_row < lifecycle._quarantine_after() THEN ''
                       ELSE '; it is skipped until it is defined differently or lifecycle.reset_stats is called' END
      FROM lifecycle.rule_stats s
     WHERE s.lifecycle = %2$L AND s.errors_in_a_row > 0
)
SELECT %2$L::name, what, value, detail
  FROM lines
 ORDER BY place, what, value, detail
$query$;
COMMENT ON FUNCTION lifecycle._status_lines() IS 'Private: the query behind lifecycle.status for one lifecycle, a template.';

-- The lines about the whole database.
CREATE FUNCTION lifecycle._worker_lines() RETURNS TABLE (what text, value text, detail text)
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT 'scheduler',
               CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE w.state END,
               CASE WHEN pg_is_in_recovery() THEN 'nothing runs here before this server is promoted'
                    WHEN w.state = 'not preloaded'
                    THEN 'nothing runs by itself: set shared_preload_libraries = ''lifecycle'' and restart the server, or call lifecycle.run_due() every minute'
                    WHEN w.state = 'no launcher' THEN 'see the log of the server; max_worker_processes may be too low'
                    WHEN w.state = 'no scheduler'
                    THEN 'it starts within a minute, or max_worker_processes or lifecycle.max_databases is too low: see the log of the server'
                    WHEN w.state = 'stopped' THEN 'it ended with an error, see the log of the server; the launcher starts it again'
                    ELSE concat_ws('; ', 'pid ' || w.scheduler_pid,
                             format('%s rows in %s batches since the server started', w.rows, w.batches),
                             'last run at ' || date_trunc('second', w.last_run),
                             'next at ' || date_trunc('second', w.next_wake_up),
                             CASE WHEN w.rows_per_second > 0 THEN w.rows_per_second || ' rows/s when last busy' END,
                             CASE WHEN w.errors > 0 THEN w.errors || ' errors, see the log of the server' END)
               END
          FROM lifecycle._worker_info() AS w
        UNION ALL
        SELECT 'paused', CASE installation WHEN 'paused' THEN 'yes' ELSE installation END,
               CASE installation
                   WHEN 'paused' THEN 'everything, by lifecycle.pause(); call lifecycle.resume()'
                   WHEN 'copy' THEN 'this is a copy of the database that the lifecycles were defined in; to run it in its own right, call lifecycle.resume()'
                   ELSE 'it is not recorded which database the lifecycles were defined in; when all of a dump has been restored, call lifecycle.resume()'
               END
          FROM lifecycle._installation_state() AS installation
         WHERE installation <> 'here' AND EXISTS (SELECT FROM lifecycle.lifecycles)
        UNION ALL
        SELECT 'not counted', w.uncounted::text, 'there are more rules or counters than fit in shared memory'
          FROM lifecycle._worker_info() AS w
         WHERE w.uncounted > 0;
    END;
COMMENT ON FUNCTION lifecycle._worker_lines() IS 'Private: the part of lifecycle.status that is not about one lifecycle.';

CREATE FUNCTION lifecycle.status()
    RETURNS TABLE (lifecycle name, what text, value text, detail text)
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED ROWS 30 SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    one record;
    state name;
BEGIN
    RETURN QUERY SELECT NULL::name, w.what, w.value, w.detail FROM lifecycle._worker_lines() w;
    FOR one IN SELECT l.name, l.format FROM lifecycle.lifecycles l ORDER BY l.name LOOP
        IF one.format <> lifecycle._format() THEN
            RETURN QUERY SELECT one.name, 'format'::text, one.format::text,
                format('this version needs format %s: call lifecycle.upgrade_lifecycle(%L)', lifecycle._format(), one.name);
            CONTINUE;
        END IF;
        BEGIN
            state := lifecycle._schema_of(one.name);
            IF lifecycle._hides_rows(state) THEN
                RETURN QUERY SELECT one.name, 'state'::text, 'cannot be read'::text, 'row security hides some of it from you'::text;
            ELSE
                RETURN QUERY EXECUTE format(lifecycle._status_lines(), state, one.name);
            END IF;
        EXCEPTION WHEN insufficient_privilege OR undefined_table THEN
            RETURN QUERY SELECT one.name, 'state'::text, 'cannot be read'::text, SQLERRM;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION lifecycle.status() IS
'What is going on now, a line each: the scheduler and whether everything is paused (lifecycle NULL); then for each lifecycle that the caller may read what is paused, its queue, failures, messages that wait or were not sent with the reason, what was counted since the server started (such as events without a subject), and rules that fail. detail says what to do. Needs no preloaded library, but then nothing is counted.';
