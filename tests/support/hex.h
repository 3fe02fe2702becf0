/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hex -- test vectors as the RFCs print them.
 */
#ifndef PORTSEAL_TESTS_HEX_H
#define PORTSEAL_TESTS_HEX_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint8_t hex_digit(char digit)
{
	const char *digits = "0123456789abcdef";
	const char *found = strchr(digits, digit);

	assert(digit != '\0' && found != NULL);
	return (uint8_t)(found - digits);
}

/* Decodes lower-case hex without blanks; returns how many bytes it wrote. */
static inline size_t hex_decode(const char *text, uint8_t *out, size_t cap)
{
	size_t len = strlen(text) / 2;

	assert(strlen(text) % 2 == 0 && len <= cap);
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
	return len;
}

#endif
