/*
 * messages.c: an application takes messages and says what became of them: lifecycle.claim_messages, finish_message.
 *
 * A claim is a lease with a token. Whoever finishes a message must show the token of the last claim: one whose lease has run out and whose message
 * another has claimed since cannot overwrite what that one records. A message whose lease has run out is claimed again.
 *
 * While everything is paused no messages are given out. Nor does a copy of the database before lifecycle.resume(): the original sends the same ones.
 *
 * Both run with the rights of their caller on the table of messages. Locks: claims skip rows that somebody holds; finishing waits for its one row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/checks.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "clock.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "worker/installation.h"

PG_FUNCTION_INFO_V1(lifecycle_claim_messages);
PG_FUNCTION_INFO_V1(lifecycle_finish_message);

#define MAX_CLAIM		100000
#define RETRY_FIRST		(30 * USECS_PER_SEC)
#define RETRY_CAP		(6 * USECS_PER_HOUR)

static void
check_claim(int32 max_messages, const Interval *lease)
{
	if (max_messages < 1 || max_messages > MAX_CLAIM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be between 1 and %d", MAX_CLAIM)));
	if (lc_add_interval(0, lease, NULL) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be longer than nothing")));
}

Datum
lifecycle_claim_messages(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);
	char	   *channel = lc_arg_text(fcinfo, 1);
	int32		max_messages = PG_ARGISNULL(2) ? 100 : PG_GETARG_INT32(2);
	Interval   *lease = lc_arg_interval(fcinfo, 3, "lease");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT4OID};
	Datum		values[4];
	char		nulls[5] = "    ";
	TimestampTz now = lc_now(lc->simulated);
	LcInstallation installation;

	PreventCommandIfReadOnly("lifecycle.claim_messages()");
	InitMaterializedSRF(fcinfo, 0);
	if (lease == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("lease must not be null")));
	check_claim(max_messages, lease);
	installation = lc_installation_state(NULL);
	lc_installation_warn(installation);
	if (installation == LC_INSTALLATION_PAUSED)
		ereport(NOTICE,
				(errmsg("no messages are given out: everything is paused"),
				 errhint("Call lifecycle.resume().")));
	if (installation != LC_INSTALLATION_HERE)
		return (Datum) 0;
	values[0] = TimestampTzGetDatum(now);
	values[1] = TimestampTzGetDatum(lc_add_interval(now, lease, NULL));
	values[2] = channel ? CStringGetTextDatum(channel) : (Datum) 0;
	nulls[2] = channel ? ' ' : 'n';
	values[3] = Int32GetDatum(max_messages);
	SPI_connect();
	lc_run_args(psprintf("WITH taken AS MATERIALIZED ("
						 "SELECT subject_id, id FROM %s WHERE status IN ('queued', 'claimed') AND (claimed_until IS NULL OR claimed_until <= $1) "
						 "AND ($3 IS NULL OR channel = $3) ORDER BY id LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED) "
						 "UPDATE %s AS m SET status = 'claimed', attempts = LEAST(m.attempts + 1, 32767), claimed_until = $2, "
						 "claim_token = pg_catalog.gen_random_uuid() FROM taken WHERE m.subject_id = taken.subject_id AND m.id = taken.id "
						 "RETURNING m.id, m.claim_token, m.subject_id::text, m.workflow, m.version, m.step, m.template, m.channel, m.address, "
						 "m.subject_line, m.body, m.html_body, m.idempotency_key, m.attempts, m.created_at, m.claimed_until",
						 lc->table_sql[LC_MESSAGES_TABLE], lc->table_sql[LC_MESSAGES_TABLE]), 4, types, values, nulls);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	return (Datum) 0;
}

/* When a message that could not be sent is tried again: 30 s · 2^n after its n-th attempt, at most 6 h. */
static TimestampTz
next_attempt(TimestampTz now, int attempts)
{
	return now + (attempts > 10 ? RETRY_CAP : Min(RETRY_FIRST << Max(attempts - 1, 0), RETRY_CAP));
}

static bool
same(const char *a, const char *b)
{
	return a != NULL && strcmp(a, b) == 0;
}

/* Locks the message if the claim still holds; its attempts. */
static int
lock_claimed(LcLifecycle *lc, int64 message, Datum token)
{
	Oid			types[] = {INT8OID, UUIDOID};
	Datum		values[] = {Int64GetDatum(message), token};
	bool		isnull;

	lc_run_args(psprintf("SELECT attempts FROM %s WHERE id = $1 AND status IN ('queued', 'claimed') AND status = 'claimed' AND claim_token = $2 "
						 "FOR NO KEY UPDATE", lc->table_sql[LC_MESSAGES_TABLE]), 2, types, values, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LC_CLAIM_LOST),
				 errmsg("message " INT64_FORMAT " of lifecycle \"%s\" is not claimed with this token", message, lc->name),
				 errdetail("It does not exist, is finished, or was claimed by somebody else after the lease had run out."),
				 errhint("Do not record anything for it. A longer lease in lifecycle.claim_messages makes this rarer.")));
	return DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

Datum
lifecycle_finish_message(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);
	char	   *outcome = lc_arg_required(fcinfo, 3, "outcome");
	char	   *error = lc_arg_text(fcinfo, 4);
	Oid			types[] = {INT8OID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[7];
	char		nulls[8] = "       ";
	TimestampTz now = lc_now(lc->simulated);
	const char *status = outcome;
	const char *reason = NULL;
	int			attempts;

	PreventCommandIfReadOnly("lifecycle.finish_message()");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("message and token must not be null")));
	if (!same(outcome, "sent") && !same(outcome, "failed") && !same(outcome, "retry"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("outcome must be sent, failed or retry, not \"%s\"", outcome)));
	SPI_connect();
	attempts = lock_claimed(lc, PG_GETARG_INT64(1), PG_GETARG_DATUM(2));
	if (same(outcome, "retry"))
		status = attempts >= lc_guc_max_attempts ? "failed" : "queued";
	if (same(status, "failed"))
		reason = same(outcome, "retry") ? psprintf("given up after %d attempts", attempts) : "could not be sent";
	values[0] = PG_GETARG_DATUM(1);
	values[1] = PG_GETARG_DATUM(2);
	values[2] = CStringGetTextDatum(status);
	values[3] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	nulls[3] = reason ? ' ' : 'n';
	values[4] = error ? CStringGetTextDatum(error) : (Datum) 0;
	nulls[4] = error ? ' ' : 'n';
	values[5] = TimestampTzGetDatum(now);
	nulls[5] = same(status, "sent") ? ' ' : 'n';
	values[6] = TimestampTzGetDatum(next_attempt(now, attempts));
	nulls[6] = same(status, "queued") ? ' ' : 'n';
	lc_run_args(psprintf("UPDATE %s SET status = $3, reason = $4, last_error = $5, sent_at = $6, claimed_until = $7, claim_token = NULL "
						 "WHERE id = $1 AND status IN ('queued', 'claimed') AND claim_token = $2",
						 lc->table_sql[LC_MESSAGES_TABLE]), 7, types, values, nulls);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(status));
}
