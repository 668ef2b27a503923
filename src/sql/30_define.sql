-- Definition functions: lifecycles, stages, event sources, transitions. They run as their caller, without a search_path of their own, so that the
-- conditions they are given mean what they mean to their author; in C they check ownership of the subject table and change roles as needed.

CREATE FUNCTION lifecycle._definitions_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle__definitions_changed';
REVOKE EXECUTE ON FUNCTION lifecycle._definitions_changed() FROM PUBLIC;
COMMENT ON FUNCTION lifecycle._definitions_changed() IS 'Private: makes every backend read the definitions anew when the transaction commits.';

CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.lifecycles
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.stages
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.event_sources
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.transition_rules
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.templates
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.workflows
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.workflow_versions
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.workflow_triggers
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON lifecycle.workflow_steps
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle._definitions_changed();

-- LIKE needs the right to select from the prototypes, which are empty.
GRANT SELECT ON lifecycle._subjects, lifecycle._transitions, lifecycle._enrollments, lifecycle._activity, lifecycle._messages,
    lifecycle._failures, lifecycle._due TO PUBLIC;
-- Definitions are harmless to read and say what views and explain are about.
GRANT SELECT ON lifecycle.lifecycles, lifecycle.stages, lifecycle.event_sources, lifecycle.transition_rules, lifecycle.templates,
    lifecycle.workflows, lifecycle.workflow_versions, lifecycle.workflow_triggers, lifecycle.workflow_steps TO PUBLIC;

