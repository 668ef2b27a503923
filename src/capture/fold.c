/*
 * fold.c: the state machine of one subject, in event-time order.
 *
 * lc_fold takes a subject as far as it can. Where it needs an answer that is not known yet (whether a condition is true, which runs the subject has), it
 * asks and returns false; the batch gets all answers that its subjects have asked for with few statements, and calls it again. Each phase first
 * asks everything, and acts only when all is known, so that it can be repeated from its beginning.
 *
 * Per event: first exits and goals of the runs that were there before it, then the rules, with each transition the exits, goals and entries of
 * its stage and the rules that follow from it, and last the entries by the event. Nothing here touches the database.
 */
#include "postgres.h"

#include "batch.h"
#include "clock.h"
#include "utils/timestamp.h"

typedef enum Truth
{
	FALSE_NOW,
	TRUE_NOW,
	PENDING
} Truth;

bool
lc_rule_from(const LcRule *rule, int stage)
{
	return !rule->entry && rule->to != stage && (rule->from_any || bms_is_member(stage, rule->from));
}

/* The one of several conditions that is for the event; NULL: none is. */
static LcCondition *
condition_of(LcEvent *event, LcCondition **conditions, int n)
{
	LcCondition *condition = event ? lc_condition_for(conditions, n, event->source->table) : NULL;

	return condition ? condition : lc_condition_for(conditions, n, InvalidOid);
}

static Truth
holds(LcBatch *batch, LcSubject *subject, LcEvent *event, LcRun *run, LcCondition **conditions, int n)
{
	LcCondition *condition;
	LcAnswer   *answer;

	if (n == 0)
		return TRUE_NOW;
	condition = condition_of(event, conditions, n);
	if (condition == NULL)
		return FALSE_NOW;
	answer = lc_ask(batch, subject, event, run, false, condition);
	if (!answer->known)
		return PENDING;
	return lc_answer_true(answer) ? TRUE_NOW : FALSE_NOW;
}

/* Does the condition of a rule hold, when it is decided that those before it do not? Else it may be needed. */
static Truth
rule_holds(LcBatch *batch, LcSubject *subject, LcEvent *event, const LcRule *rule, bool decided)
{
	LcCondition *condition;

	if (decided)
		return holds(batch, subject, event, NULL, rule->conditions, rule->nconditions);
	condition = condition_of(event, rule->conditions, rule->nconditions);
	if (condition)
		lc_ask_ahead(batch, subject, event, condition);
	return PENDING;
}

static bool
of_source(const char *wanted, LcEvent *event)
{
	return wanted == NULL || (event && strcmp(wanted, event->source->name) == 0);
}

/* When it happens: the time of the event, or now. */
static TimestampTz
time_of(LcBatch *batch, LcSubject *subject)
{
	if (subject->event)
		return subject->event->at;
	if (subject->replay)
		return subject->replay->at;
	/* a timer may have been armed early: see lc_timers_arm */
	return subject->timer ? Min(subject->now, Max(subject->timer->due->due_at, subject->timer_due)) : subject->now;
}

static LcTransition *
transit(LcBatch *batch, LcSubject *subject, int to, TimestampTz at, const char *cause, const char *rule)
{
	LcTransition *transition = palloc0(sizeof(LcTransition));

	transition->seq = ++subject->seq;
	transition->from = subject->stage;
	transition->to = to;
	transition->at = subject->stage == LC_NO_STAGE ? at : Max(at, subject->since);
	transition->since = subject->since;
	transition->event = subject->event;
	transition->date = DT_NOEND;
	transition->cause = cause;
	transition->rule = rule;
	if (subject->last)
		subject->last->next = transition;
	else
		subject->transitions = transition;
	subject->last = transition;
	subject->stage = to;
	subject->since = transition->at;
	subject->moved = true;
	subject->any_column = true;
	subject->version++;
	subject->phase = LC_PHASE_ENTERED;
	return transition;
}

static void
hit(LcBatch *batch, LcRule *rule)
{
	batch->tallies[rule - batch->lc->rules].hits++;
}

/* The timer of a rule moves the subject. */
static void
fire(LcBatch *batch, LcSubject *subject, LcRule *rule, TimestampTz at, TimestampTz due)
{
	LcTransition *transition = transit(batch, subject, rule->to, at, "timer", rule->name);

	hit(batch, rule);
	if (rule->trigger == LC_RULE_DATE)
		transition->date = due;
}

