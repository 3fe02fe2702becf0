/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/digest.h"

#include <psa/crypto.h>
#include <stdlib.h>

struct digest {
	psa_hash_operation_t operation;
	psa_status_t status; /* the first failure */
};

enum ps_err digest_new(struct digest **digest)
{
	struct digest *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	made->operation = psa_hash_operation_init();
	made->status = psa_crypto_init();
	if (made->status == PSA_SUCCESS)
		made->status = psa_hash_setup(&made->operation, PSA_ALG_SHA_256);
	*digest = made;
	return PS_OK;
}

void digest_free(struct digest *digest)
{
	if (digest == NULL)
		return;
	(void)psa_hash_abort(&digest->operation);
	free(digest);
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
	if (digest->status == PSA_SUCCESS && len > 0)
		digest->status = psa_hash_update(&digest->operation, bytes, len);
}

enum ps_err digest_end(struct digest *digest, uint8_t sha256[static DIGEST_LEN])
{
	size_t len = 0;

	if (digest->status == PSA_SUCCESS)
		digest->status = psa_hash_finish(&digest->operation, sha256, DIGEST_LEN, &len);
	return digest->status == PSA_SUCCESS && len == DIGEST_LEN ? PS_OK : PS_E_BUG;
}
