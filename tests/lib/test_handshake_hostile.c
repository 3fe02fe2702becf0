/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake: a peer that cuts, changes, floods, dribbles or talks something else. It gets no further than FAILED, and
 * costs no more than HANDSHAKE_TURN_BYTES in a step and HANDSHAKE_TOTAL_BYTES in all.
 */
#include "portseal/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "hands.h"

#define NOWHERE SIZE_MAX

static const struct hands *hands;

static int start(void **state)
{
	(void)state;
	hands = hands_start();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	hands_stop();
	return 0;
}

/* Somebody between both ends, who passes everything on but for what he does to the bytes of one direction. */
struct middle {
	struct hands_pair pair; /* its descriptors are the outer ends */
	int to_client, to_server;
	bool meddles_with_server; /* else with the client's bytes */
	size_t cut_at;            /* the direction ends in front of this byte */
	size_t flip_at;           /* this byte is changed */
	size_t passed;            /* bytes of that direction so far */
	bool cut;
};

/* ECDSA signatures differ in length, and so do the runs: a place near the end of one may be behind that of another. */
static bool has_meddled(const struct middle *middle)
{
	return middle->cut || middle->passed > middle->flip_at;
}

static void middle_open(struct middle *middle)
{
	struct hands_pair other;

	memset(middle, 0, sizeof(*middle));
	middle->cut_at = middle->flip_at = NOWHERE;
	hands_pair_open(&middle->pair, hands->client, hands->server, NULL, NULL);
	hands_pair_open(&other, hands->client, hands->server, NULL, NULL);
	/* client .. middle is the first pair of sockets, middle .. server the second */
	handshake_free(middle->pair.server);
	handshake_free(other.client);
	middle->to_client = middle->pair.server_fd;
	middle->to_server = other.client_fd;
	middle->pair.server_fd = other.server_fd;
	middle->pair.server = other.server;
}

static void middle_close(struct middle *middle)
{
	close(middle->to_client);
	close(middle->to_server);
	hands_pair_close(&middle->pair);
}

static void pass(int from, int to)
{
	uint8_t bytes[16384];
	ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0)
		(void)send(to, bytes, (size_t)n, MSG_NOSIGNAL);
}

static void meddle(struct middle *middle, int from, int to)
{
	uint8_t bytes[16384];
	ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);
	size_t len = n > 0 ? (size_t)n : 0;

	if (middle->flip_at >= middle->passed && middle->flip_at < middle->passed + len)
		bytes[middle->flip_at - middle->passed] ^= 0x20;
	if (len > middle->cut_at - middle->passed) {
		len = middle->cut_at - middle->passed;
		middle->cut = true;
	}
	if (len > 0)
		(void)send(to, bytes, len, MSG_NOSIGNAL);
	middle->passed += len;
	if (middle->cut)
		shutdown(to, SHUT_WR);
}

static void middle_pump(struct middle *middle)
{
	for (int i = 0; i < 8; i++) {
		(void)handshake_step(middle->pair.client);
		if (middle->meddles_with_server)
			pass(middle->to_client, middle->to_server);
		else
			meddle(middle, middle->to_client, middle->to_server);
		(void)handshake_step(middle->pair.server);
		if (middle->meddles_with_server)
			meddle(middle, middle->to_server, middle->to_client);
		else
			pass(middle->to_server, middle->to_client);
	}
}

/* How many bytes one direction has when nobody meddles; *hello_len what comes first in it. */
static size_t honest_length(bool server, size_t *hello_len)
{
	struct middle middle;
	size_t len;

	middle_open(&middle);
	middle.meddles_with_server = server;
	(void)handshake_step(middle.pair.client);
	if (!server)
		meddle(&middle, middle.to_client, middle.to_server);
	*hello_len = middle.passed;
	middle_pump(&middle);
	assert_int_equal(handshake_step(middle.pair.server), HANDSHAKE_DONE);
	assert_int_equal(handshake_step(middle.pair.client), HANDSHAKE_DONE);
	len = middle.passed;
	middle_close(&middle);
	return len;
}

static void assert_client_was_cut(struct handshake *server, size_t at)
{
	const struct handshake_failure *failure = handshake_failure(server);
	const char *detail = at == 0 ? "the client closed the connection without a word"
	                             : "the client closed the connection in the middle of the handshake";

	assert_int_equal(handshake_step(server), HANDSHAKE_FAILED);
	assert_int_equal(failure->refusal, at == 0 ? REFUSAL_CLOSED_BEFORE_HELLO : REFUSAL_TLS_FAILED);
	assert_string_equal(failure->detail.text, detail);
	assert_int_equal(failure->alert_sent, ALERT_NONE);
}

