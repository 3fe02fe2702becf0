/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificate -- reads off a parsed certificate what mbedTLS leaves unsaid.
 *
 * Never:  decides about trust, or believes a length that it has not compared with what is there.
 */
#include "portseal/certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <mbedtls/asn1.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/x509_crt.h>

#include "portseal/buf.h"
#include "portseal/file.h"
#include "portseal/text.h"

#define SECONDS_PER_DAY 86400

/* Days since 1970-01-01 of a date in the Gregorian calendar; years run from March, so that leap days come last. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return 365 * y + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

int64_t certificate_time(const mbedtls_x509_time *time)
{
	return days_since_1970(time->year, time->mon, time->day) * SECONDS_PER_DAY + time->hour * INT64_C(3600) +
	       time->min * INT64_C(60) + time->sec;
}

void certificate_date(int64_t seconds, char out[static CERTIFICATE_DATE_MAX])
{
	int64_t day = seconds / SECONDS_PER_DAY;
	int64_t rest = seconds % SECONDS_PER_DAY;
	struct text text;

	if (rest < 0) {
		rest += SECONDS_PER_DAY;
		day--;
	}
	/* The reverse of days_since_1970, by eras of 400 years. */
	int64_t shifted = day + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t day_of_era = shifted - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month_from_march = (5 * day_of_year + 2) / 153;
	int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
	int64_t year = year_of_era + era * 400 + (month <= 2);

	text_init(&text, out, CERTIFICATE_DATE_MAX);
	text_addf(&text, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)year, (int)month,
	          (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1), (int)(rest / 3600), (int)(rest / 60 % 60),
	          (int)(rest % 60));
}

void certificate_name(const mbedtls_x509_name *name, char out[static CERTIFICATE_NAME_MAX])
{
	char plain[1024];
	struct text text;
	int len = mbedtls_x509_dn_gets(plain, sizeof plain, name);

	text_init(&text, out, CERTIFICATE_NAME_MAX);
	if (len > 0)
		text_add_escaped(&text, plain, (size_t)len);
	else
		text_add(&text, len == 0 ? "(no name)" : "(a name that cannot be shown)");
}

static bool is_caseless(int tag)
{
	return tag == MBEDTLS_ASN1_UTF8_STRING || tag == MBEDTLS_ASN1_PRINTABLE_STRING;
}

static bool same_value(const mbedtls_asn1_buf *a, const mbedtls_asn1_buf *b)
{
	if (a->len != b->len)
		return false;
	if (a->tag == b->tag && (a->len == 0 || memcmp(a->p, b->p, a->len) == 0))
		return true;
	if (!is_caseless(a->tag) || !is_caseless(b->tag))
		return false;
	return a->len == 0 || strncasecmp((const char *)a->p, (const char *)b->p, a->len) == 0;
}

bool certificate_same_name(const mbedtls_x509_name *a, const mbedtls_x509_name *b)
{
	while (a != NULL && b != NULL) {
		if (a->oid.len != b->oid.len || (a->oid.len > 0 && memcmp(a->oid.p, b->oid.p, a->oid.len) != 0))
			return false;
		if (!same_value(&a->val, &b->val))
			return false;
		if (a->MBEDTLS_PRIVATE(next_merged) != b->MBEDTLS_PRIVATE(next_merged))
			return false;
		a = a->next;
		b = b->next;
	}
	return a == NULL && b == NULL;
}

struct extension {
	const unsigned char *oid;
	size_t oid_len;
	bool critical;
};

/* Enters the SEQUENCE OF Extension that fills the DER; mbedTLS reads through pointers that are not const. */
static enum ps_err enter_extensions(const uint8_t *der, size_t der_len, unsigned char **at, unsigned char **end)
{
	size_t len;

	*at = (unsigned char *)(uintptr_t)der;
	*end = *at + der_len;
	if (der_len == 0)
		return PS_OK;
	if (mbedtls_asn1_get_tag(at, *end, &len, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0 ||
	    len != (size_t)(*end - *at))
		return PS_E_PROTO;
	return PS_OK;
}

static enum ps_err next_extension(unsigned char **at, unsigned char *end, struct extension *extension)
{
	size_t len;
	int critical = 0;

	if (mbedtls_asn1_get_tag(at, end, &len, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0)
		return PS_E_PROTO;
	unsigned char *next = *at + len;
	if (mbedtls_asn1_get_tag(at, next, &len, MBEDTLS_ASN1_OID) != 0)
		return PS_E_PROTO;
	extension->oid = *at;
	extension->oid_len = len;
	*at += len;
	if (*at < next && **at == MBEDTLS_ASN1_BOOLEAN && mbedtls_asn1_get_bool(at, next, &critical) != 0)
		return PS_E_PROTO;
	extension->critical = critical != 0;
	*at = next;
	return PS_OK;
}

enum ps_err certificate_find_extension(const uint8_t *der, size_t der_len, const char *oid, size_t oid_len, bool *found)
{
	unsigned char *at, *end;
	struct extension extension;
	bool seen = false;
	enum ps_err err = enter_extensions(der, der_len, &at, &end);

