/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access -- matches an identity against the rules of a service, piece by piece, without copying or decoding.
 *
 * Never:  allocates, normalises a name, or lets a wildcard reach across a separator.
 */
#include "portseal/access.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <mbedtls/base64.h>

#include "portseal/text.h"

#define SHOWN_MAX 200

/* A piece of a string that is not cut out: labels, segments. */
struct span {
	const char *at;
	size_t len;
};

static bool span_is(struct span span, const char *string)
{
	return span.len == strlen(string) && memcmp(span.at, string, span.len) == 0;
}

static bool span_same(struct span a, struct span b)
{
	return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static bool span_same_caseless(struct span a, struct span b)
{
	return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0;
}

static bool span_has(struct span span, char byte)
{
	return span.len > 0 && memchr(span.at, byte, span.len) != NULL;
}

/* Takes the piece up to the next `separator` off the front of `rest`; false once nothing is left. An `at` of NULL says
 * that the last piece was taken, which "a." (two pieces, the last empty) needs to be told from "a". */
static bool span_take(struct span *rest, char separator, struct span *piece)
{
	if (rest->at == NULL)
		return false;
	const char *end = rest->len > 0 ? memchr(rest->at, separator, rest->len) : NULL;
	*piece = *rest;
	if (end == NULL) {
		rest->at = NULL;
		return true;
	}
	piece->len = (size_t)(end - rest->at);
	rest->at += piece->len + 1;
	rest->len -= piece->len + 1;
	return true;
}

/* scheme ":" [ "//" authority ] rest, where rest is "" or begins with "/" after an authority (RFC 3986, section 3). */
struct uri {
	struct span scheme;
	bool has_authority;
	struct span authority;
	struct span rest;
};

static bool uri_split(const char *string, size_t len, struct uri *uri)
{
	size_t scheme_len = 0;

	while (scheme_len < len && (isalnum((unsigned char)string[scheme_len]) ||
	                            (scheme_len > 0 && string[scheme_len] != '\0' && strchr("+-.", string[scheme_len]))))
		scheme_len++;
	if (scheme_len == 0 || scheme_len == len || string[scheme_len] != ':' || !isalpha((unsigned char)string[0]))
		return false;
	uri->scheme = (struct span){ string, scheme_len };
	uri->rest = (struct span){ string + scheme_len + 1, len - scheme_len - 1 };
	uri->has_authority = uri->rest.len >= 2 && memcmp(uri->rest.at, "//", 2) == 0;
	uri->authority = (struct span){ uri->rest.at, 0 };
	if (!uri->has_authority)
		return true;

	uri->rest.at += 2;
	uri->rest.len -= 2;
	size_t end = 0;
	while (end < uri->rest.len && strchr("/?#", uri->rest.at[end]) == NULL)
		end++;
	uri->authority = (struct span){ uri->rest.at, end };
	uri->rest.at += end;
	uri->rest.len -= end;
	return true;
}

/* What a wildcard of a rule may stand for: one plain segment. Dots and percent signs are how a path means another one
 * than it shows, a query or a fragment is no part of a path. */
static bool is_plain_segment(struct span segment)
{
	return segment.len > 0 && !span_is(segment, ".") && !span_is(segment, "..") && !span_has(segment, '%') &&
	       !span_has(segment, '?') && !span_has(segment, '#') && !span_has(segment, '*');
}

static bool path_matches(struct span pattern, struct span path)
{
	struct span want, have;

	while (span_take(&pattern, '/', &want)) {
		if (!span_take(&path, '/', &have))
			return false;
		if (span_is(want, "**")) { /* the last of the pattern: the rest, segment by segment */
			do {
				if (!is_plain_segment(have))
					return false;
			} while (span_take(&path, '/', &have));
			return true;
		}
		if (span_is(want, "*") ? !is_plain_segment(have) : !span_same(want, have))
			return false;
	}
	return path.at == NULL;
}

static bool uri_matches(const char *pattern, const char *value, size_t value_len)
{
	struct uri want, have;

	if (!uri_split(pattern, strlen(pattern), &want) || !uri_split(value, value_len, &have))
		return false;
	if (!span_same_caseless(want.scheme, have.scheme) || want.has_authority != have.has_authority)
		return false;
	if (!want.has_authority)
		return span_same(want.rest, have.rest);
	return span_same_caseless(want.authority, have.authority) && path_matches(want.rest, have.rest);
}

static bool dns_matches(const char *pattern, const char *value, size_t value_len)
{
	struct span want_rest = { pattern, strlen(pattern) };
	struct span have_rest = { value, value_len };
	struct span want, have;

	while (span_take(&want_rest, '.', &want)) {
		if (!span_take(&have_rest, '.', &have))
			return false;
		/* A certificate for "*.example.com" has no name that a rule could let in. */
		if (have.len == 0 || span_has(have, '*'))
			return false;
		if (!span_is(want, "*") && !span_same_caseless(want, have))
			return false;
	}
	return have_rest.at == NULL;
}

static bool name_matches(enum identity_kind kind, const char *pattern, const struct identity_name *name)
{
	if (kind == IDENTITY_DNS)
		return dns_matches(pattern, name->value, name->len);
	if (kind == IDENTITY_URI)
		return uri_matches(pattern, name->value, name->len);
	return name->len == strlen(pattern) && memcmp(name->value, pattern, name->len) == 0;
}

static bool has_match(const struct identity *identity, enum identity_kind kind, const char *pattern)
{
	for (size_t i = 0; i < identity->n_names; i++) {
		if (identity->names[i].kind == kind && name_matches(kind, pattern, &identity->names[i]))
			return true;
	}
	return false;
}

static bool has_key(const struct access_rule *rule)
{
	return rule->cn != NULL || rule->ou != NULL || rule->dns != NULL || rule->uri != NULL || rule->spki_sha256 != NULL;
}

const char *access_rule_fails(const struct access_rule *rule, const struct identity *identity)
{
	if (rule->cn != NULL && !has_match(identity, IDENTITY_CN, rule->cn))
		return "cn";
	if (rule->ou != NULL && !has_match(identity, IDENTITY_OU, rule->ou))
		return "ou";
	if (rule->dns != NULL && !has_match(identity, IDENTITY_DNS, rule->dns))
		return "dns";
	if (rule->uri != NULL && !has_match(identity, IDENTITY_URI, rule->uri))
		return "uri";
	if (rule->spki_sha256 != NULL && memcmp(rule->pin, identity->pin, IDENTITY_PIN_LEN) != 0)
		return "spki_sha256";
	return rule->any || has_key(rule) ? NULL : "any";
}

int access_match(const struct access_list *list, const struct identity *identity)
{
	for (size_t i = 0; i < list->n_rules; i++) {
		if (access_rule_fails(&list->rules[i], identity) == NULL)
			return (int)i;
	}
	return -1;
}

static enum ps_err not_meant(const char *key, const char *value, const char *why, struct ps_cause *cause)
{
	char shown[SHOWN_MAX];
	struct text text;

	text_init(&text, shown, sizeof shown);
	text_add_escaped(&text, value, strlen(value));
	return ps_cause_set(cause, PS_E_CONFIG, "%s: \"%s\" %s", key, shown, why);
}

static bool is_printable_ascii(const char *string)
{
	for (; *string != '\0'; string++) {
		if (*string <= 0x20 || *string >= 0x7f)
			return false;
	}
	return true;
}

static enum ps_err check_exact(const char *key, const char *value, struct ps_cause *cause)
{
	if (value[0] == '\0')
		return not_meant(key, value, "is empty, and so matches nobody", cause);
	if (strchr(value, '*') != NULL)
		return not_meant(key, value, "has a wildcard, which only dns and uri know", cause);
	if (!identity_is_name(value, strlen(value)))
		return not_meant(key, value, "is not UTF-8 or holds a control character, and so matches nobody", cause);
	return PS_OK;
}

static enum ps_err check_dns(const char *value, struct ps_cause *cause)
{
	struct span rest = { value, strlen(value) };
	struct span label;
	bool named = false;

	while (span_take(&rest, '.', &label)) {
		if (span_is(label, "*"))
			continue;
		if (label.len == 0)
			return not_meant("dns", value, "has an empty label", cause);
		if (span_has(label, '*'))
			return not_meant("dns", value, "has a * that is not a whole label", cause);
		for (size_t i = 0; i < label.len; i++) {
			if (!isalnum((unsigned char)label.at[i]) && label.at[i] != '-' && label.at[i] != '_')
				return not_meant("dns", value, "is not a DNS name (international names are written xn--...)", cause);
		}
		named = true;
	}
	if (!named)
		return not_meant("dns", value, "names nothing; to let everyone in, say any = true", cause);
	return PS_OK;
}

static enum ps_err check_uri_path(const char *value, struct span path, struct ps_cause *cause)
{
	struct span segment;

	while (span_take(&path, '/', &segment)) {
		if (!span_has(segment, '*') || span_is(segment, "*"))
			continue;
		if (!span_is(segment, "**"))
			return not_meant("uri", value, "has a * that is not a whole segment", cause);
		if (path.at != NULL)
			return not_meant("uri", value, "has ** elsewhere than at its end", cause);
	}
	return PS_OK;
}

static enum ps_err check_uri(const char *value, struct ps_cause *cause)
{
	struct uri uri;

	if (!is_printable_ascii(value) || !uri_split(value, strlen(value), &uri) ||
	    (uri.rest.len == 0 && !uri.has_authority))
		return not_meant("uri", value, "is not a URI such as spiffe://example.com/billing/*", cause);
	if (!uri.has_authority && strchr(value, '*') != NULL)
		return not_meant("uri", value, "has a wildcard, which works only after scheme://authority/", cause);
	if (span_has(uri.authority, '*'))
		return not_meant("uri", value, "has a wildcard in its authority, which must be written out", cause);
	if (span_has(uri.authority, '@'))
		return not_meant("uri", value, "has a user name in its authority, which no identity has", cause);
	if (strpbrk(value, "?#") != NULL && strchr(value, '*') != NULL)
		return not_meant("uri", value, "has a query or fragment next to a wildcard", cause);
	return uri.has_authority ? check_uri_path(value, uri.rest, cause) : PS_OK;
}

static enum ps_err check_pin(struct access_rule *rule, struct ps_cause *cause)
{
	uint8_t pin[IDENTITY_PIN_LEN];
	size_t len = 0;
	size_t written = strlen(rule->spki_sha256);

	/* The library skips line ends and spaces; a pin is one word of 44 characters. */
	if (written != 44 || !is_printable_ascii(rule->spki_sha256) ||
	    mbedtls_base64_decode(pin, sizeof pin, &len, (const unsigned char *)rule->spki_sha256, written) != 0 ||
	    len != sizeof pin)
		return not_meant("spki_sha256", rule->spki_sha256,
		                 "is not the base64 of 32 bytes; portseal-certs show FILE prints the right one", cause);
	memcpy(rule->pin, pin, sizeof pin);
	return PS_OK;
}

enum ps_err access_rule_check(struct access_rule *rule, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;

	if (rule->any && has_key(rule))
		return ps_cause_set(cause, PS_E_CONFIG, "any: stands next to other keys, which it would make meaningless");
	if (!rule->any && !has_key(rule))
		return ps_cause_set(cause, PS_E_CONFIG, "an empty rule: expected cn, ou, dns, uri, spki_sha256 or any = true");
	if (rule->cn != NULL)
		err = check_exact("cn", rule->cn, cause);
	if (err == PS_OK && rule->ou != NULL)
		err = check_exact("ou", rule->ou, cause);
	if (err == PS_OK && rule->dns != NULL)
		err = check_dns(rule->dns, cause);
	if (err == PS_OK && rule->uri != NULL)
		err = check_uri(rule->uri, cause);
	if (err == PS_OK && rule->spki_sha256 != NULL)
		err = check_pin(rule, cause);
	return err;
}
