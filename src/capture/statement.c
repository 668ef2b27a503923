/*
 * statement.c: the statements that ask conditions: their text, and the values of their arguments.
 *
 * A statement gets the rows that it is asked about as arrays, one for each column that a condition reads, and rebuilds rows from them. Each table is
 * filtered by `key = ANY ($1)`; no transition table is mentioned. A column whose type has no array of its own (an array) goes by its text, and so does
 * one of a composite type, of whose array unnest would make a column for each attribute.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/load.h"
#include "batch.h"
#include "catalog/as_of.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "lib/stringinfo.h"
#include "rewrite/rewriteHandler.h"
#include "statement.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/timestamp.h"

static void
add_field(LcMatch *match, LcFieldKind kind, int index, bool old, Oid type)
{
	LcField    *field = &match->fields[match->nfields++];

	field->kind = kind;
	field->index = index;
	field->old = old;
	field->as_text = !OidIsValid(get_array_type(type)) || get_element_type(getBaseType(type)) != InvalidOid ||
		get_typtype(getBaseType(type)) == TYPTYPE_COMPOSITE || get_typtype(type) == TYPTYPE_PSEUDO;
	field->type = field->as_text ? TEXTOID : type;
}

/* A row of a table from fields, NULL for its other columns: ROW(…)::schema.table. */
static void
append_row(StringInfo sql, Oid table, char **expressions)
{
	Relation	rel = relation_open(table, AccessShareLock);
	const char *separator = "";

	appendStringInfoString(sql, "ROW(");
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		if (TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			continue;
		appendStringInfo(sql, "%s%s", separator, expressions[i] ? expressions[i] : "NULL");
		separator = ", ";
	}
	appendStringInfo(sql, ")::%s", quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel)));
	relation_close(rel, AccessShareLock);
}

