/*
 * plan.c: loading the programs of workflow versions, and the statements over many subjects that their steps use.
 *
 * Everything lives in a context of the lifecycle's cache entry and goes with it, so a program is never newer or older than the definitions that a
 * batch works with. Definitions are read as the owner of the extension, with statements of our own only.
 */
#include "postgres.h"

#include "catalog/condition.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "engine/plan.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

LcEngineState *
lc_engine_state(LcLifecycle *lc)
{
	LcEngineState *state = lc->engine_state;

	if (state == NULL)
	{
		MemoryContext context = AllocSetContextCreate(lc->context, "lifecycle programs", ALLOCSET_DEFAULT_SIZES);

		state = MemoryContextAllocZero(context, sizeof(LcEngineState));
		state->context = context;
		lc->engine_state = state;
	}
	return state;
}

static bool
kind_of(const char *name, LcStepKind *kind)
{
	static const char *const names[] = {
		[LC_STEP_SEND] = "send",
		[LC_STEP_DELAY] = "delay",
		[LC_STEP_BRANCH] = "branch",
		[LC_STEP_SET_STAGE] = "set_stage",
		[LC_STEP_RUN_SQL] = "run_sql",
		[LC_STEP_EXIT] = "exit",
	};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
		{
			*kind = i;
			return true;
		}
	return false;
}

/* A column of the current result, or NULL, in the current memory context. */
static char *
text_of(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static int
int_of(uint64 row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

/* The bound function of a step. A branch that reads an event has one function for each event table; the first one is for any. */
static LcCondition *
load_condition(LcLifecycle *lc, const char *name)
{
	int			n;
	LcCondition **conditions;

	if (name == NULL)
		return NULL;
	conditions = lc_condition_load(lc, name, &n);
	return conditions[0];
}

static void
load_step(LcLifecycle *lc, LcStepPlan *step, uint64 row, char **only_if, char **condition)
{
	char	   *kind = text_of(row, 3);
	char	   *interval = text_of(row, 9);
	char	   *stage = text_of(row, 10);

	step->number = int_of(row, 1);
	step->label = text_of(row, 2);
	if (!kind_of(kind, &step->kind))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("step \"%s\" is of kind \"%s\", which this version of the extension does not know", step->label, kind)));
	step->next = int_of(row, 4);
	step->otherwise = int_of(row, 5);
	step->skip = int_of(row, 6);
	step->channel = text_of(row, 7);
	step->template = text_of(row, 8);
	if (step->kind == LC_STEP_SEND)
	{
		step->channel_text = cstring_to_text(step->channel);
		step->template_text = cstring_to_text(step->template);
	}
	if (interval != NULL)
	{
		step->interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(interval), ObjectIdGetDatum(InvalidOid),
															   Int32GetDatum(-1)));
		step->calendar = step->interval->day != 0 || step->interval->month != 0;
	}
	step->stage = stage ? lc_stage_by_name(lc, stage) : LC_NO_STAGE;
	if (stage != NULL && step->stage == LC_NO_STAGE)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("step \"%s\" sets stage \"%s\", which lifecycle \"%s\" does not have", step->label, stage, lc->name)));
	step->reason = text_of(row, 11);
	*only_if = text_of(row, 12);
	*condition = text_of(row, 13);
	step->column = text_of(row, 14);
}

/* Reads version and steps; SPI's result is read before conditions are loaded, which may use SPI too. In state->context. */
static void
load_version(LcLifecycle *lc, LcVersionPlan *plan)
{
	Oid			types[] = {INT4OID, NAMEOID};
	Datum		values[] = {Int32GetDatum(plan->id), CStringGetDatum(lc->name)};
	NameData	name;
	char	  **only_if;
	char	  **condition;

	namestrcpy(&name, lc->name);
	values[1] = NameGetDatum(&name);
	/* A run that began while its workflow was dropped ends as that of an archived one. */
	lc_run_args("SELECT v.version, v.workflow, COALESCE(w.paused, false), COALESCE(w.state = 'archived', true) FROM lifecycle.workflow_versions v "
				"LEFT JOIN lifecycle.workflows w ON w.lifecycle = v.lifecycle AND w.name = v.workflow WHERE v.id = $1 AND v.lifecycle = $2",
				2, types, values, NULL);
	if (SPI_processed == 0)
		return;
	plan->number = int_of(0, 1);
	plan->workflow = text_of(0, 2);
	plan->workflow_text = cstring_to_text(plan->workflow);
	plan->paused = text_of(0, 3)[0] == 't';
	plan->archived = text_of(0, 4)[0] == 't';
	SPI_freetuptable(SPI_tuptable);

	lc_run_args("SELECT step, label, kind, next, otherwise, skip, arguments->>'channel', "
				"arguments->>'template', arguments->>'duration', arguments->>'stage', arguments->>'reason', only_if_function::text, "
				"condition_function::text, arguments->>'column' FROM lifecycle.workflow_steps WHERE version_id = $1 AND lifecycle = $2 ORDER BY step",
				2, types, values, NULL);
	plan->nsteps = SPI_processed;
	plan->steps = palloc0(sizeof(LcStepPlan) * Max(plan->nsteps, 1));
	only_if = palloc0(sizeof(char *) * Max(plan->nsteps, 1));
	condition = palloc0(sizeof(char *) * Max(plan->nsteps, 1));
	for (int i = 0; i < plan->nsteps; i++)
	{
		load_step(lc, &plan->steps[i], i, &only_if[i], &condition[i]);
		if (plan->steps[i].number != i + 1)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the steps of version %d of workflow \"%s\" are not numbered from 1", plan->number, plan->workflow)));
	}
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < plan->nsteps; i++)
	{
		plan->steps[i].only_if = load_condition(lc, only_if[i]);
		plan->steps[i].condition = load_condition(lc, condition[i]);
		/* drop_workflow has taken the functions; a later workflow of that name has other versions. */
		if (condition[i] == NULL && (plan->steps[i].kind == LC_STEP_BRANCH || plan->steps[i].kind == LC_STEP_RUN_SQL))
			plan->archived = true;
	}
	plan->found = true;
}

