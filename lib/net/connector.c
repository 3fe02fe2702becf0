/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/connector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "portseal/net.h"

#define PORT_TEXT_MAX 8

struct connector {
	struct connector_config config;
	struct address address;
	uv_getaddrinfo_t resolving;
	uv_timer_t timer; /* the share of the present attempt; also runs the first one from the loop */
	uv_poll_t polls
		[CONNECTOR_ADDRESSES_MAX]; /* one for each attempt: a handle that is being closed cannot serve the next one */
	int open_handles;              /* to be closed before the memory may go */
	bool resolver_running;
	bool polling;
	bool over; /* called back or cancelled */
	int fd;    /* of the present attempt, -1 */
	uint64_t deadline_ms;
	struct sockaddr_storage addresses[CONNECTOR_ADDRESSES_MAX];
	socklen_t lengths[CONNECTOR_ADDRESSES_MAX];
	unsigned n_addresses;
	unsigned next;              /* address to try next; the present attempt's is the one before */
	enum connect_result result; /* of the last attempt */
	struct ps_cause cause;
};

static void on_closed(uv_handle_t *handle)
{
	struct connector *connector = handle->data;

	connector->open_handles--;
	if (connector->open_handles == 0 && !connector->resolver_running)
		free(connector);
}

static uv_poll_t *present_poll(struct connector *connector)
{
	return &connector->polls[connector->next - 1];
}

static void stop_attempt(struct connector *connector)
{
	if (connector->polling) {
		uv_poll_stop(present_poll(connector));
		uv_close((uv_handle_t *)present_poll(connector), on_closed);
		connector->polling = false;
	}
}

/* Lets go of everything but the descriptor; the memory goes when libuv is done with the handles. */
static void wind_up(struct connector *connector)
{
	connector->over = true;
	stop_attempt(connector);
	uv_close((uv_handle_t *)&connector->timer, on_closed);
	if (connector->resolver_running)
		uv_cancel((uv_req_t *)&connector->resolving);
}

static void finish(struct connector *connector, enum connect_result result, int fd, const char *peer)
{
	wind_up(connector);
	connector->config.on_done(connector->config.owner, result, fd, peer, &connector->cause);
}

static enum connect_result result_of_errno(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ENOENT: /* a unix socket that is not there */
		return CONNECT_REFUSED;
	case ETIMEDOUT:
		return CONNECT_TIMEOUT;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
		return CONNECT_UNREACHABLE;
	case ECONNRESET:
	case EPIPE: /* a FIN came before the reset */
		return CONNECT_RESET;
	default:
		return CONNECT_FAILED;
	}
}

static void note_failure(struct connector *connector, int error)
{
	char peer[ADDRESS_TEXT_MAX];

	address_text((const struct sockaddr *)&connector->addresses[connector->next - 1],
	             connector->lengths[connector->next - 1], peer);
	connector->result = result_of_errno(error);
	ps_cause_set(&connector->cause, PS_E_IO, "%s: %s", peer, strerror(error));
}

static void try_next(struct connector *connector);

static void on_connected(uv_poll_t *poll, int status, int events)
{
	struct connector *connector = poll->data;
	char peer[ADDRESS_TEXT_MAX];
	socklen_t len = sizeof(int);
	int error = 0;
	int fd = connector->fd;

	(void)status;
	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	stop_attempt(connector);
	connector->fd = -1;
	if (error != 0) {
		close(fd);
		note_failure(connector, error);
		try_next(connector);
		return;
	}
	const struct sockaddr *to = (const struct sockaddr *)&connector->addresses[connector->next - 1];
	address_text(to, connector->lengths[connector->next - 1], peer);
	net_tune_for(fd, to);
	finish(connector, CONNECT_OK, fd, peer);
}

static enum ps_err start_attempt(struct connector *connector, const struct sockaddr *to, socklen_t to_len)
{
	uv_poll_t *poll = present_poll(connector);

	connector->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connector->fd < 0)
		return PS_E_IO;
	if (connect(connector->fd, to, to_len) != 0 && errno != EINPROGRESS && errno != EINTR)
		return PS_E_IO;
	if (uv_poll_init(connector->config.loop, poll, connector->fd) != 0) {
		errno = ENOMEM;
		return PS_E_IO;
	}
	poll->data = connector;
	connector->open_handles++;
	connector->polling = true;
	uv_poll_start(poll, UV_WRITABLE, on_connected);
	return PS_OK;
}

static uint64_t time_left(const struct connector *connector)
{
	uint64_t now = uv_now(connector->config.loop);

	return now < connector->deadline_ms ? connector->deadline_ms - now : 0;
}

/* Where the name is not resolved now, what it stood for before is the best guess. */
static void recall(struct connector *connector)
{
	const struct connector_memory *memory = connector->config.memory;

	if (memory == NULL || connector->n_addresses > 0)
		return;
	memcpy(connector->addresses, memory->addresses, sizeof(connector->addresses));
	memcpy(connector->lengths, memory->lengths, sizeof(connector->lengths));
	connector->n_addresses = memory->n;
}

static void on_attempt_timeout(uv_timer_t *timer)
{
	struct connector *connector = timer->data;

	if (connector->n_addresses == 0)
		recall(connector);
	if (connector->n_addresses > 0 && connector->next == 0) {
		try_next(connector);
		return;
	}
	stop_attempt(connector);
	if (connector->fd >= 0)
		close(connector->fd);
	connector->fd = -1;
	if (connector->n_addresses == 0) {
		connector->result = CONNECT_NO_NAME;
		ps_cause_set(&connector->cause, PS_E_TIMEOUT, "%s: the name was not resolved in time", connector->address.host);
	} else {
		note_failure(connector, ETIMEDOUT);
	}
	try_next(connector);
}

