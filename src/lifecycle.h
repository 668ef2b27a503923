/*
 * lifecycle.h: limits shared by all parts of the extension.
 */
#ifndef LIFECYCLE_H
#define LIFECYCLE_H

#define LC_SCHEMA			"lifecycle"
#define LC_FORMAT			1		/* format of the state tables that define_lifecycle makes */

#define LC_MAX_STAGES		1000	/* stages of one lifecycle */
#define LC_MAX_STEPS		10000	/* steps of one workflow version */
#define LC_MAX_STEP_DEPTH	100		/* nesting of branches */
#define LC_MAX_CONDITION	65536	/* bytes of one condition */
#define LC_MAX_ROUNDS		100		/* transitions of one subject that chain without an event */
#define LC_MAX_TURNS		100		/* runs and timers that set off each other, with nothing new and no time in between */
#define LC_QUARANTINE		100		/* errors in a row after which a rule is skipped until it is defined again */

#endif							/* LIFECYCLE_H */
