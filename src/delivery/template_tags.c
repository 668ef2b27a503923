/*
 * template_tags.c: the tags of Liquid: for each how it is read and what it does, and one entry in the table at the end.
 *
 * A parse function starts at the token after the tag's name. When it returns, the current token is the end of the
 * last tag it read (so that text follows), and lc_liquid_expect_end has said so.
 */
#include "postgres.h"

#include "delivery/template_internal.h"

/* ---- if, unless ---- */

/* Terms are joined from the right, as Liquid does: "a and b or c" is "a and (b or c)". */
typedef struct Term
{
	struct Term *next;
	bool		is_or;			/* how it is joined to the next */
	int			operator;		/* a token kind, 'c' for contains, 0 for the value itself */
	LcOperand	left;
	LcOperand	right;
} Term;

typedef struct Branch
{
	struct Branch *next;
	Term	   *condition;		/* NULL for else */
	bool		negated;
	LcNode	   *body;
} Branch;

typedef struct IfNode
{
	LcNode		node;
	Branch	   *branches;
} IfNode;

static Term *
parse_condition(LcParser *parser)
{
	Term	   *first = NULL;
	Term	  **last = &first;

	for (;;)
	{
		Term	   *term = palloc0(sizeof(Term));
		int			kind;

		*last = term;
		last = &term->next;
		lc_liquid_parse_operand(parser, &term->left);
		kind = parser->token.kind;
		if (kind == LC_TOKEN_EQ || kind == LC_TOKEN_NE || kind == '<' || kind == '>' ||
			kind == LC_TOKEN_LE || kind == LC_TOKEN_GE)
			term->operator = kind;
		else if (lc_liquid_token_is(&parser->token, "contains"))
			term->operator = 'c';
		if (term->operator)
		{
			lc_liquid_next_token(parser);
			lc_liquid_parse_operand(parser, &term->right);
		}
		if (parser->token.kind == LC_TOKEN_END)
			return first;
		term->is_or = lc_liquid_token_is(&parser->token, "or");
		if (parser->token.kind == '|')
			lc_liquid_syntax_error(parser, parser->token.position, "a condition has no filters; "
								   "assign the filtered value to a variable first");
		if (!term->is_or && !lc_liquid_token_is(&parser->token, "and"))
			lc_liquid_expected(parser, term->operator ? "\"and\", \"or\" or \"%}\"" :
							   "an operator (==, !=, <, >, <=, >=, contains), \"and\", \"or\" or \"%}\"");
		lc_liquid_next_token(parser);
	}
}

static bool
evaluate_term(LcRender *render, const Term *term, bool *result)
{
	LcValue		left,
				right;
	bool		comparable;
	int			order;

	if (!lc_liquid_charge(render, 0) || !lc_liquid_evaluate_operand(render, &term->left, &left))
		return false;
	if (term->operator == 0)
	{
		*result = lc_liquid_is_true(&left);
		return true;
	}
	if (!lc_liquid_evaluate_operand(render, &term->right, &right))
		return false;
	switch (term->operator)
	{
		case LC_TOKEN_EQ:
			return lc_liquid_is_equal(render, &left, &right, result);
		case LC_TOKEN_NE:
			if (!lc_liquid_is_equal(render, &left, &right, result))
				return false;
			*result = !*result;
			return true;
		case 'c':
			return lc_liquid_contains(render, &left, &right, result);
	}
	if (!lc_liquid_compare(render, &left, &right, &comparable, &order))
		return false;
	*result = comparable &&
		((order < 0 && (term->operator == '<' || term->operator == LC_TOKEN_LE)) ||
		 (order > 0 && (term->operator == '>' || term->operator == LC_TOKEN_GE)) ||
		 (order == 0 && (term->operator == LC_TOKEN_LE || term->operator == LC_TOKEN_GE)));
	return true;
}

static bool
evaluate_condition(LcRender *render, const Term *term, bool *result)
{
	for (; term; term = term->next)
	{
		if (!evaluate_term(render, term, result))
			return false;
		if (*result == term->is_or)
			return true;		/* "true or …", "false and …" */
	}
	return true;
}

