/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl -- revocation lists (RFC 5280, section 5): read once, kept as sorted serials.
 *
 * Only complete lists of the issuer's own certificates are taken: a delta, an indirect list, one for some reasons or
 * scopes only, or one without nextUpdate is refused when loaded, for it cannot answer "is this one revoked?".
 *
 * Never:  decides which of several lists counts; that is trust's.
 */
#ifndef PORTSEAL_CRL_H
#define PORTSEAL_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

struct mbedtls_asn1_buf;
struct mbedtls_asn1_named_data;
struct mbedtls_x509_crt;
struct crl;

#define CRL_FILE_MAX (64u * 1024u * 1024u)

/* Reads every list of a file (PEM with several, or one DER). PS_OK: *crls is an array of n pointers, the caller's: each
 * for crl_free, the array for free. */
enum ps_err crl_read(const char *path, struct crl ***crls, size_t *n, struct ps_cause *cause) PS_MUST_CHECK;
void crl_free(struct crl *crl);

const struct mbedtls_asn1_named_data *crl_issuer(const struct crl *crl);
int64_t crl_this_update(const struct crl *crl);
int64_t crl_next_update(const struct crl *crl);

/* Of two lists of one issuer: does `a` take the place of `b`? By thisUpdate; of one moment, by the later nextUpdate. */
bool crl_is_newer(const struct crl *a, const struct crl *b);

/* Did this authority sign it, with a sound hash, and may it (cRLSign where it has a key usage)? The answer about the
 * last key is remembered. */
bool crl_is_signed_by(struct crl *crl, struct mbedtls_x509_crt *issuer);

bool crl_lists(const struct crl *crl, const struct mbedtls_asn1_buf *serial);

#endif
