/*
 * lifecycle.c: module magic and initialization. Nothing else.
 */
#include "postgres.h"

#include "fmgr.h"

#include "catalog/definitions.h"
#include "guc.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	lc_guc_init();
	lc_definitions_init();
	lc_worker_init();
}
