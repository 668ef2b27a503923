/*
 * changes.c: changed rows of the subject table.
 *
 * Of an update only what conditions read matters: rows in which no such column has changed are passed over in C. OLD and NEW rows need not come in the
 * same order, so they are paired by key. A key that an update takes away is a subject deleted, one that it brings is a subject inserted.
 */
#include "postgres.h"

#include "batch.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A row of the subject table, as far as it is of interest. */
typedef struct Change
{
	Datum		key;
	int			place;			/* in the order in which the rows came */
	LcRow	   *row;
	LcRow	   *old_row;
	Bitmapset  *columns;
} Change;

typedef struct Changes
{
	LcLifecycle *lc;
	int			n;
	int			room;
	Change	   *rows;
} Changes;

static LcLifecycle *sort_lifecycle;

static int
compare_changes(const void *a, const void *b)
{
	const Change *x = a;
	const Change *y = b;
	int			order = lc_key_compare(sort_lifecycle, x->key, y->key);

	return order != 0 ? order : x->place - y->place;
}

static Change *
add_change(Changes *changes, Datum key)
{
	Change	   *change;
	LcLifecycle *lc = changes->lc;

	if (changes->n == changes->room)
	{
		changes->room = Max(4, changes->room * 4);
		changes->rows = changes->rows ? repalloc_huge(changes->rows, changes->room * sizeof(Change)) :
			palloc(changes->room * sizeof(Change));
	}
	change = &changes->rows[changes->n];
	memset(change, 0, sizeof(Change));
	change->place = changes->n++;
	change->key = lc_key_copy(lc, key);
	return change;
}

/* The key of a row; false when it is null: somebody has let the key column be so, and such a row is no subject. */
static bool
key_of(LcLifecycle *lc, TupleTableSlot *slot, Datum *key)
{
	bool		isnull;

	*key = slot_getattr(slot, lc->key_attnum, &isnull);
	return !isnull;
}

static void
rewind_store(Tuplestorestate *store)
{
	tuplestore_select_read_pointer(store, 0);
	tuplestore_rescan(store);
}

/* All keys of a transition table; rows: also the columns that conditions read. In key order. */
static void
read_all(Changes *changes, Tuplestorestate *store, TupleDesc desc, bool rows)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	rewind_store(store);
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		Datum		key;
		Change	   *change;

		if (!key_of(changes->lc, slot, &key))
			continue;
		change = add_change(changes, key);
		if (rows)
			change->row = lc_row_keep(lc_capture_get(changes->lc)->row_columns, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	sort_lifecycle = changes->lc;
	if (changes->n > 1)
		qsort(changes->rows, changes->n, sizeof(Change), compare_changes);
}

static bool
is_same_key(Changes *changes, int i)
{
	return i > 0 && lc_key_compare(changes->lc, changes->rows[i - 1].key, changes->rows[i].key) == 0;
}

/*
 * Gives the changes to batches, each key once. inserted: the subjects are new. A row can have been changed twice in one query, by two actions of foreign
 * keys: all columns in which it has changed count, from what it was at first.
 */
static void
run_changes(Changes *changes, bool inserted)
{
	LcLifecycle *lc = changes->lc;
	int			i = 0;

	while (i < changes->n)
	{
		LcBatch    *batch = lc_batch_begin(lc);

		for (; i < changes->n && (batch->nsubjects < LC_CHUNK_ROWS || is_same_key(changes, i)); i++)
		{
			Change	   *change = &changes->rows[i];
			LcSubject  *subject;

			if (batch->nsubjects > 0 && is_same_key(changes, i))
			{
				subject = &batch->subjects[batch->nsubjects - 1];
				subject->columns = bms_union(subject->columns, change->columns);
				continue;
			}
			subject = lc_batch_add(batch, change->key);
			subject->inserted = inserted;
			subject->changed = !inserted;
			subject->columns = change->columns;
			subject->old_row = change->old_row;
		}
		lc_batch_run(batch);
		lc_batch_end(batch);
	}
}

static void
delete_changes(Changes *changes)
{
	LcLifecycle *lc = changes->lc;
	Datum	   *keys = palloc(LC_CHUNK_ROWS * sizeof(Datum));
	int			n = 0;

	for (int i = 0; i < changes->n; i++)
	{
		if (n == 0 || lc_key_compare(lc, keys[n - 1], changes->rows[i].key) != 0)
			keys[n++] = changes->rows[i].key;
		if (n == LC_CHUNK_ROWS || i == changes->n - 1)
		{
			lc_subjects_delete(lc, keys, n, lc_capture_now(lc));
			n = 0;
		}
	}
}

