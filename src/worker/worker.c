/*
 * worker.c: initialization of everything about processes: shared memory, wake-ups, hooks, launcher.
 *
 * Without shared_preload_libraries there is no shared memory and there are no workers: then only lifecycle.run_due() runs what is due, and all
 * that is called here from the other parts does nothing.
 */
#include "postgres.h"

#include "guc.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "worker/shared.h"
#include "worker/worker.h"

int			lc_guc_max_databases = 32;
bool		lc_guc_scheduler = true;

void
lc_worker_init(void)
{
	DefineCustomBoolVariable("lifecycle.scheduler",
							 "Runs in the background what is due.",
							 "Set it in postgresql.conf or with ALTER DATABASE; off leaves everything to lifecycle.run_due().",
							 &lc_guc_scheduler, true, PGC_SUSET, 0, NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomIntVariable("lifecycle.max_databases",
							"Databases whose lifecycles are run at once.",
							"Each needs a background worker, besides the launcher's own: see max_worker_processes.",
							&lc_guc_max_databases, 32, 1, 10000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	lc_shmem_init();
	lc_wake_init();
	lc_utility_init();
	if (!IsBinaryUpgrade)
		lc_launcher_register();
}
