/*
 * run.h: one batch of the runner, as its files share it.
 *
 * A run is one claimed row of the due queue. Those of one subject are run one after the other, in rounds, each of which has a subject once. The steps
 * of a round only change positions in memory and collect what is to be written; output.c writes all of it at the end of the round. What steps do at
 * once (set_stage, run_sql) is undone with the subtransaction of the batch when something fails.
 */
#ifndef LC_RUN_H
#define LC_RUN_H

#define LC_DEADLOCK_TIMEOUT_MS 50	/* what runs is the victim of a deadlock, and not the application */

#include "catalog/definitions.h"
#include "catalog/owner.h"
#include "engine/due.h"
#include "engine/engine.h"
#include "engine/plan.h"
#include "storage/buffile.h"

/* A row of a subject that is changed so often in one transaction has as many versions to walk over, and who waits for it waits for all of them. */
#define LC_BATCH_ROUNDS	1000

#define LC_RETRY_LOCKED	INT64CONST(200000)	/* µs until rows are looked at again that somebody held */

/*
 * Bytes of rendered messages that are kept in memory until they are written; beyond that they wait in a file (spool.c). Short ones of a full batch, some
 * hundred bytes each, shall stay below it; long ones take more time to be written than the file costs.
 */
#define LC_MAX_PENDING	(32 * 1024 * 1024)

#define LC_MESSAGE_PARTS 3		/* subject line, body, HTML body */

typedef enum LcRunState
{
	LC_RUN_GOING,				/* at `position` */
	LC_RUN_WAITING,				/* in the wait of `position`, until wake_at */
	LC_RUN_ENDED,				/* for `reason` */
	LC_RUN_BACK,				/* into the queue: at `position` when it has acted, else as it was and without its outputs */
	LC_RUN_VOID,				/* out of the queue, and nothing of it is written: it had ended before it was run */
	LC_RUN_DROPPED,				/* out of the queue, without an end: somebody else has ended it, or its timer is done */
	LC_RUN_TIMER				/* the timer of a rule, armed again for wake_at */
} LcRunState;

typedef struct LcRun
{
	LcDue		due;			/* as claimed */
	LcVersionPlan *plan;		/* NULL for timers */
	TimestampTz at;				/* what time it is for this run */
	LcRunState	state;
	int			position;		/* step; 0: behind the last one */
	int			waited;			/* the wait that has ended and is not in an activity row yet; 0: none */
	int			outputs;		/* activity rows so far */
	TimestampTz wake_at;
	const char *reason;
	int			next;			/* the next run at the same step; -1: none */
	int			round;			/* after those of the same subject of lower rounds */
	bool		closed;			/* later rows of the subject are not for this batch */
	bool		locked;			/* we hold the row lock of its enrollment */
	bool		acted;			/* it has done what cannot be taken back but with the subtransaction */
} LcRun;

typedef struct LcActivity
{
	int			run;
	int			step;			/* 0: NULL */
	int			waited;			/* 0: NULL */
	const char *outcome;
	const char *detail;			/* or NULL */
} LcActivity;

typedef struct LcMessage
{
	int			run;
	LcStepPlan *step;
	text	   *address;		/* or NULL */
	uint64		hash;			/* of the address */
	int			previous;		/* the message before of this run and step; -1: none */
	text	   *parts[LC_MESSAGE_PARTS];	/* or NULL; those of the first batch->nspooled messages are in the file */
	const char *status;
	const char *reason;			/* or NULL */
} LcMessage;

/* From a subject's key to its run. */
typedef struct LcKeyMap
{
	bool		byval;
	int16		len;
	uint32		mask;
	int		   *slots;			/* index of a run + 1; 0: free */
	uint32	   *hashes;
	const LcRun *runs;
} LcKeyMap;

/* Runs that stand at the same step. */
typedef struct LcGroup
{
	int			n;
	int		   *runs;			/* indexes */
} LcGroup;

/* A text of the code as a value. */
typedef struct LcConstant
{
	const char *constant;
	text	   *value;
	struct LcConstant *next;
} LcConstant;

