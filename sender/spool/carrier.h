/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier -- takes the courier's tasks to the relay: dials when there is something to carry, keeps the connection while it
 * lasts, and turns every ending into a verdict.
 *
 *     (none) ──a task──▶ DIALLING ──▶ OPEN ──it ends, or other settings come──▶ LEAVING ──its tasks have landed──▶ gone
 *
 * Owns:   the dial, the connections, and one parcel for each task it was given.
 * Never:  dials again by itself after a failure: when, the courier decides.
 */
#ifndef PORTSEAL_SENDER_SPOOL_CARRIER_H
#define PORTSEAL_SENDER_SPOOL_CARRIER_H

#include <stddef.h>
#include <uv.h>

#include "portseal/err.h"
#include "spool/courier.h"
#include "spool/spool.h"
#include "spool/terms.h"

struct carrier;

struct carrier_config {
	uv_loop_t *loop;
	struct spool *spool; /* borrowed: payloads are read from it */
	struct terms *terms; /* borrowed; held on to */
	/* A task has landed. */
	void (*on_landed)(void *owner);
	/* The last connection is gone and nothing is dialled; after carrier_close only. */
	void (*on_empty)(void *owner);
	void *owner;
};

enum ps_err carrier_new(const struct carrier_config *config, struct carrier **carrier) PS_MUST_CHECK;
/* After on_empty only. */
void carrier_free(struct carrier *carrier);

/* courier_config.post */
void carrier_post(struct carrier *carrier, struct courier_task *task);

/* New connections are made by these terms; those that are there finish what they carry. */
void carrier_use_terms(struct carrier *carrier, struct terms *terms);

/* When every task has landed: ends the connections; on_empty follows, perhaps from within. */
void carrier_close(struct carrier *carrier);
/* Cuts them: every task lands, uncertain. */
void carrier_abort(struct carrier *carrier);

#endif
