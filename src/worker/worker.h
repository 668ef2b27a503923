/*
 * worker.h: shared memory, wake-up and statistics, as the other parts use them. Everything here works, and does nothing, on a server where the
 * library was not preloaded.
 */
#ifndef LC_WORKER_H
#define LC_WORKER_H

#include "datatype/timestamp.h"

/* Called by _PG_init: shared memory, hooks, the transaction callback, the launcher. */
extern void lc_worker_init(void);

/*
 * Notes that this transaction has put something into the due queue of a lifecycle that is due at that time. Its commit lowers the low-water mark
 * and wakes the scheduler of this database when that is due before its next wake-up. Cheap; called per statement or batch.
 */
extern void lc_wake_note(const char *lifecycle, TimestampTz due_at);

/* Notes that this transaction has changed definitions: its commit wakes the scheduler, which would otherwise see them within 5 s. */
extern void lc_wake_definitions(void);

/* What a rule did in one statement; counted in shared memory, shown by lifecycle.rule_stats. Also on rollback, as pg_stat counters of rows are not. */
extern void lc_stats_rule(int rule_id, int64 rows, int64 hits, int64 errors, int64 microseconds);

/* Other counters of one lifecycle, shown by lifecycle.status(): by a short constant name, such as "events without subject". */
extern void lc_stats_count(const char *lifecycle, const char *what, int64 n);

/* How many errors in a row a rule has had in this database since its last success (0 when not preloaded). */
extern int64 lc_stats_rule_error_streak(int rule_id);

/*
 * Removes the counters that `gone` says, of a rule or (lifecycle not NULL) of a lifecycle, at once and whatever becomes of the transaction. It is called
 * under locks and must neither wait nor fail.
 */
extern void lc_stats_forget(bool (*gone) (Oid database, const char *lifecycle, int rule_id, void *arg), void *arg);

#endif							/* LC_WORKER_H */
