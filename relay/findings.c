/* SPDX-License-Identifier: Apache-2.0 */
#include "findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void findings_add(struct findings *findings, enum finding_level level, const char *about, const char *format, ...)
{
	struct finding *grown = NULL;
	va_list arguments;

	if (level == FINDING_WARNING)
		findings->n_warnings++;
	if (findings->n < FINDINGS_MAX)
		grown = reallocarray(findings->items, findings->n + 1, sizeof(*grown));
	if (grown == NULL) {
		findings->n_lost++;
		return;
	}
	findings->items = grown;
	grown += findings->n++;
	grown->level = level;
	grown->about = about;
	va_start(arguments, format);
	(void)vsnprintf(grown->text.text, sizeof(grown->text.text), format, arguments);
	va_end(arguments);
}

void findings_clear(struct findings *findings)
{
	free(findings->items);
	*findings = (struct findings){ .items = NULL };
}
