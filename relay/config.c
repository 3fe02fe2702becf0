/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config -- the table of what may stand in a relay's configuration, and what only the whole file shows.
 */
#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/text.h"

#define ALPN_MAX 255 /* RFC 7301, section 3.1 */
#define SNI_MAX 253
#define CONNECTIONS_MAX 10000000
#define HANDSHAKES_MAX 65536
#define STREAMS_MAX 100000
#define AUTHORITY_MAX (SNI_MAX + sizeof(":65535") - 1)
#define MESSAGE_MAX ((uint64_t)1 << 40)
#define MESSAGES_PER_SECOND_MAX 1000000
#define STORE_MIN ((uint64_t)1 << 20)
#define STORE_MAX ((uint64_t)1 << 40)
#define REPLY_KEPT_MAX ((uint64_t)16 << 20)
#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static enum ps_err parse_target(const char *text, void *field, struct ps_cause *cause)
{
	return address_parse_target(text, field, cause);
}

static enum ps_err check_rule(const char *text, void *field, struct ps_cause *cause)
{
	(void)text;
	return access_rule_check(field, cause);
}

static enum ps_err check_alpn(const char *text, void *field, struct ps_cause *cause)
{
	(void)text;
	const struct conf_strings *alpn = field;
	for (size_t i = 0; i < alpn->n; i++) {
		char quoted[TEXT_QUOTED_MAX];
		const char *name = alpn->at[i];
		if (strcmp(name, "h2") == 0 || strncmp(name, "portseal/", strlen("portseal/")) == 0)
			return ps_cause_set(cause, PS_E_CONFIG,
			                    "%s is reserved: every service has portseal/NAME without being told",
			                    text_quoted(quoted, name));
		if (strlen(name) > ALPN_MAX)
			return ps_cause_set(cause, PS_E_CONFIG, "a protocol's name has at most %d bytes", ALPN_MAX);
	}
	return PS_OK;
}

/* Labels of letters, digits, "-" and "_", none of them empty; no IP address, which SNI cannot carry (RFC 6066). */
static bool is_sni(const char *name)
{
	struct in_addr v4;
	size_t label_len = 0;
	if (strlen(name) > SNI_MAX || inet_pton(AF_INET, name, &v4) == 1)
		return false;
	for (; *name != '\0'; name++) {
		if (*name == '.' && label_len == 0)
			return false;
		if (*name != '.' && !isalnum((unsigned char)*name) && *name != '-' && *name != '_')
			return false;
		label_len = *name == '.' ? 0 : label_len + 1;
		if (label_len > 63)
			return false;
	}
	return label_len > 0;
}

static enum ps_err check_sni(const char *text, void *field, struct ps_cause *cause)
{
	(void)text;
	const struct conf_strings *sni = field;
	for (size_t i = 0; i < sni->n; i++) {
		char quoted[TEXT_QUOTED_MAX];
		if (!is_sni(sni->at[i]))
			return ps_cause_set(cause, PS_E_CONFIG, "%s is not a DNS name in full (no wildcard, no IP address)",
			                    text_quoted(quoted, sni->at[i]));
	}
	return PS_OK;
}

/* HOST:PORT without anything that an HTTP client would not send in CONNECT. */
static bool is_authority(const char *text)
{
	struct address address;
	return strlen(text) <= AUTHORITY_MAX && strspn(text, "/@?# ") == 0 &&
	       address_parse(text, false, &address, NULL) == PS_OK && address.kind == ADDRESS_TCP &&
	       address.host[0] != '\0';
}

static enum ps_err check_authority(const char *text, void *field, struct ps_cause *cause)
{
	(void)text;
	const struct conf_strings *authority = field;
	for (size_t i = 0; i < authority->n; i++) {
		char quoted[TEXT_QUOTED_MAX];
		if (!is_authority(authority->at[i]))
			return ps_cause_set(cause, PS_E_CONFIG, "%s is not HOST:PORT", text_quoted(quoted, authority->at[i]));
	}
	return PS_OK;
}

