/*
 * reading.c: what the views and the reading functions, which are SQL, need of C. Reads only the catalog, and takes no locks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/definitions.h"
#include "catalog/pg_enum.h"
#include "clock.h"
#include "fmgr.h"
#include "lifecycle.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(lifecycle__source_problem);
PG_FUNCTION_INFO_V1(lifecycle__clock);
PG_FUNCTION_INFO_V1(lifecycle__format);
PG_FUNCTION_INFO_V1(lifecycle__quarantine_after);
PG_FUNCTION_INFO_V1(lifecycle__stage);

/* _clock(simulated boolean) → timestamptz: the time now. */
Datum
lifecycle__clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(lc_now(PG_GETARG_BOOL(0)));
}

/* _format() → integer: the format of state tables that this library works with. */
Datum
lifecycle__format(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(LC_FORMAT);
}

/* _quarantine_after() → integer: errors in a row after which a rule is skipped. */
Datum
lifecycle__quarantine_after(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(LC_QUARANTINE);
}

/* _stage(type anyenum, name name) → anyenum: the label of that name; NULL, where a cast would fail, for one that is missing or not committed. */
Datum
lifecycle__stage(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	HeapTuple	tuple;
	Oid			label;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), PG_GETARG_DATUM(1));
	if (!HeapTupleIsValid(tuple))
		PG_RETURN_NULL();
	label = ((Form_pg_enum) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
	if (EnumUncommitted(label))
		PG_RETURN_NULL();
	PG_RETURN_OID(label);
}

/* _source_problem(lifecycle name, source name) → text: why the rows of an event source cannot be read; NULL: they can. */
Datum
lifecycle__source_problem(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_find(NameStr(*PG_GETARG_NAME(0)));
	LcSource   *source = lc && !lc->broken ? lc_source_by_name(lc, NameStr(*PG_GETARG_NAME(1))) : NULL;

	if (source == NULL || source->broken == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(source->broken));
}
