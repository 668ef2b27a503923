/*
 * when.c: the WHEN of the triggers of event sources, which every row that is written answers.
 *
 * The row trigger asks lifecycle._listens: does anybody listen to events of this name? The trigger behind the statement says WHEN (true). The
 * server parses and compiles both for each statement, which for an INSERT of one row is a fifth of its cost. A hook therefore gives the statement
 * compiled conditions of our own, which also know more: the row trigger's that of the source (as the trigger itself asks it), the other's that no row
 * has got past the first in this transaction, so that there is nothing to fold. In the transaction, not in the statement: of several statements that
 * foreign keys run in one query the server keeps the last trigger event alone. Where the hook does not come (COPY, partitions), behind a statement on
 * the root of partitions, before which collecting has begun, and for whatever is not in order, the server does what the definition of the trigger
 * says, and the triggers say what is wrong.
 *
 * Invalidations are accepted first: a long transaction that repeats a prepared INSERT would otherwise never learn of a new definition.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "guc.h"
#include "rows.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(lifecycle__listens);

/* What one statement knows of a lifecycle: it outlives no transaction, and so does the entry. */
typedef struct Listening
{
	uint64		generation;		/* of the definitions when the entry was looked up */
	LcLifecycle *lc;			/* NULL: there is none that works; the triggers will say so */
	LcSource   *source;			/* NULL: likewise */
} Listening;

/* The compiled WHEN of a row trigger. */
typedef struct When
{
	ExprState	state;			/* first: it is one */
	const Trigger *trigger;
	Oid			table;
	bool		asked;
	Listening	listening;
} When;

static ExecutorStart_hook_type previous_executor_start = NULL;
static Oid	capture_function = InvalidOid;	/* lifecycle._capture_event; InvalidOid: not known yet */
static bool heard = false;		/* somebody listens to a row of this transaction */

void
lc_when_learn(Oid function)
{
	capture_function = function;
}

static void
look_up(Listening *listening, const char *name)
{
	listening->generation = lc_definitions_generation();
	if (!lc_capture_load(name, &listening->lc) || (listening->lc && listening->lc->broken))
		listening->lc = NULL;
}

/* The source of a trigger, whose lifecycle has been looked up. */
static void
look_up_source(Listening *listening, Oid table, const Trigger *trigger)
{
	listening->source = listening->lc ? lc_source_of_table(listening->lc, table, trigger->tgargs[1]) : NULL;
	if (listening->source && listening->source->broken)
		listening->source = NULL;
}

/* Does anybody listen to events of this name? Arguments: lifecycle, name. Also true where that cannot be told. */
Datum
lifecycle__listens(PG_FUNCTION_ARGS)
{
	Listening  *listening = fcinfo->flinfo->fn_extra;
	text	   *event = PG_GETARG_TEXT_PP(1);

	if (!lc_guc_capture)
		PG_RETURN_BOOL(false);
	if (listening == NULL)
	{
		AcceptInvalidationMessages();
		listening = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Listening));
		look_up(listening, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	}
	else if (listening->generation != lc_definitions_generation())
		look_up(listening, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (listening->lc && lc_listener_get(listening->lc, VARDATA_ANY(event), VARSIZE_ANY_EXHDR(event)) == NULL)
		PG_RETURN_BOOL(false);
	heard = true;
	PG_RETURN_BOOL(true);
}

/* ----- the hook ----- */

/* The WHEN of a row trigger. */
static Datum
row_is_heard(ExprState *state, ExprContext *econtext, bool *isnull)
{
	When	   *when = (When *) state;
	Listening  *listening = &when->listening;

	*isnull = false;
	if (!lc_guc_capture)
		return BoolGetDatum(false);
	if (!when->asked)
	{
		AcceptInvalidationMessages();
		when->asked = true;
	}
	if (listening->generation != lc_definitions_generation())
	{
		look_up(listening, when->trigger->tgargs[0]);
		look_up_source(listening, when->table, when->trigger);
	}
	if (listening->source && lc_row_listener(listening->lc, listening->source, econtext->ecxt_outertuple) == NULL)
		return BoolGetDatum(false);
	heard = true;
	return BoolGetDatum(true);
}

/* The WHEN of the trigger behind a statement. */
static Datum
any_row_was_heard(ExprState *state, ExprContext *econtext, bool *isnull)
{
	*isnull = false;
	return BoolGetDatum(heard);
}

/* As ExecInitQual leaves one. */
static void
init_state(ExprState *state, ExprStateEvalFunc function)
{
	NodeSetTag(state, T_ExprState);
	state->flags = EEO_FLAG_IS_QUAL;
	state->evalfunc = function;
}

/* The compiled WHEN of a row trigger, or NULL: the server's is to be asked. */
static ExprState *
row_state(EState *estate, Oid table, const Trigger *trigger)
{
	Listening	listening = {.generation = lc_definitions_generation()};
	When	   *when;

	listening.lc = lc_lifecycle_cached(trigger->tgargs[0]);
	if (listening.lc == NULL || listening.lc->broken)
		return NULL;
	look_up_source(&listening, table, trigger);
	if (listening.source == NULL)
		return NULL;
	when = MemoryContextAllocZero(estate->es_query_cxt, sizeof(When));
	init_state(&when->state, row_is_heard);
	when->trigger = trigger;
	when->table = table;
	when->listening = listening;
	return &when->state;
}

static void
prepare_conditions(EState *estate, ResultRelInfo *result)
{
	TriggerDesc *triggers = result->ri_TrigDesc;
	Oid			table = RelationGetRelid(result->ri_RelationDesc);

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgfoid != capture_function || trigger->tgqual == NULL || trigger->tgnargs < 2)
			continue;
		if (TRIGGER_FOR_ROW(trigger->tgtype))
			result->ri_TrigWhenExprs[i] = row_state(estate, table, trigger);
		else if (result->ri_RelationDesc->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		{
			result->ri_TrigWhenExprs[i] = MemoryContextAllocZero(estate->es_query_cxt, sizeof(ExprState));
			init_state(result->ri_TrigWhenExprs[i], any_row_was_heard);
		}
	}
}

static void
executor_start(QueryDesc *query, int flags)
{
	ListCell   *cell;

	if (previous_executor_start)
		previous_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
	if (!OidIsValid(capture_function))
		return;
	foreach(cell, query->estate->es_opened_result_relations)
	{
		ResultRelInfo *result = lfirst(cell);

		if (result->ri_TrigDesc && (result->ri_TrigDesc->trig_insert_after_row || result->ri_TrigDesc->trig_update_after_row))
			prepare_conditions(query->estate, result);
	}
}

static void
function_changed(Datum arg, int cache, uint32 hash)
{
	capture_function = InvalidOid;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	heard = false;
}

void
lc_when_init(void)
{
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	CacheRegisterSyscacheCallback(PROCOID, function_changed, 0);
	RegisterXactCallback(transaction_ended, NULL);
}
