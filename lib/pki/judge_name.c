/* SPDX-License-Identifier: Apache-2.0 */
/* The part of judge that compares the name a sender dialled with those of the relay's certificate. */
#include "portseal/judge.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "portseal/text.h"

#define NAME_MAX_LEN 256 /* a DNS name has at most 253 */

/* RFC 9525, section 6.3: a wildcard is the whole leftmost label, stands for one label, and has two labels or more
 * behind it. */
static bool dns_name_fits(const char *presented, const char *name, size_t name_len)
{
	if (presented[0] != '*')
		return strlen(presented) == name_len && strncasecmp(presented, name, name_len) == 0;
	const char *dot = memchr(name, '.', name_len);
	if (presented[1] != '.' || dot == NULL || dot == name)
		return false;
	const char *parent = presented + 2;
	const char *second = strchr(parent, '.');
	if (second == NULL || second == parent || second[1] == '\0' || strchr(parent, '*') != NULL)
		return false;
	size_t rest_len = name_len - (size_t)(dot + 1 - name);
	return strlen(parent) == rest_len && strncasecmp(parent, dot + 1, rest_len) == 0;
}

struct ip {
	int family; /* 0: not an address */
	uint8_t bytes[16];
};

static struct ip ip_parse(const char *string)
{
	struct ip ip = { .family = 0 };

	if (inet_pton(AF_INET, string, ip.bytes) == 1)
		ip.family = AF_INET;
	else if (inet_pton(AF_INET6, string, ip.bytes) == 1)
		ip.family = AF_INET6;
	return ip;
}

static bool is_named(const struct identity *identity, const char *name)
{
	char host[NAME_MAX_LEN];
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len >= sizeof host || strchr(name, '*') != NULL)
		return false;
	memcpy(host, name, len);
	host[len] = '\0';
	struct ip wanted = ip_parse(host);
	for (size_t i = 0; i < identity->n_names; i++) {
		const struct identity_name *at = &identity->names[i];
		if (wanted.family == 0 && at->kind == IDENTITY_DNS && dns_name_fits(at->value, host, len))
			return true;
		if (wanted.family == 0 || at->kind != IDENTITY_IP)
			continue;
		struct ip presented = ip_parse(at->value);
		if (presented.family == wanted.family && memcmp(presented.bytes, wanted.bytes, sizeof wanted.bytes) == 0)
			return true;
	}
	return false;
}

void judge_name(const struct identity *identity, const char *name, struct verdict *verdict)
{
	char names[PS_CAUSE_MAX / 2];
	char shown[NAME_MAX_LEN];
	struct text text;

	if (is_named(identity, name)) {
		*verdict = (struct verdict){ .refusal = REFUSAL_NONE, .rule = -1 };
		return;
	}
	text_init(&text, shown, sizeof shown);
	text_add_escaped(&text, name, strlen(name));
	text_init(&text, names, sizeof names);
	for (size_t i = 0; i < identity->n_names; i++) {
		const struct identity_name *at = &identity->names[i];
		if (at->kind != IDENTITY_DNS && at->kind != IDENTITY_IP)
			continue;
		text_add(&text, text.len > 0 ? ", " : "");
		text_add_escaped(&text, at->value, at->len);
	}
	verdict->refusal = REFUSAL_WRONG_NAME;
	verdict->rule = -1;
	(void)ps_cause_set(&verdict->detail, PS_OK, "it was issued for %s, and not for %s",
	                   text.len > 0 ? names : "no DNS name or IP address", shown);
}
