/*
 * altered.c: event triggers that let the tables of lifecycles be altered.
 *
 * Conditions are functions over rows, with bound bodies. PostgreSQL (as of 15.20) refuses to rewrite a table while such a body uses its
 * row type, and to change the type of a column that it reads: with one rule, ALTER TABLE customers ADD COLUMN score int DEFAULT 0 would be an error. So
 * before an ALTER TABLE that may do that the bodies are taken out (the functions stay, with their OIDs, owners and rights), and afterwards they are bound
 * again, from the text that PostgreSQL prints of them; a condition that does not fit the table any more refuses the ALTER TABLE.
 *
 * The same goes for a table that only a subquery of a condition reads, and for the row trigger of an event source, which reads the column with the names
 * of its events: where the type of that changes, the trigger is dropped and made again. No more is taken out than PostgreSQL would refuse: text that is bound again can
 * mean something else by a new column (JOIN … USING of a renamed one).
 *
 * Locking: lc_lock_definitions when there is something to take out, so that two of them, or one and a definition, do not replace one function at once.
 *
 * What is taken out is remembered until the end of the statement. One that fails rolls the functions back; what is remembered of it is forgotten when
 * another begins.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/condition.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "commands/event_trigger.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(lifecycle__table_altering);
PG_FUNCTION_INFO_V1(lifecycle__table_altered);

/* The body of a function, or the triggers of a lifecycle. */
typedef struct TakenOut
{
	const void *statement;		/* the ALTER TABLE */
	TransactionId transaction;
	char	   *lifecycle;		/* the one whose triggers they are; NULL: a function */
	Oid			owner;
	Oid			function;
	char	   *name;
	char	   *definition;
} TakenOut;

static MemoryContext taken_context = NULL;
static List *taken = NIL;

/* Forgets what is remembered of a statement, and of transactions that are over. */
static void
forget(const void *statement)
{
	ListCell   *cell;

	foreach(cell, taken)
	{
		TakenOut   *one = lfirst(cell);

		if (one->statement == statement || one->transaction != GetTopTransactionIdIfAny())
			taken = foreach_delete_current(taken, cell);
	}
	if (taken == NIL && taken_context != NULL)
		MemoryContextReset(taken_context);
}

/* May the statement rewrite the table, or change the type of a column? */
static bool
concerns_rows(AlterTableStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableType subtype = ((AlterTableCmd *) lfirst(cell))->subtype;

		if (subtype == AT_AddColumn || subtype == AT_AlterColumnType || subtype == AT_SetLogged || subtype == AT_SetUnLogged ||
			subtype == AT_SetAccessMethod || lc_sets_expression(subtype))
			return true;
	}
	return false;
}

static AlterTableStmt *
altered_statement(FunctionCallInfo fcinfo, const char *function)
{
	AlterTableStmt *statement;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called as an event trigger", function)));
	statement = (AlterTableStmt *) ((EventTriggerData *) fcinfo->context)->parsetree;
	return IsA(statement, AlterTableStmt) && statement->objtype == OBJECT_TABLE && concerns_rows(statement) ? statement : NULL;
}

/* The names of the columns whose type the statement changes. */
static Datum
retyped_columns(AlterTableStmt *statement)
{
	Datum	   *names = palloc(list_length(statement->cmds) * sizeof(Datum));
	ListCell   *cell;
	int			n = 0;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst(cell);

		if (command->name != NULL && (command->subtype == AT_AlterColumnType || lc_sets_expression(command->subtype)))
			names[n++] = CStringGetTextDatum(command->name);
	}
	return lc_array(names, NULL, n, TEXTOID);
}

static Datum
oid_array(List *oids)
{
	Datum	   *values = palloc(list_length(oids) * sizeof(Datum));
	ListCell   *cell;

	foreach(cell, oids)
		values[foreach_current_index(cell)] = ObjectIdGetDatum(lfirst_oid(cell));
	return lc_array(values, NULL, list_length(oids), OIDOID);
}

/*
 * Reads the bound functions of lifecycles (those that depend on the extension; others in the schema are the user's) that PostgreSQL would refuse the
 * statement for, those that use row types of the tables or a column whose type changes, each with the statement that takes its body out.
 */
static void
find_functions(AlterTableStmt *statement, List *tables)
{
	List	   *row_types = NIL;
	Oid			types[3] = {OIDARRAYOID, OIDARRAYOID, TEXTARRAYOID};
	Datum		values[3];
	ListCell   *cell;

	foreach(cell, tables)
		row_types = lappend_oid(row_types, get_rel_type_id(lfirst_oid(cell)));
	values[0] = oid_array(row_types);
	values[1] = oid_array(tables);
	values[2] = retyped_columns(statement);
	lc_run_args("SELECT p.proowner, p.oid, p.oid::regprocedure::text, pg_get_functiondef(p.oid), "
				"format('CREATE OR REPLACE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE sql %s AS %L', n.nspname, p.proname, "
				"pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), CASE p.provolatile WHEN 'v' THEN 'VOLATILE' ELSE 'STABLE' END, "
				"CASE WHEN p.prorettype <> 'void'::regtype THEN format('SELECT NULL::%s', p.prorettype::regtype) ELSE '' END) "
				"FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN lifecycle.lifecycles l ON l.schema = n.nspname "
				"WHERE p.prosqlbody IS NOT NULL AND EXISTS (SELECT FROM pg_depend e JOIN pg_extension x ON x.oid = e.refobjid AND x.extname = 'lifecycle' "
				"WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'x') "
				"AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid "
				"AND (d.refclassid = 'pg_type'::regclass AND d.refobjid = ANY ($1) OR d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($2) "
				"AND d.refobjsubid IN (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = d.refobjid AND a.attname = ANY ($3)))) "
				"ORDER BY p.oid", 3, types, values, NULL);
}

