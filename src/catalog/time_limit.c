/*
 * time_limit.c: how long what the user has written may run: a condition or a statement that never ends must hold up neither the application nor
 * everybody's workflows.
 *
 * A timer cancels the statement, as statement_timeout does. A condition may be asked while a statement of run_sql runs, whose events are captured, so each
 * kind has a timer of its own.
 */
#include "postgres.h"

#include <limits.h>
#include <signal.h>

#include "catalog/time_limit.h"
#include "guc.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"

typedef struct Timer
{
	const int  *setting;
	const char *message;
	timeout_handler_proc handler;
	bool		registered;
	TimeoutId	id;
	int			depth;
	volatile sig_atomic_t over;
} Timer;

static void condition_is_over(void);
static void step_is_over(void);

static Timer timers[LC_NLIMITS] = {
	[LC_LIMIT_CONDITION] = {&lc_guc_condition_timeout, "the condition took longer than lifecycle.condition_timeout (%d ms)", condition_is_over},
	[LC_LIMIT_STEP] = {&lc_guc_step_timeout, "the statement took longer than lifecycle.step_timeout (%d ms)", step_is_over},
};

static void
cancel(Timer *timer)
{
	timer->over = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
condition_is_over(void)
{
	cancel(&timers[LC_LIMIT_CONDITION]);
}

static void
step_is_over(void)
{
	cancel(&timers[LC_LIMIT_STEP]);
}

void
lc_limit_begin(LcTimeLimit limit, int rows)
{
	Timer	   *timer = &timers[limit];
	int64		time = (int64) *timer->setting * (1 + rows / 1000);

	if (timer->depth++ > 0)
		return;
	timer->over = false;
	if (time <= 0)
		return;
	if (!timer->registered)
		timer->id = RegisterTimeout(USER_TIMEOUT, timer->handler);
	timer->registered = true;
	enable_timeout_after(timer->id, (int) Min(time, INT_MAX));
}

static void
disable(Timer *timer)
{
	if (--timer->depth == 0 && timer->registered)
		disable_timeout(timer->id, false);
}

void
lc_limit_end(LcTimeLimit limit)
{
	disable(&timers[limit]);
	/* The time may have run out just now: the cancellation must not reach somebody else's statement. */
	if (timers[limit].over)
	{
		timers[limit].depth++;
		CHECK_FOR_INTERRUPTS();
		timers[limit].depth--;
	}
}

bool
lc_limit_stop(LcTimeLimit limit, ErrorData *error)
{
	Timer	   *timer = &timers[limit];

	disable(timer);
	if (!timer->over)
		return false;
	timer->over = timer->depth > 0;
	QueryCancelPending = false;
	if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
		return false;
	error->sqlerrcode = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	error->message = psprintf(timer->message, *timer->setting);
	return true;
}

void
lc_limit_rethrow(LcTimeLimit limit, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	(void) lc_limit_stop(limit, error);
	ReThrowError(error);
}
