/*
 * template_value.c: values of templates: made from column values and jsonb, taken apart, and turned into text and numbers.
 *
 * Numbers are exact: an int64, or a numeric that keeps its digits, so 42.10 stays 42.10. Both kinds compare and
 * calculate with each other. Strings are not copied where the source can be pointed to.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "delivery/template_internal.h"

/* ---- from columns ---- */

enum
{
	READ_BOOL, READ_INT2, READ_INT4, READ_INT8, READ_NUMERIC, READ_TEXT, READ_BPCHAR, READ_NAME,
	READ_TIMESTAMPTZ, READ_TIMESTAMP, READ_DATE, READ_JSONB,
	READ_NUMBER,				/* through text: its shortest digits */
	READ_JSON,					/* to jsonb: arrays, rows, json */
	READ_OUTPUT					/* any other: what its output function says */
};

/*
 * Prepares reading values of a type. The reader belongs to the current memory context. Types without a kind of their
 * own become the string that their output function makes; arrays and rows become jsonb.
 */
void
lc_value_init_reader(LcValueReader *reader, Oid type)
{
	static const struct
	{
		Oid			type;
		int			how;
	}			known[] = {
		{TEXTOID, READ_TEXT}, {VARCHAROID, READ_TEXT}, {BPCHAROID, READ_BPCHAR}, {NAMEOID, READ_NAME},
		{BOOLOID, READ_BOOL}, {INT2OID, READ_INT2}, {INT4OID, READ_INT4}, {INT8OID, READ_INT8},
		{NUMERICOID, READ_NUMERIC}, {FLOAT4OID, READ_NUMBER}, {FLOAT8OID, READ_NUMBER},
		{TIMESTAMPTZOID, READ_TIMESTAMPTZ}, {TIMESTAMPOID, READ_TIMESTAMP}, {DATEOID, READ_DATE},
		{JSONBOID, READ_JSONB}, {JSONOID, READ_JSON}
	};
	Oid			base = getBaseType(type);
	Oid			output;
	bool		is_varlena;

	reader->how = READ_OUTPUT;
	for (int i = 0; i < lengthof(known); i++)
		if (known[i].type == base)
			reader->how = known[i].how;
	if (reader->how == READ_OUTPUT && (type_is_rowtype(base) || OidIsValid(get_element_type(base))))
		reader->how = READ_JSON;

	if (reader->how == READ_JSON)
	{
		/* to_jsonb asks its call for the type of its argument */
		fmgr_info(F_TO_JSONB, &reader->function);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(makeNullConst(base, -1, InvalidOid)),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
						   &reader->function);
	}
	else if (reader->how == READ_OUTPUT || reader->how == READ_NUMBER)
	{
		getTypeOutputInfo(base, &output, &is_varlena);
		fmgr_info(output, &reader->function);
	}
}

static void
set_numeric(LcValue *value, Numeric numeric)
{
	value->kind = LC_VALUE_NUMERIC;
	value->safe = false;
	value->u.numeric = numeric;
}

/*
 * Makes a value of a datum, in the current memory context. Long strings and jsonb point into the datum when it needs
 * no detoasting.
 */
