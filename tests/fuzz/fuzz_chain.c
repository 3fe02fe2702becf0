/* SPDX-License-Identifier: Apache-2.0 */
/* A chain that a worker sends to be judged again, from a worker that was broken into. What is unpacked is what was
 * sent, and judging it lets in nobody whom the authority did not sign. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/x509_crt.h>

#include "mint_store.h"
#include "portseal/certificate.h"
#include "portseal/handover.h"
#include "portseal/judge.h"

static struct trust *trust;

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* An authority made for this run: no input can have been signed by it. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	const char *pem = mint_pem((const struct mint_cert *[]){ mint_ca("CN=CA"), NULL });
	if (trust_load(mint_write(mint_directory(), "ca.crt", pem), NULL, &trust, NULL) != PS_OK)
		abort();
	atexit(mint_free_all);
	return 0;
}

static void check(mbedtls_x509_crt *chain, const uint8_t *data, size_t size)
{
	static uint8_t again[HANDOVER_PRESENTED_MAX];
	struct identity *identity = NULL;
	struct verdict verdict;
	size_t len;

	const mbedtls_x509_crt *each[HANDOVER_PRESENTED_MAX / 2] = { NULL };
	size_t n = 0;

	for (const mbedtls_x509_crt *at = chain; at != NULL && at->raw.p != NULL; at = at->next)
		each[n++] = at;
	if (certificate_chain_pack(each, n, again, sizeof(again), &len) != PS_OK || len != size ||
	    (size > 0 && memcmp(again, data, size) != 0))
		abort();
	judge_chain(trust, PURPOSE_CLIENT, chain, MINT_NOW, &verdict, &identity);
	if (verdict.refusal == REFUSAL_NONE)
		abort();
	identity_free(identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mbedtls_x509_crt *chain = NULL;

	if (size > HANDOVER_PRESENTED_MAX)
		return 0;
	if (certificate_chain_unpack(data, size, &chain) == PS_OK)
		check(chain, data, size);
	certificate_chain_free(chain);
	return 0;
}
