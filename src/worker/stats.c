/*
 * stats.c: counters in shared memory, by rule and by lifecycle. Lost at a restart, kept over rollbacks.
 *
 * Two hash tables of fixed size, divided into partitions, each with its lock: shared to find an entry, whose numbers are atomic, exclusive to
 * add or remove one. What no longer fits is counted as uncounted. Entries of dropped databases are removed by the
 * launcher, those of dropped rules and lifecycles by whoever drops them.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/definitions.h"
#include "clock.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "worker/shared.h"
#include "worker/worker.h"

typedef struct RuleKey
{
	Oid			database;
	int			rule;
} RuleKey;

typedef struct RuleStats
{
	RuleKey		key;
	pg_atomic_uint64 calls;
	pg_atomic_uint64 rows;
	pg_atomic_uint64 hits;
	pg_atomic_uint64 errors;
	pg_atomic_uint64 streak;	/* errors since the last success */
	pg_atomic_uint64 microseconds;
	pg_atomic_uint64 last_error_at; /* DT_NOBEGIN: never */
} RuleStats;

typedef struct CounterKey
{
	Oid			database;
	char		lifecycle[NAMEDATALEN];
	char		what[NAMEDATALEN];
} CounterKey;

typedef struct Counter
{
	CounterKey	key;
	pg_atomic_uint64 n;
} Counter;

static HTAB *rules = NULL;
static HTAB *counters = NULL;

Size
lc_stats_size(void)
{
	return add_size(hash_estimate_size(LC_MAX_RULE_STATS, sizeof(RuleStats)),
					hash_estimate_size(LC_MAX_COUNTERS, sizeof(Counter)));
}

void
lc_stats_startup(void)
{
	HASHCTL		ctl = {0};

	ctl.num_partitions = LC_STATS_PARTITIONS;
	ctl.keysize = sizeof(RuleKey);
	ctl.entrysize = sizeof(RuleStats);
	rules = ShmemInitHash("lifecycle rules", LC_MAX_RULE_STATS, LC_MAX_RULE_STATS, &ctl,
						  HASH_ELEM | HASH_BLOBS | HASH_PARTITION | HASH_FIXED_SIZE);
	ctl.keysize = sizeof(CounterKey);
	ctl.entrysize = sizeof(Counter);
	counters = ShmemInitHash("lifecycle counters", LC_MAX_COUNTERS, LC_MAX_COUNTERS, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_PARTITION | HASH_FIXED_SIZE);
}

static LWLock *
partition_lock(uint32 hash)
{
	return &lc_shared->stats_locks[hash % LC_STATS_PARTITIONS].lock;
}

/*
 * Finds an entry, or adds it when `add` initializes new ones. Returns it with the lock of its partition held, at least shared; NULL, with no
 * lock, when there is none or no room.
 */
static void *
find(HTAB *table, const void *key, void (*add) (void *entry), LWLock **lock)
{
	uint32		hash = get_hash_value(table, key);
	bool		found;
	void	   *entry;

	*lock = partition_lock(hash);
	LWLockAcquire(*lock, LW_SHARED);
	entry = hash_search_with_hash_value(table, key, hash, HASH_FIND, NULL);
	if (entry != NULL)
		return entry;
	LWLockRelease(*lock);
	if (add == NULL)
		return NULL;

	LWLockAcquire(*lock, LW_EXCLUSIVE);
	entry = hash_search_with_hash_value(table, key, hash, HASH_ENTER_NULL, &found);
	if (entry == NULL)
	{
		LWLockRelease(*lock);
		pg_atomic_fetch_add_u64(&lc_shared->uncounted, 1);
		return NULL;
	}
	if (!found)
		add(entry);
	return entry;
}

static void
add_rule(void *entry)
{
	RuleStats  *stats = entry;

	pg_atomic_init_u64(&stats->calls, 0);
	pg_atomic_init_u64(&stats->rows, 0);
	pg_atomic_init_u64(&stats->hits, 0);
	pg_atomic_init_u64(&stats->errors, 0);
	pg_atomic_init_u64(&stats->streak, 0);
	pg_atomic_init_u64(&stats->microseconds, 0);
	pg_atomic_init_u64(&stats->last_error_at, (uint64) DT_NOBEGIN);
}

static void
add_counter(void *entry)
{
	pg_atomic_init_u64(&((Counter *) entry)->n, 0);
}

void
lc_stats_rule(int rule_id, int64 rows, int64 hits, int64 errors, int64 microseconds)
{
	RuleKey		key = {MyDatabaseId, rule_id};
	RuleStats  *stats;
	LWLock	   *lock;

	if (lc_shared == NULL)
		return;
	stats = find(rules, &key, add_rule, &lock);
	if (stats == NULL)
		return;
	pg_atomic_fetch_add_u64(&stats->calls, 1);
	pg_atomic_fetch_add_u64(&stats->rows, rows);
	pg_atomic_fetch_add_u64(&stats->hits, hits);
	pg_atomic_fetch_add_u64(&stats->microseconds, microseconds);
	if (errors > 0)
	{
		pg_atomic_fetch_add_u64(&stats->errors, errors);
		pg_atomic_write_u64(&stats->last_error_at, (uint64) lc_now(false));
	}
	if (rows > errors)
		pg_atomic_write_u64(&stats->streak, 0);
	else if (errors > 0)
		pg_atomic_fetch_add_u64(&stats->streak, errors);
	LWLockRelease(lock);
}

