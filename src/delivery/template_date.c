/*
 * template_date.c: times in templates: how they are printed, read from strings, and formatted by the "date" filter.
 *
 * A point in time is shown in the zone of the rendering. Strings are read as ISO 8601 only, so that no setting of the
 * session changes what a message says; names of months and days are English, as in Liquid everywhere.
 */
#include "postgres.h"

#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "delivery/template_internal.h"

#define MAX_WIDTH 64			/* of a padded field */
#define EPOCH_SECONDS ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY)	/* from 1970 to 2000 */

/* A time as it is shown. */
typedef struct Moment
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;			/* seconds east of UTC */
	const char *zone;			/* abbreviation */
	TimestampTz time;
} Moment;

static const char *const month_names[] = {
	"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
	"December"
};
static const char *const day_names[] = {
	"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"
};

/* ---- reading ---- */

/* Reads count digits. */
static bool
read_digits(const char **c, const char *end, int count, int *result)
{
	*result = 0;
	for (; count > 0; count--, (*c)++)
	{
		if (*c == end || **c < '0' || **c > '9')
			return false;
		*result = *result * 10 + **c - '0';
	}
	return true;
}

static bool
read_char(const char **c, const char *end, char what)
{
	if (*c == end || **c != what)
		return false;
	(*c)++;
	return true;
}

/* Reads "Z" or an offset such as +02:00, +0200 or +02. Nothing is fine too: the time is local then. */
static bool
read_offset(const char **c, const char *end, bool *local, int *offset)
{
	int			sign;
	int			hours,
				minutes = 0;

	*local = false;
	*offset = 0;
	read_char(c, end, ' ');
	if (read_char(c, end, 'Z') || (end - *c >= 3 && memcmp(*c, "UTC", 3) == 0 && (*c += 3)))
		return true;
	if (read_char(c, end, '+'))
		sign = 1;
	else if (read_char(c, end, '-'))
		sign = -1;
	else
	{
		*local = true;
		return true;
	}
	if (!read_digits(c, end, 2, &hours))
		return false;
	if (read_char(c, end, ':') || *c < end)
		if (!read_digits(c, end, 2, &minutes))
			return false;
	*offset = sign * (hours * 3600 + minutes * 60);
	return hours < 16 && minutes < 60;
}

/* Reads hh:mm, hh:mm:ss or hh:mm:ss.f. */
static bool
read_clock(const char **c, const char *end, struct pg_tm *tm, fsec_t *fsec)
{
	if (!read_digits(c, end, 2, &tm->tm_hour) || !read_char(c, end, ':') || !read_digits(c, end, 2, &tm->tm_min))
		return false;
	if (read_char(c, end, ':'))
	{
		if (!read_digits(c, end, 2, &tm->tm_sec))
			return false;
		if (read_char(c, end, '.'))
		{
			int			unit = USECS_PER_SEC / 10;

			if (*c == end || **c < '0' || **c > '9')
				return false;
			for (; *c < end && **c >= '0' && **c <= '9'; (*c)++, unit /= 10)
				*fsec += (**c - '0') * unit;
		}
	}
	return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60;
}

/* Reads an ISO 8601 date or time. */
static bool
read_time(const char *text, int length, pg_tz *zone, TimestampTz *time)
{
	struct pg_tm tm = {0};
	fsec_t		fsec = 0;
	bool		local = true;
	int			offset = 0;
	const char *end = text + length;

	while (text < end && *text == ' ')
		text++;
	while (text < end && end[-1] == ' ')
		end--;
	if (!read_digits(&text, end, 4, &tm.tm_year) || !read_char(&text, end, '-') ||
		!read_digits(&text, end, 2, &tm.tm_mon) || !read_char(&text, end, '-') ||
		!read_digits(&text, end, 2, &tm.tm_mday))
		return false;
	if (tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1])
		return false;
	if ((read_char(&text, end, 'T') || read_char(&text, end, ' ')) &&
		!(read_clock(&text, end, &tm, &fsec) && read_offset(&text, end, &local, &offset)))
		return false;
	if (text != end)
		return false;
	/* PostgreSQL's sign of an offset is the other way round */
	offset = local ? DetermineTimeZoneOffset(&tm, zone) : -offset;
	return tm2timestamp(&tm, fsec, &offset, time) == 0;
}

