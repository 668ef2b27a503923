/*
 * utility.c: commands that databases and the extension come and go by.
 *
 * DROP DATABASE, ALTER DATABASE … RENAME or SET TABLESPACE, and CREATE DATABASE … TEMPLATE fail while anyone is connected to the database, so its scheduler
 * is ended first and kept away until the transaction ends (a hold, see shmem.c). Settings of a database, or of the role that its scheduler runs as, are read
 * when that starts: once they have changed it ends, between batches, and is started anew. CREATE and DROP EXTENSION are noticed by the object access
 * hook, whatever command they come from, and told at commit.
 */
#include "postgres.h"

#include "clock.h"
#include <signal.h>

#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/shared.h"

#define STOP_TIMEOUT_MS 10000

static ProcessUtility_hook_type previous_utility = NULL;
static object_access_hook_type previous_object_access = NULL;

/* The name of the database that must have no connections for this statement, or NULL. */
static const char *
database_to_clear(Node *statement)
{
	ListCell   *cell;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			foreach(cell, ((AlterDatabaseStmt *) statement)->options)
				if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) statement)->dbname;
			return NULL;
		case T_CreatedbStmt:
			foreach(cell, ((CreatedbStmt *) statement)->options)
				if (strcmp(((DefElem *) lfirst(cell))->defname, "template") == 0)
					return defGetString((DefElem *) lfirst(cell));
			return "template1";
		default:
			return NULL;
	}
}

/* Ends the scheduler of a database and waits until it is gone, bounded: then the command itself says who is connected. */
static void
stop_scheduler(Oid database)
{
	LcSlot	   *slot = lc_slot_find(database);
	TimestampTz give_up = TimestampTzPlusMilliseconds(lc_now(false), STOP_TIMEOUT_MS);
	int			pid = slot ? (int) pg_atomic_read_u32(&slot->pid) : 0;
	bool		told = false;

	while (pid != 0 && BackendPidGetProc(pid) != NULL && lc_now(false) < give_up)
	{
		if (!told)
			told = kill(pid, SIGTERM) == 0;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 2, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Does the statement change settings that schedulers start with? *database: of this one; InvalidOid: of all. */
static bool
sets_for_schedulers(Node *statement, Oid *database)
{
	const char *name;

	if (IsA(statement, AlterDatabaseSetStmt))
		name = ((AlterDatabaseSetStmt *) statement)->dbname;
	else if (IsA(statement, AlterRoleSetStmt))
	{
		AlterRoleSetStmt *set = (AlterRoleSetStmt *) statement;

		/* they are the bootstrap superuser */
		if (set->role != NULL && get_rolespec_oid(set->role, true) != BOOTSTRAP_SUPERUSERID)
			return false;
		name = set->database;
	}
	else
		return false;
	*database = name ? get_database_oid(name, true) : InvalidOid;
	return true;
}

static void
utility(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *statement = pstmt->utilityStmt;
	const char *name = database_to_clear(statement);
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;
	Oid			set_database;
	bool		sets = sets_for_schedulers(statement, &set_database);

	/* others may not, and are told so by the command itself */
	if (OidIsValid(database) && (database != MyDatabaseId || IsA(statement, CreatedbStmt)) &&
		lc_owns_database(database, GetUserId()) && lc_hold_begin(database))
		stop_scheduler(database);
	if (name != NULL || IsA(statement, AlterDatabaseStmt))
		lc_poke_at_commit(InvalidOid);

	if (previous_utility)
		previous_utility(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	/* only once it was allowed; the statement itself may be freed by now */
	if (sets)
		lc_renew_at_commit(set_database);
}

static void
object_access(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class, object, sub, arg);
	if (class == ExtensionRelationId && (access == OAT_POST_CREATE || access == OAT_DROP))
		lc_poke_at_commit(MyDatabaseId);
}

void
lc_utility_init(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	previous_object_access = object_access_hook;
	object_access_hook = object_access;
}
