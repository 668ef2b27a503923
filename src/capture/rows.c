/*
 * rows.c: the trigger functions: reading changed rows, and keeping those that somebody listens to.
 *
 * Most rows are of no interest, and must cost next to nothing: until a row is kept, nothing is allocated but a slot, no SQL is run, and the role stays who
 * it is. The transition table is read in C, once. Invalidations are accepted first: a long transaction that repeats a prepared INSERT would otherwise
 * never learn of a new definition.
 *
 * The names of the lifecycle and of the source are arguments of the trigger, never OIDs, and the trigger checks that its table is the registered one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "batch.h"
#include "catalog/owner.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "guc.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(lifecycle_capture_subject);
PG_FUNCTION_INFO_V1(lifecycle_capture_event);

/* Lifecycles that were not defined when their trigger fired: each is warned of once in a session. */
static List *warned = NIL;

/* Is this the first time in the session that this has to be warned of? */
static bool
is_first(const char *what)
{
	ListCell   *cell;
	MemoryContext old;

	foreach(cell, warned)
		if (strcmp(lfirst(cell), what) == 0)
			return false;
	old = MemoryContextSwitchTo(TopMemoryContext);
	warned = lappend(warned, pstrdup(what));
	MemoryContextSwitchTo(old);
	return true;
}

static void
warn_once(const char *lifecycle, const char *table)
{
	if (is_first(lifecycle))
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("lifecycle \"%s\" is not defined for table \"%s\": its changes are not captured", lifecycle, table),
				 errhint("Define the lifecycle again, or drop the triggers lifecycle_… of the table.")));
}

/* What is broken must not break the application: its rows are not captured, visibly. */
static void
warn_broken(LcLifecycle *lc, const char *problem, const char *hint)
{
	if (lc_guc_on_error == LC_ON_ERROR_RAISE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changes cannot be captured for lifecycle \"%s\": %s", lc->name, problem),
				 errhint("%s", hint)));
	lc_stats_count(lc->name, "statements not captured", 1);
	if (is_first(psprintf("%s: %s", lc->name, problem)))
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changes are not captured for lifecycle \"%s\": %s", lc->name, problem),
				 errhint("%s", hint)));
}

/*
 * Loads the definitions of a lifecycle that this backend does not have at hand. Definitions that cannot be loaded must not break the application: they are warned of, and false is returned.
 */
static bool
load_lifecycle(const char *name, LcLifecycle **result)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	LcLifecycle *volatile lc = NULL;
	volatile bool loaded = true;

	if (lc_guc_on_error == LC_ON_ERROR_RAISE)
	{
		*result = lc_lifecycle_find(name);
		return true;
	}
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		lc = lc_lifecycle_find(name);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (lc_must_raise(error))
			ReThrowError(error);
		loaded = false;
		lc_stats_count(name, "statements not captured", 1);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("changes are not captured by lifecycle \"%s\": %s", name, error->message),
				 error->hint ? errhint("%s", error->hint) : 0));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	*result = lc;
	return loaded;
}

