/* SPDX-License-Identifier: Apache-2.0 */
#include "key.h"

#include <mbedtls/asn1write.h>
#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/rsa.h>
#include <stdbool.h>
#include <string.h>

#include "mbed.h"
#include "portseal/file.h"

#define DER_CAP 8192 /* an RSA key of 8192 bits takes about 4800 bytes */
#define FILE_MAX_BYTES 65536
#define SALT_LEN 16
#define IV_LEN 16
#define ITERATIONS 600000 /* about half a second; what OWASP asks of PBKDF2 with SHA-256 since 2023 */
#define RSA_MIN_BITS 2048

#define SEQUENCE (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)

enum ps_err key_generate(mbedtls_pk_context *key, struct ps_cause *cause)
{
	int ret = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
	if (ret == 0)
		ret = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), MBED_RNG);
	return ret == 0 ? PS_OK : mbed_failed(cause, PS_E_BUG, "a key cannot be made", ret);
}

/* PrivateKeyInfo of a P-256 key, at the end of der[0..DER_CAP): returns its length or a negative code. */
static int write_pkcs8(const mbedtls_pk_context *key, uint8_t *der)
{
	uint8_t *at = der + DER_CAP;
	int len = mbedtls_pk_write_key_der(key, der, DER_CAP); /* ECPrivateKey, at the end of the buffer */
	if (len < 0)
		return len;
	at -= len;
	len = mbed_wrap(&at, der, MBEDTLS_ASN1_OCTET_STRING, len);

	/* AlgorithmIdentifier { id-ecPublicKey, prime256v1 } (RFC 5480, section 2.1.1) */
	int algorithm =
		mbedtls_asn1_write_oid(&at, der, MBEDTLS_OID_EC_GRP_SECP256R1, MBEDTLS_OID_SIZE(MBEDTLS_OID_EC_GRP_SECP256R1));
	algorithm = mbed_sum(algorithm, mbedtls_asn1_write_oid(&at, der, MBEDTLS_OID_EC_ALG_UNRESTRICTED,
	                                                       MBEDTLS_OID_SIZE(MBEDTLS_OID_EC_ALG_UNRESTRICTED)));
	len = mbed_sum(len, mbed_wrap(&at, der, SEQUENCE, algorithm));
	len = mbed_sum(len, mbedtls_asn1_write_int(&at, der, 0));
	return mbed_wrap(&at, der, SEQUENCE, len);
}

/* PBES2-params (RFC 8018, appendix A.4), at the end of out[0..cap): returns the length or a negative code. */
static int write_pbes2(const uint8_t *salt, const uint8_t *iv, uint8_t *out, size_t cap)
{
	uint8_t *at = out + cap;
	int cipher = mbedtls_asn1_write_octet_string(&at, out, iv, IV_LEN);
	cipher = mbed_sum(
		cipher, mbedtls_asn1_write_oid(&at, out, MBEDTLS_OID_AES_256_CBC, MBEDTLS_OID_SIZE(MBEDTLS_OID_AES_256_CBC)));
	int len = mbed_wrap(&at, out, SEQUENCE, cipher);

	int kdf = mbedtls_asn1_write_algorithm_identifier(&at, out, MBEDTLS_OID_HMAC_SHA256,
	                                                  MBEDTLS_OID_SIZE(MBEDTLS_OID_HMAC_SHA256), 0);
	kdf = mbed_sum(kdf, mbedtls_asn1_write_int(&at, out, ITERATIONS));
	kdf = mbed_sum(kdf, mbedtls_asn1_write_octet_string(&at, out, salt, SALT_LEN));
	kdf = mbed_wrap(&at, out, SEQUENCE, kdf);
	kdf = mbed_sum(
		kdf, mbedtls_asn1_write_oid(&at, out, MBEDTLS_OID_PKCS5_PBKDF2, MBEDTLS_OID_SIZE(MBEDTLS_OID_PKCS5_PBKDF2)));
	len = mbed_sum(len, mbed_wrap(&at, out, SEQUENCE, kdf));
	return mbed_wrap(&at, out, SEQUENCE, len);
}

/* EncryptedPrivateKeyInfo (RFC 5958, section 3) around plain[0..plain_len), at the end of der[0..DER_CAP). */
static int write_encrypted(const uint8_t *plain, size_t plain_len, const struct buf *password, uint8_t *der)
{
	uint8_t random[SALT_LEN + IV_LEN];
	uint8_t parameters[128];
	uint8_t sealed[DER_CAP];
	size_t sealed_len = 0;
	int ret = mbedtls_psa_get_random(MBEDTLS_PSA_RANDOM_STATE, random, sizeof(random));
	if (ret != 0)
		return ret;
	int parameters_len = write_pbes2(random, random + SALT_LEN, parameters, sizeof(parameters));
	if (parameters_len < 0)
		return parameters_len;

	uint8_t *at = parameters + sizeof(parameters) - parameters_len;
	mbedtls_asn1_buf pbes2 = { .tag = at[0], .len = (size_t)parameters_len - 2, .p = at + 2 };
	if (at[1] >= 0x80) /* never with these parameters: the length takes one byte */
		return MBEDTLS_ERR_ASN1_INVALID_LENGTH;
	ret = mbedtls_pkcs5_pbes2_ext(&pbes2, MBEDTLS_PKCS5_ENCRYPT, buf_front(password), buf_len(password), plain,
	                              plain_len, sealed, sizeof(sealed), &sealed_len);
	if (ret != 0)
		return ret;

	uint8_t *out = der + DER_CAP;
	int len = mbedtls_asn1_write_octet_string(&out, der, sealed, sealed_len);
	int algorithm = mbedtls_asn1_write_raw_buffer(&out, der, at, (size_t)parameters_len);
	algorithm = mbed_sum(algorithm, mbedtls_asn1_write_oid(&out, der, MBEDTLS_OID_PKCS5_PBES2,
	                                                       MBEDTLS_OID_SIZE(MBEDTLS_OID_PKCS5_PBES2)));
	len = mbed_sum(len, mbed_wrap(&out, der, SEQUENCE, algorithm));
	return mbed_wrap(&out, der, SEQUENCE, len);
}

