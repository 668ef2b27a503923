/*
 * load.c: builds a cache entry from the definition tables.
 *
 * Runs as the extension's owner, since the one whose row is captured may not read definitions, and with a search_path of pg_catalog, so that the
 * texts of conditions come out with every name qualified. A definition whose function or table is gone (a restore that is not finished, a
 * dropped table) does not make the load fail: a condition then fails as one that is not true for a row, an event source or a lifecycle is marked as broken.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/condition.h"
#include "catalog/define.h"
#include "catalog/dependency.h"
#include "catalog/load.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "common/hashfn.h"
#include "compat.h"
#include "lifecycle.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

static const char *const table_names[LC_NTABLES] = {
	[LC_SUBJECTS] = "subjects",
	[LC_TRANSITIONS] = "transitions",
	[LC_ENROLLMENTS] = "enrollments",
	[LC_ACTIVITY] = "activity",
	[LC_MESSAGES_TABLE] = "messages",
	[LC_FAILURES] = "failures",
	[LC_DUE] = "_due",
};

static const char *const prototype_names[LC_NTABLES] = {
	[LC_SUBJECTS] = "_subjects",
	[LC_TRANSITIONS] = "_transitions",
	[LC_ENROLLMENTS] = "_enrollments",
	[LC_ACTIVITY] = "_activity",
	[LC_MESSAGES_TABLE] = "_messages",
	[LC_FAILURES] = "_failures",
	[LC_DUE] = "_due",
};

/* Columns of the current result row, copied into the entry's context. */
static char *
text_of(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Datum
datum_of(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static bool
bool_of(uint64 row, int column)
{
	bool		isnull;
	Datum		value = datum_of(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

static int
int_of(uint64 row, int column)
{
	bool		isnull;
	Datum		value = datum_of(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static Oid
oid_of(uint64 row, int column)
{
	bool		isnull;
	Datum		value = datum_of(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

static Interval *
interval_of(uint64 row, int column)
{
	bool		isnull;
	Datum		value = datum_of(row, column, &isnull);
	Interval   *copy;

	if (isnull)
		return NULL;
	copy = palloc(sizeof(Interval));
	*copy = *DatumGetIntervalP(value);
	return copy;
}

static uint64
query(const char *sql, const char *lifecycle)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(lifecycle)};

	lc_run_args(sql, 1, types, values, NULL);
	return SPI_processed;
}

static void
add_relation(LcLifecycle *lc, Oid relation)
{
	for (int i = 0; i < lc->nrelations; i++)
		if (lc->relations[i] == relation)
			return;
	lc->relations = lc->relations == NULL ? palloc(sizeof(Oid)) : repalloc(lc->relations, (lc->nrelations + 1) * sizeof(Oid));
	lc->relations[lc->nrelations++] = relation;
}

static uint64
hash_more(uint64 hash, const void *data, int length)
{
	return hash_combine64(hash, hash_bytes_extended(data, length, 0));
}

uint64
lc_relation_signature(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Form_pg_class class;
	int			natts;
	uint64		hash;

	if (!HeapTupleIsValid(tuple))
		return 0;
	class = (Form_pg_class) GETSTRUCT(tuple);
	natts = class->relnatts;
	hash = hash_more(1, NameStr(class->relname), strlen(NameStr(class->relname)));
	hash = hash_more(hash, &class->relnamespace, sizeof(Oid));
	hash = hash_more(hash, &class->relowner, sizeof(Oid));
	hash = hash_more(hash, &class->relkind, 1);
	hash = hash_more(hash, &class->relrowsecurity, 1);
	hash = hash_more(hash, &class->relforcerowsecurity, 1);
	ReleaseSysCache(tuple);
	for (AttrNumber i = 1; i <= natts; i++)
	{
		Form_pg_attribute attribute;

		tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(i));
		if (!HeapTupleIsValid(tuple))
			return 0;
		attribute = (Form_pg_attribute) GETSTRUCT(tuple);
		hash = hash_more(hash, NameStr(attribute->attname), strlen(NameStr(attribute->attname)));
		hash = hash_more(hash, &attribute->atttypid, sizeof(Oid));
		hash = hash_more(hash, &attribute->atttypmod, sizeof(int32));
		hash = hash_more(hash, &attribute->attcollation, sizeof(Oid));
		hash = hash_more(hash, &attribute->attisdropped, 1);
		hash = hash_more(hash, &attribute->attidentity, 1);
		ReleaseSysCache(tuple);
	}
	return hash;
}

static void
sign_relations(LcLifecycle *lc)
{
	lc->signatures = palloc(Max(lc->nrelations, 1) * sizeof(uint64));
	for (int i = 0; i < lc->nrelations; i++)
		lc->signatures[i] = lc_relation_signature(lc->relations[i]);
}

static LcCondition **
load_conditions(LcLifecycle *lc, const char *function, int *n)
{
	LcCondition **conditions;

	*n = 0;
	if (function == NULL)
		return NULL;
	conditions = lc_condition_load(lc, function, n);
	for (int i = 0; i < *n; i++)
	{
		ListCell   *cell;

		foreach(cell, conditions[i]->relations)
			add_relation(lc, lfirst_oid(cell));
	}
	return conditions;
}

static LcCondition *
load_expression(LcLifecycle *lc, const char *function)
{
	int			n;
	LcCondition **conditions = load_conditions(lc, function, &n);

	return n > 0 ? conditions[0] : NULL;
}

char *
lc_qualified_name(Oid relation)
{
	if (get_rel_name(relation) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	return pstrdup(quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation)));
}

static void
mark_broken(LcLifecycle *lc, char *problem, char *hint)
{
	if (lc->broken)
		return;
	lc->broken = problem;
	lc->broken_hint = hint;
}

static void
load_key(LcLifecycle *lc)
{
	int32		modifier;

	lc->key_attnum = get_attnum(lc->on_table, lc->key_column);
	if (lc->key_attnum == InvalidAttrNumber)
	{
		mark_broken(lc, psprintf("table %s has no column \"%s\" any more, its key", lc->on_table_sql, lc->key_column),
					psprintf("Add the column again, or drop the lifecycle with lifecycle.drop_lifecycle('%s').", lc->name));
		return;
	}
	get_atttypetypmodcoll(lc->on_table, lc->key_attnum, &lc->key_type, &modifier, &lc->key_collation);
	if (lc->key_type == VARCHAROID)
		lc->key_type = TEXTOID;
	get_typlenbyvalalign(lc->key_type, &lc->key_len, &lc->key_byval, &lc->key_align);
	lc->key_array_type = get_array_type(lc->key_type);
	lc->key_type_sql = format_type_be(lc->key_type);
}

/* The type that a column of a state table must have: the prototype's, but for the key and the stages. */
static Oid
wanted_type(LcLifecycle *lc, Form_pg_attribute prototype)
{
	const char *name = NameStr(prototype->attname);

	if (strcmp(name, "subject_id") == 0)
		return lc->key_type;
	if (strcmp(name, "stage") == 0 || strcmp(name, "from_stage") == 0 || strcmp(name, "to_stage") == 0)
		return lc->stage_type;
	return prototype->atttypid;
}

/* The next column of a table that is not dropped, from *number on; false: there is none. */
static bool
next_column(Oid table, AttrNumber *number, Form_pg_attribute column)
{
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(*number))))
	{
		memcpy(column, GETSTRUCT(tuple), ATTRIBUTE_FIXED_PART_SIZE);
		ReleaseSysCache(tuple);
		(*number)++;
		if (!column->attisdropped)
			return true;
	}
	return false;
}

/*
 * State tables are read and written from C: each column must be where the prototype has it, with its name and type. in_place: also by its number, since
 * that is how it is read; in other tables, which are only written, dropped columns may lie between.
 */
static void
check_columns(LcLifecycle *lc, Oid table, const char *name, Oid prototype, bool in_place)
{
	AttrNumber	wanted_number = 1;
	AttrNumber	number = 1;
	FormData_pg_attribute wanted;
	FormData_pg_attribute column;

	while (next_column(prototype, &wanted_number, &wanted))
	{
		if (next_column(table, &number, &column) && strcmp(NameStr(column.attname), NameStr(wanted.attname)) == 0 &&
			column.atttypid == wanted_type(lc, &wanted) && (!in_place || number == wanted_number))
			continue;
		mark_broken(lc, psprintf("table %s has not the columns that it was made with: %s is not there, or is not of type %s", name,
								 quote_identifier(NameStr(wanted.attname)), format_type_be_qualified(wanted_type(lc, &wanted))),
					psprintf("Give all columns of table %s their names, types and places back, or drop the lifecycle with "
							 "lifecycle.drop_lifecycle('%s').", name, lc->name));
		return;
	}
}

/*
 * A state table must have the type of the key, since its rows are read and compared as that, and the owner of the subject table: another one could make
 * his triggers and indexes on it run with that owner's rights.
 */
static void
check_table(LcLifecycle *lc, Oid table, const char *name)
{
	AttrNumber	key = get_attnum(table, "subject_id");
	Oid			type;
	int32		modifier;
	Oid			collation;

	if (lc_table_owner(table) != lc_table_owner(lc->on_table))
	{
		mark_broken(lc, psprintf("table %s has another owner than table %s", name, lc->on_table_sql),
					psprintf("Give all tables, functions and types of schema %s to the owner of the subject table: ALTER … OWNER TO ….", lc->quoted_schema));
		return;
	}
	if (key == InvalidAttrNumber)
	{
		mark_broken(lc, psprintf("table %s has no column subject_id any more", name),
					psprintf("Drop the lifecycle with lifecycle.drop_lifecycle('%s').", lc->name));
		return;
	}
	get_atttypetypmodcoll(table, key, &type, &modifier, &collation);
	if (type != lc->key_type)
		mark_broken(lc, psprintf("the key of table %s has type %s, subject_id of table %s has type %s", lc->on_table_sql, lc->key_type_sql,
								 name, format_type_be(type)),
					psprintf("Give the key its old type back, or drop the lifecycle with lifecycle.drop_lifecycle('%s').", lc->name));
	/* All state tables are ordered as this one. */
	lc->key_collation = collation;
}

/* The sequence of the column id of a state table: of its identity, or one that belongs to it. */
static Oid
id_sequence(LcLifecycle *lc, LcTable table)
{
	AttrNumber	id = get_attnum(lc->tables[table], "id");
	ListCell   *cell;

	foreach(cell, getOwnedSequences(lc->tables[table]))
	{
		Oid			owner;
		int32		column;

		if ((sequenceIsOwned(lfirst_oid(cell), DEPENDENCY_INTERNAL, &owner, &column) ||
			 sequenceIsOwned(lfirst_oid(cell), DEPENDENCY_AUTO, &owner, &column)) && column == id)
			return lfirst_oid(cell);
	}
	mark_broken(lc, psprintf("column id of table %s has no identity any more", lc->table_sql[table]),
				psprintf("Give it one, beyond the highest id: ALTER TABLE %s ALTER id ADD GENERATED ALWAYS AS IDENTITY (START WITH …).",
						 lc->table_sql[table]));
	return InvalidOid;
}

static void
load_tables(LcLifecycle *lc)
{
	Oid			namespace = get_namespace_oid(lc->schema, true);

	for (int i = 0; i < LC_NTABLES; i++)
	{
		lc->table_sql[i] = pstrdup(quote_qualified_identifier(lc->schema, table_names[i]));
		lc->tables[i] = OidIsValid(namespace) ? get_relname_relid(table_names[i], namespace) : InvalidOid;
		if (!OidIsValid(lc->tables[i]))
		{
			mark_broken(lc, psprintf("table %s is missing", lc->table_sql[i]),
						psprintf("If it or its schema has another name now, rename it back; if it is gone, drop the lifecycle with "
								 "lifecycle.drop_lifecycle('%s').", lc->name));
			continue;
		}
		add_relation(lc, lc->tables[i]);
		check_table(lc, lc->tables[i], lc->table_sql[i]);
	}
	lc->stage_type = OidIsValid(namespace) ? GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("stage"), ObjectIdGetDatum(namespace)) : InvalidOid;
	if (!OidIsValid(lc->stage_type) || get_typtype(lc->stage_type) != TYPTYPE_ENUM)
		mark_broken(lc, psprintf("type %s.stage is missing, or is no enum", lc->quoted_schema),
					psprintf("Give it its name back, or drop the lifecycle with lifecycle.drop_lifecycle('%s').", lc->name));
	for (int i = 0; i < LC_NTABLES && !lc->broken; i++)
		check_columns(lc, lc->tables[i], lc->table_sql[i], get_relname_relid(prototype_names[i], get_namespace_oid(LC_SCHEMA, false)),
					  i == LC_SUBJECTS || i == LC_ENROLLMENTS || i == LC_DUE);
	if (lc->broken)
		return;
	lc->stage_array_type = get_array_type(lc->stage_type);
	lc->enrollment_sequence = id_sequence(lc, LC_ENROLLMENTS);
	lc->message_sequence = id_sequence(lc, LC_MESSAGES_TABLE);
	lc->failure_sequence = id_sequence(lc, LC_FAILURES);
}

