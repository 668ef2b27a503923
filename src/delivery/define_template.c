/*
 * define_template.c: define_template and drop_template.
 *
 * A template is parsed when it is defined, and each value that it names must be one that a message has: a column of the subject's row, of subject or
 * of enrollment; event and recipient are rows whose columns depend on what began the run and on who gets the message, so anything goes there.
 *
 * Templates have no versions: a run sends what the template says when it sends. Locking: that of definitions.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/checks.h"
#include "catalog/closest.h"
#include "catalog/definer.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/sql.h"
#include "delivery/define_template.h"
#include "delivery/template.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(lifecycle_define_template);
PG_FUNCTION_INFO_V1(lifecycle_drop_template);

#define NPARTS 3

/* The parts of a template, as columns of lifecycle.templates and arguments of define_template. */
static const char *const part_names[NPARTS] = {"subject_line", "body", "html_body"};
static const bool part_is_html[NPARTS] = {false, false, true};

/* A part that is being checked, for messages. */
typedef struct Part
{
	const char *template;
	const char *part;
} Part;

static void
part_error_context(void *arg)
{
	Part	   *part = arg;

	errcontext("%s of template \"%s\"", part->part, part->template);
}

static List *
column_names(Oid table)
{
	Relation	relation = relation_open(table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(relation);
	List	   *names = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			names = lappend(names, pstrdup(NameStr(TupleDescAttr(desc, i)->attname)));
	}
	relation_close(relation, AccessShareLock);
	return names;
}

static bool
list_has_name(List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* Refuses a reference to what no message has. */
static void
check_reference(LcLifecycle *lc, const LcTemplate *template, const LcTemplateReference *reference, Part *part)
{
	List	   *names;
	Oid			table = InvalidOid;
	int			line;
	int			column;

	lc_template_position(template, reference->position, &line, &column);
	if (strcmp(reference->root, lc->name) == 0)
		table = lc->on_table;
	else if (strcmp(reference->root, "subject") == 0)
		table = lc->tables[LC_SUBJECTS];
	else if (strcmp(reference->root, "enrollment") == 0)
		table = lc->tables[LC_ENROLLMENTS];
	else if (strcmp(reference->root, "event") == 0 || strcmp(reference->root, "recipient") == 0)
		return;
	if (!OidIsValid(table))
	{
		names = list_make5(lc->name, "subject", "event", "enrollment", "recipient");
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("template \"%s\" uses \"%s\", which does not exist", part->template, reference->root),
				errdetail("In %s, line %d, column %d.", part->part, line, column),
				errhint("%s", lc_names_hint(reference->root, names, "rows")));
	}
	if (reference->element == NULL)
		return;
	names = column_names(table);
	if (!list_has_name(names, reference->element))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("template \"%s\" uses column \"%s\" of %s, which does not exist",
					   part->template, reference->element, reference->root),
				errdetail("In %s, line %d, column %d.", part->part, line, column),
				errhint("%s", lc_names_hint(reference->element, names, "columns")));
	list_free_deep(names);
}

/* Parses one part and checks what it names; true when it reads the event. */
static bool
check_part(LcLifecycle *lc, const char *name, int number, const char *source)
{
	Part		part = {name, part_names[number]};
	ErrorContextCallback callback = {error_context_stack, part_error_context, &part};
	const LcTemplateReference *references;
	LcTemplate *template;
	bool		reads_event = false;
	int			n;

	error_context_stack = &callback;
	template = lc_template_parse(source, part_is_html[number]);
	error_context_stack = callback.previous;
	references = lc_template_references(template, &n);
	for (int i = 0; i < n; i++)
	{
		check_reference(lc, template, &references[i], &part);
		if (lc_reads_event_of_entry(references[i].root, references[i].element))
			reads_event = true;
	}
	return reads_event;
}

/* Reads a template into parts[]; false when there is none. */
static bool
find_template(LcLifecycle *lc, const char *name, char **parts)
{
	lc_definer_run("SELECT subject_line, body, html_body FROM lifecycle.templates WHERE lifecycle = $1 AND name = $2",
				  2, lc->name, name);
	if (SPI_processed == 0)
		return false;
	for (int i = 0; i < NPARTS; i++)
		parts[i] = lc_definer_field(0, i + 1);
	return true;
}

