/*
 * becomes.c: event sources with a condition that a row becomes: the insert or the update that makes it true is the event.
 *
 * Where the row as it was is missing, the row counts as new.
 */
#include "postgres.h"

#include "catalog/load.h"
#include "batch.h"
#include "executor/spi.h"
#include "rows.h"
#include "utils/memutils.h"

void
lc_rows_add_old(LcRows *rows, LcEvent *event, TupleTableSlot *old_slot)
{
	MemoryContext old = MemoryContextSwitchTo(rows->context);

	event->old_row = lc_row_keep(rows->columns, old_slot);
	MemoryContextSwitchTo(old);
}

/* What a query over the source, with that alias, must offer to use the text of its condition; more: further columns. */
char *
lc_becomes_lateral(LcLifecycle *lc, LcSource *source, const char *alias, const char *more)
{
	return psprintf("CROSS JOIN LATERAL (SELECT NULL::%s AS %s, NULL::%s AS subject, %s.*::%s AS event, NULL::%s AS enrollment%s) AS %s",
					lc->on_table_sql, lc->quoted_name, lc->table_sql[LC_SUBJECTS], alias,
					lc_qualified_name(source->table),
					lc->table_sql[LC_ENROLLMENTS], more, source->becomes->alias);
}

/* Asks the condition of the source over rows without a subject. */
static void
ask_rows(LcBatch *batch, LcEvent *events, int n, LcCondition *condition, bool *truths)
{
	LcSubject  *subjects = palloc0(n * sizeof(LcSubject));
	LcAnswer  **answers = palloc(n * sizeof(LcAnswer *));

	for (int i = 0; i < n; i++)
	{
		subjects[i].key = events[i].subject;
		subjects[i].stage = batch->lc->initial_stage;
		answers[i] = lc_ask(batch, &subjects[i], &events[i], NULL, false, condition);
	}
	lc_match(batch);
	for (int i = 0; i < n; i++)
	{
		truths[i] = lc_answer_true(answers[i]);
		events[i].place = (LcPlace) {0};
	}
}

void
lc_filter_becomes(LcRows *rows)
{
	LcBatch    *batch = lc_batch_begin(rows->lc);
	LcCondition *condition = rows->source->becomes;
	MemoryContext old = CurrentMemoryContext;
	bool	   *is;
	bool	   *was;
	LcEvent    *before;
	int			nbefore = 0;
	int			kept = 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	MemoryContextSwitchTo(batch->context);
	batch->tallies = palloc0(Max(rows->lc->nrules, 1) * sizeof(LcTally));
	is = palloc(rows->n * sizeof(bool));
	was = palloc(rows->n * sizeof(bool));
	before = palloc(rows->n * sizeof(LcEvent));
	ask_rows(batch, rows->events, rows->n, condition, is);
	for (int i = 0; i < rows->n; i++)
		if (is[i] && rows->events[i].old_row)
		{
			before[nbefore] = rows->events[i];
			before[nbefore++].row = rows->events[i].old_row;
		}
	ask_rows(batch, before, nbefore, condition, was);
	nbefore = 0;
	for (int i = 0; i < rows->n; i++)
		if (is[i] && !(rows->events[i].old_row && was[nbefore++]))
			rows->events[kept++] = rows->events[i];
	rows->n = kept;
	lc_apply(batch);
	SPI_finish();
	MemoryContextSwitchTo(old);
	lc_batch_end(batch);
}