/* The lifecycle's own row. False: there is none. */
static bool
load_head(LcLifecycle *lc, const char *name)
{
	char	   *timezone;
	char	   *recipients;

	if (query("SELECT schema, on_table::pg_catalog.oid, key_column, strict, simulated, paused, enrolls, format, timezone, recipients, replicated "
			  "FROM lifecycle.lifecycles WHERE name = $1", name) == 0)
		return false;
	lc->name = pstrdup(name);
	lc->schema = text_of(0, 1);
	lc->quoted_schema = pstrdup(quote_identifier(lc->schema));
	lc->quoted_name = pstrdup(quote_identifier(name));
	lc->on_table = oid_of(0, 2);
	lc->key_column = text_of(0, 3);
	lc->strict = bool_of(0, 4);
	lc->simulated = bool_of(0, 5);
	lc->paused = bool_of(0, 6);
	lc->enrolls = bool_of(0, 7);
	lc->format = int_of(0, 8);
	timezone = text_of(0, 9);
	recipients = text_of(0, 10);
	lc->replicated = bool_of(0, 11);
	if (get_rel_name(lc->on_table) == NULL)
	{
		lc->on_table = InvalidOid;
		mark_broken(lc, "its table does not exist any more", psprintf("Drop the lifecycle with lifecycle.drop_lifecycle('%s').", name));
		return true;
	}
	lc->on_table_sql = lc_qualified_name(lc->on_table);
	add_relation(lc, lc->on_table);
	load_key(lc);
	if (!lc->broken)
		load_tables(lc);
	if (lc->broken)
		return true;
	if (timezone != NULL)
		lc->timezone = load_expression(lc, lc_condition_name("timezone", "of the subject"));
	if (recipients != NULL)
		lc->recipients = load_expression(lc, lc_condition_name("recipients", "of the subject"));
	return true;
}

