/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_count -- how many messages with a key one client has under way, whether it still waits for them or has left, over
 * all workers together: such a message goes on without its client, and holds a connection to the application.
 *
 * Memory that all workers share has a row of places for each slot, and each client a place in it. A worker writes its own
 * row only, and whoever takes the slot over clears it. Two clients that share a place by chance share their allowance.
 *
 * Never:  blocks. A broken worker can falsify counts, nothing else.
 */
#ifndef PORTSEAL_RELAY_MESSAGE_COUNT_H
#define PORTSEAL_RELAY_MESSAGE_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/identity.h"

struct message_count;

/* Maps shared anonymous memory: create before the first fork. */
enum ps_err message_count_new(unsigned n_slots, struct message_count **count) PS_MUST_CHECK;
void message_count_free(struct message_count *count); /* this process's part */

/* This process takes the slot (below n_slots) over: what its predecessor had under way has ended with it. */
void message_count_start(struct message_count *count, unsigned slot);

/* Counts one more in this process's slot. False: the client has `limit` already. */
bool message_count_take(struct message_count *count, const uint8_t client[static IDENTITY_PIN_LEN], uint64_t limit);

/* One that was counted has ended. */
void message_count_leave(struct message_count *count, const uint8_t client[static IDENTITY_PIN_LEN]);

#endif
