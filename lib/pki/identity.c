/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity -- copies the names out of a certificate, after looking at every byte of them.
 *
 * Never:  keeps a pointer into the certificate, or lets a NUL or control byte through.
 */
#include "portseal/identity.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/asn1.h>
#include <mbedtls/base64.h>
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509.h>
#include <mbedtls/x509_crt.h>

#include "portseal/certificate.h"
#include "portseal/text.h"

#define NAMES_MAX 256
#define DN_TEXT_MAX 4096

static const char *const kind_names[] = {
	[IDENTITY_CN] = "CN",   [IDENTITY_OU] = "OU", [IDENTITY_DNS] = "DNS",
	[IDENTITY_URI] = "URI", [IDENTITY_IP] = "IP", [IDENTITY_EMAIL] = "email",
};

const char *identity_kind_name(enum identity_kind kind)
{
	return kind_names[kind];
}

void identity_pin_text(const struct identity *identity, char out[static IDENTITY_PIN_TEXT_MAX])
{
	size_t written;

	if (mbedtls_base64_encode((unsigned char *)out, IDENTITY_PIN_TEXT_MAX, &written, identity->pin,
	                          sizeof identity->pin) != 0)
		out[0] = '\0';
}

/* The length of the well-formed UTF-8 sequence at `at` (RFC 3629: no overlong forms, surrogates or beyond U+10FFFF),
 * or 0. C1 controls count as malformed: they are controls. */
static size_t utf8_sequence(const unsigned char *at, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0xa0, 0x800, 0x10000 };
	size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	if (len <= 1)
		return len;
	if (len > left)
		return 0;
	uint32_t point = at[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (at[i] & 0x3fu);
	}
	if (point < least[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return len;
}

static bool is_clean_utf8(const unsigned char *at, size_t len)
{
	while (len > 0) {
		size_t step = utf8_sequence(at, len);
		if (step == 0 || at[0] < 0x20 || at[0] == 0x7f)
			return false;
		at += step;
		len -= step;
	}
	return true;
}

bool identity_is_name(const void *bytes, size_t len)
{
	return len > 0 && is_clean_utf8(bytes, len);
}

/* dNSName, URI and rfc822Name are IA5Strings, and none of them can hold a space. */
static bool is_clean_ascii(const unsigned char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (at[i] <= 0x20 || at[i] >= 0x7f)
			return false;
	}
	return true;
}

static enum ps_err add_name(struct identity *identity, enum identity_kind kind, const void *value, size_t len,
                            struct ps_cause *cause)
{
	if (identity->n_names == NAMES_MAX)
		return ps_cause_set(cause, PS_E_PROTO, "the certificate has more than %d names", NAMES_MAX);
	if (identity->names == NULL)
		identity->names = calloc(NAMES_MAX, sizeof *identity->names);
	if (identity->names == NULL)
		return PS_E_NOMEM;
	char *copy = malloc(len + 1);
	if (copy == NULL)
		return PS_E_NOMEM;
	if (len > 0)
		memcpy(copy, value, len);
	copy[len] = '\0';
	identity->names[identity->n_names++] = (struct identity_name){ .kind = kind, .len = len, .value = copy };
	return PS_OK;
}

static enum ps_err unclean(const char *what, const mbedtls_x509_buf *value, struct ps_cause *cause)
{
	char shown[CERTIFICATE_NAME_MAX];
	struct text text;

	text_init(&text, shown, sizeof shown);
	text_add_escaped(&text, value->p, value->len);
	return ps_cause_set(cause, PS_E_PROTO, "the certificate's %s \"%s\" is empty or holds a byte that no name has",
	                    what, shown);
}

static enum ps_err add_attribute(struct identity *identity, enum identity_kind kind, const mbedtls_x509_buf *value,
                                 struct ps_cause *cause)
{
	/* BMPString and UniversalString are not UTF-8, and hold NUL bytes in practice: refused like them. */
	if (value->tag == MBEDTLS_ASN1_BMP_STRING || value->tag == MBEDTLS_ASN1_UNIVERSAL_STRING || value->len == 0)
		return unclean(identity_kind_name(kind), value, cause);
	return add_name(identity, kind, value->p, value->len, cause);
}

static bool is_plain_string(int tag)
{
	return tag == MBEDTLS_ASN1_UTF8_STRING || tag == MBEDTLS_ASN1_PRINTABLE_STRING || tag == MBEDTLS_ASN1_IA5_STRING;
}

static bool is_attribute(const mbedtls_x509_name *attribute, const char *oid)
{
	return attribute->oid.len == MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN) &&
	       memcmp(attribute->oid.p, oid, attribute->oid.len) == 0;
}

static enum ps_err add_subject(struct identity *identity, const mbedtls_x509_crt *leaf, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;

	for (const mbedtls_x509_name *at = &leaf->subject; at != NULL && err == PS_OK; at = at->next) {
		bool cn = is_attribute(at, MBEDTLS_OID_AT_CN);
		bool ou = is_attribute(at, MBEDTLS_OID_AT_ORG_UNIT);

		if ((cn || ou || is_plain_string(at->val.tag)) && !is_clean_utf8(at->val.p, at->val.len))
			err = unclean(cn ? "CN" : ou ? "OU" : "subject", &at->val, cause);
		else if (cn || ou)
			err = add_attribute(identity, cn ? IDENTITY_CN : IDENTITY_OU, &at->val, cause);
	}
	return err;
}

