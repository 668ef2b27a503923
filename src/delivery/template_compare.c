/*
 * template_compare.c: whether values of templates are equal, which comes first, and what contains what.
 *
 * Every comparison charges the bytes it looks at: values come from rows and can be long.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "delivery/template_internal.h"

static bool
is_blank(const LcValue *value)
{
	if (!lc_liquid_is_true(value) || lc_liquid_is_empty(value))
		return true;
	if (value->kind != LC_VALUE_STRING)
		return false;
	for (int i = 0; i < value->length; i++)
		if (strchr(" \t\r\n\v\f", value->u.string[i]) == NULL || value->u.string[i] == '\0')
			return false;
	return true;
}

static bool
is_number(const LcValue *value)
{
	return value->kind == LC_VALUE_INTEGER || value->kind == LC_VALUE_NUMERIC;
}

static bool
is_time(const LcValue *value)
{
	return value->kind == LC_VALUE_TIMESTAMPTZ || value->kind == LC_VALUE_TIMESTAMP || value->kind == LC_VALUE_DATE;
}

static bool
is_list(const LcValue *value)
{
	return value->kind == LC_VALUE_LIST || value->kind == LC_VALUE_RANGE ||
		(value->kind == LC_VALUE_JSONB && JsonContainerIsArray(value->u.jsonb));
}

/* Bytes to look at when a value is compared. */
static int64
value_size(const LcValue *value)
{
	if (value->kind == LC_VALUE_STRING)
		return value->length;
	return value->kind == LC_VALUE_NUMERIC ? VARSIZE(value->u.numeric) : 0;
}

static int
compare_numbers(const LcValue *a, const LcValue *b)
{
	Datum		left,
				right;

	if (a->kind == LC_VALUE_INTEGER && b->kind == LC_VALUE_INTEGER)
		return a->u.integer < b->u.integer ? -1 : a->u.integer > b->u.integer;
	left = a->kind == LC_VALUE_INTEGER ? NumericGetDatum(int64_to_numeric(a->u.integer)) : NumericGetDatum(a->u.numeric);
	right = b->kind == LC_VALUE_INTEGER ? NumericGetDatum(int64_to_numeric(b->u.integer)) : NumericGetDatum(b->u.numeric);
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, left, right));
}

static int
compare_strings(const LcValue *a, const LcValue *b)
{
	int			order = memcmp(a->u.string, b->u.string, Min(a->length, b->length));

	return order != 0 ? order : a->length - b->length;
}

/*
 * Orders two values: numbers, strings by their bytes, times (of which one may be a string). *comparable is false
 * when one is nil. Anything else fails: an order of "10" and 9 would be a guess.
 */
bool
lc_liquid_compare(LcRender *render, const LcValue *a, const LcValue *b, bool *comparable, int *result)
{
	*comparable = a->kind != LC_VALUE_NIL && b->kind != LC_VALUE_NIL;
	*result = 0;
	if (!*comparable)
		return true;
	if (!lc_liquid_charge(render, value_size(a) + value_size(b)))
		return false;
	if (is_number(a) && is_number(b))
		*result = compare_numbers(a, b);
	else if (a->kind == LC_VALUE_STRING && b->kind == LC_VALUE_STRING)
		*result = compare_strings(a, b);
	else if ((is_time(a) && (is_time(b) || b->kind == LC_VALUE_STRING)) || (a->kind == LC_VALUE_STRING && is_time(b)))
	{
		TimestampTz left,
					right;

		if (!lc_liquid_get_time(render, a, &left) || !lc_liquid_get_time(render, b, &right))
			return false;
		*result = left < right ? -1 : left > right;
	}
	else
		return lc_liquid_fail(render, "%s cannot be compared with %s", lc_liquid_kind_name(a), lc_liquid_kind_name(b));
	return true;
}

static bool
lists_are_equal(LcRender *render, const LcValue *a, const LcValue *b, bool *result)
{
	int64		count = lc_liquid_count_items(a);

	check_stack_depth();
	*result = count == lc_liquid_count_items(b);
	for (int64 i = 0; i < count && *result; i++)
	{
		LcValue		left,
					right;

		lc_liquid_get_item(a, i, &left);
		lc_liquid_get_item(b, i, &right);
		if (!lc_liquid_charge(render, 0) || !lc_liquid_is_equal(render, &left, &right, result))
			return false;
	}
	return true;
}