typedef struct LcRunBatch
{
	LcLifecycle *lc;
	LcEngineState *state;
	TimestampTz now;
	bool		in_worker;		/* the transaction is ours, and the session */
	bool		advances;		/* the clock of a simulation goes along with the rows */
	LcIdentity	identity;		/* whose rights come back after the batch's; inside the subtransaction */
	MemoryContext context;		/* of the batch */
	MemoryContext work;			/* of one round: outputs and what steps need */
	uint64		removals;		/* lc_due_removals when it was claimed */
	int			n;
	LcRun	   *runs;			/* all that are claimed, then those of one round */
	LcKeyMap   *map;			/* … from subjects to the last run of each; NULL: behind all rounds */
	LcStepPlan *current;		/* being run, for messages */
	const LcGroup *group;		/* … by these runs; NULL: none */
	int			most_turns;		/* of them; -1: not known yet */
	int			nactivity;
	int			max_activity;
	LcActivity *activity;
	int			nmessages;
	int			max_messages;
	LcMessage  *messages;
	Size		pending;		/* bytes of their parts that are in memory */
	int			nspooled;		/* … of so many they are in the file */
	BufFile    *spool;			/* or NULL */
	LcConstant *constants;
	int			name_length;	/* of the lifecycle's name */
} LcRunBatch;

/* keymap.c */
extern LcKeyMap *lc_keymap_make(LcLifecycle *lc, const LcRun *runs, int capacity);
extern int	lc_keymap_put(LcKeyMap *map, int index);	/* gives the run that had its key, -1: none */
extern int	lc_keymap_find(const LcKeyMap *map, Datum key);	/* -1: none */
extern void lc_keymap_rebuild(LcKeyMap *map, int n);		/* of the first n runs */

/*
 * claim.c: takes due rows out of the queue, at most `limit`, and makes runs of them, in the order of rounds. Those that somebody else holds are left
 * alone. While a clock is advanced that the lifecycle's SQL may ask, all of them are due at one time. Updates what the scan knows.
 */
extern void lc_claim_runs(LcRunBatch *batch, LcQueueScan *scan, int limit);
extern uint64 lc_due_hash(LcLifecycle *lc, const LcDue *due);

/* steps.c: all steps of the runs of this round, up to their next wait or their end; and the timers among them. */
extern void lc_run_steps(LcRunBatch *batch);
extern void lc_note_activity(LcRunBatch *batch, int run, LcStepPlan *step, const char *outcome, const char *detail);
extern void lc_end_run(LcRun *run, const char *reason);

/* Runs a rows statement for a group; its rows are in SPI_tuptable afterwards. */
extern void lc_group_execute(LcRunBatch *batch, const LcGroup *group, LcStatement *statement);

/* The same, each row given to a function (lc_execute_rows). */
extern void lc_group_execute_rows(LcRunBatch *batch, const LcGroup *group, LcStatement *statement, LcRowFunction row, void *arg);

/* The run that a row of a rows statement belongs to. */
extern int	lc_group_run(LcRunBatch *batch, uint64 row);

/* Sets found[run] for those of the group whose enrollment is not ended; it may have several runs of one subject. */
extern void lc_find_open_enrollments(LcRunBatch *batch, const LcGroup *group, bool *found);

/* send.c */
extern void lc_step_send(LcRunBatch *batch, LcStepPlan *step, LcGroup *group);

/* spool.c: the parts of all messages go into the file; come back for one after the other, those of the one before are freed then. */
extern void lc_spool_put(LcRunBatch *batch);
extern void lc_spool_rewind(LcRunBatch *batch);
extern void lc_spool_get(LcRunBatch *batch, int index);
extern void lc_spool_end(LcRunBatch *batch);
extern void lc_message_free_parts(LcMessage *message);

/* output.c */
extern void lc_write_outputs(LcRunBatch *batch);
extern void lc_write_activity(LcRunBatch *batch);

/* Locks the enrollments of a group without waiting; those that somebody holds go back and leave the group. */
extern void lc_lock_enrollments(LcRunBatch *batch, LcGroup *group);

#endif							/* LC_RUN_H */