static MemoryContext
begin(LcLifecycle *lc, LcIdentity *saved)
{
	lc_identity_owner(lc, true, saved);
	return MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "lifecycle changed rows", ALLOCSET_DEFAULT_SIZES));
}

static void
end(MemoryContext old, const LcIdentity *saved)
{
	MemoryContext context = MemoryContextSwitchTo(old);

	MemoryContextDelete(context);
	lc_identity_restore(saved);
}

/* Handles the rows of a statement that inserted or deleted subjects. */
static void
handle_rows(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc, bool inserted)
{
	Changes		changes = {.lc = lc};
	LcIdentity	saved;
	MemoryContext old;

	if (rows == NULL || tuplestore_tuple_count(rows) == 0)
		return;
	old = begin(lc, &saved);
	read_all(&changes, rows, desc, false);
	if (inserted)
		run_changes(&changes, true);
	else
		delete_changes(&changes);
	end(old, &saved);
}

void
lc_subject_inserted(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc)
{
	handle_rows(lc, rows, desc, true);
}

void
lc_subject_deleted(LcLifecycle *lc, Tuplestorestate *rows, TupleDesc desc)
{
	handle_rows(lc, rows, desc, false);
}

/* TRUNCATE: every subject, in chunks by key. */
void
lc_subject_truncated(LcLifecycle *lc)
{
	LcIdentity	saved;
	MemoryContext old = begin(lc, &saved);
	char	   *sql = psprintf("SELECT s.subject_id FROM %s s ORDER BY s.subject_id LIMIT %d", lc->table_sql[LC_SUBJECTS], LC_CHUNK_ROWS);
	MemoryContext context = CurrentMemoryContext;
	int			n;

	do
	{
		MemoryContext chunk = AllocSetContextCreate(context, "lifecycle truncated rows", ALLOCSET_DEFAULT_SIZES);
		Datum	   *keys;

		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "could not connect to SPI");
		lc_run(sql);
		MemoryContextSwitchTo(chunk);
		n = SPI_processed;
		keys = palloc(Max(n, 1) * sizeof(Datum));
		for (int i = 0; i < n; i++)
		{
			bool		isnull;

			keys[i] = lc_key_copy(lc, SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		}
		SPI_finish();
		MemoryContextSwitchTo(chunk);
		if (n > 0)
			lc_subjects_delete(lc, keys, n, lc_capture_now(lc));
		MemoryContextSwitchTo(context);
		MemoryContextDelete(chunk);
	} while (n > 0);
	end(old, &saved);
}

/* Are two values of a column the same? Values out of line are not fetched when they are the very same. */
static bool
same_value(Datum a, Datum b, bool byval, int16 len)
{
	if (len == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(a)) && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b), VARSIZE_EXTERNAL(DatumGetPointer(a))) == 0)
		return true;
	return datum_image_eq(a, b, byval, len);
}

/* The watched columns in which two rows differ. */
static Bitmapset *
changed_columns(LcColumns *columns, TupleTableSlot *before, TupleTableSlot *after)
{
	Bitmapset  *changed = NULL;

	for (int i = 0; i < columns->n; i++)
	{
		bool		was_null;
		bool		is_null;
		Datum		was = slot_getattr(before, columns->attnums[i], &was_null);
		Datum		is = slot_getattr(after, columns->attnums[i], &is_null);

		if (was_null != is_null || (!is_null && !same_value(was, is, columns->byvals[i], columns->lens[i])))
			changed = bms_add_member(changed, columns->attnums[i]);
	}
	return changed;
}

/* A row is changed where a watched column differs. */
static void
add_changed(Changes *changes, LcColumns *columns, Datum key, TupleTableSlot *before, TupleTableSlot *after)
{
	Bitmapset  *differs = changed_columns(columns, before, after);
	Change	   *change;

	if (differs == NULL)
		return;
	change = add_change(changes, key);
	change->columns = differs;
	if (lc_capture_get(changes->lc)->change_triggers)
		change->old_row = lc_row_keep(columns, before);
}

/*
 * Reads both transition tables side by side. False: a pair of rows has different keys, so they must be paired by key.
 */
static bool
read_pairs(Changes *changes, LcColumns *columns, Tuplestorestate *before, Tuplestorestate *after, TupleDesc desc)
{
	LcLifecycle *lc = changes->lc;
	TupleTableSlot *old_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *new_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	bool		aligned = true;

	rewind_store(before);
	rewind_store(after);
	while (aligned && tuplestore_gettupleslot(after, true, false, new_slot))
	{
		Datum		old_key;
		Datum		new_key;

		if (!tuplestore_gettupleslot(before, true, false, old_slot) || !key_of(lc, old_slot, &old_key) ||
			!key_of(lc, new_slot, &new_key) || lc_key_compare(lc, old_key, new_key) != 0)
			aligned = false;
		else
			add_changed(changes, columns, new_key, old_slot, new_slot);
	}
	if (aligned && tuplestore_gettupleslot(before, true, false, old_slot))
		aligned = false;
	ExecDropSingleTupleTableSlot(old_slot);
	ExecDropSingleTupleTableSlot(new_slot);
	return aligned;
}

