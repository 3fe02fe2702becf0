/* SPDX-License-Identifier: Apache-2.0 */
#include "mint.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/asn1write.h>
#include <mbedtls/oid.h>
#include <mbedtls/psa_util.h>
#include <psa/crypto.h>

#include "mint_store.h"

#define NOT_BEFORE INT64_C(1577836800) /* 2020-01-01 */
#define NOT_AFTER INT64_C(2493072000)  /* 2049-01-01 */
#define SERIAL_LEN 16
#define CERTIFICATE_ROOM 8192

/* YYYYMMDDhhmmss, as mbedTLS wants times. */
static void format_time(int64_t seconds, char out[static 16])
{
	time_t clock = (time_t)seconds;
	struct tm parts;

	if (gmtime_r(&clock, &parts) == NULL || strftime(out, 16, "%Y%m%d%H%M%S", &parts) != 14)
		abort();
}

static void set_purposes(mbedtls_x509write_cert *writer, unsigned purposes)
{
	static const struct {
		unsigned bit;
		const char *oid;
		size_t len;
	} known[] = {
		{ MINT_PURPOSE_CLIENT, MBEDTLS_OID_CLIENT_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH) },
		{ MINT_PURPOSE_SERVER, MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH) },
		{ MINT_PURPOSE_ANY, MBEDTLS_OID_ANY_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_ANY_EXTENDED_KEY_USAGE) },
	};
	mbedtls_asn1_sequence items[3];
	mbedtls_asn1_sequence *head = NULL;

	for (size_t i = 0; i < 3; i++) {
		if ((purposes & known[i].bit) == 0)
			continue;
		items[i].buf.tag = MBEDTLS_ASN1_OID;
		items[i].buf.p = (unsigned char *)(uintptr_t)known[i].oid;
		items[i].buf.len = known[i].len;
		items[i].next = head;
		head = &items[i];
	}
	if (head != NULL)
		mint_must(mbedtls_x509write_crt_set_ext_key_usage(writer, head), "extended key usage");
}

/* Puts a name in front of the list; text for all but IP addresses. */
static void add_alternative(mbedtls_x509_san_list **list, int type, const char *value)
{
	mbedtls_x509_san_list *item = mint_alloc(sizeof *item);
	unsigned char *bytes = mint_alloc(strlen(value) + 16);
	size_t len = strlen(value);

	memcpy(bytes, value, len);
	if (type == MBEDTLS_X509_SAN_IP_ADDRESS) {
		int family = strchr(value, ':') != NULL ? AF_INET6 : AF_INET;
		if (inet_pton(family, value, bytes) != 1)
			mint_must(-1, value);
		len = family == AF_INET ? 4 : 16;
	}
	item->node.type = type;
	item->node.san.unstructured_name.p = bytes;
	item->node.san.unstructured_name.len = len;
	item->next = *list;
	*list = item;
}

static void set_alternatives(mbedtls_x509write_cert *writer, const struct mint_spec *spec)
{
	mbedtls_x509_san_list *list = NULL;

	for (size_t i = 0; i < 3 && spec->dns[i] != NULL; i++)
		add_alternative(&list, MBEDTLS_X509_SAN_DNS_NAME, spec->dns[i]);
	for (size_t i = 0; i < 3 && spec->uri[i] != NULL; i++)
		add_alternative(&list, MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER, spec->uri[i]);
	for (size_t i = 0; i < 2 && spec->ip[i] != NULL; i++)
		add_alternative(&list, MBEDTLS_X509_SAN_IP_ADDRESS, spec->ip[i]);
	if (spec->email != NULL)
		add_alternative(&list, MBEDTLS_X509_SAN_RFC822_NAME, spec->email);
	if (list != NULL)
		mint_must(mbedtls_x509write_crt_set_subject_alternative_name(writer, list), "alternative names");
}

static void set_extensions(mbedtls_x509write_cert *writer, const struct mint_spec *spec)
{
	static const unsigned usual_purposes[] = {
		[MINT_CA] = MINT_PURPOSE_NONE, [MINT_SENDER] = MINT_PURPOSE_CLIENT, [MINT_RELAY] = MINT_PURPOSE_SERVER
	};
	unsigned usage = spec->key_usage;
	bool ca = spec->kind == MINT_CA;

	if (usage == 0)
		usage = ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
	mint_must(mbedtls_x509write_crt_set_basic_constraints(writer, ca, spec->has_pathlen ? spec->pathlen : -1), "CA");
	if (usage != MINT_NO_KEY_USAGE)
		mint_must(mbedtls_x509write_crt_set_key_usage(writer, usage), "key usage");
	set_purposes(writer, spec->purposes != 0 ? spec->purposes : usual_purposes[spec->kind]);
	set_alternatives(writer, spec);
	if (spec->extension.oid != NULL)
		mint_must(mbedtls_x509write_crt_set_extension(writer, spec->extension.oid, spec->extension.oid_len,
		                                              spec->extension.critical, spec->extension.der,
		                                              spec->extension.der_len),
		          "extension");
}

static void patch(uint8_t *body, size_t body_len, const struct mint_spec *spec)
{
	uint8_t *at = spec->patch_from == NULL ? body : memmem(body, body_len, spec->patch_from, spec->patch_len);

	if (at == NULL)
		mint_must(-1, "nothing to patch");
	if (spec->patch_from != NULL)
		memcpy(at, spec->patch_to, spec->patch_len);
}

