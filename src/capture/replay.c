/*
 * replay.c: CALL lifecycle.backfill: what was there before, batch by batch.
 *
 * A batch is a range of subjects in key order. Their rows of `subjects` are made or locked first, and only then are their events read, with a new
 * snapshot: an event that commits later waits for the lock in its own trigger and folds on what the batch has written, so each event counts
 * once. A subject that live events have reached before is taken back to its beginning and replayed whole, unless a person or a workflow has moved it.
 *
 * Within the fold time passes: between two events the timers fire that were due by then. Conditions see the subjects' rows as they are now,
 * for nothing else is known of them, but of event sources what there was at the time: see catalog/as_of.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/load.h"
#include "batch.h"
#include "catalog/as_of.h"
#include "catalog/checks.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "rows.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(lifecycle_backfill);
PG_FUNCTION_INFO_V1(lifecycle_waive_backfill);

/* What one call has done. */
typedef struct Progress
{
	int64		subjects;
	int64		events;
	int64		transitions;
} Progress;

/* ----- time in the fold ----- */

static LcReplay *
begin_replay(LcBatch *batch, LcSubject *subject)
{
	int			n = Max(batch->lc->nrules, 1);
	LcReplay   *replay = palloc(sizeof(LcReplay));

	replay->at = subject->since;
	replay->clock = DT_NOBEGIN;
	replay->stage_version = -1;
	replay->last_events = palloc(n * 2 * sizeof(TimestampTz));
	replay->not_before = replay->last_events + n;
	for (int i = 0; i < n; i++)
		replay->last_events[i] = DT_NOBEGIN;
	return replay;
}

/* The event that is folded now: inactivity begins anew. */
void
lc_replay_event(LcBatch *batch, LcSubject *subject)
{
	subject->replay->at = Max(subject->replay->at, subject->event->at);
	if (!subject->event->listener->timers)
		return;
	for (int i = 0; i < batch->lc->nrules; i++)
	{
		LcRule	   *rule = &batch->lc->rules[i];

		if (rule->trigger == LC_RULE_WITHOUT_EVENT && strcmp(rule->event, subject->event->listener->event) == 0 &&
			(rule->source == NULL || strcmp(rule->source, subject->event->source->name) == 0))
			subject->replay->last_events[i] = subject->event->at;
	}
}

/* The same as has_fired of timers.c, of the history that is being replayed. */
static bool
has_fired(LcSubject *subject, LcRule *rule, TimestampTz date)
{
	for (LcTransition *transition = subject->transitions; transition; transition = transition->next)
		if (transition->date == date && strcmp(transition->rule, rule->name) == 0)
			return true;
	return false;
}

bool
lc_replay_timer(LcBatch *batch, LcSubject *subject, LcRule **first, TimestampTz *first_due)
{
	LcLifecycle *lc = batch->lc;
	LcReplay   *replay = subject->replay;
	TimestampTz until = subject->pos < subject->nevents ? subject->events[subject->pos]->at - 1 : batch->now;

	*first = NULL;
	if (!batch->capture->timer_rules)
		return true;
	if (replay->stage_version != subject->version)
	{
		for (int i = 0; i < lc->nrules; i++)
			replay->not_before[i] = DT_NOBEGIN;
		replay->stage_version = subject->version;
	}
	for (;;)
	{
		TimestampTz earliest = DT_NOEND;
		TimestampTz earliest_due = DT_NOEND;
		LcRule	   *rule = NULL;
		LcAnswer   *answer;

		for (int i = 0; i < lc->nrules; i++)
		{
			LcRule	   *candidate = &lc->rules[i];
			TimestampTz due;
			TimestampTz at;

			if ((candidate->trigger != LC_RULE_AFTER && candidate->trigger != LC_RULE_WITHOUT_EVENT &&
				 candidate->trigger != LC_RULE_DATE) || !lc_rule_from(candidate, subject->stage) ||
				batch->capture->rule_quarantined[i])
				continue;
			if (!lc_rule_due(batch, subject, candidate, &due))
				return false;
			if (candidate->trigger == LC_RULE_DATE && due <= subject->since && has_fired(subject, candidate, due))
				continue;
			due = Max(due, replay->not_before[i]);
			at = Max(due, subject->since);
			/* of those that were overdue when the stage was entered, that of the earlier date, as in the queue */
			if (at < earliest || (at == earliest && due < earliest_due))
			{
				earliest = at;
				earliest_due = due;
				rule = candidate;
			}
		}
		if (rule == NULL || earliest > until)
			return true;
		/* time passes until then: a date that is read from events may be another one there */
		if (earliest > replay->at)
		{
			replay->at = earliest;
			continue;
		}
		if (rule->nconditions > 0)
		{
			answer = lc_ask(batch, subject, NULL, NULL, false, rule->conditions[0]);
			if (!answer->known)
				return false;
			if (!lc_answer_true(answer))
			{
				TimestampTz again = DT_NOEND;

				if (rule->after && !lc_subject_add(batch, subject, earliest, rule->after, &again))
					return false;
				replay->not_before[rule - lc->rules] = again > earliest ? again : DT_NOEND;
				continue;
			}
		}
		replay->clock = earliest;
		*first = rule;
		*first_due = earliest_due;
		return true;
	}
}

