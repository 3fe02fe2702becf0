/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_hello -- looks at a ClientHello that still lies in the socket (RFC 8446, section 4.1.2), before anything is
 * spent on its sender: is it TLS at all, is it whole, does it offer TLS 1.3, which name and protocols does it ask for.
 *
 * Only hints: mbedTLS parses the same bytes again and has the last word on them.
 * Never:  allocates, copies, or reads past the given bytes.
 */
#ifndef PORTSEAL_CLIENT_HELLO_H
#define PORTSEAL_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENT_HELLO_NAME_MAX 255
#define CLIENT_HELLO_ALPN_MAX 16
#define CLIENT_HELLO_PEEK_MAX (5 + 16384)

enum client_hello_look {
	CLIENT_HELLO_PARTIAL, /* TLS so far; wait until `need` bytes are there */
	CLIENT_HELLO_WHOLE,   /* the fields are filled */
	CLIENT_HELLO_NO_HINT, /* TLS, but spread over several records or otherwise not readable here: let mbedTLS judge */
	CLIENT_HELLO_HTTP,    /* an HTTP/1 request line: somebody forgot TLS */
	CLIENT_HELLO_NOT_TLS, /* anything else */
};

struct client_hello {
	size_t need; /* bytes in all that are needed to look again */
	bool offers_tls13;
	size_t server_name_len;
	char server_name[CLIENT_HELLO_NAME_MAX +
	                 1]; /* lower case; "" when absent; only letters, digits, "-", "_", "."; else "" */
	bool server_name_malformed;
	size_t n_alpn; /* the first CLIENT_HELLO_ALPN_MAX */
	struct {
		const uint8_t *bytes; /* points into the input */
		size_t len;
	} alpn[CLIENT_HELLO_ALPN_MAX];
};

enum client_hello_look client_hello_look(const uint8_t *bytes, size_t len, struct client_hello *hello);

#endif
