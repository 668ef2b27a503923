/*
 * owner.h: whose rights code runs with.
 */
#ifndef LC_OWNER_H
#define LC_OWNER_H

#include "catalog/definitions.h"

typedef struct LcIdentity
{
	Oid			user;
	int			flags;
	int			guc_nest_level;
} LcIdentity;

/*
 * Until lc_identity_restore: the lifecycle's owner (the owner of its subject table, now). For capture (`restricted`) as a security-restricted
 * operation; for actions of workflows without that restriction. Forced row security hides nothing from the statements of sql.c until then, but from the
 * functions that they call. search_path is pg_catalog, pg_temp, TimeZone, DateStyle and row_security are pinned. An error restores everything by itself at the end of the (sub)transaction.
 */
extern void lc_identity_owner(LcLifecycle *lc, bool restricted, LcIdentity *saved);

/* In the security context: we are the lifecycle's owner. PostgreSQL keeps bits that it does not know. */
#define LC_SECURITY_OWNER 0x4000

/* For sql.c: without forced row security until lc_no_force_end; false, and nothing to end, when we are not the lifecycle's owner. */
extern bool lc_no_force_begin(LcIdentity *saved);
extern void lc_no_force_end(const LcIdentity *saved);

/* Until lc_identity_restore: the owner of the extension's own tables. For reading and writing definitions only, with our own SQL only. */
extern void lc_identity_extension(LcIdentity *saved);

/* Until lc_identity_restore: a role, with the settings of the caller. For DDL in the owner's name, which resolves names as its author would. */
extern void lc_identity_role(Oid role, LcIdentity *saved);
extern void lc_identity_restore(const LcIdentity *saved);

/* Owner of a table, read from pg_class now. */
extern Oid	lc_table_owner(Oid table);

#endif							/* LC_OWNER_H */
