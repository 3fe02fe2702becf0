/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/command.h"

enum outcome_code command_code(enum ps_err err)
{
	switch (err) {
	case PS_OK:
		return OUTCOME_DONE;
	case PS_E_LIMIT:
		return OUTCOME_LIMIT;
	case PS_E_CONFIG:
		return OUTCOME_OWN_SETUP;
	default:
		return OUTCOME_UNFORESEEN;
	}
}

enum ps_err command_load(const struct config_options *options, struct sender_config **config, struct outcome *outcome)
{
	struct sender_config *loaded = NULL;
	struct ps_cause cause;
	enum ps_err err;

	if (options->file == NULL) {
		outcome_set(outcome, OUTCOME_USAGE, "no configuration given: use -c FILE, which says where the spool is");
		return PS_E_CONFIG;
	}
	err = config_load(options, false, &loaded, &cause);
	if (err == PS_OK && loaded->spool.path == NULL)
		err = ps_cause_set(&cause, PS_E_CONFIG, "%s: no spool is configured: say spool = { path = \"FILE\"; };",
		                   options->file);
	if (err != PS_OK) {
		config_free(loaded);
		outcome_set(outcome, err == PS_E_NOMEM ? OUTCOME_UNFORESEEN : OUTCOME_OWN_SETUP, "%s", cause.text);
		return err;
	}
	*config = loaded;
	return PS_OK;
}

const char *command_state(enum spool_state state)
{
	static const char *const words[] = {
		[SPOOL_WAITING] = "waiting", [SPOOL_UNDER_WAY] = "under-way", [SPOOL_DEAD] = "dead"
	};

	return words[state];
}
