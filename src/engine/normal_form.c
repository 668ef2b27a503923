/*
 * normal_form.c: writing steps and triggers back as JSON: each in one form only, so that what means the same compares equal.
 *
 * In it lists are flat, arguments that are NULL or what they are by default are left out, and intervals are written in one style.
 */
#include "postgres.h"

#include "engine/compile.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/timestamp.h"

static JsonbValue *push_node(JsonbParseState **state, LcNode *node);

static void
push_text(JsonbParseState **state, JsonbIteratorToken where, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	pushJsonbValue(state, where, &value);
}

static void
push_nodes(JsonbParseState **state, List *nodes)
{
	ListCell   *lc;

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, nodes)
		push_node(state, lfirst(lc));
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_argument(JsonbParseState **state, const LcArgumentKind *kind, LcArgument *argument)
{
	JsonbValue	value;

	switch (kind->type)
	{
		case LC_ARGUMENT_BOOLEAN:
			value.type = jbvBool;
			value.val.boolean = argument->truth;
			pushJsonbValue(state, WJB_VALUE, &value);
			break;
		case LC_ARGUMENT_STEPS:
		case LC_ARGUMENT_TRIGGERS:
			push_nodes(state, argument->items);
			break;
		default:
			push_text(state, WJB_VALUE, argument->text);
	}
}

static bool
is_default(const LcArgumentKind *kind, LcArgument *argument)
{
	if (kind->type == LC_ARGUMENT_STEPS)
		return argument->items == NIL;
	if (kind->by_default == NULL)
		return false;
	if (kind->type == LC_ARGUMENT_BOOLEAN)
		return argument->truth == (strcmp(kind->by_default, "true") == 0);
	return strcmp(argument->text, kind->by_default) == 0;
}

static JsonbValue *
push_node(JsonbParseState **state, LcNode *node)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_text(state, WJB_KEY, "kind");
	push_text(state, WJB_VALUE, node->kind->name);
	for (int i = 0; node->kind->arguments[i].name != NULL; i++)
	{
		const LcArgumentKind *kind = &node->kind->arguments[i];

		if (!node->arguments[i].given || is_default(kind, &node->arguments[i]))
			continue;
		push_text(state, WJB_KEY, kind->name);
		push_argument(state, kind, &node->arguments[i]);
	}
	if (node->labeled)
	{
		push_text(state, WJB_KEY, "label");
		push_text(state, WJB_VALUE, node->label);
	}
	if (node->only_if != NULL)
	{
		push_text(state, WJB_KEY, "only_if");
		push_text(state, WJB_VALUE, node->only_if);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
lc_normalize_nodes(List *nodes)
{
	JsonbParseState *state = NULL;
	ListCell   *lc;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, nodes)
		push_node(&state, lfirst(lc));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

Jsonb *
lc_normalize_node(LcNode *node)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_node(&state, node));
}

Jsonb *
lc_step_arguments(LcNode *step, const char *column)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; step->kind->arguments[i].name != NULL; i++)
	{
		if (!step->arguments[i].given || step->kind->arguments[i].type == LC_ARGUMENT_STEPS)
			continue;
		push_text(&state, WJB_KEY, step->kind->arguments[i].name);
		push_argument(&state, &step->kind->arguments[i], &step->arguments[i]);
	}
	if (column != NULL)
	{
		push_text(&state, WJB_KEY, "column");
		push_text(&state, WJB_VALUE, column);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

char *
lc_interval_text(const Interval *interval)
{
	struct pg_itm itm;
	char		text[MAXDATELEN + 1];

	/* what 17 and later mean by infinity */
	if (interval->month == PG_INT32_MAX && interval->day == PG_INT32_MAX && interval->time == PG_INT64_MAX)
		return pstrdup("infinity");
	if (interval->month == PG_INT32_MIN && interval->day == PG_INT32_MIN && interval->time == PG_INT64_MIN)
		return pstrdup("-infinity");
	interval2itm(*interval, &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, text);
	return pstrdup(text);
}

Interval *
lc_interval_parse(const char *text, const char *what)
{
	Interval   *interval = NULL;
	double		days = get_float8_infinity();

	/* 15 and 16 cannot read it: it is too long on every version. */
	if (pg_strcasecmp(text, "infinity") != 0)
	{
		interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
														 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
		days = interval->month * 30.4375 + interval->day + interval->time / (double) USECS_PER_DAY;
	}
	if (days < 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must not be negative: \"%s\"", what, text));
	if (days > LC_MAX_DELAY_DAYS)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must not be longer than %d days: \"%s\"", what, LC_MAX_DELAY_DAYS, text));
	return interval;
}
