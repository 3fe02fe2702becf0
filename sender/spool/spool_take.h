/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool_take -- what the one process that delivers does with the spool: claims messages, and writes down what became of
 * them.
 *
 * All but spool_reclaim, spool_mend_clock, spool_next_service and spool_shrink are called between spool_begin and spool_commit, so that many
 * changes cost one write to the disk, and a message is posted only when its claim is there.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SPOOL_TAKE_H
#define PORTSEAL_SENDER_SPOOL_SPOOL_TAKE_H

#include "spool/spool.h"

/* What was under way when the process before us ended waits again, and is due: nobody knows what became of it, so each is
 * counted as uncertain. Returns how many. A transaction of its own. */
enum ps_err spool_reclaim(struct spool *spool, int64_t now_ms, uint64_t *n, struct ps_cause *cause) PS_MUST_CHECK;

/* The services that have messages waiting, one after the other: writes the one behind `service` ("" for the first) there.
 * PS_E_CLOSED behind the last. */
enum ps_err spool_next_service(struct spool *spool, char service[static SPOOL_SERVICE_SIZE], struct ps_cause *cause)
	PS_MUST_CHECK;

/* The clock was set back: what waits since a time that has not come yet is due now. A transaction of its own. */
enum ps_err spool_mend_clock(struct spool *spool, int64_t now_ms, struct ps_cause *cause) PS_MUST_CHECK;

/* What spool_claim asks, and where it answers besides the message. */
struct spool_claim {
	const char *service;
	bool ordered; /* only the oldest that is alive can be it */
	int64_t now_ms;
	int64_t
		due_ms; /* set with PS_E_CLOSED: when the next one is due; INT64_MAX: none waits, or the oldest is under way */
};

/* The message of this service that is to be sent next becomes SPOOL_UNDER_WAY. PS_E_CLOSED: none is due. */
enum ps_err spool_claim(struct spool *spool, struct spool_claim *claim, struct spool_message *message,
                        struct ps_cause *cause) PS_MUST_CHECK;

enum ps_err spool_settle_delivered(struct spool *spool, int64_t seq, struct ps_cause *cause) PS_MUST_CHECK;

struct spool_failure {
	const char *reason; /* a word */
	const char *detail; /* for a person */
	bool dead;          /* it is given up; else it waits again: */
	int64_t now_ms, due_ms;
	bool uncertain; /* it may have reached the application */
	bool unsent;    /* nothing was tried: it does not count as an attempt */
};

enum ps_err spool_settle_failed(struct spool *spool, int64_t seq, const struct spool_failure *failure,
                                struct ps_cause *cause) PS_MUST_CHECK;

/* One waiting message whose time is over becomes SPOOL_DEAD, with the reason "expired" and the detail of its last failure.
 * PS_E_CLOSED: there is none. */
enum ps_err spool_expire(struct spool *spool, int64_t now_ms, struct spool_message *message, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Gives pages that are free back to the file system, a few at a time; not inside a transaction. */
enum ps_err spool_shrink(struct spool *spool, struct ps_cause *cause) PS_MUST_CHECK;

#endif
