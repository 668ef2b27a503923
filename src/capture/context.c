/*
 * context.c: the event that a run keeps: {"event": the row} as its enrollment.context.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "batch.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"

/* {"event": the row of the event}, of the columns kept of it, which are all of them when a workflow keeps its event. */
static Datum
event_context(LcBatch *batch, LcEvent *event)
{
	LcColumns  *columns = lc_source_columns(batch->lc, event->source);
	Relation	rel = table_open(event->source->table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *values = palloc0(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	FmgrInfo	to_jsonb;
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue	value;
	HeapTuple	tuple;
	Datum		row;

	memset(nulls, true, desc->natts * sizeof(bool));
	for (int i = 0; event->row && i < columns->n; i++)
	{
		values[columns->attnums[i] - 1] = event->row->values[i];
		nulls[columns->attnums[i] - 1] = event->row->nulls[i];
	}
	tuple = heap_form_tuple(desc, values, nulls);
	row = heap_copy_tuple_as_datum(tuple, desc);
	fmgr_info(F_TO_JSONB, &to_jsonb);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(makeNullConst(rel->rd_rel->reltype, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), &to_jsonb);
	row = FunctionCall1(&to_jsonb, row);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	key.type = jbvString;
	key.val.string.val = "event";
	key.val.string.len = 5;
	pushJsonbValue(&state, WJB_KEY, &key);
	value.type = jbvBinary;
	value.val.binary.data = &DatumGetJsonbP(row)->root;
	value.val.binary.len = VARSIZE(DatumGetPointer(row)) - VARHDRSZ;
	pushJsonbValue(&state, WJB_VALUE, &value);
	row = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	table_close(rel, AccessShareLock);
	return row;
}

/*
 * There are values that cannot become jsonb: of type json, such as "\u0000", and of types that have a cast of their own. Then the run does not begin, which is
 * recorded: its steps would miss what they are there for. False: so it is.
 */
bool
lc_event_context(LcBatch *batch, LcSubject *subject, LcVersion *version, Datum *context)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	if (!lc_source_columns(batch->lc, subject->event->source)->may_refuse)
	{
		*context = event_context(batch, subject->event);
		return true;
	}
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		*context = event_context(batch, subject->event);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (lc_must_raise(error))
		{
			MemoryContextSwitchTo(old);
			CurrentResourceOwner = owner;
			ReThrowError(error);
		}
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	if (error)
		lc_record_failure(batch, subject->key, "trigger", version->workflow, error->sqlerrcode, error->message);
	return error == NULL;
}
