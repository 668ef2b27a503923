/*
 * define_lifecycle.c: define_lifecycle and drop_lifecycle.
 *
 * The state tables are made as the owner of the subject table, in a schema of that owner: they are the user's data. What cannot be
 * changed afterwards (table, key, schema, the order of stages) is refused with the call that does it instead.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "capture/capture.h"
#include "catalog/checks.h"
#include "catalog/condition.h"
#include "catalog/define.h"
#include "catalog/load.h"
#include "catalog/namespace.h"
#include "catalog/owner.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "lifecycle.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "worker/installation.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(lifecycle_define_lifecycle);
PG_FUNCTION_INFO_V1(lifecycle_drop_lifecycle);
PG_FUNCTION_INFO_V1(lifecycle_upgrade_lifecycle);

static const char *const ready_made[][2] = {
	{"awareness", "lead_warming"},
	{"consideration", "lead_nurturing"},
	{"conversion", "lead_nurturing"},
	{"retention", "engagement"},
	{"advocacy", "engagement"},
	{"inactive", "win_back"},
	{"lost", "win_back"},
};

typedef struct Definition
{
	char	   *name;
	Oid			on_table;
	List	   *stages;
	bool		ready_made;		/* stages were not given */
	char	   *key_column;
	char	   *schema;
	char	   *initial_stage;
	Datum		phases;			/* jsonb, 0: none */
	char	   *timezone;
	char	   *recipients;
	bool		strict;
	bool		simulated;
	bool		replicated;
} Definition;

static void
check_stages(List *stages)
{
	ListCell   *cell;

	if (stages == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a lifecycle needs at least one stage"),
				 errhint("Leave out the argument stages for the ready-made ones.")));
	if (list_length(stages) > LC_MAX_STAGES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a lifecycle cannot have more than %d stages", LC_MAX_STAGES)));
	foreach(cell, stages)
	{
		char	   *stage = lfirst(cell);

		lc_check_stage_name(stage);
		for (int i = 0; i < foreach_current_index(cell); i++)
			if (strcmp(list_nth(stages, i), stage) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("stage \"%s\" is listed twice", stage)));
	}
}

void
lc_check_stage_name(const char *stage)
{
	if (stage[0] == '\0' || strlen(stage) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("stage name \"%s\" must have 1 to %d bytes", stage, NAMEDATALEN - 1)));
	if (stage[0] == '{' || strcmp(stage, "any") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("stage name \"%s\" is reserved", stage),
				 errdetail("Rules write 'any' for every stage, and '{a,b}' for several.")));
}

/* The one column of the primary key, or an error that says what to give. */
static char *
default_key(Oid table)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1] = {ObjectIdGetDatum(table)};

	lc_run_args("SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
				"WHERE i.indrelid = $1 AND i.indisprimary", 1, types, values, NULL);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg(SPI_processed == 0 ? "table %s has no primary key" : "the primary key of table %s has several columns", lc_qualified_name(table)),
				 errhint("Give the column that identifies a row: key_column => '…'. It must be NOT NULL and have a unique index.")));
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static void
check_key(Oid table, const char *column)
{
	AttrNumber	number = lc_check_column(table, column, "key_column");
	Oid			type = get_atttype(table, number);
	int32		modifier;
	Oid			collation;
	Oid			types[2] = {OIDOID, INT2OID};
	Datum		values[2] = {ObjectIdGetDatum(table), Int16GetDatum(number)};

	if (type != INT2OID && type != INT4OID && type != INT8OID && type != UUIDOID && type != TEXTOID && type != VARCHAROID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("key column \"%s\" of table %s has type %s", column, lc_qualified_name(table), format_type_be(type)),
				 errhint("A key can be smallint, integer, bigint, uuid, text or character varying.")));
	get_atttypetypmodcoll(table, number, &type, &modifier, &collation);
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("key column \"%s\" of table %s has a nondeterministic collation, %s", column, lc_qualified_name(table),
						generate_collation_name(collation)),
				 errhint("A subject must have one key, not several that are equal. Give key_column => '…', another column that identifies a row.")));
	lc_run_args("SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = $2 "
				"WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = $2 "
				"AND a.attnotnull", 2, types, values, NULL);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("key column \"%s\" of table %s must be NOT NULL and have a unique index", column, lc_qualified_name(table)),
				 errdetail("Of this column alone, not deferrable, and of all rows.")));
}

