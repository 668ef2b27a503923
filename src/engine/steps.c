/*
 * steps.c: running the steps of a batch.
 *
 * Runs that stand at the same step of the same version are one group, and a step is done for its group at once: one statement where SQL is needed,
 * none elsewhere. Groups are taken in the order of their numbers, so that runs that have parted at a branch meet again behind it.
 *
 * Locks: set_stage locks the subjects, set_stage and run_sql the enrollments (whose effects could not be taken back by leaving out what is written
 * at the end), always without waiting; a run that meets a lock goes back to the queue.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/time_limit.h"
#include "clock.h"
#include "engine/run.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "worker/worker.h"

/* Integer keys are dense that are more than one in so many of those between them: reading five rows in their order costs what finding one does. */
#define DENSE	5

#define FOR_GROUP(run, batch, group) \
	for (int _g = 0; _g < (group)->n && ((run) = &(batch)->runs[(group)->runs[_g]], true); _g++)

void
lc_end_run(LcRun *run, const char *reason)
{
	run->state = LC_RUN_ENDED;
	run->reason = reason;
}

void
lc_note_activity(LcRunBatch *batch, int run, LcStepPlan *step, const char *outcome, const char *detail)
{
	LcActivity *activity;

	if (batch->nactivity == batch->max_activity)
	{
		batch->max_activity = Max(batch->max_activity * 2, 256);
		batch->activity = batch->activity
			? repalloc_huge(batch->activity, batch->max_activity * sizeof(LcActivity))
			: MemoryContextAllocHuge(batch->work, batch->max_activity * sizeof(LcActivity));
	}
	activity = &batch->activity[batch->nactivity++];
	activity->run = run;
	activity->step = step ? step->number : 0;
	activity->waited = batch->runs[run].waited;
	activity->outcome = outcome;
	activity->detail = detail;
	batch->runs[run].waited = 0;
	batch->runs[run].outputs++;
}

/* Are the keys many integers that lie close together? Then also gives the least and the greatest of them. */
static bool
are_dense(LcLifecycle *lc, const Datum *keys, int n, Datum *least, Datum *greatest)
{
	if (!lc->key_byval || n <= LC_FEW_KEYS)
		return false;
	*least = *greatest = keys[0];
	for (int i = 1; i < n; i++)
		if ((int64) keys[i] < (int64) *least)
			*least = keys[i];
		else if ((int64) keys[i] > (int64) *greatest)
			*greatest = keys[i];
	return (uint64) *greatest - (uint64) *least < (uint64) n * DENSE;
}

/*
 * The arguments of a rows statement: the keys of the group's subjects, the numbers of its enrollments, and for the dense form the least and the
 * greatest key. Returns the form of the statement that is for them.
 */
static LcStatement *
group_arguments(LcRunBatch *batch, const LcGroup *group, LcStatement *statement, Datum values[4])
{
	Datum	   *keys = palloc(sizeof(Datum) * group->n);
	Datum	   *ids = palloc(sizeof(Datum) * group->n);
	bool		dense;
	LcRun	   *run;

	FOR_GROUP(run, batch, group)
	{
		keys[_g] = run->due.subject;
		ids[_g] = Int64GetDatum(run->due.enrollment);
	}
	dense = are_dense(batch->lc, keys, group->n, &values[2], &values[3]);
	values[0] = lc_array(keys, NULL, group->n, batch->lc->key_type);
	values[1] = lc_array(ids, NULL, group->n, INT8OID);
	pfree(keys);
	pfree(ids);
	return dense && statement->dense ? statement->dense : statement;
}

void
lc_group_execute(LcRunBatch *batch, const LcGroup *group, LcStatement *statement)
{
	Datum		values[4];

	statement = group_arguments(batch, group, statement, values);
	lc_execute(statement, values, NULL, group->n);
	pfree(DatumGetPointer(values[0]));
	pfree(DatumGetPointer(values[1]));
}

void
lc_group_execute_rows(LcRunBatch *batch, const LcGroup *group, LcStatement *statement, LcRowFunction row, void *arg)
{
	Datum		values[4];

	statement = group_arguments(batch, group, statement, values);
	lc_execute_rows(statement, values, NULL, group->n, row, arg);
	pfree(DatumGetPointer(values[0]));
	pfree(DatumGetPointer(values[1]));
}