bool
lc_template_exists(LcLifecycle *lc, const char *name, bool *reads_event)
{
	char	   *parts[NPARTS];

	*reads_event = false;
	if (!find_template(lc, name, parts))
		return false;
	for (int i = 0; i < NPARTS; i++)
	{
		if (parts[i] != NULL)
			*reads_event |= check_part(lc, name, i, parts[i]);
	}
	return true;
}

List *
lc_template_names(LcLifecycle *lc)
{
	lc_definer_run("SELECT name FROM lifecycle.templates WHERE lifecycle = $1 ORDER BY name", 1, lc->name);
	return lc_definer_names();
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* define_template(lifecycle text, name text, subject_line text, body text, html_body text) RETURNS text */
Datum
lifecycle_define_template(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *parts[NPARTS];
	char	   *old[NPARTS];
	bool		exists;
	bool		same = true;
	bool		reads_event = false;
	LcLifecycle *lc;

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	name = lc_definer_name(fcinfo, 1, "template");
	for (int i = 0; i < NPARTS; i++)
		parts[i] = lc_arg_text(fcinfo, i + 2);
	if (parts[1] == NULL)
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("template \"%s\" has no body", name),
				errhint("Give the text of the message as body => '…', also when there is an html_body."));
	for (int i = 0; i < NPARTS; i++)
	{
		if (parts[i] != NULL)
			reads_event |= check_part(lc, name, i, parts[i]);
	}

	exists = find_template(lc, name, old);
	for (int i = 0; exists && i < NPARTS; i++)
		same &= same_text(parts[i], old[i]);
	if (!exists || !same)
	{
		lc_definer_run("INSERT INTO lifecycle.templates (lifecycle, name, subject_line, body, html_body) "
					  "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (lifecycle, name) DO UPDATE "
					  "SET subject_line = excluded.subject_line, body = excluded.body, html_body = excluded.html_body",
					  5, lc->name, name, parts[0], parts[1], parts[2]);
		if (reads_event)
			lc_definer_run("UPDATE lifecycle.workflow_versions v SET keeps_event = true WHERE v.lifecycle = $1 AND NOT v.keeps_event "
						  "AND EXISTS (SELECT FROM lifecycle.workflow_steps s "
						  "WHERE s.version_id = v.id AND s.arguments ->> 'template' = $2)",
						  2, lc->name, name);
		lc_definitions_changed();
	}
	SPI_finish();
	PG_RETURN_DATUM(lc_defined_text(!exists ? LC_CREATED : same ? LC_UNCHANGED : LC_REPLACED));
}

/* drop_template(lifecycle text, name text) RETURNS void */
Datum
lifecycle_drop_template(PG_FUNCTION_ARGS)
{
	LcLifecycle *lc;
	char	   *name;
	char	   *parts[NPARTS];

	SPI_connect();
	lc = lc_definer_begin(fcinfo);
	name = lc_definer_name(fcinfo, 1, "template");
	if (!find_template(lc, name, parts))
		lc_definer_missing(lc, "template", name, lc_template_names(lc));

	/* A draft was checked as fully as a live workflow, so it holds its templates as well; so do runs that follow an older version. */
	lc_definer_run(psprintf("SELECT w.name, w.state FROM lifecycle.workflows w "
						   "JOIN lifecycle.workflow_versions v ON v.lifecycle = w.lifecycle AND v.workflow = w.name "
						   "WHERE w.lifecycle = $1 AND w.state <> 'archived' "
						   "AND EXISTS (SELECT FROM lifecycle.workflow_steps s "
						   "WHERE s.version_id = v.id AND s.arguments ->> 'template' = $2) "
						   "AND (w.version = v.version OR EXISTS (SELECT FROM %s e "
						   "WHERE e.version_id = v.id AND e.ended_at IS NULL)) "
						   "ORDER BY w.name LIMIT 1", lc->table_sql[LC_ENROLLMENTS]),
				  2, lc->name, name);
	if (SPI_processed > 0)
	{
		char	   *workflow = lc_definer_field(0, 1);
		char	   *state = lc_definer_field(0, 2);

		ereport(ERROR,
				errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				errmsg("template \"%s\" is used by workflow \"%s\" (%s)", name, workflow, state),
				errhint("Define the workflow without it, or archive it: SELECT lifecycle.archive_workflow(%s, %s).",
						quote_literal_cstr(lc->name), quote_literal_cstr(workflow)));
	}
	lc_definer_run("DELETE FROM lifecycle.templates WHERE lifecycle = $1 AND name = $2", 2, lc->name, name);
	lc_definitions_changed();
	SPI_finish();
	PG_RETURN_VOID();
}
