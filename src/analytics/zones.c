/*
 * zones.c: the time zones of all subjects of a lifecycle, for analytics that count in local days.
 *
 * The expression is the owner's code, so it runs with the owner's rights, whoever asks: a superuser who reads a funnel must not be led into running
 * it with his own. Who may read the lifecycle's subjects may know their zones. Reads with the snapshot of the query that asks.
 */
#include "postgres.h"

#include "catalog/checks.h"
#include "catalog/owner.h"
#include "compat.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(lifecycle__zones);

static char *
zones_query(LcLifecycle *lc)
{
	return psprintf("SELECT c.%1$s, %2$s FROM %3$s AS c CROSS JOIN LATERAL "
					"(SELECT c AS %4$s, NULL::%5$s AS subject, NULL::%6$s AS enrollment) AS %7$s",
					quote_identifier(lc->key_column), lc->timezone->sql, lc->on_table_sql, lc->quoted_name, lc->table_sql[LC_SUBJECTS],
					lc->table_sql[LC_ENROLLMENTS], lc->timezone->alias);
}

/* _zones(lifecycle name) → setof (key, zone text): nothing where all subjects have UTC, or there is no table of subjects any more. */
Datum
lifecycle__zones(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_find(NameStr(*PG_GETARG_NAME(0)));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	SPIExecuteOptions options = {.read_only = true};
	LcIdentity	identity;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (lc == NULL || lc->broken || lc->timezone == NULL)
		return (Datum) 0;
	if (pg_class_aclcheck(lc->tables[LC_SUBJECTS], GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, lc->table_sql[LC_SUBJECTS]);
	options.dest = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(options.dest, result->setResult, fcinfo->flinfo->fn_mcxt, false, NULL, NULL);
	SPI_connect();
	lc_identity_owner(lc, true, &identity);
	SPI_execute_extended(zones_query(lc), &options);
	lc_identity_restore(&identity);
	SPI_finish();
	return (Datum) 0;
}
