/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address -- the places a program listens on or connects to, read from and written as text.
 *
 * Never:  resolves names, or passes a peer's bytes on unescaped.
 */
#include "portseal/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "portseal/text.h"
#include "portseal/units.h"

static const char unix_prefix[] = "unix:";
static const char tcp_prefix[] = "tcp://";
static const char udp_prefix[] = "udp://";

static bool starts_with(const char *string, const char *prefix)
{
	return strncmp(string, prefix, strlen(prefix)) == 0;
}

/* A DNS name as it is used in practice: labels of letters, digits, hyphens and underscores. */
static bool is_name(const char *host)
{
	if (host[0] == '.' || host[0] == '-')
		return false;
	for (const char *at = host; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && strchr("-_.", *at) == NULL)
			return false;
		if (at[0] == '.' && at[1] == '.')
			return false;
	}
	return true;
}

/* A last label of digits only can be no name: it is IPv4, or a mistake that a resolver would reinterpret ("10.1"). */
static bool looks_like_ipv4(const char *host)
{
	const char *dot = strrchr(host, '.');
	const char *label = dot == NULL ? host : dot + 1;
	return *label != '\0' && label[strspn(label, "0123456789")] == '\0';
}

static bool is_host(const char *host)
{
	struct in_addr v4;
	if (looks_like_ipv4(host))
		return inet_pton(AF_INET, host, &v4) == 1;
	return is_name(host);
}

/* Normalises the inside of the brackets; a zone ("%eth0") stays as it was written. */
static bool read_ipv6(const char *from, size_t len, char host[static ADDRESS_HOST_MAX])
{
	char plain[INET6_ADDRSTRLEN];
	const char *zone = memchr(from, '%', len);
	const size_t plain_len = zone != NULL ? (size_t)(zone - from) : len;
	const size_t zone_len = len - plain_len;
	if (plain_len >= sizeof(plain) || zone_len == 1 || zone_len > 32)
		return false;
	memcpy(plain, from, plain_len);
	plain[plain_len] = '\0';
	for (size_t i = 1; i < zone_len; i++)
		if (!isalnum((unsigned char)zone[i]) && strchr("-_.", zone[i]) == NULL)
			return false;

	struct in6_addr v6;
	if (inet_pton(AF_INET6, plain, &v6) != 1 || inet_ntop(AF_INET6, &v6, plain, sizeof(plain)) == NULL)
		return false;
	struct text text;
	text_init(&text, host, ADDRESS_HOST_MAX);
	text_add(&text, plain);
	if (zone != NULL)
		text_add_bytes(&text, zone, zone_len);
	return true;
}

/* HOST:PORT, [v6]:PORT or :PORT. */
static bool read_host_port(const char *string, uint64_t least_port, struct address *address)
{
	const char *colon = strrchr(string, ':');
	if (colon == NULL || strlen(colon) > strlen(":65535"))
		return false;
	uint64_t port = 0;
	if (units_parse_count(colon + 1, least_port, UINT16_MAX, &port, NULL) != PS_OK)
		return false;

	const size_t len = (size_t)(colon - string);
	if (len > 0 && string[0] == '[') {
		if (string[len - 1] != ']' || !read_ipv6(string + 1, len - 2, address->host))
			return false;
	} else {
		if (len >= sizeof(address->host))
			return false;
		memcpy(address->host, string, len);
		address->host[len] = '\0';
		if (len > 0 && !is_host(address->host))
			return false;
	}
	address->kind = ADDRESS_TCP;
	address->port = (uint16_t)port;
	return true;
}

static enum ps_err read_unix(const char *string, const char *path, struct address *address, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];
	const size_t len = strlen(path);
	if (len == 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s lacks the path of a socket", text_quoted(quoted, string));
	if (len >= sizeof(address->path))
		return ps_cause_set(cause, PS_E_CONFIG, "%s is too long: the system takes %zu bytes for a socket's path",
		                    text_quoted(quoted, string), sizeof(address->path) - 1);
	address->kind = ADDRESS_UNIX;
	memcpy(address->path, path, len + 1);
	return PS_OK;
}

enum ps_err address_parse(const char *string, bool allow_port_zero, struct address *address, struct ps_cause *cause)
{
	struct address made = { .kind = ADDRESS_TCP };
	if (starts_with(string, unix_prefix)) {
		const enum ps_err err = read_unix(string, string + strlen(unix_prefix), &made, cause);
		if (err == PS_OK)
			*address = made;
		return err;
	}
	if (!read_host_port(string, allow_port_zero ? 0 : 1, &made)) {
		char quoted[TEXT_QUOTED_MAX];
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH",
		                    text_quoted(quoted, string));
	}
	*address = made;
	return PS_OK;
}

