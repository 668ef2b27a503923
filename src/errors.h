/*
 * errors.h: the extension's own SQLSTATEs, class LC.
 */
#ifndef LC_ERRORS_H
#define LC_ERRORS_H

#define ERRCODE_LC_RULE_CYCLE		MAKE_SQLSTATE('L', 'C', '0', '0', '1')	/* transition rules chain without end */
#define ERRCODE_LC_FORMAT			MAKE_SQLSTATE('L', 'C', '0', '0', '2')	/* state tables of another format */
#define ERRCODE_LC_MOVE_REFUSED		MAKE_SQLSTATE('L', 'C', '0', '0', '3')	/* strict lifecycle: no rule allows the move */
#define ERRCODE_LC_TEMPLATE			MAKE_SQLSTATE('L', 'C', '0', '0', '4')	/* a template could not be rendered */
#define ERRCODE_LC_CLAIM_LOST		MAKE_SQLSTATE('L', 'C', '0', '0', '5')	/* a claimed message has another claimant by now */

#endif							/* LC_ERRORS_H */
