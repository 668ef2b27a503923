/*
 * apply.c: writing what a batch has come to, in bulk: stages, transitions, runs that end, convert or begin, timers, failures.
 *
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "batch.h"
#include "catalog/bulk.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Columns of the prototypes, in their order. */
enum
{
	TRANSITION_SUBJECT, TRANSITION_SEQ, TRANSITION_FROM, TRANSITION_TO, TRANSITION_AT, TRANSITION_SINCE, TRANSITION_EVENT_AT, TRANSITION_CAUSE,
	TRANSITION_RULE, TRANSITION_SOURCE, TRANSITION_EVENT, TRANSITION_EVENT_ID, TRANSITION_ENROLLMENT, TRANSITION_ACTOR,
	TRANSITION_REASON, TRANSITION_NATTS
};

/* The event's primary key, as text; NULL when it has none of one column. */
static char *
event_id(LcBatch *batch, LcEvent *event)
{
	LcColumns  *columns;
	int			position;
	Oid			output;
	bool		varlena;

	if (event->source->key_attnum <= 0 || event->row == NULL)
		return NULL;
	columns = lc_source_columns(batch->lc, event->source);
	position = columns->positions[event->source->key_attnum - 1];
	if (position < 0 || event->row->nulls[position])
		return NULL;
	if (columns->types[position] == INT8OID)
		return psprintf(INT64_FORMAT, DatumGetInt64(event->row->values[position]));
	getTypeOutputInfo(columns->types[position], &output, &varlena);
	return OidOutputFunctionCall(output, event->row->values[position]);
}

static void
add_transition(LcBatch *batch, LcBulk *bulk, LcSubject *subject, LcTransition *transition)
{
	Datum		values[TRANSITION_NATTS] = {0};
	bool		nulls[TRANSITION_NATTS];
	NameData	source;
	NameData	actor;
	LcEvent    *event = transition->event;

	memset(nulls, true, sizeof(nulls));
	lc_set(values, nulls, TRANSITION_SUBJECT, subject->key);
	lc_set(values, nulls, TRANSITION_SEQ, Int32GetDatum(transition->seq));
	if (transition->from != LC_NO_STAGE)
	{
		lc_set(values, nulls, TRANSITION_FROM, lc_stage_datum(batch->lc, transition->from));
		lc_set(values, nulls, TRANSITION_SINCE, TimestampTzGetDatum(transition->since));
	}
	if (transition->to != LC_NO_STAGE)
		lc_set(values, nulls, TRANSITION_TO, lc_stage_datum(batch->lc, transition->to));
	lc_set(values, nulls, TRANSITION_AT, TimestampTzGetDatum(transition->at));
	lc_set_text(values, nulls, TRANSITION_CAUSE, transition->cause);
	lc_set_text(values, nulls, TRANSITION_RULE, transition->rule);
	if (transition->date != DT_NOEND)
		lc_set(values, nulls, TRANSITION_EVENT_AT, TimestampTzGetDatum(transition->date));
	if (event)
	{
		lc_set(values, nulls, TRANSITION_EVENT_AT, TimestampTzGetDatum(event->at));
		namestrcpy(&source, event->source->name);
		lc_set(values, nulls, TRANSITION_SOURCE, NameGetDatum(&source));
		lc_set_text(values, nulls, TRANSITION_EVENT, event->listener->event);
		lc_set_text(values, nulls, TRANSITION_EVENT_ID, event_id(batch, event));
	}
	if (transition->enrollment)
		lc_set(values, nulls, TRANSITION_ENROLLMENT, Int64GetDatum(transition->enrollment));
	if (transition->actor)
	{
		namestrcpy(&actor, GetUserNameFromId(GetSessionUserId(), false));
		lc_set(values, nulls, TRANSITION_ACTOR, NameGetDatum(&actor));
	}
	lc_set_text(values, nulls, TRANSITION_REASON, transition->reason);
	lc_bulk_add(bulk, values, nulls);
}

void
lc_insert_transitions(LcBatch *batch)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "lifecycle row", ALLOCSET_DEFAULT_SIZES);
	LcBulk	   *bulk = NULL;

	for (int i = 0; i < batch->nsubjects; i++)
		for (LcTransition *transition = batch->subjects[i].transitions; transition; transition = transition->next)
		{
			MemoryContext old;

			if (bulk == NULL)
				bulk = lc_bulk_begin(batch->lc->tables[LC_TRANSITIONS], TRANSITION_NATTS);
			old = MemoryContextSwitchTo(row);
			add_transition(batch, bulk, &batch->subjects[i], transition);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row);
		}
	if (bulk)
		lc_bulk_end(bulk);
	MemoryContextDelete(row);
}

