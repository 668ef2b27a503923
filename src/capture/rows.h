/*
 * rows.h: reading changed rows; private to capture.
 */
#ifndef LC_ROWS_H
#define LC_ROWS_H

#include "batch.h"
#include "executor/tuptable.h"
#include "utils/tuplestore.h"

/* Rows of one source that somebody listens to. */
typedef struct LcRows
{
	MemoryContext context;
	LcLifecycle *lc;
	LcSource   *source;
	LcColumns  *columns;
	TimestampTz now;
	int			n;
	int			room;
	LcEvent    *events;
	int64		orphans;
} LcRows;

/* Allocates below `parent`; lc_rows_run frees it. */
extern LcRows *lc_rows_begin(LcLifecycle *lc, LcSource *source, MemoryContext parent);
extern LcEvent *lc_rows_add(LcRows *rows, TupleTableSlot *slot, LcListener *listener);
extern bool lc_rows_full(LcRows *rows);
extern void lc_rows_run(LcRows *rows);
extern LcListener *lc_row_listener(LcLifecycle *lc, LcSource *source, TupleTableSlot *slot);
extern TimestampTz lc_event_time(LcSource *source, Datum value, bool isnull, TimestampTz now);
extern LcEvent **lc_sort_events(LcLifecycle *lc, LcEvent *events, int n);
extern LcRow *lc_row_keep(LcColumns *columns, TupleTableSlot *slot);

/* listen.c: the lifecycle of that name, or NULL: there is none. False: its definitions cannot be loaded, which has been warned of. */
extern bool lc_capture_load(const char *name, LcLifecycle **lc);

/* when.c: notes the function of our triggers on sources. */
extern void lc_when_learn(Oid function);

/* collected.c: begins to collect the rows of a statement. */
extern LcRows *lc_collect(LcLifecycle *lc, LcSource *source);

/* What the statement at work has collected; NULL: no statement trigger will fold it. begin: it will, also when this is its first row. */
extern LcRows *lc_collected(LcLifecycle *lc, LcSource *source, bool begin);

/* Is there anything that a statement trigger is to fold? */
extern bool lc_is_collecting(void);

extern void lc_fold_collected(LcLifecycle *lc, LcSource *source);

/* becomes.c: keeps the row as it was before the update with its event. */
extern void lc_rows_add_old(LcRows *rows, LcEvent *event, TupleTableSlot *old_slot);

/* Keeps the events for which the condition of their source has become true. */
extern void lc_filter_becomes(LcRows *rows);

/* changes.c: changed rows of the subject table. */
extern void lc_subject_inserted(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc);
extern void lc_subject_updated(LcLifecycle *lc, Tuplestorestate *before, Tuplestorestate *after, TupleDesc desc);
extern void lc_subject_deleted(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc);
extern void lc_subject_truncated(LcLifecycle *lc);
extern void lc_subject_row(LcLifecycle *lc, TupleTableSlot *before, TupleTableSlot *after);

#endif							/* LC_ROWS_H */
