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

#include "portseal/net.h"

#define PORT_TEXT_MAX 8

struct connector {
	struct connector_config config;
	struct address address;
	uv_getaddrinfo_t resolving;
	uv_timer_t timer; /* the share of the present attempt; also runs the first one from the loop */
	bool timer_closed;
	bool resolver_running;
	bool over; /* called back or cancelled */
	int fd;    /* of the present attempt, -1 */
	struct watch watch;
	struct watches *own_watches; /* NULL: borrowed, or not needed yet */
	uint64_t deadline_ms;
	struct sockaddr_storage addresses[CONNECTOR_ADDRESSES_MAX];
	socklen_t lengths[CONNECTOR_ADDRESSES_MAX];
	unsigned n_addresses;
	unsigned next;              /* address to try next; the present attempt's is the one before */
	enum connect_result result; /* of the last attempt */
	struct ps_cause cause;
};

static void free_if_over(struct connector *connector)
{
	if (connector->timer_closed && !connector->resolver_running)
		free(connector);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct connector *connector = handle->data;

	connector->timer_closed = true;
	free_if_over(connector);
}

static void drop_attempt(struct connector *connector)
{
	if (connector->fd >= 0)
		watch_close(&connector->watch);
	connector->fd = -1;
}

/* The descriptor is gone, or the caller's; the memory goes when libuv is done with it. */
static void wind_up(struct connector *connector)
{
	connector->over = true;
	watches_free(connector->own_watches);
	uv_close((uv_handle_t *)&connector->timer, on_timer_closed);
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

static const struct sockaddr *present_address(const struct connector *connector, socklen_t *len)
{
	*len = connector->lengths[connector->next - 1];
	return (const struct sockaddr *)&connector->addresses[connector->next - 1];
}

static void note_failure(struct connector *connector, int error)
{
	char peer[ADDRESS_TEXT_MAX];
	socklen_t len;
	const struct sockaddr *to = present_address(connector, &len);

	address_text(to, len, peer);
	connector->result = result_of_errno(error);
	ps_cause_set(&connector->cause, PS_E_IO, "%s: %s", peer, strerror(error));
}

static void try_next(struct connector *connector);

static void hand_over(struct connector *connector)
{
	char peer[ADDRESS_TEXT_MAX];
	socklen_t len;
	const struct sockaddr *to = present_address(connector, &len);
	const int fd = connector->fd;

	watch_stop(&connector->watch);
	connector->fd = -1;
	address_text(to, len, peer);
	net_tune(fd, to);
	finish(connector, CONNECT_OK, fd, peer);
}

static void on_decided(void *owner, uint32_t events)
{
	struct connector *connector = owner;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(connector->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error == 0) {
		hand_over(connector);
		return;
	}
	drop_attempt(connector);
	note_failure(connector, error);
	try_next(connector);
}

static enum ps_err wait_for_it(struct connector *connector)
{
	struct watches *watches = connector->config.watches;

	if (watches == NULL && connector->own_watches == NULL) {
		const enum ps_err err = watches_new(connector->config.loop, &connector->own_watches);
		if (err != PS_OK)
			return err;
	}
	watch_begin(&connector->watch, watches != NULL ? watches : connector->own_watches, connector->fd, on_decided,
	            connector);
	return watch_set(&connector->watch, EPOLLOUT);
}

/* 0: connected; EINPROGRESS: it is not decided; else why not. */
static int connect_now(int fd, const struct sockaddr *to, socklen_t to_len)
{
	if (connect(fd, to, to_len) == 0)
		return 0;
	if (errno != EINPROGRESS && errno != EINTR)
		return errno;
	/* Within one host it was decided while the first call returned. The second only asks (connect(2), EALREADY). */
	if (connect(fd, to, to_len) == 0 || errno == EISCONN)
		return 0;
	return errno == EALREADY || errno == EINTR ? EINPROGRESS : errno;
}

/* 0: connected; EINPROGRESS: it is waited for; else why not. */
static int start_attempt(struct connector *connector)
{
	socklen_t len;
	const struct sockaddr *to = present_address(connector, &len);

	connector->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connector->fd < 0)
		return errno;
	watch_begin(&connector->watch, NULL, connector->fd, on_decided, connector);
	const int error = connect_now(connector->fd, to, len);
	if (error != EINPROGRESS)
		return error;
	return wait_for_it(connector) == PS_OK ? EINPROGRESS : ENOMEM;
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
	drop_attempt(connector);
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
		uint64_t share_ms = time_left(connector) / (connector->n_addresses - connector->next++);
		const int error = start_attempt(connector);
		if (error == 0) {
			hand_over(connector);
			return;
		}
		if (error == EINPROGRESS) {
			uv_timer_start(&connector->timer, on_attempt_timeout, share_ms > 0 ? share_ms : 1, 0);
			return;
		}
		drop_attempt(connector);
		note_failure(connector, error);
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
		free_if_over(connector);
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
	drop_attempt(connector);
	wind_up(connector);
}
