/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mbed -- the few things every file here needs of mbedTLS: random numbers, its errors in words, PEM, and DER written
 * the way mbedTLS writes it, from the end of a buffer to its beginning.
 */
#ifndef CERTS_MBED_H
#define CERTS_MBED_H

#include <mbedtls/psa_util.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/buf.h"
#include "portseal/err.h"

/* Arguments of whatever mbedTLS function asks for a generator. */
#define MBED_RNG mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE

/* Once, before anything else here. */
enum ps_err mbed_init(struct ps_cause *cause) PS_MUST_CHECK;

enum ps_err mbed_random(uint8_t *out, size_t len, struct ps_cause *cause) PS_MUST_CHECK;

/* "3.6.6" */
const char *mbed_version(void);

/* "what: mbedTLS's words (-0x2180)"; returns `err`. */
enum ps_err mbed_failed(struct ps_cause *cause, enum ps_err err, const char *what, int code);

/* Appends -----BEGIN label-----, the DER in base64, -----END label-----. */
enum ps_err mbed_add_pem(const char *label, const uint8_t *der, size_t der_len, struct buf *out) PS_MUST_CHECK;

/* Writes tag and length in front of the content that begins at *at; the content is `len` bytes. Returns the bytes of
 * all three, or a negative code of mbedTLS. Negative lengths pass through, so that calls nest and are checked once. */
int mbed_wrap(uint8_t **at, uint8_t *start, unsigned char tag, int len);

/* Sums two such results; a negative one wins. */
int mbed_sum(int a, int b);

#endif
