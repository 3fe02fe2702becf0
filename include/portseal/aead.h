/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead -- authenticated encryption of one record at a time, by whichever provider is in force.
 *
 * A provider seals or opens one record in one call, in place, with no allocation of its own per record. It touches no byte
 * outside text and tag. Two are known: PSA (mbedTLS), which works everywhere, and intel-ipsec-mb, many times faster,
 * where this build and this processor have it.
 */
#ifndef PORTSEAL_AEAD_H
#define PORTSEAL_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/suite.h"

struct aead_key; /* a key and what its provider makes of it; wiped when freed */

struct aead_provider {
	const char *name; /* what an operator calls it: "psa" */
	/* Makes it usable in this process and those forked from it; again is harmless. NULL where nothing is needed.
	 * PS_E_CONFIG: not on this machine, the cause says why. PS_E_NOMEM. */
	enum ps_err (*start)(struct ps_cause *cause);
	/* For logs: the name and the variant in use, "ipsec-mb/avx512". Static text. */
	const char *(*label)(void);
	/* Copies the key of suite->key_len bytes. PS_E_NOMEM, PS_E_BUG. */
	enum ps_err (*key_new)(const struct suite *suite, const uint8_t *key, struct aead_key **out);
	/* Harmless on NULL. */
	void (*key_free)(struct aead_key *key);
	/* Encrypts text[0..len) in place and writes SUITE_TAG_LEN bytes behind it at text + len. */
	enum ps_err (*seal)(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
	                    size_t aad_len, uint8_t *text, size_t len);
	/* Checks the tag at text + len, decrypts text[0..len) in place; PS_E_PROTO when the tag is wrong:
	 * then text is undefined, but holds nothing deciphered. */
	enum ps_err (*open)(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
	                    size_t aad_len, uint8_t *text, size_t len);
};

extern const struct aead_provider aead_psa;

/* Whether `choice` is something aead_select takes: "auto" or the name of a provider, be it usable here or not. */
bool aead_is_choice(const char *choice);

/* Puts a provider in force, in this process and those forked later; keys made before stay with theirs. It must give the
 * known answers first. NULL and "auto": the fastest that can be had; where one had to be passed over because it gave
 * false answers, that is PS_OK with a cause that says so (else the cause is empty), worth a warning.
 * PS_E_CONFIG: no such choice, or not usable on this machine. PS_E_BUG: gives false answers. PS_E_NOMEM. */
enum ps_err aead_select(const char *choice, struct ps_cause *cause) PS_MUST_CHECK;

/* The provider in force: PSA until aead_select chose another. */
const struct aead_provider *aead_provider(void);

#endif
