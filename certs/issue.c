/* SPDX-License-Identifier: Apache-2.0 */
#include "issue.h"

#include <mbedtls/oid.h>
#include <mbedtls/x509_crt.h>
#include <string.h>

#include "mbed.h"
#include "portseal/text.h"

#define SERIAL_LEN 16
#define DER_CAP 12288 /* a TLS certificate message must fit 16384 bytes, its intermediates included */

#define CRITICAL 1
#define NOT_CRITICAL 0

/* 128 random bits whose first byte is not zero, so that the encoding is the shortest one (X.690, section 8.3.2). */
static enum ps_err make_serial(uint8_t serial[static SERIAL_LEN], struct ps_cause *cause)
{
	do {
		enum ps_err err = mbed_random(serial, SERIAL_LEN, cause);
		if (err != PS_OK)
			return err;
	} while (serial[0] == 0);
	return PS_OK;
}

static int set_subject(mbedtls_x509write_cert *write, const struct names *names)
{
	char subject[NAMES_SUBJECT_CAP];
	struct text text;
	text_init(&text, subject, sizeof(subject));
	names_subject(names, &text);
	return mbedtls_x509write_crt_set_subject_name(write, subject);
}

static int set_issuer(mbedtls_x509write_cert *write, const mbedtls_x509_name *name)
{
	char issuer[NAMES_SUBJECT_CAP];
	int ret = mbedtls_x509_dn_gets(issuer, sizeof(issuer), name);
	return ret < 0 ? ret : mbedtls_x509write_crt_set_issuer_name(write, issuer);
}

static int set_validity(mbedtls_x509write_cert *write, const struct stamp_span *validity)
{
	char from[STAMP_CAP];
	char until[STAMP_CAP];
	stamp_print(validity->from, from);
	stamp_print(validity->until, until);
	from[14] = '\0'; /* without the Z */
	until[14] = '\0';
	return mbedtls_x509write_crt_set_validity(write, from, until);
}

/* mbedTLS writes the list from its end: linked backwards here, it comes out in the order given. */
static int set_sans(mbedtls_x509write_cert *write, struct names *names)
{
	static const int types[] = { [SAN_DNS] = MBEDTLS_X509_SAN_DNS_NAME,
		                         [SAN_IP] = MBEDTLS_X509_SAN_IP_ADDRESS,
		                         [SAN_URI] = MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER };
	mbedtls_x509_san_list list[NAMES_SANS_MAX];
	memset(list, 0, sizeof(list));
	if (names->n_sans == 0)
		return 0;
	for (size_t i = 0; i < names->n_sans; i++) {
		struct san *san = &names->sans[i];
		mbedtls_x509_buf *value = &list[i].node.san.unstructured_name;
		list[i].node.type = types[san->kind];
		value->p = san->kind == SAN_IP ? san->address : (unsigned char *)san->text;
		value->len = san->kind == SAN_IP ? san->address_len : strlen(san->text);
		list[i].next = i == 0 ? NULL : &list[i - 1];
	}
	return mbedtls_x509write_crt_set_subject_alternative_name(write, &list[names->n_sans - 1]);
}

/* SEQUENCE { OID }, critical: whoever does not understand it must not take the certificate for the other purpose. */
static int set_key_purpose(mbedtls_x509write_cert *write, enum names_role role)
{
	const char *oid = role == ROLE_RELAY ? MBEDTLS_OID_SERVER_AUTH : MBEDTLS_OID_CLIENT_AUTH;
	const uint8_t oid_len = MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH); /* the same for both */
	uint8_t purpose[4 + MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH)] = { MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE,
		                                                               2 + oid_len, MBEDTLS_ASN1_OID, oid_len };
	memcpy(purpose + 4, oid, oid_len);
	return mbedtls_x509write_crt_set_extension(write, MBEDTLS_OID_EXTENDED_KEY_USAGE,
	                                           MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), CRITICAL, purpose,
	                                           sizeof(purpose));
}

/* Critical, and an empty SEQUENCE: cA is FALSE by default. mbedTLS's own function cannot make it critical. */
static int set_not_an_authority(mbedtls_x509write_cert *write)
{
	static const unsigned char empty_sequence[] = { MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE, 0 };
	return mbedtls_x509write_crt_set_extension(write, MBEDTLS_OID_BASIC_CONSTRAINTS,
	                                           MBEDTLS_OID_SIZE(MBEDTLS_OID_BASIC_CONSTRAINTS), CRITICAL,
	                                           empty_sequence, sizeof(empty_sequence));
}

/* The authority's own identifier, whoever made it and however (RFC 5280, section 4.2.1.1). */
static int set_authority_key_id(mbedtls_x509write_cert *write, const struct authority *authority)
{
	uint8_t id[AUTHORITY_KEY_ID_CAP];
	size_t len = authority_key_id(authority, id);
	if (len == 0)
		return 0;
	return mbedtls_x509write_crt_set_extension(write, MBEDTLS_OID_AUTHORITY_KEY_IDENTIFIER,
	                                           MBEDTLS_OID_SIZE(MBEDTLS_OID_AUTHORITY_KEY_IDENTIFIER), NOT_CRITICAL, id,
	                                           len);
}

