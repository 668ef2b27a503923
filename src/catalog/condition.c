/*
 * condition.c: conditions and expressions of definitions, bound as SQL functions with a BEGIN ATOMIC body when they are defined.
 *
 * Bound so, names resolve once, under the search_path of the author; renames are followed; dropping a column that a condition uses is refused and
 * names the function, which is named after its rule; pg_dump knows the function; and nobody else's search_path runs code as the owner.
 *
 * An expression without subqueries is used as a call of its function, which the planner inlines. A call is not inlined where there is a
 * subquery, and would start an executor for every row; there the text of the function is used. pg_get_function_sqlbody prints a parameter as
 * function.parameter where a FROM clause is in scope and bare elsewhere; the trivial FROM below makes that everywhere, so that the text fits
 * into any query that offers the parameters as columns of a row named like the function.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/load.h"
#include "catalog/condition.h"
#include "catalog/condition_error.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_extension.h"
#include "catalog/owner.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "lifecycle.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(lifecycle__missing_function);

typedef enum BodyForm
{
	BODY_EXPRESSION,
	BODY_SUBQUERY,				/* an expression with subqueries */
	BODY_ROWS,					/* SETOF jsonb */
	BODY_STATEMENT,				/* void */
	BODY_REFUSED				/* an expression that only the parser's error is wanted of */
} BodyForm;

static bool
find_sublink(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		return true;
	return raw_expression_tree_walker(node, find_sublink, context);
}

static void
refuse(const LcBinding *binding, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s must be %s", binding->what, expected),
			 errdetail("It is: %s", pnstrdup(binding->source_text, pg_mbcliplen(binding->source_text, strlen(binding->source_text), 200)))));
}

/*
 * A table that a statement changes hides the subject's row when it goes by its name: UPDATE customer SET … WHERE id = customer.id would change every row.
 */
static void
check_target(const LcBinding *binding, const char *lifecycle, Node *statement)
{
	RangeVar   *target = IsA(statement, UpdateStmt) ? ((UpdateStmt *) statement)->relation :
		IsA(statement, DeleteStmt) ? ((DeleteStmt *) statement)->relation :
		IsA(statement, MergeStmt) ? ((MergeStmt *) statement)->relation : NULL;

	if (target != NULL && strcmp(target->alias ? target->alias->aliasname : target->relname, lifecycle) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_ALIAS),
				 errmsg("%s changes a table by the name of the subject's row, \"%s\"", binding->what, lifecycle),
				 errhint("Give the table another name: %s AS t.", quote_identifier(target->relname)),
				 internalerrposition(pg_mbstrlen_with_len(binding->source_text, Max(target->location, 0)) + 1),
				 internalerrquery(binding->source_text)));
}

/* Parses the text alone: nothing in it can close a parenthesis or a statement of ours afterwards. */
static BodyForm
parse_alone(const LcBinding *binding, const char *lifecycle)
{
	bool		rows = strncmp(binding->result, "SETOF", 5) == 0;
	bool		statement = strcmp(binding->result, "void") == 0;
	MemoryContext context = CurrentMemoryContext;
	LcConditionError arg = {binding, -1};
	List	   *parsed = NIL;
	Node	   *node;

	if (strlen(binding->source_text) > LC_MAX_CONDITION)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is longer than %d bytes", binding->what, LC_MAX_CONDITION)));
	PG_TRY();
	{
		parsed = raw_parser(binding->source_text, rows || statement ? RAW_PARSE_DEFAULT : RAW_PARSE_PLPGSQL_EXPR);
	}
	PG_CATCH();
	{
		lc_condition_rethrow(context, &arg);
	}
	PG_END_TRY();

	if (list_length(parsed) != 1)
		refuse(binding, rows || statement ? "one statement" : "one expression");
	node = ((RawStmt *) linitial(parsed))->stmt;
	if (statement)
	{
		if (!IsA(node, SelectStmt) && !IsA(node, InsertStmt) && !IsA(node, UpdateStmt) && !IsA(node, DeleteStmt) &&
			!IsA(node, MergeStmt))
			refuse(binding, "a SELECT, INSERT, UPDATE, DELETE or MERGE");
		check_target(binding, lifecycle, node);
		return BODY_STATEMENT;
	}
	if (!IsA(node, SelectStmt))
		refuse(binding, rows ? "a query" : "one expression");
	if (((SelectStmt *) node)->intoClause)
		refuse(binding, rows ? "a query" : "one expression");
	if (rows)
		return BODY_ROWS;
	else
	{
		SelectStmt *select = (SelectStmt *) node;

		if (list_length(select->targetList) != 1 || select->fromClause || select->whereClause || select->op != SETOP_NONE ||
			select->groupClause || select->sortClause || select->limitCount || select->limitOffset || select->valuesLists ||
			select->distinctClause || select->havingClause || select->windowClause || select->withClause ||
			select->lockingClause || ((ResTarget *) linitial(select->targetList))->name != NULL)
			refuse(binding, "one expression");
		return find_sublink((Node *) linitial(select->targetList), NULL) ? BODY_SUBQUERY : BODY_EXPRESSION;
	}
}

