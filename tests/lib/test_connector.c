/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connector: one answer in time, whatever the name stands for and whoever listens there. Names are resolved by the
 * getaddrinfo() of this file, so that no test depends on a resolver.
 */
#include "portseal/connector.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 5000
#define SHORT_MS 100
#define SOCKETS_MAX 8
#define NAMED_MAX 40

struct fixture {
	int n_open; /* descriptors of this process when the test began */
	uv_loop_t loop;
	struct watches *watches; /* NULL: the connector has its own */
	struct connector *connector;
	int n_done;
	enum connect_result result;
	int fd;
	char peer[ADDRESS_TEXT_MAX];
	struct ps_cause cause;
	int sockets[SOCKETS_MAX]; /* closed at the end */
	unsigned n_sockets;
	char path[64]; /* of a unix socket, "" */
	struct connector_memory *memory;
};

static struct connector_memory memory;

static struct fixture fixture;

/* What names stand for: "several.test" for these loopback ports, "slow.test" for the same, once `answer` is posted. */
static uint16_t named_ports[NAMED_MAX];
static unsigned n_named;
static sem_t answer, asked;

static struct addrinfo *named(uint16_t port, struct addrinfo *next)
{
	struct {
		struct addrinfo info;
		struct sockaddr_in at;
	} *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		abort();
	entry->at = (struct sockaddr_in){ .sin_family = AF_INET,
		                              .sin_port = htons(port),
		                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	entry->info = (struct addrinfo){
		.ai_family = AF_INET,
		.ai_socktype = SOCK_STREAM,
		.ai_addrlen = sizeof(entry->at),
		.ai_addr = (struct sockaddr *)&entry->at,
		.ai_next = next,
	};
	return &entry->info;
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict req,
                struct addrinfo **restrict pai)
{
	(void)service;
	(void)req;
	sem_post(&asked);
	if (strcmp(name, "slow.test") == 0)
		sem_wait(&answer);
	else if (strcmp(name, "several.test") != 0)
		return EAI_NONAME;
	*pai = NULL;
	for (unsigned i = n_named; i > 0; i--)
		*pai = named(named_ports[i - 1], *pai);
	return 0;
}

void freeaddrinfo(struct addrinfo *ai)
{
	while (ai != NULL) {
		struct addrinfo *next = ai->ai_next;

		free(ai);
		ai = next;
	}
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* The first loop of a process opens two descriptors that stay. */
static int warm_up(void **state)
{
	(void)state;
	return uv_loop_init(&fixture.loop) == 0 ? uv_loop_close(&fixture.loop) : -1;
}

static int set_up(void **state)
{
	(void)state;
	fixture = (struct fixture){ .n_open = count_descriptors(), .fd = -1 };
	n_named = 0;
	memory.n = 0;
	return sem_init(&answer, 0, 0) == 0 && sem_init(&asked, 0, 0) == 0 ? uv_loop_init(&fixture.loop) : -1;
}

/* Every test ends with nothing left: no handle, no request, no descriptor, and no second call. */
static int tear_down(void **state)
{
	int n_done = fixture.n_done;

	(void)state;
	watches_free(fixture.watches);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&fixture.loop), 0);
	assert_int_equal(fixture.n_done, n_done);
	if (fixture.fd >= 0)
		close(fixture.fd);
	for (unsigned i = 0; i < fixture.n_sockets; i++)
		close(fixture.sockets[i]);
	if (fixture.path[0] != '\0')
		unlink(fixture.path);
	assert_int_equal(count_descriptors(), fixture.n_open);
	sem_destroy(&answer);
	sem_destroy(&asked);
	return 0;
}

static int keep(int fd)
{
	assert_true(fd >= 0);
	assert_in_range(fixture.n_sockets, 0, SOCKETS_MAX - 1);
	fixture.sockets[fixture.n_sockets++] = fd;
	return fd;
}

