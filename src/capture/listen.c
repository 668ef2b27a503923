/*
 * listen.c: what the triggers on the user's tables call.
 *
 * Of an event source each row that is written asks, in the WHEN of a row trigger, whether its name is of interest to anybody (when.c). Most are not,
 * and cost that question. Those that are reach the row trigger at the end of the statement, which keeps them, and the statement trigger, which comes
 * behind all row triggers, folds them (collected.c). There are no transition tables: the server would write every row of a statement into them, and
 * COPY into a partitioned table would lose its multi-insert. Of the subject table all rows are of interest, so that has statement triggers with
 * transition tables, and where replication writes it a row trigger that fires for nothing else.
 *
 * Where no statement trigger will come, a row is captured by itself: rows that logical replication writes, of a partitioned source all that
 * does not go through the root, whose BEFORE trigger says that its AFTER trigger will come, and where a table may be written through one above it.
 *
 * Invalidations are accepted first: a long transaction that repeats a prepared INSERT would otherwise never learn of a new definition. The names of
 * the lifecycle and of the source are arguments of the trigger, never OIDs, and the trigger checks that its table is the registered one.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "batch.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "guc.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
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

/* Definitions that cannot be loaded must not break the application: they are warned of, and false is returned. */
bool
lc_capture_load(const char *name, LcLifecycle **lc)
{
	*lc = lc_lifecycle_cached(name);
	return *lc != NULL || load_lifecycle(name, lc);
}

/*
 * Has the capture of an event source's rows begun? lifecycle.capture counts when a row is written, in its WHEN: rows that have got past that are kept, and what
 * is kept is folded, whatever the setting is by the time that their triggers come.
 */
static bool
is_begun(TriggerData *data)
{
	return TRIGGER_FIRED_FOR_ROW(data->tg_event) || (TRIGGER_FIRED_AFTER(data->tg_event) && lc_is_collecting());
}

/* The lifecycle whose trigger this is, or NULL when there is nothing to do. */
static LcLifecycle *
trigger_lifecycle(FunctionCallInfo fcinfo, int nargs, bool of_source)
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
	if (!lc_guc_capture && !(of_source && is_begun(data)))
		return NULL;
	AcceptInvalidationMessages();
	if (!lc_capture_load(data->tg_trigger->tgargs[0], &lc))
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

/* ----- event sources ----- */

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

/* The row as the root of its partitions has it; *mapped: a slot to be dropped. */
static TupleTableSlot *
as_root(TupleTableSlot *slot, TupleConversionMap *map, Relation root, TupleTableSlot **mapped)
{
	if (map == NULL || slot == NULL)
		return slot;
	*mapped = MakeSingleTupleTableSlot(RelationGetDescr(root), &TTSOpsVirtual);
	return execute_attr_map_slot(map->attrMap, slot, *mapped);
}

/* In the middle of a statement that keeps too much, or one during which the definitions have changed. */
static LcRows *
fold_and_go_on(LcRows *rows, LcLifecycle *lc, LcSource *source)
{
	lc_rows_run(rows);
	return lc_collect(lc, source);
}

/*
 * Will a statement trigger come for the row of itself? Not where an UPDATE names a table that this one inherits from, and not for a partition, which the source's
 * table may have become: the server fires those of the table that the statement names.
 */
static bool
is_followed(LcSource *source, TriggerData *data)
{
	Relation	rel = data->tg_relation;

	return RelationGetRelid(rel) == source->table && !rel->rd_rel->relispartition &&
		!(TRIGGER_FIRED_BY_UPDATE(data->tg_event) && has_superclass(RelationGetRelid(rel)));
}

