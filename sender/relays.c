/* SPDX-License-Identifier: Apache-2.0 */
#include "relays.h"

#define REST_FIRST_MS 100
#define REST_MAX_MS 10000

bool relays_is_resting(const struct relays *relays, uint32_t relay, uint64_t now_ms)
{
	return relays->at[relay].n_failures > 0 && now_ms < relays->at[relay].rest_ms;
}

/* Anybody may turn to it. */
static bool is_open(const struct relays *relays, uint32_t relay, uint64_t now_ms)
{
	return !relays->at[relay].trying && !relays_is_resting(relays, relay, now_ms);
}

/* Of two that are open, or of two that are not. */
static bool is_better(const struct relays *relays, uint32_t a, uint32_t b, bool open)
{
	if (!open)
		return relays->at[a].rest_ms < relays->at[b].rest_ms;
	return relays->balance == RELAYS_LEAST && relays->at[a].outstanding < relays->at[b].outstanding;
}

uint32_t relays_choose(const struct relays *relays, uint32_t tried, uint64_t now_ms)
{
	uint32_t best = RELAYS_NONE;
	bool best_open = false;

	for (uint32_t i = 0; i < relays->n; i++) {
		const bool open = is_open(relays, i, now_ms);

		if ((tried >> i & 1) != 0 || (best_open && !open))
			continue;
		if (best == RELAYS_NONE || (open && !best_open) || is_better(relays, i, best, open)) {
			best = i;
			best_open = open;
		}
	}
	return best;
}

bool relays_is_wanted(const struct relays *relays, uint32_t relay, uint64_t now_ms)
{
	if (relays->balance == RELAYS_LEAST)
		return true;
	for (uint32_t i = 0; i < relay; i++)
		if (is_open(relays, i, now_ms) && relays->at[i].n_failures == 0)
			return false;
	return true;
}

void relays_attempt(struct relays *relays, uint32_t relay)
{
	if (relays->at[relay].n_failures > 0)
		relays->at[relay].trying = true;
}

void relays_failed(struct relays *relays, uint32_t relay, uint64_t now_ms, uint32_t chance)
{
	struct relays_one *one = &relays->at[relay];
	uint64_t rest_ms = REST_FIRST_MS;

	for (unsigned i = 0; i < one->n_failures && rest_ms < REST_MAX_MS; i++)
		rest_ms *= 2;
	if (rest_ms > REST_MAX_MS)
		rest_ms = REST_MAX_MS;
	one->n_failures++;
	one->trying = false;
	one->failed_ms = now_ms;
	one->rest_ms = now_ms + rest_ms * 3 / 4 + chance % (rest_ms / 2 + 1);
}

void relays_worked(struct relays *relays, uint32_t relay)
{
	struct relays_one *one = &relays->at[relay];

	one->n_failures = 0;
	one->trying = false;
}
