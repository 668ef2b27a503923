/*
 * template_filters.c: the filters of Liquid, and the table of them at the end: one entry each.
 *
 * A filter is not called with a nil, nor with an argument that is nil, unless its entry says that it takes them. Every
 * string that it makes is charged by its bytes and no longer than the output may be.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "utils/formatting.h"

#include "delivery/template_internal.h"

/* ---- help ---- */

/* The text of the value a filter works on. */
bool
lc_liquid_read_text(LcRender *render, const LcValue *value, const char **text, int *length)
{
	return lc_liquid_get_text(render, value, text, length) && lc_liquid_charge(render, *length);
}

/* Asks for memory for a string of length bytes; NULL when that is too much. */
char *
lc_liquid_make_string(LcRender *render, int64 length)
{
	if (length > render->max_output)
	{
		lc_liquid_fail(render, "a string is longer than %d bytes", render->max_output);
		return NULL;
	}
	if (!lc_liquid_charge(render, length))
		return NULL;
	return palloc(length + 1);
}

/* A string that needs no escaping. */
static bool
is_safe(const LcValue *value)
{
	return value->kind == LC_VALUE_STRING && value->safe;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The first occurrence of one string in another, at the start of a character. */
const char *
lc_liquid_find(const char *text, int length, const char *what, int what_length)
{
	const char *end = text + length;
	const char *next = text;

	for (;;)
	{
		const char *found = memmem(next, end - next, what, what_length);

		if (found == NULL || pg_database_encoding_max_length() == 1 || GetDatabaseEncoding() == PG_UTF8)
			return found;
		while (next < found)
			next += pg_mblen(next);
		if (next == found)
			return found;
	}
}

/* ---- default ---- */

static bool
filter_default(LcRender *render, LcValue *value, const LcValue *args)
{
	bool		missing = value->kind == LC_VALUE_NIL || lc_liquid_is_empty(value);

	if (value->kind == LC_VALUE_BOOL && !value->u.boolean)
		missing = !(args[1].kind != LC_VALUE_UNSET && lc_liquid_is_true(&args[1]));
	if (missing)
		*value = args[0];
	return true;
}

/* ---- case ---- */

static bool
is_ascii(const char *text, int length)
{
	for (int i = 0; i < length; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	return true;
}

static bool
change_case(LcRender *render, LcValue *value, bool upper)
{
	const char *text;
	int			length;
	char	   *result;

	if (!lc_liquid_read_text(render, value, &text, &length))
		return false;
	if (is_ascii(text, length))
	{
		if ((result = lc_liquid_make_string(render, length)) == NULL)
			return false;
		for (int i = 0; i < length; i++)
			result[i] = upper ? pg_ascii_toupper(text[i]) : pg_ascii_tolower(text[i]);
	}
	else
	{
		result = upper ? str_toupper(text, length, DEFAULT_COLLATION_OID) :
			str_tolower(text, length, DEFAULT_COLLATION_OID);
		length = strlen(result);
		if (!lc_liquid_charge(render, length * 4))
			return false;
	}
	lc_liquid_set_string(value, result, length);
	return true;
}

static bool
filter_upcase(LcRender *render, LcValue *value, const LcValue *args)
{
	return change_case(render, value, true);
}

static bool
filter_downcase(LcRender *render, LcValue *value, const LcValue *args)
{
	return change_case(render, value, false);
}

/* Joins two strings. Where one of them is HTML already, the other becomes it too. */
static bool
concatenate(LcRender *render, LcValue *value, const LcValue *first, const LcValue *second)
{
	LcValue		left = *first;
	LcValue		right = *second;
	bool		safe = is_safe(first) || is_safe(second);
	const char *a;
	const char *b;
	int			a_length,
				b_length;
	char	   *result;

	if (safe && render->template->html &&
		!((is_safe(&left) || lc_liquid_escape(render, &left, NULL)) &&
		  (is_safe(&right) || lc_liquid_escape(render, &right, NULL))))
		return false;
	if (!lc_liquid_read_text(render, &left, &a, &a_length) || !lc_liquid_read_text(render, &right, &b, &b_length) ||
		(result = lc_liquid_make_string(render, (int64) a_length + b_length)) == NULL)
		return false;
	memcpy(result, a, a_length);
	memcpy(result + a_length, b, b_length);
	lc_liquid_set_string(value, result, a_length + b_length);
	value->safe = safe;
	return true;
}

static bool
filter_capitalize(LcRender *render, LcValue *value, const LcValue *args)
{
	const char *text;
	int			length;
	int			first;
	LcValue		head;
	LcValue		tail;

	if (!lc_liquid_read_text(render, value, &text, &length))
		return false;
	first = length > 0 ? pg_mblen(text) : 0;
	lc_liquid_set_string(&head, text, first);
	lc_liquid_set_string(&tail, text + first, length - first);
	return change_case(render, &head, true) && change_case(render, &tail, false) &&
		concatenate(render, value, &head, &tail);
}

/* ---- strings ---- */

static bool
filter_append(LcRender *render, LcValue *value, const LcValue *args)
{
	return concatenate(render, value, value, &args[0]);
}

static bool
filter_prepend(LcRender *render, LcValue *value, const LcValue *args)
{
	return concatenate(render, value, &args[0], value);
}

static bool
strip_text(LcRender *render, LcValue *value, bool left, bool right)
{
	bool		safe = is_safe(value);
	const char *text;
	int			length;

	if (!lc_liquid_read_text(render, value, &text, &length))
		return false;
	while (left && length > 0 && is_space(*text))
	{
		text++;
		length--;
	}
	while (right && length > 0 && is_space(text[length - 1]))
		length--;
	lc_liquid_set_string(value, text, length);
	value->safe = safe;
	return true;
}

static bool
filter_strip(LcRender *render, LcValue *value, const LcValue *args)
{
	return strip_text(render, value, true, true);
}

static bool
filter_lstrip(LcRender *render, LcValue *value, const LcValue *args)
{
	return strip_text(render, value, true, false);
}

static bool
filter_rstrip(LcRender *render, LcValue *value, const LcValue *args)
{
	return strip_text(render, value, false, true);
}

static bool
replace_text(LcRender *render, LcValue *value, const LcValue *what, const LcValue *with, bool all)
{
	const char *text;
	const char *old;
	const char *new;
	int			length,
				old_length,
				new_length;
	StringInfoData result;

	if (!lc_liquid_read_text(render, value, &text, &length) || !lc_liquid_read_text(render, what, &old, &old_length) ||
		!lc_liquid_read_text(render, with, &new, &new_length))
		return false;
	if (old_length == 0)
		return lc_liquid_fail(render, "the string to replace is empty");
	initStringInfo(&result);
	for (bool more = true;; more = all)
	{
		const char *found = more ? lc_liquid_find(text, length, old, old_length) : NULL;
		int			before = found ? found - text : length;

		if ((int64) result.len + before + new_length > render->max_output)
			return lc_liquid_fail(render, "a string is longer than %d bytes", render->max_output);
		if (!lc_liquid_charge(render, (int64) before + new_length))
			return false;
		appendBinaryStringInfo(&result, text, before);
		if (found == NULL)
			break;
		appendBinaryStringInfo(&result, new, new_length);
		text += before + old_length;
		length -= before + old_length;
	}
	lc_liquid_set_string(value, result.data, result.len);
	return lc_liquid_charge(render, result.maxlen - result.len);
}

static bool
filter_replace(LcRender *render, LcValue *value, const LcValue *args)
{
	return replace_text(render, value, &args[0], &args[1], true);
}

static bool
filter_replace_first(LcRender *render, LcValue *value, const LcValue *args)
{
	return replace_text(render, value, &args[0], &args[1], false);
}

static bool
filter_remove(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		nothing;

	lc_liquid_set_string(&nothing, "", 0);
	return replace_text(render, value, &args[0], &nothing, true);
}

/* The first characters, with an ellipsis that counts when something is cut off. */
static bool
filter_truncate(LcRender *render, LcValue *value, const LcValue *args)
{
	int64		limit = 50;
	LcValue		ellipsis;
	const char *text;
	int			length,
				ellipsis_length;

	lc_liquid_set_string(&ellipsis, "...", 3);
	if (args[0].kind != LC_VALUE_UNSET && !lc_liquid_get_integer(render, &args[0], "filter \"truncate\"", &limit))
		return false;
	if (args[1].kind != LC_VALUE_UNSET)
		ellipsis = args[1];
	if (!lc_liquid_read_text(render, &ellipsis, &ellipsis.u.string, &ellipsis_length) ||
		!lc_liquid_read_text(render, value, &text, &length))
		return false;
	if (pg_mbstrlen_with_len(text, length) <= limit)
	{
		lc_liquid_set_string(value, text, length);
		return true;
	}
	limit = Max(Max(limit, 0) - pg_mbstrlen_with_len(ellipsis.u.string, ellipsis_length), 0);
	lc_liquid_set_string(value, text, pg_mbcharcliplen(text, length, limit));
	lc_liquid_set_string(&ellipsis, ellipsis.u.string, ellipsis_length);
	return concatenate(render, value, value, &ellipsis);
}

static bool
filter_truncatewords(LcRender *render, LcValue *value, const LcValue *args)
{
	int64		limit = 15;
	LcValue		ellipsis;
	const char *text;
	int			length;
	int64		words = 0;
	int			at = 0;
	int			end = 0;

	lc_liquid_set_string(&ellipsis, "...", 3);
	if (args[0].kind != LC_VALUE_UNSET && !lc_liquid_get_integer(render, &args[0], "filter \"truncatewords\"", &limit))
		return false;
	if (args[1].kind != LC_VALUE_UNSET)
		ellipsis = args[1];
	if (!lc_liquid_read_text(render, value, &text, &length))
		return false;
	limit = Max(limit, 1);
	for (;;)
	{
		while (at < length && is_space(text[at]))
			at++;
		if (at == length || words == limit)
			break;
		while (at < length && !is_space(text[at]))
			at++;
		end = at;
		words++;
	}
	if (at == length)
	{
		lc_liquid_set_string(value, text, length);
		return true;
	}
	lc_liquid_set_string(value, text, end);
	return concatenate(render, value, value, &ellipsis);
}

/* ---- lists ---- */

static void
set_list(LcValue *value, const LcValue *items, int count)
{
	memset(value, 0, sizeof(LcValue));
	value->kind = LC_VALUE_LIST;
	value->length = count;
	value->u.items = items;
}

/* Splits at each separator, or into characters when that is empty. Empty parts at the end are dropped. */
static bool
filter_split(LcRender *render, LcValue *value, const LcValue *args)
{
	const char *text;
	const char *separator;
	int			length,
				separator_length;
	LcValue    *items = palloc(8 * sizeof(LcValue));
	int			count = 0;
	int			max = 8;

	if (!lc_liquid_read_text(render, value, &text, &length) ||
		!lc_liquid_read_text(render, &args[0], &separator, &separator_length))
		return false;
	while (length > 0)
	{
		const char *found = separator_length ? lc_liquid_find(text, length, separator, separator_length) : NULL;
		int			part = length;

		if (separator_length == 0)
			part = pg_mblen(text);
		else if (found)
			part = found - text;
		if (!lc_liquid_charge(render, 2 * sizeof(LcValue)))
			return false;
		if (count == max)
			items = repalloc(items, (max *= 2) * sizeof(LcValue));
		memset(&items[count], 0, sizeof(LcValue));
		lc_liquid_set_string(&items[count++], text, part);
		part += found ? separator_length : 0;
		text += part;
		length -= part;
	}
	while (count > 0 && items[count - 1].length == 0)
		count--;
	set_list(value, items, count);
	return true;
}

static bool
filter_join(LcRender *render, LcValue *value, const LcValue *args)
{
	const char *text;
	const char *separator = " ";
	int			length,
				separator_length = 1;

	if (args[0].kind != LC_VALUE_UNSET && !lc_liquid_read_text(render, &args[0], &separator, &separator_length))
		return false;
	if (!lc_liquid_join(render, value, separator, separator_length, &text, &length))
		return false;
	lc_liquid_set_string(value, text, length);
	return true;
}

static bool
filter_size(LcRender *render, LcValue *value, const LcValue *args)
{
	if (value->kind == LC_VALUE_STRING && !lc_liquid_charge(render, value->length))
		return false;
	if (value->kind == LC_VALUE_STRING)
		lc_liquid_set_integer(value, pg_mbstrlen_with_len(value->u.string, value->length));
	else if (lc_liquid_count_items(value) >= 0)
		lc_liquid_set_integer(value, lc_liquid_count_items(value));
	else
		return lc_liquid_fail_kind(render, "filter \"size\" needs a string or a list", value);
	return true;
}

static bool
get_end(LcRender *render, LcValue *value, bool last)
{
	int64		count = lc_liquid_count_items(value);
	LcValue		item;

	if (count < 0 || value->kind == LC_VALUE_STRING)
		return lc_liquid_fail_kind(render, last ? "filter \"last\" needs a list" : "filter \"first\" needs a list", value);
	lc_liquid_get_item(value, last ? count - 1 : 0, &item);
	*value = item;
	return true;
}

static bool
filter_first(LcRender *render, LcValue *value, const LcValue *args)
{
	return get_end(render, value, false);
}

static bool
filter_last(LcRender *render, LcValue *value, const LcValue *args)
{
	return get_end(render, value, true);
}

static bool
filter_reverse(LcRender *render, LcValue *value, const LcValue *args)
{
	const LcValue *items;
	LcValue    *result;
	int			count;

	if (!lc_liquid_get_list(render, value, &items, &count) ||
		!lc_liquid_charge(render, count * (int64) sizeof(LcValue)))
		return false;
	result = palloc(Max(count, 1) * sizeof(LcValue));
	for (int i = 0; i < count; i++)
		result[i] = items[count - 1 - i];
	set_list(value, result, count);
	return true;
}

static bool
filter_compact(LcRender *render, LcValue *value, const LcValue *args)
{
	const LcValue *items;
	LcValue    *result;
	int			count;
	int			kept = 0;

	if (!lc_liquid_get_list(render, value, &items, &count) ||
		!lc_liquid_charge(render, count * (int64) sizeof(LcValue)))
		return false;
	result = palloc(Max(count, 1) * sizeof(LcValue));
	for (int i = 0; i < count; i++)
		if (items[i].kind != LC_VALUE_NIL)
			result[kept++] = items[i];
	set_list(value, result, kept);
	return true;
}

/* The member of that name of each item. */
static bool
filter_map(LcRender *render, LcValue *value, const LcValue *args)
{
	const LcValue *items;
	LcValue    *result;
	int			count;

	if (!lc_liquid_get_list(render, value, &items, &count) ||
		!lc_liquid_charge(render, count * 2 * (int64) sizeof(LcValue)))
		return false;
	result = palloc(Max(count, 1) * sizeof(LcValue));
	for (int i = 0; i < count; i++)
		lc_liquid_get_element(&items[i], &args[0], &result[i]);
	set_list(value, result, count);
	return true;
}

/* ---- the table ---- */

static const LcFilter filters[] = {
	/* name, arguments at least, at most, keyword, takes nil */
	{"abs", 0, 0, NULL, false, lc_liquid_abs},
	{"append", 1, 1, NULL, false, filter_append},
	{"at_least", 1, 1, NULL, false, lc_liquid_at_least},
	{"at_most", 1, 1, NULL, false, lc_liquid_at_most},
	{"capitalize", 0, 0, NULL, false, filter_capitalize},
	{"ceil", 0, 0, NULL, false, lc_liquid_ceil},
	{"compact", 0, 0, NULL, false, filter_compact},
	{"date", 1, 1, NULL, false, lc_liquid_date, lc_liquid_check_date},
	{"default", 1, 1, "allow_false", true, filter_default},
	{"divided_by", 1, 1, NULL, false, lc_liquid_divided_by},
	{"downcase", 0, 0, NULL, false, filter_downcase},
	{"escape", 0, 0, NULL, false, lc_liquid_escape},
	{"escape_once", 0, 0, NULL, false, lc_liquid_escape_once},
	{"first", 0, 0, NULL, false, filter_first},
	{"floor", 0, 0, NULL, false, lc_liquid_floor},
	{"join", 0, 1, NULL, false, filter_join},
	{"last", 0, 0, NULL, false, filter_last},
	{"lstrip", 0, 0, NULL, false, filter_lstrip},
	{"map", 1, 1, NULL, false, filter_map},
	{"minus", 1, 1, NULL, false, lc_liquid_minus},
	{"modulo", 1, 1, NULL, false, lc_liquid_modulo},
	{"newline_to_br", 0, 0, NULL, false, lc_liquid_newline_to_br},
	{"plus", 1, 1, NULL, false, lc_liquid_plus},
	{"prepend", 1, 1, NULL, false, filter_prepend},
	{"raw", 0, 0, NULL, false, lc_liquid_raw},
	{"remove", 1, 1, NULL, false, filter_remove},
	{"replace", 2, 2, NULL, false, filter_replace},
	{"replace_first", 2, 2, NULL, false, filter_replace_first},
	{"reverse", 0, 0, NULL, false, filter_reverse},
	{"round", 0, 1, NULL, false, lc_liquid_round},
	{"rstrip", 0, 0, NULL, false, filter_rstrip},
	{"size", 0, 0, NULL, false, filter_size},
	{"split", 1, 1, NULL, false, filter_split},
	{"strip", 0, 0, NULL, false, filter_strip},
	{"strip_html", 0, 0, NULL, false, lc_liquid_strip_html},
	{"times", 1, 1, NULL, false, lc_liquid_times},
	{"truncate", 0, 2, NULL, false, filter_truncate},
	{"truncatewords", 0, 2, NULL, false, filter_truncatewords},
	{"upcase", 0, 0, NULL, false, filter_upcase},
	{"url_encode", 0, 0, NULL, false, lc_liquid_url_encode},
};

const LcFilter *
lc_liquid_find_filter(const LcToken *name)
{
	for (int i = 0; i < lengthof(filters); i++)
		if (lc_liquid_token_is(name, filters[i].name))
			return &filters[i];
	return NULL;
}

/* The names of all filters, for messages. */
char *
lc_liquid_list_filters(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(filters); i++)
		appendStringInfo(&list, "%s%s", i ? ", " : "", filters[i].name);
	return list.data;
}