static LcFlow
render_if(LcRender *render, const LcNode *node)
{
	for (const Branch *branch = ((const IfNode *) node)->branches; branch; branch = branch->next)
	{
		bool		result = true;

		if (branch->condition && !evaluate_condition(render, branch->condition, &result))
			return LC_FLOW_FAIL;
		if (result != branch->negated)
			return lc_liquid_render_block(render, branch->body);
	}
	return LC_FLOW_NEXT;
}

static LcNode *
parse_conditional(LcParser *parser, bool negated)
{
	static const char *const if_ends[] = {"elsif", "else", "endif", NULL};
	static const char *const unless_ends[] = {"elsif", "else", "endunless", NULL};
	const char *const *ends = negated ? unless_ends : if_ends;
	IfNode	   *node = lc_liquid_new_node(parser, sizeof(IfNode), render_if);
	Branch	  **last = &node->branches;
	LcToken		opener = {.kind = LC_TOKEN_NAME, .position = node->node.position};

	opener.text = negated ? "unless" : "if";
	opener.length = strlen(opener.text);
	for (;;)
	{
		Branch	   *branch = palloc0(sizeof(Branch));

		*last = branch;
		last = &branch->next;
		branch->negated = negated;
		negated = false;
		branch->condition = parse_condition(parser);
		branch->body = lc_liquid_parse_block(parser, &opener, ends);
		if (lc_liquid_token_is(&parser->tag, "elsif"))
			continue;
		if (lc_liquid_token_is(&parser->tag, "else"))
		{
			lc_liquid_expect_end(parser);
			*last = palloc0(sizeof(Branch));
			(*last)->body = lc_liquid_parse_block(parser, &opener, ends + 2);
		}
		lc_liquid_expect_end(parser);
		return &node->node;
	}
}

static LcNode *
parse_if(LcParser *parser)
{
	return parse_conditional(parser, false);
}

static LcNode *
parse_unless(LcParser *parser)
{
	return parse_conditional(parser, true);
}

/* ---- case ---- */

typedef struct Choice
{
	struct Choice *next;
	LcOperand	value;
} Choice;

typedef struct When
{
	struct When *next;
	Choice	   *choices;		/* NULL for else */
	LcNode	   *body;
} When;

typedef struct CaseNode
{
	LcNode		node;
	LcOperand	value;
	When	   *whens;
} CaseNode;

static LcFlow
render_case(LcRender *render, const LcNode *node)
{
	const CaseNode *this = (const CaseNode *) node;
	LcValue		value;

	if (!lc_liquid_evaluate_operand(render, &this->value, &value))
		return LC_FLOW_FAIL;
	for (const When *when = this->whens; when; when = when->next)
	{
		bool		found = when->choices == NULL;

		for (const Choice *choice = when->choices; choice && !found; choice = choice->next)
		{
			LcValue		other;

			if (!lc_liquid_charge(render, 0) ||
				!lc_liquid_evaluate_operand(render, &choice->value, &other) ||
				!lc_liquid_is_equal(render, &value, &other, &found))
				return LC_FLOW_FAIL;
		}
		if (found)
			return lc_liquid_render_block(render, when->body);
	}
	return LC_FLOW_NEXT;
}

static void
parse_choices(LcParser *parser, When *when)
{
	Choice	  **last = &when->choices;

	do
	{
		*last = palloc0(sizeof(Choice));
		lc_liquid_parse_operand(parser, &(*last)->value);
		last = &(*last)->next;
	} while (lc_liquid_accept(parser, ',') || lc_liquid_accept_name(parser, "or"));
	lc_liquid_expect_end(parser);
}

/* What stands between "case" and the first "when" would never be printed. */
static void
expect_no_nodes(LcParser *parser, const LcNode *node)
{
	for (; node; node = node->next)
	{
		const LcTextNode *text = (const LcTextNode *) node;

		if (node->render == lc_liquid_render_text && strspn(text->text, " \t\r\n\v\f") >= text->length)
			continue;
		lc_liquid_syntax_error(parser, node->position, "expected \"{%% when … %%}\" after \"case\"");
	}
}

