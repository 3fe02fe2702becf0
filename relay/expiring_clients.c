/* SPDX-License-Identifier: Apache-2.0 */
#include "expiring_clients.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/expiry.h"

#define WAYS 4 /* places that a pin may take */
#define SETS (EXPIRING_CLIENTS_MAX / WAYS)

struct told {
	uint8_t pin[IDENTITY_PIN_LEN];
	int64_t at; /* 0: an empty place */
};

struct expiring_clients {
	struct told sets[SETS][WAYS];
};

enum ps_err expiring_clients_new(struct expiring_clients **clients)
{
	struct expiring_clients *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	*clients = fresh;
	return PS_OK;
}

void expiring_clients_free(struct expiring_clients *clients)
{
	free(clients);
}

/* The place of the pin, else the one of its set that was told longest ago. A pin is a hash already. */
static struct told *find(struct expiring_clients *clients, const uint8_t pin[static IDENTITY_PIN_LEN])
{
	struct told *set = clients->sets[(pin[0] | (unsigned)pin[1] << 8) % SETS];
	struct told *oldest = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].at != 0 && memcmp(set[i].pin, pin, IDENTITY_PIN_LEN) == 0)
			return &set[i];
		if (set[i].at < oldest->at)
			oldest = &set[i];
	}
	memcpy(oldest->pin, pin, IDENTITY_PIN_LEN);
	oldest->at = 0;
	return oldest;
}

bool expiring_clients_is_news(struct expiring_clients *clients, const struct identity *identity, int64_t now)
{
	struct told *told;

	if (expiry_days(identity->not_after, now) > EXPIRY_SOON_DAYS)
		return false;
	told = find(clients, identity->pin);
	if (told->at != 0 && now - told->at < EXPIRY_DAY)
		return false;
	told->at = now;
	return true;
}
