/*
 * closest.h: hints about names that do not exist.
 */
#ifndef LC_CLOSEST_H
#define LC_CLOSEST_H

#include "nodes/pg_list.h"

/*
 * A hint for a name that is not among `names` (char *): the ones most like it, then up to twenty of all, `what` saying what they are, as in
 * "stages". NULL when there are no names.
 */
extern char *lc_names_hint(const char *name, List *names, const char *what);

#endif							/* LC_CLOSEST_H */
