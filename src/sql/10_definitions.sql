-- Definitions: small tables that say what should happen. They belong to the extension; pg_dump saves their rows.
-- References between definitions are by name, so that a dump restores in any order of tables.

CREATE TABLE lifecycle.lifecycles (
    name          name PRIMARY KEY,
    schema        name NOT NULL UNIQUE,
    on_table      regclass NOT NULL,
    key_column    name NOT NULL,
    initial_stage text NOT NULL,
    timezone      text,
    recipients    text,
    strict        boolean NOT NULL DEFAULT false,
    simulated     boolean NOT NULL DEFAULT false,
    replicated    boolean NOT NULL DEFAULT false,
    paused        boolean NOT NULL DEFAULT false,
    enrolls       boolean NOT NULL DEFAULT true,
    waived        boolean NOT NULL DEFAULT false,
    format        integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE lifecycle.lifecycles IS 'One row per lifecycle: an ordered set of stages for the rows of a table, its subjects.';
COMMENT ON COLUMN lifecycle.lifecycles.name IS 'Name of the lifecycle; conditions call the subject''s row so.';
COMMENT ON COLUMN lifecycle.lifecycles.key_column IS 'The column of on_table that identifies a subject.';
COMMENT ON COLUMN lifecycle.lifecycles.initial_stage IS 'The stage of new subjects.';
COMMENT ON COLUMN lifecycle.lifecycles.created_at IS 'When it was defined.';
COMMENT ON COLUMN lifecycle.lifecycles.schema IS 'Schema with the state tables and views of this lifecycle.';
COMMENT ON COLUMN lifecycle.lifecycles.on_table IS 'The table whose rows are the subjects. Its owner is the owner of the lifecycle.';
COMMENT ON COLUMN lifecycle.lifecycles.timezone IS 'SQL expression over the subject''s row that gives the name of its time zone; NULL: UTC.';
COMMENT ON COLUMN lifecycle.lifecycles.recipients IS 'Query that gives the recipients of a subject, one row with a column address for each; NULL: the subject''s own column.';
COMMENT ON COLUMN lifecycle.lifecycles.strict IS 'Manual moves that no transition rule allows are errors.';
COMMENT ON COLUMN lifecycle.lifecycles.simulated IS 'Obeys lifecycle.clock instead of the real time.';
COMMENT ON COLUMN lifecycle.lifecycles.replicated IS 'Rows of on_table that logical replication writes are captured too.';
COMMENT ON COLUMN lifecycle.lifecycles.paused IS 'The worker leaves the due queue of this lifecycle alone.';
COMMENT ON COLUMN lifecycle.lifecycles.enrolls IS 'False on a table that had rows, until backfill or a waiver: nobody is enrolled in a workflow.';
COMMENT ON COLUMN lifecycle.lifecycles.waived IS 'The rows that the table had are taken in with their first events: waive_backfill was called, and no backfill since.';
COMMENT ON COLUMN lifecycle.lifecycles.format IS 'Format of the state tables, raised by lifecycle.upgrade_lifecycle.';

CREATE TABLE lifecycle.stages (
    lifecycle  name NOT NULL,
    name       text NOT NULL,
    position   integer NOT NULL,
    phase      text,
    retired_at timestamptz,
    PRIMARY KEY (lifecycle, name)
);
COMMENT ON TABLE lifecycle.stages IS 'The stages of each lifecycle in their order, each with the phase of the relationship that it belongs to.';
COMMENT ON COLUMN lifecycle.stages.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.stages.name IS 'Name of the stage.';
COMMENT ON COLUMN lifecycle.stages.position IS 'Its place in the order, from 1.';
COMMENT ON COLUMN lifecycle.stages.phase IS 'Phase of the relationship; NULL: none.';
COMMENT ON COLUMN lifecycle.stages.retired_at IS 'When it was retired; NULL: subjects can enter it.';

CREATE TABLE lifecycle.event_sources (
    lifecycle        name NOT NULL,
    name             name NOT NULL,
    on_table         regclass NOT NULL,
    subject_column   name NOT NULL,
    name_column      name,
    event_name       text,
    time_column      name NOT NULL,
    becomes          text,
    becomes_function name,
    enroll_within    interval,
    replicated       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (lifecycle, name),
    CHECK ((name_column IS NULL) <> (event_name IS NULL))
);
COMMENT ON TABLE lifecycle.event_sources IS 'Tables whose rows are events of subjects.';
COMMENT ON COLUMN lifecycle.event_sources.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.event_sources.name IS 'Name of the event source.';
COMMENT ON COLUMN lifecycle.event_sources.on_table IS 'The table whose rows are events.';
COMMENT ON COLUMN lifecycle.event_sources.subject_column IS 'The column that joins to the key of the subjects.';
COMMENT ON COLUMN lifecycle.event_sources.name_column IS 'The column with the names of the events; NULL: see event_name.';
COMMENT ON COLUMN lifecycle.event_sources.time_column IS 'The column that says when the event was.';
COMMENT ON COLUMN lifecycle.event_sources.becomes_function IS 'becomes, bound when it was defined, as an SQL function in the lifecycle''s schema.';
COMMENT ON COLUMN lifecycle.event_sources.event_name IS 'The one name of all events of this source, when no column gives it.';
COMMENT ON COLUMN lifecycle.event_sources.becomes IS 'Condition over the row: the insert or the update that makes it true is the event.';
COMMENT ON COLUMN lifecycle.event_sources.enroll_within IS 'Older events move stages but enroll nobody; days and months are those of the subject''s time zone.';
COMMENT ON COLUMN lifecycle.event_sources.replicated IS 'Rows that logical replication writes are captured too.';

CREATE TABLE lifecycle.transition_rules (
    id                 integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    lifecycle          name NOT NULL,
    name               text NOT NULL,
    from_kind          text NOT NULL CHECK (from_kind IN ('stages', 'any', 'entry')),
    from_stages        text[] NOT NULL DEFAULT '{}',
    to_stage           text NOT NULL,
    on_event           text,
    source             name,
    condition          text,
    condition_function name,
    after              interval,
    without_event      text,
    on_date            text,
    date_function      name,
    priority           integer NOT NULL DEFAULT 100,
    UNIQUE (lifecycle, name)
);
COMMENT ON TABLE lifecycle.transition_rules IS 'Rules that move subjects from stage to stage.';
COMMENT ON COLUMN lifecycle.transition_rules.id IS 'Number of the rule.';
COMMENT ON COLUMN lifecycle.transition_rules.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.transition_rules.name IS 'Name of the rule.';
COMMENT ON COLUMN lifecycle.transition_rules.from_stages IS 'The stages that it leaves.';
COMMENT ON COLUMN lifecycle.transition_rules.to_stage IS 'The stage that it leads to.';
COMMENT ON COLUMN lifecycle.transition_rules.on_event IS 'The event that makes it fire.';
COMMENT ON COLUMN lifecycle.transition_rules.source IS 'The event source that is meant; NULL: any.';
COMMENT ON COLUMN lifecycle.transition_rules.condition IS 'SQL that must be true; without another trigger, that becomes true.';
COMMENT ON COLUMN lifecycle.transition_rules.after IS 'How long the subject must be in the stage, or without the event.';
COMMENT ON COLUMN lifecycle.transition_rules.without_event IS 'The event that must stay away for so long.';
COMMENT ON COLUMN lifecycle.transition_rules.on_date IS 'SQL that gives the time at which it fires.';
COMMENT ON COLUMN lifecycle.transition_rules.date_function IS 'on_date, bound when it was defined, as an SQL function in the lifecycle''s schema.';
COMMENT ON COLUMN lifecycle.transition_rules.from_kind IS 'stages: from_stages; any: every stage; entry: the first stage of a new subject.';
COMMENT ON COLUMN lifecycle.transition_rules.condition_function IS 'The condition, bound when it was defined, as an SQL function in the lifecycle''s schema (one overload for each event table).';
COMMENT ON COLUMN lifecycle.transition_rules.priority IS 'The lowest number wins, ties by name.';

CREATE TABLE lifecycle.templates (
    lifecycle    name NOT NULL,
    name         text NOT NULL,
    subject_line text,
    body         text NOT NULL,
    html_body    text,
    PRIMARY KEY (lifecycle, name)
);
COMMENT ON TABLE lifecycle.templates IS 'Liquid templates of messages. html_body escapes what it prints, the other parts do not.';
COMMENT ON COLUMN lifecycle.templates.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.templates.name IS 'Name of the template.';
COMMENT ON COLUMN lifecycle.templates.subject_line IS 'Source of the subject line; NULL: messages have none.';
COMMENT ON COLUMN lifecycle.templates.body IS 'Source of the text.';
COMMENT ON COLUMN lifecycle.templates.html_body IS 'Source of the HTML; NULL: messages have none.';

CREATE TABLE lifecycle.workflows (
    lifecycle name NOT NULL,
    name      text NOT NULL,
    state     text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'shadow', 'live', 'archived')),
    paused    boolean NOT NULL DEFAULT false,
    version   integer NOT NULL,
    PRIMARY KEY (lifecycle, name)
);
COMMENT ON TABLE lifecycle.workflows IS 'Workflows, each with its state and the version that new enrollments follow.';
COMMENT ON COLUMN lifecycle.workflows.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.workflows.name IS 'Name of the workflow.';
COMMENT ON COLUMN lifecycle.workflows.state IS 'draft, shadow, live or archived.';
COMMENT ON COLUMN lifecycle.workflows.paused IS 'Its runs stand still.';
COMMENT ON COLUMN lifecycle.workflows.version IS 'The version that new runs follow.';

