/*
 * batch.c: what the parts of capture share: batches of subjects, kept columns, keys.
 *
 * A batch is lock, then look: lc_batch_run locks the rows of `subjects` in key order, and only then, with a new snapshot for each statement, asks
 * whether conditions are true, folds, and applies. Two transactions that change one subject are thereby in some serial order, and the second one
 * sees what the first one did.
 *
 * Memory: a batch lives in its own context, which lc_batch_end deletes; what is kept with a lifecycle lives in its cache entry's context.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "batch.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "executor/spi.h"
#include "guc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "worker/worker.h"

int			(*lc_turns_of) (LcLifecycle *lc, Datum subject) = NULL;

bool
lc_is_timer(const LcRule *rule)
{
	return rule->trigger == LC_RULE_AFTER || rule->trigger == LC_RULE_WITHOUT_EVENT || rule->trigger == LC_RULE_DATE;
}

/* May a value of that type not become jsonb? */
static bool
may_refuse_jsonb(Oid type)
{
	Oid			base = getBaseType(type);

	if (OidIsValid(get_element_type(base)))
		base = getBaseType(get_element_type(base));
	return base == JSONOID || base >= FirstNormalObjectId;
}

/* Which columns of a table to keep; all: every live one. In CurrentMemoryContext. */
static LcColumns *
make_columns(Oid table, Bitmapset *attnums, bool all)
{
	Relation	rel = table_open(table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	LcColumns  *columns = palloc0(sizeof(LcColumns));

	columns->table = table;
	columns->all = all;
	columns->natts = desc->natts;
	columns->attnums = palloc(Max(desc->natts, 1) * sizeof(AttrNumber));
	columns->types = palloc(Max(desc->natts, 1) * sizeof(Oid));
	columns->lens = palloc(Max(desc->natts, 1) * sizeof(int16));
	columns->byvals = palloc(Max(desc->natts, 1) * sizeof(bool));
	columns->positions = palloc(Max(desc->natts, 1) * sizeof(int));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		columns->positions[i] = -1;
		if (att->attisdropped || !(all || bms_is_member(att->attnum, attnums)))
			continue;
		columns->positions[i] = columns->n;
		columns->attnums[columns->n] = att->attnum;
		columns->types[columns->n] = att->atttypid;
		columns->lens[columns->n] = att->attlen;
		columns->byvals[columns->n] = att->attbyval;
		columns->may_refuse |= may_refuse_jsonb(att->atttypid);
		columns->n++;
	}
	table_close(rel, AccessShareLock);
	return columns;
}

LcCapture *
lc_capture_get(LcLifecycle *lc)
{
	LcCapture  *capture = lc->capture_state;
	MemoryContext old;
	TypeCacheEntry *type;

	if (capture != NULL)
		return capture;
	old = MemoryContextSwitchTo(lc->context);
	capture = palloc0(sizeof(LcCapture));
	capture->context = lc->context;
	type = lookup_type_cache(lc->key_type, TYPECACHE_CMP_PROC);
	fmgr_info_cxt(type->cmp_proc, &capture->key_compare, lc->context);
	capture->source_columns = palloc0(Max(lc->nsources, 1) * sizeof(LcColumns *));
	capture->rule_quarantined = palloc0(Max(lc->nrules, 1) * sizeof(bool));
	capture->rule_streak = palloc0(Max(lc->nrules, 1) * sizeof(int));
	for (int i = 0; i < lc->nrules; i++)
	{
		LcRule	   *rule = &lc->rules[i];

		if (rule->trigger == LC_RULE_CONDITION && !rule->entry)
			capture->condition_rules = true;
		if (lc_is_timer(rule))
			capture->timer_rules = true;
	}
	for (int i = 0; i < lc->nversions; i++)
		if (lc->versions[i].enrolls && lc->versions[i].keeps_event)
			capture->keeps_events = true;
	for (int i = 0; i < lc->ntriggers; i++)
	{
		LcTrigger  *trigger = &lc->triggers[i];

		if (trigger->kind == LC_ON_STAGE)
			capture->stage_triggers = true;
		if (trigger->kind == LC_ON_CHANGE)
			capture->change_triggers = true;
		if (trigger->role != LC_ROLE_ENTRY)
			for (int j = 0; j < trigger->nconditions; j++)
				if (trigger->conditions[j]->reads_enrollment)
					capture->exits_read_context = true;
	}
	capture->row_columns = make_columns(lc->on_table, lc->watched_columns, lc->watches_all);
	MemoryContextSwitchTo(old);
	lc->capture_state = capture;
	return capture;
}

