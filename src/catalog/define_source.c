/*
 * define_source.c: event sources, and binding the conditions that read their rows.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/condition.h"
#include "catalog/define.h"
#include "catalog/definer.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(lifecycle_define_event_source);
PG_FUNCTION_INFO_V1(lifecycle_drop_event_source);

/* Can rows of the source be events of this name? */
static bool
can_carry(const LcSource *source, const char *event)
{
	return source->event_name == NULL || strcmp(source->event_name, event) == 0;
}

static void
raise_unfit(const char *what, const char *source, const char *error, const char *fitting)
{
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
			 errmsg("%s does not fit event source \"%s\": %s", what, source, error),
			 fitting ? errhint("Say which source is meant, in its definition: source => '%s'.", fitting) :
			 errhint("Say which source is meant, in its definition: source => '…'.")));
}

void
lc_bind_for_event(LcLifecycle *lc, const char *what, const char *function, const char *condition, const char *event, const char *source,
				  bool run)
{
	LcBinding	binding = {what, function, "boolean", condition, InvalidOid, run ? LC_ROWS_ALL : LC_ROWS_NO_RUN};
	char	   *error;
	const char *fitting = NULL;
	const char *unfit = NULL;
	char	   *unfit_error = NULL;

	lc_condition_drop(lc->schema, function);
	if (event == NULL || lc_condition_fits(lc->name, lc->schema, lc->on_table, &binding, &error))
	{
		lc_condition_bind(lc->name, lc->schema, lc->on_table, &binding);
		return;
	}
	for (int i = 0; i < lc->nsources; i++)
	{
		LcSource   *candidate = &lc->sources[i];

		if (source ? strcmp(candidate->name, source) != 0 : !can_carry(candidate, event))
			continue;
		binding.event_table = candidate->table;
		if (lc_condition_fits(lc->name, lc->schema, lc->on_table, &binding, &error))
		{
			fitting = candidate->name;
			lc_condition_bind(lc->name, lc->schema, lc->on_table, &binding);
		}
		else
		{
			unfit = candidate->name;
			unfit_error = error;
		}
	}
	if (fitting == NULL)
		lc_condition_bind(lc->name, lc->schema, lc->on_table, &binding);	/* raises the parser's error */
	if (unfit != NULL)
		raise_unfit(what, unfit, unfit_error, fitting);
}

/* The column must have a type of that category; enums pass for text. */
static void
check_type(Oid table, const char *column, const char *use, TYPCATEGORY wanted, const char *wanted_name)
{
	Oid			type = get_atttype(table, lc_check_column(table, column, use));
	TYPCATEGORY category = TypeCategory(type);

	if ((category != wanted || (wanted == TYPCATEGORY_DATETIME && !lc_time_type_fits(getBaseType(type)))) && !(wanted == TYPCATEGORY_STRING && category == TYPCATEGORY_ENUM))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s, given as %s, has type %s", column, lc_qualified_name(table), use, format_type_be(type)),
				 errhint("It must be %s.", wanted_name)));
}

/* smallint, integer and bigint join with each other; text with varchar; else the types must be the same. */
bool
lc_subject_type_fits(LcLifecycle *lc, Oid type)
{
	bool		integers = (type == INT2OID || type == INT4OID || type == INT8OID) &&
		(lc->key_type == INT2OID || lc->key_type == INT4OID || lc->key_type == INT8OID);

	return type == lc->key_type || integers || (lc->key_type == TEXTOID && type == VARCHAROID);
}

bool
lc_time_type_fits(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

static void
check_subject(LcLifecycle *lc, Oid table, const char *column)
{
	Oid			type = get_atttype(table, lc_check_column(table, column, "subject_column"));

	if (!lc_subject_type_fits(lc, type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table %s has type %s, the key of lifecycle \"%s\" has type %s",
						column, lc_qualified_name(table), format_type_be(type), lc->name, lc->key_type_sql),
				 errhint("The subject column must join to the key.")));
}

