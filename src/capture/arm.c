/*
 * arm.c: arms the timers of a rule that is new or has changed, for the subjects that are in its stages already.
 *
 * They are those that a snapshot shows. A transaction that moves a subject at the same time does not know the rule yet, as nobody here sees what it has
 * moved: so there is a second look when the definer commits (at_commit), at rows that have changed since the first one, under a lock on `subjects` that
 * waits for whoever has moved subjects and lets nobody move one before the commit. Who takes that lock later, with definitions that it has read before,
 * finds out in lc_apply and arms by those there are now (lc_timers_follow). Between the two looks nobody is kept waiting: the first one can take long.
 *
 * In its own zone a timer may be due at another time: it is armed early, and puts itself off when it fires. A local time is less than a day away
 * from UTC; in a month three more, since one from the last of February is that much shorter than one from the first of March.
 */
#include "postgres.h"

#include "access/xact.h"
#include "batch.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

/* A rule to look after at commit. */
typedef struct Pending
{
	char	   *lifecycle;
	int			rule;			/* its id */
	TransactionId since;		/* transactions that the first look cannot have seen are not before it */
} Pending;

static List *pending = NIL;		/* in TopTransactionContext */

/* SQL for the time at which the timer of a subject is due; *rows: what to join for it. */
static char *
due_time(LcLifecycle *lc, LcRule *rule, char **rows)
{
	*rows = "";
	if (rule->trigger == LC_RULE_DATE)
	{
		*rows = psprintf("JOIN %1$s r ON r.%2$s = s.subject_id CROSS JOIN LATERAL (SELECT r.*::%1$s AS %3$s, s.*::%6$s AS subject, NULL::%4$s AS enrollment) AS %5$s",
						 lc->on_table_sql, quote_identifier(lc->key_column), lc->quoted_name, lc->table_sql[LC_ENROLLMENTS],
						 rule->date->alias, lc->table_sql[LC_SUBJECTS]);
		return psprintf("(%s)%s", rule->date->sql, lc->timezone && rule->date->local_time ? " - interval '1 day'" : "");
	}
	/* near the ends of time nothing can be added or taken away */
	return psprintf("CASE WHEN s.since >= '294000-01-01 00:00+00' THEN 'infinity' WHEN s.since < '4700-01-01 00:00+00 BC' THEN s.since + $2 "
					"ELSE s.since + $2%s END", lc->timezone == NULL || rule->after == NULL ? "" : rule->after->month != 0 ? " - interval '4 days'" :
					rule->after->day != 0 ? " - interval '1 day'" : "");
}

/* Arms the rule's timer for subjects in its stages; keys: an array of some, or NULL for all. */
static void
arm(LcLifecycle *lc, LcRule *rule, Datum *keys)
{
	Oid			types[4] = {lc->stage_array_type, INTERVALOID, TIMESTAMPTZOID, lc->key_array_type};
	Datum		args[4];
	Datum	   *stages = palloc(Max(lc->nstages, 1) * sizeof(Datum));
	int			nstages = 0;
	char	   *rows;
	char	   *due = due_time(lc, rule, &rows);
	bool		isnull;

	for (int i = 0; i < lc->nstages; i++)
		if (lc_rule_from(rule, i) && OidIsValid(lc->stages[i].label))
			stages[nstages++] = ObjectIdGetDatum(lc->stages[i].label);
	if (nstages == 0)
		return;
	args[0] = lc_array(stages, NULL, nstages, lc->stage_type);
	args[1] = IntervalPGetDatum(rule->after ? rule->after : palloc0(sizeof(Interval)));
	args[2] = TimestampTzGetDatum(lc_capture_now(lc));
	if (keys)
		args[3] = *keys;
	lc_run_args(psprintf("WITH armed AS (INSERT INTO %1$s (due_at, subject_id, entered_at, program, step, kind) "
						 "SELECT x.due, s.subject_id, $3, %2$d, 0, 'r' FROM %3$s s %4$s CROSS JOIN LATERAL (SELECT %5$s) AS x(due) "
						 "WHERE s.stage = ANY ($1) AND pg_catalog.isfinite(x.due)%6$s RETURNING due_at) SELECT min(due_at) FROM armed",
						 lc->table_sql[LC_DUE], rule->id, lc->table_sql[LC_SUBJECTS], rows, due, keys ? " AND s.subject_id = ANY ($4)" : ""),
				keys ? 4 : 3, types, args, NULL);
	args[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		lc_wake_note(lc->name, DatumGetTimestampTz(args[0]));
}

static void
look_later(LcLifecycle *lc, LcRule *rule)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Pending    *later = palloc(sizeof(Pending));

	later->lifecycle = pstrdup(lc->name);
	later->rule = rule->id;
	later->since = GetLatestSnapshot()->xmin;
	pending = lappend(pending, later);
	MemoryContextSwitchTo(old);
}

