/*
 * output.c: writing what a round of a batch has come to: ends of enrollments, messages, activity, and the queue.
 *
 * Ends come first: an enrollment that somebody holds (an exit that waits for our due row) is not waited for; its run goes back as it was and
 * nothing of it is written. Everything else only inserts rows.
 */
#include "postgres.h"

#include "catalog/bulk.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "engine/run.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define ACTIVITY_NATTS 8
#define MESSAGE_NATTS 21

/* A constant text of the code as a value; few of them, each made once per batch. */
static Datum
constant_text(LcRunBatch *batch, const char *constant)
{
	LcConstant *known = batch->constants;

	for (; known != NULL; known = known->next)
		if (known->constant == constant)
			return PointerGetDatum(known->value);
	known = MemoryContextAlloc(batch->work, sizeof(LcConstant));
	known->constant = constant;
	known->value = MemoryContextAlloc(batch->work, VARHDRSZ + strlen(constant));
	SET_VARSIZE(known->value, VARHDRSZ + strlen(constant));
	memcpy(VARDATA(known->value), constant, strlen(constant));
	known->next = batch->constants;
	batch->constants = known;
	return PointerGetDatum(known->value);
}

/* Does what the run has collected get written? */
static inline bool
is_written(const LcRun *run)
{
	return (run->state != LC_RUN_BACK && run->state != LC_RUN_VOID) || run->acted;
}

void
lc_lock_enrollments(LcRunBatch *batch, LcGroup *group)
{
	LcLifecycle *lc = batch->lc;
	LcGroup		asked = {0, palloc(sizeof(int) * group->n)};
	int			n = 0;

	for (int i = 0; i < group->n; i++)
		if (!batch->runs[group->runs[i]].locked)
			asked.runs[asked.n++] = group->runs[i];
	if (asked.n == 0)
		return;
	if (batch->state->lock_statement == NULL)
	{
		Oid			types[] = {lc->key_array_type, INT8ARRAYOID};
		MemoryContext old = MemoryContextSwitchTo(batch->state->context);

		batch->state->lock_statement =
			lc_lookup_statement(psprintf("SELECT e.subject_id FROM unnest($1, $2) AS x (subject_id, id) "
										 "JOIN %s AS e ON e.subject_id = x.subject_id AND e.id = x.id WHERE e.ended_at IS NULL "
										 "FOR NO KEY UPDATE OF e SKIP LOCKED", lc->table_sql[LC_ENROLLMENTS]), 2, types);
		MemoryContextSwitchTo(old);
	}
	lc_group_execute(batch, &asked, batch->state->lock_statement);
	for (uint64 i = 0; i < SPI_processed; i++)
		batch->runs[lc_group_run(batch, i)].locked = true;
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < group->n; i++)
	{
		LcRun	   *run = &batch->runs[group->runs[i]];

		if (run->locked)
			group->runs[n++] = group->runs[i];
		else
			run->state = LC_RUN_BACK;
	}
	group->n = n;
}

/*
 * Ends enrollments. One that is not ended by this is held by somebody, or is not there or ended already: the former, who will delete our due row once it
 * is back, decides; the latter should not have been run.
 */