CREATE TABLE lifecycle.workflow_versions (
    id         integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    lifecycle  name NOT NULL,
    workflow   text NOT NULL,
    version    integer NOT NULL,
    entry      jsonb NOT NULL DEFAULT '[]',
    exits      jsonb NOT NULL DEFAULT '[]',
    goal       jsonb,
    reentry    text NOT NULL DEFAULT 'once',
    steps      jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_by name NOT NULL DEFAULT CURRENT_USER,
    keeps_event boolean NOT NULL DEFAULT false,
    UNIQUE (lifecycle, workflow, version)
);
COMMENT ON TABLE lifecycle.workflow_versions IS 'The immutable versions of each workflow, as they were written.';
COMMENT ON COLUMN lifecycle.workflow_versions.id IS 'Number of the version, in all of the database.';
COMMENT ON COLUMN lifecycle.workflow_versions.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.workflow_versions.workflow IS 'Name of the workflow.';
COMMENT ON COLUMN lifecycle.workflow_versions.version IS 'Number of the version, 1, 2, … for each workflow.';
COMMENT ON COLUMN lifecycle.workflow_versions.exits IS 'Exit triggers: an array of trigger objects.';
COMMENT ON COLUMN lifecycle.workflow_versions.goal IS 'The goal; NULL: it has none.';
COMMENT ON COLUMN lifecycle.workflow_versions.steps IS 'The steps: an array of step objects.';
COMMENT ON COLUMN lifecycle.workflow_versions.created_at IS 'When it was defined.';
COMMENT ON COLUMN lifecycle.workflow_versions.created_by IS 'The role that defined it.';
COMMENT ON COLUMN lifecycle.workflow_versions.entry IS 'Entry triggers: an array of trigger objects. Their conditions are bound in workflow_triggers.';
COMMENT ON COLUMN lifecycle.workflow_versions.reentry IS 'once, always (after the previous run ended) or an interval since the previous entry.';
COMMENT ON COLUMN lifecycle.workflow_versions.keeps_event IS 'A step, its template, an exit or a goal may read the event of the entry: it is stored in the context of the run.';

