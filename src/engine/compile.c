/*
 * compile.c: from the JSON form of steps and triggers to a program of numbered steps, and to their normal form.
 *
 * What there is, is in the tables below: a kind of step or trigger, and its arguments with their types. Reading, numbering, linking and writing follow
 * the tables. A new kind is an entry in them; a new type of argument also needs a case in read_argument and, in normal_form.c, in push_argument.
 *
 * This file does no I/O and knows no lifecycle: whether stages, templates, events and SQL exist is define_workflow.c's affair. Recursion is
 * bounded by LC_MAX_STEP_DEPTH, whatever the JSON looks like.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "engine/compile.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* A place in the JSON document, innermost first: for messages. */
typedef struct Place
{
	const struct Place *up;
	const char *word;
	int			number;			/* 0: none */
} Place;

static const LcKind step_kinds[] = {
	{"send", false, {
		{"channel", LC_ARGUMENT_CHANNEL, true},
		{"template", LC_ARGUMENT_TEMPLATE, true},
		{"to", LC_ARGUMENT_RECIPIENTS},
	}},
	{"delay", false, {
		{"duration", LC_ARGUMENT_INTERVAL, true},
	}},
	{"branch", false, {
		{"condition", LC_ARGUMENT_CONDITION, true},
		{"yes", LC_ARGUMENT_STEPS},
		{"no", LC_ARGUMENT_STEPS},
	}},
	{"set_stage", false, {
		{"stage", LC_ARGUMENT_STAGE, true},
	}},
	{"run_sql", false, {
		{"statement", LC_ARGUMENT_STATEMENT, true},
	}},
	{"exit", true, {
		{"reason", LC_ARGUMENT_TEXT, false, "exited"},
	}},
	{NULL}
};

static const LcKind trigger_kinds[] = {
	{"on_event", false, {
		{"name", LC_ARGUMENT_EVENT, true},
		{"condition", LC_ARGUMENT_CONDITION},
		{"source", LC_ARGUMENT_SOURCE},
	}},
	{"on_stage", false, {
		{"stage", LC_ARGUMENT_STAGES},
		{"from_stage", LC_ARGUMENT_STAGES},
	}},
	{"on_change", false, {
		{"condition", LC_ARGUMENT_CONDITION, true},
	}},
	{NULL}
};

static const LcKind goal_kinds[] = {
	{"goal", false, {
		{"trigger", LC_ARGUMENT_TRIGGERS, true},
		{"within", LC_ARGUMENT_INTERVAL},
		{"exit", LC_ARGUMENT_BOOLEAN, false, "false"},
	}},
	{NULL}
};

static List *read_nodes(const LcKind *kinds, JsonbValue *value, const Place *place, int depth, int *count);

/* The place in words, such as: step 3, yes, step 1. */
static char *
place_text(const Place *place)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const Place *p = place; p != NULL; p = p->up)
	{
		char	   *inner = pstrdup(text.data);

		resetStringInfo(&text);
		appendStringInfoString(&text, p->word);
		if (p->number > 0)
			appendStringInfo(&text, " %d", p->number);
		if (inner[0] != '\0')
			appendStringInfo(&text, ", %s", inner);
		pfree(inner);
	}
	return text.data;
}

/* The names of a table of kinds as a list in words. */
static char *
kind_names(const LcKind *kinds)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const LcKind *kind = kinds; kind->name != NULL; kind++)
		appendStringInfo(&text, "%s%s", text.len == 0 ? "" : ", ", kind->name);
	return text.data;
}

static char *
argument_names(const LcKind *kind, bool is_step)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "kind");
	for (const LcArgumentKind *a = kind->arguments; a->name != NULL; a++)
		appendStringInfo(&text, ", %s", a->name);
	if (is_step)
		appendStringInfoString(&text, ", label, only_if");
	return text.data;
}