/* ----- reading history ----- */

static void
append_names(StringInfo sql, LcLifecycle *lc)
{
	for (int i = 0; i < lc->nlisteners; i++)
		appendStringInfo(sql, "%s%s", i ? ", " : "", quote_literal_cstr(lc->listeners[i].event));
}

/*
 * The events of a source for the subjects of a batch: key, time, name, and the columns that conditions read. $1 keys, $2 and $3 the first and the last, $4 now. A range of keys, so that the planner may choose
 * between an index and a scan; not of texts, which two tables may order differently.
 */
static char *
history_query(LcLifecycle *lc, LcSource *source, bool *range)
{
	StringInfoData sql;
	LcColumns  *columns = lc_source_columns(lc, source);
	char	   *key = psprintf("e.%s", quote_identifier(source->subject_column));
	const char *becomes = source->becomes ? lc_condition_as_of(lc, source->becomes) : NULL;
	char	   *times = psprintf(", COALESCE(e.%s::pg_catalog.timestamptz, $4) AS " LC_AS_OF ", $4 AS " LC_AS_OF_NOW,
								 quote_identifier(source->time_column));

	*range = lc->key_type != TEXTOID;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s::%s, e.%s, %s", key, lc->key_type_sql, quote_identifier(source->time_column),
					 source->name_column ? psprintf("e.%s::pg_catalog.text", quote_identifier(source->name_column)) :
					 "NULL::pg_catalog.text");
	for (int i = 0; i < columns->n; i++)
		appendStringInfo(&sql, ", e.%s", quote_identifier(get_attname(source->table, columns->attnums[i], false)));
	appendStringInfo(&sql, " FROM %s e%s WHERE %s",
					 lc_qualified_name(source->table),
					 source->becomes ? psprintf(" %s", lc_becomes_lateral(lc, source, "e", becomes ? times : "")) : "",
					 *range ? psprintf("%s BETWEEN $2 AND $3", key) : psprintf("%s = ANY ($1)", key));
	if (source->name_column)
	{
		/* not every name is a value of an enum */
		appendStringInfo(&sql, " AND e.%s%s IN (", quote_identifier(source->name_column),
						 type_is_enum(source->name_type) ? "::pg_catalog.text" : "");
		append_names(&sql, lc);
		appendStringInfoChar(&sql, ')');
	}
	if (source->becomes)
		appendStringInfo(&sql, " AND (%s)", becomes ? becomes : source->becomes->sql);
	return sql.data;
}

typedef struct History
{
	MemoryContext context;
	int			n;
	int			room;
	LcEvent    *events;
} History;

static LcRow *
keep_columns(LcColumns *columns, HeapTuple tuple, TupleDesc desc)
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
		row->values[i] = SPI_getbinval(tuple, desc, 4 + i, &row->nulls[i]);
		if (!row->nulls[i] && columns->lens[i] == -1)
			row->bytes += VARSIZE_ANY(DatumGetPointer(row->values[i]));
	}
	return row;
}

/*
 * Runs the query of history_query with the memory of a maintenance command: the events of 10,000 subjects lie all over a big table, and with less the bitmap
 * of their places keeps whole pages only, all rows of which are then looked at: 530 ms instead of 205 for 100,000 of 10 million.
 */
