/*
 * workflow_state.h: what define_workflow uses of the functions that pause, archive and drop workflows.
 */
#ifndef LC_WORKFLOW_STATE_H
#define LC_WORKFLOW_STATE_H

#include "catalog/definitions.h"

/* Refuses to make a draft of a workflow that is `state` while runs of it are active. The caller is connected to SPI. */
extern void lc_check_no_runs(LcLifecycle *lc, const char *workflow, const char *state);

#endif							/* LC_WORKFLOW_STATE_H */
