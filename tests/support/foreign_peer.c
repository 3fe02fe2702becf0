/* SPDX-License-Identifier: Apache-2.0 */
#include "foreign_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "foreign_handshake.h"
#include "mint.h"
#include "tls/tls_stream_private.h"

#define PATIENCE_MS 60000 /* only who never answers is given up: on a busy machine a program takes long to start */
#define SERVER_TRIES 5
#define PORT_TRIES 100
/* Below those that the system gives to whoever asks for none: nobody takes ours while its server is on its way to it. */
#define PORT_FIRST 10000
#define PORT_COUNT 20000
#define CHUNK 65536
#define MAX_ARGUMENTS 32

bool foreign_peer_exists(const char *program)
{
	const char *path = getenv("PATH");

	while (path != NULL && *path != '\0') {
		char file[512];
		size_t len = strcspn(path, ":");
		(void)snprintf(file, sizeof(file), "%.*s/%s", (int)len, path, program);
		if (access(file, X_OK) == 0)
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

/* A socket of loopback on this port, 0: of the system's choice. -1: it is taken. */
static int loopback_bind(uint16_t *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(*port),
	};
	socklen_t len = sizeof(address);

	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_not_equal(sock, -1);
	if (bind(sock, (struct sockaddr *)&address, sizeof(address)) != 0) {
		(void)close(sock);
		return -1;
	}
	assert_int_equal(getsockname(sock, (struct sockaddr *)&address, &len), 0);
	*port = ntohs(address.sin_port);
	return sock;
}

static uint16_t free_port(void)
{
	for (int i = 0; i < PORT_TRIES; i++) {
		uint16_t port;
		assert_int_equal(getrandom(&port, sizeof(port), 0), sizeof(port));
		port = (uint16_t)(PORT_FIRST + port % PORT_COUNT);
		const int sock = loopback_bind(&port);
		if (sock != -1) {
			(void)close(sock);
			return port;
		}
	}
	fail_msg("no port is free");
	return 0;
}

static int loopback_connect(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(port),
	};

	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_not_equal(sock, -1);
	assert_int_equal(connect(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	return sock;
}

/* What stands for a placeholder of the arguments, or the argument itself. */
static char *expand(const char *argument, const char *directory, uint16_t port)
{
	char text[512];

	if (strcmp(argument, "%CERT%") == 0)
		(void)snprintf(text, sizeof(text), "%s/peer.crt", directory);
	else if (strcmp(argument, "%KEY%") == 0)
		(void)snprintf(text, sizeof(text), "%s/peer.key", directory);
	else if (strcmp(argument, "%PORT%") == 0)
		(void)snprintf(text, sizeof(text), "%u", (unsigned)port);
	else if (strcmp(argument, "%ADDRESS%") == 0)
		(void)snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)port);
	else
		(void)snprintf(text, sizeof(text), "%s", argument);
	return strdup(text);
}

