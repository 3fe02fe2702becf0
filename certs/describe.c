/* SPDX-License-Identifier: Apache-2.0 */
#include "describe.h"

#include <arpa/inet.h>
#include <mbedtls/base64.h>
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <stdlib.h>
#include <string.h>

#include "authority.h"
#include "key.h"
#include "portseal/text.h"
#include "stamp.h"

#define HASH_LEN 32
#define PUBLIC_KEY_CAP 4096
#define NAME_CAP 2048

/* "OU=finance, CN=alice": the raw bytes of each value, which the report escapes. */
static void describe_name(struct report *report, const char *key, const mbedtls_x509_name *name)
{
	char storage[NAME_CAP];
	struct text text;
	text_init(&text, storage, sizeof(storage));
	for (const mbedtls_x509_name *at = name; at != NULL && at->oid.p != NULL; at = at->next) {
		const char *type = NULL;
		if (mbedtls_oid_get_attr_short_name(&at->oid, &type) != 0)
			type = "?";
		text_addf(&text, "%s%s=", at == name ? "" : ", ", type);
		text_add_bytes(&text, (const char *)at->val.p, at->val.len);
	}
	report_bytes(report, key, text.at, text.len);
}

static void describe_hex(struct report *report, const char *key, const uint8_t *bytes, size_t len)
{
	char hex[2 * 64 + 1];
	struct text text;
	text_init(&text, hex, sizeof(hex));
	text_add_hex(&text, bytes, len < 64 ? len : 64);
	report_text(report, key, hex);
}

static void describe_moment(struct report *report, const char *key, int64_t moment)
{
	char readable[STAMP_READABLE_CAP];
	stamp_print_readable(moment, readable);
	report_text(report, key, readable);
}

/* "expires in 364 days", in the largest unit of which there are two. */
static void describe_state(struct report *report, int64_t from, int64_t until, int64_t now)
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = { { STAMP_SECONDS_PER_DAY, "days" }, { 3600, "hours" }, { 60, "minutes" }, { 1, "seconds" } };
	const char *format = now < from ? "begins in" : now > until ? "expired" : "expires in";
	int64_t away = llabs(now < from ? from - now : until - now);
	size_t unit = 0;
	while (unit < 3 && away < 2 * units[unit].seconds)
		unit++;

	char storage[64];
	struct text text;
	text_init(&text, storage, sizeof(storage));
	text_addf(&text, "%s %lld %s%s", format, (long long)(away / units[unit].seconds), units[unit].name,
	          now > until ? " ago" : "");
	report_text(report, "state", storage);
	if (report->json)
		report_number(report, "seconds_left", (long long)(until - now));
}

/* The value of `spki_sha256` in a rule: base64 of the SHA-256 of the SubjectPublicKeyInfo. */
static void describe_pin(struct report *report, const uint8_t *info, size_t len)
{
	uint8_t hash[HASH_LEN];
	unsigned char base64[64];
	size_t base64_len = 0;
	if (mbedtls_sha256(info, len, hash, 0) == 0 &&
	    mbedtls_base64_encode(base64, sizeof(base64), &base64_len, hash, sizeof(hash)) == 0)
		report_bytes(report, "spki_sha256", base64, base64_len);
}

static void describe_key_type(struct report *report, const mbedtls_pk_context *key)
{
	char type[64];
	struct text text;
	text_init(&text, type, sizeof(type));
	key_describe(key, &text);
	report_text(report, "key", type);
}

void describe_key(struct report *report, const mbedtls_pk_context *key)
{
	uint8_t info[PUBLIC_KEY_CAP];
	describe_key_type(report, key);
	int len = mbedtls_pk_write_pubkey_der(key, info, sizeof(info));
	if (len > 0)
		describe_pin(report, info + sizeof(info) - len, (size_t)len);
}

static void describe_san(struct report *report, const char *key, const mbedtls_x509_buf *value, int kind)
{
	char address[INET6_ADDRSTRLEN];
	bool is_address = kind == MBEDTLS_X509_SAN_IP_ADDRESS && (value->len == 4 || value->len == 16);
	if (is_address && inet_ntop(value->len == 4 ? AF_INET : AF_INET6, value->p, address, sizeof(address)) != NULL)
		report_item(report, key, address, strlen(address));
	else
		report_item(report, key, value->p, value->len);
}

