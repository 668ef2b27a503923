/*
 * foreground.c: what the worker does, on call: lifecycle.run_due, advance_clock, retry, now.
 *
 * They work in the caller's transaction. Deferred constraints that the caller has pending are checked first, so that a violation of his own is his error
 * and not that of a due row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/checks.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "clock.h"
#include "commands/trigger.h"
#include "compat.h"
#include "engine/run.h"
#include "engine/workflow_state.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/installation.h"

PG_FUNCTION_INFO_V1(lifecycle_run_due);
PG_FUNCTION_INFO_V1(lifecycle_advance_clock);
PG_FUNCTION_INFO_V1(lifecycle_now);
PG_FUNCTION_INFO_V1(lifecycle_retry);

/* The lifecycle of that name, which the caller must own; or all that he owns. */
static List *
owned_lifecycles(const char *name)
{
	List	   *owned = NIL;
	ListCell   *cell;

	if (name != NULL)
	{
		lc_check_definer(lc_lifecycle_get(name, false));
		return list_make1(pstrdup(name));
	}
	foreach(cell, lc_lifecycle_names())
	{
		LcLifecycle *lc = lc_lifecycle_find(lfirst(cell));

		if (lc == NULL || !OidIsValid(lc->on_table) || !lc_owns_table(lc->on_table, GetUserId()))
			continue;
		if (lc->broken)
			lc_warn_broken(lc);
		else
			owned = lappend(owned, lfirst(cell));
	}
	return owned;
}

/* Does nothing run in this database: paused, or a copy? Says so. */
static bool
all_paused(void)
{
	LcInstallation state;

	if (lc_lifecycle_names() == NIL)
		return false;
	state = lc_installation_state(NULL);
	lc_installation_warn(state);
	if (state == LC_INSTALLATION_PAUSED)
		ereport(NOTICE,
				(errmsg("nothing is run: everything is paused"),
				 errhint("Call lifecycle.resume().")));
	return state != LC_INSTALLATION_HERE;
}

static void
begin_foreground(const char *function)
{
	ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);

	PreventCommandIfReadOnly(function);
	AfterTriggerSetState(statement);
}

/* Runs what is due until then (DT_NOEND: now), at most max_rows; returns how many. */
static int64
run_until(const char *name, TimestampTz until, int64 max_rows)
{
	LcQueueScan scan = {.low_water = DT_NOBEGIN};
	int64		total = 0;
	int			level = NewGUCNestLevel();

	/* as of a worker: what runs is to find a deadlock before the application does, and gives way */
	if (DeadlockTimeout > LC_DEADLOCK_TIMEOUT_MS)
		(void) set_config_option("deadlock_timeout", psprintf("%d", LC_DEADLOCK_TIMEOUT_MS), PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	while (total < max_rows)
	{
		LcLifecycle *lc = lc_lifecycle_get(name, true);
		int			done;

		CHECK_FOR_INTERRUPTS();
		if (lc == NULL)
			break;
		done = lc_run_rows(lc, &scan, Min(lc_guc_batch_size, max_rows - total), until);
		if (done == 0)
			break;
		total += done;
	}
	AtEOXact_GUC(true, level);
	return total;
}

Datum
lifecycle_run_due(PG_FUNCTION_ARGS)
{
	int64		max_rows = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	int64		total = 0;
	ListCell   *cell;

	if (max_rows < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	begin_foreground("lifecycle.run_due()");
	if (!all_paused())
		foreach(cell, owned_lifecycles(lc_arg_text(fcinfo, 0)))
			total += run_until(lfirst(cell), DT_NOEND, max_rows - total);
	PG_RETURN_INT64(total);
}

Datum
lifecycle_advance_clock(PG_FUNCTION_ARGS)
{
	TimestampTz start = lc_now(true);
	TimestampTz target = start;
	ListCell   *cell;

	if (PG_ARGISNULL(0) == PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("either an interval or a time must be given"),
				 errhint("Call lifecycle.advance_clock('3 days') or lifecycle.advance_clock(until => '2026-03-01 09:00+00').")));
	if (!PG_ARGISNULL(0))
		target = lc_add_interval(start, lc_arg_interval(fcinfo, 0, "by_interval"), NULL);
	else
		target = PG_GETARG_TIMESTAMPTZ(1);
	if (!PG_ARGISNULL(0) && TIMESTAMP_NOT_FINITE(target))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	if (target < start)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the clock cannot be set back"),
				 errdetail("It shows %s.", pstrdup(timestamptz_to_str(start))),
				 errhint("What has happened since then would stay: begin with a new simulated lifecycle, and SET lifecycle.clock.")));
	begin_foreground("lifecycle.advance_clock()");
	/* Refuses a time that the clock cannot show before anything is run. */
	lc_clock_set(target);
	if (!all_paused())
		foreach(cell, owned_lifecycles(NULL))
		{
			if (!lc_lifecycle_get(lfirst(cell), false)->simulated)
				continue;
			lc_clock_set(start);
			run_until(lfirst(cell), target, PG_INT64_MAX);
		}
	lc_clock_set(target);
	PG_RETURN_TIMESTAMPTZ(target);
}

