/*
 * template.h: Liquid templates: parsed once, rendered many times.
 *
 * A template names values of the outside world by (root, element) pairs, its references: "customer.first_name" is
 * ("customer", "first_name"). They are numbered when the template is parsed; whoever renders it fills an array of
 * values in that order, so that nothing is looked up by name while rendering.
 *
 * The language is Liquid as Shopify and LiquidJS define it, but for one rule: a value that is missing is never printed
 * as nothing. Without a "default" filter rendering fails, with a reason that names the value.
 */
#ifndef LC_TEMPLATE_H
#define LC_TEMPLATE_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "pgtime.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#define LC_TEMPLATE_MAX_SOURCE		(256 * 1024)	/* bytes of a template */
#define LC_TEMPLATE_MAX_DEPTH		100		/* blocks and subscripts in each other */
#define LC_TEMPLATE_MAX_NODES		50000	/* texts, tags, operands and filters */
#define LC_TEMPLATE_MAX_NAMES		1000	/* distinct references; also distinct variables */
#define LC_TEMPLATE_MAX_OUTPUT		(1024 * 1024)	/* bytes rendered, also of each string on the way */
#define LC_TEMPLATE_MAX_STEPS		1000000 /* work of one rendering: nodes, filters, elements, and 32 bytes each */

typedef enum LcValueKind
{
	LC_VALUE_NIL,				/* null or missing; zeroed memory is a nil */
	LC_VALUE_UNSET,				/* not fetched yet */
	LC_VALUE_EMPTY,				/* the word "empty" in a comparison */
	LC_VALUE_BLANK,				/* the word "blank" in a comparison */
	LC_VALUE_BOOL,
	LC_VALUE_INTEGER,
	LC_VALUE_NUMERIC,
	LC_VALUE_STRING,			/* length bytes, not terminated */
	LC_VALUE_TIMESTAMPTZ,
	LC_VALUE_TIMESTAMP,			/* a local time, of the zone of the rendering */
	LC_VALUE_DATE,
	LC_VALUE_JSONB,				/* an object or an array, never a scalar */
	LC_VALUE_LIST,				/* length items */
	LC_VALUE_RANGE,
	LC_VALUE_LOOP				/* "forloop" */
} LcValueKind;

struct LcOperand;
struct LcLoop;

typedef struct LcRange
{
	int64		low;
	int64		high;
} LcRange;

/* Pointers lead into the caller's memory, or into the context the value was made in. */
typedef struct LcValue
{
	uint8		kind;			/* LcValueKind */
	bool		safe;			/* a string that is HTML already */
	int32		length;			/* of a string in bytes, of a list in items */
	union
	{
		const struct LcOperand *origin; /* of a nil: the path that had no value, or NULL */
		bool		boolean;
		int64		integer;
		Numeric		numeric;
		const char *string;
		Timestamp	time;		/* of both kinds of timestamp */
		DateADT		date;
		JsonbContainer *jsonb;
		const struct LcValue *items;
		const LcRange *range;
		const struct LcLoop *loop;
	}			u;
} LcValue;

/* How to make values of one type; kept by those who read many. */
typedef struct LcValueReader
{
	int			how;			/* private to template_value.c */
	FmgrInfo	function;
} LcValueReader;

/*
 * One value of the outside a template uses. element is NULL when the root is used as a whole ("{{ customer }}") or by
 * an element that is computed ("customer[x]").
 */
typedef struct LcTemplateReference
{
	const char *root;
	const char *element;
	int			position;		/* of its first use; see lc_template_position */
} LcTemplateReference;

typedef struct LcTemplate LcTemplate;

/* Sets *value, in the current memory context. One that does not exist is a nil. */
typedef void (*LcTemplateFetch) (void *arg, const LcTemplateReference *reference, LcValue *value);

typedef struct LcTemplateInput
{
	LcValue    *values;			/* one per reference, in order; those that are UNSET are fetched when first used,
								 * and kept here */
	LcTemplateFetch fetch;		/* may be NULL when no value is UNSET */
	void	   *fetch_arg;
	TimestampTz now;			/* what "now" and "today" mean to the date filter */
	pg_tz	   *zone;			/* of local times; NULL is UTC */
	int			max_output;		/* 0: LC_TEMPLATE_MAX_OUTPUT */
	int64		max_steps;		/* 0: LC_TEMPLATE_MAX_STEPS */
} LcTemplateInput;

extern LcTemplate *lc_template_parse(const char *source, bool html);
extern const LcTemplateReference *lc_template_references(const LcTemplate *template, int *count);
extern void lc_template_position(const LcTemplate *template, int position, int *line, int *column);
extern bool lc_template_render(const LcTemplate *template, const LcTemplateInput *input, StringInfo out, char **reason);

extern void lc_value_init_reader(LcValueReader *reader, Oid type);
extern void lc_value_read(LcValueReader *reader, Datum datum, bool isnull, LcValue *value);
extern void lc_value_from_jsonb(JsonbContainer *container, LcValue *value);
extern void lc_value_get_member(const LcValue *value, const char *name, int length, LcValue *member);

#endif