/* A JSON value as it is shown in messages: at most 60 bytes. */
static char *
value_text(JsonbValue *value)
{
	char	   *text;
	int			length;

	if (value->type == jbvString)
		text = pnstrdup(value->val.string.val, value->val.string.len);
	else
	{
		Jsonb	   *document = JsonbValueToJsonb(value);

		if (value->type == jbvBinary && VARSIZE(document) > 10000)
			return pstrdup(JsonContainerIsArray(value->val.binary.data) ? "[…]" : "{…}");
		text = JsonbToCString(NULL, &document->root, VARSIZE(document));
	}
	length = strlen(text);
	if (length > 60)
		text = psprintf("%s…", pnstrdup(text, pg_mbcliplen(text, length, 60)));
	return text;
}

/* A text that is not empty, of at most `limit` bytes. */
static char *
read_text(JsonbValue *value, const char *name, int limit, const Place *place)
{
	char	   *text;

	if (value->type != jbvString)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must be a text, not %s", name, value_text(value)),
				errdetail("In %s.", place_text(place)));
	text = pnstrdup(value->val.string.val, value->val.string.len);
	if (text[strspn(text, " \t\r\n")] == '\0')
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must not be empty", name),
				errdetail("In %s.", place_text(place)));
	if (strlen(text) > limit)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("%s is longer than %d bytes", name, limit),
				errdetail("In %s.", place_text(place)));
	return text;
}

static void
interval_error_context(void *place)
{
	errcontext("In %s", place_text(place));
}

/* Stages: one name, several as '{a,b}' or as a JSON array. */
static List *
read_stages(JsonbValue *value, const char *name, const Place *place)
{
	List	   *stages = NIL;

	if (value->type == jbvString && value->val.string.len > 0 && value->val.string.val[0] == '{')
	{
		char	   *literal = pnstrdup(value->val.string.val, value->val.string.len);
		Datum		array = OidFunctionCall3(F_ARRAY_IN, CStringGetDatum(literal), ObjectIdGetDatum(TEXTOID), Int32GetDatum(-1));
		Datum	   *elements;
		bool	   *nulls;
		int			n;

		deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
		for (int i = 0; i < n; i++)
		{
			if (!nulls[i])
				stages = lappend(stages, TextDatumGetCString(elements[i]));
		}
	}
	else if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
	{
		JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
		JsonbIteratorToken token;
		JsonbValue	element;

		while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		{
			if (token == WJB_ELEM)
				stages = lappend(stages, read_text(&element, name, NAMEDATALEN - 1, place));
		}
	}
	else
		stages = list_make1(read_text(value, name, NAMEDATALEN - 1, place));
	if (stages == NIL)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s names no stage", name),
				errdetail("In %s.", place_text(place)),
				errhint("Leave it out to mean any stage."));
	return stages;
}

static void
read_argument(const LcArgumentKind *kind, JsonbValue *value, LcArgument *argument, const Place *place, int depth,
			  int *count)
{
	Place		here = {place, kind->name, 0};
	ErrorContextCallback callback;

	argument->given = true;
	switch (kind->type)
	{
		case LC_ARGUMENT_BOOLEAN:
			if (value->type != jbvBool)
				ereport(ERROR,
						errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be true or false, not %s", kind->name, value_text(value)),
						errdetail("In %s.", place_text(place)));
			argument->truth = value->val.boolean;
			break;
		case LC_ARGUMENT_INTERVAL:
			argument->text = read_text(value, kind->name, 200, place);
			callback.callback = interval_error_context;
			callback.arg = unconstify(Place *, place);
			callback.previous = error_context_stack;
			error_context_stack = &callback;
			argument->text = lc_interval_text(lc_interval_parse(argument->text, kind->name));
			error_context_stack = callback.previous;
			break;
		case LC_ARGUMENT_STAGES:
			argument->items = read_stages(value, kind->name, place);
			break;
		case LC_ARGUMENT_STEPS:
			argument->items = read_nodes(step_kinds, value, &here, depth + 1, count);
			break;
		case LC_ARGUMENT_TRIGGERS:
			argument->items = read_nodes(trigger_kinds, value, &here, depth + 1, count);
			if (argument->items == NIL)
				ereport(ERROR,
						errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s names no trigger", kind->name),
						errdetail("In %s.", place_text(place)));
			break;
		case LC_ARGUMENT_CONDITION:
		case LC_ARGUMENT_RECIPIENTS:
		case LC_ARGUMENT_STATEMENT:
			argument->text = read_text(value, kind->name, LC_MAX_CONDITION, place);
			break;
		case LC_ARGUMENT_TEXT:
		case LC_ARGUMENT_EVENT:
			argument->text = read_text(value, kind->name, 1000, place);
			break;
		case LC_ARGUMENT_CHANNEL:
		case LC_ARGUMENT_TEMPLATE:
		case LC_ARGUMENT_SOURCE:
		case LC_ARGUMENT_STAGE:
			argument->text = read_text(value, kind->name, NAMEDATALEN - 1, place);
			break;
	}
}

