/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DNS_MAX 253
#define DNS_LABEL_MAX 63

/* Every refusal: what it is called, the text (escaped, shortened) and what is wrong with it. */
static enum ps_err refuse(struct ps_cause *cause, const char *what, const char *text, const char *why)
{
	char shown[128];
	struct text out;
	text_init(&out, shown, sizeof(shown));
	text_add_escaped(&out, text, strnlen(text, 100));
	return ps_cause_set(cause, PS_E_CONFIG, "%s \"%s\" %s", what, shown, why);
}

const char *names_role_text(enum names_role role)
{
	return role == ROLE_RELAY ? "relay" : "sender";
}

enum ps_err names_role_parse(const char *string, enum names_role *role, struct ps_cause *cause)
{
	if (strcmp(string, "relay") == 0)
		*role = ROLE_RELAY;
	else if (strcmp(string, "sender") == 0)
		*role = ROLE_SENDER;
	else
		return refuse(cause, "role", string, "is not relay or sender");
	return PS_OK;
}

/* True where every character is visible and well-formed UTF-8: what a log line would show as it is. */
static bool is_visible(const char *text)
{
	char plain[NAMES_CN_CAP];
	char shown[NAMES_CN_CAP * 4];
	struct text out;
	snprintf(plain, sizeof(plain), "%s", text);
	for (char *at = plain; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\') /* escaped in a log line, and harmless in a name */
			*at = 'x';
	}
	text_init(&out, shown, sizeof(shown));
	text_add_escaped(&out, plain, strlen(plain));
	return strcmp(plain, shown) == 0;
}