/* A row that moves to another partition would look deleted from one and inserted into the other. */
static void
read_replicated(FunctionCallInfo fcinfo, Definition *definition)
{
	bool		partitioned = get_rel_relkind(definition->on_table) == RELKIND_PARTITIONED_TABLE;

	definition->replicated = PG_ARGISNULL(11) ? !partitioned && lc_is_subscribed(definition->on_table) : PG_GETARG_BOOL(11);
	if (definition->replicated && partitioned)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("what logical replication writes into table %s cannot be captured: it is partitioned", lc_qualified_name(definition->on_table)),
				 errhint("Leave out replicated: subjects then are taken in with their first events.")));
}

static void
read_arguments(FunctionCallInfo fcinfo, Definition *definition)
{
	definition->name = lc_arg_required(fcinfo, 0, "name");
	lc_check_name("lifecycle name", definition->name);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "on_table")));
	definition->on_table = PG_GETARG_OID(1);
	lc_check_table(definition->on_table, "the subject table");
	lc_check_no_partition(definition->on_table);
	if (!PG_ARGISNULL(2))
		definition->stages = lc_text_array_list(PG_GETARG_DATUM(2), "stages");
	else
	{
		definition->ready_made = true;
		for (int i = 0; i < lengthof(ready_made); i++)
			definition->stages = lappend(definition->stages, pstrdup(ready_made[i][0]));
	}
	check_stages(definition->stages);
	definition->key_column = lc_arg_text(fcinfo, 3);
	definition->schema = PG_ARGISNULL(4) ? definition->name : lc_arg_text(fcinfo, 4);
	lc_check_name("schema name", definition->schema);
	definition->initial_stage = PG_ARGISNULL(5) ? linitial(definition->stages) : lc_arg_text(fcinfo, 5);
	definition->phases = PG_ARGISNULL(6) ? 0 : PG_GETARG_DATUM(6);
	definition->timezone = lc_arg_text(fcinfo, 7);
	definition->recipients = lc_arg_text(fcinfo, 8);
	definition->strict = !PG_ARGISNULL(9) && PG_GETARG_BOOL(9);
	definition->simulated = !PG_ARGISNULL(10) && PG_GETARG_BOOL(10);
	read_replicated(fcinfo, definition);
	for (int i = 0; i < list_length(definition->stages); i++)
		if (strcmp(list_nth(definition->stages, i), definition->initial_stage) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("initial stage \"%s\" is not among the stages", definition->initial_stage),
			 definition->ready_made ? errhint("Left out, stages are the ready-made ones: %s.", lc_quoted_list(definition->stages)) :
			 errhint("The stages are %s.", lc_quoted_list(definition->stages))));
}

/* The row of stages for one stage; its phase is the given one, or that of the ready-made stage of the same name. */
void
lc_insert_stage(const char *lifecycle, const char *stage, int position, const char *phase)
{
	Oid			types[4] = {TEXTOID, TEXTOID, INT4OID, TEXTOID};
	Datum		values[4] = {CStringGetTextDatum(lifecycle), CStringGetTextDatum(stage), Int32GetDatum(position)};
	char		nulls[4] = {' ', ' ', ' ', ' '};

	for (int i = 0; phase == NULL && i < lengthof(ready_made); i++)
		if (strcmp(ready_made[i][0], stage) == 0)
			phase = ready_made[i][1];
	if (phase == NULL)
		nulls[3] = 'n';
	else
		values[3] = CStringGetTextDatum(phase);
	lc_run_args("INSERT INTO lifecycle.stages (lifecycle, name, position, phase) VALUES ($1, $2, $3, $4)", 4, types, values, nulls);
}

static void
define_stages(const Definition *definition)
{
	ListCell   *cell;

	foreach(cell, definition->stages)
		lc_insert_stage(definition->name, lfirst(cell), foreach_current_index(cell) + 1, NULL);
}

/* Phases are an object of texts, or null for none. */
static void
check_phases(Datum phases)
{
	Oid			types[1] = {JSONBOID};
	Datum		values[1] = {phases};

	lc_run_args("SELECT WHERE pg_catalog.jsonb_typeof($1) OPERATOR(pg_catalog.<>) 'object' OR EXISTS (SELECT FROM pg_catalog.jsonb_each("
				"CASE WHEN pg_catalog.jsonb_typeof($1) OPERATOR(pg_catalog.=) 'object' THEN $1 END) p "
				"WHERE pg_catalog.jsonb_typeof(p.value) NOT IN ('string', 'null'))", 1, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("phases must be an object with the name of a phase for each stage"),
				 errhint("Write it as in phases => '{\"stage\": \"phase\"}'.")));
}

