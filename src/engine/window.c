/*
 * window.c: a backlog is run in the order of its subjects.
 *
 * Due order has nothing to do with where rows lie, so a batch of 20,000 out of a million rows touches as many pages of the queue, and as many of each
 * index by subject: an entry on a page that no other row of the batch touches costs twice as much. When more than a batch is overdue, the scan
 * therefore notes what is due for several batches, before the first of them, by the index alone, then reads it in the order of the table and sorts it
 * by subject: each batch then is a dense part of all that is kept by subject and, since it is written in that order, of the queue too when its rows
 * are due again.
 * The price: rows of one window, which are overdue all together, are run in any order, but those of one subject in due order, unless the timer of a
 * rule among them waits for the next batch. A simulated lifecycle and run_due() keep to due order.
 *
 * What was read is only what to look for: whoever takes a row looks in its place, where it may be gone, or another lie. The low-water mark of the scan
 * stays at the first row until the window is through, and then does not pass what was left meanwhile, or has become visible meanwhile (lc_scan_lower).
 * A row that the batch does not take, since its subject has its share of it, is deferred to the end of the window.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "engine/due.h"
#include "engine/window.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static inline int
compare_places(const LcWindowRow *a, const LcWindowRow *b)
{
	uint64		place = lc_place(&a->candidate.tid);
	uint64		other = lc_place(&b->candidate.tid);

	return place < other ? -1 : place > other;
}

#define ST_SORT sort_by_place
#define ST_ELEMENT_TYPE LcWindowRow
#define ST_COMPARE(a, b) compare_places(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static inline int
compare_subjects(const LcWindowRow *a, const LcWindowRow *b)
{
	if (a->subject != b->subject)
		return a->subject < b->subject ? -1 : 1;
	if (a->candidate.due_at != b->candidate.due_at)
		return a->candidate.due_at < b->candidate.due_at ? -1 : 1;
	return compare_places(a, b);
}

#define ST_SORT sort_by_subject
#define ST_ELEMENT_TYPE LcWindowRow
#define ST_COMPARE(a, b) compare_subjects(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

int
lc_window_rows(int limit)
{
	return limit > LC_SMALL_BATCH ? limit * LC_WINDOW_BATCHES : 0;
}

/* Of a key, as far as eight bytes tell: sorts as its index does, texts by their bytes. */
static uint64
subject_order(LcLifecycle *lc, Datum key)
{
	uint64		first = 0;

	if (lc->key_byval)
		return (uint64) key ^ (UINT64CONST(1) << 63);
	if (lc->key_len > 0)
		memcpy(&first, DatumGetPointer(key), Min(lc->key_len, sizeof(first)));
	else
		memcpy(&first, VARDATA_ANY(DatumGetPointer(key)), Min(VARSIZE_ANY_EXHDR(DatumGetPointer(key)), sizeof(first)));
	return pg_ntoh64(first);
}

/* Fills the window up with what is due, at most `most` rows; false: that was all. */
static bool
read_index(LcWindow *window, int most, IndexScanDesc index_scan, TimestampTz now)
{
	while (window->n < most)
	{
		ItemPointer tid = index_getnext_tid(index_scan, ForwardScanDirection);
		LcCandidate *candidate;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (tid == NULL)
			return false;
		if (window->n == window->room)
		{
			window->room *= 4;
			window->rows = repalloc_huge(window->rows, sizeof(LcWindowRow) * window->room);
		}
		candidate = &window->rows[window->n].candidate;
		candidate->due_at = DatumGetTimestampTz(index_getattr(index_scan->xs_itup, 1, index_scan->xs_itupdesc, &isnull));
		if (candidate->due_at > now)
			return false;
		candidate->tid = *tid;
		window->last = candidate->due_at;
		window->n++;
	}
	return true;
}

