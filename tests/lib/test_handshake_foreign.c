/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake: other people's clients and servers shake hands with us, and can read why we refuse them.
 * Each test runs one of their programs over loopback and looks at what it prints.
 */
#include "portseal/handshake.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "hands.h"

#define PATIENCE_MS 20000
#define ARGS_MAX 24

extern char **environ;

static const struct hands *hands;
static const char *directory;
static const char *ca_file;

static int start(void **state)
{
	(void)state;
	hands = hands_start();
	directory = mint_directory();
	mint_write_files(directory, "ca", (const struct mint_cert *[]){ hands->ca, NULL });
	mint_write_files(directory, "alice", hands->alice_chain);
	mint_write_files(directory, "relay", hands->relay_chain);
	ca_file = mint_write(directory, "ca.pem", mint_pem((const struct mint_cert *[]){ hands->ca, NULL }));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	hands_stop();
	return 0;
}

/* A program under test, and the socket through which it and we meet. */
struct foreign {
	int listener;
	char port[8];
	pid_t pid;
	int input_fd; /* never written to; its end would make some programs close at once */
	int output_fd;
	char output[65536]; /* what it printed so far */
	size_t output_len;
	int fd;
	struct handshake *hs;
};

static void listen_on_loopback(struct foreign *foreign)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	foreign->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(foreign->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(foreign->listener, 1), 0);
	assert_int_equal(getsockname(foreign->listener, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(foreign->port, sizeof(foreign->port), "%u", ntohs(at.sin_port));
}

/* Splits the words of `command`; PORT and DIR stand for the port and the directory of the certificates. */
static size_t split(const struct foreign *foreign, char *command, char *args[ARGS_MAX], char paths[ARGS_MAX][256])
{
	size_t n = 0;

	for (char *at = command, *word; (word = strtok_r(at, " ", &at)) != NULL; n++) {
		assert_true(n + 1 < ARGS_MAX);
		args[n] = word;
		if (strcmp(word, "PORT") == 0)
			args[n] = (char *)(uintptr_t)foreign->port;
		if (strncmp(word, "DIR/", 4) == 0) {
			(void)snprintf(paths[n], sizeof(paths[n]), "%s/%s", directory, word + 4);
			args[n] = paths[n];
		}
	}
	args[n] = NULL;
	return n;
}

static void spawn(struct foreign *foreign, const char *command_line)
{
	char command[512], paths[ARGS_MAX][256], *args[ARGS_MAX];
	posix_spawn_file_actions_t actions;
	int input[2], output[2];

	(void)snprintf(command, sizeof(command), "%s", command_line);
	assert_true(split(foreign, command, args, paths) > 0);
	assert_int_equal(pipe2(input, O_CLOEXEC), 0);
	assert_int_equal(pipe2(output, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	posix_spawn_file_actions_adddup2(&actions, input[0], 0);
	posix_spawn_file_actions_adddup2(&actions, output[1], 1);
	posix_spawn_file_actions_adddup2(&actions, output[1], 2);
	assert_int_equal(posix_spawnp(&foreign->pid, args[0], &actions, NULL, args, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(input[0]);
	close(output[1]);
	foreign->input_fd = input[1];
	foreign->output_fd = output[0];
}

/* One more piece of what it prints. False at its end. */
static bool read_output(struct foreign *foreign)
{
	struct pollfd wait = { .fd = foreign->output_fd, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
	n = read(foreign->output_fd, foreign->output + foreign->output_len,
	         sizeof(foreign->output) - foreign->output_len - 1);
	foreign->output_len += n > 0 ? (size_t)n : 0;
	foreign->output[foreign->output_len] = '\0';
	return n > 0;
}

/* Until the handshake of ours is DONE or FAILED. */
static enum handshake_state shake(struct foreign *foreign)
{
	enum handshake_state state;

	while ((state = handshake_step(foreign->hs)) != HANDSHAKE_DONE && state != HANDSHAKE_FAILED) {
		struct pollfd wait = { .fd = foreign->fd, .events = state == HANDSHAKE_WANT_WRITE ? POLLOUT : POLLIN };

		assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
	}
	return state;
}

static enum refusal accept_any(void *owner, struct mbedtls_x509_crt *chain)
{
	(void)owner;
	(void)chain;
	return REFUSAL_NONE;
}

/* Starts a program that listens on a port of its own choice and prints it behind "ACCEPT 0.0.0.0:"; connects to it. */
static enum handshake_state call(struct foreign *foreign, const char *command, const char *alpn)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct handshake_config config = { .alpn = alpn, .server_name = "relay.example.com", .on_peer = accept_any };
	const char *said = NULL;

	memset(foreign, 0, sizeof(*foreign));
	foreign->listener = -1;
	spawn(foreign, command);
	while ((said = strstr(foreign->output, "ACCEPT ")) == NULL || strchr(said, '\n') == NULL)
		assert_true(read_output(foreign));
	at.sin_port = htons((uint16_t)strtoul(strrchr(said, ':') + 1, NULL, 10));
	foreign->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(foreign->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	config.fd = foreign->fd;
	assert_int_equal(handshake_new(hands->client, &config, &foreign->hs), PS_OK);
	return shake(foreign);
}

/* Lets the program connect to us, and shakes hands. */
static enum handshake_state serve(struct foreign *foreign, const char *command, const char *alpn)
{
	struct handshake_config config = { .alpn = alpn };
	struct pollfd wait;

	memset(foreign, 0, sizeof(*foreign));
	listen_on_loopback(foreign);
	spawn(foreign, command);
	wait = (struct pollfd){ .fd = foreign->listener, .events = POLLIN };
	assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
	foreign->fd = accept4(foreign->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(foreign->fd >= 0);
	config.fd = foreign->fd;
	assert_int_equal(handshake_new(hands->server, &config, &foreign->hs), PS_OK);
	return shake(foreign);
}

/* Lets what was sent last arrive, and waits for the program's end. */
static void finish(struct foreign *foreign)
{
	struct pollfd wait = { .fd = foreign->fd, .events = POLLIN };
	char waste[4096];

	shutdown(foreign->fd, SHUT_WR);
	while (poll(&wait, 1, PATIENCE_MS) == 1 && recv(foreign->fd, waste, sizeof(waste), 0) > 0)
		continue;
	close(foreign->fd);
	if (foreign->listener >= 0)
		close(foreign->listener);
	close(foreign->input_fd);
	while (read_output(foreign))
		continue;
	close(foreign->output_fd);
	assert_int_equal(waitpid(foreign->pid, NULL, 0), foreign->pid);
	handshake_free(foreign->hs);
}

static void assert_prints(const struct foreign *foreign, const char *words)
{
	if (strstr(foreign->output, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, foreign->output);
}

#define OPENSSL "openssl s_client -host 127.0.0.1 -port PORT -ign_eof -CAfile DIR/ca.pem "
#define OPENSSL_ALICE OPENSSL "-cert DIR/alice.crt -key DIR/alice.key "
#define SERVER \
	"openssl s_server -accept 127.0.0.1:0 -naccept 1 -cert DIR/relay.crt -key DIR/relay.key -CAfile DIR/ca.pem "

static void test_openssl_with_a_certificate_gets_in(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, OPENSSL_ALICE "-alpn postgresql,h2", "h2"), HANDSHAKE_DONE);
	assert_non_null(handshake_peer_chain(foreign.hs));
	assert_string_equal(handshake_alpn(foreign.hs), "h2");
	finish(&foreign);
	assert_prints(&foreign, "Verify return code: 0 (ok)");
	assert_prints(&foreign, "ALPN protocol: h2");
}

static void assert_suite(const char *command, uint16_t suite)
{
	struct foreign foreign;
	struct traffic_secrets secrets;

	assert_int_equal(serve(&foreign, command, NULL), HANDSHAKE_DONE);
	handshake_secrets(foreign.hs, &secrets);
	assert_int_equal(secrets.suite, suite);
	finish(&foreign);
}

static void test_openssl_gets_in_with_every_suite(void **state)
{
	(void)state;
	assert_suite(OPENSSL_ALICE "-ciphersuites TLS_AES_128_GCM_SHA256", SUITE_AES_128_GCM_SHA256);
	assert_suite(OPENSSL_ALICE "-ciphersuites TLS_AES_256_GCM_SHA384", SUITE_AES_256_GCM_SHA384);
	assert_suite(OPENSSL_ALICE "-ciphersuites TLS_CHACHA20_POLY1305_SHA256", SUITE_CHACHA20_POLY1305_SHA256);
}

static void test_openssl_reads_that_a_certificate_is_required(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, OPENSSL, NULL), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(foreign.hs)->refusal, REFUSAL_NO_CERTIFICATE);
	finish(&foreign);
	assert_prints(&foreign, "alert certificate required");
}

static void assert_reads(enum alert alert, const char *words)
{
	struct foreign foreign;

	assert_int_equal(serve(&foreign, OPENSSL_ALICE, NULL), HANDSHAKE_DONE);
	handshake_refuse(foreign.hs, alert);
	finish(&foreign);
	assert_prints(&foreign, words);
}

static void test_openssl_reads_why_its_certificate_is_refused(void **state)
{
	(void)state;
	assert_reads(ALERT_UNKNOWN_CA, "alert unknown ca");
	assert_reads(ALERT_ACCESS_DENIED, "alert access denied");
	assert_reads(ALERT_CERTIFICATE_EXPIRED, "alert certificate expired");
}

static void test_openssl_with_tls12_reads_the_version(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, OPENSSL "-tls1_2", NULL), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(foreign.hs)->refusal, REFUSAL_TLS_VERSION);
	finish(&foreign);
	assert_prints(&foreign, "alert protocol version");
}

static void test_openssl_with_no_suite_of_ours_reads_so(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, OPENSSL "-ciphersuites TLS_AES_128_CCM_SHA256 -tls1_3", NULL), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(foreign.hs)->refusal, REFUSAL_TLS_FAILED);
	finish(&foreign);
	assert_prints(&foreign, "alert handshake failure");
}

