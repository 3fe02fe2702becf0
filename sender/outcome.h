/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outcome -- what became of an attempt to deliver, as an exit code and as one line for a person: what happened and
 * what to do about it. All alerts, refusals and failed connections are translated here and nowhere else.
 *
 * Whose word it is decides the code: the relay's alert about us is OUTCOME_REFUSED, our refusal of the relay is
 * OUTCOME_WRONG_RELAY, and whatever never became a TLS connection is OUTCOME_NO_RELAY.
 */
#ifndef PORTSEAL_SENDER_OUTCOME_H
#define PORTSEAL_SENDER_OUTCOME_H

#include <stdint.h>

#include "portseal/connector.h"
#include "portseal/err.h"
#include "portseal/handshake.h"
#include "portseal/refusal.h"

enum outcome_code {
	OUTCOME_DONE = 0,
	OUTCOME_UNFORESEEN = 1,
	OUTCOME_USAGE = 2,
	OUTCOME_OWN_SETUP = 3,   /* our own configuration, certificate or key */
	OUTCOME_NO_RELAY = 4,    /* name, refused, timed out, unreachable, not TLS */
	OUTCOME_WRONG_RELAY = 5, /* its certificate was refused by us */
	OUTCOME_REFUSED = 6,     /* our certificate, or our right to the service, was refused by the relay */
	OUTCOME_UNDELIVERED = 7, /* application down, reset, timed out */
	OUTCOME_LIMIT = 8,
	OUTCOME_KEPT = 75, /* in the spool, to be delivered later */
};

struct outcome {
	enum outcome_code code;
	enum refusal refusal; /* REFUSAL_NONE when it was not about identity */
	struct ps_cause cause;
};

/* What the lines name. */
struct outcome_names {
	const char *relay;       /* "relay.example.com:8443" */
	const char *server_name; /* what its certificate must be issued for */
	const char *service;     /* NULL: none was asked for */
};

void outcome_set(struct outcome *outcome, enum outcome_code code, const char *format, ...) PS_PRINTF(3, 4);

/* The relay's fatal alert, during the handshake or after it. */
void outcome_of_alert(struct outcome *outcome, uint8_t alert, const struct outcome_names *names);

/* result is not CONNECT_OK; the cause is connector's. */
void outcome_of_connect(struct outcome *outcome, enum connect_result result, const struct ps_cause *cause,
                        const struct outcome_names *names);

/* `judged` is the particulars of our own judgement of the relay, or NULL where the handshake did not get that far. */
void outcome_of_handshake(struct outcome *outcome, const struct handshake_failure *failure,
                          const struct ps_cause *judged, const struct outcome_names *names);

/* A TLS server that did not answer with the protocol name of the service. */
void outcome_of_unconfirmed(struct outcome *outcome, const struct outcome_names *names);

/* One that does not speak HTTP/2 where nothing else will do. */
void outcome_of_no_h2(struct outcome *outcome, const struct outcome_names *names);

#endif
