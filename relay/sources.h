/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources -- whose turn it is to shake hands: a fair line of connections, by where they come from.
 *
 * At most `limit` handshakes run at once, and `per_source` for each IPv4 address or IPv6 /64. Who comes beyond that
 * waits in the line of his own source, and the sources take turns: a crowd from one address delays itself, not others.
 *
 * Never:  refuses anybody; the deadline of whoever waits does.
 */
#ifndef PORTSEAL_RELAY_SOURCES_H
#define PORTSEAL_RELAY_SOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "portseal/err.h"
#include "portseal/net.h"

struct sources;
struct source;

/* Part of each connection that may stand in line; zeroed at first. */
struct sources_place {
	struct source *source; /* NULL: it neither waits nor shakes hands */
	bool shaking;
	TAILQ_ENTRY(sources_place) line;
};

enum ps_err sources_new(size_t limit, size_t per_source, struct sources **sources) PS_MUST_CHECK;
void sources_free(struct sources *sources);

/* Puts it at the end of its source's line. */
enum ps_err sources_wait(struct sources *sources, const struct net_source *key, struct sources_place *place)
	PS_MUST_CHECK;

/* Takes the next one that may begin its handshake, or NULL: nobody waits, or a limit is reached. */
struct sources_place *sources_next(struct sources *sources);

/* Whom to refuse when too many wait: the last in the longest line. NULL: nobody waits. */
struct sources_place *sources_last_of_longest(const struct sources *sources);

/* It goes: from the line, or because its handshake (begun by sources_next) is over. Harmless when it is in neither. */
void sources_leave(struct sources *sources, struct sources_place *place);

size_t sources_n_shaking(const struct sources *sources);
size_t sources_n_waiting(const struct sources *sources);

#endif