	while (err == PS_OK && at < end) {
		err = next_extension(&at, end, &extension);
		if (err == PS_OK && extension.oid_len == oid_len && memcmp(extension.oid, oid, oid_len) == 0)
			seen = true;
	}
	if (err == PS_OK)
		*found = seen;
	return err;
}

bool certificate_has_critical(const uint8_t *der, size_t der_len)
{
	unsigned char *at, *end;
	struct extension extension = { .critical = false };
	enum ps_err err = enter_extensions(der, der_len, &at, &end);

	while (err == PS_OK && at < end && !extension.critical)
		err = next_extension(&at, end, &extension);
	return err != PS_OK || extension.critical;
}

bool certificate_has_name_constraints(const mbedtls_x509_crt *certificate)
{
	bool found;

	if (certificate_find_extension(certificate->v3_ext.p, certificate->v3_ext.len, MBEDTLS_OID_NAME_CONSTRAINTS,
	                               MBEDTLS_OID_SIZE(MBEDTLS_OID_NAME_CONSTRAINTS), &found) != PS_OK)
		return true;
	return found;
}

bool certificate_may_issue(const mbedtls_x509_crt *certificate)
{
	return certificate->version == 3 && mbedtls_x509_crt_get_ca_istrue(certificate) == 1 &&
	       mbedtls_x509_crt_check_key_usage(certificate, MBEDTLS_X509_KU_KEY_CERT_SIGN) == 0;
}

static bool oid_is(const mbedtls_x509_buf *oid, const char *expected, size_t expected_len)
{
	return oid->len == expected_len && memcmp(oid->p, expected, expected_len) == 0;
}

enum certificate_use certificate_use(const mbedtls_x509_crt *certificate, enum peer_purpose purpose)
{
	const char *wanted = purpose == PURPOSE_CLIENT ? MBEDTLS_OID_CLIENT_AUTH : MBEDTLS_OID_SERVER_AUTH;
	enum certificate_use use = CERTIFICATE_USE_OTHER;

	if (!mbedtls_x509_crt_has_ext_type(certificate, MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE))
		return CERTIFICATE_USE_UNSAID;
	for (const mbedtls_x509_sequence *at = &certificate->ext_key_usage; at != NULL; at = at->next) {
		if (oid_is(&at->buf, wanted, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)))
			return CERTIFICATE_USE_NAMED;
		if (oid_is(&at->buf, MBEDTLS_OID_ANY_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_ANY_EXTENDED_KEY_USAGE)))
			use = CERTIFICATE_USE_ANY;
	}
	return use;
}

const char *certificate_purpose_name(enum peer_purpose purpose)
{
	return purpose == PURPOSE_CLIENT ? "clientAuth" : "serverAuth";
}

static enum ps_err parse_failed(const char *path, int ret, struct ps_cause *cause)
{
	char words[128];

	if (ret > 0)
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "%s: %d of its certificates cannot be used (a critical extension such as name "
		                    "constraints, or an algorithm such as Ed25519, is not supported)",
		                    path, ret);
	mbedtls_strerror(ret, words, sizeof words);
	return ps_cause_set(cause, PS_E_CONFIG, "%s: not a certificate in PEM or DER that can be used (%s)", path, words);
}

enum ps_err certificate_read(const char *path, mbedtls_x509_crt *chain, struct ps_cause *cause)
{
	struct buf file = BUF_INIT;
	enum ps_err err = file_read(path, CERTIFICATE_FILE_MAX, &file, cause);

	if (err == PS_OK && buf_len(&file) == 0)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: empty file, expected a certificate", path);
	if (err == PS_OK) {
		/* file_read put a NUL behind the content, which mbedTLS wants to see counted for PEM only. */
		bool pem = strstr((const char *)buf_front(&file), "-----BEGIN CERTIFICATE-----") != NULL;
		int ret = mbedtls_x509_crt_parse(chain, buf_front(&file), buf_len(&file) + (pem ? 1 : 0));
		if (ret == MBEDTLS_ERR_X509_ALLOC_FAILED)
			err = PS_E_NOMEM;
		else if (ret != 0)
			err = parse_failed(path, ret, cause);
	}
	buf_release(&file);
	return err;
}

enum ps_err certificate_chain_new(const char *path, mbedtls_x509_crt **chain, struct ps_cause *cause)
{
	mbedtls_x509_crt *fresh = calloc(1, sizeof *fresh);
	enum ps_err err;

	if (fresh == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	mbedtls_x509_crt_init(fresh);
	err = certificate_read(path, fresh, cause);
	if (err != PS_OK) {
		certificate_chain_free(fresh);
		return err;
	}
	*chain = fresh;
	return PS_OK;
}

void certificate_chain_free(mbedtls_x509_crt *chain)
{
	if (chain == NULL)
		return;
	mbedtls_x509_crt_free(chain);
	free(chain);
}

enum ps_err certificate_chain_pack(const mbedtls_x509_crt *const *certificates, size_t n, uint8_t *out, size_t cap,
                                   size_t *len)
{
	size_t written = 0;

	for (size_t i = 0; i < n; i++) {
		const mbedtls_x509_buf *raw = &certificates[i]->raw;

		if (raw->len > cap - written)
			return PS_E_LIMIT;
		memcpy(out + written, raw->p, raw->len);
		written += raw->len;
	}
	*len = written;
	return PS_OK;
}

/* Bytes of the DER element at the front, its tag and length included; 0: there is none. */
static size_t der_len(const uint8_t *bytes, size_t len)
{
	unsigned char *at = (unsigned char *)(uintptr_t)bytes;
	size_t content;

	if (mbedtls_asn1_get_tag(&at, bytes + len, &content, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0)
		return 0;
	return (size_t)(at - bytes) + content;
}

enum ps_err certificate_chain_unpack(const uint8_t *bytes, size_t len, mbedtls_x509_crt **chain)
{
	mbedtls_x509_crt *fresh = calloc(1, sizeof *fresh);
	size_t at = 0;

	if (fresh == NULL)
		return PS_E_NOMEM;
	mbedtls_x509_crt_init(fresh);
	while (at < len) {
		size_t one = der_len(bytes + at, len - at);

		if (one == 0 || mbedtls_x509_crt_parse_der(fresh, bytes + at, one) != 0) {
			certificate_chain_free(fresh);
			return PS_E_PROTO;
		}
		at += one;
	}
	*chain = fresh;
	return PS_OK;
}
