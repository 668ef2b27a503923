-- Capture: the trigger functions, and what feeds them by hand.

CREATE FUNCTION lifecycle._capture_subject() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_capture_subject';
COMMENT ON FUNCTION lifecycle._capture_subject() IS 'Private: AFTER trigger of a subject table. Argument: the lifecycle.';
REVOKE EXECUTE ON FUNCTION lifecycle._capture_subject() FROM PUBLIC;

CREATE FUNCTION lifecycle._capture_event() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_capture_event';
COMMENT ON FUNCTION lifecycle._capture_event() IS 'Private: AFTER trigger of an event source. Arguments: the lifecycle, the source.';
REVOKE EXECUTE ON FUNCTION lifecycle._capture_event() FROM PUBLIC;

