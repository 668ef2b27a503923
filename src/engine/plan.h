/*
 * plan.h: the program of a workflow version as the runner uses it: loaded once, with its conditions, templates and statements.
 *
 * Kept in LcLifecycle.engine_state, so that it is forgotten with the definitions. Templates are those of now, not of the time when the version was made.
 */
#ifndef LC_PLAN_H
#define LC_PLAN_H

#include "catalog/definitions.h"
#include "catalog/sql.h"

typedef enum LcStepKind
{
	LC_STEP_SEND,
	LC_STEP_DELAY,
	LC_STEP_BRANCH,
	LC_STEP_SET_STAGE,
	LC_STEP_RUN_SQL,
	LC_STEP_EXIT
} LcStepKind;

typedef struct LcStepPlan
{
	int			number;			/* from 1 */
	char	   *label;
	LcStepKind	kind;
	int			next;			/* 0: the run ends */
	int			otherwise;		/* branch: when its condition is not true */
	int			skip;			/* where a step goes that is skipped */
	LcCondition *only_if;
	LcCondition *condition;		/* branch: condition, send: recipients, run_sql: statement */
	char	   *channel;
	char	   *template;
	char	   *column;			/* send: of the subject's row, with the address; NULL: recipients */
	text	   *channel_text;
	text	   *template_text;
	Interval   *interval;
	bool		calendar;		/* the interval has days or months: it needs the subject's zone */
	int			stage;
	char	   *reason;
	/* made on first use, in the plans' context */
	LcStatement *only_if_statement;
	LcStatement *statement;
	struct LcSendPlan *send;
} LcStepPlan;

typedef struct LcVersionPlan
{
	int			id;
	bool		found;			/* false: there is no such version any more */
	int			number;
	char	   *workflow;
	text	   *workflow_text;
	bool		paused;
	bool		archived;
	int			nsteps;
	LcStepPlan *steps;
	struct LcVersionPlan *next;
} LcVersionPlan;

/* What the engine keeps with a lifecycle. */
typedef struct LcEngineState
{
	MemoryContext context;
	LcVersionPlan *versions;
	bool		scanned;		/* a batch has run since the definitions changed */
	LcStatement *zone_statement;
	LcStatement *end_statement;
	LcStatement *lock_statement;
	LcStatement *alive_statement;
	LcStatement *wanted_statement;
} LcEngineState;

extern LcEngineState *lc_engine_state(LcLifecycle *lc);

/* The program of a version; never NULL, see `found`. Its caller is connected to SPI. */
extern LcVersionPlan *lc_version_plan(LcLifecycle *lc, int version);

/* The step of that number, or NULL. */
extern LcStepPlan *lc_step_plan(LcVersionPlan *plan, int step);

/*
 * A statement that reads the rows of many subjects: SELECT <key>, <columns> FROM <subject table> …, with the keys as $1 and their enrollments as $2,
 * and in its `dense` form the least and the greatest key as $3 and $4; the rows `subject` and `enrollment` are joined where they are wanted, and offered to the conditions. more_from is added to the FROM clause.
 */
extern LcStatement *lc_rows_statement(LcLifecycle *lc, LcCondition **conditions, int n, const char *columns, bool subject, bool enrollment,
									  const char *more_from);

#endif							/* LC_PLAN_H */