static enum ps_err parse_crl_policy(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];
	enum crl_policy *policy = field;

	if (strcmp(text, "required") != 0 && strcmp(text, "if-present") != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is neither \"required\" nor \"if-present\"",
		                    text_quoted(quoted, text));
	*policy = strcmp(text, "required") == 0 ? CRL_REQUIRED : CRL_IF_PRESENT;
	return PS_OK;
}

#define END \
	{ \
		.name = NULL \
	}

#define IN(field) offsetof(struct relay_listener, field)
static const struct conf_key listen_keys[] = {
	{ .name = "address", .type = CONF_CUSTOM, .offset = IN(address), .required = true, .parse = conf_field_listen },
	{ .name = "service", .type = CONF_CUSTOM, .offset = IN(service_name), .parse = conf_field_service },
	END,
};
#undef IN

#define IN(field) offsetof(struct relay_config, tls.field) - offsetof(struct relay_config, tls)
static const struct conf_key tls_keys[] = {
	{ .name = "certificate", .type = CONF_PATH, .offset = IN(certificate), .required = true },
	{ .name = "key", .type = CONF_PATH, .offset = IN(key), .required = true },
	{ .name = "client_ca", .type = CONF_PATH, .offset = IN(client_ca), .required = true },
	{ .name = "crl", .type = CONF_PATHS, .offset = IN(crl), .min = 1 },
	{ .name = "crl_policy", .type = CONF_CUSTOM, .offset = IN(crl_policy), .parse = parse_crl_policy },
	END,
};
#undef IN

#define IN(field) offsetof(struct access_rule, field)
static const struct conf_key rule_keys[] = {
	{ .name = "cn", .type = CONF_STRING, .offset = IN(cn) },
	{ .name = "ou", .type = CONF_STRING, .offset = IN(ou) },
	{ .name = "dns", .type = CONF_STRING, .offset = IN(dns) },
	{ .name = "uri", .type = CONF_STRING, .offset = IN(uri) },
	{ .name = "spki_sha256", .type = CONF_STRING, .offset = IN(spki_sha256) },
	{ .name = "any", .type = CONF_BOOL, .offset = IN(any) },
	END,
};
#undef IN

/* `targets` stands before `target`, so that its error comes before the one of a missing target. */
#define IN(field) offsetof(struct relay_service, field)
static const struct conf_key service_keys[] = {
	{ .name = "name", .type = CONF_CUSTOM, .offset = IN(name), .required = true, .parse = conf_field_service },
	{ .name = "targets", .type = CONF_REFUSED, .default_text = "one target only in this version: target = \"...\"" },
	{ .name = "target", .type = CONF_CUSTOM, .offset = IN(target), .required = true, .parse = parse_target },
	{ .name = "exposed", .type = CONF_BOOL, .offset = IN(exposed) },
	{ .name = "reply",
	  .type = CONF_CUSTOM,
	  .offset = IN(reply),
	  .parse = reply_rule_parse,
	  .default_text = "until-close" },
	{ .name = "max_message",
	  .type = CONF_SIZE,
	  .offset = IN(max_message),
	  .min = 1,
	  .max = MESSAGE_MAX,
	  .default_text = "10M" },
	{ .name = "sni", .type = CONF_STRINGS, .offset = IN(sni), .parse = check_sni },
	{ .name = "alpn", .type = CONF_STRINGS, .offset = IN(alpn), .parse = check_alpn },
	{ .name = "authority", .type = CONF_STRINGS, .offset = IN(authority), .parse = check_authority },
	{ .name = "allow",
	  .type = CONF_LIST,
	  .offset = IN(rules),
	  .keys = rule_keys,
	  .element_size = sizeof(struct access_rule),
	  .line_offset = CONF_NO_LINE,
	  .parse = check_rule },
	{ .name = "would_allow",
	  .type = CONF_LIST,
	  .offset = IN(would_rules),
	  .min = 1,
	  .keys = rule_keys,
	  .element_size = sizeof(struct access_rule),
	  .line_offset = CONF_NO_LINE,
	  .parse = check_rule },
	END,
};
#undef IN

