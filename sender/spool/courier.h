/* SPDX-License-Identifier: Apache-2.0 */
/*
 * courier -- decides which message of the spool goes when, and writes down what became of it.
 *
 *     claimed ──posted──▶ FLYING ──courier_landed──▶ LANDED ──written to the spool──▶ gone
 *
 * Every service has a lane. A lane that failed pauses, longer with each failure, and then sends one message as a probe; one
 * success opens it again, so that a dead application costs its neighbours nothing. In an ordered service one message at a
 * time is on its way, and none overtakes. What fails for the relay as a whole pauses all lanes in the same way.
 *
 * In a turn all that landed is written and the next are claimed, in one transaction; what cannot be written stays LANDED and
 * is tried again, and is never sent a second time while this process lives.
 *
 * Pure but for the spool: the loop, the network and the clocks are the caller's.
 *
 * Owns:   the tasks and lanes.
 */
#ifndef PORTSEAL_SENDER_SPOOL_COURIER_H
#define PORTSEAL_SENDER_SPOOL_COURIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "portseal/err.h"
#include "spool/settings.h"
#include "spool/spool.h"
#include "spool/verdict.h"

struct courier;

enum courier_task_state {
	COURIER_FLYING, /* the transport has it */
	COURIER_LANDED, /* its verdict is known, but not written */
};

struct courier_task {
	TAILQ_ENTRY(courier_task) entry;
	struct courier *courier;
	enum courier_task_state state;
	struct spool_message message;
	struct verdict verdict;      /* LANDED */
	bool learnt;                 /* LANDED: the lanes know */
	uint64_t began_ms;           /* steady */
	uint64_t wait_ms;            /* LANDED and to be tried again: how long */
	char receipt[SPOOL_ID_SIZE]; /* the relay's number of the delivery, for the log; "" */
	uint64_t reply_len;
	void *post; /* the transport's */
};

struct courier_time {
	uint64_t steady_ms; /* never goes back */
	int64_t wall_ms;
};

struct courier_config {
	struct spool *spool;                   /* borrowed */
	const struct spool_settings *settings; /* borrowed */
	/* Begins to send it; courier_landed follows, from within or later. */
	void (*post)(void *owner, struct courier_task *task);
	/* Its verdict is on the disk. */
	void (*on_settled)(void *owner, const struct courier_task *task, uint64_t took_ms);
	/* It died waiting. */
	void (*on_expired)(void *owner, const struct spool_message *message);
	uint64_t (*random)(void *owner);
	void *owner;
};

enum ps_err courier_new(const struct courier_config *config, struct courier **courier) PS_MUST_CHECK;
void courier_free(struct courier *courier);

/* For the lanes' order and the waits; tasks go on. */
void courier_use_settings(struct courier *courier, const struct spool_settings *settings);

/* Nothing new is claimed from now on. */
void courier_drain(struct courier *courier);

/* Writes what landed, buries what expired, claims and posts what is due. *next_ms: in how many milliseconds there will be
 * something to do, as far as is known; at most COURIER_LOOK_MS. Errors are the spool's: nothing is lost, call again in
 * *next_ms. */
enum ps_err courier_turn(struct courier *courier, const struct courier_time *now, uint64_t *next_ms,
                         struct ps_cause *cause) PS_MUST_CHECK;

/* The transport's word: the task's verdict, receipt and reply_len are set. A turn is due afterwards. */
void courier_landed(struct courier_task *task);

/* Tasks that are FLYING, or LANDED and not yet written. */
size_t courier_n_flying(const struct courier *courier);
size_t courier_n_landed(const struct courier *courier);

/* Looks at the spool at least so often, whether it was woken or not. */
#define COURIER_LOOK_MS 5000

#endif
