/*
 * status.c: the workers of this database, from shared memory, as one row for lifecycle.status().
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "worker/shared.h"

#define NCOLUMNS 12

static const char *
state_name(LcSlot *slot)
{
	if (lc_shared == NULL)
		return "not preloaded";
	if (pg_atomic_read_u32(&lc_shared->launcher_pid) == 0 && slot == NULL)
		return "no launcher";
	if (slot == NULL)
		return "no scheduler";
	switch ((LcSlotState) pg_atomic_read_u32(&slot->state))
	{
		case LC_SLOT_STARTING:
			return "starting";
		case LC_SLOT_WORKING:
			return "working";
		case LC_SLOT_IDLE:
			return "idle";
		case LC_SLOT_PAUSED:
			return "paused";
		case LC_SLOT_OFF:
			return "off";
		case LC_SLOT_FULL:
			return "no scheduler";
		case LC_SLOT_STOPPED:
		case LC_SLOT_ABSENT:
			break;
	}
	return "stopped";
}

static void
put_pid(Datum *value, bool *isnull, pg_atomic_uint32 *pid)
{
	*value = Int32GetDatum(pg_atomic_read_u32(pid));
	*isnull = DatumGetInt32(*value) == 0;
}

static void
put_time(Datum *value, bool *isnull, pg_atomic_uint64 *time)
{
	*value = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(time));
	*isnull = TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(*value));
}

PG_FUNCTION_INFO_V1(lifecycle__worker_info);
Datum
lifecycle__worker_info(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LcSlot	   *slot = lc_slot_find(MyDatabaseId);
	Datum		values[NCOLUMNS] = {0};
	bool		nulls[NCOLUMNS];

	InitMaterializedSRF(fcinfo, 0);
	memset(nulls, true, sizeof(nulls));
	values[0] = CStringGetTextDatum(state_name(slot));
	nulls[0] = false;
	if (lc_shared != NULL)
	{
		put_pid(&values[1], &nulls[1], &lc_shared->launcher_pid);
		values[11] = Int64GetDatum(pg_atomic_read_u64(&lc_shared->uncounted));
		nulls[11] = false;
	}
	if (slot != NULL)
	{
		put_pid(&values[2], &nulls[2], &slot->pid);
		put_time(&values[3], &nulls[3], &slot->started_at);
		put_time(&values[4], &nulls[4], &slot->last_run);
		put_time(&values[5], &nulls[5], &slot->wake_at);
		put_time(&values[6], &nulls[6], &slot->low_water);
		values[7] = Int64GetDatum(pg_atomic_read_u64(&slot->batches));
		values[8] = Int64GetDatum(pg_atomic_read_u64(&slot->rows));
		values[9] = Int64GetDatum(pg_atomic_read_u64(&slot->rows_per_second));
		values[10] = Int64GetDatum(pg_atomic_read_u64(&slot->errors));
		memset(&nulls[7], false, 4 * sizeof(bool));
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}
