/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key -- private keys: made (P-256), written as PKCS#8, read, and judged.
 *
 * Never:  leaves key material in memory that it gives back.
 */
#ifndef CERTS_KEY_H
#define CERTS_KEY_H

#include <mbedtls/pk.h>

#include "portseal/buf.h"
#include "portseal/err.h"
#include "portseal/text.h"

/* Fills an initialised context. */
enum ps_err key_generate(mbedtls_pk_context *key, struct ps_cause *cause) PS_MUST_CHECK;

/* Appends "BEGIN PRIVATE KEY" (RFC 5958), or "BEGIN ENCRYPTED PRIVATE KEY" (PBES2: PBKDF2 with HMAC-SHA-256, then
 * AES-256-CBC) when there is a password. */
enum ps_err key_print(const mbedtls_pk_context *key, const struct buf *password, struct buf *pem,
                      struct ps_cause *cause) PS_MUST_CHECK;

/* The first line of a private file, at least one byte, into an empty `password`. */
enum ps_err key_read_password(const char *path, struct buf *password, struct ps_cause *cause) PS_MUST_CHECK;

/* Reads a private key nobody else can read; `password` may be NULL. PS_E_CONFIG says whether a password is missing,
 * wrong, or the file is no key. */
enum ps_err key_read(const char *path, const struct buf *password, mbedtls_pk_context *key, struct ps_cause *cause)
	PS_MUST_CHECK;

/* PS_E_CONFIG unless a TLS 1.3 peer can use the public key and it is strong: RSA of 2048 bits and more, P-256, P-384,
 * P-521. */
enum ps_err key_check_strength(const mbedtls_pk_context *key, struct ps_cause *cause) PS_MUST_CHECK;

/* "P-256", "RSA 2048". */
void key_describe(const mbedtls_pk_context *key, struct text *out);

#endif
