/*
 * installation.c: which cluster and database the definitions belong to, and whether the last run of the worker was interrupted.
 *
 * lifecycle._installation has one row from the first define_lifecycle on, and pg_dump saves it. A copy of the database (a dump, a template, a cluster of
 * another system identifier) brings a row that does not match, and then nothing runs until lifecycle.resume() adopts the copy: it must not write
 * to real customers. Without a row nothing runs either: a dump is being restored, and the row is yet to come.
 *
 * unfinished_run is set, and committed, before a busy period of the worker, and taken back when it has been idle for a while. A worker that finds it
 * set was killed in the middle of something, maybe by it. Whoever locks the row keeps the worker from writing to it, never waiting.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "worker/installation.h"

void
lc_installation_claim(void)
{
	Oid			types[2] = {INT8OID, OIDOID};
	Datum		values[2];
	LcIdentity	saved;

	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	SPI_connect();
	lc_identity_extension(&saved);
	lc_run_args("INSERT INTO lifecycle._installation (system_identifier, database) VALUES ($1, $2) ON CONFLICT DO NOTHING",
				2, types, values, NULL);
	lc_identity_restore(&saved);
	SPI_finish();
}

LcInstallation
lc_installation_state(bool *unfinished)
{
	LcInstallation state = LC_INSTALLATION_UNKNOWN;
	LcIdentity	saved;

	if (unfinished)
		*unfinished = false;
	SPI_connect();
	lc_identity_extension(&saved);
	lc_run("SELECT system_identifier, database, paused, unfinished_run IS NOT NULL FROM lifecycle._installation");
	lc_identity_restore(&saved);
	if (SPI_processed > 0)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		if (DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull)) != (int64) GetSystemIdentifier() ||
			DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull)) != MyDatabaseId)
			state = LC_INSTALLATION_COPY;
		else if (DatumGetBool(SPI_getbinval(row, desc, 3, &isnull)))
			state = LC_INSTALLATION_PAUSED;
		else
			state = LC_INSTALLATION_HERE;
		if (unfinished)
			*unfinished = DatumGetBool(SPI_getbinval(row, desc, 4, &isnull));
	}
	SPI_finish();
	return state;
}

static const char *
installation_name(LcInstallation state)
{
	switch (state)
	{
		case LC_INSTALLATION_HERE:
			return "here";
		case LC_INSTALLATION_PAUSED:
			return "paused";
		case LC_INSTALLATION_COPY:
			return "copy";
		case LC_INSTALLATION_UNKNOWN:
			break;
	}
	return "unknown";
}

void
lc_installation_warn(LcInstallation state)
{
	if (state == LC_INSTALLATION_COPY)
		ereport(WARNING,
				(errmsg("lifecycles are paused in database \"%s\": it is a copy of the database that they were defined in",
						get_database_name(MyDatabaseId)),
				 errhint("Nothing is sent or changed from a copy. To run it in its own right, call lifecycle.resume().")));
	else if (state == LC_INSTALLATION_UNKNOWN)
		ereport(WARNING,
				(errmsg("lifecycles are paused in database \"%s\": it is not recorded which database they were defined in",
						get_database_name(MyDatabaseId)),
				 errhint("When all of a dump has been restored, call lifecycle.resume().")));
}

PG_FUNCTION_INFO_V1(lifecycle__installation_state);
Datum
lifecycle__installation_state(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(installation_name(lc_installation_state(NULL))));
}

/* Is the table there, and could it be locked without waiting? DROP EXTENSION may hold it. */
static bool
lock_table(const char *name)
{
	Oid			schema = get_namespace_oid(LC_SCHEMA, true);
	Oid			table = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	return OidIsValid(table) && ConditionalLockRelationOid(table, RowExclusiveLock) &&
		SearchSysCacheExists1(RELOID, ObjectIdGetDatum(table));
}

bool
lc_unfinished_run(bool on)
{
	LcIdentity	saved;
	bool		done;

	if (!lock_table("_installation") || !lock_table("_interrupted"))
		return false;
	SPI_connect();
	lc_identity_extension(&saved);
	lc_run(on ?
		   "UPDATE lifecycle._installation SET unfinished_run = pg_catalog.clock_timestamp()"
		   " WHERE only_row IN (SELECT i.only_row FROM lifecycle._installation i FOR NO KEY UPDATE SKIP LOCKED)" :
		   "UPDATE lifecycle._installation SET unfinished_run = NULL"
		   " WHERE only_row IN (SELECT i.only_row FROM lifecycle._installation i FOR NO KEY UPDATE SKIP LOCKED)");
	done = SPI_processed > 0;
	if (done && !on)
		lc_run("DELETE FROM lifecycle._interrupted");
	lc_identity_restore(&saved);
	SPI_finish();
	return done;
}
