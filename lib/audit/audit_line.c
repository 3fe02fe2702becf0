/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/audit_line.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <mbedtls/sha256.h>

#include "portseal/identity.h"

#define WHO_FIRST 5 /* pin, serial, client, subject, issuer */

static const char domain[] = "portseal-audit-1\n";

static const char *const event_names[AUDIT_EVENT_COUNT] = {
	[AUDIT_ACCEPTED] = "accepted",
	[AUDIT_REFUSED] = "refused",
	[AUDIT_CLOSED] = "closed",
};

/* Whole or, where there is no room, not at all; the first ones as an empty string, so that each keeps its place. */
static void add_who(struct audit_who *who, const char *prefix, const char *value, bool keeps_place)
{
	const size_t reserve = WHO_FIRST; /* for the NULs of the first ones */
	size_t prefix_len = strlen(prefix);
	size_t len = strlen(value);

	if (who->len + prefix_len + len + 1 + reserve > sizeof(who->text)) {
		who->cut = 1;
		if (keeps_place)
			who->text[who->len++] = '\0';
		return;
	}
	memcpy(who->text + who->len, prefix, prefix_len);
	memcpy(who->text + who->len + prefix_len, value, len + 1);
	who->len = (uint16_t)(who->len + prefix_len + len + 1);
}

void audit_who_set(struct audit_who *who, const struct identity *identity)
{
	char pin[IDENTITY_PIN_TEXT_MAX];
	char label[IDENTITY_LABEL_MAX];
	char serial[2 * IDENTITY_SERIAL_MAX + 1];
	struct text text;

	who->len = 0;
	who->cut = 0;
	text_init(&text, serial, sizeof(serial));
	text_add_hex(&text, identity->serial, identity->serial_len);
	identity_pin_text(identity, pin);
	identity_label(identity, label);
	add_who(who, "", pin, true);
	add_who(who, "", serial, true);
	add_who(who, "", label, true);
	add_who(who, "", identity->subject, true);
	add_who(who, "", identity->issuer, true);
	for (size_t i = 0; i < identity->n_names; i++) {
		char prefix[16];

		(void)snprintf(prefix, sizeof(prefix), "%s=", identity_kind_name(identity->names[i].kind));
		add_who(who, prefix, identity->names[i].value, false);
	}
}

bool audit_who_is_good(const struct audit_who *who)
{
	size_t n = 0;

	if (who->len == 0)
		return true;
	if (who->len > sizeof(who->text) || who->text[who->len - 1] != '\0')
		return false;
	for (size_t i = 0; i < who->len; i++)
		n += who->text[i] == '\0' ? 1 : 0;
	return n >= WHO_FIRST;
}

const char *audit_event_name(enum audit_event event)
{
	return event_names[event];
}

void audit_line_hash(const uint8_t before[static AUDIT_HASH_LEN], const void *bytes, size_t len,
                     uint8_t out[static AUDIT_HASH_LEN])
{
	mbedtls_sha256_context sha;

	mbedtls_sha256_init(&sha);
	if (mbedtls_sha256_starts(&sha, 0) != 0 ||
	    mbedtls_sha256_update(&sha, (const uint8_t *)domain, sizeof(domain) - 1) != 0 ||
	    mbedtls_sha256_update(&sha, before, AUDIT_HASH_LEN) != 0 || mbedtls_sha256_update(&sha, bytes, len) != 0 ||
	    mbedtls_sha256_finish(&sha, out) != 0)
		memset(out, 0, AUDIT_HASH_LEN); /* software SHA-256 has no way to fail; a verifier would refuse this line */
	mbedtls_sha256_free(&sha);
}

