/*
 * template_internal.h: what the files of the template engine share: the parser, the parsed form, the state of a rendering.
 *
 * A tag is one entry of the table in template_tags.c, a filter one of the table in template_filters.c.
 */
#ifndef LC_TEMPLATE_INTERNAL_H
#define LC_TEMPLATE_INTERNAL_H

#include "compat.h"
#include "delivery/template.h"

#define LC_FILTER_MAX_ARGS 3	/* keyword included */

/* ---- the parsed form: immutable, in the memory context of lc_template_parse ---- */

typedef struct LcRender LcRender;
typedef struct LcParser LcParser;

typedef enum LcFlow
{
	LC_FLOW_NEXT,
	LC_FLOW_BREAK,
	LC_FLOW_CONTINUE,
	LC_FLOW_FAIL				/* the reason is set */
} LcFlow;

/* The first member of every kind of node. */
typedef struct LcNode
{
	LcFlow		(*render) (LcRender *render, const struct LcNode *node);
	struct LcNode *next;
	int			position;
} LcNode;

typedef enum LcOperandKind
{
	LC_OPERAND_LITERAL,
	LC_OPERAND_REFERENCE,
	LC_OPERAND_LOCAL,
	LC_OPERAND_RANGE
} LcOperandKind;

/* One step of a path: a name, or a computed subscript. */
typedef struct LcAccess
{
	struct LcAccess *next;
	const char *name;			/* NULL: index */
	int			length;
	const struct LcOperand *index;
} LcAccess;

typedef struct LcOperand
{
	LcOperandKind kind;
	int			position;
	int			length;			/* of its text in the source */
	int			number;			/* of the reference or local */
	LcAccess   *accesses;
	LcValue		literal;
	const struct LcOperand *low;	/* of a range */
	const struct LcOperand *high;
} LcOperand;

/*
 * A filter changes *value; arguments not given are UNSET. It returns false after lc_liquid_fail. When keyword is set,
 * the argument of that name comes after max_args others.
 */
typedef struct LcFilter
{
	const char *name;
	int			min_args;
	int			max_args;
	const char *keyword;
	bool		takes_nil;		/* otherwise a nil passes unchanged, and a nil argument is an error */
	bool		(*apply) (LcRender *render, LcValue *value, const LcValue *args);
	const char *(*check) (const LcValue *args); /* of literal arguments, when parsed: what is wrong, or NULL */
} LcFilter;

typedef struct LcFilterCall
{
	struct LcFilterCall *next;
	const LcFilter *filter;
	int			position;
	int			nargs;			/* all the filter can have; those not given are UNSET */
	LcOperand  *args;
} LcFilterCall;

typedef struct LcExpression
{
	LcOperand	operand;
	LcFilterCall *filters;
} LcExpression;

typedef struct LcTextNode
{
	LcNode		node;
	const char *text;
	int			length;
} LcTextNode;

typedef struct LcOutputNode
{
	LcNode		node;
	LcExpression expression;
} LcOutputNode;

struct LcTemplate
{
	const char *source;
	bool		html;
	LcNode	   *nodes;
	LcTemplateReference *references;
	int			nreferences;
	int			nlocals;
};

/* ---- parsing ---- */

typedef enum LcTokenKind
{
	LC_TOKEN_END = 256,			/* the delimiter that closes the output or tag */
	LC_TOKEN_NAME,
	LC_TOKEN_STRING,
	LC_TOKEN_NUMBER,
	LC_TOKEN_RANGE,				/* .. */
	LC_TOKEN_EQ,
	LC_TOKEN_NE,
	LC_TOKEN_LE,
	LC_TOKEN_GE					/* others are their character */
} LcTokenKind;

typedef struct LcToken
{
	int			kind;
	int			position;
	const char *text;			/* of a string, what is between the quotes */
	int			length;
	int			end;			/* position after it */
} LcToken;

typedef struct LcLocal
{
	const char *name;
	int			length;
	int			number;
} LcLocal;