/*
 * Arms timers where there is none: at most one for a subject and a rule. One that is due too early looks again when it fires and puts itself off;
 * one that is due too late (the row's date has come nearer) is replaced. Their rows change only under the lock of the subject.
 */
static void
arm_timers(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	int			n = list_length(batch->arms);
	Datum	   *keys;
	Datum	   *rules;
	Datum	   *times;
	Datum		args[3];
	LcDue	   *due;
	int			ndue = 0;

	if (n == 0)
		return;
	keys = palloc(n * sizeof(Datum));
	rules = palloc(n * sizeof(Datum));
	times = palloc(n * sizeof(Datum));
	due = palloc0(n * sizeof(LcDue));
	for (int i = 0; i < n; i++)
	{
		LcArm	   *arm = list_nth(batch->arms, i);

		keys[i] = arm->subject->key;
		rules[i] = Int32GetDatum(arm->rule->id);
		times[i] = TimestampTzGetDatum(arm->due);
	}
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	args[1] = lc_array(rules, NULL, n, INT4OID);
	args[2] = lc_array(times, NULL, n, TIMESTAMPTZOID);
	lc_execute(lc_batch_lookup(batch, &batch->capture->delete_due,
						 psprintf("DELETE FROM %s AS d USING unnest($1, $2, $3) AS q(key, rule, due_at) "
								  "WHERE d.subject_id = q.key AND d.program = q.rule AND d.kind = 'r' AND d.due_at > q.due_at", lc->table_sql[LC_DUE]),
						 3, (Oid[3]) {lc->key_array_type, INT4ARRAYOID, TIMESTAMPTZARRAYOID}), args, NULL, n);
	lc_execute(lc_batch_lookup(batch, &batch->capture->timers,
						 psprintf("SELECT q.n::pg_catalog.int4 FROM unnest($1, $2) WITH ORDINALITY AS q(key, rule, n) "
								  "JOIN %s AS d ON d.subject_id = q.key AND d.program = q.rule AND d.kind = 'r'",
								  lc->table_sql[LC_DUE]),
						 2, (Oid[2]) {lc->key_array_type, INT4ARRAYOID}), args, NULL, n);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		LcArm	   *arm = list_nth(batch->arms, DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)) - 1);

		/* The row of a timer that fires now is still there, but goes. */
		if (!(arm->subject->timer && arm->subject->timer->due->program == arm->rule->id))
			arm->due = DT_NOEND;
	}
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < n; i++)
	{
		LcArm	   *arm = list_nth(batch->arms, i);
		LcDue	   *row;

		if (arm->due == DT_NOEND)
			continue;
		row = &due[ndue++];
		row->due_at = arm->due;
		row->subject = arm->subject->key;
		row->entered_at = batch->now;
		row->program = arm->rule->id;
		row->kind = LC_DUE_RULE;
		row->turns = lc_is_pause(arm->subject->since, arm->due) ? 0 : Min(arm->subject->turns, LC_MAX_TURNS);
	}
	lc_due_insert(lc, due, ndue);
}

static void
insert_failures(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	int			n = list_length(batch->failures);
	Datum	   *columns[5];
	Datum		args[6];

	if (n == 0)
		return;
	for (int i = 0; i < 5; i++)
		columns[i] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		LcFailure  *failure = list_nth(batch->failures, i);

		columns[0][i] = failure->subject;
		columns[1][i] = CStringGetTextDatum(failure->kind);
		columns[2][i] = CStringGetTextDatum(failure->name);
		columns[3][i] = CStringGetTextDatum(unpack_sql_state(failure->sqlstate));
		columns[4][i] = CStringGetTextDatum(failure->message);
	}
	for (int i = 0; i < 5; i++)
		args[i] = lc_array(columns[i], NULL, n, i == 0 ? lc->key_type : TEXTOID);
	args[5] = TimestampTzGetDatum(batch->now);
	lc_execute(lc_batch_statement(batch, &batch->capture->fail,
						 psprintf("INSERT INTO %s (subject_id, kind, name, sqlstate, message, at) "
								  "SELECT q.*, $6 FROM unnest($1, $2, $3, $4, $5) AS q", lc->table_sql[LC_FAILURES]),
						 6, (Oid[6]) {lc->key_array_type, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID}),
			   args, NULL, n);
}

/* Writes everything the batch has come to. The caller is connected to SPI. */
void
lc_apply(LcBatch *batch)
{
	lc_subjects_update(batch);
	lc_insert_transitions(batch);
	lc_change_runs(batch);
	lc_insert_runs(batch);
	arm_timers(batch);
	if (lc_lifecycle_cached(batch->lc->name) != batch->lc)
		lc_timers_follow(batch);
	insert_failures(batch);
}
