/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/key_schedule.h"

#include <assert.h>
#include <string.h>

#include <psa/crypto.h>

#define LABEL_PREFIX "tls13 "
#define LABEL_PREFIX_LEN (sizeof(LABEL_PREFIX) - 1)

/* struct { uint16 length; opaque label<7..255>; opaque context<0..255>; } HkdfLabel, the context empty. */
#define HKDF_LABEL_MAX (2 + 1 + LABEL_PREFIX_LEN + KEY_SCHEDULE_LABEL_MAX + 1)

static size_t hkdf_label_write(uint8_t info[static HKDF_LABEL_MAX], const char *label, size_t out_len)
{
	size_t label_len = strlen(label);
	assert(label_len <= KEY_SCHEDULE_LABEL_MAX && out_len <= UINT16_MAX);

	info[0] = (uint8_t)(out_len >> 8);
	info[1] = (uint8_t)out_len;
	info[2] = (uint8_t)(LABEL_PREFIX_LEN + label_len);
	memcpy(info + 3, LABEL_PREFIX, LABEL_PREFIX_LEN);
	memcpy(info + 3 + LABEL_PREFIX_LEN, label, label_len);
	info[3 + LABEL_PREFIX_LEN + label_len] = 0;
	return 3 + LABEL_PREFIX_LEN + label_len + 1;
}

static psa_status_t hkdf_expand(psa_algorithm_t hash, const uint8_t *secret, size_t secret_len, const uint8_t *info,
                                size_t info_len, uint8_t *out, size_t out_len)
{
	psa_key_derivation_operation_t kdf = PSA_KEY_DERIVATION_OPERATION_INIT;

	psa_status_t status = psa_key_derivation_setup(&kdf, PSA_ALG_HKDF_EXPAND(hash));
	if (status == PSA_SUCCESS)
		status = psa_key_derivation_input_bytes(&kdf, PSA_KEY_DERIVATION_INPUT_SECRET, secret, secret_len);
	if (status == PSA_SUCCESS)
		status = psa_key_derivation_input_bytes(&kdf, PSA_KEY_DERIVATION_INPUT_INFO, info, info_len);
	if (status == PSA_SUCCESS)
		status = psa_key_derivation_output_bytes(&kdf, out, out_len);
	(void)psa_key_derivation_abort(&kdf);
	return status;
}

enum ps_err key_schedule_expand(const struct suite *suite, const uint8_t *secret, const char *label, uint8_t *out,
                                size_t out_len)
{
	uint8_t info[HKDF_LABEL_MAX];
	size_t info_len = hkdf_label_write(info, label, out_len);
	psa_algorithm_t hash = suite->hash_len == 48 ? PSA_ALG_SHA_384 : PSA_ALG_SHA_256;

	psa_status_t status = psa_crypto_init();
	if (status == PSA_SUCCESS)
		status = hkdf_expand(hash, secret, suite->hash_len, info, info_len, out, out_len);
	if (status == PSA_SUCCESS)
		return PS_OK;
	return status == PSA_ERROR_INSUFFICIENT_MEMORY ? PS_E_NOMEM : PS_E_BUG;
}

enum ps_err key_schedule_traffic(const struct suite *suite, const uint8_t *secret, uint8_t key[static SUITE_KEY_MAX],
                                 uint8_t iv[static SUITE_IV_LEN])
{
	enum ps_err err = key_schedule_expand(suite, secret, "key", key, suite->key_len);
	if (err != PS_OK)
		return err;
	return key_schedule_expand(suite, secret, "iv", iv, SUITE_IV_LEN);
}

enum ps_err key_schedule_next(const struct suite *suite, const uint8_t *secret, uint8_t next[static SUITE_HASH_MAX])
{
	return key_schedule_expand(suite, secret, "traffic upd", next, suite->hash_len);
}