/* Reads the rows from `first` on; forgets what is gone. */
static void
read_rows(LcWindow *window, int first, LcLifecycle *lc, IndexScanDesc index_scan, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(window->context);
	int			n = first;

	window->dues = window->dues ? repalloc_huge(window->dues, sizeof(LcDue) * window->n) : palloc_extended(sizeof(LcDue) * window->n, MCXT_ALLOC_HUGE);
	sort_by_place(window->rows + first, window->n - first);
	for (int i = first; i < window->n; i++)
	{
		LcWindowRow *row = &window->rows[i];

		CHECK_FOR_INTERRUPTS();
		if (!table_tuple_fetch_row_version(index_scan->heapRelation, &row->candidate.tid, index_scan->xs_snapshot, slot))
			continue;
		lc_due_read(lc, slot, &window->dues[n]);
		row->subject = subject_order(lc, window->dues[n].subject);
		row->due = n;
		window->rows[n++] = *row;
	}
	window->n = n;
	MemoryContextSwitchTo(old);
}

/*
 * Begins with the first row that is due, read as an ordinary scan reads it: the index then forgets those before it that are gone, of which there may be
 * many at the mark, and the mark passes them. False: nothing is due.
 */
static bool
begin(LcWindow *window, LcQueueScan *scan, IndexScanDesc index_scan, TupleTableSlot *slot, TimestampTz now)
{
	TimestampTz due_at = DT_NOEND;
	bool		isnull;

	if (index_getnext_slot(index_scan, ForwardScanDirection, slot))
		due_at = DatumGetTimestampTz(slot_getattr(slot, LC_DUE_DUE_AT, &isnull));
	scan->low_water = Max(scan->low_water, Min(due_at, now));
	if (due_at > now)
		return false;
	window->context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle window", ALLOCSET_DEFAULT_SIZES);
	window->room = LC_SMALL_BATCH;
	window->rows = MemoryContextAlloc(window->context, sizeof(LcWindowRow) * window->room);
	window->rows[0].candidate.due_at = window->last = due_at;
	window->rows[0].candidate.tid = slot->tts_tid;
	window->n = 1;
	window->left = DT_NOEND;
	return true;
}

/* An error on the way leaves no window. */
bool
lc_window_fill(LcQueueScan *scan, LcLifecycle *lc, IndexScanDesc index_scan, TupleTableSlot *slot, int limit, TimestampTz now)
{
	LcWindow	window = {0};
	int			most = lc_window_rows(limit);
	int			read = 0;
	bool		full;

	if (!begin(&window, scan, index_scan, slot, now))
		return false;
	do
	{
		full = read_index(&window, most, index_scan, now);
		if (window.n > limit)
			read_rows(&window, read, lc, index_scan, slot);
		read = window.n;
	} while (full && window.n <= limit);
	/* Not more than a batch: the index leads to it as well. */
	if (window.n <= limit)
	{
		MemoryContextDelete(window.context);
		return false;
	}
	sort_by_subject(window.rows, window.n);
	MemoryContextSetParent(window.context, scan->context);
	scan->window = window;
	ereport(DEBUG1,
			(errmsg_internal("lifecycle \"%s\": %d overdue rows are taken in the order of their subjects", scan->lifecycle, window.n)));
	return true;
}

bool
lc_window_open(LcQueueScan *scan)
{
	LcWindow   *window = &scan->window;

	if (window->rows == NULL)
		return false;
	if (scan->low_water != DT_NOBEGIN)
	{
		if (window->at < window->n)
			return true;
		if (window->deferred > 0)
		{
			window->n = window->deferred;
			window->at = window->deferred = 0;
			return true;
		}
		scan->low_water = Max(scan->low_water, Min(window->last, window->left));
	}
	lc_window_forget(scan);
	return false;
}

const LcDue *
lc_window_next(LcQueueScan *scan)
{
	LcWindow   *window = &scan->window;

	return window->at == window->n ? NULL : &window->dues[window->rows[window->at++].due];
}

/* There is room: those before have been read. */
void
lc_window_defer(LcQueueScan *scan)
{
	LcWindow   *window = &scan->window;

	window->rows[window->deferred++] = window->rows[window->at - 1];
}

void
lc_window_unread(LcQueueScan *scan)
{
	scan->window.at--;
}

void
lc_window_forget(LcQueueScan *scan)
{
	if (scan->window.rows != NULL)
		MemoryContextDelete(scan->window.context);
	memset(&scan->window, 0, sizeof(LcWindow));
}
