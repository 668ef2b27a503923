/*
 * define_template.h: what definitions of workflows ask about templates.
 */
#ifndef LC_DEFINE_TEMPLATE_H
#define LC_DEFINE_TEMPLATE_H

#include "catalog/definitions.h"

/*
 * Does the lifecycle have that template, and does it read the event that began a run? The caller is connected to SPI.
 */
extern bool lc_template_exists(LcLifecycle *lc, const char *name, bool *reads_event);

/* Names of the lifecycle's templates: char *. */
extern List *lc_template_names(LcLifecycle *lc);

#endif							/* LC_DEFINE_TEMPLATE_H */