static void describe_sans(struct report *report, const mbedtls_x509_sequence *sans)
{
	static const struct {
		const char *key;
		int kind;
	} kinds[] = { { "dns", MBEDTLS_X509_SAN_DNS_NAME },
		          { "ip", MBEDTLS_X509_SAN_IP_ADDRESS },
		          { "uri", MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER },
		          { "email", MBEDTLS_X509_SAN_RFC822_NAME } };
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		report_list(report, kinds[i].key);
		for (const mbedtls_x509_sequence *at = sans; at != NULL && at->buf.p != NULL; at = at->next) {
			if ((at->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == kinds[i].kind)
				describe_san(report, kinds[i].key, &at->buf, kinds[i].kind);
		}
		report_list_end(report);
	}
}

/* serverAuth and clientAuth as everybody calls them, other purposes by number. */
static void describe_purposes(struct report *report, const mbedtls_x509_sequence *purposes)
{
	report_list(report, "purpose");
	for (const mbedtls_x509_sequence *at = purposes; at != NULL && at->buf.p != NULL; at = at->next) {
		char purpose[128] = "?";
		if (MBEDTLS_OID_CMP(MBEDTLS_OID_SERVER_AUTH, &at->buf) == 0)
			memcpy(purpose, "serverAuth", sizeof("serverAuth"));
		else if (MBEDTLS_OID_CMP(MBEDTLS_OID_CLIENT_AUTH, &at->buf) == 0)
			memcpy(purpose, "clientAuth", sizeof("clientAuth"));
		else if (mbedtls_oid_get_numeric_string(purpose, sizeof(purpose), &at->buf) < 0)
			memcpy(purpose, "?", sizeof("?"));
		report_item(report, "purpose", purpose, strlen(purpose));
	}
	report_list_end(report);
}

void describe_certificate(struct report *report, const mbedtls_x509_crt *certificate, int64_t now)
{
	uint8_t hash[HASH_LEN];
	int64_t from = authority_moment(&certificate->valid_from);
	int64_t until = authority_moment(&certificate->valid_to);
	describe_name(report, "subject", &certificate->subject);
	describe_name(report, "issuer", &certificate->issuer);
	describe_sans(report, &certificate->subject_alt_names);
	describe_purposes(report, &certificate->ext_key_usage);
	report_boolean(report, "authority", mbedtls_x509_crt_get_ca_istrue(certificate) == 1);
	char serial[LEDGER_SERIAL_CAP];
	authority_serial(&certificate->serial, serial);
	report_text(report, "serial", serial);
	describe_moment(report, "not_before", from);
	describe_moment(report, "not_after", until);
	describe_state(report, from, until, now);
	describe_key_type(report, &certificate->pk);
	if (mbedtls_sha256(certificate->raw.p, certificate->raw.len, hash, 0) == 0)
		describe_hex(report, "fingerprint_sha256", hash, sizeof(hash));
	describe_pin(report, certificate->pk_raw.p, certificate->pk_raw.len);
}

void describe_request(struct report *report, const mbedtls_x509_csr *request)
{
	describe_name(report, "subject", &request->subject);
	describe_sans(report, &request->subject_alt_names);
	describe_key(report, &request->pk);
}

void describe_crl(struct report *report, const mbedtls_x509_crl *crl, int64_t now)
{
	int64_t from = authority_moment(&crl->this_update);
	int64_t until = authority_moment(&crl->next_update);
	describe_name(report, "issuer", &crl->issuer);
	describe_moment(report, "this_update", from);
	if (crl->next_update.year != 0) { /* optional in the standard */
		describe_moment(report, "next_update", until);
		describe_state(report, from, until, now);
	}
	report_list(report, "revoked");
	for (const mbedtls_x509_crl_entry *at = &crl->entry; at != NULL && at->serial.p != NULL; at = at->next) {
		char line[96];
		char serial[LEDGER_SERIAL_CAP];
		char when[STAMP_READABLE_CAP];
		struct text text;
		authority_serial(&at->serial, serial);
		stamp_print_readable(authority_moment(&at->revocation_date), when);
		text_init(&text, line, sizeof(line));
		text_addf(&text, "%s on %s", serial, when);
		report_item(report, "revoked", line, text.len);
	}
	report_list_end(report);
}
