-- Prototypes of the state tables: the one place that defines and comments them. define_lifecycle makes each with LIKE … INCLUDING ALL, then
-- gives subject_id the subject's key type and the stage columns the type of the lifecycle's stages. They stay empty.
-- Every unique key contains subject_id, so that the tables can be distributed by it.

CREATE TABLE lifecycle._subjects (
    subject_id bigint NOT NULL PRIMARY KEY,
    stage      text NOT NULL,
    seq        integer NOT NULL,
    since      timestamptz NOT NULL
);
COMMENT ON TABLE lifecycle._subjects IS 'One row per subject, now.';
COMMENT ON COLUMN lifecycle._subjects.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._subjects.stage IS 'The stage that the subject is in.';
COMMENT ON COLUMN lifecycle._subjects.seq IS 'Number of the last transition of the subject.';
COMMENT ON COLUMN lifecycle._subjects.since IS 'When the subject entered its stage.';

CREATE TABLE lifecycle._transitions (
    subject_id    bigint NOT NULL,
    seq           integer NOT NULL,
    from_stage    text,
    to_stage      text,
    at            timestamptz NOT NULL,
    since         timestamptz,
    event_at      timestamptz,
    cause         text NOT NULL,
    rule          text,
    event_source  name,
    event_name    text,
    event_id      text,
    enrollment_id bigint,
    actor         name,
    reason        text,
    PRIMARY KEY (subject_id, seq)
);
COMMENT ON TABLE lifecycle._transitions IS 'One row per move of one subject from stage to stage.';
COMMENT ON COLUMN lifecycle._transitions.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._transitions.seq IS 'Number of the transition, 1, 2, … for each subject.';
COMMENT ON COLUMN lifecycle._transitions.from_stage IS 'The stage that was left; NULL: the subject is new.';
COMMENT ON COLUMN lifecycle._transitions.to_stage IS 'The stage that was entered; NULL: the subject''s row was deleted.';
COMMENT ON COLUMN lifecycle._transitions.at IS 'When: the time of the event, but never before the stage that was left was entered.';
COMMENT ON COLUMN lifecycle._transitions.since IS 'When from_stage was entered.';
COMMENT ON COLUMN lifecycle._transitions.event_at IS 'The event''s own time; the date, of a rule on_date.';
COMMENT ON COLUMN lifecycle._transitions.cause IS 'entry, rule, timer, workflow, manual or delete.';
COMMENT ON COLUMN lifecycle._transitions.rule IS 'Name of the transition rule, or of the workflow whose step set the stage.';
COMMENT ON COLUMN lifecycle._transitions.event_source IS 'The event source whose row caused it.';
COMMENT ON COLUMN lifecycle._transitions.event_name IS 'Name of the event that caused it.';
COMMENT ON COLUMN lifecycle._transitions.event_id IS 'Primary key of the event''s row in its source.';
COMMENT ON COLUMN lifecycle._transitions.enrollment_id IS 'The run whose step set the stage.';
COMMENT ON COLUMN lifecycle._transitions.actor IS 'Manual moves: the role that moved the subject.';
COMMENT ON COLUMN lifecycle._transitions.reason IS 'Manual moves: the reason that was given.';

CREATE TABLE lifecycle._enrollments (
    id           bigint GENERATED ALWAYS AS IDENTITY (CACHE 32),
    subject_id   bigint NOT NULL,
    version      integer NOT NULL,
    version_id   integer NOT NULL,
    shadow       boolean NOT NULL DEFAULT false,
    workflow     text NOT NULL,
    key          text NOT NULL DEFAULT '',
    entered_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    converted_at timestamptz,
    exit_reason  text,
    context      jsonb,
    PRIMARY KEY (subject_id, id)
);
CREATE UNIQUE INDEX _enrollments_active ON lifecycle._enrollments (subject_id, workflow, key) WHERE ended_at IS NULL;
COMMENT ON TABLE lifecycle._enrollments IS 'One row per run of a workflow by one subject.';
COMMENT ON COLUMN lifecycle._enrollments.id IS 'Number of the run, the same in activity, messages and transitions.';
COMMENT ON COLUMN lifecycle._enrollments.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._enrollments.workflow IS 'Name of the workflow.';
COMMENT ON COLUMN lifecycle._enrollments.version IS 'The version of the workflow that this run follows.';
COMMENT ON COLUMN lifecycle._enrollments.version_id IS 'The same as lifecycle.workflow_versions.id.';
COMMENT ON COLUMN lifecycle._enrollments.shadow IS 'The workflow was in state shadow: no message is sent, nothing is changed.';
COMMENT ON COLUMN lifecycle._enrollments.key IS 'Parallel runs of one workflow by one subject differ in it.';
COMMENT ON COLUMN lifecycle._enrollments.entered_at IS 'When the run began.';
COMMENT ON COLUMN lifecycle._enrollments.ended_at IS 'When the run ended; NULL: it is active.';
COMMENT ON COLUMN lifecycle._enrollments.converted_at IS 'When the goal was first reached within its window.';
COMMENT ON COLUMN lifecycle._enrollments.exit_reason IS 'completed, exit (an exit trigger), goal, subject_deleted, archived, or the reason that an exit step gives (exited when it gives none).';
COMMENT ON COLUMN lifecycle._enrollments.context IS 'What the run carries along: the row of the event that began it as context.event.';

