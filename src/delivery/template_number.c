/*
 * template_number.c: the filters that calculate. Exact: integers are int64 as long as they fit, everything else is numeric.
 *
 * Division is Liquid's: of two whole numbers it rounds down, else it does not.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/builtins.h"

#include "delivery/template_internal.h"

typedef Numeric (*NumericOperator) (Numeric a, Numeric b, bool *error);

static Numeric
to_numeric(const LcValue *number)
{
	return number->kind == LC_VALUE_INTEGER ? int64_to_numeric(number->u.integer) : number->u.numeric;
}

static void
set_numeric(LcValue *value, Numeric numeric)
{
	value->kind = LC_VALUE_NUMERIC;
	value->safe = false;
	value->u.numeric = numeric;
	lc_liquid_normalize_number(value);
}

static bool
get_numbers(LcRender *render, const char *filter, const LcValue *value, const LcValue *arg, LcValue *a, LcValue *b)
{
	char		what[40];

	snprintf(what, sizeof(what), "filter \"%s\"", filter);
	return lc_liquid_get_number(render, what, value, a) &&
		(arg == NULL || lc_liquid_get_number(render, what, arg, b));
}

static bool
is_whole(const LcValue *number)
{
	return number->kind == LC_VALUE_INTEGER ||
		DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(number->u.numeric))) == 0;
}

static int
sign_of(const LcValue *number)
{
	if (number->kind == LC_VALUE_INTEGER)
		return number->u.integer < 0 ? -1 : number->u.integer > 0;
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number->u.numeric),
											 NumericGetDatum(int64_to_numeric(0))));
}

static bool
calculate(LcRender *render, LcValue *value, const LcValue *a, const LcValue *b, NumericOperator operator)
{
	bool		error = false;
	Numeric		result = operator(to_numeric(a), to_numeric(b), &error);

	if (error)
		return lc_liquid_fail(render, "the result is out of range");
	set_numeric(value, result);
	return true;
}

bool
lc_liquid_plus(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a,
				b;
	int64		result;

	if (!get_numbers(render, "plus", value, &args[0], &a, &b))
		return false;
	if (a.kind == LC_VALUE_INTEGER && b.kind == LC_VALUE_INTEGER &&
		!pg_add_s64_overflow(a.u.integer, b.u.integer, &result))
	{
		lc_liquid_set_integer(value, result);
		return true;
	}
	return calculate(render, value, &a, &b, numeric_add_opt_error);
}

bool
lc_liquid_minus(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a,
				b;
	int64		result;

	if (!get_numbers(render, "minus", value, &args[0], &a, &b))
		return false;
	if (a.kind == LC_VALUE_INTEGER && b.kind == LC_VALUE_INTEGER &&
		!pg_sub_s64_overflow(a.u.integer, b.u.integer, &result))
	{
		lc_liquid_set_integer(value, result);
		return true;
	}
	return calculate(render, value, &a, &b, numeric_sub_opt_error);
}

bool
lc_liquid_times(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a,
				b;
	int64		result;

	if (!get_numbers(render, "times", value, &args[0], &a, &b))
		return false;
	if (a.kind == LC_VALUE_INTEGER && b.kind == LC_VALUE_INTEGER &&
		!pg_mul_s64_overflow(a.u.integer, b.u.integer, &result))
	{
		lc_liquid_set_integer(value, result);
		return true;
	}
	return calculate(render, value, &a, &b, numeric_mul_opt_error);
}

/* The remainder, with the sign of the divisor. */
static bool
get_modulo(LcRender *render, LcValue *value, const LcValue *a, const LcValue *b)
{
	LcValue		rest;

	if (a->kind == LC_VALUE_INTEGER && b->kind == LC_VALUE_INTEGER)
	{
		/* the smallest integer modulo -1 traps */
		int64		result = b->u.integer == -1 ? 0 : a->u.integer % b->u.integer;

		if (result != 0 && (result < 0) != (b->u.integer < 0))
			result += b->u.integer;
		lc_liquid_set_integer(value, result);
		return true;
	}
	if (!calculate(render, &rest, a, b, numeric_mod_opt_error))
		return false;
	*value = rest;
	if (sign_of(&rest) != 0 && sign_of(&rest) != sign_of(b))
		return calculate(render, value, &rest, b, numeric_add_opt_error);
	return true;
}

