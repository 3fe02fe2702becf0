/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_tls -- a TLS endpoint straight from mbedTLS, for tests that need a peer unlike ours: other suites, other
 * versions, a key that does not belong to its certificate.
 *
 * Aborts with a message when it cannot be made. Non-blocking; steps on a socket that it borrows.
 */
#ifndef RAW_TLS_H
#define RAW_TLS_H

#include <stdbool.h>

#include <mbedtls/ssl.h>

#include "mint.h"

struct raw_tls_spec { /* zero means: as mbedTLS does it, and TLS 1.3 only */
	bool server;
	const struct mint_cert *const *chain; /* ends in NULL; or NULL: shows none */
	mbedtls_pk_context *key;              /* else that of the first certificate */
	const int *suites;                    /* ends in 0 */
	const uint16_t *groups;               /* ends in 0 */
	const char *const *alpn;              /* ends in NULL */
	bool tls12;                           /* TLS 1.2 only */
	bool asks;                            /* server: asks for a certificate */
	bool trusts_nobody;                   /* client: refuses every server */
};

struct raw_tls {
	mbedtls_ssl_config config;
	mbedtls_ssl_context ssl;
	mbedtls_x509_crt *chain;
	mbedtls_x509_crt nobody;
	int fd;
	int code; /* of the last step: 0 when the handshake is done */
};

void raw_tls_open(struct raw_tls *peer, const struct raw_tls_spec *spec, int fd);
/* Returns the code of mbedtls_ssl_handshake; a code that is final is not overwritten. */
int raw_tls_step(struct raw_tls *peer);
bool raw_tls_is_final(const struct raw_tls *peer);
/* The number of the fatal alert that ended a step or a read, or ALERT_NONE. */
int raw_tls_alert(const struct raw_tls *peer, int code);
void raw_tls_close(struct raw_tls *peer);

#endif
