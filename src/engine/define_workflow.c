/*
 * define_workflow.c: define_workflow.
 *
 * The JSON form of a workflow is compiled (compile.c), compared with the current version, checked against the lifecycle, and written as a new
 * version: its row, its triggers, its steps, and one SQL function for each piece of SQL in it. Versions never change afterwards, but for
 * keeps_event, which a template can turn on. A change of state alone makes no version.
 *
 * Functions are named after the version's id, so no two versions share one, and an old one keeps what its runs need.
 *
 * Locking: that of definitions (catalog/definer.h); the triggers on the tables are made by capture.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/closest.h"
#include "catalog/condition.h"
#include "catalog/define.h"
#include "catalog/definer.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "delivery/define_template.h"
#include "engine/compile.h"
#include "engine/workflow_state.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(lifecycle_define_workflow);

typedef struct Definition
{
	LcLifecycle *lc;
	char	   *workflow;
	char	   *state;
	char	   *reentry;		/* in normal form */
	List	   *entries;
	List	   *exits;
	LcNode	   *goal;
	LcProgram  *program;
	char	   *entries_json;	/* in normal form */
	char	   *exits_json;
	char	   *goal_json;		/* or NULL */
	char	   *steps_json;
	bool		keeps_event;
	int			version_id;
	int			version;
	List	   *templates;		/* names that were checked already */
	bool		same;			/* as the current version */
	bool		exists;
	char	   *old_state;
} Definition;

static void
definition_error_context(void *arg)
{
	errcontext("definition of workflow \"%s\"", (const char *) arg);
}

static char *
stage_hint(LcLifecycle *lc, const char *stage)
{
	List	   *names = NIL;

	for (int i = 0; i < lc->nstages; i++)
	{
		if (!lc->stages[i].retired)
			names = lappend(names, lc->stages[i].name);
	}
	return lc_names_hint(stage, names, "stages");
}

static void
check_stage(Definition *definition, const char *stage, bool enters, const char *what)
{
	int			index = lc_stage_by_name(definition->lc, stage);

	if (index == LC_NO_STAGE)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("stage \"%s\" of %s does not exist in lifecycle \"%s\"", stage, what, definition->lc->name),
				lc_definer_hint(stage_hint(definition->lc, stage)));
	if (enters && definition->lc->stages[index].retired)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("stage \"%s\" of %s is retired", stage, what),
				lc_definer_hint(stage_hint(definition->lc, stage)));
}

/* The column of the subject table that has the address for a channel. */
static const char *
address_column(const char *channel)
{
	if (strcmp(channel, "email") == 0)
		return "email";
	if (strcmp(channel, "sms") == 0)
		return "phone";
	return channel;
}

/* A send without recipients of its own, in a lifecycle without any, needs a column. */
static const char *
check_channel(Definition *definition, LcNode *step, const char *what)
{
	const char *channel = lc_node_argument(step, "channel")->text;
	const char *column = address_column(channel);

	if (definition->lc->recipients != NULL || lc_node_argument(step, "to")->given)
		return NULL;
	if (get_attnum(definition->lc->on_table, column) <= 0)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("channel \"%s\" of %s has no address: table %s has no column \"%s\"",
					   channel, what, definition->lc->on_table_sql, column),
				errhint("Say who gets it: send(…, \"to\" => $$ SELECT … AS address FROM … $$), or give the lifecycle recipients => $$ … $$."));
	return column;
}

/* The first place of a word in a text, in any case; NULL: there is none. */
static const char *
find_word(const char *text, const char *word)
{
	int			length = strlen(word);

	for (; *text; text++)
		if (pg_strncasecmp(text, word, length) == 0)
			return text;
	return NULL;
}

/* May this read enrollment.context, or all of enrollment? Says so once too often rather than not. */
static bool
may_read_context(const char *text)
{
	if (find_word(text, "context"))
		return true;
	while ((text = find_word(text, "enrollment")) != NULL)
	{
		text += strlen("enrollment");
		text += strspn(text, " \t\r\n\"");
		if (*text != '.')
			return true;
		text += 1 + strspn(text + 1, " \t\r\n");
		if (*text == '*')
			return true;
	}
	return false;
}

