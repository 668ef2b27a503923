/*
 * template_lex.c: reading the source of a template: text, the tokens between delimiters, and errors that say where.
 *
 * One token is read ahead. While it is LC_TOKEN_END, parser->at is behind the closing delimiter, where text begins.
 * Bytes above 127 are letters: all server encodings use only such bytes in characters of several bytes.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "delivery/template_internal.h"

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || IS_HIGHBIT_SET(c);
}

/* Line and column, from 1 and in characters, of a byte of the source. */
void
lc_liquid_locate(const char *source, int position, int *line, int *column)
{
	const char *start = source;

	*line = 1;
	for (const char *c = source; c < source + position; c++)
		if (*c == '\n')
		{
			(*line)++;
			start = c + 1;
		}
	*column = pg_mbstrlen_with_len(start, source + position - start) + 1;
}

static char *format_message(const char *format, va_list arguments) pg_attribute_printf(1, 0);

static char *
format_message(const char *format, va_list arguments)
{
	StringInfoData buffer;
	int			needed;

	initStringInfo(&buffer);
	for (;;)
	{
		va_list		copy;

		va_copy(copy, arguments);
		needed = appendStringInfoVA(&buffer, format, copy);
		va_end(copy);
		if (needed == 0)
			return buffer.data;
		enlargeStringInfo(&buffer, needed);
	}
}

/* Raises an error about the byte at position. The message, which is freed with its context, follows "line, column:". */
pg_noreturn static void
raise_at(LcParser *parser, int position, int code, const char *message)
{
	int			line,
				column;

	lc_liquid_locate(parser->source, position, &line, &column);
	ereport(ERROR,
			errcode(code),
			errmsg("template line %d, column %d: %s", line, column, message));
	pg_unreachable();
}

void
lc_liquid_syntax_error(LcParser *parser, int position, const char *format,...)
{
	va_list		arguments;
	char	   *message;

	va_start(arguments, format);
	message = format_message(format, arguments);
	va_end(arguments);
	raise_at(parser, position, ERRCODE_SYNTAX_ERROR, message);
}

/* The same for what is too big. */
void
lc_liquid_limit_error(LcParser *parser, int position, const char *format,...)
{
	va_list		arguments;
	char	   *message;

	va_start(arguments, format);
	message = format_message(format, arguments);
	va_end(arguments);
	raise_at(parser, position, ERRCODE_PROGRAM_LIMIT_EXCEEDED, message);
}

/* Raises the error that the current token is not what could stand there. */
void
lc_liquid_expected(LcParser *parser, const char *what)
{
	const LcToken *token = &parser->token;

	if (token->kind == LC_TOKEN_END)
		lc_liquid_syntax_error(parser, token->position, "expected %s before \"%c}\"", what, parser->closer);
	lc_liquid_syntax_error(parser, token->position, "expected %s instead of \"%.*s\"", what,
						   pg_mbcliplen(parser->source + token->position, token->end - token->position, 60),
						   parser->source + token->position);
}

bool
lc_liquid_token_is(const LcToken *token, const char *name)
{
	return token->kind == LC_TOKEN_NAME && strlen(name) == token->length &&
		memcmp(token->text, name, token->length) == 0;
}

static void
read_name(LcParser *parser)
{
	const char *source = parser->source;
	int			at = parser->at;

	while (is_letter(source[at]) || is_digit(source[at]) ||
		   (source[at] == '-' && (is_letter(source[at + 1]) || is_digit(source[at + 1]))))
		at++;
	if (source[at] == '?')
		at++;
	parser->token.kind = LC_TOKEN_NAME;
	parser->token.length = at - parser->at;
	parser->at = at;
}

static void
read_number(LcParser *parser)
{
	const char *source = parser->source;
	int			at = parser->at;

	if (source[at] == '-')
		at++;
	while (is_digit(source[at]))
		at++;
	if (source[at] == '.' && is_digit(source[at + 1]))
	{
		at++;
		while (is_digit(source[at]))
			at++;
	}
	parser->token.kind = LC_TOKEN_NUMBER;
	parser->token.length = at - parser->at;
	parser->at = at;
}

static void
read_string(LcParser *parser)
{
	const char *start = parser->source + parser->at + 1;
	const char *end = strchr(start, start[-1]);

	if (end == NULL)
		lc_liquid_syntax_error(parser, parser->at, "the string that begins here has no closing %s",
							   start[-1] == '"' ? "double quote" : "single quote");
	parser->token.kind = LC_TOKEN_STRING;
	parser->token.text = start;
	parser->token.length = end - start;
	parser->at = end + 1 - parser->source;
}

static void
read_operator(LcParser *parser)
{
	static const struct
	{
		char		text[3];
		int			kind;
	}			pairs[] = {
		{"..", LC_TOKEN_RANGE}, {"==", LC_TOKEN_EQ}, {"!=", LC_TOKEN_NE}, {"<>", LC_TOKEN_NE},
		{"<=", LC_TOKEN_LE}, {">=", LC_TOKEN_GE}
	};
	const char *c = parser->source + parser->at;

	parser->token.length = 2;
	for (int i = 0; i < lengthof(pairs); i++)
		if (c[0] == pairs[i].text[0] && c[1] == pairs[i].text[1])
		{
			parser->token.kind = pairs[i].kind;
			parser->at += 2;
			return;
		}
	if (strchr("|:,.[]()<>=#", *c) == NULL)
		lc_liquid_syntax_error(parser, parser->at, "unexpected character \"%c\" inside \"{%c\"", *c,
							   parser->closer == '}' ? '{' : '%');
	parser->token.kind = *c;
	parser->token.length = 1;
	parser->at++;
}

