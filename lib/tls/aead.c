/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead -- which provider is in force. A new one joins in the table, behind those that are faster.
 */
#include "portseal/aead.h"

#include <string.h>

#include "aead_private.h"

static const struct aead_provider *const providers[] = {
#ifdef PS_IPSEC_MB
	&aead_ipsec,
#endif
	&aead_psa,
};

#define N_PROVIDERS (sizeof(providers) / sizeof(providers[0]))

/* Every name there is, so that an option means the same in every build. */
static const char *const choices[] = { "auto", "ipsec-mb", "psa" };

static const struct aead_provider *in_force = &aead_psa;

const struct aead_provider *aead_provider(void)
{
	return in_force;
}

bool aead_is_choice(const char *choice)
{
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if (strcmp(choices[i], choice) == 0)
			return true;
	return false;
}

static enum ps_err try_provider(const struct aead_provider *provider, struct ps_cause *cause)
{
	enum ps_err err = provider->start == NULL ? PS_OK : provider->start(cause);
	if (err == PS_OK)
		err = aead_known_answers(provider, cause);
	if (err == PS_OK)
		in_force = provider;
	return err;
}

enum ps_err aead_select_among(const struct aead_provider *const *candidates, size_t n, struct ps_cause *cause)
{
	struct ps_cause why = { "" };
	enum ps_err err = PS_E_BUG;

	cause->text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		err = try_provider(candidates[i], &why);
		if (err == PS_OK)
			return PS_OK;
		/* That a machine lacks it is nothing to worry about. */
		if (err != PS_E_CONFIG)
			*cause = why;
	}
	return err;
}

enum ps_err aead_select(const char *choice, struct ps_cause *cause)
{
	if (choice == NULL || strcmp(choice, "auto") == 0)
		return aead_select_among(providers, N_PROVIDERS, cause);
	cause->text[0] = '\0';
	for (size_t i = 0; i < N_PROVIDERS; i++)
		if (strcmp(providers[i]->name, choice) == 0)
			return try_provider(providers[i], cause);
	if (aead_is_choice(choice))
		return ps_cause_set(cause, PS_E_CONFIG, "%s was left out when this program was built", choice);
	return ps_cause_set(cause, PS_E_CONFIG, "\"%s\" is not auto, ipsec-mb or psa", choice);
}
