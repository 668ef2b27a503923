/*
 * batch.h: the subjects of one chunk on their way from a changed row to their transitions; private to capture.
 *
 * A batch is filled (events, changed rows, moves, timers), then lc_batch_run locks its subjects, folds, matches and applies. Everything in it lives in
 * its memory context.
 */
#ifndef LC_BATCH_H
#define LC_BATCH_H

#include "access/htup.h"
#include "access/skey.h"
#include "access/tupdesc.h"
#include "capture/capture.h"
#include "catalog/definitions.h"
#include "catalog/sql.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lifecycle.h"
#include "storage/itemptr.h"
#include "storage/lockdefs.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#define LC_CHUNK_ROWS	5000	/* events or subjects of one batch */
#define LC_CHUNK_BYTES	(8 * 1024 * 1024)	/* of kept columns in the arguments of one statement */

/* What capture keeps of a row: the columns that conditions may read, in the order of LcColumns.attnums. */
typedef struct LcColumns
{
	Oid			table;
	int			n;
	AttrNumber *attnums;
	Oid		   *types;
	int16	   *lens;
	bool	   *byvals;
	int			natts;
	int		   *positions;		/* attnum - 1 -> index, or -1 */
	bool		all;
	bool		may_refuse;		/* there is one whose values may not become jsonb */
} LcColumns;

typedef struct LcRow
{
	Datum	   *values;
	bool	   *nulls;
	Size		bytes;			/* of values out of line */
} LcRow;

/* A question: is the condition true? Or: which value has the expression? */
typedef struct LcAnswer
{
	struct LcAnswer *next;
	LcCondition *condition;
	struct LcEvent *event;
	TimestampTz as_of;			/* the replayed time at which event sources end; DT_NOBEGIN: they do not */
	int			version;		/* LcSubject.version; -1: independent of the subject's stage */
	bool		known;
	bool		isnull;
	Datum		value;			/* text is a palloc'd cstring */
	bool		ahead;			/* nobody needs it yet … */
	int			sqlstate;		/* … and it has failed: counts when somebody does; 0: it has not */
	const char *message;
} LcAnswer;

/* Where answers are kept: of an event, of a subject's row, of its old row, of a run. */
typedef struct LcPlace
{
	LcAnswer   *answers;
	struct LcAsk *ask;			/* what is asked in the next round */
} LcPlace;

typedef struct LcAsk
{
	struct LcSubject *subject;
	struct LcEvent *event;
	struct LcRun *run;
	bool		old;			/* over the row as it was before the update */
	TimestampTz as_of;			/* as of the answers that have one */
	int			n;
	int			room;
	LcAnswer  **answers;
} LcAsk;

typedef struct LcEvent
{
	Datum		subject;
	TimestampTz at;
	int64		ordinal;
	LcSource   *source;
	LcListener *listener;
	LcRow	   *row;			/* NULL: nothing of it is read */
	LcRow	   *old_row;		/* becomes: as it was before the update */
	LcPlace		place;
} LcEvent;

/* A run of a workflow, as it was loaded or begun. */
typedef struct LcRun
{
	struct LcRun *next;			/* of the subject, the newest first */
	struct LcRun *older;		/* the next one of the same workflow */
	struct LcRun *other;		/* the newest one of another workflow */
	int64		id;				/* 0: begun here */
	LcVersion  *version;		/* NULL: one that capture need not know */
	int			version_id;
	bool		shadow;
	char	   *workflow;
	TimestampTz entered_at;
	TimestampTz ended_at;		/* DT_NOEND: active */
	TimestampTz converted_at;	/* DT_NOEND: not yet */
	const char *exit_reason;
	bool		begun;
	bool		ended;			/* here */
	bool		converted;		/* here */
	bool		has_context;
	Datum		context;
	LcEvent    *born;			/* the event that began it */
	LcPlace		place;
} LcRun;

typedef struct LcTransition
{
	struct LcTransition *next;
	int			seq;
	int			from;
	int			to;
	TimestampTz at;
	TimestampTz since;
	LcEvent    *event;
	TimestampTz date;			/* that a rule on_date has fired for; DT_NOEND: none */
	const char *cause;
	const char *rule;
	int64		enrollment;
	const char *reason;
	bool		actor;			/* record who */
} LcTransition;

/* Where a subject stands in the fold. */
typedef enum LcPhase
{
	LC_PHASE_BEGIN,
	LC_PHASE_ENTERED,			/* on_stage triggers of the last transition */
	LC_PHASE_SETTLE,			/* rules with a condition alone */
	LC_PHASE_CHANGE,			/* on_change triggers */
	LC_PHASE_ENROLL,			/* by hand */
	LC_PHASE_NEXT,				/* the next event */
	LC_PHASE_EVENT_EXITS,
	LC_PHASE_EVENT_RULES,
	LC_PHASE_EVENT_ENTRIES,
	LC_PHASE_ARM,
	LC_PHASE_DONE
} LcPhase;

