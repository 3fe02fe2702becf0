/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificate -- what can be read off a certificate that mbedTLS has parsed but does not tell: times as numbers,
 * names for a log, extensions it ignores, equality of names.
 *
 * Never:  decides anything about trust (judge does), or verifies a signature.
 */
#ifndef PORTSEAL_CERTIFICATE_H
#define PORTSEAL_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/credentials.h"
#include "portseal/err.h"

struct mbedtls_asn1_named_data;
struct mbedtls_x509_crt;
struct mbedtls_x509_time;

#define CERTIFICATE_FILE_MAX (1024u * 1024u) /* larger files of certificates are refused */
#define CERTIFICATE_NAME_MAX 256
#define CERTIFICATE_DATE_MAX 24

/* Seconds since 1970 of a time in UTC. */
int64_t certificate_time(const struct mbedtls_x509_time *time);

/* "2026-03-01T12:00:00Z" */
void certificate_date(int64_t seconds, char out[static CERTIFICATE_DATE_MAX]);

/* A distinguished name such as "CN=alice, OU=finance", escaped for a log, cut to fit. */
void certificate_name(const struct mbedtls_asn1_named_data *name, char out[static CERTIFICATE_NAME_MAX]);

/* Are both distinguished names the same? Strings in UTF8String and PrintableString compare without case, everything
 * else byte for byte: at least as strict as RFC 5280, section 7.1. */
bool certificate_same_name(const struct mbedtls_asn1_named_data *a, const struct mbedtls_asn1_named_data *b);

/* Looks for the extension with this OID (content bytes) in a DER SEQUENCE OF Extension, whether critical or not.
 * PS_E_PROTO: the DER cannot be walked, so that nothing can be said. */
enum ps_err certificate_find_extension(const uint8_t *der, size_t der_len, const char *oid, size_t oid_len, bool *found)
	PS_MUST_CHECK;

/* Is any extension of that sequence critical? True too if it cannot be walked. */
bool certificate_has_critical(const uint8_t *der, size_t der_len);

/* Has it name constraints (RFC 5280, section 4.2.1.10), critical or not? True too if the extensions cannot be read. */
bool certificate_has_name_constraints(const struct mbedtls_x509_crt *certificate);

/* May it issue: version 3, CA:TRUE, and keyCertSign where it has a key usage? */
bool certificate_may_issue(const struct mbedtls_x509_crt *certificate);

/* How an extended key usage answers for `purpose`. */
enum certificate_use { CERTIFICATE_USE_UNSAID, CERTIFICATE_USE_NAMED, CERTIFICATE_USE_ANY, CERTIFICATE_USE_OTHER };
enum certificate_use certificate_use(const struct mbedtls_x509_crt *certificate, enum peer_purpose purpose);

/* "clientAuth", "serverAuth" */
const char *certificate_purpose_name(enum peer_purpose purpose);

/* Reads every certificate of a file (PEM with one or several, or one DER) behind `chain`, which the caller initialised.
 * All must parse; the cause names the path, and which one does not. */
enum ps_err certificate_read(const char *path, struct mbedtls_x509_crt *chain, struct ps_cause *cause) PS_MUST_CHECK;

/* The same on the heap, for callers that know no mbedTLS. */
enum ps_err certificate_chain_new(const char *path, struct mbedtls_x509_crt **chain, struct ps_cause *cause)
	PS_MUST_CHECK;
void certificate_chain_free(struct mbedtls_x509_crt *chain);

/* So many certificates as DER behind DER, and back as a chain. Packing writes at most `cap` bytes: PS_E_LIMIT; unpacking
 * bytes that are not what packing wrote: PS_E_PROTO. */
enum ps_err certificate_chain_pack(const struct mbedtls_x509_crt *const *certificates, size_t n, uint8_t *out,
                                   size_t cap, size_t *len) PS_MUST_CHECK;
enum ps_err certificate_chain_unpack(const uint8_t *bytes, size_t len, struct mbedtls_x509_crt **chain) PS_MUST_CHECK;

#endif