static void
run_history_query(const char *sql, Oid *types, Datum *args, const char *nulls)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("work_mem", psprintf("%d", Max(work_mem, maintenance_work_mem)), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	lc_run_args(sql, 4, types, args, nulls);
	AtEOXact_GUC(false, level);
}

/* Adds the events of a source. Their values point into the result, which stays until the batch is done. */
static void
read_source(LcBatch *batch, History *history, LcSource *source, Datum *keys, int n)
{
	LcLifecycle *lc = batch->lc;
	LcColumns  *columns = lc_source_columns(lc, source);
	LcListener *constant = source->event_name ? lc_listener_get(lc, source->event_name, strlen(source->event_name)) : NULL;
	Oid			types[4] = {lc->key_array_type, lc->key_type, lc->key_type, TIMESTAMPTZOID};
	Datum		args[4] = {0, keys[0], keys[n - 1], TimestampTzGetDatum(batch->now)};
	char		nulls[5] = "    ";
	SPITupleTable *table;
	bool		range;
	char	   *sql;

	if (lc->nlisteners == 0 || (source->event_name && constant == NULL))
		return;
	sql = history_query(lc, source, &range);
	if (range)
		nulls[0] = 'n';
	else
		args[0] = lc_array(keys, NULL, n, lc->key_type);
	run_history_query(sql, types, args, nulls);
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = table->vals[i];
		bool		isnull;
		LcEvent    *event;
		Datum		value;
		LcListener *listener = constant;

		if (source->name_column)
		{
			struct varlena *name = PG_DETOAST_DATUM_PACKED(SPI_getbinval(tuple, table->tupdesc, 3, &isnull));

			listener = lc_listener_get(lc, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		}
		if (listener == NULL)
			continue;
		if (history->n == history->room)
		{
			history->room *= 2;
			history->events = repalloc_huge(history->events, history->room * sizeof(LcEvent));
		}
		event = &history->events[history->n];
		memset(event, 0, sizeof(LcEvent));
		event->subject = SPI_getbinval(tuple, table->tupdesc, 1, &isnull);
		event->source = source;
		event->listener = listener;
		value = SPI_getbinval(tuple, table->tupdesc, 2, &isnull);
		event->at = lc_event_time(source, value, isnull, batch->now);
		event->row = keep_columns(columns, tuple, table->tupdesc);
		event->ordinal = history->n;
		if (source->key_attnum > 0 && event->row)
		{
			int			position = columns->positions[source->key_attnum - 1];

			if (columns->types[position] == INT8OID)
				event->ordinal = DatumGetInt64(event->row->values[position]);
			else if (columns->types[position] == INT4OID)
				event->ordinal = DatumGetInt32(event->row->values[position]);
		}
		history->n++;
	}
}

/* The keys of the next subjects behind a position; NULL position: from the beginning. */
static Datum *
next_keys(LcLifecycle *lc, const char *position, int limit, int *n)
{
	Oid			types[2] = {TEXTOID, INT8OID};
	Datum		args[2] = {position ? CStringGetTextDatum(position) : 0, Int64GetDatum(limit)};
	Datum	   *keys;
	char	   *key = psprintf("c.%s", quote_identifier(lc->key_column));

	lc_run_args(psprintf("SELECT %s FROM %s c WHERE $1 IS NULL OR %s > $1::%s ORDER BY %s LIMIT $2", key, lc->on_table_sql, key,
						 lc->key_type_sql, key), 2, types, args, position ? "  " : "n ");
	*n = SPI_processed;
	keys = palloc(Max(*n, 1) * sizeof(Datum));
	for (int i = 0; i < *n; i++)
	{
		bool		isnull;

		keys[i] = lc_key_copy(lc, SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	return keys;
}

/* Takes subjects back to their beginning that only rules have moved; the others are left alone. */
static void
rewind_subjects(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	Datum	   *keys = palloc(batch->nsubjects * sizeof(Datum));
	Datum		args[2];
	Oid			types[1] = {lc->key_array_type};
	int			n = 0;
	int			at = 0;

	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];

		if (subject->lock == LC_LOCK_FOUND && !subject->created)
			keys[n++] = subject->key;
	}
	if (n == 0)
		return;
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	lc_run_args(psprintf("SELECT t.subject_id FROM %s t WHERE t.subject_id = ANY ($1) GROUP BY t.subject_id "
						 "HAVING bool_and(t.cause IN ('entry', 'rule', 'timer')) ORDER BY t.subject_id", lc->table_sql[LC_TRANSITIONS]),
				1, types, args, NULL);
	n = 0;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		key = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		while (lc_key_compare(lc, batch->subjects[at].key, key) < 0)
			at++;
		keys[n++] = batch->subjects[at].key;
		batch->subjects[at].stage = LC_NO_STAGE;
		batch->subjects[at].seq = 0;
	}
	args[0] = lc_array(keys, NULL, n, lc->key_type);
	lc_run_args(psprintf("DELETE FROM %s WHERE subject_id = ANY ($1)", lc->table_sql[LC_TRANSITIONS]), 1, types, args, NULL);
	lc_run_args(psprintf("DELETE FROM %s WHERE subject_id = ANY ($1) AND kind = 'r'", lc->table_sql[LC_DUE]), 1, types, args, NULL);
}