CREATE TABLE lifecycle._activity (
    subject_id    bigint NOT NULL,
    enrollment_id bigint,
    version_id    integer,
    step          integer,
    waited        integer,
    at            timestamptz NOT NULL,
    outcome       text NOT NULL,
    detail        text
);
CREATE INDEX _activity_subject ON lifecycle._activity (subject_id);
COMMENT ON TABLE lifecycle._activity IS 'One row per thing that happened: a step, a touchpoint, a reaction.';
COMMENT ON COLUMN lifecycle._activity.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._activity.enrollment_id IS 'The run that it belongs to.';
COMMENT ON COLUMN lifecycle._activity.version_id IS 'Version of the workflow (lifecycle.workflow_versions.id).';
COMMENT ON COLUMN lifecycle._activity.step IS 'The step of the workflow version; NULL: the end of the run.';
COMMENT ON COLUMN lifecycle._activity.waited IS 'The waiting step whose end came just before this one.';
COMMENT ON COLUMN lifecycle._activity.at IS 'When.';
COMMENT ON COLUMN lifecycle._activity.outcome IS 'sent, skipped, yes, no, moved, done, failed, ended, …: what the step came to.';
COMMENT ON COLUMN lifecycle._activity.detail IS 'More about the outcome, such as the reason of a failure.';

CREATE TABLE lifecycle._messages (
    id              bigint GENERATED ALWAYS AS IDENTITY (CACHE 32),
    subject_id      bigint NOT NULL,
    enrollment_id   bigint,
    version         integer,
    step            integer,
    attempts        smallint NOT NULL DEFAULT 0,
    workflow        text,
    template        text NOT NULL,
    channel         text NOT NULL,
    address         text,
    subject_line    text,
    body            text,
    html_body       text,
    status          text NOT NULL,
    reason          text,
    last_error      text,
    idempotency_key text NOT NULL,
    created_at      timestamptz NOT NULL,
    sent_at         timestamptz,
    claimed_until   timestamptz,
    claim_token     uuid,
    PRIMARY KEY (subject_id, id)
);
CREATE INDEX _messages_open ON lifecycle._messages (id) WHERE status IN ('queued', 'claimed');
CREATE INDEX _messages_unsent ON lifecycle._messages (status) WHERE status IN ('failed', 'held', 'suppressed');
COMMENT ON TABLE lifecycle._messages IS 'One row per message to one address, also when it was not sent, with the reason.';
COMMENT ON COLUMN lifecycle._messages.id IS 'Number of the message.';
COMMENT ON COLUMN lifecycle._messages.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._messages.enrollment_id IS 'The run that sent it.';
COMMENT ON COLUMN lifecycle._messages.workflow IS 'Name of the workflow that sent it.';
COMMENT ON COLUMN lifecycle._messages.version IS 'Version of that workflow.';
COMMENT ON COLUMN lifecycle._messages.step IS 'Step of that version.';
COMMENT ON COLUMN lifecycle._messages.template IS 'Name of the template.';
COMMENT ON COLUMN lifecycle._messages.channel IS 'Such as email or sms.';
COMMENT ON COLUMN lifecycle._messages.address IS 'Where it goes; NULL: there was no address, and the message is suppressed.';
COMMENT ON COLUMN lifecycle._messages.subject_line IS 'The rendered subject line: one line, without control characters.';
COMMENT ON COLUMN lifecycle._messages.body IS 'The rendered text; NULL: the message could not be rendered, or had no address.';
COMMENT ON COLUMN lifecycle._messages.html_body IS 'The rendered HTML; NULL: the template has none, or as for body.';
COMMENT ON COLUMN lifecycle._messages.status IS 'queued, claimed, sent, failed, suppressed, held or shadow.';
COMMENT ON COLUMN lifecycle._messages.reason IS 'Why the message was not sent.';
COMMENT ON COLUMN lifecycle._messages.attempts IS 'How often it was claimed.';
COMMENT ON COLUMN lifecycle._messages.last_error IS 'What the last attempt to send it met.';
COMMENT ON COLUMN lifecycle._messages.idempotency_key IS 'Stable for this message over all attempts to send it.';
COMMENT ON COLUMN lifecycle._messages.created_at IS 'When it was rendered.';
COMMENT ON COLUMN lifecycle._messages.sent_at IS 'When lifecycle.finish_message said that it was sent.';
COMMENT ON COLUMN lifecycle._messages.claimed_until IS 'Until when the one who claimed the message may finish it; of a queued message: not to be claimed before.';
COMMENT ON COLUMN lifecycle._messages.claim_token IS 'What lifecycle.finish_message must show; NULL: nobody has claimed it.';

