/*
 * template_parse.c: from the source of a Liquid template to nodes.
 *
 * Names are resolved here, once. A name is the innermost loop variable of that name, else a variable if an assign or
 * capture of it stands before in the source, else a reference to the outside. So what a template needs is known
 * before it is rendered.
 *
 * Everything is allocated in the current memory context, the source included, and never changes afterwards.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "delivery/template_internal.h"

/* Counts whatever costs memory or work. */
void
lc_liquid_count_node(LcParser *parser)
{
	if (++parser->nodes > LC_TEMPLATE_MAX_NODES)
		lc_liquid_limit_error(parser, parser->token.position,
							  "a template has no more than %d texts, tags, values and filters", LC_TEMPLATE_MAX_NODES);
}

/* Makes a node of size bytes, the first of which are an LcNode. */
void *
lc_liquid_new_node(LcParser *parser, size_t size, LcFlow (*render) (LcRender *, const LcNode *))
{
	LcNode	   *node = palloc0(size);

	lc_liquid_count_node(parser);
	node->render = render;
	node->position = parser->opened;
	return node;
}

void
lc_liquid_enter(LcParser *parser)
{
	check_stack_depth();
	if (++parser->depth > LC_TEMPLATE_MAX_DEPTH)
		lc_liquid_limit_error(parser, parser->token.position, "nested deeper than %d levels", LC_TEMPLATE_MAX_DEPTH);
}

void
lc_liquid_leave(LcParser *parser)
{
	parser->depth--;
}

LcNode *
lc_liquid_new_text(LcParser *parser, const char *text, int length)
{
	LcTextNode *node = lc_liquid_new_node(parser, sizeof(LcTextNode), lc_liquid_render_text);

	node->text = text;
	node->length = length;
	return &node->node;
}

/* ---- names ---- */

static int
find_local(const LcLocal *locals, int count, const LcToken *name)
{
	for (int i = count - 1; i >= 0; i--)
		if (locals[i].length == name->length && memcmp(locals[i].name, name->text, name->length) == 0)
			return i;
	return -1;
}

static LcLocal *
add_local(LcParser *parser, LcLocal **locals, int *count, int *max, const char *name, int length)
{
	LcLocal    *local;

	if (parser->local_count >= LC_TEMPLATE_MAX_NAMES)
		lc_liquid_limit_error(parser, parser->token.position, "a template has no more than %d variables",
							  LC_TEMPLATE_MAX_NAMES);
	if (*count == *max)
	{
		*max = *max ? *max * 2 : 8;
		*locals = *locals ? repalloc(*locals, *max * sizeof(LcLocal)) : palloc(*max * sizeof(LcLocal));
	}
	local = &(*locals)[(*count)++];
	local->name = name;
	local->length = length;
	local->number = parser->local_count++;
	return local;
}

/* The number of the variable that an assign or capture sets; from here on the name means it. */
int
lc_liquid_assign_local(LcParser *parser, const LcToken *name)
{
	int			i = find_local(parser->assigned, parser->nassigned, name);

	if (i >= 0)
		return parser->assigned[i].number;
	return add_local(parser, &parser->assigned, &parser->nassigned, &parser->max_assigned,
					 name->text, name->length)->number;
}

/* Makes a loop variable visible, until lc_liquid_pop_locals. */
int
lc_liquid_push_local(LcParser *parser, const char *name, int length)
{
	return add_local(parser, &parser->locals, &parser->nlocals, &parser->max_locals, name, length)->number;
}

void
lc_liquid_pop_locals(LcParser *parser, int count)
{
	parser->nlocals -= count;
}

static bool
same_name(const char *name, const char *text, int length)
{
	if (name == NULL || text == NULL)
		return name == NULL && text == NULL;
	return strncmp(name, text, length) == 0 && name[length] == '\0';
}

