/*
 * installation.h: may anything run in this database, or is it a copy of the one that the definitions were made in?
 */
#ifndef LC_INSTALLATION_H
#define LC_INSTALLATION_H

typedef enum LcInstallation
{
	LC_INSTALLATION_HERE,
	LC_INSTALLATION_PAUSED,		/* by lifecycle.pause() */
	LC_INSTALLATION_COPY,		/* until lifecycle.resume() */
	LC_INSTALLATION_UNKNOWN		/* nothing was defined yet, or a dump is being restored */
} LcInstallation;

/* Called by define_lifecycle: the definitions belong to this cluster and database, unless that is recorded already. */
extern void lc_installation_claim(void);

/* Nothing may run but in state HERE. Runs SQL. *unfinished (may be NULL): the last run of the worker was interrupted. */
extern LcInstallation lc_installation_state(bool *unfinished);

/* Says in a WARNING why nothing runs, and what to call; silent when it does run or was paused. */
extern void lc_installation_warn(LcInstallation state);

/* Workers only: records that a run begins or has ended; false when someone has the row locked. */
extern bool lc_unfinished_run(bool on);

#endif							/* LC_INSTALLATION_H */
