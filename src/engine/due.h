/*
 * due.h: the due queue, <lifecycle>._due: inserting, claiming, removing.
 */
#ifndef LC_DUE_H
#define LC_DUE_H

#include "access/skey.h"
#include "catalog/definitions.h"
#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

/* Columns of _due, in the order of its prototype. */
#define LC_DUE_DUE_AT		1
#define LC_DUE_SUBJECT		2
#define LC_DUE_ENROLLMENT	3
#define LC_DUE_ENTERED		4
#define LC_DUE_PROGRAM		5
#define LC_DUE_STEP_NUMBER	6
#define LC_DUE_ATTEMPTS		7
#define LC_DUE_KIND			8
#define LC_DUE_SHADOW		9
#define LC_DUE_NATTS		9

#define LC_DUE_STEP		's'		/* run this step */
#define LC_DUE_WAIT		'w'		/* the wait of this step ends */
#define LC_DUE_RULE		'r'

typedef struct LcDue
{
	TimestampTz due_at;
	Datum		subject;
	int64		enrollment;		/* 0: none */
	TimestampTz entered_at;
	int			program;		/* LcRule.id for LC_DUE_RULE, else LcVersion.id */
	int			step;
	int16		attempts;
	int16		turns;			/* so many runs and timers have set off each other until this one; at most LC_MAX_TURNS; forgotten with an attempt */
	int16		transients;		/* deadlocks and serialization failures in a row that were not counted as attempts; likewise */
	char		kind;
	bool		shadow;
	ItemPointerData tid;		/* of the claimed row */
} LcDue;

/* Due time of the earliest row that lc_due_insert has inserted since the runner set this to DT_NOEND: also what steps have set off. */
extern TimestampTz lc_due_earliest;

/* Grows with each lc_due_remove: enrollments have been ended, also some whose rows it did not find since the runner has claimed them. */
extern uint64 lc_due_removals;

/* Does a wait of that length count as time that passes? Shorter ones would still let runs set off each other all the time. */
#define lc_is_pause(from, until) ((until) - USECS_PER_SEC >= (from))

/* The row in a slot of the queue; the key is copied into CurrentMemoryContext. */
extern void lc_due_read(LcLifecycle *lc, TupleTableSlot *slot, LcDue *due);

/* Is the row in a slot of the queue this one? */
extern bool lc_due_is(LcLifecycle *lc, TupleTableSlot *slot, const LcDue *due);

/* Inserts rows, in bulk, and lets the commit wake the scheduler by the earliest of them. As the lifecycle's owner. */
extern void lc_due_insert(LcLifecycle *lc, const LcDue *rows, int n);

/*
 * Deletes the due rows of enrollments that have just been ended (an array of keys and one of enrollment ids, pairwise), with a new snapshot each
 * time until none is left: waits for a runner that holds one. enrollments NULL: all rows of the subjects, timers too.
 */
extern void lc_due_remove(LcLifecycle *lc, const Datum *subjects, const int64 *enrollments, int n);

/* The B-tree index of an open _due that begins with the column; a missing one is an error that says how to make it. */
extern Oid	lc_due_index(Relation due, AttrNumber column);

#endif							/* LC_DUE_H */