struct LcParser
{
	const char *source;
	int			length;
	int			at;				/* next byte to read */
	bool		trim;			/* the last delimiter had a hyphen */
	char		closer;			/* '}' in an output, '%' in a tag */
	int			opened;			/* position of its start */
	LcToken		token;			/* the current one */
	LcToken		tag;			/* the name of the tag being read, or that ended a block */

	int			depth;
	int			nodes;
	int			loops;			/* for blocks around */
	LcTemplateReference *references;
	int			nreferences;
	int			max_references;
	LcLocal    *locals;			/* visible ones: loop variables, innermost last */
	int			nlocals;
	int			max_locals;
	LcLocal    *assigned;		/* made by assign and capture so far */
	int			nassigned;
	int			max_assigned;
	int			local_count;	/* numbers given */
};

typedef struct LcTag
{
	const char *name;
	LcNode	   *(*parse) (LcParser *parser);	/* after the name, up to and with its own end; NULL: no node */
} LcTag;

/* template_lex.c */
pg_noreturn extern void lc_liquid_syntax_error(LcParser *parser, int position, const char *format,...)
			pg_attribute_printf(3, 4);
pg_noreturn extern void lc_liquid_limit_error(LcParser *parser, int position, const char *format,...)
			pg_attribute_printf(3, 4);
pg_noreturn extern void lc_liquid_expected(LcParser *parser, const char *what);
extern void lc_liquid_locate(const char *source, int position, int *line, int *column);
extern void lc_liquid_next_token(LcParser *parser);
extern bool lc_liquid_token_is(const LcToken *token, const char *name);
extern bool lc_liquid_accept(LcParser *parser, int kind);
extern bool lc_liquid_accept_name(LcParser *parser, const char *name);
extern void lc_liquid_expect_end(LcParser *parser);
extern bool lc_liquid_next_text(LcParser *parser, const char **text, int *length);
extern void lc_liquid_skip_comment(LcParser *parser);
extern void lc_liquid_read_raw(LcParser *parser, const char **text, int *length);

/* template_parse.c */
extern void *lc_liquid_new_node(LcParser *parser, size_t size, LcFlow (*render) (LcRender *, const LcNode *));
extern void lc_liquid_count_node(LcParser *parser);
extern void lc_liquid_enter(LcParser *parser);
extern void lc_liquid_leave(LcParser *parser);
extern LcNode *lc_liquid_new_text(LcParser *parser, const char *text, int length);
extern LcNode *lc_liquid_new_output(LcParser *parser);
extern LcNode *lc_liquid_parse_block(LcParser *parser, const LcToken *opener, const char *const *ends);
extern void lc_liquid_parse_operand(LcParser *parser, LcOperand *operand);
extern void lc_liquid_parse_expression(LcParser *parser, LcExpression *expression);
extern int	lc_liquid_assign_local(LcParser *parser, const LcToken *name);
extern int	lc_liquid_push_local(LcParser *parser, const char *name, int length);
extern void lc_liquid_pop_locals(LcParser *parser, int count);

/* template_tags.c, template_filters.c */
extern const LcTag *lc_liquid_find_tag(const LcToken *name);
extern const LcFilter *lc_liquid_find_filter(const LcToken *name);
extern char *lc_liquid_list_tags(void);
extern char *lc_liquid_list_filters(void);

/* ---- rendering ---- */

typedef struct LcLoop
{
	int64		index0;
	int64		length;
	const struct LcLoop *parent;
} LcLoop;

struct LcRender
{
	const LcTemplate *template;
	const LcTemplateInput *input;
	pg_tz	   *zone;
	StringInfo	out;
	int			max_length;		/* of out, absolute */
	int			max_output;
	int64		steps;
	int64		next_check;		/* steps at which to look for interrupts or the limit */
	int64		max_steps;
	LcValue    *locals;
	const LcLoop *loop;
	int			position;		/* of the node being rendered */
	char	   *reason;
};

