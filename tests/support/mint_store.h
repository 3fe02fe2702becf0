/* SPDX-License-Identifier: Apache-2.0 */
/* What mint keeps between its files: the memory it hands out, and how it gives up. */
#ifndef MINT_STORE_H
#define MINT_STORE_H

#include "mint.h"

enum mint_stored { MINT_MEMORY, MINT_KEY, MINT_CHAIN, MINT_TREE };

/* Keeps `thing` until mint_free_all, which frees it as what it is. Returns it. */
void *mint_keep(void *thing, enum mint_stored what);
void *mint_alloc(size_t size); /* zeroed, kept */

/* Aborts unless ret >= 0; returns it. */
int mint_must(int ret, const char *what);

/* Puts `der` in PEM, kept. */
const char *mint_wrap_pem(const char *label, const uint8_t *der, size_t der_len);

/* Signs body (a whole SEQUENCE) and returns SEQUENCE { body, algorithm, signature } in new memory, the
 * caller's to keep or free. */
uint8_t *mint_sign(const uint8_t *body, size_t body_len, mbedtls_pk_context *key, mbedtls_md_type_t md, bool broken,
                   size_t *len);

#endif