void
lc_timers_arm(const char *lifecycle, const char *name)
{
	LcLifecycle *lc = lc_lifecycle_get(lifecycle, false);
	LcRule	   *rule = NULL;
	LcIdentity	saved;

	for (int i = 0; i < lc->nrules; i++)
		if (strcmp(lc->rules[i].name, name) == 0)
			rule = &lc->rules[i];
	if (rule == NULL)
		return;
	lc_identity_owner(lc, true, &saved);
	lc_runf("DELETE FROM %s WHERE kind = 'r' AND program = %d", lc->table_sql[LC_DUE], rule->id);
	if (lc_is_timer(rule))
	{
		look_later(lc, rule);
		arm(lc, rule, NULL);
	}
	lc_identity_restore(&saved);
}

/* Arms the rule's timer anew for some subjects, whose rows nobody else changes. */
static void
rearm(LcLifecycle *lc, LcRule *rule, Datum keys)
{
	Oid			types[1] = {lc->key_array_type};

	lc_run_args(psprintf("DELETE FROM %s WHERE kind = 'r' AND program = %d AND subject_id = ANY ($1)", lc->table_sql[LC_DUE], rule->id),
				1, types, &keys, NULL);
	arm(lc, rule, &keys);
}

/* Connected to SPI. */
static void
look_again(Pending *later)
{
	LcLifecycle *lc = lc_lifecycle_find(later->lifecycle);
	LcRule	   *rule = lc && !lc->broken ? lc_rule_by_id(lc, later->rule) : NULL;
	Oid			types[1] = {XIDOID};
	Datum		args[1] = {TransactionIdGetDatum(later->since)};
	Datum		keys;
	bool		isnull;
	LcIdentity	saved;

	/* it was rolled back, dropped again, or is another one by now */
	if (rule == NULL || !lc_is_timer(rule))
		return;
	LockRelationOid(lc->tables[LC_SUBJECTS], ShareLock);
	lc_identity_owner(lc, true, &saved);
	lc_run_args(psprintf("SELECT array_agg(s.subject_id) FROM %s s WHERE pg_catalog.age(s.xmin) <= pg_catalog.age($1)", lc->table_sql[LC_SUBJECTS]),
				1, types, args, NULL);
	keys = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		rearm(lc, rule, keys);
	lc_identity_restore(&saved);
}

static void
at_commit(XactEvent event, void *arg)
{
	List	   *now = pending;
	ListCell   *cell;

	pending = NIL;
	if (now == NIL || (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE))
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	foreach(cell, now)
		look_again(lfirst(cell));
	SPI_finish();
	PopActiveSnapshot();
}

/* Arms by the definitions that there are now for subjects that were moved under older ones. */
void
lc_timers_follow(LcBatch *batch)
{
	LcLifecycle *lc = batch->lc;
	LcLifecycle *now;
	Datum	   *moved = palloc(batch->nsubjects * sizeof(Datum));
	int			n = 0;
	Datum		keys;

	for (int i = 0; i < batch->nsubjects; i++)
		if (batch->subjects[i].transitions)
			moved[n++] = batch->subjects[i].key;
	now = n > 0 ? lc_lifecycle_find(lc->name) : NULL;
	if (now == NULL || now == lc || now->broken || now->key_type != lc->key_type)
		return;
	keys = lc_array(moved, NULL, n, lc->key_type);
	for (int i = 0; i < now->nrules; i++)
		if (lc_is_timer(&now->rules[i]))
			rearm(now, &now->rules[i], keys);
}

void
lc_arm_init(void)
{
	RegisterXactCallback(at_commit, NULL);
}
