-- Workers: what they and the counters in shared memory say. lifecycle.status() and lifecycle.rule_stats present it.

CREATE FUNCTION lifecycle._worker_info(
    OUT state text, OUT launcher_pid integer, OUT scheduler_pid integer, OUT started_at timestamptz, OUT last_run timestamptz,
    OUT next_wake_up timestamptz, OUT low_water timestamptz, OUT batches bigint, OUT rows bigint, OUT rows_per_second bigint,
    OUT errors bigint, OUT uncounted bigint)
    RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 1 SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__worker_info';
COMMENT ON FUNCTION lifecycle._worker_info() IS
    'Private: the workers of this database, always one row. state is not preloaded, no launcher, no scheduler, starting, working, idle, paused, off (lifecycle.scheduler) or stopped; next_wake_up is NULL while it works; low_water is the time before which nothing is due; batches, rows and errors count since the server started.';

CREATE FUNCTION lifecycle._rule_counters(
    OUT rule_id integer, OUT calls bigint, OUT rows bigint, OUT hits bigint, OUT errors bigint, OUT error_streak bigint,
    OUT milliseconds double precision, OUT last_error_at timestamptz)
    RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__rule_counters';
COMMENT ON FUNCTION lifecycle._rule_counters() IS
    'Private: what each rule did in this database since the server started: rows looked at, hits, errors, errors since the last success, and time in milliseconds. Empty on a server that did not preload the library.';

CREATE FUNCTION lifecycle._counters(OUT lifecycle name, OUT what text, OUT n bigint)
    RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__counters';
COMMENT ON FUNCTION lifecycle._counters() IS
    'Private: what else was counted for each lifecycle of this database since the server started. Empty on a server that did not preload the library.';

CREATE FUNCTION lifecycle.reset_stats() RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle_reset_stats';
COMMENT ON FUNCTION lifecycle.reset_stats() IS
    'Sets the counters of rules and lifecycles of this database back to zero, and ends the quarantine of rules that failed on every row.';
REVOKE EXECUTE ON FUNCTION lifecycle.reset_stats() FROM PUBLIC;

CREATE TRIGGER changed AFTER INSERT OR DELETE OR UPDATE OF system_identifier, database, paused OR TRUNCATE ON lifecycle._installation
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();

CREATE FUNCTION lifecycle._installation_state() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'lifecycle__installation_state';
COMMENT ON FUNCTION lifecycle._installation_state() IS
    'Private: may anything run here? here, paused (by pause()), copy (of the database that the lifecycles were defined in) or unknown (nothing was defined, or a dump is being restored).';
