/*
 * owner.c: whose rights code runs with.
 *
 * The lifecycle's owner is the owner of its subject table, read now: REASSIGN OWNED then just works, and nobody but that owner can make the
 * table's triggers run code. Capture is a security-restricted operation, since the row that it sees may come from anyone; actions of
 * workflows are not, since that would forbid deferrable foreign keys and temporary tables.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "jit/jit.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#define SAFE_SEARCH_PATH "pg_catalog, pg_temp"

Oid
lc_table_owner(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", table)));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
pin_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Setting what is set already costs half a microsecond each, on every captured row. */
static void
pin_settings(LcIdentity *saved)
{
	saved->guc_nest_level = NewGUCNestLevel();
	if (strcmp(namespace_search_path, SAFE_SEARCH_PATH) != 0)
		pin_setting("search_path", SAFE_SEARCH_PATH);
	if (strcmp(pg_get_timezone_name(session_timezone), "UTC") != 0)
		pin_setting("timezone", "UTC");
	if (DateStyle != USE_ISO_DATES || DateOrder != DATEORDER_MDY)
		pin_setting("datestyle", "ISO, MDY");
	if (jit_enabled)
		pin_setting("jit", "off");
	if (plan_cache_mode != PLAN_CACHE_MODE_AUTO)
		pin_setting("plan_cache_mode", "auto");	/* sql.c says which plans are kept */
	if (!row_security)
		pin_setting("row_security", "on");
}

bool
lc_no_force_begin(LcIdentity *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->flags);
	if ((saved->flags & LC_SECURITY_OWNER) == 0)
		return false;
	SetUserIdAndSecContext(saved->user, saved->flags | SECURITY_NOFORCE_RLS);
	return true;
}

void
lc_no_force_end(const LcIdentity *saved)
{
	SetUserIdAndSecContext(saved->user, saved->flags);
}

void
lc_identity_owner(LcLifecycle *lc, bool restricted, LcIdentity *saved)
{
	int			flags = SECURITY_LOCAL_USERID_CHANGE;

	GetUserIdAndSecContext(&saved->user, &saved->flags);
	if (restricted)
		flags |= SECURITY_RESTRICTED_OPERATION;
	flags |= LC_SECURITY_OWNER;
	SetUserIdAndSecContext(lc_table_owner(lc->on_table), saved->flags | flags);
	pin_settings(saved);
}

void
lc_identity_extension(LcIdentity *saved)
{
	Oid			table = get_relname_relid("lifecycles", get_namespace_oid(LC_SCHEMA, false));

	GetUserIdAndSecContext(&saved->user, &saved->flags);
	SetUserIdAndSecContext(lc_table_owner(table), saved->flags | SECURITY_LOCAL_USERID_CHANGE);
	pin_settings(saved);
}

void
lc_identity_role(Oid role, LcIdentity *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->flags);
	SetUserIdAndSecContext(role, saved->flags | SECURITY_LOCAL_USERID_CHANGE);
	saved->guc_nest_level = NewGUCNestLevel();
}

void
lc_identity_restore(const LcIdentity *saved)
{
	AtEOXact_GUC(false, saved->guc_nest_level);
	SetUserIdAndSecContext(saved->user, saved->flags);
}