/* Sets the phases that are given as {"stage": "phase"}. */
static LcDefined
define_phases(const Definition *definition)
{
	Oid			types[2] = {TEXTOID, JSONBOID};
	Datum		values[2] = {CStringGetTextDatum(definition->name), definition->phases};

	if (definition->phases == 0)
		return LC_UNCHANGED;
	check_phases(definition->phases);
	lc_run_args("SELECT p.key FROM pg_catalog.jsonb_each_text($2) p WHERE NOT EXISTS "
				"(SELECT FROM lifecycle.stages s WHERE s.lifecycle = $1 AND s.name = p.key)", 2, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("phases names the stage \"%s\", which does not exist", SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
				 errhint("The stages are %s.", lc_quoted_list(definition->stages))));
	lc_run_args("UPDATE lifecycle.stages s SET phase = p.value FROM pg_catalog.jsonb_each_text($2) p "
				"WHERE s.lifecycle = $1 AND s.name = p.key AND s.phase IS DISTINCT FROM p.value", 2, types, values, NULL);
	return SPI_processed > 0 ? LC_REPLACED : LC_UNCHANGED;
}

typedef struct StateTable
{
	const char *name;
	const char *prototype;
	const char *options;		/* storage parameters, which LIKE does not copy */
} StateTable;

static const StateTable state_tables[] = {
	{"subjects", "_subjects", "fillfactor = 85"},
	{"transitions", "_transitions", NULL},
	{"enrollments", "_enrollments", "fillfactor = 90"},
	{"activity", "_activity", NULL},
	{"messages", "_messages", "fillfactor = 90"},
	{"failures", "_failures", NULL},
	{"_due", "_due", "autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0"},
};

static char *
prototype_comment(const char *prototype)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(psprintf("lifecycle.%s", prototype))};

	lc_run_args("SELECT pg_catalog.obj_description($1::pg_catalog.regclass, 'pg_class')", 1, types, values, NULL);
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static void
create_table(const Definition *definition, const StateTable *table, const char *key_type)
{
	const char *schema = quote_identifier(definition->schema);

	lc_runf("CREATE TABLE %s.%s (LIKE lifecycle.%s INCLUDING ALL)", schema, table->name, table->prototype);
	lc_runf("ALTER TABLE %s.%s ALTER subject_id TYPE %s USING NULL", schema, table->name, key_type);
	lc_runf("COMMENT ON TABLE %s.%s IS %s", schema, table->name,
			quote_literal_cstr(prototype_comment(table->prototype)));
	if (table->options)
		lc_runf("ALTER TABLE %s.%s SET (%s)", schema, table->name, table->options);
}

static char *
stage_list(List *stages)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, stages)
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", quote_literal_cstr(lfirst(cell)));
	return list.data;
}

/* The type of subject_id: that of the key, with its collation, so that the tables order keys alike. */
static char *
key_type_text(const Definition *definition)
{
	Oid			type;
	int32		modifier;
	Oid			collation;
	char	   *text;

	get_atttypetypmodcoll(definition->on_table, get_attnum(definition->on_table, definition->key_column), &type, &modifier, &collation);
	text = format_type_be(type == VARCHAROID ? TEXTOID : type);
	if (!OidIsValid(collation) || collation == DEFAULT_COLLATION_OID)
		return text;
	return psprintf("%s COLLATE %s", text, generate_collation_name(collation));
}