static void
check_template(Definition *definition, char *template, const char *what)
{
	bool		reads_event;
	ListCell   *cell;

	foreach(cell, definition->templates)
	{
		if (strcmp(lfirst(cell), template) == 0)
			return;
	}
	if (!lc_template_exists(definition->lc, template, &reads_event))
	{
		char	   *hint = lc_names_hint(template, lc_template_names(definition->lc), "templates");

		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("template \"%s\" of %s does not exist", template, what),
				lc_definer_hint(hint ? hint : "Define it first, with lifecycle.define_template."));
	}
	definition->keeps_event |= reads_event;
	definition->templates = lappend(definition->templates, template);
}

/* Checks one step against the lifecycle, by the types of its arguments. */
static void
check_step(Definition *definition, LcNode *step)
{
	char	   *what = psprintf("step \"%s\" of workflow \"%s\"", step->label, definition->workflow);

	for (int i = 0; step->kind->arguments[i].name != NULL; i++)
	{
		LcArgument *argument = &step->arguments[i];

		if (!argument->given)
			continue;
		switch (step->kind->arguments[i].type)
		{
			case LC_ARGUMENT_STAGE:
				check_stage(definition, argument->text, true, what);
				break;
			case LC_ARGUMENT_CHANNEL:
				(void) check_channel(definition, step, what);
				break;
			case LC_ARGUMENT_TEMPLATE:
				check_template(definition, argument->text, what);
				break;
			case LC_ARGUMENT_CONDITION:
			case LC_ARGUMENT_RECIPIENTS:
			case LC_ARGUMENT_STATEMENT:
				definition->keeps_event |= may_read_context(argument->text);
				break;
			default:
				break;
		}
	}
	if (step->only_if != NULL)
		definition->keeps_event |= may_read_context(step->only_if);
	pfree(what);
}

static bool
carries(const LcSource *source, const char *event)
{
	return source->event_name == NULL || strcmp(source->event_name, event) == 0;
}

/* The event sources that an on_event can mean; an error when there are none. */
static List *
sources_of_trigger(Definition *definition, LcNode *trigger, const char *what)
{
	LcLifecycle *lc = definition->lc;
	const char *event = lc_node_argument(trigger, "name")->text;
	const char *source = lc_node_argument(trigger, "source")->text;
	List	   *sources = NIL;
	List	   *names = NIL;

	for (int i = 0; i < lc->nsources; i++)
	{
		names = lappend(names, lc->sources[i].name);
		if (source != NULL ? strcmp(lc->sources[i].name, source) == 0 : carries(&lc->sources[i], event))
			sources = lappend(sources, &lc->sources[i]);
	}
	if (source != NULL && sources == NIL)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("event source \"%s\" of %s does not exist", source, what),
				lc_definer_hint(lc_names_hint(source, names, "event sources")));
	if (sources == NIL || !carries(linitial(sources), event))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("no event source can carry event \"%s\" of %s", event, what),
				errhint("Define one first, with lifecycle.define_event_source, or correct the name of the event."));
	return sources;
}

static void
check_trigger(Definition *definition, LcNode *trigger, const char *what)
{
	if (strcmp(trigger->kind->name, "on_event") == 0)
		list_free(sources_of_trigger(definition, trigger, what));
	for (int i = 0; trigger->kind->arguments[i].name != NULL; i++)
	{
		if (trigger->kind->arguments[i].type == LC_ARGUMENT_STAGES && trigger->arguments[i].given)
			check_stage(definition, trigger->arguments[i].text, false, what);
	}
}

static char *
trigger_text(Definition *definition, const char *role, int position)
{
	return psprintf("%s %d of workflow \"%s\"", role, position, definition->workflow);
}

static void
check_triggers(Definition *definition, const char *role, List *triggers)
{
	ListCell   *cell;
	int			position = 0;

	foreach(cell, triggers)
		check_trigger(definition, lfirst(cell), trigger_text(definition, role, ++position));
}

/* A name for a function of this version: "_step 17 onboarding: send_1". */
static char *
function_name(Definition *definition, const char *kind, const char *object)
{
	return lc_condition_name(kind, psprintf("%d %s: %s", definition->version_id, definition->workflow, object));
}

static void
bind(Definition *definition, const char *what, const char *function, const char *result, const char *sql, Oid event_table)
{
	LcBinding	binding = {what, function, result, sql, event_table};

	lc_condition_bind(definition->lc->name, definition->lc->schema, definition->lc->on_table, &binding);
}

