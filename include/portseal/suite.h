/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite -- the three TLS 1.3 cipher suites Portseal speaks (RFC 8446, appendix B.4), and the secrets of a connection.
 */
#ifndef PORTSEAL_SUITE_H
#define PORTSEAL_SUITE_H

#include <stddef.h>
#include <stdint.h>

enum suite_id {
	SUITE_AES_128_GCM_SHA256 = 0x1301,
	SUITE_AES_256_GCM_SHA384 = 0x1302,
	SUITE_CHACHA20_POLY1305_SHA256 = 0x1303,
};

#define SUITE_KEY_MAX 32
#define SUITE_HASH_MAX 48
#define SUITE_IV_LEN 12
#define SUITE_TAG_LEN 16

struct suite {
	enum suite_id id;
	const char *name; /* "TLS_AES_128_GCM_SHA256" */
	size_t key_len;   /* 16 or 32 */
	size_t hash_len;  /* 32 or 48 */
	/* How long one key lasts, in records (RFC 8446, section 5.5). */
	uint64_t seal_limit;    /* ours seals so many at most, the KeyUpdate that ends it included */
	uint64_t request_limit; /* after so many of the peer's it is asked to update its own */
	uint64_t open_limit;    /* a peer that was asked and went on is refused here */
};

/* NULL for any other number. */
const struct suite *suite_find(uint16_t id);

/* The application traffic secrets as the handshake leaves them (RFC 8446, section 7.1). Whoever holds one wipes it. */
struct traffic_secrets {
	uint16_t suite;                 /* enum suite_id */
	uint8_t client[SUITE_HASH_MAX]; /* what the client seals with; hash_len bytes */
	uint8_t server[SUITE_HASH_MAX];
};

#endif
