/*
 * due.h: the due queue, <lifecycle>._due: inserting, claiming, removing.
 */
#ifndef LC_DUE_H
#define LC_DUE_H

#include "catalog/definitions.h"
#include "storage/itemptr.h"

#define LC_DUE_STEP		's'
#define LC_DUE_RULE		'r'

typedef struct LcDue
{
	TimestampTz due_at;
	Datum		subject;
	int64		enrollment;		/* 0: none */
	TimestampTz entered_at;
	int			program;		/* LcVersion.id or LcRule.id */
	int			step;
	int16		attempts;
	char		kind;
	bool		shadow;
	ItemPointerData tid;		/* of the claimed row */
} LcDue;

/* Inserts rows, in bulk, and lets the commit wake the scheduler by the earliest of them. As the lifecycle's owner. */
extern void lc_due_insert(LcLifecycle *lc, const LcDue *rows, int n);

/*
 * Deletes the due rows of enrollments that have just been ended (an array of keys and one of enrollment ids, pairwise), with a new snapshot each
 * time until none is left: waits for a runner that holds one.
 */
extern void lc_due_remove(LcLifecycle *lc, const Datum *subjects, const int64 *enrollments, int n);

#endif							/* LC_DUE_H */
