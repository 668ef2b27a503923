/*
 * closest.c: hints about names that do not exist.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/closest.h"
#include "lib/stringinfo.h"
#include "utils/varlena.h"

#define MAX_SHOWN	20
#define MAX_COMPARED 255		/* bytes, as varstr_levenshtein has it */

/* How far two names are apart; INT_MAX when that is too far to have meant it. */
static int
distance(const char *a, const char *b)
{
	int			la = strlen(a);
	int			lb = strlen(b);
	int			most = Max(2, Min(la, lb) / 3);
	int			d;

	if (la > MAX_COMPARED || lb > MAX_COMPARED)
		return INT_MAX;
	if (pg_strcasecmp(a, b) == 0)
		return 0;
	d = varstr_levenshtein_less_equal(a, la, b, lb, 1, 1, 1, most, true);
	return d <= most && d < Max(la, lb) ? d : INT_MAX;
}

char *
lc_names_hint(const char *name, List *names, const char *what)
{
	StringInfoData hint;
	ListCell   *lc;
	int			closest = INT_MAX;
	int			shown = 0;

	if (names == NIL)
		return NULL;
	initStringInfo(&hint);
	foreach(lc, names)
		closest = Min(closest, distance(name, lfirst(lc)));
	if (closest < INT_MAX)
	{
		const char *separator = "Perhaps you mean ";

		foreach(lc, names)
		{
			if (distance(name, lfirst(lc)) != closest)
				continue;
			appendStringInfo(&hint, "%s\"%s\"", separator, (char *) lfirst(lc));
			separator = " or ";
		}
		appendStringInfoString(&hint, ". ");
	}
	appendStringInfo(&hint, "The %s are: ", what);
	foreach(lc, names)
	{
		if (shown++ == MAX_SHOWN)
		{
			appendStringInfoString(&hint, ", …");
			break;
		}
		appendStringInfo(&hint, "%s\"%s\"", shown > 1 ? ", " : "", (char *) lfirst(lc));
	}
	appendStringInfoChar(&hint, '.');
	return hint.data;
}