static LcNode *
parse_case(LcParser *parser)
{
	static const char *const ends[] = {"when", "else", "endcase", NULL};
	CaseNode   *node = lc_liquid_new_node(parser, sizeof(CaseNode), render_case);
	When	  **last = &node->whens;
	LcToken		opener = {.kind = LC_TOKEN_NAME, .text = "case", .length = 4, .position = node->node.position};

	lc_liquid_parse_operand(parser, &node->value);
	lc_liquid_expect_end(parser);
	expect_no_nodes(parser, lc_liquid_parse_block(parser, &opener, ends));
	while (lc_liquid_token_is(&parser->tag, "when"))
	{
		*last = palloc0(sizeof(When));
		parse_choices(parser, *last);
		(*last)->body = lc_liquid_parse_block(parser, &opener, ends);
		last = &(*last)->next;
	}
	if (lc_liquid_token_is(&parser->tag, "else"))
	{
		lc_liquid_expect_end(parser);
		*last = palloc0(sizeof(When));
		(*last)->body = lc_liquid_parse_block(parser, &opener, ends + 2);
	}
	lc_liquid_expect_end(parser);
	return &node->node;
}

/* ---- for ---- */

typedef struct ForNode
{
	LcNode		node;
	LcOperand	collection;
	LcOperand  *limit;
	LcOperand  *offset;
	bool		reversed;
	int			variable;
	int			forloop;
	LcNode	   *body;
	LcNode	   *otherwise;
} ForNode;

/* Evaluates "limit" or "offset". */
static bool
evaluate_bound(LcRender *render, const LcOperand *operand, const char *what, int64 *result)
{
	LcValue		value;

	if (operand == NULL)
		return true;
	if (!lc_liquid_evaluate_operand(render, operand, &value) ||
		!lc_liquid_get_integer(render, &value, what, result))
		return false;
	if (*result < 0)
		return lc_liquid_fail(render, "%s must not be negative, but is " INT64_FORMAT, what, *result);
	return true;
}

static LcFlow
render_for(LcRender *render, const LcNode *node)
{
	const ForNode *this = (const ForNode *) node;
	LcValue		collection;
	const LcValue *items;
	int			nitems;
	int64		offset = 0;
	int64		length;
	LcLoop	   *loop;
	LcFlow		flow = LC_FLOW_NEXT;

	if (!lc_liquid_evaluate_operand(render, &this->collection, &collection))
		return LC_FLOW_FAIL;
	if (collection.kind == LC_VALUE_JSONB)
	{
		if (!lc_liquid_get_list(render, &collection, &items, &nitems))
			return LC_FLOW_FAIL;
		collection.kind = LC_VALUE_LIST;
		collection.length = nitems;
		collection.u.items = items;
	}
	length = lc_liquid_count_items(&collection);
	if (length < 0)
	{
		lc_liquid_fail_kind(render, "\"for\" needs a list", &collection);
		return LC_FLOW_FAIL;
	}
	if (!evaluate_bound(render, this->offset, "\"offset\"", &offset))
		return LC_FLOW_FAIL;
	length = Max(length - offset, 0);
	if (this->limit)
	{
		int64		limit = 0;

		if (!evaluate_bound(render, this->limit, "\"limit\"", &limit))
			return LC_FLOW_FAIL;
		length = Min(length, limit);
	}
	if (length == 0)
		return lc_liquid_render_block(render, this->otherwise);

	/* not on the stack: a variable can outlive the loop */
	loop = palloc(sizeof(LcLoop));
	loop->length = length;
	loop->parent = render->loop;
	render->loop = loop;
	for (loop->index0 = 0; loop->index0 < length; loop->index0++)
	{
		LcValue    *forloop = &render->locals[this->forloop];

		if (!lc_liquid_charge(render, 0))
			return LC_FLOW_FAIL;
		lc_liquid_get_item(&collection, offset + (this->reversed ? length - 1 - loop->index0 : loop->index0),
						   &render->locals[this->variable]);
		memset(forloop, 0, sizeof(LcValue));
		forloop->kind = LC_VALUE_LOOP;
		forloop->u.loop = loop;
		flow = lc_liquid_render_block(render, this->body);
		if (flow == LC_FLOW_BREAK || flow == LC_FLOW_FAIL)
			break;
	}
	render->loop = loop->parent;
	return flow == LC_FLOW_FAIL ? LC_FLOW_FAIL : LC_FLOW_NEXT;
}

