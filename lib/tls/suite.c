/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/suite.h"

/*
 * AES-GCM: RFC 8446 allows 2^24.5 full records. Ours stop well before that. Others count to 2^24 (GnuTLS, rustls), count
 * bytes (Java) or do not count (OpenSSL), so a peer is asked at 2^24 and not before: one which cannot update at all
 * (mbedTLS) ends the connection over the request. Past that the peer is given room, because a stream whose sending half
 * is closed cannot ask; 2^32 full records leave an attacker an advantage of about 2^-45.
 *
 * ChaCha20-Poly1305: no limit that a connection reaches; these only keep the sequence number far from its end.
 */
#define GCM_SEAL_LIMIT (UINT64_C(1) << 23)
#define GCM_REQUEST_LIMIT (UINT64_C(1) << 24)
#define GCM_OPEN_LIMIT (UINT64_C(1) << 32)
#define CHACHA_SEAL_LIMIT (UINT64_C(1) << 36)
#define CHACHA_REQUEST_LIMIT (UINT64_C(1) << 40)
#define CHACHA_OPEN_LIMIT (UINT64_C(1) << 48)

static const struct suite suites[] = {
	{
		.id = SUITE_AES_128_GCM_SHA256,
		.name = "TLS_AES_128_GCM_SHA256",
		.key_len = 16,
		.hash_len = 32,
		.seal_limit = GCM_SEAL_LIMIT,
		.request_limit = GCM_REQUEST_LIMIT,
		.open_limit = GCM_OPEN_LIMIT,
	},
	{
		.id = SUITE_AES_256_GCM_SHA384,
		.name = "TLS_AES_256_GCM_SHA384",
		.key_len = 32,
		.hash_len = 48,
		.seal_limit = GCM_SEAL_LIMIT,
		.request_limit = GCM_REQUEST_LIMIT,
		.open_limit = GCM_OPEN_LIMIT,
	},
	{
		.id = SUITE_CHACHA20_POLY1305_SHA256,
		.name = "TLS_CHACHA20_POLY1305_SHA256",
		.key_len = 32,
		.hash_len = 32,
		.seal_limit = CHACHA_SEAL_LIMIT,
		.request_limit = CHACHA_REQUEST_LIMIT,
		.open_limit = CHACHA_OPEN_LIMIT,
	},
};

const struct suite *suite_find(uint16_t id)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		if ((uint16_t)suites[i].id == id)
			return &suites[i];
	}
	return NULL;
}
