/*
 * define_transition.c: transition rules.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/condition.h"
#include "catalog/define.h"
#include "catalog/definer.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(lifecycle_define_transition);
PG_FUNCTION_INFO_V1(lifecycle_drop_transition);

typedef struct Rule
{
	const char *from_kind;
	List	   *from;
	char	   *to;
	char	   *on_event;
	char	   *condition;
	Interval   *after;
	char	   *after_text;
	char	   *without_event;
	char	   *on_date;
	char	   *source;
	int			priority;
	char	   *name;
} Rule;

/* From stages come as text ('a', '{a,b}', 'any', NULL) or as text[]. */
static void
read_from(FunctionCallInfo fcinfo, Rule *rule)
{
	if (PG_ARGISNULL(1))
	{
		rule->from_kind = "entry";
		return;
	}
	rule->from_kind = "stages";
	if (get_fn_expr_argtype(fcinfo->flinfo, 1) == TEXTARRAYOID)
		rule->from = lc_text_array_list(PG_GETARG_DATUM(1), "from_stage");
	else
	{
		char	   *text = lc_arg_text(fcinfo, 1);

		if (text[0] == '{')
			rule->from = lc_text_array_list(OidInputFunctionCall(F_ARRAY_IN, text, TEXTOID, -1), "from_stage");
		else if (strcmp(text, "any") == 0)
			rule->from_kind = "any";
		else
			rule->from = list_make1(text);
	}
	if (rule->from == NIL && strcmp(rule->from_kind, "stages") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a transition needs at least one stage that it leaves"),
				 errhint("Write NULL for new subjects, 'any' for every stage.")));
}

static char *
interval_text(const Interval *interval)
{
	return interval ? DatumGetCString(DirectFunctionCall1(interval_out, PointerGetDatum(interval))) : NULL;
}

/* from, to and trigger, as the name of a rule that was given none. */
static char *
default_name(const Rule *rule)
{
	StringInfoData name;
	ListCell   *cell;

	initStringInfo(&name);
	if (strcmp(rule->from_kind, "stages") != 0)
		appendStringInfoString(&name, strcmp(rule->from_kind, "any") == 0 ? "any" : "new");
	foreach(cell, rule->from)
		appendStringInfo(&name, "%s%s", name.len > 0 ? ", " : "", (char *) lfirst(cell));
	appendStringInfo(&name, " to %s", rule->to);
	if (rule->on_event)
		appendStringInfo(&name, " on %s", rule->on_event);
	if (rule->without_event)
		appendStringInfo(&name, " without %s for %s", rule->without_event, rule->after_text);
	else if (rule->after_text)
		appendStringInfo(&name, " after %s", rule->after_text);
	if (rule->on_date)
		appendStringInfo(&name, " on date");
	if (rule->condition)
		appendStringInfo(&name, " if condition");
	return name.data;
}

static void
check_trigger(const Rule *rule)
{
	int			triggers = (rule->on_event != NULL) + (rule->on_date != NULL) + (rule->after != NULL || rule->without_event != NULL);

	if (triggers > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a transition has one trigger: on_event, on_date, after, or without_event with after"),
				 errhint("Define one transition for each.")));
	if (rule->without_event && rule->after == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("without_event needs the argument after"),
				 errhint("Say how long the event must stay away: after => '90 days'.")));
	if (rule->after && rule->after->month == 0 && rule->after->day == 0 && rule->after->time == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be longer than zero", "after")));
	if (strcmp(rule->from_kind, "entry") == 0 && triggers > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a transition of new subjects has no trigger but their insertion"),
				 errhint("Leave out on_event, on_date, after and without_event, or name the stages that are left.")));
	if (rule->source && rule->on_event == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument source goes with on_event only")));
}

static void
check_stages(LcLifecycle *lc, const Rule *rule)
{
	ListCell   *cell;

	(void) lc_check_stage(lc, rule->to);
	foreach(cell, rule->from)
	{
		(void) lc_existing_stage(lc, lfirst(cell));
		if (strcmp(lfirst(cell), rule->to) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a transition cannot lead from stage \"%s\" to itself", rule->to)));
		for (int i = 0; i < foreach_current_index(cell); i++)
			if (strcmp(list_nth(rule->from, i), lfirst(cell)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("stage \"%s\" is listed twice", (char *) lfirst(cell))));
	}
}

