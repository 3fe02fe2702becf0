/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_rules -- rules that can never be the one that allows.
 */
#include "findings.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_CHARACTERS 64 /* ub-common-name, ub-organizational-unit-name: RFC 5280, appendix A.1 */
#define DNS_MAX 253            /* RFC 1035, section 2.3.4, without the root's dot */

/* Does `a` ask for no more than `b` in this key? */
static bool asks_no_more(const char *a, const char *b, int (*compare)(const char *, const char *))
{
	return a == NULL || (b != NULL && compare(a, b) == 0);
}

/* Does every identity that `b` lets in enter by `a` as well? */
static bool covers(const struct access_rule *a, const struct access_rule *b)
{
	return a->any || (!b->any && asks_no_more(a->cn, b->cn, strcmp) && asks_no_more(a->ou, b->ou, strcmp) &&
	                  asks_no_more(a->dns, b->dns, strcasecmp) && asks_no_more(a->uri, b->uri, strcmp) &&
	                  asks_no_more(a->spki_sha256, b->spki_sha256, strcmp));
}

/* Of UTF-8. */
static size_t count_characters(const char *string)
{
	size_t n = 0;

	for (; *string != '\0'; string++)
		n += ((unsigned char)*string & 0xc0) != 0x80;
	return n;
}

static void check_length(const struct relay_service *service, const char *list, size_t number, const char *key,
                         const char *value, struct findings *findings)
{
	if (value != NULL && count_characters(value) > NAME_MAX_CHARACTERS)
		findings_add(findings, FINDING_WARNING, "rules",
		             "service %s: rule %zu of %s matches nobody: its %s has %zu characters, a certificate's at most %d",
		             service->name, number, list, key, count_characters(value), NAME_MAX_CHARACTERS);
}

static void check_list(const struct relay_service *service, const char *name, const struct access_list *list,
                       struct findings *findings)
{
	for (size_t i = 0; i < list->n_rules; i++) {
		const struct access_rule *rule = &list->rules[i];

		check_length(service, name, i + 1, "cn", rule->cn, findings);
		check_length(service, name, i + 1, "ou", rule->ou, findings);
		if (rule->dns != NULL && strlen(rule->dns) > DNS_MAX)
			findings_add(findings, FINDING_WARNING, "rules",
			             "service %s: rule %zu of %s matches nobody: its dns is longer than %d bytes", service->name,
			             i + 1, name, DNS_MAX);
		for (size_t before = 0; before < i; before++) {
			if (!covers(&list->rules[before], rule))
				continue;
			findings_add(findings, FINDING_WARNING, "rules",
			             "service %s: rule %zu of %s is never needed: whoever it lets in, rule %zu lets in already",
			             service->name, i + 1, name, before + 1);
			break;
		}
	}
}

void check_rules(const struct relay_config *config, struct findings *findings)
{
	for (size_t i = 0; i < config->services_list.n; i++) {
		const struct relay_service *service = &config_services(config)[i];

		check_list(service, "allow", &service->allow, findings);
		check_list(service, "would_allow", &service->would_allow, findings);
	}
}
