/*
 * subjects.c: the rows of <lifecycle>.subjects: locking, making, changing and removing them.
 *
 * Rows are locked FOR NO KEY UPDATE, in key order, through the primary key's index: no statement of SQL does it as cheaply, and under REPEATABLE READ
 * SQL would fail where another transaction has changed the row, though nothing but the latest state matters here. A table that somebody has made
 * more than plain (triggers, row security, partitions, another index) is changed by SQL instead.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "batch.h"
#include "catalog/bulk.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "engine/due.h"
#include "errors.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of subjects, in the order of its prototype. */
#define SUBJECT_KEY		1
#define SUBJECT_STAGE	2
#define SUBJECT_SEQ		3
#define SUBJECT_SINCE	4

/* The table stays locked until the end of the transaction. */
void
lc_lookup_begin(LcLookup *lookup, LcLifecycle *lc, LcTable table, LOCKMODE lock)
{
	Oid			index;
	Oid			opcintype;
	Oid			operator;

	lookup->rel = table_open(lc->tables[table], lock);
	index = lc_primary_key_index(lookup->rel);
	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_LC_FORMAT),
				 errmsg("table %s has no primary key", lc->table_sql[table]),
				 errhint("Add the primary key again that %s._%s has.", LC_SCHEMA, RelationGetRelationName(lookup->rel))));
	lookup->index = index_open(index, lock);
	if (strcmp(NameStr(TupleDescAttr(RelationGetDescr(lookup->rel), lookup->index->rd_index->indkey.values[0] - 1)->attname), "subject_id") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_LC_FORMAT),
				 errmsg("the primary key of table %s does not begin with subject_id", lc->table_sql[table]),
				 errhint("Make it the one that %s._%s has.", LC_SCHEMA, RelationGetRelationName(lookup->rel))));
	lookup->slot = table_slot_create(lookup->rel, NULL);
	opcintype = lookup->index->rd_opcintype[0];
	operator = get_opfamily_member(lookup->index->rd_opfamily[0], opcintype, opcintype, BTEqualStrategyNumber);
	ScanKeyEntryInitialize(&lookup->key, 0, 1, BTEqualStrategyNumber, opcintype, lookup->index->rd_indcollation[0],
						   get_opcode(operator), (Datum) 0);
}

void
lc_lookup_end(LcLookup *lookup)
{
	ExecDropSingleTupleTableSlot(lookup->slot);
	index_close(lookup->index, NoLock);
	table_close(lookup->rel, NoLock);
}

/* Somebody has added a stage and moved the subject there while this statement waited for it or ran. */
static void
raise_unknown_stage(LcLifecycle *lc)
{
	AcceptInvalidationMessages();
	if (lc_lifecycle_find(lc->name) != lc)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a subject of lifecycle \"%s\" is in a stage that was added while this statement ran", lc->name),
				 errhint("The transaction might succeed if retried.")));
	ereport(ERROR,
			(errcode(ERRCODE_LC_FORMAT),
			 errmsg("a subject of lifecycle \"%s\" is in a stage that is not defined", lc->name),
			 errhint("Add stages with lifecycle.add_stage, not with ALTER TYPE.")));
}

static void
read_state(LcLifecycle *lc, LcSubject *subject, TupleTableSlot *slot)
{
	bool		isnull;

	subject->stage = lc_stage_by_label(lc, DatumGetObjectId(slot_getattr(slot, SUBJECT_STAGE, &isnull)));
	if (subject->stage == LC_NO_STAGE)
		raise_unknown_stage(lc);
	subject->seq = DatumGetInt32(slot_getattr(slot, SUBJECT_SEQ, &isnull));
	subject->since = DatumGetTimestampTz(slot_getattr(slot, SUBJECT_SINCE, &isnull));
	subject->tid = slot->tts_tid;
	subject->lock = LC_LOCK_FOUND;
	subject->stored_stage = subject->stage;
	subject->stored_seq = subject->seq;
	subject->stored_since = subject->since;
}

