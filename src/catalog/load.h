/*
 * load.h: building cache entries.
 */
#ifndef LC_LOAD_H
#define LC_LOAD_H

#include "catalog/definitions.h"

/* Reads all definitions of a lifecycle into a new entry, whose context is a child of the current one; NULL when there is no such lifecycle. */
extern LcLifecycle *lc_load_lifecycle(const char *name);

/* The name of a relation, qualified and quoted. */
extern char *lc_qualified_name(Oid relation);

#endif							/* LC_LOAD_H */
