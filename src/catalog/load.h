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

/* A hash of what an entry takes from a relation: its name, owner and kind and its columns. 0: there is no such relation. */
extern uint64 lc_relation_signature(Oid relation);

#endif							/* LC_LOAD_H */