static void test_a_client_cut_off_anywhere_fails(void **state)
{
	(void)state;
	size_t hello_len;
	const size_t len = honest_length(false, &hello_len);
	for (size_t at = 0; at < len; at += at < hello_len + 32 || at + 32 > len ? 1 : 13) {
		struct middle middle;
		middle_open(&middle);
		middle.cut_at = at;
		middle_pump(&middle);
		if (has_meddled(&middle))
			assert_client_was_cut(middle.pair.server, at);
		middle_close(&middle);
	}
}

static void test_a_server_cut_off_anywhere_fails(void **state)
{
	(void)state;
	size_t nothing;
	const size_t len = honest_length(true, &nothing);
	for (size_t at = 0; at<len; at += at + 32> len ? 1 : 29) {
		struct middle middle;
		middle_open(&middle);
		middle.meddles_with_server = true;
		middle.cut_at = at;
		middle_pump(&middle);
		if (has_meddled(&middle)) {
			assert_int_equal(handshake_step(middle.pair.client), HANDSHAKE_FAILED);
			assert_int_equal(handshake_failure(middle.pair.client)->refusal, REFUSAL_TLS_FAILED);
		}
		middle_close(&middle);
	}
}

/* The versions in the headers of plaintext records mean nothing (RFC 8446, section 5.1): those are left alone. */
static bool is_in_plain_header(size_t at, size_t hello_len)
{
	const size_t ccs_len = 6;

	return at < 5 || (at >= hello_len && at < hello_len + ccs_len);
}

static void test_no_changed_byte_of_a_client_gets_in(void **state)
{
	(void)state;
	size_t hello_len;
	const size_t len = honest_length(false, &hello_len);
	for (size_t at = 0; at < len; at += 7) {
		struct middle middle;
		if (is_in_plain_header(at, hello_len))
			continue;
		middle_open(&middle);
		middle.flip_at = at;
		middle_pump(&middle);
		if (has_meddled(&middle))
			assert_int_not_equal(handshake_step(middle.pair.server), HANDSHAKE_DONE);
		middle_close(&middle);
	}
}

static void test_no_changed_byte_of_a_server_deceives_a_client(void **state)
{
	(void)state;
	size_t nothing;
	const size_t len = honest_length(true, &nothing);
	for (size_t at = 5; at < len; at += 17) {
		struct middle middle;
		middle_open(&middle);
		middle.meddles_with_server = true;
		middle.flip_at = at;
		middle_pump(&middle);
		if (handshake_step(middle.pair.client) == HANDSHAKE_DONE) /* the dummy change_cipher_spec: ignored */
			assert_int_equal(handshake_step(middle.pair.server), HANDSHAKE_DONE);
		middle_close(&middle);
	}
}

static void test_a_client_that_dribbles_gets_in(void **state)
{
	(void)state;
	struct middle middle;
	middle_open(&middle);
	for (int i = 0; i < 8192 && handshake_step(middle.pair.server) != HANDSHAKE_DONE; i++) {
		uint8_t byte;
		(void)handshake_step(middle.pair.client);
		pass(middle.to_server, middle.to_client);
		if (recv(middle.to_client, &byte, 1, MSG_DONTWAIT) == 1)
			assert_int_equal(send(middle.to_server, &byte, 1, 0), 1);
	}
	assert_int_equal(handshake_step(middle.pair.server), HANDSHAKE_DONE);
	middle_close(&middle);
}

static size_t waiting(int fd)
{
	int n = 0;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return (size_t)n;
}

/* Sends the record over and over, until the server gives up or `most` bytes went. Returns the bytes that it read. */
static size_t flood(struct hands_pair *pair, const uint8_t *record, size_t record_len, size_t most)
{
	size_t sent = 0, unread = 0;

	while (sent < most && handshake_step(pair->server) != HANDSHAKE_FAILED) {
		size_t before;

		while (sent < most && send(pair->client_fd, record, record_len, MSG_NOSIGNAL) == (ssize_t)record_len)
			sent += record_len;
		before = waiting(pair->server_fd);
		(void)handshake_step(pair->server);
		unread = waiting(pair->server_fd);
		assert_in_range(before - unread, 0, HANDSHAKE_TURN_BYTES);
	}
	while (handshake_step(pair->server) == HANDSHAKE_YIELD)
		unread = waiting(pair->server_fd);
	return sent - waiting(pair->server_fd);
}