/* Looks "kind" up in an object. */
static const LcKind *
read_kind(const LcKind *kinds, JsonbContainer *object, const Place *place)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(object, "kind", 4, &buffer);

	if (value == NULL)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("a %s has no \"kind\"", place->word),
				errdetail("In %s.", place_text(place)),
				errhint("It is one of: %s.", kind_names(kinds)));
	if (value->type == jbvString)
	{
		for (const LcKind *kind = kinds; kind->name != NULL; kind++)
		{
			if (strlen(kind->name) == value->val.string.len &&
				memcmp(kind->name, value->val.string.val, value->val.string.len) == 0)
				return kind;
		}
	}
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("\"%s\" is not a kind of %s", value_text(value), place->word),
			errdetail("In %s.", place_text(place)),
			errhint("It is one of: %s.", kind_names(kinds)));
}

static void
check_required(LcNode *node, const Place *place)
{
	for (int i = 0; node->kind->arguments[i].name != NULL; i++)
	{
		const LcArgumentKind *kind = &node->kind->arguments[i];
		LcArgument *argument = &node->arguments[i];

		if (argument->given)
			continue;
		if (kind->required)
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s has no %s", node->kind->name, kind->name),
					errdetail("In %s.", place_text(place)));
		if (kind->by_default != NULL)
		{
			argument->given = true;
			if (kind->type == LC_ARGUMENT_BOOLEAN)
				argument->truth = strcmp(kind->by_default, "true") == 0;
			else
				argument->text = pstrdup(kind->by_default);
		}
	}
}

static LcNode *
read_node(const LcKind *kinds, JsonbContainer *object, const Place *place, int depth, int *count)
{
	bool		is_step = kinds == step_kinds;
	LcNode	   *node = palloc0(sizeof(LcNode));
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	node->kind = read_kind(kinds, object, place);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int			i = 0;

		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE || strcmp(key, "kind") == 0)
			continue;
		while (node->kind->arguments[i].name != NULL && strcmp(node->kind->arguments[i].name, key) != 0)
			i++;
		if (node->kind->arguments[i].name == NULL &&
			!(is_step && (strcmp(key, "label") == 0 || strcmp(key, "only_if") == 0)))
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" is no argument of %s", key, node->kind->name),
					errdetail("In %s.", place_text(place)),
					errhint("It takes: %s.", argument_names(node->kind, is_step)));
		if (value.type == jbvNull)
			continue;
		if (node->kind->arguments[i].name != NULL)
			read_argument(&node->kind->arguments[i], &value, &node->arguments[i], place, depth, count);
		else if (strcmp(key, "label") == 0)
		{
			node->label = read_text(&value, key, LC_MAX_LABEL, place);
			node->labeled = true;
		}
		else
			node->only_if = read_text(&value, key, LC_MAX_CONDITION, place);
	}
	check_required(node, place);
	return node;
}

/* Appends a trigger once for each pair of its stages, so that one trigger names one stage; a step as it is. */
static List *
append_node(List *nodes, LcNode *node)
{
	List	   *copies = list_make1(node);

	for (int i = 0; node->kind->arguments[i].name != NULL; i++)
	{
		List	   *more = NIL;
		ListCell   *cell;
		ListCell   *stage;

		if (node->kind->arguments[i].type != LC_ARGUMENT_STAGES || !node->arguments[i].given)
			continue;
		foreach(cell, copies)
		{
			foreach(stage, node->arguments[i].items)
			{
				LcNode	   *copy = palloc(sizeof(LcNode));

				*copy = *(LcNode *) lfirst(cell);
				copy->arguments[i].text = lfirst(stage);
				more = lappend(more, copy);
			}
		}
		copies = more;
		if (list_length(nodes) + list_length(copies) > LC_MAX_STEPS)
			ereport(ERROR,
					errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("more than %d triggers", LC_MAX_STEPS));
	}
	return list_concat(nodes, copies);
}

