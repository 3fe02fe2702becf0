/* SPDX-License-Identifier: Apache-2.0 */
#include "ruling.h"

#include <string.h>
#include <strings.h>

#include "portseal/handover.h"

int ruling_find_service(const struct relay_config *config, const char *name)
{
	for (size_t i = 0; i < config->services_list.n; i++)
		if (strcmp(config_services(config)[i].name, name) == 0)
			return (int)i;
	return CONFIG_NO_SERVICE;
}

static int find_alias(const struct relay_config *config, const char *asked)
{
	for (size_t i = 0; i < config->services_list.n; i++) {
		const struct conf_strings *aliases = &config_services(config)[i].authority;
		for (size_t k = 0; k < aliases->n; k++)
			if (strcasecmp(aliases->at[k], asked) == 0)
				return (int)i;
	}
	return CONFIG_NO_SERVICE;
}

int ruling_find_asked(const struct relay_config *config, const char *asked)
{
	const char *colon = strrchr(asked, ':');
	char name[HANDOVER_ASKED_MAX];

	if (colon == NULL)
		return ruling_find_service(config, asked);
	const int alias = find_alias(config, asked);
	const size_t len = (size_t)(colon - asked);
	if (alias != CONFIG_NO_SERVICE || len >= sizeof(name) || colon[1 + strspn(colon + 1, "0123456789")] != '\0')
		return alias;
	memcpy(name, asked, len); /* no service has a colon in its name: nothing else can be meant */
	name[len] = '\0';
	return ruling_find_service(config, name);
}

void ruling_terms(const struct relay_config *config, int service, struct service_terms *terms)
{
	*terms = (struct service_terms){ .connect_ms = config->timeouts.connect_ms, .idle_ms = config->timeouts.idle_ms };
	terms->message_ms = config->timeouts.message_ms;
	terms->messages_per_second = (uint32_t)config->limits.messages_per_second;
	terms->messages_per_client = (uint32_t)config->limits.messages_per_client;
	if (service < 0)
		return;
	const struct relay_service *of = &config_services(config)[service];
	terms->target = of->target;
	terms->max_message = of->max_message;
	terms->reply_kind = (uint32_t)of->reply.kind;
	terms->reply_idle_ms = of->reply.idle_ms;
}

void ruling_make(const struct relay_config *config, struct trust *trust, struct mbedtls_x509_crt *chain, int service,
                 int64_t now, struct verdict *verdict, struct identity **identity)
{
	judge_chain(trust, PURPOSE_CLIENT, chain, now, verdict, identity);
	if (verdict->refusal != REFUSAL_NONE || service == CONFIG_NONE_YET)
		return;
	if (service == CONFIG_NO_SERVICE) {
		verdict->refusal = REFUSAL_UNKNOWN_SERVICE;
		(void)ps_cause_set(&verdict->detail, PS_E_AUTH, "there is no such service");
		return;
	}
	judge_access(&config_services(config)[service].allow, *identity, verdict);
}