/* A server that waits for the client's second flight. */
static void open_with_hello(struct hands_pair *pair)
{
	hands_pair_open(pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(handshake_step(pair->client), HANDSHAKE_WANT_READ);
	assert_int_equal(handshake_step(pair->server), HANDSHAKE_WANT_READ);
}

static void assert_flood_fails(struct hands_pair *pair)
{
	assert_int_equal(handshake_step(pair->server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair->server)->refusal, REFUSAL_TLS_FAILED);
	assert_string_equal(handshake_failure(pair->server)->detail.text,
	                    "the client: it sent more than a handshake can need");
	assert_int_equal(handshake_failure(pair->server)->alert_sent, ALERT_UNEXPECTED_MESSAGE);
}

static void test_a_flood_of_change_cipher_specs_ends_after_a_few(void **state)
{
	(void)state;
	const uint8_t record[] = { 20, 3, 3, 0, 1, 1 };
	struct hands_pair pair;
	open_with_hello(&pair);
	assert_in_range(flood(&pair, record, sizeof(record), 64 * 1024), 1, 8 * sizeof(record));
	assert_flood_fails(&pair);
	hands_pair_close(&pair);
}

static void test_a_flood_of_warnings_ends_after_a_few(void **state)
{
	(void)state;
	const uint8_t record[] = { 21, 3, 3, 0, 2, 1, 90 };
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_in_range(flood(&pair, record, sizeof(record), 64 * 1024), 1, 8 * sizeof(record));
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	hands_pair_close(&pair);
}

/* Goal: a message in fragments of one byte, each a record of its own, never costs more than the whole allowance. */
static void test_a_flood_of_fragments_ends_with_the_allowance(void **state)
{
	(void)state;
	const uint8_t first[] = { 22, 3, 1, 0, 4, 1, 0, 0xff, 0xf0 };
	const uint8_t more[] = { 22, 3, 1, 0, 1, 0 };
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(send(pair.client_fd, first, sizeof(first), 0), sizeof(first));
	assert_in_range(flood(&pair, more, sizeof(more), 4 * HANDSHAKE_TOTAL_BYTES), 1, HANDSHAKE_TOTAL_BYTES);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	hands_pair_close(&pair);
}

static void test_a_turn_is_given_up_when_its_share_is_read(void **state)
{
	(void)state;
	uint8_t record[5 + 16384] = { 22, 3, 1, 0x40, 0, 1, 0, 0x7f, 0xf0 };
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(send(pair.client_fd, record, sizeof(record), 0), sizeof(record));
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_YIELD);
	assert_int_equal(waiting(pair.server_fd), sizeof(record) - HANDSHAKE_TURN_BYTES);
	hands_pair_close(&pair);
}

static void test_a_blocked_socket_is_waited_for(void **state)
{
	(void)state;
	uint8_t waste[4096] = { 0 };
	size_t filled = 0;
	ssize_t n;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_WANT_READ);
	while ((n = send(pair.server_fd, waste, sizeof(waste), MSG_DONTWAIT)) > 0)
		filled += (size_t)n;
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_WANT_WRITE);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_WANT_WRITE);
	while (filled > 0 && (n = recv(pair.client_fd, waste, filled < sizeof(waste) ? filled : sizeof(waste), 0)) > 0)
		filled -= (size_t)n;
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_WANT_READ);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_DONE);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_DONE);
	hands_pair_close(&pair);
}

static void test_application_data_out_of_turn_is_refused(void **state)
{
	(void)state;
	const uint8_t record[] = { 23, 3, 3, 0, 3, 1, 2, 3 };
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(send(pair.client_fd, record, sizeof(record), 0), sizeof(record));
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_TLS_FAILED);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_UNEXPECTED_MESSAGE);
	hands_pair_close(&pair);
}

static void test_a_client_that_speaks_something_else_is_quoted(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(send(pair.client_fd, "HELO mail\r\n", 11, 0), 11);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_NOT_TLS);
	assert_string_equal(handshake_failure(pair.server)->detail.text,
	                    "the client does not speak TLS: it said \"HELO mail\"");
	hands_pair_close(&pair);
}

static void test_an_alert_is_heard_even_of_a_peer_that_is_gone(void **state)
{
	(void)state;
	const uint8_t alert[] = { 21, 3, 3, 0, 2, 2, ALERT_UNKNOWN_CA };
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_WANT_READ);
	assert_int_equal(send(pair.client_fd, alert, sizeof(alert), 0), sizeof(alert));
	close(pair.client_fd);
	pair.client_fd = -1;
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_PEER_ALERT);
	assert_int_equal(handshake_failure(pair.server)->alert_received, ALERT_UNKNOWN_CA);
	hands_pair_close(&pair);
}

