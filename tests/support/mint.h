/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mint -- makes keys, certificates and revocation lists of every kind for tests, good ones and bad ones.
 *
 * Owns:   everything it returns, until mint_free_all(). Aborts with a message when something cannot be made.
 *
 *     struct mint_cert *ca = mint_ca("CN=Test CA");
 *     struct mint_cert *alice = mint_sender(ca, "CN=alice");
 *     mint_write_files(mint_directory(), "alice", (const struct mint_cert *[]){ alice, NULL });
 */
#ifndef MINT_H
#define MINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mbedtls/md.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#define MINT_NOW INT64_C(1800000000) /* 2027-01-15T08:00:00Z: a clock for tests that inject one */
#define MINT_DAY INT64_C(86400)
#define MINT_NEVER (-1) /* next_update of a CRL: leave it out */

/* MINT_RSA_SLOW: 2048 bits, and the public exponent is as long as the private one is with others. */
enum mint_key_kind { MINT_P256, MINT_P384, MINT_P521, MINT_P224, MINT_RSA2048, MINT_RSA1024, MINT_RSA_SLOW };
mbedtls_pk_context *mint_key(enum mint_key_kind kind);

struct mint_extension {
	const char *oid;
	size_t oid_len;
	bool critical;
	const void *der;
	size_t der_len;
};
#define MINT_OID(oid_) .oid = (oid_), .oid_len = sizeof(oid_) - 1
#define MINT_DER(der_) .der = (der_), .der_len = sizeof(der_) - 1

enum mint_kind { MINT_SENDER, MINT_RELAY, MINT_CA }; /* clientAuth; serverAuth; issues */

#define MINT_PURPOSE_CLIENT 1u
#define MINT_PURPOSE_SERVER 2u
#define MINT_PURPOSE_ANY 4u
#define MINT_PURPOSE_NONE 8u /* no extended key usage at all */
#define MINT_NO_KEY_USAGE 0x10000u

struct mint_spec {       /* zero means: as usual for this kind */
	const char *subject; /* "CN=alice,OU=finance"; required; each attribute at most once */
	enum mint_kind kind;
	mbedtls_pk_context *key; /* else a fresh P-256 key */
	const char *dns[3];
	const char *uri[3];
	const char *ip[2]; /* as text */
	const char *email;
	int64_t not_before, not_after; /* else 2020 to 2049 */
	unsigned purposes;             /* MINT_PURPOSE_... */
	unsigned key_usage;            /* MBEDTLS_X509_KU_..., or MINT_NO_KEY_USAGE */
	bool has_pathlen;
	int pathlen;
	bool version_1;                    /* and so without any extension */
	mbedtls_md_type_t md;              /* else SHA-256 */
	struct mint_extension extension;   /* one more, where its oid is set */
	const void *patch_from, *patch_to; /* replaces the first such bytes before signing */
	size_t patch_len;
	bool broken_signature;
};

struct mint_cert {
	uint8_t *der;
	size_t der_len;
	char *subject;
	mbedtls_pk_context *key;
};

/* Signed by `issuer`, whatever that may be; NULL: by its own key. */
struct mint_cert *mint_certificate(const struct mint_spec *spec, const struct mint_cert *issuer);

struct mint_cert *mint_ca(const char *subject);
struct mint_cert *mint_sender(const struct mint_cert *issuer, const char *subject);
struct mint_cert *mint_relay(const struct mint_cert *issuer, const char *subject, const char *dns);

/* The list `certs` ends in NULL. The chain as mbedTLS holds it; NULL where one of them does not parse. */
mbedtls_x509_crt *mint_chain(const struct mint_cert *const *certs);
const char *mint_pem(const struct mint_cert *const *certs);
const char *mint_key_pem(const struct mint_cert *cert);

struct mint_crl_spec {
	const struct mint_cert *const *revoked; /* ends in NULL; or NULL */
	size_t n_fillers;                       /* that many more serials, of certificates that do not exist */
	int64_t this_update, next_update;       /* else 2020 to 2049 */
	struct mint_extension extension;
	struct mint_extension entry_extension; /* of each entry of `revoked` */
	mbedtls_pk_context *key;               /* signs instead of the issuer's */
	bool broken_signature;
};
const char *mint_crl(const struct mint_crl_spec *spec, const struct mint_cert *issuer); /* PEM */

/* A fresh directory of mode 0700, removed with all its content by mint_free_all. */
const char *mint_directory(void);
/* Both return the path. */
const char *mint_write(const char *directory, const char *name, const char *content);
const char *mint_write_mode(const char *directory, const char *name, const void *content, size_t len, unsigned mode);
/* DIRECTORY/NAME.crt with the chain, DIRECTORY/NAME.key (mode 0600) with the key of the first. */
void mint_write_files(const char *directory, const char *name, const struct mint_cert *const *chain);

void mint_free_all(void);

#endif