void
lc_value_read(LcValueReader *reader, Datum datum, bool isnull, LcValue *value)
{
	char	   *string;

	memset(value, 0, sizeof(LcValue));
	if (isnull)
		return;
	switch (reader->how)
	{
		case READ_BOOL:
			value->kind = LC_VALUE_BOOL;
			value->u.boolean = DatumGetBool(datum);
			break;
		case READ_INT2:
			lc_liquid_set_integer(value, DatumGetInt16(datum));
			break;
		case READ_INT4:
			lc_liquid_set_integer(value, DatumGetInt32(datum));
			break;
		case READ_INT8:
			lc_liquid_set_integer(value, DatumGetInt64(datum));
			break;
		case READ_NUMERIC:
			set_numeric(value, DatumGetNumeric(datum));
			break;
		case READ_NUMBER:
			string = OutputFunctionCall(&reader->function, datum);
			set_numeric(value, DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(string),
																   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
			break;
		case READ_TEXT:
		case READ_BPCHAR:
			{
				struct varlena *packed = PG_DETOAST_DATUM_PACKED(datum);
				int			length = VARSIZE_ANY_EXHDR(packed);

				if (reader->how == READ_BPCHAR)
					length = bpchartruelen(VARDATA_ANY(packed), length);
				lc_liquid_set_string(value, VARDATA_ANY(packed), length);
			}
			break;
		case READ_NAME:
			lc_liquid_set_string(value, NameStr(*DatumGetName(datum)), strlen(NameStr(*DatumGetName(datum))));
			break;
		case READ_TIMESTAMPTZ:
			value->kind = LC_VALUE_TIMESTAMPTZ;
			value->u.time = DatumGetTimestampTz(datum);
			break;
		case READ_TIMESTAMP:
			value->kind = LC_VALUE_TIMESTAMP;
			value->u.time = DatumGetTimestamp(datum);
			break;
		case READ_DATE:
			value->kind = LC_VALUE_DATE;
			value->u.date = DatumGetDateADT(datum);
			break;
		case READ_JSON:
			datum = FunctionCall1(&reader->function, datum);
			/* FALLTHROUGH */
		case READ_JSONB:
			lc_value_from_jsonb(&DatumGetJsonbP(datum)->root, value);
			break;
		default:
			string = OutputFunctionCall(&reader->function, datum);
			lc_liquid_set_string(value, string, strlen(string));
	}
}

/* ---- from jsonb ---- */

/* Makes a value of a part of a jsonb, which it points into; of nothing and null a nil. */
void
lc_liquid_set_json(LcValue *value, const JsonbValue *json)
{
	memset(value, 0, sizeof(LcValue));
	if (json == NULL)
		return;
	switch (json->type)
	{
		case jbvString:
			lc_liquid_set_string(value, json->val.string.val, json->val.string.len);
			break;
		case jbvNumeric:
			set_numeric(value, json->val.numeric);
			break;
		case jbvBool:
			value->kind = LC_VALUE_BOOL;
			value->u.boolean = json->val.boolean;
			break;
		case jbvBinary:
			value->kind = LC_VALUE_JSONB;
			value->u.jsonb = json->val.binary.data;
			break;
		default:
			break;				/* null */
	}
}

/* Makes a value of a jsonb, which it points into. */
void
lc_value_from_jsonb(JsonbContainer *container, LcValue *value)
{
	if (JsonContainerIsScalar(container))
		lc_liquid_set_json(value, getIthJsonbValueFromContainer(container, 0));
	else
	{
		memset(value, 0, sizeof(LcValue));
		value->kind = LC_VALUE_JSONB;
		value->u.jsonb = container;
	}
}

/* ---- parts of values ---- */

static bool
name_is(const char *name, int length, const char *what)
{
	return strlen(what) == length && memcmp(name, what, length) == 0;
}

static void
get_loop_member(const LcLoop *loop, const char *name, int length, LcValue *member)
{
	if (name_is(name, length, "index"))
		lc_liquid_set_integer(member, loop->index0 + 1);
	else if (name_is(name, length, "index0"))
		lc_liquid_set_integer(member, loop->index0);
	else if (name_is(name, length, "rindex"))
		lc_liquid_set_integer(member, loop->length - loop->index0);
	else if (name_is(name, length, "rindex0"))
		lc_liquid_set_integer(member, loop->length - loop->index0 - 1);
	else if (name_is(name, length, "length"))
		lc_liquid_set_integer(member, loop->length);
	else if (name_is(name, length, "first") || name_is(name, length, "last"))
	{
		member->kind = LC_VALUE_BOOL;
		member->u.boolean = loop->index0 == (name[0] == 'f' ? 0 : loop->length - 1);
	}
	else if (name_is(name, length, "parentloop") && loop->parent)
	{
		member->kind = LC_VALUE_LOOP;
		member->u.loop = loop->parent;
	}
}

/* The member of that name: a key of an object, or "size", "first", "last". A nil when there is none. */
void
lc_value_get_member(const LcValue *value, const char *name, int length, LcValue *member)
{
	memset(member, 0, sizeof(LcValue));
	if (value->kind == LC_VALUE_LOOP)
	{
		get_loop_member(value->u.loop, name, length, member);
		return;
	}
	if (value->kind == LC_VALUE_JSONB && JsonContainerIsObject(value->u.jsonb))
	{
		JsonbValue *found = getKeyJsonValueFromContainer(value->u.jsonb, name, length, NULL);

		if (found)
		{
			lc_liquid_set_json(member, found);
			return;
		}
		if (name_is(name, length, "size"))
			lc_liquid_set_integer(member, JsonContainerSize(value->u.jsonb));
		return;
	}
	if (value->kind == LC_VALUE_STRING)
	{
		if (name_is(name, length, "size"))
			lc_liquid_set_integer(member, pg_mbstrlen_with_len(value->u.string, value->length));
		return;
	}
	if (value->kind == LC_VALUE_LIST || value->kind == LC_VALUE_JSONB || value->kind == LC_VALUE_RANGE)
	{
		if (name_is(name, length, "size"))
			lc_liquid_set_integer(member, lc_liquid_count_items(value));
		else if (name_is(name, length, "first"))
			lc_liquid_get_item(value, 0, member);
		else if (name_is(name, length, "last"))
			lc_liquid_get_item(value, lc_liquid_count_items(value) - 1, member);
	}
}

/* value[index]: an item by number, from the end when negative, or a member by name. */
void
lc_liquid_get_element(const LcValue *value, const LcValue *index, LcValue *element)
{
	LcValue		number = *index;

	memset(element, 0, sizeof(LcValue));
	lc_liquid_normalize_number(&number);
	if (index->kind == LC_VALUE_NIL)
		*element = *index;
	else if (index->kind == LC_VALUE_STRING)
		lc_value_get_member(value, index->u.string, index->length, element);
	else if (number.kind == LC_VALUE_INTEGER && value->kind != LC_VALUE_STRING)
	{
		int64		i = number.u.integer;

		if (i < 0)
			i += Max(lc_liquid_count_items(value), 0);
		lc_liquid_get_item(value, i, element);
	}
}

/* How many times a loop runs over a value; -1 when it is nothing to loop over. Nil is an empty list. */
int64
lc_liquid_count_items(const LcValue *value)
{
	switch (value->kind)
	{
		case LC_VALUE_NIL:
		case LC_VALUE_EMPTY:
			return 0;
		case LC_VALUE_STRING:
			return value->length > 0 ? 1 : 0;
		case LC_VALUE_LIST:
			return value->length;
		case LC_VALUE_JSONB:
			return JsonContainerSize(value->u.jsonb);
		case LC_VALUE_RANGE:
			{
				int64		distance;

				if (value->u.range->high < value->u.range->low)
					return 0;
				if (pg_sub_s64_overflow(value->u.range->high, value->u.range->low, &distance) ||
					distance == PG_INT64_MAX)
					return PG_INT64_MAX;
				return distance + 1;
			}
		default:
			return -1;
	}
}

/* Item number index, from 0; a nil when there is none. Objects have no items here, see lc_liquid_get_list. */
void
lc_liquid_get_item(const LcValue *value, int64 index, LcValue *item)
{
	int64		count = lc_liquid_count_items(value);

	memset(item, 0, sizeof(LcValue));
	if (index < 0 || index >= count)
		return;
	if (value->kind == LC_VALUE_STRING)
		*item = *value;
	else if (value->kind == LC_VALUE_LIST)
		*item = value->u.items[index];
	else if (value->kind == LC_VALUE_RANGE)
		lc_liquid_set_integer(item, value->u.range->low + index);
	else if (value->kind == LC_VALUE_JSONB && JsonContainerIsArray(value->u.jsonb))
		lc_liquid_set_json(item, getIthJsonbValueFromContainer(value->u.jsonb, index));
}

static int
read_jsonb_items(JsonbContainer *container, LcValue *items)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbValue	json;
	JsonbIteratorToken token = JsonbIteratorNext(&iterator, &json, true);
	int			count = 0;

	while ((token = JsonbIteratorNext(&iterator, &json, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			lc_liquid_set_json(&items[count++], &json);
		else if (token == WJB_KEY)
		{
			LcValue    *pair = palloc(2 * sizeof(LcValue));

			lc_liquid_set_json(&pair[0], &json);
			JsonbIteratorNext(&iterator, &json, true);
			lc_liquid_set_json(&pair[1], &json);
			memset(&items[count], 0, sizeof(LcValue));
			items[count].kind = LC_VALUE_LIST;
			items[count].length = 2;
			items[count++].u.items = pair;
		}
	}
	return count;
}

/* All items of a value as an array; the items of an object are pairs of key and value. */
bool
lc_liquid_get_list(LcRender *render, const LcValue *value, const LcValue **items, int *count)
{
	int64		wanted = lc_liquid_count_items(value);
	LcValue    *copy;

	if (wanted < 0)
		return lc_liquid_fail_kind(render, "a list is needed", value);
	if (value->kind == LC_VALUE_LIST)
	{
		*items = value->u.items;
		*count = value->length;
		return true;
	}
	/* checked before the memory is asked for */
	if (!lc_liquid_charge(render, wanted > PG_INT32_MAX ? PG_INT64_MAX / 2 : wanted * 2 * sizeof(LcValue)))
		return false;
	copy = palloc(Max(wanted, 1) * sizeof(LcValue));
	if (value->kind == LC_VALUE_JSONB)
		*count = read_jsonb_items(value->u.jsonb, copy);
	else
	{
		for (int64 i = 0; i < wanted; i++)
			lc_liquid_get_item(value, i, &copy[i]);
		*count = wanted;
	}
	*items = copy;
	return true;
}

/* ---- properties ---- */

/* What a value is called in a message. */
const char *
lc_liquid_kind_name(const LcValue *value)
{
	switch (value->kind)
	{
		case LC_VALUE_NIL:
			return "nothing";
		case LC_VALUE_BOOL:
			return value->u.boolean ? "true" : "false";
		case LC_VALUE_INTEGER:
		case LC_VALUE_NUMERIC:
			return "a number";
		case LC_VALUE_STRING:
			return "a string";
		case LC_VALUE_TIMESTAMPTZ:
		case LC_VALUE_TIMESTAMP:
		case LC_VALUE_DATE:
			return "a time";
		case LC_VALUE_JSONB:
			return JsonContainerIsObject(value->u.jsonb) ? "an object" : "a list";
		case LC_VALUE_LIST:
			return "a list";
		case LC_VALUE_RANGE:
			return "a range";
		case LC_VALUE_LOOP:
			return "\"forloop\"";
		default:
			return "\"empty\"";
	}
}

/* All but nil and false is true. */
bool
lc_liquid_is_true(const LcValue *value)
{
	return value->kind != LC_VALUE_NIL && !(value->kind == LC_VALUE_BOOL && !value->u.boolean);
}

/* A string, list or object without anything in it. */
bool
lc_liquid_is_empty(const LcValue *value)
{
	return value->kind == LC_VALUE_EMPTY || value->kind == LC_VALUE_BLANK ||
		(value->kind != LC_VALUE_NIL && lc_liquid_count_items(value) == 0);
}

/* ---- text ---- */

/* A value as it is printed, not escaped. Lists are their items one after the other. */
bool
lc_liquid_get_text(LcRender *render, const LcValue *value, const char **text, int *length)
{
	char	   *string = NULL;

	switch (value->kind)
	{
		case LC_VALUE_STRING:
			*text = value->u.string;
			*length = value->length;
			return true;
		case LC_VALUE_EMPTY:
		case LC_VALUE_BLANK:
			string = pstrdup("");
			break;
		case LC_VALUE_BOOL:
			string = pstrdup(value->u.boolean ? "true" : "false");
			break;
		case LC_VALUE_INTEGER:
			string = palloc(24);
			pg_lltoa(value->u.integer, string);
			break;
		case LC_VALUE_NUMERIC:
			string = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->u.numeric)));
			break;
		case LC_VALUE_TIMESTAMPTZ:
		case LC_VALUE_TIMESTAMP:
		case LC_VALUE_DATE:
			string = lc_liquid_print_time(render, value);
			if (string == NULL)
				return false;
			break;
		case LC_VALUE_RANGE:
			string = psprintf(INT64_FORMAT ".." INT64_FORMAT, value->u.range->low, value->u.range->high);
			break;
		case LC_VALUE_JSONB:
			if (JsonContainerIsObject(value->u.jsonb))
			{
				string = JsonbToCString(NULL, value->u.jsonb, -1);
				break;
			}
			/* FALLTHROUGH */
		case LC_VALUE_LIST:
			return lc_liquid_join(render, value, "", 0, text, length);
		default:
			return lc_liquid_fail_kind(render, "a value is needed", value);
	}
	*text = string;
	*length = strlen(string);
	return lc_liquid_charge(render, *length);
}