/*
 * Reads one node, an array of them (arrays in it are spliced in) or null. `place` names the argument; the word for one node comes from the table.
 */
static List *
read_nodes(const LcKind *kinds, JsonbValue *value, const Place *place, int depth, int *count)
{
	Place		here = {place, kinds == step_kinds ? "step" : kinds == goal_kinds ? "goal" : "trigger", 0};
	List	   *nodes = NIL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (depth > LC_MAX_STEP_DEPTH)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("steps are nested more than %d deep", LC_MAX_STEP_DEPTH),
				errhint("Let steps follow one another, or divide the workflow into several."));
	CHECK_FOR_INTERRUPTS();
	if (value->type == jbvNull)
		return NIL;
	if (value->type != jbvBinary)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("a %s must be an object, not %s", here.word, value_text(value)),
				errdetail("In %s.", place_text(place ? place : &here)));
	if (JsonContainerIsObject(value->val.binary.data))
	{
		if (++*count > LC_MAX_STEPS)
			ereport(ERROR,
					errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("more than %d %ss", LC_MAX_STEPS, here.word),
					errhint("Divide the workflow into several."));
		return append_node(NIL, read_node(kinds, value->val.binary.data, &here, depth, count));
	}

	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		here.number++;
		if (element.type == jbvBinary && JsonContainerIsObject(element.val.binary.data))
		{
			if (++*count > LC_MAX_STEPS)
				ereport(ERROR,
						errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("more than %d %ss", LC_MAX_STEPS, here.word),
						errhint("Divide the workflow into several."));
			nodes = append_node(nodes, read_node(kinds, element.val.binary.data, &here, depth, count));
		}
		else
			nodes = list_concat(nodes, read_nodes(kinds, &element, &here, depth + 1, count));
	}
	return nodes;
}

/* A document as a value. */
static JsonbValue *
document_value(Jsonb *document)
{
	JsonbValue *value = palloc(sizeof(JsonbValue));

	if (JB_ROOT_IS_SCALAR(document))
	{
		if (!JsonbExtractScalar(&document->root, value))
			elog(ERROR, "scalar document without a value");
	}
	else
	{
		value->type = jbvBinary;
		value->val.binary.data = &document->root;
		value->val.binary.len = VARSIZE(document) - VARHDRSZ;
	}
	return value;
}

/* Gives numbers in the order in which the steps are written, arms after their branch. */
static void
number_steps(LcProgram *program, List *nodes)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		LcNode	   *node = lfirst(lc);

		program->steps[program->nsteps] = node;
		node->number = ++program->nsteps;
		for (int i = 0; node->kind->arguments[i].name != NULL; i++)
		{
			if (node->kind->arguments[i].type == LC_ARGUMENT_STEPS)
				number_steps(program, node->arguments[i].items);
		}
	}
}

/* Says what follows each step; `after` follows the last. */
static void
link_steps(List *nodes, int after)
{
	for (int n = list_length(nodes) - 1; n >= 0; n--)
	{
		LcNode	   *node = list_nth(nodes, n);
		int			arms = 0;

		node->skip = after;
		node->next = node->kind->ends ? 0 : after;
		for (int i = 0; node->kind->arguments[i].name != NULL; i++)
		{
			List	   *arm = node->arguments[i].items;
			int			first;

			if (node->kind->arguments[i].type != LC_ARGUMENT_STEPS)
				continue;
			first = arm == NIL ? after : ((LcNode *) linitial(arm))->number;
			if (arms++ == 0)
				node->next = first;
			else
				node->otherwise = first;
			link_steps(arm, after);
		}
		after = node->number;
	}
}