/* Rules and workflow triggers with a condition that reads the event must also fit the new source. */
static void
bind_to_source(LcLifecycle *lc, const LcSource *source)
{
	uint64		n;
	SPITupleTable *table;
	LcIdentity	saved;

	lc_identity_extension(&saved);
	lc_runf("SELECT 'condition of transition \"' || name || '\"', condition_function, condition FROM lifecycle.transition_rules "
			"WHERE lifecycle = %1$s AND condition IS NOT NULL AND on_event IS NOT NULL "
			"AND (source = %3$s OR source IS NULL AND (%2$s IS NULL OR on_event = %2$s)) "
			"UNION ALL SELECT 'condition of workflow \"' || v.workflow || '\"', t.condition_function, t.condition FROM lifecycle.workflow_triggers t "
			"JOIN lifecycle.workflow_versions v ON v.id = t.version_id JOIN lifecycle.workflows w ON w.lifecycle = v.lifecycle AND w.name = v.workflow "
			"WHERE t.lifecycle = %1$s AND t.condition IS NOT NULL AND t.event_name IS NOT NULL AND w.state <> 'archived' "
			"AND (t.source = %3$s OR t.source IS NULL AND (%2$s IS NULL OR t.event_name = %2$s))",
			quote_literal_cstr(lc->name), source->event_name ? quote_literal_cstr(source->event_name) : "NULL", quote_literal_cstr(source->name));
	n = SPI_processed;
	table = SPI_tuptable;
	lc_identity_restore(&saved);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *function = SPI_getvalue(table->vals[i], table->tupdesc, 2);
		int			overloads;
		char	   *error;
		LcCondition **conditions = lc_condition_load(lc, function, &overloads);
		LcBinding	binding = {SPI_getvalue(table->vals[i], table->tupdesc, 1), function, "boolean",
		SPI_getvalue(table->vals[i], table->tupdesc, 3), source->table};

		if (!OidIsValid(conditions[0]->event_table) || lc_condition_for(conditions, overloads, source->table) != NULL)
			continue;
		if (!lc_condition_fits(lc->name, lc->schema, lc->on_table, &binding, &error))
			raise_unfit(binding.what, source->name, error, NULL);
		lc_condition_bind(lc->name, lc->schema, lc->on_table, &binding);
	}
}

static void
check_arguments(LcLifecycle *lc, Oid table, const LcSource *source, const char *becomes)
{
	lc_check_table(table, "an event source");
	if (table == lc->on_table && becomes == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table %s holds the subjects of lifecycle \"%s\"", lc->on_table_sql, lc->name),
				 errhint("Give the condition that makes a row an event: becomes => '…'.")));
	lc_check_no_partition(table);
	check_subject(lc, table, source->subject_column);
	if ((source->name_column == NULL) == (source->event_name == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an event source needs either a column with the names of its events or one name for all of them"),
				 errhint("Give name_column => '…' or event_name => '…'.")));
	if (source->name_column)
		check_type(table, source->name_column, "name_column", TYPCATEGORY_STRING, "text");
	if (source->event_name && source->event_name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of an event must not be empty")));
	check_type(table, source->time_column, "time_column", TYPCATEGORY_DATETIME, "timestamp with time zone, timestamp or date");
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* A source under another name, meant to take its place, would make two events of each row. */
static void
warn_of_twin(LcLifecycle *lc, const LcSource *source)
{
	for (int i = 0; i < lc->nsources; i++)
	{
		LcSource   *other = &lc->sources[i];

		if (other->table == source->table && strcmp(other->name, source->name) != 0 && other->becomes == NULL &&
			same_text(other->subject_column, source->subject_column) && same_text(other->name_column, source->name_column) &&
			same_text(other->event_name, source->event_name))
			ereport(WARNING,
					(errmsg("each row of table %s is two events now, of event sources \"%s\" and \"%s\"", lc_qualified_name(source->table),
							other->name, source->name),
					 errhint("Drop one of them: lifecycle.drop_event_source(%s, %s).", quote_literal_cstr(lc->name), quote_literal_cstr(other->name))));
	}
}

/* Another table that a source of that name is on now; InvalidOid: there is none, or it is gone. */
static Oid
former_table(LcLifecycle *lc, const char *name, Oid table)
{
	LcSource   *source = lc_source_by_name(lc, name);

	return source == NULL || source->table == table ? InvalidOid : source->table;
}

Datum
lifecycle_define_event_source(PG_FUNCTION_ARGS)
{
	Oid			table;
	Oid			former;
	LcSource	source = {0};
	char	   *becomes = lc_arg_text(fcinfo, 7);
	LcLifecycle *lc;
	LcDefined	defined;
	LcIdentity	saved;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "on_table")));
	table = source.table = PG_GETARG_OID(1);
	source.subject_column = lc_arg_required(fcinfo, 2, "subject_column");
	source.time_column = lc_arg_required(fcinfo, 3, "time_column");
	source.name_column = lc_arg_text(fcinfo, 4);
	source.event_name = lc_arg_text(fcinfo, 5);
	source.name = PG_ARGISNULL(6) ? get_rel_name(table) : lc_arg_text(fcinfo, 6);
	if (source.name[0] == '\0' || strlen(source.name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("event source name \"%s\" must have 1 to %d bytes", source.name, NAMEDATALEN - 1)));
	check_arguments(lc, table, &source, becomes);
	source.replicated = PG_ARGISNULL(9) ? lc_is_subscribed(table) : PG_GETARG_BOOL(9);
	lc_lock_table(table);
	former = former_table(lc, source.name, table);
	if (OidIsValid(former))
		lc_lock_table(former);
	{
		Interval   *within = lc_arg_interval(fcinfo, 8, "enroll_within");
		char	   *function = becomes ? lc_condition_name("becomes", source.name) : NULL;
		LcColumn	columns[] = {
			{"lifecycle", lc->name, true},
			{"name", source.name, true},
			{"on_table", lc_qualified_name(table)},
			{"subject_column", source.subject_column},
			{"name_column", source.name_column},
			{"event_name", source.event_name},
			{"time_column", source.time_column},
			{"becomes", becomes},
			{"becomes_function", function},
			{"enroll_within", within ? DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(within))) : NULL},
			{"replicated", source.replicated ? "true" : "false"},
		};

		lc_identity_extension(&saved);
		defined = lc_define_row("event_sources", columns, lengthof(columns));
		lc_identity_restore(&saved);
		if (defined == LC_UNCHANGED && lc_condition_missing(lc->schema, lc->on_table, function))
			defined = LC_REPLACED;
		if (defined != LC_UNCHANGED && becomes == NULL)
			warn_of_twin(lc, &source);
		if (defined != LC_UNCHANGED)
		{
			lc_condition_drop(lc->schema, lc_condition_name("becomes", source.name));
			if (becomes)
				lc_condition_bind(lc->name, lc->schema, lc->on_table,
								  &(LcBinding) {"argument becomes", function, "boolean", becomes, table, LC_ROWS_EVENT});
			bind_to_source(lc, &source);
			lc_definitions_changed();
		}
		/* what else is on that table gets its triggers back */
		if (OidIsValid(former))
			lc_triggers_drop(lc->name, former);
		lc_triggers_create(lc->name);
	}
	SPI_finish();
	PG_RETURN_DATUM(lc_defined_text(defined));
}

