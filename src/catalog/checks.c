/*
 * checks.c: what all definition functions check and do alike.
 *
 * Definition functions are not SECURITY DEFINER: they check ownership of the subject table and change roles in C for each piece of work, so
 * that what an author writes is resolved by the author's search_path and bound in the owner's name.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/checks.h"
#include "catalog/load.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "common/keywords.h"
#include "compat.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How often lc_lock_to_drop tries to hold nothing while it waits. */
#define LOCK_TRIES 50

static const char *const row_names[] = {"event", "subject", "enrollment", "recipient", "score", NULL};

static bool
is_reserved(const char *name)
{
	int			keyword = ScanKeywordLookup(name, &ScanKeywords);

	if (keyword >= 0 && (ScanKeywordCategories[keyword] == RESERVED_KEYWORD || ScanKeywordCategories[keyword] == TYPE_FUNC_NAME_KEYWORD))
		return true;
	for (int i = 0; row_names[i] != NULL; i++)
		if (strcmp(row_names[i], name) == 0)
			return true;
	return strncmp(name, "pg_", 3) == 0;
}

void
lc_check_name(const char *what, const char *name)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("%s must not be empty", what)));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("%s \"%s\" is longer than %d bytes", what, name, NAMEDATALEN - 1)));
	if (is_reserved(name))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("%s \"%s\" is reserved", what, name),
				 errdetail("Conditions write it as %s.column.", name),
				 errhint("Use another name, such as \"%s_\" or \"my_%s\".", name, name)));
}

/* A wait for a lock on a table, for messages. */
typedef struct LockWait
{
	char	   *table;
	LOCKMODE	mode;
} LockWait;

static void
lock_context(void *arg)
{
	LockWait   *wait = arg;

	errcontext("waiting for %s lock on table %s", wait->mode == AccessExclusiveLock ? "an ACCESS EXCLUSIVE" : "a SHARE ROW EXCLUSIVE",
			   wait->table);
}

static void
lock_relation(Oid table, LOCKMODE mode)
{
	LockWait	wait = {lc_qualified_name(table), mode};
	ErrorContextCallback callback = {.callback = lock_context, .arg = &wait, .previous = error_context_stack};

	error_context_stack = &callback;
	LockRelationOid(table, mode);
	error_context_stack = callback.previous;
}

void
lc_lock_definitions(void)
{
	lock_relation(get_relname_relid("lifecycles", get_namespace_oid(LC_SCHEMA, false)), ShareRowExclusiveLock);
}

void
lc_lock_table(Oid table)
{
	lock_relation(table, ShareRowExclusiveLock);
}

/* Locks all other tables than the one that is locked already; the index of one that somebody holds, or -1. */
static int
lock_others(List *tables, int locked, bool wait)
{
	for (int i = 0; i < list_length(tables); i++)
	{
		if (i == locked)
			continue;
		if (wait)
			lock_relation(list_nth_oid(tables, i), AccessExclusiveLock);
		else if (!ConditionalLockRelationOid(list_nth_oid(tables, i), AccessExclusiveLock))
		{
			for (int j = 0; j < i; j++)
				if (j != locked)
					UnlockRelationOid(list_nth_oid(tables, j), AccessExclusiveLock);
			return i;
		}
	}
	return -1;
}

void
lc_lock_to_drop(List *tables)
{
	int			waited = 0;

	for (int tries = 1;; tries++)
	{
		int			held;

		lock_relation(list_nth_oid(tables, waited), AccessExclusiveLock);
		held = lock_others(tables, waited, tries == LOCK_TRIES);
		if (held < 0)
			return;
		UnlockRelationOid(list_nth_oid(tables, waited), AccessExclusiveLock);
		waited = held;
	}
}

void
lc_check_table(Oid table, const char *use)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Form_pg_class form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", table)));
	form = (Form_pg_class) GETSTRUCT(tuple);
	if (form->relkind != RELKIND_RELATION && form->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s must be a table, and %s is %s", use, lc_qualified_name(table),
						form->relkind == RELKIND_VIEW ? "a view" :
						form->relkind == RELKIND_FOREIGN_TABLE ? "a foreign table" :
						form->relkind == RELKIND_MATVIEW ? "a materialized view" : "something else"),
				 errhint("Name the table that the rows are written to.")));
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s must not be temporary, as %s is", use, get_rel_name(table))));
	if (!lc_owns_table(table, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", lc_qualified_name(table)),
				 errhint("The owner of the subject table is the owner of the lifecycle.")));
	ReleaseSysCache(tuple);
}

void
lc_check_no_partition(Oid table)
{
	if (get_rel_relispartition(table))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table %s is a partition", lc_qualified_name(table)),
				 errhint("Name the partitioned table that it belongs to.")));
}

bool
lc_is_subscribed(Oid table)
{
	lc_runf("SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid = %1$u "
			"OR srrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%1$u)) LIMIT 1", table);
	return SPI_processed > 0;
}

char *
lc_column_list(Oid table)
{
	List	   *names = NIL;
	HeapTuple	tuple;

	for (AttrNumber i = 1; HeapTupleIsValid(tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(i))); i++)
	{
		Form_pg_attribute attribute = (Form_pg_attribute) GETSTRUCT(tuple);

		if (!attribute->attisdropped)
			names = lappend(names, pstrdup(NameStr(attribute->attname)));
		ReleaseSysCache(tuple);
	}
	return lc_quoted_list(names);
}