/* Are the runs known? If not, they are asked for. */
static bool
has_runs(LcBatch *batch, LcSubject *subject)
{
	if (!subject->runs_loaded)
		subject->runs_wanted = batch->runs_wanted = true;
	return subject->runs_loaded;
}

static void
end_run(LcRun *run, TimestampTz at, const char *reason)
{
	run->ended = true;
	run->ended_at = Max(at, run->entered_at);
	run->exit_reason = reason;
}

/* The next run that a trigger may be for. A run begins when those before it have ended: an exit need not look at them. */
static LcRun *
older_run(const LcTrigger *trigger, const LcRun *run)
{
	return trigger->role == LC_ROLE_EXIT && run->begun ? NULL : run->older;
}

/* An exit or a goal of the version, at a time. */
static bool
try_exit(LcBatch *batch, LcSubject *subject, LcTrigger *trigger, TimestampTz at, Truth known, bool act)
{
	bool		decided = true;

	if (known == FALSE_NOW)
		return true;
	if (!has_runs(batch, subject))
		return false;
	for (LcRun *run = lc_newest_run(subject, trigger->version->workflow); run; run = older_run(trigger, run))
	{
		Truth		truth;

		if (run->version != trigger->version || at < run->entered_at || (subject->event && run->born == subject->event))
			continue;
		if (trigger->role == LC_ROLE_EXIT && run->ended_at != DT_NOEND)
			continue;
		if (trigger->role == LC_ROLE_GOAL)
		{
			TimestampTz end = DT_NOEND;

			if (run->converted_at != DT_NOEND)
				continue;
			if (trigger->within && !lc_subject_add(batch, subject, run->entered_at, trigger->within, &end))
				decided = false;
			if (at > end)
				continue;
		}
		truth = known == TRUE_NOW ? TRUE_NOW :
			holds(batch, subject, subject->event, run, trigger->conditions, trigger->nconditions);
		if (truth == PENDING)
			decided = false;
		if (truth != TRUE_NOW || !act)
			continue;
		if (trigger->role == LC_ROLE_GOAL)
		{
			run->converted = true;
			run->converted_at = at;
		}
		if (run->ended_at == DT_NOEND && (trigger->role == LC_ROLE_EXIT || trigger->exits))
			end_run(run, at, trigger->role == LC_ROLE_EXIT ? "exit" : "goal");
	}
	return decided;
}

/* Is the zone known by which an interval of re-entry counts its days? */
static bool
can_begin_run(LcBatch *batch, LcSubject *subject, LcVersion *version)
{
	TimestampTz end;

	return version->reentry == NULL || subject->runs == NULL || lc_subject_add(batch, subject, 0, version->reentry, &end);
}

/* May the workflow be entered again, after this run of it? */
static bool
may_enter_again(LcBatch *batch, LcSubject *subject, LcVersion *version, LcRun *run, TimestampTz at)
{
	TimestampTz end;

	if (run->ended_at == DT_NOEND)
		return false;
	if (version->reentry == NULL)
		return version->always;
	return lc_subject_add(batch, subject, run->entered_at, version->reentry, &end) && at >= end;
}

/* Was it a run in the shadow, which has ended, and the workflow is live now? It does not count. */
static bool
is_rehearsal(LcRun *run, LcVersion *version)
{
	return run->shadow && !version->shadow && run->ended_at != DT_NOEND;
}

/* Begins a run unless the workflow's rule of re-entry forbids it. */
static bool
begin_run(LcBatch *batch, LcSubject *subject, LcVersion *version, TimestampTz at)
{
	LcRun	   *run;
	Datum		context = (Datum) 0;
	bool		again = false;

	for (run = lc_newest_run(subject, version->workflow); run; run = run->older)
	{
		if (is_rehearsal(run, version))
			continue;
		again = true;
		if (!may_enter_again(batch, subject, version, run, at))
		{
			batch->suppressed++;
			return false;
		}
		/* when that one began it was asked of those before it */
		if (run->begun && run->version == version)
			break;
	}
	if (again && lc_loops(batch, subject, NULL, version))
		return false;
	if (version->keeps_event && subject->event && !lc_event_context(batch, subject, version, &context))
		return false;
	run = palloc0(sizeof(LcRun));
	run->version = version;
	run->version_id = version->id;
	run->shadow = version->shadow;
	run->workflow = version->workflow;
	run->entered_at = at;
	run->ended_at = DT_NOEND;
	run->converted_at = DT_NOEND;
	run->begun = true;
	run->born = subject->event;
	run->has_context = version->keeps_event && run->born;
	run->context = context;
	lc_add_run(subject, run);
	return true;
}