LcVersionPlan *
lc_version_plan(LcLifecycle *lc, int version)
{
	LcEngineState *state = lc_engine_state(lc);
	LcVersionPlan *plan;
	MemoryContext context;
	MemoryContext old;
	LcIdentity	saved;

	for (plan = state->versions; plan != NULL; plan = plan->next)
		if (plan->id == version)
			return plan;
	context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle program", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	plan = palloc0(sizeof(LcVersionPlan));
	plan->id = version;
	lc_identity_extension(&saved);
	load_version(lc, plan);
	lc_identity_restore(&saved);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, state->context);
	plan->next = state->versions;
	state->versions = plan;
	return plan;
}

LcStepPlan *
lc_step_plan(LcVersionPlan *plan, int step)
{
	return plan->found && step >= 1 && step <= plan->nsteps ? &plan->steps[step - 1] : NULL;
}

/*
 * CROSS JOIN LATERAL with the rows that a condition takes, under the name that its text uses. A bare name would be that of a column, where any table has
 * one that is called so.
 */
static void
append_parameters(StringInfo sql, LcLifecycle *lc, LcCondition *condition, bool subject, bool enrollment)
{
	appendStringInfo(sql, " CROSS JOIN LATERAL (SELECT %1$s.*::%2$s AS %1$s", lc->quoted_name, lc->on_table_sql);
	if (subject)
		appendStringInfo(sql, ", subject.*::%s AS subject", lc->table_sql[LC_SUBJECTS]);
	else
		appendStringInfo(sql, ", NULL::%s AS subject", lc->table_sql[LC_SUBJECTS]);
	if (OidIsValid(condition->event_table))
	{
		char	   *table = lc_qualified_name(condition->event_table);

		if (condition->reads_event)
			appendStringInfo(sql, ", pg_catalog.jsonb_populate_record(NULL::%s, enrollment.context->'event') AS event", table);
		else
			appendStringInfo(sql, ", NULL::%s AS event", table);
	}
	if (enrollment)
		appendStringInfo(sql, ", enrollment.*::%s AS enrollment", lc->table_sql[LC_ENROLLMENTS]);
	else
		appendStringInfo(sql, ", NULL::%s AS enrollment", lc->table_sql[LC_ENROLLMENTS]);
	appendStringInfo(sql, ") AS %s", condition->alias);
}

/* The conditions' parameters, and what else the statement reads. */
static void
append_more(StringInfo sql, LcLifecycle *lc, LcCondition **conditions, int n, bool subject, bool enrollment, const char *more_from)
{
	for (int i = 0; i < n; i++)
		append_parameters(sql, lc, conditions[i], subject, enrollment);
	if (more_from)
		appendStringInfoString(sql, more_from);
}

/*
 * Where the keys are most of those between the least and the greatest of them ($3 and $4), the rows between are read in their order and the array is but
 * looked into: a search of the index for each key takes twice as long, and reading all of the table, which the planner takes for cheaper than so many
 * searches, as long as the table is big. COALESCE keeps the array from the index.
 */
static void
append_in(StringInfo sql, const char *column, int argument)
{
	appendStringInfo(sql, "COALESCE(%s = ANY ($%d), false)", column, argument);
	if (argument == 1)
		appendStringInfo(sql, " AND %s BETWEEN $3 AND $4", column);
}

