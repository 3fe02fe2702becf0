/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_internal -- what the files of the handshake share. Nobody else includes it.
 */
#ifndef PORTSEAL_HANDSHAKE_INTERNAL_H
#define PORTSEAL_HANDSHAKE_INTERNAL_H

#include <stdbool.h>

#include <mbedtls/ssl.h>

#include "portseal/buf.h"
#include "portseal/handshake.h"

/* The records as they pass in the clear, seen from outside mbedTLS: it does not tell a plaintext alert from a broken
 * record once it has keys. */
struct handshake_sniffer {
	uint8_t header[5]; /* of the record under way */
	size_t header_len;
	size_t body_left;
	uint8_t alert[2]; /* level and number, when the last record was a plaintext alert */
	size_t alert_len;
	unsigned int n_idle; /* records that bring a handshake no further: change_cipher_spec and plaintext alerts */
};

/* What mbedTLS reads from and writes to. Output is gathered until mbedTLS wants to read: it writes every message of a
 * flight by a call of its own. */
struct handshake_bio {
	int fd;
	struct buf out;     /* gathered, not yet written */
	size_t turn_left;   /* bytes that may still be read in this step */
	size_t total_left;  /* and in this handshake */
	size_t received;    /* bytes read so far */
	int error;          /* errno of the read or write that failed, or 0 */
	bool eof;           /* the peer closed */
	bool flooded;       /* the peer sent more than a handshake can need */
	bool blocked;       /* the last read found nothing: only then is waiting right */
	bool last_flight;   /* what is gathered now is the last of mbedTLS that the peer can read */
	bool muted;         /* that has been written: drop what mbedTLS still writes */
	bool answered;      /* something was written since the last byte was read */
	uint8_t alert_sent; /* plaintext alert that passed on its way out, or ALERT_NONE */
	struct handshake_sniffer in;
};

void handshake_bio_init(struct handshake_bio *bio, int fd);
void handshake_bio_clear(struct handshake_bio *bio);

/* For mbedtls_ssl_set_bio; `ctx` is a struct handshake_bio. */
int handshake_bio_recv(void *ctx, unsigned char *bytes, size_t len);
int handshake_bio_send(void *ctx, const unsigned char *bytes, size_t len);

/* Writes what was gathered. 0, MBEDTLS_ERR_SSL_WANT_WRITE, or another mbedTLS code. */
int handshake_bio_flush(struct handshake_bio *bio);

/* The plaintext alert that was the last record read, or ALERT_NONE. */
uint8_t handshake_bio_plain_alert(const struct handshake_bio *bio);

/* True when the first bytes of the peer are no record header. */
bool handshake_bio_not_tls(const struct handshake_bio *bio);

/* A configuration of one handshake's own, for a protocol name that the setup does not have. */
struct handshake_echo;

struct handshake {
	enum tls_role role;
	struct handshake_echo *echo; /* NULL: a configuration of the setup serves */
	enum handshake_state state;
	struct handshake_bio bio;
	mbedtls_ssl_context ssl;
	handshake_judge_fn *on_peer;
	void *owner;
	bool seen; /* the peer's chain; a client has judged it by then */
	struct traffic_secrets secrets;
	size_t client_secret_len; /* 0 until mbedTLS has derived it */
	size_t server_secret_len;
	struct handshake_failure failure;
};

/* The configuration that answers to, or asks for, this protocol name; NULL if the setup has none for it. */
const mbedtls_ssl_config *handshake_setup_pick(const struct handshake_setup *setup, const char *alpn);
enum tls_role handshake_setup_role(const struct handshake_setup *setup);

/* Borrows from the setup, copies the name. Free it behind the handshake's context. */
enum ps_err handshake_echo_new(const struct handshake_setup *setup, const char *name, struct handshake_echo **echo)
	PS_MUST_CHECK;
const mbedtls_ssl_config *handshake_echo_config(const struct handshake_echo *echo);
void handshake_echo_free(struct handshake_echo *echo);

/* Ends the handshake: fills hs->failure for what mbedTLS returned, and writes the alert where one can be read. */
void handshake_fail(struct handshake *hs, int mbedtls_code);

/* The same for a peer whose chain was refused. */
void handshake_fail_refused(struct handshake *hs, enum refusal refusal);

/* Writes a fatal alert under the application keys, if they are there. True when the socket took all of it. */
bool handshake_write_sealed_alert(struct handshake *hs, enum alert alert);

#endif
