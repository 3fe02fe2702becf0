/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead -- authenticated encryption of one record at a time, by whichever provider is in force.
 *
 * A provider seals or opens one record in one call, in place, with no allocation of its own per record. The first is
 * PSA (mbedTLS); a faster one joins by another struct aead_provider and nothing above this file changes.
 */
#ifndef PORTSEAL_AEAD_H
#define PORTSEAL_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/suite.h"

struct aead_key; /* a key schedule; wiped when freed */

struct aead_provider {
	const char *name; /* "psa" */
	/* Copies the key of suite->key_len bytes. PS_E_NOMEM, PS_E_BUG. */
	enum ps_err (*key_new)(const struct suite *suite, const uint8_t *key, struct aead_key **out);
	/* Harmless on NULL. */
	void (*key_free)(struct aead_key *key);
	/* Encrypts text[0..len) in place and writes SUITE_TAG_LEN bytes behind it at text + len. */
	enum ps_err (*seal)(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
	                    size_t aad_len, uint8_t *text, size_t len);
	/* Checks the tag at text + len, decrypts text[0..len) in place; PS_E_PROTO when the tag is wrong:
	 * then text is undefined. */
	enum ps_err (*open)(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
	                    size_t aad_len, uint8_t *text, size_t len);
};

extern const struct aead_provider aead_psa;

/* The provider in force in this process. */
const struct aead_provider *aead_provider(void);

#endif
