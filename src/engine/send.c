/*
 * send.c: the step that sends: addresses, templates, messages.
 *
 * One statement gives the address and just those columns that the templates of the step use, for all subjects of the group; with recipients it
 * gives a row for each. A message that cannot be rendered, or has no address, is a row too, with the reason; the run goes on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/load.h"
#include "catalog/owner.h"
#include "catalog/pg_type.h"
#include "catalog/time_limit.h"
#include "common/hashfn.h"
#include "delivery/template.h"
#include "engine/run.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "worker/worker.h"

typedef enum ValueRoot
{
	ROOT_COLUMN,				/* a column of the statement */
	ROOT_EVENT,					/* an element of the event, from a column with all of it */
	ROOT_RECIPIENT,				/* an element of the recipient's row */
	ROOT_NONE					/* there is no such thing: the value is missing */
} ValueRoot;

/* Where the value of one reference of a template comes from. */
typedef struct SendValue
{
	ValueRoot	root;
	int			column;			/* of the statement */
	bool		ready;			/* reader is set up */
	LcValueReader reader;
	const char *element;		/* of an event or recipient; NULL: all of it */
	int			length;
} SendValue;

typedef struct SendPart
{
	LcTemplate *template;		/* NULL: the template has no such part */
	int			nvalues;
	SendValue  *values;
} SendPart;

typedef struct LcSendPlan
{
	LcStatement *statement;
	SendPart	parts[LC_MESSAGE_PARTS];
	int			address_column;
	int			recipient_column;	/* 0: none */
	int			zone_column;	/* 0: none */
	bool		found;			/* there is such a template */
	bool		timed;			/* the statement asks what the user has written */
} LcSendPlan;

/* Builds the list of columns of the statement. */
typedef struct Columns
{
	StringInfoData list;
	int			n;				/* the key is the first */
	bool		subject;
	bool		enrollment;
	List	   *texts;			/* char *, from column 2 on */
} Columns;

/* The number of a column, added if it is new. */
static int
column_of(Columns *columns, const char *text)
{
	ListCell   *cell;
	int			number = 2;

	foreach(cell, columns->texts)
	{
		if (strcmp(lfirst(cell), text) == 0)
			return number;
		number++;
	}
	appendStringInfo(&columns->list, "%s%s", columns->n > 1 ? ", " : "", text);
	columns->texts = lappend(columns->texts, pstrdup(text));
	columns->n++;
	return columns->n;
}

/* A column of one of the rows, or the whole row; false when the table has no such column (any more). */
static bool
row_column(Columns *columns, Oid table, const char *row, const char *element, SendValue *value)
{
	if (element != NULL && get_attnum(table, element) <= 0)
		return false;
	value->root = ROOT_COLUMN;
	value->column = column_of(columns, element ? psprintf("%s.%s", row, quote_identifier(element))
							  : psprintf("pg_catalog.to_jsonb(%s.*::%s)", row, lc_qualified_name(table)));
	return true;
}

static void
resolve(LcLifecycle *lc, Columns *columns, const LcTemplateReference *reference, bool recipients, SendValue *value)
{
	value->root = ROOT_NONE;
	value->element = reference->element;
	value->length = reference->element ? strlen(reference->element) : 0;
	if (strcmp(reference->root, lc->name) == 0)
		row_column(columns, lc->on_table, lc->quoted_name, reference->element, value);
	else if (strcmp(reference->root, "subject") == 0)
		columns->subject |= row_column(columns, lc->tables[LC_SUBJECTS], "subject", reference->element, value);
	else if (strcmp(reference->root, "enrollment") == 0)
		columns->enrollment |= row_column(columns, lc->tables[LC_ENROLLMENTS], "enrollment", reference->element, value);
	else if (strcmp(reference->root, "event") == 0)
	{
		columns->enrollment = true;
		value->root = ROOT_EVENT;
		value->column = column_of(columns, "enrollment.context->'event'");
	}
	else if (strcmp(reference->root, "recipient") == 0 && recipients)
		value->root = ROOT_RECIPIENT;
}

/* The address: a column of the subject's own row, by the kind of channel where the step does not say which. */
static const char *
address_column(LcLifecycle *lc, LcStepPlan *step)
{
	const char *column = step->column;

	if (column == NULL)
		column = strcmp(step->channel, "sms") == 0 || strcmp(step->channel, "phone") == 0 ? "phone" : step->channel;
	if (get_attnum(lc->on_table, column) <= 0)
		return "NULL::pg_catalog.text";
	return psprintf("%s.%s::pg_catalog.text", lc->quoted_name, quote_identifier(column));
}

