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

/* How much room there really is on a page; 0: there is no such page. */
static Size
room_on(Relation rel, BlockNumber block)
{
	Buffer		buffer;
	Page		page;
	Size		room;

	if (block >= RelationGetNumberOfBlocks(rel))
		return 0;
	buffer = ReadBuffer(rel, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	/* the insert initializes one that is new */
	room = PageIsNew(page) ? BLCKSZ - SizeOfPageHeaderData - sizeof(ItemIdData) : PageGetHeapFreeSpace(page);
	UnlockReleaseBuffer(buffer);
	return room;
}

/* Goes to the next page with so much room. False: there is none, or only after a long search. */
static bool
next_page(Relation rel, LcPages *pages, Size room)
{
	for (int i = 0; i < TRIES; i++)
	{
		pages->block = pages->block == InvalidBlockNumber ? GetPageWithFreeSpace(rel, room)
			: RecordAndGetPageWithFreeSpace(rel, pages->block, pages->room, room);
		if (pages->block == InvalidBlockNumber)
			return false;
		pages->room = room_on(rel, pages->block);
		if (pages->room >= room)
			return true;
	}
	return false;
}

/* What the row takes, before it is stored elsewhere in part. */
static Size
size_of(TupleTableSlot *row)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(row, false, &should_free);
	Size		size = MAXALIGN(tuple->t_len) + sizeof(ItemIdData);

	if (should_free)
		heap_freetuple(tuple);
	return size;
}

/* How many of the rows, none of them large, fit on the page, which then is theirs, but for the reserve; all where the table grows. */
static int
take_room(LcPages *pages, TupleTableSlot **rows, int n, Size reserve)
{
	int			fitting = 0;

	for (; fitting < n; fitting++)
	{
		Size		size = size_of(rows[fitting]);

		if (size > ROOM || (!pages->grows && size + reserve > pages->room))
			break;
		if (!pages->grows)
			pages->room -= size;
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
	Size		reserve = RelationGetTargetPageFreeSpace(rel, HEAP_DEFAULT_FILLFACTOR);
	int			fitting;

	/* Of pages that are to stay half empty none is searched for: the free space map knows no page with more room than there is on an empty one. */
	if (rel->rd_tableam != GetHeapamTableAmRoutine() || reserve > BLCKSZ / 2)
	{
		table_multi_insert(rel, rows, n, cid, 0, NULL);
		return;
	}
	for (; n > 0; rows += fitting, n -= fitting)
	{
		fitting = 1;
		if (size_of(rows[0]) > ROOM)
		{
			table_multi_insert(rel, rows, fitting, cid, 0, NULL);
			continue;
		}
		if (!pages->grows && pages->room < size_of(rows[0]) + reserve && !next_page(rel, pages, ROOM + reserve))
		{
			pages->grows = true;
			RelationSetTargetBlock(rel, InvalidBlockNumber);
		}
		if (!pages->grows)
			RelationSetTargetBlock(rel, pages->block);
		fitting = take_room(pages, rows, n, reserve);
		/* When somebody has taken the room meanwhile, this makes the table grow as well. */
		table_multi_insert(rel, rows, fitting, cid, TABLE_INSERT_SKIP_FSM, NULL);
	}
}

void
lc_pages_end(Relation rel)
{
	RelationSetTargetBlock(rel, InvalidBlockNumber);
}
