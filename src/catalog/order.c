/*
 * order.c: the order of things that stay where they are, by a number each.
 */
#include "postgres.h"

#include "catalog/order.h"

static inline int
compare(const LcOrder *a, const LcOrder *b)
{
	if (a->by != b->by)
		return a->by < b->by ? -1 : 1;
	return a->number - b->number;
}

#define ST_SORT lc_order_sort
#define ST_ELEMENT_TYPE LcOrder
#define ST_COMPARE(a, b) compare(a, b)
#define ST_SCOPE extern
#define ST_DEFINE
#include "lib/sort_template.h"