enum ps_err address_parse_target(const char *string, struct address *address, struct ps_cause *cause)
{
	char quoted[TEXT_QUOTED_MAX];
	struct address made = { .kind = ADDRESS_TCP };
	if (starts_with(string, udp_prefix))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: UDP targets are not served yet", text_quoted(quoted, string));
	if (starts_with(string, unix_prefix)) {
		const enum ps_err err = read_unix(string, string + strlen(unix_prefix), &made, cause);
		if (err == PS_OK)
			*address = made;
		return err;
	}
	/* A target is one place: unlike a listener it needs a host. */
	if (!starts_with(string, tcp_prefix) || !read_host_port(string + strlen(tcp_prefix), 1, &made) ||
	    made.host[0] == '\0')
		return ps_cause_set(cause, PS_E_CONFIG, "%s is not tcp://HOST:PORT, unix:PATH or udp://HOST:PORT",
		                    text_quoted(quoted, string));
	*address = made;
	return PS_OK;
}

bool address_is_loopback_at(const struct sockaddr *at)
{
	if (at->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)at)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	if (at->sa_family != AF_INET6)
		return at->sa_family == AF_UNIX;
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)at)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
}

bool address_is_loopback(const struct address *address)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (address->kind == ADDRESS_UNIX)
		return true;
	if (inet_pton(AF_INET, address->host, &v4.sin_addr) == 1)
		return address_is_loopback_at((const struct sockaddr *)&v4);
	if (inet_pton(AF_INET6, address->host, &v6.sin6_addr) == 1)
		return address_is_loopback_at((const struct sockaddr *)&v6);
	return strcasecmp(address->host, "localhost") == 0;
}

static void add_unix(struct text *text, const struct sockaddr_un *sockaddr, socklen_t len)
{
	const size_t offset = offsetof(struct sockaddr_un, sun_path);
	text_add(text, unix_prefix);
	if (len <= offset)
		return;
	const char *path = sockaddr->sun_path;
	size_t path_len = len - offset < sizeof(sockaddr->sun_path) ? len - offset : sizeof(sockaddr->sun_path);
	if (path[0] == '\0') { /* an abstract name: every byte counts */
		text_add(text, "@");
		text_add_escaped(text, path + 1, path_len - 1);
		return;
	}
	path_len = strnlen(path, path_len); /* the kernel counts the NUL where there is one */
	text_add_escaped(text, path, path_len);
}

static void add_ipv4(struct text *text, const void *bytes, in_port_t port)
{
	char host[INET_ADDRSTRLEN] = "";
	(void)inet_ntop(AF_INET, bytes, host, sizeof(host));
	text_addf(text, "%s:%u", host, (unsigned)ntohs(port));
}

static void add_ipv6(struct text *text, const struct sockaddr_in6 *sockaddr)
{
	if (IN6_IS_ADDR_V4MAPPED(&sockaddr->sin6_addr)) {
		add_ipv4(text, sockaddr->sin6_addr.s6_addr + 12, sockaddr->sin6_port);
		return;
	}
	char host[INET6_ADDRSTRLEN] = "";
	(void)inet_ntop(AF_INET6, &sockaddr->sin6_addr, host, sizeof(host));
	text_addf(text, "[%s", host);
	if (sockaddr->sin6_scope_id != 0)
		text_addf(text, "%%%u", (unsigned)sockaddr->sin6_scope_id);
	text_addf(text, "]:%u", (unsigned)ntohs(sockaddr->sin6_port));
}

void address_text(const struct sockaddr *sockaddr, socklen_t len, char out[static ADDRESS_TEXT_MAX])
{
	struct text text;
	text_init(&text, out, ADDRESS_TEXT_MAX);
	/* Copies, because the caller's storage may be aligned for less. */
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	} copy;
	memset(&copy, 0, sizeof(copy));
	memcpy(&copy, sockaddr, len < sizeof(copy) ? len : sizeof(copy));
	const sa_family_t family = len >= sizeof(sa_family_t) ? copy.v4.sin_family : AF_UNSPEC;
	if (family == AF_INET && len >= sizeof(copy.v4))
		add_ipv4(&text, &copy.v4.sin_addr, copy.v4.sin_port);
	else if (family == AF_INET6 && len >= sizeof(copy.v6))
		add_ipv6(&text, &copy.v6);
	else if (family == AF_UNIX)
		add_unix(&text, &copy.un, len);
	else
		text_add(&text, "unknown");
}

void address_print(const struct address *address, char out[static ADDRESS_TEXT_MAX])
{
	struct text text;
	text_init(&text, out, ADDRESS_TEXT_MAX);
	if (address->kind == ADDRESS_UNIX) {
		text_add(&text, unix_prefix);
		text_add_escaped(&text, address->path, strlen(address->path));
		return;
	}
	const bool v6 = strchr(address->host, ':') != NULL;
	text_addf(&text, v6 ? "[%s]:%u" : "%s:%u", address->host, (unsigned)address->port);
}
