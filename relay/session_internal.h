/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_internal -- the inside of an HTTP/2 connection in a worker, shared by session.c (the connection), claim.c (its
 * client's rights) and exchange.c (its requests).
 */
#ifndef PORTSEAL_RELAY_SESSION_INTERNAL_H
#define PORTSEAL_RELAY_SESSION_INTERNAL_H

#include <stdint.h>
#include <sys/queue.h>

#include "claim.h"
#include "exchange.h"
#include "session.h"

LIST_HEAD(exchange_list, exchange);
LIST_HEAD(claim_list, claim);
LIST_HEAD(session_list, session);

struct sessions {
	struct sessions_config config;
	struct session_list list;
	size_t n;
	size_t n_exchanges;
	bool draining;
};

struct session {
	struct sessions *all;
	LIST_ENTRY(session) link;
	uint64_t conn;
	uint64_t started_ms;
	uint32_t max_streams;
	struct standing_member member; /* of its chain */
	uint8_t client_pin[IDENTITY_PIN_LEN];
	char only_service[HANDOVER_SERVICE_MAX]; /* "": any */
	struct h2 *h2;
	struct claim_list claims;
	size_t n_claims;
	uint64_t questions_ms; /* when the allowance of questions was filled last */
	unsigned questions;    /* left of it */
	struct exchange_list exchanges;
	size_t n_exchanges;
	uint64_t n_refused;
	bool over;               /* the connection has ended; some of what it brought is still on its way */
	struct h2_report report; /* how, then */
	const char *turned_away; /* why it never began; NULL: it did */
	/* Once its right is gone: */
	enum refusal fallen;
	char *fall_detail;
};

/* One of its requests has ended: perhaps the last of a connection that is over, which is freed then. */
void session_end_if_over(struct session *session);

#endif
