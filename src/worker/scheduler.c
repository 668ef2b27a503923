/*
 * scheduler.c: runs what is due in the lifecycles of one database.
 *
 * The process sleeps until the earliest due time that it knows of, or a commit wakes it (wake.c); every 5 s it looks for what nobody told it of.
 * Each batch is a transaction of its own, one batch of each lifecycle in turn; an error in one lifecycle puts off that one alone. On a wake-up only
 * the lifecycles that the notes name are looked at, and the list of lifecycles is read again only when a definition has changed.
 *
 * Before a busy period `unfinished_run` is committed, once; it is taken back after SWEEP_MS without work, so that events now and then do not cost
 * two commits each. If it is found set at the start, this process or the server died in a batch, maybe by it: batches are then small until what
 * was interrupted has been run, and a row that crashes the server is found and parked (interrupted.c).
 *
 * No lock and no snapshot is held while it sleeps. SIGTERM is `die`: it ends within a batch, which then is rolled back. What runs in the batch may
 * have sent it, so the run stays unfinished then, unless the server is stopped or a command wants the database for itself.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/definitions.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "clock.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "commands/prepare.h"
#include "common/pg_prng.h"
#include "compat.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/window.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/installation.h"
#include "worker/interrupted.h"
#include "worker/shared.h"

#define SWEEP_MS			5000	/* marks are dropped and queues looked at this often */
#define FIRST_DELAY_MS		1000	/* before a lifecycle that failed is tried again */
#define TRANSIENT_DELAY_MS	50		/* … after a deadlock and the like */
#define LAST_DELAY_MS		300000
#define LOCKED_DELAY_MS		10		/* what is due is locked by others: look again after this, doubled up to … */
#define LAST_LOCKED_DELAY_MS 640

/* One lifecycle. */
typedef struct Job
{
	LcQueueScan scan;			/* next_due: when to look again, DT_NOBEGIN: now, DT_NOEND: when a note says so */
	int			bin;			/* of its notes */
	bool		listed;
	int			failures;
	TimestampTz put_off_until;	/* after an error */
	int			locked;			/* times in a row that all that was due was locked */
	int			rows;			/* run by the last batch */
	int64		suspects;		/* with scan.limit: rows to be run before batches grow again */
	int			next_limit;		/* … of the batch after the one that is run */
	int			small_batches;	/* since the crash */
	uint64		crashed;		/* the row that was begun alone when it came, by a hash; 0: none, or it has been run again */
	int			crashes;		/* … that many times */
	char		activity[32 + NAMEDATALEN];
} Job;

PGDLLEXPORT void lifecycle_scheduler_main(Datum arg);

static LcSlot *slot = NULL;
static Oid	extension = InvalidOid;
static Oid	definitions_table = InvalidOid;
static MemoryContext scheduler_context = NULL;
static List *jobs = NIL;		/* of Job */
static bool definitions_changed = true;
static bool definitions_stale = true;	/* read them again, changed or not */
static bool paused = true;
static LcInstallation installation = LC_INSTALLATION_HERE;
static TimestampTz sweep_at = DT_NOBEGIN;
static TimestampTz last_run = 0;
static bool marked = false;		/* unfinished_run is set, by us */
static bool in_batch = false;
static TimestampTz busy_since = 0;	/* 0: not busy */
static int64 busy_rows = 0;

static void
publish_state(LcSlotState state)
{
	pg_atomic_write_u32(&slot->state, state);
}

static bool extension_is_here(void);
pg_noreturn static void leave(LcSlotState state);

/*
 * Runs `work` in a transaction of its own. An error is logged as a warning, unless the extension is gone, and false returned; `transient` says
 * whether it was of the kind that passes. Cancel counts as an error; shutdown ends the process.
 */
