/*
 * renames.c: an event trigger that follows renamed columns into the definitions that name them.
 *
 * Conditions are bound functions, which follow by themselves. Keys, the columns of event sources and the addresses of messages are kept by name: numbers of
 * columns do not survive a dump. So each ALTER TABLE … RENAME COLUMN changes them in its own transaction.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_inherits.h"
#include "catalog/sql.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(lifecycle__column_renamed);

/* Changes a definition table, but not when there is nothing to change: that would make every backend read its definitions anew. */
static void
change(const char *table, const char *where, const char *set)
{
	lc_runf("SELECT FROM %s WHERE %s LIMIT 1", table, where);
	if (SPI_processed > 0)
		lc_runf("UPDATE %s SET %s WHERE %s", table, set, where);
}

static void
rename_column(const char *tables, const char *old_name, const char *new_name)
{
	static const char *const columns[] = {"subject_column", "name_column", "time_column"};
	const char *from = quote_literal_cstr(old_name);
	const char *to = quote_literal_cstr(new_name);

	change("lifecycle.lifecycles", psprintf("on_table::pg_catalog.oid IN (%s) AND key_column = %s", tables, from), psprintf("key_column = %s", to));
	for (int i = 0; i < lengthof(columns); i++)
		change("lifecycle.event_sources", psprintf("on_table::pg_catalog.oid IN (%s) AND %s = %s", tables, columns[i], from),
			   psprintf("%s = %s", columns[i], to));
	change("lifecycle.workflow_steps",
		   psprintf("arguments->>'column' = %s AND lifecycle IN (SELECT l.name FROM lifecycle.lifecycles l WHERE l.on_table::pg_catalog.oid IN (%s))",
					from, tables),
		   psprintf("arguments = pg_catalog.jsonb_set(arguments, '{column}', pg_catalog.to_jsonb(%s::pg_catalog.text))", to));
}

Datum
lifecycle__column_renamed(PG_FUNCTION_ARGS)
{
	RenameStmt *statement;
	Oid			table;
	ListCell   *cell;
	StringInfoData tables;
	LcIdentity	saved;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called as an event trigger", "lifecycle._column_renamed")));
	statement = (RenameStmt *) ((EventTriggerData *) fcinfo->context)->parsetree;
	if (!IsA(statement, RenameStmt) || statement->renameType != OBJECT_COLUMN || statement->relation == NULL)
		PG_RETURN_NULL();
	table = RangeVarGetRelid(statement->relation, NoLock, true);
	if (!OidIsValid(table))
		PG_RETURN_NULL();
	initStringInfo(&tables);
	foreach(cell, find_all_inheritors(table, NoLock, NULL))
		appendStringInfo(&tables, "%s%u", tables.len > 0 ? ", " : "", lfirst_oid(cell));
	SPI_connect();
	lc_identity_extension(&saved);
	rename_column(tables.data, statement->subname, statement->newname);
	lc_identity_restore(&saved);
	SPI_finish();
	PG_RETURN_NULL();
}