/* Locks one row, waiting for it. False: it was deleted meanwhile, look again. */
static bool
lock_row(LcBatch *batch, LcLookup *lookup, LcSubject *subject, Snapshot snapshot)
{
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(lookup->rel, &lookup->slot->tts_tid, snapshot, lookup->slot, GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive, batch->skip_locked ? LockWaitSkip : LockWaitBlock,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	switch (result)
	{
		case TM_Ok:
			read_state(batch->lc, subject, lookup->slot);
			return true;
		case TM_WouldBlock:
			subject->lock = LC_LOCK_SKIPPED;
			return true;
		case TM_Deleted:
		case TM_SelfModified:
		case TM_Updated:
			return false;
		default:
			elog(ERROR, "unexpected result %d of locking a subject", result);
	}
	return false;
}

/* Looks for the rows of subjects and locks those that are there. */
static int
lock_rows(LcBatch *batch)
{
	LcLookup	lookup;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan;
	int			missing = 0;

	lc_lookup_begin(&lookup, batch->lc, LC_SUBJECTS, RowExclusiveLock);
	scan = lc_index_beginscan(lookup.rel, lookup.index, snapshot, 1);
	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];

		if (subject->lock == LC_LOCK_FOUND && subject->created)
			continue;
		subject->lock = LC_LOCK_MISSING;
		lookup.key.sk_argument = subject->key;
		for (;;)
		{
			CHECK_FOR_INTERRUPTS();
			index_rescan(scan, &lookup.key, 1, NULL, 0);
			if (!index_getnext_slot(scan, ForwardScanDirection, lookup.slot) || lock_row(batch, &lookup, subject, snapshot))
				break;
			/* Deleted after the snapshot was taken: look with a new one. */
			index_endscan(scan);
			UnregisterSnapshot(snapshot);
			snapshot = RegisterSnapshot(GetLatestSnapshot());
			scan = lc_index_beginscan(lookup.rel, lookup.index, snapshot, 1);
		}
		if (subject->lock == LC_LOCK_MISSING)
			missing++;
	}
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	lc_lookup_end(&lookup);
	return missing;
}

/*
 * When the life of a subject that had no row begins: with its first event, but not in the future; else now.
 */
static TimestampTz
begin_time(LcBatch *batch, LcSubject *subject)
{
	TimestampTz at = batch->now;

	if (!subject->inserted && subject->nevents > 0)
		at = Min(at, subject->events[0]->at);
	if (subject->move)
		at = Min(at, subject->move->at);
	return at;
}

/* The subject of the batch with that key, among the missing ones. */
static LcSubject *
find_missing(LcBatch *batch, LcSubject **missing, int n, Datum key)
{
	int			low = 0;
	int			high = n - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = lc_key_compare(batch->lc, key, missing[middle]->key);

		if (order == 0)
			return missing[middle];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}

/*
 * Makes the missing rows of subjects that exist in their table. Numbering continues where a subject of the same key left off. Another
 * transaction may make the same row: ON CONFLICT waits for it, and the caller locks what it made.
 */
static void
create_rows(LcBatch *batch, int nmissing)
{
	LcLifecycle *lc = batch->lc;
	LcCapture  *capture = batch->capture;
	LcSubject **missing = palloc(nmissing * sizeof(LcSubject *));
	Datum	   *keys = palloc(nmissing * sizeof(Datum));
	Datum	   *times = palloc(nmissing * sizeof(Datum));
	Datum		args[3];
	int			n = 0;

	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];

		if (subject->lock != LC_LOCK_MISSING)
			continue;
		missing[n] = subject;
		keys[n] = subject->key;
		times[n++] = TimestampTzGetDatum(begin_time(batch, subject));
	}
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	args[1] = lc_array(times, NULL, n, TIMESTAMPTZOID);
	args[2] = lc_stage_datum(lc, lc->initial_stage);
	lc_execute(lc_batch_lookup(batch, &capture->create, psprintf(
		"INSERT INTO %1$s AS s (subject_id, stage, seq, since) "
		"SELECT c.%2$s, $3, COALESCE(t.seq, 0) + 1, GREATEST(q.at, t.at) "
		"FROM unnest($1, $2) AS q(id, at) JOIN %4$s c ON c.%2$s = q.id "
		"LEFT JOIN LATERAL (SELECT t.seq, t.at FROM %3$s t WHERE t.subject_id = c.%2$s ORDER BY t.seq DESC LIMIT 1) AS t ON true "
		"ORDER BY c.%2$s ON CONFLICT DO NOTHING RETURNING s.subject_id, s.seq, s.since, s.ctid",
		lc->table_sql[LC_SUBJECTS], quote_identifier(lc->key_column), lc->table_sql[LC_TRANSITIONS], lc->on_table_sql),
		3, (Oid[3]) {lc->key_array_type, TIMESTAMPTZARRAYOID, lc->stage_type}), args, NULL, n);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		LcSubject  *subject = find_missing(batch, missing, n, SPI_getbinval(tuple, desc, 1, &isnull));

		if (subject == NULL)
			continue;
		subject->created = true;
		subject->lock = LC_LOCK_FOUND;
		subject->stored_stage = lc->initial_stage;
		subject->stored_seq = DatumGetInt32(SPI_getbinval(tuple, desc, 2, &isnull));
		subject->stored_since = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 3, &isnull));
		subject->tid = *(ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 4, &isnull));
		subject->stage = LC_NO_STAGE;
		subject->seq = subject->stored_seq - 1;
		subject->since = subject->stored_since;
		subject->runs_loaded = subject->fresh = subject->seq == 0;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Locks the rows of all subjects of the batch, making those that are missing. What is still missing then has no row in the subject table. */