/* Can this source have sent the event that began a run? Any can, when the workflow is not entered by events alone. */
static bool
may_begin(Definition *definition, const LcSource *source)
{
	ListCell   *cell;

	foreach(cell, definition->entries)
	{
		LcNode	   *entry = lfirst(cell);
		const char *only;

		if (strcmp(entry->kind->name, "on_event") != 0)
			return true;
		only = lc_node_argument(entry, "source")->text;
		if (only ? strcmp(only, source->name) == 0 : carries(source, lc_node_argument(entry, "name")->text))
			return true;
	}
	return definition->entries == NIL;
}

/*
 * Binds the SQL of a step. When it only fits with a row `event`, that is the event that began the run, of the one table whose events can have; the
 * run then keeps its event.
 */
static void
bind_in_step(Definition *definition, const char *what, const char *function, const char *result, const char *sql)
{
	LcLifecycle *lc = definition->lc;
	LcBinding	binding = {what, function, result, sql, InvalidOid};
	Oid			table = InvalidOid;
	Oid			unfit = InvalidOid;
	char	   *error;

	if (strstr(sql, "event") != NULL && !lc_condition_fits(lc->name, lc->schema, lc->on_table, &binding, &error))
	{
		for (int i = 0; i < lc->nsources; i++)
		{
			binding.event_table = lc->sources[i].table;
			if (!may_begin(definition, &lc->sources[i]) || binding.event_table == table)
				continue;
			if (!lc_condition_fits(lc->name, lc->schema, lc->on_table, &binding, &error))
			{
				unfit = binding.event_table;
				continue;
			}
			if (OidIsValid(table))
				ereport(ERROR,
						errcode(ERRCODE_AMBIGUOUS_PARAMETER),
						errmsg("event in %s can be a row of several tables", what),
						errhint("Write enrollment.context->'event', the event that began the run as jsonb, or name the source in the entry: on_event(…, source => …)."));
			table = binding.event_table;
		}
		definition->keeps_event |= OidIsValid(table);
		if (!OidIsValid(table))
			table = unfit;		/* raises what is wrong with its event */
	}
	bind(definition, what, function, result, sql, table);
}

/* Binds the condition of a trigger; gives the name of its function, or NULL when it has none. */
static char *
bind_trigger(Definition *definition, LcNode *trigger, const char *role, int position)
{
	char	   *what = psprintf("condition of %s", trigger_text(definition, role, position));
	char	   *function = function_name(definition, role, psprintf("%d", position));
	bool		run = strcmp(role, "entry") != 0;

	for (int i = 0; trigger->kind->arguments[i].name != NULL; i++)
	{
		if (trigger->kind->arguments[i].type != LC_ARGUMENT_CONDITION || !trigger->arguments[i].given)
			continue;
		definition->keeps_event |= run && may_read_context(trigger->arguments[i].text);
		if (strcmp(trigger->kind->name, "on_event") == 0)
			lc_bind_for_event(definition->lc, what, function, trigger->arguments[i].text,
							  lc_node_argument(trigger, "name")->text, lc_node_argument(trigger, "source")->text, run);
		else
			lc_condition_bind(definition->lc->name, definition->lc->schema, definition->lc->on_table,
							  &(LcBinding) {what, function, "boolean", trigger->arguments[i].text, InvalidOid, run ? LC_ROWS_ALL : LC_ROWS_NO_RUN});
		return function;
	}
	return NULL;
}

/* The text of an argument when this kind of trigger has it, else NULL. */
static char *
text_argument(LcNode *node, const char *name)
{
	for (int i = 0; node->kind->arguments[i].name != NULL; i++)
	{
		if (strcmp(node->kind->arguments[i].name, name) == 0)
			return node->arguments[i].text;
	}
	return NULL;
}

/* Writes triggers as capture reads them. */
static void
write_triggers(Definition *definition, const char *role, List *triggers, const char *within, bool exits)
{
	ListCell   *cell;
	int			position = 0;

	foreach(cell, triggers)
	{
		LcNode	   *trigger = lfirst(cell);
		char	   *function = bind_trigger(definition, trigger, role, ++position);

		lc_definer_run("INSERT INTO lifecycle.workflow_triggers (version_id, lifecycle, role, position, kind, event_name, source, stage, "
					   "from_stage, condition, condition_function, within, exits) "
					   "VALUES ($1::int4, $2, $3, $4::int4, $5, $6, $7, $8, $9, $10, $11, $12::interval, $13::bool)",
					   13, psprintf("%d", definition->version_id), definition->lc->name, role, psprintf("%d", position),
					   trigger->kind->name, text_argument(trigger, "name"), text_argument(trigger, "source"),
					   text_argument(trigger, "stage"), text_argument(trigger, "from_stage"), text_argument(trigger, "condition"),
					   function, within, exits ? "true" : "false");
	}
}