static bool
find_volatile(Oid function, void *context)
{
	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return false;
	*(Oid *) context = function;
	return true;
}

static bool
walk_for_volatile(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, find_volatile, context))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, walk_for_volatile, context, 0);
	return expression_tree_walker(node, walk_for_volatile, context);
}

static bool
walk_for_locks(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return ((Query *) node)->rowMarks != NIL || query_tree_walker((Query *) node, walk_for_locks, context, 0);
	return expression_tree_walker(node, walk_for_locks, context);
}

/* The bound statement of a function, as it was analyzed. */
static Query *
function_query(HeapTuple tuple)
{
	bool		isnull;
	Datum		body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &isnull);
	Node	   *node;

	if (isnull)
		elog(ERROR, "function %u has no bound body", ((Form_pg_proc) GETSTRUCT(tuple))->oid);
	node = stringToNode(TextDatumGetCString(body));
	while (IsA(node, List))
		node = linitial((List *) node);
	return castNode(Query, node);
}

static Query *
query_of(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Query	   *query;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	query = function_query(tuple);
	ReleaseSysCache(tuple);
	return query;
}

static void
check_reads_only(const LcBinding *binding, Oid function)
{
	Oid			culprit = InvalidOid;
	Query	   *query = query_of(function);

	if (walk_for_volatile((Node *) query, &culprit))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s calls the volatile function %s", binding->what, format_procedure(culprit)),
				 errdetail("A condition only reads, and gives the same answer as often as it is asked."),
				 errhint("Mark the function STABLE if that is true of it; use now() instead of clock_timestamp().")));
	if (walk_for_locks((Node *) query, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s locks rows", binding->what),
				 errdetail("A condition only reads, and waits for nobody."),
				 errhint("Leave out FOR UPDATE or FOR SHARE.")));
}

static void
append_parameters(StringInfo sql, const char *lifecycle, const char *schema, Oid on_table, Oid event_table)
{
	appendStringInfo(sql, "%s %s, subject %s.subjects",
					 quote_identifier(lifecycle),
					 lc_qualified_name(on_table),
					 quote_identifier(schema));
	if (OidIsValid(event_table))
		appendStringInfo(sql, ", event %s",
						 lc_qualified_name(event_table));
	appendStringInfo(sql, ", enrollment %s.enrollments", quote_identifier(schema));
}

/* The text before and after the user's own, by form. */
static const char *const body_before[] = {
	[BODY_EXPRESSION] = "RETURN (",
	[BODY_SUBQUERY] = "RETURN (SELECT (",
	[BODY_ROWS] = "BEGIN ATOMIC SELECT pg_catalog.to_jsonb(_row) FROM (",
	[BODY_STATEMENT] = "BEGIN ATOMIC ",
	[BODY_REFUSED] = "RETURN (SELECT NULL FROM (SELECT) _ WHERE (",
};
static const char *const body_after[] = {
	[BODY_EXPRESSION] = "\n)",
	[BODY_SUBQUERY] = "\n) FROM (SELECT) _)",
	[BODY_ROWS] = "\n) _row ORDER BY _row.address; END",
	[BODY_STATEMENT] = "\n; END",
	[BODY_REFUSED] = "\n) IS NULL)",
};

void
lc_condition_belong(Oid function)
{
	ObjectAddress object;
	ObjectAddress extension;

	ObjectAddressSet(object, ProcedureRelationId, function);
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("lifecycle", false));
	recordDependencyOn(&object, &extension, DEPENDENCY_AUTO_EXTENSION);
}