static void
load_stages(LcLifecycle *lc)
{
	uint64		n = query("SELECT s.name, s.retired_at IS NOT NULL, s.name = l.initial_stage "
						  "FROM lifecycle.stages s JOIN lifecycle.lifecycles l ON l.name = s.lifecycle "
						  "WHERE s.lifecycle = $1 ORDER BY s.position", lc->name);

	lc->stages = palloc0(Max(n, 1) * sizeof(LcStage));
	lc->nstages = n;
	for (uint64 i = 0; i < n; i++)
	{
		lc->stages[i].name = text_of(i, 1);
		lc->stages[i].retired = bool_of(i, 2);
		if (bool_of(i, 3))
			lc->initial_stage = i;
		lc->stages[i].label = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
											  ObjectIdGetDatum(lc->stage_type), CStringGetDatum(lc->stages[i].name));
		if (!OidIsValid(lc->stages[i].label))
			mark_broken(lc, psprintf("type %s.stage has no value '%s'", lc->quoted_schema, lc->stages[i].name),
						psprintf("Rename the value back with ALTER TYPE %s.stage RENAME VALUE … TO %s; stages are renamed with lifecycle.rename_stage.",
								 lc->quoted_schema, quote_literal_cstr(lc->stages[i].name)));
	}
}

static AttrNumber
single_key_column(Oid table)
{
	AttrNumber	number = 0;

	if (query("SELECT i.indkey[0]::pg_catalog.int4 FROM pg_catalog.pg_index i "
			  "WHERE i.indrelid = $1::pg_catalog.oid AND i.indisprimary AND i.indnkeyatts = 1",
			  psprintf("%u", table)) == 1)
		number = int_of(0, 1);
	return number;
}

