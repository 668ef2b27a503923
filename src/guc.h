/*
 * guc.h: settings.
 */
#ifndef LC_GUC_H
#define LC_GUC_H

#include "datatype/timestamp.h"

typedef enum LcOnError
{
	LC_ON_ERROR_RECORD,			/* record a failing rule in failures and go on */
	LC_ON_ERROR_RAISE			/* raise it */
} LcOnError;

extern bool lc_guc_capture;		/* lifecycle.capture */
extern bool lc_guc_enroll;		/* lifecycle.enroll */
extern int	lc_guc_on_error;	/* lifecycle.on_error, an LcOnError */
extern int	lc_guc_condition_timeout;	/* lifecycle.condition_timeout, ms, 0: none */
extern int	lc_guc_step_timeout;	/* lifecycle.step_timeout, ms, 0: none */
extern int	lc_guc_batch_size;	/* lifecycle.batch_size, rows of the due queue at once */
extern int	lc_guc_max_attempts;	/* lifecycle.max_attempts, runs of a failing step before it is parked */
extern bool lc_guc_scheduler;	/* lifecycle.scheduler, runs in the background what is due */
extern int	lc_guc_max_databases;	/* lifecycle.max_databases, schedulers at once */
extern bool lc_guc_clock_set;	/* is lifecycle.clock set? */
extern TimestampTz lc_guc_clock;	/* its value */

extern void lc_guc_init(void);

#endif							/* LC_GUC_H */
