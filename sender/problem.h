/* SPDX-License-Identifier: Apache-2.0 */
/*
 * problem -- reads the errors of HTTP that come as JSON (RFC 9457): why the relay did not deliver a message.
 *
 *   {"type":"about:blank","title":"Forbidden","status":403,"reason":"not-allowed","detail":"no rule allows ..."}
 */
#ifndef PORTSEAL_SENDER_PROBLEM_H
#define PORTSEAL_SENDER_PROBLEM_H

#include <stddef.h>

#include "portseal/err.h"

#define PROBLEM_REASON_MAX 48
#define PROBLEM_DETAIL_MAX 256
#define PROBLEM_BODY_MAX 4096 /* more is not kept of one */

struct problem {
	char reason[PROBLEM_REASON_MAX]; /* letters, digits and "-"; "" where it said none */
	char detail[PROBLEM_DETAIL_MAX]; /* as it came, unescaped: escape it before it is shown; "" likewise */
};

/* A JSON object whose members may be anything; of those named reason and detail it takes the strings. PS_E_PROTO: it
 * is no JSON object (then *problem is empty). */
enum ps_err problem_parse(const char *body, size_t len, struct problem *problem) PS_MUST_CHECK;

#endif
