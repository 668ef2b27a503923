/*
 * keymap.c: from a subject's key to its last run in a batch. An open hash table with at least twice as many slots as keys.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "engine/run.h"
#include "fmgr.h"
#include "port/pg_bitutils.h"

LcKeyMap *
lc_keymap_make(LcLifecycle *lc, const LcRun *runs, int capacity)
{
	LcKeyMap   *map = palloc0(sizeof(LcKeyMap));
	uint32		size = pg_nextpower2_32(Max(capacity, 8)) * 2;

	map->byval = lc->key_byval;
	map->len = lc->key_len;
	map->mask = size - 1;
	map->slots = palloc0(sizeof(int) * size);
	map->hashes = palloc(sizeof(uint32) * size);
	map->runs = runs;
	return map;
}

static inline const char *
key_bytes(const LcKeyMap *map, Datum key, int *length)
{
	if (map->len > 0)
	{
		*length = map->len;
		return DatumGetPointer(key);
	}
	*length = VARSIZE_ANY_EXHDR(DatumGetPointer(key));
	return VARDATA_ANY(DatumGetPointer(key));
}

static inline uint32
hash_key(const LcKeyMap *map, Datum key)
{
	const char *bytes;
	int			length;

	if (map->byval)
		return murmurhash32((uint32) key ^ (uint32) (key >> 32));
	bytes = key_bytes(map, key, &length);
	return hash_bytes((const unsigned char *) bytes, length);
}

static inline bool
same_key(const LcKeyMap *map, Datum a, Datum b)
{
	const char *x;
	const char *y;
	int			m;
	int			n;

	if (map->byval)
		return a == b;
	x = key_bytes(map, a, &m);
	y = key_bytes(map, b, &n);
	return m == n && memcmp(x, y, m) == 0;
}

int
lc_keymap_put(LcKeyMap *map, int index)
{
	Datum		key = map->runs[index].due.subject;
	uint32		hash = hash_key(map, key);
	uint32		slot = hash & map->mask;
	int			before;

	for (; map->slots[slot] != 0; slot = (slot + 1) & map->mask)
		if (map->hashes[slot] == hash && same_key(map, map->runs[map->slots[slot] - 1].due.subject, key))
			break;
	before = map->slots[slot] - 1;
	map->slots[slot] = index + 1;
	map->hashes[slot] = hash;
	return before;
}

int
lc_keymap_find(const LcKeyMap *map, Datum key)
{
	uint32		hash;

	/* A long one comes as it is stored in its table, compressed perhaps, or out of line. */
	if (map->len == -1)
		key = PointerGetDatum(PG_DETOAST_DATUM_PACKED(key));
	hash = hash_key(map, key);
	for (uint32 slot = hash & map->mask; map->slots[slot] != 0; slot = (slot + 1) & map->mask)
		if (map->hashes[slot] == hash && same_key(map, map->runs[map->slots[slot] - 1].due.subject, key))
			return map->slots[slot] - 1;
	return -1;
}

void
lc_keymap_rebuild(LcKeyMap *map, int n)
{
	memset(map->slots, 0, sizeof(int) * (map->mask + 1));
	for (int i = 0; i < n; i++)
		(void) lc_keymap_put(map, i);
}
