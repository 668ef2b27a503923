/*
 * sql.c: running SQL from C.
 *
 * Every statement takes a snapshot of its own, the latest one, also under REPEATABLE READ and above: capture decides about rows that it has
 * locked, and what it has locked may be newer than the transaction's snapshot. Foreign keys do the same.
 *
 * A plan made for the values knows how many keys there are; a generic one does not, takes a small number for granted, and then compares every row
 * with every key: 10,000 keys took 114 s instead of 34 ms. For few keys planning each time costs more than it brings. So each statement has both
 * plans, and the number of keys chooses. Left to itself, the plan cache turns generic.
 *
 * A generic plan outlives what the planner knew when it was made. Made while a table is new and empty it reads the whole table, and goes on to when
 * there are millions of rows, until an ANALYZE: with 100,000 enrollments each end of a run took 2 ms. For few keys the indexes are right at any
 * size, so generic plans are made without sequential scans and without the joins that go with them.
 *
 * Statements that find rows of state tables by their keys and do nothing else (lc_lookup_statement) have that plan for many keys too. The planner takes
 * what (subject_id, id) finds for a thousandth of a row and then joins by comparing all with all: 20,000 ends of runs among 300,000 enrollments took a
 * minute, and 2 s among 10 million, which it reads from end to end. It also takes 14 ms to think about each array of 20,000 keys. These plans are made
 * as if all tables were big, and without bitmaps, which join all with all as well.
 *
 * Forced row security hides nothing from a lifecycle's owner, but only in the statements here: they are rewritten under SECURITY_NOFORCE_RLS and
 * executed without it. A function that is called with it would cache plans without row security for whoever calls it next in the session, and one of
 * another owner (SECURITY DEFINER) would show what that owner hides. The planner calls functions too, so it is given no such flag (plan_with_force).
 *
 * SPI leaves the memory context of its procedure current; the functions here put the caller's back.
 */
#include "postgres.h"

#include "catalog/owner.h"
#include "catalog/sql.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "optimizer/cost.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#define BIG_ROWS	1000000

static get_relation_info_hook_type previous_relation_info = NULL;
static planner_hook_type previous_planner = NULL;
static bool assuming_big = false;
static const LcIdentity *forced = NULL;	/* while a statement is rewritten without forced row security: who we were before */

static void
free_plans(void *arg)
{
	LcStatement *statement = arg;

	if (statement->generic)
		SPI_freeplan(statement->generic);
	if (statement->custom)
		SPI_freeplan(statement->custom);
}

LcStatement *
lc_statement(const char *sql, int nargs, const Oid *types)
{
	LcStatement *statement = palloc0(sizeof(LcStatement));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	statement->sql = pstrdup(sql);
	statement->nargs = nargs;
	statement->types = palloc(Max(nargs, 1) * sizeof(Oid));
	if (nargs > 0)
		memcpy(statement->types, types, nargs * sizeof(Oid));
	callback->func = free_plans;
	callback->arg = statement;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return statement;
}

LcStatement *
lc_lookup_statement(const char *sql, int nargs, const Oid *types)
{
	LcStatement *statement = lc_statement(sql, nargs, types);

	statement->lookup = true;
	return statement;
}

SPIPlanPtr
lc_prepare(const char *sql, int nargs, Oid *types, int options)
{
	LcIdentity	saved;
	bool		no_force = lc_no_force_begin(&saved);
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, nargs, types, options);

	if (no_force)
		lc_no_force_end(&saved);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s", SPI_result_code_string(SPI_result));
	return plan;
}

static SPIPlanPtr
prepare(LcStatement *statement, int options)
{
	SPIPlanPtr	plan = lc_prepare(statement->sql, statement->nargs, statement->types, options);

	SPI_keepplan(plan);
	return plan;
}

/*
 * While a lookup is planned every table is big. Else the planner reads all of the index of one that is small, or that it has heard nothing of, beside the
 * keys; a table may be empty when the plan is made, and VACUUM of an empty one leaves an estimate of no rows that holds for any size.
 */