/* The function for events of the binding's table, among those of its name. */
static Oid
function_of(const char *schema, Oid on_table, const LcBinding *binding)
{
	Oid			namespace = get_namespace_oid(schema, false);
	Oid			types[4];
	int			n = 0;

	types[n++] = get_rel_type_id(on_table);
	types[n++] = get_rel_type_id(get_relname_relid("subjects", namespace));
	if (OidIsValid(binding->event_table))
		types[n++] = get_rel_type_id(binding->event_table);
	types[n++] = get_rel_type_id(get_relname_relid("enrollments", namespace));
	return LookupFuncName(list_make2(makeString(pstrdup(schema)), makeString(pstrdup(binding->name))), n, types, false);
}

static Oid
create_function(const char *lifecycle, const char *schema, Oid on_table, const LcBinding *binding, BodyForm form)
{
	MemoryContext context = CurrentMemoryContext;
	LcConditionError arg = {binding, 0, lifecycle, schema, on_table};
	StringInfoData sql;
	LcIdentity	saved;
	Oid			function;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE OR REPLACE FUNCTION %s(", quote_qualified_identifier(schema, binding->name));
	append_parameters(&sql, lifecycle, schema, on_table, binding->event_table);
	appendStringInfo(&sql, ") RETURNS %s LANGUAGE sql %s PARALLEL UNSAFE %s", binding->result,
					 form == BODY_STATEMENT ? "VOLATILE" : "STABLE", body_before[form]);
	arg.prefix = pg_mbstrlen(sql.data);
	appendStringInfo(&sql, "%s%s", binding->source_text, body_after[form]);

	lc_identity_role(lc_table_owner(on_table), &saved);
	PG_TRY();
	{
		(void) set_config_option("check_function_bodies", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		if (SPI_execute(sql.data, false, 0) < 0)
			elog(ERROR, "could not bind: %s", sql.data);
	}
	PG_CATCH();
	{
		lc_condition_rethrow(context, &arg);
	}
	PG_END_TRY();
	lc_identity_restore(&saved);

	CommandCounterIncrement();
	function = function_of(schema, on_table, binding);
	lc_condition_belong(function);
	return function;
}

/* Functions of that name in the schema: OIDs. */
static List *
functions_named(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	List	   *functions = NIL;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (form->pronamespace == namespace)
			functions = lappend_oid(functions, form->oid);
	}
	ReleaseSysCacheList(list);
	return functions;
}

/* What a bound body reads of each parameter. */
typedef struct Reads
{
	int			row;			/* parameter numbers */
	int			subject;
	int			event;			/* 0: none */
	int			enrollment;
	LcCondition *condition;
} Reads;

static void
note_parameter(Reads *reads, int parameter, int column)
{
	LcCondition *condition = reads->condition;

	if (parameter == reads->row)
	{
		condition->reads_row = true;
		if (column == 0)
			condition->whole_row = true;
		else
			condition->row_columns = bms_add_member(condition->row_columns, column);
	}
	else if (parameter == reads->subject)
		condition->reads_subject = true;
	else if (parameter == reads->event)
	{
		condition->reads_event = true;
		if (column == 0)
			condition->whole_event = true;
		else
			condition->event_columns = bms_add_member(condition->event_columns, column);
	}
	else if (parameter == reads->enrollment)
		condition->reads_enrollment = true;
}

static bool
walk_for_reads(Node *node, void *context)
{
	Reads	   *reads = context;

	if (node == NULL)
		return false;
	if (IsA(node, FieldSelect) && IsA(((FieldSelect *) node)->arg, Param))
	{
		note_parameter(reads, ((Param *) ((FieldSelect *) node)->arg)->paramid, ((FieldSelect *) node)->fieldnum);
		return false;
	}
	if (IsA(node, Param))
		note_parameter(reads, ((Param *) node)->paramid, 0);
	else if (IsA(node, SubLink))
		reads->condition->has_subquery = true;
	else if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid >= FirstNormalObjectId)
		reads->condition->reads_clock = true;
	else if (IsA(node, RangeTblEntry))
	{
		if (((RangeTblEntry *) node)->rtekind == RTE_RELATION)
			reads->condition->relations = list_append_unique_oid(reads->condition->relations, ((RangeTblEntry *) node)->relid);
		return false;
	}
	else if (IsA(node, Query))
		return query_tree_walker((Query *) node, walk_for_reads, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, walk_for_reads, context);
}

