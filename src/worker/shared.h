/*
 * shared.h: what launcher, schedulers and committing backends share; private to src/worker.
 */
#ifndef LC_SHARED_H
#define LC_SHARED_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#define LC_NOTE_BINS		16	/* lifecycles are told apart by a hash of their name, this many ways */
#define LC_MAX_TRIED		2	/* databases at once of which it is being found out whether they have the extension */
#define LC_MAX_POKES		64	/* databases the launcher is told to look at; more make it look at all */
#define LC_MAX_HOLDS		64	/* commands at once that keep schedulers out of a database */
#define LC_STATS_PARTITIONS	16
#define LC_MAX_RULE_STATS	8192	/* rules counted, of all databases together */
#define LC_MAX_COUNTERS		2048	/* other counters, of all databases together */

typedef enum LcSlotState
{
	LC_SLOT_STARTING,
	LC_SLOT_WORKING,
	LC_SLOT_IDLE,
	LC_SLOT_PAUSED,
	LC_SLOT_OFF,				/* lifecycle.scheduler = off */
	LC_SLOT_STOPPED,			/* ended with an error; the launcher starts it again */
	LC_SLOT_ABSENT,				/* ended: the database does not have the extension */
	LC_SLOT_FULL				/* ended: lifecycle.max_databases others have schedulers */
} LcSlotState;

/* One database that has a scheduler, or is about to get one. Given out and taken back by the launcher only. */
typedef struct LcSlot
{
	pg_atomic_uint32 database;	/* InvalidOid: free */
	pg_atomic_uint32 procno;	/* index of the scheduler's PGPROC + 1; 0: none */
	pg_atomic_uint32 pid;		/* 0: none */
	pg_atomic_uint32 state;		/* LcSlotState */
	pg_atomic_uint32 settled;	/* 1: one of lifecycle.max_databases; 0: does it have the extension? */
	pg_atomic_uint32 recheck;	/* 1: the extension may be gone, look */
	pg_atomic_uint32 renew;		/* 1: settings of the database have changed, end and be started anew */
	pg_atomic_uint64 wake_at;	/* when the scheduler wakes by itself; DT_NOBEGIN: it is awake */
	pg_atomic_uint64 notes[LC_NOTE_BINS];	/* earliest due time that became visible and was not looked at; DT_NOEND: none */

	/* for status(), written by the scheduler alone */
	pg_atomic_uint64 started_at;
	pg_atomic_uint64 last_run;
	pg_atomic_uint64 batches;
	pg_atomic_uint64 rows;
	pg_atomic_uint64 errors;
	pg_atomic_uint64 rows_per_second;	/* in the last busy period */
	pg_atomic_uint64 low_water; /* earliest mark of its lifecycles */
} LcSlot;

typedef struct LcHold
{
	int			pid;			/* 0: free */
	Oid			database;
} LcHold;

typedef struct LcShared
{
	LWLock	   *lock;			/* giving out slots, entering them */
	LWLockPadded *stats_locks;	/* LC_STATS_PARTITIONS of them */
	pg_atomic_uint32 launcher_procno;	/* + 1; 0: none */
	pg_atomic_uint32 launcher_pid;
	pg_atomic_uint64 uncounted; /* statistics that did not fit */

	slock_t		poke_mutex;		/* protects the next four */
	bool		poked;
	bool		poke_overflow;
	int			npokes;
	Oid			pokes[LC_MAX_POKES];

	slock_t		hold_mutex;		/* protects the next */
	LcHold		holds[LC_MAX_HOLDS];

	int			nslots;
	LcSlot		slots[FLEXIBLE_ARRAY_MEMBER];
} LcShared;

extern LcShared *lc_shared;		/* NULL: not preloaded */

/* shmem.c */
extern void lc_shmem_init(void);
extern LcSlot *lc_slot_find(Oid database);
extern LcSlot *lc_slot_reserve(Oid database);
extern bool lc_slot_settle(LcSlot *slot);
extern void lc_slot_free(LcSlot *slot);
extern void lc_wake_process(pg_atomic_uint32 *procno);
extern uint32 lc_process_number(void);
extern void lc_launcher_poke(Oid database);
extern bool lc_launcher_take_pokes(Oid *databases, int *n, bool *overflow);
extern bool lc_hold_begin(Oid database);
extern void lc_holds_end(void);
extern bool lc_hold_is_on(Oid database);

/* stats.c */
extern Size lc_stats_size(void);
extern void lc_stats_startup(void);

/* wake.c */
extern void lc_wake_init(void);
extern int	lc_note_bin(const char *lifecycle);
extern bool lc_notes_pending(LcSlot *slot);
extern bool lc_notes_take(LcSlot *slot, TimestampTz *notes);
extern void lc_poke_at_commit(Oid database);
extern void lc_renew_at_commit(Oid database);

/* utility.c */
extern void lc_utility_init(void);

/* launcher.c */
extern void lc_launcher_register(void);

#endif							/* LC_SHARED_H */
