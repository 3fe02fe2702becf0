/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial -- one connection to the relay on a loop: resolve, connect, handshake, judge the relay, confirm the service.
 *
 * Where a service was asked for and the peer did not confirm exactly it, no payload may follow, as it would reach another
 * application: the peer is listened to for DIAL_LISTEN_MS, in case it says why, and the dial fails. A peer that agrees on
 * HTTP/2 is told the service in each request.
 *
 * Owns:   the socket and the handshake until they are handed over.
 * Never:  sends payload, or blocks.
 */
#ifndef PORTSEAL_SENDER_DIAL_H
#define PORTSEAL_SENDER_DIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config.h"
#include "outcome.h"
#include "portseal/address.h"
#include "portseal/err.h"
#include "portseal/identity.h"
#include "portseal/suite.h"

#define DIAL_LISTEN_MS 2000

struct dial;
struct dial_setup;

/* Who we are, whom we believe and every service that can be asked for. Borrows the configuration. The cause of a failure
 * is for the operator: it names the file. */
enum ps_err dial_setup_new(const struct sender_config *config, struct dial_setup **setup, struct ps_cause *cause)
	PS_MUST_CHECK;
void dial_setup_free(struct dial_setup *setup);

/* When our own certificate ends, seconds since 1970. */
int64_t dial_setup_not_after(const struct dial_setup *setup);

/* What the connection may be. */
enum dial_offer {
	DIAL_OFFER_TLS,  /* one connection to the service */
	DIAL_OFFER_BOTH, /* that, but rather HTTP/2 */
	DIAL_OFFER_H2,   /* HTTP/2 or nothing */
};

struct dial_result {
	struct outcome outcome; /* OUTCOME_DONE, or why there is no connection */
	bool h2;                /* HTTP/2 was agreed on */
	int fd;                 /* the receiver's; -1 when there is no connection */
	struct traffic_secrets secrets;
	char peer[ADDRESS_TEXT_MAX];    /* where it leads; "" before it was connected */
	char relay[IDENTITY_LABEL_MAX]; /* the name in its certificate */
	bool accepted;                  /* its certificate was judged good; the handshake may still have failed */
	uint64_t shake_ms;              /* the handshake took; 0: it was not completed */
	uint8_t alert;                  /* the peer's, or ALERT_NONE */
	struct ps_cause seen;           /* of a failed handshake: what was seen, without the outcome's advice */
	uint8_t pin[IDENTITY_PIN_LEN];
	int64_t not_after;
};

struct dial_config {
	uv_loop_t *loop;
	struct dial_setup *setup; /* borrowed */
	const char *service;      /* borrowed; NULL: none, and no ALPN is sent for it */
	enum dial_offer offer;
	uint32_t relay; /* index in the configuration: 0 is the first */
	/* Called once, unless cancelled; the result is wiped after it returns. */
	void (*on_done)(void *owner, const struct dial_result *result);
	void *owner;
};

enum ps_err dial_new(const struct dial_config *config, struct dial **dial) PS_MUST_CHECK;

/* The same on a socket that leads to the relay already; takes the descriptor, also when it fails. */
enum ps_err dial_on(const struct dial_config *config, int fd, const char *peer, struct dial **dial) PS_MUST_CHECK;

/* Gives up without calling back. Harmless on NULL. After on_done the dial is gone: do not call it then. */
void dial_cancel(struct dial *dial);

/* How long a dial lasts at most. */
uint64_t dial_patience_ms(const struct sender_config *config);

#endif
