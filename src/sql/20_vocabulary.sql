-- The vocabulary that workflows are written in. Each function gives the JSON form of what it names, and checks nothing: define_workflow does.

CREATE FUNCTION lifecycle.steps(VARIADIC steps jsonb[] DEFAULT '{}') RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary_list';
COMMENT ON FUNCTION lifecycle.steps(jsonb[]) IS 'Steps one after the other, as a JSON array. A step may stand wherever steps may, and steps among steps; NULL is left out. More than 100 need steps(VARIADIC ARRAY[…]).';

CREATE FUNCTION lifecycle.send(channel text, template text, "to" text DEFAULT NULL, label text DEFAULT NULL, only_if text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.send(text, text, text, text, text) IS 'Step: a message by a channel (email, sms, …) from a template of the lifecycle. "to": a query that gives the recipients, a row with a column address for each; by default those of the lifecycle. label: a name for the step, unique in the workflow. only_if: a condition; the step is skipped unless it is true.';

CREATE FUNCTION lifecycle.delay(duration interval, label text DEFAULT NULL, only_if text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.delay(interval, text, text) IS 'Step: waits that long; days and months are calendar days and months of the subject''s time zone. At most 100 years.';

CREATE FUNCTION lifecycle.branch(condition text, yes jsonb DEFAULT NULL, no jsonb DEFAULT NULL, label text DEFAULT NULL, only_if text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.branch(text, jsonb, jsonb, text, text) IS 'Step: goes on with the steps of yes when the condition is true, with those of no when it is false or NULL, and then with the step after the branch.';

CREATE FUNCTION lifecycle.set_stage(stage text, label text DEFAULT NULL, only_if text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.set_stage(text, text, text) IS 'Step: moves the subject to a stage.';

CREATE FUNCTION lifecycle.run_sql(statement text, label text DEFAULT NULL, only_if text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.run_sql(text, text, text) IS 'Step: runs one SELECT, INSERT, UPDATE, DELETE or MERGE with the rights of the lifecycle''s owner, in the transaction of the step. The lifecycle''s row (by its name), subject and enrollment are rows in it.';

CREATE FUNCTION lifecycle.exit(reason text DEFAULT NULL, label text DEFAULT NULL, only_if text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.exit(text, text, text) IS 'Step: ends the run; its exit_reason is the reason given, or exited.';

CREATE FUNCTION lifecycle.triggers(VARIADIC triggers jsonb[] DEFAULT '{}') RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary_list';
COMMENT ON FUNCTION lifecycle.triggers(jsonb[]) IS 'Several triggers, as a JSON array: any of them. A trigger may stand wherever triggers may; NULL is left out.';

CREATE FUNCTION lifecycle.on_event(name text, condition text DEFAULT NULL, source text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.on_event(text, text, text) IS 'Trigger: an event of that name, for which the condition is true (it may read event). source: only events of that event source.';

CREATE FUNCTION lifecycle.on_stage(stage text DEFAULT NULL, from_stage text DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.on_stage(text, text) IS 'Trigger: the subject enters the stage, or one of several (''{a,b}''); NULL: any stage. from_stage: only from there.';

CREATE FUNCTION lifecycle.on_stage(stage text[], from_stage text[] DEFAULT NULL) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.on_stage(text[], text[]) IS 'Trigger: the subject enters one of the stages; NULL: any stage. from_stage: only from one of those.';

CREATE FUNCTION lifecycle.on_change(condition text) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.on_change(text) IS 'Trigger: a change of the subject''s row makes the condition true, or its insertion does.';

CREATE FUNCTION lifecycle.goal(trigger jsonb, within interval DEFAULT NULL, exit boolean DEFAULT false) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_vocabulary';
COMMENT ON FUNCTION lifecycle.goal(jsonb, interval, boolean) IS 'Goal of a workflow: the trigger, or any of several, converts the run when it comes at most so long after the entry (NULL: whenever). exit: and ends it.';
