/*
 * spool.c: rendered parts of a round that are too many for memory.
 *
 * Messages are written at the end of the round, however long they are: only then is it known which runs go back without them, and no later step of a run
 * sees those that it has sent. The parts of all that wait for it go into a temporary file whenever they exceed LC_MAX_PENDING, and come back one
 * message at a time, in the same order. An error closes the file with the subtransaction.
 */
#include "postgres.h"

#include "engine/run.h"
#include "utils/memutils.h"

void
lc_message_free_parts(LcMessage *message)
{
	for (int part = 0; part < LC_MESSAGE_PARTS; part++)
	{
		if (message->parts[part] != NULL)
			pfree(message->parts[part]);
		message->parts[part] = NULL;
	}
}

static void
put_parts(BufFile *file, const LcMessage *message)
{
	for (int part = 0; part < LC_MESSAGE_PARTS; part++)
	{
		uint32		size = message->parts[part] ? VARSIZE(message->parts[part]) : 0;

		BufFileWrite(file, &size, sizeof(size));
		if (size > 0)
			BufFileWrite(file, message->parts[part], size);
	}
}

static void
get(BufFile *file, void *to, Size size)
{
	if (BufFileRead(file, to, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read messages back from a temporary file")));
}

void
lc_spool_put(LcRunBatch *batch)
{
	if (batch->spool == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->work);

		batch->spool = BufFileCreateTemp(false);
		MemoryContextSwitchTo(old);
	}
	for (; batch->nspooled < batch->nmessages; batch->nspooled++)
	{
		LcMessage  *message = &batch->messages[batch->nspooled];

		put_parts(batch->spool, message);
		lc_message_free_parts(message);
	}
	batch->pending = 0;
}

void
lc_spool_rewind(LcRunBatch *batch)
{
	if (batch->spool != NULL && BufFileSeek(batch->spool, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind a temporary file")));
}

void
lc_spool_get(LcRunBatch *batch, int index)
{
	LcMessage  *message = &batch->messages[index];

	if (index > 0)
		lc_message_free_parts(message - 1);
	for (int part = 0; part < LC_MESSAGE_PARTS; part++)
	{
		uint32		size;

		get(batch->spool, &size, sizeof(size));
		if (size == 0)
			continue;
		message->parts[part] = MemoryContextAlloc(batch->work, size);
		get(batch->spool, message->parts[part], size);
	}
}

void
lc_spool_end(LcRunBatch *batch)
{
	if (batch->spool != NULL)
		BufFileClose(batch->spool);
	batch->spool = NULL;
}
