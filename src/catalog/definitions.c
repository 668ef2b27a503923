/*
 * definitions.c: the cache of definitions: finding, keeping and forgetting entries. load.c builds them.
 *
 * An entry becomes stale when a definition table changes (each has a trigger that sends a relcache invalidation of lifecycle.lifecycles, so
 * that it follows the transaction of the change, also in other backends and also on rollback), and when a relation changes that the
 * entry depends on. The callbacks only move entries to the stale list; their memory goes at the end of the transaction, so that pointers into
 * an entry stay good until then.
 *
 * VACUUM, ANALYZE and CREATE INDEX send the same invalidations for a relation as ALTER TABLE does, and on busy tables all the time. Building an entry and
 * its plans anew takes milliseconds, so an entry is first only suspected, and whoever asks for it next compares what it was built from.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/definitions.h"
#include "errors.h"
#include "catalog/load.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/sql.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "compat.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(lifecycle__definitions_changed);

static List *entries = NIL;		/* in CacheMemoryContext, as the entries are */
static List *stale_entries = NIL;
static Oid	lifecycles_table = InvalidOid;
static uint64 changes = 0;		/* counts invalidations: one that arrives while an entry is being built makes it stale at birth */

static bool
depends_on(const LcLifecycle *lc, Oid relation)
{
	for (int i = 0; i < lc->nrelations; i++)
		if (lc->relations[i] == relation)
			return true;
	return false;
}

static void
forget(LcLifecycle *lc)
{
	MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);

	stale_entries = lappend(stale_entries, lc);
	entries = list_delete_ptr(entries, lc);
	MemoryContextSwitchTo(old);
}

static void
forget_all(void)
{
	changes++;
	while (entries != NIL)
		forget(linitial(entries));
}

static void
relation_changed(Datum arg, Oid relation)
{
	ListCell   *cell;

	if (relation == InvalidOid || relation == lifecycles_table)
	{
		forget_all();
		return;
	}
	changes++;
	foreach(cell, entries)
		if (depends_on(lfirst(cell), relation))
			((LcLifecycle *) lfirst(cell))->suspected = true;
}

/* A function or a schema was changed: rare enough to forget everything. */
static void
name_changed(Datum arg, int cache, uint32 hash)
{
	forget_all();
}

/* Is the entry good, after a relation that it depends on has changed in some way? */
static bool
is_acquitted(LcLifecycle *lc)
{
	lc->suspected = false;
	if (lc->broken)
		return false;
	for (int i = 0; i < lc->nrelations; i++)
		if (lc->signatures[i] != lc_relation_signature(lc->relations[i]))
			return false;
	/* looking may have brought news */
	return !lc->suspected;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	ListCell   *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(cell, stale_entries)
		MemoryContextDelete(((LcLifecycle *) lfirst(cell))->context);
	list_free(stale_entries);
	stale_entries = NIL;
}

void
lc_definitions_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, 0);
	CacheRegisterSyscacheCallback(PROCOID, name_changed, 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, name_changed, 0);
	RegisterXactCallback(transaction_ended, NULL);
}

uint64
lc_definitions_generation(void)
{
	return changes;
}

static Oid
definitions_table(void)
{
	Oid			namespace = get_namespace_oid(LC_SCHEMA, true);

	return OidIsValid(namespace) ? get_relname_relid("lifecycles", namespace) : InvalidOid;
}

void
lc_definitions_changed(void)
{
	CacheInvalidateRelcacheByRelid(definitions_table());
	lc_wake_definitions();
	CommandCounterIncrement();
}

Datum
lifecycle__definitions_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called as a trigger", "lifecycle._definitions_changed")));
	CacheInvalidateRelcacheByRelid(definitions_table());
	lc_wake_definitions();
	PG_RETURN_POINTER(NULL);
}

static void
raise_undefined(const char *name)
{
	List	   *names = lc_lifecycle_names();
	StringInfoData known;
	ListCell   *cell;

	initStringInfo(&known);
	foreach(cell, names)
		appendStringInfo(&known, "%s\"%s\"", known.len > 0 ? ", " : "", (char *) lfirst(cell));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("lifecycle \"%s\" is not defined", name),
			 known.len > 0 ? errhint("Defined are: %s.", known.data) : errhint("Define it with lifecycle.define_lifecycle('%s', on_table => …).", name)));
}

