/*
 * match.c: asking whether conditions are true, for many rows with few statements.
 *
 * lc_ask notes a question; lc_match answers all that were noted. Questions over the same rows are asked together: there is one statement for each
 * (event source, set of conditions), prepared once. It gets the rows as arrays, reads each table itself by `key = ANY ($1)`, and never
 * mentions a transition table.
 *
 * A condition that fails must not break the application. Its statement runs in a subtransaction, which only reads, since conditions are not volatile, and
 * so uses up no transaction id. After an error the conditions are evaluated one by one, and then in halves of the rows, until the rows that fail
 * are alone: they are recorded, and for them the condition is not true.
 */
#include "postgres.h"

#include "access/xact.h"
#include "batch.h"
#include "catalog/as_of.h"
#include "catalog/pg_type.h"
#include "catalog/time_limit.h"
#include "clock.h"
#include "executor/spi.h"
#include "guc.h"
#include "portability/instr_time.h"
#include "statement.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "worker/worker.h"

#define SLOW_ROUNDS		2			/* so many times as long as it may take a condition is asked further to find the rows that make it slow */
#define MAX_STATEMENTS	64		/* sets of conditions; above, conditions are asked one by one */

/* Questions that one statement answers. */
typedef struct AskGroup
{
	LcMatch    *match;
	int			n;
	int			room;
	LcAsk	  **asks;
} AskGroup;

static void count_failure(LcBatch *batch, LcSubject *subject, LcCondition *condition, int sqlstate, const char *message);

static TimestampTz give_up_at = 0;	/* 0: the condition that is asked has not taken too long yet */

static LcPlace *
place_of(LcSubject *subject, LcEvent *event, LcRun *run, bool old)
{
	if (old)
		return &subject->old_place;
	if (run)
		return &run->place;
	return event ? &event->place : &subject->place;
}

bool
lc_answer_true(LcAnswer *answer)
{
	return answer->known && !answer->isnull && DatumGetBool(answer->value);
}

/* While history is replayed, the time at which the event sources end that a condition reads in subqueries; DT_NOBEGIN: they do not. */
static TimestampTz
as_of(LcBatch *batch, LcSubject *subject, LcEvent *event, LcCondition *condition)
{
	if (subject->replay == NULL || lc_condition_as_of(batch->lc, condition) == NULL)
		return DT_NOBEGIN;
	return event ? event->at : subject->replay->at;
}

/* Will nobody ask this again? The fold goes on: to other stages, to later events and, while history is replayed, to later times. */
static bool
is_outdated(const LcAnswer *answer, const LcSubject *subject, const LcEvent *event)
{
	if (answer->version >= 0 && answer->version != subject->version)
		return true;
	if (answer->event)
		return answer->event != event;
	return answer->as_of != DT_NOBEGIN && answer->as_of != subject->replay->at;
}

/*
 * The answer to a question that has been asked before. Outdated ones that it comes past are taken out: what is kept with a run or a row would else grow
 * with each event of the subject, and be searched for each.
 */
static LcAnswer *
find_answer(LcPlace *place, const LcAnswer *question, const LcSubject *subject, const LcEvent *event)
{
	LcAnswer  **link = &place->answers;

	while (*link)
	{
		LcAnswer   *answer = *link;

		if (answer->condition == question->condition && answer->version == question->version && answer->event == question->event &&
			answer->as_of == question->as_of)
			return answer;
		if (is_outdated(answer, subject, event))
			*link = answer->next;
		else
			link = &answer->next;
	}
	return NULL;
}

