/* SPDX-License-Identifier: Apache-2.0 */
/* problem: any body of an answer; what is read of it is bounded and terminated, and the reason is a word. */
#include "problem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problem problem;

	if (problem_parse((const char *)data, size, &problem) != PS_OK && problem.reason[0] != '\0')
		abort();
	if (strlen(problem.reason) >= sizeof(problem.reason) || strlen(problem.detail) >= sizeof(problem.detail) ||
	    strspn(problem.reason, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(problem.reason))
		abort();
	return 0;
}
