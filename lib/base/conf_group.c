/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/conf_group.h"

#include <sched.h>
#include <stddef.h>

#include "portseal/text.h"

static enum ps_err parse_level(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];

	if (log_level_parse(text, field))
		return PS_OK;
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"error\", \"warn\", \"info\" or \"debug\"",
	                    text_quoted(quoted, text));
}

static enum ps_err parse_format(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];

	if (log_format_parse(text, field))
		return PS_OK;
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"text\" or \"json\"", text_quoted(quoted, text));
}

#define IN(field) offsetof(struct conf_group_log, field)
const struct conf_key conf_group_log_keys[] = {
	{ .name = "level", .type = CONF_CUSTOM, .offset = IN(level), .parse = parse_level, .default_text = "info" },
	{ .name = "format", .type = CONF_CUSTOM, .offset = IN(format), .parse = parse_format, .default_text = "text" },
	{ .name = NULL },
};
#undef IN

#define IN(field) offsetof(struct conf_group_processes, field)
const struct conf_key conf_group_processes_keys[] = {
	{ .name = "gatekeepers", .type = CONF_COUNT, .offset = IN(gatekeepers), .min = 1, .max = CONF_GROUP_PROCESSES_MAX },
	{ .name = "workers", .type = CONF_COUNT, .offset = IN(workers), .min = 1, .max = CONF_GROUP_PROCESSES_MAX },
	{ .name = NULL },
};
#undef IN

static uint64_t count_cores(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	/* Fails where the kernel knows more processors than the set has room for: then there are plenty. */
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return CONF_GROUP_PROCESSES_MAX;
	const int n = CPU_COUNT(&set);
	if (n < 1)
		return 1;
	return n < CONF_GROUP_PROCESSES_MAX ? (uint64_t)n : CONF_GROUP_PROCESSES_MAX;
}

void conf_group_processes_complete(struct conf_group_processes *processes)
{
	if (processes->gatekeepers == 0)
		processes->gatekeepers = count_cores();
	if (processes->workers == 0)
		processes->workers = count_cores();
}