/* Reads the next token of an output or tag. */
void
lc_liquid_next_token(LcParser *parser)
{
	const char *source = parser->source;
	LcToken    *token = &parser->token;
	char		c;

	while (is_space(source[parser->at]))
		parser->at++;
	c = source[parser->at];
	token->position = parser->at;
	token->text = source + parser->at;

	if (c == '\0')
		lc_liquid_syntax_error(parser, parser->opened, "the \"{%c\" that begins here has no closing \"%c}\"",
							   parser->closer == '}' ? '{' : '%', parser->closer);
	parser->trim = c == '-' && source[parser->at + 1] == parser->closer && source[parser->at + 2] == '}';
	if (parser->trim || (c == parser->closer && source[parser->at + 1] == '}'))
	{
		parser->at += parser->trim ? 3 : 2;
		token->kind = LC_TOKEN_END;
		token->length = 0;
	}
	else if (is_letter(c))
		read_name(parser);
	else if (is_digit(c) || (c == '-' && is_digit(source[parser->at + 1])))
		read_number(parser);
	else if (c == '"' || c == '\'')
		read_string(parser);
	else
		read_operator(parser);
	token->end = parser->at;
}

bool
lc_liquid_accept(LcParser *parser, int kind)
{
	if (parser->token.kind != kind)
		return false;
	lc_liquid_next_token(parser);
	return true;
}

bool
lc_liquid_accept_name(LcParser *parser, const char *name)
{
	if (!lc_liquid_token_is(&parser->token, name))
		return false;
	lc_liquid_next_token(parser);
	return true;
}

/* The current token must be the closing delimiter; what follows is text, so nothing more is read. */
void
lc_liquid_expect_end(LcParser *parser)
{
	char		what[] = "\"%}\"";

	what[1] = parser->closer;
	if (parser->token.kind != LC_TOKEN_END)
		lc_liquid_expected(parser, what);
}

/* Drops white space at both ends of a text as hyphens ask for. */
static void
trim_text(const char **text, int *length, bool left, bool right)
{
	while (left && *length > 0 && is_space(**text))
	{
		(*text)++;
		(*length)--;
	}
	while (right && *length > 0 && is_space((*text)[*length - 1]))
		(*length)--;
}

/*
 * Reads text up to the next output or tag, and the first token of that. False at the end of the template; else
 * parser->closer tells which of both it is.
 */
bool
lc_liquid_next_text(LcParser *parser, const char **text, int *length)
{
	const char *start = parser->source + parser->at;
	const char *end = start;
	bool		trim = parser->trim;

	do
	{
		end = strchr(end, '{');
	} while (end != NULL && end[1] != '{' && end[1] != '%' && *++end);

	*text = start;
	if (end == NULL || *end == '\0')
	{
		*length = parser->source + parser->length - start;
		trim_text(text, length, trim, false);
		parser->at = parser->length;
		return false;
	}
	*length = end - start;
	trim_text(text, length, trim, end[2] == '-');
	parser->opened = end - parser->source;
	parser->closer = end[1] == '{' ? '}' : '%';
	parser->at = parser->opened + 2;
	/* "{{-1" is no number, and "{{-}}" has one hyphen for both sides */
	if (end[2] == '-' && !(end[3] == parser->closer && end[4] == '}'))
		parser->at++;
	lc_liquid_next_token(parser);
	return true;
}

/* If a tag of this name is at c, returns where it ends, and whether its hyphens trim on the left and right. */
static const char *
match_tag(const char *c, const char *name, bool *left, bool *right)
{
	if (c[0] != '{' || c[1] != '%')
		return NULL;
	c += 2;
	*left = *c == '-';
	if (*left)
		c++;
	while (is_space(*c))
		c++;
	if (strncmp(c, name, strlen(name)) != 0)
		return NULL;
	c += strlen(name);
	while (is_space(*c))
		c++;
	*right = *c == '-';
	if (*right)
		c++;
	return c[0] == '%' && c[1] == '}' ? c + 2 : NULL;
}

/* Goes behind the end of a comment, which may contain comments and anything else. Its tag has been read. */
void
lc_liquid_skip_comment(LcParser *parser)
{
	int			opened = parser->opened;
	int			depth = 1;
	const char *c = parser->source + parser->at;
	const char *end;
	bool		left,
				right;

	while ((c = strchr(c, '{')) != NULL)
	{
		if ((end = match_tag(c, "endcomment", &left, &right)) != NULL)
			depth--;
		else if ((end = match_tag(c, "comment", &left, &right)) != NULL)
			depth++;
		c = end ? end : c + 1;
		if (depth == 0)
		{
			parser->at = c - parser->source;
			parser->trim = right;
			return;
		}
	}
	lc_liquid_syntax_error(parser, opened, "the \"comment\" that begins here has no \"{%% endcomment %%}\"");
}

/* Reads what is in a raw block, and goes behind its end. Its tag has been read. */
void
lc_liquid_read_raw(LcParser *parser, const char **text, int *length)
{
	int			opened = parser->opened;
	const char *start = parser->source + parser->at;
	const char *c = start;
	const char *end;
	bool		left,
				right;

	while ((c = strchr(c, '{')) != NULL)
	{
		if ((end = match_tag(c, "endraw", &left, &right)) != NULL)
		{
			*text = start;
			*length = c - start;
			trim_text(text, length, parser->trim, left);
			parser->at = end - parser->source;
			parser->trim = right;
			return;
		}
		c++;
	}
	lc_liquid_syntax_error(parser, opened, "the \"raw\" that begins here has no \"{%% endraw %%}\"");
}
