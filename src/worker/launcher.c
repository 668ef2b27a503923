/*
 * launcher.c: keeps one scheduler in each database that has the extension.
 *
 * The launcher is connected to the shared catalogs only and cannot see which databases have the extension: it starts a scheduler in each that can be
 * connected to, and one that finds no extension ends at once (LC_SLOT_ABSENT). Then the database is left alone until a commit there creates
 * the extension and says so (a poke), or until a slow sweep, for what tells nobody: COMMIT PREPARED. Two databases at once are tried. One that finds
 * the extension and lifecycle.max_databases others ends too (LC_SLOT_FULL), and waits until one of these ends. One that ends because settings have changed
 * is started again at once, one that ends otherwise with growing delays, each database by itself. Memory is in one context, for one `Known` per
 * database.
 */
#include "postgres.h"

#include "clock.h"
#include <signal.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/shared.h"
#include "worker/worker.h"

#define RESTART_SECONDS		5	/* of the launcher itself */
#define LIST_MS				60000	/* the list of databases is read at least this often */
#define PROBE_MS			300000	/* a database without the extension is tried again after this, + 1 s for each that we know */
#define FIRST_DELAY_MS		1000	/* between two starts of a scheduler that fails */
#define LAST_DELAY_MS		300000
#define STEADY_MS			60000	/* a scheduler that ran so long had started well */
#define FULL_MS				5000	/* background workers or slots were exhausted: tried again after this */
#define INVALID_DATABASE	(-2)	/* pg_database.datconnlimit after an interrupted DROP DATABASE */

/* A database, as the launcher knows it. */
typedef struct Known
{
	Oid			database;		/* hash key */
	bool		listed;			/* seen in the last list */
	bool		wanted;			/* can be connected to, and is no template */
	bool		waits;			/* for one of the others to end: there are lifecycle.max_databases of them */
	bool		full_logged;	/* … since it last had a scheduler */
	bool		poked;			/* since its scheduler was started, so ABSENT may be no longer true */
	LcSlot	   *slot;			/* NULL: no scheduler */
	BackgroundWorkerHandle *handle; /* NULL: its scheduler was started by a launcher before us */
	TimestampTz started_at;
	TimestampTz next_start;
	int			failures;
} Known;

PGDLLEXPORT void lifecycle_launcher_main(Datum arg);

static HTAB *databases = NULL;
static bool list_is_stale = true;
static TimestampTz list_at = DT_NOBEGIN;
static int	tried_now = 0;		/* schedulers that were started and have not settled in their slot */
static bool workers_full_logged = false;

static Known *
known(Oid database)
{
	bool		found;
	Known	   *k = hash_search(databases, &database, HASH_ENTER, &found);

	if (!found)
	{
		memset(k, 0, sizeof(Known));
		k->database = database;
		k->next_start = DT_NOBEGIN;
	}
	return k;
}

static void
read_databases(void)
{
	Relation	table;
	TableScanDesc scan;
	HeapTuple	tuple;
	HASH_SEQ_STATUS seq;
	Known	   *k;

	hash_seq_init(&seq, databases);
	while ((k = hash_seq_search(&seq)) != NULL)
		k->listed = k->wanted = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	table = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(table, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		k = known(form->oid);
		k->listed = true;
		k->wanted = form->datallowconn && !form->datistemplate && form->datconnlimit != INVALID_DATABASE;
	}
	table_endscan(scan);
	table_close(table, AccessShareLock);
	CommitTransactionCommand();
	list_is_stale = false;
	list_at = TimestampTzPlusMilliseconds(lc_now(false), LIST_MS);
}

static bool
is_gone(Oid database, const char *lifecycle, int rule_id, void *arg)
{
	Known	   *k = hash_search(databases, &database, HASH_FIND, NULL);

	return k == NULL || !k->listed;
}

