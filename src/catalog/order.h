/*
 * order.h: the order of things that stay where they are, by a number each.
 */
#ifndef LC_ORDER_H
#define LC_ORDER_H

typedef struct LcOrder
{
	int64		by;
	int			number;			/* of the thing; those with the same `by` go by it */
} LcOrder;

extern void lc_order_sort(LcOrder *order, size_t n);

#endif							/* LC_ORDER_H */
