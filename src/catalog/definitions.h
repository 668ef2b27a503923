/*
 * definitions.h: the definitions of one lifecycle as C structures, cached per backend.
 *
 * lc_lifecycle_get returns an entry that does not change or move until the end of the transaction, also when its definitions change
 * meanwhile; the next lc_lifecycle_get then builds a new one. Whoever commits in between (a procedure, a worker) gets it anew.
 */
#ifndef LC_DEFINITIONS_H
#define LC_DEFINITIONS_H

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#define LC_NO_STAGE		(-1)	/* from_stage of an entry, to_stage of a deletion */

/* A stage of a lifecycle; its index in LcLifecycle.stages is how the code names it. */
typedef struct LcStage
{
	char	   *name;
	Oid			label;			/* OID of the enum label = the Datum of <lifecycle>.stage */
	bool		retired;
} LcStage;

/*
 * A condition or an expression over (lifecycle row, subject, event, enrollment), bound as an SQL function when it was defined. `sql` is
 * an expression, every name in it qualified, in which the four rows appear as `alias.row`: a query offers it
 *     CROSS JOIN LATERAL (SELECT … AS customer, … AS subject, … AS event, … AS enrollment) AS <alias>
 * with a composite value for each row the condition takes (NULL::type for one that it does not read), and may then use `sql` as an expression. Bit sets hold attribute numbers of the columns read.
 */
typedef struct LcCondition
{
	Oid			function;
	char	   *alias;			/* quoted */
	char	   *sql;
	Oid			event_table;	/* InvalidOid: takes no event */
	bool		reads_row;		/* reads the lifecycle's own row (customer) */
	bool		reads_subject;	/* reads subject.* */
	bool		reads_event;
	bool		reads_enrollment;
	bool		has_subquery;	/* may read other tables */
	bool		reads_clock;	/* calls functions that are not PostgreSQL's own, such as lifecycle.now(), or is a statement */
	bool		local_time;		/* of those that give timestamptz: it is a date or timestamp, taken as UTC, and means the subject's zone */
	bool		whole_row;		/* row_columns would be all of them */
	bool		whole_event;
	Bitmapset  *row_columns;
	Bitmapset  *event_columns;
	List	   *relations;		/* OIDs of the relations it reads */
	bool		as_of_known;	/* private to as_of.c */
	const char *as_of_sql;
} LcCondition;

/* A table whose rows are events. */
typedef struct LcSource
{
	char	   *name;
	Oid			table;
	char	   *subject_column;
	AttrNumber	subject_attnum;
	Oid			subject_type;
	char	   *name_column;	/* NULL: event_name */
	AttrNumber	name_attnum;	/* 0: event_name */
	Oid			name_type;
	char	   *event_name;
	char	   *time_column;
	AttrNumber	time_attnum;
	Oid			time_type;
	AttrNumber	key_attnum;		/* its primary key when that is one column, else 0 */
	LcCondition *becomes;
	Interval   *enroll_within;
	bool		replicated;
	char	   *broken;			/* why its rows cannot be read: a column is gone or has another type; NULL: they can */
	bool		same_type;		/* the subject column has the key's type; else it goes through its text */
} LcSource;

typedef enum LcRuleTrigger
{
	LC_RULE_EVENT,				/* on_event */
	LC_RULE_CONDITION,			/* a condition alone */
	LC_RULE_AFTER,				/* after: so long in the stage */
	LC_RULE_WITHOUT_EVENT,		/* without_event + after */
	LC_RULE_DATE,				/* on_date */
	LC_RULE_ALLOWED				/* none: only allows a manual move */
} LcRuleTrigger;

/* A transition rule. */
typedef struct LcRule
{
	int			id;
	char	   *name;
	LcRuleTrigger trigger;
	bool		entry;			/* for new subjects: from no stage */
	bool		from_any;
	Bitmapset  *from;			/* indexes of stages */
	int			to;				/* index of a stage */
	char	   *event;			/* on_event or without_event */
	char	   *source;			/* only events of this source; NULL: of any */
	Interval   *after;
	int			priority;
	int			nconditions;	/* 0: unconditional */
	LcCondition **conditions;	/* one without event, or one for each event table */
	LcCondition *date;			/* on_date, gives timestamptz */
} LcRule;

typedef enum LcTriggerKind
{
	LC_ON_EVENT,
	LC_ON_STAGE,
	LC_ON_CHANGE
} LcTriggerKind;

typedef enum LcTriggerRole
{
	LC_ROLE_ENTRY,
	LC_ROLE_EXIT,
	LC_ROLE_GOAL
} LcTriggerRole;

/* An entry, exit or goal trigger of a workflow version. */
typedef struct LcTrigger
{
	LcTriggerRole role;
	LcTriggerKind kind;
	char	   *event;
	char	   *source;			/* only events of this source; NULL: of any */
	int			stage;			/* on_stage; LC_NO_STAGE: any */
	int			from_stage;		/* on_stage; LC_NO_STAGE: any */
	int			nconditions;
	LcCondition **conditions;
	Interval   *within;			/* goals */
	bool		exits;			/* goals */
	struct LcVersion *version;
} LcTrigger;

/* A version of a workflow that capture must know: the current one of a live or shadow workflow, or an older one that still has runs. */
typedef struct LcVersion
{
	int			id;
	int			number;
	char	   *workflow;
	bool		enrolls;		/* the current version of a live or shadow workflow */
	bool		shadow;
	bool		always;			/* re-entry after the previous run ended */
	Interval   *reentry;		/* re-entry so long after the previous entry; NULL with !always: once */
	bool		keeps_event;	/* a step reads the event of the entry: store it in the enrollment's context */
	int			first_step;
} LcVersion;

