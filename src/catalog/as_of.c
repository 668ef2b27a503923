/*
 * as_of.c: conditions that see event sources as of a time, for replaying history.
 *
 * The text of a bound condition, as PostgreSQL prints it, names every table with its schema. It is parsed again, by the grammar alone, which says where in
 * it tables stand: `schema.events e` becomes `(schema.events e JOIN (SELECT) x ON e.occurred_at <= …)`. A join without an alias leaves all that can be
 * said about `e` as it was: its columns and their aliases, its row and the type of that, system columns, USING and samples. It is joined before
 * anything outside is, so that an outer join sees a table that ends earlier. The planner removes it and keeps a condition that an index can serve.
 *
 * A partition of an event source is seen in the same way. What a view or a function reads is not: it is not in the text.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/as_of.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "common/keywords.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* A table in the text. */
typedef struct Reference
{
	RangeVar   *table;
	RangeTableSample *sample;	/* NULL: all of it */
} Reference;

static bool
find_references(Node *node, void *context)
{
	List	  **references = context;
	Reference  *reference;

	if (node == NULL)
		return false;
	if (!IsA(node, RangeVar) && !(IsA(node, RangeTableSample) && IsA(((RangeTableSample *) node)->relation, RangeVar)))
		return raw_expression_tree_walker(node, find_references, context);
	reference = palloc0(sizeof(Reference));
	if (IsA(node, RangeTableSample))
		reference->sample = (RangeTableSample *) node;
	reference->table = (RangeVar *) (reference->sample ? reference->sample->relation : node);
	*references = lappend(*references, reference);
	return false;
}

static int
compare_references(const ListCell *a, const ListCell *b)
{
	return ((Reference *) lfirst(a))->table->location - ((Reference *) lfirst(b))->table->location;
}

/* The length of a reference, from the name of its table on, with its alias, their columns and the sample. */
static int
reference_length(const char *text, const Reference *reference)
{
	Alias	   *alias = reference->table->alias;
	int			names = 3 + (alias != NULL);	/* schema . table alias */
	int			groups = (alias && alias->colnames != NIL) +
		(reference->sample ? 1 + (reference->sample->repeatable != NULL) : 0);
	core_yy_extra_type extra;
	core_YYSTYPE value;
	YYLTYPE		location = 0;
	core_yyscan_t scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	int			depth = 0;

	for (;;)
	{
		int			token = core_yylex(&value, &location, scanner);

		if (token == 0 || (names == 0 && groups == 0))
			break;
		if (names > 0)
			names--;
		else if (token == '(')
			depth++;
		else if (token == ')' && --depth == 0)
			groups--;
	}
	if (names > 0 || groups > 0)
		elog(ERROR, "unexpected text of a condition: %s", text);
	scanner_finish(scanner);
	return location;
}

/* Is the table that source, or a partition of it? */
static bool
belongs_to(Oid table, List *ancestors, const LcSource *source)
{
	return !source->broken && (source->table == table || list_member_oid(ancestors, source->table));
}

/* What a column of the table is called behind its alias, which may rename the first ones. NULL: there is no such column. */
static const char *
column_in(Oid table, const char *column, const Alias *alias, bool *nullable)
{
	Relation	rel = relation_open(table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	const char *name = NULL;
	int			position = 0;

	for (int i = 0; i < desc->natts && name == NULL; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped)
			continue;
		if (strcmp(NameStr(attribute->attname), column) == 0)
		{
			name = alias && position < list_length(alias->colnames) ? strVal(list_nth(alias->colnames, position)) : column;
			*nullable = !attribute->attnotnull;
		}
		position++;
	}
	relation_close(rel, AccessShareLock);
	return name;
}

/*
 * The rows of a table that there were at the time: NULL when it is no event source. An event without a time happens now. Of a table that is more than one
 * source, with different times, a row is there from the first of them on.
 */
