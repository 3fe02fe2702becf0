/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carriage -- one connection in a worker: connected to its target, then bridged until it ends.
 *
 * Each one ends in exactly one line event=closed.
 */
#ifndef PORTSEAL_RELAY_CARRIAGE_H
#define PORTSEAL_RELAY_CARRIAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "audit_client.h"
#include "portseal/bridge.h"
#include "portseal/handover.h"
#include "portseal/linger.h"
#include "portseal/refusal.h"
#include "standing.h"

struct carriages;

struct carriages_config {
	uv_loop_t *loop; /* borrowed, as everything here */
	struct standings *standings;
	struct watches *watches;
	struct linger_set *linger;
	struct bridge_scratch *scratch;
	struct audit_client *audit; /* NULL: none is configured */
	/* Called as each one ends: the counts of the scoreboard are the worker's business. */
	void (*on_end)(void *owner, const uint8_t client_pin[static IDENTITY_PIN_LEN]);
	void *owner;
};

enum ps_err carriages_new(const struct carriages_config *config, struct carriages **carriages) PS_MUST_CHECK;

/* Takes the socket, -1 where it was lost for want of descriptors; on_end follows in every case. Without room for a
 * target's socket it is turned away: the client reads internal_error. */
void carriages_begin(struct carriages *carriages, const struct handover *handover, int fd, bool has_room);

size_t carriages_count(const struct carriages *carriages);

/* Cuts all of them: reason=drain. */
void carriages_abort(struct carriages *carriages);

/* When none is left. */
void carriages_free(struct carriages *carriages);

#endif
