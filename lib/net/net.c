/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net -- sockets with the options Portseal always wants: close-on-exec, non-blocking, TCP_NODELAY, keepalive.
 *
 * Never:  blocks, except for the names that net_listen resolves at start.
 */
#include "portseal/net.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than a supervisor has open: two generations of sockets, and two channels for each role. */
#define DESCRIPTORS_SEARCHED 2048
#define BACKLOG 4096   /* the kernel takes less where net.core.somaxconn says so */
#define UNPACED "reno" /* in every kernel, and allowed to everybody */
#define SOCKET_FLAGS (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

static void set_option(int fd, int level, int name, int value)
{
	(void)setsockopt(fd, level, name, &value, sizeof(value)); /* a comfort: the connection works without */
}

void net_tune(int fd, const struct sockaddr *at)
{
	if (at->sa_family != AF_INET && at->sa_family != AF_INET6)
		return;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 120 * 1000);
	if (address_is_loopback_at(at))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, UNPACED, strlen(UNPACED)); /* as set_option */
}

void net_ack_now(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

static void set_linger(int fd, int on)
{
	const struct linger at_once = { .l_onoff = on, .l_linger = 0 };
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void net_arm_reset(int fd)
{
	set_linger(fd, 1);
}

void net_disarm_reset(int fd)
{
	set_linger(fd, 0);
}

/* What a caller can do about an errno of a socket call. */
static enum ps_err category(int number)
{
	switch (number) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
		return PS_E_LIMIT;
	case ENOMEM:
		return PS_E_NOMEM;
	case ETIMEDOUT:
		return PS_E_TIMEOUT;
	default:
		return PS_E_IO;
	}
}

/* Closes without touching errno; returns -1. */
static int give_up(int fd)
{
	const int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum v6_scope { V6_ONLY, V6_AND_V4 };

/* Returns a listening TCP socket, or -1 with errno. What accept(2) returns inherits its options. */
static int listen_tcp(const struct sockaddr *at, socklen_t len, enum v6_scope scope)
{
	const int fd = socket(at->sa_family, SOCKET_FLAGS, 0);
	if (fd < 0)
		return -1;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	const int only = scope == V6_ONLY;
	if (at->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) != 0)
		return give_up(fd);
	net_tune(fd, at);
	if (bind(fd, at, len) != 0 || listen(fd, BACKLOG) != 0)
		return give_up(fd);
	return fd;
}

static bool lacks_ipv6(int number)
{
	return number == EAFNOSUPPORT || number == EADDRNOTAVAIL;
}

/* ":PORT": one socket for both families where the host has IPv6. */
static int listen_everywhere(uint16_t port)
{
	const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	const int fd = listen_tcp((const struct sockaddr *)&v6, sizeof(v6), V6_AND_V4);
	if (fd >= 0 || !lacks_ipv6(errno))
		return fd;
	const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	return listen_tcp((const struct sockaddr *)&v4, sizeof(v4), V6_ONLY);
}

/* Asks whoever may listen there: 0 for a stale socket, else -1 with the errno that says why it must stay. */
static int probe_stale(const struct sockaddr_un *at)
{
	struct stat st;
	if (lstat(at->sun_path, &st) != 0)
		return -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	const int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
	if (fd < 0)
		return -1;
	const int connected = connect(fd, (const struct sockaddr *)at, sizeof(*at));
	const int why = errno;
	close(fd);
	if (connected != 0 && why == ECONNREFUSED)
		return 0;
	errno = connected == 0 || why == EAGAIN ? EADDRINUSE : why; /* EAGAIN: alive, with a full backlog */
	return -1;
}

/* Returns a listening socket whose file nobody but the owner may use, or -1 with errno. */
static int listen_unix(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	assert(strlen(path) < sizeof(at.sun_path));
	memcpy(at.sun_path, path, strlen(path) + 1);

	const int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
	if (fd < 0)
		return -1;
	/* The mode of the file comes from bind; chmod afterwards would leave a moment for others. */
	const mode_t before = umask(0177);
	int bound = bind(fd, (const struct sockaddr *)&at, sizeof(at));
	if (bound != 0 && errno == EADDRINUSE && probe_stale(&at) == 0 && unlink(path) == 0)
		bound = bind(fd, (const struct sockaddr *)&at, sizeof(at));
	umask(before);
	if (bound != 0)
		return give_up(fd);
	if (listen(fd, BACKLOG) != 0) {
		const int saved = errno;
		(void)unlink(path);
		errno = saved;
		return give_up(fd);
	}
	return fd;
}

static enum ps_err listen_cause(const struct address *address, int number, struct ps_cause *cause)
{
	char text[ADDRESS_TEXT_MAX];
	address_print(address, text);
	const enum ps_err err =
		number == EADDRINUSE || number == EADDRNOTAVAIL || number == EEXIST ? PS_E_CONFIG : category(number);
	const char *advice = NULL;
	if (number == EADDRINUSE)
		advice = "is another instance running?";
	else if (number == EACCES && address->kind == ADDRESS_TCP)
		advice = "ports below 1024 need the capability CAP_NET_BIND_SERVICE";
	else if (number == EADDRNOTAVAIL)
		advice = "this host has no such address";
	else if (number == EEXIST)
		advice = "it is not a socket, and is left alone";
	(void)ps_cause_errno(cause, err, number, "listen %s", text);
	if (advice != NULL && cause != NULL) {
		const struct ps_cause why = *cause;
		(void)ps_cause_set(cause, err, "%s (%s)", why.text, advice);
	}
	return err;
}

static void close_all(int *fds, size_t n)
{
	while (n > 0)
		close(fds[--n]);
}

/* A resolver may tell an address twice, as glibc does where /etc/hosts names localhost in two lines. */
static bool told_before(const struct addrinfo *first, const struct addrinfo *entry)
{
	for (; first != entry; first = first->ai_next)
		if (first->ai_addrlen == entry->ai_addrlen && memcmp(first->ai_addr, entry->ai_addr, entry->ai_addrlen) == 0)
			return true;
	return false;
}

/* One socket for each address that the host's name stands for. IPv6 is passed over where the host lacks it, as
 * "localhost" stands for ::1 as well, unless nothing else is left. */
static enum ps_err listen_resolved(const struct address *address, const struct addrinfo *first, int *fds, size_t *n_fds,
                                   struct ps_cause *cause)
{
	size_t n = 0;
	int passed_over = EADDRNOTAVAIL;
	for (const struct addrinfo *found = first; found != NULL; found = found->ai_next) {
		if (told_before(first, found))
			continue;
		if (n == NET_LISTEN_MAX) {
			close_all(fds, n);
			char text[ADDRESS_TEXT_MAX];
			address_print(address, text);
			return ps_cause_set(cause, PS_E_LIMIT, "listen %s: the name stands for more than %d addresses", text,
			                    NET_LISTEN_MAX);
		}
		fds[n] = listen_tcp(found->ai_addr, found->ai_addrlen, V6_ONLY);
		if (fds[n] >= 0) {
			n++;
		} else if (found->ai_family == AF_INET6 && lacks_ipv6(errno)) {
			passed_over = errno;
		} else {
			const int number = errno;
			close_all(fds, n);
			return listen_cause(address, number, cause);
		}
	}
	if (n == 0)
		return listen_cause(address, passed_over, cause);
	*n_fds = n;
	return PS_OK;
}

static enum ps_err listen_host(const struct address *address, int *fds, size_t *n_fds, struct ps_cause *cause)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char port[sizeof("65535")];
	(void)snprintf(port, sizeof(port), "%u", (unsigned)address->port);
	const int failed = getaddrinfo(address->host, port, &hints, &found);
	if (failed == EAI_SYSTEM)
		return listen_cause(address, errno, cause);
	if (failed != 0) {
		char text[ADDRESS_TEXT_MAX];
		address_print(address, text);
		return ps_cause_set(cause, PS_E_CONFIG, "listen %s: the name cannot be resolved: %s", text,
		                    gai_strerror(failed));
	}
	const enum ps_err err = listen_resolved(address, found, fds, n_fds, cause);
	freeaddrinfo(found);
	return err;
}

