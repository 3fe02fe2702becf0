/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config -- what a sender is told: by its configuration file, by options, or by both (options win).
 *
 * Owns:   everything the struct points to, until config_free; texts of options are borrowed from the command line.
 * Loading touches no network and reads no key.
 */
#ifndef PORTSEAL_SENDER_CONFIG_H
#define PORTSEAL_SENDER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/address.h"
#include "portseal/conf.h"
#include "portseal/conf_field.h"
#include "portseal/conf_group.h"
#include "portseal/err.h"
#include "relays.h"
#include "spool/settings.h"

struct sender_relay {
	const char *address_text;
	struct address address;
	const char *server_name; /* what its certificate must be issued for; default: the address's host */
	unsigned line;           /* 0: from the options */
};

struct sender_tunnel {
	struct address listen;
	const char *service; /* NULL: no ALPN is sent */
	bool exposed;        /* the operator accepts plaintext from other hosts */
	unsigned line;       /* 0: from the options */
};

enum sender_protocol {
	SENDER_PROTOCOL_AUTO, /* HTTP/2 where the relay speaks it */
	SENDER_PROTOCOL_H2,
	SENDER_PROTOCOL_TLS, /* one TLS connection each */
};

struct sender_config {
	const char *path; /* of the file, as it was given; NULL: there is none */
	struct conf *conf;
	struct conf_list relays_list;  /* of struct sender_relay; 1 to RELAYS_MAX */
	struct conf_list tunnels_list; /* of struct sender_tunnel */
	struct {
		const char *certificate;
		const char *key;
		const char *relay_ca;
	} tls;
	enum sender_protocol protocol;
	enum relays_balance balance;
	struct {
		uint64_t min, max; /* connections of one worker to one relay */
		uint64_t idle_ms;
	} pool;
	const char *service; /* of send: --service or the file's `service` */
	enum reload_on reload;
	const char *status; /* path of the daemon's status socket; NULL: none */
	struct {
		uint64_t connect_ms, handshake_ms, idle_ms, drain_ms;
		uint64_t progress_ms; /* send: the longest wait without a byte; --timeout or timeouts.message */
	} timeouts;
	struct conf_group_log log;
	struct conf_group_processes processes; /* at least 1 of each */
	struct spool_settings spool;
};

static inline struct sender_relay *config_relays(const struct sender_config *config)
{
	return config->relays_list.at;
}

/* The first one. */
static inline struct sender_relay *config_relay(const struct sender_config *config)
{
	return config->relays_list.at;
}

static inline struct sender_tunnel *config_tunnels(const struct sender_config *config)
{
	return config->tunnels_list.at;
}

/* What the command line said; NULL where it said nothing. */
struct config_options {
	const char *file;
	const char *relay;
	const char *server_name;
	const char *certificate;
	const char *key;
	const char *relay_ca;
	const char *service;
	const char *listen; /* tunnel */
	const char *timeout;
	const char *protocol;
	const char *aead; /* which cipher code: the command's business, not the configuration's */
};

/* Either from `file`, from the options alone, or both. Says what is missing by its option's name and its key.
 * needs_tunnels: without any tunnel it fails; `listen` (with `service`) makes one that replaces those of the file.
 * Without it, `listen` is not looked at. `relay` replaces the file's relay with its server_name. */
enum ps_err config_load(const struct config_options *options, bool needs_tunnels, struct sender_config **config,
                        struct ps_cause *cause) PS_MUST_CHECK;
void config_free(struct sender_config *config);

/* Of every file that it was loaded from, as it is now; 0: only a signal shall reload it. */
uint64_t config_fingerprint(const struct sender_config *config);

/* --timeout bounds every step, the file's timeouts the step that they name. */
void config_cap_steps(struct sender_config *config);

#endif