/* Joins the texts of the items of a list; lists in lists are printed as json. */
bool
lc_liquid_join(LcRender *render, const LcValue *list, const char *separator, int separator_length,
			   const char **text, int *length)
{
	StringInfoData joined;
	const LcValue *items;
	int			count;

	if (!lc_liquid_get_list(render, list, &items, &count))
		return false;
	initStringInfo(&joined);
	for (int i = 0; i < count; i++)
	{
		const LcValue *item = &items[i];
		const char *part;
		int			part_length;

		if (item->kind == LC_VALUE_JSONB)
		{
			part = JsonbToCString(NULL, item->u.jsonb, -1);
			part_length = strlen(part);
		}
		else if (item->kind == LC_VALUE_LIST)
			return lc_liquid_fail(render, "a list of lists cannot be printed");
		else if (!lc_liquid_get_text(render, item, &part, &part_length))
			return false;
		if (!lc_liquid_charge(render, part_length + separator_length))
			return false;
		if (i > 0)
			appendBinaryStringInfo(&joined, separator, separator_length);
		appendBinaryStringInfo(&joined, part, part_length);
		if (joined.len > render->max_output)
			return lc_liquid_fail(render, "a string is longer than %d bytes", render->max_output);
	}
	*text = joined.data;
	*length = joined.len;
	return lc_liquid_charge(render, joined.maxlen - joined.len);
}