/* A statement that the user has written: one that never ends must not stop everybody else's workflows. */
static void
execute_limited(LcRunBatch *batch, const LcGroup *group, LcStatement *statement, LcTimeLimit limit)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		lc_limit_begin(limit, group->n);
		lc_group_execute(batch, group, statement);
		lc_limit_end(limit);
	}
	PG_CATCH();
	{
		lc_limit_rethrow(limit, context);
	}
	PG_END_TRY();
}

int
lc_group_run(LcRunBatch *batch, uint64 row)
{
	bool		isnull;
	int			run = lc_keymap_find(batch->map, SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull));

	if (run < 0)
		elog(ERROR, "statement gave a subject that was not asked for");
	return run;
}

/* The answers to a condition for a group, by run: 't', 'f' (also null), or 0 where there is no such subject any more. */
static char *
ask(LcRunBatch *batch, const LcGroup *group, LcCondition *condition, LcStatement **statement)
{
	char	   *answers = palloc0(batch->n);

	if (*statement == NULL)
		*statement = lc_rows_statement(batch->lc, &condition, 1, psprintf("(%s)", condition->sql), false, false, NULL);
	execute_limited(batch, group, *statement, LC_LIMIT_CONDITION);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);

		answers[lc_group_run(batch, i)] = !isnull && DatumGetBool(value) ? 't' : 'f';
	}
	SPI_freetuptable(SPI_tuptable);
	return answers;
}

static void
filter_only_if(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	char	   *answers = ask(batch, group, step->only_if, &step->only_if_statement);
	int			n = 0;

	for (int i = 0; i < group->n; i++)
	{
		int			index = group->runs[i];
		LcRun	   *run = &batch->runs[index];

		if (answers[index] == 't')
			group->runs[n++] = index;
		else if (answers[index] == 'f')
		{
			lc_note_activity(batch, index, step, "skipped", NULL);
			run->position = step->skip;
		}
		else
			lc_end_run(run, "subject_deleted");
	}
	group->n = n;
}

static void
step_branch(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	char	   *answers = ask(batch, group, step->condition, &step->statement);
	LcRun	   *run;

	FOR_GROUP(run, batch, group)
	{
		char		answer = answers[group->runs[_g]];

		if (answer == 0)
		{
			lc_end_run(run, "subject_deleted");
			continue;
		}
		lc_note_activity(batch, group->runs[_g], step, answer == 't' ? "yes" : "no", NULL);
		run->position = answer == 't' ? step->next : step->otherwise;
	}
}

/* The zones of the subjects by run, NULL for UTC, also in place of one that does not exist; *found is set where there is a subject. */
static char **
ask_zones(LcRunBatch *batch, const LcGroup *group, bool **found)
{
	LcLifecycle *lc = batch->lc;
	char	  **zones = palloc0(sizeof(char *) * batch->n);
	int			unknown = 0;

	*found = palloc0(batch->n);
	if (batch->state->zone_statement == NULL)
		batch->state->zone_statement = lc_rows_statement(lc, &lc->timezone, 1, psprintf("(%s)", lc->timezone->sql), false, false, NULL);
	execute_limited(batch, group, batch->state->zone_statement, LC_LIMIT_CONDITION);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int			run = lc_group_run(batch, i);

		zones[run] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		(*found)[run] = true;
		if (zones[run] != NULL && pg_tzset(zones[run]) == NULL)
		{
			zones[run] = NULL;
			unknown++;
		}
	}
	SPI_freetuptable(SPI_tuptable);
	if (unknown > 0)
		lc_stats_count(lc->name, "unknown time zones", unknown);
	return zones;
}

static void
step_delay(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	bool		zoned = step->calendar && batch->lc->timezone != NULL;
	bool	   *found = NULL;
	char	  **zones = zoned ? ask_zones(batch, group, &found) : NULL;
	TimestampTz at = DT_NOBEGIN;
	TimestampTz wake_at = DT_NOBEGIN;
	LcRun	   *run;

	FOR_GROUP(run, batch, group)
	{
		int			index = group->runs[_g];

		if (zoned && !found[index])
		{
			lc_end_run(run, "subject_deleted");
			continue;
		}
		if (zoned || run->at != at)
		{
			at = run->at;
			wake_at = lc_add_interval(at, step->interval, zoned ? zones[index] : NULL);
		}
		run->state = LC_RUN_WAITING;
		run->wake_at = wake_at;
	}
}