/* The number of a reference; element is NULL for the whole root. */
static int
find_reference(LcParser *parser, const LcToken *root, const char *element, int element_length)
{
	LcTemplateReference *reference;

	for (int i = 0; i < parser->nreferences; i++)
		if (same_name(parser->references[i].root, root->text, root->length) &&
			same_name(parser->references[i].element, element, element_length))
			return i;
	if (parser->nreferences == LC_TEMPLATE_MAX_NAMES)
		lc_liquid_limit_error(parser, root->position, "a template uses no more than %d distinct values",
							  LC_TEMPLATE_MAX_NAMES);
	if (parser->nreferences == parser->max_references)
	{
		parser->max_references *= 2;
		parser->references = repalloc(parser->references, parser->max_references * sizeof(LcTemplateReference));
	}
	reference = &parser->references[parser->nreferences];
	reference->root = pnstrdup(root->text, root->length);
	reference->element = element ? pnstrdup(element, element_length) : NULL;
	reference->position = root->position;
	return parser->nreferences++;
}

/* ---- expressions ---- */

/* Reads ".name" and "[subscript]" as often as they come; *end is the position after the last. */
static LcAccess *
parse_accesses(LcParser *parser, int *end)
{
	LcAccess   *first = NULL;
	LcAccess  **last = &first;

	for (;;)
	{
		LcAccess   *access;

		if (parser->token.kind != '.' && parser->token.kind != '[')
			return first;
		access = palloc0(sizeof(LcAccess));
		lc_liquid_count_node(parser);
		if (lc_liquid_accept(parser, '.'))
		{
			if (parser->token.kind != LC_TOKEN_NAME)
				lc_liquid_expected(parser, "a name after \".\"");
			access->name = parser->token.text;
			access->length = parser->token.length;
		}
		else
		{
			lc_liquid_next_token(parser);
			if (parser->token.kind == LC_TOKEN_STRING)
			{
				access->name = parser->token.text;
				access->length = parser->token.length;
				lc_liquid_next_token(parser);
			}
			else
			{
				LcOperand  *index = palloc0(sizeof(LcOperand));

				lc_liquid_enter(parser);
				lc_liquid_parse_operand(parser, index);
				lc_liquid_leave(parser);
				access->index = index;
			}
			if (parser->token.kind != ']')
				lc_liquid_expected(parser, "\"]\"");
		}
		*end = parser->token.end;
		lc_liquid_next_token(parser);
		*last = access;
		last = &access->next;
	}
}

static bool
parse_word(const LcToken *token, LcValue *value)
{
	static const struct
	{
		const char *name;
		LcValueKind kind;
		bool		boolean;
	}			words[] = {
		{"true", LC_VALUE_BOOL, true}, {"false", LC_VALUE_BOOL, false}, {"nil", LC_VALUE_NIL},
		{"null", LC_VALUE_NIL}, {"empty", LC_VALUE_EMPTY}, {"blank", LC_VALUE_BLANK}
	};

	for (int i = 0; i < lengthof(words); i++)
		if (lc_liquid_token_is(token, words[i].name))
		{
			memset(value, 0, sizeof(LcValue));
			value->kind = words[i].kind;
			if (value->kind == LC_VALUE_BOOL)
				value->u.boolean = words[i].boolean;
			return true;
		}
	return false;
}

static void
parse_number(LcParser *parser, LcValue *value)
{
	char	   *text = pnstrdup(parser->token.text, parser->token.length);

	if (parser->token.length > 100)
		lc_liquid_limit_error(parser, parser->token.position, "a number has no more than 100 characters");
	value->kind = LC_VALUE_NUMERIC;
	value->u.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
														   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (strchr(text, '.') == NULL)
		lc_liquid_normalize_number(value);
}

/* A path of that name, the last token of which is the current one. */
static void
parse_path(LcParser *parser, LcOperand *operand, LcToken name)
{
	int			end = name.end;
	int			local;
	LcAccess   *access;

	lc_liquid_next_token(parser);
	operand->accesses = parse_accesses(parser, &end);
	operand->length = end - name.position;

	operand->kind = LC_OPERAND_LOCAL;
	if ((local = find_local(parser->locals, parser->nlocals, &name)) >= 0)
		operand->number = parser->locals[local].number;
	else if ((local = find_local(parser->assigned, parser->nassigned, &name)) >= 0)
		operand->number = parser->assigned[local].number;
	else
	{
		operand->kind = LC_OPERAND_REFERENCE;
		access = operand->accesses;
		if (access && access->name)
		{
			operand->number = find_reference(parser, &name, access->name, access->length);
			operand->accesses = access->next;
		}
		else
			operand->number = find_reference(parser, &name, NULL, 0);
	}
}