/* The time of what happens without a time of its own: for a simulated lifecycle the virtual clock, else now(), as columns' defaults have it. */
TimestampTz
lc_capture_now(LcLifecycle *lc)
{
	return lc_transaction_now(lc->simulated);
}

static void
add_event_columns(LcCondition **conditions, int n, Oid table, Bitmapset **attnums, bool *all)
{
	for (int i = 0; i < n; i++)
	{
		if (conditions[i]->event_table != table)
			continue;
		*attnums = bms_add_members(*attnums, conditions[i]->event_columns);
		*all |= conditions[i]->whole_event;
	}
}

/* The columns that conditions read of the events of a source, its key, and all when an enrollment keeps its event. */
LcColumns *
lc_source_columns(LcLifecycle *lc, LcSource *source)
{
	LcCapture  *capture = lc_capture_get(lc);
	LcColumns **columns = &capture->source_columns[source - lc->sources];
	MemoryContext old;
	Bitmapset  *attnums = NULL;
	bool		all = capture->keeps_events;

	if (*columns != NULL)
		return *columns;
	old = MemoryContextSwitchTo(capture->context);
	for (int i = 0; i < lc->nrules; i++)
		add_event_columns(lc->rules[i].conditions, lc->rules[i].nconditions, source->table, &attnums, &all);
	for (int i = 0; i < lc->ntriggers; i++)
		add_event_columns(lc->triggers[i].conditions, lc->triggers[i].nconditions, source->table, &attnums, &all);
	if (source->becomes)
		add_event_columns(&source->becomes, 1, source->table, &attnums, &all);
	if (source->key_attnum > 0)
		attnums = bms_add_member(attnums, source->key_attnum);
	*columns = make_columns(source->table, attnums, all);
	MemoryContextSwitchTo(old);
	return *columns;
}

int
lc_key_compare(LcLifecycle *lc, Datum a, Datum b)
{
	LcCapture  *capture;

	switch (lc->key_type)
	{
		case INT8OID:
			return DatumGetInt64(a) < DatumGetInt64(b) ? -1 : DatumGetInt64(a) > DatumGetInt64(b);
		case INT4OID:
			return DatumGetInt32(a) < DatumGetInt32(b) ? -1 : DatumGetInt32(a) > DatumGetInt32(b);
		case INT2OID:
			return DatumGetInt16(a) < DatumGetInt16(b) ? -1 : DatumGetInt16(a) > DatumGetInt16(b);
		default:
			capture = lc_capture_get(lc);
			return DatumGetInt32(FunctionCall2Coll(&capture->key_compare, lc->key_collation, a, b));
	}
}

/* A statement that is kept with the lifecycle's cache entry. */
LcStatement *
lc_batch_keep_statement(LcBatch *batch, LcStatement **place, bool lookup, const char *sql, int nargs, const Oid *types)
{
	if (*place == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->capture->context);

		*place = lookup ? lc_lookup_statement(sql, nargs, types) : lc_statement(sql, nargs, types);
		MemoryContextSwitchTo(old);
	}
	return *place;
}

void
lc_set(Datum *values, bool *nulls, int column, Datum value)
{
	values[column] = value;
	nulls[column] = false;
}

void
lc_set_text(Datum *values, bool *nulls, int column, const char *text)
{
	if (text)
		lc_set(values, nulls, column, CStringGetTextDatum(text));
}

LcBatch *
lc_batch_begin(LcLifecycle *lc)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle batch", ALLOCSET_DEFAULT_SIZES);
	LcBatch    *batch = MemoryContextAllocZero(context, sizeof(LcBatch));

	batch->lc = lc;
	batch->context = context;
	batch->capture = lc_capture_get(lc);
	batch->now = lc_capture_now(lc);
	batch->enroll = lc->enrolls && lc_guc_enroll;
	batch->create = true;
	return batch;
}

