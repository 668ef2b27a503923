/*
 * triggers.c: the triggers on the user's tables, as the definitions want them.
 *
 * What they do is said in listen.c, why they have a WHEN in when.c. Those of sources ask at run time which names somebody listens to, so they need not change when that does.
 *
 * Creating a trigger takes ShareRowExclusiveLock on the table; a trigger that is there already takes none. The caller has checked that the current role
 * owns the subject table and may put triggers on the source.
 */
#include "postgres.h"

#include "batch.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* lifecycle_<lifecycle>_<what>, cut to the length of a name with a hash where that is needed. */
static char *
trigger_name(const char *lifecycle, const char *what)
{
	char	   *full = psprintf("lifecycle_%s_%s", lifecycle, what);
	int			length = strlen(full);

	if (length < NAMEDATALEN)
		return full;
	return psprintf("%.*s_%08x", pg_mbcliplen(full, length, NAMEDATALEN - 10), full, hash_bytes((unsigned char *) full, length));
}

/*
 * Does the table have the trigger, with these arguments? One that somebody has disabled stays so; one that fires for others than it should, as DISABLE and
 * ENABLE TRIGGER ALL leave it, is another.
 */
static bool
trigger_exists(Oid table, const char *name, const char *definition, char enabled)
{
	Oid			types[4] = {OIDOID, NAMEOID, TEXTOID, CHAROID};
	Datum		values[4] = {ObjectIdGetDatum(table), CStringGetDatum(name), CStringGetTextDatum(definition), CharGetDatum(enabled)};

	lc_run_args("SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND tgname = $2 "
				"AND pg_catalog.obj_description(oid, 'pg_trigger') = $3 AND tgenabled IN ($4, 'D')", 4, types, values, NULL);
	return SPI_processed > 0;
}

/* What tgargs of a trigger of that lifecycle begins with. */
static Datum
first_argument(const char *lifecycle)
{
	int			length = strlen(lifecycle) + 1;
	bytea	   *argument = palloc(VARHDRSZ + length);

	SET_VARSIZE(argument, VARHDRSZ + length);
	memcpy(VARDATA(argument), lifecycle, length);
	return PointerGetDatum(argument);
}

/* The names of two lifecycles and their sources can give the same name of a trigger: that of another must not be replaced. */
static void
check_trigger_name(Oid table, const char *name, const char *lifecycle)
{
	Oid			types[3] = {OIDOID, NAMEOID, BYTEAOID};
	Datum		values[3] = {ObjectIdGetDatum(table), CStringGetDatum(name), first_argument(lifecycle)};

	lc_run_args("SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = $1 AND tgname = $2 "
				"AND pg_catalog.substring(tgargs, 1, pg_catalog.length($3)) <> $3", 3, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("trigger \"%s\" of table %s is not one of lifecycle \"%s\"", name, lc_qualified_name(table), lifecycle),
				 errhint("Give the lifecycle or the event source another name.")));
}

/*
 * Creates a trigger unless it is there. `definition` follows CREATE TRIGGER name and mentions the table. `enabled`: ALWAYS, also for what replication
 * writes, REPLICA, only for that, or NULL, only for the rest.
 */
static void
create_trigger(LcLifecycle *lc, Oid table, const char *name, const char *definition, const char *enabled, List **wanted)
{
	char	   *comment = psprintf("Captures changes for a lifecycle. Made by the extension lifecycle; definition %08x.",
								   hash_bytes((const unsigned char *) definition, strlen(definition)) ^ (enabled ? enabled[0] : 0));

	*wanted = lappend(*wanted, pstrdup(name));
	if (trigger_exists(table, name, comment, enabled ? enabled[0] : TRIGGER_FIRES_ON_ORIGIN))
		return;
	check_trigger_name(table, name, lc->name);
	lc_runf("CREATE OR REPLACE TRIGGER %s %s", quote_identifier(name), definition);
	if (enabled)
		lc_runf("ALTER TABLE %s ENABLE %s TRIGGER %s", lc_qualified_name(table), enabled, quote_identifier(name));
	lc_runf("COMMENT ON TRIGGER %s ON %s IS %s", quote_identifier(name), lc_qualified_name(table), quote_literal_cstr(comment));
}

