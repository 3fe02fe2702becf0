/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_known -- what every provider must answer before it is trusted: a machine may miscompute, and a library may be
 * built for another one.
 *
 * The answers are tags of OpenSSL's over a plain pattern. A tag covers the ciphertext, and opening shows that the
 * ciphertext is what was written. The lengths take each way through code that works on many blocks at once.
 */
#include <stdbool.h>
#include <string.h>

#include "aead_private.h"
#include "portseal/buf.h"

#define LEN_MAX 1333

struct known_answer {
	enum suite_id suite;
	size_t len;
	uint8_t tag[SUITE_TAG_LEN];
};

static const struct known_answer answers[] = {
	{ SUITE_AES_128_GCM_SHA256,
	  1,
	  { 0x08, 0x64, 0x02, 0xaa, 0xa8, 0xb7, 0x65, 0x5f, 0x43, 0x70, 0x90, 0x40, 0x86, 0x99, 0x0b, 0x26 } },
	{ SUITE_AES_128_GCM_SHA256,
	  60,
	  { 0xb8, 0x35, 0xb4, 0x30, 0x69, 0xd1, 0xea, 0xce, 0x5a, 0x22, 0x0d, 0xea, 0x33, 0xc9, 0x96, 0xb5 } },
	{ SUITE_AES_128_GCM_SHA256,
	  LEN_MAX,
	  { 0x4a, 0x63, 0xef, 0x4f, 0xd2, 0xcb, 0xb8, 0xa1, 0x05, 0xac, 0x5d, 0x5b, 0x3b, 0xe1, 0x63, 0xa6 } },
	{ SUITE_AES_256_GCM_SHA384,
	  1,
	  { 0x3b, 0x85, 0x8c, 0x73, 0xa8, 0xa7, 0x74, 0x84, 0xae, 0xd5, 0xac, 0xc1, 0x44, 0xc9, 0x6f, 0x89 } },
	{ SUITE_AES_256_GCM_SHA384,
	  60,
	  { 0xa9, 0x43, 0x97, 0x87, 0xd4, 0xb9, 0x4a, 0x35, 0x5d, 0x97, 0xed, 0x76, 0xbb, 0x9e, 0x9b, 0x41 } },
	{ SUITE_AES_256_GCM_SHA384,
	  LEN_MAX,
	  { 0x39, 0x80, 0xbd, 0xef, 0xf6, 0x24, 0x7f, 0x6c, 0xab, 0xb6, 0x21, 0x00, 0xa4, 0x93, 0x3c, 0x51 } },
	{ SUITE_CHACHA20_POLY1305_SHA256,
	  1,
	  { 0xd7, 0xb5, 0x90, 0x72, 0x49, 0x3e, 0x6b, 0xc1, 0xdb, 0x81, 0xfb, 0xb3, 0x7a, 0xfc, 0x2b, 0x45 } },
	{ SUITE_CHACHA20_POLY1305_SHA256,
	  60,
	  { 0x75, 0x75, 0x44, 0xd8, 0x55, 0x4f, 0xc0, 0x41, 0x18, 0x3f, 0xb7, 0x79, 0x52, 0xe6, 0x33, 0xb7 } },
	{ SUITE_CHACHA20_POLY1305_SHA256,
	  LEN_MAX,
	  { 0x7b, 0xfe, 0x91, 0x0d, 0x5e, 0x12, 0x09, 0x57, 0xc1, 0x00, 0xa7, 0x77, 0xdb, 0x7e, 0x3a, 0x33 } },
};

static const uint8_t nonce[SUITE_IV_LEN] = { 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b };
static const uint8_t aad[] = { 0x17, 3, 3, 5, 0x45 };

static bool is_pattern(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] != (uint8_t)(i * 7))
			return false;
	return true;
}

/* Seals, compares, opens; then a changed tag must be refused. */
static bool answers_right(const struct aead_provider *provider, struct aead_key *key, const struct known_answer *answer)
{
	uint8_t text[LEN_MAX + SUITE_TAG_LEN];
	uint8_t *tag = text + answer->len;

	for (size_t i = 0; i < answer->len; i++)
		text[i] = (uint8_t)(i * 7);
	if (provider->seal(key, nonce, aad, sizeof(aad), text, answer->len) != PS_OK ||
	    memcmp(tag, answer->tag, SUITE_TAG_LEN) != 0)
		return false;
	if (provider->open(key, nonce, aad, sizeof(aad), text, answer->len) != PS_OK || !is_pattern(text, answer->len))
		return false;
	if (provider->seal(key, nonce, aad, sizeof(aad), text, answer->len) != PS_OK)
		return false;
	tag[SUITE_TAG_LEN - 1] ^= 1;
	return provider->open(key, nonce, aad, sizeof(aad), text, answer->len) == PS_E_PROTO;
}

enum ps_err aead_known_answers(const struct aead_provider *provider, struct ps_cause *cause)
{
	uint8_t bytes[SUITE_KEY_MAX];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const struct suite *suite = suite_find((uint16_t)answers[i].suite);
		struct aead_key *key = NULL;
		const enum ps_err err = provider->key_new(suite, bytes, &key);
		const bool right = err == PS_OK && answers_right(provider, key, &answers[i]);

		provider->key_free(key);
		if (err == PS_E_NOMEM)
			return ps_cause_set(cause, err, "out of memory");
		if (!right)
			return ps_cause_set(
				cause, PS_E_BUG,
				"%s gives false answers for %s with %zu bytes: this library or this processor miscomputes",
				provider->label(), suite->name, answers[i].len);
	}
	return PS_OK;
}