/* Binds the SQL of a step; gives the names of the functions, or NULL. */
static void
bind_step(Definition *definition, LcNode *step, char **only_if, char **condition)
{
	char	   *what = psprintf("step \"%s\" of workflow \"%s\"", step->label, definition->workflow);

	*only_if = *condition = NULL;
	if (step->only_if != NULL)
	{
		*only_if = function_name(definition, "only_if", step->label);
		bind_in_step(definition, psprintf("only_if of %s", what), *only_if, "boolean", step->only_if);
	}
	for (int i = 0; step->kind->arguments[i].name != NULL; i++)
	{
		const char *result;

		switch (step->kind->arguments[i].type)
		{
			case LC_ARGUMENT_CONDITION:
				result = "boolean";
				break;
			case LC_ARGUMENT_RECIPIENTS:
				result = "SETOF jsonb";
				break;
			case LC_ARGUMENT_STATEMENT:
				result = "void";
				break;
			default:
				continue;
		}
		if (!step->arguments[i].given)
			continue;
		*condition = function_name(definition, "step", step->label);
		bind_in_step(definition, psprintf("%s of %s", step->kind->arguments[i].name, what), *condition, result,
					 step->arguments[i].text);
	}
}

static Datum
text_or_null(const char *value, bool *isnull)
{
	*isnull = value == NULL;
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* Binds and writes all steps, in one statement. */
static void
write_steps(Definition *definition)
{
	LcProgram  *program = definition->program;
	int			n = program->nsteps;
	Oid			types[] = {INT4OID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, JSONBARRAYOID,
		TEXTARRAYOID, TEXTARRAYOID};
	static const Oid element_types[] = {TEXTOID, TEXTOID, INT4OID, INT4OID, INT4OID, JSONBOID, TEXTOID, TEXTOID};
	Datum		values[lengthof(types)];
	Datum	   *columns[lengthof(element_types)];
	bool	   *nulls[lengthof(element_types)];
	LcIdentity	saved;

	for (int c = 0; c < lengthof(element_types); c++)
	{
		columns[c] = palloc0(n * sizeof(Datum));
		nulls[c] = palloc0(n * sizeof(bool));
	}
	for (int i = 0; i < n; i++)
	{
		LcNode	   *step = program->steps[i];
		const int	targets[] = {step->next, step->otherwise, step->skip};
		char	   *only_if;
		char	   *condition;
		const char *column = NULL;

		CHECK_FOR_INTERRUPTS();
		if (strcmp(step->kind->name, "send") == 0)
			column = check_channel(definition, step, step->label);
		bind_step(definition, step, &only_if, &condition);
		columns[0][i] = CStringGetTextDatum(step->label);
		columns[1][i] = CStringGetTextDatum(step->kind->name);
		for (int t = 0; t < lengthof(targets); t++)
		{
			columns[2 + t][i] = Int32GetDatum(targets[t]);
			nulls[2 + t][i] = targets[t] == 0;
		}
		columns[5][i] = JsonbPGetDatum(lc_step_arguments(step, column));
		columns[6][i] = text_or_null(only_if, &nulls[6][i]);
		columns[7][i] = text_or_null(condition, &nulls[7][i]);
	}
	values[0] = Int32GetDatum(definition->version_id);
	values[1] = CStringGetTextDatum(definition->lc->name);
	for (int c = 0; c < lengthof(element_types); c++)
		values[2 + c] = lc_array(columns[c], nulls[c], n, element_types[c]);
	lc_identity_extension(&saved);
	lc_run_args("INSERT INTO lifecycle.workflow_steps (version_id, lifecycle, step, label, kind, next, otherwise, skip, arguments, "
				"only_if_function, condition_function) SELECT $1, $2, s.step, s.label, s.kind, s.next, s.otherwise, s.skip, s.arguments, "
				"s.only_if_function, s.condition_function FROM ROWS FROM (unnest($3), unnest($4), unnest($5), unnest($6), unnest($7), "
				"unnest($8), unnest($9), unnest($10)) WITH ORDINALITY AS s(label, kind, next, otherwise, skip, arguments, only_if_function, "
				"condition_function, step)", lengthof(types), types, values, NULL);
	lc_identity_restore(&saved);
}

static char *
json_text(Jsonb *document)
{
	return JsonbToCString(NULL, &document->root, VARSIZE(document));
}

/*
 * Finds the workflow, and whether its current version is this one, with all its functions, which may have been dropped with a table that they used, and with
 * the same addresses: the lifecycle may have been given recipients since.
 */
static void
find_current(Definition *definition)
{
	lc_definer_run("SELECT w.state, v.entry = $3::jsonb AND v.exits = $4::jsonb AND v.goal IS NOT DISTINCT FROM $5::jsonb "
				   "AND v.reentry = $6 AND v.steps = $7::jsonb AND NOT EXISTS (SELECT FROM "
				   "(SELECT t.condition_function FROM lifecycle.workflow_triggers t WHERE t.version_id = v.id UNION ALL "
				   "SELECT f FROM lifecycle.workflow_steps s, unnest(ARRAY[s.only_if_function, s.condition_function]) f WHERE s.version_id = v.id) used(function) "
				   "WHERE used.function IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
				   "WHERE n.nspname = $8 AND p.proname = used.function AND p.prosqlbody IS NOT NULL AND p.proowner = $9::oid)) "
				   "AND NOT ($10::bool AND EXISTS (SELECT FROM lifecycle.workflow_steps s WHERE s.version_id = v.id AND s.arguments ? 'column')), v.id "
				   "FROM lifecycle.workflows w JOIN lifecycle.workflow_versions v "
				   "ON v.lifecycle = w.lifecycle AND v.workflow = w.name AND v.version = w.version "
				   "WHERE w.lifecycle = $1 AND w.name = $2",
				   10, definition->lc->name, definition->workflow, definition->entries_json, definition->exits_json,
				   definition->goal_json, definition->reentry, definition->steps_json, definition->lc->schema,
				   psprintf("%u", lc_table_owner(definition->lc->on_table)), definition->lc->recipients ? "true" : "false");
	definition->exists = SPI_processed > 0;
	if (!definition->exists)
		return;
	definition->old_state = lc_definer_field(0, 1);
	definition->same = strcmp(lc_definer_field(0, 2), "t") == 0;
}

static void
write_version(Definition *definition)
{
	LcNode	   *goal = definition->goal;

	lc_definer_run("INSERT INTO lifecycle.workflow_versions (lifecycle, workflow, version, entry, exits, goal, reentry, steps, keeps_event, created_by) "
				   "SELECT $1, $2, 1 + COALESCE(max(v.version), 0), $3::jsonb, $4::jsonb, $5::jsonb, $6, $7::jsonb, $8::bool, $9 "
				   "FROM lifecycle.workflow_versions v WHERE v.lifecycle = $1 AND v.workflow = $2 RETURNING id, version",
				   9, definition->lc->name, definition->workflow, definition->entries_json, definition->exits_json,
				   definition->goal_json, definition->reentry, definition->steps_json, definition->keeps_event ? "true" : "false",
				   GetUserNameFromId(GetUserId(), false));
	definition->version_id = pg_strtoint32(lc_definer_field(0, 1));
	definition->version = pg_strtoint32(lc_definer_field(0, 2));

	write_triggers(definition, "entry", definition->entries, NULL, false);
	write_triggers(definition, "exit", definition->exits, NULL, false);
	if (goal != NULL)
		write_triggers(definition, "goal", lc_node_argument(goal, "trigger")->items, lc_node_argument(goal, "within")->text,
					   lc_node_argument(goal, "exit")->truth);
	write_steps(definition);
	if (definition->keeps_event)
		lc_definer_run("UPDATE lifecycle.workflow_versions SET keeps_event = true WHERE id = $1::int4 AND NOT keeps_event",
					   1, psprintf("%d", definition->version_id));
}

static char *
read_reentry(FunctionCallInfo fcinfo, int argument)
{
	char	   *reentry = lc_arg_text(fcinfo, argument);
	Interval   *interval;

	if (reentry == NULL)
		return pstrdup("once");
	if (strcmp(reentry, "once") == 0 || strcmp(reentry, "always") == 0)
		return reentry;
	if (strpbrk(reentry, "0123456789") == NULL)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("reentry must not be \"%s\"", reentry),
				errhint("It is 'once', 'always' (after the previous run has ended) or an interval since the previous entry, such as '30 days'."));
	interval = lc_interval_parse(reentry, "reentry");
	if (interval->month == 0 && interval->day == 0 && interval->time == 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("reentry must not be an interval of no length"),
				errhint("Use 'always' to let a subject in again as soon as its run has ended."));
	return lc_interval_text(interval);
}