/* The body that mbedTLS wrote is patched and signed once more, so that any certificate can be made. */
static void finish(struct mint_cert *cert, mbedtls_x509write_cert *writer, const struct mint_spec *spec,
                   mbedtls_pk_context *signer)
{
	unsigned char room[CERTIFICATE_ROOM];
	int len = mint_must(
		mbedtls_x509write_crt_der(writer, room, sizeof room, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE),
		"certificate");
	unsigned char *body = room + sizeof room - len;
	unsigned char *end = room + sizeof room;
	size_t inner;

	mint_must(mbedtls_asn1_get_tag(&body, end, &inner, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE), "DER");
	unsigned char *after = body;
	mint_must(mbedtls_asn1_get_tag(&after, end, &inner, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE), "DER");
	size_t body_len = (size_t)(after + inner - body);
	patch(body, body_len, spec);
	cert->der = mint_sign(body, body_len, signer, spec->md != MBEDTLS_MD_NONE ? spec->md : MBEDTLS_MD_SHA256,
	                      spec->broken_signature, &cert->der_len);
	mint_keep(cert->der, MINT_MEMORY);
}

struct mint_cert *mint_certificate(const struct mint_spec *spec, const struct mint_cert *issuer)
{
	struct mint_cert *cert = mint_alloc(sizeof *cert);
	mbedtls_x509write_cert writer;
	unsigned char serial[SERIAL_LEN];
	char from[16], to[16];

	cert->key = spec->key != NULL ? spec->key : mint_key(MINT_P256);
	cert->subject = mint_keep(strdup(spec->subject), MINT_MEMORY);
	mbedtls_pk_context *signer = issuer != NULL ? issuer->key : cert->key;
	mint_must(mbedtls_psa_get_random(MBEDTLS_PSA_RANDOM_STATE, serial, sizeof serial), "serial");
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of this length */
	format_time(spec->not_before != 0 ? spec->not_before : NOT_BEFORE, from);
	format_time(spec->not_after != 0 ? spec->not_after : NOT_AFTER, to);

	mbedtls_x509write_crt_init(&writer);
	mbedtls_x509write_crt_set_version(&writer,
	                                  spec->version_1 ? MBEDTLS_X509_CRT_VERSION_1 : MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(&writer, spec->md != MBEDTLS_MD_NONE ? spec->md : MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(&writer, cert->key);
	mbedtls_x509write_crt_set_issuer_key(&writer, signer);
	mint_must(mbedtls_x509write_crt_set_serial_raw(&writer, serial, sizeof serial), "serial");
	mint_must(mbedtls_x509write_crt_set_validity(&writer, from, to), "validity");
	mint_must(mbedtls_x509write_crt_set_subject_name(&writer, spec->subject), spec->subject);
	mint_must(mbedtls_x509write_crt_set_issuer_name(&writer, issuer != NULL ? issuer->subject : spec->subject),
	          "issuer");
	if (!spec->version_1)
		set_extensions(&writer, spec);
	finish(cert, &writer, spec, signer);
	mbedtls_x509write_crt_free(&writer);
	return cert;
}

struct mint_cert *mint_ca(const char *subject)
{
	return mint_certificate(&(struct mint_spec){ .subject = subject, .kind = MINT_CA }, NULL);
}

struct mint_cert *mint_sender(const struct mint_cert *issuer, const char *subject)
{
	return mint_certificate(&(struct mint_spec){ .subject = subject, .kind = MINT_SENDER }, issuer);
}

struct mint_cert *mint_relay(const struct mint_cert *issuer, const char *subject, const char *dns)
{
	return mint_certificate(&(struct mint_spec){ .subject = subject, .kind = MINT_RELAY, .dns = { dns } }, issuer);
}

mbedtls_x509_crt *mint_chain(const struct mint_cert *const *certs)
{
	mbedtls_x509_crt *chain = malloc(sizeof *chain);

	if (chain == NULL || psa_crypto_init() != PSA_SUCCESS)
		abort();
	mbedtls_x509_crt_init(chain);
	mint_keep(chain, MINT_CHAIN);
	for (size_t i = 0; certs[i] != NULL; i++) {
		if (mbedtls_x509_crt_parse_der(chain, certs[i]->der, certs[i]->der_len) != 0)
			return NULL;
	}
	return chain;
}

const char *mint_pem(const struct mint_cert *const *certs)
{
	char *all = mint_alloc(1);

	for (size_t i = 0; certs[i] != NULL; i++) {
		const char *one = mint_wrap_pem("CERTIFICATE", certs[i]->der, certs[i]->der_len);
		size_t room = strlen(all) + strlen(one) + 1;
		char *more = mint_alloc(room);
		(void)snprintf(more, room, "%s%s", all, one);
		all = more;
	}
	return all;
}

const char *mint_key_pem(const struct mint_cert *cert)
{
	char *pem = mint_alloc(8192);

	mint_must(mbedtls_pk_write_key_pem(cert->key, (unsigned char *)pem, 8192), "key");
	return pem;
}

void mint_write_files(const char *directory, const char *name, const struct mint_cert *const *chain)
{
	char file[128];

	(void)snprintf(file, sizeof file, "%s.crt", name);
	mint_write(directory, file, mint_pem(chain));
	(void)snprintf(file, sizeof file, "%s.key", name);
	mint_write(directory, file, mint_key_pem(chain[0]));
}
