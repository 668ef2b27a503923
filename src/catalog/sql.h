/*
 * sql.h: running SQL from C. All statements of capture and of the engine go through here.
 *
 * Statements see the latest committed data (GetLatestSnapshot), also under REPEATABLE READ and above, as the checks of foreign keys do. Names
 * in them are qualified. The caller is connected to SPI.
 */
#ifndef LC_SQL_H
#define LC_SQL_H

#include "executor/spi.h"

/* A statement prepared on first use, in two plans: a generic one for few keys, one made for the values for many. Lives in `context`. */
typedef struct LcStatement
{
	char	   *sql;
	int			nargs;
	Oid		   *types;
	SPIPlanPtr	generic;
	SPIPlanPtr	custom;
	bool		lookup;			/* the generic one for any number */
	bool		no_force;		/* the plan in use was last looked at without forced row security */
	struct LcStatement *dense;	/* the same for many keys that lie close together, or NULL; its caller chooses */
} LcStatement;

#define LC_FEW_KEYS 16			/* up to here the generic plan */

/* Once in each process. */
extern void lc_sql_init(void);

/* The statement and its plans live as long as CurrentMemoryContext. */
extern LcStatement *lc_statement(const char *sql, int nargs, const Oid *types);

/*
 * One that looks up rows of state tables by an index, one key after the other: either a join of unnest by all that finds them, or a single
 * `key = ANY ($1)` and nothing else that is compared with an array. Takes as long for each key, however many there are and whatever ANALYZE has seen.
 */
extern LcStatement *lc_lookup_statement(const char *sql, int nargs, const Oid *types);

/* Runs it with a new latest snapshot; nkeys chooses the plan. Result in SPI_tuptable and SPI_processed; returns SPI's code. */
extern int	lc_execute(LcStatement *statement, Datum *values, const char *nulls, int nkeys);

/*
 * The same, with each row given to `row` as it comes, with the number of its columns, types and all in the slot; nothing of it is kept. The row is in the
 * memory context of the executor: what `row` allocates lives until the statement ends. Only for statements that write nothing.
 */
typedef void (*LcRowFunction) (TupleTableSlot *slot, void *arg);
extern void lc_execute_rows(LcStatement *statement, Datum *values, const char *nulls, int nkeys, LcRowFunction row, void *arg);

/* Runs a text once, without arguments or with; for definitions and rare paths. */
extern int	lc_run(const char *sql);
extern int	lc_runf(const char *format,...) pg_attribute_printf(1, 2);
extern int	lc_run_args(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls);

/* SPI_prepare_cursor, of a statement that forced row security does not hide anything from. Never NULL. */
extern SPIPlanPtr lc_prepare(const char *sql, int nargs, Oid *types, int options);

/* Builds a one-dimensional array; nulls may be NULL. In CurrentMemoryContext. */
extern Datum lc_array(Datum *values, bool *nulls, int n, Oid element_type);

#endif							/* LC_SQL_H */
