/*
 * clock.h: the one place that knows what time it is.
 */
#ifndef LC_CLOCK_H
#define LC_CLOCK_H

#include "datatype/timestamp.h"

/* The time now: for a simulated lifecycle the virtual clock when one is set, else the real time. */
extern TimestampTz lc_now(bool simulated);

/* The same, but as now() has it: the real time is that of the start of the transaction. */
extern TimestampTz lc_transaction_now(bool simulated);

/* Sets the virtual clock of this session. */
extern void lc_clock_set(TimestampTz at);

/* Reads a timestamp without raising errors. */
extern bool lc_parse_timestamptz(const char *text, TimestampTz *at);

/*
 * Adds an interval to a time in a zone (NULL: UTC): days and months are calendar days and months of that zone. A zone that does not
 * exist counts as UTC. DT_NOEND where that is out of range, since times of events come from applications and must not make their statements fail.
 */
extern TimestampTz lc_add_interval(TimestampTz at, const Interval *interval, const char *zone);

/* When it is that local time in a zone (NULL, or one that does not exist: UTC). Not finite: as it is; out of range: DT_NOEND. */
extern TimestampTz lc_local_time(Timestamp local, const char *zone);

#endif							/* LC_CLOCK_H */