/* Our triggers of that lifecycle on the table, but for those that are wanted. */
static void
drop_others(const char *lifecycle, Oid table, List *wanted)
{
	Oid			types[2] = {OIDOID, BYTEAOID};
	Datum		values[2] = {ObjectIdGetDatum(table), first_argument(lifecycle)};
	List	   *names = NIL;
	ListCell   *cell;

	lc_run_args("SELECT t.tgname FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid "
				"JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
				"WHERE t.tgrelid = $1 AND t.tgparentid = 0 AND n.nspname = 'lifecycle' "
				"AND p.proname IN ('_capture_subject', '_capture_event') "
				"AND pg_catalog.substring(t.tgargs, 1, pg_catalog.length($2)) = $2", 2, types, values, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
		names = lappend(names, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	foreach(cell, names)
	{
		ListCell   *other;
		bool		found = false;

		foreach(other, wanted)
			found |= strcmp(lfirst(other), lfirst(cell)) == 0;
		if (!found)
			lc_runf("DROP TRIGGER %s ON %s", quote_identifier(lfirst(cell)), lc_qualified_name(table));
	}
}

static void
create_subject_triggers(LcLifecycle *lc, List **wanted)
{
	static const char *const events[][3] = {
		{"insert", "INSERT", " REFERENCING NEW TABLE AS new_rows"},
		{"update", "UPDATE", " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"},
		{"delete", "DELETE", " REFERENCING OLD TABLE AS old_rows"},
		{"truncate", "TRUNCATE", ""},
	};
	char	   *call = psprintf("EXECUTE FUNCTION lifecycle._capture_subject(%s)", quote_literal_cstr(lc->name));

	for (int i = 0; i < lengthof(events); i++)
		create_trigger(lc, lc->on_table, trigger_name(lc->name, events[i][0]),
					   psprintf("AFTER %s ON %s%s FOR EACH STATEMENT %s", events[i][1], lc->on_table_sql, events[i][2], call),
					   lc->replicated && strcmp(events[i][1], "TRUNCATE") == 0 ? "ALWAYS" : NULL, wanted);
	if (lc->replicated)
		create_trigger(lc, lc->on_table, trigger_name(lc->name, "row"),
					   psprintf("AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW %s", lc->on_table_sql, call), "REPLICA", wanted);
}

static void
create_source_triggers(LcLifecycle *lc, LcSource *source, List **wanted)
{
	static const char *const kinds[] = {"event", "fold", "begin"};
	char	   *names[lengthof(kinds)];
	char	   *table = lc_qualified_name(source->table);
	const char *events = source->becomes ? "INSERT OR UPDATE" : "INSERT";
	char	   *call = psprintf("EXECUTE FUNCTION lifecycle._capture_event(%s, %s)", quote_literal_cstr(lc->name), quote_literal_cstr(source->name));
	char	   *event = source->name_column ? psprintf("NEW.%s::pg_catalog.text", quote_identifier(source->name_column)) :
		quote_literal_cstr(source->event_name);

	for (int i = 0; i < lengthof(kinds); i++)
		names[i] = trigger_name(lc->name, psprintf("%s_%s", kinds[i], source->name));
	/* What it has stays until it is defined again. */
	if (source->broken)
	{
		for (int i = 0; i < lengthof(kinds); i++)
			*wanted = lappend(*wanted, names[i]);
		return;
	}
	create_trigger(lc, source->table, names[0],
				   psprintf("AFTER %s ON %s FOR EACH ROW WHEN (lifecycle._listens(%s, %s)) %s", events, table,
							quote_literal_cstr(lc->name), event, call), source->replicated ? "ALWAYS" : NULL, wanted);
	create_trigger(lc, source->table, names[1], psprintf("AFTER %s ON %s FOR EACH STATEMENT WHEN (true) %s", events, table, call), NULL, wanted);
	if (get_rel_relkind(source->table) == RELKIND_PARTITIONED_TABLE)
		create_trigger(lc, source->table, names[2], psprintf("BEFORE INSERT ON %s FOR EACH STATEMENT %s", table, call), NULL, wanted);
}

/* (Re)creates the triggers on the subject table and on the sources, as the definitions now say. The caller is connected to SPI. */
void
lc_triggers_create(const char *lifecycle)
{
	LcLifecycle *lc = lc_lifecycle_get(lifecycle, false);
	List	   *wanted = NIL;
	LcIdentity	saved;

	lc_identity_extension(&saved);
	create_subject_triggers(lc, &wanted);
	for (int i = 0; i < lc->nsources; i++)
		create_source_triggers(lc, &lc->sources[i], &wanted);
	drop_others(lifecycle, lc->on_table, wanted);
	for (int i = 0; i < lc->nsources; i++)
		drop_others(lifecycle, lc->sources[i].table, wanted);
	lc_identity_restore(&saved);
}

/* Drops the triggers of a lifecycle from one table. The caller is connected to SPI. */
void
lc_triggers_drop(const char *lifecycle, Oid table)
{
	LcIdentity	saved;

	lc_identity_extension(&saved);
	drop_others(lifecycle, table, NIL);
	lc_identity_restore(&saved);
}
