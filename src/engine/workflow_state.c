/*
 * workflow_state.c: pausing, resuming, archiving and dropping workflows, and pausing everything.
 *
 * Pausing changes a flag that the runner reads: due rows stay, and what fell due meanwhile runs at resume. Archiving ends the active runs in this
 * transaction: their due rows first, waiting for a runner that holds some (lc_due_remove), then the runs themselves, the order in which capture does it. A run that a concurrent
 * transaction begins under the old definition is not seen here; the runner ends it when it comes to it, as it finds its workflow archived.
 *
 * A dropped workflow keeps the rows of its versions and steps, without their functions: runs, messages and activity of the past refer to them by
 * number, and a later workflow of that name counts on from there.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/closest.h"
#include "catalog/condition.h"
#include "catalog/definer.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "clock.h"
#include "engine/due.h"
#include "engine/workflow_state.h"
#include "fmgr.h"
#include "guc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/installation.h"
#include "worker/worker.h"

#define ARCHIVE_ROWS 10000		/* runs whose due rows are removed at once */

PG_FUNCTION_INFO_V1(lifecycle_pause_workflow);
PG_FUNCTION_INFO_V1(lifecycle_resume_workflow);
PG_FUNCTION_INFO_V1(lifecycle_archive_workflow);
PG_FUNCTION_INFO_V1(lifecycle_drop_workflow);
PG_FUNCTION_INFO_V1(lifecycle_pause);
PG_FUNCTION_INFO_V1(lifecycle_resume);
PG_FUNCTION_INFO_V1(lifecycle_pause_lifecycle);
PG_FUNCTION_INFO_V1(lifecycle_resume_lifecycle);

char *
lc_workflow_state(LcLifecycle *lc, const char *workflow)
{
	lc_definer_run("SELECT state FROM lifecycle.workflows WHERE lifecycle = $1 AND name = $2", 2, lc->name, workflow);
	if (SPI_processed == 0)
	{
		lc_definer_run("SELECT name FROM lifecycle.workflows WHERE lifecycle = $1 ORDER BY name", 1, lc->name);
		lc_definer_missing(lc, "workflow", workflow, lc_definer_names());
	}
	return lc_definer_field(0, 1);
}

/* The workflow that argument 1 names; gives its state. */
static char *
find_workflow(LcLifecycle *lc, FunctionCallInfo fcinfo, char **state)
{
	char	   *workflow = lc_definer_name(fcinfo, 1, "workflow");

	*state = lc_workflow_state(lc, workflow);
	return workflow;
}

void
lc_check_no_runs(LcLifecycle *lc, const char *workflow, const char *state)
{
	if (strcmp(state, "live") != 0 && strcmp(state, "shadow") != 0)
		return;
	lc_definer_run(psprintf("SELECT FROM %s WHERE workflow = $1 AND ended_at IS NULL LIMIT 1", lc->table_sql[LC_ENROLLMENTS]),
				   1, workflow);
	if (SPI_processed > 0)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_IN_USE),
				errmsg("workflow \"%s\" is %s and has active runs, so it cannot become a draft", workflow, state),
				errhint("Pause it with lifecycle.pause_workflow, which keeps the runs, or end them with lifecycle.archive_workflow."));
}

/*
 * In a simulation a due row is run at its own time. What fell due in a pause is run at its end, as it is in reality, so it is made due then. A session
 * whose clock is not set does not know when that is: rows keep their times. workflow: one workflow; NULL: all.
 */
static void
end_pause(const char *lifecycle, const char *workflow)
{
	LcLifecycle *lc;
	Oid			types[] = {TIMESTAMPTZOID, INT4ARRAYOID};
	Datum		values[2] = {TimestampTzGetDatum(lc_now(true)), (Datum) 0};
	bool		isnull;
	LcIdentity	saved;

	if (!lc_guc_clock_set)
		return;
	lc_definer_run("SELECT FROM lifecycle.lifecycles WHERE name = $1 AND simulated", 1, lifecycle);
	if (SPI_processed == 0)
		return;
	lc = lc_lifecycle_find(lifecycle);
	if (lc == NULL)
		return;
	if (lc->broken)
	{
		lc_warn_broken(lc);
		return;
	}
	lc_definer_run("SELECT ARRAY(SELECT id FROM lifecycle.workflow_versions WHERE lifecycle = $1 AND ($2::text IS NULL OR workflow = $2))",
				   2, lc->name, workflow);
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	lc_identity_owner(lc, true, &saved);
	lc_run_args(psprintf("WITH late AS (DELETE FROM %1$s WHERE due_at < $1 AND kind IN ('s', 'w') AND program = ANY ($2) RETURNING *) "
						 "INSERT INTO %1$s (due_at, subject_id, enrollment_id, entered_at, program, step, attempts, kind, shadow) "
						 "SELECT $1, subject_id, enrollment_id, entered_at, program, step, attempts, kind, shadow FROM late",
						 lc->table_sql[LC_DUE]), 2, types, values, NULL);
	lc_identity_restore(&saved);
}