/* The answer to a question, which is noted for the next lc_match when it is new. */
static LcAnswer *
note_question(LcBatch *batch, LcSubject *subject, LcEvent *event, LcRun *run, bool old, LcCondition *condition, bool *is_new)
{
	TimestampTz at = as_of(batch, subject, event, condition);
	LcEvent    *of = OidIsValid(condition->event_table) || at != DT_NOBEGIN ? event : NULL;
	LcPlace    *place = place_of(subject, of, run, old);
	LcAnswer	question = {.condition = condition, .event = of, .as_of = at, .version = condition->reads_subject ? subject->version : -1};
	LcAnswer   *answer = find_answer(place, &question, subject, event);
	LcAsk	   *ask;

	*is_new = answer == NULL;
	if (answer)
		return answer;
	answer = palloc(sizeof(LcAnswer));
	*answer = question;
	answer->next = place->answers;
	place->answers = answer;

	ask = place->ask;
	if (ask == NULL || ask->event != of || (at != DT_NOBEGIN && ask->as_of != DT_NOBEGIN && ask->as_of != at))
	{
		ask = palloc0(sizeof(LcAsk));
		ask->subject = subject;
		ask->event = of;
		ask->run = run;
		ask->old = old;
		ask->as_of = DT_NOBEGIN;
		ask->room = 4;
		ask->answers = palloc(ask->room * sizeof(LcAnswer *));
		place->ask = ask;
		if (batch->nasks == batch->asks_room)
		{
			batch->asks_room = Max(16, batch->asks_room * 2);
			batch->asks = batch->asks ? repalloc_huge(batch->asks, batch->asks_room * sizeof(LcAsk *)) :
				palloc(batch->asks_room * sizeof(LcAsk *));
		}
		batch->asks[batch->nasks++] = ask;
	}
	if (at != DT_NOBEGIN)
		ask->as_of = at;
	if (ask->n == ask->room)
	{
		ask->room *= 2;
		ask->answers = repalloc(ask->answers, ask->room * sizeof(LcAnswer *));
	}
	ask->answers[ask->n++] = answer;
	return answer;
}

/*
 * The answer to a question, if it is known; else the question is noted for the next lc_match. Answers that depend on the stage of a subject hold
 * until it changes.
 */
LcAnswer *
lc_ask(LcBatch *batch, LcSubject *subject, LcEvent *event, LcRun *run, bool old, LcCondition *condition)
{
	bool		is_new;
	LcAnswer   *answer = note_question(batch, subject, event, run, old, condition, &is_new);

	if (answer->ahead && answer->sqlstate != 0)
		count_failure(batch, subject, condition, answer->sqlstate, answer->message);
	answer->ahead = false;
	return answer;
}

/*
 * Notes a question whose answer may be needed later. An error counts only then: a rule must not fail that was not to be asked. Where errors are raised
 * nothing is asked ahead.
 */
void
lc_ask_ahead(LcBatch *batch, LcSubject *subject, LcEvent *event, LcCondition *condition)
{
	bool		is_new;
	LcAnswer   *answer;

	if (lc_guc_on_error == LC_ON_ERROR_RAISE)
		return;
	answer = note_question(batch, subject, event, NULL, false, condition, &is_new);
	if (is_new)
		answer->ahead = true;
}

static bool
same_match(LcMatch *match, LcAsk *ask, int n, LcAnswer **answers)
{
	if (match->n != n || match->source != (ask->event ? ask->event->source : NULL) || match->old != ask->old ||
		match->run != (ask->run != NULL) || match->as_of != (ask->as_of != DT_NOBEGIN))
		return false;
	for (int i = 0; i < n; i++)
		if (match->conditions[i] != answers[i]->condition)
			return false;
	return true;
}

static LcMatch *
match_for(LcBatch *batch, LcAsk *ask, int n, LcAnswer **answers)
{
	ListCell   *cell;
	LcMatch    *match;
	MemoryContext old;

	foreach(cell, batch->capture->matches)
		if (same_match(lfirst(cell), ask, n, answers))
			return lfirst(cell);
	old = MemoryContextSwitchTo(batch->capture->context);
	match = palloc0(sizeof(LcMatch));
	match->source = ask->event ? ask->event->source : NULL;
	match->old = ask->old;
	match->run = ask->run != NULL;
	match->as_of = ask->as_of != DT_NOBEGIN;
	match->n = n;
	match->conditions = palloc(n * sizeof(LcCondition *));
	for (int i = 0; i < n; i++)
		match->conditions[i] = answers[i]->condition;
	lc_statement_build(batch, match);
	batch->capture->matches = lappend(batch->capture->matches, match);
	MemoryContextSwitchTo(old);
	return match;
}

