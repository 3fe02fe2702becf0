/* SPDX-License-Identifier: Apache-2.0 */
/*
 * findings -- what `check` has to say about a configuration that would start.
 */
#ifndef PORTSEAL_RELAY_FINDINGS_H
#define PORTSEAL_RELAY_FINDINGS_H

#include <stddef.h>

#include "config.h"
#include "portseal/credentials.h"
#include "portseal/err.h"
#include "portseal/trust.h"

enum finding_level {
	FINDING_NOTE,    /* nothing wrong as long as it is meant */
	FINDING_WARNING, /* it would start, and somebody should act */
};

struct finding {
	enum finding_level level;
	const char *about; /* "expiry", "files", "rules", "targets", "listen" */
	struct ps_cause text;
};

#define FINDINGS_MAX 1000 /* the rest is counted only */

struct findings {
	struct finding *items;
	size_t n;
	size_t n_lost;
	size_t n_warnings;
};

void findings_add(struct findings *findings, enum finding_level level, const char *about, const char *format, ...)
	PS_PRINTF(4, 5);
void findings_clear(struct findings *findings);

/* Each looks at one thing and adds what it finds. */
void check_expiry(const struct relay_config *config, struct credentials *credentials, struct trust *trust,
                  struct findings *findings);
/* Who else may write what the relay rests on? */
void check_files(const struct relay_config *config, struct findings *findings);
/* Rules that can never be the one that allows; only what is certain. */
void check_rules(const struct relay_config *config, struct findings *findings);
/* Does every target answer, and could the listening addresses be bound now? */
void check_targets(const struct relay_config *config, struct findings *findings);
void check_listeners(const struct relay_config *config, struct findings *findings);

#endif
