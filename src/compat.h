/*
 * compat.h: differences between the supported PostgreSQL versions; the only file that tests PG_VERSION_NUM.
 */
#ifndef LC_COMPAT_H
#define LC_COMPAT_H

#include "pg_config.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150000
#error "lifecycle needs PostgreSQL 15 or later"
#endif

/* ExecInsertIndexTuples has an argument more since 16. */
#if PG_VERSION_NUM >= 160000
#define lc_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL, false)
#else
#define lc_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples(rri, slot, estate, false, false, NULL, NIL)
#endif

/* object_ownercheck and object_aclcheck replaced the checks for each kind of object in 16. */
#if PG_VERSION_NUM >= 160000
#define lc_owns_table(relid, role)	object_ownercheck(RelationRelationId, relid, role)
#define lc_owns_database(database, role)	object_ownercheck(DatabaseRelationId, database, role)
#define lc_may_create_schema(database, role)	(object_aclcheck(DatabaseRelationId, database, role, ACL_CREATE) == ACLCHECK_OK)
#else
#define lc_owns_table(relid, role)	pg_class_ownercheck(relid, role)
#define lc_owns_database(database, role)	pg_database_ownercheck(database, role)
#define lc_may_create_schema(database, role)	(pg_database_aclcheck(database, role, ACL_CREATE) == ACLCHECK_OK)
#endif

/* DecodeDateTime has an argument more since 16, and values of GUC hooks come from guc_malloc. */
#if PG_VERSION_NUM >= 160000
#define lc_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, &(DateTimeErrorExtra) {0})
#define lc_guc_malloc(size)	guc_malloc(LOG, size)
#else
#define lc_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz)
#define lc_guc_malloc(size)	malloc(size)
#endif

/* index_beginscan has an argument more since 18. For files that include access/genam.h. */
#if PG_VERSION_NUM >= 180000
#define lc_index_beginscan(table, index, snapshot, nkeys) index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define lc_index_beginscan(table, index, snapshot, nkeys) index_beginscan(table, index, snapshot, nkeys, 0)
#endif

/* RelationGetPrimaryKeyIndex has an argument more since 18; without it, a deferrable key never counted. For files that include utils/relcache.h. */
#if PG_VERSION_NUM >= 180000
#define lc_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define lc_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* pg_noreturn, which comes first in a declaration, replaced pg_attribute_noreturn() in 18. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* table_tuple_update says more since 16 about which indexes need an entry for the new row. For files that include access/tableam.h. */
#if PG_VERSION_NUM >= 160000
#define lc_update_indexes	TU_UpdateIndexes
#define lc_indexes_need_update(update)	((update) == TU_All)
#else
#define lc_update_indexes	bool
#define lc_indexes_need_update(update)	(update)
#endif

/* ALTER COLUMN … SET EXPRESSION, which rewrites, came with 17. For files that include nodes/parsenodes.h. */
#if PG_VERSION_NUM >= 170000
#define lc_sets_expression(subtype)	((subtype) == AT_SetExpression)
#else
#define lc_sets_expression(subtype)	false
#endif

/*
 * Virtual generated columns came with 18: rows hold NULL for them, and what reads a table computes them. lc_is_virtual is for files that include
 * utils/lsyscache.h; before 18 no column has that letter.
 */
#define lc_is_virtual(table, column)	(get_attgenerated(table, column) == 'v')
#if PG_VERSION_NUM >= 180000
#define lc_has_generated(constr)	((constr)->has_generated_stored || (constr)->has_generated_virtual)
#else
#define lc_has_generated(constr)	((constr)->has_generated_stored)
#endif

#endif							/* LC_COMPAT_H */
