/* SPDX-License-Identifier: Apache-2.0 */
/* dial: against servers on loopback of every kind, each in a process of its own; one connection each. */
#include "dial.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mint.h"
#include "portseal/net.h"
#include "raw_tls.h"

#define LONG_AGO INT64_C(1600000000)
#define PATIENCE_MS 20000

static struct {
	const struct mint_cert *ca, *other_ca;
	char certificate[256], key[256], ca_file[256];
} pki;

/* What a server does with its only connection, which is blocking; and what it is told. */
struct server;
typedef void server_fn(const struct server *server, int fd);

struct server {
	server_fn *run;
	const struct mint_cert *chain[2]; /* of a TLS server; ends in NULL */
	const char *alpn[2];              /* ends in NULL */
	int alert;                        /* sent behind the handshake where it is not 0 */
	uint16_t port;
	pid_t pid;
};

static void read_until_end(const struct server *server, int fd)
{
	char discarded[512];

	(void)server;
	while (read(fd, discarded, sizeof(discarded)) > 0)
		;
}

static void close_at_once(const struct server *server, int fd)
{
	(void)server;
	(void)fd;
}

static void greet_in_plain_text(const struct server *server, int fd)
{
	static const char greeting[] = "220 mail.test ESMTP ready to serve you\r\n";

	if (write(fd, greeting, sizeof(greeting) - 1) > 0)
		read_until_end(server, fd);
}

static void speak_tls(const struct server *server, int fd)
{
	const struct raw_tls_spec spec = {
		.server = true,
		.chain = server->chain,
		.alpn = server->alpn[0] != NULL ? server->alpn : NULL,
		.asks = true,
	};
	struct raw_tls peer;

	raw_tls_open(&peer, &spec, fd);
	while (raw_tls_step(&peer) != 0 && !raw_tls_is_final(&peer)) {
		struct pollfd polled = { .fd = fd, .events = POLLIN };

		if (poll(&polled, 1, PATIENCE_MS) != 1)
			return;
	}
	if (peer.code == 0 && server->alert != 0)
		(void)mbedtls_ssl_send_alert_message(&peer.ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)server->alert);
	if (peer.code == 0 && server->alert == 0 && server->alpn[0] == NULL)
		(void)mbedtls_ssl_close_notify(&peer.ssl);
	read_until_end(server, fd);
}

static int listen_anywhere(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static void start(struct server *server)
{
	const int listener = listen_anywhere(&server->port);

	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid == 0) {
		const int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			server->run(server, fd);
		_exit(0);
	}
	close(listener);
}

static void stop(const struct server *server)
{
	kill(server->pid, SIGKILL);
	assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
}

struct told {
	unsigned times;
	struct dial_result result;
};

static void on_done(void *owner, const struct dial_result *result)
{
	struct told *told = owner;

	told->times++;
	told->result = *result;
}

struct call {
	uint16_t port;
	const char *server_name; /* NULL: relay.test */
	const char *service;
	uint64_t handshake_ms; /* 0: plenty */
	bool cancel;           /* as soon as it has begun */
	bool connected;        /* by the test already */
	enum dial_offer offer;
};

static void fill_config(struct sender_config *config, struct sender_relay *relay, const struct call *call)
{
	*relay = (struct sender_relay){ .server_name = call->server_name != NULL ? call->server_name : "relay.test" };
	relay->address = (struct address){ .kind = ADDRESS_TCP, .host = "127.0.0.1", .port = call->port };
	*config = (struct sender_config){ .relays_list = { .at = relay, .n = 1 }, .service = call->service };
	config->tls.certificate = pki.certificate;
	config->tls.key = pki.key;
	config->tls.relay_ca = pki.ca_file;
	config->timeouts.connect_ms = PATIENCE_MS;
	config->timeouts.handshake_ms = call->handshake_ms != 0 ? call->handshake_ms : PATIENCE_MS;
}