Datum
lifecycle_now(PG_FUNCTION_ARGS)
{
	char	   *name = lc_arg_required(fcinfo, 0, "lifecycle");

	PG_RETURN_TIMESTAMPTZ(lc_now(lc_lifecycle_get(name, false)->simulated));
}

static void
raise_unreadable(LcLifecycle *lc, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a parked row in %s cannot be read: its column due has no proper \"%s\"", lc->table_sql[LC_FAILURES], what),
			 errhint("Somebody has changed it. To give the row up, set parked = false and due = NULL.")));
}

/* An element of a parked row, of the given type: the owner may have written anything there. */
static JsonbValue *
member(LcLifecycle *lc, Jsonb *object, const char *name, enum jbvType type)
{
	JsonbValue *value = JB_ROOT_IS_OBJECT(object) ? getKeyJsonValueFromContainer(&object->root, name, strlen(name), NULL) : NULL;

	if (value == NULL || value->type != type)
		raise_unreadable(lc, name);
	return value;
}

static int64
member_int(LcLifecycle *lc, Jsonb *object, const char *name, int64 least, int64 most)
{
	Numeric		number = member(lc, object, name, jbvNumeric)->val.numeric;
	Datum		in_range = DirectFunctionCall2(numeric_ge, NumericGetDatum(number), NumericGetDatum(int64_to_numeric(least)));

	if (!DatumGetBool(in_range) ||
		!DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(number), NumericGetDatum(int64_to_numeric(most)))))
		raise_unreadable(lc, name);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
}

/* The due row that was written by the runner when it parked it. */
static void
read_parked(LcLifecycle *lc, Jsonb *parked, Datum subject, LcDue *due)
{
	JsonbValue *kind;

	memset(due, 0, sizeof(LcDue));
	due->due_at = lc_now(lc->simulated);
	due->subject = subject;
	due->enrollment = member_int(lc, parked, "enrollment_id", 0, PG_INT64_MAX);
	due->entered_at = member_int(lc, parked, "entered_at", MIN_TIMESTAMP, END_TIMESTAMP - 1);
	due->program = member_int(lc, parked, "program", PG_INT32_MIN, PG_INT32_MAX);
	due->step = member_int(lc, parked, "step", PG_INT32_MIN, PG_INT32_MAX);
	kind = member(lc, parked, "kind", jbvString);
	if (kind->val.string.len != 1 || strchr("swr", kind->val.string.val[0]) == NULL)
		raise_unreadable(lc, "kind");
	due->kind = kind->val.string.val[0];
	due->shadow = member(lc, parked, "shadow", jbvBool)->val.boolean;
}

/*
 * Locks the subjects of the timers that are parked, in their order, and returns their keys: a timer's row changes only under that lock, and whoever moves the
 * subject looks then whether it has one. NULL: there are none.
 */
static Datum
lock_timer_subjects(LcLifecycle *lc, Datum failure, bool all)
{
	Oid			types[] = {INT8OID, lc->key_array_type};
	char		nulls[3] = {all ? 'n' : ' ', '\0'};
	Datum		values[2] = {failure, (Datum) 0};
	bool		isnull;

	lc_run_args(psprintf("SELECT pg_catalog.array_agg(f.subject_id) FROM %s AS f WHERE f.parked AND f.enrollment_id IS NULL AND ($1 IS NULL OR f.id = $1)",
						 lc->table_sql[LC_FAILURES]), 1, types, values, nulls);
	values[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		return (Datum) 0;
	lc_run_args(psprintf("SELECT FROM %s AS s WHERE s.subject_id = ANY ($1) ORDER BY s.subject_id FOR NO KEY UPDATE", lc->table_sql[LC_SUBJECTS]),
				1, &types[1], values, NULL);
	return values[0];
}

/*
 * Of the timers among the rows those are left out that would be a second one of a subject and a rule: several that are parked are one, one that is due
 * already is enough, one that is due later goes. Returns how many rows there are then.
 */
static int
unite_timers(LcLifecycle *lc, LcDue *due, int n)
{
	Datum	   *keys = palloc(sizeof(Datum) * n);
	Datum	   *rules = palloc(sizeof(Datum) * n);
	Datum	   *numbers = palloc(sizeof(Datum) * n);
	bool	   *kept = palloc0(n);
	Oid			types[] = {lc->key_array_type, INT4ARRAYOID, INT4ARRAYOID};
	Oid			delete_types[] = {lc->key_array_type, INT4ARRAYOID, TIMESTAMPTZOID};
	Datum		values[3];
	int			timers = 0;
	int			left = 0;

	for (int i = 0; i < n; i++)
	{
		kept[i] = due[i].kind != LC_DUE_RULE;
		if (kept[i])
			continue;
		keys[timers] = due[i].subject;
		rules[timers] = Int32GetDatum(due[i].program);
		numbers[timers++] = Int32GetDatum(i);
	}
	if (timers == 0)
		return n;
	values[0] = lc_array(keys, NULL, timers, lc->key_type);
	values[1] = lc_array(rules, NULL, timers, INT4OID);
	values[2] = TimestampTzGetDatum(lc_now(lc->simulated));
	lc_run_args(psprintf("DELETE FROM %s AS d USING unnest($1, $2) AS x (subject_id, rule) "
						 "WHERE d.subject_id = x.subject_id AND d.program = x.rule AND d.kind = 'r' AND d.due_at > $3", lc->table_sql[LC_DUE]),
				3, delete_types, values, NULL);
	values[2] = lc_array(numbers, NULL, timers, INT4OID);
	lc_run_args(psprintf("SELECT pg_catalog.max(x.number) FROM unnest($1, $2, $3) AS x (subject_id, rule, number) WHERE NOT EXISTS (SELECT FROM %s AS d "
						 "WHERE d.subject_id = x.subject_id AND d.program = x.rule AND d.kind = 'r') GROUP BY x.subject_id, x.rule", lc->table_sql[LC_DUE]),
				3, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		kept[DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull))] = true;
	}
	for (int i = 0; i < n; i++)
		if (kept[i])
			due[left++] = due[i];
	return left;
}