void
lc_find_open_enrollments(LcRunBatch *batch, const LcGroup *group, bool *found)
{
	LcLifecycle *lc = batch->lc;

	if (group->n == 0)
		return;
	if (batch->state->alive_statement == NULL)
	{
		Oid			types[] = {lc->key_array_type, INT8ARRAYOID};
		MemoryContext old = MemoryContextSwitchTo(batch->state->context);

		batch->state->alive_statement =
			lc_lookup_statement(psprintf("SELECT x.n::pg_catalog.int4 FROM unnest($1, $2) WITH ORDINALITY AS x (subject_id, id, n) "
										 "JOIN %s AS e ON e.subject_id = x.subject_id AND e.id = x.id WHERE e.ended_at IS NULL",
										 lc->table_sql[LC_ENROLLMENTS]), 2, types);
		MemoryContextSwitchTo(old);
	}
	lc_group_execute(batch, group, batch->state->alive_statement);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			number = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		found[group->runs[number - 1]] = true;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What a step does can end the very run that does it, by an exit, a goal, the trigger of another stage, and also other runs of this batch, of this
 * round or a later one, whose due rows an exit does not find, since they are claimed. Such runs go no further, nor back into the queue.
 */
static void
drop_ended(LcRunBatch *batch)
{
	LcGroup		held = {0, palloc(sizeof(int) * batch->n)};
	bool	   *open = palloc0(batch->n);

	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];

		if (run->state == LC_RUN_GOING || run->state == LC_RUN_WAITING || run->state == LC_RUN_ENDED ||
			(run->state == LC_RUN_BACK && run->due.kind != LC_DUE_RULE))
			held.runs[held.n++] = i;
	}
	lc_find_open_enrollments(batch, &held, open);
	for (int i = 0; i < held.n; i++)
	{
		LcRun	   *run = &batch->runs[held.runs[i]];

		/* What goes back has written nothing, unless it has acted. */
		if (!open[held.runs[i]])
			run->state = run->state == LC_RUN_BACK && !run->acted ? LC_RUN_VOID : LC_RUN_DROPPED;
	}
}

static void
step_set_stage(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	LcMove	   *moves;
	LcGroup		moved = {0, palloc(sizeof(int) * group->n)};
	int			n = 0;
	LcRun	   *run;

	lc_lock_enrollments(batch, group);
	moves = palloc0(sizeof(LcMove) * Max(group->n, 1));
	FOR_GROUP(run, batch, group)
	{
		if (run->due.shadow)
		{
			lc_note_activity(batch, group->runs[_g], step, "shadow", NULL);
			run->position = step->next;
			continue;
		}
		moves[n].subject = run->due.subject;
		moves[n].to = step->stage;
		moves[n].at = run->at;
		moves[n].cause = "workflow";
		moves[n].rule = run->plan->workflow;
		moves[n].enrollment = run->due.enrollment;
		moved.runs[n++] = group->runs[_g];
	}
	moved.n = n;
	if (n == 0)
		return;
	lc_move_subjects(batch->lc, moves, n, true);
	FOR_GROUP(run, batch, &moved)
	{
		int			index = moved.runs[_g];

		switch (moves[_g].result)
		{
			case LC_MOVE_DONE:
				run->acted = true;
				lc_note_activity(batch, index, step, "moved", NULL);
				run->position = step->next;
				break;
			case LC_MOVE_SAME:
				lc_note_activity(batch, index, step, "unchanged", NULL);
				run->position = step->next;
				break;
			case LC_MOVE_LOCKED:
				run->state = LC_RUN_BACK;
				break;
			case LC_MOVE_GONE:
				lc_end_run(run, "subject_deleted");
				break;
			case LC_MOVE_REFUSED:
				lc_note_activity(batch, index, step, "failed", "no rule of the strict lifecycle allows it");
				run->position = step->next;
				break;
		}
	}
	drop_ended(batch);
}

