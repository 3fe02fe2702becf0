/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission -- the way in: from accept to the hand-over to a worker, or to a refusal.
 *
 *     HELLO ──▶ LINE ──▶ HANDSHAKE ──▶ judged ──▶ RECORD ──▶ handed over
 *       └─────────┴──────────┴────────────┴──────────┴─────▶ refused, with one log line and a readable alert
 *
 * A connection costs an entry of a few hundred bytes until its whole ClientHello lies in the socket; only then, and
 * when its source's turn comes, is a TLS context made. One deadline covers the whole way.
 *
 * Owns:   the sockets of connections on their way in.
 * Never:  reads application data.
 */
#ifndef PORTSEAL_RELAY_ADMISSION_H
#define PORTSEAL_RELAY_ADMISSION_H

#include <stddef.h>
#include <sys/socket.h>
#include <uv.h>

#include "audit_client.h"
#include "expiring_clients.h"
#include "handoff.h"
#include "portseal/handshake.h"
#include "portseal/linger.h"
#include "portseal/trust.h"
#include "relay.h"
#include "route.h"

struct admissions;

/* Everything is borrowed and must outlive the admissions. */
struct admissions_config {
	uv_loop_t *loop;
	const struct relay_config *config;
	const struct route_protocols *protocols;
	const struct handshake_setup *setup;
	struct trust *trust;
	struct linger_set *linger;
	struct handoff *handoff;
	struct expiring_clients *expiring;
	struct audit_client *audit; /* NULL: none is configured */
	size_t handshakes;          /* this process's share of the limits */
	size_t handshakes_per_source;
	size_t waiting;
};

enum ps_err admissions_new(const struct admissions_config *config, struct admissions **admissions) PS_MUST_CHECK;

/* Takes the socket. `service` is the listener's or CONFIG_NO_SERVICE. */
void admissions_begin(struct admissions *admissions, int fd, const struct sockaddr *peer, socklen_t peer_len,
                      int service);

/* Turns away whoever has not sent a ClientHello yet; the others may finish. */
void admissions_drain(struct admissions *admissions);

size_t admissions_count(const struct admissions *admissions);

/* Closes all of them. The loop must run once more for libuv to let go of the handles. */
void admissions_free(struct admissions *admissions);

#endif