AttrNumber
lc_check_column(Oid table, const char *column, const char *use)
{
	AttrNumber	number = get_attnum(table, column);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table %s, given as %s, does not exist", column, lc_qualified_name(table), use),
				 errhint("The table has the columns %s.", lc_column_list(table))));
	if (lc_is_virtual(table, number))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of table %s, given as %s, is a virtual generated column", column, lc_qualified_name(table), use),
				 errdetail("The rows that are captured do not hold it."),
				 errhint("Declare it STORED.")));
	return number;
}

char *
lc_arg_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

char *
lc_arg_required(FunctionCallInfo fcinfo, int n, const char *argument)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", argument)));
	return lc_arg_text(fcinfo, n);
}

Interval *
lc_arg_interval(FunctionCallInfo fcinfo, int n, const char *argument)
{
	Interval   *interval;

	if (PG_ARGISNULL(n))
		return NULL;
	interval = PG_GETARG_INTERVAL_P(n);
	if (interval->month < 0 || interval->day < 0 || interval->time < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", argument)));
	if (interval->month > 1200 || interval->day > 36525 || interval->time > INT64CONST(36525) * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be longer than 100 years", argument)));
	return interval;
}

List *
lc_text_array_list(Datum array, const char *argument)
{
	ArrayType  *value = DatumGetArrayTypeP(array);
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *list = NIL;

	if (ARR_NDIM(value) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"%s\" must have one dimension", argument)));
	deconstruct_array(value, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain null", argument)));
		list = lappend(list, TextDatumGetCString(elements[i]));
	}
	return list;
}

static void
append_columns(StringInfo sql, const LcColumn *columns, int n, const char *format, bool keys, bool others, const char *separator)
{
	bool		first = true;

	for (int i = 0; i < n; i++)
	{
		if (columns[i].key ? !keys : !others)
			continue;
		appendStringInfoString(sql, first ? "" : separator);
		first = false;
		for (const char *c = format; *c; c++)
		{
			if (*c == '%')
				appendStringInfoString(sql, columns[i].name);
			else if (*c == '#')
				appendStringInfo(sql, "$%d", i + 1);
			else
				appendStringInfoChar(sql, *c);
		}
	}
}

LcDefined
lc_define_row(const char *table, const LcColumn *columns, int n)
{
	StringInfoData sql;
	Oid		   *types = palloc(n * sizeof(Oid));
	Datum	   *values = palloc0(n * sizeof(Datum));
	char	   *nulls = palloc0(n + 1);
	LcDefined	defined = LC_CREATED;

	/* Everything goes through its text: intervals that are equal in length (30 days, 1 month) are different definitions. */
	for (int i = 0; i < n; i++)
	{
		types[i] = TEXTOID;
		nulls[i] = columns[i].value ? ' ' : 'n';
		if (columns[i].value)
			values[i] = CStringGetTextDatum(columns[i].value);
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT (");
	append_columns(&sql, columns, n, "%::pg_catalog.text IS NOT DISTINCT FROM #::pg_catalog.text", false, true, " AND ");
	appendStringInfo(&sql, ") FROM lifecycle.%s WHERE ", table);
	append_columns(&sql, columns, n, "%::pg_catalog.text = #", true, false, " AND ");
	lc_run_args(sql.data, n, types, values, nulls);
	if (SPI_processed > 0)
	{
		bool		isnull;
		Datum		same = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		defined = DatumGetBool(same) ? LC_UNCHANGED : LC_REPLACED;
	}
	if (defined == LC_UNCHANGED)
		return defined;

	resetStringInfo(&sql);
	if (defined == LC_REPLACED)
	{
		appendStringInfo(&sql, "UPDATE lifecycle.%s _row SET (", table);
		append_columns(&sql, columns, n, "%", true, true, ", ");
		appendStringInfo(&sql, ") = (SELECT ");
		append_columns(&sql, columns, n, "_new.%", true, true, ", ");
	}
	else
	{
		appendStringInfo(&sql, "INSERT INTO lifecycle.%s (", table);
		append_columns(&sql, columns, n, "%", true, true, ", ");
		appendStringInfo(&sql, ") (SELECT ");
		append_columns(&sql, columns, n, "_new.%", true, true, ", ");
	}
	/* the columns' own types read the texts */
	appendStringInfo(&sql, " FROM pg_catalog.json_populate_record(NULL::lifecycle.%s, pg_catalog.json_build_object(", table);
	append_columns(&sql, columns, n, "'%', #::pg_catalog.text", true, true, ", ");
	appendStringInfoString(&sql, ")) _new)");
	if (defined == LC_REPLACED)
	{
		appendStringInfoString(&sql, " WHERE ");
		append_columns(&sql, columns, n, "_row.%::pg_catalog.text = #", true, false, " AND ");
	}
	lc_run_args(sql.data, n, types, values, nulls);
	return defined;
}

Datum
lc_defined_text(LcDefined defined)
{
	return CStringGetTextDatum(defined == LC_CREATED ? "created" : defined == LC_UNCHANGED ? "unchanged" : "replaced");
}

char *
lc_quoted_list(List *names)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, names)
		appendStringInfo(&list, "%s\"%s\"", list.len > 0 ? ", " : "", (char *) lfirst(cell));
	return list.data;
}