static void test_after_failing_nothing_more_is_read(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(send(pair.client_fd, "HELO mail\r\n", 11, 0), 11);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(waiting(pair.server_fd), 6);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(waiting(pair.server_fd), 6);
	hands_pair_close(&pair);
}

/* Signing with it costs nothing, checking it at 8192 bits held up a gatekeeper for 0.4 s. */
static void test_a_key_that_is_dear_to_check_is_never_used(void **state)
{
	(void)state;
	struct mint_spec spec = { .subject = "CN=slow", .kind = MINT_SENDER, .key = mint_key(MINT_RSA_SLOW) };
	const struct mint_cert *sender[] = { mint_certificate(&spec, hands->ca), NULL };
	spec.kind = MINT_RELAY;
	const struct mint_cert *relay[] = { mint_certificate(&spec, hands->ca), NULL };
	const struct raw_tls_spec as_client = { .chain = sender };
	const struct raw_tls_spec as_server = { .chain = relay, .server = true };
	struct hands_pair pair;
	struct raw_tls raw;

	hands_raw_client(&pair, &raw, &as_client);
	hands_pump_raw_client(&pair, &raw);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_BAD_CERTIFICATE);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_BAD_CERTIFICATE);
	raw_tls_close(&raw);
	hands_pair_close(&pair);

	hands_raw_server(&pair, &raw, &as_server);
	hands_pump_raw_server(&pair, &raw);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_BAD_CERTIFICATE);
	assert_int_equal(pair.seen.calls, 0);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static double cpu_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What steps of the server cost until the handshake is done. */
static double cost_of_chain(const struct mint_cert *const *chain)
{
	const struct raw_tls_spec spec = { .chain = chain };
	struct hands_pair pair;
	struct raw_tls raw;
	double cost = 0;

	hands_raw_client(&pair, &raw, &spec);
	for (int i = 0; i < 8; i++) {
		(void)raw_tls_step(&raw);
		double before = cpu_seconds();
		(void)handshake_step(pair.server);
		cost += cpu_seconds() - before;
	}
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_DONE);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
	return cost;
}

/* Whose links mbedTLS would verify, each with the next one's key, before anybody knows whether they lead anywhere. */
static void test_a_long_chain_costs_no_more_than_its_leaf(void **state)
{
	(void)state;
	mbedtls_pk_context *slow = mint_key(MINT_RSA_SLOW);
	const struct mint_spec above = { .subject = "CN=above", .kind = MINT_CA, .key = slow };
	const struct mint_cert *chain[9] = { NULL };

	chain[1] = mint_certificate(&above, NULL);
	chain[0] = mint_certificate(&(struct mint_spec){ .subject = "CN=leaf", .kind = MINT_SENDER }, chain[1]);
	for (size_t i = 2; i < 8; i++)
		chain[i] = chain[1];
	double leaf = cost_of_chain((const struct mint_cert *[]){ chain[0], NULL });
	double all = cost_of_chain(chain);
	if (all > 4 * leaf)
		fail_msg("the leaf alone costs %.4f s, the chain %.4f s", leaf, all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_client_cut_off_anywhere_fails),
		cmocka_unit_test(test_a_server_cut_off_anywhere_fails),
		cmocka_unit_test(test_no_changed_byte_of_a_client_gets_in),
		cmocka_unit_test(test_no_changed_byte_of_a_server_deceives_a_client),
		cmocka_unit_test(test_a_client_that_dribbles_gets_in),
		cmocka_unit_test(test_a_flood_of_change_cipher_specs_ends_after_a_few),
		cmocka_unit_test(test_a_flood_of_warnings_ends_after_a_few),
		cmocka_unit_test(test_a_flood_of_fragments_ends_with_the_allowance),
		cmocka_unit_test(test_a_turn_is_given_up_when_its_share_is_read),
		cmocka_unit_test(test_a_blocked_socket_is_waited_for),
		cmocka_unit_test(test_application_data_out_of_turn_is_refused),
		cmocka_unit_test(test_a_client_that_speaks_something_else_is_quoted),
		cmocka_unit_test(test_an_alert_is_heard_even_of_a_peer_that_is_gone),
		cmocka_unit_test(test_after_failing_nothing_more_is_read),
		cmocka_unit_test(test_a_key_that_is_dear_to_check_is_never_used),
		cmocka_unit_test(test_a_long_chain_costs_no_more_than_its_leaf),
	};
	return cmocka_run_group_tests_name("handshake, hostile", tests, start, stop);
}