static void
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	LcLifecycle *lc;
	char	   *workflow;
	char	   *state;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	workflow = find_workflow(lc, fcinfo, &state);
	if (strcmp(state, "archived") == 0)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("workflow \"%s\" is archived", workflow),
				errhint("Define it again to bring it back."));
	lc_definer_run("UPDATE lifecycle.workflows SET paused = $3::bool WHERE lifecycle = $1 AND name = $2 AND paused <> $3::bool",
				   3, lc->name, workflow, paused ? "true" : "false");
	/* what fell due in the pause is behind the mark of the scheduler's scan */
	if (SPI_processed > 0 && !paused)
	{
		lc_wake_note(lc->name, MIN_TIMESTAMP);
		end_pause(lc->name, workflow);
	}
	lc_definitions_changed();
	SPI_finish();
}

/* pause_workflow(lifecycle text, workflow text) RETURNS void */
Datum
lifecycle_pause_workflow(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, true);
	PG_RETURN_VOID();
}

/* resume_workflow(lifecycle text, workflow text) RETURNS void */
Datum
lifecycle_resume_workflow(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, false);
	PG_RETURN_VOID();
}

/* Ends some runs, whose subjects and numbers are given; returns how many were not ended yet when their due rows were gone. */
static int64
end_some(LcLifecycle *lc, LcStatement *statement, Datum *subjects, int64 *enrollments, int n)
{
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum		values[3];

	lc_due_remove(lc, subjects, enrollments, n);
	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(enrollments[i]);
	values[0] = lc_array(subjects, NULL, n, lc->key_type);
	values[1] = lc_array(ids, NULL, n, INT8OID);
	values[2] = TimestampTzGetDatum(lc_now(lc->simulated));
	lc_execute(statement, values, NULL, n);
	return SPI_processed;
}

