/*
 * window.c: a backlog is run in the order of the table.
 *
 * Due order has nothing to do with where rows lie, so a batch of 20,000 out of a million rows touches as many pages of the queue, and as many of each
 * index by subject. When more than a batch is overdue, the scan therefore notes what comes next for several batches, by the index alone, and sorts
 * it by place: each batch then is a dense part of the table and, since rows are mostly written in some order of subjects, of those indexes too. The
 * price: rows of one window, which are overdue all together, are run in any order. A simulated lifecycle and run_due() keep to due order.
 *
 * A place is only where to look: the row may be gone, or another may lie there. The low-water mark of the scan stays where it was until the window is
 * through, and then does not pass what was left meanwhile, or has become visible meanwhile (lc_scan_lower). A row that the batch does not take, since
 * its subject has its share of it, is deferred to the end of the window.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/itup.h"
#include "engine/window.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

static inline int
compare_candidates(const LcCandidate *a, const LcCandidate *b)
{
	return ItemPointerCompare(unconstify(ItemPointerData *, &a->tid), unconstify(ItemPointerData *, &b->tid));
}

#define ST_SORT sort_candidates
#define ST_ELEMENT_TYPE LcCandidate
#define ST_COMPARE(a, b) compare_candidates(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

int
lc_window_rows(int limit)
{
	return limit > LC_SMALL_BATCH ? limit * LC_WINDOW_BATCHES : 0;
}

void
lc_window_fill(LcQueueScan *scan, IndexScanDesc index_scan, int limit, TimestampTz now)
{
	LcWindow   *window = &scan->window;
	int			room = lc_window_rows(limit);

	window->rows = MemoryContextAlloc(scan->context, sizeof(LcCandidate) * room);
	window->n = window->at = window->deferred = 0;
	window->left = DT_NOEND;
	while (window->n < room)
	{
		ItemPointer tid = index_getnext_tid(index_scan, ForwardScanDirection);
		LcCandidate *candidate = &window->rows[window->n];
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (tid == NULL)
			break;
		candidate->due_at = DatumGetTimestampTz(index_getattr(index_scan->xs_itup, 1, index_scan->xs_itupdesc, &isnull));
		if (candidate->due_at > now)
			break;
		candidate->tid = *tid;
		window->last = candidate->due_at;
		window->n++;
	}
	/* Not even a batch: the index leads to it as well. */
	if (window->n < limit)
	{
		lc_window_forget(scan);
		return;
	}
	sort_candidates(window->rows, window->n);
	ereport(DEBUG1,
			(errmsg_internal("lifecycle \"%s\": %d overdue rows are taken in the order of the table", scan->lifecycle, window->n)));
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

bool
lc_window_next(LcQueueScan *scan, LcCandidate *candidate)
{
	LcWindow   *window = &scan->window;

	if (window->at == window->n)
		return false;
	*candidate = window->rows[window->at++];
	return true;
}

/* There is room: those before have been read. */
void
lc_window_defer(LcQueueScan *scan, const LcCandidate *candidate)
{
	scan->window.rows[scan->window.deferred++] = *candidate;
}

void
lc_window_forget(LcQueueScan *scan)
{
	if (scan->window.rows != NULL)
		pfree(scan->window.rows);
	memset(&scan->window, 0, sizeof(LcWindow));
}
