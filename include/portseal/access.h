/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access -- the rules of a service: which identities may reach it.
 *
 * Rules are alternatives; the keys inside one rule must all match. An empty list allows nobody.
 */
#ifndef PORTSEAL_ACCESS_H
#define PORTSEAL_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"
#include "portseal/identity.h"

/* What an operator wrote in one rule; NULL where the key is absent. Borrowed strings.
 *
 * A URI is compared without percent-decoding: scheme and authority without case, path segments byte for byte. A
 * wildcard of `uri` stands only for plain segments: not empty, not "." or "..", without "%", "?" or "#". A wildcard of
 * `dns` never stands for a label that is one itself. */
struct access_rule {
	const char *cn;                /* exact */
	const char *ou;                /* exact, any OU of the subject */
	const char *dns;               /* case-insensitive; * stands for exactly one whole label */
	const char *uri;               /* * one whole path segment, ** only at the end: the rest (one segment or more) */
	const char *spki_sha256;       /* base64 of 32 bytes */
	bool any;                      /* every certificate that judge_chain lets through; alone in its rule */
	uint8_t pin[IDENTITY_PIN_LEN]; /* set by access_rule_check from spki_sha256 */
};

struct access_list {
	struct access_rule *rules;
	size_t n_rules;
};

/* Is this rule meant as it stands? At least one key, `any` alone, wildcards only whole labels or segments, pin of the
 * right length. Decodes the pin. The cause names the key and the value. */
enum ps_err access_rule_check(struct access_rule *rule, struct ps_cause *cause) PS_MUST_CHECK;

/* Index of the first rule that allows, or -1. */
int access_match(const struct access_list *list, const struct identity *identity);

/* NULL when the rule matches, else the first key of it that does not ("cn"). */
const char *access_rule_fails(const struct access_rule *rule, const struct identity *identity);

#endif