static void
end_enrollments(LcRunBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	Datum		values[4];
	Datum	   *keys = palloc(sizeof(Datum) * batch->n);
	Datum	   *ids = palloc(sizeof(Datum) * batch->n);
	Datum	   *times = palloc(sizeof(Datum) * batch->n);
	Datum	   *reasons = palloc(sizeof(Datum) * batch->n);
	LcGroup		ended = {0, palloc(sizeof(int) * batch->n)};
	LcGroup		left = {0, palloc(sizeof(int) * batch->n)};
	bool	   *done = palloc0(batch->n);

	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];

		if (run->state != LC_RUN_ENDED)
			continue;
		keys[ended.n] = run->due.subject;
		ids[ended.n] = Int64GetDatum(run->due.enrollment);
		times[ended.n] = TimestampTzGetDatum(run->at);
		reasons[ended.n] = constant_text(batch, run->reason);
		ended.runs[ended.n++] = i;
	}
	if (ended.n == 0)
		return;
	if (batch->state->end_statement == NULL)
	{
		Oid			types[] = {lc->key_array_type, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID};
		MemoryContext old = MemoryContextSwitchTo(batch->state->context);

		batch->state->end_statement =
			lc_lookup_statement(psprintf("WITH held AS MATERIALIZED (SELECT x.* FROM unnest($1, $2, $3, $4) AS x (subject_id, id, at, reason) "
										 "JOIN %1$s AS e ON e.subject_id = x.subject_id AND e.id = x.id WHERE e.ended_at IS NULL "
										 "FOR NO KEY UPDATE OF e SKIP LOCKED) "
										 "UPDATE %1$s AS e SET ended_at = GREATEST(held.at, e.entered_at), exit_reason = held.reason "
										 "FROM held WHERE e.subject_id = held.subject_id AND e.id = held.id RETURNING e.subject_id",
										 lc->table_sql[LC_ENROLLMENTS]), 4, types);
		MemoryContextSwitchTo(old);
	}
	values[0] = lc_array(keys, NULL, ended.n, lc->key_type);
	values[1] = lc_array(ids, NULL, ended.n, INT8OID);
	values[2] = lc_array(times, NULL, ended.n, TIMESTAMPTZOID);
	values[3] = lc_array(reasons, NULL, ended.n, TEXTOID);
	lc_execute(batch->state->end_statement, values, NULL, ended.n);
	for (uint64 i = 0; i < SPI_processed; i++)
		done[lc_group_run(batch, i)] = true;
	SPI_freetuptable(SPI_tuptable);

	for (int i = 0; i < ended.n; i++)
		if (!done[ended.runs[i]])
			left.runs[left.n++] = ended.runs[i];
	lc_find_open_enrollments(batch, &left, done);
	for (int i = 0; i < left.n; i++)
		batch->runs[left.runs[i]].state = done[left.runs[i]] ? LC_RUN_BACK : LC_RUN_VOID;
}

/* A wake-up that has written nothing still says which wait has ended. */
static void
note_silent_waits(LcRunBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];

		if (run->waited != 0 && run->outputs == 0 && (run->state == LC_RUN_WAITING || run->state == LC_RUN_ENDED))
			lc_note_activity(batch, i, NULL, "ended", NULL);
	}
}

void
lc_write_activity(LcRunBatch *batch)
{
	LcBulk	   *bulk;
	Datum		values[ACTIVITY_NATTS];
	bool		nulls[ACTIVITY_NATTS] = {false};

	if (batch->nactivity == 0)
		return;
	bulk = lc_bulk_begin(batch->lc->tables[LC_ACTIVITY], ACTIVITY_NATTS);
	for (int i = 0; i < batch->nactivity; i++)
	{
		LcActivity *activity = &batch->activity[i];
		LcRun	   *run = &batch->runs[activity->run];

		if (!is_written(run))
			continue;
		values[0] = run->due.subject;
		values[1] = Int64GetDatum(run->due.enrollment);
		values[2] = Int32GetDatum(run->due.program);
		values[3] = Int32GetDatum(activity->step);
		nulls[3] = activity->step == 0;
		values[4] = Int32GetDatum(activity->waited);
		nulls[4] = activity->waited == 0;
		values[5] = TimestampTzGetDatum(run->at);
		values[6] = constant_text(batch, activity->outcome);
		nulls[7] = activity->detail == NULL;
		values[7] = nulls[7] ? (Datum) 0 : PointerGetDatum(cstring_to_text(activity->detail));
		lc_bulk_add(bulk, values, nulls);
	}
	lc_bulk_end(bulk);
}

/* The same for the same message at every attempt: lifecycle/enrollment/step/hash of the address. */
static text *
idempotency_key(LcRunBatch *batch, const LcRun *run, const LcMessage *message, char *buffer)
{
	static const char digits[] = "0123456789abcdef";
	char	   *p = VARDATA(buffer) + batch->name_length;

	*p++ = '/';
	p += pg_lltoa(run->due.enrollment, p);
	*p++ = '/';
	p += pg_ltoa(message->step->number, p);
	*p++ = '/';
	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = digits[(message->hash >> shift) & 15];
	SET_VARSIZE(buffer, p - buffer);
	return (text *) buffer;
}