/* Is the event young enough to enroll? The zone is asked for only where it can matter, since most events are new. */
static Truth
may_enroll(LcBatch *batch, LcSubject *subject)
{
	LcEvent    *event = subject->event;
	const Interval *within = event ? event->source->enroll_within : NULL;
	TimestampTz end;
	int64		margin;

	if (within == NULL)
		return TRUE_NOW;
	end = lc_add_interval(event->at, within, NULL);
	margin = (within->month != 0 ? 5 : 2) * USECS_PER_DAY;
	if (end < batch->now - margin)
		return FALSE_NOW;
	if (end <= batch->now + margin && !lc_subject_add(batch, subject, event->at, within, &end))
		return PENDING;
	return end >= batch->now ? TRUE_NOW : FALSE_NOW;
}

static bool
try_entry(LcBatch *batch, LcSubject *subject, LcTrigger *trigger, TimestampTz at, Truth known, bool act)
{
	Truth		allowed;
	Truth		truth;

	if (!trigger->version->enrolls || !batch->enroll || known == FALSE_NOW)
		return true;
	truth = known == TRUE_NOW ? TRUE_NOW :
		holds(batch, subject, subject->event, NULL, trigger->conditions, trigger->nconditions);
	if (truth == FALSE_NOW)
		return true;
	allowed = may_enroll(batch, subject);
	if (allowed == FALSE_NOW && truth == TRUE_NOW)
	{
		batch->too_old += act;
		return true;
	}
	if (truth == PENDING || allowed == PENDING)
		return false;
	if (!has_runs(batch, subject) || !can_begin_run(batch, subject, trigger->version))
		return false;
	if (act)
		(void) begin_run(batch, subject, trigger->version, at);
	return true;
}

static bool
try_trigger(LcBatch *batch, LcSubject *subject, LcTrigger *trigger, TimestampTz at, Truth known, bool act)
{
	if (trigger->role == LC_ROLE_ENTRY)
		return try_entry(batch, subject, trigger, at, known, act);
	return try_exit(batch, subject, trigger, at, known, act);
}

/* The triggers on_stage of the transition that has just been made: exits and goals before entries. */
static bool
fold_entered(LcBatch *batch, LcSubject *subject)
{
	LcTransition *transition = subject->last;

	if (batch->capture->stage_triggers)
		for (int act = 0; act <= 1; act++)
		{
			bool		decided = true;

			for (int entries = 0; entries <= 1; entries++)
				for (int i = 0; i < batch->lc->ntriggers; i++)
				{
					LcTrigger  *trigger = &batch->lc->triggers[i];

					if (trigger->kind != LC_ON_STAGE || (trigger->role == LC_ROLE_ENTRY) != entries ||
						(trigger->stage != LC_NO_STAGE && trigger->stage != transition->to) ||
						(trigger->from_stage != LC_NO_STAGE && trigger->from_stage != transition->from))
						continue;
					if (!try_trigger(batch, subject, trigger, transition->at, PENDING, act))
						decided = false;
				}
			if (!decided)
				return false;
		}
	subject->phase = LC_PHASE_SETTLE;
	return true;
}

static bool
reads_changed(LcCondition *condition, LcSubject *subject)
{
	return condition->whole_row || bms_overlap(condition->row_columns, subject->columns);
}

/* The rules with a condition alone: the first that is true moves the subject, and the stage that it enters is settled in turn. */
static bool
fold_settle(LcBatch *batch, LcSubject *subject)
{
	LcLifecycle *lc = batch->lc;
	LcRule	   *winner = NULL;
	bool		decided = true;

	if (batch->capture->condition_rules)
		for (int i = 0; i < lc->nrules; i++)
		{
			LcRule	   *rule = &lc->rules[i];
			Truth		truth;

			if (rule->trigger != LC_RULE_CONDITION || !lc_rule_from(rule, subject->stage) || batch->capture->rule_quarantined[i] ||
				!(subject->any_column || reads_changed(rule->conditions[0], subject)))
				continue;
			truth = rule_holds(batch, subject, NULL, rule, decided);
			if (truth == PENDING)
				decided = false;
			else if (truth == TRUE_NOW)
			{
				winner = rule;
				break;
			}
		}
	if (!decided)
		return false;
	if (winner == NULL || lc_in_cycle(batch, subject, winner))
	{
		subject->phase = subject->after;
		return true;
	}
	hit(batch, winner);
	(void) transit(batch, subject, winner->to, time_of(batch, subject), "rule", winner->name);
	return true;
}

