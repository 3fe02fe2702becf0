/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_psa -- the AEAD of mbedTLS through PSA: works everywhere, and is the slowest.
 *
 * The key lives in PSA's key store, which wipes it on destruction.
 */
#include "portseal/aead.h"

#include <stdbool.h>
#include <stdlib.h>

#include <psa/crypto.h>

struct aead_key {
	psa_key_id_t id;
	psa_algorithm_t algorithm;
};

static enum ps_err from_psa(psa_status_t status)
{
	switch (status) {
	case PSA_SUCCESS:
		return PS_OK;
	case PSA_ERROR_INVALID_SIGNATURE:
		return PS_E_PROTO;
	case PSA_ERROR_INSUFFICIENT_MEMORY:
		return PS_E_NOMEM;
	default:
		return PS_E_BUG;
	}
}

static psa_status_t import(const struct suite *suite, const uint8_t *bytes, struct aead_key *key)
{
	bool chacha = suite->id == SUITE_CHACHA20_POLY1305_SHA256;
	psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;

	key->algorithm = chacha ? PSA_ALG_CHACHA20_POLY1305 : PSA_ALG_GCM;
	psa_set_key_type(&attributes, chacha ? PSA_KEY_TYPE_CHACHA20 : PSA_KEY_TYPE_AES);
	psa_set_key_algorithm(&attributes, key->algorithm);
	psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_ENCRYPT | PSA_KEY_USAGE_DECRYPT);

	psa_status_t status = psa_crypto_init();
	if (status == PSA_SUCCESS)
		status = psa_import_key(&attributes, bytes, suite->key_len, &key->id);
	return status;
}

static enum ps_err psa_key_new(const struct suite *suite, const uint8_t *bytes, struct aead_key **out)
{
	struct aead_key *key = calloc(1, sizeof(*key));
	if (key == NULL)
		return PS_E_NOMEM;

	psa_status_t status = import(suite, bytes, key);
	if (status != PSA_SUCCESS) {
		free(key);
		return from_psa(status);
	}
	*out = key;
	return PS_OK;
}

static void psa_key_free(struct aead_key *key)
{
	if (key == NULL)
		return;
	(void)psa_destroy_key(key->id);
	free(key);
}

/* PSA takes the same buffer as input and output: it works on copies, unless built to trust its callers, and then both
 * GCM and ChaCha20-Poly1305 allow the two to be equal. */
static enum ps_err psa_seal(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
                            size_t aad_len, uint8_t *text, size_t len)
{
	size_t sealed_len;

	return from_psa(psa_aead_encrypt(key->id, key->algorithm, nonce, SUITE_IV_LEN, aad, aad_len, text, len, text,
	                                 len + SUITE_TAG_LEN, &sealed_len));
}

static enum ps_err psa_open(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
                            size_t aad_len, uint8_t *text, size_t len)
{
	size_t opened_len;

	return from_psa(psa_aead_decrypt(key->id, key->algorithm, nonce, SUITE_IV_LEN, aad, aad_len, text,
	                                 len + SUITE_TAG_LEN, text, len, &opened_len));
}

static const char *psa_label(void)
{
	return "psa";
}

const struct aead_provider aead_psa = {
	.name = "psa",
	.label = psa_label,
	.key_new = psa_key_new,
	.key_free = psa_key_free,
	.seal = psa_seal,
	.open = psa_open,
};