bool
lc_liquid_modulo(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a,
				b;

	if (!get_numbers(render, "modulo", value, &args[0], &a, &b))
		return false;
	if (sign_of(&b) == 0)
		return lc_liquid_fail(render, "filter \"modulo\" divides by zero");
	return get_modulo(render, value, &a, &b);
}

bool
lc_liquid_divided_by(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a,
				b,
				rest;

	if (!get_numbers(render, "divided_by", value, &args[0], &a, &b))
		return false;
	if (sign_of(&b) == 0)
		return lc_liquid_fail(render, "filter \"divided_by\" divides by zero");
	if (is_whole(&a) && is_whole(&b))
	{
		/* without its remainder a number divides exactly, which rounds down */
		if (!get_modulo(render, &rest, &a, &b) || !calculate(render, &a, &a, &rest, numeric_sub_opt_error))
			return false;
		set_numeric(value, DatumGetNumeric(DirectFunctionCall2(numeric_div_trunc, NumericGetDatum(to_numeric(&a)),
															   NumericGetDatum(to_numeric(&b)))));
		return true;
	}
	if (!calculate(render, value, &a, &b, numeric_div_opt_error))
		return false;
	set_numeric(value, DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(to_numeric(value)))));
	return true;
}

bool
lc_liquid_abs(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a;

	if (!get_numbers(render, "abs", value, NULL, &a, NULL))
		return false;
	*value = a;
	if (sign_of(&a) < 0)
	{
		lc_liquid_set_integer(value, 0);
		return calculate(render, value, value, &a, numeric_sub_opt_error);
	}
	return true;
}

static bool
clamp(LcRender *render, const char *filter, LcValue *value, const LcValue *arg, int sign)
{
	LcValue		a,
				b;
	bool		comparable;
	int			order;

	if (!get_numbers(render, filter, value, arg, &a, &b) || !lc_liquid_compare(render, &a, &b, &comparable, &order))
		return false;
	*value = order * sign > 0 ? b : a;
	return true;
}

bool
lc_liquid_at_least(LcRender *render, LcValue *value, const LcValue *args)
{
	return clamp(render, "at_least", value, &args[0], -1);
}

bool
lc_liquid_at_most(LcRender *render, LcValue *value, const LcValue *args)
{
	return clamp(render, "at_most", value, &args[0], 1);
}

bool
lc_liquid_ceil(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a;

	if (!get_numbers(render, "ceil", value, NULL, &a, NULL))
		return false;
	set_numeric(value, DatumGetNumeric(DirectFunctionCall1(numeric_ceil, NumericGetDatum(to_numeric(&a)))));
	return true;
}

bool
lc_liquid_floor(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a;

	if (!get_numbers(render, "floor", value, NULL, &a, NULL))
		return false;
	set_numeric(value, DatumGetNumeric(DirectFunctionCall1(numeric_floor, NumericGetDatum(to_numeric(&a)))));
	return true;
}

/* To whole numbers, or to so many decimals, which are then printed: 42.1 to two of them is 42.10. */
bool
lc_liquid_round(LcRender *render, LcValue *value, const LcValue *args)
{
	LcValue		a;
	int64		decimals = 0;

	if (!get_numbers(render, "round", value, NULL, &a, NULL))
		return false;
	if (args[0].kind != LC_VALUE_UNSET &&
		!lc_liquid_get_integer(render, &args[0], "filter \"round\"", &decimals))
		return false;
	decimals = Max(Min(decimals, 100), -100);
	set_numeric(value, DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(to_numeric(&a)),
														   Int32GetDatum((int32) decimals))));
	return true;
}
