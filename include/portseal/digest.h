/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest -- SHA-256 of bytes that come piece by piece (FIPS 180-4).
 */
#ifndef PORTSEAL_DIGEST_H
#define PORTSEAL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

#define DIGEST_LEN 32

struct digest;

enum ps_err digest_new(struct digest **digest) PS_MUST_CHECK;
void digest_free(struct digest *digest);

void digest_add(struct digest *digest, const void *bytes, size_t len);

/* Of all that was added. PS_E_BUG: the library failed, at any call. Nothing can be added afterwards. */
enum ps_err digest_end(struct digest *digest, uint8_t sha256[static DIGEST_LEN]) PS_MUST_CHECK;

#endif
