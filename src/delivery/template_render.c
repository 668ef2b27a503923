/*
 * template_render.c: from a parsed template and values to text.
 *
 * Nothing in the data is an error of the database: whatever is missing, of the wrong kind or too much ends the
 * rendering with a reason, so that one message fails and not the statement. Functions that return bool have set the
 * reason when they return false.
 *
 * Work and memory are bounded by steps: each node, element, filter and every 32 bytes made count one. What is
 * allocated stays until the caller resets the current memory context.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "delivery/template_internal.h"

#define CHECK_STEPS 10000		/* between two looks for interrupts */

bool
lc_liquid_check_steps(LcRender *render)
{
	CHECK_FOR_INTERRUPTS();
	if (render->steps > render->max_steps)
		return lc_liquid_fail(render, "rendering takes more than " INT64_FORMAT " steps; a loop or a value is too big",
							  render->max_steps);
	render->next_check = Min(render->steps + CHECK_STEPS, render->max_steps + 1);
	return true;
}

/* Sets the reason why rendering fails, with the position of the node at work. Always false. */
bool
lc_liquid_fail(LcRender *render, const char *format,...)
{
	StringInfoData reason;
	int			line,
				column;

	if (render->reason)
		return false;
	initStringInfo(&reason);
	for (;;)
	{
		va_list		arguments;
		int			needed;

		va_start(arguments, format);
		needed = appendStringInfoVA(&reason, format, arguments);
		va_end(arguments);
		if (needed == 0)
			break;
		enlargeStringInfo(&reason, needed);
	}
	lc_liquid_locate(render->template->source, render->position, &line, &column);
	appendStringInfo(&reason, " (line %d, column %d)", line, column);
	render->reason = reason.data;
	return false;
}

/* Fails because of a nil where a value is needed. */
bool
lc_liquid_fail_missing(LcRender *render, const LcValue *value)
{
	const LcOperand *origin = value->u.origin;

	if (origin == NULL)
		return lc_liquid_fail(render, "a list contains null");
	return lc_liquid_fail(render, "%.*s has no value, and no \"default\" filter gives it one",
						  origin->length, render->template->source + origin->position);
}

/* Fails because a value is of a kind of which nothing can be made; what says what is needed. */
bool
lc_liquid_fail_kind(LcRender *render, const char *what, const LcValue *value)
{
	if (value->kind == LC_VALUE_NIL)
		return lc_liquid_fail_missing(render, value);
	if (value->kind == LC_VALUE_STRING)
		return lc_liquid_fail(render, "%s, not the string \"%.*s\"", what,
							  pg_mbcliplen(value->u.string, value->length, 40), value->u.string);
	if (value->kind == LC_VALUE_INTEGER || value->kind == LC_VALUE_NUMERIC)
	{
		const char *text;
		int			length;

		if (!lc_liquid_get_text(render, value, &text, &length))
			return false;
		return lc_liquid_fail(render, "%s, not %.*s", what, Min(length, 40), text);
	}
	return lc_liquid_fail(render, "%s, not %s", what, lc_liquid_kind_name(value));
}

/* ---- output ---- */

bool
lc_liquid_append(LcRender *render, const char *text, int length)
{
	StringInfo	out = render->out;

	if (unlikely(length > render->max_length - out->len))
		return lc_liquid_fail(render, "the text is longer than %d bytes", render->max_output);
	appendBinaryStringInfo(out, text, length);
	return lc_liquid_charge(render, length);
}

static bool
append_value(LcRender *render, const LcValue *value)
{
	LcValue		text = *value;

	if (value->kind == LC_VALUE_INTEGER)
	{
		char		digits[24];

		return lc_liquid_append(render, digits, pg_lltoa(value->u.integer, digits));
	}
	if (value->kind != LC_VALUE_STRING)
	{
		const char *string;
		int			length;

		if (!lc_liquid_get_text(render, value, &string, &length))
			return false;
		lc_liquid_set_string(&text, string, length);
	}
	if (render->template->html && !text.safe && !lc_liquid_escape(render, &text, NULL))
		return false;
	return lc_liquid_append(render, text.u.string, text.length);
}

LcFlow
lc_liquid_render_text(LcRender *render, const LcNode *node)
{
	const LcTextNode *text = (const LcTextNode *) node;

	return lc_liquid_append(render, text->text, text->length) ? LC_FLOW_NEXT : LC_FLOW_FAIL;
}

LcFlow
lc_liquid_render_output(LcRender *render, const LcNode *node)
{
	LcValue		value;

	if (lc_liquid_evaluate(render, &((const LcOutputNode *) node)->expression, &value) &&
		append_value(render, &value))
		return LC_FLOW_NEXT;
	return LC_FLOW_FAIL;
}

