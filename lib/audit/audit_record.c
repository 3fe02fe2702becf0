/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/audit_record.h"

#include <stddef.h>
#include <string.h>

enum string {
	STRING_PEER,
	STRING_SERVICE,
	STRING_REASON,
	STRING_RECEIPT,
	STRING_DETAIL,
	STRINGS,
};

/* The longest of each; a peer is an address as text. */
static const size_t string_max[STRINGS] = { 160, 80, 64, 160, 640 };

/* Far more than a role can have lost between two records; so few that the sum of them never comes round to 0. */
#define LOST_MAX UINT32_MAX

/* What stands before the strings: no pointer, nothing that the two ends could read differently. */
struct fixed {
	uint64_t id, lost, conn, in, out, ms;
	uint32_t event, stream, status, again;
	uint16_t lens[STRINGS]; /* without the NUL; the string stands there even when it is empty */
	uint16_t who_len;
	uint8_t who_cut, has_sha256;
	uint8_t sha256[AUDIT_HASH_LEN];
};

_Static_assert(sizeof(struct fixed) + 160 + 80 + 64 + 160 + 640 + STRINGS + AUDIT_WHO_MAX <= AUDIT_RECORD_MAX,
               "the longest record fits");

static size_t add_string(uint8_t *out, const char *string, size_t max, uint16_t *len)
{
	size_t n = string == NULL ? 0 : strnlen(string, max);

	if (n > 0)
		memcpy(out, string, n);
	out[n] = '\0';
	*len = (uint16_t)n;
	return n + 1;
}

size_t audit_record_pack(uint64_t id, uint64_t lost, const struct audit_entry *entry,
                         uint8_t out[static AUDIT_RECORD_MAX])
{
	const char *const strings[STRINGS] = { entry->peer, entry->service, entry->reason, entry->receipt, entry->detail };
	size_t at = sizeof(struct fixed);
	struct fixed fixed;

	memset(&fixed, 0, sizeof(fixed));
	fixed.id = id;
	fixed.lost = lost;
	fixed.conn = entry->conn;
	fixed.in = entry->in;
	fixed.out = entry->out;
	fixed.ms = entry->ms;
	fixed.event = (uint32_t)entry->event;
	fixed.stream = entry->stream;
	fixed.status = entry->status;
	fixed.again = entry->again ? 1 : 0;
	fixed.has_sha256 = entry->has_sha256 ? 1 : 0;
	memcpy(fixed.sha256, entry->sha256, sizeof(fixed.sha256));
	for (size_t i = 0; i < STRINGS; i++)
		at += add_string(out + at, strings[i], string_max[i], &fixed.lens[i]);
	if (entry->who != NULL && audit_who_is_good(entry->who)) {
		fixed.who_len = entry->who->len;
		fixed.who_cut = entry->who->cut;
		memcpy(out + at, entry->who->text, entry->who->len);
		at += entry->who->len;
	}
	memcpy(out, &fixed, sizeof(fixed));
	return at;
}

void audit_record_set_again(uint8_t *packed)
{
	uint32_t again = 1;

	memcpy(packed + offsetof(struct fixed, again), &again, sizeof(again));
}

/* A string of exactly this length, with its NUL and no other. */
static const char *take_string(const uint8_t *bytes, size_t len, size_t *at, size_t string_len)
{
	const char *string = (const char *)bytes + *at;

	if (len - *at <= string_len || memchr(string, '\0', string_len + 1) != string + string_len)
		return NULL;
	*at += string_len + 1;
	return string;
}

static bool take_who(const uint8_t *bytes, size_t len, const struct fixed *fixed, struct audit_who *who)
{
	if (fixed->who_len != len || len > sizeof(who->text) || fixed->who_cut > 1)
		return false;
	who->len = fixed->who_len;
	who->cut = fixed->who_cut;
	if (len > 0)
		memcpy(who->text, bytes, len);
	return audit_who_is_good(who);
}

enum ps_err audit_record_unpack(const uint8_t *bytes, size_t len, struct audit_record *record)
{
	struct audit_entry *entry = &record->entry;
	const char *strings[STRINGS];
	size_t at = sizeof(struct fixed);
	struct fixed fixed;

	if (len < sizeof(fixed) || len > AUDIT_RECORD_MAX)
		return PS_E_PROTO;
	memcpy(&fixed, bytes, sizeof(fixed));
	if (fixed.event >= AUDIT_EVENT_COUNT || fixed.has_sha256 > 1 || fixed.again > 1 || fixed.id == 0 ||
	    fixed.lost > LOST_MAX)
		return PS_E_PROTO;
	for (size_t i = 0; i < STRINGS; i++)
		if (fixed.lens[i] > string_max[i] || (strings[i] = take_string(bytes, len, &at, fixed.lens[i])) == NULL)
			return PS_E_PROTO;
	if (!take_who(bytes + at, len - at, &fixed, &record->who))
		return PS_E_PROTO;
	record->id = fixed.id;
	record->lost = fixed.lost;
	*entry = (struct audit_entry){
		.event = (enum audit_event)fixed.event,
		.conn = fixed.conn,
		.stream = fixed.stream,
		.status = fixed.status,
		.in = fixed.in,
		.out = fixed.out,
		.ms = fixed.ms,
		.peer = strings[STRING_PEER],
		.service = strings[STRING_SERVICE],
		.reason = strings[STRING_REASON],
		.detail = strings[STRING_DETAIL],
		.receipt = strings[STRING_RECEIPT],
		.who = &record->who,
		.has_sha256 = fixed.has_sha256 == 1,
		.again = fixed.again == 1,
	};
	memcpy(entry->sha256, fixed.sha256, sizeof(entry->sha256));
	return PS_OK;
}

enum ps_err audit_hello_unpack(const uint8_t *bytes, size_t len, struct audit_hello *hello)
{
	if (len != sizeof(*hello))
		return PS_E_PROTO;
	memcpy(hello, bytes, sizeof(*hello));
	return hello->policy <= AUDIT_CONTINUE ? PS_OK : PS_E_PROTO;
}

enum ps_err audit_answer_unpack(const uint8_t *bytes, size_t len, struct audit_answer *answer)
{
	if (len != sizeof(*answer))
		return PS_E_PROTO;
	memcpy(answer, bytes, sizeof(*answer));
	if (answer->policy > AUDIT_CONTINUE || answer->written > 1 ||
	    memchr(answer->cause, '\0', sizeof(answer->cause)) == NULL)
		return PS_E_PROTO;
	return PS_OK;
}