/* A column of a source; marks the source when rows do not have it. */
static AttrNumber
source_column(LcSource *source, const char *column)
{
	AttrNumber	number = get_attnum(source->table, column);

	if (number == InvalidAttrNumber && !source->broken)
		source->broken = psprintf("table %s has no column \"%s\" any more", lc_qualified_name(source->table), column);
	else if (number > 0 && lc_is_virtual(source->table, number) && !source->broken)
		source->broken = psprintf("column \"%s\" of table %s is a virtual generated column now, which rows do not hold", column,
								  lc_qualified_name(source->table));
	return number;
}

static void
load_source(LcLifecycle *lc, LcSource *source)
{
	add_relation(lc, source->table);
	source->subject_attnum = source_column(source, source->subject_column);
	source->time_attnum = source_column(source, source->time_column);
	if (source->name_column)
		source->name_attnum = source_column(source, source->name_column);
	if (source->broken)
		return;
	source->subject_type = get_atttype(source->table, source->subject_attnum);
	source->same_type = source->subject_type == lc->key_type || (source->subject_type == VARCHAROID && lc->key_type == TEXTOID);
	if (!lc_subject_type_fits(lc, source->subject_type))
		source->broken = psprintf("column \"%s\" of table %s has type %s now, which does not join to the key of type %s", source->subject_column,
								  lc_qualified_name(source->table), format_type_be(source->subject_type), lc->key_type_sql);
	source->time_type = getBaseType(get_atttype(source->table, source->time_attnum));
	if (!lc_time_type_fits(source->time_type))
		source->broken = psprintf("column \"%s\" of table %s has type %s now, which is no time", source->time_column,
								  lc_qualified_name(source->table), format_type_be(source->time_type));
	if (source->name_column)
		source->name_type = getBaseType(get_atttype(source->table, source->name_attnum));
	source->key_attnum = single_key_column(source->table);
}