/* Compares two documents token by token, which PostgreSQL would do without counting the work. */
static bool
documents_are_equal(LcRender *render, JsonbContainer *a, JsonbContainer *b, bool *result)
{
	JsonbIterator *left = JsonbIteratorInit(a);
	JsonbIterator *right = JsonbIteratorInit(b);
	JsonbIteratorToken token;

	do
	{
		JsonbValue	left_json,
					right_json;

		token = JsonbIteratorNext(&left, &left_json, false);
		*result = token == JsonbIteratorNext(&right, &right_json, false);
		if (*result && (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM))
		{
			LcValue		left_value,
						right_value;

			/* scalars all: containers are gone into */
			lc_liquid_set_json(&left_value, &left_json);
			lc_liquid_set_json(&right_value, &right_json);
			if (!lc_liquid_is_equal(render, &left_value, &right_value, result))
				return false;
		}
		if (!lc_liquid_charge(render, 32))
			return false;
	} while (*result && token != WJB_DONE);
	return true;
}

/* Values of different kinds are not equal. */
bool
lc_liquid_is_equal(LcRender *render, const LcValue *a, const LcValue *b, bool *result)
{
	bool		comparable;
	int			order;

	if (!lc_liquid_charge(render, a->kind == LC_VALUE_BLANK ? value_size(b) : b->kind == LC_VALUE_BLANK ? value_size(a) : 0))
		return false;
	if (a->kind == LC_VALUE_EMPTY || b->kind == LC_VALUE_EMPTY)
		*result = lc_liquid_is_empty(a->kind == LC_VALUE_EMPTY ? b : a);
	else if (a->kind == LC_VALUE_BLANK || b->kind == LC_VALUE_BLANK)
		*result = is_blank(a->kind == LC_VALUE_BLANK ? b : a);
	else if ((is_number(a) && is_number(b)) || (is_time(a) && (is_time(b) || b->kind == LC_VALUE_STRING)) ||
			 (a->kind == LC_VALUE_STRING && is_time(b)) ||
			 (a->kind == LC_VALUE_STRING && b->kind == LC_VALUE_STRING && a->length == b->length))
	{
		if (!lc_liquid_compare(render, a, b, &comparable, &order))
			return false;
		*result = order == 0;
	}
	else if (is_list(a) && is_list(b))
	{
		if (a->kind == LC_VALUE_JSONB && b->kind == LC_VALUE_JSONB)
			return documents_are_equal(render, a->u.jsonb, b->u.jsonb, result);
		return lists_are_equal(render, a, b, result);
	}
	else if (a->kind != b->kind)
		*result = false;
	else if (a->kind == LC_VALUE_BOOL)
		*result = a->u.boolean == b->u.boolean;
	else if (a->kind == LC_VALUE_JSONB)
	{
		*result = false;
		return is_list(a) || is_list(b) || documents_are_equal(render, a->u.jsonb, b->u.jsonb, result);
	}
	else
		*result = a->kind == LC_VALUE_NIL;
	return true;
}

/* A string in a string, an item in a list, a key in an object. Nil contains nothing and is nowhere. */
bool
lc_liquid_contains(LcRender *render, const LcValue *a, const LcValue *b, bool *result)
{
	*result = false;
	if (a->kind == LC_VALUE_NIL || b->kind == LC_VALUE_NIL)
		return true;
	if (is_list(a))
	{
		const LcValue *items;
		int			count;

		if (a->kind == LC_VALUE_RANGE)
		{
			LcValue		number = *b;

			lc_liquid_normalize_number(&number);
			*result = number.kind == LC_VALUE_INTEGER && number.u.integer >= a->u.range->low &&
				number.u.integer <= a->u.range->high;
			return true;
		}
		if (!lc_liquid_get_list(render, a, &items, &count))
			return false;
		for (int i = 0; i < count && !*result; i++)
			if (!lc_liquid_charge(render, 0) || !lc_liquid_is_equal(render, &items[i], b, result))
				return false;
		return true;
	}
	if (a->kind == LC_VALUE_STRING || a->kind == LC_VALUE_JSONB)
	{
		const char *text;
		int			length;

		if (!lc_liquid_get_text(render, b, &text, &length) || !lc_liquid_charge(render, a->length))
			return false;
		if (a->kind == LC_VALUE_STRING)
			*result = lc_liquid_find(a->u.string, a->length, text, length) != NULL;
		else
			*result = getKeyJsonValueFromContainer(a->u.jsonb, text, length, NULL) != NULL;
		return true;
	}
	return lc_liquid_fail_kind(render, "\"contains\" needs a string, a list or an object", a);
}
