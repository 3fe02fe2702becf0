/* SPDX-License-Identifier: Apache-2.0 */
/* A rule of an operator and a name of a stranger: a kind (c, o, d, u or p), the rule, a newline, the name.
 * Without a wildcard only the same name may match, and a wildcard never makes it match across a separator. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "portseal/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count(const char *string, char byte)
{
	size_t n = 0;

	for (; *string != '\0'; string++)
		n += *string == byte;
	return n;
}

static void check(char kind, const char *pattern, const char *value)
{
	struct access_rule rule = {
		.cn = kind == 'c' ? pattern : NULL,
		.ou = kind == 'o' ? pattern : NULL,
		.dns = kind == 'd' ? pattern : NULL,
		.uri = kind == 'u' ? pattern : NULL,
		.spki_sha256 = kind == 'p' ? pattern : NULL,
	};
	struct identity_name name = { .len = strlen(value), .value = (char *)(uintptr_t)value };
	struct identity identity = { .names = &name, .n_names = 1, .pin = { 0 } };
	bool matches[IDENTITY_EMAIL + 1];

	if (access_rule_check(&rule, &(struct ps_cause){ "" }) != PS_OK)
		return;
	for (int i = 0; i <= IDENTITY_EMAIL; i++) {
		name.kind = (enum identity_kind)i;
		matches[i] = access_rule_fails(&rule, &identity) == NULL;
	}
	if (kind == 'p')
		return;
	if (matches[IDENTITY_IP] || matches[IDENTITY_EMAIL])
		abort();
	bool any = matches[IDENTITY_CN] || matches[IDENTITY_OU] || matches[IDENTITY_DNS] || matches[IDENTITY_URI];
	if (any && strchr(pattern, '*') == NULL && strcasecmp(pattern, value) != 0)
		abort();
	if (matches[IDENTITY_DNS] && count(pattern, '.') != count(value, '.'))
		abort();
	if (matches[IDENTITY_URI] && strstr(pattern, "**") == NULL && count(pattern, '/') != count(value, '/'))
		abort();
	if (any && strchr(value, '*') != NULL && strcmp(pattern, value) == 0 && kind != 'c' && kind != 'o')
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 2048)
		return 0;
	char *text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	char *newline = strchr(text + 1, '\n');
	if (newline != NULL) {
		*newline = '\0';
		check(text[0], text + 1, newline + 1);
	}
	free(text);
	return 0;
}