/* template_render.c */
extern bool lc_liquid_check_steps(LcRender *render);
extern bool lc_liquid_fail(LcRender *render, const char *format,...) pg_attribute_printf(2, 3);
extern bool lc_liquid_fail_missing(LcRender *render, const LcValue *value);
extern bool lc_liquid_fail_kind(LcRender *render, const char *what, const LcValue *value);
extern LcFlow lc_liquid_render_block(LcRender *render, const LcNode *node);
extern LcFlow lc_liquid_render_text(LcRender *render, const LcNode *node);
extern LcFlow lc_liquid_render_output(LcRender *render, const LcNode *node);
extern bool lc_liquid_evaluate_operand(LcRender *render, const LcOperand *operand, LcValue *value);
extern bool lc_liquid_evaluate(LcRender *render, const LcExpression *expression, LcValue *value);
extern bool lc_liquid_append(LcRender *render, const char *text, int length);

/* template_value.c; those that can fail set the reason and return false */
extern const char *lc_liquid_kind_name(const LcValue *value);
extern bool lc_liquid_is_true(const LcValue *value);
extern bool lc_liquid_is_empty(const LcValue *value);
extern int64 lc_liquid_count_items(const LcValue *value);
extern void lc_liquid_get_element(const LcValue *value, const LcValue *index, LcValue *element);
extern void lc_liquid_get_item(const LcValue *value, int64 index, LcValue *item);
extern bool lc_liquid_get_list(LcRender *render, const LcValue *value, const LcValue **items, int *count);
extern bool lc_liquid_get_text(LcRender *render, const LcValue *value, const char **text, int *length);
extern bool lc_liquid_join(LcRender *render, const LcValue *list, const char *separator, int separator_length,
						   const char **text, int *length);
extern void lc_liquid_set_json(LcValue *value, const JsonbValue *json);
extern void lc_liquid_normalize_number(LcValue *value);
extern bool lc_liquid_get_integer(LcRender *render, const LcValue *value, const char *what, int64 *result);
extern bool lc_liquid_get_number(LcRender *render, const char *what, const LcValue *value, LcValue *number);

/* template_compare.c */
extern bool lc_liquid_is_equal(LcRender *render, const LcValue *a, const LcValue *b, bool *result);
extern bool lc_liquid_compare(LcRender *render, const LcValue *a, const LcValue *b, bool *comparable, int *result);
extern bool lc_liquid_contains(LcRender *render, const LcValue *a, const LcValue *b, bool *result);

/* template_filters.c */
extern const char *lc_liquid_find(const char *text, int length, const char *what, int what_length);
extern bool lc_liquid_read_text(LcRender *render, const LcValue *value, const char **text, int *length);
extern char *lc_liquid_make_string(LcRender *render, int64 length);

/* template_html.c: filters */
extern bool lc_liquid_escape(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_escape_once(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_newline_to_br(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_raw(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_strip_html(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_url_encode(LcRender *render, LcValue *value, const LcValue *args);

/* template_number.c: filters */
extern bool lc_liquid_plus(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_minus(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_times(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_divided_by(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_modulo(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_abs(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_at_least(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_at_most(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_ceil(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_floor(LcRender *render, LcValue *value, const LcValue *args);
extern bool lc_liquid_round(LcRender *render, LcValue *value, const LcValue *args);

/* template_date.c */
extern bool lc_liquid_date(LcRender *render, LcValue *value, const LcValue *args);
extern const char *lc_liquid_check_date(const LcValue *args);
extern bool lc_liquid_get_time(LcRender *render, const LcValue *value, TimestampTz *time);
extern char *lc_liquid_print_time(LcRender *render, const LcValue *value);

/* Counts work: one step, and one more for each 32 bytes. False when the limit is reached. */
static inline bool
lc_liquid_charge(LcRender *render, int64 bytes)
{
	render->steps += 1 + bytes / 32;
	if (unlikely(render->steps >= render->next_check))
		return lc_liquid_check_steps(render);
	return true;
}

static inline void
lc_liquid_set_string(LcValue *value, const char *string, int length)
{
	value->kind = LC_VALUE_STRING;
	value->safe = false;
	value->length = length;
	value->u.string = string;
}

static inline void
lc_liquid_set_integer(LcValue *value, int64 integer)
{
	value->kind = LC_VALUE_INTEGER;
	value->safe = false;
	value->u.integer = integer;
}

#endif
