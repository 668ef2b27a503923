/*
 * claim.c: taking due rows out of the queue.
 *
 * Deleting a row claims it: there is no row lock beside it. table_tuple_delete without waiting does not touch a row that another transaction
 * has deleted or locked, and whoever comes later finds ours deleted: a runner passes over it, an exit waits for us and looks again (due.c). Ours
 * comes back by itself when our transaction aborts.
 *
 * The scan begins at the low-water mark: entries of rows deleted before it, which an old snapshot somewhere keeps from being cleaned away,
 * are not walked over again. The mark never passes a row that is still to be run, but rows of paused workflows: whoever resumes one changes the
 * definitions, and the first batch after that begins at the start.
 *
 * Rows that are due at one instant are one place to the mark. Small batches would walk over all those of them that are done, again and again, so they
 * read ahead: tids of rows that come next. Each is looked at anew when its turn comes; it may be gone, or its place be taken by another row. What
 * becomes visible before the last of them makes the scan forget them. Large batches out of a backlog take it in the order of subjects (window.c).
 *
 * Rows of one subject get rounds: it is one place to the statements of a round, and each of its runs must see what those before it have done.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/order.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "engine/run.h"
#include "engine/window.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

typedef struct Claim
{
	LcRunBatch *batch;
	LcQueueScan *scan;
	Relation	due;
	BlockNumber blocks;			/* of it, which our lock keeps it from giving back */
	TupleTableSlot *slot;
	Relation	index;
	IndexScanDesc index_scan;	/* NULL: not needed yet */
	Snapshot	snapshot;
	int			limit;
	int			max_seen;		/* rows looked at, at most */
	int			seen;
	int			refused;		/* … of them, since their subject had its share of the batch */
	bool		windowed;		/* the rows come from a window … */
	bool		at_end;			/* nothing more is due */
	TimestampTz last;			/* of the rows looked at */
	TimestampTz left;			/* the earliest that is left for later; DT_NOEND: none */
	bool		locked;			/* … since somebody holds it */
} Claim;

uint64
lc_due_hash(LcLifecycle *lc, const LcDue *due)
{
	uint64		hash;

	if (lc->key_byval)
		hash = hash_bytes_extended((const unsigned char *) &due->subject, sizeof(Datum), 1);
	else if (lc->key_len > 0)
		hash = hash_bytes_extended((const unsigned char *) DatumGetPointer(due->subject), lc->key_len, 1);
	else
		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(DatumGetPointer(due->subject)),
								   VARSIZE_ANY_EXHDR(DatumGetPointer(due->subject)), 1);
	hash = hash_combine64(hash, (uint64) due->enrollment);
	hash = hash_combine64(hash, (uint64) due->program);
	hash = hash_combine64(hash, (uint64) due->step);
	hash = hash_combine64(hash, (uint64) due->due_at);
	hash = hash_combine64(hash, (uint64) due->entered_at);
	return hash == 0 ? 1 : hash;
}

static void
leave(Claim *claim, TimestampTz due_at)
{
	if (due_at < claim->left)
		claim->left = due_at;
}

static void
begin_index_scan(Claim *claim, bool wants_tuples)
{
	ScanKeyData key;
	int			nkeys = claim->last == DT_NOBEGIN ? 0 : 1;

	ScanKeyInit(&key, 1, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE, TimestampTzGetDatum(claim->last));
	claim->index_scan = lc_index_beginscan(claim->due, claim->index, claim->snapshot, nkeys);
	claim->index_scan->xs_want_itup = wants_tuples;
	index_rescan(claim->index_scan, &key, nkeys, NULL, 0);
}

/* Notes what is due for several batches, where that is more than one. */
static void
open_window(Claim *claim)
{
	begin_index_scan(claim, true);
	claim->windowed = lc_window_fill(claim->scan, claim->batch->lc, claim->index_scan, claim->slot, claim->limit, claim->batch->now);
	index_endscan(claim->index_scan);
	claim->index_scan = NULL;
	claim->last = claim->scan->low_water;
}

/* Puts the row that lies in a place into the slot. False: there is none, or not even the place: VACUUM gives back the end of a table. */
static bool
fetch_row(Claim *claim, ItemPointer tid)
{
	return ItemPointerGetBlockNumberNoCheck(tid) < claim->blocks && table_tuple_fetch_row_version(claim->due, tid, claim->snapshot, claim->slot);
}