static void
assume_big(PlannerInfo *root, Oid table, bool inherits, RelOptInfo *rel)
{
	ListCell   *cell;

	if (previous_relation_info)
		previous_relation_info(root, table, inherits, rel);
	if (!assuming_big)
		return;
	rel->tuples = Max(rel->tuples, BIG_ROWS);
	rel->pages = Max(rel->pages, BIG_ROWS / 100);
	foreach(cell, rel->indexlist)
	{
		IndexOptInfo *index = lfirst_node(IndexOptInfo, cell);

		index->tuples = Max(index->tuples, BIG_ROWS);
		index->pages = Max(index->pages, BIG_ROWS / 300);
	}
}

static PlannedStmt *
plan_query(Query *query, const char *text, int options, ParamListInfo parameters)
{
	return previous_planner ? previous_planner(query, text, options, parameters) : standard_planner(query, text, options, parameters);
}

/* What is rewritten without forced row security is planned with it. */
static PlannedStmt *
plan_with_force(Query *query, const char *text, int options, ParamListInfo parameters)
{
	const LcIdentity *before = forced;
	LcIdentity	unforced;
	PlannedStmt *volatile plan;

	if (before == NULL)
		return plan_query(query, text, options, parameters);
	GetUserIdAndSecContext(&unforced.user, &unforced.flags);
	lc_no_force_end(before);
	forced = NULL;
	PG_TRY();
	{
		plan = plan_query(query, text, options, parameters);
	}
	PG_FINALLY();
	{
		forced = before;
		lc_no_force_end(&unforced);
	}
	PG_END_TRY();
	return plan;
}

void
lc_sql_init(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_with_force;
	previous_relation_info = get_relation_info_hook;
	get_relation_info_hook = assume_big;
}

/*
 * Has a generic plan made, or made anew, that goes by indexes. Only the planning: what the statement calls is planned as ever. `before`: the statement is
 * rewritten without forced row security, and who we were before.
 */
static void
plan_by_index(SPIPlanPtr plan, bool lookup, const LcIdentity *before)
{
	bool		seqscan = enable_seqscan;
	bool		indexscan = enable_indexscan;
	bool		bitmapscan = enable_bitmapscan;
	bool		nestloop = enable_nestloop;
	bool		hashjoin = enable_hashjoin;
	bool		mergejoin = enable_mergejoin;
	bool		big = assuming_big;
	const LcIdentity *outer = forced;

	enable_indexscan = enable_nestloop = true;
	enable_seqscan = enable_mergejoin = false;
	enable_hashjoin = lookup;	/* with a table that is read as a whole since it has no index for the key any more */
	enable_bitmapscan &= !lookup;
	assuming_big = lookup;
	forced = before;
	PG_TRY();
	{
		CachedPlan *cached = SPI_plan_get_cached_plan(plan);

		if (cached != NULL)
			ReleaseCachedPlan(cached, CurrentResourceOwner);
	}
	PG_FINALLY();
	{
		assuming_big = big;
		forced = outer;
		enable_seqscan = seqscan;
		enable_indexscan = indexscan;
		enable_bitmapscan = bitmapscan;
		enable_nestloop = nestloop;
		enable_hashjoin = hashjoin;
		enable_mergejoin = mergejoin;
	}
	PG_END_TRY();
}

static bool
has_row_security(SPIPlanPtr plan)
{
	ListCell   *cell;

	foreach(cell, SPI_plan_get_plan_sources(plan))
		if (((CachedPlanSource *) lfirst(cell))->dependsOnRLS)
			return true;
	return false;
}

/*
 * The plan for so many keys, prepared; where it must be rewritten, as it was at first: without forced row security. That may be where it reads tables
 * with row security, or is invalid. PostgreSQL finds by itself that a temporary table has changed the search path, and calls such a plan valid until then.
 */
