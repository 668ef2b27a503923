/*
 * bulk.c: inserting many rows into one state table.
 *
 * The fast path forms the tuples itself and writes them by table_multi_insert, some at a time. What is to be entered into indexes is only noted,
 * and done for all rows at the end: one index after the other, in key order where the first key is an integer or a time. Neighbors on a B-tree page
 * are then inserted while it is in the cache: with 20,000 rows that takes half the time of the order in which they come. A table on
 * which something else must happen for each row (triggers, foreign keys, row security, generated columns, partitions, exclusion constraints) gets
 * an ordinary INSERT of arrays.
 *
 * Locks: RowExclusiveLock on the table and its indexes, kept until the end of the transaction, as an INSERT does. No row is waited for, but for the
 * conflicting row of a unique index.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog/bulk.h"
#include "catalog/order.h"
#include "catalog/pages.h"
#include "catalog/sql.h"
#include "compat.h"
#include "errors.h"

#define CHUNK_ROWS	1000		/* written at once */
#define CHUNK_BYTES (1024 * 1024)
#define MAX_ENTRIES	100000		/* index entries noted, of one index */

/* How one index gets its entries. */
typedef struct BulkIndex
{
	Relation	rel;
	IndexInfo  *info;
	ExprState  *predicate;		/* NULL: all rows */
	int			nkeys;			/* columns, included ones too */
	int			sort_width;		/* 4 or 8: its first key is an integer of that size to sort by; 0: leave the order alone */
	int			nentries;		/* noted, to be entered */
	int			max_entries;
	bool		sorted;			/* … in the order of their keys */
	LcOrder    *entries;		/* by number */
	ItemPointerData *tids;		/* of their rows; these and values in the order of the rows */
	bool	   *typbyval;		/* of the values, which are those of the table, also where the index stores another type */
	int16	   *typlen;
	Datum	   *values;			/* nkeys for each entry */
	bool	   *nulls;
} BulkIndex;

struct LcBulk
{
	MemoryContext context;
	MemoryContext chunk_context;	/* tuples of one chunk */
	MemoryContext entry_context;	/* values of index entries that are noted */
	Relation	rel;
	TupleDesc	desc;			/* a copy: slots would pin the relation's own, each in turn */
	int			ncolumns;
	AttrNumber *columns;		/* of the caller's columns */
	int			ndefaults;
	AttrNumber *default_columns;
	ExprState **defaults;
	bool		fast;
	bool		together;
	int64		total;
	int			nrows;			/* in the chunk */
	Size		bytes;
	/* fast path */
	bool		check_nulls;
	EState	   *estate;
	ResultRelInfo *result;
	int			nindexes;
	BulkIndex  *indexes;
	LcPages		pages;			/* for rows that go together */
	int			nslots;
	TupleTableSlot **slots;
	Datum	   *values;			/* one row */
	bool	   *nulls;
	/* ordinary INSERT */
	char	   *sql;
	Oid		   *array_types;
	Datum	  **column_values;
	bool	  **column_nulls;
};

/* Can rows be written behind the executor's back? */
static bool
is_simple(Relation rel)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	return rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relispartition && rel->trigdesc == NULL &&
		!rel->rd_rel->relrowsecurity && rel->rd_rules == NULL && !(constr && lc_has_generated(constr));
}

/* Finds the caller's columns, and the defaults of those behind them. */
static void
map_columns(LcBulk *bulk)
{
	int			found = 0;

	bulk->columns = palloc(sizeof(AttrNumber) * bulk->ncolumns);
	bulk->default_columns = palloc(sizeof(AttrNumber) * bulk->desc->natts);
	bulk->defaults = palloc(sizeof(ExprState *) * bulk->desc->natts);
	for (int i = 0; i < bulk->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(bulk->desc, i);
		Node	   *expr;

		if (att->attisdropped)
			continue;
		if (found < bulk->ncolumns)
		{
			bulk->columns[found++] = att->attnum;
			continue;
		}
		expr = build_column_default(bulk->rel, att->attnum);
		if (expr == NULL)
			continue;
		bulk->default_columns[bulk->ndefaults] = att->attnum;
		bulk->defaults[bulk->ndefaults++] = ExecPrepareExpr((Expr *) expr, bulk->estate);
	}
	if (found < bulk->ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_LC_FORMAT),
				 errmsg("table \"%s\" lacks columns", RelationGetRelationName(bulk->rel)),
				 errdetail("It has %d of the %d columns of a state table of this format.", found, bulk->ncolumns),
				 errhint("Columns of state tables must not be dropped; add them again with their names and types.")));
}

