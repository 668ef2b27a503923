/*
 * template_sql.c: SQL functions of the template engine: trying a template on data.
 */
#include "postgres.h"

#include "clock.h"
#include "access/xact.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "delivery/template.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(lifecycle_render_template);
PG_FUNCTION_INFO_V1(lifecycle__template_references);

/* Takes a value out of the jsonb whose keys are the roots. */
static void
fetch_value(void *arg, const LcTemplateReference *reference, LcValue *value)
{
	LcValue		root;

	lc_value_get_member(arg, reference->root, strlen(reference->root), &root);
	if (reference->element)
		lc_value_get_member(&root, reference->element, strlen(reference->element), value);
	else
		*value = root;
}

/* lifecycle.render_template(source text, data jsonb, html boolean) RETURNS text */
Datum
lifecycle_render_template(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Jsonb	   *data = PG_GETARG_JSONB_P(1);
	LcTemplate *template = lc_template_parse(source, PG_GETARG_BOOL(2));
	LcTemplateInput input = {0};
	LcValue		roots;
	StringInfoData out;
	char	   *reason;
	int			count;

	if (!JB_ROOT_IS_OBJECT(data))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the data of a template must be a JSON object"),
				errhint("Its keys are the names that the template uses, such as '{\"customer\": {\"first_name\": \"Ada\"}}'."));
	lc_value_from_jsonb(&data->root, &roots);
	lc_template_references(template, &count);
	input.values = palloc0((count + 1) * sizeof(LcValue));
	for (int i = 0; i < count; i++)
		input.values[i].kind = LC_VALUE_UNSET;
	input.fetch = fetch_value;
	input.fetch_arg = &roots;
	input.now = lc_transaction_now(false);
	input.zone = session_timezone;

	initStringInfo(&out);
	if (!lc_template_render(template, &input, &out, &reason))
		ereport(ERROR,
				errcode(ERRCODE_LC_TEMPLATE),
				errmsg("template cannot be rendered: %s", reason));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}

/* lifecycle._template_references(source text, html boolean) RETURNS TABLE (root text, element text) */
Datum
lifecycle__template_references(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const LcTemplateReference *references;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	references = lc_template_references(lc_template_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_BOOL(1)), &n);
	for (int i = 0; i < n; i++)
	{
		Datum		values[2] = {CStringGetTextDatum(references[i].root)};
		bool		nulls[2] = {false, references[i].element == NULL};

		if (references[i].element)
			values[1] = CStringGetTextDatum(references[i].element);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
