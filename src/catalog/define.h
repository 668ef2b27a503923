/*
 * define.h: what the definition functions of this folder share with each other.
 */
#ifndef LC_DEFINE_H
#define LC_DEFINE_H

#include "catalog/definitions.h"

/* Refuses names that the enum or the arguments of rules could not carry. */
extern void lc_check_stage_name(const char *stage);

/* Index of a stage that rules and moves may lead to, or an error that names the stages. */
extern int	lc_check_stage(LcLifecycle *lc, const char *stage);

/* The same of a stage that is left: it may be retired. */
extern int	lc_existing_stage(LcLifecycle *lc, const char *stage);

/* The row of a stage in lifecycle.stages; phase NULL: that of the ready-made stage of this name. As the extension's owner. */
extern void lc_insert_stage(const char *lifecycle, const char *stage, int position, const char *phase);

/* Adds a stage before or after another (both NULL: at the end), to the enum and to lifecycle.stages. */
extern void lc_add_stage(const char *lifecycle, const char *schema, Oid on_table, const char *stage, const char *before, const char *after, const char *phase);

/*
 * Binds a condition for the events of one name: without the event's row when it does not read it, else once for each event source that can carry
 * the event (`source`: only that one). The function's former overloads are dropped. `event` NULL: a condition without event. `run`: of a workflow whose
 * row `enrollment` it can read.
 */
extern void lc_bind_for_event(LcLifecycle *lc, const char *what, const char *function, const char *condition, const char *event, const char *source,
							  bool run);

/* Rules that lead from or to a stage which is about to be renamed, and have the name that they get when they are given none: they get the new one. */
extern void lc_rename_default_names(LcLifecycle *lc, const char *from, const char *to);

/* (Re)creates the views of a lifecycle. */
extern void lc_create_views(const char *lifecycle);

/* define_source.c: may the subject column and the time column of an event source have these types? The latter is no domain. */
extern bool lc_subject_type_fits(LcLifecycle *lc, Oid type);
extern bool lc_time_type_fits(Oid type);

#endif							/* LC_DEFINE_H */