/* Is one kept column the same in two rows? */
static bool
is_same(LcColumns *columns, int i, LcRow *a, LcRow *b)
{
	return a->nulls[i] == b->nulls[i] && (a->nulls[i] || datum_image_eq(a->values[i], b->values[i], columns->byvals[i], columns->lens[i]));
}

static Bitmapset *
changed_kept(LcColumns *columns, LcRow *before, LcRow *after)
{
	Bitmapset  *changed = NULL;

	for (int i = 0; i < columns->n; i++)
		if (!is_same(columns, i, before, after))
			changed = bms_add_member(changed, columns->attnums[i]);
	return changed;
}

/* Pairs rows by key: what is left over was deleted or inserted. */
static void
pair_by_key(LcLifecycle *lc, LcColumns *columns, Tuplestorestate *before, Tuplestorestate *after, TupleDesc desc)
{
	Changes		old_rows = {.lc = lc};
	Changes		new_rows = {.lc = lc};
	Changes		deleted = {.lc = lc};
	Changes		inserted = {.lc = lc};
	Changes		changed = {.lc = lc};
	int			i = 0;

	read_all(&old_rows, before, desc, true);
	read_all(&new_rows, after, desc, true);
	for (int j = 0; j < new_rows.n; j++)
	{
		Change	   *row = &new_rows.rows[j];
		Bitmapset  *differs;

		while (i < old_rows.n && lc_key_compare(lc, old_rows.rows[i].key, row->key) < 0)
			add_change(&deleted, old_rows.rows[i++].key);
		if (i == old_rows.n || lc_key_compare(lc, old_rows.rows[i].key, row->key) > 0)
			add_change(&inserted, row->key);
		else if (columns->n > 0 && (differs = changed_kept(columns, old_rows.rows[i++].row, row->row)) != NULL)
		{
			Change	   *change = add_change(&changed, row->key);

			change->columns = differs;
			change->old_row = old_rows.rows[i - 1].row;
		}
		else if (columns->n == 0)
			i++;
	}
	while (i < old_rows.n)
		add_change(&deleted, old_rows.rows[i++].key);
	delete_changes(&deleted);
	run_changes(&changed, false);
	run_changes(&inserted, true);
}

void
lc_subject_updated(LcLifecycle *lc, Tuplestorestate *before, Tuplestorestate *after, TupleDesc desc)
{
	Changes		changes = {.lc = lc};
	LcColumns  *columns;
	LcIdentity	saved;
	MemoryContext old;
	MemoryContext context;

	if (before == NULL || after == NULL || tuplestore_tuple_count(after) == 0)
		return;
	columns = lc_capture_get(lc)->row_columns;
	context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle changed rows", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	if (!read_pairs(&changes, columns, before, after, desc))
	{
		lc_identity_owner(lc, true, &saved);
		pair_by_key(lc, columns, before, after, desc);
		lc_identity_restore(&saved);
	}
	else if (changes.n > 0)
	{
		lc_identity_owner(lc, true, &saved);
		sort_lifecycle = lc;
		if (changes.n > 1)
			qsort(changes.rows, changes.n, sizeof(Change), compare_changes);
		run_changes(&changes, false);
		lc_identity_restore(&saved);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* One row by itself, as it was and as it is; NULL: it was not there, or is not any more. */
void
lc_subject_row(LcLifecycle *lc, TupleTableSlot *before, TupleTableSlot *after)
{
	Changes		deleted = {.lc = lc};
	Changes		changed = {.lc = lc};
	Changes		inserted = {.lc = lc};
	LcIdentity	saved;
	MemoryContext old = begin(lc, &saved);
	Datum		old_key;
	Datum		new_key;
	bool		was = before && key_of(lc, before, &old_key);
	bool		is = after && key_of(lc, after, &new_key);

	if (was && is && lc_key_compare(lc, old_key, new_key) == 0)
		add_changed(&changed, lc_capture_get(lc)->row_columns, new_key, before, after);
	else
	{
		if (was)
			add_change(&deleted, old_key);
		if (is)
			add_change(&inserted, new_key);
	}
	delete_changes(&deleted);
	run_changes(&changed, false);
	run_changes(&inserted, true);
	end(old, &saved);
}
