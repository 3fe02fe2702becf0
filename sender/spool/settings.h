/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings -- the group `spool` of sender.conf: where messages are kept, how many, for how long, and how they are retried.
 */
#ifndef PORTSEAL_SENDER_SPOOL_SETTINGS_H
#define PORTSEAL_SENDER_SPOOL_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/conf.h"

struct spool_service {
	const char *name;
	bool ordered; /* one at a time, in the order in which they were kept */
	unsigned line;
};

struct spool_settings {
	const char *path; /* NULL: no spool */
	uint64_t max_messages;
	uint64_t max_bytes;   /* payload of all messages together, dead ones included */
	uint64_t max_message; /* payload of one */
	uint64_t ttl_ms;      /* 0: for ever */
	uint64_t in_flight;
	struct {
		uint64_t first_ms, max_ms;
	} retry;
	struct conf_list services_list; /* of struct spool_service */
};

/* The rows of the group, for a table that has a struct spool_settings. */
extern const struct conf_key spool_settings_keys[];

/* What only the whole shows: a service that stands twice, a first wait longer than the longest. */
enum ps_err spool_settings_check(const struct spool_settings *settings, const struct conf *conf, struct ps_cause *cause)
	PS_MUST_CHECK;

bool spool_settings_ordered(const struct spool_settings *settings, const char *service);

#endif
