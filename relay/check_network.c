/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_network -- do the targets answer, and could the listening addresses be bound?
 *
 * Never:  listens, or sends a byte.
 */
#include "findings.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "portseal/net.h"

/* Both end in the text of the failure; true when somebody accepted the connection. */
static bool connect_to(const struct sockaddr *to, socklen_t to_len, int timeout_ms, struct ps_cause *cause)
{
	struct pollfd polled = { .fd = -1, .events = POLLOUT };
	bool connected = false;

	if (net_connect(to, to_len, &polled.fd, cause) != PS_OK)
		return false;
	if (poll(&polled, 1, timeout_ms) <= 0)
		ps_cause_set(cause, PS_E_TIMEOUT, "no answer within %d ms", timeout_ms);
	else
		connected = net_connect_result(polled.fd, cause) == PS_OK;
	close(polled.fd);
	return connected;
}

static bool reach_tcp(const struct address *address, int timeout_ms, struct ps_cause *cause)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	bool reached = false;
	char port[8];
	int status;

	snprintf(port, sizeof(port), "%u", address->port);
	status = getaddrinfo(address->host, port, &hints, &list);
	if (status != 0) {
		ps_cause_set(cause, PS_E_IO, "%s", gai_strerror(status));
		return false;
	}
	for (const struct addrinfo *at = list; at != NULL && !reached; at = at->ai_next)
		reached = connect_to(at->ai_addr, at->ai_addrlen, timeout_ms, cause);
	freeaddrinfo(list);
	return reached;
}

static bool reach(const struct address *address, int timeout_ms, struct ps_cause *cause)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (address->kind == ADDRESS_TCP)
		return reach_tcp(address, timeout_ms, cause);
	memcpy(un.sun_path, address->path, sizeof(un.sun_path));
	return connect_to((struct sockaddr *)&un, sizeof(un), timeout_ms, cause);
}

void check_targets(const struct relay_config *config, struct findings *findings)
{
	for (size_t i = 0; i < config->services_list.n; i++) {
		const struct relay_service *service = &config_services(config)[i];
		char target[ADDRESS_TEXT_MAX];
		struct ps_cause cause;

		if (reach(&service->target, (int)config->timeouts.connect_ms, &cause))
			continue;
		address_print(&service->target, target);
		findings_add(findings, FINDING_WARNING, "targets", "service %s: its target %s does not answer: %s",
		             service->name, target, cause.text);
	}
}

/* 0, or the errno for which it cannot be bound. */
static int try_bind(const struct addrinfo *to)
{
	int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, 0);
	int on = 1;
	int why = 0;

	if (fd < 0)
		return errno;
	/* As the relay does it: connections that linger are no obstacle, a listener is. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (to->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
	    bind(fd, to->ai_addr, to->ai_addrlen) != 0)
		why = errno;
	close(fd);
	return why;
}

static void check_tcp_listener(const struct address *address, const char *text, struct findings *findings)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list = NULL;
	bool every = address->host[0] == '\0';
	char port[8];
	int status;

	snprintf(port, sizeof(port), "%u", address->port);
	status = getaddrinfo(every ? NULL : address->host, port, &hints, &list);
	if (status != 0) {
		findings_add(findings, FINDING_WARNING, "listen", "%s: %s", text, gai_strerror(status));
		return;
	}
	for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
		int why = try_bind(at);

		if (every && (why == EAFNOSUPPORT || why == EADDRNOTAVAIL)) /* a host without IPv6, or with nothing else */
			continue;
		if (why == EADDRINUSE)
			findings_add(findings, FINDING_NOTE, "listen", "%s is in use: by the relay that runs, it is hoped", text);
		else if (why != 0)
			findings_add(findings, FINDING_WARNING, "listen", "%s cannot be listened on by this user now: %s", text,
			             strerror(why));
		if (why != 0)
			break;
	}
	freeaddrinfo(list);
}

void check_listeners(const struct relay_config *config, struct findings *findings)
{
	for (size_t i = 0; i < config->listeners_list.n; i++) {
		const struct address *address = &config_listeners(config)[i].address;
		char text[ADDRESS_TEXT_MAX];
		struct ps_cause cause;

		address_print(address, text);
		if (address->kind == ADDRESS_TCP)
			check_tcp_listener(address, text, findings);
		else if (reach(address, (int)config->timeouts.connect_ms, &cause))
			findings_add(findings, FINDING_NOTE, "listen", "%s is in use: by the relay that runs, it is hoped", text);
	}
}