/* Runs the statement for these questions and stores the answers. */
static void
run_statement(LcBatch *batch, LcMatch *match, LcAsk **asks, int n)
{
	int			nargs = match->nfields + 1;
	Datum	   *args = palloc(nargs * sizeof(Datum));
	Datum	   *values = palloc(n * sizeof(Datum));
	bool	   *nulls = palloc(n * sizeof(bool));
	MemoryContext context = CurrentMemoryContext;
	SPITupleTable *table;

	for (int i = 0; i < match->nfields; i++)
	{
		for (int j = 0; j < n; j++)
			values[j] = lc_statement_field(batch, match, &match->fields[i], asks[j], j, &nulls[j]);
		args[i + 1] = lc_array(values, nulls, n, match->fields[i].type);
		if (match->fields[i].kind == LC_FIELD_KEY)
			args[0] = args[i + 1];
	}
	lc_execute(match->statement, args, NULL, n);
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		LcAsk	   *ask = asks[DatumGetInt32(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull))];
		int			at = 0;

		for (int j = 0; j < ask->n && at < match->n; j++)
		{
			LcAnswer   *answer = ask->answers[j];

			if (answer->condition != match->conditions[at])
				continue;
			answer->value = SPI_getbinval(table->vals[i], table->tupdesc, at + 2, &answer->isnull);
			if (!answer->isnull && SPI_gettypeid(table->tupdesc, at + 2) == TEXTOID)
				answer->value = CStringGetDatum(MemoryContextStrdup(context, TextDatumGetCString(answer->value)));
			answer->known = true;
			at++;
		}
	}
	SPI_freetuptable(table);
}

/* Errors that are not a condition's or a definition's: the statement of the application, or its transaction, is to end. */
bool
lc_must_raise(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	if (lc_guc_on_error == LC_ON_ERROR_RAISE)
		return true;
	return category == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || error->sqlerrcode == ERRCODE_OBJECT_IN_USE ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_DATA_CORRUPTED);
}

/* Runs the statement in a subtransaction. NULL: done; else the error, which was not to be raised. */
static ErrorData *
try_statement(LcBatch *batch, LcMatch *match, LcAsk **asks, int n)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	volatile bool limited = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		lc_limit_begin(LC_LIMIT_CONDITION, 0);
		run_statement(batch, match, asks, n);
		lc_limit_end(LC_LIMIT_CONDITION);
		limited = false;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (limited && lc_limit_stop(LC_LIMIT_CONDITION, error) && give_up_at == 0)
			give_up_at = TimestampTzPlusMilliseconds(lc_now(false), (int64) lc_guc_condition_timeout * SLOW_ROUNDS);
		RollbackAndReleaseCurrentSubTransaction();
		if (lc_must_raise(error))
		{
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
			ReThrowError(error);
		}
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* Which rule or trigger asks this? */
static LcRule *
owner_of(LcLifecycle *lc, LcCondition *condition, const char **kind, const char **name)
{
	for (int i = 0; i < lc->nrules; i++)
	{
		LcRule	   *rule = &lc->rules[i];

		for (int j = 0; j < rule->nconditions; j++)
			if (rule->conditions[j] == condition)
			{
				*kind = "rule";
				*name = rule->name;
				return rule;
			}
		if (rule->date == condition)
		{
			*kind = "timer";
			*name = rule->name;
			return rule;
		}
	}
	for (int i = 0; i < lc->ntriggers; i++)
		for (int j = 0; j < lc->triggers[i].nconditions; j++)
			if (lc->triggers[i].conditions[j] == condition)
			{
				*kind = "trigger";
				*name = lc->triggers[i].version->workflow;
				return NULL;
			}
	*kind = "rule";
	*name = condition == lc->timezone ? "timezone" : "becomes";
	return NULL;
}

void
lc_record_failure(LcBatch *batch, Datum subject, const char *kind, const char *name, int sqlstate, const char *message)
{
	LcFailure  *failure = palloc(sizeof(LcFailure));

	failure->subject = subject;
	failure->kind = kind;
	failure->name = name;
	failure->sqlstate = sqlstate;
	failure->message = message;
	batch->failures = lappend(batch->failures, failure);
}