/* Gives each subject its events; a subject that is not replayed gets none. */
static void
distribute(LcBatch *batch, History *history, Progress *progress)
{
	LcEvent   **events = lc_sort_events(batch->lc, history->events, history->n);
	int			at = 0;

	for (int i = 0; i < batch->nsubjects; i++)
	{
		LcSubject  *subject = &batch->subjects[i];
		bool		replayed = subject->lock == LC_LOCK_FOUND && subject->stage == LC_NO_STAGE;

		while (at < history->n && lc_key_compare(batch->lc, events[at]->subject, subject->key) < 0)
			at++;
		subject->events = events + at;
		while (at < history->n && lc_key_compare(batch->lc, events[at]->subject, subject->key) == 0)
		{
			at++;
			subject->nevents++;
		}
		if (!replayed)
		{
			subject->nevents = 0;
			subject->phase = LC_PHASE_DONE;
			continue;
		}
		subject->since = subject->nevents > 0 ? Min(subject->events[0]->at, batch->now) : Min(subject->stored_since, batch->now);
		subject->replay = begin_replay(batch, subject);
		progress->subjects++;
		progress->events += subject->nevents;
	}
}

/* Replays one batch of subjects; false: there was none left. *position moves on. */
static bool
replay_batch(LcLifecycle *lc, char **position, int batch_size, bool enroll, Progress *progress)
{
	LcIdentity	saved;
	LcBatch    *batch;
	History		history = {0};
	MemoryContext old = CurrentMemoryContext;
	Datum	   *keys;
	Oid			output;
	bool		varlena;
	int			n;

	lc_identity_owner(lc, true, &saved);
	batch = lc_batch_begin(lc);
	if (SPI_connect() != SPI_OK_CONNECT)	/* frees the rows read at the end of the batch */
		elog(ERROR, "could not connect to SPI");
	MemoryContextSwitchTo(batch->context);
	batch->replay = true;
	batch->enroll = enroll;
	keys = next_keys(lc, *position, batch_size, &n);
	if (n > 0)
	{
		lc_batch_prepare(batch, keys, n);
		rewind_subjects(batch);
		history.room = 1024;
		history.events = palloc(history.room * sizeof(LcEvent));
		for (int i = 0; i < lc->nsources; i++)
			read_source(batch, &history, &lc->sources[i], keys, n);
		distribute(batch, &history, progress);
		lc_batch_finish(batch);
		for (int i = 0; i < n; i++)
			for (LcTransition *transition = batch->subjects[i].transitions; transition; transition = transition->next)
				progress->transitions++;
		getTypeOutputInfo(lc->key_type, &output, &varlena);
		MemoryContextSwitchTo(TopTransactionContext);
		*position = OidOutputFunctionCall(output, keys[n - 1]);
	}
	SPI_finish();
	MemoryContextSwitchTo(old);
	lc_batch_end(batch);
	lc_identity_restore(&saved);
	return n > 0;
}

/* ----- the procedure ----- */

