/*
 * engine.h: what workers use of the engine.
 */
#ifndef LC_ENGINE_H
#define LC_ENGINE_H

#include "catalog/definitions.h"
#include "storage/itemptr.h"

/* Batches up to so many rows read ahead in due order, larger ones take windows of a backlog. */
#define LC_SMALL_BATCH	512
#define LC_AHEAD		(4 * LC_SMALL_BATCH)

/* A due row that has been seen and not been looked at. */
typedef struct LcCandidate
{
	TimestampTz due_at;
	ItemPointerData tid;
} LcCandidate;

/* Where it lies in the table, to sort by: ItemPointerCompare is a call. */
static inline uint64
lc_place(const ItemPointerData *tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 | ItemPointerGetOffsetNumberNoCheck(tid);
}

typedef struct LcWindowRow
{
	uint64		subject;		/* the beginning of its key, or all of it */
	LcCandidate candidate;
	int			due;			/* in LcWindow.dues */
} LcWindowRow;

/* Due rows in the order of their subjects (window.c). */
typedef struct LcWindow
{
	MemoryContext context;		/* of all below */
	LcWindowRow *rows;			/* NULL: there is no window */
	struct LcDue *dues;			/* what was read of them */
	int			n;
	int			room;
	int			at;				/* the next of them */
	int			deferred;		/* so many of those before have been put off to the end */
	TimestampTz last;			/* the latest due time */
	TimestampTz left;			/* the earliest that was left for later, or has become visible since */
} LcWindow;

/*
 * A scan of one lifecycle's queue over many batches: remembers how far it has come (the low-water mark), and for small batches what comes next. Whoever
 * sets the mark to DT_NOBEGIN makes it forget both.
 */
typedef struct LcQueueScan
{
	char		lifecycle[64];
	TimestampTz low_water;		/* nothing visible is due before this; DT_NOBEGIN: unknown */
	TimestampTz next_due;		/* of the first row that was not due yet; DT_NOEND: none */
	int			limit;			/* rows of a batch, while an interrupted one is looked into; 0: lifecycle.batch_size */
	uint64		marked;			/* the only row that the next batch may run, by a hash; 0: any */
	int			nahead;			/* read ahead: */
	int			ahead_at;		/* the next of them */
	LcCandidate ahead[LC_AHEAD];	/* in due order */
	MemoryContext context;		/* in which windows live; NULL: strictly in due order */
	LcWindow	window;
} LcQueueScan;

/* Among how many rows may a batch of so many be chosen, counted from the first that is due? 0: it is the first ones. */
extern int	lc_window_rows(int limit);

/*
 * Runs one batch of what is due, at most lifecycle.batch_size or scan->limit rows, in the current transaction. Returns how many rows were run: 0
 * means that nothing (more) is due and next_due is known. A failing row is recorded and put off or parked, never raised, except for cancel and shutdown.
 */
extern int	lc_run_batch(LcLifecycle *lc, LcQueueScan *scan);

/*
 * The same for at most `limit` rows. `until`: what is due until then, in a simulated lifecycle whose clock goes along with the rows; DT_NOEND: until now.
 */
extern int	lc_run_rows(LcLifecycle *lc, LcQueueScan *scan, int limit, TimestampTz until);

/*
 * Where rows are run one at a time, since one of them may crash the server: marks the next due row, so that lc_run_batch runs that row and no other.
 * Returns its hash, by which the caller records, and commits, that it was begun; 0: nothing is due. The row of the hash `crashed` is parked instead
 * when with so many crashes it has been run lifecycle.max_attempts times, and the next one marked.
 */
extern uint64 lc_mark_next(LcLifecycle *lc, LcQueueScan *scan, uint64 crashed, int crashes);

/* Lowers the mark of a scan: something due at that time has become visible. */
extern void lc_scan_lower(LcQueueScan *scan, TimestampTz at);

#endif							/* LC_ENGINE_H */
