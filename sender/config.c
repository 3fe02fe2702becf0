/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config -- the table of what may stand in a sender's configuration, the options that win over it, and what must be
 * there in the end.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "portseal/file.h"
#include "portseal/text.h"

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define POOL_MAX 64

/* Fills a whole struct sender_relay: one place to dial, and the name its certificate must show. */
static enum ps_err parse_relay(const char *text, void *field, struct ps_cause *cause)
{
	struct sender_relay *relay = field;
	struct address address;
	const enum ps_err err = address_parse(text, false, &address, cause);
	if (err != PS_OK)
		return err;
	char quoted[TEXT_QUOTED_MAX];
	if (address.kind == ADDRESS_TCP && address.host[0] == '\0')
		return ps_cause_set(cause, PS_E_CONFIG, "%s names no host: expected HOST:PORT", text_quoted(quoted, text));
	relay->address = address;
	relay->address_text = text;
	return PS_OK;
}

static enum ps_err parse_protocol(const char *text, void *field, struct ps_cause *cause)
{
	static const char *const words[] = {
		[SENDER_PROTOCOL_AUTO] = "auto",
		[SENDER_PROTOCOL_H2] = "h2",
		[SENDER_PROTOCOL_TLS] = "tls",
	};
	char quoted[TEXT_QUOTED_MAX];
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i]) == 0) {
			*(enum sender_protocol *)field = (enum sender_protocol)i;
			return PS_OK;
		}
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"auto\", \"h2\" or \"tls\"", text_quoted(quoted, text));
}

static enum ps_err parse_balance(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];
	if (strcmp(text, "order") != 0 && strcmp(text, "least") != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"order\" or \"least\"", text_quoted(quoted, text));
	*(enum relays_balance *)field = strcmp(text, "least") == 0 ? RELAYS_LEAST : RELAYS_ORDER;
	return PS_OK;
}

#define END \
	{ \
		.name = NULL \
	}

#define IN(field) offsetof(struct sender_relay, field)
static const struct conf_key relay_keys[] = {
	{ .name = "address", .type = CONF_CUSTOM, .offset = 0, .required = true, .parse = parse_relay },
	{ .name = "server_name", .type = CONF_STRING, .offset = IN(server_name) },
	END,
};
#undef IN

/* Not required here: the options may bring them. */
#define IN(field) offsetof(struct sender_config, tls.field) - offsetof(struct sender_config, tls)
static const struct conf_key tls_keys[] = {
	{ .name = "certificate", .type = CONF_PATH, .offset = IN(certificate) },
	{ .name = "key", .type = CONF_PATH, .offset = IN(key) },
	{ .name = "relay_ca", .type = CONF_PATH, .offset = IN(relay_ca) },
	END,
};
#undef IN

#define IN(field) offsetof(struct sender_tunnel, field)
static const struct conf_key tunnel_keys[] = {
	{ .name = "listen", .type = CONF_CUSTOM, .offset = IN(listen), .required = true, .parse = conf_field_listen },
	{ .name = "service", .type = CONF_CUSTOM, .offset = IN(service), .parse = conf_field_service },
	{ .name = "exposed", .type = CONF_BOOL, .offset = IN(exposed) },
	END,
};
#undef IN

#define IN(field) offsetof(struct sender_config, timeouts.field) - offsetof(struct sender_config, timeouts)
#define TIMEOUT(key, field, least, most, usual) \
	{ \
		.name = (key), .type = CONF_DURATION, .offset = IN(field), .min = (least), .max = (most), \
		.default_text = (usual) \
	}
#define TIMEOUT_MESSAGE TIMEOUT("message", progress_ms, 100, DAY, "30s")
static const struct conf_key timeout_keys[] = {
	TIMEOUT("connect", connect_ms, 100, 10 * MINUTE, "10s"),
	TIMEOUT("handshake", handshake_ms, 100, 10 * MINUTE, "5s"),
	TIMEOUT("idle", idle_ms, SECOND, 365 * DAY, "1h"),
	TIMEOUT("drain", drain_ms, 0, DAY, "30s"),
	TIMEOUT_MESSAGE,
	END,
};
static const struct conf_key timeout_option = TIMEOUT_MESSAGE;
#undef IN

