/*
 * lifecycle.c: module magic and initialization. Nothing else.
 */
#include "postgres.h"

#include "fmgr.h"

#include "capture/capture.h"
#include "catalog/definitions.h"
#include "catalog/sql.h"
#include "guc.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	lc_worker_init();			/* before lc_guc_init, which reserves the prefix of our settings */
	lc_guc_init();
	lc_definitions_init();
	lc_sql_init();
	lc_when_init();
	lc_arm_init();
}