/* A rule that fired since the last event, and where: a second time is a cycle. */
typedef struct LcFired
{
	LcRule	   *rule;
	int			stage;
} LcFired;

typedef enum LcLockState
{
	LC_LOCK_FOUND,
	LC_LOCK_MISSING,			/* there is no row of subjects */
	LC_LOCK_SKIPPED				/* somebody else holds it */
} LcLockState;

/* A subject's clock while its history is replayed. */
typedef struct LcReplay
{
	TimestampTz at;				/* the time that history has come to */
	TimestampTz clock;			/* of the last timer that fired */
	TimestampTz *last_events;	/* by rule: of the rules without_event; DT_NOBEGIN: none */
	TimestampTz *not_before;	/* by rule: when its condition was not true, the next time to ask */
	int			stage_version;	/* not_before holds for this LcSubject.version */
} LcReplay;

typedef struct LcSubject
{
	Datum		key;
	TimestampTz now;			/* what time it is for it; in a simulation not the same for all timers and moves of a batch */
	/* what is asked of it */
	LcEvent   **events;
	int			nevents;
	bool		inserted;		/* its row was inserted by this statement */
	bool		changed;		/* its row was updated, in `columns` */
	Bitmapset  *columns;
	LcRow	   *old_row;
	LcMove	   *move;
	LcTimer    *timer;
	LcVersion  *enroll;			/* by hand */
	Datum		enroll_context;
	bool		has_context;
	/* its row */
	LcLockState lock;
	ItemPointerData tid;
	bool		created;		/* its row of subjects is made here */
	bool		fresh;			/* and it never had one */
	int			stored_stage;	/* as the table has it */
	int			stored_seq;
	TimestampTz stored_since;
	int			stage;
	int			seq;
	TimestampTz since;
	bool		moved;
	/* the fold */
	LcPhase		phase;
	LcPhase		after;			/* the phase after the fixpoint */
	bool		any_column;		/* rules with a condition alone: all of them, not only those whose columns changed */
	int			version;		/* of stage and since */
	int			pos;			/* in events */
	LcEvent    *event;			/* being folded */
	bool		asked_ahead;	/* what later events will need */
	int			nfired;
	int			fired_room;
	LcFired    *fired;
	LcTransition *transitions;
	LcTransition *last;
	bool		runs_loaded;
	bool		runs_wanted;
	LcRun	   *runs;
	LcRun	   *newest;			/* by workflow: its newest run */
	bool		enrolled;		/* result of `enroll` */
	bool		timer_fired;
	TimestampTz timer_due;		/* when that was due, seen from now */
	int			turns;			/* of what is begun or armed for it here (LcDue); 0: the application has set it off */
	const char *cut;			/* what was not, the last of it, since it loops */
	LcReplay   *replay;
	LcPlace		place;
	LcPlace		old_place;
} LcSubject;

/* What capture keeps with a lifecycle's cache entry. */
typedef struct LcCapture
{
	MemoryContext context;
	FmgrInfo	key_compare;
	LcStatement *create;
	LcStatement *insert;
	LcStatement *update;
	LcStatement *runs;
	LcStatement *runs_update;
	LcStatement *fail;
	LcStatement *timers;
	LcStatement *fired;
	LcStatement *delete_runs;
	LcStatement *delete_due;
	LcStatement *delete_subjects;
	List	   *matches;		/* LcMatch */
	LcColumns **source_columns; /* by source */
	LcColumns  *row_columns;	/* of the subject table, for old rows */
	bool	   *rule_quarantined;
	int		   *rule_streak;	/* errors in a row, by rule */
	bool		condition_rules;	/* is there a rule with a condition alone? */
	bool		timer_rules;
	bool		stage_triggers;
	bool		change_triggers;
	bool		keeps_events;
	bool		exits_read_context; /* a condition of an exit or goal reads the enrollment */
} LcCapture;

/* What the rules did, counted per statement. */
typedef struct LcTally
{
	int64		rows;
	int64		hits;
	int64		errors;
	int64		microseconds;
} LcTally;

/* To be recorded in failures. */
typedef struct LcFailure
{
	Datum		subject;
	const char *kind;
	const char *name;
	int			sqlstate;
	const char *message;
} LcFailure;

/* A timer to be armed, if there is none. */
typedef struct LcArm
{
	LcSubject  *subject;
	LcRule	   *rule;
	TimestampTz due;
} LcArm;

typedef struct LcBatch
{
	LcLifecycle *lc;
	LcCapture  *capture;
	MemoryContext context;
	TimestampTz now;
	bool		skip_locked;
	bool		replay;
	bool		enroll;
	bool		create;			/* make missing rows of subjects */
	int			nsubjects;
	int			room;
	LcSubject  *subjects;
	bool		runs_wanted;	/* by one of them */
	int			nasks;
	int			asks_room;
	LcAsk	  **asks;
	LcTally    *tallies;		/* by rule */
	List	   *failures;		/* LcFailure */
	List	   *arms;			/* LcArm */
	int64		orphans;		/* events without a subject */
	int64		suppressed;		/* re-entries that the workflow's rule forbids */
	int64		loops;			/* endless ones that were cut */
	int64		too_old;		/* entries by events that are older than their source's enroll_within */
	int64		bad_zones;
} LcBatch;