CREATE TABLE lifecycle.workflow_triggers (
    version_id         integer NOT NULL,
    lifecycle          name NOT NULL,
    role               text NOT NULL CHECK (role IN ('entry', 'exit', 'goal')),
    position           integer NOT NULL,
    kind               text NOT NULL CHECK (kind IN ('on_event', 'on_stage', 'on_change')),
    event_name         text,
    source             name,
    stage              text,
    from_stage         text,
    condition          text,
    condition_function name,
    within             interval,
    exits              boolean NOT NULL DEFAULT false,
    PRIMARY KEY (version_id, role, position)
);
COMMENT ON TABLE lifecycle.workflow_triggers IS 'The triggers of each workflow version, compiled: what capture listens to.';
COMMENT ON COLUMN lifecycle.workflow_triggers.version_id IS 'The version (workflow_versions.id).';
COMMENT ON COLUMN lifecycle.workflow_triggers.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.workflow_triggers.role IS 'entry, exit or goal.';
COMMENT ON COLUMN lifecycle.workflow_triggers.position IS 'Its place among those of its role, from 1.';
COMMENT ON COLUMN lifecycle.workflow_triggers.kind IS 'on_event, on_stage or on_change.';
COMMENT ON COLUMN lifecycle.workflow_triggers.event_name IS 'on_event: the event.';
COMMENT ON COLUMN lifecycle.workflow_triggers.source IS 'on_event: the event source that is meant; NULL: any.';
COMMENT ON COLUMN lifecycle.workflow_triggers.stage IS 'on_stage: the stage that is entered; NULL: any.';
COMMENT ON COLUMN lifecycle.workflow_triggers.from_stage IS 'on_stage: the stage that is left; NULL: any.';
COMMENT ON COLUMN lifecycle.workflow_triggers.condition IS 'SQL that must be true; on_change: that becomes true.';
COMMENT ON COLUMN lifecycle.workflow_triggers.condition_function IS 'The condition, bound when it was defined, as an SQL function in the lifecycle''s schema.';
COMMENT ON COLUMN lifecycle.workflow_triggers.within IS 'Goals: how long after the entry a conversion counts; NULL: for ever.';
COMMENT ON COLUMN lifecycle.workflow_triggers.exits IS 'Goals: reaching it also ends the enrollment.';