static int connect_to(uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
		                            .sin_port = htons(port),
		                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Dials and runs the loop until nothing of the dial is left on it. */
static struct dial_result dial_it(const struct call *call)
{
	struct told told = { .times = 0 };
	struct dial_setup *setup = NULL;
	struct dial *dial = NULL;
	struct sender_config config;
	struct sender_relay relay;
	struct ps_cause cause = { "" };
	uv_loop_t loop;

	fill_config(&config, &relay, call);
	assert_int_equal(dial_setup_new(&config, &setup, &cause), PS_OK);
	assert_int_equal(uv_loop_init(&loop), 0);
	const struct dial_config dialled = { .loop = &loop,
		                                 .setup = setup,
		                                 .service = call->service,
		                                 .offer = call->offer,
		                                 .on_done = on_done,
		                                 .owner = &told };
	if (call->connected)
		assert_int_equal(dial_on(&dialled, connect_to(call->port), "the test", &dial), PS_OK);
	else
		assert_int_equal(dial_new(&dialled, &dial), PS_OK);
	if (call->cancel)
		dial_cancel(dial);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	dial_setup_free(setup);
	assert_int_equal(told.times, call->cancel ? 0 : 1);
	if (told.result.fd >= 0 && told.times == 1)
		close(told.result.fd);
	return told.result;
}

static struct dial_result dial_server(struct server server, struct call call)
{
	start(&server);
	call.port = server.port;
	const struct dial_result result = dial_it(&call);
	stop(&server);
	return result;
}

static struct dial_result dial_tls(const struct mint_cert *certificate, const char *server_name)
{
	return dial_server((struct server){ .run = speak_tls, .chain = { certificate } },
	                   (struct call){ .server_name = server_name });
}

static void assert_failed(const struct dial_result *result, enum outcome_code code, enum refusal refusal)
{
	if (result->outcome.code != code || result->outcome.refusal != refusal)
		print_error("%s\n", result->outcome.cause.text);
	assert_int_equal(result->outcome.code, code);
	assert_string_equal(refusal_name(result->outcome.refusal), refusal_name(refusal));
	assert_int_equal(result->fd, -1);
}

static void test_a_closed_port_is_refused(void **state)
{
	struct call call = { .port = 0 };

	(void)state;
	close(listen_anywhere(&call.port));
	const struct dial_result result = dial_it(&call);
	assert_failed(&result, OUTCOME_NO_RELAY, REFUSAL_NONE);
}

static void test_a_server_that_never_answers_times_out(void **state)
{
	(void)state;
	const struct dial_result result =
		dial_server((struct server){ .run = read_until_end }, (struct call){ .handshake_ms = 50 });
	assert_failed(&result, OUTCOME_NO_RELAY, REFUSAL_HANDSHAKE_TIMEOUT);
}

static void test_plain_text_is_not_tls(void **state)
{
	(void)state;
	const struct dial_result result = dial_server((struct server){ .run = greet_in_plain_text }, (struct call){ 0 });
	assert_failed(&result, OUTCOME_NO_RELAY, REFUSAL_NOT_TLS);
}

static void test_a_server_that_closes_at_once_is_no_relay(void **state)
{
	(void)state;
	const struct dial_result result = dial_server((struct server){ .run = close_at_once }, (struct call){ 0 });
	assert_int_equal(result.outcome.code, OUTCOME_NO_RELAY);
	assert_int_equal(result.fd, -1);
}

static void test_the_right_relay_is_reached_and_named(void **state)
{
	(void)state;
	const struct dial_result result = dial_tls(mint_relay(pki.ca, "CN=relay", "relay.test"), NULL);
	assert_int_equal(result.outcome.code, OUTCOME_DONE);
	assert_true(result.fd >= 0);
	assert_string_equal(result.relay, "relay");
	assert_memory_equal(result.peer, "127.0.0.1:", strlen("127.0.0.1:"));
	assert_non_null(suite_find(result.secrets.suite));
}

static void test_a_socket_that_is_connected_already_is_used(void **state)
{
	(void)state;
	const struct dial_result result =
		dial_server((struct server){ .run = speak_tls, .chain = { mint_relay(pki.ca, "CN=relay", "relay.test") } },
	                (struct call){ .connected = true });
	assert_int_equal(result.outcome.code, OUTCOME_DONE);
	assert_true(result.fd >= 0);
	assert_true(result.accepted);
	assert_string_equal(result.peer, "the test");
}

static void test_a_dial_on_a_connected_socket_can_be_cancelled(void **state)
{
	(void)state;
	(void)dial_server((struct server){ .run = read_until_end }, (struct call){ .connected = true, .cancel = true });
}

static void test_a_relay_of_another_name_is_refused(void **state)
{
	(void)state;
	const struct dial_result result = dial_tls(mint_relay(pki.ca, "CN=relay", "elsewhere.test"), NULL);
	assert_failed(&result, OUTCOME_WRONG_RELAY, REFUSAL_WRONG_NAME);
	assert_non_null(strstr(result.outcome.cause.text, "elsewhere.test"));
	assert_string_equal(result.seen.text, "it was issued for elsewhere.test, and not for relay.test");
	assert_false(result.accepted);
}

static void test_a_relay_is_not_known_by_its_common_name(void **state)
{
	(void)state;
	const struct dial_result result = dial_tls(mint_relay(pki.ca, "CN=relay.test", NULL), NULL);
	assert_failed(&result, OUTCOME_WRONG_RELAY, REFUSAL_WRONG_NAME);
}

static void test_a_relay_of_another_authority_is_refused(void **state)
{
	(void)state;
	const struct dial_result result = dial_tls(mint_relay(pki.other_ca, "CN=relay", "relay.test"), NULL);
	assert_failed(&result, OUTCOME_WRONG_RELAY, REFUSAL_UNKNOWN_CA);
}

static void test_an_expired_relay_is_refused(void **state)
{
	(void)state;
	const struct mint_spec spec = {
		.subject = "CN=relay", .kind = MINT_RELAY, .dns = { "relay.test" }, .not_after = LONG_AGO
	};
	const struct dial_result result = dial_tls(mint_certificate(&spec, pki.ca), NULL);
	assert_failed(&result, OUTCOME_WRONG_RELAY, REFUSAL_EXPIRED);
}

static void test_a_service_that_is_confirmed_is_reached(void **state)
{
	(void)state;
	const struct dial_result result = dial_server(
		(struct server){
			.run = speak_tls,
			.chain = { mint_relay(pki.ca, "CN=relay", "relay.test") },
			.alpn = { "portseal/billing" },
		},
		(struct call){ .service = "billing" });
	assert_int_equal(result.outcome.code, OUTCOME_DONE);
}

static void test_a_service_that_is_not_confirmed_is_not_reached(void **state)
{
	(void)state;
	const struct dial_result result =
		dial_server((struct server){ .run = speak_tls, .chain = { mint_relay(pki.ca, "CN=relay", "relay.test") } },
	                (struct call){ .service = "billing" });
	assert_failed(&result, OUTCOME_REFUSED, REFUSAL_UNKNOWN_SERVICE);
	assert_non_null(strstr(result.outcome.cause.text, "did not confirm the service \"billing\""));
}

static void test_a_service_that_is_not_confirmed_and_why(void **state)
{
	(void)state;
	const struct dial_result result = dial_server(
		(struct server){
			.run = speak_tls,
			.chain = { mint_relay(pki.ca, "CN=relay", "relay.test") },
			.alert = ALERT_UNRECOGNIZED_NAME,
		},
		(struct call){ .service = "billing" });
	assert_failed(&result, OUTCOME_REFUSED, REFUSAL_PEER_ALERT);
	assert_non_null(strstr(result.outcome.cause.text, "the relay has no service \"billing\""));
	assert_int_equal(result.alert, ALERT_UNRECOGNIZED_NAME);
	assert_true(result.accepted);
}

static struct dial_result dial_offering(const char *server_alpn, const char *service, enum dial_offer offer)
{
	return dial_server((struct server){ .run = speak_tls,
	                                    .chain = { mint_relay(pki.ca, "CN=relay", "relay.test") },
	                                    .alpn = { server_alpn } },
	                   (struct call){ .service = service, .offer = offer });
}

static void test_http_2_is_taken_where_it_is_offered_and_agreed_on(void **state)
{
	(void)state;
	static const enum dial_offer offers[] = { DIAL_OFFER_BOTH, DIAL_OFFER_H2 };

	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		const struct dial_result result = dial_offering("h2", "billing", offers[i]);
		assert_int_equal(result.outcome.code, OUTCOME_DONE);
		assert_true(result.h2);
	}
	assert_true(dial_offering("h2", NULL, DIAL_OFFER_H2).h2);
}

