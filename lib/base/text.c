/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text -- bounded building of strings and the escaping that keeps a peer from writing our log.
 *
 * Never:  allocates, passes an undecodable byte on, or cuts inside a character or an escape.
 */
#include "portseal/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ELLIPSIS "\xe2\x80\xa6"
#define ELLIPSIS_LEN 3
#define NEAREST_MAX 64 /* longer words get no suggestion */

void text_init(struct text *text, char *storage, size_t cap)
{
	assert(cap > 0);
	*text = (struct text){ .at = storage, .cap = cap, .len = 0, .safe = 0, .cut = false };
	storage[0] = '\0';
}

/* The longest length that leaves room for the ellipsis and the NUL. */
static size_t safe_limit(const struct text *text)
{
	return text->cap > ELLIPSIS_LEN ? text->cap - ELLIPSIS_LEN - 1 : 0;
}

static void cut(struct text *text)
{
	text->cut = true;
	text->len = text->safe;
	if (text->cap - text->len > ELLIPSIS_LEN) {
		memcpy(text->at + text->len, ELLIPSIS, ELLIPSIS_LEN);
		text->len += ELLIPSIS_LEN;
	}
	text->at[text->len] = '\0';
}

/* Call before `n` new bytes are counted in: moves `safe` behind them, or as far into them as the limit and the start
 * of a character allow. Never into older bytes, which may be an escape. */
static void advance_safe(struct text *text, size_t n)
{
	size_t safe = safe_limit(text);
	if (safe < text->len)
		return;
	if (safe >= text->len + n) {
		text->safe = text->len + n;
		return;
	}
	while (safe > text->len && ((unsigned char)text->at[safe] & 0xc0) == 0x80)
		safe--;
	text->safe = safe;
}

/* Appends bytes that must not be separated, or cuts before them. */
static void add_unit(struct text *text, const char *bytes, size_t len)
{
	if (text->cut)
		return;
	if (len >= text->cap - text->len) {
		cut(text);
		return;
	}
	memcpy(text->at + text->len, bytes, len);
	text->len += len;
	text->at[text->len] = '\0';
	if (text->len <= safe_limit(text))
		text->safe = text->len;
}

void text_add(struct text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

void text_add_bytes(struct text *text, const char *bytes, size_t len)
{
	if (text->cut || len == 0)
		return;
	const size_t room = text->cap - text->len - 1;
	const size_t n = len < room ? len : room;
	memcpy(text->at + text->len, bytes, n);
	advance_safe(text, n);
	text->len += n;
	text->at[text->len] = '\0';
	if (n < len)
		cut(text);
}

void text_addf(struct text *text, const char *format, ...)
{
	if (text->cut)
		return;
	const size_t room = text->cap - text->len;
	va_list args;
	va_start(args, format);
	const int n = vsnprintf(text->at + text->len, room, format, args);
	va_end(args);
	if (n < 0) {
		cut(text);
		return;
	}
	const bool fits = (size_t)n < room;
	advance_safe(text, fits ? (size_t)n : room - 1);
	if (fits)
		text->len += (size_t)n;
	else
		cut(text);
}

/* Decodes one well-formed UTF-8 sequence (RFC 3629, section 4); returns its length, 0 for a stray byte. */
static size_t decode_utf8(const uint8_t *bytes, size_t len, uint32_t *point)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t lead = bytes[0];
	if (lead < 0x80) {
		*point = lead;
		return 1;
	}
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	const size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
	if (n > len)
		return 0;
	uint32_t value = lead & (0x7fU >> n);
	for (size_t i = 1; i < n; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (bytes[i] & 0x3fU);
	}
	if (value < smallest[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*point = value;
	return n;
}

/* What moves the cursor, reorders a line or hides in it. Zero-width joiners are among them: a log loses little by
 * spelling them out, and an identity that contains one should look unusual. */
static bool is_deceptive(uint32_t point)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x0000, 0x001f },   /* C0 controls */
		{ 0x007f, 0x009f },   /* DEL and C1 controls */
		{ 0x00ad, 0x00ad },   /* soft hyphen */
		{ 0x061c, 0x061c },   /* Arabic letter mark */
		{ 0x200b, 0x200f },   /* zero-width characters, direction marks */
		{ 0x2028, 0x202e },   /* line and paragraph separators, direction embeddings and overrides */
		{ 0x2060, 0x206f },   /* word joiner, invisible operators, direction isolates */
		{ 0xfeff, 0xfeff },   /* byte order mark */
		{ 0xfff9, 0xfffb },   /* interlinear annotation */
		{ 0xe0000, 0xe007f }, /* tags */
	};
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (point >= ranges[i].first && point <= ranges[i].last)
			return true;
	return false;
}