CREATE TABLE lifecycle._failures (
    id            bigint GENERATED ALWAYS AS IDENTITY,
    subject_id    bigint NOT NULL,
    kind          text NOT NULL,
    name          text NOT NULL,
    enrollment_id bigint,
    version_id    integer,
    step          integer,
    attempts      integer NOT NULL DEFAULT 1,
    at            timestamptz NOT NULL,
    parked        boolean NOT NULL DEFAULT false,
    sqlstate      text NOT NULL,
    message       text NOT NULL,
    due           jsonb,
    PRIMARY KEY (subject_id, id)
);
COMMENT ON TABLE lifecycle._failures IS 'One row per rule, condition or step that failed for one subject.';
COMMENT ON COLUMN lifecycle._failures.id IS 'Number of the failure, for lifecycle.retry.';
COMMENT ON COLUMN lifecycle._failures.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._failures.kind IS 'rule, timer, trigger, step or message.';
COMMENT ON COLUMN lifecycle._failures.name IS 'The rule, or the workflow and the label of its step.';
COMMENT ON COLUMN lifecycle._failures.enrollment_id IS 'The run that it belongs to.';
COMMENT ON COLUMN lifecycle._failures.version_id IS 'Steps: version of the workflow (lifecycle.workflow_versions.id).';
COMMENT ON COLUMN lifecycle._failures.step IS 'Steps: the step of the workflow version.';
COMMENT ON COLUMN lifecycle._failures.attempts IS 'How often it was tried.';
COMMENT ON COLUMN lifecycle._failures.at IS 'When.';
COMMENT ON COLUMN lifecycle._failures.parked IS 'The run or timer stands still until lifecycle.retry is called.';
COMMENT ON COLUMN lifecycle._failures.sqlstate IS 'The error''s code.';
COMMENT ON COLUMN lifecycle._failures.message IS 'The error''s message.';
COMMENT ON COLUMN lifecycle._failures.due IS 'Parked: the row of the due queue that lifecycle.retry puts back.';

CREATE TABLE lifecycle._due (
    due_at        timestamptz NOT NULL,
    subject_id    bigint NOT NULL,
    enrollment_id bigint,
    entered_at    timestamptz NOT NULL,
    program       integer NOT NULL,
    step          integer NOT NULL,
    attempts      smallint NOT NULL DEFAULT 0,
    kind          "char" NOT NULL,
    shadow        boolean NOT NULL DEFAULT false
);
CREATE INDEX _due_due_at ON lifecycle._due (due_at);
CREATE INDEX _due_subject ON lifecycle._due (subject_id);
COMMENT ON TABLE lifecycle._due IS 'Private: what the scheduler must look at, and when. Rows are deleted and inserted, never updated.';
COMMENT ON COLUMN lifecycle._due.due_at IS 'When to look at it.';
COMMENT ON COLUMN lifecycle._due.subject_id IS 'Key of the subject''s row.';
COMMENT ON COLUMN lifecycle._due.enrollment_id IS 'The run; NULL: the timer of a transition rule.';
COMMENT ON COLUMN lifecycle._due.shadow IS 'The run is one in shadow.';
COMMENT ON COLUMN lifecycle._due.kind IS 's: an enrollment is to run this step; w: its wait in this step ends; r: the timer of a transition rule.';
COMMENT ON COLUMN lifecycle._due.program IS 'Enrollments: lifecycle.workflow_versions.id; timers: lifecycle.transition_rules.id.';
COMMENT ON COLUMN lifecycle._due.step IS 'Enrollments: the step to run, or that waits; timers: 0.';
COMMENT ON COLUMN lifecycle._due.attempts IS 'How often it has failed; below 0: so many runs and timers have set off each other until this one, with nothing new and no time in between, and 128 more for each deadlock or serialization failure in a row.';
COMMENT ON COLUMN lifecycle._due.entered_at IS 'When the enrollment began, or the timer was armed.';