/* The types of the values that FormIndexDatum gives. */
static void
find_types(LcBulk *bulk, BulkIndex *index)
{
	ListCell   *expression = list_head(index->info->ii_Expressions);

	for (int i = 0; i < index->nkeys; i++)
	{
		AttrNumber	column = index->info->ii_IndexAttrNumbers[i];

		if (column != 0)
		{
			index->typbyval[i] = TupleDescAttr(bulk->desc, column - 1)->attbyval;
			index->typlen[i] = TupleDescAttr(bulk->desc, column - 1)->attlen;
			continue;
		}
		get_typlenbyval(exprType(lfirst(expression)), &index->typlen[i], &index->typbyval[i]);
		expression = lnext(index->info->ii_Expressions, expression);
	}
}

/* Opens the indexes; false when one needs the executor. */
static bool
open_indexes(LcBulk *bulk)
{
	ResultRelInfo *result = makeNode(ResultRelInfo);

	InitResultRelInfo(result, bulk->rel, 0, NULL, 0);
	ExecOpenIndices(result, false);
	bulk->result = result;
	bulk->indexes = palloc0(sizeof(BulkIndex) * Max(result->ri_NumIndices, 1));
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		BulkIndex  *index = &bulk->indexes[bulk->nindexes];
		IndexInfo  *info = result->ri_IndexRelationInfo[i];
		Form_pg_attribute key;

		if (info->ii_ExclusionOps != NULL)
			return false;
		if (!info->ii_ReadyForInserts)
			continue;
		index->rel = result->ri_IndexRelationDescs[i];
		index->info = info;
		index->nkeys = info->ii_NumIndexAttrs;
		index->sorted = true;
		index->typbyval = palloc(sizeof(bool) * index->nkeys);
		index->typlen = palloc(sizeof(int16) * index->nkeys);
		if (info->ii_Predicate != NIL)
			index->predicate = ExecPrepareQual(info->ii_Predicate, bulk->estate);
		key = TupleDescAttr(RelationGetDescr(index->rel), 0);
		if (key->atttypid == INT4OID)
			index->sort_width = 4;
		else if (key->atttypid == INT8OID || key->atttypid == TIMESTAMPTZOID)
			index->sort_width = 8;
		find_types(bulk, index);
		bulk->nindexes++;
	}
	return true;
}

/* The INSERT of arrays for tables that are not simple. */
static void
prepare_insert(LcBulk *bulk)
{
	StringInfoData sql;

	initStringInfo(&sql);
	bulk->array_types = palloc(sizeof(Oid) * bulk->ncolumns);
	bulk->column_values = palloc(sizeof(Datum *) * bulk->ncolumns);
	bulk->column_nulls = palloc(sizeof(bool *) * bulk->ncolumns);
	appendStringInfo(&sql, "INSERT INTO %s (",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(bulk->rel)),
												RelationGetRelationName(bulk->rel)));
	for (int i = 0; i < bulk->ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(bulk->desc, bulk->columns[i] - 1);

		bulk->array_types[i] = get_array_type(att->atttypid);
		bulk->column_values[i] = palloc(sizeof(Datum) * CHUNK_ROWS);
		bulk->column_nulls[i] = palloc(sizeof(bool) * CHUNK_ROWS);
		appendStringInfo(&sql, "%s%s", i ? ", " : "", quote_identifier(NameStr(att->attname)));
	}
	/* Several arrays at once are only taken by an unqualified unnest, which always is the one of pg_catalog. */
	appendStringInfoString(&sql, ") OVERRIDING SYSTEM VALUE SELECT * FROM unnest(");
	for (int i = 0; i < bulk->ncolumns; i++)
		appendStringInfo(&sql, "%s$%d", i ? ", " : "", i + 1);
	appendStringInfoString(&sql, ")");
	bulk->sql = sql.data;
}

LcBulk *
lc_bulk_begin(Oid table, int ncolumns)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle bulk insert", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LcBulk	   *bulk = palloc0(sizeof(LcBulk));
	AclResult	acl = pg_class_aclcheck(table, GetUserId(), ACL_INSERT);

	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, get_rel_name(table));
	bulk->context = context;
	bulk->chunk_context = AllocSetContextCreate(context, "lifecycle bulk insert chunk", ALLOCSET_DEFAULT_SIZES);
	bulk->entry_context = AllocSetContextCreate(context, "lifecycle bulk insert entries", ALLOCSET_DEFAULT_SIZES);
	bulk->rel = table_open(table, RowExclusiveLock);
	bulk->desc = CreateTupleDescCopyConstr(RelationGetDescr(bulk->rel));
	bulk->ncolumns = ncolumns;
	bulk->estate = CreateExecutorState();
	map_columns(bulk);
	bulk->fast = is_simple(bulk->rel);
	if (bulk->fast)
		bulk->fast = open_indexes(bulk);
	if (bulk->fast)
	{
		bulk->check_nulls = bulk->desc->constr && bulk->desc->constr->has_not_null;
		bulk->slots = palloc(sizeof(TupleTableSlot *) * CHUNK_ROWS);
		bulk->values = palloc(sizeof(Datum) * bulk->desc->natts);
		bulk->nulls = palloc(sizeof(bool) * bulk->desc->natts);
	}
	else
		prepare_insert(bulk);
	MemoryContextSwitchTo(old);
	return bulk;
}