static void
load_sources(LcLifecycle *lc)
{
	uint64		n = query("SELECT name, on_table::pg_catalog.oid, subject_column, name_column, event_name, time_column, becomes_function, "
						  "enroll_within, replicated FROM lifecycle.event_sources WHERE lifecycle = $1 ORDER BY name", lc->name);
	SPITupleTable *table = SPI_tuptable;

	lc->sources = palloc0(Max(n, 1) * sizeof(LcSource));
	for (uint64 i = 0; i < n; i++)
	{
		LcSource   *source = &lc->sources[lc->nsources];
		char	   *function;

		SPI_tuptable = table;	/* loading conditions runs statements */
		function = text_of(i, 7);
		source->name = text_of(i, 1);
		source->table = oid_of(i, 2);
		source->subject_column = text_of(i, 3);
		source->name_column = text_of(i, 4);
		source->event_name = text_of(i, 5);
		source->time_column = text_of(i, 6);
		source->enroll_within = interval_of(i, 8);
		source->replicated = bool_of(i, 9);
		/* a source whose table was dropped has nothing to tell any more */
		if (get_rel_name(source->table) == NULL)
			continue;
		source->becomes = load_expression(lc, function);
		lc->nsources++;
	}
	for (int i = 0; i < lc->nsources; i++)
		load_source(lc, &lc->sources[i]);
}

static LcRuleTrigger
rule_trigger(const char *on_event, const char *condition, Interval *after, const char *without_event, const char *on_date)
{
	if (on_event)
		return LC_RULE_EVENT;
	if (without_event)
		return LC_RULE_WITHOUT_EVENT;
	if (on_date)
		return LC_RULE_DATE;
	if (after)
		return LC_RULE_AFTER;
	return condition ? LC_RULE_CONDITION : LC_RULE_ALLOWED;
}

/* A stage that a rule names; when somebody has taken that away the lifecycle does nothing until it is mended. */
static int
stage_of_rule(LcLifecycle *lc, const LcRule *rule, const char *stage)
{
	int			index = lc_stage_by_name(lc, stage);

	if (index != LC_NO_STAGE)
		return index;
	mark_broken(lc, psprintf("transition \"%s\" names stage \"%s\", which does not exist", rule->name, stage),
				psprintf("See lifecycle.verify('%s').", lc->name));
	return 0;
}