static SPIPlanPtr
get_plan(LcStatement *statement, int nkeys)
{
	bool		few = statement->lookup || nkeys <= LC_FEW_KEYS;
	SPIPlanPtr *plan = few ? &statement->generic : &statement->custom;
	LcIdentity	saved;

	if (*plan == NULL)
		*plan = prepare(statement, few ? CURSOR_OPT_GENERIC_PLAN : CURSOR_OPT_CUSTOM_PLAN);
	statement->no_force = (has_row_security(*plan) || !SPI_plan_is_valid(*plan)) && lc_no_force_begin(&saved);
	if (few || statement->no_force)
		plan_by_index(*plan, statement->lookup, statement->no_force ? &saved : NULL);
	if (statement->no_force)
		lc_no_force_end(&saved);
	return *plan;
}

/*
 * Row security that came while the statement waited for its tables, when it had been looked for already, may have hidden rows: what is done then is
 * undone, by an error that says to try again.
 */
static void
check_execution(LcStatement *statement, SPIPlanPtr plan, int code)
{
	LcIdentity	saved;

	if (code < 0)
		elog(ERROR, "could not execute statement: %s", SPI_result_code_string(code));
	if (statement->no_force || !has_row_security(plan) || !lc_no_force_begin(&saved))
		return;
	lc_no_force_end(&saved);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("row security of a table of the lifecycle has changed meanwhile"),
			 errhint("Run the transaction again.")));
}

int
lc_execute(LcStatement *statement, Datum *values, const char *nulls, int nkeys)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = get_plan(statement, nkeys);
	int			code = SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, false, true, 0);

	MemoryContextSwitchTo(context);
	check_execution(statement, plan, code);
	return code;
}

/* Where the rows of lc_execute_rows go. */
typedef struct RowReceiver
{
	DestReceiver receiver;
	LcRowFunction row;
	void	   *arg;
} RowReceiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;

	receiver->row(slot, receiver->arg);
	return true;
}

static void
receive_begin(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receive_end(DestReceiver *self)
{
}

static ParamListInfo
parameters_of(LcStatement *statement, Datum *values, const char *nulls)
{
	ParamListInfo parameters = makeParamList(statement->nargs);

	for (int i = 0; i < statement->nargs; i++)
	{
		parameters->params[i].value = values[i];
		parameters->params[i].isnull = nulls != NULL && nulls[i] == 'n';
		parameters->params[i].pflags = PARAM_FLAG_CONST;
		parameters->params[i].ptype = statement->types[i];
	}
	return parameters;
}

/* As a read-only statement, since only those take the snapshot that they are given. */
void
lc_execute_rows(LcStatement *statement, Datum *values, const char *nulls, int nkeys, LcRowFunction row, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = get_plan(statement, nkeys);
	RowReceiver receiver = {{receive_row, receive_begin, receive_end, receive_end, DestNone}, row, arg};
	SPIExecuteOptions options = {0};
	int			code;

	options.params = parameters_of(statement, values, nulls);
	options.read_only = true;
	options.dest = &receiver.receiver;
	PushActiveSnapshot(GetLatestSnapshot());
	code = SPI_execute_plan_extended(plan, &options);
	PopActiveSnapshot();
	MemoryContextSwitchTo(context);
	pfree(options.params);
	check_execution(statement, plan, code);
}

int
lc_run(const char *sql)
{
	return lc_run_args(sql, 0, NULL, NULL, NULL);
}

int
lc_runf(const char *format,...)
{
	StringInfoData sql;
	int			code;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&sql, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}
	code = lc_run(sql.data);
	pfree(sql.data);
	return code;
}

int
lc_run_args(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = lc_prepare(sql, nargs, types, 0);
	int			code;

	code = SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, false, true, 0);
	if (code < 0)
		elog(ERROR, "could not execute statement: %s", SPI_result_code_string(code));
	SPI_freeplan(plan);
	MemoryContextSwitchTo(context);
	return code;
}

Datum
lc_array(Datum *values, bool *nulls, int n, Oid element_type)
{
	int16		len;
	bool		byval;
	char		align;
	int			dims[1];
	int			lbs[1] = {1};

	get_typlenbyvalalign(element_type, &len, &byval, &align);
	if (n == 0)
		return PointerGetDatum(construct_empty_array(element_type));
	dims[0] = n;
	return PointerGetDatum(construct_md_array(values, nulls, 1, dims, lbs, element_type, len, byval, align));
}
