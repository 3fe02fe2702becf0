/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hands -- what tests of the handshake shake: credentials and setups of both roles, and pairs of ends on a socket pair.
 *
 * Owns:   everything of hands_start() until hands_stop(). Aborts with a message when something cannot be made.
 */
#ifndef HANDS_H
#define HANDS_H

#include <stddef.h>
#include <stdint.h>

#include "mint.h"
#include "portseal/handshake.h"
#include "raw_tls.h"

struct hands {
	struct mint_cert *ca, *alice, *relay;
	const struct mint_cert *alice_chain[2]; /* end in NULL */
	const struct mint_cert *relay_chain[2];
	/* All know the protocols "h2" and "portseal/billing". */
	struct handshake_setup *server, *client;         /* P-256, the leaf alone */
	struct handshake_setup *server_rsa, *client_rsa; /* RSA; the client shows an intermediate too */
	struct handshake_setup *client_bare;             /* shows no certificate */
};

const struct hands *hands_start(void);
void hands_stop(void);

/* A client's handshake, a server's, or one of them and a peer of another kind; NULL where there is none. */
struct hands_pair {
	int client_fd, server_fd;
	struct handshake *client, *server;
	enum refusal verdict; /* what the client's judge says; REFUSAL_NONE */
	size_t client_bytes;  /* what the client wrote so far, counted by hands_pump */
	struct {              /* what the client's judge saw */
		unsigned int calls;
		size_t chain_len;
		uint8_t leaf[4096];
		size_t leaf_len;
	} seen;
};

void hands_pair_open(struct hands_pair *pair, const struct handshake_setup *client,
                     const struct handshake_setup *server, const char *client_alpn, const char *server_alpn);
void hands_raw_client(struct hands_pair *pair, struct raw_tls *raw, const struct raw_tls_spec *spec);
void hands_raw_server(struct hands_pair *pair, struct raw_tls *raw, const struct raw_tls_spec *spec);
void hands_pair_close(struct hands_pair *pair);

/* Steps both ends in turn until neither gets any further. */
void hands_pump(struct hands_pair *pair);
void hands_pump_raw_client(struct hands_pair *pair, struct raw_tls *raw);
void hands_pump_raw_server(struct hands_pair *pair, struct raw_tls *raw);

#endif