/* Remembers something that the statement takes out; its strings are the caller's to set, in taken_context. */
static TakenOut *
take_out(const void *statement)
{
	MemoryContext old = MemoryContextSwitchTo(taken_context);
	TakenOut   *one = palloc0(sizeof(TakenOut));

	one->statement = statement;
	one->transaction = GetTopTransactionId();
	taken = lappend(taken, one);
	MemoryContextSwitchTo(old);
	return one;
}

static void
execute_as(Oid owner, const char *sql)
{
	LcIdentity	saved;

	lc_identity_role(owner, &saved);
	(void) lc_run(sql);
	lc_identity_restore(&saved);
}

static void
take_functions_out(AlterTableStmt *statement, List *tables)
{
	SPITupleTable *rows;
	uint64		n;

	find_functions(statement, tables);
	if (SPI_processed > 0)
	{
		lc_lock_definitions();
		find_functions(statement, tables);
	}
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		TakenOut   *function = take_out(statement);
		MemoryContext old = MemoryContextSwitchTo(taken_context);
		bool		isnull;

		function->owner = DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		function->function = DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
		function->name = SPI_getvalue(rows->vals[i], rows->tupdesc, 3);
		function->definition = SPI_getvalue(rows->vals[i], rows->tupdesc, 4);
		MemoryContextSwitchTo(old);
		execute_as(function->owner, SPI_getvalue(rows->vals[i], rows->tupdesc, 5));
	}
}

/* Row triggers of event sources that read a column whose type changes. As the extension's owner. */
static void
take_triggers_out(AlterTableStmt *statement, List *tables)
{
	Oid			types[2] = {OIDARRAYOID, TEXTARRAYOID};
	Datum		values[2] = {oid_array(tables), retyped_columns(statement)};
	SPITupleTable *rows;
	uint64		n;

	lc_run_args("SELECT DISTINCT s.lifecycle, format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) "
				"FROM pg_trigger t JOIN lifecycle.event_sources s ON s.on_table = t.tgrelid JOIN pg_attribute a ON a.attrelid = t.tgrelid "
				"JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_class'::regclass "
				"AND d.refobjid = t.tgrelid AND d.refobjsubid = a.attnum "
				"WHERE t.tgrelid = ANY ($1) AND a.attname = ANY ($2) AND t.tgfoid = 'lifecycle._capture_event'::regproc AND "
				"substring(t.tgargs, 1, octet_length(s.lifecycle::text) + 1) = "
				"convert_to(s.lifecycle::text, getdatabaseencoding()) || decode('00', 'hex')", 2, types, values, NULL);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		TakenOut   *triggers = take_out(statement);
		MemoryContext old = MemoryContextSwitchTo(taken_context);

		triggers->lifecycle = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);
		MemoryContextSwitchTo(old);
		(void) lc_run(SPI_getvalue(rows->vals[i], rows->tupdesc, 2));
	}
}

/* ddl_command_start */
Datum
lifecycle__table_altering(PG_FUNCTION_ARGS)
{
	AlterTableStmt *statement = altered_statement(fcinfo, "lifecycle._table_altering");
	Oid			table = statement ? RangeVarGetRelid(statement->relation, NoLock, true) : InvalidOid;
	List	   *tables;
	LcIdentity	saved;

	forget(statement);
	if (!OidIsValid(table) || !lc_owns_table(table, GetUserId()))
		PG_RETURN_NULL();
	if (taken_context == NULL)
		taken_context = AllocSetContextCreate(TopMemoryContext, "lifecycle altered tables", ALLOCSET_SMALL_SIZES);
	SPI_connect();
	lc_identity_extension(&saved);
	tables = find_all_inheritors(table, NoLock, NULL);
	take_functions_out(statement, tables);
	take_triggers_out(statement, tables);
	lc_identity_restore(&saved);
	SPI_finish();
	PG_RETURN_NULL();
}

static void
say_which(void *arg)
{
	errcontext("binding %s again to the altered table", (const char *) arg);
}

static void
bind_again(TakenOut *function)
{
	ErrorContextCallback callback = {.callback = say_which, .arg = function->name, .previous = error_context_stack};

	error_context_stack = &callback;
	execute_as(function->owner, function->definition);
	lc_condition_belong(function->function);
	error_context_stack = callback.previous;
}

/* ddl_command_end */
Datum
lifecycle__table_altered(PG_FUNCTION_ARGS)
{
	AlterTableStmt *statement = altered_statement(fcinfo, "lifecycle._table_altered");
	List	   *mine = NIL;
	ListCell   *cell;
	LcIdentity	saved;

	if (statement == NULL || taken == NIL)
		PG_RETURN_NULL();
	foreach(cell, taken)
		if (((TakenOut *) lfirst(cell))->statement == statement)
			mine = lappend(mine, lfirst(cell));
	if (mine == NIL)
		PG_RETURN_NULL();
	SPI_connect();
	lc_identity_extension(&saved);
	foreach(cell, mine)
		if (((TakenOut *) lfirst(cell))->lifecycle == NULL)
			bind_again(lfirst(cell));
	lc_definitions_changed();
	foreach(cell, mine)
		if (((TakenOut *) lfirst(cell))->lifecycle)
			lc_triggers_create(((TakenOut *) lfirst(cell))->lifecycle);
	lc_identity_restore(&saved);
	forget(statement);
	SPI_finish();
	PG_RETURN_NULL();
}
