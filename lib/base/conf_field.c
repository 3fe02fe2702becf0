/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_field -- values that several programs' configurations have in common.
 */
#include "portseal/conf_field.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "portseal/file.h"
#include "portseal/text.h"

enum ps_err conf_field_listen(const char *text, void *field, struct ps_cause *cause)
{
	return address_parse(text, true, field, cause);
}

bool conf_field_is_service(const char *text)
{
	const size_t len = strlen(text);
	if (len == 0 || len > CONF_FIELD_SERVICE_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
			return false;
	return true;
}

enum ps_err conf_field_service(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];
	if (!conf_field_is_service(text))
		return ps_cause_set(cause, PS_E_CONFIG,
		                    "%s is not a service name: letters, digits, \"-\", \"_\" and \".\", at most %d of them",
		                    text_quoted(quoted, text), CONF_FIELD_SERVICE_MAX);
	*(const char **)field = text;
	return PS_OK;
}

enum ps_err conf_field_reload(const char *text, void *field, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];
	if (strcmp(text, "signal") != 0 && strcmp(text, "auto") != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not \"signal\" or \"auto\"", text_quoted(quoted, text));
	*(enum reload_on *)field = strcmp(text, "auto") == 0 ? RELOAD_ON_CHANGE : RELOAD_ON_SIGNAL;
	return PS_OK;
}

enum ps_err conf_field_place(const struct conf *conf, struct address *address, struct ps_cause *cause)
{
	char path[sizeof(address->path)];
	if (address->kind != ADDRESS_UNIX)
		return PS_OK;
	if (file_resolve(conf_dir(conf), address->path, path, sizeof(path)) != PS_OK)
		return ps_cause_set(cause, PS_E_CONFIG, "the socket's path is too long: the system takes %zu bytes",
		                    sizeof(path) - 1);
	memcpy(address->path, path, sizeof(path));
	return PS_OK;
}

bool conf_field_same_address(const struct address *a, const struct address *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == ADDRESS_UNIX)
		return strcmp(a->path, b->path) == 0;
	return a->port == b->port && a->port != 0 && strcasecmp(a->host, b->host) == 0;
}
