/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/seal.h"

#include <string.h>

#include <mbedtls/base64.h>
#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509_crt.h>

static const char domain[] = "portseal-audit-head-1\n";

_Static_assert(SEAL_MAX >= MBEDTLS_PK_SIGNATURE_MAX_SIZE, "a signature fits");

static int digest(const uint8_t chain[static AUDIT_HASH_LEN], uint8_t out[static 32])
{
	uint8_t signed_bytes[sizeof(domain) - 1 + AUDIT_HASH_LEN];

	memcpy(signed_bytes, domain, sizeof(domain) - 1);
	memcpy(signed_bytes + sizeof(domain) - 1, chain, AUDIT_HASH_LEN);
	return mbedtls_sha256(signed_bytes, sizeof(signed_bytes), out, 0);
}

enum ps_err seal_sign(struct credentials *credentials, const uint8_t chain[static AUDIT_HASH_LEN],
                      uint8_t signature[static SEAL_MAX], size_t *len)
{
	mbedtls_pk_context *key = credentials_key(credentials);
	uint8_t hash[32];

	if (digest(chain, hash) != 0 || mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature, SEAL_MAX,
	                                                len, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE) != 0)
		return PS_E_BUG;
	return PS_OK;
}

enum ps_err seal_verify(mbedtls_x509_crt *certificate, const uint8_t chain[static AUDIT_HASH_LEN],
                        const uint8_t *signature, size_t len)
{
	uint8_t hash[32];

	if (digest(chain, hash) != 0 ||
	    mbedtls_pk_verify(&certificate->pk, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature, len) != 0)
		return PS_E_AUTH;
	return PS_OK;
}

void seal_pin(const mbedtls_x509_crt *certificate, char out[static IDENTITY_PIN_TEXT_MAX])
{
	uint8_t pin[IDENTITY_PIN_LEN];
	size_t written;

	if (mbedtls_sha256(certificate->pk_raw.p, certificate->pk_raw.len, pin, 0) != 0 ||
	    mbedtls_base64_encode((unsigned char *)out, IDENTITY_PIN_TEXT_MAX, &written, pin, sizeof(pin)) != 0)
		out[0] = '\0';
}
