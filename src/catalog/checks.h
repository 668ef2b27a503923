/*
 * checks.h: what all definition functions check and do alike.
 */
#ifndef LC_CHECKS_H
#define LC_CHECKS_H

#include "catalog/definitions.h"
#include "fmgr.h"

/* Refuses names that are empty, too long or would not work as `name.column` in a condition. `what` is for the message. */
extern void lc_check_name(const char *what, const char *name);

/* Locks the definitions against other definers, and optionally a table, until the end of the transaction; lock_timeout bounds it, and errors say which. */
extern void lc_lock_definitions(void);
extern void lc_lock_table(Oid table);

/*
 * Locks tables against everybody. Writers lock user tables before the queue, the worker does it the other way round: as long as it can, this waits for
 * one table only while it holds none.
 */
extern void lc_lock_to_drop(List *tables);

/* An ordinary table or a partitioned one, not temporary, owned by the current role; `use` is for the message, such as "the subject table". */
extern void lc_check_table(Oid table, const char *use);

/* Rows that come through the root of a partitioned table fire no statement triggers of its partitions. */
extern void lc_check_no_partition(Oid table);

/* Does a subscription of this database write the table, or a partition of it? */
extern bool lc_is_subscribed(Oid table);

/* The names of a table's columns, for hints. */
extern char *lc_column_list(Oid table);

/* A column that rows of the table hold, or an error; one that names the existing ones where it does not exist. */
extern AttrNumber lc_check_column(Oid table, const char *column, const char *use);

/* Arguments: NULL when the SQL argument is NULL; an error that names the argument when it must not be. */
extern char *lc_arg_text(FunctionCallInfo fcinfo, int n);
extern char *lc_arg_required(FunctionCallInfo fcinfo, int n, const char *argument);
extern Interval *lc_arg_interval(FunctionCallInfo fcinfo, int n, const char *argument);
extern List *lc_text_array_list(Datum array, const char *argument);

/* One column of a row of a definition table. */
typedef struct LcColumn
{
	const char *name;
	const char *value;			/* as text; NULL: NULL */
	bool		key;
} LcColumn;

typedef enum LcDefined
{
	LC_CREATED,
	LC_UNCHANGED,
	LC_REPLACED
} LcDefined;

/* Inserts the row, or updates the one with the same key, or finds it to be the same. Connected to SPI. */
extern LcDefined lc_define_row(const char *table, const LcColumn *columns, int n);

/* created, unchanged, replaced. */
extern Datum lc_defined_text(LcDefined defined);

/* Names of an attribute list or of stages for hints: "a", "b", … */
extern char *lc_quoted_list(List *names);

#endif							/* LC_CHECKS_H */