/* Reads the template: its three parts, NULL where it has none. False: there is no such template. */
static bool
load_template(LcLifecycle *lc, LcStepPlan *step, char *sources[LC_MESSAGE_PARTS])
{
	Oid			types[] = {NAMEOID, TEXTOID};
	NameData	name;
	Datum		values[2];
	LcIdentity	saved;
	bool		found;

	namestrcpy(&name, lc->name);
	values[0] = NameGetDatum(&name);
	values[1] = PointerGetDatum(step->template_text);
	lc_identity_extension(&saved);
	lc_run_args("SELECT subject_line, body, html_body FROM lifecycle.templates WHERE lifecycle = $1 AND name = $2", 2, types, values, NULL);
	lc_identity_restore(&saved);
	found = SPI_processed == 1;
	for (int part = 0; found && part < LC_MESSAGE_PARTS; part++)
		sources[part] = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, part + 1);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* Prepares the step: parses its templates and makes the statement. Kept with the program; an error leaves nothing. */
static LcSendPlan *
plan_send(LcLifecycle *lc, LcStepPlan *step)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle send step", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	LcSendPlan *plan = palloc0(sizeof(LcSendPlan));
	LcCondition *recipients = step->condition ? step->condition : step->column ? NULL : lc->recipients;
	LcCondition *conditions[2];
	int			n = 0;
	Columns		columns = {.n = 1};
	char	   *sources[LC_MESSAGE_PARTS];

	initStringInfo(&columns.list);
	plan->found = load_template(lc, step, sources);
	if (recipients)
	{
		conditions[n++] = recipients;
		plan->recipient_column = column_of(&columns, "pg_recipient.value");
		plan->address_column = column_of(&columns, "pg_recipient.value->>'address'");
	}
	else
		plan->address_column = column_of(&columns, address_column(lc, step));
	for (int part = 0; plan->found && part < LC_MESSAGE_PARTS; part++)
	{
		SendPart   *send = &plan->parts[part];
		const LcTemplateReference *references;

		if (sources[part] == NULL)
			continue;
		send->template = lc_template_parse(sources[part], part == 2);
		references = lc_template_references(send->template, &send->nvalues);
		send->values = palloc0(sizeof(SendValue) * Max(send->nvalues, 1));
		for (int i = 0; i < send->nvalues; i++)
			resolve(lc, &columns, &references[i], recipients != NULL, &send->values[i]);
	}
	if (lc->timezone)
	{
		conditions[n++] = lc->timezone;
		plan->zone_column = column_of(&columns, psprintf("(%s)", lc->timezone->sql));
	}
	plan->timed = n > 0;
	plan->statement = lc_rows_statement(lc, conditions, n, columns.list.data, columns.subject, columns.enrollment,
										recipients ? psprintf(OidIsValid(recipients->function) ? " LEFT JOIN LATERAL %s AS pg_recipient (value) ON true" :
															  /* its function is missing: what stands for it says so, and is no jsonb */
															  " LEFT JOIN LATERAL (SELECT NULL::pg_catalog.jsonb WHERE %s) AS pg_recipient (value) ON true",
															  recipients->sql) : NULL);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, lc_engine_state(lc)->context);
	return plan;
}

static LcMessage *
add_message(LcRunBatch *batch, int run, LcStepPlan *step)
{
	LcMessage  *message;

	if (batch->nmessages == batch->max_messages)
	{
		batch->max_messages = Max(batch->max_messages * 2, 256);
		batch->messages = batch->messages
			? repalloc_huge(batch->messages, batch->max_messages * sizeof(LcMessage))
			: MemoryContextAllocHuge(batch->work, batch->max_messages * sizeof(LcMessage));
	}
	message = &batch->messages[batch->nmessages++];
	memset(message, 0, sizeof(LcMessage));
	message->run = run;
	message->step = step;
	return message;
}

/* The value of one reference for one row of the result. */
static void
get_value(SendValue *source, LcSendPlan *plan, TupleTableSlot *slot, LcValue *value)
{
	bool		isnull = true;
	Datum		datum = (Datum) 0;
	LcValue		whole;

	memset(value, 0, sizeof(LcValue));
	if (source->root == ROOT_NONE)
		return;
	if (source->root == ROOT_COLUMN)
	{
		if (!source->ready)
		{
			MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(plan));

			lc_value_init_reader(&source->reader, TupleDescAttr(slot->tts_tupleDescriptor, source->column - 1)->atttypid);
			source->ready = true;
			MemoryContextSwitchTo(old);
		}
		datum = slot_getattr(slot, source->column, &isnull);
		lc_value_read(&source->reader, datum, isnull, value);
		return;
	}
	datum = slot_getattr(slot, source->root == ROOT_EVENT ? source->column : plan->recipient_column, &isnull);
	if (isnull)
		return;
	lc_value_from_jsonb(&DatumGetJsonbP(datum)->root, &whole);
	if (source->element == NULL)
		*value = whole;
	else
		lc_value_get_member(&whole, source->element, source->length, value);
}

