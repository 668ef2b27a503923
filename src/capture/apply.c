/*
 * apply.c: writing what a batch has come to, in bulk: stages, transitions, runs that end, convert or begin, timers, failures.
 *
 * A run is ended in this order: its rows of the due queue are removed first, waiting for a runner that holds one, and only then is the run itself
 * marked. A runner holds the due row while it ends the run, so the other way round the two would wait for each other.
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
enum
{
	RUN_ID, RUN_SUBJECT, RUN_VERSION, RUN_VERSION_ID, RUN_SHADOW, RUN_WORKFLOW, RUN_KEY, RUN_ENTERED, RUN_ENDED, RUN_CONVERTED, RUN_REASON,
	RUN_CONTEXT, RUN_NATTS
};
enum
{
	ACTIVITY_SUBJECT, ACTIVITY_RUN, ACTIVITY_VERSION, ACTIVITY_STEP, ACTIVITY_WAITED, ACTIVITY_AT, ACTIVITY_OUTCOME, ACTIVITY_DETAIL,
	ACTIVITY_NATTS
};

static LcStatement *
statement(LcBatch *batch, LcStatement **place, const char *sql, int nargs, const Oid *types)
{
	if (*place == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->capture->context);

		*place = lc_statement(sql, nargs, types);
		MemoryContextSwitchTo(old);
	}
	return *place;
}

/* Does a previous run count for re-entry, or for an exit or goal? Those that cannot any more are not loaded. */
void
lc_load_runs(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	Datum	   *keys = NULL;
	LcSubject **subjects;
	Datum		array;
	SPITupleTable *table;
	int			n = 0;
	int			at = 0;

	for (int i = 0; i < batch->nsubjects; i++)
		if (batch->subjects[i].runs_wanted)
			n++;
	if (n == 0)
		return;
	keys = palloc(n * sizeof(Datum));
	subjects = palloc(n * sizeof(LcSubject *));
	n = 0;
	for (int i = 0; i < batch->nsubjects; i++)
		if (batch->subjects[i].runs_wanted)
		{
			subjects[n] = &batch->subjects[i];
			keys[n++] = batch->subjects[i].key;
			batch->subjects[i].runs_wanted = false;
			batch->subjects[i].runs_loaded = true;
		}
	array = lc_array(keys, NULL, n, lc->key_type);
	lc_execute(statement(batch, &batch->capture->runs,
						 psprintf("SELECT subject_id, id, version_id, workflow, entered_at, ended_at, converted_at, exit_reason, %s "
								  "FROM %s WHERE subject_id = ANY ($1) ORDER BY subject_id",
								  batch->capture->exits_read_context ? "context" : "NULL::pg_catalog.jsonb", lc->table_sql[LC_ENROLLMENTS]),
						 1, &lc->key_array_type), &array, NULL, n);
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = table->vals[i];
		LcRun	   *run = palloc0(sizeof(LcRun));
		bool		isnull;
		Datum		key = SPI_getbinval(tuple, table->tupdesc, 1, &isnull);
		Datum		value;

		while (at < n - 1 && lc_key_compare(lc, subjects[at]->key, key) < 0)
			at++;
		run->id = DatumGetInt64(SPI_getbinval(tuple, table->tupdesc, 2, &isnull));
		run->version_id = DatumGetInt32(SPI_getbinval(tuple, table->tupdesc, 3, &isnull));
		run->version = lc_version_by_id(lc, run->version_id);
		run->workflow = run->version ? run->version->workflow :
			TextDatumGetCString(SPI_getbinval(tuple, table->tupdesc, 4, &isnull));
		run->entered_at = DatumGetTimestampTz(SPI_getbinval(tuple, table->tupdesc, 5, &isnull));
		value = SPI_getbinval(tuple, table->tupdesc, 6, &isnull);
		run->ended_at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
		value = SPI_getbinval(tuple, table->tupdesc, 7, &isnull);
		run->converted_at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
		value = SPI_getbinval(tuple, table->tupdesc, 8, &isnull);
		run->exit_reason = isnull ? NULL : TextDatumGetCString(value);
		value = SPI_getbinval(tuple, table->tupdesc, 9, &isnull);
		run->has_context = !isnull;
		if (!isnull)
			run->context = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		run->next = subjects[at]->runs;
		subjects[at]->runs = run;
	}
	SPI_freetuptable(table);
}

