/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict -- what an answer, or its absence, means for a message of the spool: delivered, tried again, or given up.
 *
 * Given up at once is only what the relay has judged by the message itself and would judge alike tomorrow. What an operator
 * can mend (a certificate, a right, a service that is not there yet) is tried again until the message's time is over.
 *
 * Pure: no I/O, no clock.
 */
#ifndef PORTSEAL_SENDER_SPOOL_VERDICT_H
#define PORTSEAL_SENDER_SPOOL_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "outcome.h"
#include "spool/spool.h"

enum verdict_fate {
	VERDICT_DELIVERED,
	VERDICT_RETRY,
	VERDICT_DEAD,
};

/* Whom else the failure concerns, and who therefore waits, too. */
enum verdict_scope {
	VERDICT_MESSAGE,
	VERDICT_SERVICE,
	VERDICT_RELAY,
};

struct verdict {
	enum verdict_fate fate;
	enum verdict_scope scope;
	bool uncertain;          /* the application may have got it */
	bool unsent;             /* no byte of the request can have been processed */
	bool mendable;           /* nothing will change until somebody acts */
	uint64_t retry_after_ms; /* what the relay asked for; 0: nothing */
	char reason[SPOOL_REASON_SIZE];
	char detail[SPOOL_DETAIL_SIZE];
};

/* The relay answered. `reason` is its own word (RFC 9457), of harmless characters, `detail` a cause, escaped already; or
 * NULL. */
void verdict_of_status(struct verdict *verdict, unsigned status, const char *reason, const char *detail,
                       uint64_t retry_after_ms);

/* There was no answer: the outcome of the dial, or of the connection. */
void verdict_of_outcome(struct verdict *verdict, const struct outcome *outcome, bool unsent);

/* "cut", "timeout", ...: the exchange broke. */
void verdict_of_break(struct verdict *verdict, enum verdict_scope scope, bool unsent, const char *reason,
                      const char *detail);

/* The longest pause that a relay's retry-after is granted. */
#define VERDICT_RETRY_AFTER_MAX_MS ((uint64_t)60 * 60 * 1000)

/* How long to wait after so many failures in a row (at least 1): doubles from `first` to `max`, of which between half and
 * all by `random`, so that those who failed together do not come back together. */
uint64_t verdict_wait_ms(uint64_t first_ms, uint64_t max_ms, uint64_t failures, uint64_t random);

#endif
