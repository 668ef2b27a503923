/*
 * move.c: moving subjects by hand and for steps of workflows, enrolling by hand, and feeding rows that no trigger saw.
 *
 * The SQL functions run as their caller until they have checked what he may do: move needs UPDATE on <lifecycle>.subjects, enroll INSERT on
 * <lifecycle>.enrollments, capture the ownership of the subject table. The work itself runs as the lifecycle's owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "batch.h"
#include "catalog/checks.h"
#include "catalog/define.h"
#include "catalog/definer.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "errors.h"
#include "executor/spi.h"
#include "guc.h"
#include "miscadmin.h"
#include "rows.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(lifecycle_move);
PG_FUNCTION_INFO_V1(lifecycle_enroll);
PG_FUNCTION_INFO_V1(lifecycle_capture);

static LcLifecycle *sort_lifecycle;

static int
compare_moves(const void *a, const void *b)
{
	return lc_key_compare(sort_lifecycle, (*(LcMove *const *) a)->subject, (*(LcMove *const *) b)->subject);
}

void
lc_move_subjects(LcLifecycle *lc, LcMove *moves, int n, bool skip_locked)
{
	LcBatch    *batch = lc_batch_begin(lc);
	LcMove	  **sorted = MemoryContextAlloc(batch->context, Max(n, 1) * sizeof(LcMove *));

	batch->skip_locked = skip_locked;
	for (int i = 0; i < n; i++)
		sorted[i] = &moves[i];
	sort_lifecycle = lc;
	qsort(sorted, n, sizeof(LcMove *), compare_moves);
	for (int i = 0; i < n; i++)
	{
		LcSubject  *subject = lc_batch_add(batch, sorted[i]->subject);

		subject->move = sorted[i];
		subject->now = sorted[i]->at;
	}
	lc_batch_run(batch);
	lc_batch_end(batch);
}

static void
refuse_subject(LcLifecycle *lc, const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("subject \"%s\" of lifecycle \"%s\" does not exist", text, lc->name),
			 errdetail("There is no row of %s with this %s.", lc->on_table_sql, quote_identifier(lc->key_column))));
}

/* The key given as an argument of any type, and its text. */
static Datum
key_argument(FunctionCallInfo fcinfo, int n, LcLifecycle *lc, char **text)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, n);
	Oid			output;
	Oid			input;
	Oid			parameter;
	bool		varlena;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "key")));
	getTypeOutputInfo(type, &output, &varlena);
	*text = OidOutputFunctionCall(output, PG_GETARG_DATUM(n));
	if (type == lc->key_type)
		return PG_GETARG_DATUM(n);
	getTypeInputInfo(lc->key_type, &input, &parameter);
	return OidInputFunctionCall(input, *text, parameter, -1);
}

static void
check_right(Oid table, AclMode mode)
{
	AclResult	result = pg_class_aclcheck(table, GetUserId(), mode);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, get_rel_name(table));
}

/* lifecycle.move(lifecycle, key, stage, reason) */
Datum
lifecycle_move(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);
	char	   *text;
	char	   *stage;
	LcMove		move = {0};
	LcIdentity	saved;

	PreventCommandIfReadOnly("lifecycle.move()");
	check_right(lc->tables[LC_SUBJECTS], ACL_UPDATE);
	move.subject = key_argument(fcinfo, 1, lc, &text);
	stage = lc_arg_required(fcinfo, 2, "stage");
	move.to = lc_check_stage(lc, stage);
	move.at = lc_capture_now(lc);
	move.cause = "manual";
	move.reason = lc_arg_text(fcinfo, 3);
	lc_identity_owner(lc, true, &saved);
	lc_move_subjects(lc, &move, 1, false);
	lc_identity_restore(&saved);
	if (move.result == LC_MOVE_GONE)
		refuse_subject(lc, text);
	if (move.result == LC_MOVE_REFUSED)
		ereport(ERROR,
				(errcode(ERRCODE_LC_MOVE_REFUSED),
				 errmsg("no rule of lifecycle \"%s\" moves subject \"%s\" to stage \"%s\" from the stage that it is in", lc->name, text, stage),
				 errdetail("The lifecycle is strict."),
				 errhint("Allow it with lifecycle.define_transition('%s', from_stage, '%s').", lc->name, stage)));
	PG_RETURN_BOOL(move.result == LC_MOVE_DONE);
}

static LcVersion *
workflow_argument(LcLifecycle *lc, const char *name)
{
	List	   *names = NIL;

	for (int i = 0; i < lc->nversions; i++)
	{
		if (!lc->versions[i].enrolls)
			continue;
		if (strcmp(lc->versions[i].workflow, name) == 0)
			return &lc->versions[i];
		names = lappend(names, lc->versions[i].workflow);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("lifecycle \"%s\" has no live workflow \"%s\"", lc->name, name),
			 names == NIL ? errhint("Make a workflow live with define_workflow(…, state => 'live').") :
			 errhint("Its live and shadow workflows are %s.", lc_quoted_list(names))));
	return NULL;
}

