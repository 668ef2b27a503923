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

extern LcRows *lc_rows_begin(LcLifecycle *lc, LcSource *source);
extern LcEvent *lc_rows_add(LcRows *rows, TupleTableSlot *slot, LcListener *listener);
extern void lc_rows_add_old(LcRows *rows, LcEvent *event, TupleTableSlot *slot, TupleTableSlot *old_slot);
extern void lc_rows_run(LcRows *rows);
extern LcListener *lc_row_listener(LcLifecycle *lc, LcSource *source, TupleTableSlot *slot);
extern TimestampTz lc_event_time(LcSource *source, Datum value, bool isnull, TimestampTz now);
extern LcEvent **lc_sort_events(LcLifecycle *lc, LcEvent *events, int n);
extern LcRow *lc_row_keep(LcColumns *columns, TupleTableSlot *slot);

/* becomes.c: keeps the events for which the condition of their source has become true. */
extern void lc_filter_becomes(LcRows *rows);

/* changes.c: changed rows of the subject table. */
extern void lc_subject_inserted(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc);
extern void lc_subject_updated(LcLifecycle *lc, Tuplestorestate *before, Tuplestorestate *after, TupleDesc desc);
extern void lc_subject_deleted(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc);
extern void lc_subject_truncated(LcLifecycle *lc);

#endif							/* LC_ROWS_H */