static void
set(Datum *values, bool *nulls, int column, Datum value)
{
	values[column] = value;
	nulls[column] = false;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *text)
{
	if (text)
		set(values, nulls, column, CStringGetTextDatum(text));
}

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
	set(values, nulls, TRANSITION_SUBJECT, subject->key);
	set(values, nulls, TRANSITION_SEQ, Int32GetDatum(transition->seq));
	if (transition->from != LC_NO_STAGE)
	{
		set(values, nulls, TRANSITION_FROM, lc_stage_datum(batch->lc, transition->from));
		set(values, nulls, TRANSITION_SINCE, TimestampTzGetDatum(transition->since));
	}
	if (transition->to != LC_NO_STAGE)
		set(values, nulls, TRANSITION_TO, lc_stage_datum(batch->lc, transition->to));
	set(values, nulls, TRANSITION_AT, TimestampTzGetDatum(transition->at));
	set_text(values, nulls, TRANSITION_CAUSE, transition->cause);
	set_text(values, nulls, TRANSITION_RULE, transition->rule);
	if (event)
	{
		set(values, nulls, TRANSITION_EVENT_AT, TimestampTzGetDatum(event->at));
		namestrcpy(&source, event->source->name);
		set(values, nulls, TRANSITION_SOURCE, NameGetDatum(&source));
		set_text(values, nulls, TRANSITION_EVENT, event->listener->event);
		set_text(values, nulls, TRANSITION_EVENT_ID, event_id(batch, event));
	}
	if (transition->enrollment)
		set(values, nulls, TRANSITION_ENROLLMENT, Int64GetDatum(transition->enrollment));
	if (transition->actor)
	{
		namestrcpy(&actor, GetUserNameFromId(GetSessionUserId(), false));
		set(values, nulls, TRANSITION_ACTOR, NameGetDatum(&actor));
	}
	set_text(values, nulls, TRANSITION_REASON, transition->reason);
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

