/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation -- one generation of a sender daemon: the configuration and the listening sockets of its tunnels.
 *
 * Made by the supervisor's process, whole, before the gatekeepers of that generation are forked; never changed after. A
 * generation takes over the sockets of the one before it where the address is the same, so that no local client is
 * refused meanwhile. Workers live through all generations and are told of each (briefing).
 */
#ifndef PORTSEAL_SENDER_GENERATION_H
#define PORTSEAL_SENDER_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

#define GENERATION_SOCKETS_MAX 256

struct generation_socket {
	int fd;
	uint32_t tunnel; /* index in the configuration */
	bool taken_over; /* from the generation before, which still serves it until this one is in force */
};

struct generation {
	struct config_options options; /* texts are borrowed from the command line */
	struct sender_config *config;
	struct generation_socket sockets[GENERATION_SOCKETS_MAX];
	size_t n_sockets;
};

/* Loads the configuration and opens every listening socket that `before` (NULL at the start) does not have. PS_E_CONFIG: it
 * is the configuration that is wrong, not the state of the system. */
enum ps_err generation_new(const struct config_options *options, const struct generation *before,
                           struct generation **generation, struct ps_cause *cause) PS_MUST_CHECK;

/* `next` is in force: closes the doors that it did not take over, and frees the old one. */
void generation_replace(struct generation *old, struct generation *next);

/* It will not be in force, or no longer is: closes what it opened itself, removes the files of its unix sockets, and
 * frees it. */
void generation_discard(struct generation *generation);

/* In the supervisor's process, when it drains: nobody is let in any more. */
void generation_close_sockets(struct generation *generation);

/* In a gatekeeper: closes this process's copies of all listening sockets, of this and of any other generation. */
void generation_close_doors(struct generation *generation);

/* In a worker: closes its copies of the listening sockets of any other generation. */
void generation_keep_doors(const struct generation *generation);

/* In a role: frees its copy. Closes no socket and removes no file. */
void generation_free(struct generation *generation);

/* Where the tunnel's first socket really listens: port 0 has become a number. */
void generation_listen_text(const struct generation *generation, uint32_t tunnel, char out[static ADDRESS_TEXT_MAX]);

#endif