static void test_without_http_2_the_service_itself_does(void **state)
{
	(void)state;
	const struct dial_result result = dial_offering("portseal/billing", "billing", DIAL_OFFER_BOTH);

	assert_int_equal(result.outcome.code, OUTCOME_DONE);
	assert_false(result.h2);
}

static void test_a_server_that_agrees_on_nothing_is_not_reached_by_any_offer(void **state)
{
	(void)state;
	struct dial_result result = dial_offering(NULL, "billing", DIAL_OFFER_BOTH);

	assert_failed(&result, OUTCOME_REFUSED, REFUSAL_UNKNOWN_SERVICE);
	result = dial_offering(NULL, NULL, DIAL_OFFER_H2);
	assert_failed(&result, OUTCOME_REFUSED, REFUSAL_NONE);
}

static void test_a_protocol_that_the_server_lacks_is_the_relays_refusal(void **state)
{
	(void)state;
	const struct dial_result result = dial_server(
		(struct server){
			.run = speak_tls,
			.chain = { mint_relay(pki.ca, "CN=relay", "relay.test") },
			.alpn = { "http/1.1" },
		},
		(struct call){ .service = "billing" });
	assert_failed(&result, OUTCOME_REFUSED, REFUSAL_PEER_ALERT);
}

static void test_a_cancelled_dial_calls_nobody_back(void **state)
{
	(void)state;
	(void)dial_server((struct server){ .run = read_until_end }, (struct call){ .cancel = true });
}