static void
create_state(const Definition *definition)
{
	Oid			owner = lc_table_owner(definition->on_table);
	char	   *key_type = key_type_text(definition);
	const char *schema = quote_identifier(definition->schema);
	LcIdentity	saved;

	if (OidIsValid(get_namespace_oid(definition->schema, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_SCHEMA),
				 errmsg("schema \"%s\" already exists", definition->schema),
				 errdetail("The state of lifecycle \"%s\" needs a schema of its own.", definition->name),
				 errhint("Give another one: schema => '%s_lifecycle'.", definition->name)));
	if (!lc_may_create_schema(MyDatabaseId, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s, the owner of table %s, may not create a schema in this database", quote_identifier(GetUserNameFromId(owner, false)),
						lc_qualified_name(definition->on_table)),
				 errhint("GRANT CREATE ON DATABASE %s TO %s.", quote_identifier(get_database_name(MyDatabaseId)),
						 quote_identifier(GetUserNameFromId(owner, false)))));
	lc_identity_role(owner, &saved);
	lc_runf("CREATE SCHEMA %s", schema);
	lc_runf("COMMENT ON SCHEMA %s IS %s", schema,
			quote_literal_cstr(psprintf("State of the lifecycle \"%s\" of table %s.", definition->name, lc_qualified_name(definition->on_table))));
	lc_runf("CREATE TYPE %s.stage AS ENUM (%s)", schema, stage_list(definition->stages));
	lc_runf("COMMENT ON TYPE %s.stage IS 'The stages, in their order.'", schema);
	for (int i = 0; i < lengthof(state_tables); i++)
		create_table(definition, &state_tables[i], key_type);
	lc_runf("ALTER TABLE %s.subjects ALTER stage TYPE %s.stage USING NULL", schema, schema);
	lc_runf("ALTER TABLE %s.transitions ALTER from_stage TYPE %s.stage USING NULL, ALTER to_stage TYPE %s.stage USING NULL",
			schema, schema, schema);
	lc_identity_restore(&saved);
}

static bool
has_rows(Oid table)
{
	lc_runf("SELECT FROM %s LIMIT 1", lc_qualified_name(table));
	return SPI_processed > 0;
}

/* The name of a zone is no expression that gives one; read as one it would be an error about a column. */
static void
check_timezone(const Definition *definition)
{
	static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+-";

	if (strspn(definition->timezone, letters) == strlen(definition->timezone) && pg_tzset(definition->timezone) != NULL &&
		get_attnum(definition->on_table, definition->timezone) == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" is the name of a time zone, and timezone must be an expression that gives one", definition->timezone),
				 errhint("Give a column of the subject's row, timezone => '%s.…', or one zone for all as a string, timezone => $$'%s'$$.",
						 quote_identifier(definition->name), definition->timezone)));
}

static void
bind_expressions(const Definition *definition)
{
	if (definition->timezone)
		check_timezone(definition);
	if (definition->timezone)
		lc_condition_bind(definition->name, definition->schema, definition->on_table,
						  &(LcBinding) {"the time-zone expression", lc_condition_name("timezone", "of the subject"), "text", definition->timezone, InvalidOid,
						  LC_ROWS_NO_RUN});
	else
		lc_condition_drop(definition->schema, lc_condition_name("timezone", "of the subject"));
	if (definition->recipients)
		lc_condition_bind(definition->name, definition->schema, definition->on_table,
						  &(LcBinding) {"the recipients query", lc_condition_name("recipients", "of the subject"), "SETOF jsonb", definition->recipients, InvalidOid});
	else
		lc_condition_drop(definition->schema, lc_condition_name("recipients", "of the subject"));
}

/* An existing definition must be of the same table, key and schema, and its stages the beginning or a part of the new ones, in the same order. */
static LcDefined
check_existing(const LcLifecycle *lc, const Definition *definition)
{
	int			position = 0;
	LcDefined	defined = LC_UNCHANGED;

	if (lc->on_table != definition->on_table || strcmp(lc->key_column, definition->key_column) != 0 || strcmp(lc->schema, definition->schema) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the table, the key and the schema of lifecycle \"%s\" cannot be changed", lc->name),
				 errdetail("It is defined on column \"%s\" of table %s, with schema \"%s\".", lc->key_column, lc->on_table_sql, lc->schema),
				 errhint("Drop it first with lifecycle.drop_lifecycle('%s'), or give the new one another name.", lc->name)));
	for (int i = 0; i < list_length(definition->stages); i++)
	{
		const char *stage = list_nth(definition->stages, i);

		while (position < lc->nstages && lc->stages[position].retired && strcmp(lc->stages[position].name, stage) != 0)
			position++;
		if (position < lc->nstages && strcmp(lc->stages[position].name, stage) == 0)
			position++;
		else if (lc_stage_by_name((LcLifecycle *) lc, stage) == LC_NO_STAGE)
			defined = LC_REPLACED;
		else
			break;
	}
	while (position < lc->nstages && lc->stages[position].retired)
		position++;
	if (position < lc->nstages)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("stage \"%s\" of lifecycle \"%s\" is missing from the new stages or stands elsewhere", lc->stages[position].name, lc->name),
				 definition->ready_made ?
				 errhint("Left out, stages are the ready-made ones. Give those that there are: stages => '{…}'.") :
				 errhint("Stages keep their order: list it where it stands, or use lifecycle.rename_stage or lifecycle.retire_stage.")));
	if (lc_stage_by_name((LcLifecycle *) lc, definition->initial_stage) != LC_NO_STAGE)
		(void) lc_check_stage((LcLifecycle *) lc, definition->initial_stage);
	return defined;
}