/* A socket of loopback, bound and (unless backlog is -1) listening; returns its port, or 0 where there is no IPv6. */
static uint16_t listen_on(int family, int backlog)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 && family == AF_INET6)
		return 0;
	keep(fd);
	if (bind(fd, at, len) != 0) {
		assert_int_equal(family, AF_INET6);
		return 0;
	}
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, at, &len), 0);
	return ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
}

static uint16_t port_that_refuses(void)
{
	return listen_on(AF_INET, -1);
}

/* A listener whose queue is full: the kernel drops what comes now. */
static uint16_t port_that_is_silent(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port = listen_on(AF_INET, 0);

	to.sin_port = htons(port);
	for (int i = 0; i < 3; i++)
		(void)connect(keep(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)), (struct sockaddr *)&to, sizeof(to));
	return port;
}

static struct address address_of(const char *host, uint16_t port)
{
	struct address address = { .kind = ADDRESS_TCP, .port = port };

	snprintf(address.host, sizeof(address.host), "%s", host);
	return address;
}

static void on_done(void *owner, enum connect_result result, int fd, const char *peer, const struct ps_cause *cause)
{
	assert_ptr_equal(owner, &fixture);
	fixture.n_done++;
	fixture.result = result;
	fixture.fd = fd;
	snprintf(fixture.peer, sizeof(fixture.peer), "%s", peer != NULL ? peer : "");
	if (result != CONNECT_OK)
		fixture.cause = *cause;
}

static void begin(const struct address *address, uint64_t timeout_ms)
{
	const struct connector_config config = {
		.loop = &fixture.loop,
		.watches = fixture.watches,
		.address = address,
		.timeout_ms = timeout_ms,
		.memory = fixture.memory,
		.on_done = on_done,
		.owner = &fixture,
	};

	uv_update_time(&fixture.loop);
	assert_int_equal(connector_new(&config, &fixture.connector), PS_OK);
	assert_int_equal(fixture.n_done, 0); /* never from within */
}

static void connect_within(const char *host, uint16_t port, uint64_t timeout_ms)
{
	const struct address address = address_of(host, port);

	begin(&address, timeout_ms);
	while (fixture.n_done == 0)
		(void)uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_int_equal(fixture.n_done, 1);
}

static void assert_connected_to(uint16_t port)
{
	char peer[ADDRESS_TEXT_MAX];

	snprintf(peer, sizeof(peer), "127.0.0.1:%u", (unsigned)port);
	assert_int_equal(fixture.result, CONNECT_OK);
	assert_string_equal(fixture.peer, peer);
	assert_true(fixture.fd >= 0);
}

static void assert_failed(enum connect_result result, const char *cause)
{
	assert_int_equal(fixture.result, result);
	assert_int_equal(fixture.fd, -1);
	assert_string_equal(fixture.peer, "");
	assert_memory_equal(fixture.cause.text, cause, strlen(cause));
}

static void test_a_v4_address_is_connected(void **state)
{
	(void)state;
	uint16_t port = listen_on(AF_INET, 8);
	char byte = 0;
	connect_within("127.0.0.1", port, PATIENCE_MS);
	assert_connected_to(port);
	int accepted = keep(accept(fixture.sockets[0], NULL, NULL));
	assert_int_equal(write(fixture.fd, "x", 1), 1);
	assert_int_equal(read(accepted, &byte, 1), 1);
	assert_int_equal(byte, 'x');
}