/* A type for a cast of a whole value; "character" and "bit" alone would be types of one character or bit. */
static char *
cast_type(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/* Virtual columns that are kept are NULL in a row: they are computed from its other columns, as a SELECT from the table would. */
static void
compute_virtual(LcColumns *columns, char **expressions)
{
	Relation	rel = relation_open(columns->table, AccessShareLock);
	List	   *context = deparse_context_for(RelationGetRelationName(rel), columns->table);
	StringInfoData row;

	initStringInfo(&row);
	append_row(&row, columns->table, expressions);
	for (int i = 0; i < columns->n; i++)
	{
		AttrNumber	column = columns->attnums[i];

		if (lc_is_virtual(columns->table, column))
			expressions[column - 1] = psprintf("(SELECT %s FROM (SELECT (%s).*, %u::oid AS tableoid) AS _)",
											   deparse_expression(build_column_default(rel, column), context, false, false),
											   row.data, columns->table);
	}
	relation_close(rel, AccessShareLock);
}

/* The kept columns of a table as fields, and the row that they make. */
static void
append_kept_row(LcMatch *match, StringInfo sql, LcColumns *columns, bool old)
{
	char	  **expressions = palloc0(Max(columns->natts, 1) * sizeof(char *));

	for (int i = 0; i < columns->n; i++)
	{
		LcField    *field;

		add_field(match, LC_FIELD_ROW, i, old, columns->types[i]);
		field = &match->fields[match->nfields - 1];
		expressions[columns->attnums[i] - 1] = field->as_text ?
			psprintf("q.f%d::%s", match->nfields, cast_type(columns->types[i])) : psprintf("q.f%d", match->nfields);
	}
	if (old)
		compute_virtual(columns, expressions);
	append_row(sql, columns->table, expressions);
}

/* A state table's row: fields by the names of its columns. */
static void
append_state_row(LcMatch *match, StringInfo sql, Oid table, const char *const *names, const LcFieldKind *kinds, const Oid *types, int n)
{
	char	  **expressions = palloc0(MaxHeapAttributeNumber * sizeof(char *));

	for (int i = 0; i < n; i++)
	{
		AttrNumber	attnum = get_attnum(table, names[i]);

		if (attnum == InvalidAttrNumber)
			continue;
		add_field(match, kinds[i], 0, false, types[i]);
		expressions[attnum - 1] = psprintf("q.f%d", match->nfields);
	}
	append_row(sql, table, expressions);
}

static char *
subject_row(LcLifecycle *lc, LcMatch *match)
{
	static const char *const names[] = {"subject_id", "stage", "seq", "since"};
	static const LcFieldKind kinds[] = {LC_FIELD_KEY, LC_FIELD_STAGE, LC_FIELD_SEQ, LC_FIELD_SINCE};
	Oid			types[] = {lc->key_type, lc->stage_type, INT4OID, TIMESTAMPTZOID};
	StringInfoData sql;

	initStringInfo(&sql);
	append_state_row(match, &sql, lc->tables[LC_SUBJECTS], names, kinds, types, 4);
	return sql.data;
}

static char *
run_row(LcLifecycle *lc, LcMatch *match)
{
	static const char *const names[] = {"id", "subject_id", "version", "version_id", "shadow", "workflow", "key", "entered_at", "ended_at",
	"converted_at", "exit_reason", "context"};
	static const LcFieldKind kinds[] = {LC_FIELD_RUN_ID, LC_FIELD_KEY, LC_FIELD_RUN_VERSION, LC_FIELD_RUN_VERSION_ID, LC_FIELD_RUN_SHADOW, LC_FIELD_RUN_WORKFLOW,
	LC_FIELD_RUN_KEY, LC_FIELD_RUN_ENTERED, LC_FIELD_RUN_ENDED, LC_FIELD_RUN_CONVERTED, LC_FIELD_RUN_REASON, LC_FIELD_RUN_CONTEXT};
	Oid			types[] = {INT8OID, lc->key_type, INT4OID, INT4OID, BOOLOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TEXTOID, JSONBOID};
	StringInfoData sql;

	initStringInfo(&sql);
	append_state_row(match, &sql, lc->tables[LC_ENROLLMENTS], names, kinds, types, lengthof(names));
	return sql.data;
}

static char *
null_row(Oid table)
{
	return psprintf("NULL::%s", lc_qualified_name(table));
}

/* The expression of a condition in the statement. */
static const char *
condition_sql(LcLifecycle *lc, const LcMatch *match, LcCondition *condition)
{
	const char *as_of = match->as_of ? lc_condition_as_of(lc, condition) : NULL;

	return as_of ? as_of : condition->sql;
}

/* The times of a statement over the past, as columns beside the rows. */
static char *
as_of_columns(LcMatch *match)
{
	int			first = match->nfields + 1;

	if (!match->as_of)
		return "";
	add_field(match, LC_FIELD_AS_OF, 0, false, TIMESTAMPTZOID);
	add_field(match, LC_FIELD_NOW, 0, false, TIMESTAMPTZOID);
	return psprintf(", q.f%d AS " LC_AS_OF ", q.f%d AS " LC_AS_OF_NOW, first, first + 1);
}

/*
 * Builds the statement. The rows that no condition of the set reads are NULL, and a table that none needs is not joined.
 */
void
lc_statement_build(LcBatch *batch, LcMatch *match)
{
	LcLifecycle *lc = batch->lc;
	bool		reads_row = false;
	bool		reads_subject = false;
	bool		reads_event = false;
	bool		reads_run = false;
	char	   *row;
	char	   *subject;
	char	   *event = NULL;
	char	   *run;
	char	   *times;
	StringInfoData sql;
	StringInfoData part;
	Oid		   *types;

	for (int i = 0; i < match->n; i++)
	{
		reads_row |= match->conditions[i]->reads_row;
		reads_subject |= match->conditions[i]->reads_subject;
		reads_event |= match->conditions[i]->reads_event;
		reads_run |= match->conditions[i]->reads_enrollment;
	}
	match->fields = palloc0((32 + (match->source ? lc_source_columns(lc, match->source)->n : 0) + batch->capture->row_columns->n) *
							sizeof(LcField));
	add_field(match, LC_FIELD_NUMBER, 0, false, INT4OID);
	add_field(match, LC_FIELD_KEY, 0, false, lc->key_type);
	row = null_row(lc->on_table);
	if (reads_row && match->old)
	{
		initStringInfo(&part);
		append_kept_row(match, &part, batch->capture->row_columns, true);
		row = part.data;
	}
	else if (reads_row)
		row = psprintf("r.*::%s", lc->on_table_sql);
	subject = reads_subject ? subject_row(lc, match) : null_row(lc->tables[LC_SUBJECTS]);
	if (match->source && reads_event)
	{
		initStringInfo(&part);
		append_kept_row(match, &part, lc_source_columns(lc, match->source), false);
		event = part.data;
	}
	else if (match->source)
		event = null_row(match->source->table);
	run = reads_run && match->run ? run_row(lc, match) : null_row(lc->tables[LC_ENROLLMENTS]);
	times = as_of_columns(match);

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT q.f1");
	for (int i = 0; i < match->n; i++)
		appendStringInfo(&sql, ", (%s)", condition_sql(lc, match, match->conditions[i]));
	appendStringInfoString(&sql, " FROM unnest(");
	for (int i = 0; i < match->nfields; i++)
		appendStringInfo(&sql, "%s$%d", i ? ", " : "", i + 2);
	appendStringInfoString(&sql, ") AS q(");
	for (int i = 0; i < match->nfields; i++)
		appendStringInfo(&sql, "%sf%d", i ? ", " : "", i + 1);
	appendStringInfoChar(&sql, ')');
	if (reads_row && !match->old)
		appendStringInfo(&sql, " JOIN %s AS r ON r.%s = q.f2 AND r.%s = ANY ($1)", lc->on_table_sql, quote_identifier(lc->key_column),
						 quote_identifier(lc->key_column));
	for (int i = 0; i < match->n; i++)
	{
		LcCondition *condition = match->conditions[i];

		appendStringInfo(&sql, " CROSS JOIN LATERAL (SELECT %s AS %s, %s AS subject", row, lc->quoted_name, subject);
		if (OidIsValid(condition->event_table))
			appendStringInfo(&sql, ", %s AS event", event);
		appendStringInfo(&sql, ", %s AS enrollment%s) AS %s", run, times, condition->alias);
	}
	types = palloc((match->nfields + 1) * sizeof(Oid));
	types[0] = lc->key_array_type;
	for (int i = 0; i < match->nfields; i++)
		types[i + 1] = get_array_type(match->fields[i].type);
	match->statement = lc_statement(sql.data, match->nfields + 1, types);
}

static Datum
text_or_null(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

static Datum
time_or_null(TimestampTz at, bool *isnull)
{
	*isnull = at == DT_NOEND;
	return TimestampTzGetDatum(at);
}

static Datum
run_field(LcRun *run, LcFieldKind kind, bool *isnull)
{
	switch (kind)
	{
		case LC_FIELD_RUN_ID:
			*isnull = run->id == 0;
			return Int64GetDatum(run->id);
		case LC_FIELD_RUN_VERSION:
			return Int32GetDatum(run->version ? run->version->number : 0);
		case LC_FIELD_RUN_VERSION_ID:
			return Int32GetDatum(run->version_id);
		case LC_FIELD_RUN_SHADOW:
			return BoolGetDatum(run->shadow);
		case LC_FIELD_RUN_WORKFLOW:
			return CStringGetTextDatum(run->workflow);
		case LC_FIELD_RUN_KEY:
			return CStringGetTextDatum("");
		case LC_FIELD_RUN_ENTERED:
			return TimestampTzGetDatum(run->entered_at);
		case LC_FIELD_RUN_ENDED:
			return time_or_null(run->ended_at, isnull);
		case LC_FIELD_RUN_CONVERTED:
			return time_or_null(run->converted_at, isnull);
		case LC_FIELD_RUN_REASON:
			return text_or_null(run->exit_reason, isnull);
		default:
			*isnull = !run->has_context;
			return run->context;
	}
}

/* The value of a field for one question. */
Datum
lc_statement_field(LcBatch *batch, LcMatch *match, LcField *field, LcAsk *ask, int number, bool *isnull)
{
	LcSubject  *subject = ask->subject;

	*isnull = false;
	switch (field->kind)
	{
		case LC_FIELD_NUMBER:
			return Int32GetDatum(number);
		case LC_FIELD_KEY:
			return subject->key;
		case LC_FIELD_AS_OF:
			return TimestampTzGetDatum(ask->as_of);
		case LC_FIELD_NOW:
			return TimestampTzGetDatum(batch->now);
		case LC_FIELD_STAGE:
			return lc_stage_datum(batch->lc, subject->stage);
		case LC_FIELD_SEQ:
			return Int32GetDatum(subject->seq);
		case LC_FIELD_SINCE:
			return TimestampTzGetDatum(subject->since);
		case LC_FIELD_ROW:
			{
				LcRow	   *row = field->old ? subject->old_row : ask->event->row;
				LcColumns  *columns = field->old ? batch->capture->row_columns : lc_source_columns(batch->lc, match->source);
				Oid			output;
				bool		varlena;

				if (row == NULL || row->nulls[field->index])
				{
					*isnull = true;
					return (Datum) 0;
				}
				if (!field->as_text)
					return row->values[field->index];
				getTypeOutputInfo(columns->types[field->index], &output, &varlena);
				return CStringGetTextDatum(OidOutputFunctionCall(output, row->values[field->index]));
			}
		default:
			return run_field(ask->run, field->kind, isnull);
	}
}