static bool
find_bound_sublink(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		*(Query **) context = castNode(Query, ((SubLink *) node)->subselect);
		return true;
	}
	return expression_tree_walker(node, find_bound_sublink, context);
}

/*
 * An expression is over one row: aggregates, window functions and functions that return sets would be over the trivial FROM of our own. The parser
 * allows them there; where it does not, it says where they are.
 */
static void
check_single_row(const char *lifecycle, const char *schema, Oid on_table, const LcBinding *binding, BodyForm form, Oid function)
{
	Query	   *query = query_of(function);

	if (form == BODY_SUBQUERY)
		(void) find_bound_sublink((Node *) linitial_node(TargetEntry, query->targetList)->expr, &query);
	if (query->hasAggs || query->hasWindowFuncs || query->hasTargetSRFs)
		(void) create_function(lifecycle, schema, on_table, binding, BODY_REFUSED);
}

static void
refuse_row(const LcBinding *binding, const char *row, const char *hint)
{
	const char *at = strstr(binding->source_text, row);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("%s cannot read the row %s", binding->what, row),
			 errhint("%s", hint),
			 at ? internalerrposition(pg_mbstrlen_with_len(binding->source_text, at - binding->source_text) + 1) : 0,
			 at ? internalerrquery(binding->source_text) : 0));
}

/* Every bound function takes the same rows. Those that are always NULL where it is asked must not be read. */
static void
check_rows_read(const char *lifecycle, const LcBinding *binding, Oid function)
{
	LcCondition condition = {0};
	Reads		reads = {.row = 1, .subject = 2, .enrollment = get_func_nargs(function), .condition = &condition};

	(void) walk_for_reads((Node *) query_of(function), &reads);
	if (condition.reads_enrollment)
		refuse_row(binding, "enrollment", "The steps, exits and goals of a workflow can read it: there is a run.");
	if (binding->rows == LC_ROWS_EVENT && condition.reads_subject)
		refuse_row(binding, "subject", "Only the row event is there. What else must be true can be said where somebody listens to the event.");
	if (binding->rows == LC_ROWS_EVENT && condition.reads_row)
		refuse_row(binding, lifecycle, "Only the row event is there. What else must be true can be said where somebody listens to the event.");
}

/* Rows of events are captured as they were written: they hold no virtual columns. */
static void
check_event_columns(const LcBinding *binding, Oid function)
{
	LcCondition condition = {0};
	Reads		reads = {.event = 3, .condition = &condition};
	int			column = -1;

	(void) walk_for_reads((Node *) query_of(function), &reads);
	while ((column = bms_next_member(condition.event_columns, column)) >= 0)
		if (lc_is_virtual(binding->event_table, column))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("%s reads event.%s, a virtual generated column", binding->what,
							quote_identifier(get_attname(binding->event_table, column, false))),
					 errdetail("The rows that are captured do not hold it."),
					 errhint("Declare it STORED, or write out what it is computed from.")));
}

void
lc_condition_bind(const char *lifecycle, const char *schema, Oid on_table, const LcBinding *binding)
{
	BodyForm	form = parse_alone(binding, lifecycle);
	Oid			function = create_function(lifecycle, schema, on_table, binding, form);
	ListCell   *cell;

	if (form == BODY_EXPRESSION || form == BODY_SUBQUERY)
		check_single_row(lifecycle, schema, on_table, binding, form, function);
	if (binding->rows != LC_ROWS_ALL)
		check_rows_read(lifecycle, binding, function);
	if (OidIsValid(binding->event_table))
		check_event_columns(binding, function);
	if (strcmp(binding->result, "void") != 0)
		foreach(cell, functions_named(schema, binding->name))
			check_reads_only(binding, lfirst_oid(cell));
}

/* Is that a function as lc_condition_bind makes them? */
static bool
is_bound(HeapTuple tuple, Oid owner)
{
	return ((Form_pg_proc) GETSTRUCT(tuple))->proowner == owner && !heap_attisnull(tuple, Anum_pg_proc_prosqlbody, NULL);
}

