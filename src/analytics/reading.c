/*
 * reading.c: what the views and the reading functions, which are SQL, need of C. Reads no tables and takes no locks.
 */
#include "postgres.h"

#include "clock.h"
#include "fmgr.h"
#include "lifecycle.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(lifecycle__clock);
PG_FUNCTION_INFO_V1(lifecycle__format);
PG_FUNCTION_INFO_V1(lifecycle__quarantine_after);

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