static bool
is_control(char c)
{
	return (unsigned char) c < ' ' || c == 0x7f;
}

/*
 * A subject line becomes a header of the mail: a line break in it, of a name that somebody typed, would begin another header. Control characters become
 * one space with the blanks around them, and none are left at the ends.
 */
static void
make_one_line(StringInfo buffer, int start)
{
	int			to = start;

	for (int from = start; from < buffer->len;)
	{
		int			end = from;
		bool		control = false;

		while (end < buffer->len && (buffer->data[end] == ' ' || is_control(buffer->data[end])))
			control |= is_control(buffer->data[end++]);
		if (end == from)
			buffer->data[to++] = buffer->data[from++];
		else if (!control)
			while (from < end)
				buffer->data[to++] = buffer->data[from++];
		else if (to > start && end < buffer->len)
			buffer->data[to++] = ' ';
		from = end > from ? end : from;
	}
	buffer->len = to;
	buffer->data[to] = '\0';
}

/* Renders the parts into the message; false, with a reason, when one of them cannot be. In the memory context of the rows. */
static bool
render(LcRunBatch *batch, LcSendPlan *plan, LcMessage *message, TupleTableSlot *slot, pg_tz *zone, StringInfo buffer)
{
	Size		size = 0;

	for (int part = 0; part < LC_MESSAGE_PARTS; part++)
	{
		SendPart   *send = &plan->parts[part];
		LcTemplateInput input = {0};
		LcValue		few[16];
		char	   *reason;

		if (send->template == NULL)
			continue;
		input.values = send->nvalues <= lengthof(few) ? few : palloc(sizeof(LcValue) * send->nvalues);
		for (int i = 0; i < send->nvalues; i++)
			get_value(&send->values[i], plan, slot, &input.values[i]);
		input.now = batch->runs[message->run].at;
		input.zone = zone;
		buffer->len = VARHDRSZ;
		if (!lc_template_render(send->template, &input, buffer, &reason))
		{
			lc_message_free_parts(message);
			message->status = "failed";
			message->reason = MemoryContextStrdup(batch->work, reason);
			return false;
		}
		if (part == 0)
			make_one_line(buffer, VARHDRSZ);
		message->parts[part] = MemoryContextAlloc(batch->work, buffer->len);
		memcpy(message->parts[part], buffer->data, buffer->len);
		SET_VARSIZE(message->parts[part], buffer->len);
		size += buffer->len;
	}
	batch->pending += size;
	return true;
}

/* Has this step a message to this address among those of the run already, of which `last` is the last? */
static bool
is_repeated(LcRunBatch *batch, int last, text *address, uint64 hash)
{
	for (int i = last; i >= 0; i = batch->messages[i].previous)
	{
		LcMessage  *message = &batch->messages[i];

		if (message->hash == hash && message->address != NULL &&
			VARSIZE_ANY_EXHDR(message->address) == VARSIZE_ANY_EXHDR(address) &&
			memcmp(VARDATA_ANY(message->address), VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address)) == 0)
			return true;
	}
	return false;
}

static pg_tz *
zone_of(LcRunBatch *batch, LcSendPlan *plan, TupleTableSlot *slot)
{
	bool		isnull = true;
	Datum		name = plan->zone_column ? slot_getattr(slot, plan->zone_column, &isnull) : (Datum) 0;
	pg_tz	   *zone = isnull ? NULL : pg_tzset(TextDatumGetCString(name));

	if (!isnull && zone == NULL)
		lc_stats_count(batch->lc->name, "unknown time zones", 1);
	return zone;
}

/* Is there anything else than blanks? */
static bool
is_blank(text *address)
{
	for (int i = 0; i < VARSIZE_ANY_EXHDR(address); i++)
		if (VARDATA_ANY(address)[i] != ' ')
			return false;
	return true;
}

static bool
has_control(text *address)
{
	for (int i = 0; i < VARSIZE_ANY_EXHDR(address); i++)
		if (is_control(VARDATA_ANY(address)[i]))
			return true;
	return false;
}

