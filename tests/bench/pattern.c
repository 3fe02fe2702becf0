/* SPDX-License-Identifier: Apache-2.0 */
/* pattern -- one period of an xorshift generator, and enough of the next to read a chunk from any place of it. */
#include "pattern.h"

#include <string.h>

#define PERIOD 65537

static uint8_t table[PERIOD + PATTERN_CHUNK];

void pattern_init(void)
{
	uint32_t word = 2463534242U;
	for (size_t i = 0; i < sizeof(table); i++) {
		word ^= word << 13;
		word ^= word >> 17;
		word ^= word << 5;
		table[i] = i < PERIOD ? (uint8_t)(word >> 24) : table[i - PERIOD];
	}
}

const uint8_t *pattern_at(uint64_t offset)
{
	return &table[offset % PERIOD];
}

bool pattern_matches(uint64_t offset, const uint8_t *bytes, size_t len)
{
	return memcmp(pattern_at(offset), bytes, len) == 0;
}
