/*
 * capture.h: what the engine and the definitions use of capture: moving subjects and firing the timers of rules.
 */
#ifndef LC_CAPTURE_H
#define LC_CAPTURE_H

#include "catalog/definitions.h"
#include "engine/due.h"

typedef enum LcMoveResult
{
	LC_MOVE_DONE,
	LC_MOVE_SAME,				/* it is in that stage already */
	LC_MOVE_LOCKED,				/* skip_locked: somebody holds the subject now; nothing was done for it */
	LC_MOVE_GONE,				/* there is no such subject any more */
	LC_MOVE_REFUSED				/* strict lifecycle and no rule allows it (manual moves) */
} LcMoveResult;

/* Moves one subject to a stage: a step of a workflow, or by hand. */
typedef struct LcMove
{
	Datum		subject;
	int			to;
	TimestampTz at;
	const char *cause;			/* workflow, manual */
	const char *rule;			/* name of the workflow, or NULL */
	int64		enrollment;		/* 0: none */
	const char *reason;
	LcMoveResult result;
} LcMove;

/*
 * Set while the runner is at work, whose moves, timers and statements are no news: LcDue.turns of what it runs for that subject. NULL: what is captured comes
 * from the application.
 */
extern int	(*lc_turns_of) (LcLifecycle *lc, Datum subject);

/*
 * Locks the subjects (creating missing rows), looks, moves them, and does all that follows: chained rules, entries, exits and goals, timers. At most
 * one move per subject. With skip_locked it never waits for a subject. In the caller's transaction, as the caller of lc_identity_owner.
 */
extern void lc_move_subjects(LcLifecycle *lc, LcMove *moves, int n, bool skip_locked);

typedef enum LcTimerResult
{
	LC_TIMER_DONE,				/* fired, or no longer wanted: its due row is to be dropped */
	LC_TIMER_AGAIN,				/* insert it again with due_at = again_at */
	LC_TIMER_LOCKED				/* somebody holds the subject now: leave its due row as it was */
} LcTimerResult;

/* A due row of kind LC_DUE_RULE whose time has come; `due` was claimed by the caller. */
typedef struct LcTimer
{
	const LcDue *due;
	TimestampTz now;
	LcTimerResult result;
	TimestampTz again_at;
} LcTimer;

/* At most one timer per subject. Never waits for a subject. */
extern void lc_fire_timers(LcLifecycle *lc, LcTimer *timers, int n);

/* (Re)creates the triggers on the subject table and on the sources, as the definitions now say. */
extern void lc_triggers_create(const char *lifecycle);

/*
 * Arms the timer of a rule that is new or has changed for the subjects that are in its stages already; the commit of this transaction does so for those that
 * are moved meanwhile, and waits for their transactions. Connected to SPI.
 */
extern void lc_timers_arm(const char *lifecycle, const char *rule);

/* Drops the triggers of a lifecycle from one table. */
extern void lc_triggers_drop(const char *lifecycle, Oid table);

/* Once in a process: the hook of when.c, the callback of arm.c. */
extern void lc_when_init(void);
extern void lc_arm_init(void);

#endif							/* LC_CAPTURE_H */