/* ["name"]: a name that is no word. */
static LcToken
parse_quoted_name(LcParser *parser)
{
	int			position = parser->token.position;
	LcToken		name;

	lc_liquid_next_token(parser);
	if (parser->token.kind != LC_TOKEN_STRING)
		lc_liquid_expected(parser, "a name in quotes after \"[\"");
	name = parser->token;
	lc_liquid_next_token(parser);
	if (parser->token.kind != ']')
		lc_liquid_expected(parser, "\"]\"");
	name.position = position;
	name.end = parser->token.end;
	return name;
}

/* Reads a literal, a path, or a range of two of them. */
void
lc_liquid_parse_operand(LcParser *parser, LcOperand *operand)
{
	LcToken    *token = &parser->token;

	check_stack_depth();
	lc_liquid_count_node(parser);
	memset(operand, 0, sizeof(LcOperand));
	operand->kind = LC_OPERAND_LITERAL;
	operand->position = token->position;
	operand->length = token->end - token->position;

	switch (token->kind)
	{
		case LC_TOKEN_STRING:
			lc_liquid_set_string(&operand->literal, token->text, token->length);
			break;
		case LC_TOKEN_NUMBER:
			parse_number(parser, &operand->literal);
			break;
		case LC_TOKEN_NAME:
			if (parse_word(token, &operand->literal))
				break;
			parse_path(parser, operand, *token);
			return;
		case '[':
			parse_path(parser, operand, parse_quoted_name(parser));
			return;
		case '(':
			{
				LcOperand  *bounds = palloc(2 * sizeof(LcOperand));

				lc_liquid_enter(parser);
				lc_liquid_next_token(parser);
				lc_liquid_parse_operand(parser, &bounds[0]);
				if (!lc_liquid_accept(parser, LC_TOKEN_RANGE))
					lc_liquid_expected(parser, "\"..\" of a range such as (1..5)");
				lc_liquid_parse_operand(parser, &bounds[1]);
				lc_liquid_leave(parser);
				if (token->kind != ')')
					lc_liquid_expected(parser, "\")\"");
				operand->kind = LC_OPERAND_RANGE;
				operand->length = token->end - operand->position;
				operand->low = &bounds[0];
				operand->high = &bounds[1];
			}
			break;
		default:
			lc_liquid_expected(parser, "a value");
	}
	lc_liquid_next_token(parser);
}

/* Whether the current token is the name of an argument, which a colon follows. */
static bool
at_keyword(LcParser *parser)
{
	const char *c = parser->source + parser->token.end;

	return parser->token.kind == LC_TOKEN_NAME && c[strspn(c, " \t\r\n")] == ':';
}

/* Reads the arguments of a filter: positional ones, and the one it may have by name. */
static int
parse_arguments(LcParser *parser, LcFilterCall *call)
{
	const LcFilter *filter = call->filter;
	int			count = 0;

	do
	{
		LcToken		name = parser->token;

		if (at_keyword(parser))
		{
			if (filter->keyword == NULL || !lc_liquid_token_is(&name, filter->keyword))
				lc_liquid_syntax_error(parser, name.position, "filter \"%s\" has no argument \"%.*s\"",
									   filter->name, pg_mbcliplen(name.text, name.length, 60), name.text);
			lc_liquid_next_token(parser);
			lc_liquid_next_token(parser);
			lc_liquid_parse_operand(parser, &call->args[filter->max_args]);
		}
		else if (count == filter->max_args)
			lc_liquid_syntax_error(parser, name.position, "filter \"%s\" takes %s", filter->name,
								   count == 0 ? "no argument" : psprintf("no more than %d argument%s", count,
																		 count == 1 ? "" : "s"));
		else
			lc_liquid_parse_operand(parser, &call->args[count++]);
	} while (lc_liquid_accept(parser, ','));
	return count;
}