static LcStatement *
dense_statement(LcLifecycle *lc, LcCondition **conditions, int n, const char *columns, bool subject, bool enrollment, const char *more_from)
{
	const char *key = psprintf("%s.%s", lc->quoted_name, quote_identifier(lc->key_column));
	Oid			types[] = {lc->key_array_type, INT8ARRAYOID, lc->key_type, lc->key_type};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s FROM %s AS %s", key, columns, lc->on_table_sql, lc->quoted_name);
	if (subject)
	{
		appendStringInfo(&sql, " LEFT JOIN %s AS subject ON subject.subject_id = %s AND ", lc->table_sql[LC_SUBJECTS], key);
		append_in(&sql, "subject.subject_id", 1);
	}
	if (enrollment)
	{
		appendStringInfo(&sql, " LEFT JOIN %s AS enrollment ON enrollment.subject_id = %s AND ", lc->table_sql[LC_ENROLLMENTS], key);
		append_in(&sql, "enrollment.id", 2);
		appendStringInfoString(&sql, " AND ");
		append_in(&sql, "enrollment.subject_id", 1);
	}
	append_more(&sql, lc, conditions, n, subject, enrollment, more_from);
	appendStringInfoString(&sql, " WHERE ");
	append_in(&sql, key, 1);
	return lc_statement(sql.data, 4, types);
}

/*
 * For other keys, where something else is read too, which the planner plans as ever. OFFSET has the state tables looked up, row after row: the planner
 * would read all of them for a batch.
 */
static LcStatement *
rows_statement(LcLifecycle *lc, LcCondition **conditions, int n, const char *columns, bool subject, bool enrollment, const char *more_from)
{
	const char *key = psprintf("%s.%s", lc->quoted_name, quote_identifier(lc->key_column));
	Oid			types[] = {lc->key_array_type, INT8ARRAYOID};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s FROM %s AS %s JOIN unnest($1, $2) AS pg_asked (key, id) ON pg_asked.key = %s",
					 key, columns, lc->on_table_sql, lc->quoted_name, key);
	if (subject)
		appendStringInfo(&sql, " LEFT JOIN LATERAL (SELECT s.* FROM %s AS s WHERE s.subject_id = pg_asked.key OFFSET 0) AS subject ON true",
						 lc->table_sql[LC_SUBJECTS]);
	if (enrollment)
		appendStringInfo(&sql, " LEFT JOIN LATERAL (SELECT e.* FROM %s AS e WHERE e.subject_id = pg_asked.key AND e.id = pg_asked.id OFFSET 0) AS enrollment ON true",
						 lc->table_sql[LC_ENROLLMENTS]);
	append_more(&sql, lc, conditions, n, subject, enrollment, more_from);
	appendStringInfo(&sql, " WHERE %s = ANY ($1)", key);
	return lc_statement(sql.data, 2, types);
}

/* The same where nothing but rows of subjects, whose keys are known, is read. No lifecycle has a name that begins with pg_. */
static LcStatement *
lookup_statement(LcLifecycle *lc, LcCondition **conditions, int n, const char *columns, bool subject, bool enrollment)
{
	const char *key = psprintf("%s.%s", lc->quoted_name, quote_identifier(lc->key_column));
	Oid			types[] = {lc->key_array_type, INT8ARRAYOID};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s FROM unnest($1, $2) AS pg_asked (key, id) JOIN %s AS %s ON %s = pg_asked.key",
					 key, columns, lc->on_table_sql, lc->quoted_name, key);
	if (subject)
		appendStringInfo(&sql, " LEFT JOIN %s AS subject ON subject.subject_id = pg_asked.key", lc->table_sql[LC_SUBJECTS]);
	if (enrollment)
		appendStringInfo(&sql, " LEFT JOIN %s AS enrollment ON enrollment.subject_id = pg_asked.key AND enrollment.id = pg_asked.id",
						 lc->table_sql[LC_ENROLLMENTS]);
	append_more(&sql, lc, conditions, n, subject, enrollment, NULL);
	return lc_lookup_statement(sql.data, 2, types);
}

LcStatement *
lc_rows_statement(LcLifecycle *lc, LcCondition **conditions, int n, const char *columns, bool subject, bool enrollment, const char *more_from)
{
	MemoryContext old = MemoryContextSwitchTo(lc_engine_state(lc)->context);
	bool		lookup = more_from == NULL;
	LcStatement *statement;

	for (int i = 0; i < n; i++)
	{
		subject |= conditions[i]->reads_subject;
		enrollment |= conditions[i]->reads_enrollment || conditions[i]->reads_event;
		lookup &= !conditions[i]->has_subquery;
	}
	statement = lookup ? lookup_statement(lc, conditions, n, columns, subject, enrollment)
		: rows_statement(lc, conditions, n, columns, subject, enrollment, more_from);
	statement->dense = dense_statement(lc, conditions, n, columns, subject, enrollment, more_from);
	MemoryContextSwitchTo(old);
	return statement;
}
