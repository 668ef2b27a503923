-- The engine on call: in the foreground, under the virtual clock, and again after failures. The worker does the same without these functions.
-- They run as their caller and check in C that he owns the lifecycle (its subject table).

CREATE FUNCTION lifecycle.run_due(lifecycle text DEFAULT NULL, max_rows bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_run_due';
COMMENT ON FUNCTION lifecycle.run_due(text, bigint) IS
'Runs what is due now, in the caller''s transaction: all that the worker would run in its own. For tests, for cron, and for servers without the worker.
lifecycle: one lifecycle; NULL: all that the caller owns. max_rows: at most so many rows of the due queue; NULL: all, also what becomes due by running it.
Rows that another transaction runs are passed over. A step that fails is recorded in failures and put off, never raised. Where everything is paused, as on a copy of the database until lifecycle.resume(), it says so and runs nothing. Deferred constraints are checked at once from here on in the transaction.
Returns the number of rows that were run. Errors: a lifecycle that is not defined or not the caller''s; a read-only transaction.';

CREATE FUNCTION lifecycle.advance_clock(by_interval interval DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS timestamptz
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_advance_clock';
COMMENT ON FUNCTION lifecycle.advance_clock(interval, timestamptz) IS
'Sets lifecycle.clock forward, by an interval or until a time, and runs all that falls due until then in the simulated lifecycles that the caller owns: each row at its own due time, those of one subject in due order.
Returns what the clock shows then. Errors: neither or both arguments; a time before the one that the clock shows, or outside the years 1900 to 9999.';

CREATE FUNCTION lifecycle.now(lifecycle text) RETURNS timestamptz
    LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_now';
COMMENT ON FUNCTION lifecycle.now(text) IS
'The time it is for a lifecycle: lifecycle.clock when it is simulated and the clock is set, else the real time. Error: a lifecycle that is not defined.';

CREATE FUNCTION lifecycle.retry(lifecycle text, failure bigint DEFAULT NULL, workflow text DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_retry';
COMMENT ON FUNCTION lifecycle.retry(text, bigint, text) IS
'Puts parked rows back into the due queue, due now and with all their attempts: one (failure: failures.id), those of one workflow, or all of the lifecycle. Parked rows whose run has ended meanwhile are only unparked. Of the timers of one subject for one rule, parked or waiting, one is left, due now.
Returns how many were put back. Errors: a lifecycle that is not defined or not the caller''s, no such workflow.';
