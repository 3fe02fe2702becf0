/* SPDX-License-Identifier: Apache-2.0 */
/* net: listening, connecting and accepting on loopback, and what is said when that fails. */
#include "portseal/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 5000

static struct address address_of(const char *string)
{
	struct address address;
	assert_int_equal(address_parse(string, true, &address, NULL), PS_OK);
	return address;
}

static int listen_one(const char *string)
{
	const struct address address = address_of(string);
	int fds[NET_LISTEN_MAX];
	size_t n = 0;
	struct ps_cause cause = { "" };
	if (net_listen(&address, fds, &n, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	assert_int_equal(n, 1);
	return fds[0];
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 at; /* the port lies at the same place in both families */
	socklen_t len = sizeof(at);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	return ntohs(at.sin6_port);
}

static bool has_ipv6(void)
{
	const int fd = socket(AF_INET6, SOCK_STREAM, 0);
	const struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0;
	if (fd >= 0)
		close(fd);
	return has;
}

static void wait_for(int fd, short events)
{
	struct pollfd entry = { .fd = fd, .events = events };
	assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
}

static int connect_v4(uint16_t port)
{
	const struct sockaddr_in to = { .sin_family = AF_INET,
		                            .sin_port = htons(port),
		                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = -1;
	assert_int_equal(net_connect((const struct sockaddr *)&to, sizeof(to), &fd, NULL), PS_OK);
	return fd;
}

static int connect_v6(uint16_t port)
{
	const struct sockaddr_in6 to = { .sin6_family = AF_INET6,
		                             .sin6_port = htons(port),
		                             .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = -1;
	assert_int_equal(net_connect((const struct sockaddr *)&to, sizeof(to), &fd, NULL), PS_OK);
	return fd;
}

/* Accepts the one that connects, checks that bytes flow, writes the peer's text and returns the accepted one. */
static int complete(int listen_fd, int connecting, char text[static ADDRESS_TEXT_MAX])
{
	wait_for(connecting, POLLOUT);
	assert_int_equal(net_connect_result(connecting, NULL), PS_OK);
	wait_for(listen_fd, POLLIN);
	struct sockaddr_storage peer;
	socklen_t peer_len = 0;
	int accepted = -1;
	assert_int_equal(net_accept(listen_fd, &accepted, &peer, &peer_len), PS_OK);
	address_text((struct sockaddr *)&peer, peer_len, text);
	assert_int_equal(fcntl(accepted, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(accepted, F_GETFD), FD_CLOEXEC);

	char byte = 0;
	assert_int_equal(write(connecting, "x", 1), 1);
	wait_for(accepted, POLLIN);
	assert_int_equal(read(accepted, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	return accepted;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);
	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void assert_tuned(int fd)
{
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 6);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);
}

static void algorithm_of(int fd, char name[static 16])
{
	socklen_t len = 16;
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
}

static void assert_unpaced(int fd)
{
	char name[16] = "";
	algorithm_of(fd, name);
	assert_string_equal(name, "reno");
}

static void test_ipv4_is_connected_accepted_and_tuned(void **state)
{
	(void)state;
	char text[ADDRESS_TEXT_MAX];
	const int listening = listen_one("127.0.0.1:0");
	const int near = connect_v4(port_of(listening));
	const int far = complete(listening, near, text);
	assert_memory_equal(text, "127.0.0.1:", 10);
	assert_tuned(near);
	assert_tuned(far);
	assert_unpaced(near);
	assert_unpaced(far);
	close(far);
	close(near);
	close(listening);
}

static void test_ipv6_is_connected_and_accepted(void **state)
{
	(void)state;
	if (!has_ipv6())
		skip();
	char text[ADDRESS_TEXT_MAX];
	const int listening = listen_one("[::1]:0");
	const int near = connect_v6(port_of(listening));
	const int far = complete(listening, near, text);
	assert_memory_equal(text, "[::1]:", 6);
	assert_tuned(far);
	assert_unpaced(near);
	assert_unpaced(far);
	close(far);
	close(near);
	close(listening);
}

/* What crosses a network goes by whatever the host's administrator chose. */
static void test_only_what_stays_on_the_machine_goes_unpaced(void **state)
{
	(void)state;
	char chosen[16] = "";
	char name[16] = "";
	const int fresh = socket(AF_INET, SOCK_STREAM, 0);
	const int listening = listen_one("0.0.0.0:0");
	algorithm_of(fresh, chosen);
	algorithm_of(listening, name);
	assert_string_equal(name, chosen);
	close(listening);

	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) }; /* RFC 5737 */
	net_tune(fresh, (const struct sockaddr *)&to);
	algorithm_of(fresh, name);
	assert_string_equal(name, chosen);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x010000);
	net_tune(fresh, (const struct sockaddr *)&to);
	assert_unpaced(fresh);
	close(fresh);
}

static void test_a_port_alone_takes_both_families_on_one_socket(void **state)
{
	(void)state;
	char text[ADDRESS_TEXT_MAX];
	const int listening = listen_one(":0");
	const int v4 = connect_v4(port_of(listening));
	close(complete(listening, v4, text));
	assert_memory_equal(text, "127.0.0.1:", 10); /* and not ::ffff:127.0.0.1 */
	close(v4);
	if (has_ipv6()) {
		const int v6 = connect_v6(port_of(listening));
		close(complete(listening, v6, text));
		assert_memory_equal(text, "[::1]:", 6);
		close(v6);
	}
	close(listening);
}

static void test_an_explicit_ipv6_address_leaves_ipv4_alone(void **state)
{
	(void)state;
	if (!has_ipv6())
		skip();
	const int listening = listen_one("[::]:0");
	assert_int_equal(option(listening, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	close(listening);
}

static void test_a_name_is_resolved(void **state)
{
	(void)state;
	const struct address address = address_of("localhost:0");
	int fds[NET_LISTEN_MAX];
	size_t n = 0;
	assert_int_equal(net_listen(&address, fds, &n, NULL), PS_OK);
	assert_in_range(n, 1, NET_LISTEN_MAX);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void test_a_port_in_use_is_said_with_advice(void **state)
{
	(void)state;
	const int listening = listen_one("127.0.0.1:0");
	struct address address = address_of("127.0.0.1:0");
	address.port = port_of(listening);
	char expected[128];
	snprintf(expected, sizeof(expected), "listen 127.0.0.1:%u: address already in use (is another instance running?)",
	         (unsigned)address.port);
	int fds[NET_LISTEN_MAX];
	size_t n = 77;
	struct ps_cause cause;
	assert_int_equal(net_listen(&address, fds, &n, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, expected);
	assert_int_equal(n, 77);
	assert_int_equal(net_listen(&address, fds, &n, NULL), PS_E_CONFIG);
	close(listening);
}

static void test_an_address_of_another_host_is_refused(void **state)
{
	(void)state;
	const struct address address = address_of("192.0.2.1:0");
	int fds[NET_LISTEN_MAX];
	size_t n = 0;
	struct ps_cause cause;
	assert_int_equal(net_listen(&address, fds, &n, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "listen 192.0.2.1:0: "));
	assert_non_null(strstr(cause.text, "(this host has no such address)"));
}

static void test_accepting_without_anyone_waiting_says_again(void **state)
{
	(void)state;
	const int listening = listen_one("127.0.0.1:0");
	struct sockaddr_storage peer;
	socklen_t peer_len = 0;
	int fd = -1;
	assert_int_equal(net_accept(listening, &fd, &peer, &peer_len), PS_E_AGAIN);
	assert_int_equal(fd, -1);
	close(listening);
	assert_int_equal(net_accept(-1, &fd, &peer, &peer_len), PS_E_IO);
}

static void test_a_closed_listener_is_closed_for_all_who_have_it(void **state)
{
	(void)state;
	const int listening = listen_one("127.0.0.1:0");
	const int other = dup(listening); /* as another process has it */
	char text[32];
	struct sockaddr_storage peer;
	socklen_t peer_len = 0;
	int fd;

	(void)snprintf(text, sizeof(text), "127.0.0.1:%u", (unsigned)port_of(listening));
	net_close_listener(listening);
	assert_int_equal(net_accept(other, &fd, &peer, &peer_len), PS_E_IO);
	close(listen_one(text));
	close(other);
}

static void test_nobody_listening_is_said_as_refused(void **state)
{
	(void)state;
	const int listening = listen_one("127.0.0.1:0");
	const uint16_t port = port_of(listening);
	close(listening);
	const int fd = connect_v4(port);
	wait_for(fd, POLLOUT);
	struct ps_cause cause;
	assert_int_equal(net_connect_result(fd, &cause), PS_E_IO);
	assert_string_equal(cause.text, "connect: connection refused");
	close(fd);
}

static void test_a_connect_not_yet_done_says_again(void **state)
{
	(void)state;
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(net_connect_result(fd, NULL), PS_E_AGAIN);
	close(fd);
}

static void test_an_armed_reset_resets(void **state)
{
	(void)state;
	char text[ADDRESS_TEXT_MAX];
	char byte = 0;
	const int listening = listen_one("127.0.0.1:0");
	const int near = connect_v4(port_of(listening));
	const int far = complete(listening, near, text);
	net_arm_reset(far);
	close(far);
	wait_for(near, POLLIN);
	assert_int_equal(read(near, &byte, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	close(near);
	close(listening);
}

static char dir[] = "/tmp/portseal-net-XXXXXX";
static char unix_address[sizeof(dir) + 16];
static const char *unix_path;

static int enter_dir(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(unix_address, sizeof(unix_address), "unix:%s/sock", dir);
	unix_path = unix_address + 5;
	return 0;
}

static int leave_dir(void **state)
{
	(void)state;
	unlink(unix_path);
	return rmdir(dir);
}

static enum ps_err connect_unix(int *fd, struct ps_cause *cause)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	memcpy(to.sun_path, unix_path, strlen(unix_path) + 1);
	return net_connect((const struct sockaddr *)&to, sizeof(to), fd, cause);
}

static void test_a_unix_socket_is_the_owners_alone(void **state)
{
	(void)state;
	char text[ADDRESS_TEXT_MAX];
	struct stat st;
	const mode_t before = umask(0);
	const int listening = listen_one(unix_address);
	assert_int_equal(umask(before), 0);
	assert_int_equal(stat(unix_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	int near = -1;
	assert_int_equal(connect_unix(&near, NULL), PS_OK);
	close(complete(listening, near, text));
	assert_string_equal(text, "unix:");
	close(near);
	close(listening);
}

static void test_a_stale_unix_socket_is_taken_over(void **state)
{
	(void)state;
	char text[ADDRESS_TEXT_MAX];
	close(listen_one(unix_address));
	assert_int_equal(access(unix_path, F_OK), 0);
	const int listening = listen_one(unix_address);
	int near = -1;
	assert_int_equal(connect_unix(&near, NULL), PS_OK);
	close(complete(listening, near, text));
	close(near);
	close(listening);
}

static void test_a_live_unix_socket_is_left_alone(void **state)
{
	(void)state;
	char text[ADDRESS_TEXT_MAX];
	const int listening = listen_one(unix_address);
	const struct address address = address_of(unix_address);
	int fds[NET_LISTEN_MAX];
	size_t n = 0;
	struct ps_cause cause;
	assert_int_equal(net_listen(&address, fds, &n, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "/sock: address already in use (is another instance running?)"));

	struct sockaddr_storage peer;
	socklen_t peer_len = 0;
	int probe = -1; /* the question whether someone is there arrives as a connection */
	assert_int_equal(net_accept(listening, &probe, &peer, &peer_len), PS_OK);
	close(probe);
	int near = -1;
	assert_int_equal(connect_unix(&near, NULL), PS_OK);
	close(complete(listening, near, text));
	close(near);
	close(listening);
}

static void test_a_file_that_is_no_socket_is_left_alone(void **state)
{
	(void)state;
	const int file = open(unix_path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_not_equal(file, -1);
	close(file);
	const struct address address = address_of(unix_address);
	int fds[NET_LISTEN_MAX];
	size_t n = 0;
	struct ps_cause cause;
	assert_int_equal(net_listen(&address, fds, &n, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "it is not a socket"));
	assert_int_equal(access(unix_path, F_OK), 0);
}

static void test_a_missing_unix_socket_is_named(void **state)
{
	(void)state;
	struct ps_cause cause;
	int fd = -1;
	assert_int_equal(connect_unix(&fd, &cause), PS_E_IO);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(cause.text, "connect unix:/tmp/portseal-net-"));
	assert_non_null(strstr(cause.text, "/sock: no such file or directory"));
}

/* In a child that may open no further descriptor. */
static int accept_without_descriptors(int listening)
{
	const struct rlimit none = { 0, 0 };
	struct sockaddr_storage peer;
	socklen_t peer_len = 0;
	int fd = -1;
	if (setrlimit(RLIMIT_NOFILE, &none) != 0)
		return 90;
	if (net_accept(listening, &fd, &peer, &peer_len) != PS_E_LIMIT)
		return 91;
	const struct sockaddr_in to = { .sin_family = AF_INET };
	struct ps_cause cause;
	if (net_connect((const struct sockaddr *)&to, sizeof(to), &fd, &cause) != PS_E_LIMIT)
		return 92;
	return fd == -1 && strstr(cause.text, "too many open files") != NULL ? 0 : 93;
}

static void test_a_lack_of_descriptors_is_a_limit(void **state)
{
	(void)state;
	const int listening = listen_one("127.0.0.1:0");
	const int near = connect_v4(port_of(listening));
	wait_for(listening, POLLIN);
	const pid_t child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0)
		_exit(accept_without_descriptors(listening));
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(near);
	close(listening);
}

static int raise_from_a_low_limit(void)
{
	const struct rlimit low = { 64, 256 };
	struct rlimit after;
	if (setrlimit(RLIMIT_NOFILE, &low) != 0)
		return 90;
	if (net_raise_nofile() != 256 || getrlimit(RLIMIT_NOFILE, &after) != 0)
		return 91;
	return after.rlim_cur == 256 ? 0 : 92;
}

static void test_the_limit_of_open_files_is_raised(void **state)
{
	(void)state;
	const pid_t child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0)
		_exit(raise_from_a_low_limit());
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static struct net_source source_of(const char *ip)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(1) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(2) };
	if (inet_pton(AF_INET, ip, &v4.sin_addr) == 1)
		return net_source_of((struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, ip, &v6.sin6_addr), 1);
	return net_source_of((struct sockaddr *)&v6);
}

static void assert_same_source(const char *a, const char *b, bool same)
{
	const struct net_source from_a = source_of(a);
	const struct net_source from_b = source_of(b);
	assert_int_equal(memcmp(&from_a, &from_b, sizeof(from_a)) == 0, same);
}

static void test_a_source_is_an_ipv4_address_or_an_ipv6_64(void **state)
{
	(void)state;
	assert_same_source("192.0.2.1", "192.0.2.1", true);
	assert_same_source("192.0.2.1", "192.0.2.2", false);
	assert_same_source("192.0.2.1", "::ffff:192.0.2.1", true);
	assert_same_source("2001:db8::1", "2001:db8::ffff:1", true);
	assert_same_source("2001:db8::1", "2001:db8:0:1::1", false);
	assert_same_source("::1", "0.0.0.0", false);

	const struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/run/a" };
	const struct net_source from_unix = net_source_of((const struct sockaddr *)&un);
	const struct net_source zero = { { 0 } };
	assert_memory_equal(&from_unix, &zero, sizeof(zero));
}

static void test_only_listening_sockets_are_closed_and_not_those_that_stay(void **state)
{
	(void)state;
	struct address address = { .kind = ADDRESS_TCP, .host = "127.0.0.1" };
	struct ps_cause cause;
	int stays[NET_LISTEN_MAX], goes[NET_LISTEN_MAX], pair[2];
	size_t n;

	assert_int_equal(net_listen(&address, stays, &n, &cause), PS_OK);
	assert_int_equal(net_listen(&address, goes, &n, &cause), PS_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	net_close_listeners_but(stays, 1);
	assert_int_equal(fcntl(goes[0], F_GETFD), -1);
	assert_int_equal(close(stays[0]), 0);
	assert_int_equal(close(pair[0]), 0);
	assert_int_equal(close(pair[1]), 0);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, enter_dir, leave_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4_is_connected_accepted_and_tuned),
		cmocka_unit_test(test_ipv6_is_connected_and_accepted),
		cmocka_unit_test(test_only_what_stays_on_the_machine_goes_unpaced),
		cmocka_unit_test(test_a_port_alone_takes_both_families_on_one_socket),
		cmocka_unit_test(test_an_explicit_ipv6_address_leaves_ipv4_alone),
		cmocka_unit_test(test_a_name_is_resolved),
		cmocka_unit_test(test_a_port_in_use_is_said_with_advice),
		cmocka_unit_test(test_an_address_of_another_host_is_refused),
		cmocka_unit_test(test_accepting_without_anyone_waiting_says_again),
		cmocka_unit_test(test_a_closed_listener_is_closed_for_all_who_have_it),
		cmocka_unit_test(test_nobody_listening_is_said_as_refused),
		cmocka_unit_test(test_a_connect_not_yet_done_says_again),
		cmocka_unit_test(test_an_armed_reset_resets),
		IN_DIR(test_a_unix_socket_is_the_owners_alone),
		IN_DIR(test_a_stale_unix_socket_is_taken_over),
		IN_DIR(test_a_live_unix_socket_is_left_alone),
		IN_DIR(test_a_file_that_is_no_socket_is_left_alone),
		IN_DIR(test_a_missing_unix_socket_is_named),
		cmocka_unit_test(test_a_lack_of_descriptors_is_a_limit),
		cmocka_unit_test(test_the_limit_of_open_files_is_raised),
		cmocka_unit_test(test_only_listening_sockets_are_closed_and_not_those_that_stay),
		cmocka_unit_test(test_a_source_is_an_ipv4_address_or_an_ipv6_64),
	};
	return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