void audit_line_begin(struct text *text, const struct audit_chain *chain, int64_t ms, const char *event)
{
	time_t seconds = (time_t)(ms / 1000);
	char date[32] = "";
	struct tm utc;

	if (gmtime_r(&seconds, &utc) != NULL)
		(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	text_addf(text, "{\"seq\":%" PRIu64 ",\"time\":\"%s.%03dZ\",\"event\":\"%s\"", chain->seq + 1, date,
	          (int)(ms % 1000), event);
}

void audit_line_text(struct text *text, const char *key, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	text_addf(text, ",\"%s\":\"", key);
	text_add_json(text, value, strlen(value));
	text_add(text, "\"");
}

void audit_line_number(struct text *text, const char *key, uint64_t value)
{
	text_addf(text, ",\"%s\":%" PRIu64, key, value);
}

void audit_line_bytes(struct text *text, const char *key, const uint8_t *bytes, size_t len)
{
	text_addf(text, ",\"%s\":\"", key);
	text_add_hex(text, bytes, len);
	text_add(text, "\"");
}

static const char *next_string(const char *at)
{
	return at + strlen(at) + 1;
}

static void add_identity(struct text *text, const struct audit_who *who)
{
	static const char *const keys[WHO_FIRST] = { "pin", "serial", "client", "subject", "issuer" };
	const char *at = who->text;
	const char *end = who->text + who->len;
	const char *between = "";

	for (size_t i = 0; i < WHO_FIRST && at < end; i++, at = next_string(at))
		audit_line_text(text, keys[i], at);
	text_add(text, ",\"names\":[");
	for (; at < end; at = next_string(at)) {
		text_addf(text, "%s\"", between);
		text_add_json(text, at, strlen(at));
		text_add(text, "\"");
		between = ",";
	}
	text_add(text, who->cut ? "],\"names_cut\":true" : "]");
}

static void add_numbers(struct text *text, const struct audit_entry *entry)
{
	if (entry->status != 0)
		audit_line_number(text, "status", entry->status);
	if (entry->event == AUDIT_CLOSED) {
		audit_line_number(text, "in", entry->in);
		audit_line_number(text, "out", entry->out);
	}
	if (entry->event != AUDIT_ACCEPTED)
		audit_line_number(text, "ms", entry->ms);
}

void audit_line_entry(struct text *text, const struct audit_entry *entry)
{
	if (entry->conn != 0)
		text_addf(text, ",\"conn\":\"%08" PRIx32 "\"", (uint32_t)(entry->conn & UINT32_MAX));
	if (entry->stream != 0)
		audit_line_number(text, "stream", entry->stream);
	audit_line_text(text, "peer", entry->peer);
	audit_line_text(text, "service", entry->service);
	audit_line_text(text, "reason", entry->reason);
	add_numbers(text, entry);
	audit_line_text(text, "receipt", entry->receipt);
	if (entry->has_sha256)
		audit_line_bytes(text, "sha256", entry->sha256, sizeof(entry->sha256));
	if (entry->who != NULL && entry->who->len > 0)
		add_identity(text, entry->who);
	audit_line_text(text, "detail", entry->detail);
	if (entry->again)
		text_add(text, ",\"again\":true");
}

static void add_chain(struct text *text, const struct audit_chain *chain, struct audit_chain *next)
{
	next->seq = chain->seq + 1;
	audit_line_hash(chain->hash, text->at, text->len, next->hash);
	text_add(text, ",\"chain\":\"");
	text_add_hex(text, next->hash, sizeof(next->hash));
	text_add(text, "\"");
}

void audit_line_close(struct text *text, struct audit_chain *chain)
{
	struct audit_chain next;

	add_chain(text, chain, &next);
	text_add(text, "}\n");
	assert(!text->cut); /* AUDIT_LINE_MAX has room for the longest record */
	*chain = next;
}

enum ps_err audit_line_close_signed(struct text *text, struct audit_chain *chain, audit_sign_fn *sign, void *owner)
{
	struct audit_chain next;
	enum ps_err err;

	add_chain(text, chain, &next);
	text_add(text, ",\"sig\":\"");
	err = sign(owner, next.hash, text);
	if (err != PS_OK)
		return err;
	text_add(text, "\"}\n");
	assert(!text->cut);
	*chain = next;
	return PS_OK;
}
