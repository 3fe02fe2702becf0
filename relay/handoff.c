/* SPDX-License-Identifier: Apache-2.0 */
#include "handoff.h"

#include <assert.h>

void handoff_init(struct handoff *handoff, const struct role_env *env)
{
	*handoff = (struct handoff){ .env = env, .next = env->index % env->n_slots };
}

void handoff_set_down(struct handoff *handoff, uint32_t slot, bool down)
{
	if (slot < handoff->env->n_slots)
		handoff->down[slot] = down;
}

/* PS_E_AGAIN: its queue is full, ask the next one. */
static enum ps_err send_to(struct handoff *handoff, unsigned slot, const struct handover *handover, int fd,
                           enum scoreboard_answer *answer)
{
	struct scoreboard *board = handoff->env->board;
	enum ps_err err;

	*answer = scoreboard_admit(board, slot, handover->client_pin);
	if (*answer != SCOREBOARD_ADMITTED)
		return PS_E_LIMIT;
	err = handover_send(handoff->env->slots[slot], handover, fd);
	if (err != PS_OK)
		scoreboard_withdraw(board, slot, handover->client_pin);
	return err;
}

enum refusal handoff_send(struct handoff *handoff, const struct handover *handover, int fd, struct ps_cause *cause)
{
	unsigned n_slots = handoff->env->n_slots;

	assert(n_slots > 0); /* a daemon has a worker */
	/* First round: workers that live. Second: any; the queue of one that died waits for its replacement. */
	for (unsigned tries = 0; tries < 2 * n_slots; tries++) {
		unsigned slot = handoff->next;
		enum scoreboard_answer answer;
		enum ps_err err;

		handoff->next = (slot + 1) % n_slots;
		if (handoff->down[slot] && tries < n_slots)
			continue;
		err = send_to(handoff, slot, handover, fd, &answer);
		if (err == PS_OK)
			return REFUSAL_NONE;
		if (err == PS_E_LIMIT) {
			ps_cause_set(cause, err,
			             answer == SCOREBOARD_FULL ? "limits.connections is reached"
			                                       : "limits.connections_per_client is reached");
			return REFUSAL_TOO_MANY_CONNECTIONS;
		}
	}
	ps_cause_set(cause, PS_E_AGAIN, "no worker takes connections at the moment");
	return REFUSAL_INTERNAL;
}
