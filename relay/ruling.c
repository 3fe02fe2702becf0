/* SPDX-License-Identifier: Apache-2.0 */
#include "ruling.h"

#include <string.h>

int ruling_find_service(const struct relay_config *config, const char *name)
{
	for (size_t i = 0; i < config->services_list.n; i++)
		if (strcmp(config_services(config)[i].name, name) == 0)
			return (int)i;
	return CONFIG_NO_SERVICE;
}

void ruling_make(const struct relay_config *config, struct trust *trust, struct mbedtls_x509_crt *chain, int service,
                 int64_t now, struct verdict *verdict, struct identity **identity)
{
	judge_chain(trust, PURPOSE_CLIENT, chain, now, verdict, identity);
	if (verdict->refusal != REFUSAL_NONE)
		return;
	if (service == CONFIG_NO_SERVICE) {
		verdict->refusal = REFUSAL_UNKNOWN_SERVICE;
		(void)ps_cause_set(&verdict->detail, PS_E_AUTH, "there is no such service");
		return;
	}
	judge_access(&config_services(config)[service].allow, *identity, verdict);
}
