/* SPDX-License-Identifier: Apache-2.0 */
#include "crl.h"

#include <limits.h>
#include <mbedtls/asn1write.h>
#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <stdlib.h>
#include <string.h>

#include "mbed.h"

#define FRAME_BYTES 4096   /* everything but the entries: names, extensions, signature */
#define BYTES_PER_ENTRY 96 /* serial 22, date 17, reason 16, tags */
#define SEQUENCE (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)
#define VERSION_2 1

/* Where DER is being written: from the end of the storage to its start. */
struct der {
	uint8_t *at;
	uint8_t *start;
};

static int write_time(struct der *der, int64_t moment)
{
	char stamp[STAMP_CAP];
	stamp_print(moment, stamp);
	bool utc_time = strcmp(stamp, "2050") < 0; /* RFC 5280, section 5.1.2.4 */
	const char *text = utc_time ? stamp + 2 : stamp;
	int len = mbedtls_asn1_write_raw_buffer(&der->at, der->start, (const unsigned char *)text, strlen(text));
	return mbed_wrap(&der->at, der->start, utc_time ? MBEDTLS_ASN1_UTC_TIME : MBEDTLS_ASN1_GENERALIZED_TIME, len);
}

static int write_algorithm(struct der *der, mbedtls_pk_context *key)
{
	const char *oid = NULL;
	size_t oid_len = 0;
	bool rsa = mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA;
	int ret =
		mbedtls_oid_get_oid_by_sig_alg(rsa ? MBEDTLS_PK_RSA : MBEDTLS_PK_ECDSA, MBEDTLS_MD_SHA256, &oid, &oid_len);
	if (ret != 0)
		return ret;
	return mbedtls_asn1_write_algorithm_identifier_ext(&der->at, der->start, oid, oid_len, 0, rsa);
}

/* Extension { oid, value } where `len` bytes of value have been written already. */
static int finish_extension(struct der *der, const char *oid, size_t oid_len, int len)
{
	len = mbed_wrap(&der->at, der->start, MBEDTLS_ASN1_OCTET_STRING, len);
	len = mbed_sum(len, mbedtls_asn1_write_oid(&der->at, der->start, oid, oid_len));
	return mbed_wrap(&der->at, der->start, SEQUENCE, len);
}

/* [0] { cRLNumber, authorityKeyIdentifier } */
static int write_extensions(struct der *der, const struct authority *authority)
{
	uint8_t id[AUTHORITY_KEY_ID_CAP];
	size_t id_len = authority_key_id(authority, id);
	int len = 0;
	if (id_len > 0) {
		len = mbedtls_asn1_write_raw_buffer(&der->at, der->start, id, id_len);
		len = finish_extension(der, MBEDTLS_OID_AUTHORITY_KEY_IDENTIFIER,
		                       MBEDTLS_OID_SIZE(MBEDTLS_OID_AUTHORITY_KEY_IDENTIFIER), len);
	}
	int number = mbedtls_asn1_write_int(&der->at, der->start, (int)authority->ledger.crl_number);
	number = finish_extension(der, MBEDTLS_OID_CRL_NUMBER, MBEDTLS_OID_SIZE(MBEDTLS_OID_CRL_NUMBER), number);
	len = mbed_wrap(&der->at, der->start, SEQUENCE, mbed_sum(len, number));
	return mbed_wrap(&der->at, der->start, MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_ASN1_CONSTRUCTED, len);
}

static uint8_t hex_digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static int write_serial(struct der *der, const char *hex)
{
	uint8_t serial[LEDGER_SERIAL_CAP / 2 + 1] = { 0 }; /* begins with a zero, for serials with the first bit set */
	size_t n = strlen(hex) / 2;
	for (size_t i = 0; i < n; i++)
		serial[i + 1] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	bool positive = (serial[1] & 0x80) == 0;
	int len = mbedtls_asn1_write_raw_buffer(&der->at, der->start, serial + positive, n + !positive);
	return mbed_wrap(&der->at, der->start, MBEDTLS_ASN1_INTEGER, len);
}

