/* SPDX-License-Identifier: Apache-2.0 */
/*
 * role -- what both roles of the daemon share: the words with the supervisor over the control channel.
 */
#ifndef PORTSEAL_SENDER_ROLE_H
#define PORTSEAL_SENDER_ROLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/err.h"
#include "portseal/supervisor.h"

#define ROLE_EXIT_DONE 0
#define ROLE_EXIT_CUT 1
#define ROLE_EXIT_FATAL 3

/* Caller's storage. */
struct role_control {
	uv_poll_t poll;
	bool listening;
	const struct role_env *env;
	uint64_t fallback_ms;                              /* the time to drain when the supervisor is gone */
	void (*on_drain)(void *owner, uint64_t within_ms); /* called once; nothing is listened to any more */
	/* Any other word of the supervisor's; takes the descriptor, -1 when none came. */
	void (*on_word)(void *owner, uint32_t type, const uint8_t *body, size_t body_len, int fd);
	void *owner;
};

/* Says ROLE_READY and waits for what the supervisor says. The other fields are set. */
enum ps_err role_begin(struct role_control *control, uv_loop_t *loop) PS_MUST_CHECK;

/* Its handle is closed with the next turns of the loop. */
void role_end(struct role_control *control);

/* Tells the operator why this role cannot start; returns the exit code. */
int role_fatal(const struct role_env *env, const char *line);

/* Runs the loop until every handle is closed, and closes it. */
void role_close_loop(uv_loop_t *loop);

#endif