void
lc_subjects_lock(LcBatch *batch)
{
	int			missing = lock_rows(batch);
	int			left = 0;

	if (missing == 0 || !batch->create || batch->skip_locked)
		return;
	create_rows(batch, missing);
	for (int i = 0; i < batch->nsubjects; i++)
		if (batch->subjects[i].lock == LC_LOCK_MISSING)
			left++;
	if (left > 0)
		(void) lock_rows(batch);
}

/* Only the primary key, and nothing that must happen for each row? */
static bool
is_simple(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;
	List	   *indexes;

	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relispartition || rel->trigdesc || rel->rd_rel->relrowsecurity ||
		rel->rd_rules || (constr && (lc_has_generated(constr) || constr->num_check > 0)))
		return false;
	indexes = RelationGetIndexList(rel);
	return list_length(indexes) == 1;
}

static bool
is_changed(LcSubject *subject)
{
	return subject->lock == LC_LOCK_FOUND && subject->moved &&
		(subject->stage != subject->stored_stage || subject->seq != subject->stored_seq || subject->since != subject->stored_since);
}

/* Changes the rows in place; they are locked. */
static void
update_direct(LcBatch *batch, Relation rel)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TupleTableSlot *changed = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	EState	   *estate = NULL;
	ResultRelInfo *result = NULL;
	int			natts = RelationGetDescr(rel)->natts;
	Datum	   *values = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc0(natts * sizeof(bool));
	bool	   *replaces = palloc0(natts * sizeof(bool));

	replaces[SUBJECT_STAGE - 1] = replaces[SUBJECT_SEQ - 1] = replaces[SUBJECT_SINCE - 1] = true;
	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];
		lc_update_indexes update_indexes;
		HeapTuple	tuple;
		bool		should_free;

		if (!is_changed(subject))
			continue;
		if (!table_tuple_fetch_row_version(rel, &subject->tid, SnapshotAny, slot))
			elog(ERROR, "row of a locked subject is missing");
		values[SUBJECT_STAGE - 1] = lc_stage_datum(batch->lc, subject->stage);
		values[SUBJECT_SEQ - 1] = Int32GetDatum(subject->seq);
		values[SUBJECT_SINCE - 1] = TimestampTzGetDatum(subject->since);
		tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
		tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
		ExecForceStoreHeapTuple(tuple, changed, true);
		changed->tts_tableOid = RelationGetRelid(rel);
		simple_table_tuple_update(rel, &subject->tid, changed, InvalidSnapshot, &update_indexes);
		if (lc_indexes_need_update(update_indexes))
		{
			if (estate == NULL)
			{
				estate = CreateExecutorState();
				result = makeNode(ResultRelInfo);
				InitResultRelInfo(result, rel, 0, NULL, 0);
				ExecOpenIndices(result, false);
			}
			(void) lc_insert_index_tuples(result, changed, estate);
			ResetPerTupleExprContext(estate);
		}
	}
	if (estate)
	{
		ExecCloseIndices(result);
		FreeExecutorState(estate);
	}
	ExecDropSingleTupleTableSlot(changed);
	ExecDropSingleTupleTableSlot(slot);
	CommandCounterIncrement();
}

