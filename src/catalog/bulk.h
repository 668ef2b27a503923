/*
 * bulk.h: inserting many rows into one state table, several times faster than SQL can.
 *
 * Rows go through table_multi_insert and the executor's index insertion, checks of NOT NULL and CHECK included; a table that has triggers, row
 * security, generated columns or is not a plain table gets an ordinary INSERT instead. The caller holds no lock on the table; lc_bulk_begin takes
 * RowExclusiveLock. Memory is in a context of its own, freed by lc_bulk_end; an error leaves nothing to clean up.
 */
#ifndef LC_BULK_H
#define LC_BULK_H

#include "utils/rel.h"

typedef struct LcBulk LcBulk;

/* ncolumns: how many of the live columns the rows have, the first ones; columns that somebody has added behind get their defaults. */
extern LcBulk *lc_bulk_begin(Oid table, int ncolumns);

/* The rows belong together, and go on pages of their own (pages.h). */
extern void lc_bulk_together(LcBulk *bulk);

/* One row: a value for each of these columns in order (identity columns too). Values are copied. */
extern void lc_bulk_add(LcBulk *bulk, const Datum *values, const bool *nulls);

/* Writes what is left; returns the number of rows. The rows are visible to later commands of the transaction. */
extern int64 lc_bulk_end(LcBulk *bulk);

/* The next n values of a sequence, without a check of rights: *first … in values[] (an identity with CACHE hands out runs). */
extern void lc_sequence_next(Oid sequence, int n, int64 *values);

#endif							/* LC_BULK_H */
