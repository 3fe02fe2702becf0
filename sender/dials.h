/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dials -- what a worker has asked its gatekeepers to dial, until they answer.
 *
 * Each is answered exactly once: by a connection, by a failure, or, where no gatekeeper answers in time, by a failure of
 * our own making. What the queue of the slot has no room for is asked again later.
 *
 * Never:  opens a socket itself, or believes an answer that nobody asked for.
 */
#ifndef PORTSEAL_SENDER_DIALS_H
#define PORTSEAL_SENDER_DIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "briefing.h"
#include "dial.h"
#include "portseal/err.h"
#include "portseal/handover.h"

#define DIALS_NO_ANSWER UINT32_MAX /* handover_dial_failed.exit_code of those that nobody answered */

struct dials;

struct dials_asked {
	struct handover_dial request; /* conn is its number, generation that of the time */
	void *tag;                    /* the asker's; NULL: it is shared, or he has gone */
	bool shared;
};

struct dials_config {
	uv_loop_t *loop;
	int slot;                        /* where gatekeepers are asked */
	const struct briefing *briefing; /* borrowed; its content changes with the generation */
	/* HANDOVER_CONNECTION (the descriptor is the receiver's) or HANDOVER_DIAL_FAILED, `again` if the generation changed
	 * before anything was tried: relays may have other numbers now. Never from within dials_ask. */
	void (*on_answer)(void *owner, const struct dials_asked *asked, struct handover_message *message);
	void *owner;
};

enum ps_err dials_new(const struct dials_config *config, struct dials **dials) PS_MUST_CHECK;
/* What is under way is forgotten. */
void dials_free(struct dials *dials);

/* `service` is "" for none; without a tag it is shared by whoever waits. */
enum ps_err dials_ask(struct dials *dials, uint32_t relay, enum dial_offer offer, const char *service, void *tag)
	PS_MUST_CHECK;

/* Whoever asked with this tag has gone. */
void dials_forget(struct dials *dials, const void *tag);

/* A message of the slot's; takes its descriptor. */
void dials_take(struct dials *dials, struct handover_message *message);

/* Sends what the queue had no room for. PS_E_AGAIN: there is still none. */
enum ps_err dials_send(struct dials *dials) PS_MUST_CHECK;
size_t dials_unsent(const struct dials *dials);

/* Another generation is in force: what was not sent is answered by `again`. */
void dials_renew(struct dials *dials);

/* Answers those that nobody answered in time. Returns when to be called again, UINT64_MAX: with the next one. */
uint64_t dials_expire(struct dials *dials);

/* Shared ones under way to this relay. */
size_t dials_shared(const struct dials *dials, uint32_t relay);

#endif
