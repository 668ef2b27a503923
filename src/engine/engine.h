/*
 * engine.h: what workers use of the engine.
 */
#ifndef LC_ENGINE_H
#define LC_ENGINE_H

#include "catalog/definitions.h"

/* A scan of one lifecycle's queue over many batches: remembers how far it has come (the low-water mark). */
typedef struct LcQueueScan
{
	char		lifecycle[64];
	TimestampTz low_water;		/* nothing visible is due before this; DT_NOBEGIN: unknown */
	TimestampTz next_due;		/* of the first row that was not due yet; DT_NOEND: none */
	bool		careful;		/* the last run was interrupted: one row at a time, attempts committed before */
	uint64		marked;			/* careful: the row whose attempt is counted, by a hash; 0: none */
} LcQueueScan;

/*
 * Runs one batch of what is due, at most lifecycle.batch_size rows, in the current transaction. Returns how many rows were run: 0 means that nothing
 * (more) is due and next_due is known. A failing row is recorded and put off or parked, never raised, except for cancel and shutdown.
 */
extern int	lc_run_batch(LcLifecycle *lc, LcQueueScan *scan);

/*
 * The same for at most `limit` rows. `until`: what is due until then, in a simulated lifecycle whose clock goes along with the rows; DT_NOEND: until now.
 */
extern int	lc_run_rows(LcLifecycle *lc, LcQueueScan *scan, int limit, TimestampTz until);

/*
 * With scan->careful: counts an attempt of the next due row, before lc_run_batch runs that row and no other. The caller commits in between, so that
 * a crash in the run is known afterwards. A row that crashed the server too often is parked instead, and the next one taken. False: nothing is due.
 */
extern bool lc_mark_attempt(LcLifecycle *lc, LcQueueScan *scan);

/* Lowers the mark of a scan: something due at that time has become visible. */
extern void lc_scan_lower(LcQueueScan *scan, TimestampTz at);

#endif							/* LC_ENGINE_H */