static void
write_messages(LcRunBatch *batch)
{
	LcBulk	   *bulk;
	Datum		values[MESSAGE_NATTS];
	bool		nulls[MESSAGE_NATTS] = {false};
	int64	   *ids;
	char	   *key;
	int			n = 0;

	if (batch->nmessages == 0)
		return;
	batch->name_length = strlen(batch->lc->name);
	key = palloc(VARHDRSZ + batch->name_length + 64);
	memcpy(VARDATA(key), batch->lc->name, batch->name_length);
	ids = MemoryContextAllocHuge(batch->work, sizeof(int64) * batch->nmessages);
	lc_sequence_next(batch->lc->message_sequence, batch->nmessages, ids);
	bulk = lc_bulk_begin(batch->lc->tables[LC_MESSAGES_TABLE], MESSAGE_NATTS);
	values[5] = Int16GetDatum(0);
	nulls[15] = nulls[18] = nulls[19] = nulls[20] = true;
	lc_spool_rewind(batch);
	for (int i = 0; i < batch->nmessages; i++)
	{
		LcMessage  *message = &batch->messages[i];
		LcRun	   *run = &batch->runs[message->run];

		if (i < batch->nspooled)
			lc_spool_get(batch, i);
		if (!is_written(run))
			continue;
		values[0] = Int64GetDatum(ids[n++]);
		values[1] = run->due.subject;
		values[2] = Int64GetDatum(run->due.enrollment);
		values[3] = Int32GetDatum(run->plan->number);
		values[4] = Int32GetDatum(message->step->number);
		values[6] = PointerGetDatum(run->plan->workflow_text);
		values[7] = PointerGetDatum(message->step->template_text);
		values[8] = PointerGetDatum(message->step->channel_text);
		values[9] = PointerGetDatum(message->address);
		nulls[9] = message->address == NULL;
		for (int part = 0; part < LC_MESSAGE_PARTS; part++)
		{
			values[10 + part] = PointerGetDatum(message->parts[part]);
			nulls[10 + part] = message->parts[part] == NULL;
		}
		values[13] = constant_text(batch, message->status);
		nulls[14] = message->reason == NULL;
		values[14] = nulls[14] ? (Datum) 0 : PointerGetDatum(cstring_to_text(message->reason));
		values[16] = PointerGetDatum(idempotency_key(batch, run, message, key));
		values[17] = TimestampTzGetDatum(run->at);
		lc_bulk_add(bulk, values, nulls);
	}
	lc_bulk_end(bulk);
	lc_spool_end(batch);
}

static void
write_due(LcRunBatch *batch)
{
	LcDue	   *rows = palloc(sizeof(LcDue) * batch->n);
	int			n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];
		LcDue	   *row = &rows[n];

		if (run->state != LC_RUN_WAITING && run->state != LC_RUN_TIMER && run->state != LC_RUN_BACK)
			continue;
		*row = run->due;
		n++;
		if (run->state == LC_RUN_BACK)
		{
			if (run->acted)
			{
				row->kind = LC_DUE_STEP;
				row->step = run->position;
				row->attempts = row->transients = 0;
			}
			if (!batch->lc->simulated)
				row->due_at = batch->now + LC_RETRY_LOCKED;
			continue;
		}
		row->due_at = run->wake_at;
		row->attempts = row->transients = 0;
		if (lc_is_pause(run->at, run->wake_at))
			row->turns = 0;
		if (run->state == LC_RUN_WAITING)
		{
			row->kind = LC_DUE_WAIT;
			row->step = run->position;
		}
	}
	lc_due_insert(batch->lc, rows, n);
}

void
lc_write_outputs(LcRunBatch *batch)
{
	note_silent_waits(batch);
	end_enrollments(batch);
	write_messages(batch);
	lc_write_activity(batch);
	write_due(batch);
}
