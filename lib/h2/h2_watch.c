/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_watch -- counts what a peer can make us do for next to nothing, each kind in a bucket that refills with time.
 *
 * nghttp2 has limits of its own, but not in all versions in use, nor for all of this; and it does not tell which one was
 * reached. The figures are far beyond what a sender does with 10,000 streams, and far below what costs a worker more
 * than a few per cent of its time.
 */
#include <string.h>

#include "h2_private.h"

#define FRAME_HEADER_LEN 9
#define FLAG_ACK 0x1
#define FLAG_END_STREAM 0x1
#define CONTINUATIONS_MAX 4 /* a header block of more frames than that is far beyond H2_HEADER_LIST_MAX */

static const struct {
	const char *name; /* of the log */
	int32_t burst;
	int32_t per_s;
} rules[H2_RULE_COUNT] = {
	[H2_RULE_RESET] = { "reset-flood", 1000, 100 }, /* of streams that have just begun (CVE-2023-44487) */
	[H2_RULE_PING] = { "ping-flood", 200, 10 },
	[H2_RULE_SETTINGS] = { "settings-flood", 50, 2 },
	[H2_RULE_PRIORITY] = { "priority-flood", 20000, 200 },
	[H2_RULE_WINDOW] = { "window-update-flood", 40000, 2000 }, /* and four for each DATA frame that we send */
	[H2_RULE_EMPTY] = { "empty-frame-flood", 200, 20 },
	[H2_RULE_UNKNOWN] = { "unknown-frame-flood", 200, 20 },
	[H2_RULE_MALFORMED] = { "malformed-flood", 200, 20 },
	[H2_RULE_SLIVER] = { "tiny-window", 2000, 200 }, /* DATA frames of a few bytes because its window allows no more */
};

void h2_watch_init(struct h2_watch *watch, enum h2_role role, uint64_t now_ms)
{
	*watch = (struct h2_watch){ .refilled_ms = now_ms };
	watch->magic_left = role == H2_SERVER ? NGHTTP2_CLIENT_MAGIC_LEN : 0;
	for (size_t i = 0; i < H2_RULE_COUNT; i++)
		watch->tokens[i] = rules[i].burst;
}

static void refill(struct h2_watch *watch, uint64_t now_ms)
{
	const uint64_t seconds = (now_ms - watch->refilled_ms) / 1000;

	if (seconds == 0)
		return;
	watch->refilled_ms += seconds * 1000;
	for (size_t i = 0; i < H2_RULE_COUNT; i++) {
		const uint64_t filled = (uint64_t)watch->tokens[i] + seconds * (uint64_t)rules[i].per_s;
		watch->tokens[i] = filled < (uint64_t)rules[i].burst ? (int32_t)filled : rules[i].burst;
	}
}

const char *h2_watch_count(struct h2_watch *watch, enum h2_rule rule, uint64_t now_ms)
{
	refill(watch, now_ms);
	if (watch->tokens[rule] == 0)
		return rules[rule].name;
	watch->tokens[rule]--;
	return NULL;
}

void h2_watch_refund(struct h2_watch *watch, enum h2_rule rule, int32_t tokens)
{
	watch->tokens[rule] += tokens;
	if (watch->tokens[rule] > rules[rule].burst)
		watch->tokens[rule] = rules[rule].burst;
}

/* What a frame is counted as; H2_RULE_COUNT: as nothing. */
static enum h2_rule rule_of(uint8_t type, uint8_t flags, uint32_t body_len)
{
	switch (type) {
	case NGHTTP2_DATA:
		return body_len == 0 && (flags & FLAG_END_STREAM) == 0 ? H2_RULE_EMPTY : H2_RULE_COUNT;
	case NGHTTP2_HEADERS:
		return body_len == 0 ? H2_RULE_EMPTY : H2_RULE_COUNT;
	case NGHTTP2_PRIORITY:
		return H2_RULE_PRIORITY;
	case NGHTTP2_RST_STREAM:
		return H2_RULE_RESET;
	case NGHTTP2_SETTINGS:
		return (flags & FLAG_ACK) == 0 ? H2_RULE_SETTINGS : H2_RULE_COUNT;
	case NGHTTP2_PING:
		return H2_RULE_PING;
	case NGHTTP2_GOAWAY:
		return H2_RULE_UNKNOWN; /* one is enough */
	case NGHTTP2_WINDOW_UPDATE:
		return H2_RULE_WINDOW;
	case NGHTTP2_CONTINUATION:
		return body_len == 0 ? H2_RULE_EMPTY : H2_RULE_COUNT;
	default:
		return H2_RULE_UNKNOWN;
	}
}

static const char *count_frame(struct h2_watch *watch, uint64_t now_ms)
{
	const uint8_t *header = watch->header;
	const uint8_t type = header[3];
	watch->body_left = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];

	watch->n_continued = type == NGHTTP2_CONTINUATION ? watch->n_continued + 1 : 0;
	if (watch->n_continued > CONTINUATIONS_MAX)
		return "continuation-flood";
	const enum h2_rule rule = rule_of(type, header[4], watch->body_left);
	return rule == H2_RULE_COUNT ? NULL : h2_watch_count(watch, rule, now_ms);
}

static size_t at_most(size_t len, size_t limit)
{
	return len < limit ? len : limit;
}

const char *h2_watch_bytes(struct h2_watch *watch, const uint8_t *bytes, size_t len, uint64_t now_ms)
{
	size_t at = at_most(len, watch->magic_left);
	watch->magic_left = (uint8_t)(watch->magic_left - at);

	while (at < len) {
		if (watch->body_left > 0) {
			const size_t skipped = at_most(len - at, watch->body_left);
			watch->body_left -= (uint32_t)skipped;
			at += skipped;
			continue;
		}
		watch->header[watch->have++] = bytes[at++];
		if (watch->have < FRAME_HEADER_LEN)
			continue;
		watch->have = 0;
		const char *abuse = count_frame(watch, now_ms);
		if (abuse != NULL)
			return abuse;
	}
	return NULL;
}