/* What listens to one event name. */
typedef struct LcListener
{
	char	   *event;
	int			length;
	uint32		hash;
	struct LcListener *next;	/* in its bucket */
	List	   *rules;			/* LcRule with LC_RULE_EVENT, by priority and name */
	List	   *entries;		/* LcTrigger */
	List	   *exits;			/* LcTrigger: exits and goals */
	bool		timers;			/* an inactivity rule listens */
} LcListener;

/* State tables, in the order of LcLifecycle.tables. */
typedef enum LcTable
{
	LC_SUBJECTS,
	LC_TRANSITIONS,
	LC_ENROLLMENTS,
	LC_ACTIVITY,
	LC_MESSAGES_TABLE,			/* LC_MESSAGES is a macro of locale.h */
	LC_FAILURES,
	LC_DUE
} LcTable;
#define LC_NTABLES 7

typedef struct LcLifecycle
{
	char	   *name;
	char	   *broken;			/* why it cannot work, such as a table that is gone; NULL: it can. Then nothing below on_table may be used */
	char	   *broken_hint;
	char	   *schema;
	char	   *quoted_schema;
	char	   *quoted_name;	/* the row variable of conditions */
	Oid			on_table;
	char	   *on_table_sql;	/* qualified and quoted */
	char	   *key_column;
	AttrNumber	key_attnum;
	Oid			key_type;
	Oid			key_collation;
	Oid			key_array_type;
	int16		key_len;
	bool		key_byval;
	char		key_align;
	char	   *key_type_sql;
	Oid			stage_type;
	Oid			stage_array_type;
	Oid			tables[LC_NTABLES];
	char	   *table_sql[LC_NTABLES];	/* qualified and quoted */
	Oid			enrollment_sequence;	/* of enrollments.id */
	Oid			message_sequence;	/* of messages.id */
	Oid			failure_sequence;	/* of failures.id */
	bool		strict;
	bool		simulated;
	bool		replicated;
	bool		paused;
	bool		enrolls;
	int			format;
	LcCondition *timezone;		/* gives text */
	LcCondition *recipients;	/* gives setof jsonb, see lc_condition_setof */
	bool		reads_clock;	/* one of the conditions loaded so far does */
	int			nstages;
	LcStage    *stages;			/* by position */
	int			initial_stage;
	int			nsources;
	LcSource   *sources;
	int			nrules;
	LcRule	   *rules;			/* by priority and name */
	int			nversions;
	LcVersion  *versions;
	int			ntriggers;
	LcTrigger  *triggers;
	int			nlisteners;
	LcListener *listeners;
	uint32		bucket_mask;	/* of the hash table by event name, see lc_listener_get */
	LcListener **buckets;
	Bitmapset  *watched_columns;	/* columns of the subject table that rules, entries, exits, goals or dates read */
	bool		watches_all;	/* … all of them */
	MemoryContext context;		/* of the entry: what is kept with it lives there */
	int			nrelations;		/* private to definitions.c: a change of these relations makes the entry stale */
	Oid		   *relations;
	uint64	   *signatures;		/* of these relations, when the entry was built */
	bool		suspected;		/* one of them has changed since, maybe only its statistics */
	/* places for parts that keep something with the entry, in its context: prepared plans and so on; NULL at first */
	void	   *capture_state;
	void	   *engine_state;
} LcLifecycle;

extern void lc_definitions_init(void);

/* The lifecycle of that name. An undefined name is an error with the names that exist, or NULL with missing_ok. */
extern LcLifecycle *lc_lifecycle_get(const char *name, bool missing_ok);

/* The same, but NULL for an undefined name, and a broken lifecycle as it is; lc_lifecycle_get raises what has broken it. */
extern LcLifecycle *lc_lifecycle_find(const char *name);

/* Warns of what has broken a lifecycle, where others can go on. */
extern void lc_warn_broken(LcLifecycle *lc);

/* As lc_lifecycle_find, if this backend has it at hand; else NULL. */
extern LcLifecycle *lc_lifecycle_cached(const char *name);

/* Another number means that what was looked up before may have changed. */
extern uint64 lc_definitions_generation(void);

/* What listens to an event, or NULL. */
extern LcListener *lc_listener_get(LcLifecycle *lc, const char *event, int length);

/* A subject's key in CurrentMemoryContext, as it is and not as a table stores it: neither compressed nor out of line. */
extern Datum lc_key_copy(LcLifecycle *lc, Datum key);

extern LcSource *lc_source_of_table(LcLifecycle *lc, Oid table, const char *name);
extern LcSource *lc_source_by_name(LcLifecycle *lc, const char *name);
extern LcRule *lc_rule_by_id(LcLifecycle *lc, int id);
extern LcVersion *lc_version_by_id(LcLifecycle *lc, int id);

/* Index of the stage of that name or label; LC_NO_STAGE when there is none. */
extern int	lc_stage_by_name(LcLifecycle *lc, const char *name);
extern int	lc_stage_by_label(LcLifecycle *lc, Oid label);

/* The stage as a Datum of the enum; an error with a hint when the label was added in this very transaction. */
extern Datum lc_stage_datum(LcLifecycle *lc, int stage);

/* The condition of a set that takes events of this table (InvalidOid: none), or NULL when there is none for it. */
extern LcCondition *lc_condition_for(LcCondition **conditions, int n, Oid event_table);

/* Names of all lifecycles, for workers. List of palloc'd cstrings. */
extern List *lc_lifecycle_names(void);

/* Makes every backend build its entries anew, once this transaction commits (and this backend at once). */
extern void lc_definitions_changed(void);

/* May the current role define things on this lifecycle (own its subject table)? Error if not. */
extern void lc_check_definer(LcLifecycle *lc);

#endif							/* LC_DEFINITIONS_H */
