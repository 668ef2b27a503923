/*
 * funnel.c: the aggregate behind lifecycle.funnel.
 *
 * It sees the entries of one subject into the stages of the funnel, in their order, and finds how far its best attempt came. For each step it
 * keeps the attempt with the last deadline among those that reach it, of several the one that began last: no other can come further within the window.
 * (A later beginning can have an earlier deadline: a month after 30 January, one o'clock, ends before one after the 29th, two o'clock.) So one pass
 * over the rows is enough, whose times never decrease (lifecycle.verify checks that).
 *
 * Invariant: attempts[k] (when valid) is a chain of k + 1 entries, each later in the input than the one before, the last at or before the
 * deadline of the first. Memory: n * n timestamps in the aggregate's context. Reads no tables and takes no locks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"

#define MAX_STEPS 100

typedef struct Attempt
{
	bool		valid;
	TimestampTz deadline;		/* of the whole attempt */
	TimestampTz *times;			/* of its entries: MAX_STEPS at most */
} Attempt;

typedef struct FunnelState
{
	int			nsteps;
	Oid		   *stages;			/* enum labels */
	Attempt    *attempts;		/* by step reached, from 0 */
	int			nbest;			/* steps of the best attempt so far */
	TimestampTz *best;
} FunnelState;

PG_FUNCTION_INFO_V1(lifecycle__funnel_add);
PG_FUNCTION_INFO_V1(lifecycle__funnel_result);

static FunnelState *
make_state(ArrayType *stages)
{
	FunnelState *state = palloc0(sizeof(FunnelState));
	int			n = ArrayGetNItems(ARR_NDIM(stages), ARR_DIMS(stages));
	TimestampTz *times;

	if (n < 1 || n > MAX_STEPS || ARR_HASNULL(stages))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a funnel needs 1 to %d stages, none of them null", MAX_STEPS)));
	state->nsteps = n;
	state->stages = palloc(n * sizeof(Oid));
	memcpy(state->stages, ARR_DATA_PTR(stages), n * sizeof(Oid));
	state->attempts = palloc0(n * sizeof(Attempt));
	times = palloc((n + 1) * n * sizeof(TimestampTz));
	for (int i = 0; i < n; i++)
		state->attempts[i].times = times + i * n;
	state->best = times + n * n;
	return state;
}

/* The end of the window of an attempt that begins at that time, in a zone (NULL: UTC); never before its beginning. */
static TimestampTz
deadline_of(TimestampTz start, Interval *within, text *zone)
{
	TimestampTz deadline;

	if (within == NULL || TIMESTAMP_NOT_FINITE(start))
		return DT_NOEND;
	deadline = lc_add_interval(start, within, zone ? text_to_cstring(zone) : NULL);
	return Max(start, deadline);
}

/*
 * _funnel_add(state internal, stage anyenum, at timestamptz, stages anyarray, within interval, until timestamptz, zone text): one entry into a stage.
 */
Datum
lifecycle__funnel_add(PG_FUNCTION_ARGS)
{
	FunnelState *state;
	MemoryContext context;
	Oid			stage;
	TimestampTz at;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "_funnel_add called outside an aggregate");
	if (PG_ARGISNULL(0))
	{
		MemoryContext old;

		if (PG_ARGISNULL(3))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("stages of a funnel must not be null")));
		old = MemoryContextSwitchTo(context);
		state = make_state(PG_GETARG_ARRAYTYPE_P(3));
		MemoryContextSwitchTo(old);
	}
	else
		state = (FunnelState *) PG_GETARG_POINTER(0);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_POINTER(state);
	stage = PG_GETARG_OID(1);
	at = PG_GETARG_TIMESTAMPTZ(2);

	/* Later steps first: one entry must not be two steps of an attempt. */
	for (int k = state->nsteps - 1; k >= 0; k--)
	{
		Attempt    *attempt = &state->attempts[k];
		TimestampTz deadline;

		if (state->stages[k] != stage)
			continue;
		if (k == 0)
		{
			if (!PG_ARGISNULL(5) && at >= PG_GETARG_TIMESTAMPTZ(5))
				continue;
			deadline = deadline_of(at, PG_ARGISNULL(4) ? NULL : PG_GETARG_INTERVAL_P(4), PG_ARGISNULL(6) ? NULL : PG_GETARG_TEXT_PP(6));
			if (attempt->valid && attempt->deadline > deadline)
				continue;
		}
		else
		{
			Attempt    *before = &state->attempts[k - 1];

			if (!before->valid || at > before->deadline || (attempt->valid && attempt->deadline > before->deadline))
				continue;
			memcpy(attempt->times, before->times, k * sizeof(TimestampTz));
			deadline = before->deadline;
		}
		attempt->valid = true;
		attempt->deadline = deadline;
		attempt->times[k] = at;
		if (k + 1 > state->nbest)
		{
			state->nbest = k + 1;
			memcpy(state->best, attempt->times, state->nbest * sizeof(TimestampTz));
		}
	}
	PG_RETURN_POINTER(state);
}

/* _funnel_result(state internal) → timestamptz[]: when the best attempt reached each of its steps; NULL: it never began. */
Datum
lifecycle__funnel_result(PG_FUNCTION_ARGS)
{
	FunnelState *state = PG_ARGISNULL(0) ? NULL : (FunnelState *) PG_GETARG_POINTER(0);
	Datum	   *times;

	if (state == NULL || state->nbest == 0)
		PG_RETURN_NULL();
	times = palloc(state->nbest * sizeof(Datum));
	for (int i = 0; i < state->nbest; i++)
		times[i] = TimestampTzGetDatum(state->best[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(times, state->nbest, TIMESTAMPTZOID,
										  sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