/*
 * on_change: the condition has become true. The old row only saves work where it shows that nothing has changed, or that it was true before.
 */
static bool
fold_change(LcBatch *batch, LcSubject *subject)
{
	subject->phase = LC_PHASE_ENROLL;
	if (!batch->capture->change_triggers || !(subject->inserted || subject->changed))
		return true;
	for (int act = 0; act <= 1; act++)
	{
		bool		decided = true;

		for (int entries = 0; entries <= 1; entries++)
			for (int i = 0; i < batch->lc->ntriggers; i++)
			{
				LcTrigger  *trigger = &batch->lc->triggers[i];
				LcCondition *condition;
				LcAnswer   *after;
				LcAnswer   *before = NULL;

				if (trigger->kind != LC_ON_CHANGE || (trigger->role == LC_ROLE_ENTRY) != entries || trigger->nconditions == 0)
					continue;
				condition = trigger->conditions[0];
				if (subject->changed && !subject->inserted && !reads_changed(condition, subject))
					continue;
				if (condition->reads_enrollment)
				{
					if (!try_trigger(batch, subject, trigger, batch->now, PENDING, act))
						decided = false;
					continue;
				}
				after = lc_ask(batch, subject, NULL, NULL, false, condition);
				if (subject->old_row)
					before = lc_ask(batch, subject, NULL, NULL, true, condition);
				if (!after->known || (before && !before->known))
				{
					decided = false;
					continue;
				}
				if (!lc_answer_true(after) || (before && lc_answer_true(before)))
					continue;
				if (!try_trigger(batch, subject, trigger, batch->now, TRUE_NOW, act))
					decided = false;
			}
		if (!decided)
		{
			subject->phase = LC_PHASE_CHANGE;
			return false;
		}
	}
	return true;
}

static bool
fold_enroll(LcBatch *batch, LcSubject *subject)
{
	if (subject->enroll)
	{
		if (!has_runs(batch, subject) || !can_begin_run(batch, subject, subject->enroll))
			return false;
		subject->enrolled = begin_run(batch, subject, subject->enroll, batch->now);
		if (subject->enrolled && subject->has_context)
		{
			subject->runs->has_context = true;
			subject->runs->context = subject->enroll_context;
		}
	}
	subject->phase = LC_PHASE_NEXT;
	return true;
}

/*
 * Asks already what later events will need, as far as that does not depend on the stage: one statement instead of one for each event. Once: what is
 * asked for is all that there is to ask, however often a later event has to wait for something else.
 */
static void
ask_ahead(LcBatch *batch, LcSubject *subject)
{
	if (subject->asked_ahead)
		return;
	subject->asked_ahead = true;
	for (int i = subject->pos - 1; i < subject->nevents; i++)
	{
		LcEvent    *event = subject->events[i];
		ListCell   *cell;

		foreach(cell, event->listener->rules)
		{
			LcRule	   *rule = lfirst(cell);
			LcCondition *condition = lc_condition_for(rule->conditions, rule->nconditions, event->source->table);

			if (condition && !condition->reads_subject && !rule->entry && of_source(rule->source, event) &&
				!batch->capture->rule_quarantined[rule - batch->lc->rules])
				lc_ask_ahead(batch, subject, event, condition);
		}
		foreach(cell, event->listener->entries)
		{
			LcTrigger  *trigger = lfirst(cell);
			LcCondition *condition = lc_condition_for(trigger->conditions, trigger->nconditions, event->source->table);

			if (condition && !condition->reads_subject && batch->enroll && trigger->version->enrolls && of_source(trigger->source, event))
				lc_ask_ahead(batch, subject, event, condition);
		}
	}
}

static bool
fold_event_triggers(LcBatch *batch, LcSubject *subject, List *triggers)
{
	if (triggers != NIL)
		for (int act = 0; act <= 1; act++)
		{
			bool		decided = true;
			ListCell   *cell;

			foreach(cell, triggers)
			{
				LcTrigger  *trigger = lfirst(cell);

				if (of_source(trigger->source, subject->event) &&
					!try_trigger(batch, subject, trigger, subject->event->at, PENDING, act))
					decided = false;
			}
			if (!decided)
				return false;
		}
	return true;
}