/* The lifecycle whose trigger this is, or NULL when there is nothing to do. */
static LcLifecycle *
trigger_lifecycle(FunctionCallInfo fcinfo, int nargs)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	LcLifecycle *lc;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is called by triggers only")));
	if (data->tg_trigger->tgnargs < nargs)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" lacks arguments", data->tg_trigger->tgname)));
	if (!lc_guc_capture)
		return NULL;
	AcceptInvalidationMessages();
	lc = lc_lifecycle_cached(data->tg_trigger->tgargs[0]);
	if (lc == NULL && !load_lifecycle(data->tg_trigger->tgargs[0], &lc))
		return NULL;
	if (lc == NULL)
		warn_once(data->tg_trigger->tgargs[0], RelationGetRelationName(data->tg_relation));
	else if (lc->broken)
	{
		warn_broken(lc, lc->broken, lc->broken_hint);
		return NULL;
	}
	return lc;
}

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
		*key = lc->key_len == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(value)) : lc_key_copy(lc, value);
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
	if (source->name_type == TEXTOID || source->name_type == VARCHAROID)
	{
		struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

		return lc_listener_get(lc, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
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
lc_rows_begin(LcLifecycle *lc, LcSource *source)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle kept rows", ALLOCSET_DEFAULT_SIZES);
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
	event->may_enroll = source->enroll_within == NULL || lc_add_interval(event->at, source->enroll_within, NULL) >= rows->now;
	event->row = lc_row_keep(rows->columns, slot);
	MemoryContextSwitchTo(old);
	return event;
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

/* ----- triggers ----- */

/* Reads a transition table from its beginning. */
static void
rewind_store(Tuplestorestate *store)
{
	tuplestore_select_read_pointer(store, 0);
	tuplestore_rescan(store);
}

/* What one statement may keep at once. One that keeps more is captured in portions, each in the order of the events' times. */
static Size
portion_bytes(void)
{
	return Max((Size) work_mem * 1024, (Size) 64 * 1024 * 1024);
}

static void
capture_statement(LcLifecycle *lc, LcSource *source, TriggerData *data)
{
	TupleTableSlot *slot;
	TupleTableSlot *old_slot = NULL;
	LcRows	   *rows = NULL;
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);

	if (data->tg_newtable == NULL || lc->nlisteners == 0 || (source->name_attnum == 0 && lc_row_listener(lc, source, NULL) == NULL))
		return;
	slot = MakeSingleTupleTableSlot(RelationGetDescr(data->tg_relation), &TTSOpsMinimalTuple);
	rewind_store(data->tg_newtable);
	if (update && data->tg_oldtable)
	{
		old_slot = MakeSingleTupleTableSlot(RelationGetDescr(data->tg_relation), &TTSOpsMinimalTuple);
		rewind_store(data->tg_oldtable);
	}
	while (tuplestore_gettupleslot(data->tg_newtable, true, false, slot))
	{
		LcListener *listener;
		bool		paired = old_slot && tuplestore_gettupleslot(data->tg_oldtable, true, false, old_slot);
		LcEvent    *event;

		listener = lc_row_listener(lc, source, slot);
		if (listener == NULL)
			continue;
		if (rows == NULL)
			rows = lc_rows_begin(lc, source);
		event = lc_rows_add(rows, slot, listener);
		if (event && paired)
			lc_rows_add_old(rows, event, slot, old_slot);
		if (rows->n % 1024 == 0 && MemoryContextMemAllocated(rows->context, true) > portion_bytes())
		{
			lc_rows_run(rows);
			rows = NULL;
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	if (old_slot)
		ExecDropSingleTupleTableSlot(old_slot);
	if (rows)
		lc_rows_run(rows);
}

/* One row: of a partitioned table, or of one that is written by logical replication. */
static void
capture_row(LcLifecycle *lc, LcSource *source, TriggerData *data)
{
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	TupleTableSlot *slot = update ? data->tg_newslot : data->tg_trigslot;
	TupleTableSlot *old_slot = update ? data->tg_trigslot : NULL;
	Relation	parent = NULL;
	TupleTableSlot *mapped = NULL;
	TupleTableSlot *old_mapped = NULL;
	LcListener *listener;
	LcRows	   *rows;
	LcEvent    *event;

	if (RelationGetRelid(data->tg_relation) != source->table)
	{
		TupleConversionMap *map;

		parent = relation_open(source->table, AccessShareLock);
		map = convert_tuples_by_name(desc, RelationGetDescr(parent));
		if (map)
		{
			mapped = MakeSingleTupleTableSlot(RelationGetDescr(parent), &TTSOpsVirtual);
			slot = execute_attr_map_slot(map->attrMap, slot, mapped);
			if (old_slot)
			{
				old_mapped = MakeSingleTupleTableSlot(RelationGetDescr(parent), &TTSOpsVirtual);
				old_slot = execute_attr_map_slot(map->attrMap, old_slot, old_mapped);
			}
		}
	}
	listener = lc_row_listener(lc, source, slot);
	if (listener)
	{
		rows = lc_rows_begin(lc, source);
		event = lc_rows_add(rows, slot, listener);
		if (event && old_slot)
			lc_rows_add_old(rows, event, slot, old_slot);
		lc_rows_run(rows);
	}
	if (mapped)
		ExecDropSingleTupleTableSlot(mapped);
	if (old_mapped)
		ExecDropSingleTupleTableSlot(old_mapped);
	if (parent)
		relation_close(parent, AccessShareLock);
}

/* Is this the table of the source, or a partition of it? */
static LcSource *
trigger_source(LcLifecycle *lc, TriggerData *data)
{
	Oid			table = RelationGetRelid(data->tg_relation);
	const char *name = data->tg_trigger->tgargs[1];
	LcSource   *source = lc_source_of_table(lc, table, name);

	if (source == NULL && data->tg_relation->rd_rel->relispartition)
	{
		ListCell   *cell;

		foreach(cell, get_partition_ancestors(table))
			if ((source = lc_source_of_table(lc, lfirst_oid(cell), name)) != NULL)
				break;
	}
	if (source == NULL)
		warn_once(lc->name, RelationGetRelationName(data->tg_relation));
	else if (source->broken)
	{
		warn_broken(lc, source->broken, "Define the event source again with lifecycle.define_event_source.");
		return NULL;
	}
	return source;
}

/* AFTER trigger of an event source. Arguments: lifecycle, source. */
Datum
lifecycle_capture_event(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	LcLifecycle *lc = trigger_lifecycle(fcinfo, 2);
	LcSource   *source;

	if (lc == NULL)
		return PointerGetDatum(NULL);
	source = trigger_source(lc, data);
	if (source == NULL)
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_FOR_ROW(data->tg_event))
		capture_row(lc, source, data);
	else
		capture_statement(lc, source, data);
	return PointerGetDatum(NULL);
}

/* AFTER trigger of the subject table. Argument: lifecycle. */
Datum
lifecycle_capture_subject(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	LcLifecycle *lc = trigger_lifecycle(fcinfo, 1);

	if (lc == NULL)
		return PointerGetDatum(NULL);
	if (RelationGetRelid(data->tg_relation) != lc->on_table)
	{
		warn_once(lc->name, RelationGetRelationName(data->tg_relation));
		return PointerGetDatum(NULL);
	}
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		lc_subject_inserted(lc, data->tg_newtable, RelationGetDescr(data->tg_relation));
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		lc_subject_updated(lc, data->tg_oldtable, data->tg_newtable, RelationGetDescr(data->tg_relation));
	else if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		lc_subject_deleted(lc, data->tg_oldtable, RelationGetDescr(data->tg_relation));
	else if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		lc_subject_truncated(lc);
	return PointerGetDatum(NULL);
}
