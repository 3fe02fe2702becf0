/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handoff -- chooses the worker for a connection that may enter and passes it on.
 *
 * Workers take turns, so that long streams spread evenly; one whose process is gone is passed over while others serve.
 */
#ifndef PORTSEAL_RELAY_HANDOFF_H
#define PORTSEAL_RELAY_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/handover.h"
#include "portseal/supervisor.h"

struct handoff {
	const struct role_env *env;
	bool down[SUPERVISOR_WORKERS_MAX];
	unsigned next;
};

void handoff_init(struct handoff *handoff, const struct role_env *env);

/* What the supervisor said of a worker's process. */
void handoff_set_down(struct handoff *handoff, uint32_t slot, bool down);

/* Counts the connection and sends it with a copy of the socket. REFUSAL_NONE: it is the worker's now. Otherwise why
 * not: REFUSAL_TOO_MANY_CONNECTIONS (the cause says which limit), REFUSAL_INTERNAL (no worker takes it). */
enum refusal handoff_send(struct handoff *handoff, const struct handover *handover, int fd, struct ps_cause *cause);

#endif
