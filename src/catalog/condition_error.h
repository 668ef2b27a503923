/*
 * condition_error.h: errors of the parser about the text of a condition; private to condition.c.
 */
#ifndef LC_CONDITION_ERROR_H
#define LC_CONDITION_ERROR_H

#include "catalog/condition.h"
#include "compat.h"

/* What an error of the parser is about. */
typedef struct LcConditionError
{
	const LcBinding *binding;
	int			prefix;			/* characters before the user's text; -1: the user's text itself was parsed */
	const char *lifecycle;
	const char *schema;
	Oid			on_table;
} LcConditionError;

/* In PG_CATCH: passes the error on, with a position that is one in the user's own text. */
pg_noreturn extern void lc_condition_rethrow(MemoryContext context, const LcConditionError *arg);

#endif							/* LC_CONDITION_ERROR_H */
