/*
 * interrupted.h: what the worker knows of the batch that it was killed in, over restarts.
 */
#ifndef LC_INTERRUPTED_H
#define LC_INTERRUPTED_H

/* Batches are cut into so many parts by each crash. */
#define LC_INTERRUPTED_PARTS	8

/* A crash has interrupted the batch that a lifecycle may have been in. */
typedef struct LcInterrupted
{
	int			batch_rows;		/* how long batches may be now */
	uint64		alone;			/* the row that was begun alone last; 0: none */
	int			attempts;		/* … so often */
} LcInterrupted;

/* At the start after a crash: makes the batches of a lifecycle shorter. */
extern void lc_interrupted_begin(const char *lifecycle, LcInterrupted *interrupted);

/* Batches may be so long from now on; 0: as long as any. */
extern void lc_interrupted_grow(const char *lifecycle, int batch_rows);

/* A row is begun alone, for so many times. */
extern void lc_interrupted_alone(const char *lifecycle, uint64 row, int attempts);

/* Is the server about to stop in peace? */
extern bool lc_server_is_stopping(void);

#endif							/* LC_INTERRUPTED_H */
