/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expiry_watch -- tells in the log, in good time, that something of ours will expire.
 *
 * At its start, and once whenever 30, 14, 7 or 1 days are left, and when it is over. One gatekeeper has it, so that
 * each is told once.
 */
#ifndef PORTSEAL_RELAY_EXPIRY_WATCH_H
#define PORTSEAL_RELAY_EXPIRY_WATCH_H

#include <uv.h>

#include "portseal/expiry.h"

struct expiry_watch {
	struct expiry_list list;
	uv_timer_t timer;
};

/* Tells what is to be told now, then looks every hour; does not keep the loop alive. */
enum ps_err expiry_watch_start(struct expiry_watch *watch, uv_loop_t *loop, struct credentials *credentials,
                               struct trust *trust) PS_MUST_CHECK;

/* The timer is closed with the loop's other handles. A zeroed watch is harmless. */
void expiry_watch_clear(struct expiry_watch *watch);

#endif