/* revokedCertificate { serial, date, { reason } }; "unspecified" is said by saying nothing (section 5.3.1). */
static int write_entry(struct der *der, const struct ledger_entry *entry)
{
	int len = 0;
	if (entry->revoked->number != 0) {
		len = mbedtls_asn1_write_enum(&der->at, der->start, entry->revoked->number);
		len = finish_extension(der, MBEDTLS_OID_ID_CE "\x15", MBEDTLS_OID_SIZE(MBEDTLS_OID_ID_CE "\x15"), len);
		len = mbed_wrap(&der->at, der->start, SEQUENCE, len);
	}
	len = mbed_sum(len, write_time(der, entry->revoked_at));
	len = mbed_sum(len, write_serial(der, entry->serial));
	return mbed_wrap(&der->at, der->start, SEQUENCE, len);
}

static int write_entries(struct der *der, const struct ledger *ledger)
{
	int len = 0;
	for (size_t i = ledger->n_entries; len >= 0 && i > 0; i--) {
		if (ledger->entries[i - 1].revoked != NULL)
			len = mbed_sum(len, write_entry(der, &ledger->entries[i - 1]));
	}
	return len == 0 ? 0 : mbed_wrap(&der->at, der->start, SEQUENCE, len); /* absent, never empty */
}

/* TBSCertList */
static int write_body(struct der *der, struct authority *authority, const struct stamp_span *validity)
{
	int len = write_extensions(der, authority);
	len = mbed_sum(len, write_entries(der, &authority->ledger));
	len = mbed_sum(len, write_time(der, validity->until));
	len = mbed_sum(len, write_time(der, validity->from));
	const mbedtls_x509_buf *issuer = &authority->certificate.subject_raw;
	len = mbed_sum(len, mbedtls_asn1_write_raw_buffer(&der->at, der->start, issuer->p, issuer->len));
	len = mbed_sum(len, write_algorithm(der, &authority->key));
	len = mbed_sum(len, mbedtls_asn1_write_int(&der->at, der->start, VERSION_2));
	return mbed_wrap(&der->at, der->start, SEQUENCE, len);
}

/* CertificateList around the body that is at the end of the storage: the signature goes where room was left for it. */
static int write_signed(struct der *der, mbedtls_pk_context *key, const uint8_t *body, size_t body_len)
{
	uint8_t hash[32];
	uint8_t signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
	size_t signature_len = 0;
	int ret = mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), body, body_len, hash);
	if (ret == 0)
		ret = mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, sizeof(hash), signature, sizeof(signature), &signature_len,
		                      MBED_RNG);
	if (ret != 0)
		return ret;
	int len = mbedtls_asn1_write_bitstring(&der->at, der->start, signature, signature_len * 8);
	len = mbed_sum(len, write_algorithm(der, key));
	len = mbed_sum(len, mbedtls_asn1_write_raw_buffer(&der->at, der->start, body, body_len));
	return mbed_wrap(&der->at, der->start, SEQUENCE, len);
}

enum ps_err crl_print(struct authority *authority, const struct stamp_span *validity, struct buf *pem,
                      struct ps_cause *cause)
{
	if (authority->ledger.crl_number >= INT_MAX)
		return ps_cause_set(cause, PS_E_LIMIT, "the CRL number cannot be raised any further");
	authority->ledger.crl_number++;

	enum ps_err err = PS_E_NOMEM;
	size_t cap = FRAME_BYTES + authority->ledger.n_entries * BYTES_PER_ENTRY;
	uint8_t *body = malloc(cap);
	uint8_t *whole = malloc(cap + FRAME_BYTES);
	if (body == NULL || whole == NULL)
		goto done;

	struct der inner = { .at = body + cap, .start = body };
	struct der outer = { .at = whole + cap + FRAME_BYTES, .start = whole };
	int len = write_body(&inner, authority, validity);
	if (len >= 0)
		len = write_signed(&outer, &authority->key, inner.at, (size_t)len);
	err = len < 0 ? mbed_failed(cause, PS_E_BUG, "the CRL cannot be written", len)
	              : mbed_add_pem("X509 CRL", outer.at, (size_t)len, pem);
done:
	free(body);
	free(whole);
	return err;
}
