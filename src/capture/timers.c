/*
 * timers.c: rules that wait for time to pass: after, without_event, on_date.
 *
 * A timer is a row of the due queue, armed when the subject enters a stage that the rule leaves. An event costs it nothing: only when the timer fires is
 * the last event looked up, under the lock of the subject, and the timer put off until that is long enough ago. An event that has
 * been committed by then wins, also one of the very same time; one that is being committed holds the subject's lock, and the timer is left alone.
 *
 * A date comes once: a rule that has fired for a subject and a date, which its transition says, does not fire for it again, also when the stage is
 * entered again; rules whose dates are past would else lead from one stage to the other for ever. Another date is another one.
 */
#include "postgres.h"

#include "catalog/load.h"
#include "batch.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "executor/spi.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

/* The subject's time zone, NULL for UTC; false: it is not known yet. */
static bool
subject_zone(LcBatch *batch, LcSubject *subject, const char **zone)
{
	LcAnswer   *answer;

	*zone = NULL;
	if (batch->lc->timezone == NULL)
		return true;
	answer = lc_ask(batch, subject, NULL, NULL, false, batch->lc->timezone);
	if (!answer->known)
		return false;
	if (answer->isnull)
		return true;
	*zone = DatumGetCString(answer->value);
	if (pg_tzset(*zone) == NULL)
	{
		*zone = NULL;
		batch->bad_zones++;
	}
	return true;
}

/* Adds an interval, whose days and months are those of the subject's zone. False: that is not known yet. */
bool
lc_subject_add(LcBatch *batch, LcSubject *subject, TimestampTz at, const Interval *interval, TimestampTz *result)
{
	const char *zone = NULL;

	if ((interval->month != 0 || interval->day != 0) && !subject_zone(batch, subject, &zone))
		return false;
	*result = lc_add_interval(at, interval, zone);
	return true;
}

/*
 * When the rule's timer is due, seen from the stage that the subject is in now; DT_NOEND: never. False: the answer is not known yet.
 */
bool
lc_rule_due(LcBatch *batch, LcSubject *subject, LcRule *rule, TimestampTz *due)
{
	const char *zone = NULL;
	LcAnswer   *answer;

	if (rule->trigger == LC_RULE_DATE)
	{
		answer = lc_ask(batch, subject, NULL, NULL, false, rule->date);
		if (!answer->known)
			return false;
		*due = answer->isnull || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(answer->value)) ? DT_NOEND :
			DatumGetTimestampTz(answer->value);
		if (*due == DT_NOEND || !rule->date->local_time)
			return true;
		if (!subject_zone(batch, subject, &zone))
			return false;
		*due = lc_local_time(*due, zone);
		return true;
	}
	return lc_subject_add(batch, subject, subject->replay && rule->trigger == LC_RULE_WITHOUT_EVENT ?
						  Max(subject->since, subject->replay->last_events[rule - batch->lc->rules]) : subject->since, rule->after, due);
}

/* Can events of this source have that name? */
static bool
can_carry(LcSource *source, LcRule *rule)
{
	return (rule->source == NULL || strcmp(rule->source, source->name) == 0) &&
		(source->name_column != NULL || strcmp(source->event_name, rule->event) == 0);
}