/* The source of that name; NULL: it is defined, but its table was dropped. */
static LcSource *
find_source(LcLifecycle *lc, const char *name)
{
	LcSource   *source = lc_source_by_name(lc, name);

	if (source != NULL)
		return source;
	lc_definer_run("SELECT FROM lifecycle.event_sources WHERE lifecycle = $1 AND name = $2", 2, lc->name, name);
	return SPI_processed > 0 ? NULL : lc_definer_source(lc, name);
}

Datum
lifecycle_drop_event_source(PG_FUNCTION_ARGS)
{
	char	   *lifecycle;
	char	   *name;
	LcLifecycle *lc;
	LcSource   *source;
	LcIdentity	saved;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	lifecycle = pstrdup(lc->name);
	name = lc_arg_required(fcinfo, 1, "name");
	source = find_source(lc, name);
	for (int i = 0; i < lc->nrules; i++)
		if (lc->rules[i].source && strcmp(lc->rules[i].source, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("transition \"%s\" needs event source \"%s\"", lc->rules[i].name, name),
					 errhint("Drop it first with lifecycle.drop_transition('%s', '%s').", lifecycle, lc->rules[i].name)));
	for (int i = 0; i < lc->ntriggers; i++)
		if (lc->triggers[i].source && strcmp(lc->triggers[i].source, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("workflow \"%s\" needs event source \"%s\"", lc->triggers[i].version->workflow, name),
					 errhint("Archive it first with lifecycle.archive_workflow(%s, %s).", quote_literal_cstr(lifecycle),
							 quote_literal_cstr(lc->triggers[i].version->workflow))));
	if (source)
		lc_lock_table(source->table);
	lc_identity_extension(&saved);
	lc_runf("DELETE FROM lifecycle.event_sources WHERE lifecycle = %s AND name = %s", quote_literal_cstr(lifecycle), quote_literal_cstr(name));
	lc_identity_restore(&saved);
	lc_condition_drop(lc->schema, lc_condition_name("becomes", name));
	if (source)
		lc_triggers_drop(lifecycle, source->table);
	lc_definitions_changed();
	lc_triggers_create(lifecycle);
	SPI_finish();
	PG_RETURN_VOID();
}