static void test_openssl_that_refuses_our_certificate_is_heard(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, "openssl s_client -host 127.0.0.1 -port PORT -verify_return_error", NULL),
	                 HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(foreign.hs)->refusal, REFUSAL_PEER_ALERT);
	assert_int_equal(handshake_failure(foreign.hs)->alert_received, ALERT_UNKNOWN_CA);
	finish(&foreign);
}

#define GNUTLS "gnutls-cli --x509cafile DIR/ca.pem --verify-hostname relay.example.com -p PORT 127.0.0.1 "

static void test_gnutls_reads_why_it_is_refused(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, GNUTLS "--x509certfile DIR/alice.crt --x509keyfile DIR/alice.key", NULL),
	                 HANDSHAKE_DONE);
	assert_non_null(handshake_peer_chain(foreign.hs));
	handshake_refuse(foreign.hs, ALERT_ACCESS_DENIED);
	finish(&foreign);
	assert_prints(&foreign, "Access was denied");
}

static void test_gnutls_that_refuses_our_certificate_is_heard(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(serve(&foreign, "gnutls-cli --x509cafile DIR/alice.crt -p PORT 127.0.0.1", NULL),
	                 HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(foreign.hs)->refusal, REFUSAL_PEER_ALERT);
	assert_int_not_equal(handshake_failure(foreign.hs)->alert_received, ALERT_NONE);
	finish(&foreign);
}

