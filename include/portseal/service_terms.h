/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_terms -- how a relay's worker carries what is for a service: the part of the configuration that a gatekeeper
 * sends along with each right it grants, as workers know no configuration themselves.
 *
 * Travels inside hand-overs and judgements, as it stands: plain values only, no pointers.
 */
#ifndef PORTSEAL_SERVICE_TERMS_H
#define PORTSEAL_SERVICE_TERMS_H

#include <stdint.h>

#include "portseal/address.h"

struct service_terms {
	struct address target;
	uint64_t connect_ms, idle_ms;
	/* Of messages: */
	uint64_t message_ms;          /* the whole exchange */
	uint64_t max_message;         /* bytes of the payload */
	uint32_t messages_per_second; /* of one client; 0: no limit */
	uint32_t messages_per_client; /* with a key, under way at once; 0: no limit */
	uint32_t reply_kind;          /* enum reply_kind of the relay */
	uint32_t reply_idle_ms;
};

#endif
