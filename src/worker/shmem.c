/*
 * shmem.c: the shared memory of the workers: one slot for each database that has a scheduler, messages to the launcher, and holds.
 *
 * A committing backend finds the slot of its database and wakes its scheduler without taking any lock, so what it touches is atomic. The launcher
 * alone gives slots out and takes them back, under LcShared.lock exclusively; a slot's other fields are written by the scheduler that is in it.
 * A backend that looks at a slot while it changes hands wakes a scheduler in vain at worst. Pokes and holds have spinlocks, because ends of
 * transactions deal with them and must not throw. A hold keeps the scheduler of a database away until the holder's transaction ends: the holder first
 * takes the hold, then looks for a scheduler; a scheduler first enters its slot, then looks for a hold.
 */
#include "postgres.h"

#include "guc.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "worker/shared.h"

#define TRANCHE "lifecycle"

LcShared   *lc_shared = NULL;

static bool holding = false;	/* this backend has holds */

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static int
slots_needed(void)
{
	return lc_guc_max_databases + LC_MAX_TRIED;
}

static Size
shared_size(void)
{
	return add_size(offsetof(LcShared, slots), mul_size(slots_needed(), sizeof(LcSlot)));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(shared_size(), lc_stats_size()));
	RequestNamedLWLockTranche(TRANCHE, 1 + LC_STATS_PARTITIONS);
}

static void
slot_reset(LcSlot *slot)
{
	int			bin;

	pg_atomic_write_u32(&slot->procno, 0);
	pg_atomic_write_u32(&slot->pid, 0);
	pg_atomic_write_u32(&slot->state, LC_SLOT_STARTING);
	pg_atomic_write_u32(&slot->settled, 0);
	pg_atomic_write_u32(&slot->recheck, 0);
	pg_atomic_write_u32(&slot->renew, 0);
	pg_atomic_write_u64(&slot->wake_at, (uint64) DT_NOBEGIN);
	for (bin = 0; bin < LC_NOTE_BINS; bin++)
		pg_atomic_write_u64(&slot->notes[bin], (uint64) DT_NOEND);
	pg_atomic_write_u64(&slot->started_at, (uint64) DT_NOBEGIN);
	pg_atomic_write_u64(&slot->last_run, (uint64) DT_NOBEGIN);
	pg_atomic_write_u64(&slot->batches, 0);
	pg_atomic_write_u64(&slot->rows, 0);
	pg_atomic_write_u64(&slot->errors, 0);
	pg_atomic_write_u64(&slot->rows_per_second, 0);
	pg_atomic_write_u64(&slot->low_water, (uint64) DT_NOBEGIN);
}

static void
slot_init(LcSlot *slot)
{
	int			bin;

	pg_atomic_init_u32(&slot->database, InvalidOid);
	pg_atomic_init_u32(&slot->procno, 0);
	pg_atomic_init_u32(&slot->pid, 0);
	pg_atomic_init_u32(&slot->state, 0);
	pg_atomic_init_u32(&slot->settled, 0);
	pg_atomic_init_u32(&slot->recheck, 0);
	pg_atomic_init_u32(&slot->renew, 0);
	pg_atomic_init_u64(&slot->wake_at, 0);
	for (bin = 0; bin < LC_NOTE_BINS; bin++)
		pg_atomic_init_u64(&slot->notes[bin], 0);
	pg_atomic_init_u64(&slot->started_at, 0);
	pg_atomic_init_u64(&slot->last_run, 0);
	pg_atomic_init_u64(&slot->batches, 0);
	pg_atomic_init_u64(&slot->rows, 0);
	pg_atomic_init_u64(&slot->errors, 0);
	pg_atomic_init_u64(&slot->rows_per_second, 0);
	pg_atomic_init_u64(&slot->low_water, 0);
	slot_reset(slot);
}

static void
startup(void)
{
	bool		found;
	int			i;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	lc_shared = ShmemInitStruct("lifecycle", shared_size(), &found);
	if (!found)
	{
		LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);

		memset(lc_shared, 0, offsetof(LcShared, slots));
		lc_shared->lock = &locks[0].lock;
		lc_shared->stats_locks = locks + 1;
		pg_atomic_init_u32(&lc_shared->launcher_procno, 0);
		pg_atomic_init_u32(&lc_shared->launcher_pid, 0);
		pg_atomic_init_u64(&lc_shared->uncounted, 0);
		SpinLockInit(&lc_shared->poke_mutex);
		SpinLockInit(&lc_shared->hold_mutex);
		lc_shared->nslots = slots_needed();
		for (i = 0; i < lc_shared->nslots; i++)
			slot_init(&lc_shared->slots[i]);
	}
	lc_stats_startup();
	LWLockRelease(AddinShmemInitLock);
}

void
lc_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/* The slot of a database, or NULL. Takes no lock and cannot fail. */
LcSlot *
lc_slot_find(Oid database)
{
	static LcSlot *last = NULL;
	int			i;

	if (lc_shared == NULL || !OidIsValid(database))
		return NULL;
	if (last != NULL && pg_atomic_read_u32(&last->database) == database)
		return last;
	for (i = 0; i < lc_shared->nslots; i++)
		if (pg_atomic_read_u32(&lc_shared->slots[i].database) == database)
			return last = &lc_shared->slots[i];
	return NULL;
}