static void
update_sql(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	Datum	   *keys = palloc(batch->nsubjects * sizeof(Datum));
	Datum	   *stages = palloc(batch->nsubjects * sizeof(Datum));
	Datum	   *seqs = palloc(batch->nsubjects * sizeof(Datum));
	Datum	   *times = palloc(batch->nsubjects * sizeof(Datum));
	Datum		args[4];
	int			n = 0;

	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];

		if (!is_changed(subject))
			continue;
		keys[n] = subject->key;
		stages[n] = lc_stage_datum(lc, subject->stage);
		seqs[n] = Int32GetDatum(subject->seq);
		times[n++] = TimestampTzGetDatum(subject->since);
	}
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	args[1] = lc_array(stages, NULL, n, lc->stage_type);
	args[2] = lc_array(seqs, NULL, n, INT4OID);
	args[3] = lc_array(times, NULL, n, TIMESTAMPTZOID);
	lc_execute(lc_batch_lookup(batch, &batch->capture->update, psprintf(
		"UPDATE %s AS s SET stage = q.stage, seq = q.seq, since = q.since "
		"FROM unnest($1, $2, $3, $4) AS q(id, stage, seq, since) WHERE s.subject_id = q.id",
		lc->table_sql[LC_SUBJECTS]), 4, (Oid[4]) {lc->key_array_type, lc->stage_array_type, INT4ARRAYOID, TIMESTAMPTZARRAYOID}),
		args, NULL, n);
	if (SPI_processed != n)
		ereport(ERROR,
				(errcode(ERRCODE_LC_FORMAT),
				 errmsg("table \"%s.subjects\" does not take changes", lc->schema),
				 errdetail("%d rows were to be changed, " UINT64_FORMAT " were.", n, SPI_processed),
				 errhint("Drop the rule or trigger on it that suppresses them.")));
}

/* Writes the stages of all subjects that have moved. */
void
lc_subjects_update(LcBatch *batch)
{
	Relation	rel;
	int			n = 0;

	for (int i = 0; i < batch->nsubjects; i++)
		if (is_changed(&batch->subjects[i]))
			n++;
	if (n == 0)
		return;
	rel = table_open(batch->lc->tables[LC_SUBJECTS], RowExclusiveLock);
	if (is_simple(rel))
		update_direct(batch, rel);
	else
		update_sql(batch);
	table_close(rel, NoLock);
}

/*
 * The subjects' rows were deleted: a last transition to no stage, the runs end, everything that is due for them goes, and their rows of subjects.
 * keys are in order, each once.
 */
void
lc_subjects_delete(LcLifecycle *lc, Datum *keys, int n, TimestampTz at)
{
	LcBatch    *batch = lc_batch_begin(lc);
	LcCapture  *capture = batch->capture;
	MemoryContext old = CurrentMemoryContext;
	Datum	   *found;
	Datum		array;
	int			nfound = 0;

	for (int i = 0; i < n; i++)
		(void) lc_batch_add(batch, keys[i]);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	MemoryContextSwitchTo(batch->context);
	batch->create = false;
	lc_subjects_lock(batch);
	found = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		LcSubject  *subject = &batch->subjects[i];
		LcTransition *transition;

		if (subject->lock != LC_LOCK_FOUND)
			continue;
		found[nfound++] = subject->key;
		transition = palloc0(sizeof(LcTransition));
		transition->seq = subject->seq + 1;
		transition->from = subject->stage;
		transition->to = LC_NO_STAGE;
		transition->since = subject->since;
		transition->at = Max(at, subject->since);
		transition->date = DT_NOEND;
		transition->cause = "delete";
		subject->transitions = transition;
	}
	if (nfound > 0)
	{
		lc_insert_transitions(batch);
		lc_due_remove(lc, found, NULL, nfound);
		array = lc_array(found, NULL, nfound, lc->key_type);
		lc_execute(lc_batch_lookup(batch, &capture->delete_runs,
									  psprintf("UPDATE %s SET ended_at = GREATEST($2, entered_at), exit_reason = 'subject_deleted' "
											   "WHERE subject_id = ANY ($1) AND ended_at IS NULL", lc->table_sql[LC_ENROLLMENTS]),
									  2, (Oid[2]) {lc->key_array_type, TIMESTAMPTZOID}),
				   (Datum[2]) {array, TimestampTzGetDatum(at)}, NULL, nfound);
		lc_execute(lc_batch_lookup(batch, &capture->delete_subjects,
									  psprintf("DELETE FROM %s WHERE subject_id = ANY ($1)", lc->table_sql[LC_SUBJECTS]),
									  1, &lc->key_array_type), &array, NULL, nfound);
	}
	SPI_finish();
	MemoryContextSwitchTo(old);
	lc_batch_end(batch);
}
