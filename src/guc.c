/*
 * guc.c: all settings but those of the workers.
 *
 * What changes whether rows are captured is for superusers only (PGC_SUSET): a plain SET leaks from one user to the next through a pooler.
 */
#include "postgres.h"

#include <limits.h>

#include "clock.h"
#include "compat.h"
#include "guc.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

bool		lc_guc_capture = true;
bool		lc_guc_enroll = true;
int			lc_guc_on_error = LC_ON_ERROR_RECORD;
int			lc_guc_condition_timeout = 5000;
int			lc_guc_step_timeout = 60000;
int			lc_guc_batch_size = 20000;
int			lc_guc_max_attempts = 5;
bool		lc_guc_clock_set = false;
TimestampTz lc_guc_clock = 0;

static char *clock_text = NULL;

static const struct config_enum_entry on_error_options[] = {
	{"record", LC_ON_ERROR_RECORD, false},
	{"raise", LC_ON_ERROR_RAISE, false},
	{NULL, 0, false}
};

/* The virtual clock stays far enough from the ends of timestamptz that no interval of a definition leaves its range. */
static bool
clock_in_range(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(at) || timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		return false;
	return tm.tm_year >= 1900 && tm.tm_year < 10000;
}

static bool
check_clock(char **newval, void **extra, GucSource source)
{
	TimestampTz at;
	TimestampTz *parsed;

	if (*newval == NULL || **newval == '\0')
		return true;
	if (!lc_parse_timestamptz(*newval, &at))
	{
		GUC_check_errdetail("It must be empty or a timestamp such as 2026-03-01 09:00+00.");
		return false;
	}
	if (!clock_in_range(at))
	{
		GUC_check_errdetail("It must lie between the years 1900 and 9999.");
		return false;
	}
	parsed = lc_guc_malloc(sizeof(TimestampTz));
	if (parsed == NULL)
		return false;
	*parsed = at;
	*extra = parsed;
	return true;
}

static void
assign_clock(const char *newval, void *extra)
{
	lc_guc_clock_set = (extra != NULL);
	if (extra != NULL)
		lc_guc_clock = *(TimestampTz *) extra;
}

void
lc_guc_init(void)
{
	DefineCustomBoolVariable("lifecycle.capture",
							 "Captures changed rows: moves subjects and enrolls them.",
							 NULL,
							 &lc_guc_capture, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("lifecycle.enroll",
							 "Enrolls in workflows whom captured rows make enter.",
							 "Off moves stages only, as a bulk load may want.",
							 &lc_guc_enroll, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("lifecycle.on_error",
							 "What happens when a rule fails for a subject.",
							 "record notes it in failures and goes on; raise raises it, for tests.",
							 &lc_guc_on_error, LC_ON_ERROR_RECORD, on_error_options, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("lifecycle.condition_timeout",
							"Time that a condition may take for one chunk of rows; in a workflow, for each thousand runs that come to a step.",
							"0 switches the limit off.",
							&lc_guc_condition_timeout, 5000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("lifecycle.step_timeout",
							"Time that a statement of run_sql may take, for each thousand runs that come to the step.",
							"0 switches the limit off.",
							&lc_guc_step_timeout, 60000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("lifecycle.batch_size",
							"Rows of the due queue that are run at once.",
							NULL,
							&lc_guc_batch_size, 20000, 1, 100000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("lifecycle.max_attempts",
							"How often a failing step is run before it is parked.",
							NULL,
							&lc_guc_max_attempts, 5, 1, 100, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("lifecycle.clock",
							   "The virtual time that simulated lifecycles obey.",
							   "Empty: the real time.",
							   &clock_text, "", PGC_SUSET, 0, check_clock, assign_clock, NULL);
	MarkGUCPrefixReserved("lifecycle");
}
