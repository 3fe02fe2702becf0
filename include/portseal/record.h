/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record -- seals and opens TLS 1.3 records once the handshake is over (RFC 8446, section 5).
 *
 * Owns:   the traffic key, IV and sequence number of one direction of one connection.
 * Never:  allocates per record, blocks, logs, or knows what a record's content means.
 */
#ifndef PORTSEAL_RECORD_H
#define PORTSEAL_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/aead.h"
#include "portseal/alert.h"
#include "portseal/buf.h"
#include "portseal/err.h"
#include "portseal/suite.h"

#define RECORD_HEADER_LEN 5
#define RECORD_MAX_BODY 16384                                    /* content bytes of one record */
#define RECORD_MAX_CIPHERTEXT (RECORD_MAX_BODY + 256)            /* what a peer may send behind a header */
#define RECORD_EXPANSION (RECORD_HEADER_LEN + 1 + SUITE_TAG_LEN) /* what sealing adds to a body without padding */

enum record_type {
	RECORD_CHANGE_CIPHER_SPEC = 20,
	RECORD_ALERT = 21,
	RECORD_HANDSHAKE = 22,
	RECORD_APPLICATION_DATA = 23,
};

/* One direction. Caller's storage; record_key_clear wipes it. Zeros are a cleared one. */
struct record_key {
	const struct suite *suite;
	const struct aead_provider *provider;
	struct aead_key *aead;
	uint8_t secret[SUITE_HASH_MAX]; /* application_traffic_secret_N, for the next update */
	uint8_t iv[SUITE_IV_LEN];
	uint64_t sequence; /* number of the next record under this key */
};

/* Derives key and IV from the traffic secret of hash_len bytes (section 7.3). Copies the secret. */
enum ps_err record_key_init(struct record_key *key, const struct suite *suite, const uint8_t *secret) PS_MUST_CHECK;

/* application_traffic_secret_N+1 (section 7.2); sequence starts at 0 again, the old key is wiped. After an error the
 * old key is still in force. */
enum ps_err record_key_update(struct record_key *key) PS_MUST_CHECK;

/* Harmless on a cleared one. */
void record_key_clear(struct record_key *key);

/* Seals body_len bytes (at most RECORD_MAX_BODY) as one record of the inner type `type` behind what is in `out`, which
 * must not contain the body itself. PS_E_LIMIT: this key has sealed as much as it may: update first. */
enum ps_err record_seal(struct record_key *key, enum record_type type, const uint8_t *body, size_t body_len,
                        struct buf *out) PS_MUST_CHECK;

/* The same in place, for whoever read the body to where it is to be sealed: it lies behind RECORD_HEADER_LEN bytes of room,
 * with body_len + RECORD_EXPANSION bytes at `record` in all. After an error the body is lost. */
enum ps_err record_seal_in_place(struct record_key *key, enum record_type type, uint8_t *record, size_t body_len)
	PS_MUST_CHECK;

/* One opened record; body points into the input that was opened in place. */
struct record {
	enum record_type type; /* the inner one, padding removed */
	uint8_t *body;
	size_t body_len;
	size_t wire_len; /* header and ciphertext: what to consume from the input */
};

/* Opens the first record of bytes[0..len) in place. PS_E_AGAIN: not whole yet (nothing was touched: append and call
 * again). PS_E_PROTO: *alert says which alert answers it (record_overflow, bad_record_mac, unexpected_message); a header
 * that cannot be right is refused before its body arrives. The version bytes are ignored, but authenticated. */
enum ps_err record_open(struct record_key *key, uint8_t *bytes, size_t len, struct record *record, enum alert *alert)
	PS_MUST_CHECK;

/* Bytes that the record at the front needs in all, as soon as its header is there; 0 while it is not. */
size_t record_wire_len(const uint8_t *bytes, size_t len);

#endif