/* Sends that were defined to go to the recipients of the lifecycle need them, where there is no column with the address. */
static void
check_recipients_unused(const LcLifecycle *lc)
{
	Oid			types[2] = {TEXTOID, OIDOID};
	Datum		values[2] = {CStringGetTextDatum(lc->name), ObjectIdGetDatum(lc->on_table)};

	lc_run_args("SELECT v.workflow, s.label FROM lifecycle.workflow_steps s JOIN lifecycle.workflow_versions v ON v.id = s.version_id "
				"JOIN lifecycle.workflows w ON w.lifecycle = v.lifecycle AND w.name = v.workflow "
				"WHERE s.lifecycle = $1 AND s.kind = 'send' AND w.version = v.version AND w.state <> 'archived' "
				"AND s.condition_function IS NULL AND NOT s.arguments ? 'column' AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a "
				"WHERE a.attrelid = $2 AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = "
				"CASE s.arguments ->> 'channel' WHEN 'sms' THEN 'phone' ELSE s.arguments ->> 'channel' END) ORDER BY 1, s.step LIMIT 1", 2, types, values, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("step \"%s\" of workflow \"%s\" sends to the recipients of lifecycle \"%s\"", SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2),
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), lc->name),
				 errhint("Leave the lifecycle its recipients, or define the workflow with send(…, \"to\" => $$ SELECT … AS address FROM … $$) first.")));
}

static void
add_missing_stages(const LcLifecycle *lc, const Definition *definition)
{
	const char *previous = NULL;
	ListCell   *cell;

	foreach(cell, definition->stages)
	{
		if (lc_stage_by_name((LcLifecycle *) lc, lfirst(cell)) == LC_NO_STAGE)
			lc_add_stage(definition->name, definition->schema, definition->on_table, lfirst(cell), previous == NULL ? lc->stages[0].name : NULL, previous, NULL);
		previous = lfirst(cell);
	}
}

static LcDefined
define_head(const Definition *definition, bool enrolls)
{
	LcColumn	columns[] = {
		{"name", definition->name, true},
		{"schema", definition->schema},
		{"on_table", psprintf("%u", definition->on_table)},
		{"key_column", definition->key_column},
		{"initial_stage", definition->initial_stage},
		{"timezone", definition->timezone},
		{"recipients", definition->recipients},
		{"strict", definition->strict ? "true" : "false"},
		{"simulated", definition->simulated ? "true" : "false"},
		{"replicated", definition->replicated ? "true" : "false"},
		{"enrolls", enrolls ? "true" : "false"},
	};

	/* regclass prints as a name, which depends on the search_path */
	columns[2].value = lc_qualified_name(definition->on_table);
	return lc_define_row("lifecycles", columns, lengthof(columns));
}

/* Is the lifecycle there, with another expression for time zones? */
static bool
is_rezoned(const Definition *definition)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(definition->name), definition->timezone ? CStringGetTextDatum(definition->timezone) : (Datum) 0};

	lc_run_args("SELECT FROM lifecycle.lifecycles WHERE name = $1 AND timezone IS DISTINCT FROM $2", 2, types, values,
				definition->timezone ? NULL : " n");
	return SPI_processed > 0;
}

/* Timers are due at local times. */
static void
arm_all_timers(const char *lifecycle)
{
	LcLifecycle *lc = lc_lifecycle_get(lifecycle, false);
	List	   *names = NIL;
	ListCell   *cell;

	for (int i = 0; i < lc->nrules; i++)
		names = lappend(names, pstrdup(lc->rules[i].name));
	foreach(cell, names)
		lc_timers_arm(lifecycle, lfirst(cell));
}

