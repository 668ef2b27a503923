/*
 * collected.c: the rows of a statement that its row triggers have kept and its statement trigger is to fold.
 *
 * They are found by the source and by the depth of triggers: a trigger of the user that writes the same source while ours are at work has statements
 * of its own, one level deeper, and of one level one statement's triggers are through before those of the next begin. They live in the
 * context of the subtransaction: what is rolled back is forgotten with it.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "rows.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

typedef struct Collected
{
	struct Collected *next;
	LcRows	   *rows;
	int			depth;
	MemoryContextCallback forget;
} Collected;

static Collected *all = NULL;

static void
forget(void *arg)
{
	Collected **place = &all;

	while (*place != arg)
		place = &(*place)->next;
	*place = (*place)->next;
}

bool
lc_is_collecting(void)
{
	return all != NULL;
}

static int
trigger_depth(void)
{
	return DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));
}

static LcRows *
find(LcLifecycle *lc, LcSource *source)
{
	int			depth = trigger_depth();

	for (Collected *one = all; one != NULL; one = one->next)
		if (one->depth == depth && one->rows->source->table == source->table &&
			strcmp(one->rows->lc->name, lc->name) == 0 && strcmp(one->rows->source->name, source->name) == 0)
			return one->rows;
	return NULL;
}

LcRows *
lc_collect(LcLifecycle *lc, LcSource *source)
{
	LcRows	   *rows = lc_rows_begin(lc, source, CurTransactionContext);
	Collected  *one = MemoryContextAlloc(rows->context, sizeof(Collected));

	one->rows = rows;
	one->depth = trigger_depth();
	one->next = all;
	one->forget.func = forget;
	one->forget.arg = one;
	MemoryContextRegisterResetCallback(rows->context, &one->forget);
	all = one;
	return rows;
}

LcRows *
lc_collected(LcLifecycle *lc, LcSource *source, bool begin)
{
	LcRows	   *rows;

	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return NULL;
	rows = find(lc, source);
	return rows == NULL && begin ? lc_collect(lc, source) : rows;
}

void
lc_fold_collected(LcLifecycle *lc, LcSource *source)
{
	LcRows	   *rows = find(lc, source);

	if (rows)
		lc_rows_run(rows);
}
