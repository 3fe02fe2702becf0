/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local_log -- the lines of a local connection's life.
 */
#ifndef PORTSEAL_SENDER_LOCAL_LOG_H
#define PORTSEAL_SENDER_LOCAL_LOG_H

#include <stdint.h>
#include <uv.h>

#include "portseal/address.h"
#include "portseal/bridge.h"
#include "portseal/h2_pipe.h"
#include "portseal/handover.h"

/* What the lines say of a connection. */
struct local_facts {
	uint64_t conn;
	char service[HANDOVER_SERVICE_MAX]; /* "": none is named */
	uint64_t started_ms;                /* of the loop's clock */
	const uv_loop_t *loop;
	char peer[ADDRESS_TEXT_MAX];
};

/* Where it leads. */
struct local_relay {
	const char *name;
	const char *address;
	uint16_t suite;
	uint64_t pool; /* conn of the pool's connection; 0: it has one of its own */
	uint32_t stream;
};

void local_log_accepted(const struct local_facts *facts, const struct local_relay *relay);

void local_log_closed(const struct local_facts *facts, const struct bridge_report *report);
void local_log_pipe_closed(const struct local_facts *facts, const struct h2_pipe_report *report);
void local_log_refused(const struct local_facts *facts, const char *reason, const char *detail);

#endif
