/*
 * condition.h: conditions and expressions of definitions, bound as SQL functions with a BEGIN ATOMIC body when they are defined.
 */
#ifndef LC_CONDITION_H
#define LC_CONDITION_H

#include "catalog/definitions.h"

/* The rows that are there where a condition is asked; reading others is an error. */
typedef enum LcRowsRead
{
	LC_ROWS_ALL,
	LC_ROWS_NO_RUN,				/* no `enrollment` */
	LC_ROWS_EVENT				/* `event` alone */
}			LcRowsRead;

typedef struct LcBinding
{
	const char *what;			/* for messages: "condition of transition \"x\"" */
	const char *name;			/* function name to make, at most 63 bytes; an existing one is replaced */
	const char *result;			/* SQL type: boolean, timestamptz, text, or SETOF jsonb */
	const char *source_text;	/* the user's expression, or query for SETOF jsonb */
	Oid			event_table;	/* InvalidOid: no row `event` */
	LcRowsRead	rows;
} LcBinding;

/*
 * Binds the text as a function (row, subject, [event,] enrollment) in the lifecycle's schema, owned by its owner. Errors are the parser's, with
 * the position in the user's text, plus: not boolean (or not the asked type), more than one statement,
 * modifies data, is over more than one row, reads rows that are not there.
 */
extern void lc_condition_bind(const char *lifecycle, const char *schema, Oid on_table, const LcBinding *binding);

/* Lets a bound function go with the extension: PostgreSQL would refuse to alter the tables that it uses. Replacing a function undoes this. */
extern void lc_condition_belong(Oid function);

/* Does the text bind with that event table (no error then)? Leaves nothing behind; *error is why not, palloc'd, or NULL. */
extern bool lc_condition_fits(const char *lifecycle, const char *schema, Oid on_table, const LcBinding *binding, char **error);

/*
 * Is the function gone, dropped with a table that it used, or not ours any more (missing_function)? What it belongs to is bound again when it is defined
 * as it was. name NULL: there is none to look for.
 */
extern bool lc_condition_missing(const char *schema, Oid on_table, const char *name);

/* Renames all overloads of the function; none is fine. */
extern void lc_condition_rename(const char *schema, const char *name, const char *new_name);

/* Drops all overloads of the function; none is fine. */
extern void lc_condition_drop(const char *schema, const char *name);

/* Loads bound functions by name: one LcCondition for each overload, in the current memory context. */
extern LcCondition **lc_condition_load(LcLifecycle *lc, const char *name, int *n);

/* A function name for an object: kind and object name, cut to 63 bytes at a character boundary with a hash where that is needed. */
extern char *lc_condition_name(const char *kind, const char *object);

#endif							/* LC_CONDITION_H */