static size_t count_characters(const char *text)
{
	size_t n = 0;
	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* Text of a distinguished name: 1 to 64 visible characters, no space at either end. */
static enum ps_err check_dn_text(const char *what, const char *text, struct ps_cause *cause)
{
	if (text[0] == '\0')
		return refuse(cause, what, text, "is empty");
	if (strlen(text) >= NAMES_CN_CAP || count_characters(text) > NAMES_CN_CHARACTERS)
		return refuse(cause, what, text, "is longer than 64 characters or 200 bytes");
	if (!is_visible(text))
		return refuse(cause, what, text, "contains control or invisible characters, or is not UTF-8");
	if (text[0] == ' ' || text[strlen(text) - 1] == ' ')
		return refuse(cause, what, text, "begins or ends with a space");
	return PS_OK;
}

static void copy_text(char *out, size_t cap, const char *text)
{
	snprintf(out, cap, "%s", text);
}

enum ps_err names_set_authority(struct names *names, const char *cn, struct ps_cause *cause)
{
	enum ps_err err = check_dn_text("name", cn, cause);
	if (err != PS_OK)
		return err;
	copy_text(names->cn, sizeof(names->cn), cn);
	return PS_OK;
}

enum ps_err names_set_cn(struct names *names, const char *cn, struct ps_cause *cause)
{
	if (strchr(cn, '/') != NULL)
		return refuse(cause, "name", cn, "contains a / and cannot be a file name");
	if (cn[0] == '.')
		return refuse(cause, "name", cn, "begins with a dot and would be a hidden file");
	if (cn[0] == '-')
		return refuse(cause, "name", cn, "begins with a dash and would read as an option");
	if (strcasecmp(cn, "ca") == 0)
		return refuse(cause, "name", cn, "is reserved for the authority itself");
	return names_set_authority(names, cn, cause);
}

enum ps_err names_set_ou(struct names *names, const char *ou, struct ps_cause *cause)
{
	enum ps_err err = check_dn_text("ou", ou, cause);
	if (err != PS_OK)
		return err;
	copy_text(names->ou, sizeof(names->ou), ou);
	return PS_OK;
}

/* What any of the usual parsers takes for an IPv4 or IPv6 address. */
static bool reads_as_ip(const char *text)
{
	const char *last = strrchr(text, '.');
	last = last == NULL ? text : last + 1;
	bool numeric_end = last[0] != '\0' && last[strspn(last, "0123456789")] == '\0';
	return numeric_end || strchr(text, ':') != NULL || text[0] == '[';
}

static bool is_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* NULL when the label of `len` bytes is well formed, else what is wrong. Underscores do occur in practice. */
static const char *label_fault(const char *label, size_t len)
{
	if (len == 0)
		return "has an empty label";
	if (len > DNS_LABEL_MAX)
		return "has a label longer than 63 bytes";
	if (label[0] == '-' || label[len - 1] == '-')
		return "has a label that begins or ends with a dash";
	for (size_t i = 0; i < len; i++) {
		if (label[i] == '*')
			return "has a * elsewhere than as its whole first label";
		if ((unsigned char)label[i] >= 0x80)
			return "is not ASCII: write the xn-- form";
		if (!is_alphanumeric(label[i]) && label[i] != '-' && label[i] != '_')
			return "contains a character that host names do not have";
	}
	return NULL;
}

static const char *dns_fault(const char *dns)
{
	if (strlen(dns) > DNS_MAX)
		return "is longer than 253 bytes";
	if (reads_as_ip(dns))
		return "is an IP address: use --ip";
	const char *at = strncmp(dns, "*.", 2) == 0 ? dns + 2 : dns;
	for (;;) {
		size_t len = strcspn(at, ".");
		const char *fault = label_fault(at, len);
		if (fault != NULL || at[len] == '\0')
			return fault;
		at += len + 1;
	}
}

/* Storage for one more name, or the cause. *san is NULL when the very same name is there already. */
static enum ps_err next_san(struct names *names, enum san_kind kind, const char *text, struct san **san,
                            struct ps_cause *cause)
{
	*san = NULL;
	for (size_t i = 0; i < names->n_sans; i++) {
		if (names->sans[i].kind == kind && strcmp(names->sans[i].text, text) == 0)
			return PS_OK;
	}
	if (names->n_sans == NAMES_SANS_MAX)
		return ps_cause_set(cause, PS_E_CONFIG, "more than %d names in one certificate", NAMES_SANS_MAX);
	*san = &names->sans[names->n_sans++];
	memset(*san, 0, sizeof(**san));
	(*san)->kind = kind;
	copy_text((*san)->text, sizeof((*san)->text), text);
	return PS_OK;
}

enum ps_err names_add_dns(struct names *names, const char *dns, struct ps_cause *cause)
{
	const char *fault = dns_fault(dns);
	if (fault != NULL)
		return refuse(cause, "dns name", dns, fault);
	struct san *san = NULL;
	return next_san(names, SAN_DNS, dns, &san, cause);
}

enum ps_err names_add_ip(struct names *names, const char *ip, struct ps_cause *cause)
{
	uint8_t address[16];
	char canonical[INET6_ADDRSTRLEN];
	int family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET;
	if (inet_pton(family, ip, address) != 1 || inet_ntop(family, address, canonical, sizeof(canonical)) == NULL)
		return refuse(cause, "ip", ip, "is not an IPv4 or IPv6 address");

	struct san *san = NULL;
	enum ps_err err = next_san(names, SAN_IP, canonical, &san, cause);
	if (err != PS_OK || san == NULL)
		return err;
	san->address_len = family == AF_INET6 ? 16 : 4;
	memcpy(san->address, address, san->address_len);
	return PS_OK;
}

static const char *uri_fault(const char *uri)
{
	size_t scheme_len = 0;
	while (is_alphanumeric(uri[scheme_len]) || (uri[scheme_len] != '\0' && strchr("+-.", uri[scheme_len]) != NULL))
		scheme_len++;
	bool begins_with_letter = is_alphanumeric(uri[0]) && !(uri[0] >= '0' && uri[0] <= '9');
	if (!begins_with_letter || uri[scheme_len] != ':' || uri[scheme_len + 1] == '\0')
		return "is not scheme:rest, such as spiffe://example.com/billing";
	if (strlen(uri) >= NAMES_TEXT_CAP)
		return "is longer than 512 bytes";
	for (const char *at = uri; *at != '\0'; at++) {
		if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}", *at) != NULL)
			return "contains a character that a URI must write as %XX";
	}
	return NULL;
}

enum ps_err names_add_uri(struct names *names, const char *uri, struct ps_cause *cause)
{
	const char *fault = uri_fault(uri);
	if (fault != NULL)
		return refuse(cause, "uri", uri, fault);
	struct san *san = NULL;
	return next_san(names, SAN_URI, uri, &san, cause);
}

enum ps_err names_add_cn_as_host(struct names *names, struct ps_cause *cause)
{
	if (names_add_ip(names, names->cn, NULL) == PS_OK || names_add_dns(names, names->cn, NULL) == PS_OK)
		return PS_OK;
	return refuse(cause, "name", names->cn, "is no host name or address: say by --dns or --ip where senders find it");
}

static void add_escaped_value(struct text *out, const char *key, const char *value)
{
	text_add(out, key);
	for (const char *at = value; *at != '\0'; at++) {
		if (is_alphanumeric(*at))
			text_add_bytes(out, at, 1);
		else
			text_addf(out, "\\%02X", (unsigned)(unsigned char)*at);
	}
}

void names_subject(const struct names *names, struct text *out)
{
	if (names->ou[0] != '\0') {
		add_escaped_value(out, "OU=", names->ou);
		text_add(out, ",");
	}
	add_escaped_value(out, "CN=", names->cn);
}