bool
lc_condition_missing(const char *schema, Oid on_table, const char *name)
{
	List	   *functions = name ? functions_named(schema, name) : NIL;
	ListCell   *cell;

	foreach(cell, functions)
	{
		HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(lfirst_oid(cell)));
		bool		bound = HeapTupleIsValid(tuple) && is_bound(tuple, lc_table_owner(on_table));

		if (HeapTupleIsValid(tuple))
			ReleaseSysCache(tuple);
		if (!bound)
			return true;
	}
	return name && functions == NIL;
}

bool
lc_condition_fits(const char *lifecycle, const char *schema, Oid on_table, const LcBinding *binding, char **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	LcIdentity	identity;
	bool		fits;

	/* Always rolled back: it only asks. */
	GetUserIdAndSecContext(&identity.user, &identity.flags);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	*error = NULL;
	PG_TRY();
	{
		lc_condition_bind(lifecycle, schema, on_table, binding);
		fits = true;
	}
	PG_CATCH();
	{
		ErrorData  *data;

		MemoryContextSwitchTo(context);
		data = CopyErrorData();
		FlushErrorState();
		*error = data->message;
		fits = false;
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return fits;
}

void
lc_condition_drop(const char *schema, const char *name)
{
	ListCell   *cell;

	foreach(cell, functions_named(schema, name))
		lc_runf("DROP FUNCTION %s", format_procedure_qualified(lfirst_oid(cell)));
}

void
lc_condition_rename(const char *schema, const char *name, const char *new_name)
{
	ListCell   *cell;

	foreach(cell, functions_named(schema, name))
		lc_runf("ALTER FUNCTION %s RENAME TO %s", format_procedure_qualified(lfirst_oid(cell)), quote_identifier(new_name));
}

char *
lc_condition_name(const char *kind, const char *object)
{
	char	   *full = psprintf("_%s %s", kind, object);
	int			length = strlen(full);

	if (length < NAMEDATALEN)
		return full;
	return psprintf("%.*s %08x", pg_mbcliplen(full, length, NAMEDATALEN - 10), full,
					hash_bytes((const unsigned char *) full, length));
}

/* The text of a function that is one expression: what follows RETURN. */
static char *
function_expression(Oid function)
{
	Datum		body = OidFunctionCall1(F_PG_GET_FUNCTION_SQLBODY, ObjectIdGetDatum(function));
	char	   *printed = TextDatumGetCString(body);

	if (strncmp(printed, "RETURN ", 7) != 0)
		elog(ERROR, "unexpected body of function %u: %s", function, printed);
	return printed + 7;
}

/* The text of a function that is one query. */
static char *
function_statement(Oid function)
{
	static const char begin[] = "BEGIN ATOMIC";
	Datum		body = OidFunctionCall1(F_PG_GET_FUNCTION_SQLBODY, ObjectIdGetDatum(function));
	char	   *printed = TextDatumGetCString(body);
	char	   *end = strrchr(printed, ';');

	if (strncmp(printed, begin, strlen(begin)) != 0 || end == NULL)
		elog(ERROR, "unexpected body of function %u: %s", function, printed);
	*end = '\0';
	return printed + strlen(begin);
}

static void
append_call(StringInfo sql, Oid function, const char *alias, List *parameters)
{
	ListCell   *cell;
	const char *separator = "";

	appendStringInfo(sql, "%s(", quote_qualified_identifier(get_namespace_name(get_func_namespace(function)), get_func_name(function)));
	foreach(cell, parameters)
	{
		appendStringInfo(sql, "%s%s.%s", separator, alias, quote_identifier(lfirst(cell)));
		separator = ", ";
	}
	appendStringInfoChar(sql, ')');
}

/*
 * What stands for a function that is gone (its table was dropped with all that depends on it) or was replaced by one that is not ours: a call that
 * fails whenever the question is asked. So only what asks it fails, and says why.
 */
static LcCondition *
missing_function(LcLifecycle *lc, const char *name)
{
	LcCondition *condition = palloc0(sizeof(LcCondition));

	condition->alias = pstrdup(quote_identifier(name));
	condition->sql = psprintf("lifecycle._missing_function(%s)", quote_literal_cstr(quote_qualified_identifier(lc->schema, name)));
	return condition;
}

Datum
lifecycle__missing_function(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("function %s is missing, was replaced or has another owner than its lifecycle", text_to_cstring(PG_GETARG_TEXT_PP(0))),
			 errhint("Define what it belongs to again.")));
	PG_RETURN_NULL();
}

