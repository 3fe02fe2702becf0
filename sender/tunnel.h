/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunnel -- the subcommand that listens on local addresses and carries each connection to the relay: a daemon of roles.
 *
 * A worker accepts and forwards and never sees a key; a gatekeeper dials, judges the relay and never sees payload.
 */
#ifndef PORTSEAL_SENDER_TUNNEL_H
#define PORTSEAL_SENDER_TUNNEL_H

#include <stddef.h>

#include "config.h"
#include "portseal/net.h"

/* Returns the exit code: 0 drained, 1 cut, 2 usage, 3 configuration, own key or a listener that cannot be opened. */
int tunnel_main(int argc, char *const *argv);

/* The listening sockets of one entry of the configuration. */
struct tunnel_listener {
	int fds[NET_LISTEN_MAX];
	size_t n_fds;
};

/* What the roles are handed: made before the first fork and unchanged afterwards. */
struct tunnel_daemon {
	struct sender_config *config;
	struct tunnel_listener *listeners; /* one for each tunnel */
};

void tunnel_close_listeners(struct tunnel_daemon *daemon);

/* What is in it, not the struct: each role frees its own copy. */
void tunnel_free(struct tunnel_daemon *daemon);

#endif
