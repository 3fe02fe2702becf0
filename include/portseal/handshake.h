/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake -- a TLS 1.3 handshake by mbedTLS on a non-blocking socket, until the traffic secrets can be taken out.
 *
 * Both ends always present a certificate. mbedTLS is kept from looking at the chain, for a stranger chooses what that
 * costs: whether the peer may enter is decided by judge, once, from the chain it presented; the handshake only proves
 * that it holds the key, and no key that is dear to check is used. Never resumes, never issues tickets, reads exactly the
 * bytes of its own records.
 *
 * Owns:   the mbedTLS context of one connection, freed at the latest with the handshake. Borrows the socket.
 * Never:  reads more than HANDSHAKE_TURN_BYTES in one step, or closes the socket.
 */
#ifndef PORTSEAL_HANDSHAKE_H
#define PORTSEAL_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/alert.h"
#include "portseal/credentials.h"
#include "portseal/err.h"
#include "portseal/refusal.h"
#include "portseal/suite.h"
#include "portseal/tls_stream.h"

#define HANDSHAKE_TURN_BYTES 16384         /* read in one step at most */
#define HANDSHAKE_TOTAL_BYTES (128 * 1024) /* read in one handshake at most: what does not end by then is a flood */

struct mbedtls_x509_crt;
struct handshake_setup;
struct handshake;

/* What all handshakes of one role in one process share; immutable once made. */
struct handshake_setup_config {
	enum tls_role role;
	struct credentials *credentials; /* borrowed; must outlive the setup; NULL only for a client that shows none */
	/* Every protocol name that a handshake may be started with; copied. Of a client also two names, "h2,other", which are
	 * offered in that order. */
	const char *const *alpn;
	size_t n_alpn;
};

enum ps_err handshake_setup_new(const struct handshake_setup_config *config, struct handshake_setup **setup,
                                struct ps_cause *cause) PS_MUST_CHECK;
void handshake_setup_free(struct handshake_setup *setup);

/* A client's judge. Called once, inside handshake_step, as soon as the server's chain is known: before our own
 * certificate is sent, and before the server has proven its key (DONE is not reached until it has). Return
 * REFUSAL_NONE to go on. Not called on a server: that judges handshake_peer_chain() after DONE. */
typedef enum refusal handshake_judge_fn(void *owner, struct mbedtls_x509_crt *chain);

struct handshake_config {
	int fd;                  /* connected, non-blocking */
	const char *alpn;        /* NULL, or one name of the setup: what to answer (server) or to ask for (client) */
	const char *echo;        /* server, where alpn is NULL: any other name that the client offered, to be answered as if
	                              * it were known; copied; NULL: none */
	const char *server_name; /* client: SNI; NULL or an IP address sends none */
	handshake_judge_fn *on_peer; /* client: required; server: NULL */
	void *owner;
};

/* PS_E_CONFIG: the setup does not have that protocol name. The first one of a process starts the random generator:
 * fork before, not after. */
enum ps_err handshake_new(const struct handshake_setup *setup, const struct handshake_config *config,
                          struct handshake **handshake) PS_MUST_CHECK;
void handshake_free(struct handshake *handshake);

enum handshake_state {
	HANDSHAKE_WANT_READ,
	HANDSHAKE_WANT_WRITE,
	HANDSHAKE_YIELD,  /* its share of this turn is used: call again in the next turn of the loop, without waiting */
	HANDSHAKE_DONE,   /* the secrets can be taken; the next byte of the socket is application record 0 */
	HANDSHAKE_FAILED, /* handshake_failure() says why; the right alert has been written where one can be read */
};

/* Goes on as far as it can without blocking. After DONE or FAILED it stays there. */
enum handshake_state handshake_step(struct handshake *handshake);

struct handshake_failure {
	enum refusal refusal; /* CLOSED_BEFORE_HELLO, TLS_VERSION, TLS_FAILED, PEER_ALERT, BAD_SIGNATURE, … or on_peer's */
	uint8_t alert_sent;   /* ALERT_NONE: none could be */
	uint8_t alert_received;
	struct ps_cause detail; /* "the client sent the alert bad_certificate: it does not accept our certificate" */
};
const struct handshake_failure *handshake_failure(const struct handshake *handshake);

/* After DONE. */
void handshake_secrets(const struct handshake *handshake, struct traffic_secrets *secrets);
/* Belongs to the handshake. On a server never NULL: one that shows none fails. */
struct mbedtls_x509_crt *handshake_peer_chain(const struct handshake *handshake);
const char *handshake_alpn(const struct handshake *handshake); /* NULL: none agreed */

/* Server, after DONE: writes `alert` under the application keys, where every peer can read it. The caller then shuts
 * down writing, drains and closes (linger.h). */
void handshake_refuse(struct handshake *handshake, enum alert alert);

/* Server, before any context exists: writes `alert` in the clear. */
void handshake_refuse_plain(int fd, enum alert alert);

/* "3.6.6"; and whether the library found at run time is older than 3.6.6. */
const char *handshake_library_version(void);
int handshake_library_is_old(void);

#endif
