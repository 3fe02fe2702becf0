/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern -- an endless stream of bytes that both ends know, so that a byte lost, doubled or damaged is seen at once.
 *
 * Its period is 65,537, which no buffer or record divides: a piece in the wrong place never looks right.
 *
 * Owns:   one table of the process, filled by pattern_init().
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_CHUNK ((size_t)256 * 1024) /* the most that pattern_at() and pattern_matches() reach */

void pattern_init(void);

/* The PATTERN_CHUNK bytes of the stream that begin at `offset`. */
const uint8_t *pattern_at(uint64_t offset);

/* True if the `len` bytes (at most PATTERN_CHUNK) are those of the stream at `offset`. */
bool pattern_matches(uint64_t offset, const uint8_t *bytes, size_t len);

#endif
