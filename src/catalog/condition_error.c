/*
 * condition_error.c: errors of PostgreSQL's parser about the text of a condition, as its author wants them: with the position in his own text, and
 * with what to type where the parser's message is about what we have put around it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/checks.h"
#include "catalog/condition_error.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

/* The table whose row an identifier of a condition stands for; InvalidOid: none. */
static Oid
row_table(const LcConditionError *arg, const char *identifier)
{
	Oid			namespace = get_namespace_oid(arg->schema, true);

	if (strcmp(identifier, arg->lifecycle) == 0)
		return arg->on_table;
	if (strcmp(identifier, "subject") == 0)
		return get_relname_relid("subjects", namespace);
	if (strcmp(identifier, "enrollment") == 0)
		return get_relname_relid("enrollments", namespace);
	if (strcmp(identifier, "event") == 0)
		return arg->binding->event_table;
	return InvalidOid;
}

/*
 * A field that a row does not have is to the parser a table that is missing, and its message does not help. Says what the row has.
 */
static void
explain_missing_field(ErrorData *error, const LcConditionError *arg)
{
	char	   *text = pstrdup(arg->binding->source_text);
	const char *at = text;
	char	   *end;
	List	   *names;
	Oid			table;

	if (error->sqlerrcode != ERRCODE_UNDEFINED_TABLE || error->internalpos <= 0 || arg->lifecycle == NULL)
		return;
	for (int i = 1; i < error->internalpos && *at; i++)
		at += pg_mblen(at);
	end = (char *) at;
	if (*end == '"')
		for (end++; *end && *end != '"'; end++);
	while (*end && strchr(" \t\n.()=<>+-*/,:;", *end) == NULL)
		end++;
	if (*end != '.')
		return;
	for (end++; *end && strchr(" \t\n.()=<>+-*/,:;", *end) == NULL; end++);
	*end = '\0';
	if (!SplitIdentifierString(pstrdup(at), '.', &names) || list_length(names) != 2)
		return;
	table = row_table(arg, linitial(names));
	if (OidIsValid(table) && get_attnum(table, lsecond(names)) != InvalidAttrNumber)
	{
		error->message = psprintf("column \"%s\" of row %s is no row itself", (char *) lsecond(names), (char *) linitial(names));
		error->hint = psprintf("An element of jsonb is written %s.%s->>'…'.", (char *) linitial(names), (char *) lsecond(names));
		error->sqlerrcode = ERRCODE_UNDEFINED_COLUMN;
	}
	else if (OidIsValid(table))
	{
		error->message = psprintf("row %s has no column \"%s\"", (char *) linitial(names), (char *) lsecond(names));
		error->hint = psprintf("Its columns are %s.", lc_column_list(table));
		error->sqlerrcode = ERRCODE_UNDEFINED_COLUMN;
	}
	else if (strcmp(linitial(names), "event") == 0)
		error->hint = pstrdup("There is a row event only where an event is what happens: with on_event.");
	else
		error->hint = psprintf("Rows are called %s, subject, event and enrollment.", quote_identifier(arg->lifecycle));
}

/* A column without the name of its row: says which rows have it. */
static void
explain_bare_column(ErrorData *error, const LcConditionError *arg)
{
	const char *const rows[] = {arg->lifecycle, "subject", "event", "enrollment"};
	StringInfoData hint;
	char	   *end;
	List	   *names;
	const char *at = arg->binding->source_text;

	if (error->sqlerrcode != ERRCODE_UNDEFINED_COLUMN || error->hint != NULL || error->internalpos <= 0 || arg->lifecycle == NULL)
		return;
	for (int i = 1; i < error->internalpos && *at; i++)
		at += pg_mblen(at);
	end = pstrdup(at);
	at = end;
	if (*end == '"')
		for (end++; *end && *end != '"'; end++);
	while (*end && strchr(" \t\n.()=<>+-*/,:;!~|[]", *end) == NULL)
		end++;
	*end = '\0';
	if (!SplitIdentifierString(pstrdup(at), '.', &names) || list_length(names) != 1)
		return;
	initStringInfo(&hint);
	for (int i = 0; i < lengthof(rows); i++)
	{
		Oid			table = row_table(arg, rows[i]);

		if (arg->binding->rows == LC_ROWS_EVENT ? strcmp(rows[i], "event") != 0 : arg->binding->rows == LC_ROWS_NO_RUN && strcmp(rows[i], "enrollment") == 0)
			continue;
		if (OidIsValid(table) && get_attnum(table, linitial(names)) > 0)
			appendStringInfo(&hint, "%s%s.%s", hint.len > 0 ? " or " : "", quote_identifier(rows[i]), quote_identifier(linitial(names)));
	}
	if (hint.len > 0)
		error->hint = psprintf("Columns are written with their row: %s.", hint.data);
}

/* Passes an error of the parser on, with a position that is one in the user's own text. */
void
lc_condition_rethrow(MemoryContext context, const LcConditionError *arg)
{
	ErrorData  *error;
	int			position;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	position = error->internalpos > 0 ? error->internalpos : error->cursorpos;
	if (arg->prefix > 0 && position > 0)
		position -= arg->prefix;
	error->cursorpos = 0;
	error->internalpos = Max(position, 0);
	error->internalquery = pstrdup(arg->binding->source_text);
	explain_missing_field(error, arg);
	explain_bare_column(error, arg);
	/* behind the user's text is only our own use of the column address */
	if (strncmp(arg->binding->result, "SETOF", 5) == 0 && position > pg_mbstrlen(arg->binding->source_text))
	{
		error->message = psprintf("%s must give a column \"address\"", arg->binding->what);
		error->hint = pstrdup("Name it so: SELECT … AS address FROM ….");
		error->internalpos = 0;
		error->internalquery = NULL;
	}
	if (error->sqlerrcode == ERRCODE_INVALID_FUNCTION_DEFINITION)
	{
		error->message = psprintf("%s must be of type %s", arg->binding->what, arg->binding->result);
		error->sqlerrcode = ERRCODE_DATATYPE_MISMATCH;
		error->internalpos = 0;
		error->internalquery = NULL;
	}
	error->context = psprintf("%s", arg->binding->what);
	ReThrowError(error);
}
