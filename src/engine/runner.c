/*
 * runner.c: one batch of what is due: claim, run, write, and what to do with rows that fail.
 *
 * Rows are claimed in the transaction, everything else is done in a subtransaction, one round after the other: only between rounds can a run of a
 * subject see what the one before it has come to, or be ended by it. When that fails it is rolled back and done again in two halves,
 * until the one row that fails is alone; its error is recorded and it is put off, or parked when it has failed too often; the rest go on. Deferred
 * constraints are checked before the subtransaction ends: one that failed at the commit would take the whole batch with it, again and again.
 *
 * Rows that have failed go back when all others are done (settle): what the batch has done since may have ended their enrollment, whose exit could not
 * find them, since they were claimed.
 *
 * A cancel of this backend and what is no row's fault (a full disk) are raised. A deadlock or a serialization failure is no row's fault either: the row goes
 * back, not attempted, for longer each time; but a statement can raise these codes itself, and after MAX_TRANSIENTS in a row they are errors like others.
 *
 * Locks: the runner never waits for a row lock of a subject, an enrollment or a due row; others wait for it. What steps run (run_sql, triggers of the
 * user) may wait; the worker's low deadlock_timeout makes it, and not the application, the one that gives way.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/bulk.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "commands/trigger.h"
#include "common/pg_prng.h"
#include "engine/run.h"
#include "engine/window.h"
#include "guc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

#define BACKOFF_FIRST	(30 * USECS_PER_SEC)
#define BACKOFF_CAP		(6 * USECS_PER_HOUR)

/* So many rows in a row that fail alone, at the same step and with the same error: the others that begin there are put off without being run. */
#define MAX_STREAK		32

/* So many deadlocks and serialization failures of a row in a row are not counted as attempts. */
#define MAX_TRANSIENTS	5

#define FAILURE_NATTS 13

/* A row that has failed alone. */
typedef struct Failure
{
	LcRun	   *run;
	LcStepPlan *step;			/* that was being run; NULL: none */
	int			sqlstate;
	const char *message;
} Failure;

typedef struct Runner
{
	LcRunBatch	batch;
	int			n;
	LcRun	   *runs;			/* all that are claimed; batch.runs are those of a round */
	int			nfailures;
	Failure    *failures;
	int			nput_off;
	LcRun	  **put_off;		/* until their wake_at, without counting an attempt */
	int			back;			/* rows that went back */
	int			streak;			/* the last failures that are alike; what has succeeded since ends it */
} Runner;

/*
 * Is this the cancel of our backend, by somebody or by statement_timeout? What a row runs may raise the same code, by itself or from another server where it
 * was canceled; we go by who has raised it, since the flags that asked for it are reset by then. Codes of a shutdown are only a row's: ours is FATAL and
 * does not come here. Nor can the transaction become read-only but by a row.
 */
static bool
is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED && error->funcname != NULL && strcmp(error->funcname, "ProcessInterrupts") == 0;
}

/* Can a disk of this server be full or broken? Errors that are passed on from elsewhere, or raised by a statement, have another errno. */
static bool
is_disk(const ErrorData *error)
{
	return (error->sqlerrcode == ERRCODE_DISK_FULL && error->saved_errno == ENOSPC) ||
		(error->sqlerrcode == ERRCODE_IO_ERROR && error->saved_errno == EIO);
}