/* Lets the filter look at its arguments when all are literals. */
static void
check_arguments(LcParser *parser, const LcFilterCall *call)
{
	LcValue		args[LC_FILTER_MAX_ARGS];
	const char *problem;

	for (int i = 0; i < call->nargs; i++)
	{
		if (call->args[i].kind != LC_OPERAND_LITERAL)
			return;
		args[i] = call->args[i].literal;
	}
	problem = call->filter->check(args);
	if (problem)
		lc_liquid_syntax_error(parser, call->args[0].position, "%s", problem);
}

static LcFilterCall *
parse_filter(LcParser *parser)
{
	LcFilterCall *call = palloc0(sizeof(LcFilterCall));
	LcToken		name = parser->token;
	int			count = 0;

	if (name.kind != LC_TOKEN_NAME)
		lc_liquid_expected(parser, "the name of a filter after \"|\"");
	lc_liquid_count_node(parser);
	call->filter = lc_liquid_find_filter(&name);
	call->position = name.position;
	if (call->filter == NULL)
		lc_liquid_syntax_error(parser, name.position, "unknown filter \"%.*s\"; the filters are %s",
							   pg_mbcliplen(name.text, name.length, 60), name.text, lc_liquid_list_filters());
	call->nargs = call->filter->max_args + (call->filter->keyword ? 1 : 0);
	call->args = palloc0((call->nargs + 1) * sizeof(LcOperand));
	for (int i = 0; i < call->nargs; i++)
		call->args[i].literal.kind = LC_VALUE_UNSET;
	lc_liquid_next_token(parser);
	if (lc_liquid_accept(parser, ':'))
		count = parse_arguments(parser, call);
	if (count < call->filter->min_args)
		lc_liquid_syntax_error(parser, name.position, "filter \"%s\" needs %d argument%s, such as \"%s: value\"",
							   call->filter->name, call->filter->min_args, call->filter->min_args == 1 ? "" : "s",
							   call->filter->name);
	if (call->filter->check)
		check_arguments(parser, call);
	return call;
}

/* Reads an operand and the filters after it. */
void
lc_liquid_parse_expression(LcParser *parser, LcExpression *expression)
{
	LcFilterCall **last = &expression->filters;

	lc_liquid_parse_operand(parser, &expression->operand);
	*last = NULL;
	while (lc_liquid_accept(parser, '|'))
	{
		*last = parse_filter(parser);
		last = &(*last)->next;
	}
}

/* ---- blocks ---- */

/* Reads an output up to its end; the current token is its first. */
LcNode *
lc_liquid_new_output(LcParser *parser)
{
	LcOutputNode *node = lc_liquid_new_node(parser, sizeof(LcOutputNode), lc_liquid_render_output);

	lc_liquid_parse_expression(parser, &node->expression);
	if (parser->token.kind != LC_TOKEN_END)
		lc_liquid_expected(parser, "\"|\" and a filter, or the end");
	return &node->node;
}

static bool
is_one_of(const LcToken *name, const char *const *names)
{
	for (; names && *names; names++)
		if (lc_liquid_token_is(name, *names))
			return true;
	return false;
}

static const char *
last_name(const char *const *names)
{
	while (names[1])
		names++;
	return *names;
}

/* Raises the error for a tag that is not in the table: one that belongs to another block, or none at all. */
static void
unknown_tag(LcParser *parser, const LcToken *opener, const char *const *ends)
{
	static const char *const parts[] = {"else", "elsif", "when", NULL};
	const LcToken *name = &parser->token;
	int			length = pg_mbcliplen(name->text, name->length, 60);
	int			line,
				column;

	if (!is_one_of(name, parts) && strncmp(name->text, "end", 3) != 0)
		lc_liquid_syntax_error(parser, name->position, "unknown tag \"%.*s\"; the tags are %s", length, name->text,
							   lc_liquid_list_tags());
	if (ends == NULL)
		lc_liquid_syntax_error(parser, name->position, "unexpected tag \"%.*s\", there is no block to which it belongs",
							   length, name->text);
	lc_liquid_locate(parser->source, opener->position, &line, &column);
	lc_liquid_syntax_error(parser, name->position, "unexpected tag \"%.*s\" inside the \"%.*s\" of line %d, "
						   "which ends with \"{%% %s %%}\"", length, name->text,
						   opener->length, opener->text, line, last_name(ends));
}