#define IN(field) offsetof(struct sender_config, pool.field) - offsetof(struct sender_config, pool)
static const struct conf_key pool_keys[] = {
	{ .name = "min", .type = CONF_COUNT, .offset = IN(min), .min = 0, .max = POOL_MAX, .default_text = "1" },
	{ .name = "max", .type = CONF_COUNT, .offset = IN(max), .min = 1, .max = POOL_MAX, .default_text = "8" },
	{ .name = "idle", .type = CONF_DURATION, .offset = IN(idle_ms), .min = SECOND, .max = DAY, .default_text = "1m" },
	END,
};
#undef IN

#define IN(field) offsetof(struct sender_config, field)
static const struct conf_key sender_keys[] = {
	{ .name = "relays",
	  .type = CONF_LIST,
	  .offset = IN(relays_list),
	  .keys = relay_keys,
	  .element_size = sizeof(struct sender_relay),
	  .line_offset = offsetof(struct sender_relay, line) },
	{ .name = "tls", .type = CONF_GROUP, .offset = IN(tls), .keys = tls_keys },
	{ .name = "tunnels",
	  .type = CONF_LIST,
	  .offset = IN(tunnels_list),
	  .keys = tunnel_keys,
	  .element_size = sizeof(struct sender_tunnel),
	  .line_offset = offsetof(struct sender_tunnel, line) },
	{ .name = "protocol",
	  .type = CONF_CUSTOM,
	  .offset = IN(protocol),
	  .parse = parse_protocol,
	  .default_text = "auto" },
	{ .name = "balance", .type = CONF_CUSTOM, .offset = IN(balance), .parse = parse_balance, .default_text = "order" },
	{ .name = "pool", .type = CONF_GROUP, .offset = IN(pool), .keys = pool_keys },
	{ .name = "service", .type = CONF_CUSTOM, .offset = IN(service), .parse = conf_field_service },
	{ .name = "reload",
	  .type = CONF_CUSTOM,
	  .offset = IN(reload),
	  .parse = conf_field_reload,
	  .default_text = "signal" },
	{ .name = "status", .type = CONF_PATH, .offset = IN(status) },
	{ .name = "timeouts", .type = CONF_GROUP, .offset = IN(timeouts), .keys = timeout_keys },
	{ .name = "log", .type = CONF_GROUP, .offset = IN(log), .keys = conf_group_log_keys },
	{ .name = "processes", .type = CONF_GROUP, .offset = IN(processes), .keys = conf_group_processes_keys },
	{ .name = "spool", .type = CONF_GROUP, .offset = IN(spool), .keys = spool_settings_keys },
	END,
};
#undef IN

/* A relay's socket is relative to the file, as every path in it. */
static enum ps_err check_file_relays(const struct sender_config *config, struct ps_cause *cause)
{
	struct sender_relay *relays = config_relays(config);
	struct ps_cause why;
	for (size_t i = 0; i < config->relays_list.n; i++)
		if (i == RELAYS_MAX)
			return conf_fail(config->conf, relays[i].line, cause, "relays: more than %d of them", RELAYS_MAX);
		else if (conf_field_place(config->conf, &relays[i].address, &why) != PS_OK)
			return conf_fail(config->conf, relays[i].line, cause, "relays.address: %s", why.text);
	return PS_OK;
}

