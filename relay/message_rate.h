/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_rate -- how many messages a second one client may send to one service, counted over all workers together.
 *
 * Each client and service has a place in memory that all workers share: the moment at which its allowance is whole again
 * (the generic cell rate algorithm). A second's worth may come at once. Two that share a place by chance share their
 * allowance; who shares with whom is as random as the key.
 *
 * Never:  blocks. A broken worker can falsify counts, nothing else.
 */
#ifndef PORTSEAL_RELAY_MESSAGE_RATE_H
#define PORTSEAL_RELAY_MESSAGE_RATE_H

#include <stdint.h>

#include "portseal/err.h"
#include "portseal/identity.h"

struct message_rate;

/* Maps shared anonymous memory: create before the first fork. */
enum ps_err message_rate_new(struct message_rate **rate) PS_MUST_CHECK;
void message_rate_free(struct message_rate *rate); /* this process's part */

/* Counts one message. 0: it may go; else the milliseconds until one may. `now_us` is the monotonic clock's. */
uint64_t message_rate_take(struct message_rate *rate, const uint8_t client[static IDENTITY_PIN_LEN],
                           const char *service, uint64_t per_second, uint64_t now_us);

#endif
