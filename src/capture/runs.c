/*
 * runs.c: runs of workflows as capture sees them: which a subject has, ending and converting them, beginning new ones.
 *
 * A run is ended in this order: its rows of the due queue are removed first, waiting for a runner that holds one, and only then is the run itself
 * marked. A runner holds the due row while it ends the run, so the other way round the two would wait for each other.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "batch.h"
#include "catalog/bulk.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "compat.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of the prototypes, in their order. */
enum
{
	RUN_ID, RUN_SUBJECT, RUN_VERSION, RUN_VERSION_ID, RUN_SHADOW, RUN_WORKFLOW, RUN_KEY, RUN_ENTERED, RUN_ENDED, RUN_CONVERTED, RUN_REASON,
	RUN_CONTEXT, RUN_NATTS
};
enum
{
	ACTIVITY_SUBJECT, ACTIVITY_RUN, ACTIVITY_VERSION, ACTIVITY_STEP, ACTIVITY_WAITED, ACTIVITY_AT, ACTIVITY_OUTCOME, ACTIVITY_DETAIL,
	ACTIVITY_NATTS
};

static TimestampTz
time_or_noend(Datum value, bool isnull)
{
	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/* Where the newest run of a workflow is kept, or would be. */
static LcRun **
newest_run(LcSubject *subject, const char *workflow)
{
	LcRun	  **place = &subject->newest;

	while (*place && strcmp((*place)->workflow, workflow) != 0)
		place = &(*place)->other;
	return place;
}

LcRun *
lc_newest_run(LcSubject *subject, const char *workflow)
{
	return *newest_run(subject, workflow);
}

/* Before all others: the newest. */
void
lc_add_run(LcSubject *subject, LcRun *run)
{
	LcRun	  **place = newest_run(subject, run->workflow);

	run->next = subject->runs;
	subject->runs = run;
	run->older = *place;
	run->other = run->older ? run->older->other : NULL;
	*place = run;
}

/* A run of the subject, from the columns of its row. */
static void
load_run(LcBatch *batch, LcSubject *subject, const Datum *values, const bool *nulls)
{
	LcRun	   *run = palloc0(sizeof(LcRun));

	run->id = DatumGetInt64(values[RUN_ID]);
	run->version_id = DatumGetInt32(values[RUN_VERSION_ID]);
	run->version = lc_version_by_id(batch->lc, run->version_id);
	run->shadow = DatumGetBool(values[RUN_SHADOW]);
	run->workflow = run->version ? run->version->workflow : TextDatumGetCString(values[RUN_WORKFLOW]);
	run->entered_at = DatumGetTimestampTz(values[RUN_ENTERED]);
	run->ended_at = time_or_noend(values[RUN_ENDED], nulls[RUN_ENDED]);
	run->converted_at = time_or_noend(values[RUN_CONVERTED], nulls[RUN_CONVERTED]);
	run->exit_reason = nulls[RUN_REASON] ? NULL : TextDatumGetCString(values[RUN_REASON]);
	run->has_context = batch->capture->exits_read_context && !nulls[RUN_CONTEXT];
	if (run->has_context)
		run->context = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[RUN_CONTEXT]));
	lc_add_run(subject, run);
}

/* Through the index of the primary key, whose first column is the subject's. */
static void
load_direct(LcBatch *batch)
{
	LcLookup	lookup;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan;

	lc_lookup_begin(&lookup, batch->lc, LC_ENROLLMENTS, AccessShareLock);
	scan = lc_index_beginscan(lookup.rel, lookup.index, snapshot, 1);
	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];

		if (!subject->runs_wanted)
			continue;
		lookup.key.sk_argument = subject->key;
		index_rescan(scan, &lookup.key, 1, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, lookup.slot))
		{
			slot_getallattrs(lookup.slot);
			load_run(batch, subject, lookup.slot->tts_values, lookup.slot->tts_isnull);
		}
	}
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	lc_lookup_end(&lookup);
}

static void
load_sql(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	Datum	   *keys = palloc(batch->nsubjects * sizeof(Datum));
	Datum		array;
	SPITupleTable *table;
	int			n = 0;
	int			at = 0;

	for (int i = 0; i < batch->nsubjects; i++)
		if (batch->subjects[i].runs_wanted)
			keys[n++] = batch->subjects[i].key;
	array = lc_array(keys, NULL, n, lc->key_type);
	lc_execute(lc_batch_lookup(batch, &batch->capture->runs,
								  psprintf("SELECT id, subject_id, version, version_id, shadow, workflow, key, entered_at, ended_at, "
										   "converted_at, exit_reason, context FROM %s WHERE subject_id = ANY ($1) ORDER BY subject_id",
										   lc->table_sql[LC_ENROLLMENTS]), 1, &lc->key_array_type), &array, NULL, n);
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[RUN_NATTS];
		bool		nulls[RUN_NATTS];

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		while (!batch->subjects[at].runs_wanted || lc_key_compare(lc, batch->subjects[at].key, values[RUN_SUBJECT]) < 0)
			at++;
		load_run(batch, &batch->subjects[at], values, nulls);
	}
	SPI_freetuptable(table);
}

