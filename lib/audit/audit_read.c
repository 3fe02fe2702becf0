/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/audit_read.h"

#include <string.h>

#define DIGITS_MAX 19 /* a number of so many digits fits uint64_t */

static const char before_seq[] = "{\"seq\":";
static const char before_time[] = ",\"time\":\"";
static const char before_event[] = "\",\"event\":\"";
static const char before_trail[] = ",\"trail\":\"";
static const char before_previous[] = "\",\"previous\":\"";
static const char before_key[] = ",\"key\":\"";
static const char before_chain[] = ",\"chain\":\"";
static const char before_sig[] = "\",\"sig\":\"";
static const char at_end[] = "\"}";

/* What is left of the line, from the front. */
struct cursor {
	const char *at;
	size_t left;
};

static bool take_literal(struct cursor *cursor, const char *literal)
{
	size_t len = strlen(literal);

	if (cursor->left < len || memcmp(cursor->at, literal, len) != 0)
		return false;
	cursor->at += len;
	cursor->left -= len;
	return true;
}

/* No sign, no leading zero: there is one way to write a number. */
static bool take_number(struct cursor *cursor, uint64_t *number)
{
	size_t n = 0;

	*number = 0;
	for (; n < cursor->left && n < DIGITS_MAX && cursor->at[n] >= '0' && cursor->at[n] <= '9'; n++)
		*number = *number * 10 + (uint64_t)(cursor->at[n] - '0');
	if (n == 0 || cursor->at[0] == '0')
		return false;
	cursor->at += n;
	cursor->left -= n;
	return true;
}

/* Up to the closing quote, which stays; no escapes in what is read this way. */
static bool take_word(struct cursor *cursor, char *word, size_t cap)
{
	const char *end = memchr(cursor->at, '"', cursor->left);
	size_t len = end == NULL ? cap : (size_t)(end - cursor->at);

	if (len >= cap || memchr(cursor->at, '\\', len) != NULL || memchr(cursor->at, '\0', len) != NULL)
		return false;
	memcpy(word, cursor->at, len);
	word[len] = '\0';
	cursor->at += len;
	cursor->left -= len;
	return true;
}

/* -1 for anything but 0-9a-f: upper case would be a second way to write it. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(struct cursor *cursor, uint8_t *out, size_t len)
{
	if (cursor->left < 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(cursor->at[2 * i]);
		int low = hex_digit(cursor->at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	cursor->at += 2 * len;
	cursor->left -= 2 * len;
	return true;
}

static bool read_front(struct cursor *cursor, struct audit_read *read)
{
	return take_literal(cursor, before_seq) && take_number(cursor, &read->seq) && take_literal(cursor, before_time) &&
	       take_word(cursor, read->time, sizeof(read->time)) && take_literal(cursor, before_event) &&
	       take_word(cursor, read->event, sizeof(read->event)) && take_literal(cursor, "\"");
}

static bool read_first(struct cursor *cursor, struct audit_read *read)
{
	return take_literal(cursor, before_trail) && take_word(cursor, read->trail, sizeof(read->trail)) &&
	       strlen(read->trail) == AUDIT_TRAIL_LEN && take_literal(cursor, before_previous) &&
	       take_hex(cursor, read->previous, sizeof(read->previous)) && take_literal(cursor, "\"");
}

/* ,"chain":"HEX"} or ,"chain":"HEX","sig":"HEX"}, to the end of the line. */
static bool read_chain(struct cursor cursor, struct audit_read *read)
{
	if (!take_literal(&cursor, before_chain) || !take_hex(&cursor, read->chain, sizeof(read->chain)))
		return false;
	if (read->is_head) {
		if (!take_literal(&cursor, before_sig) || cursor.left <= strlen(at_end))
			return false;
		read->sig_len = (cursor.left - strlen(at_end)) / 2;
		if (read->sig_len > sizeof(read->sig) || !take_hex(&cursor, read->sig, read->sig_len))
			return false;
	}
	return take_literal(&cursor, at_end) && cursor.left == 0;
}

/* The last ,"chain":" of the line: inside a value a quote is escaped, so it cannot stand there. */
static bool find_chain(const struct cursor *cursor, struct cursor *chain)
{
	const size_t len = sizeof(before_chain) - 1;

	for (size_t from_end = len; from_end <= cursor->left; from_end++) {
		const char *at = cursor->at + cursor->left - from_end;

		if (*at == ',' && memcmp(at, before_chain, len) == 0) {
			*chain = (struct cursor){ at, from_end };
			return true;
		}
	}
	return false;
}

enum ps_err audit_read(const char *line, size_t len, struct audit_read *read)
{
	struct cursor cursor = { line, len };
	struct cursor chain;

	memset(read, 0, sizeof(*read));
	if (!read_front(&cursor, read))
		return PS_E_PROTO;
	read->is_head = strcmp(read->event, AUDIT_HEAD) == 0;
	read->is_first = strcmp(read->event, AUDIT_BEGIN) == 0 || strcmp(read->event, AUDIT_CONTINUED) == 0;
	if (read->is_first && !read_first(&cursor, read))
		return PS_E_PROTO;
	if (read->is_head && (!take_literal(&cursor, before_key) || !take_word(&cursor, read->key, sizeof(read->key))))
		return PS_E_PROTO;
	if (!find_chain(&cursor, &chain) || !read_chain(chain, read))
		return PS_E_PROTO;
	read->hashed_len = (size_t)(chain.at - line);
	return PS_OK;
}
