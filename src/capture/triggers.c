/*
 * triggers.c: the triggers on the user's tables. (capture replaces this file)
 */
#include "postgres.h"

#include "capture/capture.h"

void
lc_triggers_create(const char *lifecycle)
{
}

void
lc_triggers_drop(const char *lifecycle, Oid table)
{
}