/* The runs of all subjects that want to know theirs. */
void
lc_load_runs(LcBatch *batch)
{
	if (!batch->runs_wanted)
		return;
	batch->runs_wanted = false;
	if (get_rel_relkind(batch->lc->tables[LC_ENROLLMENTS]) == RELKIND_RELATION)
		load_direct(batch);
	else
		load_sql(batch);
	for (int i = 0; i < batch->nsubjects; i++)
		if (batch->subjects[i].runs_wanted)
		{
			batch->subjects[i].runs_wanted = false;
			batch->subjects[i].runs_loaded = true;
		}
}

/* The end of a run by a trigger, in activity. */
static void
note_end(LcBatch *batch, LcBulk **bulk, Datum subject, Datum id, Datum version_id, Datum at, Datum reason)
{
	Datum		values[ACTIVITY_NATTS] = {0};
	bool		nulls[ACTIVITY_NATTS];

	memset(nulls, true, sizeof(nulls));
	if (*bulk == NULL)
		*bulk = lc_bulk_begin(batch->lc->tables[LC_ACTIVITY], ACTIVITY_NATTS);
	lc_set(values, nulls, ACTIVITY_SUBJECT, subject);
	lc_set(values, nulls, ACTIVITY_RUN, id);
	lc_set(values, nulls, ACTIVITY_VERSION, version_id);
	lc_set(values, nulls, ACTIVITY_AT, at);
	lc_set_text(values, nulls, ACTIVITY_OUTCOME, "ended");
	lc_set(values, nulls, ACTIVITY_DETAIL, reason);
	lc_bulk_add(*bulk, values, nulls);
}

