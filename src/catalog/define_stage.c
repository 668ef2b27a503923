/*
 * define_stage.c: adding, renaming and retiring stages.
 *
 * Enum labels cannot be dropped or moved, and one added in a transaction cannot be used before it commits; so stages are retired, not
 * dropped, and definitions name them as text.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/define.h"
#include "catalog/definer.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "clock.h"
#include "lifecycle.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(lifecycle_add_stage);
PG_FUNCTION_INFO_V1(lifecycle_rename_stage);
PG_FUNCTION_INFO_V1(lifecycle_retire_stage);

int
lc_existing_stage(LcLifecycle *lc, const char *stage)
{
	int			index = lc_stage_by_name(lc, stage);
	List	   *names = NIL;

	if (index != LC_NO_STAGE)
		return index;
	for (int i = 0; i < lc->nstages; i++)
		names = lappend(names, lc->stages[i].name);
	lc_definer_missing(lc, "stage", stage, names);
}

int
lc_check_stage(LcLifecycle *lc, const char *stage)
{
	int			index = lc_existing_stage(lc, stage);

	if (lc->stages[index].retired)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stage \"%s\" of lifecycle \"%s\" is retired", stage, lc->name),
				 errhint("Bring it back with lifecycle.add_stage(%s, %s).", quote_literal_cstr(lc->name), quote_literal_cstr(stage))));
	return index;
}

void
lc_add_stage(const char *lifecycle, const char *schema, Oid on_table, const char *stage, const char *before, const char *after, const char *phase)
{
	const char *neighbor = before ? before : after;
	Oid			types[3] = {TEXTOID, TEXTOID, BOOLOID};
	Datum		values[3] = {CStringGetTextDatum(lifecycle), CStringGetTextDatum(neighbor ? neighbor : ""), BoolGetDatum(before != NULL)};
	LcIdentity	saved;
	int			position;

	lc_identity_role(lc_table_owner(on_table), &saved);
	if (neighbor)
		lc_runf("ALTER TYPE %s.stage ADD VALUE %s %s %s", quote_identifier(schema), quote_literal_cstr(stage),
				before ? "BEFORE" : "AFTER", quote_literal_cstr(neighbor));
	else
		lc_runf("ALTER TYPE %s.stage ADD VALUE %s", quote_identifier(schema), quote_literal_cstr(stage));
	lc_identity_restore(&saved);

	lc_identity_extension(&saved);
	lc_run_args("SELECT (COALESCE(pg_catalog.min(CASE WHEN $3 THEN position ELSE position + 1 END) FILTER (WHERE name = $2), "
				"pg_catalog.max(position) + 1))::pg_catalog.int4 FROM lifecycle.stages WHERE lifecycle = $1", 3, types, values, NULL);
	position = atoi(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	lc_runf("UPDATE lifecycle.stages SET position = position + 1 WHERE lifecycle = %s AND position >= %d",
			quote_literal_cstr(lifecycle), position);
	lc_insert_stage(lifecycle, stage, position, phase);
	lc_identity_restore(&saved);
	lc_definitions_changed();
}

/* A stage that is there: back from retirement, and of the phase that is given, if one is. */
static LcDefined
update_stage(LcLifecycle *lc, const char *stage, const char *phase)
{
	lc_definer_run("UPDATE lifecycle.stages SET retired_at = NULL, phase = COALESCE($3, phase) "
				   "WHERE lifecycle = $1 AND name = $2 AND (retired_at IS NOT NULL OR phase IS DISTINCT FROM COALESCE($3, phase))",
				   3, lc->name, stage, phase);
	if (SPI_processed == 0)
		return LC_UNCHANGED;
	lc_definitions_changed();
	return LC_REPLACED;
}

Datum
lifecycle_add_stage(PG_FUNCTION_ARGS)
{
	char	   *stage;
	char	   *before = lc_arg_text(fcinfo, 2);
	char	   *after = lc_arg_text(fcinfo, 3);
	char	   *phase = lc_arg_text(fcinfo, 4);
	LcLifecycle *lc;
	LcDefined	defined = LC_UNCHANGED;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	stage = lc_arg_required(fcinfo, 1, "stage");
	lc_check_stage_name(stage);
	if (before && after)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("give either before or after, not both")));
	if (before || after)
		lc_existing_stage(lc, before ? before : after);
	if (lc_stage_by_name(lc, stage) != LC_NO_STAGE)
		defined = update_stage(lc, stage, phase);
	else if (lc->nstages >= LC_MAX_STAGES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a lifecycle cannot have more than %d stages", LC_MAX_STAGES)));
	else
	{
		char	   *lifecycle = pstrdup(lc->name);

		lc_add_stage(lifecycle, pstrdup(lc->schema), lc->on_table, stage, before, after, phase);
		lc_create_views(lifecycle);
		defined = LC_CREATED;
	}
	SPI_finish();
	PG_RETURN_DATUM(lc_defined_text(defined));
}