static bool
fold_event_rules(LcBatch *batch, LcSubject *subject)
{
	LcEvent    *event = subject->event;
	LcRule	   *winner = NULL;
	bool		decided = true;
	ListCell   *cell;

	foreach(cell, event->listener->rules)
	{
		LcRule	   *rule = lfirst(cell);
		Truth		truth;

		if (!lc_rule_from(rule, subject->stage) || !of_source(rule->source, event) ||
			batch->capture->rule_quarantined[rule - batch->lc->rules])
			continue;
		truth = rule_holds(batch, subject, event, rule, decided);
		if (truth == PENDING)
			decided = false;
		else if (truth == TRUE_NOW)
		{
			winner = rule;
			break;
		}
	}
	if (!decided)
	{
		ask_ahead(batch, subject);
		return false;
	}
	subject->phase = LC_PHASE_EVENT_ENTRIES;
	if (winner)
	{
		hit(batch, winner);
		subject->after = LC_PHASE_EVENT_ENTRIES;
		(void) transit(batch, subject, winner->to, event->at, "rule", winner->name);
	}
	return true;
}

static bool
fold_entry(LcBatch *batch, LcSubject *subject)
{
	LcLifecycle *lc = batch->lc;
	LcRule	   *winner = NULL;
	LcTransition *transition;

	for (int i = 0; i < lc->nrules && winner == NULL; i++)
	{
		LcRule	   *rule = &lc->rules[i];
		Truth		truth;

		if (!rule->entry || (rule->trigger != LC_RULE_CONDITION && rule->trigger != LC_RULE_ALLOWED) ||
			batch->capture->rule_quarantined[i])
			continue;
		truth = holds(batch, subject, NULL, NULL, rule->conditions, rule->nconditions);
		if (truth == PENDING)
			return false;
		if (truth == TRUE_NOW)
			winner = rule;
	}
	if (winner)
		hit(batch, winner);
	transition = transit(batch, subject, winner ? winner->to : lc->initial_stage, subject->since, "entry", winner ? winner->name : NULL);
	transition->since = 0;
	subject->after = LC_PHASE_CHANGE;
	return true;
}

/* Does the lifecycle let somebody move the subject there by hand? */
static bool
move_allowed(LcLifecycle *lc, LcSubject *subject, LcMove *move)
{
	if (!lc->strict || strcmp(move->cause, "manual") != 0)
		return true;
	for (int i = 0; i < lc->nrules; i++)
		if (lc->rules[i].to == move->to && lc_rule_from(&lc->rules[i], subject->stage))
			return true;
	return false;
}

static void
fold_move(LcBatch *batch, LcSubject *subject)
{
	LcMove	   *move = subject->move;
	LcTransition *transition;

	subject->move = NULL;
	if (move->to == subject->stage)
		move->result = LC_MOVE_SAME;
	else if (!move_allowed(batch->lc, subject, move))
		move->result = LC_MOVE_REFUSED;
	else
	{
		move->result = LC_MOVE_DONE;
		transition = transit(batch, subject, move->to, move->at, move->cause, move->rule);
		transition->enrollment = move->enrollment;
		transition->reason = move->reason;
		transition->actor = strcmp(move->cause, "manual") == 0;
	}
}

static bool
fold_begin(LcBatch *batch, LcSubject *subject)
{
	subject->after = LC_PHASE_CHANGE;
	if (subject->lock != LC_LOCK_FOUND)
	{
		if (subject->lock == LC_LOCK_MISSING)
			batch->orphans += subject->nevents;
		if (subject->move)
			subject->move->result = subject->lock == LC_LOCK_SKIPPED ? LC_MOVE_LOCKED : LC_MOVE_GONE;
		if (subject->timer)
			subject->timer->result = subject->lock == LC_LOCK_SKIPPED ? LC_TIMER_LOCKED : LC_TIMER_DONE;
		subject->phase = LC_PHASE_DONE;
		return true;
	}
	if (subject->stage == LC_NO_STAGE)
		return fold_entry(batch, subject);
	if (subject->timer && !subject->timer_fired)
	{
		LcRule	   *rule;

		if (!lc_timer_begin(batch, subject))
			return false;
		subject->phase = LC_PHASE_ARM;
		if (!subject->timer_fired)
			return true;
		rule = lc_rule_by_id(batch->lc, subject->timer->due->program);
		fire(batch, subject, rule, time_of(batch, subject), subject->timer_due);
		return true;
	}
	if (subject->inserted || subject->changed)
	{
		subject->any_column |= subject->inserted;
		subject->phase = LC_PHASE_SETTLE;
	}
	else
		subject->phase = LC_PHASE_CHANGE;
	return true;
}