/* Reads the row of a candidate, if it is still there. */
static bool
read_candidate(Claim *claim, LcCandidate *candidate, LcDue *due)
{
	bool		isnull;

	if (!fetch_row(claim, &candidate->tid) || DatumGetTimestampTz(slot_getattr(claim->slot, LC_DUE_DUE_AT, &isnull)) != candidate->due_at)
		return false;
	lc_due_read(claim->batch->lc, claim->slot, due);
	return true;
}

/* The next row of the window. False: none; there is no window any more when the batch is empty. */
static bool
next_of_window(Claim *claim, LcDue *due)
{
	LcLifecycle *lc = claim->batch->lc;

	do
	{
		const LcDue *next = lc_window_next(claim->scan);

		if (next != NULL)
		{
			*due = *next;
			due->subject = lc_key_copy(lc, next->subject);
			return true;
		}
	} while (claim->batch->n == 0 && lc_window_open(claim->scan));
	if (claim->batch->n == 0)
	{
		claim->windowed = false;
		claim->last = claim->scan->low_water;
	}
	return false;
}

/* The next row that is due. False: none, or none before the batch is written, when at_end is not set. */
static bool
next_due_row(Claim *claim, LcDue *due)
{
	LcQueueScan *scan = claim->scan;
	TimestampTz due_at;
	bool		isnull;

	if (claim->windowed)
	{
		if (next_of_window(claim, due))
			return true;
		if (claim->windowed)
			return false;
	}
	while (scan->ahead_at < scan->nahead)
	{
		LcCandidate *candidate = &scan->ahead[scan->ahead_at++];

		claim->last = candidate->due_at;
		if (read_candidate(claim, candidate, due))
			return true;
	}
	if (claim->index_scan == NULL)
	{
		/* An index scan would find the rows of the batch again, which are not deleted yet. */
		if (claim->batch->n > 0)
			return false;
		begin_index_scan(claim, false);
	}
	if (!index_getnext_slot(claim->index_scan, ForwardScanDirection, claim->slot))
	{
		claim->at_end = true;
		return false;
	}
	due_at = DatumGetTimestampTz(slot_getattr(claim->slot, LC_DUE_DUE_AT, &isnull));
	if (due_at > claim->batch->now)
	{
		scan->next_due = due_at;
		claim->at_end = true;
		return false;
	}
	claim->last = due_at;
	lc_due_read(claim->batch->lc, claim->slot, due);
	return true;
}

/* Notes what comes next, for as many whole batches as there is room for. */
static void
read_ahead(Claim *claim, int limit)
{
	LcQueueScan *scan = claim->scan;
	int			n = LC_AHEAD / limit * limit;

	scan->nahead = scan->ahead_at = 0;
	while (scan->nahead < n && index_getnext_slot(claim->index_scan, ForwardScanDirection, claim->slot))
	{
		LcCandidate *candidate = &scan->ahead[scan->nahead];
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		candidate->due_at = DatumGetTimestampTz(slot_getattr(claim->slot, LC_DUE_DUE_AT, &isnull));
		if (candidate->due_at > claim->batch->now)
			break;
		candidate->tid = claim->slot->tts_tid;
		scan->nahead++;
	}
}

/*
 * May it be run after another of its subject in this batch? Not the timer of a rule: the transition of the first would have taken it away. Not in
 * simulated time: the first may leave something that is due before it.
 */
static bool
may_follow(LcRunBatch *batch, LcRun *before, LcRun *run)
{
	if (run->due.kind == LC_DUE_RULE || before->round + 1 == LC_BATCH_ROUNDS ||
		(batch->lc->simulated && run->due.due_at != before->due.due_at))
		before->closed = true;
	return !before->closed;
}

/* The candidate is for a later batch. A subject that has all its rounds ends a batch out of a window, where all of its rows come next. */
static void
refuse(Claim *claim, LcRun *before, TimestampTz due_at)
{
	claim->refused++;
	if (!claim->windowed)
		leave(claim, due_at);
	else if (before->round + 1 < LC_BATCH_ROUNDS)
		lc_window_defer(claim->scan);
	else
	{
		lc_window_unread(claim->scan);
		claim->limit = claim->batch->n;
	}
}

