/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/asn1write.h>
#include <mbedtls/oid.h>
#include <mbedtls/x509_crt.h>

#include "mint_store.h"

#define NOT_BEFORE INT64_C(1577836800) /* 2020-01-01 */
#define NOT_AFTER INT64_C(2493072000)  /* 2049-01-01 */
#define ENTRY_ROOM 64
#define BODY_ROOM 4096
#define SEQUENCE (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)
#define FILLER_SERIAL 0x01000000 /* the first; those of mint_certificate are longer */

/* DER is written from its end to its beginning. */
struct back {
	unsigned char *start;
	unsigned char *at;
};

/* Closes what was written since `end` as one element. */
static void wrap(struct back *back, const unsigned char *end, unsigned char tag)
{
	mint_must(mbedtls_asn1_write_len(&back->at, back->start, (size_t)(end - back->at)), "DER");
	mint_must(mbedtls_asn1_write_tag(&back->at, back->start, tag), "DER");
}

static void put_time(struct back *back, int64_t seconds)
{
	time_t clock = (time_t)seconds;
	struct tm parts;
	char text[16];

	if (gmtime_r(&clock, &parts) == NULL || strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &parts) != 15)
		abort();
	/* UTCTime has two digits of the year: right until 2049. */
	mint_must(mbedtls_asn1_write_tagged_string(&back->at, back->start, MBEDTLS_ASN1_UTC_TIME, text + 2, 13), "DER");
}

static void put_extensions(struct back *back, const struct mint_extension *extension)
{
	const unsigned char *end = back->at;

	mint_must(mbedtls_asn1_write_octet_string(&back->at, back->start, extension->der, extension->der_len), "DER");
	if (extension->critical)
		mint_must(mbedtls_asn1_write_bool(&back->at, back->start, 1), "DER");
	mint_must(mbedtls_asn1_write_oid(&back->at, back->start, extension->oid, extension->oid_len), "DER");
	wrap(back, end, SEQUENCE);
	wrap(back, end, SEQUENCE);
}

static void put_entry(struct back *back, const uint8_t *serial, size_t serial_len, const struct mint_extension *more)
{
	const unsigned char *end = back->at;

	if (more->oid != NULL)
		put_extensions(back, more);
	put_time(back, NOT_BEFORE);
	const unsigned char *number = back->at;
	mint_must(mbedtls_asn1_write_raw_buffer(&back->at, back->start, serial, serial_len), "DER");
	wrap(back, number, MBEDTLS_ASN1_INTEGER);
	wrap(back, end, SEQUENCE);
}

static void put_entries(struct back *back, const struct mint_crl_spec *spec)
{
	static const struct mint_extension none = { 0 };
	const unsigned char *end = back->at;

	for (size_t i = 0; i < spec->n_fillers; i++) {
		/* Scrambled, so that they do not come in order. */
		uint32_t number = FILLER_SERIAL + (uint32_t)((i * 7919) % 0x1000000);
		uint8_t serial[4] = { (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
			                  (uint8_t)number };
		put_entry(back, serial, sizeof serial, &none);
	}
	for (size_t i = 0; spec->revoked != NULL && spec->revoked[i] != NULL; i++) {
		mbedtls_x509_crt *parsed = mint_chain((const struct mint_cert *[]){ spec->revoked[i], NULL });
		put_entry(back, parsed->serial.p, parsed->serial.len, &spec->entry_extension);
	}
	if (back->at != end) /* an empty list is left out (RFC 5280, section 5.1.2.6) */
		wrap(back, end, SEQUENCE);
}

const char *mint_crl(const struct mint_crl_spec *spec, const struct mint_cert *issuer)
{
	mbedtls_pk_context *key = spec->key != NULL ? spec->key : issuer->key;
	bool rsa = mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA;
	mbedtls_x509_crt *parsed = mint_chain((const struct mint_cert *[]){ issuer, NULL });
	size_t room = BODY_ROOM + (spec->n_fillers + 16) * ENTRY_ROOM;
	struct back back = { .start = mint_alloc(room) };
	const unsigned char *end = back.start + room;
	const char *oid;
	size_t oid_len, len;

	back.at = back.start + room;
	if (spec->extension.oid != NULL) {
		put_extensions(&back, &spec->extension);
		wrap(&back, end, MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_ASN1_CONSTRUCTED | 0);
	}
	put_entries(&back, spec);
	if (spec->next_update != MINT_NEVER)
		put_time(&back, spec->next_update != 0 ? spec->next_update : NOT_AFTER);
	put_time(&back, spec->this_update != 0 ? spec->this_update : NOT_BEFORE);
	mint_must(mbedtls_asn1_write_raw_buffer(&back.at, back.start, parsed->subject_raw.p, parsed->subject_raw.len),
	          "DER");
	mint_must(
		mbedtls_oid_get_oid_by_sig_alg(rsa ? MBEDTLS_PK_RSA : MBEDTLS_PK_ECDSA, MBEDTLS_MD_SHA256, &oid, &oid_len),
		"signature algorithm");
	mint_must(mbedtls_asn1_write_algorithm_identifier_ext(&back.at, back.start, oid, oid_len, 0, rsa), "DER");
	mint_must(mbedtls_asn1_write_int(&back.at, back.start, 1), "DER"); /* version 2 */
	wrap(&back, end, SEQUENCE);

	uint8_t *whole = mint_sign(back.at, (size_t)(end - back.at), key, MBEDTLS_MD_SHA256, spec->broken_signature, &len);
	mint_keep(whole, MINT_MEMORY);
	return mint_wrap_pem("X509 CRL", whole, len);
}