static void
load_rules(LcLifecycle *lc)
{
	uint64		n = query("SELECT r.id, r.name, r.from_kind, "
						  "r.to_stage, r.on_event, r.source, r.condition_function, r.after, r.without_event, r.date_function, r.priority, "
						  "pg_catalog.array_to_string(r.from_stages, pg_catalog.chr(1)) "
						  "FROM lifecycle.transition_rules r WHERE r.lifecycle = $1 ORDER BY r.priority, r.name", lc->name);
	SPITupleTable *table = SPI_tuptable;

	lc->rules = palloc0(Max(n, 1) * sizeof(LcRule));
	lc->nrules = n;
	for (uint64 i = 0; i < n; i++)
	{
		LcRule	   *rule = &lc->rules[i];
		char	   *from;
		char	   *date;
		char	   *function;
		char	   *without;
		char	   *stage;

		SPI_tuptable = table;	/* loading conditions runs statements */
		from = text_of(i, 3);
		function = text_of(i, 7);
		date = text_of(i, 10);
		rule->id = int_of(i, 1);
		rule->name = text_of(i, 2);
		rule->entry = strcmp(from, "entry") == 0;
		rule->from_any = strcmp(from, "any") == 0;
		rule->to = stage_of_rule(lc, rule, text_of(i, 4));
		rule->event = text_of(i, 5);
		rule->source = text_of(i, 6);
		rule->after = interval_of(i, 8);
		without = text_of(i, 9);
		rule->priority = int_of(i, 11);
		for (stage = strtok(text_of(i, 12), "\001"); stage != NULL; stage = strtok(NULL, "\001"))
			rule->from = bms_add_member(rule->from, stage_of_rule(lc, rule, stage));
		rule->trigger = rule_trigger(rule->event, function, rule->after, without, date);
		if (without)
			rule->event = without;
		rule->conditions = load_conditions(lc, function, &rule->nconditions);
		rule->date = load_expression(lc, date);
	}
}

static void
load_versions(LcLifecycle *lc)
{
	uint64		n = query("SELECT v.id, v.version, v.workflow, w.version = v.version AND w.state IN ('live', 'shadow'), w.state = 'shadow', "
						  "v.reentry, CASE WHEN v.reentry NOT IN ('once', 'always') THEN v.reentry::pg_catalog.interval END, v.keeps_event, "
						  "(SELECT pg_catalog.min(s.step) FROM lifecycle.workflow_steps s WHERE s.version_id = v.id) "
						  "FROM lifecycle.workflow_versions v JOIN lifecycle.workflows w ON w.lifecycle = v.lifecycle AND w.name = v.workflow "
						  "WHERE v.lifecycle = $1 AND w.state <> 'archived' ORDER BY v.id", lc->name);

	lc->versions = palloc0(Max(n, 1) * sizeof(LcVersion));
	lc->nversions = n;
	for (uint64 i = 0; i < n; i++)
	{
		LcVersion  *version = &lc->versions[i];

		version->id = int_of(i, 1);
		version->number = int_of(i, 2);
		version->workflow = text_of(i, 3);
		version->enrolls = bool_of(i, 4);
		version->shadow = bool_of(i, 5);
		version->always = strcmp(text_of(i, 6), "always") == 0;
		version->reentry = interval_of(i, 7);
		version->keeps_event = bool_of(i, 8);
		version->first_step = int_of(i, 9);
	}
}

static int
stage_of(LcLifecycle *lc, const char *name)
{
	return name == NULL ? LC_NO_STAGE : lc_stage_by_name(lc, name);
}

static void
load_triggers(LcLifecycle *lc)
{
	uint64		n = query("SELECT t.version_id, t.role, t.kind, t.event_name, t.source, t.stage, t.from_stage, t.condition_function, t.within, t.exits "
						  "FROM lifecycle.workflow_triggers t WHERE t.lifecycle = $1 ORDER BY t.version_id, t.role, t.position", lc->name);
	SPITupleTable *table = SPI_tuptable;

	lc->triggers = palloc0(Max(n, 1) * sizeof(LcTrigger));
	for (uint64 i = 0; i < n; i++)
	{
		LcTrigger  *trigger = &lc->triggers[lc->ntriggers];
		char	   *role;
		char	   *kind;

		SPI_tuptable = table;
		role = text_of(i, 2);
		kind = text_of(i, 3);
		trigger->version = lc_version_by_id(lc, int_of(i, 1));
		trigger->role = strcmp(role, "entry") == 0 ? LC_ROLE_ENTRY : strcmp(role, "exit") == 0 ? LC_ROLE_EXIT : LC_ROLE_GOAL;
		trigger->kind = strcmp(kind, "on_event") == 0 ? LC_ON_EVENT : strcmp(kind, "on_stage") == 0 ? LC_ON_STAGE : LC_ON_CHANGE;
		/* of an archived workflow, or an entry into a version that enrolls nobody */
		if (trigger->version == NULL || (trigger->role == LC_ROLE_ENTRY && !trigger->version->enrolls))
			continue;
		trigger->event = text_of(i, 4);
		trigger->source = text_of(i, 5);
		trigger->stage = stage_of(lc, text_of(i, 6));
		trigger->from_stage = stage_of(lc, text_of(i, 7));
		trigger->within = interval_of(i, 9);
		trigger->exits = bool_of(i, 10);
		trigger->conditions = load_conditions(lc, text_of(i, 8), &trigger->nconditions);
		lc->ntriggers++;
	}
}