static void
keep_row(LcLifecycle *lc, LcSource *source, TriggerData *data, TupleTableSlot *slot, TupleTableSlot *old_slot)
{
	LcListener *listener = lc_row_listener(lc, source, slot);
	LcRows	   *collected;
	LcRows	   *rows;
	LcEvent    *event;

	if (listener == NULL)
		return;
	collected = lc_collected(lc, source, false);
	if (collected == NULL && is_followed(source, data))
		collected = lc_collected(lc, source, true);
	if (collected && collected->lc != lc)
		collected = fold_and_go_on(collected, lc, source);
	rows = collected ? collected : lc_rows_begin(lc, source, CurrentMemoryContext);
	event = lc_rows_add(rows, slot, listener);
	if (event && old_slot)
		lc_rows_add_old(rows, event, old_slot);
	if (collected == NULL)
		lc_rows_run(rows);
	else if (lc_rows_full(rows))
		(void) fold_and_go_on(rows, lc, source);
}

static void
capture_row(LcLifecycle *lc, LcSource *source, TriggerData *data)
{
	bool		update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	TupleTableSlot *slot = update ? data->tg_newslot : data->tg_trigslot;
	TupleTableSlot *old_slot = update ? data->tg_trigslot : NULL;
	TupleTableSlot *mapped = NULL;
	TupleTableSlot *old_mapped = NULL;
	TupleConversionMap *map;
	Relation	root;

	if (RelationGetRelid(data->tg_relation) == source->table)
	{
		keep_row(lc, source, data, slot, old_slot);
		return;
	}
	root = relation_open(source->table, AccessShareLock);
	map = convert_tuples_by_name(RelationGetDescr(data->tg_relation), RelationGetDescr(root));
	keep_row(lc, source, data, as_root(slot, map, root, &mapped), as_root(old_slot, map, root, &old_mapped));
	if (mapped)
		ExecDropSingleTupleTableSlot(mapped);
	if (old_mapped)
		ExecDropSingleTupleTableSlot(old_mapped);
	relation_close(root, AccessShareLock);
}

/* The triggers of an event source: for each row, behind a statement, and before one on a partitioned table. Arguments: lifecycle, source. */
Datum
lifecycle_capture_event(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	LcLifecycle *lc = trigger_lifecycle(fcinfo, 2, true);
	LcSource   *source;

	lc_when_learn(fcinfo->flinfo->fn_oid);
	if (lc == NULL)
		return PointerGetDatum(NULL);
	source = trigger_source(lc, data);
	if (source == NULL)
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_FOR_ROW(data->tg_event))
		capture_row(lc, source, data);
	else if (TRIGGER_FIRED_BEFORE(data->tg_event))
		lc_collect(lc, source);
	else
		lc_fold_collected(lc, source);
	return PointerGetDatum(NULL);
}

/* ----- the subject table ----- */

static void
capture_subject_row(LcLifecycle *lc, TriggerData *data)
{
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		lc_subject_row(lc, NULL, data->tg_trigslot);
	else
		lc_subject_row(lc, data->tg_trigslot, TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newslot : NULL);
}

/* AFTER triggers of the subject table: of a statement, and of a row that replication writes. Argument: lifecycle. */
Datum
lifecycle_capture_subject(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	LcLifecycle *lc = trigger_lifecycle(fcinfo, 1, false);

	if (lc == NULL)
		return PointerGetDatum(NULL);
	if (RelationGetRelid(data->tg_relation) != lc->on_table)
		warn_once(lc->name, RelationGetRelationName(data->tg_relation));
	else if (TRIGGER_FIRED_FOR_ROW(data->tg_event))
		capture_subject_row(lc, data);
	else if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		lc_subject_inserted(lc, data->tg_newtable, RelationGetDescr(data->tg_relation));
	else if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		lc_subject_updated(lc, data->tg_oldtable, data->tg_newtable, RelationGetDescr(data->tg_relation));
	else if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		lc_subject_deleted(lc, data->tg_oldtable, RelationGetDescr(data->tg_relation));
	else if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		lc_subject_truncated(lc);
	return PointerGetDatum(NULL);
}