static void
count_failure(LcBatch *batch, LcSubject *subject, LcCondition *condition, int sqlstate, const char *message)
{
	LcLifecycle *lc = batch->lc;
	const char *kind;
	const char *name;
	LcRule	   *rule = owner_of(lc, condition, &kind, &name);

	lc_record_failure(batch, subject->key, kind, name, sqlstate, message);
	if (rule == NULL)
		return;
	batch->tallies[rule - lc->rules].errors++;
	batch->capture->rule_streak[rule - lc->rules]++;
	if (Max(batch->capture->rule_streak[rule - lc->rules], lc_stats_rule_error_streak(rule->id)) < LC_QUARANTINE)
		return;
	batch->capture->rule_quarantined[rule - lc->rules] = true;
	ereport(WARNING,
			(errcode(sqlstate),
			 errmsg("rule \"%s\" of lifecycle \"%s\" fails on every row and is skipped from now on", rule->name, lc->name),
			 errdetail("The last error was: %s", message),
			 errhint("Correct it with define_transition, which puts it to work again.")));
}

/* One condition failed for one row: it is not true there. */
static void
fail(LcBatch *batch, LcCondition *condition, LcAsk *ask, const ErrorData *error)
{
	bool		needed = false;

	for (int i = 0; i < ask->n; i++)
	{
		LcAnswer   *answer = ask->answers[i];

		if (answer->condition != condition)
			continue;
		answer->known = true;
		answer->isnull = true;
		answer->sqlstate = error->sqlerrcode;
		answer->message = error->message;
		needed |= !answer->ahead;
	}
	if (needed)
		count_failure(batch, ask->subject, condition, error->sqlerrcode, error->message);
}

static bool
is_quarantined(LcBatch *batch, LcCondition *condition)
{
	const char *kind;
	const char *name;
	LcRule	   *rule = owner_of(batch->lc, condition, &kind, &name);

	return rule && batch->capture->rule_quarantined[rule - batch->lc->rules];
}

static void
note_success(LcBatch *batch, LcMatch *match)
{
	const char *kind;
	const char *name;

	for (int i = 0; i < match->n; i++)
	{
		LcRule	   *rule = owner_of(batch->lc, match->conditions[i], &kind, &name);

		if (rule)
			batch->capture->rule_streak[rule - batch->lc->rules] = 0;
	}
}

/* The condition has taken too long for too long: it is not true for these rows, which are not asked about. */
static void
give_up(LcBatch *batch, LcCondition *condition, LcAsk **asks, int n)
{
	ErrorData	error = {.sqlerrcode = ERRCODE_PROGRAM_LIMIT_EXCEEDED};

	error.message = psprintf("not asked, since the condition took longer than lifecycle.condition_timeout (%d ms) for other rows",
							 lc_guc_condition_timeout);
	for (int i = 0; i < n && !is_quarantined(batch, condition); i++)
		fail(batch, condition, asks[i], &error);
}

/* Answers the questions, taking them apart where there is an error. */
static void
evaluate(LcBatch *batch, LcMatch *match, LcAsk **asks, int n)
{
	ErrorData  *error;

	if (match->n == 1 && is_quarantined(batch, match->conditions[0]))
		return;
	if (match->n == 1 && give_up_at != 0 && lc_now(false) >= give_up_at)
	{
		give_up(batch, match->conditions[0], asks, n);
		return;
	}
	error = try_statement(batch, match, asks, n);
	if (error == NULL)
	{
		note_success(batch, match);
		return;
	}
	if (match->n > 1)
	{
		for (int i = 0; i < match->n; i++)
		{
			LcAnswer	answer = {.condition = match->conditions[i]};
			LcAnswer   *answers[1] = {&answer};

			give_up_at = 0;
			evaluate(batch, match_for(batch, asks[0], 1, answers), asks, n);
		}
		return;
	}
	if (n == 1)
	{
		fail(batch, match->conditions[0], asks[0], error);
		return;
	}
	evaluate(batch, match, asks, n / 2);
	evaluate(batch, match, asks + n / 2, n - n / 2);
}

/* How many rows of the batch the rule of a condition has failed on. */
static int64
count_errors(LcBatch *batch, LcCondition *condition)
{
	const char *kind;
	const char *name;
	LcRule	   *rule = owner_of(batch->lc, condition, &kind, &name);

	return rule ? batch->tallies[rule - batch->lc->rules].errors : 0;
}