/* How many cursors this session holds beyond the transaction. */
static int64
count_held_cursors(void)
{
	bool		isnull;
	int64		n;

	lc_run("SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable");
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * The statement is a function call for each subject, as the owner and without the restriction of security-restricted operations: it may use deferred
 * constraints and temporary tables. What that restriction also forbids, a cursor that would be run at commit with the rights of whoever commits, is an
 * error here.
 */
static void
step_run_sql(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	LcGroup		live = {0, palloc(sizeof(int) * group->n)};
	bool	   *found = palloc0(batch->n);
	int64		cursors;
	LcIdentity	saved;
	LcRun	   *run;

	lc_lock_enrollments(batch, group);
	FOR_GROUP(run, batch, group)
	{
		if (!run->due.shadow)
		{
			live.runs[live.n++] = group->runs[_g];
			continue;
		}
		lc_note_activity(batch, group->runs[_g], step, "shadow", NULL);
		run->position = step->next;
	}
	if (live.n == 0)
		return;
	if (step->statement == NULL)
		step->statement = lc_rows_statement(batch->lc, &step->condition, 1, step->condition->sql, true, true, NULL);
	cursors = count_held_cursors();
	lc_identity_restore(&batch->identity);
	lc_identity_owner(batch->lc, false, &saved);
	execute_limited(batch, &live, step->statement, LC_LIMIT_STEP);
	lc_identity_restore(&saved);
	lc_identity_owner(batch->lc, true, &batch->identity);
	for (uint64 i = 0; i < SPI_processed; i++)
		found[lc_group_run(batch, i)] = true;
	SPI_freetuptable(SPI_tuptable);
	if (count_held_cursors() != cursors)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_CURSOR_DEFINITION),
				 errmsg("the statement of step \"%s\" must not declare a cursor WITH HOLD", step->label)));
	FOR_GROUP(run, batch, &live)
	{
		if (!found[live.runs[_g]])
		{
			lc_end_run(run, "subject_deleted");
			continue;
		}
		run->acted = true;
		lc_note_activity(batch, live.runs[_g], step, "done", NULL);
		run->position = step->next;
	}
	/* The statement may have changed rows that exits listen to. */
	drop_ended(batch);
}

static void
step_exit(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	LcRun	   *run;

	FOR_GROUP(run, batch, group)
	{
		const char *reason = step->reason ? step->reason : "exit";

		lc_note_activity(batch, group->runs[_g], step, "ended", reason);
		lc_end_run(run, reason);
	}
}

static void
run_step(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	batch->current = step;
	batch->group = group;
	batch->most_turns = -1;
	if (step->only_if)
		filter_only_if(batch, step, group);
	if (group->n == 0)
		return;
	switch (step->kind)
	{
		case LC_STEP_SEND:
			lc_step_send(batch, step, group);
			break;
		case LC_STEP_DELAY:
			step_delay(batch, step, group);
			break;
		case LC_STEP_BRANCH:
			step_branch(batch, step, group);
			break;
		case LC_STEP_SET_STAGE:
			step_set_stage(batch, step, group);
			break;
		case LC_STEP_RUN_SQL:
			step_run_sql(batch, step, group);
			break;
		case LC_STEP_EXIT:
			step_exit(batch, step, group);
			break;
	}
}

/* Puts a run into the list of its step, or ends it; *lowest goes down to that step. */
static void
enqueue(LcRunBatch *batch, int index, int *heads, int *lowest)
{
	LcRun	   *run = &batch->runs[index];

	if (run->position == 0)
	{
		lc_end_run(run, "completed");
		return;
	}
	if (run->position > run->plan->nsteps)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of workflow \"%s\" has no step %d", run->plan->number, run->plan->workflow, run->position)));
	run->next = heads[run->position];
	heads[run->position] = index;
	if (run->position < *lowest)
		*lowest = run->position;
}