/* What steps read as the event is a row of its table. */
static void
check_event(Jsonb *context)
{
	JsonbValue *event = getKeyJsonValueFromContainer(&context->root, "event", strlen("event"), NULL);

	if (event && !(event->type == jbvBinary && JsonContainerIsObject(event->val.binary.data)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event in context must be a JSON object"),
				 errhint("It stands for the row of the event that begins a run.")));
}

/* The context of a run by hand, which templates and conditions read by name: an object, or NULL. */
static Jsonb *
context_argument(FunctionCallInfo fcinfo, int argument)
{
	Jsonb	   *context;

	if (PG_ARGISNULL(argument))
		return NULL;
	context = PG_GETARG_JSONB_P(argument);
	if (!JB_ROOT_IS_OBJECT(context))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("context must be a JSON object"),
				 errhint("Write for example '{\"coupon\": \"SPRING\"}', which templates read as enrollment.context.coupon.")));
	check_event(context);
	return context;
}

/* lifecycle.enroll(lifecycle, workflow, key, context) */
Datum
lifecycle_enroll(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);
	LcVersion  *version;
	LcBatch    *batch;
	LcSubject  *subject;
	LcIdentity	saved;
	Jsonb	   *context;
	char	   *text;
	Datum		key;
	bool		found;
	int64		run = 0;

	PreventCommandIfReadOnly("lifecycle.enroll()");
	check_right(lc->tables[LC_ENROLLMENTS], ACL_INSERT);
	version = workflow_argument(lc, lc_arg_required(fcinfo, 1, "workflow"));
	key = key_argument(fcinfo, 2, lc, &text);
	context = context_argument(fcinfo, 3);
	if (!lc->enrolls)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("lifecycle \"%s\" enrolls nobody yet", lc->name),
				 errdetail("Its table had rows when it was defined."),
				 errhint("CALL lifecycle.backfill('%s') replays what was there before, lifecycle.waive_backfill('%s') goes without.",
						 lc->name, lc->name)));
	if (!lc_guc_enroll)
		PG_RETURN_NULL();
	batch = lc_batch_begin(lc);
	subject = lc_batch_add(batch, key);
	subject->enroll = version;
	if (context != NULL)
	{
		subject->has_context = true;
		subject->enroll_context = PointerGetDatum(context);
	}
	lc_identity_owner(lc, true, &saved);
	lc_batch_run(batch);
	lc_identity_restore(&saved);
	found = subject->lock == LC_LOCK_FOUND;
	for (LcRun *begun = subject->runs; subject->enrolled && begun; begun = begun->next)
		if (begun->begun && begun->version == version)
			run = begun->id;
	lc_batch_end(batch);
	if (!found)
		refuse_subject(lc, text);
	if (run == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(run);
}

/* lifecycle.capture(lifecycle, source, rows) */
Datum
lifecycle_capture(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);
	LcSource   *source = lc_definer_source(lc, lc_arg_required(fcinfo, 1, "source"));
	Oid			type = get_rel_type_id(source->table);
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;
	int			n;
	TupleDesc	desc;
	TupleTableSlot *slot;
	LcRows	   *rows;
	int64		kept;

	PreventCommandIfReadOnly("lifecycle.capture()");
	lc_check_definer(lc);
	if (source->broken)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event source \"%s\" cannot be read: %s", source->name, source->broken),
				 errhint("Define the event source again with lifecycle.define_event_source.")));
	if (PG_ARGISNULL(2))
		PG_RETURN_INT64(0);
	array = PG_GETARG_ARRAYTYPE_P(2);
	if (ARR_ELEMTYPE(array) != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the rows are of type %s, not of event source \"%s\"", format_type_be(ARR_ELEMTYPE(array)), source->name),
				 errhint("Select them like this: SELECT lifecycle.capture('%s', '%s', array_agg(e)) FROM %s e WHERE …;",
						 lc->name, source->name, get_rel_name(source->table))));
	deconstruct_array(array, type, -1, false, TYPALIGN_DOUBLE, &values, &nulls, &n);
	desc = lookup_rowtype_tupdesc(type, -1);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	rows = lc_rows_begin(lc, source, CurrentMemoryContext);
	for (int i = 0; i < n; i++)
	{
		HeapTupleData tuple;
		LcListener *listener;

		if (nulls[i])
			continue;
		tuple.t_data = DatumGetHeapTupleHeader(values[i]);
		tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = source->table;
		ExecStoreHeapTuple(&tuple, slot, false);
		listener = lc_row_listener(lc, source, slot);
		if (listener)
			(void) lc_rows_add(rows, slot, listener);
	}
	ExecDropSingleTupleTableSlot(slot);
	ReleaseTupleDesc(desc);
	kept = rows->n;
	lc_rows_run(rows);
	PG_RETURN_INT64(kept);
}
