/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay -- one generation of a relay: the configuration and the listening sockets that serve it.
 *
 * Made by the supervisor's process, whole, before the gatekeepers of that generation are forked; never changed after.
 * A generation takes over the sockets of the one before it where the address is the same, so that nobody is refused
 * meanwhile.
 */
#ifndef PORTSEAL_RELAY_RELAY_H
#define PORTSEAL_RELAY_RELAY_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "message_count.h"
#include "message_rate.h"
#include "portseal/net.h"
#include "portseal/scoreboard.h"

#define RELAY_SOCKETS_MAX 64

struct expiring_clients;
struct audit_memory;

struct relay_socket {
	int fd;
	struct address listener;        /* as the configuration has it */
	int service;                    /* index, or CONFIG_NO_SERVICE */
	bool taken_over;                /* from the generation before, which still serves it until this one is in force */
	char address[ADDRESS_TEXT_MAX]; /* where it really listens, for the log */
};

struct relay {
	struct relay_config *config;
	struct scoreboard *board;          /* borrowed, NULL until it is set */
	struct message_rate *rate;         /* likewise */
	struct message_count *count;       /* likewise */
	struct expiring_clients *expiring; /* the same */
	struct audit_memory *audit_memory; /* likewise; NULL where no audit is configured */
	struct relay_socket sockets[RELAY_SOCKETS_MAX];
	size_t n_sockets;
};

/* Loads the configuration and opens every listening socket that `before` (NULL at the start) does not have. */
enum ps_err relay_new(const char *config_path, const struct relay *before, struct relay **relay, struct ps_cause *cause)
	PS_MUST_CHECK;

/* `next` is in force: closes the sockets that it did not take over, and frees the old one. */
void relay_replace(struct relay *old, struct relay *next);

/* Closes what it opened itself, and frees it. */
void relay_free(struct relay *relay);

/* In a role, right after its fork: closes every listening socket that is not of this generation (the supervisor had others
 * open), or a door that was taken away would stay half open. */
void relay_keep_own_sockets(const struct relay *relay);

/* Closes this process's copies of all its sockets. */
void relay_close_sockets(struct relay *relay);

#endif