static void add_escaped_bytes(struct text *text, const uint8_t *bytes, size_t n)
{
	char unit[4 * 4 + 1];
	for (size_t i = 0; i < n; i++)
		snprintf(unit + 4 * i, sizeof(unit) - 4 * i, "\\x%02x", (unsigned)bytes[i]);
	add_unit(text, unit, 4 * n);
}

void text_add_escaped(struct text *text, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	while (len > 0 && !text->cut) {
		uint32_t point = 0;
		const size_t n = decode_utf8(at, len, &point);
		const size_t step = n > 0 ? n : 1;
		if (n == 0 || is_deceptive(point))
			add_escaped_bytes(text, at, step);
		else if (point == '"')
			add_unit(text, "\\\"", 2);
		else if (point == '\\')
			add_unit(text, "\\\\", 2);
		else
			add_unit(text, (const char *)at, n);
		at += step;
		len -= step;
	}
}

static void add_json_escape(struct text *text, uint32_t point)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: the character, its letter */
	char unit[13];
	for (size_t i = 0; shorts[i] != '\0'; i += 2) {
		if (point == (unsigned char)shorts[i]) {
			const char pair[2] = { '\\', shorts[i + 1] };
			add_unit(text, pair, sizeof(pair));
			return;
		}
	}
	if (point < 0x10000) {
		snprintf(unit, sizeof(unit), "\\u%04x", (unsigned)(point & 0xffff));
		add_unit(text, unit, 6);
		return;
	}
	const unsigned over = (unsigned)(point - 0x10000) & 0xfffff;
	snprintf(unit, sizeof(unit), "\\u%04x\\u%04x", 0xd800U + (over >> 10), 0xdc00U + (over & 0x3ffU));
	add_unit(text, unit, 12);
}

void text_add_json(struct text *text, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	while (len > 0 && !text->cut) {
		uint32_t point = 0;
		const size_t n = decode_utf8(at, len, &point);
		const size_t step = n > 0 ? n : 1;
		if (n == 0)
			add_unit(text, "\xef\xbf\xbd", 3);
		else if (point == '"' || point == '\\' || is_deceptive(point))
			add_json_escape(text, point);
		else
			add_unit(text, (const char *)at, n);
		at += step;
		len -= step;
	}
}

void text_add_hex(struct text *text, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len && !text->cut; i++) {
		const char pair[2] = { digits[bytes[i] >> 4], digits[bytes[i] & 15] };
		add_unit(text, pair, sizeof(pair));
	}
}

const char *text_quoted(char out[static TEXT_QUOTED_MAX], const char *string)
{
	struct text text;
	text_init(&text, out, TEXT_QUOTED_MAX - 1); /* the closing quote always fits */
	text_add(&text, "\"");
	text_add_escaped(&text, string, strlen(string));
	out[text.len] = '"';
	out[text.len + 1] = '\0';
	return out;
}

const char *text_escaped(char out[static TEXT_QUOTED_MAX], const char *string)
{
	struct text text;
	text_init(&text, out, TEXT_QUOTED_MAX);
	text_add_escaped(&text, string, strlen(string));
	return out;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment distance of two words shorter than NEAREST_MAX. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NEAREST_MAX]; /* row i lives at i % 3; a swap looks two rows back */
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i - 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = min_size(above[j] + 1, row[j - 1] + 1);
			row[j] = min_size(row[j], above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = min_size(row[j], rows[(i - 2) % 3][j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

const char *text_nearest(const char *word, const char *const *candidates)
{
	const size_t word_len = strlen(word);
	if (word_len == 0 || word_len >= NEAREST_MAX)
		return NULL;
	size_t best = word_len / 3 > 1 ? word_len / 3 + 1 : 2; /* one more than allowed */
	const char *nearest = NULL;
	for (; *candidates != NULL; candidates++) {
		const size_t len = strlen(*candidates);
		if (len >= NEAREST_MAX)
			continue;
		const size_t distance = edit_distance(word, word_len, *candidates, len);
		if (distance < best) {
			best = distance;
			nearest = *candidates;
		}
	}
	return nearest;
}
