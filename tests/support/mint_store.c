/* SPDX-License-Identifier: Apache-2.0 */
#include "mint_store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mbedtls/asn1write.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/psa_util.h>
#include <psa/crypto.h>

struct stored {
	struct stored *next;
	void *thing;
	enum mint_stored what;
};

static struct stored *store;

int mint_must(int ret, const char *what)
{
	if (ret < 0) {
		char words[128];
		mbedtls_strerror(ret, words, sizeof words);
		fprintf(stderr, "mint: %s: %s (-0x%x)\n", what, words, (unsigned)-ret);
		abort();
	}
	return ret;
}

void *mint_keep(void *thing, enum mint_stored what)
{
	struct stored *entry = malloc(sizeof *entry);

	if (entry == NULL || thing == NULL)
		abort();
	*entry = (struct stored){ .next = store, .thing = thing, .what = what };
	store = entry;
	return thing;
}

void *mint_alloc(size_t size)
{
	return mint_keep(calloc(1, size), MINT_MEMORY);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

void mint_free_all(void)
{
	while (store != NULL) {
		struct stored *entry = store;
		store = entry->next;
		if (entry->what == MINT_KEY)
			mbedtls_pk_free(entry->thing);
		else if (entry->what == MINT_CHAIN)
			mbedtls_x509_crt_free(entry->thing);
		else if (entry->what == MINT_TREE)
			(void)nftw(entry->thing, remove_one, 8, FTW_DEPTH | FTW_PHYS);
		free(entry->thing);
		free(entry);
	}
}

/* Exchanges the exponents: signing is quick then, and verifying takes as long as signing did. */
static void make_slow(mbedtls_rsa_context *rsa)
{
	mbedtls_mpi n, p, q, d, e;

	mbedtls_mpi_init(&n);
	mbedtls_mpi_init(&p);
	mbedtls_mpi_init(&q);
	mbedtls_mpi_init(&d);
	mbedtls_mpi_init(&e);
	mint_must(mbedtls_rsa_export(rsa, &n, &p, &q, &d, &e), "RSA key");
	mbedtls_rsa_free(rsa);
	mbedtls_rsa_init(rsa);
	mint_must(mbedtls_rsa_import(rsa, &n, &p, &q, &e, &d), "RSA key");
	mint_must(mbedtls_rsa_complete(rsa), "RSA key");
	mbedtls_mpi_free(&n);
	mbedtls_mpi_free(&p);
	mbedtls_mpi_free(&q);
	mbedtls_mpi_free(&d);
	mbedtls_mpi_free(&e);
}

mbedtls_pk_context *mint_key(enum mint_key_kind kind)
{
	static const mbedtls_ecp_group_id curves[] = {
		[MINT_P256] = MBEDTLS_ECP_DP_SECP256R1,
		[MINT_P384] = MBEDTLS_ECP_DP_SECP384R1,
		[MINT_P521] = MBEDTLS_ECP_DP_SECP521R1,
		[MINT_P224] = MBEDTLS_ECP_DP_SECP224R1,
	};
	mbedtls_pk_context *key = malloc(sizeof *key);
	bool rsa = kind == MINT_RSA2048 || kind == MINT_RSA1024 || kind == MINT_RSA_SLOW;

	if (key == NULL || psa_crypto_init() != PSA_SUCCESS)
		abort();
	mbedtls_pk_init(key);
	mint_must(mbedtls_pk_setup(key, mbedtls_pk_info_from_type(rsa ? MBEDTLS_PK_RSA : MBEDTLS_PK_ECKEY)), "key");
	if (rsa)
		mint_must(mbedtls_rsa_gen_key(mbedtls_pk_rsa(*key), mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE,
		                              kind == MINT_RSA1024 ? 1024 : 2048, 65537),
		          "RSA key");
	else
		mint_must(
			mbedtls_ecp_gen_key(curves[kind], mbedtls_pk_ec(*key), mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE),
			"EC key");
	if (kind == MINT_RSA_SLOW)
		make_slow(mbedtls_pk_rsa(*key));
	return mint_keep(key, MINT_KEY);
}

uint8_t *mint_sign(const uint8_t *body, size_t body_len, mbedtls_pk_context *key, mbedtls_md_type_t md, bool broken,
                   size_t *len)
{
	unsigned char hash[MBEDTLS_MD_MAX_SIZE];
	unsigned char signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
	size_t signature_len;
	size_t room = body_len + sizeof signature + 64;
	uint8_t *out = malloc(room);
	unsigned char *at = out + room;
	const char *oid;
	size_t oid_len;
	mbedtls_pk_type_t type = mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA ? MBEDTLS_PK_RSA : MBEDTLS_PK_ECDSA;

	if (out == NULL)
		abort();
	mint_must(mbedtls_md(mbedtls_md_info_from_type(md), body, body_len, hash), "hash");
	mint_must(mbedtls_pk_sign(key, md, hash, 0, signature, sizeof signature, &signature_len, mbedtls_psa_get_random,
	                          MBEDTLS_PSA_RANDOM_STATE),
	          "signature");
	if (broken)
		signature[signature_len - 1] ^= 1;
	mint_must(mbedtls_oid_get_oid_by_sig_alg(type, md, &oid, &oid_len), "signature algorithm");
	mint_must(mbedtls_asn1_write_bitstring(&at, out, signature, signature_len * 8), "DER");
	mint_must(mbedtls_asn1_write_algorithm_identifier_ext(&at, out, oid, oid_len, 0, type == MBEDTLS_PK_RSA), "DER");
	mint_must(mbedtls_asn1_write_raw_buffer(&at, out, body, body_len), "DER");
	mint_must(mbedtls_asn1_write_len(&at, out, (size_t)(out + room - at)), "DER");
	mint_must(mbedtls_asn1_write_tag(&at, out, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE), "DER");
	*len = (size_t)(out + room - at);
	memmove(out, at, *len);
	return out;
}

const char *mint_wrap_pem(const char *label, const uint8_t *der, size_t der_len)
{
	size_t room = der_len * 2 + 256;
	char *pem = mint_alloc(room);
	char begin[64], end[64];
	size_t used;

	(void)snprintf(begin, sizeof begin, "-----BEGIN %s-----\n", label);
	(void)snprintf(end, sizeof end, "-----END %s-----\n", label);
	mint_must(mbedtls_pem_write_buffer(begin, end, der, der_len, (unsigned char *)pem, room, &used), "PEM");
	return pem;
}

const char *mint_directory(void)
{
	const char *base = getenv("TMPDIR");
	char *path = malloc(256);

	if (path == NULL)
		abort();
	(void)snprintf(path, 256, "%s/portseal-test-XXXXXX", base != NULL ? base : "/tmp");
	if (mkdtemp(path) == NULL)
		mint_must(-1, path);
	return mint_keep(path, MINT_TREE);
}

const char *mint_write_mode(const char *directory, const char *name, const void *content, size_t len, unsigned mode)
{
	size_t room = strlen(directory) + strlen(name) + 2;
	char *path = mint_alloc(room);

	(void)snprintf(path, room, "%s/%s", directory, name);
	int fd = mint_must(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), path);
	if (write(fd, content, len) != (ssize_t)len || fchmod(fd, (mode_t)mode) != 0)
		mint_must(-1, path);
	close(fd);
	return path;
}

const char *mint_write(const char *directory, const char *name, const char *content)
{
	return mint_write_mode(directory, name, content, strlen(content), 0600);
}
