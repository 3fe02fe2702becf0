/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_spool -- the part of `send` that keeps a message in the spool instead of delivering it.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SEND_SPOOL_H
#define PORTSEAL_SENDER_SPOOL_SEND_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "outcome.h"

struct send_spool_config {
	const struct sender_config *config;
	int input_fd;
	const char *input_name;
	uint64_t wait_ms; /* how long to wait for its delivery; 0: not at all */
	bool verbose;
};

/* Reads the payload to its end and keeps it; prints the message's id on stdout. OUTCOME_KEPT, or with wait_ms
 * OUTCOME_DONE when it was delivered within it, or why it was given up. Anything else: nothing was kept. */
void send_spool(const struct send_spool_config *config, struct outcome *outcome);

/* Of the command line: `wait` (may be NULL) goes with --spool only, `other`, an option for a message that is sent now, does
 * not go with it. PS_E_CONFIG with a cause. */
enum ps_err send_spool_check(bool spool, const char *wait, const char *other, uint64_t *wait_ms, struct ps_cause *cause)
	PS_MUST_CHECK;

#endif