#define IN(field) offsetof(struct relay_config, limits.field) - offsetof(struct relay_config, limits)
#define LIMIT(key, least, most, usual) \
	{ \
		.name = #key, .type = CONF_COUNT, .offset = IN(key), .min = (least), .max = (most), .default_text = (usual) \
	}
static const struct conf_key limit_keys[] = {
	LIMIT(handshakes, 1, HANDSHAKES_MAX, "512"),
	LIMIT(handshakes_per_source, 1, HANDSHAKES_MAX, "16"),
	LIMIT(waiting, 1, CONNECTIONS_MAX, "4096"),
	LIMIT(connections, 1, CONNECTIONS_MAX, "10000"),
	LIMIT(connections_per_client, 0, CONNECTIONS_MAX, "0"),
	LIMIT(messages_per_second, 0, MESSAGES_PER_SECOND_MAX, "0"),
	LIMIT(messages_per_client, 0, CONNECTIONS_MAX, "1000"),
	LIMIT(streams_per_connection, 1, STREAMS_MAX, "1000"),
	END,
};
#undef IN

#define IN(field) offsetof(struct relay_config, timeouts.field) - offsetof(struct relay_config, timeouts)
#define TIMEOUT(key, least, most, usual) \
	{ \
		.name = #key, .type = CONF_DURATION, .offset = IN(key##_ms), .min = (least), .max = (most), \
		.default_text = (usual) \
	}
static const struct conf_key timeout_keys[] = {
	TIMEOUT(handshake, 100, 10 * MINUTE, "5s"), TIMEOUT(connect, 100, 10 * MINUTE, "5s"),
	TIMEOUT(idle, SECOND, 365 * DAY, "1h"),     TIMEOUT(drain, 0, DAY, "30s"),
	TIMEOUT(message, 100, DAY, "30s"),          END,
};
#undef IN

#define IN(field) offsetof(struct relay_config, messages.field) - offsetof(struct relay_config, messages)
static const struct conf_key message_keys[] = {
	{ .name = "store", .type = CONF_PATH, .offset = IN(store) },
	{ .name = "window",
	  .type = CONF_DURATION,
	  .offset = IN(window_ms),
	  .min = MINUTE,
	  .max = 365 * DAY,
	  .default_text = "24h" },
	{ .name = "max_reply", .type = CONF_SIZE, .offset = IN(max_reply), .max = REPLY_KEPT_MAX, .default_text = "64K" },
	{ .name = "max_size",
	  .type = CONF_SIZE,
	  .offset = IN(max_size),
	  .min = STORE_MIN,
	  .max = STORE_MAX,
	  .default_text = "256M" },
	END,
};
#undef IN

static enum ps_err parse_on_revoke(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];

	if (strcmp(text, "close") != 0 && strcmp(text, "keep") != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"close\" or \"keep\"", text_quoted(quoted, text));
	*(enum on_revoke *)field = strcmp(text, "keep") == 0 ? ON_REVOKE_KEEP : ON_REVOKE_CLOSE;
	return PS_OK;
}