CREATE FUNCTION lifecycle.define_lifecycle(
    name          text,
    on_table      regclass,
    stages        text[]  DEFAULT NULL,
    key_column    text    DEFAULT NULL,
    schema        text    DEFAULT NULL,
    initial_stage text    DEFAULT NULL,
    phases        jsonb   DEFAULT NULL,
    timezone      text    DEFAULT NULL,
    recipients    text    DEFAULT NULL,
    strict        boolean DEFAULT false,
    simulated     boolean DEFAULT false,
    replicated    boolean DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_define_lifecycle';
COMMENT ON FUNCTION lifecycle.define_lifecycle(text, regclass, text[], text, text, text, jsonb, text, text, boolean, boolean, boolean) IS
'Defines a lifecycle: an ordered set of stages for the rows of a table, its subjects. Makes a schema with its state tables and views, owned by the table''s owner.
on_table: an ordinary or partitioned table that the caller owns. stages: default awareness, consideration, conversion, retention, advocacy, inactive, lost. key_column: default the primary key; smallint, integer, bigint, uuid or text, NOT NULL and unique. schema: default the name. initial_stage: default the first. phases: {"stage": "phase"}. timezone: SQL expression over the subject''s row that names its time zone, default UTC: delays, timers, goal windows and intervals of re-entry of days and months keep the local time of day there; a zone that does not exist counts as UTC, and is counted. recipients: query over it with a column address. strict: manual moves outside the rules are errors. simulated: obeys lifecycle.clock. replicated: rows that logical replication writes are captured too, each by itself, of a table that is not partitioned; NULL: if a subscription feeds it now.
Returns created, unchanged or replaced. Takes SHARE ROW EXCLUSIVE locks on the table and on lifecycle.lifecycles, bounded by lock_timeout.
Errors: reserved or too long names, a partition, a table without a usable key, one that is partitioned and replicated, an owner who may not create schemas in the database, stages that are missing from an existing lifecycle, expressions that do not bind.';

CREATE FUNCTION lifecycle.drop_lifecycle(lifecycle text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_drop_lifecycle';
COMMENT ON FUNCTION lifecycle.drop_lifecycle(text) IS
'Drops a lifecycle: its triggers, its definitions and its schema with all state, and the views that others have on it. Errors: no such lifecycle, not the owner of its table, tables of others in its schema, columns elsewhere of the type of its stages.';

CREATE FUNCTION lifecycle._missing_function(name text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'lifecycle__missing_function';
COMMENT ON FUNCTION lifecycle._missing_function(text) IS 'Private: stands for the function of a condition that is gone. Always an error that names it.';

CREATE FUNCTION lifecycle._column_renamed() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle__column_renamed';
REVOKE EXECUTE ON FUNCTION lifecycle._column_renamed() FROM PUBLIC;
COMMENT ON FUNCTION lifecycle._column_renamed() IS 'Private: follows renamed columns into the definitions that name them.';
CREATE EVENT TRIGGER lifecycle_column_renamed ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION lifecycle._column_renamed();
ALTER EVENT TRIGGER lifecycle_column_renamed ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER lifecycle_column_renamed IS 'Follows renamed columns into the definitions of lifecycles.';

CREATE FUNCTION lifecycle._table_altering() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle__table_altering';
REVOKE EXECUTE ON FUNCTION lifecycle._table_altering() FROM PUBLIC;
COMMENT ON FUNCTION lifecycle._table_altering() IS 'Private: takes out the bodies of conditions over a table that is going to be altered, which would refuse that.';
CREATE EVENT TRIGGER lifecycle_table_altering ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION lifecycle._table_altering();
ALTER EVENT TRIGGER lifecycle_table_altering ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER lifecycle_table_altering IS 'Lets tables with conditions of lifecycles be altered.';

CREATE FUNCTION lifecycle._table_altered() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle__table_altered';
REVOKE EXECUTE ON FUNCTION lifecycle._table_altered() FROM PUBLIC;
COMMENT ON FUNCTION lifecycle._table_altered() IS 'Private: binds conditions again to a table that was altered.';
CREATE EVENT TRIGGER lifecycle_table_altered ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION lifecycle._table_altered();
ALTER EVENT TRIGGER lifecycle_table_altered ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER lifecycle_table_altered IS 'Binds conditions of lifecycles again to altered tables.';

CREATE FUNCTION lifecycle.upgrade_lifecycle(lifecycle text) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_upgrade_lifecycle';
COMMENT ON FUNCTION lifecycle.upgrade_lifecycle(text) IS
'Brings the state tables of a lifecycle to the format of the installed version, after ALTER EXTENSION or after restoring an old dump. Returns unchanged: there is one format so far. Errors: no such lifecycle, tables of a later format.';

CREATE FUNCTION lifecycle.add_stage(lifecycle text, stage text, before text DEFAULT NULL, after text DEFAULT NULL, phase text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_add_stage';
COMMENT ON FUNCTION lifecycle.add_stage(text, text, text, text, text) IS
'Adds a stage before or after another one, or at the end. Subjects can enter it once this transaction has committed. A stage that is there stays where it is; it comes back when it was retired, and gets the phase when one is given. Returns created, unchanged or replaced. Errors: no such stage as before or after, both given.';

CREATE FUNCTION lifecycle.rename_stage(lifecycle text, stage text, new_name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_rename_stage';
COMMENT ON FUNCTION lifecycle.rename_stage(text, text, text) IS
'Renames a stage, in history and in all definitions too, and in the names of rules that were given none. Errors: no such stage, the new name exists.';

CREATE FUNCTION lifecycle.retire_stage(lifecycle text, stage text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_retire_stage';
COMMENT ON FUNCTION lifecycle.retire_stage(text, text) IS
'Retires a stage: nobody enters it any more; those in it may leave. lifecycle.add_stage brings it back. Errors: no such stage, it is the initial stage, a transition or a workflow leads to it.';

CREATE FUNCTION lifecycle.define_event_source(
    lifecycle      text,
    on_table       regclass,
    subject_column text,
    time_column    text,
    name_column    text     DEFAULT NULL,
    event_name     text     DEFAULT NULL,
    name           text     DEFAULT NULL,
    becomes        text     DEFAULT NULL,
    enroll_within  interval DEFAULT NULL,
    replicated     boolean  DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_define_event_source';
COMMENT ON FUNCTION lifecycle.define_event_source(text, regclass, text, text, text, text, text, text, interval, boolean) IS
'Makes the rows of a table events of the subjects. subject_column joins to the key; time_column says when; name_column holds the event''s name, or event_name is the name of all. name: default the table''s. becomes: condition over the row (event); the insert or update that makes it true is the event. enroll_within: older events move stages only; days and months are those of the subject''s time zone. replicated: rows that logical replication writes are captured too; NULL: if a subscription feeds the table, or a partition of it, now.
Returns created, unchanged or replaced. Errors: unknown, virtual or wrong-typed columns, a table the caller does not own, a partition, a condition that does not bind.';

CREATE FUNCTION lifecycle.drop_event_source(lifecycle text, name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_drop_event_source';
COMMENT ON FUNCTION lifecycle.drop_event_source(text, text) IS
'Stops taking a table''s rows as events. Errors: no such event source, a transition or a workflow names it as its source.';

CREATE FUNCTION lifecycle.define_transition(
    lifecycle     text,
    from_stage    text,
    to_stage      text,
    on_event      text     DEFAULT NULL,
    condition     text     DEFAULT NULL,
    after         interval DEFAULT NULL,
    without_event text     DEFAULT NULL,
    on_date       text     DEFAULT NULL,
    source        text     DEFAULT NULL,
    priority      integer  DEFAULT 100,
    name          text     DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_define_transition';
COMMENT ON FUNCTION lifecycle.define_transition(text, text, text, text, text, interval, text, text, text, integer, text) IS
'Defines a rule that moves subjects from one stage, several (''{a,b}''), every one (''any'') or none (NULL: new subjects) to another.
Triggers: on_event; after so long in the stage; without_event for so long; on_date, an expression over the subject''s row (a date or a timestamp without time zone is taken in the subject''s zone), once for a subject and a date, at once when it is past; else the condition becoming true. A condition alone is asked when a subject enters a stage and when its row changes in a column that the condition reads; what subqueries read is seen then, its changes ask nothing. Without any of these the rule only allows manual moves where the lifecycle is strict. condition: SQL over the subject''s row (by the lifecycle''s name), subject and, with on_event, event. source: the event source that is meant. priority: the lowest number wins, ties by name. name: default from, to and trigger; rules that differ in nothing else replace each other, with a NOTICE, unless they are given names. A rule that waits for time is armed for the subjects that are in its stages already; the commit waits for transactions that have moved subjects, so long as lock_timeout allows, and keeps others from moving some until it is done.
Returns created, unchanged or replaced. Errors: unknown stages, events or sources, triggers that exclude each other, conditions that do not bind.';

CREATE FUNCTION lifecycle.define_transition(
    lifecycle     text,
    from_stages   text[],
    to_stage      text,
    on_event      text     DEFAULT NULL,
    condition     text     DEFAULT NULL,
    after         interval DEFAULT NULL,
    without_event text     DEFAULT NULL,
    on_date       text     DEFAULT NULL,
    source        text     DEFAULT NULL,
    priority      integer  DEFAULT 100,
    name          text     DEFAULT NULL
) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_define_transition';
COMMENT ON FUNCTION lifecycle.define_transition(text, text[], text, text, text, interval, text, text, text, integer, text) IS
'The same with an array of stages.';

CREATE FUNCTION lifecycle.drop_transition(lifecycle text, name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lifecycle_drop_transition';
COMMENT ON FUNCTION lifecycle.drop_transition(text, text) IS
'Drops a transition rule and its timers. Errors: no such lifecycle or transition.';

