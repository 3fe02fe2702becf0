/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_place -- which of the places in a table is a client's, perhaps for one service.
 *
 * FNV-1a, seeded: it spreads keys, and who wants to share a place with another would have to guess the seed.
 */
#ifndef PORTSEAL_RELAY_CLIENT_PLACE_H
#define PORTSEAL_RELAY_CLIENT_PLACE_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/identity.h"

static inline size_t client_place(uint64_t seed, const uint8_t client[static IDENTITY_PIN_LEN], const char *service,
                                  size_t n_places)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;

	for (size_t i = 0; i < IDENTITY_PIN_LEN; i++)
		hash = (hash ^ client[i]) * UINT64_C(0x100000001b3);
	for (; *service != '\0'; service++)
		hash = (hash ^ (uint8_t)*service) * UINT64_C(0x100000001b3);
	return (size_t)((hash ^ hash >> 32) % n_places);
}

#endif