#define IN(field) offsetof(struct relay_config, field)
static const struct conf_key relay_keys[] = {
	{ .name = "listen",
	  .type = CONF_LIST,
	  .offset = IN(listeners_list),
	  .required = true,
	  .min = 1,
	  .keys = listen_keys,
	  .element_size = sizeof(struct relay_listener),
	  .line_offset = offsetof(struct relay_listener, line) },
	{ .name = "tls", .type = CONF_GROUP, .offset = IN(tls), .required = true, .keys = tls_keys },
	{ .name = "services",
	  .type = CONF_LIST,
	  .offset = IN(services_list),
	  .required = true,
	  .min = 1,
	  .keys = service_keys,
	  .element_size = sizeof(struct relay_service),
	  .line_offset = offsetof(struct relay_service, line) },
	{ .name = "limits", .type = CONF_GROUP, .offset = IN(limits), .keys = limit_keys },
	{ .name = "timeouts", .type = CONF_GROUP, .offset = IN(timeouts), .keys = timeout_keys },
	{ .name = "log", .type = CONF_GROUP, .offset = IN(log), .keys = conf_group_log_keys },
	{ .name = "processes", .type = CONF_GROUP, .offset = IN(processes), .keys = conf_group_processes_keys },
	{ .name = "audit", .type = CONF_GROUP, .offset = IN(audit), .keys = config_audit_keys },
	{ .name = "on_revoke",
	  .type = CONF_CUSTOM,
	  .offset = IN(on_revoke),
	  .parse = parse_on_revoke,
	  .default_text = "close" },
	{ .name = "reload",
	  .type = CONF_CUSTOM,
	  .offset = IN(reload),
	  .parse = conf_field_reload,
	  .default_text = "signal" },
	{ .name = "status", .type = CONF_PATH, .offset = IN(status) },
	{ .name = "messages", .type = CONF_GROUP, .offset = IN(messages), .keys = message_keys },
	END,
};
#undef IN

static enum ps_err lower(struct conf *conf, struct conf_strings *names, struct ps_cause *cause)
{
	for (size_t i = 0; i < names->n; i++) {
		const size_t len = strlen(names->at[i]);
		char *lowered = conf_alloc(conf, len + 1, 1);
		if (lowered == NULL)
			return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
		for (size_t j = 0; j < len; j++)
			lowered[j] = (char)tolower((unsigned char)names->at[i][j]);
		names->at[i] = lowered;
	}
	return PS_OK;
}

/* A name that two services claim, or one claims twice, would make a client's choice depend on the file's order. */
static enum ps_err check_unclaimed(const struct relay_config *config, const struct relay_service *service,
                                   const char *key, size_t offset, struct ps_cause *cause)
{
	const struct conf_strings *mine = (const void *)((const char *)service + offset);
	for (size_t i = 0; i < mine->n; i++) {
		for (const struct relay_service *other = config_services(config); other <= service; other++) {
			const struct conf_strings *theirs = (const void *)((const char *)other + offset);
			const size_t n = other == service ? i : theirs->n;
			for (size_t j = 0; j < n; j++) {
				char quoted[TEXT_QUOTED_MAX];
				if (strcmp(mine->at[i], theirs->at[j]) == 0)
					return conf_fail(config->conf, service->line, cause,
					                 "services.%s: %s belongs to service \"%s\" already (line %u)", key,
					                 text_quoted(quoted, mine->at[i]), other->name, other->line);
			}
		}
	}
	return PS_OK;
}

static enum ps_err check_names(const struct relay_config *config, const struct relay_service *service,
                               struct ps_cause *cause)
{
	for (const struct relay_service *other = config_services(config); other < service; other++)
		if (strcmp(service->name, other->name) == 0)
			return conf_fail(config->conf, service->line, cause,
			                 "services.name: \"%s\" is the name of another service already (line %u)", service->name,
			                 other->line);
	enum ps_err err = check_unclaimed(config, service, "sni", offsetof(struct relay_service, sni), cause);
	if (err == PS_OK)
		err = check_unclaimed(config, service, "alpn", offsetof(struct relay_service, alpn), cause);
	if (err == PS_OK)
		err = check_unclaimed(config, service, "authority", offsetof(struct relay_service, authority), cause);
	return err;
}