/* Some event source must be able to carry the event. */
static void
check_event(LcLifecycle *lc, const Rule *rule)
{
	const char *event = rule->on_event ? rule->on_event : rule->without_event;
	List	   *names = NIL;

	if (event == NULL)
		return;
	if (event[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of an event must not be empty")));
	for (int i = 0; i < lc->nsources; i++)
	{
		LcSource   *source = &lc->sources[i];

		names = lappend(names, source->name);
		if ((rule->source == NULL || strcmp(rule->source, source->name) == 0) &&
			(source->event_name == NULL || strcmp(source->event_name, event) == 0))
			return;
	}
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("lifecycle \"%s\" has no event source", lc->name),
				 errhint("Define one first: lifecycle.define_event_source('%s', …).", lc->name)));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 rule->source ? errmsg("event source \"%s\" cannot carry event \"%s\"", rule->source, event) :
			 errmsg("no event source of lifecycle \"%s\" can carry event \"%s\"", lc->name, event),
			 errhint("Its event sources are %s.", lc_quoted_list(names))));
}

static LcDefined
define_rule(const char *lifecycle, const Rule *rule, const char *condition_function, const char *date_function)
{
	ArrayType  *from;
	Datum	   *elements = palloc(Max(list_length(rule->from), 1) * sizeof(Datum));
	ListCell   *cell;
	LcDefined	defined;
	LcIdentity	saved;

	foreach(cell, rule->from)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	from = DatumGetArrayTypeP(lc_array(elements, NULL, list_length(rule->from), TEXTOID));
	{
		LcColumn	columns[] = {
			{"lifecycle", lifecycle, true},
			{"name", rule->name, true},
			{"from_kind", rule->from_kind},
			{"from_stages", OidOutputFunctionCall(F_ARRAY_OUT, PointerGetDatum(from))},
			{"to_stage", rule->to},
			{"on_event", rule->on_event},
			{"source", rule->source},
			{"condition", rule->condition},
			{"condition_function", condition_function},
			{"after", rule->after_text},
			{"without_event", rule->without_event},
			{"on_date", rule->on_date},
			{"date_function", date_function},
			{"priority", psprintf("%d", rule->priority)},
		};

		lc_identity_extension(&saved);
		defined = lc_define_row("transition_rules", columns, lengthof(columns));
		lc_identity_restore(&saved);
	}
	return defined;
}

