/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal -- signs the head of an audit trail with the relay's key, and verifies that with its certificate.
 *
 * What is signed is SHA-256("portseal-audit-head-1\n" | chain): a key that also does TLS signs nothing here that could
 * be a TLS signature (RFC 8446, section 4.4.3 begins with 64 blanks). ECDSA, or RSA with PKCS #1 v1.5.
 */
#ifndef PORTSEAL_SEAL_H
#define PORTSEAL_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/audit_line.h"
#include "portseal/credentials.h"
#include "portseal/err.h"
#include "portseal/identity.h"

#define SEAL_MAX 1024 /* bytes of a signature, with RSA of 8192 bits */

struct mbedtls_x509_crt;

/* PS_E_BUG: the library failed, or its signature has no room. */
enum ps_err seal_sign(struct credentials *credentials, const uint8_t chain[static AUDIT_HASH_LEN],
                      uint8_t signature[static SEAL_MAX], size_t *len) PS_MUST_CHECK;

/* PS_E_AUTH: not this key's signature of this chain. */
enum ps_err seal_verify(struct mbedtls_x509_crt *certificate, const uint8_t chain[static AUDIT_HASH_LEN],
                        const uint8_t *signature, size_t len) PS_MUST_CHECK;

/* SHA-256 of a certificate's SubjectPublicKeyInfo in base64, as in a rule's spki_sha256: names the key of a head. */
void seal_pin(const struct mbedtls_x509_crt *certificate, char out[static IDENTITY_PIN_TEXT_MAX]);

#endif
