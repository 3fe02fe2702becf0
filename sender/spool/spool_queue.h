/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool_queue -- what an operator does with the spool: looks, has something tried again, throws something away.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SPOOL_QUEUE_H
#define PORTSEAL_SENDER_SPOOL_SPOOL_QUEUE_H

#include "spool/spool.h"

/* The first message behind `seq` (0 for the first of all). PS_E_CLOSED behind the last. */
enum ps_err spool_walk(struct spool *spool, int64_t seq, struct spool_message *message, struct ps_cause *cause)
	PS_MUST_CHECK;

/* By its id, or the beginning of one that only one message has. PS_E_CLOSED: there is none; PS_E_LIMIT: several. */
enum ps_err spool_find(struct spool *spool, const char *id, struct spool_message *message, struct ps_cause *cause)
	PS_MUST_CHECK;

struct spool_retry {
	int64_t now_ms;
	uint64_t ttl_ms; /* a message that has died begins a new life: so long, 0 for ever */
};

/* Makes it due at once, whether it waits or is dead. Its id stays, and with it the key by which the relay knows it.
 * PS_E_CLOSED: it is not there, or under way. */
enum ps_err spool_retry(struct spool *spool, int64_t seq, const struct spool_retry *retry, struct ps_cause *cause)
	PS_MUST_CHECK;
enum ps_err spool_retry_all(struct spool *spool, const struct spool_retry *retry, uint64_t *n, struct ps_cause *cause)
	PS_MUST_CHECK;

/* PS_E_CLOSED: it is not there, or under way while `served`. */
enum ps_err spool_drop(struct spool *spool, int64_t seq, bool served, struct ps_cause *cause) PS_MUST_CHECK;
enum ps_err spool_drop_dead(struct spool *spool, uint64_t *n, struct ps_cause *cause) PS_MUST_CHECK;

#endif