/* Launcher only: the slot of a database, a new one when it has none; NULL when all are taken. */
LcSlot *
lc_slot_reserve(Oid database)
{
	LcSlot	   *slot = lc_slot_find(database);
	int			i;

	if (slot != NULL)
		return slot;
	LWLockAcquire(lc_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < lc_shared->nslots && slot == NULL; i++)
		if (pg_atomic_read_u32(&lc_shared->slots[i].database) == InvalidOid)
		{
			slot = &lc_shared->slots[i];
			slot_reset(slot);
			pg_write_barrier();
			pg_atomic_write_u32(&slot->database, database);
		}
	LWLockRelease(lc_shared->lock);
	return slot;
}

/* Scheduler only: its database has the extension. False: lifecycle.max_databases others have it too. */
bool
lc_slot_settle(LcSlot *slot)
{
	int			others = 0;
	int			i;

	LWLockAcquire(lc_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < lc_shared->nslots; i++)
		if (&lc_shared->slots[i] != slot && pg_atomic_read_u32(&lc_shared->slots[i].settled) != 0)
			others++;
	if (others < lc_guc_max_databases)
		pg_atomic_write_u32(&slot->settled, 1);
	LWLockRelease(lc_shared->lock);
	lc_wake_process(&lc_shared->launcher_procno);
	return others < lc_guc_max_databases;
}

/* Launcher only: takes a slot back. Its scheduler has ended. */
void
lc_slot_free(LcSlot *slot)
{
	LWLockAcquire(lc_shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&slot->database, InvalidOid);
	slot_reset(slot);
	LWLockRelease(lc_shared->lock);
}

/* Wakes the process with that number. One that has come in its place is woken in vain. Cannot fail. */
void
lc_wake_process(pg_atomic_uint32 *procno)
{
	uint32		number = pg_atomic_read_u32(procno);

	if (number != 0)
		SetLatch(&ProcGlobal->allProcs[number - 1].procLatch);
}

/* The number of this process, as lc_wake_process takes it. */
uint32
lc_process_number(void)
{
	return (uint32) (MyProc - ProcGlobal->allProcs) + 1;
}

/* Makes the launcher look at a database anew; InvalidOid: at the list of databases. Cannot fail. */
void
lc_launcher_poke(Oid database)
{
	if (lc_shared == NULL)
		return;
	SpinLockAcquire(&lc_shared->poke_mutex);
	if (OidIsValid(database) && lc_shared->npokes < LC_MAX_POKES)
		lc_shared->pokes[lc_shared->npokes++] = database;
	else if (OidIsValid(database))
		lc_shared->poke_overflow = true;
	lc_shared->poked = true;
	SpinLockRelease(&lc_shared->poke_mutex);
	lc_wake_process(&lc_shared->launcher_procno);
}

/* Launcher only: takes the pokes; false when there is none. *overflow: any database may be meant. */
bool
lc_launcher_take_pokes(Oid *databases, int *n, bool *overflow)
{
	bool		poked;

	SpinLockAcquire(&lc_shared->poke_mutex);
	poked = lc_shared->poked;
	*n = lc_shared->npokes;
	*overflow = lc_shared->poke_overflow;
	memcpy(databases, lc_shared->pokes, *n * sizeof(Oid));
	lc_shared->poked = lc_shared->poke_overflow = false;
	lc_shared->npokes = 0;
	SpinLockRelease(&lc_shared->poke_mutex);
	return poked;
}

/* Keeps schedulers out of a database until this transaction ends; false, and no hold, when there are too many holds. */
bool
lc_hold_begin(Oid database)
{
	bool		held = false;
	int			i;

	SpinLockAcquire(&lc_shared->hold_mutex);
	for (i = 0; i < LC_MAX_HOLDS && !held; i++)
		if (lc_shared->holds[i].pid == 0)
		{
			lc_shared->holds[i].pid = MyProcPid;
			lc_shared->holds[i].database = database;
			held = true;
		}
	SpinLockRelease(&lc_shared->hold_mutex);
	holding |= held;
	return held;
}

/* Ends the holds of this backend. Cannot fail. */
void
lc_holds_end(void)
{
	Oid			held[LC_MAX_HOLDS];
	int			n = 0;
	int			i;

	if (!holding)
		return;
	SpinLockAcquire(&lc_shared->hold_mutex);
	for (i = 0; i < LC_MAX_HOLDS; i++)
		if (lc_shared->holds[i].pid == MyProcPid)
		{
			held[n++] = lc_shared->holds[i].database;
			lc_shared->holds[i].pid = 0;
		}
	SpinLockRelease(&lc_shared->hold_mutex);
	holding = false;
	while (n > 0)
		lc_launcher_poke(held[--n]);
}

bool
lc_hold_is_on(Oid database)
{
	bool		held = false;
	int			i;

	SpinLockAcquire(&lc_shared->hold_mutex);
	for (i = 0; i < LC_MAX_HOLDS && !held; i++)
		held = lc_shared->holds[i].pid != 0 && lc_shared->holds[i].database == database;
	SpinLockRelease(&lc_shared->hold_mutex);
	return held;
}