enum ps_err key_print(const mbedtls_pk_context *key, const struct buf *password, struct buf *pem,
                      struct ps_cause *cause)
{
	uint8_t der[DER_CAP];
	uint8_t encrypted[DER_CAP];
	enum ps_err err = PS_OK;
	int len = write_pkcs8(key, der);
	if (len >= 0 && password == NULL) {
		err = mbed_add_pem("PRIVATE KEY", der + sizeof(der) - len, (size_t)len, pem);
	} else if (len >= 0) {
		len = write_encrypted(der + sizeof(der) - len, (size_t)len, password, encrypted);
		if (len >= 0)
			err = mbed_add_pem("ENCRYPTED PRIVATE KEY", encrypted + sizeof(encrypted) - len, (size_t)len, pem);
	}
	ps_wipe(der, sizeof(der));
	if (len < 0)
		return mbed_failed(cause, PS_E_BUG, "a key cannot be written", len);
	return err == PS_OK ? PS_OK : ps_cause_set(cause, err, "a key cannot be written: %s", ps_err_text(err));
}

enum ps_err key_read_password(const char *path, struct buf *password, struct ps_cause *cause)
{
	enum ps_err err = file_check_private(path, cause);
	if (err == PS_OK)
		err = file_read(path, FILE_MAX_BYTES, password, cause);
	if (err != PS_OK)
		return err == PS_E_IO ? PS_E_CONFIG : err;
	size_t len = strcspn((const char *)buf_front(password), "\r\n");
	if (len == 0 || (len < buf_len(password) && buf_front(password)[len] == '\0')) {
		buf_release(password);
		return ps_cause_set(cause, PS_E_CONFIG, "%s: its first line, the password, is empty or not text", path);
	}
	password->end = password->start + len;
	return PS_OK;
}

/* The words for what mbedTLS said of the key in `path`. */
static enum ps_err explain_unread(const char *path, int code, struct ps_cause *cause)
{
	if (code == MBEDTLS_ERR_PK_PASSWORD_REQUIRED)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: the key is encrypted: give --password-file", path);
	if (code == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: the password does not open the key", path);
	return mbed_failed(cause, PS_E_CONFIG, path, code);
}

enum ps_err key_read(const char *path, const struct buf *password, mbedtls_pk_context *key, struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	enum ps_err err = file_check_private(path, cause);
	if (err == PS_OK)
		err = file_read(path, FILE_MAX_BYTES, &file, cause);
	if (err != PS_OK) {
		err = err == PS_E_IO ? PS_E_CONFIG : err;
		goto done;
	}

	const uint8_t *secret = password == NULL ? NULL : buf_front(password);
	size_t secret_len = password == NULL ? 0 : buf_len(password);
	int ret = mbedtls_pk_parse_key(key, buf_front(&file), buf_len(&file) + 1, secret, secret_len, MBED_RNG);
	if (ret != 0)
		err = explain_unread(path, ret, cause);
done:
	buf_release(&file);
	return err;
}

static bool is_ec(const mbedtls_pk_context *key)
{
	return mbedtls_pk_get_type(key) == MBEDTLS_PK_ECKEY || mbedtls_pk_get_type(key) == MBEDTLS_PK_ECDSA;
}

void key_describe(const mbedtls_pk_context *key, struct text *out)
{
	unsigned bits = (unsigned)mbedtls_pk_get_bitlen(key);
	if (!is_ec(key)) {
		text_addf(out, "%s %u", mbedtls_pk_get_name(key), bits);
		return;
	}
	mbedtls_ecp_group_id group = mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(*key));
	if (group == MBEDTLS_ECP_DP_SECP256R1 || group == MBEDTLS_ECP_DP_SECP384R1 || group == MBEDTLS_ECP_DP_SECP521R1)
		text_addf(out, "P-%u", bits);
	else
		text_addf(out, "EC %u", bits);
}

enum ps_err key_check_strength(const mbedtls_pk_context *key, struct ps_cause *cause)
{
	char kind[64];
	struct text text;
	text_init(&text, kind, sizeof(kind));
	key_describe(key, &text);
	bool strong_rsa = mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA && mbedtls_pk_get_bitlen(key) >= RSA_MIN_BITS;
	if (strong_rsa || strncmp(kind, "P-", 2) == 0)
		return PS_OK;
	return ps_cause_set(
		cause, PS_E_CONFIG,
		"a key of type %s is too weak or not for TLS: use P-256, P-384, P-521 or RSA of 2048 bits and more", kind);
}
