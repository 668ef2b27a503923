/*
 * definer.h: what the functions that define things have in common.
 */
#ifndef LC_DEFINER_H
#define LC_DEFINER_H

#include "catalog/definitions.h"
#include "compat.h"
#include "fmgr.h"

/*
 * The lifecycle that argument 0 names, for changing its definitions: the current role may, and until the end of the transaction nobody else does. The
 * caller is connected to SPI.
 */
extern LcLifecycle *lc_definer_begin(FunctionCallInfo fcinfo);

/* An argument as text that must be given and a possible name: neither empty nor longer than 63 bytes. `what` it names is for messages. */
extern char *lc_definer_name(FunctionCallInfo fcinfo, int argument, const char *what);

/* Runs a statement on the definition tables as their owner; arguments are texts or NULL. Result as with SPI. */
extern void lc_definer_run(const char *sql, int nargs,...);

/* The first column of the result of lc_definer_run, or one field of it. */
extern List *lc_definer_names(void);
extern char *lc_definer_field(uint64 row, int column);

/* Raises that the lifecycle has no object of that kind and name; its others are in the hint. */
pg_noreturn extern void lc_definer_missing(LcLifecycle *lc, const char *what, const char *name, List *names);

/* The event source of that name; a missing one is an error. */
extern LcSource *lc_definer_source(LcLifecycle *lc, const char *name);

/* For ereport: the hint, or none when it is NULL. */
extern int	lc_definer_hint(const char *hint);

/* Does a value that is named so come from the event that began the run? element may be NULL. */
extern bool lc_reads_event_of_entry(const char *root, const char *element);

#endif							/* LC_DEFINER_H */