static bool
in_transaction(void (*work) (void *), void *arg, const char *activity, bool *transient)
{
	volatile bool done = false;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		pgstat_report_activity(STATE_RUNNING, activity);
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		work(arg);
		PopActiveSnapshot();
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(scheduler_context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();

		pg_atomic_fetch_add_u64(&slot->errors, 1);
		if (!extension_is_here())
			leave(LC_SLOT_ABSENT);
		category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
		*transient = category == ERRCODE_TRANSACTION_ROLLBACK || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
		error->elevel = *transient ? LOG : WARNING;
		ThrowErrorData(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(scheduler_context);
	pgstat_report_stat(false);
	return done;
}

/* Is the extension that we were started for still there? Called outside transactions. */
static bool
extension_is_here(void)
{
	Oid			now;

	StartTransactionCommand();
	now = get_extension_oid("lifecycle", true);
	CommitTransactionCommand();
	MemoryContextSwitchTo(scheduler_context);
	if (!OidIsValid(extension))
		extension = now;
	return OidIsValid(now) && now == extension;
}

/* Ends the process as planned. */
static void
leave(LcSlotState state)
{
	publish_state(state);
	proc_exit(0);
}

static void
set_unfinished(void *arg)
{
	bool		on = *(bool *) arg;
	ListCell   *cell;

	if (!on)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (!lc_unfinished_run(on))
		return;
	marked = on;
	if (!on)
		foreach(cell, jobs)
			((Job *) lfirst(cell))->scan.limit = 0;
}

/* At exit: when that is in peace the run is finished, what it was in the middle of is rolled back. Interrupts are held off by now. */
static void
at_exit(int code, Datum arg)
{
	bool		off = false;

	pg_atomic_write_u32(&slot->procno, 0);
	pg_atomic_write_u64(&slot->wake_at, (uint64) DT_NOBEGIN);
	if (marked && (!in_batch || lc_hold_is_on(MyDatabaseId) || lc_server_is_stopping()))
	{
		AbortOutOfAnyTransaction();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		set_unfinished(&off);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	pg_atomic_write_u32(&slot->pid, 0);
	lc_wake_process(&lc_shared->launcher_procno);
}

/* Takes the slot of our database; ends the process when another scheduler has it, or the database is held. */
static void
enter_slot(void)
{
	uint32		pid;

	slot = lc_slot_find(MyDatabaseId);
	if (slot == NULL)
		proc_exit(0);
	LWLockAcquire(lc_shared->lock, LW_EXCLUSIVE);
	pid = pg_atomic_read_u32(&slot->pid);
	if (pid != 0 && BackendPidGetProc((int) pid) != NULL)
	{
		LWLockRelease(lc_shared->lock);
		proc_exit(0);
	}
	pg_atomic_write_u32(&slot->pid, MyProcPid);
	pg_atomic_write_u64(&slot->wake_at, (uint64) DT_NOBEGIN);
	pg_atomic_write_u32(&slot->procno, lc_process_number());
	pg_atomic_write_u64(&slot->started_at, (uint64) lc_now(false));
	LWLockRelease(lc_shared->lock);
	before_shmem_exit(at_exit, (Datum) 0);
	if (lc_hold_is_on(MyDatabaseId))
		proc_exit(0);
	lc_wake_process(&lc_shared->launcher_procno);
}

static void
at_relcache_change(Datum arg, Oid relation)
{
	if (relation == definitions_table || !OidIsValid(relation))
		definitions_changed = true;
}

/* Settings of the database and of the role must not change what a batch does, or make it wait. */
static void
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"deadlock_timeout", CppAsString2(LC_DEADLOCK_TIMEOUT_MS)},	/* it shall be the victim, not the application */
		{"session_replication_role", "origin"},
		{"jit", "off"},
		{"application_name", "lifecycle scheduler"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		if (GetConfigOption(settings[i][0], true, false) != NULL)	/* transaction_timeout is new in 17 */
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

static Job *
job_of(const char *lifecycle)
{
	ListCell   *cell;
	Job		   *job;
	MemoryContext context;

	foreach(cell, jobs)
		if (strcmp(((Job *) lfirst(cell))->scan.lifecycle, lifecycle) == 0)
			return lfirst(cell);

	job = MemoryContextAllocZero(scheduler_context, sizeof(Job));
	strlcpy(job->scan.lifecycle, lifecycle, sizeof(job->scan.lifecycle));
	job->scan.low_water = job->scan.next_due = job->put_off_until = DT_NOBEGIN;
	job->scan.context = scheduler_context;
	job->bin = lc_note_bin(lifecycle);
	snprintf(job->activity, sizeof(job->activity), "lifecycle \"%s\": running what is due", lifecycle);
	context = MemoryContextSwitchTo(scheduler_context);
	jobs = lappend(jobs, job);
	MemoryContextSwitchTo(context);
	return job;
}

/* Among how many rows, from the first that is due, are those that a batch was interrupted with, which had so many? */
static int64
suspects_of(int rows)
{
	return rows >= lc_guc_batch_size ? Max(lc_window_rows(lc_guc_batch_size), rows) : rows;
}

/* What was interrupted is run in small batches, as many rows as it can have had. */
static void
be_careful(void)
{
	ListCell   *cell;

	ereport(LOG,
			(errmsg("the last run of lifecycles in database \"%s\" was interrupted", get_database_name(MyDatabaseId)),
			 errdetail("What is due is run in smaller batches until it is known that no row of it crashes the server.")));
	foreach(cell, jobs)
	{
		Job		   *job = lfirst(cell);
		LcInterrupted interrupted;

		lc_interrupted_begin(job->scan.lifecycle, &interrupted);
		job->scan.limit = interrupted.batch_rows;
		job->suspects = suspects_of(interrupted.batch_rows * LC_INTERRUPTED_PARTS);
		job->small_batches = 0;
		job->crashed = interrupted.alone;
		job->crashes = interrupted.attempts;
	}
	marked = true;
}

/* Reads which lifecycles there are, and whether anything may run. */
static void
load_definitions(void *arg)
{
	LcInstallation before = installation;
	bool		changed = definitions_changed;
	bool		unfinished = false;
	ListCell   *cell;

	definitions_changed = definitions_stale = false;
	installation = LC_INSTALLATION_HERE;
	definitions_table = get_relname_relid("lifecycles", get_namespace_oid(LC_SCHEMA, false));
	foreach(cell, jobs)
		((Job *) lfirst(cell))->listed = false;
	foreach(cell, lc_lifecycle_names())
	{
		Job		   *job = job_of(lfirst(cell));

		job->listed = true;
		if (changed)
			job->scan.next_due = job->put_off_until = DT_NOBEGIN;
	}
	foreach(cell, jobs)
		if (!((Job *) lfirst(cell))->listed)
		{
			lc_window_forget(&((Job *) lfirst(cell))->scan);
			pfree(lfirst(cell));
			jobs = foreach_delete_current(jobs, cell);
		}
	if (jobs != NIL)
		installation = lc_installation_state(&unfinished);
	paused = installation != LC_INSTALLATION_HERE || !lc_guc_scheduler;
	if (installation != before)
		lc_installation_warn(installation);
	if (unfinished && !marked && !paused)
		be_careful();
}

/* What is due next, before the run is marked as begun: nothing is written when nothing is due. */
static void
peek(Job *job, LcLifecycle *lc)
{
	LcIdentity	saved;
	bool		isnull;
	Datum		next;

	SPI_connect();
	lc_identity_owner(lc, true, &saved);
	lc_runf("SELECT pg_catalog.min(due_at) FROM %s", lc->table_sql[LC_DUE]);
	next = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	job->scan.next_due = isnull ? DT_NOEND : DatumGetTimestampTz(next);
	lc_identity_restore(&saved);
	SPI_finish();
}

/* Simulated time stands still for us, unless the clock is set for the whole server. */
static bool
may_run(LcLifecycle *lc)
{
	return !lc->paused && (!lc->simulated || lc_guc_clock_set);
}

/* How long the next batch may be, in the transaction of the one that has just been run. */
static void
let_grow(Job *job)
{
	if (job->scan.limit == 0 || job->rows == 0 || job->suspects > job->rows)
		return;
	job->next_limit = job->scan.limit * 2;
	if (job->next_limit >= lc_guc_batch_size)
		job->next_limit = 0;
	lc_interrupted_grow(job->scan.lifecycle, job->next_limit);
}

static void
run_batch(void *arg)
{
	Job		   *job = arg;
	LcLifecycle *lc = lc_lifecycle_get(job->scan.lifecycle, true);

	job->rows = 0;
	job->next_limit = job->scan.limit;
	if (lc == NULL || !may_run(lc))
		job->scan.next_due = DT_NOEND;
	else if (!marked && job->scan.next_due == DT_NOBEGIN)
		peek(job, lc);
	else
	{
		job->rows = lc_run_batch(lc, &job->scan);
		let_grow(job);
		/* Temporary tables of one owner must not be found by the statements of another, who would run their triggers. */
		ResetTempTableNamespace();
	}
}

/* In a transaction before the run_batch of a single row, so that a crash is counted. */
static void
mark_attempt(void *arg)
{
	Job		   *job = arg;
	LcLifecycle *lc = lc_lifecycle_get(job->scan.lifecycle, true);
	uint64		row = lc != NULL && may_run(lc) ? lc_mark_next(lc, &job->scan, job->crashed, job->crashes) : 0;

	if (row != 0)
		lc_interrupted_alone(job->scan.lifecycle, row, row == job->crashed ? job->crashes + 1 : 1);
}

/*
 * What the statements of one owner leave in the session, whether their transaction was committed or not, must not reach those of another, nor hold up
 * anybody. Settings come back with the identity.
 */
static void
forget_session(void)
{
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	(void) DirectFunctionCall1(setseed, Float8GetDatum(pg_prng_double(&pg_global_prng_state)));
}

static void
put_off(Job *job, bool transient)
{
	int64		first = transient ? TRANSIENT_DELAY_MS : FIRST_DELAY_MS;

	job->put_off_until = TimestampTzPlusMilliseconds(lc_now(false), Min(first << Min(job->failures, 16), LAST_DELAY_MS));
	job->failures++;
	job->scan.low_water = job->scan.next_due = DT_NOBEGIN;
}

static void
count_batch(Job *job, TimestampTz now)
{
	TimestampTz low_water = DT_NOEND;
	ListCell   *cell;

	if (busy_since == 0)
	{
		busy_since = now;
		busy_rows = 0;
	}
	busy_rows += job->rows;
	now = lc_now(false);
	pg_atomic_fetch_add_u64(&slot->batches, 1);
	pg_atomic_fetch_add_u64(&slot->rows, job->rows);
	pg_atomic_write_u64(&slot->last_run, (uint64) now);
	if (now > busy_since)
		pg_atomic_write_u64(&slot->rows_per_second, (uint64) (busy_rows * USECS_PER_SEC / (now - busy_since)));
	foreach(cell, jobs)
		low_water = Min(low_water, ((Job *) lfirst(cell))->scan.low_water);
	pg_atomic_write_u64(&slot->low_water, (uint64) low_water);
	last_run = now;
}

/* A batch that was small for a crash has been run. */
static void
count_small_batch(Job *job)
{
	job->crashed = 0;
	job->suspects -= job->rows;
	job->small_batches++;
	job->scan.limit = job->next_limit;
	if (job->scan.limit == 0)
		ereport(LOG,
				(errmsg("batches of lifecycle \"%s\" have their full size again, after %d smaller ones", job->scan.lifecycle,
						job->small_batches)));
}

/* A cancel means the batch that runs; between batches there is nothing to cancel. */
static void
check_interrupts(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/* When this lifecycle is to be looked at. */
static TimestampTz
look_at(const Job *job)
{
	return Max(job->scan.next_due, job->put_off_until);
}

/* One batch of one lifecycle. Nothing due and a next_due that has passed means that others have locked what is due. */
static bool
run_job(Job *job, TimestampTz now)
{
	bool		unknown = job->scan.next_due == DT_NOBEGIN;
	bool		on = true;
	bool		transient = false;
	bool		done;

	if (!marked && !unknown)
		(void) in_transaction(set_unfinished, &on, "lifecycle: marking the run as begun", &transient);
	publish_state(LC_SLOT_WORKING);
	done = job->scan.limit != 1 || in_transaction(mark_attempt, job, job->activity, &transient);
	in_batch = true;
	done = done && in_transaction(run_batch, job, job->activity, &transient);
	in_batch = false;
	forget_session();
	if (!done)
	{
		put_off(job, transient);
		return false;
	}
	job->failures = 0;
	if (job->rows > 0)
	{
		job->locked = 0;
		job->scan.next_due = now;
		count_batch(job, now);
		if (job->scan.limit > 0)
			count_small_batch(job);
		return true;
	}
	if (job->scan.next_due > now || (unknown && !marked))
	{
		job->locked = 0;
		return job->scan.next_due <= now;
	}
	job->scan.next_due = TimestampTzPlusMilliseconds(now, Min(LOCKED_DELAY_MS << job->locked, LAST_LOCKED_DELAY_MS));
	job->locked = Min(job->locked + 1, 16);
	return false;
}

/* One batch of each lifecycle that is due; false when none had any. */
static bool
run_due_jobs(void)
{
	bool		worked = false;
	ListCell   *cell;

	foreach(cell, jobs)
	{
		Job		   *job = lfirst(cell);
		TimestampTz now = lc_now(false);

		check_interrupts();
		if (look_at(job) <= now)
			worked |= run_job(job, now);
	}
	return worked;
}

static void
take_notes(void)
{
	TimestampTz notes[LC_NOTE_BINS];
	ListCell   *cell;

	if (!lc_notes_take(slot, notes))
		return;
	foreach(cell, jobs)
	{
		Job		   *job = lfirst(cell);

		if (notes[job->bin] == DT_NOEND)
			continue;
		lc_scan_lower(&job->scan, notes[job->bin]);
		job->scan.next_due = Min(job->scan.next_due, notes[job->bin]);
	}
}

/* Every 5 s: look for what nobody told us of, and if all was quiet, the run is finished. */
static void
sweep(TimestampTz now)
{
	bool		off = false;
	bool		transient;
	ListCell   *cell;

	sweep_at = TimestampTzPlusMilliseconds(now, SWEEP_MS);
	foreach(cell, jobs)
	{
		Job		   *job = lfirst(cell);

		job->scan.low_water = job->scan.next_due = DT_NOBEGIN;
	}
	definitions_stale = true;
	if (marked && TimestampDifferenceExceeds(last_run, now, SWEEP_MS))
		(void) in_transaction(set_unfinished, &off, "lifecycle: marking the run as finished", &transient);
}

/* Interrupts, settings, the extension, the time, the definitions. */
static void
attend(void)
{
	TimestampTz now;
	bool		transient;

	check_interrupts();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		definitions_changed = true;
	}
	if (pg_atomic_exchange_u32(&slot->recheck, 0) != 0 && !extension_is_here())
		leave(LC_SLOT_ABSENT);
	if (pg_atomic_read_u32(&slot->renew) != 0)
		leave(LC_SLOT_STARTING);
	now = lc_now(false);
	if (now >= sweep_at)
		sweep(now);
	if ((definitions_changed || definitions_stale) &&
		!in_transaction(load_definitions, NULL, "lifecycle: reading definitions", &transient))
		paused = true;			/* until the next sweep */
}

/* Sleeps until something is due, the next sweep, or a wake-up. */
static void
rest(void)
{
	TimestampTz now = lc_now(false);
	TimestampTz wake_at = sweep_at;
	ListCell   *cell;

	if (!paused)
		foreach(cell, jobs)
			wake_at = Min(wake_at, look_at((Job *) lfirst(cell)));
	publish_state(!lc_guc_scheduler ? LC_SLOT_OFF : paused ? LC_SLOT_PAUSED : LC_SLOT_IDLE);
	busy_since = 0;
	pgstat_report_activity(STATE_IDLE, NULL);
	pg_atomic_write_u64(&slot->wake_at, (uint64) wake_at);
	if (wake_at > now && !lc_notes_pending(slot))
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(now, wake_at), PG_WAIT_EXTENSION);
	pg_atomic_write_u64(&slot->wake_at, (uint64) DT_NOBEGIN);
	ResetLatch(MyLatch);
	check_interrupts();

	/* its start takes in what others have changed */
	StartTransactionCommand();
	CommitTransactionCommand();
	MemoryContextSwitchTo(scheduler_context);
}

static void
set_up(Oid database)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	scheduler_context = AllocSetContextCreate(TopMemoryContext, "lifecycle scheduler", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scheduler_context);
	enter_slot();
	if (!extension_is_here())
		leave(LC_SLOT_ABSENT);
	if (!lc_slot_settle(slot))
		leave(LC_SLOT_FULL);
	pin_settings();
	CacheRegisterRelcacheCallback(at_relcache_change, (Datum) 0);
}

void
lifecycle_scheduler_main(Datum arg)
{
	set_up(DatumGetObjectId(arg));
	for (;;)
	{
		attend();
		take_notes();
		if (paused || !run_due_jobs())
			rest();
	}
}