Datum
lifecycle_define_lifecycle(PG_FUNCTION_ARGS)
{
	Definition	definition = {0};
	LcDefined	defined;
	LcDefined	phases;
	LcDefined	head;
	LcLifecycle *lc;
	LcIdentity	saved;
	bool		enrolls;
	bool		rezoned;

	SPI_connect();
	read_arguments(fcinfo, &definition);
	lc_lock_definitions();
	lc_lock_table(definition.on_table);
	if (definition.key_column == NULL)
		definition.key_column = default_key(definition.on_table);
	check_key(definition.on_table, definition.key_column);
	lc = lc_lifecycle_get(definition.name, true);
	if (lc != NULL)
	{
		lc_check_definer(lc);
		defined = check_existing(lc, &definition);
		enrolls = lc->enrolls;
		if (defined == LC_REPLACED)
			add_missing_stages(lc, &definition);
	}
	else
	{
		defined = LC_CREATED;
		enrolls = !has_rows(definition.on_table);
		create_state(&definition);
	}
	lc_identity_extension(&saved);
	if (lc == NULL)
		define_stages(&definition);
	if (lc != NULL && lc->recipients != NULL && definition.recipients == NULL)
		check_recipients_unused(lc);
	phases = define_phases(&definition);
	rezoned = is_rezoned(&definition);
	head = define_head(&definition, enrolls);
	defined = Max(defined == LC_CREATED ? LC_UNCHANGED : defined, Max(phases, head));
	lc_identity_restore(&saved);
	if (lc == NULL)
	{
		defined = LC_CREATED;
		lc_installation_claim();
	}
	if (defined == LC_UNCHANGED &&
		(lc_condition_missing(definition.schema, definition.on_table, definition.timezone ? lc_condition_name("timezone", "of the subject") : NULL) ||
		 lc_condition_missing(definition.schema, definition.on_table, definition.recipients ? lc_condition_name("recipients", "of the subject") : NULL)))
		defined = LC_REPLACED;
	if (defined != LC_UNCHANGED)
	{
		bind_expressions(&definition);
		lc_definitions_changed();
		lc_create_views(definition.name);
	}
	if (rezoned)
		arm_all_timers(definition.name);
	lc_triggers_create(definition.name);
	if (defined == LC_CREATED && !enrolls)
		ereport(NOTICE,
				(errmsg("table %s has rows already: nobody is enrolled in workflows of lifecycle \"%s\" yet", lc_qualified_name(definition.on_table), definition.name),
				 errhint("CALL lifecycle.backfill('%s') replays what was there before, lifecycle.waive_backfill('%s') goes without.", definition.name, definition.name)));
	SPI_finish();
	PG_RETURN_DATUM(lc_defined_text(defined));
}

void
lc_create_views(const char *lifecycle)
{
	LcIdentity	saved;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(lifecycle)};

	lc_identity_role(lc_table_owner(lc_lifecycle_get(lifecycle, false)->on_table), &saved);
	lc_run_args("SELECT lifecycle._create_views($1)", 1, types, values, NULL);
	lc_identity_restore(&saved);
}

/* The tables of the event sources, broken ones too. */
static List *
source_tables(LcLifecycle *lc)
{
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(lc->name);
	List	   *tables = NIL;
	LcIdentity	saved;

	lc_identity_extension(&saved);
	lc_run_args("SELECT DISTINCT c.oid FROM lifecycle.event_sources s JOIN pg_catalog.pg_class c ON c.oid = s.on_table WHERE s.lifecycle = $1",
				1, &type, &value, NULL);
	lc_identity_restore(&saved);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		tables = lappend_oid(tables, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)));
	}
	return tables;
}

/* Locks the user's tables and the queue, which keeps out who writes and the worker, and drops the triggers. */
static void
drop_all_triggers(LcLifecycle *lc)
{
	List	   *tables = source_tables(lc);
	Oid			queue = get_relname_relid("_due", get_namespace_oid(lc->schema, true));
	ListCell   *cell;

	if (OidIsValid(lc->on_table))
		tables = list_append_unique_oid(tables, lc->on_table);
	if (tables == NIL)
		return;
	lc_lock_to_drop(OidIsValid(queue) ? lcons_oid(queue, list_copy(tables)) : tables);
	foreach(cell, tables)
		lc_triggers_drop(lc->name, lfirst_oid(cell));
}