/* ---- numbers ---- */

/* Makes a numeric that is a whole number an integer, when it fits. */
void
lc_liquid_normalize_number(LcValue *value)
{
	char	   *digits;
	char	   *end;
	long long	integer;

	if (value->kind != LC_VALUE_NUMERIC || VARSIZE(value->u.numeric) > 32)
		return;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->u.numeric)));
	errno = 0;
	integer = strtoll(digits, &end, 10);
	if (errno == 0 && end != digits && *end == '\0')
		lc_liquid_set_integer(value, integer);
	pfree(digits);
}

/* The whole number that a limit, a range or an argument wants; what names it in the reason. */
bool
lc_liquid_get_integer(LcRender *render, const LcValue *value, const char *what, int64 *result)
{
	LcValue		number;

	if (value->kind != LC_VALUE_NIL && !lc_liquid_get_number(render, what, value, &number))
		return false;
	if (value->kind == LC_VALUE_NIL || number.kind != LC_VALUE_INTEGER)
		return lc_liquid_fail_kind(render, psprintf("%s needs a whole number", what), value);
	*result = number.u.integer;
	return true;
}

/* A number of a number or of a string that is one. */
bool
lc_liquid_get_number(LcRender *render, const char *what, const LcValue *value, LcValue *number)
{
	*number = *value;
	/* what is calculated with long numbers takes the square of their length */
	if (!lc_liquid_charge(render, value->kind == LC_VALUE_NUMERIC ? 100 + VARSIZE(value->u.numeric) * INT64CONST(8) : 100))
		return false;
	if (value->kind == LC_VALUE_STRING)
	{
		char		text[100];
		int			length = Min(value->length, (int) sizeof(text) - 1);
		size_t		digits;
		char	   *start = text;
		char	   *end;

		memcpy(text, value->u.string, length);
		text[length] = '\0';
		start += strspn(start, " \t\r\n");
		end = start + (*start == '-' || *start == '+');
		digits = strspn(end, "0123456789");
		end += digits;
		if (digits > 0 && *end == '.' && strspn(end + 1, "0123456789") > 0)
			end += 1 + strspn(end + 1, "0123456789");
		if (digits == 0 || end + strspn(end, " \t\r\n") != text + value->length)
			return lc_liquid_fail_kind(render, psprintf("%s needs a number", what), value);
		*end = '\0';
		set_numeric(number, DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(start),
																ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
	}
	else if (value->kind != LC_VALUE_INTEGER && value->kind != LC_VALUE_NUMERIC)
		return lc_liquid_fail_kind(render, psprintf("%s needs a number", what), value);
	else if (value->kind == LC_VALUE_NUMERIC &&
			 (numeric_is_nan(value->u.numeric) || numeric_is_inf(value->u.numeric)))
		return lc_liquid_fail(render, "%s needs a finite number", what);
	else if (value->kind == LC_VALUE_NUMERIC && VARSIZE(value->u.numeric) > 512)
		return lc_liquid_fail(render, "%s needs a number of less than a thousand digits", what);
	lc_liquid_normalize_number(number);
	return true;
}
