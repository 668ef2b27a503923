/*
 * workflow_state.h: what others use of the functions that pause, archive and drop workflows.
 */
#ifndef LC_WORKFLOW_STATE_H
#define LC_WORKFLOW_STATE_H

#include "catalog/definitions.h"

/* The state of a workflow; an error when there is none of that name. The caller is connected to SPI. */
extern char *lc_workflow_state(LcLifecycle *lc, const char *workflow);

/* Refuses to make a draft of a workflow that is `state` while runs of it are active. The caller is connected to SPI. */
extern void lc_check_no_runs(LcLifecycle *lc, const char *workflow, const char *state);

#endif							/* LC_WORKFLOW_STATE_H */
