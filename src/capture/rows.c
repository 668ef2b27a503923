/*
 * rows.c: rows of an event source that somebody listens to: the prefilter, what is kept of a row, the order in which rows are folded.
 *
 * Most rows are of no interest, and must cost next to nothing: until a row is kept nothing is allocated.
 */
#include "postgres.h"

#include "batch.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

/* ----- keys and times ----- */

static bool
integer_key(LcLifecycle *lc, int64 value, Datum *key)
{
	switch (lc->key_type)
	{
		case INT2OID:
			*key = Int16GetDatum((int16) value);
			return value >= PG_INT16_MIN && value <= PG_INT16_MAX;
		case INT4OID:
			*key = Int32GetDatum((int32) value);
			return value >= PG_INT32_MIN && value <= PG_INT32_MAX;
		default:
			*key = Int64GetDatum(value);
			return true;
	}
}

/* The subject's key from the column of an event; false when it cannot be one. In CurrentMemoryContext. */
static bool
subject_key(LcLifecycle *lc, LcSource *source, Datum value, Datum *key)
{
	if (source->same_type)
	{
		*key = lc_key_copy(lc, value);
		return true;
	}
	/* Integers of another size: the only other types that a source may have. */
	switch (source->subject_type)
	{
		case INT2OID:
			return integer_key(lc, DatumGetInt16(value), key);
		case INT4OID:
			return integer_key(lc, DatumGetInt32(value), key);
		case INT8OID:
			return integer_key(lc, DatumGetInt64(value), key);
		default:
			elog(ERROR, "unexpected type %u of a subject column", source->subject_type);
	}
	return false;
}

/* The event's time; without a time zone it is UTC, and without any sense it is now. */
TimestampTz
lc_event_time(LcSource *source, Datum value, bool isnull, TimestampTz now)
{
	TimestampTz at;

	if (isnull)
		return now;
	if (source->time_type == DATEOID)
	{
		DateADT		date = DatumGetDateADT(value);

		if (DATE_NOT_FINITE(date) || date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
			return now;
		return (TimestampTz) date * USECS_PER_DAY;
	}
	at = DatumGetTimestampTz(value);
	return TIMESTAMP_NOT_FINITE(at) ? now : at;
}

/* ----- kept rows ----- */

LcRow *
lc_row_keep(LcColumns *columns, TupleTableSlot *slot)
{
	LcRow	   *row;

	if (columns->n == 0)
		return NULL;
	row = palloc(sizeof(LcRow));
	row->values = palloc(columns->n * sizeof(Datum));
	row->nulls = palloc(columns->n * sizeof(bool));
	row->bytes = 0;
	for (int i = 0; i < columns->n; i++)
	{
		Datum		value = slot_getattr(slot, columns->attnums[i], &row->nulls[i]);

		if (row->nulls[i])
			row->values[i] = (Datum) 0;
		else if (columns->lens[i] == -1)
		{
			row->values[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
			row->bytes += VARSIZE_ANY(DatumGetPointer(row->values[i]));
		}
		else
			row->values[i] = datumCopy(value, columns->byvals[i], columns->lens[i]);
	}
	return row;
}

/* The listener of a row's event, or NULL: the prefilter. */
LcListener *
lc_row_listener(LcLifecycle *lc, LcSource *source, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value;

	if (source->name_attnum == 0)
		return lc_listener_get(lc, source->event_name, strlen(source->event_name));
	value = slot_getattr(slot, source->name_attnum, &isnull);
	if (isnull)
		return NULL;
	if (source->name_type == TEXTOID || source->name_type == VARCHAROID || source->name_type == BPCHAROID)
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);
		int			length = VARSIZE_ANY_EXHDR(text);

		return lc_listener_get(lc, VARDATA_ANY(text), source->name_type == BPCHAROID ? bpchartruelen(VARDATA_ANY(text), length) : length);
	}
	else if (source->name_type == NAMEOID)
		return lc_listener_get(lc, NameStr(*DatumGetName(value)), strlen(NameStr(*DatumGetName(value))));
	else
	{
		Oid			output;
		bool		varlena;
		char	   *name;

		getTypeOutputInfo(source->name_type, &output, &varlena);
		name = OidOutputFunctionCall(output, value);
		return lc_listener_get(lc, name, strlen(name));
	}
}

