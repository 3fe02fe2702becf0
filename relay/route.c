/* SPDX-License-Identifier: Apache-2.0 */
#include "route.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/conf_field.h"

#define PREFIX_LEN (sizeof(ROUTE_ALPN_PREFIX) - 1)
#define ALPN_HTTP_1 "http/1.1"

static bool equals(const uint8_t *bytes, size_t len, const char *string)
{
	return strlen(string) == len && memcmp(bytes, string, len) == 0;
}

static bool list_has(const struct conf_strings *list, const uint8_t *bytes, size_t len, const char **entry)
{
	for (size_t i = 0; i < list->n; i++)
		if (equals(bytes, len, list->at[i])) {
			*entry = list->at[i];
			return true;
		}
	return false;
}

static int find_service(const struct relay_config *config, const uint8_t *name, size_t len)
{
	for (size_t i = 0; i < config->services_list.n; i++)
		if (equals(name, len, config_services(config)[i].name))
			return (int)i;
	return CONFIG_NO_SERVICE;
}

static bool is_portseal(const uint8_t *bytes, size_t len)
{
	return len >= PREFIX_LEN && memcmp(bytes, ROUTE_ALPN_PREFIX, PREFIX_LEN) == 0;
}

static void choose_by_own_name(const struct relay_config *config, const struct route_protocols *protocols,
                               const uint8_t *bytes, size_t len, struct route *route)
{
	route->service = find_service(config, bytes + PREFIX_LEN, len - PREFIX_LEN);
	if (route->service != CONFIG_NO_SERVICE) {
		route->alpn = protocols->names[route->service];
		return;
	}
	snprintf(route->missed, sizeof(route->missed), "%.*s", (int)len, (const char *)bytes);
	/* The whole of it: not one that is cut, or ends early by a NUL. */
	route->missed_might_be = strlen(route->missed) == len && conf_field_is_service(route->missed + PREFIX_LEN);
}

static bool choose_by_name(const struct relay_config *config, const struct client_hello *hello, struct route *route)
{
	const char *entry;

	for (size_t k = 0; k < config->services_list.n; k++)
		if (list_has(&config_services(config)[k].sni, (const uint8_t *)hello->server_name, hello->server_name_len,
		             &entry)) {
			route->service = (int)k;
			return true;
		}
	return false;
}

static bool offers(const struct client_hello *hello, const char *name)
{
	for (size_t i = 0; i < hello->n_alpn; i++)
		if (equals(hello->alpn[i].bytes, hello->alpn[i].len, name))
			return true;
	return false;
}

static bool names_a_service(const struct relay_config *config, const struct client_hello *hello)
{
	struct route by_name = { .service = CONFIG_NO_SERVICE };
	return choose_by_name(config, hello, &by_name);
}

/* True when the client's protocol names decide, be it for a service that is not here. Its first choice that is known
 * counts. */
static bool choose_by_alpn(const struct relay_config *config, const struct route_protocols *protocols,
                           const struct client_hello *hello, struct route *route)
{
	const bool is_web = offers(hello, ALPN_HTTP_1) && (route->service >= 0 || names_a_service(config, hello));

	for (size_t i = 0; i < hello->n_alpn; i++) {
		const uint8_t *bytes = hello->alpn[i].bytes;
		size_t len = hello->alpn[i].len;

		if (is_portseal(bytes, len)) {
			choose_by_own_name(config, protocols, bytes, len, route);
			return true;
		}
		if (!is_web && equals(bytes, len, ROUTE_ALPN_H2)) {
			route->kind = ROUTE_H2;
			route->alpn = protocols->names[protocols->n - 1];
			return true;
		}
		for (size_t k = 0; k < config->services_list.n; k++)
			if (list_has(&config_services(config)[k].alpn, bytes, len, &route->alpn)) {
				route->service = (int)k;
				return true;
			}
	}
	return false;
}

/* The listener decides; a client that asks for just that service, or for HTTP/2, is told so, any other protocol name is
 * left open. */
static void confirm_listener(const struct relay_config *config, const struct route_protocols *protocols,
                             const struct client_hello *hello, struct route *route)
{
	struct route asked = *route;

	if (hello != NULL && choose_by_alpn(config, protocols, hello, &asked) && asked.service == route->service)
		*route = asked;
}

void route_choose(const struct relay_config *config, const struct route_protocols *protocols, int listener_service,
                  const struct client_hello *hello, struct route *route)
{
	*route = (struct route){ .service = listener_service };
	if (listener_service != CONFIG_NO_SERVICE) {
		confirm_listener(config, protocols, hello, route);
		return;
	}
	if (hello != NULL && (choose_by_alpn(config, protocols, hello, route) || choose_by_name(config, hello, route)))
		return;
	if (hello != NULL && offers(hello, ALPN_HTTP_1))
		route->kind = ROUTE_NOWHERE;
	else if (config->services_list.n == 1)
		route->service = 0;
}

const char *route_echo(const struct route *route)
{
	return route->missed_might_be ? route->missed : NULL;
}

enum ps_err route_protocols_new(const struct relay_config *config, struct route_protocols *protocols)
{
	size_t n = config->services_list.n + 1;

	for (size_t k = 0; k < config->services_list.n; k++)
		n += config_services(config)[k].alpn.n;
	protocols->n = 0;
	protocols->names = calloc(n, sizeof(*protocols->names));
	if (protocols->names == NULL)
		return PS_E_NOMEM;
	for (size_t k = 0; k < config->services_list.n; k++)
		if (asprintf(&protocols->names[protocols->n], ROUTE_ALPN_PREFIX "%s", config_services(config)[k].name) < 0)
			goto no_memory;
		else
			protocols->n++;
	for (size_t k = 0; k < config->services_list.n; k++)
		for (size_t i = 0; i < config_services(config)[k].alpn.n; i++) {
			protocols->names[protocols->n] = strdup(config_services(config)[k].alpn.at[i]);
			if (protocols->names[protocols->n] == NULL)
				goto no_memory;
			protocols->n++;
		}
	protocols->names[protocols->n] = strdup(ROUTE_ALPN_H2);
	if (protocols->names[protocols->n] == NULL)
		goto no_memory;
	protocols->n++;
	return PS_OK;
no_memory:
	route_protocols_clear(protocols);
	return PS_E_NOMEM;
}

void route_protocols_clear(struct route_protocols *protocols)
{
	for (size_t i = 0; i < protocols->n; i++)
		free(protocols->names[i]);
	free(protocols->names);
	*protocols = (struct route_protocols){ NULL, 0 };
}