static LcNode *
parse_tag(LcParser *parser, const LcToken *opener, const char *const *ends)
{
	LcToken		name = parser->token;
	const LcTag *tag;

	if (name.kind == '#')
	{
		/* a comment in one tag: its words need not be tokens */
		const char *end = strstr(parser->source + parser->at, "%}");

		if (end == NULL)
			lc_liquid_syntax_error(parser, parser->opened, "the \"{%%\" that begins here has no closing \"%%}\"");
		parser->at = end + 2 - parser->source;
		parser->trim = end[-1] == '-';
		return NULL;
	}
	if (name.kind != LC_TOKEN_NAME)
		lc_liquid_expected(parser, "the name of a tag");
	tag = lc_liquid_find_tag(&name);
	if (tag == NULL)
		unknown_tag(parser, opener, ends);
	lc_liquid_next_token(parser);
	return tag->parse(parser);
}

/*
 * Reads nodes up to one of the tags named in ends (the last is the one that closes the block), which becomes
 * parser->tag, with the token after its name current. With ends NULL, up to the end of the template.
 */
LcNode *
lc_liquid_parse_block(LcParser *parser, const LcToken *opener, const char *const *ends)
{
	LcNode	   *first = NULL;
	LcNode	  **last = &first;

	lc_liquid_enter(parser);
	for (;;)
	{
		const char *text;
		int			length;
		bool		more = lc_liquid_next_text(parser, &text, &length);

		if (length > 0)
		{
			*last = lc_liquid_new_text(parser, text, length);
			last = &(*last)->next;
		}
		if (!more)
			break;
		if (parser->closer == '}')
			*last = lc_liquid_new_output(parser);
		else if (is_one_of(&parser->token, ends))
		{
			parser->tag = parser->token;
			lc_liquid_next_token(parser);
			lc_liquid_leave(parser);
			return first;
		}
		else
			*last = parse_tag(parser, opener, ends);
		if (*last)
			last = &(*last)->next;
	}
	if (ends)
		lc_liquid_syntax_error(parser, opener->position, "the \"%.*s\" that begins here has no \"{%% %s %%}\"",
							   opener->length, opener->text, last_name(ends));
	lc_liquid_leave(parser);
	return first;
}

/* ---- the public side ---- */

/* Parses a template, into the current memory context. Whatever is wrong is an error that says where. */
LcTemplate *
lc_template_parse(const char *source, bool html)
{
	LcParser	parser = {0};
	LcTemplate *template;
	size_t		length = strlen(source);

	if (length > LC_TEMPLATE_MAX_SOURCE)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("template is longer than %d bytes", LC_TEMPLATE_MAX_SOURCE));
	parser.source = pnstrdup(source, length);
	parser.length = length;
	parser.max_references = 8;
	parser.references = palloc(parser.max_references * sizeof(LcTemplateReference));

	template = palloc0(sizeof(LcTemplate));
	template->source = parser.source;
	template->html = html;
	template->nodes = lc_liquid_parse_block(&parser, NULL, NULL);
	template->references = parser.references;
	template->nreferences = parser.nreferences;
	template->nlocals = parser.local_count;
	return template;
}

/* The values of the outside a template uses, in the order in which rendering wants them. */
const LcTemplateReference *
lc_template_references(const LcTemplate *template, int *count)
{
	*count = template->nreferences;
	return template->references;
}

/* Line and column, from 1, of a position that a reference has. */
void
lc_template_position(const LcTemplate *template, int position, int *line, int *column)
{
	lc_liquid_locate(template->source, position, line, column);
}
