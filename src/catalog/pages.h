/*
 * pages.h: rows that belong together go on pages of their own.
 */
#ifndef LC_PAGES_H
#define LC_PAGES_H

#include "executor/tuptable.h"
#include "storage/block.h"
#include "utils/relcache.h"

/* Where a series of inserts into one table is. */
typedef struct LcPages
{
	BlockNumber block;			/* taken last from the free space map … */
	Size		room;			/* … and what is free on it */
	bool		grows;			/* the table, since no page has room */
} LcPages;

extern void lc_pages_begin(LcPages *pages);

/* What comes one by one afterwards does not go on where the series has ended. */
extern void lc_pages_end(Relation rel);

/* Inserts rows one beside the other, without entries in indexes; their places are in the slots then. The caller holds RowExclusiveLock. */
extern void lc_pages_insert(Relation rel, LcPages *pages, TupleTableSlot **rows, int n);

#endif							/* LC_PAGES_H */