static void
take_pokes(void)
{
	Oid			pokes[LC_MAX_POKES];
	int			n;
	bool		overflow;
	HASH_SEQ_STATUS seq;
	Known	   *k;

	if (!lc_launcher_take_pokes(pokes, &n, &overflow))
		return;
	list_is_stale = true;
	while (n > 0)
	{
		k = known(pokes[--n]);
		k->poked = true;
		k->next_start = DT_NOBEGIN;
	}
	if (!overflow)
		return;
	hash_seq_init(&seq, databases);
	while ((k = hash_seq_search(&seq)) != NULL)
	{
		k->poked = true;
		k->next_start = DT_NOBEGIN;
	}
}

static bool
is_alive(Known *k)
{
	pid_t		pid;

	if (k->handle != NULL && GetBackgroundWorkerPid(k->handle, &pid) != BGWH_STOPPED)
		return true;
	pid = (pid_t) pg_atomic_read_u32(&k->slot->pid);
	return pid != 0 && BackendPidGetProc(pid) != NULL;
}

static void
put_off(Known *k, TimestampTz now)
{
	int64		delay = Min((int64) FIRST_DELAY_MS << Min(k->failures, 16), LAST_DELAY_MS);

	k->failures++;
	k->next_start = TimestampTzPlusMilliseconds(now, delay);
}

static bool
is_settled(Known *k)
{
	return k->slot != NULL && pg_atomic_read_u32(&k->slot->settled) != 0;
}

/* Frees its slot, for those that wait for one. */
static void
give_back(Known *k)
{
	bool		settled = is_settled(k);
	HASH_SEQ_STATUS seq;
	Known	   *other;

	lc_slot_free(k->slot);
	k->slot = NULL;
	if (!settled)
		return;
	hash_seq_init(&seq, databases);
	while ((other = hash_seq_search(&seq)) != NULL)
		if (other->waits)
			other->next_start = DT_NOBEGIN;
	SetLatch(MyLatch);			/* some may have been looked at */
}

/* Its scheduler would have been one too many. */
static void
wait_for_others(Known *k, TimestampTz now)
{
	if (!k->full_logged)
		ereport(WARNING,
				(errmsg("no scheduler for database with OID %u: there are already %d", k->database, lc_guc_max_databases),
				 errhint("Raise lifecycle.max_databases.")));
	k->full_logged = k->waits = true;
	k->next_start = TimestampTzPlusMilliseconds(now, LIST_MS);
}

/* Its scheduler has ended: why, and when to start another. */
static void
reap(Known *k, TimestampTz now)
{
	uint32		state = pg_atomic_read_u32(&k->slot->state);
	bool		renewed = pg_atomic_read_u32(&k->slot->renew) != 0;

	if (k->handle != NULL)
		pfree(k->handle);
	k->handle = NULL;
	if (state == LC_SLOT_ABSENT || state == LC_SLOT_FULL || !k->wanted)
	{
		give_back(k);
		k->failures = 0;
		k->next_start = now;
		if (state == LC_SLOT_ABSENT && !k->poked)
			k->next_start = TimestampTzPlusMilliseconds(now, PROBE_MS + (int64) hash_get_num_entries(databases) * 1000);
		if (state == LC_SLOT_FULL)
			wait_for_others(k, now);
		return;
	}
	pg_atomic_write_u32(&k->slot->state, LC_SLOT_STOPPED);
	/* one that ended in a batch has started well, and knows how to be careful */
	if (renewed || state == LC_SLOT_WORKING || TimestampDifferenceExceeds(k->started_at, now, STEADY_MS))
		k->failures = 0;
	if (renewed)
		k->next_start = now;
	else
		put_off(k, now);
}