static bool
is_transient(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED || error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/*
 * Checks deferred constraints. In a worker as a commit does, without making them immediate: what is run after this subtransaction may need them deferred. A
 * commit can do it since it knows that nothing is undone behind it; we, since all that was deferred before the subtransaction has been checked. In somebody's
 * statement that cannot be done, and run_due says that all are immediate from there on.
 */
static void
check_deferred(const LcRunBatch *batch)
{
	ConstraintsSetStmt *statement;

	if (batch->in_worker)
	{
		AfterTriggerFireDeferred();
		return;
	}
	statement = makeNode(ConstraintsSetStmt);
	statement->constraints = NIL;
	statement->deferred = false;
	AfterTriggerSetState(statement);
}

/* The batch that is at work; NULL: none. */
static LcRunBatch *working = NULL;

/*
 * For lc_turns_of. Of rows of other subjects, which a run_sql has changed, and of what deferred triggers do behind all rounds it is not known which run has
 * set it off: the most that one of them has.
 */
static int
turns_of(LcLifecycle *lc, Datum subject)
{
	LcRunBatch *batch = working;
	int			run = batch->map && strcmp(lc->name, batch->lc->name) == 0 ? lc_keymap_find(batch->map, subject) : -1;
	int			n = batch->group ? batch->group->n : batch->n;

	if (run >= 0)
		return batch->runs[run].due.turns;
	if (batch->most_turns >= 0)
		return batch->most_turns;
	batch->most_turns = 0;
	for (int i = 0; i < n; i++)
		batch->most_turns = Max(batch->most_turns, batch->runs[batch->group ? batch->group->runs[i] : i].due.turns);
	return batch->most_turns;
}

static void
set_working(LcRunBatch *batch)
{
	working = batch;
	lc_turns_of = batch ? turns_of : NULL;
}

/* Behind them all. */
static void
end_rounds(Runner *runner, int first, int last)
{
	LcRunBatch *batch = &runner->batch;

	batch->n = last - first;
	batch->runs = runner->runs + first;
	batch->map = NULL;
	batch->group = NULL;
	batch->most_turns = -1;
}

static void
start_round(Runner *runner, int first, int last)
{
	LcRunBatch *batch = &runner->batch;

	batch->n = last - first;
	batch->runs = runner->runs + first;
	batch->map = lc_keymap_make(batch->lc, batch->runs, batch->n);
	lc_keymap_rebuild(batch->map, batch->n);
	batch->current = NULL;
	batch->group = NULL;
	batch->most_turns = -1;
	batch->activity = NULL;
	batch->nactivity = batch->max_activity = 0;
	batch->messages = NULL;
	batch->nmessages = batch->max_messages = 0;
	batch->pending = 0;
	batch->nspooled = 0;
	batch->spool = NULL;
	batch->constants = NULL;
}

/* Runs those of one round from `first` on, in batch->work, which is empty afterwards; returns the end of the round. */
static int
run_round(Runner *runner, int first, int last)
{
	LcRunBatch *batch = &runner->batch;
	int			end = first + 1;

	while (end < last && runner->runs[end].round == runner->runs[first].round)
		end++;
	MemoryContextSwitchTo(batch->work);
	start_round(runner, first, end);
	lc_run_steps(batch);
	lc_write_outputs(batch);
	MemoryContextReset(batch->work);
	return end;
}

/* Runs some rows in a subtransaction. Returns the error that rolled it back, or NULL. */
static ErrorData *
attempt(Runner *runner, int first, int last)
{
	LcRunBatch *batch = &runner->batch;
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	LcRunBatch *outer = working;
	ErrorData  *volatile error = NULL;

	batch->work = AllocSetContextCreate(batch->context, "lifecycle round", ALLOCSET_DEFAULT_SIZES);
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		set_working(batch);
		SPI_connect();
		lc_identity_owner(batch->lc, true, &batch->identity);
		for (int i = first; i < last;)
			i = run_round(runner, i, last);
		end_rounds(runner, first, last);
		check_deferred(batch);
		/* Cursors that steps have left open are in use: the worker could not drop their temporary tables. It has none of its own. */
		if (batch->in_worker)
			PortalHashTableDeleteAll();
		lc_identity_restore(&batch->identity);
		SPI_finish();
		ReleaseCurrentSubTransaction();
		set_working(outer);
	}
	PG_CATCH();
	{
		set_working(outer);
		MemoryContextSwitchTo(batch->context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;

	if (error == NULL)
		for (int i = first; i < last; i++)
			if (runner->runs[i].state == LC_RUN_BACK)
				runner->back++;
	MemoryContextDelete(batch->work);
	batch->work = NULL;
	return error;
}

/* Lets a row go back into the queue for wake_at, not attempted. */
static void
put_off(Runner *runner, LcRun *run)
{
	if (runner->put_off == NULL)
		runner->put_off = palloc(sizeof(LcRun *) * runner->n);
	runner->put_off[runner->nput_off++] = run;
}

/* Puts off a row whose error may pass, for longer each time; false: it is to be counted as an attempt. */
static bool
put_off_transient(Runner *runner, LcRun *run, const ErrorData *error)
{
	if (!is_transient(error) || run->due.attempts > 0 || run->due.transients == MAX_TRANSIENTS)
		return false;
	run->wake_at = run->at + (LC_RETRY_LOCKED << run->due.transients);
	run->due.transients++;
	put_off(runner, run);
	return true;
}

static void
add_failure(Runner *runner, LcRun *run, ErrorData *error)
{
	Failure    *failure;

	if (runner->failures == NULL)
		runner->failures = palloc(sizeof(Failure) * runner->n);
	failure = &runner->failures[runner->nfailures];
	failure->run = run;
	failure->step = runner->batch.current;
	failure->sqlstate = error->sqlerrcode;
	failure->message = error->message;
	if (runner->streak > 0 && failure[-1].step == failure->step && failure[-1].sqlstate == failure->sqlstate)
		runner->streak++;
	else
		runner->streak = 1;
	runner->nfailures++;
}

/* Do all these rows begin where everybody fails now? A step that is broken would else cost a subtransaction for each of its rows, at each try. */
static bool
is_hopeless(Runner *runner, int first, int last)
{
	const LcDue *failed;

	if (runner->streak < MAX_STREAK)
		return false;
	failed = &runner->failures[runner->nfailures - 1].run->due;
	for (int i = first; i < last; i++)
	{
		const LcDue *due = &runner->runs[i].due;

		if (due->kind != failed->kind || due->program != failed->program || due->step != failed->step)
			return false;
	}
	return true;
}

static void
run_rows(Runner *runner, int first, int last)
{
	LcRunBatch *batch = &runner->batch;
	ErrorData  *error;
	int			middle = first + (last - first) / 2;

	if (is_hopeless(runner, first, last))
	{
		for (int i = first; i < last; i++)
		{
			runner->runs[i].wake_at = runner->runs[i].at + BACKOFF_FIRST;
			put_off(runner, &runner->runs[i]);
		}
		lc_stats_count(batch->lc->name, "rows put off behind a failing step", last - first);
		return;
	}
	error = attempt(runner, first, last);
	if (error == NULL)
	{
		runner->streak = 0;
		return;
	}
	if (is_cancel(error))
		ReThrowError(error);
	if (last - first > 1)
	{
		FreeErrorData(error);
		run_rows(runner, first, middle);
		run_rows(runner, middle, last);
	}
	else if (!put_off_transient(runner, &runner->runs[first], error))
	{
		/* One row alone may fill a disk, with its temporary files; when the next one fails so too, it is full. */
		if (is_disk(error) && runner->streak > 0 && runner->failures[runner->nfailures - 1].sqlstate == error->sqlerrcode)
			ReThrowError(error);
		add_failure(runner, &runner->runs[first], error);
	}
}

/* How long a row that has failed so many times is put off: 30 s · 2^n, at most 6 h, ± 25 % that rows which failed together part. */
static int64
backoff(LcLifecycle *lc, int attempts)
{
	int64		wait = attempts > 10 ? BACKOFF_CAP : Min(BACKOFF_FIRST << (attempts - 1), BACKOFF_CAP);

	if (!lc->simulated)
		wait += (int64) (wait * (pg_prng_double(&pg_global_prng_state) - 0.5) / 2);
	return wait;
}

/* A due row as jsonb, for lifecycle.retry. */
static Datum
due_as_jsonb(LcLifecycle *lc, const LcDue *due)
{
	StringInfoData text;
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(lc->key_type, &output, &is_varlena);
	initStringInfo(&text);
	appendStringInfoString(&text, "{\"subject_id\": ");
	escape_json(&text, OidOutputFunctionCall(output, due->subject));
	appendStringInfo(&text, ", \"enrollment_id\": " INT64_FORMAT ", \"entered_at\": " INT64_FORMAT ", \"program\": %d, \"step\": %d, "
					 "\"kind\": \"%c\", \"shadow\": %s}",
					 due->enrollment, due->entered_at, due->program, due->step, due->kind, due->shadow ? "true" : "false");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}

static const char *
failure_name(LcLifecycle *lc, const LcRun *run, LcStepPlan *step)
{
	LcRule	   *rule;

	if (run->due.kind != LC_DUE_RULE)
	{
		if (step == NULL && run->plan->found)
			step = lc_step_plan(run->plan, run->due.step);
		if (step == NULL)
			return run->plan->found ? run->plan->workflow : "?";
		return psprintf("%s: %s", run->plan->workflow, step->label);
	}
	rule = lc_rule_by_id(lc, run->due.program);
	return rule ? rule->name : "?";
}

static void
write_failure(LcRunBatch *batch, LcBulk *bulk, const Failure *failure, int64 id, int attempts, bool parked)
{
	LcRun	   *run = failure->run;
	LcStepPlan *step = failure->step;
	bool		rule = run->due.kind == LC_DUE_RULE;
	Datum		values[FAILURE_NATTS];
	bool		nulls[FAILURE_NATTS] = {false};

	values[0] = Int64GetDatum(id);
	values[1] = run->due.subject;
	values[2] = CStringGetTextDatum(rule ? "timer" : "step");
	values[3] = CStringGetTextDatum(failure_name(batch->lc, run, step));
	values[4] = Int64GetDatum(run->due.enrollment);
	nulls[4] = run->due.enrollment == 0;
	values[5] = Int32GetDatum(run->due.program);
	nulls[5] = rule;
	values[6] = Int32GetDatum(step ? step->number : run->due.step);
	nulls[6] = rule;
	values[7] = Int32GetDatum(attempts);
	values[8] = TimestampTzGetDatum(run->at);
	values[9] = BoolGetDatum(parked);
	values[10] = CStringGetTextDatum(unpack_sql_state(failure->sqlstate));
	values[11] = CStringGetTextDatum(failure->message);
	nulls[12] = !parked;
	values[12] = parked ? due_as_jsonb(batch->lc, &run->due) : (Datum) 0;
	lc_bulk_add(bulk, values, nulls);
}

/*
 * Drops the timers of a group whose subject has a newer one by now, which the batch has armed for the stage that it has come to, or is not there any more.
 */
static void
drop_timers(Runner *runner, const LcGroup *group)
{
	LcRunBatch *batch = &runner->batch;
	LcLifecycle *lc = batch->lc;
	Datum	   *keys = palloc(sizeof(Datum) * group->n);
	Datum	   *rules = palloc(sizeof(Datum) * group->n);
	Datum		values[2];

	if (group->n == 0)
		return;
	if (batch->state->wanted_statement == NULL)
	{
		Oid			types[] = {lc->key_array_type, INT4ARRAYOID};
		MemoryContext old = MemoryContextSwitchTo(batch->state->context);

		batch->state->wanted_statement =
			lc_lookup_statement(psprintf("SELECT x.n::pg_catalog.int4 FROM unnest($1, $2) WITH ORDINALITY AS x (subject_id, rule, n) "
										 "JOIN %s AS s ON s.subject_id = x.subject_id LEFT JOIN %s AS d "
										 "ON d.subject_id = x.subject_id AND d.program = x.rule AND d.kind = 'r' WHERE d.subject_id IS NULL",
										 lc->table_sql[LC_SUBJECTS], lc->table_sql[LC_DUE]), 2, types);
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < group->n; i++)
	{
		LcRun	   *run = &batch->runs[group->runs[i]];

		keys[i] = run->due.subject;
		rules[i] = Int32GetDatum(run->due.program);
		run->state = LC_RUN_DROPPED;
	}
	values[0] = lc_array(keys, NULL, group->n, lc->key_type);
	values[1] = lc_array(rules, NULL, group->n, INT4OID);
	lc_execute(batch->state->wanted_statement, values, NULL, group->n);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			number = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		batch->runs[group->runs[number - 1]].state = LC_RUN_BACK;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Drops the runs of a group whose enrollment was ended. */
static void
drop_ended(Runner *runner, const LcGroup *group)
{
	LcRunBatch *batch = &runner->batch;
	bool	   *open = palloc0(batch->n);

	lc_find_open_enrollments(batch, group, open);
	for (int i = 0; i < group->n; i++)
		if (!open[group->runs[i]])
			batch->runs[group->runs[i]].state = LC_RUN_DROPPED;
}

/* Drops those of the rows that have failed or are put off which this batch has ended behind their back. Others wait for our rows. */
static void
drop_outdated(Runner *runner)
{
	LcRunBatch *batch = &runner->batch;
	int			n = runner->nfailures + runner->nput_off;
	LcGroup		steps = {0, palloc(sizeof(int) * n)};
	LcGroup		timers = {0, palloc(sizeof(int) * n)};

	for (int i = 0; i < n; i++)
	{
		LcRun	   *run = i < runner->nfailures ? runner->failures[i].run : runner->put_off[i - runner->nfailures];
		LcGroup    *group = run->due.kind == LC_DUE_RULE ? &timers : &steps;

		run->state = LC_RUN_BACK;
		group->runs[group->n++] = run - batch->runs;
	}
	if (batch->removals != lc_due_removals)
		drop_ended(runner, &steps);
	drop_timers(runner, &timers);
}

/* What a failed run had waited for is over all the same: it is noted, and the run tries again at the step behind it. */
static void
end_waits(Runner *runner)
{
	LcRunBatch *batch = &runner->batch;

	for (int i = 0; i < runner->nfailures; i++)
	{
		LcRun	   *run = runner->failures[i].run;
		LcStepPlan *wait;

		if (run->due.kind != LC_DUE_WAIT || run->state == LC_RUN_DROPPED)
			continue;
		wait = lc_step_plan(run->plan, run->due.step);
		if (wait == NULL || wait->next == 0)
			continue;
		run->state = LC_RUN_WAITING;
		run->waited = wait->number;
		lc_note_activity(batch, run - batch->runs, NULL, "ended", NULL);
		run->due.kind = LC_DUE_STEP;
		run->due.step = wait->next;
	}
	lc_write_activity(batch);
}

/* Records failures; puts the rows off, or parks them. Returns how many of them are to go back. */
static int
record_failures(Runner *runner, LcDue *again)
{
	LcRunBatch *batch = &runner->batch;
	int64	   *ids;
	LcBulk	   *bulk;
	int			n = 0;

	if (runner->nfailures == 0)
		return 0;
	ids = palloc(sizeof(int64) * runner->nfailures);
	lc_sequence_next(batch->lc->failure_sequence, runner->nfailures, ids);
	bulk = lc_bulk_begin(batch->lc->tables[LC_FAILURES], FAILURE_NATTS);
	for (int i = 0; i < runner->nfailures; i++)
	{
		LcRun	   *run = runner->failures[i].run;
		int			attempts = run->due.attempts + 1;
		bool		dropped = run->state == LC_RUN_DROPPED;
		bool		parked = !dropped && (attempts >= lc_guc_max_attempts || (run->plan != NULL && !run->plan->found));

		write_failure(batch, bulk, &runner->failures[i], ids[i], attempts, parked);
		if (parked || dropped)
			continue;
		again[n] = run->due;
		again[n].attempts = attempts;
		again[n++].due_at = run->at + backoff(batch->lc, attempts);
	}
	lc_bulk_end(bulk);
	return n;
}

/* Behind all others: what becomes of the rows that have failed, or were not attempted. */
static void
settle(Runner *runner)
{
	LcRunBatch *batch = &runner->batch;
	MemoryContext old;
	LcDue	   *again;
	int			n;

	if (runner->nfailures + runner->nput_off == 0)
		return;
	batch->work = AllocSetContextCreate(batch->context, "lifecycle failures", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch->work);
	start_round(runner, 0, runner->n);
	drop_outdated(runner);
	end_waits(runner);
	again = palloc(sizeof(LcDue) * (runner->nfailures + runner->nput_off));
	n = record_failures(runner, again);
	for (int i = 0; i < runner->nput_off; i++)
	{
		if (runner->put_off[i]->state == LC_RUN_DROPPED)
			continue;
		again[n] = runner->put_off[i]->due;
		again[n++].due_at = runner->put_off[i]->wake_at;
	}
	lc_due_insert(batch->lc, again, n);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch->work);
	batch->work = NULL;
}

static void
begin_batch(LcRunBatch *batch, LcLifecycle *lc)
{
	memset(batch, 0, sizeof(LcRunBatch));
	batch->lc = lc;
	batch->state = lc_engine_state(lc);
	batch->now = lc_now(lc->simulated);
	lc_due_earliest = DT_NOEND;
	batch->removals = lc_due_removals;
	batch->context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle batch", ALLOCSET_DEFAULT_SIZES);
}

/* The clock of a simulation that is being advanced goes along with the rows that are run. */
static void
follow_rows(LcRunBatch *batch)
{
	TimestampTz latest = DT_NOBEGIN;

	for (int i = 0; i < batch->n; i++)
		latest = Max(latest, batch->runs[i].at);
	if (latest > lc_now(true))
		lc_clock_set(latest);
}

static int
run_batch(LcLifecycle *lc, LcQueueScan *scan, int limit, TimestampTz until, bool in_worker)
{
	Runner		runner = {0};
	LcRunBatch *batch = &runner.batch;
	MemoryContext old;
	LcIdentity	identity;
	int			done;

	if (lc->paused)
	{
		scan->next_due = DT_NOEND;
		return 0;
	}
	begin_batch(batch, lc);
	batch->in_worker = in_worker;
	batch->advances = until != DT_NOEND;
	if (batch->advances)
		batch->now = until;
	old = MemoryContextSwitchTo(batch->context);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	MemoryContextSwitchTo(batch->context);
	lc_claim_runs(batch, scan, limit);
	scan->marked = 0;
	if (batch->advances)
		follow_rows(batch);
	runner.runs = batch->runs;
	runner.n = batch->n;
	if (runner.n > 0)
		run_rows(&runner, 0, runner.n);
	lc_identity_owner(lc, true, &identity);
	settle(&runner);
	lc_identity_restore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);

	done = runner.n - runner.back;
	lc_scan_lower(scan, lc_due_earliest);
	scan->next_due = Min(scan->next_due, runner.back > 0 ? batch->now + LC_RETRY_LOCKED : lc_due_earliest);
	MemoryContextDelete(batch->context);
	return done;
}

int
lc_run_rows(LcLifecycle *lc, LcQueueScan *scan, int limit, TimestampTz until)
{
	return run_batch(lc, scan, limit, until, false);
}

int
lc_run_batch(LcLifecycle *lc, LcQueueScan *scan)
{
	return run_batch(lc, scan, scan->limit > 0 ? Min(scan->limit, lc_guc_batch_size) : lc_guc_batch_size, DT_NOEND, true);
}

/* Claims the next due row; undone, and false, unless it is to be parked. */
static bool
claim_for_parking(LcRunBatch *batch, LcQueueScan *scan, uint64 crashed, int crashes, uint64 *next)
{
	LcQueueScan before = *scan;
	ResourceOwner owner = CurrentResourceOwner;
	bool		parks;

	*next = 0;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(batch->context);
	lc_claim_runs(batch, scan, 1);
	if (batch->n > 0)
		*next = lc_due_hash(batch->lc, &batch->runs[0].due);
	parks = *next != 0 && *next == crashed && batch->runs[0].due.attempts + crashes >= lc_guc_max_attempts;
	if (parks)
		ReleaseCurrentSubTransaction();
	else
	{
		RollbackAndReleaseCurrentSubTransaction();
		*scan = before;
	}
	MemoryContextSwitchTo(batch->context);
	CurrentResourceOwner = owner;
	return parks;
}

uint64
lc_mark_next(LcLifecycle *lc, LcQueueScan *scan, uint64 crashed, int crashes)
{
	Runner		runner = {0};
	LcRunBatch *batch = &runner.batch;
	Failure		failure = {NULL, NULL, ERRCODE_CRASH_SHUTDOWN, "the server crashed, or the worker was terminated, while running it"};
	MemoryContext old;
	LcIdentity	identity;
	uint64		next;

	scan->marked = 0;
	if (lc->paused)
		return 0;
	/* claim_for_parking puts the scan back as it was, which a window that is gone by then could not be. */
	lc_window_forget(scan);
	begin_batch(batch, lc);
	old = MemoryContextSwitchTo(batch->context);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	lc_identity_owner(lc, true, &identity);
	while (claim_for_parking(batch, scan, crashed, crashes, &next))
	{
		batch->runs[0].due.attempts += crashes - 1;
		runner.runs = batch->runs;
		runner.n = batch->n;
		failure.run = &runner.runs[0];
		runner.failures = &failure;
		runner.nfailures = 1;
		settle(&runner);
	}
	lc_identity_restore(&identity);
	SPI_finish();
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch->context);
	scan->marked = next;
	return next;
}
