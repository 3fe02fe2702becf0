/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scoreboard -- how many connections live, in memory that all roles share; survives the death of any of them.
 *
 * A connection is "queued" from hand-over until a worker takes it, then "live" in that worker's slot until it ends.
 * When a worker dies the supervisor clears its slot. With a limit per client, connections are also counted by client
 * key (its SPKI pin) in a fixed table under a lock that is taken from whoever keeps it too long.
 *
 * Never:  holds a name or key material. A broken worker can falsify counts, nothing else: no role follows a pointer or
 *         trusts a size that another can write, and none waits longer than a moment.
 */
#ifndef PORTSEAL_SCOREBOARD_H
#define PORTSEAL_SCOREBOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

#define SCOREBOARD_SLOTS 64
#define SCOREBOARD_KEY_LEN 32

struct scoreboard;

struct scoreboard_config {
	uint64_t connections;            /* at most so many queued and live together */
	uint64_t connections_per_client; /* 0: not counted */
};

/* Maps shared anonymous memory: create before the first fork. */
enum ps_err scoreboard_new(const struct scoreboard_config *config, struct scoreboard **board) PS_MUST_CHECK;
/* For this process and those it forks from now on. A limit per client that was 0 at the start stays 0: false. */
bool scoreboard_set_limits(struct scoreboard *board, const struct scoreboard_config *config);
void scoreboard_free(struct scoreboard *board); /* this process's part */

enum scoreboard_answer { SCOREBOARD_ADMITTED, SCOREBOARD_FULL, SCOREBOARD_CLIENT_FULL };

/* gatekeeper: counts the connection as queued for the slot when both limits allow. */
enum scoreboard_answer scoreboard_admit(struct scoreboard *board, unsigned slot,
                                        const uint8_t client[static SCOREBOARD_KEY_LEN]);
/* gatekeeper: it could not be handed over after all. */
void scoreboard_withdraw(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN]);
/* worker: queued -> live. */
void scoreboard_take(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN]);
/* worker: it ended. */
void scoreboard_leave(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN]);
/* worker that accepts by itself, under no limit: counts one as live; it ends with scoreboard_leave_slot. */
void scoreboard_join_slot(struct scoreboard *board, unsigned slot);
void scoreboard_leave_slot(struct scoreboard *board, unsigned slot);
/* Whether the slot has clearly more than the one of the first `n_slots` that has least: whoever comes next is theirs. */
bool scoreboard_is_crowded(const struct scoreboard *board, unsigned slot, unsigned n_slots);
/* supervisor: the slot's worker died; returns how many were live in it. */
uint64_t scoreboard_clear_slot(struct scoreboard *board, unsigned slot);

uint64_t scoreboard_live(const struct scoreboard *board, unsigned slot);
uint64_t scoreboard_total(const struct scoreboard *board); /* queued and live, all slots */

#endif