/* A send step of a batch, row by row. */
typedef struct Sending
{
	LcRunBatch *batch;
	LcStepPlan *step;
	int		   *last;			/* the last message of each run; -1: none */
	StringInfoData buffer;
	MemoryContext row_context;
} Sending;

/* Makes the message of one row of the result. */
static void
send_row(Sending *sending, TupleTableSlot *slot)
{
	LcRunBatch *batch = sending->batch;
	LcStepPlan *step = sending->step;
	LcSendPlan *plan = step->send;
	int		   *last = sending->last;
	bool		isnull;
	int			run = lc_keymap_find(batch->map, slot_getattr(slot, 1, &isnull));
	Datum		datum = slot_getattr(slot, plan->address_column, &isnull);
	text	   *address = isnull ? NULL : DatumGetTextPP(datum);
	uint64		hash = 0;
	LcMessage  *message;

	if (address != NULL && is_blank(address))
		address = NULL;
	if (address != NULL)
	{
		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address), 0);
		if (plan->recipient_column != 0 && is_repeated(batch, last[run], address, hash))
			return;
	}
	message = add_message(batch, run, step);
	message->hash = hash;
	message->previous = last[run];
	last[run] = batch->nmessages - 1;
	if (address == NULL)
	{
		message->status = "suppressed";
		message->reason = "no address";
		if (plan->recipient_column != 0)
		{
			(void) slot_getattr(slot, plan->recipient_column, &isnull);
			if (isnull)
				message->reason = "no recipients";
		}
		return;
	}
	message->address = MemoryContextAlloc(batch->work, VARSIZE_ANY(address));
	memcpy(message->address, address, VARSIZE_ANY(address));
	if (has_control(address))
	{
		message->status = "failed";
		message->reason = "the address has a line break or another control character";
	}
	else if (!plan->found)
	{
		message->status = "failed";
		message->reason = "the template does not exist any more";
	}
	else if (render(batch, plan, message, slot, zone_of(batch, plan, slot), &sending->buffer))
		message->status = batch->runs[run].due.shadow ? "shadow" : "queued";
	if (batch->pending > LC_MAX_PENDING)
		lc_spool_put(batch);
}

/* What the step came to for a run: sent when one message is queued, else what became of the first. */
static void
note_outcomes(LcRunBatch *batch, LcStepPlan *step, LcGroup *group, int first)
{
	LcMessage **best = palloc0(sizeof(LcMessage *) * batch->n);

	for (int i = first; i < batch->nmessages; i++)
	{
		LcMessage  *message = &batch->messages[i];

		if (best[message->run] == NULL || (best[message->run]->reason != NULL && message->reason == NULL))
			best[message->run] = message;
	}
	for (int i = 0; i < group->n; i++)
	{
		int			index = group->runs[i];
		LcRun	   *run = &batch->runs[index];

		if (best[index] == NULL)
		{
			lc_end_run(run, "subject_deleted");
			continue;
		}
		lc_note_activity(batch, index, step, strcmp(best[index]->status, "queued") == 0 ? "sent" : best[index]->status, best[index]->reason);
		run->position = step->next;
	}
}

static void
receive_row(TupleTableSlot *slot, void *arg)
{
	Sending    *sending = arg;
	MemoryContext old = MemoryContextSwitchTo(sending->row_context);

	send_row(sending, slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(sending->row_context);
}

void
lc_step_send(LcRunBatch *batch, LcStepPlan *step, LcGroup *group)
{
	int			first = batch->nmessages;
	Sending		sending = {batch, step};

	if (step->send == NULL)
		step->send = plan_send(batch->lc, step);
	sending.last = palloc(sizeof(int) * batch->n);
	memset(sending.last, -1, sizeof(int) * batch->n);
	sending.row_context = AllocSetContextCreate(CurrentMemoryContext, "lifecycle message", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&sending.buffer);
	if (step->send->timed)
	{
		MemoryContext context = CurrentMemoryContext;

		PG_TRY();
		{
			lc_limit_begin(LC_LIMIT_CONDITION, group->n);
			lc_group_execute_rows(batch, group, step->send->statement, receive_row, &sending);
			lc_limit_end(LC_LIMIT_CONDITION);
		}
		PG_CATCH();
		{
			lc_limit_rethrow(LC_LIMIT_CONDITION, context);
		}
		PG_END_TRY();
	}
	else
		lc_group_execute_rows(batch, group, step->send->statement, receive_row, &sending);
	MemoryContextDelete(sending.row_context);
	note_outcomes(batch, step, group, first);
}
