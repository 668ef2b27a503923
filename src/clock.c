/*
 * clock.c: the one place that knows what time it is, and the arithmetic of local times.
 *
 * Only a simulated lifecycle obeys lifecycle.clock; all others, also in the same session, have the real time.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

TimestampTz
lc_now(bool simulated)
{
	return simulated && lc_guc_clock_set ? lc_guc_clock : GetCurrentTimestamp();
}

void
lc_clock_set(TimestampTz at)
{
	SetConfigOption("lifecycle.clock", timestamptz_to_str(at), PGC_SUSET, PGC_S_SESSION);
}

bool
lc_parse_timestamptz(const char *text, TimestampTz *at)
{
	fsec_t		fsec;
	struct pg_tm tm;
	int			tz;
	int			dtype;
	int			nf;
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];

	return ParseDateTime(text, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS, &nf) == 0 &&
		lc_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, &tz) == 0 &&
		dtype == DTK_DATE &&
		tm2timestamp(&tm, fsec, &tz, at) == 0;
}

/* Moves a broken-down local time by calendar months (the day is cut to the month's last) and days. */
static void
add_calendar(struct pg_tm *tm, int months, int days)
{
	int64		month = (int64) tm->tm_year * MONTHS_PER_YEAR + tm->tm_mon - 1 + months;
	int			last;

	tm->tm_year = month / MONTHS_PER_YEAR;
	tm->tm_mon = month % MONTHS_PER_YEAR + 1;
	last = day_tab[isleap(tm->tm_year)][tm->tm_mon - 1];
	if (tm->tm_mday > last)
		tm->tm_mday = last;
	j2date(date2j(tm->tm_year, tm->tm_mon, tm->tm_mday) + days, &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
}

TimestampTz
lc_add_interval(TimestampTz at, const Interval *interval, const char *zone)
{
	TimestampTz result = at;

	if (interval->month != 0 || interval->day != 0)
	{
		pg_tz	   *tz = zone ? pg_tzset(zone) : NULL;
		struct pg_tm tm;
		fsec_t		fsec;
		int			offset;

		if (tz == NULL)
			tz = pg_tzset("GMT");
		if (timestamp2tm(at, &offset, &tm, &fsec, NULL, tz) == 0)
		{
			add_calendar(&tm, interval->month, interval->day);
			offset = DetermineTimeZoneOffset(&tm, tz);
			if (tm2timestamp(&tm, fsec, &offset, &result) != 0)
				result = DT_NOEND;
		}
	}
	if (!TIMESTAMP_NOT_FINITE(result))
		result += interval->time;
	if (!TIMESTAMP_NOT_FINITE(result) && !IS_VALID_TIMESTAMP(result))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return result;
}