static enum ps_err add_ip(struct identity *identity, const mbedtls_x509_buf *address, struct ps_cause *cause)
{
	char shown[INET6_ADDRSTRLEN];
	int family = address->len == 4 ? AF_INET : AF_INET6;

	if (address->len != 4 && address->len != 16)
		return ps_cause_set(cause, PS_E_PROTO, "the certificate has an IP address of %zu bytes", address->len);
	if (inet_ntop(family, address->p, shown, sizeof shown) == NULL)
		return PS_E_BUG;
	return add_name(identity, IDENTITY_IP, shown, strlen(shown), cause);
}

static enum ps_err add_alternative(struct identity *identity, enum identity_kind kind, const mbedtls_x509_buf *value,
                                   struct ps_cause *cause)
{
	if (value->len == 0 || !is_clean_ascii(value->p, value->len))
		return unclean(identity_kind_name(kind), value, cause);
	return add_name(identity, kind, value->p, value->len, cause);
}

static enum ps_err add_alternatives(struct identity *identity, const mbedtls_x509_crt *leaf, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;

	for (const mbedtls_x509_sequence *at = &leaf->subject_alt_names; at != NULL && err == PS_OK; at = at->next) {
		const mbedtls_x509_buf *value = &at->buf;

		if (value->p == NULL)
			continue; /* the list's head while there is no such extension */
		switch (value->tag & MBEDTLS_ASN1_TAG_VALUE_MASK) {
		case MBEDTLS_X509_SAN_RFC822_NAME:
			err = add_alternative(identity, IDENTITY_EMAIL, value, cause);
			break;
		case MBEDTLS_X509_SAN_DNS_NAME:
			err = add_alternative(identity, IDENTITY_DNS, value, cause);
			break;
		case MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER:
			err = add_alternative(identity, IDENTITY_URI, value, cause);
			break;
		case MBEDTLS_X509_SAN_IP_ADDRESS:
			err = add_ip(identity, value, cause);
			break;
		default:
			break; /* directoryName, otherName: no rule can name them */
		}
	}
	return err;
}

static enum ps_err copy_dn(const mbedtls_x509_name *name, char **out)
{
	char plain[DN_TEXT_MAX];
	int len = mbedtls_x509_dn_gets(plain, sizeof plain, name);

	*out = strdup(len >= 0 ? plain : "(a name that cannot be shown)");
	return *out != NULL ? PS_OK : PS_E_NOMEM;
}

static enum ps_err fill(struct identity *identity, const mbedtls_x509_crt *leaf, struct ps_cause *cause)
{
	enum ps_err err = add_subject(identity, leaf, cause);

	if (err == PS_OK)
		err = add_alternatives(identity, leaf, cause);
	if (err == PS_OK)
		err = copy_dn(&leaf->subject, &identity->subject);
	if (err == PS_OK)
		err = copy_dn(&leaf->issuer, &identity->issuer);
	if (err != PS_OK)
		return err;

	/* A leading zero byte only keeps the number positive. */
	const unsigned char *serial = leaf->serial.p;
	size_t serial_len = leaf->serial.len;
	for (; serial_len > 1 && serial[0] == 0; serial_len--)
		serial++;
	if (serial_len > sizeof identity->serial)
		return ps_cause_set(cause, PS_E_PROTO, "the certificate's serial number has %zu bytes, at most %d are allowed",
		                    serial_len, IDENTITY_SERIAL_MAX);
	memcpy(identity->serial, serial, serial_len);
	identity->serial_len = serial_len;

	if (mbedtls_sha256(leaf->pk_raw.p, leaf->pk_raw.len, identity->pin, 0) != 0)
		return PS_E_BUG;
	identity->not_before = certificate_time(&leaf->valid_from);
	identity->not_after = certificate_time(&leaf->valid_to);
	return PS_OK;
}

enum ps_err identity_new(const mbedtls_x509_crt *leaf, struct identity **identity, struct ps_cause *cause)
{
	struct identity *fresh = calloc(1, sizeof *fresh);
	enum ps_err err;

	if (fresh == NULL)
		return PS_E_NOMEM;
	err = fill(fresh, leaf, cause);
	if (err != PS_OK) {
		identity_free(fresh);
		return err;
	}
	*identity = fresh;
	return PS_OK;
}

void identity_free(struct identity *identity)
{
	if (identity == NULL)
		return;
	for (size_t i = 0; i < identity->n_names; i++)
		free(identity->names[i].value);
	free(identity->names);
	free(identity->issuer);
	free(identity->subject);
	free(identity);
}

void identity_label(const struct identity *identity, char out[static IDENTITY_LABEL_MAX])
{
	static const enum identity_kind order[] = { IDENTITY_CN, IDENTITY_URI, IDENTITY_DNS, IDENTITY_EMAIL, IDENTITY_IP };
	struct text text;

	text_init(&text, out, IDENTITY_LABEL_MAX);
	for (size_t k = 0; k < sizeof order / sizeof order[0]; k++) {
		for (size_t i = 0; i < identity->n_names; i++) {
			if (identity->names[i].kind == order[k]) {
				text_add(&text, identity->names[i].value);
				return;
			}
		}
	}
	text_add_hex(&text, identity->serial, identity->serial_len);
}
