/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend -- the application behind every proxy: echoes, swallows or pours, as a connection's first byte says.
 *
 * Owns:   the listening socket and all connections; one epoll loop. Idle connections hold no buffer.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "load.h"
#include "pattern.h"

#define EVENTS 256

struct client {
	int fd;
	uint8_t mode;    /* 0: its first byte has not come */
	uint64_t offset; /* of the pattern */
	uint8_t *unsent; /* an echo that did not go out whole */
	size_t unsent_len;
};

static uint8_t buffer[PATTERN_CHUNK];
static volatile sig_atomic_t ended;

static void on_term(int number)
{
	(void)number;
	ended = 1;
}

static void client_free(struct client *client)
{
	close(client->fd);
	free(client->unsent);
	free(client);
}

static void watch(int epoll, struct client *client, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = client };
	epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
}

/* What the socket does not take now waits, and nothing more is read until it is gone. */
static bool echo(int epoll, struct client *client, const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return true;
	ssize_t sent = send(client->fd, bytes, len, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN)
		return false;
	if (sent < 0)
		sent = 0;
	if ((size_t)sent == len)
		return true;
	client->unsent_len = len - (size_t)sent;
	client->unsent = malloc(client->unsent_len);
	if (client->unsent == NULL)
		return false;
	memcpy(client->unsent, bytes + sent, client->unsent_len);
	watch(epoll, client, EPOLLOUT);
	return true;
}

static bool echo_rest(int epoll, struct client *client)
{
	uint8_t *bytes = client->unsent;
	const size_t len = client->unsent_len;
	client->unsent = NULL;
	client->unsent_len = 0;
	watch(epoll, client, EPOLLIN);
	const bool ok = echo(epoll, client, bytes, len);
	free(bytes);
	return ok;
}

/* One byte for each block that is whole and right. */
static bool swallow(struct client *client, const uint8_t *bytes, size_t len)
{
	if (!pattern_matches(client->offset, bytes, len)) {
		const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
		setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		return false;
	}
	const uint64_t before = client->offset / LOAD_BLOCK;
	client->offset += len;
	return client->offset / LOAD_BLOCK == before || load_send_whole(client->fd, "+", 1);
}

static bool pour(struct client *client)
{
	const ssize_t sent = send(client->fd, pattern_at(client->offset), PATTERN_CHUNK, MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN;
	client->offset += (uint64_t)sent;
	return true;
}

static bool read_some(int epoll, struct client *client)
{
	const ssize_t got = recv(client->fd, buffer, sizeof(buffer), 0);
	if (got < 0)
		return errno == EAGAIN;
	if (got == 0)
		return false;
	const uint8_t *bytes = buffer;
	size_t len = (size_t)got;
	if (client->mode == 0) {
		client->mode = *bytes++;
		len--;
	}
	switch (client->mode) {
	case LOAD_ECHO:
		return echo(epoll, client, bytes, len);
	case LOAD_SINK:
		return swallow(client, bytes, len);
	case LOAD_SOURCE:
		watch(epoll, client, EPOLLOUT);
		return true;
	default:
		return false;
	}
}

static bool serve(int epoll, struct client *client, uint32_t events)
{
	if ((events & EPOLLERR) != 0)
		return false;
	if ((events & EPOLLOUT) != 0)
		return client->mode == LOAD_SOURCE ? pour(client) : echo_rest(epoll, client);
	return read_some(epoll, client);
}

static void accept_all(int epoll, int listener)
{
	for (;;) {
		const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		const int on = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		struct client *client = calloc(1, sizeof(*client));
		if (client == NULL) {
			close(fd);
			continue;
		}
		client->fd = fd;
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
			client_free(client);
	}
}

static void run(int epoll, int listener)
{
	struct epoll_event events[EVENTS];
	while (!ended) {
		const int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct client *client = events[i].data.ptr;
			if (client == NULL)
				accept_all(epoll, listener);
			else if (!serve(epoll, client, events[i].events))
				client_free(client);
		}
	}
}

int load_backend(const struct load_options *options)
{
	int status = 1;
	int epoll = -1;
	struct sockaddr_in bound = options->address;
	socklen_t bound_len = sizeof(bound);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	const struct sigaction action = { .sa_handler = on_term };
	const int on = 1;

	const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0)
		goto done;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (const struct sockaddr *)&bound, sizeof(bound)) != 0 || listen(listener, SOMAXCONN) != 0 ||
	    getsockname(listener, (struct sockaddr *)&bound, &bound_len) != 0)
		goto done;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
		goto done;
	sigaction(SIGTERM, &action, NULL);
	printf("{\"port\": %u}\n", (unsigned int)ntohs(bound.sin_port));
	fflush(stdout);
	run(epoll, listener);
	status = 0;
done:
	if (status != 0)
		perror("portseal-load: backend");
	if (epoll >= 0)
		close(epoll);
	if (listener >= 0)
		close(listener);
	return status;
}
