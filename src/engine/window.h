/*
 * window.h: a part of a backlog that is run in the order of its subjects.
 */
#ifndef LC_WINDOW_H
#define LC_WINDOW_H

#include "access/genam.h"
#include "engine/engine.h"
#include "executor/tuptable.h"

/* For how many batches a window is. */
#define LC_WINDOW_BATCHES	10

/*
 * Fills a window from an index scan over due_at that wants index tuples and begins at the mark, which is raised to the first row; false: not more than a
 * batch is due, and there is none. The slot is one of the queue.
 */
extern bool lc_window_fill(LcQueueScan *scan, LcLifecycle *lc, IndexScanDesc index_scan, TupleTableSlot *slot, int limit, TimestampTz now);

/* Is there something in the window? When it is through it raises the mark and is gone. */
extern bool lc_window_open(LcQueueScan *scan);

/* The next row, as it was when the window was filled; NULL: none in this turn. Until the window is forgotten. */
extern const struct LcDue *lc_window_next(LcQueueScan *scan);

/* What lc_window_next gave comes behind all others … */
extern void lc_window_defer(LcQueueScan *scan);

/* … or once more. */
extern void lc_window_unread(LcQueueScan *scan);

extern void lc_window_forget(LcQueueScan *scan);

#endif							/* LC_WINDOW_H */
