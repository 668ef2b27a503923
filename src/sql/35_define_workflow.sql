-- Definition functions: templates and workflows. As those of 30_define.sql, they run as their caller and check ownership of the subject table in C.

CREATE FUNCTION lifecycle.define_template(
    lifecycle    text,
    name         text,
    subject_line text DEFAULT NULL,
    body         text DEFAULT NULL,
    html_body    text DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_define_template';
COMMENT ON FUNCTION lifecycle.define_template(text, text, text, text, text) IS
'Defines a Liquid template of messages. It can use the columns of the subject''s row (by the lifecycle''s name), of subject and of enrollment, the row event that began the run, and recipient; a name that is no word is written ["my shop"], a column ["e mail"]. html_body escapes what it prints.
Messages that are rendered from now on use it, also in runs that have begun.
Returns created, unchanged or replaced. Errors: no body, a template that does not parse, rows or columns that do not exist, each with line and column.';

CREATE FUNCTION lifecycle.drop_template(lifecycle text, name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_drop_template';
COMMENT ON FUNCTION lifecycle.drop_template(text, text) IS
'Drops a template. Errors: no such template; the current version of a workflow that is not archived uses it, or a version that has active runs.';

CREATE FUNCTION lifecycle.define_workflow(
    lifecycle text,
    name      text,
    state     text  DEFAULT 'draft',
    entry     jsonb DEFAULT NULL,
    exit      jsonb DEFAULT NULL,
    goal      jsonb DEFAULT NULL,
    reentry   text  DEFAULT 'once',
    steps     jsonb DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_define_workflow';
COMMENT ON FUNCTION lifecycle.define_workflow(text, text, text, jsonb, jsonb, jsonb, text, jsonb) IS
'Defines a workflow: a new one, or the next version of an existing one. Runs finish the version they began with.
state: draft (checked, does nothing), shadow (runs, but sends and changes nothing; a run that has ended does not count for reentry once it is live) or live. entry: a trigger or several; NULL: by hand only. exit: triggers that end a run. goal: goal(trigger, within, exit) or triggers. reentry: once, always (after the previous run has ended) or an interval since the previous entry. steps: steps(…) or one step.
Conditions are SQL over the subject''s row (by the lifecycle''s name), subject, enrollment and, in on_event, event; they are bound now, under the search_path of the caller.
Returns created, unchanged or replaced; another state alone makes no new version. Takes a SHARE ROW EXCLUSIVE lock on lifecycle.lifecycles, bounded by lock_timeout.
Errors: unknown kinds, arguments, stages, events, event sources or templates; a channel without an address; SQL that does not bind; labels used twice; steps that cannot be reached; more than 10,000 steps or 100 levels; delays below zero or over 100 years; a draft in place of a workflow with active runs.';

CREATE FUNCTION lifecycle.pause_workflow(lifecycle text, workflow text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_pause_workflow';
COMMENT ON FUNCTION lifecycle.pause_workflow(text, text) IS
'Lets the runs of a workflow stand still. Subjects go on to enter and exit it; nothing is lost. Errors: no such workflow, it is archived.';

CREATE FUNCTION lifecycle.resume_workflow(lifecycle text, workflow text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_resume_workflow';
COMMENT ON FUNCTION lifecycle.resume_workflow(text, text) IS
'Lets the runs of a paused workflow go on; what fell due meanwhile is run now. Errors: no such workflow, it is archived.';

CREATE FUNCTION lifecycle.archive_workflow(lifecycle text, workflow text) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_archive_workflow';
COMMENT ON FUNCTION lifecycle.archive_workflow(text, text) IS
'Ends a workflow: its active runs get the exit_reason archived, and nobody enters it any more. To bring it back, define it again. Returns how many runs were ended. Errors: no such workflow.';

CREATE FUNCTION lifecycle.drop_workflow(lifecycle text, workflow text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_drop_workflow';
COMMENT ON FUNCTION lifecycle.drop_workflow(text, text) IS
'Archives a workflow and removes its definition. Past runs, their messages and activity stay, and so do the versions they refer to; a workflow of the same name counts on from there. Errors: no such workflow.';

CREATE FUNCTION lifecycle.pause(lifecycle text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_pause_lifecycle';
COMMENT ON FUNCTION lifecycle.pause(text) IS
'Lets the workflows and timers of a lifecycle stand still; stages go on to change. Errors: no such lifecycle, not the owner of its table.';

CREATE FUNCTION lifecycle.resume(lifecycle text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_resume_lifecycle';
COMMENT ON FUNCTION lifecycle.resume(text) IS
'Lets the workflows and timers of a paused lifecycle go on; what fell due meanwhile is run now. Errors: no such lifecycle, not the owner of its table.';

CREATE FUNCTION lifecycle.pause() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_pause';
REVOKE EXECUTE ON FUNCTION lifecycle.pause() FROM PUBLIC;
COMMENT ON FUNCTION lifecycle.pause() IS
'Lets the workflows and timers of all lifecycles of this database stand still, and lifecycle.claim_messages gives no messages; stages go on to change.';

CREATE FUNCTION lifecycle.resume() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle_resume';
REVOKE EXECUTE ON FUNCTION lifecycle.resume() FROM PUBLIC;
COMMENT ON FUNCTION lifecycle.resume() IS
'Ends lifecycle.pause(). Called on a copy of the database it also says that the copy may act: send messages and run workflows.';
