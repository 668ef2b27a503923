/*
 * time_limit.h: how long what the user has written may run.
 */
#ifndef LC_TIME_LIMIT_H
#define LC_TIME_LIMIT_H

#include "compat.h"
#include "utils/elog.h"
#include "utils/palloc.h"

typedef enum LcTimeLimit
{
	LC_LIMIT_CONDITION,			/* lifecycle.condition_timeout */
	LC_LIMIT_STEP				/* lifecycle.step_timeout: statements of run_sql */
} LcTimeLimit;
#define LC_NLIMITS 2

/*
 * Around a statement about so many rows: the setting, for each thousand of them. In PG_TRY from begin to end; in PG_CATCH call stop, which says whether the
 * time was over and then makes the error one of what ran (54000), no cancel; or rethrow, which does so and throws it. Of limits of one kind inside
 * each other the outermost holds.
 */
extern void lc_limit_begin(LcTimeLimit limit, int rows);
extern void lc_limit_end(LcTimeLimit limit);
extern bool lc_limit_stop(LcTimeLimit limit, ErrorData *error);
pg_noreturn extern void lc_limit_rethrow(LcTimeLimit limit, MemoryContext context);

#endif							/* LC_TIME_LIMIT_H */