static void
read_arguments(FunctionCallInfo fcinfo, Rule *rule)
{
	read_from(fcinfo, rule);
	rule->to = lc_arg_required(fcinfo, 2, "to_stage");
	rule->on_event = lc_arg_text(fcinfo, 3);
	rule->condition = lc_arg_text(fcinfo, 4);
	rule->after = lc_arg_interval(fcinfo, 5, "after");
	rule->after_text = interval_text(rule->after);
	rule->without_event = lc_arg_text(fcinfo, 6);
	rule->on_date = lc_arg_text(fcinfo, 7);
	rule->source = lc_arg_text(fcinfo, 8);
	rule->priority = PG_ARGISNULL(9) ? 100 : PG_GETARG_INT32(9);
	rule->name = PG_ARGISNULL(10) ? default_name(rule) : lc_arg_text(fcinfo, 10);
	if (rule->name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of a transition must not be empty")));
}

Datum
lifecycle_define_transition(PG_FUNCTION_ARGS)
{
	char	   *lifecycle;
	Rule		rule = {0};
	LcLifecycle *lc;
	LcDefined	defined;
	char	   *condition_function;
	char	   *date_function;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	lifecycle = pstrdup(lc->name);
	read_arguments(fcinfo, &rule);
	check_trigger(&rule);
	check_stages(lc, &rule);
	check_event(lc, &rule);
	condition_function = rule.condition ? lc_condition_name("rule", rule.name) : NULL;
	date_function = rule.on_date ? lc_condition_name("date", rule.name) : NULL;
	defined = define_rule(lifecycle, &rule, condition_function, date_function);
	if (defined == LC_REPLACED && PG_ARGISNULL(10))
		ereport(NOTICE,
				(errmsg("transition \"%s\" was there, with another condition, date, source or priority, and has been replaced", rule.name),
				 errhint("Give each a name to have several that lead from the same stages to the same one by the same trigger.")));
	if (defined == LC_UNCHANGED && (lc_condition_missing(lc->schema, lc->on_table, condition_function) ||
									lc_condition_missing(lc->schema, lc->on_table, date_function)))
		defined = LC_REPLACED;
	if (defined != LC_UNCHANGED)
	{
		if (rule.condition)
			lc_bind_for_event(lc, psprintf("condition of transition \"%s\"", rule.name), condition_function, rule.condition, rule.on_event, rule.source,
							  false);
		else
			lc_condition_drop(lc->schema, lc_condition_name("rule", rule.name));
		lc_condition_drop(lc->schema, lc_condition_name("date", rule.name));
		if (rule.on_date)
			lc_condition_bind(lc->name, lc->schema, lc->on_table,
							  &(LcBinding) {psprintf("on_date of transition \"%s\"", rule.name), date_function, "timestamptz", rule.on_date, InvalidOid,
							  LC_ROWS_NO_RUN});
		lc_definitions_changed();
		lc_timers_arm(lifecycle, rule.name);
	}
	SPI_finish();
	PG_RETURN_DATUM(lc_defined_text(defined));
}

/* A rule as lc_rename_default_names has read it, as far as its default name goes. */
static Rule
stored_rule(HeapTuple tuple, TupleDesc desc)
{
	Rule		rule = {0};
	bool		isnull;

	rule.name = SPI_getvalue(tuple, desc, 2);
	rule.from_kind = SPI_getvalue(tuple, desc, 3);
	rule.from = lc_text_array_list(SPI_getbinval(tuple, desc, 4, &isnull), "from_stage");
	rule.to = SPI_getvalue(tuple, desc, 5);
	rule.on_event = SPI_getvalue(tuple, desc, 6);
	rule.without_event = SPI_getvalue(tuple, desc, 7);
	rule.after_text = SPI_getvalue(tuple, desc, 8);
	rule.on_date = SPI_getvalue(tuple, desc, 9);
	rule.condition = SPI_getvalue(tuple, desc, 10);
	return rule;
}

static void
rename_rule(LcLifecycle *lc, const char *id, const Rule *rule, const char *name)
{
	char	   *condition = rule->condition ? lc_condition_name("rule", name) : NULL;
	char	   *date = rule->on_date ? lc_condition_name("date", name) : NULL;
	LcIdentity	saved;

	lc_definer_run("UPDATE lifecycle.transition_rules SET name = $3, condition_function = $4, date_function = $5 WHERE id = $1::int4 "
				   "AND NOT EXISTS (SELECT FROM lifecycle.transition_rules o WHERE o.lifecycle = $2 AND o.name = $3)",
				   5, id, lc->name, name, condition, date);
	if (SPI_processed == 0)
		return;
	lc_identity_role(lc_table_owner(lc->on_table), &saved);
	if (condition)
		lc_condition_rename(lc->schema, lc_condition_name("rule", rule->name), condition);
	if (date)
		lc_condition_rename(lc->schema, lc_condition_name("date", rule->name), date);
	lc_identity_restore(&saved);
}

void
lc_rename_default_names(LcLifecycle *lc, const char *from, const char *to)
{
	SPITupleTable *table;
	uint64		n;

	lc_definer_run("SELECT id, name, from_kind, from_stages, to_stage, on_event, without_event, after, on_date, condition "
				   "FROM lifecycle.transition_rules WHERE lifecycle = $1 AND ($2 = ANY (from_stages) OR to_stage = $2)", 2, lc->name, from);
	table = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		Rule		rule = stored_rule(table->vals[i], table->tupdesc);
		Rule		renamed = rule;
		ListCell   *cell;

		if (strcmp(rule.name, default_name(&rule)) != 0)
			continue;
		renamed.from = list_copy(rule.from);
		foreach(cell, renamed.from)
			if (strcmp(lfirst(cell), from) == 0)
				lfirst(cell) = pstrdup(to);
		if (strcmp(rule.to, from) == 0)
			renamed.to = pstrdup(to);
		rename_rule(lc, SPI_getvalue(table->vals[i], table->tupdesc, 1), &rule, default_name(&renamed));
	}
}

static bool
is_counter_of(Oid database, const char *lifecycle, int rule_id, void *arg)
{
	return database == MyDatabaseId && lifecycle == NULL && rule_id == ((LcRule *) arg)->id;
}

Datum
lifecycle_drop_transition(PG_FUNCTION_ARGS)
{
	char	   *name;
	LcLifecycle *lc;
	LcRule	   *rule = NULL;
	List	   *names = NIL;
	LcIdentity	saved;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	name = lc_arg_required(fcinfo, 1, "name");
	for (int i = 0; i < lc->nrules; i++)
	{
		names = lappend(names, lc->rules[i].name);
		if (strcmp(lc->rules[i].name, name) == 0)
			rule = &lc->rules[i];
	}
	if (rule == NULL)
		lc_definer_missing(lc, "transition", name, names);
	lc_identity_extension(&saved);
	lc_runf("DELETE FROM lifecycle.transition_rules WHERE id = %d", rule->id);
	lc_identity_restore(&saved);
	lc_identity_role(lc_table_owner(lc->on_table), &saved);
	lc_runf("DELETE FROM %s WHERE kind = 'r' AND program = %d", lc->table_sql[LC_DUE], rule->id);
	lc_identity_restore(&saved);
	lc_condition_drop(lc->schema, lc_condition_name("rule", name));
	lc_condition_drop(lc->schema, lc_condition_name("date", name));
	lc_stats_forget(is_counter_of, rule);
	lc_definitions_changed();
	SPI_finish();
	PG_RETURN_VOID();
}