static LcOperand *
parse_bound(LcParser *parser, LcOperand *before)
{
	LcOperand  *operand = palloc(sizeof(LcOperand));

	if (before)
		lc_liquid_syntax_error(parser, parser->token.position, "\"%.*s\" is there twice", parser->token.length,
							   parser->token.text);
	lc_liquid_next_token(parser);
	if (!lc_liquid_accept(parser, ':'))
		lc_liquid_expected(parser, "\":\"");
	lc_liquid_parse_operand(parser, operand);
	return operand;
}

static LcNode *
parse_for(LcParser *parser)
{
	static const char *const ends[] = {"else", "endfor", NULL};
	ForNode    *node = lc_liquid_new_node(parser, sizeof(ForNode), render_for);
	LcToken		opener = {.kind = LC_TOKEN_NAME, .text = "for", .length = 3, .position = node->node.position};
	LcToken		name = parser->token;

	if (name.kind != LC_TOKEN_NAME)
		lc_liquid_expected(parser, "the name of a loop variable");
	lc_liquid_next_token(parser);
	if (!lc_liquid_accept_name(parser, "in"))
		lc_liquid_expected(parser, "\"in\"");
	lc_liquid_parse_operand(parser, &node->collection);
	while (parser->token.kind != LC_TOKEN_END)
	{
		if (lc_liquid_token_is(&parser->token, "limit"))
			node->limit = parse_bound(parser, node->limit);
		else if (lc_liquid_token_is(&parser->token, "offset"))
			node->offset = parse_bound(parser, node->offset);
		else if (lc_liquid_accept_name(parser, "reversed"))
			node->reversed = true;
		else if (!lc_liquid_accept(parser, ','))
			lc_liquid_expected(parser, "\"limit:\", \"offset:\", \"reversed\" or \"%}\"");
	}
	node->variable = lc_liquid_push_local(parser, name.text, name.length);
	node->forloop = lc_liquid_push_local(parser, "forloop", 7);
	parser->loops++;
	node->body = lc_liquid_parse_block(parser, &opener, ends);
	parser->loops--;
	lc_liquid_pop_locals(parser, 2);
	lc_liquid_expect_end(parser);
	if (lc_liquid_token_is(&parser->tag, "else"))
	{
		node->otherwise = lc_liquid_parse_block(parser, &opener, ends + 1);
		lc_liquid_expect_end(parser);
	}
	return &node->node;
}

static LcFlow
render_break(LcRender *render, const LcNode *node)
{
	return LC_FLOW_BREAK;
}

static LcFlow
render_continue(LcRender *render, const LcNode *node)
{
	return LC_FLOW_CONTINUE;
}

static LcNode *
parse_jump(LcParser *parser, const char *name, LcFlow (*render) (LcRender *, const LcNode *))
{
	LcNode	   *node = lc_liquid_new_node(parser, sizeof(LcNode), render);

	if (parser->loops == 0)
		lc_liquid_syntax_error(parser, node->position, "\"%s\" is possible inside \"for\" only", name);
	lc_liquid_expect_end(parser);
	return node;
}

static LcNode *
parse_break(LcParser *parser)
{
	return parse_jump(parser, "break", render_break);
}

static LcNode *
parse_continue(LcParser *parser)
{
	return parse_jump(parser, "continue", render_continue);
}

/* ---- variables ---- */

typedef struct AssignNode
{
	LcNode		node;
	int			variable;
	LcExpression expression;
} AssignNode;

typedef struct CaptureNode
{
	LcNode		node;
	int			variable;
	LcNode	   *body;
} CaptureNode;