static enum ps_err check_file_tunnel(const struct sender_config *config, struct sender_tunnel *tunnel,
                                     struct ps_cause *cause)
{
	struct ps_cause why;
	if (conf_field_place(config->conf, &tunnel->listen, &why) != PS_OK)
		return conf_fail(config->conf, tunnel->line, cause, "tunnels.listen: %s", why.text);
	char text[ADDRESS_TEXT_MAX];
	address_print(&tunnel->listen, text);
	if (!tunnel->exposed && !address_is_loopback(&tunnel->listen))
		return conf_fail(
			config->conf, tunnel->line, cause,
			"tunnels.listen: %s is open to other hosts, and the traffic there is plain: say exposed = true if that is meant",
			text);
	for (const struct sender_tunnel *other = config_tunnels(config); other < tunnel; other++)
		if (conf_field_same_address(&tunnel->listen, &other->listen))
			return conf_fail(config->conf, tunnel->line, cause, "tunnels.listen: %s stands in line %u already", text,
			                 other->line);
	return PS_OK;
}

static enum ps_err check_file(const struct sender_config *config, struct ps_cause *cause)
{
	enum ps_err err = check_file_relays(config, cause);
	if (err == PS_OK)
		err = spool_settings_check(&config->spool, config->conf, cause);
	for (size_t i = 0; i < config->tunnels_list.n && err == PS_OK; i++)
		err = check_file_tunnel(config, &config_tunnels(config)[i], cause);
	if (err == PS_OK && config->pool.min > config->pool.max)
		err = ps_cause_set(cause, PS_E_CONFIG, "%s: pool.min is more than pool.max", config->path);
	return err;
}

static enum ps_err take_relay(struct sender_config *config, const char *text, struct ps_cause *cause)
{
	struct sender_relay *relay = conf_alloc(config->conf, 1, sizeof(*relay));
	if (relay == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	const enum ps_err err = conf_option(&relay_keys[0], "--relay", text, relay, cause);
	if (err == PS_OK)
		config->relays_list = (struct conf_list){ .at = relay, .n = 1 };
	return err;
}

/* Takes the service that stands in `config` by now, which --service has set if it was given. */
static enum ps_err take_tunnel(struct sender_config *config, const char *text, struct ps_cause *cause)
{
	struct sender_tunnel *tunnel = conf_alloc(config->conf, 1, sizeof(*tunnel));
	if (tunnel == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	const enum ps_err err = conf_option(&tunnel_keys[0], "--listen", text, &tunnel->listen, cause);
	if (err != PS_OK)
		return err;
	if (!address_is_loopback(&tunnel->listen)) {
		char shown[ADDRESS_TEXT_MAX];
		address_print(&tunnel->listen, shown);
		return ps_cause_set(
			cause, PS_E_CONFIG,
			"--listen: %s is open to other hosts, and the traffic there is plain: if that is meant, say exposed = true in a configuration file",
			shown);
	}
	tunnel->service = config->service;
	config->tunnels_list = (struct conf_list){ .at = tunnel, .n = 1 };
	return PS_OK;
}

/* A plain text of the command line; paths stay relative to the working directory. */
static enum ps_err take_text(const char *option, const char *text, const char **field, struct ps_cause *cause)
{
	static const struct conf_key row = { .name = "", .type = CONF_STRING };
	return text == NULL ? PS_OK : conf_option(&row, option, text, field, cause);
}

static enum ps_err take_options(struct sender_config *config, const struct config_options *options, bool needs_tunnels,
                                struct ps_cause *cause)
{
	static const struct conf_key protocol_row = { .name = "", .type = CONF_CUSTOM, .parse = parse_protocol };
	static const struct conf_key service_row = { .name = "", .type = CONF_CUSTOM, .parse = conf_field_service };
	enum ps_err err = take_text("--cert", options->certificate, &config->tls.certificate, cause);
	if (err == PS_OK)
		err = take_text("--key", options->key, &config->tls.key, cause);
	if (err == PS_OK)
		err = take_text("--ca", options->relay_ca, &config->tls.relay_ca, cause);
	if (err == PS_OK && options->service != NULL)
		err = conf_option(&service_row, "--service", options->service, &config->service, cause);
	if (err == PS_OK && options->timeout != NULL)
		err = conf_option(&timeout_option, "--timeout", options->timeout, &config->timeouts.progress_ms, cause);
	if (err == PS_OK && options->protocol != NULL)
		err = conf_option(&protocol_row, "--protocol", options->protocol, &config->protocol, cause);
	if (err == PS_OK && options->relay != NULL)
		err = take_relay(config, options->relay, cause);
	if (err == PS_OK && config->relays_list.n > 0)
		err = take_text("--server-name", options->server_name, &config_relay(config)->server_name, cause);
	if (err == PS_OK && needs_tunnels && options->listen != NULL)
		err = take_tunnel(config, options->listen, cause);
	return err;
}

/* What neither the file nor the options said. */
static enum ps_err check_complete(const struct sender_config *config, bool needs_tunnels, struct ps_cause *cause)
{
	const struct {
		const char *what, *option, *key;
		bool given;
	} needed[] = {
		{ "relay", "--relay HOST:PORT", "relays", config->relays_list.n > 0 },
		{ "certificate", "--cert FILE", "tls.certificate", config->tls.certificate != NULL },
		{ "key", "--key FILE", "tls.key", config->tls.key != NULL },
		{ "CA of the relay", "--ca FILE", "tls.relay_ca", config->tls.relay_ca != NULL },
		{ "tunnel", "--listen ADDRESS", "tunnels", !needs_tunnels || config->tunnels_list.n > 0 },
	};
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!needed[i].given)
			return ps_cause_set(cause, PS_E_CONFIG, "no %s given: use %s or \"%s\" in the configuration file",
			                    needed[i].what, needed[i].option, needed[i].key);