/* The columns that a generated one is computed from: none of them is generated. */
static Bitmapset *
computed_from(Oid table, AttrNumber column)
{
	Relation	rel = relation_open(table, AccessShareLock);
	Bitmapset  *found = NULL;
	Bitmapset  *columns = NULL;
	int			member = -1;

	pull_varattnos(build_column_default(rel, column), 1, &found);
	while ((member = bms_next_member(found, member)) >= 0)
		if (member + FirstLowInvalidHeapAttributeNumber > 0)
			columns = bms_add_member(columns, member + FirstLowInvalidHeapAttributeNumber);
	relation_close(rel, AccessShareLock);
	return columns;
}

/* A virtual column changes with what it is computed from; by itself it is NULL in all rows that triggers see. */
static Bitmapset *
add_computed_from(Oid table, Bitmapset *columns)
{
	Bitmapset  *all = bms_copy(columns);
	int			column = -1;

	while ((column = bms_next_member(columns, column)) >= 0)
		if (lc_is_virtual(table, column))
			all = bms_add_members(all, computed_from(table, column));
	return all;
}

static LcCondition *
load_function(LcLifecycle *lc, Oid function, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	LcCondition *condition = palloc0(sizeof(LcCondition));
	Reads		reads = {0};
	Form_pg_proc form;
	char	  **names;
	Oid		   *types;
	char	   *modes;
	int			n;
	StringInfoData sql;
	List	   *parameters = NIL;
	Query	   *query;
	Oid			type = InvalidOid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (!is_bound(tuple, lc_table_owner(lc->on_table)))
	{
		ReleaseSysCache(tuple);
		return missing_function(lc, name);
	}
	n = get_func_arg_info(tuple, &types, &names, &modes);
	reads.condition = condition;
	reads.row = 1;
	reads.subject = 2;
	reads.event = n == 4 ? 3 : 0;
	reads.enrollment = n;
	condition->function = function;
	condition->alias = pstrdup(quote_identifier(NameStr(form->proname)));
	if (n == 4)
		condition->event_table = typeidTypeRelid(types[2]);
	for (int i = 0; i < n; i++)
		parameters = lappend(parameters, names[i]);
	condition->reads_clock = form->prorettype == VOIDOID;
	query = function_query(tuple);
	(void) walk_for_reads((Node *) query, &reads);
	condition->row_columns = add_computed_from(lc->on_table, condition->row_columns);
	if (form->prorettype != VOIDOID && !form->proretset)
		type = exprType((Node *) linitial_node(TargetEntry, query->targetList)->expr);
	condition->local_time = form->prorettype == TIMESTAMPTZOID && (getBaseType(type) == DATEOID || getBaseType(type) == TIMESTAMPOID);

	initStringInfo(&sql);
	if (condition->has_subquery && type != InvalidOid && type == form->prorettype)
		appendStringInfoString(&sql, function_expression(function));
	else if (condition->has_subquery && type != InvalidOid)
		appendStringInfo(&sql, "(%s)::%s", function_expression(function), format_type_be_qualified(form->prorettype));
	else if (form->proretset)
		appendStringInfo(&sql, "(%s)", function_statement(function));
	else
		append_call(&sql, function, condition->alias, parameters);
	condition->sql = sql.data;
	ReleaseSysCache(tuple);
	return condition;
}

LcCondition **
lc_condition_load(LcLifecycle *lc, const char *name, int *n)
{
	List	   *functions = functions_named(lc->schema, name);
	LcCondition **conditions = palloc0(Max(list_length(functions), 1) * sizeof(LcCondition *));
	ListCell   *cell;

	if (functions == NIL)
	{
		conditions[0] = missing_function(lc, name);
		*n = 1;
		return conditions;
	}
	*n = 0;
	foreach(cell, functions)
	{
		conditions[*n] = load_function(lc, lfirst_oid(cell), name);
		lc->reads_clock |= conditions[(*n)++]->reads_clock;
	}
	return conditions;
}
