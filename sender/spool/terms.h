/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terms -- one loaded configuration with its key and anchors, by which connections are made.
 *
 * Connections hold on to the terms that they were made by; a reload makes new ones beside them.
 */
#ifndef PORTSEAL_SENDER_SPOOL_TERMS_H
#define PORTSEAL_SENDER_SPOOL_TERMS_H

#include <stdint.h>

#include "config.h"
#include "dial.h"
#include "outcome.h"

struct terms {
	unsigned holds;
	struct sender_config *config;
	struct dial_setup *setup;
};

/* Loads the configuration of `options`, which must name a spool, and the key and authorities that it names. On failure the
 * outcome is set. */
enum ps_err terms_load(const struct config_options *options, struct terms **terms, struct outcome *outcome)
	PS_MUST_CHECK;

struct terms *terms_hold(struct terms *terms);
/* Gives up one hold; the last frees them. Harmless on NULL. */
void terms_free(struct terms *terms);

/* Of every file that they were loaded from, as it is now; 0: only a signal shall reload them. */
uint64_t terms_fingerprint(const struct terms *terms);

#endif