/* Version, algorithm, serial, dates, subject, its key and that key's identifier: what every certificate has. */
static int fill_common(mbedtls_x509write_cert *write, const struct names *names, mbedtls_pk_context *key,
                       mbedtls_pk_context *issuer_key, const struct stamp_span *validity, uint8_t *serial)
{
	mbedtls_x509write_crt_set_version(write, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(write, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(write, key);
	mbedtls_x509write_crt_set_issuer_key(write, issuer_key);
	int ret = mbedtls_x509write_crt_set_serial_raw(write, serial, SERIAL_LEN);
	if (ret == 0)
		ret = set_validity(write, validity);
	if (ret == 0)
		ret = set_subject(write, names);
	if (ret == 0)
		ret = mbedtls_x509write_crt_set_subject_key_identifier(write);
	return ret;
}

static enum ps_err sign(mbedtls_x509write_cert *write, struct buf *pem, struct ps_cause *cause)
{
	uint8_t der[DER_CAP];
	int len = mbedtls_x509write_crt_der(write, der, sizeof(der), MBED_RNG);
	if (len == MBEDTLS_ERR_ASN1_BUF_TOO_SMALL)
		return ps_cause_set(cause, PS_E_LIMIT, "the certificate would exceed %d bytes: give it fewer names", DER_CAP);
	if (len < 0)
		return mbed_failed(cause, PS_E_BUG, "the certificate cannot be signed", len);
	return mbed_add_pem("CERTIFICATE", der + sizeof(der) - len, (size_t)len, pem);
}

enum ps_err issue_authority(const struct names *names, mbedtls_pk_context *key, const struct stamp_span *validity,
                            struct buf *pem, struct ps_cause *cause)
{
	uint8_t serial[SERIAL_LEN];
	char subject[NAMES_SUBJECT_CAP];
	struct text text;
	enum ps_err err = make_serial(serial, cause);
	if (err != PS_OK)
		return err;

	mbedtls_x509write_cert write;
	mbedtls_x509write_crt_init(&write);
	text_init(&text, subject, sizeof(subject));
	names_subject(names, &text);
	int ret = fill_common(&write, names, key, key, validity, serial);
	if (ret == 0)
		ret = mbedtls_x509write_crt_set_issuer_name(&write, subject);
	if (ret == 0)
		ret = mbedtls_x509write_crt_set_authority_key_identifier(&write);
	if (ret == 0) /* signs holders, no further authorities */
		ret = mbedtls_x509write_crt_set_basic_constraints(&write, 1, 0);
	if (ret == 0)
		ret = mbedtls_x509write_crt_set_key_usage(&write, MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN);
	err = ret == 0 ? sign(&write, pem, cause) : mbed_failed(cause, PS_E_BUG, "the certificate cannot be made", ret);
	mbedtls_x509write_crt_free(&write);
	return err;
}

static enum ps_err add_to_ledger(struct authority *authority, const struct issue_order *order, const uint8_t *serial,
                                 struct ps_cause *cause)
{
	struct ledger_entry entry = { .role = order->role, .validity = order->validity };
	struct text text;
	text_init(&text, entry.serial, sizeof(entry.serial));
	text_add_hex(&text, serial, SERIAL_LEN);
	memcpy(entry.name, order->names->cn, sizeof(entry.name));
	if (ledger_add(&authority->ledger, &entry) != PS_OK)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	return PS_OK;
}

enum ps_err issue_certificate(struct authority *authority, const struct issue_order *order, struct buf *pem,
                              struct ps_cause *cause)
{
	uint8_t serial[SERIAL_LEN];
	enum ps_err err = make_serial(serial, cause);
	if (err != PS_OK)
		return err;

	mbedtls_x509write_cert write;
	mbedtls_x509write_crt_init(&write);
	int ret = fill_common(&write, order->names, order->key, &authority->key, &order->validity, serial);
	if (ret == 0)
		ret = set_issuer(&write, &authority->certificate.subject);
	if (ret == 0)
		ret = set_authority_key_id(&write, authority);
	if (ret == 0)
		ret = set_not_an_authority(&write);
	if (ret == 0)
		ret = mbedtls_x509write_crt_set_key_usage(&write, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
	if (ret == 0)
		ret = set_key_purpose(&write, order->role);
	if (ret == 0)
		ret = set_sans(&write, order->names);
	err = ret == 0 ? sign(&write, pem, cause) : mbed_failed(cause, PS_E_BUG, "the certificate cannot be made", ret);
	mbedtls_x509write_crt_free(&write);
	return err == PS_OK ? add_to_ledger(authority, order, serial, cause) : err;
}