/* Runs that were there before and ended or converted here. */
static void
change_runs(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	int			n = 0;
	int			nended = 0;
	int			room = 0;
	Datum	   *keys;
	Datum	   *ids;
	Datum	   *ends;
	Datum	   *conversions;
	Datum	   *reasons;
	bool	   *not_ended;
	bool	   *not_converted;
	Datum	   *ended_keys;
	int64	   *ended_ids;
	Datum		args[5];
	LcBulk	   *bulk = NULL;

	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
			if (!run->begun && (run->ended || run->converted))
				room++;
	if (room == 0)
		return;
	keys = palloc(room * sizeof(Datum));
	ids = palloc(room * sizeof(Datum));
	ends = palloc0(room * sizeof(Datum));
	conversions = palloc0(room * sizeof(Datum));
	reasons = palloc0(room * sizeof(Datum));
	not_ended = palloc(room * sizeof(bool));
	not_converted = palloc(room * sizeof(bool));
	ended_keys = palloc(room * sizeof(Datum));
	ended_ids = palloc(room * sizeof(int64));
	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
		{
			if (run->begun || !(run->ended || run->converted))
				continue;
			keys[n] = batch->subjects[i].key;
			ids[n] = Int64GetDatum(run->id);
			not_ended[n] = !run->ended;
			not_converted[n] = !run->converted;
			if (run->ended)
			{
				ends[n] = TimestampTzGetDatum(run->ended_at);
				reasons[n] = CStringGetTextDatum(run->exit_reason);
				ended_keys[nended] = keys[n];
				ended_ids[nended++] = run->id;
			}
			if (run->converted)
				conversions[n] = TimestampTzGetDatum(run->converted_at);
			n++;
		}
	lc_due_remove(lc, ended_keys, ended_ids, nended);
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	args[1] = lc_array(ids, NULL, n, INT8OID);
	args[2] = lc_array(ends, not_ended, n, TIMESTAMPTZOID);
	args[3] = lc_array(conversions, not_converted, n, TIMESTAMPTZOID);
	args[4] = lc_array(reasons, not_ended, n, TEXTOID);
	lc_execute(statement(batch, &batch->capture->runs_update,
						 psprintf("UPDATE %s AS e SET converted_at = COALESCE(e.converted_at, q.converted_at), "
								  "exit_reason = CASE WHEN e.ended_at IS NULL THEN q.reason ELSE e.exit_reason END, "
								  "ended_at = COALESCE(e.ended_at, q.ended_at) "
								  "FROM unnest($1, $2, $3, $4, $5) AS q(key, id, ended_at, converted_at, reason) "
								  "WHERE e.subject_id = q.key AND e.id = q.id AND e.subject_id = ANY ($1) "
								  "RETURNING e.subject_id, e.id, e.version_id, e.ended_at, e.exit_reason, e.exit_reason IS NOT DISTINCT FROM q.reason",
								  lc->table_sql[LC_ENROLLMENTS]),
						 5, (Oid[5]) {lc->key_array_type, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID}),
			   args, NULL, n);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Datum		values[ACTIVITY_NATTS] = {0};
		bool		nulls[ACTIVITY_NATTS];
		bool		isnull;

		memset(nulls, true, sizeof(nulls));
		set(values, nulls, ACTIVITY_AT, SPI_getbinval(tuple, desc, 4, &isnull));
		if (isnull || !DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull)))
			continue;
		if (bulk == NULL)
			bulk = lc_bulk_begin(lc->tables[LC_ACTIVITY], ACTIVITY_NATTS);
		set(values, nulls, ACTIVITY_SUBJECT, SPI_getbinval(tuple, desc, 1, &isnull));
		set(values, nulls, ACTIVITY_RUN, SPI_getbinval(tuple, desc, 2, &isnull));
		set(values, nulls, ACTIVITY_VERSION, SPI_getbinval(tuple, desc, 3, &isnull));
		set_text(values, nulls, ACTIVITY_OUTCOME, "ended");
		set(values, nulls, ACTIVITY_DETAIL, SPI_getbinval(tuple, desc, 5, &isnull));
		lc_bulk_add(bulk, values, nulls);
	}
	SPI_freetuptable(SPI_tuptable);
	if (bulk)
		lc_bulk_end(bulk);
}