/* Gives the candidate at the end of batch->runs its round; false: it is none for this batch. */
static bool
join_round(Claim *claim, TimestampTz due_at)
{
	LcRunBatch *batch = claim->batch;
	LcRun	   *run = &batch->runs[batch->n];
	int			before = lc_keymap_put(batch->map, batch->n);

	if (before < 0)
		return true;
	if (!may_follow(batch, &batch->runs[before], run))
	{
		(void) lc_keymap_put(batch->map, before);
		refuse(claim, &batch->runs[before], due_at);
		return false;
	}
	run->round = batch->runs[before].round + 1;
	return true;
}

/* Has it looked at as many rows as the batch is worth? */
static inline bool
has_seen_enough(Claim *claim)
{
	return claim->seen >= claim->max_seen || claim->refused > LC_SMALL_BATCH + claim->batch->n;
}

/* Adds candidates to batch->runs until there are `limit`. */
static void
collect(Claim *claim)
{
	LcRunBatch *batch = claim->batch;

	while (batch->n < claim->limit)
	{
		LcRun	   *run = &batch->runs[batch->n];
		TimestampTz due_at;

		if (has_seen_enough(claim))
			return;
		CHECK_FOR_INTERRUPTS();
		memset(run, 0, sizeof(LcRun));
		if (!next_due_row(claim, &run->due))
			return;
		claim->seen++;
		due_at = run->due.due_at;
		if (claim->scan->marked != 0 && lc_due_hash(batch->lc, &run->due) != claim->scan->marked)
		{
			leave(claim, due_at);
			continue;
		}
		if (run->due.kind != LC_DUE_RULE)
		{
			run->plan = lc_version_plan(batch->lc, run->due.program);
			if (run->plan->paused)
				continue;
		}
		if (batch->advances && batch->lc->reads_clock && batch->n > 0 && due_at != batch->runs[0].due.due_at)
		{
			leave(claim, due_at);
			claim->limit = batch->n;
			return;
		}
		if (!join_round(claim, due_at))
			continue;
		run->at = batch->lc->simulated ? due_at : batch->now;
		batch->n++;
	}
}

/* Deletes a row; false: it is not ours to take. */
static bool
take_row(Claim *claim, LcDue *due, CommandId cid)
{
	TM_FailureData failure;
	TM_Result	result;

	if (claim->windowed && !(fetch_row(claim, &due->tid) && lc_due_is(claim->batch->lc, claim->slot, due)))
		return false;
	result = table_tuple_delete(claim->due, &due->tid, cid, claim->snapshot, InvalidSnapshot, false, &failure, false);
	if (result == TM_BeingModified)
	{
		leave(claim, due->due_at);
		claim->locked = true;
	}
	return result == TM_Ok;
}

/* Takes the rows of the candidates from `first` on, in the order of the table; those that were not ours to take leave the batch. */
static void
take(Claim *claim, int first)
{
	LcRunBatch *batch = claim->batch;
	int			n = batch->n - first;
	LcOrder    *order = palloc(sizeof(LcOrder) * Max(n, 1));
	CommandId	cid = GetCurrentCommandId(true);
	int			taken = first;

	for (int i = 0; i < n; i++)
	{
		order[i].by = lc_place(&batch->runs[first + i].due.tid);
		order[i].number = first + i;
	}
	lc_order_sort(order, n);
	for (int i = 0; i < n; i++)
	{
		LcRun	   *run = &batch->runs[order[i].number];

		if (!take_row(claim, &run->due, cid))
			run->state = LC_RUN_DROPPED;
	}
	for (int i = first; i < batch->n; i++)
		if (batch->runs[i].state != LC_RUN_DROPPED)
			batch->runs[taken++] = batch->runs[i];
	if (taken < batch->n)
	{
		batch->n = taken;
		lc_keymap_rebuild(batch->map, batch->n);
	}
	pfree(order);
}

/* Timers, all of which are of the first round, are a round before it. */
static inline int
turn_of(const LcRun *run)
{
	return run->due.kind == LC_DUE_RULE ? 0 : run->round + 1;
}

/*
 * Puts the runs into the order of their rounds, and leaves that within a round alone but for timers, which come first: a step that moves a subject does not
 * find the timer that we have claimed and arms another one, so none may be left for the half of a batch that is run after that step.
 */