static void
start(Known *k, TimestampTz now)
{
	BackgroundWorker worker = {0};

	if (lc_hold_is_on(k->database))
		return;					/* its end pokes us */
	if (k->slot == NULL)
		k->slot = lc_slot_reserve(k->database);
	if (k->slot == NULL)
	{
		k->next_start = TimestampTzPlusMilliseconds(now, FULL_MS);
		return;
	}
	pg_atomic_write_u32(&k->slot->state, LC_SLOT_STARTING);
	pg_atomic_write_u32(&k->slot->renew, 0);	/* before it starts: it reads what is committed by now */
	k->poked = k->waits = false;
	k->started_at = now;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = ObjectIdGetDatum(k->database);
	strlcpy(worker.bgw_library_name, "lifecycle", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "lifecycle_scheduler_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_type, "lifecycle scheduler", sizeof(worker.bgw_type));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "lifecycle scheduler for database %u", k->database);
	if (RegisterDynamicBackgroundWorker(&worker, &k->handle))
	{
		tried_now++;
		workers_full_logged = false;
		return;
	}
	k->handle = NULL;
	give_back(k);
	if (!workers_full_logged)
		ereport(WARNING,
				(errmsg("no scheduler for database with OID %u: all background workers are in use", k->database),
				 errhint("Raise max_worker_processes; the lifecycles of each database need one.")));
	workers_full_logged = true;
	k->next_start = TimestampTzPlusMilliseconds(now, FULL_MS);
}

static void
stop(Known *k)
{
	int			pid = (int) pg_atomic_read_u32(&k->slot->pid);

	if (k->handle != NULL)
		TerminateBackgroundWorker(k->handle);
	else if (pid != 0)
		kill(pid, SIGTERM);
}

/* Finds the slots of a launcher before us, and counts the schedulers that are about to settle in theirs. */
static void
look_around(TimestampTz now)
{
	HASH_SEQ_STATUS seq;
	Known	   *k;

	tried_now = 0;
	hash_seq_init(&seq, databases);
	while ((k = hash_seq_search(&seq)) != NULL)
	{
		if (k->slot == NULL && (k->slot = lc_slot_find(k->database)) != NULL)
			k->started_at = now;
		if (k->slot != NULL && (pg_atomic_read_u32(&k->slot->pid) == 0 || !is_settled(k)) && is_alive(k))
			tried_now++;
	}
}

/* Looks after one database; returns when to do so again. */
static TimestampTz
look_after(Known *k, TimestampTz now)
{
	if (k->slot != NULL && is_alive(k))
	{
		if (!k->wanted)
			stop(k);
		if (is_settled(k))
			k->full_logged = false;
		return DT_NOEND;
	}
	if (k->slot != NULL && pg_atomic_read_u32(&k->slot->state) != LC_SLOT_STOPPED)
		reap(k, now);
	if (k->slot != NULL && !k->wanted)
		give_back(k);
	if (!k->wanted)
	{
		if (!k->listed)
			hash_search(databases, &k->database, HASH_REMOVE, NULL);
		return DT_NOEND;
	}
	if (k->next_start > now)
		return k->next_start;
	if (tried_now >= LC_MAX_TRIED)
		return DT_NOEND;		/* we are told when one of these starts or ends */
	start(k, now);
	return k->next_start > now ? k->next_start : DT_NOEND;
}

static void
leave(int code, Datum arg)
{
	pg_atomic_write_u32(&lc_shared->launcher_procno, 0);
	pg_atomic_write_u32(&lc_shared->launcher_pid, 0);
}

static void
set_up(void)
{
	HASHCTL		ctl = {0};

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(leave, (Datum) 0);
	pg_atomic_write_u32(&lc_shared->launcher_pid, MyProcPid);
	pg_atomic_write_u32(&lc_shared->launcher_procno, lc_process_number());

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "lifecycle launcher", ALLOCSET_DEFAULT_SIZES));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Known);
	ctl.hcxt = CurrentMemoryContext;
	databases = hash_create("lifecycle databases", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
lifecycle_launcher_main(Datum arg)
{
	MemoryContext context;

	set_up();
	context = CurrentMemoryContext;
	for (;;)
	{
		TimestampTz now = lc_now(false);
		TimestampTz next;
		HASH_SEQ_STATUS seq;
		Known	   *k;

		take_pokes();
		if (list_is_stale || now >= list_at)
		{
			read_databases();
			lc_stats_forget(is_gone, NULL);
		}

		next = list_at;
		look_around(now);
		hash_seq_init(&seq, databases);
		while ((k = hash_seq_search(&seq)) != NULL)
			next = Min(next, look_after(k, now));

		MemoryContextSwitchTo(context);
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(TimestampDifferenceMilliseconds(now, next), 1), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

void
lc_launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "lifecycle", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "lifecycle_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "lifecycle launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "lifecycle launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}
