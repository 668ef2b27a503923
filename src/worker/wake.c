/*
 * wake.c: a commit wakes the scheduler of its database.
 *
 * What a transaction puts into due queues is noted here in local memory, as the earliest due time of each lifecycle (told apart by a hash of the name).
 * Its commit lowers the notes in the slot of the database and then wakes the scheduler, when that is due before its next wake-up. This happens in
 * the last phase of releasing resources: the rows are visible by then, the locks are released, and other backends have been told of changed definitions,
 * none of which holds in the callback for XACT_EVENT_COMMIT itself. A prepared transaction tells nobody; the scheduler finds it at its next sweep.
 * An aborted subtransaction may leave a note that is too early, which costs one look in vain.
 *
 * Order on both sides, so that no wake-up is lost: a commit lowers the note, then reads wake_at; the scheduler writes wake_at, then looks at
 * the notes once more before it sleeps. Both are separated by full barriers.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "worker/shared.h"
#include "worker/worker.h"

static TimestampTz noted[LC_NOTE_BINS];
static uint32 noted_bins = 0;	/* which of them are set */
static bool wake_anyway = false;	/* definitions have changed */
static bool poke_list = false;	/* the list of databases has changed */
static Oid	poke_database = InvalidOid; /* CREATE or DROP EXTENSION there */
static Oid	renew_database = InvalidOid;	/* its settings have changed */
static bool renew_all = false;	/* … or those of more than one */
static bool committed = false;	/* the commit is done, its news are still to be spread */

int
lc_note_bin(const char *lifecycle)
{
	return hash_bytes((const unsigned char *) lifecycle, strlen(lifecycle)) % LC_NOTE_BINS;
}

void
lc_wake_note(const char *lifecycle, TimestampTz due_at)
{
	int			bin;

	if (lc_shared == NULL)
		return;
	bin = lc_note_bin(lifecycle);
	if ((noted_bins & (1 << bin)) == 0 || due_at < noted[bin])
		noted[bin] = due_at;
	noted_bins |= 1 << bin;
}

void
lc_wake_definitions(void)
{
	wake_anyway = true;
}

/* Tells the launcher at commit: InvalidOid: databases came, went or changed; else that database got or lost the extension. */
void
lc_poke_at_commit(Oid database)
{
	if (OidIsValid(database))
		poke_database = database;
	else
		poke_list = true;
}

/* Has the scheduler of a database started anew after the commit, since only a start reads its settings; InvalidOid: those of all. */
void
lc_renew_at_commit(Oid database)
{
	if (!OidIsValid(database) || (OidIsValid(renew_database) && renew_database != database))
		renew_all = true;
	renew_database = database;
}

static void
forget(void)
{
	noted_bins = 0;
	wake_anyway = poke_list = renew_all = committed = false;
	poke_database = renew_database = InvalidOid;
	lc_holds_end();
}

static void
lower(pg_atomic_uint64 *note, TimestampTz due_at)
{
	uint64		old = pg_atomic_read_u64(note);

	while (due_at < (TimestampTz) old && !pg_atomic_compare_exchange_u64(note, &old, (uint64) due_at))
		;
}

static void
publish_renewal(void)
{
	for (int i = 0; i < lc_shared->nslots; i++)
	{
		LcSlot	   *slot = &lc_shared->slots[i];

		if (!renew_all && pg_atomic_read_u32(&slot->database) != renew_database)
			continue;
		pg_atomic_write_u32(&slot->renew, 1);
		lc_wake_process(&slot->procno);
	}
}

static void
publish(void)
{
	LcSlot	   *slot = lc_slot_find(MyDatabaseId);
	TimestampTz earliest = DT_NOEND;
	int			bin;

	if (slot != NULL && noted_bins != 0)
	{
		for (bin = 0; bin < LC_NOTE_BINS; bin++)
			if (noted_bins & (1 << bin))
			{
				lower(&slot->notes[bin], noted[bin]);
				earliest = Min(earliest, noted[bin]);
			}
		pg_memory_barrier();
		if (earliest < (TimestampTz) pg_atomic_read_u64(&slot->wake_at))
			wake_anyway = true;
	}
	if (slot != NULL && OidIsValid(poke_database))
		pg_atomic_write_u32(&slot->recheck, 1);
	if (slot != NULL && (wake_anyway || OidIsValid(poke_database)))
		lc_wake_process(&slot->procno);
	if (OidIsValid(poke_database))
		lc_launcher_poke(poke_database);
	if (poke_list)
		lc_launcher_poke(InvalidOid);
	if (lc_shared != NULL && (renew_all || OidIsValid(renew_database)))
		publish_renewal();
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			committed = true;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PARALLEL_COMMIT:
			forget();
			break;
		default:
			break;
	}
}

static void
at_resource_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (committed && phase == RESOURCE_RELEASE_AFTER_LOCKS && is_top_level)
	{
		if (noted_bins != 0 || wake_anyway || poke_list || renew_all || OidIsValid(poke_database) || OidIsValid(renew_database))
			publish();
		forget();
	}
}

/* Scheduler only: is there a note? To be called after wake_at was written. */
bool
lc_notes_pending(LcSlot *slot)
{
	int			bin;

	pg_memory_barrier();
	for (bin = 0; bin < LC_NOTE_BINS; bin++)
		if ((TimestampTz) pg_atomic_read_u64(&slot->notes[bin]) != DT_NOEND)
			return true;
	return false;
}

/* Scheduler only: takes the notes of its slot into notes[LC_NOTE_BINS]; false when there is none. */
bool
lc_notes_take(LcSlot *slot, TimestampTz *notes)
{
	bool		any = false;
	int			bin;

	pg_memory_barrier();
	for (bin = 0; bin < LC_NOTE_BINS; bin++)
	{
		notes[bin] = (TimestampTz) pg_atomic_read_u64(&slot->notes[bin]);
		if (notes[bin] != DT_NOEND)
		{
			notes[bin] = (TimestampTz) pg_atomic_exchange_u64(&slot->notes[bin], (uint64) DT_NOEND);
			any = true;
		}
	}
	return any;
}

void
lc_wake_init(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
	RegisterResourceReleaseCallback(at_resource_release, NULL);
}
