/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credentials -- loads our own certificate and key, and refuses what no peer would accept or TLS 1.3 cannot use.
 *
 * Never:  leaves a copy of the key behind: the file's bytes and the parsed key are wiped.
 */
#include "portseal/credentials.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

#include "portseal/buf.h"
#include "portseal/certificate.h"
#include "portseal/file.h"

#define KEY_FILE_MAX (64u * 1024u)
#define RSA_MIN_BITS 2048

struct credentials {
	mbedtls_x509_crt chain;
	mbedtls_pk_context key;
};

/* What to do about a certificate that does not fit, in the words of our own small authority. */
static const char *how_to_make(enum peer_purpose purpose)
{
	return purpose == PURPOSE_SERVER ? "make one with: portseal-certs relay NAME"
	                                 : "make one with: portseal-certs sender NAME";
}

static enum ps_err check_shape(const char *path, const mbedtls_x509_crt *leaf, enum peer_purpose purpose,
                               struct ps_cause *cause)
{
	if (leaf->version != 3)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: an X.509 version %d certificate, expected version 3; %s", path,
		                    leaf->version, how_to_make(purpose));
	if (mbedtls_x509_crt_get_ca_istrue(leaf) == 1)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "%s: its first certificate is an authority (CA:TRUE), expected our own first; %s", path,
		                    how_to_make(purpose));
	if (certificate_use(leaf, purpose) != CERTIFICATE_USE_NAMED)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: not issued for %s (extended key usage); %s", path,
		                    certificate_purpose_name(purpose), how_to_make(purpose));
	if (mbedtls_x509_crt_check_key_usage(leaf, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: its key usage lacks digitalSignature; %s", path,
		                    how_to_make(purpose));
	return PS_OK;
}

static enum ps_err check_dates(const char *path, const mbedtls_x509_crt *leaf, int64_t now, struct ps_cause *cause)
{
	char date[CERTIFICATE_DATE_MAX];
	int64_t from = certificate_time(&leaf->valid_from);
	int64_t to = certificate_time(&leaf->valid_to);

	if (now > to) {
		certificate_date(to, date);
		return ps_cause_set(cause, PS_E_CONFIG, "%s: expired on %s; renew it", path, date);
	}
	if (now < from) {
		certificate_date(from, date);
		return ps_cause_set(cause, PS_E_CONFIG, "%s: not valid before %s; is this machine's clock right?", path, date);
	}
	return PS_OK;
}

/* Can a CertificateVerify of TLS 1.3 be made with this key (RFC 8446, section 4.2.3)? */
static bool is_usable_by_tls(const mbedtls_pk_context *key)
{
	if (mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA)
		return mbedtls_pk_get_bitlen(key) >= RSA_MIN_BITS;
	if (mbedtls_pk_get_type(key) != MBEDTLS_PK_ECKEY)
		return false;
	mbedtls_ecp_group_id curve = mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(*key));
	return curve == MBEDTLS_ECP_DP_SECP256R1 || curve == MBEDTLS_ECP_DP_SECP384R1 || curve == MBEDTLS_ECP_DP_SECP521R1;
}

static enum ps_err key_failed(const char *path, int ret, struct ps_cause *cause)
{
	char words[128];

	if (ret == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || ret == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "%s: the key is encrypted with a password, which cannot be used here; "
		                    "write it in the clear with: openssl pkey -in %s -out NEW.key",
		                    path, path);
	mbedtls_strerror(ret, words, sizeof words);
	return ps_cause_set(cause, PS_E_CONFIG, "%s: not a private key in PEM or DER that can be used (%s)", path, words);
}

static enum ps_err read_key(const char *path, mbedtls_pk_context *key, struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	enum ps_err err = file_check_private(path, cause);

	if (err == PS_OK)
		err = file_read(path, KEY_FILE_MAX, &file, cause);
	if (err == PS_OK && buf_len(&file) == 0)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: empty file, expected a private key", path);
	if (err == PS_OK) {
		bool pem = strstr((const char *)buf_front(&file), "-----BEGIN ") != NULL;
		int ret = mbedtls_pk_parse_key(key, buf_front(&file), buf_len(&file) + (pem ? 1 : 0), NULL, 0,
		                               mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
		if (ret != 0)
			err = key_failed(path, ret, cause);
		else if (!is_usable_by_tls(key))
			err = ps_cause_set(cause, PS_E_CONFIG,
			                   "%s: a key of %zu bits that TLS 1.3 cannot use here, "
			                   "expected EC P-256, P-384, P-521 or RSA of at least %d bits",
			                   path, mbedtls_pk_get_bitlen(key), RSA_MIN_BITS);
	}
	buf_release(&file); /* wipes it */
	return err;
}

static enum ps_err load(struct credentials *credentials, const char *certificate_path, const char *key_path,
                        enum peer_purpose purpose, struct ps_cause *cause)
{
	enum ps_err err;

	/* Harmless when repeated; the random numbers below come from there. */
	if (psa_crypto_init() != PSA_SUCCESS)
		return ps_cause_set(cause, PS_E_BUG, "the cryptographic library cannot start");
	err = certificate_read(certificate_path, &credentials->chain, cause);
	if (err == PS_OK)
		err = read_key(key_path, &credentials->key, cause);
	if (err == PS_OK && purpose == PURPOSE_SERVER)
		err = check_shape(certificate_path, &credentials->chain, purpose, cause);
	if (err == PS_OK && mbedtls_pk_check_pair(&credentials->chain.pk, &credentials->key, mbedtls_psa_get_random,
	                                          MBEDTLS_PSA_RANDOM_STATE) != 0)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: the key does not belong to the certificate in %s", key_path,
		                   certificate_path);
	if (err == PS_OK && purpose == PURPOSE_SERVER)
		err = check_dates(certificate_path, &credentials->chain, (int64_t)time(NULL), cause);
	return err;
}

enum ps_err credentials_load(const char *certificate_path, const char *key_path, enum peer_purpose purpose,
                             struct credentials **credentials, struct ps_cause *cause)
{
	struct credentials *fresh = calloc(1, sizeof *fresh);
	enum ps_err err;

	if (fresh == NULL)
		return PS_E_NOMEM;
	mbedtls_x509_crt_init(&fresh->chain);
	mbedtls_pk_init(&fresh->key);
	err = load(fresh, certificate_path, key_path, purpose, cause);
	if (err != PS_OK) {
		credentials_free(fresh);
		return err;
	}
	*credentials = fresh;
	return PS_OK;
}

void credentials_free(struct credentials *credentials)
{
	if (credentials == NULL)
		return;
	mbedtls_pk_free(&credentials->key); /* wipes it */
	mbedtls_x509_crt_free(&credentials->chain);
	free(credentials);
}

mbedtls_x509_crt *credentials_chain(struct credentials *credentials)
{
	return &credentials->chain;
}

mbedtls_pk_context *credentials_key(struct credentials *credentials)
{
	return &credentials->key;
}

int64_t credentials_not_after(const struct credentials *credentials)
{
	return certificate_time(&credentials->chain.valid_to);
}