static void test_we_show_our_certificate_to_openssl(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(call(&foreign, SERVER "-Verify 1 -alpn h2", "h2"), HANDSHAKE_DONE);
	assert_string_equal(handshake_alpn(foreign.hs), "h2");
	finish(&foreign);
	assert_prints(&foreign, "subject=CN = alice");
}

static void test_openssl_without_tls13_is_named_so(void **state)
{
	(void)state;
	struct foreign foreign;
	assert_int_equal(call(&foreign, SERVER "-tls1_2", NULL), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(foreign.hs)->refusal, REFUSAL_TLS_VERSION);
	finish(&foreign);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_openssl_with_a_certificate_gets_in),
		cmocka_unit_test(test_openssl_gets_in_with_every_suite),
		cmocka_unit_test(test_openssl_reads_that_a_certificate_is_required),
		cmocka_unit_test(test_openssl_reads_why_its_certificate_is_refused),
		cmocka_unit_test(test_openssl_with_tls12_reads_the_version),
		cmocka_unit_test(test_openssl_with_no_suite_of_ours_reads_so),
		cmocka_unit_test(test_openssl_that_refuses_our_certificate_is_heard),
		cmocka_unit_test(test_gnutls_reads_why_it_is_refused),
		cmocka_unit_test(test_gnutls_that_refuses_our_certificate_is_heard),
		cmocka_unit_test(test_we_show_our_certificate_to_openssl),
		cmocka_unit_test(test_openssl_without_tls13_is_named_so),
	};
	return cmocka_run_group_tests_name("handshake, foreign", tests, start, stop);
}