static void
run_extension(const char *sql, const char *lifecycle, const char *position, Progress *progress)
{
	LcIdentity	saved;
	Oid			types[5] = {TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID};
	Datum		args[5] = {CStringGetTextDatum(lifecycle), position ? CStringGetTextDatum(position) : 0,
		Int64GetDatum(progress->subjects), Int64GetDatum(progress->events), Int64GetDatum(progress->transitions)};

	lc_identity_extension(&saved);
	lc_run_args(sql, 5, types, args, position ? "     " : " n   ");
	lc_identity_restore(&saved);
}

static void
finish(const char *lifecycle, bool waived)
{
	LcIdentity	saved;
	Oid			types[2] = {TEXTOID, BOOLOID};
	Datum		args[2] = {CStringGetTextDatum(lifecycle), BoolGetDatum(waived)};

	lc_identity_extension(&saved);
	lc_run_args("UPDATE lifecycle.lifecycles SET enrolls = true, waived = $2 WHERE name = $1 AND (NOT enrolls OR waived AND NOT $2)", 2, types, args, NULL);
	lc_identity_restore(&saved);
}

/* Where an interrupted backfill stopped, or NULL; one that has finished begins again, and counts anew. Holds the row until the end of the transaction: another backfill waits and goes on behind this one. */
static char *
begin_position(const char *lifecycle)
{
	Progress	none = {0};

	run_extension("DELETE FROM lifecycle.backfills WHERE lifecycle = $1 AND finished_at IS NOT NULL", lifecycle, NULL, &none);
	run_extension("INSERT INTO lifecycle.backfills AS b (lifecycle, position, subjects, events, transitions) "
				  "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (lifecycle) DO UPDATE SET updated_at = pg_catalog.clock_timestamp() "
				  "RETURNING b.position", lifecycle, NULL, &none);
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* CALL lifecycle.backfill(lifecycle, batch_size, enroll) */
Datum
lifecycle_backfill(PG_FUNCTION_ARGS)
{
	bool		atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext) && !castNode(CallContext, fcinfo->context)->atomic);
	char		lifecycle[NAMEDATALEN];
	int			batch_size = PG_ARGISNULL(1) ? 10000 : PG_GETARG_INT32(1);
	bool		enroll = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	Progress	total = {0};
	bool		more;

	strlcpy(lifecycle, lc_arg_required(fcinfo, 0, "lifecycle"), NAMEDATALEN);
	if (batch_size < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch_size must be at least 1")));
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	do
	{
		LcLifecycle *lc = lc_lifecycle_get(lifecycle, false);
		char	   *position;
		Progress	progress = {0};

		/* The COMMIT of the batch before took it away, and values that are stored out of line are not read without. */
		EnsurePortalSnapshotExists();
		lc_check_definer(lc);
		position = begin_position(lifecycle);
		more = replay_batch(lc, &position, batch_size, enroll, &progress);
		run_extension(more ?
					  "UPDATE lifecycle.backfills SET position = $2, subjects = subjects + $3, events = events + $4, "
					  "transitions = transitions + $5, updated_at = pg_catalog.clock_timestamp() WHERE lifecycle = $1" :
					  "UPDATE lifecycle.backfills SET position = NULL, finished_at = pg_catalog.clock_timestamp() WHERE lifecycle = $1", lifecycle, more ? position : NULL, &progress);
		if (!more)
			finish(lifecycle, false);
		total.subjects += progress.subjects;
		total.events += progress.events;
		total.transitions += progress.transitions;
		if (!atomic)
			SPI_commit();
		CHECK_FOR_INTERRUPTS();
	} while (more);
	SPI_finish();
	ereport(NOTICE,
			(errmsg("lifecycle \"%s\" is replayed: subjects " INT64_FORMAT ", events " INT64_FORMAT ", transitions " INT64_FORMAT,
					lifecycle, total.subjects, total.events, total.transitions)));
	PG_RETURN_VOID();
}

/* lifecycle.waive_backfill(lifecycle) */
Datum
lifecycle_waive_backfill(PG_FUNCTION_ARGS)
{
	char	   *lifecycle = lc_arg_required(fcinfo, 0, "lifecycle");

	lc_check_definer(lc_lifecycle_get(lifecycle, false));
	SPI_connect();
	finish(lifecycle, true);
	SPI_finish();
	PG_RETURN_VOID();
}
