/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial -- rules that an operator only tries out (would_allow): told, never enforced.
 */
#ifndef PORTSEAL_RELAY_TRIAL_H
#define PORTSEAL_RELAY_TRIAL_H

#include <stdint.h>

#include "config.h"
#include "portseal/identity.h"

/* Logs event=would-refuse if the service has such rules and none of them allows whoever just got in. */
void trial_tell(uint64_t conn, const struct relay_service *service, const struct identity *identity);

#endif