static int
compare_labels(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Checks that the given labels differ, and makes those that were not given: kind and a number. */
static void
label_steps(LcProgram *program)
{
	char	  **labels = palloc(program->nsteps * sizeof(char *));
	int			given = 0;
	int			used[lengthof(step_kinds)] = {0};

	for (int i = 0; i < program->nsteps; i++)
	{
		if (program->steps[i]->labeled)
			labels[given++] = program->steps[i]->label;
	}
	qsort(labels, given, sizeof(char *), compare_labels);
	for (int i = 1; i < given; i++)
	{
		if (strcmp(labels[i - 1], labels[i]) == 0)
			ereport(ERROR,
					errcode(ERRCODE_DUPLICATE_OBJECT),
					errmsg("two steps have the label \"%s\"", labels[i]),
					errhint("Give each step a label of its own, or none."));
	}
	for (int i = 0; i < program->nsteps; i++)
	{
		LcNode	   *node = program->steps[i];

		while (node->label == NULL)
		{
			char	   *label = psprintf("%s_%d", node->kind->name, ++used[node->kind - step_kinds]);

			if (bsearch(&label, labels, given, sizeof(char *), compare_labels) == NULL)
				node->label = label;
		}
	}
	pfree(labels);
}

/* A step that no run can come to is a mistake: something after an exit. */
static void
check_reachable(LcProgram *program)
{
	bool	   *reached = palloc0((program->nsteps + 1) * sizeof(bool));

	/* Steps follow only such as have lower numbers, so one pass in their order finds all. */
	reached[1] = true;
	for (int i = 0; i < program->nsteps; i++)
	{
		LcNode	   *node = program->steps[i];

		if (!reached[node->number])
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("step \"%s\" can never be reached", node->label),
					errhint("It comes after a step that always ends the run: give that step an only_if, or remove what follows it."));
		reached[node->next] = reached[node->otherwise] = true;
		if (node->only_if != NULL)
			reached[node->skip] = true;
	}
	pfree(reached);
}

LcProgram *
lc_compile_steps(Jsonb *steps)
{
	LcProgram  *program = palloc0(sizeof(LcProgram));
	int			count = 0;

	if (steps != NULL)
		program->roots = read_nodes(step_kinds, document_value(steps), NULL, 0, &count);
	if (count == 0)
		return program;
	program->steps = palloc(count * sizeof(LcNode *));
	number_steps(program, program->roots);
	link_steps(program->roots, 0);
	label_steps(program);
	check_reachable(program);
	return program;
}

List *
lc_compile_triggers(Jsonb *triggers, const char *role)
{
	Place		place = {NULL, role, 0};
	int			count = 0;

	return triggers == NULL ? NIL : read_nodes(trigger_kinds, document_value(triggers), &place, 0, &count);
}

LcNode *
lc_compile_goal(Jsonb *goal)
{
	JsonbValue *value;
	JsonbValue	buffer;
	JsonbValue *kind = NULL;
	int			count = 0;
	LcNode	   *node;

	if (goal == NULL)
		return NULL;
	value = document_value(goal);
	if (value->type == jbvNull)
		return NULL;
	if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
		kind = getKeyJsonValueFromContainer(value->val.binary.data, "kind", 4, &buffer);
	if (kind != NULL && kind->type == jbvString && kind->val.string.len == 4 &&
		memcmp(kind->val.string.val, "goal", 4) == 0)
		return linitial(read_nodes(goal_kinds, value, NULL, 0, &count));

	/* triggers alone */
	node = palloc0(sizeof(LcNode));
	node->kind = goal_kinds;
	node->arguments[0].items = lc_compile_triggers(goal, "goal");
	if (node->arguments[0].items == NIL)
		return NULL;
	node->arguments[0].given = true;
	check_required(node, NULL);
	return node;
}

LcArgument *
lc_node_argument(LcNode *node, const char *name)
{
	for (int i = 0; node->kind->arguments[i].name != NULL; i++)
	{
		if (strcmp(node->kind->arguments[i].name, name) == 0)
			return &node->arguments[i];
	}
	elog(ERROR, "%s has no argument %s", node->kind->name, name);
}
