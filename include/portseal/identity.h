/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity -- what a certificate says about its holder, as plain data that outlives the certificate.
 */
#ifndef PORTSEAL_IDENTITY_H
#define PORTSEAL_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

struct mbedtls_x509_crt;

enum identity_kind { IDENTITY_CN, IDENTITY_OU, IDENTITY_DNS, IDENTITY_URI, IDENTITY_IP, IDENTITY_EMAIL };

struct identity_name {
	enum identity_kind kind;
	size_t len;
	char *value; /* NUL-terminated copy of len bytes; an IP as text */
};

#define IDENTITY_PIN_LEN 32
#define IDENTITY_SERIAL_MAX 20
#define IDENTITY_LABEL_MAX 128

struct identity {
	struct identity_name *names;
	size_t n_names;
	char *issuer; /* distinguished name as text */
	char *subject;
	uint8_t serial[IDENTITY_SERIAL_MAX];
	size_t serial_len;
	uint8_t pin[IDENTITY_PIN_LEN]; /* SHA-256 of the SubjectPublicKeyInfo (RFC 7469, section 2.4) */
	int64_t not_before;            /* seconds since 1970 */
	int64_t not_after;
};

/* PS_E_PROTO: a name holds a NUL or control byte or malformed UTF-8, or there are absurdly many (over 256);
 * the cause says which. Returns a heap object. */
enum ps_err identity_new(const struct mbedtls_x509_crt *leaf, struct identity **identity, struct ps_cause *cause)
	PS_MUST_CHECK;
void identity_free(struct identity *identity);

#define IDENTITY_PIN_TEXT_MAX 48

/* The pin in base64: the value for a rule's spki_sha256. */
void identity_pin_text(const struct identity *identity, char out[static IDENTITY_PIN_TEXT_MAX]);

/* "CN", "OU", "DNS", "URI", "IP", "email" */
const char *identity_kind_name(enum identity_kind kind);

/* The one name a log line shows: the CN, else the first URI, DNS, email or IP, else the serial in hexadecimal.
 * Text of the peer: free of control bytes, but whoever prints it escapes it. */
void identity_label(const struct identity *identity, char out[static IDENTITY_LABEL_MAX]);

/* Can it be the CN or OU of an identity: UTF-8 (RFC 3629) without control characters, and not empty? */
bool identity_is_name(const void *bytes, size_t len);

#endif
