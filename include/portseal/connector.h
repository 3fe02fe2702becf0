/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connector -- resolves an address and connects to it on a loop, trying every address a name stands for in turn,
 * within one deadline.
 *
 * A connection within this host is made while connect() runs, and told of in the turn of the loop that began it.
 *
 * Owns:   the descriptor until it is handed over. Resolves anew each time: a name that moved is found.
 * Never:  blocks, or calls back from within connector_new.
 */
#ifndef PORTSEAL_CONNECTOR_H
#define PORTSEAL_CONNECTOR_H

#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "portseal/address.h"
#include "portseal/err.h"
#include "portseal/watch.h"

struct connector;

enum connect_result {
	CONNECT_OK,
	CONNECT_NO_NAME,     /* the name does not resolve */
	CONNECT_REFUSED,     /* something answered: nobody listens there */
	CONNECT_TIMEOUT,     /* nothing answered: often a firewall that drops */
	CONNECT_UNREACHABLE, /* no route */
	CONNECT_RESET,       /* it was there, and broken off before we looked */
	CONNECT_FAILED,      /* anything else; the cause says what */
};

#define CONNECTOR_ADDRESSES_MAX 16

/* The addresses that a name stood for when it was last resolved. Zeroed: none yet. */
struct connector_memory {
	struct sockaddr_storage addresses[CONNECTOR_ADDRESSES_MAX];
	socklen_t lengths[CONNECTOR_ADDRESSES_MAX];
	unsigned n;
};

struct connector_config {
	uv_loop_t *loop;
	/* Borrowed; of this loop. NULL: of its own, should it have to wait, for a loop that connects now and then. */
	struct watches *watches;
	const struct address *address; /* borrowed until the call returns */
	uint64_t timeout_ms;           /* for resolving and all attempts together */
	/* Of this name, borrowed: each answer is kept there, and serves when a later one is an error or has not come after
	 * half of the time. NULL: nothing is remembered. */
	struct connector_memory *memory;
	/* Called once, unless cancelled. CONNECT_OK: fd is the caller's, tuned (net_tune), and `peer` is where it leads.
	 * Otherwise fd is -1 and the cause names the address and the failure: of several addresses, the last one's. */
	void (*on_done)(void *owner, enum connect_result result, int fd, const char *peer, const struct ps_cause *cause);
	void *owner;
};

enum ps_err connector_new(const struct connector_config *config, struct connector **connector) PS_MUST_CHECK;

/* Gives up without calling back. Harmless on NULL. After on_done the connector is gone: do not call it then. */
void connector_cancel(struct connector *connector);

#endif
