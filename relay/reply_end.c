/* SPDX-License-Identifier: Apache-2.0 */
#include "reply_end.h"

#include <string.h>

#include "portseal/text.h"
#include "portseal/units.h"

#define IDLE_PREFIX "idle:"

static enum ps_err parse_idle(const char *time, struct reply_rule *rule, struct ps_cause *cause)
{
	uint64_t ms;
	enum ps_err err = units_parse_duration(time, &ms, cause);

	if (err != PS_OK)
		return err;
	if (ms < 1 || ms > REPLY_IDLE_MAX_MS)
		return ps_cause_set(cause, PS_E_CONFIG, "idle is 1ms to 10m");
	*rule = (struct reply_rule){ .kind = REPLY_IDLE, .idle_ms = (uint32_t)ms };
	return PS_OK;
}

enum ps_err reply_rule_parse(const char *text, void *field, struct ps_cause *cause)
{
	static const struct {
		const char *word;
		enum reply_kind kind;
	} words[] = { { "until-close", REPLY_UNTIL_CLOSE }, { "none", REPLY_NONE }, { "line", REPLY_LINE } };
	char quoted[TEXT_QUOTED_MAX];

	if (strncmp(text, IDLE_PREFIX, strlen(IDLE_PREFIX)) == 0)
		return parse_idle(text + strlen(IDLE_PREFIX), field, cause);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i].word) == 0) {
			*(struct reply_rule *)field = (struct reply_rule){ .kind = words[i].kind };
			return PS_OK;
		}
	}
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"until-close\", \"none\", \"line\" or \"idle:200ms\"",
	                    text_quoted(quoted, text));
}

void reply_end_init(struct reply_end *reply, struct reply_rule rule)
{
	*reply = (struct reply_end){ .rule = rule, .ended = rule.kind == REPLY_NONE };
}

size_t reply_end_take(struct reply_end *reply, const uint8_t *bytes, size_t len)
{
	const uint8_t *newline = NULL;

	if (reply->ended)
		return 0;
	if (reply->rule.kind == REPLY_LINE && len > 0)
		newline = memchr(bytes, '\n', len);
	if (newline != NULL) {
		len = (size_t)(newline - bytes) + 1;
		reply->ended = true;
	}
	reply->len += len;
	return len;
}

void reply_end_close(struct reply_end *reply)
{
	reply->ended = true;
}

uint32_t reply_end_patience(const struct reply_end *reply)
{
	const bool waits = reply->rule.kind == REPLY_IDLE && reply->len > 0 && !reply->ended;

	return waits ? reply->rule.idle_ms : 0;
}

void reply_end_silence(struct reply_end *reply)
{
	if (reply_end_patience(reply) != 0)
		reply->ended = true;
}

bool reply_rule_half_closes(struct reply_rule rule)
{
	return rule.kind == REPLY_UNTIL_CLOSE || rule.kind == REPLY_NONE;
}