static void test_what_is_handed_over_is_tuned_and_does_not_block(void **state)
{
	(void)state;
	int no_delay = 0;
	socklen_t len = sizeof(no_delay);
	connect_within("127.0.0.1", listen_on(AF_INET, 8), PATIENCE_MS);
	assert_int_equal(getsockopt(fixture.fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &len), 0);
	assert_int_not_equal(no_delay, 0);
	assert_int_equal(fcntl(fixture.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(fixture.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

static void test_a_v6_address_is_connected(void **state)
{
	(void)state;
	uint16_t port = listen_on(AF_INET6, 8);
	if (port == 0)
		skip();
	connect_within("::1", port, PATIENCE_MS);
	assert_int_equal(fixture.result, CONNECT_OK);
	assert_memory_equal(fixture.peer, "[::1]:", 6);
}

static struct address unix_address(void)
{
	struct address address = { .kind = ADDRESS_UNIX };

	snprintf(fixture.path, sizeof(fixture.path), "/tmp/portseal-connector-%ld", (long)getpid());
	snprintf(address.path, sizeof(address.path), "%s", fixture.path);
	return address;
}

static void connect_unix(void)
{
	const struct address address = unix_address();

	begin(&address, PATIENCE_MS);
	while (fixture.n_done == 0)
		(void)uv_run(&fixture.loop, UV_RUN_ONCE);
}

static void test_a_unix_socket_is_connected(void **state)
{
	(void)state;
	const struct address address = unix_address();
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = keep(socket(AF_UNIX, SOCK_STREAM, 0));
	memcpy(at.sun_path, address.path, sizeof(at.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 8), 0);
	connect_unix();
	assert_int_equal(fixture.result, CONNECT_OK);
	assert_memory_equal(fixture.peer, "unix:/tmp/", 10);
}

static void test_a_unix_socket_that_is_not_there_counts_as_refused(void **state)
{
	(void)state;
	connect_unix();
	assert_failed(CONNECT_REFUSED, "unix:/tmp/");
}

static void test_a_port_where_nobody_listens_refuses(void **state)
{
	(void)state;
	char cause[64];
	uint16_t port = port_that_refuses();
	snprintf(cause, sizeof(cause), "127.0.0.1:%u: ", (unsigned)port);
	connect_within("127.0.0.1", port, PATIENCE_MS);
	assert_failed(CONNECT_REFUSED, cause);
}

/* What the loop has is told in the turn that connects, whatever else there is to wait for. */
static void test_within_one_host_it_takes_one_turn(void **state)
{
	(void)state;
	const struct address address = address_of("127.0.0.1", listen_on(AF_INET, 8));
	begin(&address, PATIENCE_MS);
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	assert_int_equal(fixture.n_done, 1);
	assert_connected_to(address.port);
}

/* A connection that is under way, made by the kernel as the caller accepts it a second later, while the loop sleeps. */
static int begin_and_accept_late(void)
{
	const struct address address = address_of("127.0.0.1", port_that_is_silent());
	struct pollfd listening = { .fd = fixture.sockets[0], .events = POLLIN };

	begin(&address, PATIENCE_MS);
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	assert_int_equal(fixture.n_done, 0);
	while (fixture.n_sockets > 1)
		close(fixture.sockets[--fixture.n_sockets]);
	close(accept(fixture.sockets[0], NULL, NULL)); /* makes room */
	assert_int_equal(poll(&listening, 1, PATIENCE_MS), 1);
	return accept(fixture.sockets[0], NULL, NULL);
}

static void finish_late(int accepted)
{
	keep(accepted);
	while (fixture.n_done == 0)
		(void)uv_run(&fixture.loop, UV_RUN_ONCE);
}

static void test_what_is_not_there_at_once_is_waited_for(void **state)
{
	(void)state;
	finish_late(begin_and_accept_late());
	assert_int_equal(fixture.result, CONNECT_OK);
}

static void test_it_waits_with_watches_that_are_lent(void **state)
{
	(void)state;
	assert_int_equal(watches_new(&fixture.loop, &fixture.watches), PS_OK);
	finish_late(begin_and_accept_late());
	assert_int_equal(fixture.result, CONNECT_OK);
}

static void test_who_accepts_and_breaks_off_before_we_look_is_told_apart(void **state)
{
	(void)state;
	const struct linger at_once = { .l_onoff = 1 };
	const int accepted = begin_and_accept_late();
	assert_int_equal(setsockopt(accepted, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(accepted);
	while (fixture.n_done == 0)
		(void)uv_run(&fixture.loop, UV_RUN_ONCE);
	assert_failed(CONNECT_RESET, "127.0.0.1:");
}

static void test_a_name_that_does_not_resolve_says_so(void **state)
{
	(void)state;
	connect_within("name.invalid", 443, PATIENCE_MS);
	assert_failed(CONNECT_NO_NAME, "name.invalid: ");
}

static void test_a_peer_that_is_silent_times_out(void **state)
{
	(void)state;
	uint64_t began = uv_hrtime();
	connect_within("127.0.0.1", port_that_is_silent(), SHORT_MS);
	assert_failed(CONNECT_TIMEOUT, "127.0.0.1:");
	assert_in_range((uv_hrtime() - began) / 1000000, SHORT_MS - 5, PATIENCE_MS);
}

static void test_no_time_at_all_is_a_timeout_that_names_the_address(void **state)
{
	(void)state;
	connect_within("127.0.0.1", listen_on(AF_INET, 8), 0);
	assert_failed(CONNECT_TIMEOUT, "127.0.0.1:");
}

static void test_a_name_whose_first_address_refuses_leads_to_the_second(void **state)
{
	(void)state;
	named_ports[n_named++] = port_that_refuses();
	named_ports[n_named++] = listen_on(AF_INET, 8);
	connect_within("several.test", 443, PATIENCE_MS);
	assert_connected_to(named_ports[1]);
}

static void test_a_silent_address_has_its_share_of_the_time_only(void **state)
{
	(void)state;
	named_ports[n_named++] = port_that_is_silent();
	named_ports[n_named++] = listen_on(AF_INET, 8);
	connect_within("several.test", 443, 4 * SHORT_MS);
	assert_connected_to(named_ports[1]);
}

static void test_of_several_failures_the_last_is_told(void **state)
{
	(void)state;
	char cause[64];
	named_ports[n_named++] = port_that_is_silent();
	named_ports[n_named++] = port_that_refuses();
	snprintf(cause, sizeof(cause), "127.0.0.1:%u: ", (unsigned)named_ports[1]);
	connect_within("several.test", 443, SHORT_MS);
	assert_failed(CONNECT_REFUSED, cause);
}

static void test_a_name_may_stand_for_more_addresses_than_are_tried(void **state)
{
	(void)state;
	uint16_t port = port_that_refuses();
	while (n_named < NAMED_MAX)
		named_ports[n_named++] = port;
	connect_within("several.test", 443, PATIENCE_MS);
	assert_failed(CONNECT_REFUSED, "127.0.0.1:");
}

static void test_a_name_that_stands_for_nothing_does_not_resolve(void **state)
{
	(void)state;
	connect_within("several.test", 443, PATIENCE_MS);
	assert_failed(CONNECT_NO_NAME, "several.test: the name stands for no address");
}

static void test_a_resolver_that_is_silent_times_out(void **state)
{
	(void)state;
	connect_within("slow.test", 443, SHORT_MS);
	assert_failed(CONNECT_NO_NAME, "slow.test: ");
	sem_post(&answer); /* too late: nobody is called */
}

static void connect_again_within(const char *host, uint64_t timeout_ms)
{
	if (fixture.fd >= 0)
		close(fixture.fd);
	fixture.fd = -1;
	fixture.n_done = 0;
	connect_within(host, 443, timeout_ms);
}

static void test_the_last_good_answer_serves_where_a_name_is_not_resolved(void **state)
{
	(void)state;
	fixture.memory = &memory;
	named_ports[n_named++] = listen_on(AF_INET, 8);
	connect_within("several.test", 443, PATIENCE_MS);
	assert_int_equal(memory.n, 1);
	connect_again_within("name.invalid", PATIENCE_MS); /* the same name, as it were, on a bad day of the resolver's */
	assert_connected_to(named_ports[0]);
}

static void test_a_newer_answer_replaces_what_is_remembered(void **state)
{
	(void)state;
	fixture.memory = &memory;
	named_ports[n_named++] = port_that_refuses();
	connect_within("several.test", 443, PATIENCE_MS);
	named_ports[0] = listen_on(AF_INET, 8);
	connect_again_within("several.test", PATIENCE_MS);
	assert_connected_to(named_ports[0]);
}

static void test_the_last_good_answer_serves_while_the_resolver_is_silent(void **state)
{
	(void)state;
	fixture.memory = &memory;
	named_ports[n_named++] = listen_on(AF_INET, 8);
	connect_within("several.test", 443, PATIENCE_MS);
	connect_again_within("slow.test", 2 * SHORT_MS);
	assert_connected_to(named_ports[0]);
	sem_post(&answer); /* too late: nobody is called twice */
}

static void test_cancelled_before_its_first_turn_it_does_nothing(void **state)
{
	(void)state;
	const struct address address = address_of("127.0.0.1", listen_on(AF_INET, 8));
	begin(&address, PATIENCE_MS);
	connector_cancel(fixture.connector);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture.n_done, 0);
}

static void test_cancelled_while_it_resolves_it_never_calls(void **state)
{
	(void)state;
	const struct address address = address_of("slow.test", 443);
	named_ports[n_named++] = listen_on(AF_INET, 8);
	begin(&address, PATIENCE_MS);
	sem_wait(&asked); /* so it cannot be taken back */
	connector_cancel(fixture.connector);
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	sem_post(&answer);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture.n_done, 0);
}

static void test_cancelled_while_it_connects_it_never_calls(void **state)
{
	(void)state;
	const struct address address = address_of("127.0.0.1", port_that_is_silent());
	begin(&address, PATIENCE_MS);
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
	connector_cancel(fixture.connector);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	assert_int_equal(fixture.n_done, 0);
}

/* The kernel knows already, the loop does not. */
static void test_cancelled_when_it_is_connected_it_closes(void **state)
{
	(void)state;
	const int accepted = keep(begin_and_accept_late());
	char byte;
	connector_cancel(fixture.connector);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	assert_int_equal(read(accepted, &byte, 1), 0);
	assert_int_equal(fixture.n_done, 0);
}

static void test_cancelling_nothing_is_harmless(void **state)
{
	(void)state;
	connector_cancel(NULL);
}

#define on_loop(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_loop(test_a_v4_address_is_connected),
		on_loop(test_what_is_handed_over_is_tuned_and_does_not_block),
		on_loop(test_a_v6_address_is_connected),
		on_loop(test_a_unix_socket_is_connected),
		on_loop(test_a_unix_socket_that_is_not_there_counts_as_refused),
		on_loop(test_a_port_where_nobody_listens_refuses),
		on_loop(test_within_one_host_it_takes_one_turn),
		on_loop(test_what_is_not_there_at_once_is_waited_for),
		on_loop(test_it_waits_with_watches_that_are_lent),
		on_loop(test_who_accepts_and_breaks_off_before_we_look_is_told_apart),
		on_loop(test_a_name_that_does_not_resolve_says_so),
		on_loop(test_a_peer_that_is_silent_times_out),
		on_loop(test_no_time_at_all_is_a_timeout_that_names_the_address),
		on_loop(test_a_name_whose_first_address_refuses_leads_to_the_second),
		on_loop(test_a_silent_address_has_its_share_of_the_time_only),
		on_loop(test_of_several_failures_the_last_is_told),
		on_loop(test_a_name_may_stand_for_more_addresses_than_are_tried),
		on_loop(test_a_name_that_stands_for_nothing_does_not_resolve),
		on_loop(test_a_resolver_that_is_silent_times_out),
		on_loop(test_the_last_good_answer_serves_where_a_name_is_not_resolved),
		on_loop(test_a_newer_answer_replaces_what_is_remembered),
		on_loop(test_the_last_good_answer_serves_while_the_resolver_is_silent),
		on_loop(test_cancelled_before_its_first_turn_it_does_nothing),
		on_loop(test_cancelled_while_it_resolves_it_never_calls),
		on_loop(test_cancelled_while_it_connects_it_never_calls),
		on_loop(test_cancelled_when_it_is_connected_it_closes),
		on_loop(test_cancelling_nothing_is_harmless),
	};
	return cmocka_run_group_tests_name("connector", tests, warm_up, NULL);
}
