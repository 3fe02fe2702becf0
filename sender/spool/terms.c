/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/terms.h"

#include <stdlib.h>

#include "spool/command.h"

static enum ps_err new_terms(struct sender_config *config, struct terms **terms, struct ps_cause *cause)
{
	struct terms *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL) {
		config_free(config);
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	}
	fresh->holds = 1;
	fresh->config = config;
	const enum ps_err err = dial_setup_new(config, &fresh->setup, cause);
	if (err != PS_OK) {
		terms_free(fresh);
		return err;
	}
	*terms = fresh;
	return PS_OK;
}

enum ps_err terms_load(const struct config_options *options, struct terms **terms, struct outcome *outcome)
{
	struct sender_config *config = NULL;
	struct ps_cause cause;
	enum ps_err err = command_load(options, &config, outcome);

	if (err != PS_OK)
		return err;
	err = new_terms(config, terms, &cause);
	if (err != PS_OK)
		outcome_set(outcome, err == PS_E_NOMEM ? OUTCOME_UNFORESEEN : OUTCOME_OWN_SETUP, "%s", cause.text);
	return err;
}

struct terms *terms_hold(struct terms *terms)
{
	terms->holds++;
	return terms;
}

void terms_free(struct terms *terms)
{
	if (terms == NULL || --terms->holds > 0)
		return;
	dial_setup_free(terms->setup);
	config_free(terms->config);
	free(terms);
}

uint64_t terms_fingerprint(const struct terms *terms)
{
	return config_fingerprint(terms->config);
}
