/*
 * clock.c: the one place that knows what time it is, and the arithmetic of local times.
 *
 * Only a simulated lifecycle obeys lifecycle.clock; all others, also in the same session, have the real time.
 */
#include "postgres.h"

#include "access/xact.h"
#include "clock.h"
#include "common/int.h"
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

TimestampTz
lc_transaction_now(bool simulated)
{
	return simulated && lc_guc_clock_set ? lc_guc_clock : GetCurrentTransactionStartTimestamp();
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

/* Moves a broken-down local time by calendar months (the day is cut to the month's last) and days. False: out of range. */
static bool
add_calendar(struct pg_tm *tm, int months, int days)
{
	int64		month = (int64) tm->tm_year * MONTHS_PER_YEAR + tm->tm_mon - 1 + months;
	int64		year = month / MONTHS_PER_YEAR - (month % MONTHS_PER_YEAR < 0);
	int64		julian;
	int			last;

	if (year < JULIAN_MINYEAR || year >= JULIAN_MAXYEAR)
		return false;
	tm->tm_year = year;
	tm->tm_mon = month - year * MONTHS_PER_YEAR + 1;
	last = day_tab[isleap(tm->tm_year)][tm->tm_mon - 1];
	if (tm->tm_mday > last)
		tm->tm_mday = last;
	julian = (int64) date2j(tm->tm_year, tm->tm_mon, tm->tm_mday) + days;
	if (julian < 0 || julian > TIMESTAMP_END_JULIAN)
		return false;
	j2date((int) julian, &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
	return true;
}

/* The zone of that name; UTC for none, and for one that does not exist. */
static pg_tz *
zone_named(const char *name)
{
	pg_tz	   *zone = name ? pg_tzset(name) : NULL;

	return zone ? zone : pg_tzset("GMT");
}

TimestampTz
lc_local_time(Timestamp local, const char *zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	TimestampTz result;

	if (TIMESTAMP_NOT_FINITE(local))
		return local;
	if (timestamp2tm(local, NULL, &tm, &fsec, NULL, NULL) != 0)
		return DT_NOEND;
	offset = DetermineTimeZoneOffset(&tm, zone_named(zone));
	return tm2timestamp(&tm, fsec, &offset, &result) == 0 && IS_VALID_TIMESTAMP(result) ? result : DT_NOEND;
}

TimestampTz
lc_add_interval(TimestampTz at, const Interval *interval, const char *zone)
{
	TimestampTz result = at;

	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (interval->month != 0 || interval->day != 0)
	{
		pg_tz	   *tz = zone_named(zone);
		struct pg_tm tm;
		fsec_t		fsec;
		int			offset;

		if (timestamp2tm(at, &offset, &tm, &fsec, NULL, tz) != 0 || !add_calendar(&tm, interval->month, interval->day))
			return DT_NOEND;
		offset = DetermineTimeZoneOffset(&tm, tz);
		if (tm2timestamp(&tm, fsec, &offset, &result) != 0)
			return DT_NOEND;
	}
	if (pg_add_s64_overflow(result, interval->time, &result) || !IS_VALID_TIMESTAMP(result))
		return DT_NOEND;
	return result;
}
