/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

#include <stdio.h>

#include "portseal/aead.h"

int usage_error(const char *prefix, const struct ps_cause *cause)
{
	fprintf(stderr, "%s: %s%s\n", PROGRAM, prefix, cause->text);
	return OUTCOME_USAGE;
}

enum outcome_code usage_select_aead(const char *prefix, const char *aead, struct ps_cause *cause)
{
	const char *choice = aead == NULL ? "auto" : aead;
	const enum ps_err err = aead_select(choice, cause);

	if (err == PS_OK)
		return OUTCOME_DONE;
	fprintf(stderr, "%s: %s--aead: %s\n", PROGRAM, prefix, cause->text);
	return aead_is_choice(choice) ? OUTCOME_OWN_SETUP : OUTCOME_USAGE;
}

void usage_print_failure(const struct outcome *outcome)
{
	fprintf(stderr, "%s: %s\n", PROGRAM, outcome->cause.text);
}

void usage_print(const char *synopsis, const char *purpose, const struct args_option *options, const char *tail)
{
	printf("usage: %s %s\n\n%s\n\n", PROGRAM, synopsis, purpose);
	args_print_help(stdout, options);
	printf("\n%s", tail);
}