static LcFlow
render_assign(LcRender *render, const LcNode *node)
{
	const AssignNode *this = (const AssignNode *) node;
	LcValue		value;

	if (!lc_liquid_evaluate(render, &this->expression, &value))
		return LC_FLOW_FAIL;
	render->locals[this->variable] = value;
	return LC_FLOW_NEXT;
}

static LcNode *
parse_assign(LcParser *parser)
{
	AssignNode *node = lc_liquid_new_node(parser, sizeof(AssignNode), render_assign);
	LcToken		name = parser->token;

	if (name.kind != LC_TOKEN_NAME)
		lc_liquid_expected(parser, "the name of a variable");
	lc_liquid_next_token(parser);
	if (!lc_liquid_accept(parser, '='))
		lc_liquid_expected(parser, "\"=\"");
	lc_liquid_parse_expression(parser, &node->expression);
	lc_liquid_expect_end(parser);
	node->variable = lc_liquid_assign_local(parser, &name);
	return &node->node;
}

static LcFlow
render_capture(LcRender *render, const LcNode *node)
{
	const CaptureNode *this = (const CaptureNode *) node;
	StringInfo	out = render->out;
	int			max_length = render->max_length;
	StringInfoData captured;
	LcFlow		flow;

	initStringInfo(&captured);
	if (!lc_liquid_charge(render, captured.maxlen))
		return LC_FLOW_FAIL;
	render->out = &captured;
	render->max_length = render->max_output;
	flow = lc_liquid_render_block(render, this->body);
	render->out = out;
	render->max_length = max_length;
	lc_liquid_set_string(&render->locals[this->variable], captured.data, captured.len);
	/* what it is made of was escaped when it was printed into it */
	render->locals[this->variable].safe = render->template->html;
	return flow;
}

static LcNode *
parse_capture(LcParser *parser)
{
	static const char *const ends[] = {"endcapture", NULL};
	CaptureNode *node = lc_liquid_new_node(parser, sizeof(CaptureNode), render_capture);
	LcToken		opener = {.kind = LC_TOKEN_NAME, .text = "capture", .length = 7, .position = node->node.position};
	LcToken		name = parser->token;

	if (name.kind != LC_TOKEN_NAME && name.kind != LC_TOKEN_STRING)
		lc_liquid_expected(parser, "the name of a variable");
	lc_liquid_next_token(parser);
	lc_liquid_expect_end(parser);
	node->body = lc_liquid_parse_block(parser, &opener, ends);
	lc_liquid_expect_end(parser);
	node->variable = lc_liquid_assign_local(parser, &name);
	return &node->node;
}

/* ---- the others ---- */

static LcNode *
parse_echo(LcParser *parser)
{
	return lc_liquid_new_output(parser);
}

static LcNode *
parse_comment(LcParser *parser)
{
	lc_liquid_expect_end(parser);
	lc_liquid_skip_comment(parser);
	return NULL;
}

static LcNode *
parse_raw(LcParser *parser)
{
	const char *text;
	int			length;

	lc_liquid_expect_end(parser);
	lc_liquid_read_raw(parser, &text, &length);
	return lc_liquid_new_text(parser, text, length);
}

static const LcTag tags[] = {
	{"assign", parse_assign},
	{"break", parse_break},
	{"capture", parse_capture},
	{"case", parse_case},
	{"comment", parse_comment},
	{"continue", parse_continue},
	{"echo", parse_echo},
	{"for", parse_for},
	{"if", parse_if},
	{"raw", parse_raw},
	{"unless", parse_unless},
};

const LcTag *
lc_liquid_find_tag(const LcToken *name)
{
	for (int i = 0; i < lengthof(tags); i++)
		if (lc_liquid_token_is(name, tags[i].name))
			return &tags[i];
	return NULL;
}

/* The names of all tags, for messages. */
char *
lc_liquid_list_tags(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(tags); i++)
		appendStringInfo(&list, "%s%s", i ? ", " : "", tags[i].name);
	return list.data;
}