/* {"event": the row of the event}, of the columns kept of it, which are all of them when a workflow keeps its event. */
static Datum
event_context(LcBatch *batch, LcEvent *event)
{
	LcColumns  *columns = lc_source_columns(batch->lc, event->source);
	Relation	rel = table_open(event->source->table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	FmgrInfo	to_jsonb;
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue	value;
	HeapTuple	tuple;
	Datum		row;

	memset(nulls, true, desc->natts * sizeof(bool));
	for (int i = 0; event->row && i < columns->n; i++)
	{
		values[columns->attnums[i] - 1] = event->row->values[i];
		nulls[columns->attnums[i] - 1] = event->row->nulls[i];
	}
	tuple = heap_form_tuple(desc, values, nulls);
	row = heap_copy_tuple_as_datum(tuple, desc);
	fmgr_info(F_TO_JSONB, &to_jsonb);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(makeNullConst(rel->rd_rel->reltype, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), &to_jsonb);
	row = FunctionCall1(&to_jsonb, row);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	key.type = jbvString;
	key.val.string.val = "event";
	key.val.string.len = 5;
	pushJsonbValue(&state, WJB_KEY, &key);
	value.type = jbvBinary;
	value.val.binary.data = &DatumGetJsonbP(row)->root;
	value.val.binary.len = VARSIZE(DatumGetPointer(row)) - VARHDRSZ;
	pushJsonbValue(&state, WJB_VALUE, &value);
	row = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	table_close(rel, AccessShareLock);
	return row;
}

/* Inserts the runs that began here, each with the row of the due queue that makes the engine take its first step. */
static void
insert_runs(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	TimestampTz real_now = lc_now(false);
	MemoryContext row;
	LcBulk	   *bulk;
	LcDue	   *due;
	int64	   *ids;
	int			n = 0;
	int			ndue = 0;
	int			at = 0;

	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
			n += run->begun;
	if (n == 0)
		return;
	row = AllocSetContextCreate(CurrentMemoryContext, "lifecycle row", ALLOCSET_DEFAULT_SIZES);
	ids = palloc(n * sizeof(int64));
	due = palloc0(n * sizeof(LcDue));
	lc_sequence_next(lc->enrollment_sequence, n, ids);
	bulk = lc_bulk_begin(lc->tables[LC_ENROLLMENTS], RUN_NATTS);
	for (int i = 0; i < batch->nsubjects; i++)
		for (LcRun *run = batch->subjects[i].runs; run; run = run->next)
		{
			Datum		values[RUN_NATTS] = {0};
			bool		nulls[RUN_NATTS];
			MemoryContext old;

			if (!run->begun)
				continue;
			old = MemoryContextSwitchTo(row);
			memset(nulls, true, sizeof(nulls));
			run->id = ids[at++];
			if (run->version->first_step <= 0 && !run->ended)
			{
				run->ended = true;
				run->ended_at = run->entered_at;
				run->exit_reason = "completed";
			}
			set(values, nulls, RUN_ID, Int64GetDatum(run->id));
			set(values, nulls, RUN_SUBJECT, batch->subjects[i].key);
			set(values, nulls, RUN_VERSION, Int32GetDatum(run->version->number));
			set(values, nulls, RUN_VERSION_ID, Int32GetDatum(run->version_id));
			set(values, nulls, RUN_SHADOW, BoolGetDatum(run->version->shadow));
			set_text(values, nulls, RUN_WORKFLOW, run->workflow);
			set_text(values, nulls, RUN_KEY, "");
			set(values, nulls, RUN_ENTERED, TimestampTzGetDatum(run->entered_at));
			if (run->ended)
			{
				set(values, nulls, RUN_ENDED, TimestampTzGetDatum(run->ended_at));
				set_text(values, nulls, RUN_REASON, run->exit_reason);
			}
			else
			{
				LcDue	   *first = &due[ndue++];

				first->due_at = !lc->simulated ? real_now : batch->replay ? batch->now : batch->subjects[i].now;
				first->subject = batch->subjects[i].key;
				first->enrollment = run->id;
				first->entered_at = run->entered_at;
				first->program = run->version_id;
				first->step = run->version->first_step;
				first->kind = LC_DUE_STEP;
				first->shadow = run->version->shadow;
			}
			if (run->converted)
				set(values, nulls, RUN_CONVERTED, TimestampTzGetDatum(run->converted_at));
			if (run->has_context)
				set(values, nulls, RUN_CONTEXT, run->context);
			else if (run->born && run->version->keeps_event)
				set(values, nulls, RUN_CONTEXT, event_context(batch, run->born));
			lc_bulk_add(bulk, values, nulls);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row);
		}
	lc_bulk_end(bulk);
	MemoryContextDelete(row);
	lc_due_insert(lc, due, ndue);
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
	lc_execute(statement(batch, &batch->capture->delete_due,
						 psprintf("DELETE FROM %s AS d USING unnest($1, $2, $3) AS q(key, rule, due_at) "
								  "WHERE d.subject_id = q.key AND d.program = q.rule AND d.kind = 'r' AND d.due_at > q.due_at "
								  "AND d.subject_id = ANY ($1)", lc->table_sql[LC_DUE]),
						 3, (Oid[3]) {lc->key_array_type, INT4ARRAYOID, TIMESTAMPTZARRAYOID}), args, NULL, n);
	lc_execute(statement(batch, &batch->capture->timers,
						 psprintf("SELECT q.n::pg_catalog.int4 FROM unnest($1, $2) WITH ORDINALITY AS q(key, rule, n) "
								  "JOIN %s AS d ON d.subject_id = q.key AND d.program = q.rule AND d.kind = 'r' AND d.subject_id = ANY ($1)",
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
	lc_execute(statement(batch, &batch->capture->fail,
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
	change_runs(batch);
	insert_runs(batch);
	arm_timers(batch);
	insert_failures(batch);
}
