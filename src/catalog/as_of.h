/*
 * as_of.h: conditions that see event sources as of a time.
 */
#ifndef LC_AS_OF_H
#define LC_AS_OF_H

#include "catalog/definitions.h"

/* What a query must offer beside the rows of a condition, in the same alias: the time, and what time it is now. */
#define LC_AS_OF "\"as of\""
#define LC_AS_OF_NOW "\"as of now\""

/*
 * The text of the condition in which the event sources that its subqueries read end at the time LC_AS_OF. NULL: it reads none. Belongs to the cache entry.
 */
extern const char *lc_condition_as_of(LcLifecycle *lc, LcCondition *condition);

#endif							/* LC_AS_OF_H */