void
lc_bulk_together(LcBulk *bulk)
{
	bulk->together = true;
	lc_pages_begin(&bulk->pages);
}

/* Enters what has been noted for an index. */
static void
insert_entries(LcBulk *bulk, BulkIndex *index)
{
	MemoryContext old = MemoryContextSwitchTo(bulk->entry_context);

	if (!index->sorted)
		lc_order_sort(index->entries, index->nentries);
	for (int i = 0; i < index->nentries; i++)
	{
		int			number = index->entries[i].number;
		Size		place = (Size) number * index->nkeys;

		index_insert(index->rel, index->values + place, index->nulls + place, &index->tids[number], bulk->rel,
					 index->info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, index->info);
	}
	index->nentries = 0;
	index->sorted = true;
	MemoryContextSwitchTo(old);
}

static void
insert_all_entries(LcBulk *bulk)
{
	for (int i = 0; i < bulk->nindexes; i++)
		insert_entries(bulk, &bulk->indexes[i]);
	MemoryContextReset(bulk->entry_context);
}

static void
enlarge_entries(LcBulk *bulk, BulkIndex *index)
{
	int			n = Max(index->max_entries * 2, 256);

	if (index->entries == NULL)
	{
		index->entries = MemoryContextAlloc(bulk->context, sizeof(LcOrder) * n);
		index->tids = MemoryContextAlloc(bulk->context, sizeof(ItemPointerData) * n);
		index->values = MemoryContextAlloc(bulk->context, sizeof(Datum) * index->nkeys * n);
		index->nulls = MemoryContextAlloc(bulk->context, sizeof(bool) * index->nkeys * n);
	}
	else
	{
		index->entries = repalloc_huge(index->entries, sizeof(LcOrder) * n);
		index->tids = repalloc_huge(index->tids, sizeof(ItemPointerData) * n);
		index->values = repalloc_huge(index->values, sizeof(Datum) * index->nkeys * n);
		index->nulls = repalloc_huge(index->nulls, sizeof(bool) * index->nkeys * n);
	}
	index->max_entries = n;
}

/* Notes the entry of a written row for an index; values that are not in the Datum itself are copied. */
static void
note_entry(LcBulk *bulk, BulkIndex *index, TupleTableSlot *slot)
{
	ExprContext *econtext = GetPerTupleExprContext(bulk->estate);
	LcOrder    *entry;
	Datum	   *values;
	bool	   *nulls;

	econtext->ecxt_scantuple = slot;
	if (index->predicate && !ExecQual(index->predicate, econtext))
		return;
	if (index->nentries == index->max_entries)
		enlarge_entries(bulk, index);
	entry = &index->entries[index->nentries];
	entry->number = index->nentries;
	index->tids[index->nentries] = slot->tts_tid;
	values = index->values + (Size) index->nentries * index->nkeys;
	nulls = index->nulls + (Size) index->nentries * index->nkeys;
	FormIndexDatum(index->info, slot, bulk->estate, values, nulls);
	if (index->sort_width == 0)
		entry->by = 0;
	else if (nulls[0])
		entry->by = PG_INT64_MAX;
	else
		entry->by = index->sort_width == 4 ? DatumGetInt32(values[0]) : DatumGetInt64(values[0]);
	if (index->nentries > 0 && entry->by < entry[-1].by)
		index->sorted = false;
	for (int i = 0; i < index->nkeys; i++)
		if (!nulls[i] && !index->typbyval[i])
		{
			MemoryContext old = MemoryContextSwitchTo(bulk->entry_context);

			values[i] = datumCopy(values[i], false, index->typlen[i]);
			MemoryContextSwitchTo(old);
		}
	index->nentries++;
}

static void
flush_fast(LcBulk *bulk)
{
	MemoryContext old = MemoryContextSwitchTo(bulk->chunk_context);
	bool		full = false;

	if (bulk->together)
		lc_pages_insert(bulk->rel, &bulk->pages, bulk->slots, bulk->nrows);
	else
		table_multi_insert(bulk->rel, bulk->slots, bulk->nrows, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < bulk->nindexes; i++)
	{
		for (int row = 0; row < bulk->nrows; row++)
			note_entry(bulk, &bulk->indexes[i], bulk->slots[row]);
		full |= bulk->indexes[i].nentries >= MAX_ENTRIES;
	}
	for (int i = 0; i < bulk->nrows; i++)
		ExecClearTuple(bulk->slots[i]);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(bulk->estate);
	if (full)
		insert_all_entries(bulk);
}

