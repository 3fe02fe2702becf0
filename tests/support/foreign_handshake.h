/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORTSEAL_TESTS_FOREIGN_HANDSHAKE_H
#define PORTSEAL_TESTS_FOREIGN_HANDSHAKE_H

#include "portseal/tls_stream.h"

/* Shakes hands on a blocking socket with plain mbedTLS, trusting anyone, and returns the secrets. As a server it shows
 * the PEM certificate and key. Fails the test if the handshake does. */
struct traffic_secrets foreign_handshake(int sock, enum tls_role role, uint16_t suite, const char *certificate_pem,
                                         const char *key_pem);

#endif
