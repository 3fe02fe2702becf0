/* SPDX-License-Identifier: Apache-2.0 */
#include "each_aead.h"

#include <stdio.h>

#include "portseal/aead.h"

int with_each_aead(int (*run)(void))
{
	static const char *const choices[] = { "psa", "ipsec-mb" };
	struct ps_cause cause;
	int failed = 0;

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		if (aead_select(choices[i], &cause) == PS_OK) {
			fprintf(stderr, "with %s:\n", aead_provider()->label());
			failed += run();
		} else {
			fprintf(stderr, "without %s: %s\n", choices[i], cause.text);
		}
	}
	return failed;
}
