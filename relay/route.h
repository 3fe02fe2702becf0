/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route -- which service a connection is for: the listener's, the one that ALPN or SNI chooses, or the only one; or that
 * it speaks HTTP/2, where each stream asks for its own.
 *
 * A web client offers h2 beside http/1.1 wherever it goes. Where the listener or its SNI names a service, it wants to speak
 * to that application in its own tongue, and gets the bare connection that it always got; anywhere else it gets HTTP/2.
 */
#ifndef PORTSEAL_RELAY_ROUTE_H
#define PORTSEAL_RELAY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "portseal/client_hello.h"
#include "portseal/err.h"

#define ROUTE_ALPN_PREFIX "portseal/"

#define ROUTE_ALPN_H2 "h2"

#define ROUTE_MISSED_MAX 80

enum route_kind {
	ROUTE_STREAM,  /* the connection is one of the service */
	ROUTE_H2,      /* each stream chooses; `service` is the only one that exists there, or CONFIG_NO_SERVICE: any */
	ROUTE_NOWHERE, /* it offers HTTP/1.1, and nothing says which application is to read that */
};

struct route {
	enum route_kind kind;
	int service;                   /* index, or CONFIG_NO_SERVICE: what was asked for does not exist */
	const char *alpn;              /* the protocol name to answer, of route_protocols; NULL: none */
	char missed[ROUTE_MISSED_MAX]; /* the portseal/<service> that is not here, cut to fit and not escaped; "": none */
	bool missed_might_be;          /* it has the form of a service's name */
};

/* Every protocol name a handshake may be answered with. The array is the caller's to free, the strings live as long as
 * the table. */
struct route_protocols {
	char **names; /* first portseal/<service> in the services' order, then the names that services declare, then h2 */
	size_t n;
};

enum ps_err route_protocols_new(const struct relay_config *config, struct route_protocols *protocols) PS_MUST_CHECK;
void route_protocols_clear(struct route_protocols *protocols);

/* `listener_service` is CONFIG_NO_SERVICE where the listener leaves the choice open, `hello` NULL where the ClientHello
 * could not be read beforehand. A name that no service bears falls to the only service there is; a client that asks
 * for a portseal/<service> that is not here gets CONFIG_NO_SERVICE, never another one. */
void route_choose(const struct relay_config *config, const struct route_protocols *protocols, int listener_service,
                  const struct client_hello *hello, struct route *route);

/* The portseal/<service> that is not here and is to be confirmed all the same, or NULL. A server confirms before it sees
 * the client's certificate: by silence about names that do not exist, a stranger could try out which ones do. Whoever
 * may know is refused afterwards, by unrecognized_name. */
const char *route_echo(const struct route *route);

#endif