/* Runs the steps of one version for all its runs from `first` on. */
static void
run_version(LcRunBatch *batch, LcVersionPlan *plan, int first)
{
	int		   *heads = palloc(sizeof(int) * (plan->nsteps + 1));
	int		   *members = palloc(sizeof(int) * (batch->n - first));
	int			groups = 0;
	int			step = INT_MAX;

	memset(heads, -1, sizeof(int) * (plan->nsteps + 1));
	/* Lists are stacks: from the end, so that runs keep their order. */
	for (int i = batch->n - 1; i >= first; i--)
		if (batch->runs[i].plan == plan && batch->runs[i].state == LC_RUN_GOING)
			enqueue(batch, i, heads, &step);
	while (step <= plan->nsteps)
	{
		LcGroup		group = {0, members};
		int			n = 0;
		int			lowest = step + 1;

		for (int i = heads[step]; i >= 0; i = batch->runs[i].next)
			if (batch->runs[i].state == LC_RUN_GOING)
				members[n++] = i;
		heads[step] = -1;
		group.n = n;
		if (n > 0)
		{
			MemoryContext scratch = AllocSetContextCreate(batch->work, "lifecycle step", ALLOCSET_DEFAULT_SIZES);
			int		   *all = palloc(sizeof(int) * n);

			CHECK_FOR_INTERRUPTS();
			if (++groups > LC_MAX_STEPS)
				elog(ERROR, "version %d of workflow \"%s\" does not end", plan->number, plan->workflow);
			memcpy(all, members, sizeof(int) * n);
			MemoryContextSwitchTo(scratch);
			run_step(batch, &plan->steps[step - 1], &group);
			MemoryContextSwitchTo(batch->work);
			MemoryContextDelete(scratch);
			for (int i = n - 1; i >= 0; i--)
				if (batch->runs[all[i]].state == LC_RUN_GOING)
					enqueue(batch, all[i], heads, &lowest);
			pfree(all);
		}
		step = lowest;
	}
}

/* Sets each run of this round to where its due row says. */
static void
start_runs(LcRunBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];
		LcStepPlan *step;

		run->waited = 0;
		run->outputs = 0;
		run->locked = false;
		run->acted = false;
		run->position = run->due.step;
		run->reason = NULL;
		run->state = run->due.kind == LC_DUE_RULE ? LC_RUN_TIMER : LC_RUN_GOING;
		if (run->state == LC_RUN_TIMER)
			continue;
		step = lc_step_plan(run->plan, run->due.step);
		if (step == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 run->plan->found
					 ? errmsg("version %d of workflow \"%s\" has no step %d", run->plan->number, run->plan->workflow, run->due.step)
					 : errmsg("there is no workflow version with id %d any more", run->due.program)));
		if (run->plan->archived)
			lc_end_run(run, "archived");
		else if (run->due.kind == LC_DUE_WAIT)
		{
			run->waited = step->number;
			run->position = step->next;
		}
	}
}

static void
fire_timers(LcRunBatch *batch)
{
	LcTimer    *timers = NULL;
	int		   *runs = NULL;
	int			n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];

		if (run->state != LC_RUN_TIMER)
			continue;
		if (timers == NULL)
		{
			timers = palloc0(sizeof(LcTimer) * (batch->n - i));
			runs = palloc(sizeof(int) * (batch->n - i));
		}
		timers[n].due = &run->due;
		timers[n].now = run->at;
		runs[n++] = i;
	}
	if (n == 0)
		return;
	lc_fire_timers(batch->lc, timers, n);
	for (int i = 0; i < n; i++)
	{
		LcRun	   *run = &batch->runs[runs[i]];

		if (timers[i].result == LC_TIMER_LOCKED)
			run->state = LC_RUN_BACK;
		else if (timers[i].result == LC_TIMER_DONE)
			run->state = LC_RUN_DROPPED;
		else
			run->wake_at = timers[i].again_at;
	}
}

void
lc_run_steps(LcRunBatch *batch)
{
	List	   *done = NIL;

	start_runs(batch);
	if (batch->removals != lc_due_removals)
		drop_ended(batch);
	fire_timers(batch);
	for (int i = 0; i < batch->n; i++)
	{
		LcRun	   *run = &batch->runs[i];

		if (run->state != LC_RUN_GOING || list_member_ptr(done, run->plan))
			continue;
		done = lappend(done, run->plan);
		run_version(batch, run->plan, i);
	}
	batch->current = NULL;
	batch->group = NULL;
}
