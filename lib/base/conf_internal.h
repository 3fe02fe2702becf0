/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_internal -- what the files of conf share: conf.c walks the table, conf_value.c reads one value, conf_scan.c looks
 * at the text before libconfig does.
 */
#ifndef PORTSEAL_CONF_INTERNAL_H
#define PORTSEAL_CONF_INTERNAL_H

#include <libconfig.h>

#include "portseal/conf.h"
#include "portseal/text.h"

struct conf_block {
	struct conf_block *next;
	max_align_t bytes[];
};

struct conf {
	config_t tree;              /* strings stay in it */
	struct conf_block *blocks;  /* whatever else was allocated */
	char *dir;                  /* with its last slash, or "" */
	char file[TEXT_QUOTED_MAX]; /* as errors name it */
};

/* Finds what libconfig would misread in silence or explain badly: control bytes, @include, numbers that it truncates,
 * \x00 that ends a string early, brackets and quotes left open. Sets line and a cause without the file's name. */
enum ps_err conf_scan(const char *text, size_t len, unsigned *line, struct ps_cause *cause) PS_MUST_CHECK;

/* Reads a setting that is neither GROUP nor LIST. The cause has no place in it yet. */
enum ps_err conf_value_read(struct conf *conf, const struct conf_key *key, const config_setting_t *setting, void *field,
                            struct ps_cause *cause) PS_MUST_CHECK;

/* Fills the field of an absent key that is neither GROUP nor LIST. */
enum ps_err conf_value_default(const struct conf_key *key, void *field, struct ps_cause *cause) PS_MUST_CHECK;

/* "a string", "a whole number", ... */
const char *conf_value_type(const config_setting_t *setting);

/* PS_E_CONFIG when a number of elements is outside the key's range. */
enum ps_err conf_value_check_length(const struct conf_key *key, size_t n, struct ps_cause *cause) PS_MUST_CHECK;

#endif
