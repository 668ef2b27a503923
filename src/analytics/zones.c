/*
 * zones.c: the time zones of the subjects of a lifecycle, for analytics that count in local days and for what explain says is next.
 *
 * The expression is the owner's code, so it runs with the owner's rights, whoever asks: a superuser who reads a funnel must not be led into running
 * it with his own. Who may read all subjects of the lifecycle may know their zones. Reads with the snapshot of the query that asks.
 */
#include "postgres.h"

#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "clock.h"
#include "compat.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(lifecycle__zones);
PG_FUNCTION_INFO_V1(lifecycle__local_sum);

static char *
zones_query(LcLifecycle *lc)
{
	return psprintf("SELECT c.%1$s::%8$s, %2$s FROM %3$s AS c CROSS JOIN LATERAL "
					"(SELECT c.*::%3$s AS %4$s, NULL::%5$s AS subject, NULL::%6$s AS enrollment) AS %7$s",
					quote_identifier(lc->key_column), lc->timezone->sql, lc->on_table_sql, lc->quoted_name, lc->table_sql[LC_SUBJECTS],
					lc->table_sql[LC_ENROLLMENTS], lc->timezone->alias, lc->key_type_sql);
}

/* Owners, and those who may read all subjects. */
static bool
may_read(LcLifecycle *lc)
{
	Oid			subjects = lc->tables[LC_SUBJECTS];

	return lc_owns_table(lc->on_table, GetUserId()) ||
		(pg_class_aclcheck(subjects, GetUserId(), ACL_SELECT) == ACLCHECK_OK && check_enable_rls(subjects, InvalidOid, true) != RLS_ENABLED);
}

static void
check_reader(LcLifecycle *lc)
{
	if (may_read(lc))
		return;
	if (pg_class_aclcheck(lc->tables[LC_SUBJECTS], GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, lc->table_sql[LC_SUBJECTS]);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("row security of table %s hides the time zones of subjects", lc->table_sql[LC_SUBJECTS]),
			 errhint("Give the window in hours, which needs no time zones.")));
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
	check_reader(lc);
	options.dest = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(options.dest, result->setResult, result->econtext->ecxt_per_query_memory, false, result->setDesc,
									"time zones of subjects have the type of their key, and text");
	SPI_connect();
	lc_identity_owner(lc, true, &identity);
	SPI_execute_plan_extended(lc_prepare(zones_query(lc), 0, NULL, 0), &options);
	lc_identity_restore(&identity);
	SPI_finish();
	return (Datum) 0;
}

/* The zone of one subject; NULL: UTC. */
static char *
zone_of(LcLifecycle *lc, const char *key)
{
	LcIdentity	identity;
	char	   *zone = NULL;

	SPI_connect();
	lc_identity_owner(lc, true, &identity);
	lc_run(psprintf("%s WHERE c.%s = %s", zones_query(lc), quote_identifier(lc->key_column), quote_literal_cstr(key)));
	if (SPI_processed > 0)
		zone = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	if (zone)
		zone = strcpy(SPI_palloc(strlen(zone) + 1), zone);
	lc_identity_restore(&identity);
	SPI_finish();
	return zone;
}

/*
 * _local_sum(lifecycle name, key text, at timestamptz, after interval) → timestamptz: so long after a time, by the subject's calendar; by that of UTC for
 * those who may not know its zone.
 */
Datum
lifecycle__local_sum(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_find(NameStr(*PG_GETARG_NAME(0)));
	char	   *zone = NULL;

	if (lc && !lc->broken && lc->timezone && may_read(lc))
		zone = zone_of(lc, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_TIMESTAMPTZ(lc_add_interval(PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_INTERVAL_P(3), zone));
}