CREATE TABLE lifecycle.workflow_steps (
    version_id         integer NOT NULL,
    lifecycle          name NOT NULL,
    step               integer NOT NULL,
    label              text NOT NULL,
    kind               text NOT NULL,
    next               integer,
    otherwise          integer,
    skip               integer,
    arguments          jsonb NOT NULL DEFAULT '{}',
    only_if_function   name,
    condition_function name,
    PRIMARY KEY (version_id, step)
);
COMMENT ON TABLE lifecycle.workflow_steps IS 'The program of each workflow version: numbered steps with the step that follows each. NULL: the enrollment ends there.';
COMMENT ON COLUMN lifecycle.workflow_steps.version_id IS 'The version (workflow_versions.id).';
COMMENT ON COLUMN lifecycle.workflow_steps.lifecycle IS 'The lifecycle that it belongs to.';
COMMENT ON COLUMN lifecycle.workflow_steps.label IS 'Label of the step; one that was not given is its kind and a number.';
COMMENT ON COLUMN lifecycle.workflow_steps.kind IS 'send, delay, branch, set_stage, run_sql or exit.';
COMMENT ON COLUMN lifecycle.workflow_steps.next IS 'The step that follows; for a branch whose condition is true.';
COMMENT ON COLUMN lifecycle.workflow_steps.only_if_function IS 'only_if, bound when it was defined, as an SQL function in the lifecycle''s schema.';
COMMENT ON COLUMN lifecycle.workflow_steps.step IS 'Number of the step, from 1; a run begins with step 1.';
COMMENT ON COLUMN lifecycle.workflow_steps.skip IS 'The step taken when only_if is not true: for a branch the one after all its arms, for other steps the one that follows.';
COMMENT ON COLUMN lifecycle.workflow_steps.arguments IS 'What the step was given, by name: send has channel, template and column (of the subject''s row, when it has the address); delay has duration; set_stage has stage; exit has reason; each may have the texts of its SQL.';
COMMENT ON COLUMN lifecycle.workflow_steps.otherwise IS 'Branches: the step taken when the condition is not true.';
COMMENT ON COLUMN lifecycle.workflow_steps.condition_function IS 'Bound SQL function of the step: a branch''s condition, a send''s recipients, a run_sql''s statement.';

-- The cluster and the database that the definitions were made in: a copy elsewhere starts paused.
CREATE TABLE lifecycle._installation (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    system_identifier bigint NOT NULL,
    database          oid NOT NULL,
    paused            boolean NOT NULL DEFAULT false,
    unfinished_run    timestamptz
);
COMMENT ON TABLE lifecycle._installation IS 'Private: which cluster and database this is, whether everything is paused, and whether the worker was interrupted in a batch.';
COMMENT ON COLUMN lifecycle._installation.only_row IS 'There is one row.';
COMMENT ON COLUMN lifecycle._installation.system_identifier IS 'The cluster''s.';
COMMENT ON COLUMN lifecycle._installation.database IS 'The OID of the database.';
COMMENT ON COLUMN lifecycle._installation.paused IS 'Everything stands still, by lifecycle.pause().';
COMMENT ON COLUMN lifecycle._installation.unfinished_run IS 'Since when the worker is busy; NULL: it has nothing in hand.';

-- What was interrupted by a crash, and how far the worker has come with finding out which row it was. Empty on a healthy server.
CREATE TABLE lifecycle._interrupted (
    lifecycle  name PRIMARY KEY,
    batch_rows integer NOT NULL,
    alone      bigint,
    attempts   integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE lifecycle._interrupted IS 'Private: lifecycles whose batches are small since the worker was killed in the middle of one.';
COMMENT ON COLUMN lifecycle._interrupted.lifecycle IS 'Name of the lifecycle.';
COMMENT ON COLUMN lifecycle._interrupted.batch_rows IS 'Rows of a batch: an eighth after each crash, twice as many with each batch when what the crashed one can have had is behind it.';
COMMENT ON COLUMN lifecycle._interrupted.alone IS 'A hash of the row of the due queue that was begun alone last.';
COMMENT ON COLUMN lifecycle._interrupted.attempts IS 'How often that row was begun alone.';
GRANT SELECT ON lifecycle._interrupted TO PUBLIC;

-- One statement each: two updates of one row by one command are an error.
SELECT pg_catalog.pg_extension_config_dump('lifecycle.lifecycles', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.stages', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.event_sources', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.transition_rules', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.transition_rules_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.templates', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.workflows', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.workflow_versions', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.workflow_versions_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.workflow_triggers', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.workflow_steps', '');
SELECT pg_catalog.pg_extension_config_dump('lifecycle._installation', '');

