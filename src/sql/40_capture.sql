-- Capture: the trigger functions, and what feeds them by hand.

CREATE FUNCTION lifecycle._capture_subject() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_capture_subject';
COMMENT ON FUNCTION lifecycle._capture_subject() IS 'Private: AFTER trigger of a subject table. Argument: the lifecycle.';
REVOKE EXECUTE ON FUNCTION lifecycle._capture_subject() FROM PUBLIC;

CREATE FUNCTION lifecycle._capture_event() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_capture_event';
COMMENT ON FUNCTION lifecycle._capture_event() IS 'Private: the triggers of an event source. Arguments: the lifecycle, the source.';
REVOKE EXECUTE ON FUNCTION lifecycle._capture_event() FROM PUBLIC;

-- Whoever inserts a row runs this in the WHEN of its trigger, so everybody may. VOLATILE and UNSAFE: it may load definitions in a subtransaction.
CREATE FUNCTION lifecycle._listens(lifecycle text, event text) RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle__listens';
COMMENT ON FUNCTION lifecycle._listens(text, text) IS 'Private: does anything of the lifecycle listen to events of this name? Also true when the lifecycle cannot be asked, so that the trigger says so.';
GRANT EXECUTE ON FUNCTION lifecycle._listens(text, text) TO PUBLIC;

CREATE FUNCTION lifecycle.move(lifecycle text, key text, stage text, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_move';
COMMENT ON FUNCTION lifecycle.move(text, text, text, text) IS 'Moves a subject to a stage by hand, recorded with the session''s role and the reason; what follows from the stage follows. Returns false when it was there already. Needs UPDATE on <lifecycle>.subjects. Errors: no such lifecycle, subject or stage; a strict lifecycle without a rule that allows it (LC003).';
CREATE FUNCTION lifecycle.move(lifecycle text, key anyelement, stage text, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_move';
COMMENT ON FUNCTION lifecycle.move(text, anyelement, text, text) IS 'The same, with a key of any type.';

CREATE FUNCTION lifecycle.enroll(lifecycle text, workflow text, key text, context jsonb DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_enroll';
COMMENT ON FUNCTION lifecycle.enroll(text, text, text, jsonb) IS 'Enrolls a subject in a workflow by hand; returns the number of the run, or NULL when the workflow''s rule of re-entry forbids it or lifecycle.enroll is off. context: a JSON object, what templates and conditions see as enrollment.context. Needs INSERT on <lifecycle>.enrollments. Errors: no such lifecycle, workflow or subject; a workflow that is neither live nor shadow; a context that is not an object; a lifecycle that has not been backfilled.';
CREATE FUNCTION lifecycle.enroll(lifecycle text, workflow text, key anyelement, context jsonb DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_enroll';
COMMENT ON FUNCTION lifecycle.enroll(text, text, anyelement, jsonb) IS 'The same, with a key of any type.';

CREATE FUNCTION lifecycle.capture(lifecycle text, source text, rows anyarray) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_capture';
COMMENT ON FUNCTION lifecycle.capture(text, text, anyarray) IS 'Captures rows of an event source that no trigger saw, such as rows loaded with triggers disabled: SELECT lifecycle.capture(''customer'', ''events'', array_agg(e)) FROM events e WHERE …. They are events like any other; a row that is given twice counts twice. Returns how many of them somebody listens to. Only for the owner of the subject table. Errors: no such lifecycle or source, rows of another type.';

CREATE TABLE lifecycle.backfills (
    lifecycle   name PRIMARY KEY,
    position    text,
    subjects    bigint NOT NULL DEFAULT 0,
    events      bigint NOT NULL DEFAULT 0,
    transitions bigint NOT NULL DEFAULT 0,
    began_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz
);
COMMENT ON TABLE lifecycle.backfills IS 'Progress of lifecycle.backfill, one row per lifecycle, committed with each batch.';
COMMENT ON COLUMN lifecycle.backfills.lifecycle IS 'Name of the lifecycle.';
COMMENT ON COLUMN lifecycle.backfills.position IS 'Key of the last subject that is done; an interrupted backfill goes on behind it. NULL: at the beginning, or finished.';
COMMENT ON COLUMN lifecycle.backfills.subjects IS 'Subjects replayed.';
COMMENT ON COLUMN lifecycle.backfills.events IS 'Events replayed: those that somebody listens to.';
COMMENT ON COLUMN lifecycle.backfills.transitions IS 'Transitions that came of it.';
COMMENT ON COLUMN lifecycle.backfills.began_at IS 'When it began.';
COMMENT ON COLUMN lifecycle.backfills.updated_at IS 'When its last batch was committed.';
COMMENT ON COLUMN lifecycle.backfills.finished_at IS 'When it was finished; NULL: it is not.';
GRANT SELECT ON lifecycle.backfills TO PUBLIC;

CREATE PROCEDURE lifecycle.backfill(lifecycle text, batch_size integer DEFAULT 10000, enroll boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_backfill';
COMMENT ON PROCEDURE lifecycle.backfill(text, integer, boolean) IS 'Replays what was there before a lifecycle was defined: for every row of the subject table its events, in the order of their time, through the rules, with timers firing when they would have; then the lifecycle enrolls. batch_size: subjects per transaction (in a transaction block: one transaction). Goes on where it was interrupted. In subqueries of conditions event sources end at the time that is replayed; subjects'' rows, other tables, and what views and functions read, are as they are now. enroll: also enrolls in workflows. Subjects that were moved by hand or by a workflow are left as they are. Only for the owner of the subject table.';

CREATE FUNCTION lifecycle.waive_backfill(lifecycle text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_waive_backfill';
COMMENT ON FUNCTION lifecycle.waive_backfill(text) IS 'Lets a lifecycle on a table that had rows enroll in workflows without a backfill. Only for the owner of the subject table.';