enum ps_err net_listen(const struct address *address, int fds[static NET_LISTEN_MAX], size_t *n_fds,
                       struct ps_cause *cause)
{
	if (address->kind == ADDRESS_TCP && address->host[0] != '\0')
		return listen_host(address, fds, n_fds, cause);
	const int fd = address->kind == ADDRESS_UNIX ? listen_unix(address->path) : listen_everywhere(address->port);
	if (fd < 0)
		return listen_cause(address, errno, cause);
	fds[0] = fd;
	*n_fds = 1;
	return PS_OK;
}

void net_close_listener(int fd)
{
	(void)shutdown(fd, SHUT_RDWR); /* fails only where nobody listens any more */
	close(fd);
}

enum ps_err net_accept(int listen_fd, int *fd, struct sockaddr_storage *peer, socklen_t *peer_len)
{
	struct sockaddr_storage from;
	memset(&from, 0, sizeof(from));
	socklen_t from_len = sizeof(from);
	int accepted = -1;
	do {
		accepted = accept4(listen_fd, (struct sockaddr *)&from, &from_len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (accepted < 0 && errno == EINTR);
	if (accepted >= 0) {
		*fd = accepted;
		*peer = from;
		*peer_len = from_len;
		return PS_OK;
	}

	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return PS_E_LIMIT;
	/* Linux reports here what befell the waiting connection (accept(2)); the next one may be well. */
	case EAGAIN:
	case ECONNABORTED:
	case EPERM:
	case EPROTO:
	case ENOPROTOOPT:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ETIMEDOUT:
		return PS_E_AGAIN;
	default:
		return PS_E_IO;
	}
}

enum ps_err net_connect(const struct sockaddr *to, socklen_t to_len, int *fd, struct ps_cause *cause)
{
	char text[ADDRESS_TEXT_MAX];
	const int made = socket(to->sa_family, SOCKET_FLAGS, 0);
	if (made < 0) {
		const int number = errno;
		address_text(to, to_len, text);
		return ps_cause_errno(cause, category(number), number, "connect %s", text);
	}
	net_tune(made, to);
	/* EINTR leaves the attempt under way, as EINPROGRESS does (connect(2)). */
	if (connect(made, to, to_len) != 0 && errno != EINPROGRESS && errno != EINTR) {
		const int number = errno;
		close(made);
		address_text(to, to_len, text);
		if (number == EAGAIN && to->sa_family == AF_UNIX)
			return ps_cause_set(cause, PS_E_LIMIT, "connect %s: too many wait there already", text);
		return ps_cause_errno(cause, category(number), number, "connect %s", text);
	}
	*fd = made;
	return PS_OK;
}

enum ps_err net_connect_result(int fd, struct ps_cause *cause)
{
	int number = 0;
	socklen_t len = sizeof(number);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) != 0)
		number = errno;
	if (number != 0)
		return ps_cause_errno(cause, category(number), number, "connect");

	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0)
		return PS_OK;
	if (errno == ENOTCONN)
		return ps_cause_set(cause, PS_E_AGAIN, "connect: still under way");
	number = errno;
	return ps_cause_errno(cause, category(number), number, "connect");
}

static bool is_one_of(int fd, const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		if (fds[i] == fd)
			return true;
	return false;
}

void net_close_listeners_but(const int *fds, size_t n_fds)
{
	for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS_SEARCHED; fd++) {
		int listens = 0;
		socklen_t len = sizeof(listens);
		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0 &&
		    !is_one_of(fd, fds, n_fds))
			close(fd);
	}
}

uint64_t net_raise_nofile(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1024; /* what POSIX systems start with; the call fails on none */
	const struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
	if (limit.rlim_cur != limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0)
		limit = raised;
	return limit.rlim_cur;
}

struct net_source net_source_of(const struct sockaddr *peer)
{
	struct net_source source = { { 0 } };
	if (peer->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, peer, sizeof(v4));
		source.bytes[0] = 4;
		memcpy(source.bytes + 1, &v4.sin_addr, 4);
	} else if (peer->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, peer, sizeof(v6));
		const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
		source.bytes[0] = mapped ? 4 : 6;
		memcpy(source.bytes + 1, v6.sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
	}
	return source;
}