/* Runs that were there before and ended or converted here. */
void
lc_change_runs(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	int			n = 0;
	int			nended = 0;
	int			room = 0;
	Datum	   *keys;
	Datum	   *ids;
	Datum	   *ends;
	Datum	   *conversions;
	Datum	   *reasons;
	bool	   *not_ended;
	bool	   *not_converted;
	Datum	   *ended_keys;
	int64	   *ended_ids;
	Datum		args[5];
	LcBulk	   *bulk = NULL;

	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
			if (!run->begun && (run->ended || run->converted))
				room++;
	if (room == 0)
		return;
	keys = palloc(room * sizeof(Datum));
	ids = palloc(room * sizeof(Datum));
	ends = palloc0(room * sizeof(Datum));
	conversions = palloc0(room * sizeof(Datum));
	reasons = palloc0(room * sizeof(Datum));
	not_ended = palloc(room * sizeof(bool));
	not_converted = palloc(room * sizeof(bool));
	ended_keys = palloc(room * sizeof(Datum));
	ended_ids = palloc(room * sizeof(int64));
	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
		{
			if (run->begun || !(run->ended || run->converted))
				continue;
			keys[n] = batch->subjects[i].key;
			ids[n] = Int64GetDatum(run->id);
			not_ended[n] = !run->ended;
			not_converted[n] = !run->converted;
			if (run->ended)
			{
				ends[n] = TimestampTzGetDatum(run->ended_at);
				reasons[n] = CStringGetTextDatum(run->exit_reason);
				ended_keys[nended] = keys[n];
				ended_ids[nended++] = run->id;
			}
			if (run->converted)
				conversions[n] = TimestampTzGetDatum(run->converted_at);
			n++;
		}
	lc_due_remove(lc, ended_keys, ended_ids, nended);
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	args[1] = lc_array(ids, NULL, n, INT8OID);
	args[2] = lc_array(ends, not_ended, n, TIMESTAMPTZOID);
	args[3] = lc_array(conversions, not_converted, n, TIMESTAMPTZOID);
	args[4] = lc_array(reasons, not_ended, n, TEXTOID);
	lc_execute(lc_batch_lookup(batch, &batch->capture->runs_update,
						 psprintf("UPDATE %s AS e SET converted_at = COALESCE(e.converted_at, q.converted_at), "
								  "exit_reason = CASE WHEN e.ended_at IS NULL THEN q.reason ELSE e.exit_reason END, "
								  "ended_at = COALESCE(e.ended_at, q.ended_at) "
								  "FROM unnest($1, $2, $3, $4, $5) AS q(key, id, ended_at, converted_at, reason) "
								  "WHERE e.subject_id = q.key AND e.id = q.id "
								  "RETURNING e.subject_id, e.id, e.version_id, e.ended_at, e.exit_reason, e.exit_reason IS NOT DISTINCT FROM q.reason",
								  lc->table_sql[LC_ENROLLMENTS]),
						 5, (Oid[5]) {lc->key_array_type, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID}),
			   args, NULL, n);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Datum		at = SPI_getbinval(tuple, desc, 4, &isnull);

		if (isnull || !DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull)))
			continue;
		note_end(batch, &bulk, SPI_getbinval(tuple, desc, 1, &isnull), SPI_getbinval(tuple, desc, 2, &isnull),
				 SPI_getbinval(tuple, desc, 3, &isnull), at, SPI_getbinval(tuple, desc, 5, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	if (bulk)
		lc_bulk_end(bulk);
}

/* Inserts the runs that began here, each with the row of the due queue that makes the engine take its first step. */
void
lc_insert_runs(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	TimestampTz real_now = lc_now(false);
	MemoryContext row;
	LcBulk	   *bulk;
	LcBulk	   *ends = NULL;
	LcDue	   *due;
	int64	   *ids;
	int			n = 0;
	int			ndue = 0;
	int			at = 0;

	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
			n += run->begun;
	if (n == 0)
		return;
	row = AllocSetContextCreate(CurrentMemoryContext, "lifecycle row", ALLOCSET_DEFAULT_SIZES);
	ids = palloc(n * sizeof(int64));
	due = palloc0(n * sizeof(LcDue));
	lc_sequence_next(lc->enrollment_sequence, n, ids);
	bulk = lc_bulk_begin(lc->tables[LC_ENROLLMENTS], RUN_NATTS);
	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
		{
			Datum		values[RUN_NATTS] = {0};
			bool		nulls[RUN_NATTS];
			MemoryContext old;

			if (!run->begun)
				continue;
			run->id = ids[at++];
			if (run->ended)
				note_end(batch, &ends, batch->subjects[i].key, Int64GetDatum(run->id), Int32GetDatum(run->version_id),
						 TimestampTzGetDatum(run->ended_at), CStringGetTextDatum(run->exit_reason));
			old = MemoryContextSwitchTo(row);
			memset(nulls, true, sizeof(nulls));
			if (run->version->first_step <= 0 && !run->ended)
			{
				run->ended = true;
				run->ended_at = run->entered_at;
				run->exit_reason = "completed";
			}
			lc_set(values, nulls, RUN_ID, Int64GetDatum(run->id));
			lc_set(values, nulls, RUN_SUBJECT, batch->subjects[i].key);
			lc_set(values, nulls, RUN_VERSION, Int32GetDatum(run->version->number));
			lc_set(values, nulls, RUN_VERSION_ID, Int32GetDatum(run->version_id));
			lc_set(values, nulls, RUN_SHADOW, BoolGetDatum(run->shadow));
			lc_set_text(values, nulls, RUN_WORKFLOW, run->workflow);
			lc_set_text(values, nulls, RUN_KEY, "");
			lc_set(values, nulls, RUN_ENTERED, TimestampTzGetDatum(run->entered_at));
			if (run->ended)
			{
				lc_set(values, nulls, RUN_ENDED, TimestampTzGetDatum(run->ended_at));
				lc_set_text(values, nulls, RUN_REASON, run->exit_reason);
			}
			else
			{
				LcDue	   *first = &due[ndue++];

				first->due_at = !lc->simulated ? real_now : batch->replay ? batch->now : batch->subjects[i].now;
				first->subject = batch->subjects[i].key;
				first->enrollment = run->id;
				first->entered_at = run->entered_at;
				first->program = run->version_id;
				first->step = run->version->first_step;
				first->kind = LC_DUE_STEP;
				first->shadow = run->shadow;
				first->turns = Min(batch->subjects[i].turns, LC_MAX_TURNS);
			}
			if (run->converted)
				lc_set(values, nulls, RUN_CONVERTED, TimestampTzGetDatum(run->converted_at));
			if (run->has_context)
				lc_set(values, nulls, RUN_CONTEXT, run->context);
			lc_bulk_add(bulk, values, nulls);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row);
		}
	lc_bulk_end(bulk);
	if (ends)
		lc_bulk_end(ends);
	MemoryContextDelete(row);
	lc_due_insert(lc, due, ndue);
}