LcRows *
lc_rows_begin(LcLifecycle *lc, LcSource *source, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "lifecycle kept rows", ALLOCSET_DEFAULT_SIZES);
	LcRows	   *rows = MemoryContextAllocZero(context, sizeof(LcRows));

	rows->context = context;
	rows->lc = lc;
	rows->source = source;
	rows->columns = lc_source_columns(lc, source);
	rows->now = lc_capture_now(lc);
	rows->room = 4;
	rows->events = MemoryContextAlloc(context, rows->room * sizeof(LcEvent));
	return rows;
}

/* Keeps a row, unless it cannot belong to a subject. */
LcEvent *
lc_rows_add(LcRows *rows, TupleTableSlot *slot, LcListener *listener)
{
	LcSource   *source = rows->source;
	MemoryContext old = MemoryContextSwitchTo(rows->context);
	LcEvent    *event;
	bool		isnull;
	Datum		value = slot_getattr(slot, source->subject_attnum, &isnull);
	Datum		key;

	if (isnull || !subject_key(rows->lc, source, value, &key))
	{
		rows->orphans++;
		MemoryContextSwitchTo(old);
		return NULL;
	}
	if (rows->n == rows->room)
	{
		rows->room *= 4;
		rows->events = repalloc_huge(rows->events, rows->room * sizeof(LcEvent));
	}
	event = &rows->events[rows->n];
	memset(event, 0, sizeof(LcEvent));
	event->subject = key;
	event->ordinal = rows->n++;
	event->source = source;
	event->listener = listener;
	value = slot_getattr(slot, source->time_attnum, &isnull);
	event->at = lc_event_time(source, value, isnull, rows->now);
	event->row = lc_row_keep(rows->columns, slot);
	MemoryContextSwitchTo(old);
	return event;
}

/* What one statement may keep at once. One that keeps more is captured in portions, each in the order of the events' times. */
bool
lc_rows_full(LcRows *rows)
{
	return rows->n > 0 && rows->n % 1024 == 0 &&
		MemoryContextMemAllocated(rows->context, true) > Max((Size) work_mem * 1024, (Size) 64 * 1024 * 1024);
}

/* What sorting compares: integer keys as they are, others through their event. */
typedef struct SortItem
{
	int64		key;
	TimestampTz at;
	LcEvent    *event;
} SortItem;

static LcLifecycle *sort_lifecycle;
static bool sort_integers;

static inline int
compare_items(const SortItem *a, const SortItem *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	if (!sort_integers)
	{
		int			order = lc_key_compare(sort_lifecycle, a->event->subject, b->event->subject);

		if (order != 0)
			return order;
	}
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a->event->ordinal < b->event->ordinal ? -1 : a->event->ordinal > b->event->ordinal;
}

#define ST_SORT sort_items
#define ST_ELEMENT_TYPE SortItem
#define ST_COMPARE(a, b) compare_items(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static int64
integer_of(LcLifecycle *lc, Datum key)
{
	switch (lc->key_type)
	{
		case INT2OID:
			return DatumGetInt16(key);
		case INT4OID:
			return DatumGetInt32(key);
		case INT8OID:
			return DatumGetInt64(key);
		default:
			return 0;
	}
}

/* The events by subject, time and order of arrival. In CurrentMemoryContext. */
LcEvent   **
lc_sort_events(LcLifecycle *lc, LcEvent *events, int n)
{
	LcEvent   **sorted = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(LcEvent *));
	SortItem   *items;

	if (n == 1)
	{
		sorted[0] = events;
		return sorted;
	}
	items = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(SortItem));
	sort_lifecycle = lc;
	sort_integers = lc->key_type == INT2OID || lc->key_type == INT4OID || lc->key_type == INT8OID;
	for (int i = 0; i < n; i++)
	{
		items[i].key = integer_of(lc, events[i].subject);
		items[i].at = events[i].at;
		items[i].event = &events[i];
	}
	sort_items(items, n);
	for (int i = 0; i < n; i++)
		sorted[i] = items[i].event;
	pfree(items);
	return sorted;
}

/* Folds what was kept, as the lifecycle's owner, and frees it. */
void
lc_rows_run(LcRows *rows)
{
	LcLifecycle *lc = rows->lc;

	if (rows->n > 0)
	{
		LcIdentity	saved;
		MemoryContext old;

		lc_identity_owner(lc, true, &saved);
		if (rows->source->becomes)
			lc_filter_becomes(rows);
		old = MemoryContextSwitchTo(rows->context);
		lc_run_events(lc, lc_sort_events(lc, rows->events, rows->n), rows->n);
		MemoryContextSwitchTo(old);
		lc_identity_restore(&saved);
	}
	if (rows->orphans > 0)
		lc_stats_count(lc->name, "events without subject", rows->orphans);
	MemoryContextDelete(rows->context);
}
