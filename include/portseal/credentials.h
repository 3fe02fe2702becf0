/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credentials -- who we are: our certificate (with its intermediates) and its private key.
 *
 * Owns:   the parsed certificate and key; the key is wiped when freed.
 */
#ifndef PORTSEAL_CREDENTIALS_H
#define PORTSEAL_CREDENTIALS_H

#include <stdint.h>

#include "portseal/err.h"

struct mbedtls_x509_crt;
struct mbedtls_pk_context;
struct credentials;

enum peer_purpose { PURPOSE_CLIENT, PURPOSE_SERVER };

/* Reads, parses and checks: every certificate in the file parses, the key is private to us (file_check_private), the
 * key belongs to the certificate, its type can be used by TLS 1.3 here. For PURPOSE_SERVER also shape, purpose and
 * dates: a relay that nobody would accept does not start. What a client shows is for the server to judge, whose rules
 * and clock may differ from ours. The cause names the file, what is wrong and what to do. */
enum ps_err credentials_load(const char *certificate_path, const char *key_path, enum peer_purpose purpose,
                             struct credentials **credentials, struct ps_cause *cause) PS_MUST_CHECK;
void credentials_free(struct credentials *credentials);

struct mbedtls_x509_crt *credentials_chain(struct credentials *credentials);
struct mbedtls_pk_context *credentials_key(struct credentials *credentials);

/* Seconds since 1970. */
int64_t credentials_not_after(const struct credentials *credentials);

#endif