/* Ends all active runs of a workflow, in key order, as capture does: it may be ending some of them at the same time. */
static int64
end_runs(LcLifecycle *lc, const char *workflow)
{
	Oid			type = TEXTOID;
	Oid			types[] = {lc->key_array_type, INT8ARRAYOID, TIMESTAMPTZOID};
	Datum		value = CStringGetTextDatum(workflow);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle archive", ALLOCSET_DEFAULT_SIZES);
	LcIdentity	saved;
	LcStatement *statement;
	SPIPlanPtr	plan;
	Portal		portal;
	int64		ended = 0;

	lc_identity_owner(lc, true, &saved);
	statement = lc_lookup_statement(psprintf("WITH ended AS (UPDATE %s AS e SET ended_at = GREATEST(e.entered_at, $3), exit_reason = 'archived' "
											 "FROM unnest($1, $2) AS x (subject_id, id) "
											 "WHERE e.subject_id = x.subject_id AND e.id = x.id AND e.ended_at IS NULL "
											 "RETURNING e.subject_id, e.id, e.version_id, e.ended_at) "
											 "INSERT INTO %s (subject_id, enrollment_id, version_id, at, outcome, detail) "
											 "SELECT subject_id, id, version_id, ended_at, 'ended', 'archived' FROM ended",
											 lc->table_sql[LC_ENROLLMENTS], lc->table_sql[LC_ACTIVITY]), 3, types);
	plan = lc_prepare(psprintf("SELECT subject_id, id FROM %s WHERE workflow = $1 AND ended_at IS NULL ORDER BY subject_id, id",
							   lc->table_sql[LC_ENROLLMENTS]), 1, &type, 0);
	PushActiveSnapshot(GetLatestSnapshot());
	portal = SPI_cursor_open(NULL, plan, &value, NULL, true);
	for (;;)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Datum	   *subjects = palloc(ARCHIVE_ROWS * sizeof(Datum));
		int64	   *enrollments = palloc(ARCHIVE_ROWS * sizeof(int64));
		int			n;

		SPI_cursor_fetch(portal, true, ARCHIVE_ROWS);
		MemoryContextSwitchTo(context);
		n = SPI_processed;
		for (int i = 0; i < n; i++)
		{
			bool		isnull;
			Datum		key = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

			subjects[i] = lc_key_copy(lc, key);
			enrollments[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
		if (n > 0)
			ended += end_some(lc, statement, subjects, enrollments, n);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (n == 0)
			break;
	}
	SPI_cursor_close(portal);
	PopActiveSnapshot();
	SPI_freeplan(plan);
	lc_identity_restore(&saved);
	MemoryContextDelete(context);
	return ended;
}

/* Archives a workflow that is not archived yet; returns how many runs were ended. */
static int64
archive(LcLifecycle *lc, const char *workflow)
{
	lc_definer_run("UPDATE lifecycle.workflows SET state = 'archived', paused = false WHERE lifecycle = $1 AND name = $2",
				   2, lc->name, workflow);
	lc_definitions_changed();
	return end_runs(lc, workflow);
}

/* archive_workflow(lifecycle text, workflow text) RETURNS bigint */
Datum
lifecycle_archive_workflow(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc;
	char	   *workflow;
	char	   *state;
	int64		ended = 0;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	workflow = find_workflow(lc, fcinfo, &state);
	if (strcmp(state, "archived") != 0)
		ended = archive(lc, workflow);
	SPI_finish();
	PG_RETURN_INT64(ended);
}

/* Functions of all versions of a workflow: char *. */
static List *
function_names(LcLifecycle *lc, const char *workflow)
{
	lc_definer_run("SELECT f.name FROM lifecycle.workflow_versions v CROSS JOIN LATERAL ("
				   "SELECT s.only_if_function FROM lifecycle.workflow_steps s WHERE s.version_id = v.id "
				   "UNION SELECT s.condition_function FROM lifecycle.workflow_steps s WHERE s.version_id = v.id "
				   "UNION SELECT t.condition_function FROM lifecycle.workflow_triggers t WHERE t.version_id = v.id) AS f(name) "
				   "WHERE v.lifecycle = $1 AND v.workflow = $2 AND f.name IS NOT NULL", 2, lc->name, workflow);
	return lc_definer_names();
}

/* drop_workflow(lifecycle text, workflow text) RETURNS void */
Datum
lifecycle_drop_workflow(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc;
	LcIdentity	saved;
	char	   *workflow;
	char	   *state;
	List	   *functions;
	ListCell   *cell;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	workflow = find_workflow(lc, fcinfo, &state);
	if (strcmp(state, "archived") != 0)
		(void) archive(lc, workflow);
	functions = function_names(lc, workflow);
	lc_definer_run("DELETE FROM lifecycle.workflow_triggers t USING lifecycle.workflow_versions v "
				   "WHERE t.version_id = v.id AND v.lifecycle = $1 AND v.workflow = $2", 2, lc->name, workflow);
	lc_definer_run("UPDATE lifecycle.workflow_steps s SET only_if_function = NULL, condition_function = NULL "
				   "FROM lifecycle.workflow_versions v WHERE s.version_id = v.id AND v.lifecycle = $1 AND v.workflow = $2",
				   2, lc->name, workflow);
	lc_definer_run("DELETE FROM lifecycle.workflows WHERE lifecycle = $1 AND name = $2", 2, lc->name, workflow);
	lc_definitions_changed();

	lc_identity_role(lc_table_owner(lc->on_table), &saved);
	foreach(cell, functions)
		lc_condition_drop(lc->schema, lfirst(cell));
	lc_identity_restore(&saved);
	SPI_finish();
	PG_RETURN_VOID();
}

static void
set_all_paused(bool paused)
{
	bool		ends = !paused && lc_installation_state(NULL) != LC_INSTALLATION_HERE;

	SPI_connect();
	/* Resuming says that this cluster and this database are the ones that may act. */
	lc_definer_run("INSERT INTO lifecycle._installation AS i (system_identifier, database, paused) "
				   "SELECT c.system_identifier, d.oid, $1::bool FROM pg_control_system() c, pg_database d "
				   "WHERE d.datname = current_database() ON CONFLICT (only_row) DO UPDATE SET paused = excluded.paused, "
				   "system_identifier = CASE WHEN excluded.paused THEN i.system_identifier ELSE excluded.system_identifier END, "
				   "database = CASE WHEN excluded.paused THEN i.database ELSE excluded.database END",
				   1, paused ? "true" : "false");
	if (!paused)
	{
		ListCell   *cell;

		foreach(cell, lc_lifecycle_names())
		{
			lc_wake_note(lfirst(cell), MIN_TIMESTAMP);
			if (ends)
				end_pause(lfirst(cell), NULL);
		}
	}
	lc_definitions_changed();
	SPI_finish();
}

/* pause() RETURNS void */
Datum
lifecycle_pause(PG_FUNCTION_ARGS)
{
	set_all_paused(true);
	PG_RETURN_VOID();
}

/* resume() RETURNS void */
Datum
lifecycle_resume(PG_FUNCTION_ARGS)
{
	set_all_paused(false);
	PG_RETURN_VOID();
}

static void
set_lifecycle_paused(FunctionCallInfo fcinfo, bool paused)
{
	LcLifecycle *lc;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	lc_definer_run("UPDATE lifecycle.lifecycles SET paused = $2::bool WHERE name = $1 AND paused <> $2::bool",
				   2, lc->name, paused ? "true" : "false");
	if (SPI_processed > 0 && !paused)
	{
		lc_wake_note(lc->name, MIN_TIMESTAMP);
		end_pause(lc->name, NULL);
	}
	lc_definitions_changed();
	SPI_finish();
}

/* pause(lifecycle text) RETURNS void */
Datum
lifecycle_pause_lifecycle(PG_FUNCTION_ARGS)
{
	set_lifecycle_paused(fcinfo, true);
	PG_RETURN_VOID();
}

/* resume(lifecycle text) RETURNS void */
Datum
lifecycle_resume_lifecycle(PG_FUNCTION_ARGS)
{
	set_lifecycle_paused(fcinfo, false);
	PG_RETURN_VOID();
}