LcFlow
lc_liquid_render_block(LcRender *render, const LcNode *node)
{
	check_stack_depth();
	for (; node; node = node->next)
	{
		LcFlow		flow;

		render->position = node->position;
		if (!lc_liquid_charge(render, 0))
			return LC_FLOW_FAIL;
		flow = node->render(render, node);
		if (flow != LC_FLOW_NEXT)
			return flow;
	}
	return LC_FLOW_NEXT;
}

/* ---- expressions ---- */

static bool
evaluate_range(LcRender *render, const LcOperand *operand, LcValue *value)
{
	LcRange    *range = palloc(sizeof(LcRange));
	LcValue		bound;

	if (!lc_liquid_evaluate_operand(render, operand->low, &bound) ||
		!lc_liquid_get_integer(render, &bound, "a range", &range->low) ||
		!lc_liquid_evaluate_operand(render, operand->high, &bound) ||
		!lc_liquid_get_integer(render, &bound, "a range", &range->high))
		return false;
	value->kind = LC_VALUE_RANGE;
	value->safe = false;
	value->length = 0;
	value->u.range = range;
	return lc_liquid_charge(render, sizeof(LcRange));
}

bool
lc_liquid_evaluate_operand(LcRender *render, const LcOperand *operand, LcValue *value)
{
	switch (operand->kind)
	{
		case LC_OPERAND_LITERAL:
			*value = operand->literal;
			break;
		case LC_OPERAND_REFERENCE:
			{
				LcValue    *given = &render->input->values[operand->number];

				if (given->kind == LC_VALUE_UNSET)
				{
					memset(given, 0, sizeof(LcValue));
					render->input->fetch(render->input->fetch_arg, &render->template->references[operand->number],
										 given);
				}
				*value = *given;
			}
			break;
		case LC_OPERAND_LOCAL:
			*value = render->locals[operand->number];
			break;
		case LC_OPERAND_RANGE:
			return evaluate_range(render, operand, value);
	}
	for (const LcAccess *access = operand->accesses; access; access = access->next)
	{
		LcValue		element;
		LcValue		index;

		/* the size of a string takes reading it */
		if (!lc_liquid_charge(render, value->kind == LC_VALUE_STRING ? value->length : 0))
			return false;
		if (value->kind == LC_VALUE_NIL)
			break;
		if (access->name)
			lc_value_get_member(value, access->name, access->length, &element);
		else if (!lc_liquid_evaluate_operand(render, access->index, &index))
			return false;
		else
			lc_liquid_get_element(value, &index, &element);
		*value = element;
	}
	if (value->kind == LC_VALUE_NIL && value->u.origin == NULL)
		value->u.origin = operand;
	return true;
}

static bool
apply_filter(LcRender *render, const LcFilterCall *call, LcValue *value)
{
	const LcFilter *filter = call->filter;
	LcValue		args[LC_FILTER_MAX_ARGS];

	if (!lc_liquid_charge(render, 0))
		return false;
	if (value->kind == LC_VALUE_NIL && !filter->takes_nil)
		return true;
	for (int i = 0; i < call->nargs; i++)
	{
		if (!lc_liquid_evaluate_operand(render, &call->args[i], &args[i]))
			return false;
		if (args[i].kind == LC_VALUE_NIL && !filter->takes_nil)
			return lc_liquid_fail_missing(render, &args[i]);
	}
	return filter->apply(render, value, args);
}

bool
lc_liquid_evaluate(LcRender *render, const LcExpression *expression, LcValue *value)
{
	if (!lc_liquid_evaluate_operand(render, &expression->operand, value))
		return false;
	for (const LcFilterCall *call = expression->filters; call; call = call->next)
		if (!apply_filter(render, call, value))
			return false;
	return true;
}

/*
 * Appends the rendered template to out and returns true; or returns false, with out as it was and the reason in
 * *reason. Allocates in the current memory context.
 */
bool
lc_template_render(const LcTemplate *template, const LcTemplateInput *input, StringInfo out, char **reason)
{
	LcRender	render;
	LcValue		few[8];
	int			before = out->len;

	render.template = template;
	render.input = input;
	render.zone = input->zone;
	render.out = out;
	render.max_output = input->max_output ? input->max_output : LC_TEMPLATE_MAX_OUTPUT;
	render.max_length = before + render.max_output;
	render.steps = 0;
	render.max_steps = input->max_steps ? input->max_steps : LC_TEMPLATE_MAX_STEPS;
	render.next_check = Min(CHECK_STEPS, render.max_steps + 1);
	render.loop = NULL;
	render.position = 0;
	render.reason = NULL;
	render.locals = template->nlocals <= lengthof(few) ? few : palloc(template->nlocals * sizeof(LcValue));
	memset(render.locals, 0, template->nlocals * sizeof(LcValue));

	if (lc_liquid_render_block(&render, template->nodes) == LC_FLOW_FAIL)
	{
		out->len = before;
		out->data[before] = '\0';
		*reason = render.reason;
		return false;
	}
	return true;
}
