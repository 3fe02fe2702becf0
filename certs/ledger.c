/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/text.h"
#include "portseal/units.h"

#define FIRST_LINE "portseal-certs index 1"
#define LINE_CAP 512

/* certificateHold and removeFromCRL are left out: nothing here takes a revocation back. */
const struct ledger_reason ledger_reasons[] = {
	{ 0, "unspecified" }, { 1, "keyCompromise" },        { 3, "affiliationChanged" },
	{ 4, "superseded" },  { 5, "cessationOfOperation" }, { 9, "privilegeWithdrawn" },
	{ 0, NULL },
};

const struct ledger_reason *ledger_reason_find(const char *word, struct ps_cause *cause)
{
	char words[160];
	struct text list;
	text_init(&list, words, sizeof(words));
	for (const struct ledger_reason *reason = ledger_reasons; reason->word != NULL; reason++) {
		if (strcmp(reason->word, word) == 0)
			return reason;
		text_addf(&list, "%s%s", reason == ledger_reasons ? "" : ", ", reason->word);
	}
	(void)ps_cause_set(cause, PS_E_CONFIG, "reason \"%.40s\" is not one of %s", word, words);
	return NULL;
}

void ledger_clear(struct ledger *ledger)
{
	free(ledger->entries);
	*ledger = LEDGER_INIT;
}

enum ps_err ledger_add(struct ledger *ledger, const struct ledger_entry *entry)
{
	if (ledger->n_entries == ledger->cap) {
		size_t cap = ledger->cap == 0 ? 16 : ledger->cap * 2;
		struct ledger_entry *grown = reallocarray(ledger->entries, cap, sizeof(*grown));
		if (grown == NULL)
			return PS_E_NOMEM;
		ledger->entries = grown;
		ledger->cap = cap;
	}
	ledger->entries[ledger->n_entries++] = *entry;
	return PS_OK;
}

struct ledger_entry *ledger_find_serial(const struct ledger *ledger, const char *serial)
{
	for (size_t i = 0; i < ledger->n_entries; i++) {
		if (strcmp(ledger->entries[i].serial, serial) == 0)
			return &ledger->entries[i];
	}
	return NULL;
}

const char *ledger_state(const struct ledger_entry *entry, int64_t now)
{
	if (entry->revoked != NULL)
		return "revoked";
	if (now > entry->validity.until)
		return "expired";
	return now < entry->validity.from ? "not yet valid" : "valid";
}

/* Cuts the next word off *at; the last word of a line is what remains. NULL where there is none. */
static char *next_word(char **at)
{
	char *word = *at;
	if (word == NULL || *word == '\0')
		return NULL;
	char *space = strchr(word, ' ');
	*at = space == NULL ? NULL : space + 1;
	if (space != NULL)
		*space = '\0';
	return *word == '\0' ? NULL : word;
}

static enum ps_err parse_serial(const char *word, struct ledger_entry *entry, struct ps_cause *cause)
{
	size_t len = strlen(word);
	if (len == 0 || len % 2 != 0 || len >= sizeof(entry->serial) || strspn(word, "0123456789abcdef") != len)
		return ps_cause_set(cause, PS_E_CONFIG, "the serial is not 1 to 20 bytes in lower-case hexadecimal");
	memcpy(entry->serial, word, len + 1);
	return PS_OK;
}

/* "valid" or "revoked:WHEN:REASON". */
static enum ps_err parse_state(char *word, struct ledger_entry *entry, struct ps_cause *cause)
{
	if (strcmp(word, "valid") == 0)
		return PS_OK;
	char *when = strchr(word, ':');
	char *reason = when == NULL ? NULL : strchr(when + 1, ':');
	if (reason == NULL || strncmp(word, "revoked:", 8) != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "the state is not \"valid\" or \"revoked:WHEN:REASON\"");
	*reason = '\0';
	enum ps_err err = stamp_parse(when + 1, &entry->revoked_at, cause);
	if (err != PS_OK)
		return err;
	entry->revoked = ledger_reason_find(reason + 1, cause);
	return entry->revoked == NULL ? PS_E_CONFIG : PS_OK;
}