static enum ps_err check_service(struct relay_config *config, struct relay_service *service, struct ps_cause *cause)
{
	enum ps_err err = lower(config->conf, &service->sni, cause);
	if (err == PS_OK)
		err = lower(config->conf, &service->authority, cause);
	if (err == PS_OK)
		err = check_names(config, service, cause);
	if (err != PS_OK)
		return err;
	if (service->rules.n == 0)
		return conf_fail(
			config->conf, service->line, cause,
			"services.allow: missing: say which clients may reach \"%s\", or allow = ( { any = true; } ) for every certificate that the CA signed",
			service->name);
	struct ps_cause why;
	if (conf_field_place(config->conf, &service->target, &why) != PS_OK)
		return conf_fail(config->conf, service->line, cause, "services.target: %s", why.text);
	if (!service->exposed && !address_is_loopback(&service->target)) {
		char target[ADDRESS_TEXT_MAX];
		address_print(&service->target, target);
		return conf_fail(
			config->conf, service->line, cause,
			"services.target: %s is not on this host, and the traffic there is plain: say exposed = true if that is meant",
			target);
	}
	service->allow = (struct access_list){ .rules = service->rules.at, .n_rules = service->rules.n };
	service->would_allow = (struct access_list){ .rules = service->would_rules.at, .n_rules = service->would_rules.n };
	return PS_OK;
}

/* The index of the service that the listener names, or an error with the nearest name. */
static enum ps_err find_service(struct relay_config *config, struct relay_listener *listener, struct ps_cause *cause)
{
	const struct relay_service *services = config_services(config);
	const size_t n = config->services_list.n;
	listener->service = CONFIG_NO_SERVICE;
	if (listener->service_name == NULL)
		return PS_OK;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(services[i].name, listener->service_name) == 0) {
			listener->service = (int)i;
			return PS_OK;
		}
	}

	const char **names = conf_alloc(config->conf, n + 1, sizeof(*names));
	if (names == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		names[i] = services[i].name;
	const char *nearest = text_nearest(listener->service_name, names);
	if (nearest == NULL)
		return conf_fail(config->conf, listener->line, cause, "listen.service: there is no service \"%s\"",
		                 listener->service_name);
	return conf_fail(config->conf, listener->line, cause,
	                 "listen.service: there is no service \"%s\", did you mean \"%s\"?", listener->service_name,
	                 nearest);
}

static enum ps_err check_listener(struct relay_config *config, struct relay_listener *listener, struct ps_cause *cause)
{
	struct ps_cause why;
	if (conf_field_place(config->conf, &listener->address, &why) != PS_OK)
		return conf_fail(config->conf, listener->line, cause, "listen.address: %s", why.text);
	for (const struct relay_listener *other = config_listeners(config); other < listener; other++) {
		char text[ADDRESS_TEXT_MAX];
		address_print(&listener->address, text);
		if (conf_field_same_address(&listener->address, &other->address))
			return conf_fail(config->conf, listener->line, cause, "listen.address: %s stands in line %u already", text,
			                 other->line);
	}
	return find_service(config, listener, cause);
}

static enum ps_err check_whole(struct relay_config *config, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	for (size_t i = 0; i < config->services_list.n && err == PS_OK; i++)
		err = check_service(config, &config_services(config)[i], cause);
	for (size_t i = 0; i < config->listeners_list.n && err == PS_OK; i++)
		err = check_listener(config, &config_listeners(config)[i], cause);
	if (err == PS_OK && config->messages.store != NULL && config->messages.window_ms < config->timeouts.message_ms)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: messages.window: shorter than timeouts.message: %s", config->path,
		                   "a message would be forgotten while it is under way");
	return err;
}

enum ps_err config_load(const char *path, struct relay_config **config, struct ps_cause *cause)
{
	struct relay_config *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");

	enum ps_err err = PS_OK;
	const size_t path_len = strlen(path);
	if (path_len >= sizeof(made->path)) {
		err = ps_cause_set(cause, PS_E_CONFIG, "the configuration's path is longer than %zu bytes",
		                   sizeof(made->path) - 1);
		goto done;
	}
	memcpy(made->path, path, path_len + 1);
	err = conf_load(path, relay_keys, made, &made->conf, cause);
	if (err == PS_OK)
		err = check_whole(made, cause);
	if (err != PS_OK)
		goto done;
	conf_group_processes_complete(&made->processes);
	*config = made;
	made = NULL;

done:
	config_free(made);
	return err;
}

void config_free(struct relay_config *config)
{
	if (config == NULL)
		return;
	conf_free(config->conf);
	free(config);
}
