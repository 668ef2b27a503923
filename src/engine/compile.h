/*
 * compile.h: from the JSON form of steps and triggers to a program, and to the one normal form that is stored and compared.
 */
#ifndef LC_COMPILE_H
#define LC_COMPILE_H

#include "lifecycle.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#define LC_MAX_ARGUMENTS	6		/* of one kind of step or trigger */
#define LC_MAX_LABEL		63		/* bytes of a label, as of all names */
#define LC_MAX_DELAY_DAYS	36525	/* a hundred years */

/* What an argument is: how it is read, and what define_workflow checks about it. */
typedef enum LcArgumentType
{
	LC_ARGUMENT_TEXT,
	LC_ARGUMENT_BOOLEAN,
	LC_ARGUMENT_INTERVAL,		/* zero or more */
	LC_ARGUMENT_CHANNEL,		/* name of a channel */
	LC_ARGUMENT_TEMPLATE,		/* name of a template */
	LC_ARGUMENT_EVENT,			/* name of an event */
	LC_ARGUMENT_SOURCE,			/* name of an event source */
	LC_ARGUMENT_STAGE,			/* name of a stage */
	LC_ARGUMENT_STAGES,			/* one or several; read as one trigger for each */
	LC_ARGUMENT_CONDITION,		/* SQL expression, boolean */
	LC_ARGUMENT_RECIPIENTS,		/* SQL query */
	LC_ARGUMENT_STATEMENT,		/* SQL statement */
	LC_ARGUMENT_STEPS,			/* an arm: steps of their own */
	LC_ARGUMENT_TRIGGERS		/* one trigger or several */
} LcArgumentType;

typedef struct LcArgumentKind
{
	const char *name;			/* key in the JSON form */
	LcArgumentType type;
	bool		required;
	const char *by_default;		/* for texts and booleans; left out of the normal form */
} LcArgumentKind;

/* A kind of step, trigger or goal. */
typedef struct LcKind
{
	const char *name;
	bool		ends;			/* a step after which the run is over */
	LcArgumentKind arguments[LC_MAX_ARGUMENTS + 1]; /* up to one without a name */
} LcKind;

typedef struct LcArgument
{
	bool		given;			/* or by default */
	bool		truth;			/* booleans */
	char	   *text;			/* all that are one text; intervals in normal form */
	List	   *items;			/* steps and triggers: LcNode * */
} LcArgument;

/* One step, trigger or goal. Numbers of steps begin at 1; 0: the run ends there. */
typedef struct LcNode
{
	const LcKind *kind;
	char	   *label;			/* steps: given, or made from kind and a number */
	bool		labeled;		/* … was given */
	char	   *only_if;
	int			number;
	int			next;			/* the step that follows; of a branch when its condition is true */
	int			otherwise;		/* of a branch when it is not */
	int			skip;			/* the step that follows when only_if is not true: the one after all arms */
	LcArgument	arguments[LC_MAX_ARGUMENTS];
} LcNode;

typedef struct LcProgram
{
	int			nsteps;
	LcNode	  **steps;			/* number - 1 → step */
	List	   *roots;			/* the steps that stand in no arm */
} LcProgram;

/* NULL: no steps. All errors of form are raised here, with the place; none about the lifecycle. */
extern LcProgram *lc_compile_steps(Jsonb *steps);

/* Entries or exits: list of LcNode, for one object, an array or NULL. `role` is for messages. */
extern List *lc_compile_triggers(Jsonb *triggers, const char *role);

/* A goal object, or a trigger alone, or NULL. */
extern LcNode *lc_compile_goal(Jsonb *goal);

/* The argument of that name; never NULL. */
extern LcArgument *lc_node_argument(LcNode *node, const char *name);

/* The normal form: an array of objects. */
extern Jsonb *lc_normalize_nodes(List *nodes);
extern Jsonb *lc_normalize_node(LcNode *node);

/* What workflow_steps.arguments holds of a step: all arguments but arms, and as "column" the one with the address, unless NULL. */
extern Jsonb *lc_step_arguments(LcNode *step, const char *column);

/* An interval as text, whatever IntervalStyle says. */
extern char *lc_interval_text(const Interval *interval);

/* The text as an interval that a workflow may wait: neither negative nor longer than LC_MAX_DELAY_DAYS. `what` is for messages. */
extern Interval *lc_interval_parse(const char *text, const char *what);

#endif							/* LC_COMPILE_H */
