/*
 * cycles.c: what would go on for ever: rules that chain within one statement, and runs and timers that set off each other from transaction to
 * transaction. Either is an error in the definitions, which is reported and cut.
 */
#include "postgres.h"

#include "batch.h"
#include "errors.h"
#include "guc.h"
#include "lib/stringinfo.h"
#include "lifecycle.h"

static void
report_cycle(LcBatch *batch, LcSubject *subject, LcRule *rule, const char *names)
{
	if (lc_guc_on_error == LC_ON_ERROR_RAISE)
		ereport(ERROR,
				(errcode(ERRCODE_LC_RULE_CYCLE),
				 errmsg("transition rules of lifecycle \"%s\" chain without end", batch->lc->name),
				 errdetail("The rules that follow each other are %s.", names),
				 errhint("Change the condition of one of them with define_transition, or drop it with drop_transition.")));
	lc_record_failure(batch, subject->key, "rule", rule->name, ERRCODE_LC_RULE_CYCLE,
					  psprintf("transition rules chain without end: %s", names));
}

/*
 * Have runs and timers set off each other so often that they would for ever, each in a transaction of its own? Then this one is left out, the timer of a rule
 * or (rule NULL) a run of a version, which ends it: an event, a changed row, a call by hand or time that passes begins anew.
 */
bool
lc_loops(LcBatch *batch, LcSubject *subject, LcRule *rule, LcVersion *version)
{
	const char *what = rule ? "the timer of rule" : "workflow";
	const char *name = rule ? rule->name : version->workflow;

	if (subject->turns < LC_MAX_TURNS)
		return false;
	if (subject->cut == name)
		return true;
	if (lc_guc_on_error == LC_ON_ERROR_RAISE)
		ereport(ERROR,
				(errcode(ERRCODE_LC_RULE_CYCLE),
				 errmsg("%s \"%s\" of lifecycle \"%s\" loops without end", what, name, batch->lc->name),
				 errdetail("%d runs and timers have set off each other, without an event, a change or a second in between.", LC_MAX_TURNS),
				 errhint("Let a step wait (delay), let the workflow be entered again only after an interval (reentry), "
						 "or change the step or rule that leads back.")));
	lc_record_failure(batch, subject->key, rule ? "timer" : "trigger", name, ERRCODE_LC_RULE_CYCLE,
					  psprintf("%s \"%s\" loops without end: %d runs and timers have set off each other, without an event, a change or a second in "
							   "between; let a step wait (delay), let the workflow be entered again only after an interval (reentry), or change "
							   "the step or rule that leads back", what, name, LC_MAX_TURNS));
	subject->cut = name;
	batch->loops++;
	return true;
}

/*
 * Has the rule fired in this stage before, without an event in between? Then the rules chain without end: that is an error in the definitions, which
 * stops the chain there.
 */
bool
lc_in_cycle(LcBatch *batch, LcSubject *subject, LcRule *rule)
{
	StringInfoData names;

	for (int i = 0; i < subject->nfired; i++)
	{
		if (subject->fired[i].stage != subject->stage || (subject->fired[i].rule != rule && subject->nfired < LC_MAX_ROUNDS))
			continue;
		initStringInfo(&names);
		for (int j = i; j < subject->nfired; j++)
			appendStringInfo(&names, "%s\"%s\"", j > i ? ", " : "", subject->fired[j].rule->name);
		report_cycle(batch, subject, rule, names.data);
		return true;
	}
	/* as long as each stage is another one the chain may go on, through all of them */
	if (subject->nfired == subject->fired_room)
	{
		subject->fired_room = Max(8, subject->fired_room * 2);
		subject->fired = subject->fired ? repalloc(subject->fired, subject->fired_room * sizeof(LcFired)) :
			palloc(subject->fired_room * sizeof(LcFired));
	}
	subject->fired[subject->nfired].rule = rule;
	subject->fired[subject->nfired++].stage = subject->stage;
	return false;
}
