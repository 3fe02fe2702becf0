/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim -- what a session's client may do with one service: asked of a gatekeeper once, kept for the requests that follow,
 * and judged again with each generation.
 *
 * A session has few of them, and few questions in a short time: names that do not exist cost a gatekeeper almost nothing, and
 * a client that tries them all out still does not keep it busy.
 *
 * Owns:   the membership in the standing of its client and service.
 */
#ifndef PORTSEAL_RELAY_CLAIM_H
#define PORTSEAL_RELAY_CLAIM_H

#include <sys/queue.h>

#include "portseal/err.h"
#include "standing.h"

#define CLAIMS_MAX 64       /* of a session; those that nobody uses give way */
#define CLAIM_QUESTIONS 64  /* of a session at once, */
#define CLAIM_QUESTIONS_S 8 /* and so many more each second */

struct exchange;
struct session;

struct claim {
	struct session *session;
	struct standing_member member;
	LIST_HEAD(claim_exchanges, exchange) exchanges;
	size_t n_exchanges;
	uint64_t used_ms;
	LIST_ENTRY(claim) link;
	char asked[]; /* the service as the client names it */
};

/* The session's claim to it, perhaps as a question that is asked now, or since another generation is in force;
 * exchange_settle is called when it is answered, exchange_give_up when it is not. The exchange holds it from now on. PS_E_LIMIT: too many; PS_E_CLOSED: the daemon ends, and nobody is left to ask. */
enum ps_err claim_hold(struct session *session, const char *asked, struct exchange *exchange) PS_MUST_CHECK;

/* The exchange ends. Harmless where it holds none. */
void claim_release(struct exchange *exchange);

/* The session ends. */
void claims_clear(struct session *session);

#endif
