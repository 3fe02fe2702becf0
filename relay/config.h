/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config -- what a relay's configuration file says, checked and ready to use.
 *
 * Owns:   everything the struct points to, until config_free. Loading touches no network and reads no key.
 */
#ifndef PORTSEAL_RELAY_CONFIG_H
#define PORTSEAL_RELAY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/access.h"
#include "portseal/address.h"
#include "portseal/audit_record.h"
#include "portseal/conf.h"
#include "portseal/conf_field.h"
#include "portseal/conf_group.h"
#include "portseal/err.h"
#include "portseal/trust.h"
#include "reply_end.h"

#define CONFIG_NO_SERVICE (-1)
#define CONFIG_NONE_YET (-2) /* which service is not the question */

struct relay_service {
	const char *name; /* letters, digits, "-", "_", "."; at most CONF_FIELD_SERVICE_MAX */
	struct address target;
	bool exposed;            /* the operator accepts plaintext to a target on another host */
	struct reply_rule reply; /* where the reply to a message ends */
	uint64_t max_message;    /* bytes of one message's payload */
	struct conf_strings sni; /* lower case */
	struct conf_strings alpn;
	struct conf_strings authority; /* HOST:PORT, lower case: what clients of an HTTP proxy call it */
	struct conf_list rules;        /* of struct access_rule */
	struct access_list allow;      /* the same, for judge_access */
	struct conf_list would_rules;
	struct access_list would_allow; /* judged and logged, never enforced; no rules: nothing to judge */
	unsigned line;
};

struct relay_listener {
	struct address address;
	const char *service_name; /* NULL: any */
	int service;              /* index, or CONFIG_NO_SERVICE */
	unsigned line;
};

enum audit_sync {
	AUDIT_SYNC_INTERVAL, /* on the disk within a second, and before a head is told */
	AUDIT_SYNC_ALWAYS,   /* on the disk before it counts as written */
};

struct relay_audit {
	const char *file; /* NULL: no audit trail */
	enum audit_policy on_failure;
	enum audit_sync sync;
	uint64_t sign_every_ms;
};

enum on_revoke {
	ON_REVOKE_CLOSE, /* a living connection whose right is gone is closed */
	ON_REVOKE_KEEP,  /* only new ones are refused */
};

struct relay_config {
	struct conf *conf;
	char path[1024];
	struct conf_list listeners_list; /* of struct relay_listener */
	struct conf_list services_list;  /* of struct relay_service */
	struct {
		const char *certificate;
		const char *key;
		const char *client_ca;
		struct conf_strings crl; /* none: revocation is not asked */
		enum crl_policy crl_policy;
	} tls;
	struct {
		uint64_t handshakes; /* at once, all gatekeepers together */
		uint64_t handshakes_per_source;
		uint64_t waiting; /* connections whose handshake has not begun yet */
		uint64_t connections;
		uint64_t connections_per_client; /* 0: no limit */
		uint64_t messages_per_second;    /* of one client to one service; 0: no limit */
		uint64_t messages_per_client;    /* with a key, under way at once; 0: no limit */
		uint64_t streams_per_connection; /* of HTTP/2 */
	} limits;
	struct {
		uint64_t handshake_ms, connect_ms, idle_ms, drain_ms;
		uint64_t message_ms; /* the whole exchange of one message, from its header to the end of its reply */
	} timeouts;
	struct conf_group_log log;
	struct conf_group_processes processes; /* at least 1 of each */
	struct relay_audit audit;
	enum on_revoke on_revoke;
	enum reload_on reload;
	const char *status; /* path of the status socket; NULL: none */
	struct {
		const char *store; /* path of the results; NULL: none, and no idempotency key is taken */
		uint64_t window_ms;
		uint64_t max_reply; /* bytes of a reply that are kept */
		uint64_t max_size;  /* bytes of the store */
	} messages;
};

static inline struct relay_service *config_services(const struct relay_config *config)
{
	return config->services_list.at;
}

static inline struct relay_listener *config_listeners(const struct relay_config *config)
{
	return config->listeners_list.at;
}

/* What trust_new is to load for clients; borrowed from the configuration. */
static inline struct trust_config config_trust(const struct relay_config *config)
{
	return (struct trust_config){ .ca_path = config->tls.client_ca,
		                          .crl_paths = config->tls.crl.at,
		                          .n_crl_paths = config->tls.crl.n,
		                          .crl_policy = config->tls.crl_policy };
}

/* The rows of the group `audit`: config_audit.c. */
extern const struct conf_key config_audit_keys[];

/* Reads and checks the whole file: syntax, ranges, names unique, listeners' services exist, rules meant as they stand,
 * targets loopback or exposed. The cause is one line that starts with FILE:LINE, or with FILE where it cannot be read. */
enum ps_err config_load(const char *path, struct relay_config **config, struct ps_cause *cause) PS_MUST_CHECK;
void config_free(struct relay_config *config);

#endif
