/*
 * vocabulary.c: the functions that write a workflow down: steps, send, delay, on_event and so on.
 *
 * Each gives the JSON form of what it names: an object whose "kind" is the name of the SQL function and whose other keys are its arguments that are
 * not NULL. A new word is one CREATE FUNCTION in src/sql/20_vocabulary.sql and one entry in a table of compile.c, where everything is checked. Only
 * the depth is checked here as well, since a tree that is built in a loop is copied once for each level.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "engine/compile.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* The arguments of one word, kept for the calls of one statement. */
typedef struct Word
{
	char	   *kind;
	int			nargs;
	Oid		   *types;
	char	  **names;
} Word;

PG_FUNCTION_INFO_V1(lifecycle_vocabulary);
PG_FUNCTION_INFO_V1(lifecycle_vocabulary_list);

static Word *
word_of_function(FmgrInfo *flinfo)
{
	MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));
	Word	   *word = palloc0(sizeof(Word));
	char	   *modes;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
	word->kind = pstrdup(NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname));
	word->nargs = get_func_arg_info(tuple, &word->types, &word->names, &modes);
	ReleaseSysCache(tuple);
	MemoryContextSwitchTo(old);
	flinfo->fn_extra = word;
	return word;
}

/* Puts a whole JSON document where a value is expected; refuses what no workflow may be. */
static void
push_document(JsonbParseState **state, JsonbIteratorToken where, Jsonb *document)
{
	JsonbIterator *it = JsonbIteratorInit(&document->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			depth = 0;

	if (JB_ROOT_IS_SCALAR(document))
	{
		if (!JsonbExtractScalar(&document->root, &value))
			elog(ERROR, "scalar document without a value");
		pushJsonbValue(state, where, &value);
		return;
	}
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
			depth++;
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			depth--;
		/* a level of steps is at most an object and an array */
		if (depth > 2 * LC_MAX_STEP_DEPTH + 2)
			ereport(ERROR,
					errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("steps are nested more than %d deep", LC_MAX_STEP_DEPTH),
					errhint("Let steps follow one another, or divide the workflow into several."));
		pushJsonbValue(state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken where, char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = text;
	value.val.string.len = strlen(text);
	pushJsonbValue(state, where, &value);
}

/* An argument as a JSON value: text, name, interval, boolean, text[] or jsonb. */
static void
push_argument(JsonbParseState **state, Datum datum, Oid type)
{
	JsonbValue	value;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	switch (type)
	{
		case JSONBOID:
			push_document(state, WJB_VALUE, DatumGetJsonbP(datum));
			break;
		case BOOLOID:
			value.type = jbvBool;
			value.val.boolean = DatumGetBool(datum);
			pushJsonbValue(state, WJB_VALUE, &value);
			break;
		case INTERVALOID:
			push_text(state, WJB_VALUE, lc_interval_text(DatumGetIntervalP(datum)));
			break;
		case TEXTOID:
			push_text(state, WJB_VALUE, TextDatumGetCString(datum));
			break;
		case TEXTARRAYOID:
			deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
			pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			for (int i = 0; i < n; i++)
			{
				if (!nulls[i])
					push_text(state, WJB_ELEM, TextDatumGetCString(elements[i]));
			}
			pushJsonbValue(state, WJB_END_ARRAY, NULL);
			break;
		default:
			elog(ERROR, "unexpected type %u of an argument", type);
	}
}

/* A step, a trigger or a goal. */
Datum
lifecycle_vocabulary(PG_FUNCTION_ARGS)
{
	Word	   *word = fcinfo->flinfo->fn_extra;
	JsonbParseState *state = NULL;

	if (word == NULL)
		word = word_of_function(fcinfo->flinfo);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, WJB_KEY, "kind");
	push_text(&state, WJB_VALUE, word->kind);
	for (int i = 0; i < word->nargs; i++)
	{
		if (PG_ARGISNULL(i))
			continue;
		push_text(&state, WJB_KEY, word->names[i]);
		push_argument(&state, PG_GETARG_DATUM(i), word->types[i]);
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* Several steps or triggers one after the other; a list in the list is spliced in, NULL is left out. */
Datum
lifecycle_vocabulary_list(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	Datum	   *elements = NULL;
	bool	   *nulls = NULL;
	int			n = 0;

	if (!PG_ARGISNULL(0))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), JSONBOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *element;
		JsonbIterator *it;
		JsonbIteratorToken token;
		JsonbValue	value;

		if (nulls[i])
			continue;
		element = DatumGetJsonbP(elements[i]);
		if (!JB_ROOT_IS_ARRAY(element) || JB_ROOT_IS_SCALAR(element))
		{
			push_document(&state, WJB_ELEM, element);
			continue;
		}
		it = JsonbIteratorInit(&element->root);
		while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			if (value.type == jbvBinary)
				push_document(&state, WJB_ELEM, JsonbValueToJsonb(&value));
			else
				pushJsonbValue(&state, WJB_ELEM, &value);
		}
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}