static char *
read_state(FunctionCallInfo fcinfo, int argument)
{
	char	   *state = lc_arg_text(fcinfo, argument);

	if (state == NULL)
		return pstrdup("draft");
	if (strcmp(state, "draft") != 0 && strcmp(state, "shadow") != 0 && strcmp(state, "live") != 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("state must not be \"%s\"", state),
				strcmp(state, "archived") == 0 ?
				errhint("Call lifecycle.archive_workflow.") :
				errhint("It is 'draft', 'shadow' or 'live'."));
	return state;
}

static void
read_definition(FunctionCallInfo fcinfo, Definition *definition)
{
	Jsonb	   *documents[4];

	for (int i = 0; i < 3; i++)
		documents[i] = PG_ARGISNULL(3 + i) ? NULL : PG_GETARG_JSONB_P(3 + i);
	documents[3] = PG_ARGISNULL(7) ? NULL : PG_GETARG_JSONB_P(7);
	definition->state = read_state(fcinfo, 2);
	definition->entries = lc_compile_triggers(documents[0], "entry");
	definition->exits = lc_compile_triggers(documents[1], "exit");
	definition->goal = lc_compile_goal(documents[2]);
	definition->reentry = read_reentry(fcinfo, 6);
	definition->program = lc_compile_steps(documents[3]);
	if (definition->program->nsteps == 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("workflow \"%s\" has no steps", definition->workflow),
				errhint("Give at least one, such as steps => steps(send('email', 'welcome'))."));
	definition->entries_json = json_text(lc_normalize_nodes(definition->entries));
	definition->exits_json = json_text(lc_normalize_nodes(definition->exits));
	if (definition->goal != NULL)
		definition->goal_json = json_text(lc_normalize_node(definition->goal));
	definition->steps_json = json_text(lc_normalize_nodes(definition->program->roots));
}

