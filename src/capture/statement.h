/*
 * statement.h: the statements that ask conditions; private to capture.
 */
#ifndef LC_STATEMENT_H
#define LC_STATEMENT_H

#include "batch.h"

/* A column that the statement gets as an array. */
typedef enum LcFieldKind
{
	LC_FIELD_NUMBER,
	LC_FIELD_KEY,
	LC_FIELD_AS_OF,
	LC_FIELD_NOW,
	LC_FIELD_STAGE,
	LC_FIELD_SEQ,
	LC_FIELD_SINCE,
	LC_FIELD_ROW,					/* of the event, or of the old row: column `index` of what is kept */
	LC_FIELD_RUN_ID,
	LC_FIELD_RUN_VERSION,
	LC_FIELD_RUN_VERSION_ID,
	LC_FIELD_RUN_SHADOW,
	LC_FIELD_RUN_WORKFLOW,
	LC_FIELD_RUN_KEY,
	LC_FIELD_RUN_ENTERED,
	LC_FIELD_RUN_ENDED,
	LC_FIELD_RUN_CONVERTED,
	LC_FIELD_RUN_REASON,
	LC_FIELD_RUN_CONTEXT
} LcFieldKind;

typedef struct LcField
{
	LcFieldKind kind;
	int			index;			/* LC_FIELD_ROW: in the kept columns */
	bool		old;			/* LC_FIELD_ROW: of the old row, not of the event */
	Oid			type;			/* of an element */
	bool		as_text;		/* the type has no usable array: its text is passed */
} LcField;

/* One statement: for asks with the same source and the same conditions. */
typedef struct LcMatch
{
	LcSource   *source;			/* NULL: no event is read */
	bool		old;
	bool		run;
	bool		as_of;			/* event sources end at a time */
	int			n;
	LcCondition **conditions;
	int			nfields;
	LcField    *fields;
	LcStatement *statement;
} LcMatch;

/* Builds the statement of a match, in CurrentMemoryContext. */
extern void lc_statement_build(LcBatch *batch, LcMatch *match);

/* The value of a field for one question. */
extern Datum lc_statement_field(LcBatch *batch, LcMatch *match, LcField *field, LcAsk *ask, int number, bool *isnull);

#endif							/* LC_STATEMENT_H */
