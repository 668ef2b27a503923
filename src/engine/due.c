/*
 * due.c: the due queue, <lifecycle>._due: inserting and removing.
 *
 * A row is deleted and inserted, never updated, so whoever deletes a row owns what it stands for until his transaction ends. Whoever takes one away
 * from its enrollment (an exit) waits for the one who holds it, then looks again with a new snapshot: the holder has put back a row that the first
 * snapshot did not show. Those who only want to run rows (runner.c) never wait.
 *
 * Rows are found by index scans from C with the latest snapshot and deleted without a check against the transaction's own snapshot: under
 * REPEATABLE READ and above SQL would see old rows, or fail with a serialization error, where nothing but the latest state matters.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_index.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/bulk.h"
#include "catalog/order.h"
#include "compat.h"
#include "engine/due.h"
#include "engine/engine.h"
#include "errors.h"
#include "lifecycle.h"
#include "worker/worker.h"

TimestampTz lc_due_earliest = DT_NOEND;
uint64		lc_due_removals = 0;

/* The column `attempts`, while it is negative: turns + transients * TURNS. */
#define TURNS	128

StaticAssertDecl(LC_MAX_TURNS < TURNS, "turns do not fit");

static inline int16
signed_attempts(const LcDue *due)
{
	return due->attempts > 0 ? due->attempts : -(due->turns + due->transients * TURNS);
}

void
lc_due_read(LcLifecycle *lc, TupleTableSlot *slot, LcDue *due)
{
	Datum	   *values;
	int16		attempts;

	slot_getallattrs(slot);
	values = slot->tts_values;
	attempts = DatumGetInt16(values[LC_DUE_ATTEMPTS - 1]);
	due->due_at = DatumGetTimestampTz(values[LC_DUE_DUE_AT - 1]);
	due->subject = lc_key_copy(lc, values[LC_DUE_SUBJECT - 1]);
	due->enrollment = slot->tts_isnull[LC_DUE_ENROLLMENT - 1] ? 0 : DatumGetInt64(values[LC_DUE_ENROLLMENT - 1]);
	due->entered_at = DatumGetTimestampTz(values[LC_DUE_ENTERED - 1]);
	due->program = DatumGetInt32(values[LC_DUE_PROGRAM - 1]);
	due->step = DatumGetInt32(values[LC_DUE_STEP_NUMBER - 1]);
	due->attempts = Max(attempts, 0);
	due->turns = Max(-attempts, 0) % TURNS;
	due->transients = Max(-attempts, 0) / TURNS;
	due->kind = DatumGetChar(values[LC_DUE_KIND - 1]);
	due->shadow = DatumGetBool(values[LC_DUE_SHADOW - 1]);
	due->tid = slot->tts_tid;
}

bool
lc_due_is(LcLifecycle *lc, TupleTableSlot *slot, const LcDue *due)
{
	Datum	   *values;

	slot_getallattrs(slot);
	values = slot->tts_values;
	return due->due_at == DatumGetTimestampTz(values[LC_DUE_DUE_AT - 1]) &&
		due->enrollment == (slot->tts_isnull[LC_DUE_ENROLLMENT - 1] ? 0 : DatumGetInt64(values[LC_DUE_ENROLLMENT - 1])) &&
		due->entered_at == DatumGetTimestampTz(values[LC_DUE_ENTERED - 1]) &&
		due->program == DatumGetInt32(values[LC_DUE_PROGRAM - 1]) &&
		due->step == DatumGetInt32(values[LC_DUE_STEP_NUMBER - 1]) &&
		signed_attempts(due) == DatumGetInt16(values[LC_DUE_ATTEMPTS - 1]) &&
		due->kind == DatumGetChar(values[LC_DUE_KIND - 1]) &&
		due->shadow == DatumGetBool(values[LC_DUE_SHADOW - 1]) &&
		datum_image_eq(due->subject, values[LC_DUE_SUBJECT - 1], lc->key_byval, lc->key_len);
}

/* The rows in due order; those of one time stay as they are. */
static LcOrder *
in_due_order(const LcDue *rows, int n)
{
	LcOrder    *turns = palloc(sizeof(LcOrder) * n);
	bool		ordered = true;

	for (int i = 0; i < n; i++)
	{
		turns[i].by = rows[i].due_at;
		turns[i].number = i;
		ordered &= i == 0 || rows[i - 1].due_at <= rows[i].due_at;
	}
	if (!ordered)
		lc_order_sort(turns, n);
	return turns;
}

/*
 * Rows are written in due order, and many on pages of their own: what is due together lies together, whatever else waits, and leaves whole pages.
 */