/* A new subject of the batch; the caller adds them in key order, each once. The key is not copied. The address is valid until the next call. */
LcSubject *
lc_batch_add(LcBatch *batch, Datum key)
{
	LcSubject  *subject;

	if (batch->nsubjects == batch->room)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->context);
		int			room = Max(4, batch->room * 4);

		if (batch->subjects == NULL)
			batch->subjects = palloc(room * sizeof(LcSubject));
		else
			batch->subjects = repalloc_huge(batch->subjects, room * sizeof(LcSubject));
		batch->room = room;
		MemoryContextSwitchTo(old);
	}
	subject = &batch->subjects[batch->nsubjects++];
	memset(subject, 0, sizeof(LcSubject));
	subject->key = key;
	subject->now = batch->now;
	subject->stage = LC_NO_STAGE;
	if (lc_turns_of)
		subject->turns = lc_turns_of(batch->lc, key) + 1;
	return subject;
}

static void
report_statistics(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;

	if (batch->tallies)
		for (int i = 0; i < lc->nrules; i++)
		{
			LcTally    *tally = &batch->tallies[i];

			if (tally->rows || tally->hits || tally->errors)
				lc_stats_rule(lc->rules[i].id, tally->rows, tally->hits, tally->errors, tally->microseconds);
		}
	if (batch->orphans)
		lc_stats_count(lc->name, "events without subject", batch->orphans);
	if (batch->suppressed)
		lc_stats_count(lc->name, "re-entries suppressed", batch->suppressed);
	if (batch->loops)
		lc_stats_count(lc->name, "endless loops cut", batch->loops);
	if (batch->too_old)
		lc_stats_count(lc->name, "entries suppressed by enroll_within", batch->too_old);
	if (batch->bad_zones)
		lc_stats_count(lc->name, "unknown time zones", batch->bad_zones);
}

/*
 * Folds the subjects from *begin to before *end, and narrows that to those that wait for answers; false: none does. One with many events may wait long
 * after all others.
 */
static bool
fold_subjects(LcBatch *batch, int *begin, int *end)
{
	int			first = *end;
	int			last = *begin;

	for (int i = *begin; i < *end; i++)
		if (batch->subjects[i].phase != LC_PHASE_DONE && !lc_fold(batch, &batch->subjects[i]))
		{
			first = Min(first, i);
			last = i + 1;
		}
	*begin = first;
	*end = last;
	return first < last;
}

/* Folds and applies; the subjects are locked, the caller is connected to SPI and in the batch's context. */
void
lc_batch_finish(LcBatch *batch)
{
	int			begin = 0;
	int			end = batch->nsubjects;

	while (fold_subjects(batch, &begin, &end))
	{
		CHECK_FOR_INTERRUPTS();
		lc_load_runs(batch);
		lc_match(batch);
	}
	lc_apply(batch);
	report_statistics(batch);
}

/* Adds subjects, in key order and each once, and locks them. Connected to SPI, in the batch's context. */
void
lc_batch_prepare(LcBatch *batch, Datum *keys, int n)
{
	for (int i = 0; i < n; i++)
		(void) lc_batch_add(batch, keys[i]);
	batch->tallies = palloc0(Max(batch->lc->nrules, 1) * sizeof(LcTally));
	lc_subjects_lock(batch);
}

void
lc_batch_run(LcBatch *batch)
{
	MemoryContext old = CurrentMemoryContext;

	if (batch->nsubjects == 0)
		return;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	MemoryContextSwitchTo(batch->context);
	lc_batch_prepare(batch, NULL, 0);
	lc_batch_finish(batch);
	SPI_finish();
	MemoryContextSwitchTo(old);
}

void
lc_batch_end(LcBatch *batch)
{
	MemoryContextDelete(batch->context);
}

/* Folds events, sorted by subject, time and order of arrival, chunk by chunk; all events of a subject are in one chunk. */
void
lc_run_events(LcLifecycle *lc, LcEvent **events, int n)
{
	int			i = 0;

	while (i < n)
	{
		LcBatch    *batch = lc_batch_begin(lc);
		int			begin = i;

		while (i < n && i - begin < LC_CHUNK_ROWS)
		{
			LcSubject  *subject = lc_batch_add(batch, events[i]->subject);

			subject->events = &events[i];
			do
			{
				i++;
				subject->nevents++;
			} while (i < n && lc_key_compare(lc, events[i]->subject, subject->key) == 0);
		}
		lc_batch_run(batch);
		lc_batch_end(batch);
	}
}