/* The listener of an event name, made if need be. */
static LcListener *
listen_to(LcLifecycle *lc, const char *event)
{
	LcListener *listener = lc_listener_get(lc, event, strlen(event));

	if (listener != NULL)
		return listener;
	listener = &lc->listeners[lc->nlisteners++];
	listener->event = pstrdup(event);
	listener->length = strlen(event);
	listener->hash = hash_bytes((const unsigned char *) event, listener->length);
	listener->next = lc->buckets[listener->hash & lc->bucket_mask];
	lc->buckets[listener->hash & lc->bucket_mask] = listener;
	return listener;
}

static void
build_listeners(LcLifecycle *lc)
{
	int			most = lc->nrules + lc->ntriggers;
	uint32		size = 16;

	while (size < 2 * (uint32) most)
		size *= 2;
	lc->bucket_mask = size - 1;
	lc->buckets = palloc0(size * sizeof(LcListener *));
	lc->listeners = palloc0(Max(most, 1) * sizeof(LcListener));
	for (int i = 0; i < lc->nrules; i++)
	{
		LcRule	   *rule = &lc->rules[i];

		if (rule->trigger == LC_RULE_EVENT)
		{
			LcListener *listener = listen_to(lc, rule->event);

			listener->rules = lappend(listener->rules, rule);
		}
		else if (rule->trigger == LC_RULE_WITHOUT_EVENT)
			listen_to(lc, rule->event)->timers = true;
	}
	for (int i = 0; i < lc->ntriggers; i++)
	{
		LcTrigger  *trigger = &lc->triggers[i];
		LcListener *listener;

		if (trigger->kind != LC_ON_EVENT)
			continue;
		listener = listen_to(lc, trigger->event);
		if (trigger->role == LC_ROLE_ENTRY)
			listener->entries = lappend(listener->entries, trigger);
		else
			listener->exits = lappend(listener->exits, trigger);
	}
}

static void
watch(LcLifecycle *lc, LcCondition *condition)
{
	if (condition == NULL)
		return;
	lc->watches_all |= condition->whole_row;
	lc->watched_columns = bms_add_members(lc->watched_columns, condition->row_columns);
}

/* The columns of the subject table whose change can make something happen. */
static void
build_watched(LcLifecycle *lc)
{
	for (int i = 0; i < lc->nrules; i++)
	{
		LcRule	   *rule = &lc->rules[i];

		if (rule->trigger == LC_RULE_CONDITION)
			for (int c = 0; c < rule->nconditions; c++)
				watch(lc, rule->conditions[c]);
		watch(lc, rule->date);
		if (rule->date && rule->date->local_time)
			watch(lc, lc->timezone);
	}
	for (int i = 0; i < lc->ntriggers; i++)
		if (lc->triggers[i].kind == LC_ON_CHANGE)
			for (int c = 0; c < lc->triggers[i].nconditions; c++)
				watch(lc, lc->triggers[i].conditions[c]);
}

LcLifecycle *
lc_load_lifecycle(const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "lifecycle definitions", ALLOCSET_DEFAULT_SIZES);
	LcLifecycle *lc;
	LcIdentity	saved;

	SPI_connect();
	lc_identity_extension(&saved);
	MemoryContextSwitchTo(context);
	lc = palloc0(sizeof(LcLifecycle));
	lc->context = context;
	if (load_head(lc, name))
	{
		if (!lc->broken)
		{
			load_stages(lc);
			load_sources(lc);
			load_rules(lc);
			load_versions(lc);
			load_triggers(lc);
			build_listeners(lc);
			build_watched(lc);
		}
		sign_relations(lc);
	}
	else
		lc = NULL;
	lc_identity_restore(&saved);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	if (lc == NULL)
		MemoryContextDelete(context);
	return lc;
}