static enum ps_err parse_cert(char *rest, struct ledger *ledger, struct ps_cause *cause)
{
	struct ledger_entry entry = { 0 };
	char *serial = next_word(&rest);
	char *role = next_word(&rest);
	char *from = next_word(&rest);
	char *until = next_word(&rest);
	char *state = next_word(&rest);
	if (state == NULL || rest == NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "expected: cert SERIAL ROLE NOTBEFORE NOTAFTER STATE NAME");

	enum ps_err err = parse_serial(serial, &entry, cause);
	if (err == PS_OK)
		err = names_role_parse(role, &entry.role, cause);
	if (err == PS_OK)
		err = stamp_parse(from, &entry.validity.from, cause);
	if (err == PS_OK)
		err = stamp_parse(until, &entry.validity.until, cause);
	if (err == PS_OK)
		err = parse_state(state, &entry, cause);
	struct names names = { 0 };
	if (err == PS_OK)
		err = names_set_cn(&names, rest, cause);
	if (err != PS_OK)
		return err;
	if (ledger_find_serial(ledger, entry.serial) != NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "the serial %s is there twice", entry.serial);
	memcpy(entry.name, names.cn, sizeof(entry.name));
	return ledger_add(ledger, &entry);
}

static enum ps_err parse_line(char *line, size_t number, struct ledger *ledger, struct ps_cause *cause)
{
	if (number == 1) {
		if (strcmp(line, FIRST_LINE) != 0)
			return ps_cause_set(cause, PS_E_CONFIG, "expected: %s", FIRST_LINE);
		return PS_OK;
	}
	char *rest = line;
	char *keyword = next_word(&rest);
	if (keyword != NULL && strcmp(keyword, "cert") == 0)
		return parse_cert(rest, ledger, cause);
	if (keyword != NULL && strcmp(keyword, "crl") == 0 && rest != NULL)
		return units_parse_count(rest, 0, INT_MAX, &ledger->crl_number, cause);
	return ps_cause_set(cause, PS_E_CONFIG, "expected a line that begins with \"cert\" or \"crl\"");
}

enum ps_err ledger_parse(const char *text, struct ledger *ledger, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	size_t number = 0;
	while (err == PS_OK && (*text != '\0' || number == 0)) {
		char line[LINE_CAP];
		size_t len = strcspn(text, "\n");
		number++;
		if (text[len] != '\n' || len >= sizeof(line)) {
			err = ps_cause_set(cause, PS_E_CONFIG, "the line is cut off or too long");
		} else {
			memcpy(line, text, len);
			line[len] = '\0';
			text += len + 1;
			err = parse_line(line, number, ledger, cause);
		}
	}
	if (err == PS_OK)
		return PS_OK;
	ledger_clear(ledger);
	return ps_cause_prefix(cause, err, "line %zu", number);
}

static enum ps_err print_entry(const struct ledger_entry *entry, struct buf *out)
{
	char from[STAMP_CAP];
	char until[STAMP_CAP];
	char line[LINE_CAP];
	struct text text;
	stamp_print(entry->validity.from, from);
	stamp_print(entry->validity.until, until);
	text_init(&text, line, sizeof(line));
	text_addf(&text, "cert %s %s %s %s ", entry->serial, names_role_text(entry->role), from, until);
	if (entry->revoked != NULL) {
		char when[STAMP_CAP];
		stamp_print(entry->revoked_at, when);
		text_addf(&text, "revoked:%s:%s", when, entry->revoked->word);
	} else {
		text_add(&text, "valid");
	}
	text_addf(&text, " %s\n", entry->name);
	return buf_append(out, text.at, text.len);
}

enum ps_err ledger_print(const struct ledger *ledger, struct buf *out)
{
	char head[64];
	int len = snprintf(head, sizeof(head), "%s\ncrl %llu\n", FIRST_LINE, (unsigned long long)ledger->crl_number);
	enum ps_err err = buf_append(out, head, (size_t)len);
	for (size_t i = 0; err == PS_OK && i < ledger->n_entries; i++)
		err = print_entry(&ledger->entries[i], out);
	return err;
}
