/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay -- what every role of a relay shares: the configuration in force and the listening sockets.
 *
 * Made by main before the first fork and never changed after it.
 */
#ifndef PORTSEAL_RELAY_RELAY_H
#define PORTSEAL_RELAY_RELAY_H

#include <stddef.h>

#include "config.h"
#include "portseal/net.h"

#define RELAY_SOCKETS_MAX 64

struct relay_socket {
	int fd;
	int service;                     /* index, or CONFIG_NO_SERVICE */
	char address[ADDRESS_TEXT_MAX];  /* for the log */
};

struct relay {
	const struct relay_config *config;
	struct relay_socket sockets[RELAY_SOCKETS_MAX];
	size_t n_sockets;
};

/* Opens every listening socket of the configuration, or none. */
enum ps_err relay_listen(struct relay *relay, struct ps_cause *cause) PS_MUST_CHECK;

/* Closes this process's copies. */
void relay_close_sockets(struct relay *relay);

#endif