static void
flush_insert(LcBulk *bulk)
{
	MemoryContext old = MemoryContextSwitchTo(bulk->chunk_context);
	Datum	   *arrays = palloc(sizeof(Datum) * bulk->ncolumns);
	int			code;

	for (int i = 0; i < bulk->ncolumns; i++)
		arrays[i] = lc_array(bulk->column_values[i], bulk->column_nulls[i], bulk->nrows,
							 TupleDescAttr(bulk->desc, bulk->columns[i] - 1)->atttypid);
	SPI_connect();
	code = lc_run_args(bulk->sql, bulk->ncolumns, bulk->array_types, arrays, NULL);
	if (code != SPI_OK_INSERT)
		elog(ERROR, "could not insert into \"%s\": %s", RelationGetRelationName(bulk->rel), SPI_result_code_string(code));
	SPI_finish();
	MemoryContextSwitchTo(old);
}

static void
flush(LcBulk *bulk)
{
	if (bulk->nrows == 0)
		return;
	if (bulk->fast)
		flush_fast(bulk);
	else
		flush_insert(bulk);
	bulk->total += bulk->nrows;
	bulk->nrows = 0;
	bulk->bytes = 0;
	MemoryContextReset(bulk->chunk_context);
}

/* Stores one row in the next slot. */
static void
add_fast(LcBulk *bulk, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot;
	HeapTuple	tuple;
	bool		null_found = false;

	memset(bulk->nulls, true, bulk->desc->natts);
	for (int i = 0; i < bulk->ncolumns; i++)
	{
		AttrNumber	column = bulk->columns[i];

		bulk->values[column - 1] = values[i];
		bulk->nulls[column - 1] = nulls[i];
		null_found |= nulls[i];
	}
	for (int i = 0; i < bulk->ndefaults; i++)
	{
		AttrNumber	column = bulk->default_columns[i];

		bulk->values[column - 1] = ExecEvalExprSwitchContext(bulk->defaults[i], GetPerTupleExprContext(bulk->estate),
															 &bulk->nulls[column - 1]);
	}
	if (bulk->nrows == bulk->nslots)
	{
		MemoryContext old = MemoryContextSwitchTo(bulk->context);

		bulk->slots[bulk->nslots++] = MakeSingleTupleTableSlot(bulk->desc, &TTSOpsHeapTuple);
		MemoryContextSwitchTo(old);
	}
	slot = bulk->slots[bulk->nrows];
	tuple = heap_form_tuple(bulk->desc, bulk->values, bulk->nulls);
	tuple->t_tableOid = RelationGetRelid(bulk->rel);
	bulk->bytes += tuple->t_len;
	ExecStoreHeapTuple(tuple, slot, true);
	slot->tts_tableOid = RelationGetRelid(bulk->rel);
	if (bulk->desc->constr && (bulk->desc->constr->num_check > 0 || (bulk->check_nulls && null_found)))
		ExecConstraints(bulk->result, slot, bulk->estate);
}

void
lc_bulk_add(LcBulk *bulk, const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(bulk->chunk_context);

	if (bulk->fast)
		add_fast(bulk, values, nulls);
	else
		for (int i = 0; i < bulk->ncolumns; i++)
		{
			Form_pg_attribute att = TupleDescAttr(bulk->desc, bulk->columns[i] - 1);

			bulk->column_nulls[i][bulk->nrows] = nulls[i];
			bulk->column_values[i][bulk->nrows] = nulls[i] ? (Datum) 0 : datumCopy(values[i], att->attbyval, att->attlen);
			if (!nulls[i])
				bulk->bytes += att->attlen == -1 ? VARSIZE_ANY(DatumGetPointer(values[i])) : sizeof(Datum);
		}
	MemoryContextSwitchTo(old);
	bulk->nrows++;
	if (bulk->nrows == CHUNK_ROWS || bulk->bytes >= CHUNK_BYTES)
		flush(bulk);
}

int64
lc_bulk_end(LcBulk *bulk)
{
	int64		total;

	flush(bulk);
	insert_all_entries(bulk);
	if (bulk->fast && bulk->together)
		lc_pages_end(bulk->rel);
	total = bulk->total;
	for (int i = 0; i < bulk->nslots; i++)
		ExecDropSingleTupleTableSlot(bulk->slots[i]);
	if (bulk->result)
		ExecCloseIndices(bulk->result);
	FreeExecutorState(bulk->estate);
	table_close(bulk->rel, NoLock);
	MemoryContextDelete(bulk->context);
	if (total > 0)
		CommandCounterIncrement();
	return total;
}

void
lc_sequence_next(Oid sequence, int n, int64 *values)
{
	for (int i = 0; i < n; i++)
		values[i] = nextval_internal(sequence, false);
}
