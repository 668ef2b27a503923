/*
 * pages.c: rows that belong together go on pages of their own.
 *
 * PostgreSQL puts a new row wherever there is room for it. In a table whose rows come and go at random, a queue above all, that is soon one hole on
 * each page: rows that are written together, and will be read and deleted together, lie on as many pages as there are rows. Here a page takes
 * part only when a quarter of it is free or more; when there is none the table grows. Smaller holes are left to rows that come one by one.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "utils/rel.h"

#include "catalog/pages.h"

#define ROOM	(BLCKSZ / 4)
#define TRIES	100				/* pages of which the free space map says more than is true, looked at in search of one */

/* How much room for rows there really is on a page; 0: none to speak of, or no such page. */
static Size
room_on(Relation rel, BlockNumber block)
{
	Buffer		buffer;
	Size		room;

	if (block >= RelationGetNumberOfBlocks(rel))
		return 0;
	buffer = ReadBuffer(rel, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	room = PageIsNew(BufferGetPage(buffer)) ? 0 : PageGetHeapFreeSpace(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	return room - Min(room, RelationGetTargetPageFreeSpace(rel, HEAP_DEFAULT_FILLFACTOR));
}

/* Goes to the next page with room enough. False: there is none, or only after a long search. */
static bool
next_page(Relation rel, LcPages *pages)
{
	for (int i = 0; i < TRIES; i++)
	{
		pages->block = pages->block == InvalidBlockNumber ? GetPageWithFreeSpace(rel, ROOM)
			: RecordAndGetPageWithFreeSpace(rel, pages->block, pages->room, ROOM);
		if (pages->block == InvalidBlockNumber)
			return false;
		pages->room = room_on(rel, pages->block);
		if (pages->room >= ROOM)
			return true;
	}
	return false;
}

/* How many of the rows fit on the page, which then is theirs. */
static int
take_room(LcPages *pages, TupleTableSlot **rows, int n)
{
	int			fitting = 0;

	while (fitting < n)
	{
		bool		should_free;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(rows[fitting], false, &should_free);
		Size		size = MAXALIGN(tuple->t_len) + sizeof(ItemIdData);

		if (should_free)
			heap_freetuple(tuple);
		if (size > pages->room)
			break;
		pages->room -= size;
		fitting++;
	}
	return fitting;
}

void
lc_pages_begin(LcPages *pages)
{
	pages->block = InvalidBlockNumber;
	pages->room = 0;
	pages->grows = false;
}

void
lc_pages_insert(Relation rel, LcPages *pages, TupleTableSlot **rows, int n)
{
	CommandId	cid = GetCurrentCommandId(true);

	if (rel->rd_tableam != GetHeapamTableAmRoutine())
	{
		table_multi_insert(rel, rows, n, cid, 0, NULL);
		return;
	}
	while (n > 0)
	{
		int			fitting = n;

		if (!pages->grows && !next_page(rel, pages))
			pages->grows = true;
		if (!pages->grows)
			fitting = take_room(pages, rows, n);
		/* a row that is larger than that is stored elsewhere in part, or has a page for itself */
		if (fitting == 0)
		{
			pages->grows = true;
			fitting = n;
		}
		RelationSetTargetBlock(rel, pages->grows ? InvalidBlockNumber : pages->block);
		/* When somebody has taken the room meanwhile, this makes the table grow as well. */
		table_multi_insert(rel, rows, fitting, cid, TABLE_INSERT_SKIP_FSM, NULL);
		rows += fitting;
		n -= fitting;
	}
}