/*
 * The enrollments are locked first, and looked at then: an exit at the same time either has ended the enrollment by then, and nothing is put back, or
 * finds what is put back. Likewise the subjects of timers, before all else, as capture does it.
 */
Datum
lifecycle_retry(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);
	Oid			types[] = {INT8OID, TEXTOID, NAMEOID, lc->key_array_type};
	Datum		values[4] = {PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), (Datum) 0, (Datum) 0};
	char		nulls[5] = {PG_ARGISNULL(1) ? 'n' : ' ', PG_ARGISNULL(2) ? 'n' : ' ', ' ', ' ', '\0'};
	NameData	name;
	LcIdentity	identity;
	StringInfoData sql;
	LcDue	   *due;
	int			n = 0;

	PreventCommandIfReadOnly("lifecycle.retry()");
	lc_check_definer(lc);
	namestrcpy(&name, lc->name);
	values[2] = NameGetDatum(&name);
	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH parked AS MATERIALIZED (SELECT f.subject_id, f.id, f.enrollment_id FROM %s AS f WHERE f.parked "
					 "AND ($1 IS NULL OR f.id = $1) AND ($2 IS NULL OR EXISTS (SELECT FROM lifecycle.workflow_versions v "
					 "WHERE v.lifecycle = $3 AND v.workflow = $2 AND v.id = f.version_id)) "
					 "AND (f.enrollment_id IS NOT NULL OR f.subject_id = ANY ($4)) FOR NO KEY UPDATE), "
					 "live AS MATERIALIZED (SELECT e.subject_id, e.id FROM parked p, %s AS e "
					 "WHERE e.subject_id = p.subject_id AND e.id = p.enrollment_id AND e.ended_at IS NULL FOR NO KEY UPDATE OF e) "
					 "UPDATE %s AS f SET parked = false, due = NULL FROM %s AS old, parked p LEFT JOIN live l "
					 "ON l.subject_id = p.subject_id AND l.id = p.enrollment_id "
					 "WHERE f.subject_id = p.subject_id AND f.id = p.id AND old.subject_id = f.subject_id AND old.id = f.id "
					 "RETURNING f.subject_id, CASE WHEN p.enrollment_id IS NULL OR l.id IS NOT NULL THEN old.due END",
					 lc->table_sql[LC_FAILURES], lc->table_sql[LC_ENROLLMENTS], lc->table_sql[LC_FAILURES], lc->table_sql[LC_FAILURES]);
	SPI_connect();
	if (!PG_ARGISNULL(2))
		(void) lc_workflow_state(lc, TextDatumGetCString(PG_GETARG_DATUM(2)));
	lc_identity_owner(lc, true, &identity);
	if (PG_ARGISNULL(2))
		values[3] = lock_timer_subjects(lc, PG_GETARG_DATUM(1), PG_ARGISNULL(1));
	if (values[3] == (Datum) 0)
		nulls[3] = 'n';
	lc_run_args(sql.data, 4, types, values, nulls);
	due = palloc(sizeof(LcDue) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		subject = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		Datum		parked = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);

		if (isnull)
			continue;
		read_parked(lc, DatumGetJsonbP(parked), subject, &due[n++]);
	}
	n = unite_timers(lc, due, n);
	lc_due_insert(lc, due, n);
	lc_identity_restore(&identity);
	SPI_finish();
	PG_RETURN_INT64(n);
}
