/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text -- bounded building of strings, escaping of text that came from a peer, and small things a person reads.
 *
 * Never:  allocates, or writes past the storage it was given. A text that does not fit ends in "…" and is marked.
 */
#ifndef PORTSEAL_TEXT_H
#define PORTSEAL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

/* Borrows the caller's storage; `at` is always NUL-terminated once text_init has run. */
struct text {
	char *at;
	size_t cap; /* bytes of storage, NUL included */
	size_t len; /* bytes before the NUL */
	bool cut;   /* something did not fit */
};

void text_init(struct text *text, char *storage, size_t cap);
void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t len);
void text_addf(struct text *text, const char *format, ...) PS_PRINTF(2, 3);

/* Appends bytes of foreign origin for a log line: printable ASCII and well-formed UTF-8 beyond the C1 controls
 * stay, everything else (controls, DEL, stray bytes, `"` and `\`) becomes \xNN, \" or \\. */
void text_add_escaped(struct text *text, const void *bytes, size_t len);

/* The same for the inside of a JSON string (RFC 8259, section 7); stray bytes become U+FFFD. */
void text_add_json(struct text *text, const void *bytes, size_t len);

/* Lower-case hexadecimal digits, no separator. */
void text_add_hex(struct text *text, const uint8_t *bytes, size_t len);

/* Splits nothing, allocates nothing: returns the entry of the NULL-terminated list that is nearest to `word`
 * (edit distance at most a third of its length, at least 1), or NULL: "unknown key, did you mean ...". */
const char *text_nearest(const char *word, const char *const *candidates);

#endif
