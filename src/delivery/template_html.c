/*
 * template_html.c: the filters that know HTML and URLs.
 *
 * What they made HTML of is marked as safe, so that the output of an HTML template does not escape it again.
 */
#include "postgres.h"

#include "delivery/template_internal.h"

bool
lc_liquid_raw(LcRender *render, LcValue *value, const LcValue *args)
{
	const char *text;
	int			length;

	if (!lc_liquid_get_text(render, value, &text, &length))
		return false;
	lc_liquid_set_string(value, text, length);
	value->safe = true;
	return true;
}

static const char *
entity_of(char c)
{
	switch (c)
	{
		case '&':
			return "&amp;";
		case '<':
			return "&lt;";
		case '>':
			return "&gt;";
		case '"':
			return "&quot;";
		case '\'':
			return "&#39;";
		default:
			return NULL;
	}
}

/* The length of the entity that begins at the "&" of text, or 0. */
static int
match_entity(const char *text, int length)
{
	int			i = 1;

	if (i < length && text[i] == '#')
		i++;
	while (i < length && i < 32 && ((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'z') ||
									(text[i] >= 'A' && text[i] <= 'Z')))
		i++;
	return i > 2 && i < length && text[i] == ';' ? i + 1 : 0;
}

static bool
escape_text(LcRender *render, LcValue *value, bool once)
{
	const char *text;
	int			length;
	int64		more = 0;
	char	   *escaped;
	char	   *to;

	if (!lc_liquid_read_text(render, value, &text, &length))
		return false;
	for (int i = 0; i < length; i++)
		if (entity_of(text[i]))
			more += 5;
	if (more > 0)
	{
		escaped = to = lc_liquid_make_string(render, length + more);
		if (escaped == NULL)
			return false;
		for (int i = 0; i < length; i++)
		{
			const char *entity = entity_of(text[i]);

			if (entity && text[i] == '&' && once && match_entity(text + i, length - i))
				entity = NULL;
			if (entity)
				to = stpcpy(to, entity);
			else
				*to++ = text[i];
		}
		text = escaped;
		length = to - escaped;
	}
	lc_liquid_set_string(value, text, length);
	value->safe = true;
	return true;
}

bool
lc_liquid_escape(LcRender *render, LcValue *value, const LcValue *args)
{
	return escape_text(render, value, false);
}

bool
lc_liquid_escape_once(LcRender *render, LcValue *value, const LcValue *args)
{
	return escape_text(render, value, true);
}

bool
lc_liquid_newline_to_br(LcRender *render, LcValue *value, const LcValue *args)
{
	const char *text;
	int			length;
	int64		more = 0;
	char	   *result;
	char	   *to;
	bool		safe;

	if (render->template->html && !value->safe && !lc_liquid_escape(render, value, NULL))
		return false;
	safe = value->safe;
	if (!lc_liquid_read_text(render, value, &text, &length))
		return false;
	for (int i = 0; i < length; i++)
		if (text[i] == '\n')
			more += strlen("<br />");
	result = to = lc_liquid_make_string(render, length + more);
	if (result == NULL)
		return false;
	for (int i = 0; i < length; i++)
	{
		if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n')
			continue;
		if (text[i] == '\n')
			to = stpcpy(to, "<br />");
		*to++ = text[i];
	}
	lc_liquid_set_string(value, result, to - result);
	value->safe = safe;
	return true;
}

/* What strip_html drops together with what is inside; the last is any tag. */
static const struct
{
	const char *start;
	const char *end;
}			dropped[] = {{"<script", "</script>"}, {"<style", "</style>"}, {"<!--", "-->"}, {"<", ">"}};

/*
 * If one of them begins at text, goes behind its end. Ends that were not found are remembered in *missing, so that
 * nothing is read more than once for each.
 */
static const char *
skip_dropped(const char *text, const char *end, int *missing)
{
	for (int i = 0; i < lengthof(dropped); i++)
	{
		int			start_length = strlen(dropped[i].start);
		int			end_length = strlen(dropped[i].end);

		if ((*missing & (1 << i)) || end - text < start_length ||
			pg_strncasecmp(text, dropped[i].start, start_length) != 0)
			continue;
		for (const char *c = text + start_length; c <= end - end_length; c++)
			if (*c == dropped[i].end[0] && pg_strncasecmp(c, dropped[i].end, end_length) == 0)
				return c + end_length;
		*missing |= 1 << i;
	}
	return NULL;
}

bool
lc_liquid_strip_html(LcRender *render, LcValue *value, const LcValue *args)
{
	const char *text;
	const char *end;
	int			length;
	int			missing = 0;
	char	   *result;
	char	   *to;

	if (!lc_liquid_read_text(render, value, &text, &length) || (result = to = lc_liquid_make_string(render, length)) == NULL)
		return false;
	end = text + length;
	while (text < end)
	{
		const char *after = *text == '<' ? skip_dropped(text, end, &missing) : NULL;

		if (after)
			text = after;
		else
			*to++ = *text++;
	}
	lc_liquid_set_string(value, result, to - result);
	return true;
}

bool
lc_liquid_url_encode(LcRender *render, LcValue *value, const LcValue *args)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~";
	const char *text;
	int			length;
	char	   *result;
	char	   *to;

	if (!lc_liquid_read_text(render, value, &text, &length) ||
		(result = to = lc_liquid_make_string(render, (int64) length * 3)) == NULL)
		return false;
	for (int i = 0; i < length; i++)
	{
		unsigned char c = text[i];

		if (c == ' ')
			*to++ = '+';
		else if (memchr(plain, c, sizeof(plain) - 1))
			*to++ = c;
		else
		{
			*to++ = '%';
			*to++ = "0123456789ABCDEF"[c >> 4];
			*to++ = "0123456789ABCDEF"[c & 15];
		}
	}
	lc_liquid_set_string(value, result, to - result);
	return true;
}
