/* SPDX-License-Identifier: Apache-2.0 */
/*
 * problem -- an answer that says why not: application/problem+json (RFC 9457) with the reason of the log.
 *
 *   {"type":"about:blank","title":"Forbidden","status":403,"reason":"not-allowed","detail":"no rule allows ..."}
 */
#ifndef PORTSEAL_RELAY_PROBLEM_H
#define PORTSEAL_RELAY_PROBLEM_H

#include <stdint.h>

#include "portseal/connector.h"
#include "portseal/err.h"
#include "portseal/h2.h"
#include "portseal/refusal.h"

struct problem {
	unsigned status;
	const char *reason;     /* a word of the log: "not-allowed" */
	const char *detail;     /* for a person; NULL: none. Nothing that a client may not know */
	unsigned retry_after_s; /* 0: no such header */
	const char *allow;      /* of a 405: the methods that are; NULL: no such header */
};

/* Answers the stream with it, whole. */
enum ps_err problem_answer(struct h2_stream *stream, const struct problem *problem) PS_MUST_CHECK;

/* The status that tells a client of a refusal: 403, 404, 503. */
unsigned problem_status(enum refusal refusal);

/* What a client is told of a target that was not reached; its reason is the log's, for every kind of request. CONNECT_OK:
 * "done". */
struct problem problem_of_connect(enum connect_result result);

#endif