static void
order_by_round(LcRunBatch *batch)
{
	int			ends[LC_BATCH_ROUNDS + 2] = {0};
	LcRun	   *runs;
	bool		ordered = true;

	for (int i = 0; i < batch->n; i++)
	{
		ends[turn_of(&batch->runs[i]) + 1]++;
		ordered &= i == 0 || turn_of(&batch->runs[i - 1]) <= turn_of(&batch->runs[i]);
	}
	if (ordered)
		return;
	for (int turn = 1; turn <= LC_BATCH_ROUNDS; turn++)
		ends[turn] += ends[turn - 1];
	runs = palloc(sizeof(LcRun) * batch->n);
	for (int i = 0; i < batch->n; i++)
		runs[ends[turn_of(&batch->runs[i])]++] = batch->runs[i];
	memcpy(batch->runs, runs, sizeof(LcRun) * batch->n);
	pfree(runs);
}

/* What the scan knows now. */
static void
remember(Claim *claim)
{
	LcQueueScan *scan = claim->scan;
	TimestampTz mark = claim->at_end ? Min(scan->next_due, claim->batch->now) : claim->last;

	if (claim->windowed)
	{
		scan->window.left = Min(scan->window.left, claim->left);
		scan->next_due = claim->batch->now;
		return;
	}
	if (mark > scan->low_water)
		scan->low_water = mark;
	lc_scan_lower(scan, claim->left);
	if (!claim->at_end)
		scan->next_due = claim->batch->now;
	else if (claim->locked)
		scan->next_due = Min(scan->next_due, claim->batch->now + LC_RETRY_LOCKED);
}

void
lc_claim_runs(LcRunBatch *batch, LcQueueScan *scan, int limit)
{
	Claim		claim = {.batch = batch, .scan = scan, .limit = limit};
	bool		fills;

	if (!batch->state->scanned)
		scan->low_water = DT_NOBEGIN;
	batch->state->scanned = true;
	batch->n = 0;
	batch->runs = palloc(sizeof(LcRun) * limit);
	batch->map = lc_keymap_make(batch->lc, batch->runs, limit);
	if (scan->low_water == DT_NOBEGIN || scan->ahead_at == scan->nahead)
		scan->nahead = scan->ahead_at = 0;
	claim.max_seen = limit * 4;
	claim.left = DT_NOEND;
	claim.windowed = lc_window_open(scan);
	fills = !claim.windowed && scan->ahead_at == scan->nahead && scan->context != NULL && scan->limit == 0 && scan->marked == 0 &&
		!batch->lc->simulated && lc_window_rows(limit) > 0;
	claim.last = scan->low_water;
	scan->next_due = DT_NOEND;

	claim.due = table_open(batch->lc->tables[LC_DUE], RowExclusiveLock);
	claim.blocks = RelationGetNumberOfBlocks(claim.due);
	claim.index = index_open(lc_due_index(claim.due, LC_DUE_DUE_AT), AccessShareLock);
	claim.slot = table_slot_create(claim.due, NULL);
	claim.snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (fills)
		open_window(&claim);
	for (;;)
	{
		int			first = batch->n;

		collect(&claim);
		take(&claim, first);
		/* Rows that somebody else has taken: look further, until there is something to do. */
		if (claim.at_end || batch->n > claim.limit / 2 || (batch->n > 0 && claim.index_scan == NULL))
			break;
		if (has_seen_enough(&claim))
		{
			if (batch->n > 0)
				break;
			claim.max_seen += limit * 4;
			claim.refused = 0;
		}
	}
	order_by_round(batch);
	if (claim.index_scan != NULL)
	{
		/* what is left would make us forget it */
		if (!claim.at_end && limit <= LC_SMALL_BATCH && claim.left == DT_NOEND && !batch->advances)
			read_ahead(&claim, limit);
		index_endscan(claim.index_scan);
	}
	UnregisterSnapshot(claim.snapshot);
	ExecDropSingleTupleTableSlot(claim.slot);
	index_close(claim.index, NoLock);
	table_close(claim.due, NoLock);
	remember(&claim);
	CommandCounterIncrement();
}

void
lc_scan_lower(LcQueueScan *scan, TimestampTz at)
{
	if (at < scan->low_water)
		scan->low_water = at;
	if (scan->ahead_at < scan->nahead && at < scan->ahead[scan->nahead - 1].due_at)
		scan->nahead = scan->ahead_at = 0;
	if (scan->window.rows != NULL && at < scan->window.left)
		scan->window.left = at;
}
