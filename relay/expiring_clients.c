/* SPDX-License-Identifier: Apache-2.0 */
#include "expiring_clients.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "portseal/expiry.h"

#define WAYS 4 /* places that a pin may take */
#define SETS (EXPIRING_CLIENTS_MAX / WAYS)
#define MINUTE 60
#define DAY_MINUTES (EXPIRY_DAY / MINUTE)
#define TRIES 8

/* Four bytes of the pin, and the minute (since 1970) when it was told; 0: empty. One word, so that of all processes that
 * tell of a client at the same moment one does. */
typedef _Atomic uint64_t told_word;

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "no process waits for another one");

struct expiring_clients {
	told_word sets[SETS][WAYS];
};

enum ps_err expiring_clients_new(struct expiring_clients **clients)
{
	void *shared =
		mmap(NULL, sizeof(struct expiring_clients), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return PS_E_NOMEM;
	*clients = shared;
	return PS_OK;
}

void expiring_clients_free(struct expiring_clients *clients)
{
	if (clients != NULL)
		munmap(clients, sizeof(*clients));
}

static uint32_t minute_of(uint64_t word)
{
	return (uint32_t)word;
}

/* The place of the tag, else the one of the set that was told longest ago; and what stands there. */
static told_word *find(told_word *set, uint32_t tag, uint64_t *word)
{
	told_word *oldest = NULL;

	for (size_t i = 0; i < WAYS; i++) {
		uint64_t seen = atomic_load(&set[i]);

		if (seen != 0 && seen >> 32 == tag) {
			*word = seen;
			return &set[i];
		}
		if (oldest == NULL || minute_of(seen) < minute_of(*word)) {
			oldest = &set[i];
			*word = seen;
		}
	}
	return oldest;
}

bool expiring_clients_is_news(struct expiring_clients *clients, const struct identity *identity, int64_t now)
{
	const uint8_t *pin = identity->pin; /* a hash already */
	told_word *set = clients->sets[(pin[0] | (unsigned)pin[1] << 8) % SETS];
	int64_t minute = now / MINUTE;
	uint32_t tag;

	if (expiry_days(identity->not_after, now) > EXPIRY_SOON_DAYS)
		return false;
	memcpy(&tag, pin + IDENTITY_PIN_LEN - sizeof(tag), sizeof(tag));
	/* Whoever loses a race looks again: the winner has told. */
	for (int i = 0; i < TRIES; i++) {
		uint64_t word;
		told_word *place = find(set, tag, &word);

		if (word != 0 && word >> 32 == tag && minute - minute_of(word) < DAY_MINUTES)
			return false;
		if (atomic_compare_exchange_strong(place, &word, (uint64_t)tag << 32 | (uint32_t)minute))
			return true;
	}
	return false;
}