/* Everything that the definition names must exist, also when it is the same as before: things may have been dropped since. */
static void
check_definition(Definition *definition)
{
	check_triggers(definition, "entry", definition->entries);
	check_triggers(definition, "exit", definition->exits);
	if (definition->goal != NULL)
		check_triggers(definition, "goal", lc_node_argument(definition->goal, "trigger")->items);
	for (int i = 0; i < definition->program->nsteps; i++)
		check_step(definition, definition->program->steps[i]);
}

/*
 * define_workflow(lifecycle text, name text, state text, entry jsonb, exit jsonb, goal jsonb, reentry text, steps jsonb) RETURNS text
 */
Datum
lifecycle_define_workflow(PG_FUNCTION_ARGS)
{
	Definition	definition = {0};
	ErrorContextCallback callback = {error_context_stack, definition_error_context};
	LcDefined	defined;

	SPI_connect();
	definition.lc = lc_definer_begin(fcinfo);
	definition.workflow = lc_definer_name(fcinfo, 1, "workflow");
	callback.arg = definition.workflow;
	error_context_stack = &callback;

	read_definition(fcinfo, &definition);
	check_definition(&definition);
	find_current(&definition);
	defined = definition.exists ? LC_REPLACED : LC_CREATED;
	if (definition.exists && strcmp(definition.state, "draft") == 0)
		lc_check_no_runs(definition.lc, definition.workflow, definition.old_state);
	if (!definition.same)
	{
		write_version(&definition);
		lc_definer_run("INSERT INTO lifecycle.workflows (lifecycle, name, state, version) VALUES ($1, $2, $3, $4::int4) "
					   "ON CONFLICT (lifecycle, name) DO UPDATE SET state = excluded.state, version = excluded.version",
					   4, definition.lc->name, definition.workflow, definition.state, psprintf("%d", definition.version));
	}
	else if (strcmp(definition.state, definition.old_state) != 0)
		lc_definer_run("UPDATE lifecycle.workflows SET state = $3 WHERE lifecycle = $1 AND name = $2",
					   3, definition.lc->name, definition.workflow, definition.state);
	else
		defined = LC_UNCHANGED;
	if (defined != LC_UNCHANGED)
		lc_definitions_changed();
	error_context_stack = callback.previous;
	SPI_finish();
	PG_RETURN_DATUM(lc_defined_text(defined));
}