static void start(struct foreign_peer *peer, const char *const *argv, uint16_t port)
{
	char *expanded[MAX_ARGUMENTS] = { NULL };
	const char *directory = mint_directory();
	const struct mint_cert *certificate = mint_relay(mint_ca("CN=CA"), "CN=localhost", "localhost");
	int to[2], from[2];

	mint_write_files(directory, "peer", (const struct mint_cert *[]){ certificate, NULL });
	for (size_t i = 0; argv[i] != NULL && i < MAX_ARGUMENTS - 1; i++)
		expanded[i] = expand(argv[i], directory, port);
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	peer->pid = fork();
	assert_int_not_equal(peer->pid, -1);
	if (peer->pid == 0) {
		(void)dup2(to[0], STDIN_FILENO);
		(void)dup2(from[1], STDOUT_FILENO);
		(void)dup2(from[1], STDERR_FILENO);
		execvp(expanded[0], expanded);
		_exit(127);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	peer->to = to[1];
	peer->from = from[0];
	for (size_t i = 0; expanded[i] != NULL; i++)
		free(expanded[i]);
}

static struct foreign_peer *peer_new(void)
{
	struct foreign_peer *peer = calloc(1, sizeof(*peer));

	assert_non_null(peer);
	(void)signal(SIGPIPE, SIG_IGN);
	peer->sock = -1;
	return peer;
}

/* From here on the stream has the connection, and nothing blocks. */
static void begin(struct foreign_peer *peer, enum tls_role role, uint16_t suite)
{
	const struct mint_cert *certificate = mint_relay(mint_ca("CN=CA"), "CN=localhost", "localhost");
	const char *pem = mint_pem((const struct mint_cert *[]){ certificate, NULL });
	struct traffic_secrets secrets = foreign_handshake(peer->sock, role, suite, pem, mint_key_pem(certificate));

	assert_int_equal(tls_stream_new(role, &secrets, &peer->stream), PS_OK);
	const int fds[] = { peer->sock, peer->to, peer->from };
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
}

struct foreign_peer *foreign_peer_client(const char *const *argv, uint16_t suite)
{
	struct foreign_peer *peer = peer_new();
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	uint16_t port = 0;

	int listener = loopback_bind(&port);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	start(peer, argv, port);
	peer->sock = accept(listener, NULL, NULL);
	assert_int_not_equal(peer->sock, -1);
	(void)close(listener);
	begin(peer, TLS_SERVER, suite);
	return peer;
}

struct foreign_peer *foreign_peer_server(const char *const *argv, const char *ready, uint16_t suite)
{
	for (int i = 0; i < SERVER_TRIES; i++) {
		struct foreign_peer *peer = peer_new();
		const uint16_t port = free_port();

		start(peer, argv, port);
		if (foreign_peer_says(peer, ready, strlen(ready))) {
			peer->sock = loopback_connect(port);
			begin(peer, TLS_CLIENT, suite);
			return peer;
		}
		foreign_peer_free(peer); /* the port was taken on the way */
	}
	fail_msg("%s does not start", argv[0]);
	return NULL;
}

void foreign_peer_free(struct foreign_peer *peer)
{
	(void)kill(peer->pid, SIGKILL);
	(void)waitpid(peer->pid, NULL, 0);
	foreign_peer_type_end(peer);
	if (peer->from != -1)
		(void)close(peer->from);
	if (peer->sock != -1)
		(void)close(peer->sock);
	tls_stream_free(peer->stream);
	buf_release(&peer->to_peer);
	buf_release(&peer->output);
	buf_release(&peer->wire_in);
	buf_release(&peer->wire_out);
	buf_release(&peer->payload);
	free(peer);
}

void foreign_peer_type(struct foreign_peer *peer, const void *bytes, size_t len)
{
	assert_int_equal(buf_append(&peer->to_peer, bytes, len), PS_OK);
}

void foreign_peer_type_end(struct foreign_peer *peer)
{
	if (peer->to != -1)
		(void)close(peer->to);
	peer->to = -1;
}

/* Returns false at the end of the file. */
static bool read_some(int fd, struct buf *into)
{
	assert_int_equal(buf_reserve(into, CHUNK), PS_OK);
	ssize_t n = read(fd, into->data + into->end, buf_room(into));
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	into->end += (size_t)n;
	return true;
}

static void write_some(int fd, struct buf *from)
{
	ssize_t n = write(fd, buf_front(from), buf_len(from));

	if (n > 0)
		buf_consume(from, (size_t)n);
}

static void open_wire(struct foreign_peer *peer)
{
	struct iovec spans[4];
	struct tls_opened opened = { .more = true };

	while (opened.more) {
		peer->end = tls_stream_open(peer->stream, buf_front(&peer->wire_in), buf_len(&peer->wire_in), spans, 4, &opened,
		                            &peer->wire_out);
		for (size_t i = 0; i < opened.n_spans; i++)
			assert_int_equal(buf_append(&peer->payload, spans[i].iov_base, spans[i].iov_len), PS_OK);
		buf_consume(&peer->wire_in, opened.consumed);
	}
}

/* s_server says this in the midst of data, whenever a record of the peer held none. */
static void drop_noise(struct buf *output)
{
	static const char noise[] = "Read BLOCK\n";
	const size_t len = sizeof(noise) - 1;
	uint8_t *found;

	while (buf_len(output) >= len && (found = memmem(buf_front(output), buf_len(output), noise, len)) != NULL) {
		memmove(found, found + len, (size_t)(output->data + output->end - found) - len);
		output->end -= len;
	}
}

/* Waits for one event and does what it allows. */
static void step(struct foreign_peer *peer)
{
	bool wants_write = peer->sock != -1 && buf_len(&peer->wire_out) > 0;
	struct pollfd fds[] = {
		{ .fd = peer->cut ? -1 : peer->sock, .events = (short)(POLLIN | (wants_write ? POLLOUT : 0)) },
		{ .fd = peer->from, .events = POLLIN },
		{ .fd = buf_len(&peer->to_peer) > 0 ? peer->to : -1, .events = POLLOUT },
	};

	if (poll(fds, 3, PATIENCE_MS) <= 0)
		fail_msg("nothing happened; the peer said: %.*s", (int)buf_len(&peer->output), buf_front(&peer->output));
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
		peer->cut = !read_some(peer->sock, &peer->wire_in);
		open_wire(peer);
	}
	if (fds[0].revents & POLLOUT)
		write_some(peer->sock, &peer->wire_out);
	if (fds[1].revents != 0 && !read_some(peer->from, &peer->output)) {
		(void)close(peer->from);
		peer->from = -1;
	}
	drop_noise(&peer->output);
	if (fds[2].revents != 0)
		write_some(peer->to, &peer->to_peer);
}

void foreign_peer_await_sent(struct foreign_peer *peer)
{
	while (buf_len(&peer->wire_out) > 0)
		step(peer);
}

void foreign_peer_await_payload(struct foreign_peer *peer, size_t len)
{
	while (buf_len(&peer->payload) < len) {
		assert_int_equal(peer->end, PS_OK);
		step(peer);
	}
}

bool foreign_peer_says(struct foreign_peer *peer, const void *bytes, size_t len)
{
	while (buf_len(&peer->output) < len ||
	       memmem(buf_front(&peer->output), buf_len(&peer->output), bytes, len) == NULL) {
		if (peer->from == -1)
			return false;
		step(peer);
	}
	return true;
}

void foreign_peer_await_output(struct foreign_peer *peer, const void *bytes, size_t len)
{
	if (!foreign_peer_says(peer, bytes, len))
		fail_msg("the peer ended and said: %.*s", (int)buf_len(&peer->output), buf_front(&peer->output));
}

void foreign_peer_await_end(struct foreign_peer *peer)
{
	while (peer->end == PS_OK && !peer->cut)
		step(peer);
}

void foreign_peer_await_key_update(struct foreign_peer *peer)
{
	const struct record_key before = peer->stream->open;

	while (memcmp(peer->stream->open.secret, before.secret, sizeof(before.secret)) == 0) {
		assert_int_equal(peer->end, PS_OK);
		step(peer);
	}
}