static void
tally_group(LcBatch *batch, AskGroup *group, instr_time *begin, const int64 *errors)
{
	instr_time	duration;

	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, *begin);
	for (int i = 0; i < group->match->n; i++)
	{
		const char *kind;
		const char *name;
		LcRule	   *rule = owner_of(batch->lc, group->match->conditions[i], &kind, &name);

		if (rule == NULL)
			continue;
		/* of one in quarantine only the rows that brought it there: it has not succeeded for the others */
		batch->tallies[rule - batch->lc->rules].rows += batch->capture->rule_quarantined[rule - batch->lc->rules] ?
			batch->tallies[rule - batch->lc->rules].errors - errors[i] : group->n;
		batch->tallies[rule - batch->lc->rules].microseconds += INSTR_TIME_GET_MICROSEC(duration) / group->match->n;
	}
}

static AskGroup *
group_for(LcBatch *batch, List **groups, LcAsk *ask, int n, LcAnswer **answers)
{
	AskGroup   *group;
	ListCell   *cell;

	foreach(cell, *groups)
	{
		group = lfirst(cell);
		if (same_match(group->match, ask, n, answers))
			return group;
	}
	group = palloc0(sizeof(AskGroup));
	group->match = match_for(batch, ask, n, answers);
	group->room = 16;
	group->asks = palloc(group->room * sizeof(LcAsk *));
	*groups = lappend(*groups, group);
	return group;
}

static void
add_to_group(AskGroup *group, LcAsk *ask)
{
	if (group->n == group->room)
	{
		group->room *= 2;
		group->asks = repalloc_huge(group->asks, group->room * sizeof(LcAsk *));
	}
	group->asks[group->n++] = ask;
}

/* The questions of a group, in pieces whose arrays are bounded in bytes. */
static void
evaluate_pieces(LcBatch *batch, AskGroup *group)
{
	Size		bytes = 0;
	int			begin = 0;

	give_up_at = 0;
	for (int i = 0; i < group->n; i++)
	{
		LcEvent    *event = group->asks[i]->event;
		Size		size = event && event->row ? event->row->bytes : 0;

		if (i > begin && bytes + size > LC_CHUNK_BYTES)
		{
			evaluate(batch, group->match, group->asks + begin, i - begin);
			begin = i;
			bytes = 0;
		}
		bytes += size;
	}
	evaluate(batch, group->match, group->asks + begin, group->n - begin);
}

/* Answers everything that was asked. */
void
lc_match(LcBatch *batch)
{
	LcAsk	  **asks = batch->asks;
	int			n = batch->nasks;
	List	   *groups = NIL;
	ListCell   *cell;
	bool		together = list_length(batch->capture->matches) < MAX_STATEMENTS;

	batch->asks = NULL;
	batch->nasks = 0;
	batch->asks_room = 0;
	for (int i = 0; i < n; i++)
	{
		LcAsk	   *ask = asks[i];

		if (together)
			add_to_group(group_for(batch, &groups, ask, ask->n, ask->answers), ask);
		else
			for (int j = 0; j < ask->n; j++)
				add_to_group(group_for(batch, &groups, ask, 1, &ask->answers[j]), ask);
		place_of(ask->subject, ask->event, ask->run, ask->old)->ask = NULL;
	}
	foreach(cell, groups)
	{
		AskGroup   *group = lfirst(cell);
		int64	   *errors;
		instr_time	begin;

		errors = palloc(group->match->n * sizeof(int64));
		for (int i = 0; i < group->match->n; i++)
			errors[i] = count_errors(batch, group->match->conditions[i]);
		INSTR_TIME_SET_CURRENT(begin);
		evaluate_pieces(batch, group);
		tally_group(batch, group, &begin, errors);
	}
	/* No row came back: there is none to which the condition could apply. */
	for (int i = 0; i < n; i++)
		for (int j = 0; j < asks[i]->n; j++)
			if (!asks[i]->answers[j]->known)
				asks[i]->answers[j]->known = asks[i]->answers[j]->isnull = true;
}