static void try_next(struct connector *connector)
{
	/* Every remaining address gets an equal share of the time that is left. */
	while (connector->next < connector->n_addresses && time_left(connector) > 0) {
		unsigned at = connector->next++;
		uint64_t share_ms = time_left(connector) / (connector->n_addresses - at);

		if (start_attempt(connector, (const struct sockaddr *)&connector->addresses[at], connector->lengths[at]) ==
		    PS_OK) {
			uv_timer_start(&connector->timer, on_attempt_timeout, share_ms > 0 ? share_ms : 1, 0);
			return;
		}
		note_failure(connector, errno);
		if (connector->fd >= 0)
			close(connector->fd);
		connector->fd = -1;
	}
	if (connector->next == 0 && connector->n_addresses > 0) { /* the time was over before the first attempt */
		connector->next = 1;
		note_failure(connector, ETIMEDOUT);
	}
	finish(connector, connector->result, -1, NULL);
}

static void take_addresses(struct connector *connector, const struct addrinfo *list)
{
	for (; list != NULL && connector->n_addresses < CONNECTOR_ADDRESSES_MAX; list = list->ai_next) {
		if (list->ai_addrlen > sizeof(connector->addresses[0]))
			continue;
		memcpy(&connector->addresses[connector->n_addresses], list->ai_addr, list->ai_addrlen);
		connector->lengths[connector->n_addresses++] = list->ai_addrlen;
	}
}

static void remember(const struct connector *connector)
{
	struct connector_memory *memory = connector->config.memory;

	if (memory == NULL)
		return;
	memcpy(memory->addresses, connector->addresses, sizeof(memory->addresses));
	memcpy(memory->lengths, connector->lengths, sizeof(memory->lengths));
	memory->n = connector->n_addresses;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct connector *connector = request->data;

	connector->resolver_running = false;
	const bool is_late = connector->n_addresses > 0; /* what was remembered is being tried */
	if (!connector->over && !is_late && status == 0)
		take_addresses(connector, list);
	uv_freeaddrinfo(list);
	if (connector->over) {
		if (connector->open_handles == 0)
			free(connector);
		return;
	}
	if (is_late)
		return;
	if (connector->n_addresses > 0)
		remember(connector);
	else
		recall(connector);
	if (connector->n_addresses == 0) {
		connector->result = CONNECT_NO_NAME;
		ps_cause_set(&connector->cause, PS_E_IO, "%s: %s", connector->address.host,
		             status == 0 ? "the name stands for no address" : uv_strerror(status));
	}
	try_next(connector);
}

static void on_begin(uv_timer_t *timer)
{
	try_next(timer->data);
}

/* A unix path and a numeric address need no resolver; the first attempt still starts from the loop. */
static bool fill_without_resolver(struct connector *connector)
{
	const struct address *address = &connector->address;

	if (address->kind == ADDRESS_UNIX) {
		struct sockaddr_un *un = (struct sockaddr_un *)&connector->addresses[0];

		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, address->path, sizeof(un->sun_path));
		connector->lengths[0] = sizeof(*un);
	} else {
		struct sockaddr_in *v4 = (struct sockaddr_in *)&connector->addresses[0];
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&connector->addresses[0];

		if (inet_pton(AF_INET, address->host, &v4->sin_addr) == 1) {
			v4->sin_family = AF_INET;
			v4->sin_port = htons(address->port);
			connector->lengths[0] = sizeof(*v4);
		} else if (inet_pton(AF_INET6, address->host, &v6->sin6_addr) == 1) {
			v6->sin6_family = AF_INET6;
			v6->sin6_port = htons(address->port);
			connector->lengths[0] = sizeof(*v6);
		} else {
			return false;
		}
	}
	connector->n_addresses = 1;
	return true;
}

static int start_resolver(struct connector *connector)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char port[PORT_TEXT_MAX];
	int status;

	snprintf(port, sizeof(port), "%u", connector->address.port);
	connector->resolving.data = connector;
	status = uv_getaddrinfo(connector->config.loop, &connector->resolving, on_resolved, connector->address.host, port,
	                        &hints);
	connector->resolver_running = status == 0;
	return status;
}

enum ps_err connector_new(const struct connector_config *config, struct connector **connector)
{
	struct connector *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	fresh->address = *config->address;
	fresh->fd = -1;
	fresh->result = CONNECT_TIMEOUT;
	fresh->deadline_ms = uv_now(config->loop) + config->timeout_ms;
	uv_timer_init(config->loop, &fresh->timer);
	fresh->timer.data = fresh;
	fresh->open_handles = 1;
	if (fill_without_resolver(fresh)) {
		uv_timer_start(&fresh->timer, on_begin, 0, 0);
	} else if (start_resolver(fresh) == 0) {
		const bool can_guess = config->memory != NULL && config->memory->n > 0;
		uv_timer_start(&fresh->timer, on_attempt_timeout, can_guess ? config->timeout_ms / 2 : config->timeout_ms, 0);
	} else {
		wind_up(fresh);
		return PS_E_NOMEM;
	}
	*connector = fresh;
	return PS_OK;
}

void connector_cancel(struct connector *connector)
{
	if (connector == NULL)
		return;
	wind_up(connector);
	if (connector->fd >= 0)
		close(connector->fd);
	connector->fd = -1;
}