static char *
row_was_there(LcLifecycle *lc, const RangeVar *table, Oid relation, const char *row)
{
	List	   *ancestors = get_rel_relispartition(relation) ? get_partition_ancestors(relation) : NIL;
	const char *name = quote_identifier(table->alias ? table->alias->aliasname : table->relname);
	List	   *columns = NIL;
	ListCell   *cell;
	StringInfoData sql;

	for (int i = 0; i < lc->nsources; i++)
		if (belongs_to(relation, ancestors, &lc->sources[i]))
			columns = list_append_unique(columns, makeString(lc->sources[i].time_column));
	if (columns == NIL)
		return NULL;
	initStringInfo(&sql);
	foreach(cell, columns)
	{
		bool		nullable = true;
		const char *column = column_in(relation, strVal(lfirst(cell)), table->alias, &nullable);

		if (column == NULL)
			elog(ERROR, "table \"%s\" has no column \"%s\"", table->relname, strVal(lfirst(cell)));
		column = quote_identifier(column);
		appendStringInfo(&sql, "%s%s.%s <= %s." LC_AS_OF, sql.len > 0 ? " OR " : "", name, column, row);
		if (nullable)
			appendStringInfo(&sql, " OR %s.%s IS NULL AND %s." LC_AS_OF " >= %s." LC_AS_OF_NOW, name, column, row, row);
	}
	return sql.data;
}

/* Ends every event source in the text at the time. NULL: there is none. */
static char *
end_sources(LcLifecycle *lc, const char *text, const char *row)
{
	List	   *references = NIL;
	ListCell   *cell;
	StringInfoData sql;
	char	   *alias = "as of";
	int			at = 0;
	int			n = 0;

	while (strstr(text, alias))
		alias = psprintf("%s_", alias);
	(void) find_references(linitial_node(RawStmt, raw_parser(text, RAW_PARSE_PLPGSQL_EXPR))->stmt, &references);
	list_sort(references, compare_references);
	initStringInfo(&sql);
	foreach(cell, references)
	{
		Reference  *reference = lfirst(cell);
		RangeVar   *table = reference->table;
		Oid			relation;
		char	   *condition;
		int			begin = table->location;
		int			end;

		/* a name without a schema is one of a WITH, or of PostgreSQL's own */
		if (table->schemaname == NULL)
			continue;
		relation = RangeVarGetRelid(table, NoLock, true);
		condition = OidIsValid(relation) ? row_was_there(lc, table, relation, row) : NULL;
		if (condition == NULL)
			continue;
		end = begin + reference_length(text + begin, reference);
		if (!table->inh)
			begin -= strlen("ONLY ");
		if (begin < at || (!table->inh && strncmp(text + begin, "ONLY ", 5) != 0))
			elog(ERROR, "unexpected text of a condition: %s", text);
		appendBinaryStringInfo(&sql, text + at, begin - at);
		appendStringInfoChar(&sql, '(');
		appendBinaryStringInfo(&sql, text + begin, end - begin);
		appendStringInfo(&sql, " JOIN (SELECT) \"%s %d\" ON %s) ", alias, ++n, condition);
		at = end;
	}
	if (n == 0)
		return NULL;
	appendStringInfoString(&sql, text + at);
	return sql.data;
}

const char *
lc_condition_as_of(LcLifecycle *lc, LcCondition *condition)
{
	MemoryContext old;
	MemoryContext scratch;
	char	   *sql;

	if (condition->as_of_known)
		return condition->as_of_sql;
	if (condition->has_subquery && condition->relations != NIL)
	{
		scratch = AllocSetContextCreate(CurrentMemoryContext, "lifecycle condition", ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(scratch);
		sql = end_sources(lc, condition->sql, condition->alias);
		if (sql)
			condition->as_of_sql = MemoryContextStrdup(lc->context, sql);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(scratch);
	}
	condition->as_of_known = true;
	return condition->as_of_sql;
}
