/* SPDX-License-Identifier: Apache-2.0 */
#include "dial_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/text.h"

struct alpn_list {
	char (*storage)[DIAL_OFFER_TEXT_MAX];
	const char **names;
	size_t n;
};

void dial_setup_alpn(const char *service, char out[static DIAL_ALPN_MAX])
{
	(void)snprintf(out, DIAL_ALPN_MAX, "%s%s", DIAL_ALPN_PREFIX, service);
}

void dial_setup_offer(enum dial_offer offer, const char *service, char out[static DIAL_OFFER_TEXT_MAX])
{
	char alpn[DIAL_ALPN_MAX] = "";

	if (service != NULL)
		dial_setup_alpn(service, alpn);
	if (offer == DIAL_OFFER_H2 || (offer == DIAL_OFFER_BOTH && service == NULL))
		(void)snprintf(out, DIAL_OFFER_TEXT_MAX, "%s", DIAL_ALPN_H2);
	else
		(void)snprintf(out, DIAL_OFFER_TEXT_MAX, "%s%s", offer == DIAL_OFFER_BOTH ? DIAL_ALPN_BOTH : "", alpn);
}

static void add_offer(struct alpn_list *list, enum dial_offer offer, const char *service)
{
	char *fresh = list->storage[list->n];

	dial_setup_offer(offer, service, fresh);
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->names[i], fresh) == 0)
			return;
	list->names[list->n++] = fresh;
}

static enum ps_err add_service(struct alpn_list *list, const char *service, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];

	if (service == NULL)
		return PS_OK;
	if (service[0] == '\0' || strlen(service) >= DIAL_ALPN_MAX - sizeof(DIAL_ALPN_PREFIX))
		return ps_cause_set(cause, PS_E_CONFIG, "service %s: a name has 1 to %d characters",
		                    text_quoted(quoted, service), (int)(DIAL_ALPN_MAX - sizeof(DIAL_ALPN_PREFIX) - 1));
	add_offer(list, DIAL_OFFER_TLS, service);
	add_offer(list, DIAL_OFFER_BOTH, service);
	return PS_OK;
}

static enum ps_err make_shared(struct dial_setup *setup, struct alpn_list *list, struct ps_cause *cause)
{
	const struct sender_config *config = setup->config;
	enum ps_err err = add_service(list, config->service, cause);

	for (size_t i = 0; err == PS_OK && i < config->tunnels_list.n; i++)
		err = add_service(list, config_tunnels(config)[i].service, cause);
	if (err != PS_OK)
		return err;
	add_offer(list, DIAL_OFFER_H2, NULL);
	const struct handshake_setup_config shared = {
		.role = TLS_CLIENT,
		.credentials = setup->credentials,
		.alpn = list->names,
		.n_alpn = list->n,
	};
	return handshake_setup_new(&shared, &setup->shared, cause);
}

static enum ps_err add_alpn(struct dial_setup *setup, struct ps_cause *cause)
{
	const size_t most = 2 * (setup->config->tunnels_list.n + 1) + 1;
	struct alpn_list list = {
		.storage = calloc(most, sizeof(*list.storage)),
		.names = calloc(most, sizeof(*list.names)),
	};
	enum ps_err err = ps_cause_set(cause, PS_E_NOMEM, "out of memory");

	if (list.storage != NULL && list.names != NULL)
		err = make_shared(setup, &list, cause);
	free(list.storage);
	free(list.names);
	return err;
}

enum ps_err dial_setup_new(const struct sender_config *config, struct dial_setup **setup, struct ps_cause *cause)
{
	struct dial_setup *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	fresh->config = config;
	fresh->memories = calloc(config->relays_list.n, sizeof(*fresh->memories));
	enum ps_err err = fresh->memories == NULL ? ps_cause_set(cause, PS_E_NOMEM, "out of memory") : PS_OK;
	if (err == PS_OK)
		err = credentials_load(config->tls.certificate, config->tls.key, PURPOSE_CLIENT, &fresh->credentials, cause);
	if (err == PS_OK)
		err = trust_load(config->tls.relay_ca, NULL, &fresh->trust, cause);
	if (err == PS_OK)
		err = add_alpn(fresh, cause);
	if (err != PS_OK) {
		dial_setup_free(fresh);
		return err;
	}
	*setup = fresh;
	return PS_OK;
}

void dial_setup_free(struct dial_setup *setup)
{
	if (setup == NULL)
		return;
	handshake_setup_free(setup->shared);
	trust_free(setup->trust);
	credentials_free(setup->credentials);
	free(setup->memories);
	free(setup);
}

int64_t dial_setup_not_after(const struct dial_setup *setup)
{
	return credentials_not_after(setup->credentials);
}