static bool
fold_next(LcBatch *batch, LcSubject *subject)
{
	LcRule	   *rule;

	if (subject->move)
	{
		subject->after = LC_PHASE_NEXT;
		fold_move(batch, subject);
		return true;
	}
	subject->event = NULL;
	if (subject->replay)
	{
		TimestampTz due;

		if (!lc_replay_timer(batch, subject, &rule, &due))
			return false;
		if (rule)
		{
			subject->nfired = 0;
			subject->after = LC_PHASE_NEXT;
			fire(batch, subject, rule, subject->replay->clock, due);
			return true;
		}
	}
	subject->nfired = 0;
	if (subject->pos == subject->nevents)
	{
		subject->phase = LC_PHASE_ARM;
		return true;
	}
	subject->event = subject->events[subject->pos++];
	if (subject->replay)
		lc_replay_event(batch, subject);
	subject->phase = LC_PHASE_EVENT_EXITS;
	return true;
}

/* May the rule's date be another one now? */
static bool
date_changed(LcLifecycle *lc, LcRule *rule, LcSubject *subject)
{
	return reads_changed(rule->date, subject) || (rule->date->local_time && lc->timezone && reads_changed(lc->timezone, subject));
}

/* The timers of the stage that the subject is left in. */
static bool
fold_arm(LcBatch *batch, LcSubject *subject)
{
	LcLifecycle *lc = batch->lc;
	List	   *arms = NIL;
	bool		decided = true;

	/* history ends here: what is armed is of today */
	if (subject->replay)
		subject->replay->at = DT_NOEND;
	if (batch->capture->timer_rules && (subject->moved || subject->changed || subject->inserted))
		for (int i = 0; i < lc->nrules; i++)
		{
			LcRule	   *rule = &lc->rules[i];
			TimestampTz due;

			if ((rule->trigger != LC_RULE_AFTER && rule->trigger != LC_RULE_WITHOUT_EVENT && rule->trigger != LC_RULE_DATE) ||
				!lc_rule_from(rule, subject->stage))
				continue;
			if (!subject->moved && !subject->inserted && !(rule->trigger == LC_RULE_DATE && date_changed(lc, rule, subject)))
				continue;
			if (!lc_rule_due(batch, subject, rule, &due))
				decided = false;
			else if (decided && due != DT_NOEND)
			{
				LcArm	   *arm = palloc(sizeof(LcArm));

				arm->subject = subject;
				arm->rule = rule;
				arm->due = due;
				arms = lappend(arms, arm);
			}
		}
	if (!decided)
		return false;
	batch->arms = list_concat(batch->arms, arms);
	subject->phase = LC_PHASE_DONE;
	return true;
}

/* Takes the subject as far as it can; false: it waits for answers. In the batch's context. */
bool
lc_fold(LcBatch *batch, LcSubject *subject)
{
	bool		going = true;

	while (going && subject->phase != LC_PHASE_DONE)
		switch (subject->phase)
		{
			case LC_PHASE_BEGIN:
				going = fold_begin(batch, subject);
				break;
			case LC_PHASE_ENTERED:
				going = fold_entered(batch, subject);
				break;
			case LC_PHASE_SETTLE:
				going = fold_settle(batch, subject);
				break;
			case LC_PHASE_CHANGE:
				going = fold_change(batch, subject);
				break;
			case LC_PHASE_ENROLL:
				going = fold_enroll(batch, subject);
				break;
			case LC_PHASE_NEXT:
				going = fold_next(batch, subject);
				break;
			case LC_PHASE_EVENT_EXITS:
				going = fold_event_triggers(batch, subject, subject->event->listener->exits);
				if (going)
					subject->phase = LC_PHASE_EVENT_RULES;
				break;
			case LC_PHASE_EVENT_RULES:
				going = fold_event_rules(batch, subject);
				break;
			case LC_PHASE_EVENT_ENTRIES:
				going = fold_event_triggers(batch, subject, subject->event->listener->entries);
				if (going)
					subject->phase = LC_PHASE_NEXT;
				break;
			case LC_PHASE_ARM:
				going = fold_arm(batch, subject);
				break;
			case LC_PHASE_DONE:
				break;
		}
	return going;
}