/* The owner of the lifecycle's schema; InvalidOid: there is none. */
static Oid
schema_owner(LcLifecycle *lc)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(lc->schema));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/* What has come into the schema beside the lifecycle's own tables is not dropped with them unasked. */
static void
check_schema_is_ours(LcLifecycle *lc)
{
	Oid			type = NAMEOID;
	Datum		value = CStringGetDatum(lc->schema);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
						   "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition AND c.relname NOT IN (''");
	for (int i = 0; i < lengthof(state_tables); i++)
		appendStringInfo(&sql, ", '%s'", state_tables[i].name);
	appendStringInfoString(&sql, ") ORDER BY 1 LIMIT 1");
	lc_run_args(sql.data, 1, &type, &value, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("schema \"%s\" of lifecycle \"%s\" also has table \"%s\"", lc->schema, lc->name,
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
				 errhint("Drop it, or move it to another schema with ALTER TABLE … SET SCHEMA ….")));
}

/* Nor are columns of other tables that have the type of its stages. */
static void
check_stage_type_unused(LcLifecycle *lc)
{
	Oid			type = NAMEOID;
	Datum		value = CStringGetDatum(lc->schema);

	lc_run_args("SELECT a.attrelid, a.attname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
				"JOIN pg_catalog.pg_attribute a ON a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped "
				"JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't' "
				"WHERE n.nspname = $1 AND t.typname = 'stage' AND c.relnamespace <> n.oid ORDER BY a.attrelid, a.attnum LIMIT 1", 1, &type, &value, NULL);
	if (SPI_processed > 0)
	{
		bool		isnull;
		Oid			table = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		char	   *column = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);

		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("column \"%s\" of table %s has the type of the stages of lifecycle \"%s\"", column, lc_qualified_name(table), lc->name),
				 errhint("Keep it as text: ALTER TABLE %s ALTER %s TYPE text.", lc_qualified_name(table), quote_identifier(column))));
	}
}

static bool
is_counter_of(Oid database, const char *lifecycle, int rule_id, void *arg)
{
	LcLifecycle *lc = arg;

	return database == MyDatabaseId && (lifecycle ? strcmp(lifecycle, lc->name) == 0 : lc_rule_by_id(lc, rule_id) != NULL);
}

/* Also drops what is broken: a lifecycle whose table or schema is gone. */
Datum
lifecycle_drop_lifecycle(PG_FUNCTION_ARGS)
{
	static const char *const tables[] = {"workflow_steps", "workflow_triggers", "workflow_versions", "workflows", "templates",
	"transition_rules", "event_sources", "stages", "backfills", "_interrupted"};
	char	   *name = lc_arg_required(fcinfo, 0, "lifecycle");
	LcLifecycle *lc;
	LcIdentity	saved;
	Oid			owner;

	SPI_connect();
	lc_lock_definitions();
	lc = lc_lifecycle_find(name);
	if (lc == NULL)
		lc = lc_lifecycle_get(name, false);
	owner = schema_owner(lc);
	if (OidIsValid(lc->on_table))
		lc_check_definer(lc);
	else if (!OidIsValid(owner) && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to drop lifecycle \"%s\", whose table and schema are gone", name)));
	/* usually the table's owner; another one can have come to either of them */
	if (OidIsValid(owner) && !has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of schema \"%s\" to drop lifecycle \"%s\"", lc->schema, name),
				 errhint("It belongs to %s. A superuser can drop it, or give it away with ALTER SCHEMA %s OWNER TO ….",
						 quote_identifier(GetUserNameFromId(owner, false)), lc->quoted_schema)));
	check_schema_is_ours(lc);
	check_stage_type_unused(lc);
	drop_all_triggers(lc);
	lc_identity_extension(&saved);
	for (int i = 0; i < lengthof(tables); i++)
		lc_runf("DELETE FROM lifecycle.%s WHERE lifecycle = %s", tables[i], quote_literal_cstr(name));
	lc_runf("DELETE FROM lifecycle.lifecycles WHERE name = %s", quote_literal_cstr(name));
	lc_identity_restore(&saved);
	if (OidIsValid(get_namespace_oid(lc->schema, true)))
	{
		lc_identity_role(owner, &saved);
		(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		lc_runf("DROP SCHEMA %s CASCADE", lc->quoted_schema);
		lc_identity_restore(&saved);
	}
	lc_stats_forget(is_counter_of, lc);
	lc_definitions_changed();
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
lifecycle_upgrade_lifecycle(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc = lc_lifecycle_get(lc_arg_required(fcinfo, 0, "lifecycle"), false);

	lc_check_definer(lc);
	PG_RETURN_DATUM(lc_defined_text(LC_UNCHANGED));
}
