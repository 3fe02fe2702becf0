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
#include "portseal/handover.h"

/* What the lines say of a connection. */
struct local_facts {
	uint64_t conn;
	char service[HANDOVER_SERVICE_MAX]; /* "": none is named */
	uint64_t started_ms;                /* of the loop's clock */
	const uv_loop_t *loop;
	char peer[ADDRESS_TEXT_MAX];
};

/* The relay is connected and judged. */
void local_log_accepted(const struct local_facts *facts, const struct handover *handover);

void local_log_closed(const struct local_facts *facts, const struct bridge_report *report);
void local_log_refused(const struct local_facts *facts, const char *reason, const char *detail);
void local_log_dial_failed(const struct local_facts *facts, const struct handover_dial_failed *failed);

#endif