int64
lc_stats_rule_error_streak(int rule_id)
{
	RuleKey		key = {MyDatabaseId, rule_id};
	RuleStats  *stats;
	LWLock	   *lock;
	int64		streak;

	if (lc_shared == NULL || (stats = find(rules, &key, NULL, &lock)) == NULL)
		return 0;
	streak = pg_atomic_read_u64(&stats->streak);
	LWLockRelease(lock);
	return streak;
}

void
lc_stats_count(const char *lifecycle, const char *what, int64 n)
{
	CounterKey	key;
	Counter    *counter;
	LWLock	   *lock;

	if (lc_shared == NULL || n == 0)
		return;
	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	strlcpy(key.lifecycle, lifecycle, NAMEDATALEN);
	strlcpy(key.what, what, NAMEDATALEN);
	counter = find(counters, &key, add_counter, &lock);
	if (counter == NULL)
		return;
	pg_atomic_fetch_add_u64(&counter->n, n);
	LWLockRelease(lock);
}

static void
lock_all(LWLockMode mode)
{
	int			i;

	for (i = 0; i < LC_STATS_PARTITIONS; i++)
		LWLockAcquire(&lc_shared->stats_locks[i].lock, mode);
}

static void
unlock_all(void)
{
	int			i;

	for (i = LC_STATS_PARTITIONS - 1; i >= 0; i--)
		LWLockRelease(&lc_shared->stats_locks[i].lock);
}

void
lc_stats_forget(bool (*gone) (Oid database, const char *lifecycle, int rule_id, void *arg), void *arg)
{
	HASH_SEQ_STATUS scan;
	RuleStats  *stats;
	Counter    *counter;

	if (lc_shared == NULL)
		return;
	lock_all(LW_EXCLUSIVE);
	hash_seq_init(&scan, rules);
	while ((stats = hash_seq_search(&scan)) != NULL)
		if (gone(stats->key.database, NULL, stats->key.rule, arg))
			hash_search(rules, &stats->key, HASH_REMOVE, NULL);
	hash_seq_init(&scan, counters);
	while ((counter = hash_seq_search(&scan)) != NULL)
		if (gone(counter->key.database, counter->key.lifecycle, 0, arg))
			hash_search(counters, &counter->key, HASH_REMOVE, NULL);
	unlock_all();
}

PG_FUNCTION_INFO_V1(lifecycle__rule_counters);
Datum
lifecycle__rule_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HASH_SEQ_STATUS scan;
	RuleStats  *stats;

	InitMaterializedSRF(fcinfo, 0);
	if (lc_shared == NULL)
		return (Datum) 0;
	lock_all(LW_SHARED);
	hash_seq_init(&scan, rules);
	while ((stats = hash_seq_search(&scan)) != NULL)
	{
		TimestampTz last_error = (TimestampTz) pg_atomic_read_u64(&stats->last_error_at);
		Datum		values[8];
		bool		nulls[8] = {0};

		if (stats->key.database != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum(stats->key.rule);
		values[1] = Int64GetDatum(pg_atomic_read_u64(&stats->calls));
		values[2] = Int64GetDatum(pg_atomic_read_u64(&stats->rows));
		values[3] = Int64GetDatum(pg_atomic_read_u64(&stats->hits));
		values[4] = Int64GetDatum(pg_atomic_read_u64(&stats->errors));
		values[5] = Int64GetDatum(pg_atomic_read_u64(&stats->streak));
		values[6] = Float8GetDatum(pg_atomic_read_u64(&stats->microseconds) / 1000.0);
		values[7] = TimestampTzGetDatum(last_error);
		nulls[7] = TIMESTAMP_IS_NOBEGIN(last_error);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	unlock_all();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(lifecycle__counters);
Datum
lifecycle__counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HASH_SEQ_STATUS scan;
	Counter    *counter;

	InitMaterializedSRF(fcinfo, 0);
	if (lc_shared == NULL)
		return (Datum) 0;
	lock_all(LW_SHARED);
	hash_seq_init(&scan, counters);
	while ((counter = hash_seq_search(&scan)) != NULL)
	{
		Datum		values[3];
		bool		nulls[3] = {0};

		if (counter->key.database != MyDatabaseId)
			continue;
		values[0] = DirectFunctionCall1(namein, CStringGetDatum(counter->key.lifecycle));
		values[1] = CStringGetTextDatum(counter->key.what);
		values[2] = Int64GetDatum(pg_atomic_read_u64(&counter->n));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	unlock_all();
	return (Datum) 0;
}

static bool
is_here(Oid database, const char *lifecycle, int rule_id, void *arg)
{
	return database == MyDatabaseId;
}

PG_FUNCTION_INFO_V1(lifecycle_reset_stats);
Datum
lifecycle_reset_stats(PG_FUNCTION_ARGS)
{
	lc_stats_forget(is_here, NULL);
	/* every backend has also noted, with its definitions, which rules it skips */
	if (!RecoveryInProgress())
		lc_definitions_changed();
	PG_RETURN_VOID();
}
