/* SPDX-License-Identifier: Apache-2.0 */
/*
 * briefing -- what a worker of the sender must know of the generation in force: its doors, and how to treat what enters.
 *
 * A worker finds it in what it was forked with, and lives on when the next generation is put in force: then the supervisor
 * sends it over the control channel, one message that says how many doors there are and one with a descriptor for each,
 * before ROLE_GENERATION. Doors that stay are sent like new ones: another descriptor of the same socket.
 */
#ifndef PORTSEAL_SENDER_BRIEFING_H
#define PORTSEAL_SENDER_BRIEFING_H

#include <stddef.h>
#include <stdint.h>

#include "generation.h"
#include "portseal/err.h"
#include "portseal/handover.h"
#include "portseal/log.h"

struct briefing_door {
	char service[HANDOVER_SERVICE_MAX]; /* "": none is named */
	int fd;                             /* -1: it did not come, or somebody has taken it */
};

struct briefing {
	uint32_t generation;
	uint32_t n_doors;
	uint64_t idle_ms;
	uint64_t patience_ms; /* how long a gatekeeper's dial lasts at most */
	uint64_t answer_ms;   /* how long a relay may take to answer a request for a stream */
	enum sender_protocol protocol;
	enum relays_balance balance;
	uint32_t n_relays;
	uint64_t pool_min, pool_max; /* links to one relay */
	uint64_t pool_idle_ms;
	enum log_level log_level;
	enum log_format log_format;
	char relays[RELAYS_MAX][ADDRESS_TEXT_MAX];
	struct briefing_door doors[GENERATION_SOCKETS_MAX]; /* last: travels in messages of its own */
};

/* Borrows the generation's sockets: what is in `out` are its descriptors. */
void briefing_of(const struct generation *generation, uint32_t number, struct briefing *out);

/* To a worker, over its control channel. Waits a second where the channel is full. */
enum ps_err briefing_send(int control, const struct briefing *briefing) PS_MUST_CHECK;

/* Takes one of those messages, of a type from ROLE_OWN on, with its descriptor (-1: it was lost) into `briefing`; a new
 * beginning closes the descriptors of one that was not finished. PS_E_PROTO: it is none. */
enum ps_err briefing_take(struct briefing *briefing, uint32_t type, const uint8_t *body, size_t body_len, int fd)
	PS_MUST_CHECK;

/* Closes the descriptors that nobody has taken. */
void briefing_clear(struct briefing *briefing);

#endif