/* Renames the stage wherever a definition names it. A quoted key and value cannot occur inside another JSON string, where quotes are escaped. */
static void
rename_in_definitions(const char *lifecycle, const char *from, const char *to)
{
	static const char *const statements[] = {
		"UPDATE lifecycle.stages SET name = $3 WHERE lifecycle = $1 AND name = $2",
		"UPDATE lifecycle.lifecycles SET initial_stage = $3 WHERE name = $1 AND initial_stage = $2",
		"UPDATE lifecycle.transition_rules SET from_stages = pg_catalog.array_replace(from_stages, $2, $3), "
		"to_stage = CASE WHEN to_stage = $2 THEN $3 ELSE to_stage END "
		"WHERE lifecycle = $1 AND ($2 = ANY (from_stages) OR to_stage = $2)",
		"UPDATE lifecycle.workflow_triggers SET stage = CASE WHEN stage = $2 THEN $3 ELSE stage END, "
		"from_stage = CASE WHEN from_stage = $2 THEN $3 ELSE from_stage END WHERE lifecycle = $1 AND $2 IN (stage, from_stage)",
		"UPDATE lifecycle.workflow_steps SET arguments = arguments || pg_catalog.jsonb_build_object('stage', $3) "
		"WHERE lifecycle = $1 AND arguments ->> 'stage' = $2",
		"UPDATE lifecycle.workflow_versions SET (entry, exits, goal, steps) = (SELECT "
		"pg_catalog.replace(pg_catalog.replace(entry::text, a.old, a.new), b.old, b.new)::pg_catalog.jsonb, "
		"pg_catalog.replace(pg_catalog.replace(exits::text, a.old, a.new), b.old, b.new)::pg_catalog.jsonb, "
		"pg_catalog.replace(pg_catalog.replace(goal::text, a.old, a.new), b.old, b.new)::pg_catalog.jsonb, "
		"pg_catalog.replace(steps::text, a.old, a.new)::pg_catalog.jsonb FROM "
		"(SELECT '\"stage\": ' || pg_catalog.to_json($2), '\"stage\": ' || pg_catalog.to_json($3)) a(old, new), "
		"(SELECT '\"from_stage\": ' || pg_catalog.to_json($2), '\"from_stage\": ' || pg_catalog.to_json($3)) b(old, new)) "
		"WHERE lifecycle = $1",
	};
	Oid			types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3] = {CStringGetTextDatum(lifecycle), CStringGetTextDatum(from), CStringGetTextDatum(to)};

	for (int i = 0; i < lengthof(statements); i++)
		lc_run_args(statements[i], 3, types, values, NULL);
}

Datum
lifecycle_rename_stage(PG_FUNCTION_ARGS)
{
	char	   *from;
	char	   *to;
	LcLifecycle *lc;
	LcIdentity	saved;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	from = lc_arg_required(fcinfo, 1, "stage");
	to = lc_arg_required(fcinfo, 2, "new_name");
	lc_check_stage_name(to);
	lc_existing_stage(lc, from);
	if (lc_stage_by_name(lc, to) != LC_NO_STAGE)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stage \"%s\" of lifecycle \"%s\" already exists", to, lc->name)));
	lc_identity_role(lc_table_owner(lc->on_table), &saved);
	lc_runf("ALTER TYPE %s.stage RENAME VALUE %s TO %s", lc->quoted_schema, quote_literal_cstr(from), quote_literal_cstr(to));
	lc_identity_restore(&saved);
	lc_rename_default_names(lc, from, to);
	lc_identity_extension(&saved);
	rename_in_definitions(lc->name, from, to);
	lc_identity_restore(&saved);
	lc_definitions_changed();
	SPI_finish();
	PG_RETURN_VOID();
}

/* Nor may a workflow lead to a stage that is retired: its current version, or one that has runs. */
static void
check_no_step_leads(LcLifecycle *lc, const char *stage)
{
	lc_definer_run(psprintf("SELECT w.name, w.state FROM lifecycle.workflows w "
							"JOIN lifecycle.workflow_versions v ON v.lifecycle = w.lifecycle AND v.workflow = w.name "
							"WHERE w.lifecycle = $1 AND w.state <> 'archived' "
							"AND EXISTS (SELECT FROM lifecycle.workflow_steps s WHERE s.version_id = v.id AND s.arguments ->> 'stage' = $2) "
							"AND (w.version = v.version OR EXISTS (SELECT FROM %s e WHERE e.version_id = v.id AND e.ended_at IS NULL)) "
							"ORDER BY w.name LIMIT 1", lc->table_sql[LC_ENROLLMENTS]), 2, lc->name, stage);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("workflow \"%s\" (%s) leads to stage \"%s\"", lc_definer_field(0, 1), lc_definer_field(0, 2), stage),
				 errhint("Define the workflow without it, or archive it: SELECT lifecycle.archive_workflow(%s, %s).",
						 quote_literal_cstr(lc->name), quote_literal_cstr(lc_definer_field(0, 1)))));
}

Datum
lifecycle_retire_stage(PG_FUNCTION_ARGS)
{
	char	   *stage;
	LcLifecycle *lc;
	int			index;
	LcIdentity	saved;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	stage = lc_arg_required(fcinfo, 1, "stage");
	index = lc_existing_stage(lc, stage);
	if (index == lc->initial_stage)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("stage \"%s\" is the initial stage of lifecycle \"%s\"", stage, lc->name),
				 errhint("Define the lifecycle with another initial_stage first.")));
	for (int i = 0; i < lc->nrules; i++)
		if (lc->rules[i].to == index)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("transition \"%s\" leads to stage \"%s\"", lc->rules[i].name, stage),
					 errhint("Drop it first with lifecycle.drop_transition('%s', '%s').", lc->name, lc->rules[i].name)));
	check_no_step_leads(lc, stage);
	lc_identity_extension(&saved);
	lc_runf("UPDATE lifecycle.stages SET retired_at = '%s' WHERE lifecycle = %s AND name = %s AND retired_at IS NULL",
			timestamptz_to_str(lc_now(lc->simulated)), quote_literal_cstr(lc->name), quote_literal_cstr(stage));
	lc_identity_restore(&saved);
	lc_definitions_changed();
	SPI_finish();
	PG_RETURN_VOID();
}
