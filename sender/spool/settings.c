/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/settings.h"

#include <string.h>

#include "portseal/conf_field.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SECOND ((uint64_t)1000)
#define DAY (24 * 60 * 60 * SECOND)

#define END \
	{ \
		.name = NULL \
	}

#define IN(field) offsetof(struct spool_service, field)
static const struct conf_key service_keys[] = {
	{ .name = "name", .type = CONF_CUSTOM, .offset = IN(name), .required = true, .parse = conf_field_service },
	{ .name = "ordered", .type = CONF_BOOL, .offset = IN(ordered) },
	END,
};
#undef IN

#define IN(field) offsetof(struct spool_settings, retry.field) - offsetof(struct spool_settings, retry)
static const struct conf_key retry_keys[] = {
	{ .name = "first", .type = CONF_DURATION, .offset = IN(first_ms), .min = 10, .max = DAY, .default_text = "1s" },
	{ .name = "max", .type = CONF_DURATION, .offset = IN(max_ms), .min = 10, .max = DAY, .default_text = "5m" },
	END,
};
#undef IN

#define IN(field) offsetof(struct spool_settings, field)
const struct conf_key spool_settings_keys[] = {
	{ .name = "path", .type = CONF_PATH, .offset = IN(path), .required = true },
	{ .name = "max_messages",
	  .type = CONF_COUNT,
	  .offset = IN(max_messages),
	  .min = 1,
	  .max = 100000000,
	  .default_text = "100000" },
	{ .name = "max_bytes",
	  .type = CONF_SIZE,
	  .offset = IN(max_bytes),
	  .min = KIB,
	  .max = 1024 * GIB,
	  .default_text = "1G" },
	{ .name = "max_message",
	  .type = CONF_SIZE,
	  .offset = IN(max_message),
	  .min = 1,
	  .max = 64 * GIB,
	  .default_text = "10M" },
	{ .name = "ttl", .type = CONF_DURATION, .offset = IN(ttl_ms), .min = 0, .max = 3650 * DAY, .default_text = "7d" },
	{ .name = "in_flight", .type = CONF_COUNT, .offset = IN(in_flight), .min = 1, .max = 1000, .default_text = "16" },
	{ .name = "retry", .type = CONF_GROUP, .offset = IN(retry), .keys = retry_keys },
	{ .name = "services",
	  .type = CONF_LIST,
	  .offset = IN(services_list),
	  .keys = service_keys,
	  .element_size = sizeof(struct spool_service),
	  .line_offset = offsetof(struct spool_service, line) },
	END,
};
#undef IN

enum ps_err spool_settings_check(const struct spool_settings *settings, const struct conf *conf, struct ps_cause *cause)
{
	const struct spool_service *services = settings->services_list.at;

	if (settings->path != NULL && settings->retry.first_ms > settings->retry.max_ms)
		return conf_fail(conf, 1, cause, "spool.retry: first is longer than max");
	for (size_t i = 0; i < settings->services_list.n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(services[i].name, services[j].name) == 0)
				return conf_fail(conf, services[i].line, cause, "spool.services: \"%s\" stands in line %u already",
				                 services[i].name, services[j].line);
	return PS_OK;
}

bool spool_settings_ordered(const struct spool_settings *settings, const char *service)
{
	const struct spool_service *services = settings->services_list.at;

	for (size_t i = 0; i < settings->services_list.n; i++)
		if (strcmp(services[i].name, service) == 0)
			return services[i].ordered;
	return false;
}
