/*
 * definer.c: what the functions that define things have in common.
 *
 * Locking: definitions are made one after the other, under lc_lock_definitions until the end of the transaction. Nothing that handles rows of
 * subjects or events takes that lock.
 */
#include "postgres.h"

#include "catalog/checks.h"
#include "catalog/closest.h"
#include "catalog/definer.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "utils/builtins.h"

LcLifecycle *
lc_definer_begin(FunctionCallInfo fcinfo)
{
	char	   *name = lc_arg_required(fcinfo, 0, "lifecycle");
	LcLifecycle *lc;

	lc_check_definer(lc_lifecycle_get(name, false));
	lc_lock_definitions();
	/* somebody else may have changed it while we waited; taking the lock has told us */
	lc = lc_lifecycle_get(name, false);
	lc_check_definer(lc);
	return lc;
}

char *
lc_definer_name(FunctionCallInfo fcinfo, int argument, const char *what)
{
	char	   *name = lc_arg_text(fcinfo, argument);

	if (name == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("the name of the %s must not be NULL", what));
	if (name[strspn(name, " \t\r\n")] == '\0')
		ereport(ERROR,
				errcode(ERRCODE_INVALID_NAME),
				errmsg("the name of the %s must not be empty", what));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				errcode(ERRCODE_NAME_TOO_LONG),
				errmsg("the name of the %s is longer than %d bytes: \"%s\"", what, NAMEDATALEN - 1, name));
	return name;
}

void
lc_definer_run(const char *sql, int nargs,...)
{
	Oid		   *types = palloc(Max(nargs, 1) * sizeof(Oid));
	Datum	   *values = palloc(Max(nargs, 1) * sizeof(Datum));
	char	   *nulls = palloc(Max(nargs, 1));
	LcIdentity	saved;
	va_list		args;

	va_start(args, nargs);
	for (int i = 0; i < nargs; i++)
	{
		char	   *argument = va_arg(args, char *);

		types[i] = TEXTOID;
		nulls[i] = argument == NULL ? 'n' : ' ';
		values[i] = argument == NULL ? (Datum) 0 : CStringGetTextDatum(argument);
	}
	va_end(args);
	lc_identity_extension(&saved);
	lc_run_args(sql, nargs, types, values, nulls);
	lc_identity_restore(&saved);
}

char *
lc_definer_field(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

List *
lc_definer_names(void)
{
	List	   *names = NIL;

	for (uint64 i = 0; i < SPI_processed; i++)
		names = lappend(names, lc_definer_field(i, 1));
	return names;
}

void
lc_definer_missing(LcLifecycle *lc, const char *what, const char *name, List *names)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s \"%s\" of lifecycle \"%s\" does not exist", what, name, lc->name),
			 lc_definer_hint(lc_names_hint(name, names, psprintf("%ss", what)))));
	pg_unreachable();
}

LcSource *
lc_definer_source(LcLifecycle *lc, const char *name)
{
	List	   *names = NIL;

	for (int i = 0; i < lc->nsources; i++)
	{
		if (strcmp(lc->sources[i].name, name) == 0)
			return &lc->sources[i];
		names = lappend(names, lc->sources[i].name);
	}
	lc_definer_missing(lc, "event source", name, names);
}

int
lc_definer_hint(const char *hint)
{
	return hint == NULL ? 0 : errhint("%s", hint);
}

bool
lc_reads_event_of_entry(const char *root, const char *element)
{
	return strcmp(root, "event") == 0 ||
		(strcmp(root, "enrollment") == 0 && (element == NULL || strcmp(element, "context") == 0));
}
