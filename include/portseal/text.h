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
	size_t cap;  /* bytes of storage, NUL included */
	size_t len;  /* bytes before the NUL */
	size_t safe; /* text's own: where "…" may go without splitting a character or an escape */
	bool cut;    /* something did not fit; whatever is added later is dropped */
};

void text_init(struct text *text, char *storage, size_t cap);
void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t len);
void text_addf(struct text *text, const char *format, ...) PS_PRINTF(2, 3);

/* Appends bytes of foreign origin for a log line or a cause: printable ASCII and well-formed, visible UTF-8 stay.
 * Everything that could forge a line or deceive its reader becomes \xNN for each byte: controls (C0, DEL, C1 also as
 * UTF-8), stray bytes, line separators, direction overrides and other invisible characters. `"` and `\` become
 * \" and \\. */
void text_add_escaped(struct text *text, const void *bytes, size_t len);

/* The same characters, escaped for the inside of a JSON string (RFC 8259, section 7); stray bytes become U+FFFD. */
void text_add_json(struct text *text, const void *bytes, size_t len);

/* Lower-case hexadecimal digits, no separator. */
void text_add_hex(struct text *text, const uint8_t *bytes, size_t len);

#define TEXT_QUOTED_MAX 256

/* For a cause that quotes: `string` escaped and in double quotes, or escaped only (a path); both return `out`. */
const char *text_quoted(char out[static TEXT_QUOTED_MAX], const char *string);
const char *text_escaped(char out[static TEXT_QUOTED_MAX], const char *string);

/* Splits nothing, allocates nothing: returns the entry of the NULL-terminated list that is nearest to `word`
 * (at most a third of its length in edits, at least 1; two swapped neighbours are one edit), or NULL:
 * "unknown key, did you mean ...". */
const char *text_nearest(const char *word, const char *const *candidates);

#endif