	for (size_t i = 0; i < config->relays_list.n; i++) {
		struct sender_relay *relay = &config_relays(config)[i];
		if (relay->server_name == NULL && relay->address.kind == ADDRESS_TCP)
			relay->server_name = relay->address.host;
		if (relay->server_name == NULL)
			return ps_cause_set(
				cause, PS_E_CONFIG,
				"no server name given: a relay at unix:PATH needs --server-name NAME or \"server_name\"");
	}
	return PS_OK;
}

enum ps_err config_load(const struct config_options *options, bool needs_tunnels, struct sender_config **config,
                        struct ps_cause *cause)
{
	struct sender_config *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");

	enum ps_err err = PS_OK;
	made->path = options->file;
	if (options->file != NULL)
		err = conf_load(options->file, sender_keys, made, &made->conf, cause);
	else
		err = conf_defaults(sender_keys, made, &made->conf, cause);
	if (err == PS_OK)
		err = check_file(made, cause);
	if (err == PS_OK)
		err = take_options(made, options, needs_tunnels, cause);
	if (err == PS_OK)
		err = check_complete(made, needs_tunnels, cause);
	if (err != PS_OK)
		goto done;
	conf_group_processes_complete(&made->processes);
	*config = made;
	made = NULL;

done:
	config_free(made);
	return err;
}

void config_free(struct sender_config *config)
{
	if (config == NULL)
		return;
	conf_free(config->conf);
	free(config);
}

void config_cap_steps(struct sender_config *config)
{
	const uint64_t most_ms = config->timeouts.progress_ms;

	if (config->timeouts.connect_ms > most_ms)
		config->timeouts.connect_ms = most_ms;
	if (config->timeouts.handshake_ms > most_ms)
		config->timeouts.handshake_ms = most_ms;
}

uint64_t config_fingerprint(const struct sender_config *config)
{
	uint64_t sum = FILE_FINGERPRINT;

	if (config->reload != RELOAD_ON_CHANGE)
		return 0;
	sum = file_fingerprint(sum, config->path);
	sum = file_fingerprint(sum, config->tls.certificate);
	sum = file_fingerprint(sum, config->tls.key);
	sum = file_fingerprint(sum, config->tls.relay_ca);
	return sum == 0 ? 1 : sum;
}