/* When the subject's last event of the rule was; DT_NOBEGIN: there is none. */
static TimestampTz
last_event(LcBatch *batch, LcSubject *subject, LcRule *rule)
{
	LcLifecycle *lc = batch->lc;
	TimestampTz last = DT_NOBEGIN;

	for (int i = 0; i < lc->nsources; i++)
	{
		LcSource   *source = &lc->sources[i];
		StringInfoData sql;
		Oid			types[2] = {lc->key_array_type, TEXTOID};
		Datum		args[2];
		bool		isnull;
		Datum		value;

		if (!can_carry(source, rule))
			continue;
		initStringInfo(&sql);
		appendStringInfo(&sql, "SELECT max(e.%1$s)%4$s FROM %2$s e %5$s WHERE e.%3$s = ANY ($1)",
						 quote_identifier(source->time_column),
						 lc_qualified_name(source->table),
						 quote_identifier(source->subject_column),
						 source->time_type == TIMESTAMPTZOID ? "" : "::pg_catalog.timestamptz",
						 source->becomes ? lc_becomes_lateral(lc, source, "e", "") : "");
		/* infinity says nothing, and must not hide the events that do */
		appendStringInfo(&sql, " AND e.%s < 'infinity'", quote_identifier(source->time_column));
		if (source->name_column)
			appendStringInfo(&sql, " AND e.%s::pg_catalog.text = $2", quote_identifier(source->name_column));
		if (source->becomes)
			appendStringInfo(&sql, " AND %s", source->becomes->sql);
		args[0] = lc_array(&subject->key, NULL, 1, lc->key_type);
		args[1] = CStringGetTextDatum(rule->event);
		lc_run_args(sql.data, source->name_column ? 2 : 1, types, args, NULL);
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		if (!isnull && DatumGetTimestampTz(value) > last && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
			last = DatumGetTimestampTz(value);
		SPI_freetuptable(SPI_tuptable);
	}
	return last;
}

/*
 * Has the rule fired for that date before, since the subject's row is there? Transitions of earlier versions do not say for which one: it is their time
 * unless it was past already.
 */
static bool
has_fired(LcBatch *batch, LcSubject *subject, LcRule *rule, TimestampTz date)
{
	LcLifecycle *lc = batch->lc;
	Datum		args[3] = {lc_array(&subject->key, NULL, 1, lc->key_type), CStringGetTextDatum(rule->name), TimestampTzGetDatum(date)};
	bool		fired;

	lc_execute(lc_batch_statement(batch, &batch->capture->fired,
						 psprintf("SELECT FROM %1$s t WHERE t.subject_id = ANY ($1) AND t.cause = 'timer' AND t.rule = $2 "
								  "AND COALESCE(t.event_at, t.at) = $3 AND NOT EXISTS (SELECT FROM %1$s d WHERE d.subject_id = ANY ($1) "
								  "AND d.seq > t.seq AND d.cause = 'delete')", lc->table_sql[LC_TRANSITIONS]),
						 3, (Oid[3]) {lc->key_array_type, TEXTOID, TIMESTAMPTZOID}), args, NULL, 1);
	fired = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
	return fired;
}

/*
 * The timer of a subject, whose row is locked: does it fire? Sets the timer's result, and timer_fired. False: answers are not known yet.
 */
bool
lc_timer_begin(LcBatch *batch, LcSubject *subject)
{
	LcTimer    *timer = subject->timer;
	LcRule	   *rule = lc_rule_by_id(batch->lc, timer->due->program);
	LcAnswer   *answer = NULL;
	TimestampTz due;
	TimestampTz again = DT_NOEND;

	timer->result = LC_TIMER_DONE;
	if (rule == NULL || !lc_rule_from(rule, subject->stage) || (rule->trigger != LC_RULE_DATE && rule->after == NULL) ||
		(rule->trigger == LC_RULE_DATE && rule->date == NULL))
		return true;
	if (!lc_rule_due(batch, subject, rule, &due))
		return false;
	if (rule->nconditions > 0)
	{
		answer = lc_ask(batch, subject, NULL, NULL, false, rule->conditions[0]);
		if (!answer->known || (rule->after && !lc_subject_add(batch, subject, timer->now, rule->after, &again)))
			return false;
	}
	if (rule->trigger == LC_RULE_WITHOUT_EVENT && due <= timer->now)
	{
		TimestampTz last = last_event(batch, subject, rule);

		if (last > subject->since && !lc_subject_add(batch, subject, last, rule->after, &due))
			return false;
	}
	if (due == DT_NOEND)
		return true;
	if (due > timer->now)
	{
		timer->result = LC_TIMER_AGAIN;
		timer->again_at = due;
		return true;
	}
	if (answer && !lc_answer_true(answer))
	{
		if (rule->trigger != LC_RULE_DATE)
		{
			timer->result = LC_TIMER_AGAIN;
			timer->again_at = again;
		}
		return true;
	}
	/* the first transition is the entry, and what has fired for this date was not before it */
	if (rule->trigger == LC_RULE_DATE && due <= subject->since && subject->seq > 1 && has_fired(batch, subject, rule, due))
		return true;
	if (lc_loops(batch, subject, rule, NULL))
		return true;
	subject->timer_fired = true;
	subject->timer_due = due;
	return true;
}

static LcLifecycle *sort_lifecycle;

static int
compare_timers(const void *a, const void *b)
{
	const LcTimer *const *x = a;
	const LcTimer *const *y = b;

	return lc_key_compare(sort_lifecycle, (*x)->due->subject, (*y)->due->subject);
}

void
lc_fire_timers(LcLifecycle *lc, LcTimer *timers, int n)
{
	LcBatch    *batch = lc_batch_begin(lc);
	LcTimer   **sorted = MemoryContextAlloc(batch->context, Max(n, 1) * sizeof(LcTimer *));

	batch->skip_locked = true;
	batch->create = false;
	for (int i = 0; i < n; i++)
		sorted[i] = &timers[i];
	sort_lifecycle = lc;
	qsort(sorted, n, sizeof(LcTimer *), compare_timers);
	for (int i = 0; i < n; i++)
	{
		LcSubject  *subject = lc_batch_add(batch, sorted[i]->due->subject);

		subject->timer = sorted[i];
		subject->now = sorted[i]->now;
		batch->now = Max(batch->now, subject->now);
	}
	lc_batch_run(batch);
	lc_batch_end(batch);
}