/* batch.c */
extern LcCapture *lc_capture_get(LcLifecycle *lc);
extern TimestampTz lc_capture_now(LcLifecycle *lc);
extern LcBatch *lc_batch_begin(LcLifecycle *lc);
extern LcSubject *lc_batch_add(LcBatch *batch, Datum key);
extern void lc_batch_prepare(LcBatch *batch, Datum *keys, int n);
extern void lc_batch_finish(LcBatch *batch);
extern void lc_batch_run(LcBatch *batch);
extern void lc_batch_end(LcBatch *batch);
extern LcStatement *lc_batch_keep_statement(LcBatch *batch, LcStatement **place, bool lookup, const char *sql, int nargs, const Oid *types);
/* The text is only made when there is no statement yet. */
#define lc_batch_statement(batch, place, ...) \
	(*(place) ? *(place) : lc_batch_keep_statement(batch, place, false, __VA_ARGS__))
#define lc_batch_lookup(batch, place, ...) \
	(*(place) ? *(place) : lc_batch_keep_statement(batch, place, true, __VA_ARGS__))
extern void lc_set(Datum *values, bool *nulls, int column, Datum value);
extern void lc_set_text(Datum *values, bool *nulls, int column, const char *text);
extern int	lc_key_compare(LcLifecycle *lc, Datum a, Datum b);

/* Does the rule wait for time to pass? */
extern bool lc_is_timer(const LcRule *rule);

/* arm.c: when the definitions have changed since the batch began. */
extern void lc_timers_follow(LcBatch *batch);

extern void lc_run_events(LcLifecycle *lc, LcEvent **events, int n);
extern LcColumns *lc_source_columns(LcLifecycle *lc, LcSource *source);

/* A lookup of rows by subject_id, the first column of a state table's primary key. */
typedef struct LcLookup
{
	Relation	rel;
	Relation	index;
	TupleTableSlot *slot;
	ScanKeyData key;
} LcLookup;

/* subjects.c */
extern void lc_lookup_begin(LcLookup *lookup, LcLifecycle *lc, LcTable table, LOCKMODE lock);
extern void lc_lookup_end(LcLookup *lookup);
extern void lc_subjects_lock(LcBatch *batch);
extern void lc_subjects_update(LcBatch *batch);
extern void lc_subjects_delete(LcLifecycle *lc, Datum *keys, int n, TimestampTz at);

/* match.c */
extern void lc_ask_ahead(LcBatch *batch, LcSubject *subject, LcEvent *event, LcCondition *condition);
extern LcAnswer *lc_ask(LcBatch *batch, LcSubject *subject, LcEvent *event, LcRun *run, bool old, LcCondition *condition);
extern void lc_match(LcBatch *batch);
extern bool lc_answer_true(LcAnswer *answer);
extern bool lc_must_raise(const ErrorData *error);
extern void lc_record_failure(LcBatch *batch, Datum subject, const char *kind, const char *name, int sqlstate, const char *message);

/* becomes.c */
extern char *lc_becomes_lateral(LcLifecycle *lc, LcSource *source, const char *alias, const char *more);

/* fold.c */
extern bool lc_fold(LcBatch *batch, LcSubject *subject);
extern bool lc_rule_from(const LcRule *rule, int stage);

/* cycles.c */
extern bool lc_in_cycle(LcBatch *batch, LcSubject *subject, LcRule *rule);
extern bool lc_loops(LcBatch *batch, LcSubject *subject, LcRule *rule, LcVersion *version);

/* context.c */
extern bool lc_event_context(LcBatch *batch, LcSubject *subject, LcVersion *version, Datum *context);

/* runs.c */
extern void lc_add_run(LcSubject *subject, LcRun *run);
extern LcRun *lc_newest_run(LcSubject *subject, const char *workflow);
extern void lc_load_runs(LcBatch *batch);
extern void lc_change_runs(LcBatch *batch);
extern void lc_insert_runs(LcBatch *batch);

/* apply.c */
extern void lc_insert_transitions(LcBatch *batch);
extern void lc_apply(LcBatch *batch);

/* timers.c */
extern bool lc_timer_begin(LcBatch *batch, LcSubject *subject);
extern bool lc_subject_add(LcBatch *batch, LcSubject *subject, TimestampTz at, const Interval *interval, TimestampTz *result);
extern bool lc_rule_due(LcBatch *batch, LcSubject *subject, LcRule *rule, TimestampTz *due);

/* replay.c: the rule whose timer fired first before the next event, or now, and when it was due: NULL when there is none. False: waits for answers. */
extern bool lc_replay_timer(LcBatch *batch, LcSubject *subject, LcRule **rule, TimestampTz *due);
extern void lc_replay_event(LcBatch *batch, LcSubject *subject);

#endif							/* LC_BATCH_H */