static void test_a_setup_without_its_key_names_the_file(void **state)
{
	const struct call call = { .port = 1 };
	struct dial_setup *setup = NULL;
	struct sender_config config;
	struct sender_relay relay;
	struct ps_cause cause = { "" };

	(void)state;
	fill_config(&config, &relay, &call);
	config.tls.key = "/nonexistent/alice.key";
	assert_int_not_equal(dial_setup_new(&config, &setup, &cause), PS_OK);
	assert_null(setup);
	assert_non_null(strstr(cause.text, "/nonexistent/alice.key"));
}

static int make_pki(void **state)
{
	const char *dir = mint_directory();

	(void)state;
	pki.ca = mint_ca("CN=Test CA");
	pki.other_ca = mint_ca("CN=Other CA");
	mint_write_files(dir, "alice", (const struct mint_cert *[]){ mint_sender(pki.ca, "CN=alice"), NULL });
	mint_write_files(dir, "ca", (const struct mint_cert *[]){ pki.ca, NULL });
	(void)snprintf(pki.certificate, sizeof(pki.certificate), "%s/alice.crt", dir);
	(void)snprintf(pki.key, sizeof(pki.key), "%s/alice.key", dir);
	(void)snprintf(pki.ca_file, sizeof(pki.ca_file), "%s/ca.crt", dir);
	return 0;
}

static int free_pki(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_closed_port_is_refused),
		cmocka_unit_test(test_a_server_that_never_answers_times_out),
		cmocka_unit_test(test_plain_text_is_not_tls),
		cmocka_unit_test(test_a_server_that_closes_at_once_is_no_relay),
		cmocka_unit_test(test_the_right_relay_is_reached_and_named),
		cmocka_unit_test(test_a_socket_that_is_connected_already_is_used),
		cmocka_unit_test(test_a_dial_on_a_connected_socket_can_be_cancelled),
		cmocka_unit_test(test_a_relay_of_another_name_is_refused),
		cmocka_unit_test(test_a_relay_is_not_known_by_its_common_name),
		cmocka_unit_test(test_a_relay_of_another_authority_is_refused),
		cmocka_unit_test(test_an_expired_relay_is_refused),
		cmocka_unit_test(test_a_service_that_is_confirmed_is_reached),
		cmocka_unit_test(test_a_service_that_is_not_confirmed_is_not_reached),
		cmocka_unit_test(test_a_service_that_is_not_confirmed_and_why),
		cmocka_unit_test(test_http_2_is_taken_where_it_is_offered_and_agreed_on),
		cmocka_unit_test(test_without_http_2_the_service_itself_does),
		cmocka_unit_test(test_a_server_that_agrees_on_nothing_is_not_reached_by_any_offer),
		cmocka_unit_test(test_a_protocol_that_the_server_lacks_is_the_relays_refusal),
		cmocka_unit_test(test_a_cancelled_dial_calls_nobody_back),
		cmocka_unit_test(test_a_setup_without_its_key_names_the_file),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_pki, free_pki);
}
