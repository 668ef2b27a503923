/*
 * interrupted.c: what the worker knows of the batch that it was killed in: lifecycle._interrupted.
 *
 * What is said here of crashes also holds for a worker that was terminated in a batch, as pg_terminate_backend(pg_backend_pid()) does.
 *
 * A row that crashes the server (a bug in a function of the user, too much memory) would be run again, and crash it again, for ever. So after a crash
 * every lifecycle goes on with batches of an eighth of the size, and again after the next crash, until a row that is alone in its batch crashes: of
 * 20,000 rows that takes five crashes, and the server is spared the others. What has been committed of small batches is behind us: when they have run
 * as many rows as the crashed batch can have had, they double in size with each that commits. A crash that no row is to blame for costs some small
 * batches. A row that is alone is recorded by a hash before it begins, with how often it was begun, and parked after lifecycle.max_attempts.
 *
 * All of it is committed before it is relied upon. The rows here are written by the scheduler alone, and are gone when its run has ended in peace
 * (lc_unfinished_run). The order of the queue does not change by a crash, so what was interrupted is among the first in line.
 */
#include "postgres.h"

#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "executor/spi.h"
#include "guc.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/pidfile.h"
#include "worker/interrupted.h"

/* Runs a statement about one lifecycle, $1, with further arguments. SPI is connected. */
static void
run_about(const char *sql, const char *lifecycle, int nargs, const Oid *more_types, const Datum *more_values)
{
	Oid			types[3] = {NAMEOID};
	Datum		values[3];
	NameData	name;
	LcIdentity	saved;

	namestrcpy(&name, lifecycle);
	values[0] = NameGetDatum(&name);
	for (int i = 0; i < nargs; i++)
	{
		types[i + 1] = more_types[i];
		values[i + 1] = more_values[i];
	}
	lc_identity_extension(&saved);
	lc_run_args(sql, nargs + 1, types, values, NULL);
	lc_identity_restore(&saved);
}

static Datum
result(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, isnull);
}

void
lc_interrupted_begin(const char *lifecycle, LcInterrupted *interrupted)
{
	Oid			types[2] = {INT4OID, INT4OID};
	Datum		values[2];
	bool		isnull;
	Datum		alone;

	values[0] = Int32GetDatum(lc_guc_batch_size);
	values[1] = Int32GetDatum(LC_INTERRUPTED_PARTS);
	SPI_connect();
	run_about("INSERT INTO lifecycle._interrupted AS i (lifecycle, batch_rows) VALUES ($1, ($2 + $3 - 1) / $3) "
			  "ON CONFLICT (lifecycle) DO UPDATE SET batch_rows = (least(i.batch_rows, $2) + $3 - 1) / $3 "
			  "RETURNING batch_rows, alone, attempts", lifecycle, 2, types, values);
	interrupted->batch_rows = DatumGetInt32(result(1, &isnull));
	alone = result(2, &isnull);
	interrupted->alone = isnull ? 0 : (uint64) DatumGetInt64(alone);
	interrupted->attempts = DatumGetInt32(result(3, &isnull));
	SPI_finish();
}

void
lc_interrupted_grow(const char *lifecycle, int batch_rows)
{
	Oid			type = INT4OID;
	Datum		value = Int32GetDatum(batch_rows);

	SPI_connect();
	if (batch_rows == 0)
		run_about("DELETE FROM lifecycle._interrupted WHERE lifecycle = $1", lifecycle, 0, NULL, NULL);
	else
		run_about("UPDATE lifecycle._interrupted SET batch_rows = $2 WHERE lifecycle = $1", lifecycle, 1, &type, &value);
	SPI_finish();
}

void
lc_interrupted_alone(const char *lifecycle, uint64 row, int attempts)
{
	Oid			types[2] = {INT8OID, INT4OID};
	Datum		values[2];

	values[0] = Int64GetDatum((int64) row);
	values[1] = Int32GetDatum(attempts);
	SPI_connect();
	run_about("UPDATE lifecycle._interrupted SET alone = $2, attempts = $3 WHERE lifecycle = $1", lifecycle, 2, types, values);
	SPI_finish();
}

/* The postmaster says so in its lock file before it ends anyone. */
bool
lc_server_is_stopping(void)
{
	FILE	   *file = AllocateFile("postmaster.pid", "r");
	char		line[MAXPGPATH];
	bool		stopping = false;

	if (file == NULL)
		return false;
	for (int number = 1; fgets(line, sizeof(line), file) != NULL; number++)
		if (number == LOCK_FILE_LINE_PM_STATUS)
			stopping = strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
	FreeFile(file);
	return stopping;
}
