/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_audit -- what may stand in the group `audit`.
 */
#include "config.h"

#include <stddef.h>
#include <string.h>

#include "portseal/text.h"

static enum ps_err parse_on_failure(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];

	if (strcmp(text, "refuse") != 0 && strcmp(text, "continue") != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"refuse\" or \"continue\"", text_quoted(quoted, text));
	*(enum audit_policy *)field = strcmp(text, "continue") == 0 ? AUDIT_CONTINUE : AUDIT_REFUSE;
	return PS_OK;
}

static enum ps_err parse_sync(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];

	if (strcmp(text, "interval") != 0 && strcmp(text, "always") != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"interval\" or \"always\"", text_quoted(quoted, text));
	*(enum audit_sync *)field = strcmp(text, "always") == 0 ? AUDIT_SYNC_ALWAYS : AUDIT_SYNC_INTERVAL;
	return PS_OK;
}

#define IN(field) offsetof(struct relay_audit, field)
const struct conf_key config_audit_keys[] = {
	{ .name = "file", .type = CONF_PATH, .offset = IN(file), .required = true },
	{ .name = "on_failure",
	  .type = CONF_CUSTOM,
	  .offset = IN(on_failure),
	  .parse = parse_on_failure,
	  .default_text = "refuse" },
	{ .name = "sync", .type = CONF_CUSTOM, .offset = IN(sync), .parse = parse_sync, .default_text = "interval" },
	{ .name = "sign_every",
	  .type = CONF_DURATION,
	  .offset = IN(sign_every_ms),
	  .min = 100,
	  .max = 24 * 3600 * 1000,
	  .default_text = "10s" },
	{ .name = NULL },
};
#undef IN
