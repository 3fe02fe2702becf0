/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_schedule -- what TLS 1.3 derives from a traffic secret: keys, IVs and the next secret (RFC 8446, section 7).
 *
 * Never:  keeps anything. Who receives a secret or a key wipes it.
 */
#ifndef PORTSEAL_KEY_SCHEDULE_H
#define PORTSEAL_KEY_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/suite.h"

#define KEY_SCHEDULE_LABEL_MAX 12 /* "c hs traffic" is the longest that TLS 1.3 knows */

/* HKDF-Expand-Label(secret, label, "", out_len) with the hash of the suite (section 7.1). `secret` has hash_len bytes,
 * `label` comes without its "tls13 ". PS_E_NOMEM, PS_E_BUG. */
enum ps_err key_schedule_expand(const struct suite *suite, const uint8_t *secret, const char *label, uint8_t *out,
                                size_t out_len) PS_MUST_CHECK;

/* The traffic key (suite->key_len bytes) and IV of a secret (section 7.3). */
enum ps_err key_schedule_traffic(const struct suite *suite, const uint8_t *secret, uint8_t key[static SUITE_KEY_MAX],
                                 uint8_t iv[static SUITE_IV_LEN]) PS_MUST_CHECK;

/* application_traffic_secret_N+1 of _N (section 7.2). */
enum ps_err key_schedule_next(const struct suite *suite, const uint8_t *secret, uint8_t next[static SUITE_HASH_MAX])
	PS_MUST_CHECK;

#endif
