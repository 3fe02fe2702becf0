/* SPDX-License-Identifier: Apache-2.0 */
/* The signed part of a client's certificate, from a stranger: it is signed by an authority that we trust, so that
 * everything behind the signature is reached. Who gets in must be fit to. */
#include <stdint.h>
#include <stdlib.h>

#include <mbedtls/x509_crt.h>

#include "mint_store.h"
#include "portseal/certificate.h"
#include "portseal/judge.h"

static struct mint_cert *authority;
static struct trust *trust;

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	authority = mint_ca("CN=CA");
	const char *pem = mint_pem((const struct mint_cert *[]){ authority, NULL });
	if (trust_load(mint_write(mint_directory(), "ca.crt", pem), NULL, &trust, NULL) != PS_OK)
		abort();
	atexit(mint_free_all);
	return 0;
}

static void check(mbedtls_x509_crt *leaf)
{
	struct identity *identity = NULL;
	struct verdict verdict;
	char label[IDENTITY_LABEL_MAX];

	judge_chain(trust, PURPOSE_CLIENT, leaf, MINT_NOW, &verdict, &identity);
	if (identity != NULL) {
		identity_label(identity, label);
		judge_name(identity, "relay.example.com", &(struct verdict){ .rule = 0 });
	}
	if (verdict.refusal != REFUSAL_NONE && verdict.detail.text[0] == '\0')
		abort();
	if (verdict.refusal == REFUSAL_NONE &&
	    (identity == NULL || leaf->version != 3 || mbedtls_x509_crt_get_ca_istrue(leaf) == 1 ||
	     certificate_use(leaf, PURPOSE_CLIENT) != CERTIFICATE_USE_NAMED || identity->not_before > MINT_NOW ||
	     identity->not_after < MINT_NOW))
		abort();
	identity_free(identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mbedtls_x509_crt leaf;
	size_t signed_len;

	if (size == 0 || size > 8192)
		return 0;
	uint8_t *whole = mint_sign(data, size, authority->key, MBEDTLS_MD_SHA256, false, &signed_len);
	mbedtls_x509_crt_init(&leaf);
	if (mbedtls_x509_crt_parse_der(&leaf, whole, signed_len) == 0)
		check(&leaf);
	mbedtls_x509_crt_free(&leaf);
	free(whole);
	return 0;
}
