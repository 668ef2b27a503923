-- Templates.

CREATE FUNCTION lifecycle.render_template(source text, data jsonb, html boolean DEFAULT false)
RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'lifecycle_render_template';

COMMENT ON FUNCTION lifecycle.render_template(text, jsonb, boolean) IS
'Renders a Liquid template with data, an object whose keys are the names that the template uses; html escapes what is printed. Times are shown in the time zone of the session, and "now" is the start of the transaction. Errors: 42601 with line and column when the template is not valid, 54000 when it is too big, LC004 with the reason when it cannot be rendered, such as a value that is missing and has no default.';

CREATE FUNCTION lifecycle._template_references(source text, html boolean)
RETURNS TABLE (root text, element text)
LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'lifecycle__template_references';

COMMENT ON FUNCTION lifecycle._template_references(text, boolean) IS 'Private: the values that a template names: columns (element) of rows (root).';