void
lc_due_insert(LcLifecycle *lc, const LcDue *rows, int n)
{
	LcOrder    *turns;
	LcBulk	   *bulk;
	TimestampTz earliest = DT_NOEND;

	if (n == 0)
		return;
	bulk = lc_bulk_begin(lc->tables[LC_DUE], LC_DUE_NATTS);
	if (n > LC_SMALL_BATCH)
		lc_bulk_together(bulk);
	turns = in_due_order(rows, n);
	for (int i = 0; i < n; i++)
	{
		const LcDue *row = &rows[turns[i].number];
		Datum		values[LC_DUE_NATTS];
		bool		nulls[LC_DUE_NATTS] = {false};

		values[LC_DUE_DUE_AT - 1] = TimestampTzGetDatum(row->due_at);
		values[LC_DUE_SUBJECT - 1] = row->subject;
		values[LC_DUE_ENROLLMENT - 1] = Int64GetDatum(row->enrollment);
		nulls[LC_DUE_ENROLLMENT - 1] = row->enrollment == 0;
		values[LC_DUE_ENTERED - 1] = TimestampTzGetDatum(row->entered_at);
		values[LC_DUE_PROGRAM - 1] = Int32GetDatum(row->program);
		values[LC_DUE_STEP_NUMBER - 1] = Int32GetDatum(row->step);
		values[LC_DUE_ATTEMPTS - 1] = Int16GetDatum(signed_attempts(row));
		values[LC_DUE_KIND - 1] = CharGetDatum(row->kind);
		values[LC_DUE_SHADOW - 1] = BoolGetDatum(row->shadow);
		lc_bulk_add(bulk, values, nulls);
		if (row->due_at < earliest)
			earliest = row->due_at;
	}
	lc_bulk_end(bulk);
	pfree(turns);
	lc_due_earliest = Min(lc_due_earliest, earliest);
	lc_wake_note(lc->name, earliest);
}

Oid
lc_due_index(Relation due, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(due);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisvalid && index->rd_index->indkey.values[0] == column &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			found = RelationGetRelid(index);
		index_close(index, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(indexes);
	if (!OidIsValid(found))
		ereport(ERROR,
				(errcode(ERRCODE_LC_FORMAT),
				 errmsg("table \"%s\" has no index on column \"%s\"", RelationGetRelationName(due),
						NameStr(TupleDescAttr(RelationGetDescr(due), column - 1)->attname)),
				 errhint("Create it with: CREATE INDEX ON %s.%s (%s).", get_namespace_name(RelationGetNamespace(due)),
						 RelationGetRelationName(due), NameStr(TupleDescAttr(RelationGetDescr(due), column - 1)->attname))));
	return found;
}

/*
 * Deletes the rows of one enrollment (0: all rows of the subject) that the snapshot shows. Returns how many it saw, which is not how many it deleted: another transaction may have
 * been quicker.
 */
static int
remove_visible(Relation due, IndexScanDesc scan, TupleTableSlot *slot, Snapshot snapshot, ScanKey key, int64 enrollment)
{
	int			seen = 0;

	index_rescan(scan, key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		TM_FailureData failure;
		TM_Result	result;
		bool		isnull;
		Datum		value = slot_getattr(slot, LC_DUE_ENROLLMENT, &isnull);

		if (enrollment != 0 && (isnull || DatumGetInt64(value) != enrollment))
			continue;
		seen++;
		result = table_tuple_delete(due, &slot->tts_tid, GetCurrentCommandId(true), snapshot, InvalidSnapshot, true, &failure, false);
		if (result != TM_Ok && result != TM_Deleted && result != TM_Updated && result != TM_SelfModified)
			elog(ERROR, "unexpected result %d of deleting a due row", result);
	}
	return seen;
}

/* Prepares a scan key "subject_id = ?" for the subject index; the argument is filled in by the caller. */
static void
subject_key(Relation index, ScanKey key)
{
	Oid			opcintype = index->rd_opcintype[0];
	Oid			operator = get_opfamily_member(index->rd_opfamily[0], opcintype, opcintype, BTEqualStrategyNumber);

	ScanKeyEntryInitialize(key, 0, 1, BTEqualStrategyNumber, opcintype, index->rd_indcollation[0], get_opcode(operator), (Datum) 0);
}

void
lc_due_remove(LcLifecycle *lc, const Datum *subjects, const int64 *enrollments, int n)
{
	Relation	due;
	Relation	index;
	TupleTableSlot *slot;
	ScanKeyData key;
	bool	   *gone;
	int			left = n;

	if (n == 0)
		return;
	lc_due_removals++;
	due = table_open(lc->tables[LC_DUE], RowExclusiveLock);
	index = index_open(lc_due_index(due, LC_DUE_SUBJECT), RowExclusiveLock);
	slot = table_slot_create(due, NULL);
	subject_key(index, &key);
	gone = palloc0(sizeof(bool) * n);
	while (left > 0)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		IndexScanDesc scan = lc_index_beginscan(due, index, snapshot, 1);

		for (int i = 0; i < n; i++)
		{
			if (gone[i])
				continue;
			CHECK_FOR_INTERRUPTS();
			key.sk_argument = subjects[i];
			if (remove_visible(due, scan, slot, snapshot, &key, enrollments ? enrollments[i] : 0) == 0)
			{
				gone[i] = true;
				left--;
			}
		}
		index_endscan(scan);
		UnregisterSnapshot(snapshot);
		/* What this pass deleted must be invisible to the next one. */
		CommandCounterIncrement();
	}
	pfree(gone);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(due, NoLock);
}