/* The zone of the rendering. */
static pg_tz *
get_zone(LcRender *render)
{
	if (render->zone == NULL)
		render->zone = pg_tzset("UTC");
	return render->zone;
}

/* The point in time that a value is: a time, a date (its midnight), a number of seconds since 1970, or a string. */
bool
lc_liquid_get_time(LcRender *render, const LcValue *value, TimestampTz *time)
{
	struct pg_tm tm = {0};
	fsec_t		fsec = 0;
	int			offset;
	bool		valid = true;

	if (value->kind == LC_VALUE_STRING && !lc_liquid_charge(render, value->length))
		return false;
	switch (value->kind)
	{
		case LC_VALUE_TIMESTAMPTZ:
			*time = value->u.time;
			return true;
		case LC_VALUE_TIMESTAMP:
			*time = value->u.time;
			if (TIMESTAMP_NOT_FINITE(*time))
				return true;
			valid = timestamp2tm(value->u.time, NULL, &tm, &fsec, NULL, NULL) == 0;
			break;
		case LC_VALUE_DATE:
			if (DATE_IS_NOBEGIN(value->u.date) || DATE_IS_NOEND(value->u.date))
			{
				*time = DATE_IS_NOBEGIN(value->u.date) ? DT_NOBEGIN : DT_NOEND;
				return true;
			}
			j2date(value->u.date + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
			break;
		case LC_VALUE_STRING:
			if ((value->length == 3 && memcmp(value->u.string, "now", 3) == 0) ||
				(value->length == 5 && memcmp(value->u.string, "today", 5) == 0))
				*time = render->input->now;
			else if (!read_time(value->u.string, value->length, get_zone(render), time))
				return lc_liquid_fail_kind(render, "a time is needed, such as 2026-03-01 or 2026-03-01T09:00:00Z", value);
			return true;
		case LC_VALUE_INTEGER:
		case LC_VALUE_NUMERIC:
			{
				int64		seconds;

				if (!lc_liquid_get_integer(render, value, "a time", &seconds))
					return false;
				valid = !pg_sub_s64_overflow(seconds, EPOCH_SECONDS, &seconds) &&
					seconds > MIN_TIMESTAMP / USECS_PER_SEC && seconds < END_TIMESTAMP / USECS_PER_SEC;
				*time = valid ? seconds * USECS_PER_SEC : 0;
			}
			return valid || lc_liquid_fail(render, "the time is out of range");
		default:
			return lc_liquid_fail_kind(render, "a time is needed", value);
	}
	if (valid)
	{
		offset = DetermineTimeZoneOffset(&tm, get_zone(render));
		valid = tm2timestamp(&tm, fsec, &offset, time) == 0;
	}
	return valid || lc_liquid_fail(render, "the time is out of range");
}

/* Takes a value apart for showing it. Local times are shown as they are, also those that a clock change skips. */
static bool
get_moment(LcRender *render, const LcValue *value, Moment *moment)
{
	const char *zone;
	int			offset;

	if (!lc_liquid_get_time(render, value, &moment->time))
		return false;
	if (TIMESTAMP_NOT_FINITE(moment->time))
		return lc_liquid_fail(render, "an infinite time cannot be formatted");
	if (timestamp2tm(moment->time, &offset, &moment->tm, &moment->fsec, &zone, get_zone(render)) != 0)
		return lc_liquid_fail(render, "the time is out of range");
	moment->offset = -offset;
	moment->zone = zone ? zone : "";
	if (value->kind == LC_VALUE_TIMESTAMP &&
		timestamp2tm(value->u.time, NULL, &moment->tm, &moment->fsec, NULL, NULL) != 0)
		return lc_liquid_fail(render, "the time is out of range");
	moment->tm.tm_wday = j2day(date2j(moment->tm.tm_year, moment->tm.tm_mon, moment->tm.tm_mday));
	moment->tm.tm_yday = date2j(moment->tm.tm_year, moment->tm.tm_mon, moment->tm.tm_mday) -
		date2j(moment->tm.tm_year, 1, 1) + 1;
	return true;
}

/* ---- formatting ---- */

/* What may stand between "%" and the letter. */
typedef struct Directive
{
	char		padding;		/* 0: the letter's own; '-': none */
	bool		upper;
	bool		swap;
	int			width;			/* 0: the letter's own */
	int			colons;
	char		letter;
} Directive;

/* Reads a directive behind its "%"; false when the format ends in it or its width is too large. */
static bool
read_directive(const char **format, const char *end, Directive *directive)
{
	const char *c = *format;

	memset(directive, 0, sizeof(Directive));
	for (; c < end && strchr("-0_^#", *c) && *c; c++)
	{
		if (*c == '^')
			directive->upper = true;
		else if (*c == '#')
			directive->swap = true;
		else
			directive->padding = *c == '_' ? ' ' : *c;
	}
	for (; c < end && *c >= '0' && *c <= '9'; c++)
		if ((directive->width = directive->width * 10 + *c - '0') > MAX_WIDTH)
			return false;
	for (; c < end && *c == ':'; c++)
		directive->colons++;
	if (c == end)
		return false;
	directive->letter = *c;
	*format = c + 1;
	return directive->colons == 0 || (directive->colons == 1 && directive->letter == 'z');
}

static void
put_number(StringInfo out, const Directive *directive, int64 number, char padding, int width)
{
	char		digits[24];
	int			length;

	if (directive->padding)
		padding = directive->padding;
	if (directive->width)
		width = directive->width;
	length = pg_lltoa(number < 0 ? -number : number, digits);
	if (number < 0 && padding == '0')
		appendStringInfoChar(out, '-');
	for (int i = length + (number < 0); padding != '-' && i < width; i++)
		appendStringInfoChar(out, padding);
	if (number < 0 && padding != '0')
		appendStringInfoChar(out, '-');
	appendBinaryStringInfo(out, digits, length);
}

static void
put_text(StringInfo out, const Directive *directive, const char *text, int length, bool lower)
{
	for (int i = length; directive->padding != '-' && i < directive->width; i++)
		appendStringInfoChar(out, directive->padding ? directive->padding : ' ');
	for (int i = 0; i < length; i++)
		appendStringInfoChar(out, directive->upper || (directive->swap && !lower) ? pg_toupper(text[i]) :
							 lower || directive->swap ? pg_tolower(text[i]) : text[i]);
}

static void
put_name(StringInfo out, const Directive *directive, const char *name)
{
	put_text(out, directive, name, strlen(name), false);
}

static void
put_offset(StringInfo out, const Directive *directive, int offset)
{
	int			minutes = abs(offset) / 60;

	appendStringInfo(out, "%c%02d%s%02d", offset < 0 ? '-' : '+', minutes / 60, directive->colons ? ":" : "",
					 minutes % 60);
}

/* Week of the year, weeks beginning on a Sunday or a Monday, days before the first of them in week 0. */
static int
week_of_year(const Moment *moment, int first_day)
{
	int			wday = (moment->tm.tm_wday + 7 - first_day) % 7;

	return (moment->tm.tm_yday - 1 + 7 - wday) / 7;
}

/* The directives that are others put together. */
static const char *
expand_directive(char letter)
{
	switch (letter)
	{
		case 'c':
			return "%a %b %e %H:%M:%S %Y";
		case 'D':
		case 'x':
			return "%m/%d/%y";
		case 'F':
			return "%Y-%m-%d";
		case 'R':
			return "%H:%M";
		case 'r':
			return "%I:%M:%S %p";
		case 'T':
		case 'X':
			return "%H:%M:%S";
		case 'v':
			return "%e-%^b-%Y";
		default:
			return NULL;
	}
}

/* The calendar part of a time; false when the letter is none of these. */
static bool
put_date_field(StringInfo out, const Directive *d, const Moment *moment)
{
	const struct pg_tm *tm = &moment->tm;
	int			iso_year;

	switch (d->letter)
	{
		case 'a':
			put_text(out, d, day_names[tm->tm_wday], 3, false);
			break;
		case 'A':
			put_name(out, d, day_names[tm->tm_wday]);
			break;
		case 'b':
		case 'h':
			put_text(out, d, month_names[tm->tm_mon - 1], 3, false);
			break;
		case 'B':
			put_name(out, d, month_names[tm->tm_mon - 1]);
			break;
		case 'C':
			put_number(out, d, tm->tm_year / 100, '0', 2);
			break;
		case 'd':
			put_number(out, d, tm->tm_mday, '0', 2);
			break;
		case 'e':
			put_number(out, d, tm->tm_mday, ' ', 2);
			break;
		case 'g':
		case 'G':
			iso_year = date2isoyear(tm->tm_year, tm->tm_mon, tm->tm_mday);
			put_number(out, d, d->letter == 'G' ? iso_year : iso_year % 100, '0', d->letter == 'G' ? 4 : 2);
			break;
		case 'j':
			put_number(out, d, tm->tm_yday, '0', 3);
			break;
		case 'm':
			put_number(out, d, tm->tm_mon, '0', 2);
			break;
		case 'u':
			put_number(out, d, tm->tm_wday ? tm->tm_wday : 7, '0', 1);
			break;
		case 'U':
			put_number(out, d, week_of_year(moment, 0), '0', 2);
			break;
		case 'V':
			put_number(out, d, date2isoweek(tm->tm_year, tm->tm_mon, tm->tm_mday), '0', 2);
			break;
		case 'w':
			put_number(out, d, tm->tm_wday, '0', 1);
			break;
		case 'W':
			put_number(out, d, week_of_year(moment, 1), '0', 2);
			break;
		case 'y':
			put_number(out, d, tm->tm_year % 100, '0', 2);
			break;
		case 'Y':
			put_number(out, d, tm->tm_year, '0', 1);
			break;
		default:
			return false;
	}
	return true;
}

/* The rest; false when there is no such directive. */
static bool
put_time_field(StringInfo out, const Directive *d, const Moment *moment)
{
	const struct pg_tm *tm = &moment->tm;
	int			hour12 = tm->tm_hour % 12 ? tm->tm_hour % 12 : 12;
	char		digits[10];

	switch (d->letter)
	{
		case 'H':
			put_number(out, d, tm->tm_hour, '0', 2);
			break;
		case 'I':
			put_number(out, d, hour12, '0', 2);
			break;
		case 'k':
			put_number(out, d, tm->tm_hour, ' ', 2);
			break;
		case 'l':
			put_number(out, d, hour12, ' ', 2);
			break;
		case 'M':
			put_number(out, d, tm->tm_min, '0', 2);
			break;
		case 'S':
			put_number(out, d, tm->tm_sec, '0', 2);
			break;
		case 'L':
		case 'N':
			/* the width is a number of digits */
			snprintf(digits, sizeof(digits), "%06d000", (int) moment->fsec);
			appendBinaryStringInfo(out, digits, d->width ? Min(d->width, 9) : d->letter == 'L' ? 3 : 9);
			break;
		case 'p':
			put_text(out, d, tm->tm_hour < 12 ? "AM" : "PM", 2, d->swap);
			break;
		case 'P':
			put_text(out, d, tm->tm_hour < 12 ? "AM" : "PM", 2, true);
			break;
		case 's':
			put_number(out, d, moment->time / USECS_PER_SEC - (moment->time % USECS_PER_SEC < 0) + EPOCH_SECONDS, '0', 1);
			break;
		case 'z':
			put_offset(out, d, moment->offset);
			break;
		case 'Z':
			put_name(out, d, moment->zone);
			break;
		case 'n':
			appendStringInfoChar(out, '\n');
			break;
		case 't':
			appendStringInfoChar(out, '\t');
			break;
		case '%':
			appendStringInfoChar(out, '%');
			break;
		default:
			return false;
	}
	return true;
}

/*
 * Appends a time in a format of strftime, as Ruby extends it. Returns the length of the part of the format that is
 * not understood, with *wrong at it; 0 when all was well.
 */
static int
format_time(StringInfo out, const char *format, int length, const Moment *moment, const char **wrong)
{
	const char *end = format + length;

	while (format < end)
	{
		const char *start = format;
		Directive	directive;
		const char *expanded;

		if (*format != '%')
		{
			const char *next = memchr(format, '%', end - format);

			appendBinaryStringInfo(out, format, (next ? next : end) - format);
			format = next ? next : end;
			continue;
		}
		format++;
		*wrong = start;
		if (!read_directive(&format, end, &directive))
			return pg_mbcliplen(start, end - start, 10);
		expanded = expand_directive(directive.letter);
		if (expanded)
			format_time(out, expanded, strlen(expanded), moment, wrong);
		else if (!put_date_field(out, &directive, moment) && !put_time_field(out, &directive, moment))
			return pg_mbcliplen(start, end - start, format - start);
	}
	return 0;
}

/* When the template is parsed: is the format one that will work? */
const char *
lc_liquid_check_date(const LcValue *args)
{
	StringInfoData out;
	Moment		moment = {{0}};
	const char *wrong;
	int			length;

	if (args[0].kind != LC_VALUE_STRING)
		return "filter \"date\" needs a format, such as \"%Y-%m-%d\"";
	moment.tm.tm_year = 2000;
	moment.tm.tm_mon = moment.tm.tm_mday = moment.tm.tm_yday = 1;
	moment.zone = "";
	initStringInfo(&out);
	length = format_time(&out, args[0].u.string, args[0].length, &moment, &wrong);
	pfree(out.data);
	return length ? psprintf("unknown directive \"%.*s\" in the format of a date", length, wrong) : NULL;
}

bool
lc_liquid_date(LcRender *render, LcValue *value, const LcValue *args)
{
	StringInfoData out;
	Moment		moment;
	const char *format;
	const char *wrong;
	int			length;

	if (!get_moment(render, value, &moment) || !lc_liquid_get_text(render, &args[0], &format, &length) ||
		!lc_liquid_charge(render, (int64) length * 40))	/* a directive of 4 bytes may print MAX_WIDTH, and more */
		return false;
	if (length > 1000)
		return lc_liquid_fail(render, "the format of a date is longer than 1000 bytes");
	initStringInfo(&out);
	length = format_time(&out, format, length, &moment, &wrong);
	if (length)
		return lc_liquid_fail(render, "unknown directive \"%.*s\" in the format of a date", length, wrong);
	lc_liquid_set_string(value, out.data, out.len);
	return lc_liquid_charge(render, out.maxlen);
}

/* A time as it is printed without a filter. */
char *
lc_liquid_print_time(LcRender *render, const LcValue *value)
{
	const char *format = value->kind == LC_VALUE_DATE ? "%F" : value->kind == LC_VALUE_TIMESTAMP ? "%F %T" : "%F %T %z";
	StringInfoData out;
	Moment		moment;
	const char *wrong;

	/* infinity has no fields */
	if (value->kind == LC_VALUE_DATE ? (DATE_IS_NOBEGIN(value->u.date) || DATE_IS_NOEND(value->u.date)) :
		TIMESTAMP_NOT_FINITE(value->u.time))
		return pstrdup((value->kind == LC_VALUE_DATE ? DATE_IS_NOBEGIN(value->u.date) :
						TIMESTAMP_IS_NOBEGIN(value->u.time)) ? "-infinity" : "infinity");
	if (!get_moment(render, value, &moment))
		return NULL;
	initStringInfo(&out);
	format_time(&out, format, strlen(format), &moment, &wrong);
	return out.data;
}