/* An invalidation that comes in while an entry is built may be about what was read before it: then once more. */
static LcLifecycle *
load_undisturbed(const char *name)
{
	for (;;)
	{
		uint64		seen = changes;
		LcLifecycle *lc = lc_load_lifecycle(name);

		if (lc == NULL || seen == changes)
			return lc;
		MemoryContextDelete(lc->context);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Into CacheMemoryContext, where the callbacks find it. */
static void
keep_entry(LcLifecycle *lc)
{
	MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);

	entries = lappend(entries, lc);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(lc->context, CacheMemoryContext);
}

LcLifecycle *
lc_lifecycle_cached(const char *name)
{
	ListCell   *cell;

	foreach(cell, entries)
	{
		LcLifecycle *lc = lfirst(cell);

		if (strcmp(lc->name, name) != 0)
			continue;
		if (!lc->suspected || is_acquitted(lc))
			return lc;
		/* looking at it may have brought the news that put it on the other list */
		if (list_member_ptr(entries, lc))
			forget(lc);
		break;
	}
	return NULL;
}

LcLifecycle *
lc_lifecycle_find(const char *name)
{
	LcLifecycle *lc = lc_lifecycle_cached(name);

	if (lc != NULL)
		return lc;
	lifecycles_table = definitions_table();
	lc = OidIsValid(lifecycles_table) ? load_undisturbed(name) : NULL;
	if (lc == NULL)
		return NULL;
	if (lc->format != LC_FORMAT)
		ereport(ERROR,
				(errcode(ERRCODE_LC_FORMAT),
				 errmsg("the tables of lifecycle \"%s\" have format %d, this version of the extension knows %d", name, lc->format, LC_FORMAT),
				 lc->format > LC_FORMAT ? errhint("Install the version of the extension that made them.") :
				 errhint("Call lifecycle.upgrade_lifecycle('%s').", name)));
	keep_entry(lc);
	return lc;
}

LcLifecycle *
lc_lifecycle_get(const char *name, bool missing_ok)
{
	LcLifecycle *lc = lc_lifecycle_find(name);

	if (lc == NULL && !missing_ok)
		raise_undefined(name);
	if (lc != NULL && lc->broken)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("lifecycle \"%s\" cannot work: %s", name, lc->broken),
				 errhint("%s", lc->broken_hint)));
	return lc;
}

void
lc_warn_broken(LcLifecycle *lc)
{
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("lifecycle \"%s\" cannot work: %s", lc->name, lc->broken),
			 errhint("%s", lc->broken_hint)));
}

LcListener *
lc_listener_get(LcLifecycle *lc, const char *event, int length)
{
	uint32		hash;
	LcListener *listener;

	if (lc->nlisteners == 0)
		return NULL;
	hash = hash_bytes((const unsigned char *) event, length);
	for (listener = lc->buckets[hash & lc->bucket_mask]; listener != NULL; listener = listener->next)
		if (listener->hash == hash && listener->length == length && memcmp(listener->event, event, length) == 0)
			return listener;
	return NULL;
}

Datum
lc_key_copy(LcLifecycle *lc, Datum key)
{
	if (lc->key_len == -1)
		return PointerGetDatum(PG_DETOAST_DATUM_COPY(key));
	return datumCopy(key, lc->key_byval, lc->key_len);
}

LcSource *
lc_source_of_table(LcLifecycle *lc, Oid table, const char *name)
{
	for (int i = 0; i < lc->nsources; i++)
		if (lc->sources[i].table == table && (name == NULL || strcmp(lc->sources[i].name, name) == 0))
			return &lc->sources[i];
	return NULL;
}

LcSource *
lc_source_by_name(LcLifecycle *lc, const char *name)
{
	for (int i = 0; i < lc->nsources; i++)
		if (strcmp(lc->sources[i].name, name) == 0)
			return &lc->sources[i];
	return NULL;
}

LcRule *
lc_rule_by_id(LcLifecycle *lc, int id)
{
	for (int i = 0; i < lc->nrules; i++)
		if (lc->rules[i].id == id)
			return &lc->rules[i];
	return NULL;
}

LcVersion *
lc_version_by_id(LcLifecycle *lc, int id)
{
	for (int i = 0; i < lc->nversions; i++)
		if (lc->versions[i].id == id)
			return &lc->versions[i];
	return NULL;
}

int
lc_stage_by_name(LcLifecycle *lc, const char *name)
{
	for (int i = 0; i < lc->nstages; i++)
		if (strcmp(lc->stages[i].name, name) == 0)
			return i;
	return LC_NO_STAGE;
}

int
lc_stage_by_label(LcLifecycle *lc, Oid label)
{
	for (int i = 0; i < lc->nstages; i++)
		if (lc->stages[i].label == label)
			return i;
	return LC_NO_STAGE;
}

Datum
lc_stage_datum(LcLifecycle *lc, int stage)
{
	Oid			label = lc->stages[stage].label;

	if (EnumUncommitted(label))
		ereport(ERROR,
				(errcode(ERRCODE_UNSAFE_NEW_ENUM_VALUE_USAGE),
				 errmsg("stage \"%s\" of lifecycle \"%s\" cannot be used before it is committed", lc->stages[stage].name, lc->name),
				 errhint("Commit the transaction that calls lifecycle.add_stage first.")));
	return ObjectIdGetDatum(label);
}

LcCondition *
lc_condition_for(LcCondition **conditions, int n, Oid event_table)
{
	LcCondition *plain = NULL;

	for (int i = 0; i < n; i++)
	{
		if (conditions[i]->event_table == event_table)
			return conditions[i];
		if (!OidIsValid(conditions[i]->event_table))
			plain = conditions[i];
	}
	return plain;
}

List *
lc_lifecycle_names(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *names = NIL;
	LcIdentity	saved;

	if (!OidIsValid(definitions_table()))
		return NIL;
	SPI_connect();
	lc_identity_extension(&saved);
	lc_run("SELECT name FROM lifecycle.lifecycles ORDER BY name");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(context);

		names = lappend(names, pstrdup(name));
		MemoryContextSwitchTo(old);
	}
	lc_identity_restore(&saved);
	SPI_finish();
	return names;
}

void
lc_check_definer(LcLifecycle *lc)
{
	if (!lc_owns_table(lc->on_table, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s to change lifecycle \"%s\"", lc->on_table_sql, lc->name)));
}
