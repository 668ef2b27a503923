/*
 * move.c: moving subjects by hand and for steps of workflows, enrolling by hand, and feeding rows that no trigger saw.
 */
#include "postgres.h"

#include "batch.h"
#include "executor/spi.h"
#include "utils/memutils.h"

static LcLifecycle *sort_lifecycle;

static int
compare_moves(const void *a, const void *b)
{
	return lc_key_compare(sort_lifecycle, (*(LcMove *const *) a)->subject, (*(LcMove *const *) b)->subject);
}

void
lc_move_subjects(LcLifecycle *lc, LcMove *moves, int n, bool skip_locked)
{
	LcBatch    *batch = lc_batch_begin(lc);
	LcMove	  **sorted = MemoryContextAlloc(batch->context, Max(n, 1) * sizeof(LcMove *));

	batch->skip_locked = skip_locked;
	for (int i = 0; i < n; i++)
		sorted[i] = &moves[i];
	sort_lifecycle = lc;
	qsort(sorted, n, sizeof(LcMove *), compare_moves);
	for (int i = 0; i < n; i++)
		lc_batch_add(batch, sorted[i]->subject)->move = sorted[i];
	lc_batch_run(batch);
	lc_batch_end(batch);
}

static int
compare_keys(const void *a, const void *b)
{
	return lc_key_compare(sort_lifecycle, *(const Datum *) a, *(const Datum *) b);
}

int
lc_enroll_subjects(LcLifecycle *lc, LcVersion *version, const Datum *subjects, int n, Jsonb *context)
{
	LcBatch    *batch = lc_batch_begin(lc);
	Datum	   *sorted = MemoryContextAlloc(batch->context, Max(n, 1) * sizeof(Datum));
	int			enrolled = 0;

	memcpy(sorted, subjects, n * sizeof(Datum));
	sort_lifecycle = lc;
	qsort(sorted, n, sizeof(Datum), compare_keys);
	for (int i = 0; i < n; i++)
	{
		LcSubject  *subject;

		if (i > 0 && lc_key_compare(lc, sorted[i - 1], sorted[i]) == 0)
			continue;
		subject = lc_batch_add(batch, sorted[i]);
		subject->enroll = version;
		subject->has_context = context != NULL;
		subject->enroll_context = PointerGetDatum(context);
	}
	lc_batch_run(batch);
	for (int i = 0; i < batch->nsubjects; i++)
		enrolled += batch->subjects[i].enrolled;
	lc_batch_end(batch);
	return enrolled;
}
