/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake: both of our ends agree with each other; each refuses what it must, by an alert that the other can read.
 * Hostile bytes are in test_handshake_hostile.c, other people's clients in test_handshake_foreign.c.
 */
#include "portseal/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "hands.h"
#include "raw_tls.h"

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

/* Both ends of ours, until both are done. */
static void shake(struct hands_pair *pair)
{
	hands_pump(pair);
	assert_string_equal(handshake_failure(pair->client)->detail.text, "");
	assert_string_equal(handshake_failure(pair->server)->detail.text, "");
	assert_int_equal(handshake_step(pair->client), HANDSHAKE_DONE);
	assert_int_equal(handshake_step(pair->server), HANDSHAKE_DONE);
}

static void assert_same_secrets(const struct hands_pair *pair)
{
	struct traffic_secrets client, server;

	handshake_secrets(pair->client, &client);
	handshake_secrets(pair->server, &server);
	assert_non_null(suite_find(client.suite));
	assert_memory_equal(&client, &server, sizeof(client));
	assert_memory_not_equal(client.client, client.server, suite_find(client.suite)->hash_len);
}

static void test_both_ends_agree_on_the_secrets(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	shake(&pair);
	assert_same_secrets(&pair);
	assert_null(handshake_alpn(pair.client));
	assert_null(handshake_alpn(pair.server));
	hands_pair_close(&pair);
}

static void test_rsa_keys_work_at_both_ends(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client_rsa, hands->server_rsa, NULL, NULL);
	shake(&pair);
	assert_same_secrets(&pair);
	hands_pair_close(&pair);
}

static size_t chain_length(const struct mbedtls_x509_crt *chain)
{
	size_t n = 0;

	for (; chain != NULL; chain = chain->next)
		n++;
	return n;
}

static void test_a_chain_arrives_with_its_intermediates(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client_rsa, hands->server, NULL, NULL);
	shake(&pair);
	assert_int_equal(chain_length(handshake_peer_chain(pair.server)), 2);
	assert_int_equal(pair.seen.chain_len, 1);
	hands_pair_close(&pair);
}

static void test_the_judge_of_a_client_is_called_once_with_the_leaf_first(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	shake(&pair);
	assert_int_equal(pair.seen.calls, 1);
	assert_int_equal(pair.seen.leaf_len, hands->relay->der_len);
	assert_memory_equal(pair.seen.leaf, hands->relay->der, hands->relay->der_len);
	hands_pair_close(&pair);
}

static void test_alpn_is_agreed_when_both_name_it(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, "h2", "h2");
	shake(&pair);
	assert_string_equal(handshake_alpn(pair.client), "h2");
	assert_string_equal(handshake_alpn(pair.server), "h2");
	hands_pair_close(&pair);
}

static void test_a_server_without_alpn_ignores_what_is_offered(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, "h2", NULL);
	shake(&pair);
	assert_null(handshake_alpn(pair.client));
	assert_null(handshake_alpn(pair.server));
	hands_pair_close(&pair);
}

static void test_a_server_with_another_protocol_refuses_by_alert(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, "h2", "portseal/billing");
	hands_pump(&pair);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_TLS_FAILED);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_NO_APPLICATION_PROTOCOL);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_PEER_ALERT);
	assert_int_equal(handshake_failure(pair.client)->alert_received, ALERT_NO_APPLICATION_PROTOCOL);
	hands_pair_close(&pair);
}

static void test_a_server_echoes_a_name_that_is_its_callers_own(void **state)
{
	char name[] = "portseal/billing";
	struct handshake_config server = { .echo = name };
	struct hands_pair pair;

	(void)state;
	hands_pair_open(&pair, hands->client, hands->server, "portseal/billing", NULL);
	handshake_free(pair.server);
	server.fd = pair.server_fd;
	assert_int_equal(handshake_new(hands->server, &server, &pair.server), PS_OK);
	memset(name, 'x', sizeof(name) - 1);
	shake(&pair);
	assert_string_equal(handshake_alpn(pair.client), "portseal/billing");
	assert_string_equal(handshake_alpn(pair.server), "portseal/billing");
	hands_pair_close(&pair);
}

static void test_a_protocol_the_setup_does_not_know_is_an_error(void **state)
{
	(void)state;
	struct handshake *hs = NULL;
	struct handshake_config config = { .fd = -1, .alpn = "h3" };
	assert_int_equal(handshake_new(hands->server, &config, &hs), PS_E_CONFIG);
	assert_null(hs);
}

static void test_a_client_without_a_certificate_does_not_get_through(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client_bare, hands->server, NULL, NULL);
	hands_pump(&pair);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_NO_CERTIFICATE);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_CERTIFICATE_REQUIRED);
	hands_pair_close(&pair);
}

static void test_a_client_that_refuses_the_server_never_shows_its_certificate(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	pair.verdict = REFUSAL_UNKNOWN_CA;
	hands_pump(&pair);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_UNKNOWN_CA);
	assert_int_equal(handshake_failure(pair.client)->alert_sent, ALERT_UNKNOWN_CA);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_PEER_ALERT);
	assert_int_equal(handshake_failure(pair.server)->alert_received, ALERT_UNKNOWN_CA);
	assert_string_equal(
		handshake_failure(pair.server)->detail.text,
		"the client sent the alert unknown_ca: it does not trust the authority that signed our certificate");
	assert_true(pair.client_bytes < hands->alice->der_len);
	hands_pair_close(&pair);
}

/* What the sender of `sealed` sealed, the receiver opens. */
static void assert_opens(struct tls_stream *receiver, struct buf *sealed, const char *payload)
{
	struct iovec span;
	struct tls_opened opened;
	struct buf reply = BUF_INIT;

	assert_int_equal(tls_stream_open(receiver, buf_front(sealed), buf_len(sealed), &span, 1, &opened, &reply), PS_OK);
	assert_int_equal(opened.payload, strlen(payload));
	assert_memory_equal(span.iov_base, payload, strlen(payload));
	buf_release(sealed);
	buf_release(&reply);
}

static struct tls_stream *stream_of(enum tls_role role, const struct handshake *hs)
{
	struct traffic_secrets secrets;
	struct tls_stream *stream;

	handshake_secrets(hs, &secrets);
	assert_int_equal(tls_stream_new(role, &secrets, &stream), PS_OK);
	return stream;
}

static void test_data_flows_both_ways_afterwards(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct buf sealed = BUF_INIT;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	shake(&pair);
	struct tls_stream *client = stream_of(TLS_CLIENT, pair.client);
	struct tls_stream *server = stream_of(TLS_SERVER, pair.server);
	assert_int_equal(tls_stream_seal(client, (const uint8_t *)"question", 8, &sealed), PS_OK);
	assert_opens(server, &sealed, "question");
	assert_int_equal(tls_stream_seal(server, (const uint8_t *)"answer", 6, &sealed), PS_OK);
	assert_opens(client, &sealed, "answer");
	tls_stream_free(client);
	tls_stream_free(server);
	hands_pair_close(&pair);
}

/* Goal: whatever the client writes right behind its Finished is still in the socket, from its first byte on. */
static void test_the_next_byte_of_the_socket_is_record_zero(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct buf sealed = BUF_INIT;
	uint8_t bytes[256];
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	for (int i = 0; i < 64 && handshake_step(pair.client) != HANDSHAKE_DONE; i++)
		handshake_step(pair.server);
	struct tls_stream *client = stream_of(TLS_CLIENT, pair.client);
	assert_int_equal(tls_stream_seal(client, (const uint8_t *)"early", 5, &sealed), PS_OK);
	assert_int_equal(send(pair.client_fd, buf_front(&sealed), buf_len(&sealed), 0), buf_len(&sealed));
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_DONE);
	assert_int_equal(recv(pair.server_fd, bytes, sizeof(bytes), MSG_DONTWAIT), buf_len(&sealed));
	assert_memory_equal(bytes, buf_front(&sealed), buf_len(&sealed));
	buf_release(&sealed);
	tls_stream_free(client);
	hands_pair_close(&pair);
}

static uint8_t sealed_alert(struct hands_pair *pair)
{
	uint8_t bytes[256];
	struct iovec span;
	struct tls_opened opened;
	struct buf reply = BUF_INIT;
	struct tls_stream *client = stream_of(TLS_CLIENT, pair->client);
	ssize_t n = recv(pair->client_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	uint8_t alert;

	assert_true(n > 0);
	assert_int_equal(tls_stream_open(client, bytes, (size_t)n, &span, 1, &opened, &reply), PS_E_IO);
	alert = tls_stream_peer_alert(client);
	tls_stream_free(client);
	buf_release(&reply);
	return alert;
}

static void test_a_refusal_after_the_handshake_is_read_by_our_client(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	shake(&pair);
	handshake_refuse(pair.server, ALERT_ACCESS_DENIED);
	assert_int_equal(sealed_alert(&pair), ALERT_ACCESS_DENIED);
	hands_pair_close(&pair);
}

static void test_a_refusal_before_the_handshake_is_read_by_our_client(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_WANT_READ);
	handshake_refuse_plain(pair.server_fd, ALERT_UNRECOGNIZED_NAME);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_PEER_ALERT);
	assert_int_equal(handshake_failure(pair.client)->alert_received, ALERT_UNRECOGNIZED_NAME);
	hands_pair_close(&pair);
}

static void test_every_suite_of_a_client_is_spoken(void **state)
{
	(void)state;
	const int all[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384, SUITE_CHACHA20_POLY1305_SHA256 };
	for (size_t i = 0; i < 3; i++) {
		struct hands_pair pair;
		struct raw_tls raw;
		struct traffic_secrets secrets;
		const int one[] = { all[i], 0 };
		hands_raw_client(&pair, &raw, &(struct raw_tls_spec){ .suites = one, .chain = hands->alice_chain });
		hands_pump_raw_client(&pair, &raw);
		assert_int_equal(raw.code, 0);
		assert_int_equal(handshake_step(pair.server), HANDSHAKE_DONE);
		handshake_secrets(pair.server, &secrets);
		assert_int_equal(secrets.suite, all[i]);
		raw_tls_close(&raw);
		hands_pair_close(&pair);
	}
}

/* Goal: a certificate is public; whoever shows it without its key must not get in, and is told so. */
static void test_a_client_with_anothers_certificate_is_refused(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct raw_tls raw;
	unsigned char byte;
	hands_raw_client(&pair, &raw, &(struct raw_tls_spec){ .chain = hands->alice_chain, .key = hands->relay->key });
	hands_pump_raw_client(&pair, &raw);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_BAD_SIGNATURE);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_DECRYPT_ERROR);
	assert_int_equal(raw.code, 0);
	assert_int_equal(raw_tls_alert(&raw, mbedtls_ssl_read(&raw.ssl, &byte, 1)), ALERT_DECRYPT_ERROR);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_server_with_anothers_certificate_is_refused(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct raw_tls raw;
	hands_raw_server(&pair, &raw,
	                 &(struct raw_tls_spec){ .server = true, .chain = hands->relay_chain, .key = hands->alice->key });
	hands_pump_raw_server(&pair, &raw);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_BAD_SIGNATURE);
	assert_int_equal(handshake_failure(pair.client)->alert_sent, ALERT_DECRYPT_ERROR);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_server_that_asks_for_no_certificate_is_fine(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct raw_tls raw;
	hands_raw_server(&pair, &raw, &(struct raw_tls_spec){ .server = true, .chain = hands->relay_chain });
	hands_pump_raw_server(&pair, &raw);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_DONE);
	assert_int_equal(pair.seen.calls, 1);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_client_that_speaks_only_tls12_is_told_the_version(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct raw_tls raw;
	hands_raw_client(&pair, &raw, &(struct raw_tls_spec){ .tls12 = true });
	hands_pump_raw_client(&pair, &raw);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_TLS_VERSION);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_PROTOCOL_VERSION);
	assert_int_equal(raw_tls_alert(&raw, raw.code), ALERT_PROTOCOL_VERSION);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_server_that_speaks_only_tls12_is_named_so(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	handshake_refuse_plain(pair.server_fd, ALERT_PROTOCOL_VERSION);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_TLS_VERSION);
	assert_string_equal(handshake_failure(pair.client)->detail.text,
	                    "the server sent the alert protocol_version: it does not speak TLS 1.3");
	hands_pair_close(&pair);
}

static void test_a_client_without_a_group_of_ours_is_told(void **state)
{
	(void)state;
	const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_FFDHE2048, 0 };
	struct hands_pair pair;
	struct raw_tls raw;
	hands_raw_client(&pair, &raw, &(struct raw_tls_spec){ .groups = groups });
	hands_pump_raw_client(&pair, &raw);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_TLS_FAILED);
	assert_int_equal(raw_tls_alert(&raw, raw.code), ALERT_HANDSHAKE_FAILURE);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_group_that_needs_a_second_hello_works(void **state)
{
	(void)state;
	const uint16_t groups[] = { MBEDTLS_SSL_IANA_TLS_GROUP_FFDHE2048, MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, 0 };
	struct hands_pair pair;
	struct raw_tls raw;
	hands_raw_client(&pair, &raw, &(struct raw_tls_spec){ .groups = groups, .chain = hands->alice_chain });
	hands_pump_raw_client(&pair, &raw);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_DONE);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_client_that_distrusts_us_is_heard_in_the_clear(void **state)
{
	(void)state;
	struct hands_pair pair;
	struct raw_tls raw;
	hands_raw_client(&pair, &raw, &(struct raw_tls_spec){ .trusts_nobody = true });
	hands_pump_raw_client(&pair, &raw);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_PEER_ALERT);
	assert_int_equal(handshake_failure(pair.server)->alert_received, ALERT_UNKNOWN_CA);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_NONE);
	raw_tls_close(&raw);
	hands_pair_close(&pair);
}

static void test_a_peer_that_never_speaks_closed_before_its_hello(void **state)
{
	(void)state;
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_WANT_READ);
	shutdown(pair.client_fd, SHUT_WR);
	assert_int_equal(handshake_step(pair.server), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.server)->refusal, REFUSAL_CLOSED_BEFORE_HELLO);
	assert_int_equal(handshake_failure(pair.server)->alert_sent, ALERT_NONE);
	hands_pair_close(&pair);
}

static void test_a_server_that_is_no_tls_server_is_quoted(void **state)
{
	(void)state;
	const char greeting[] = "SSH-2.0-OpenSSH_9.2\"\x1b[31m\r\nmore";
	struct hands_pair pair;
	hands_pair_open(&pair, hands->client, hands->server, NULL, NULL);
	assert_true(send(pair.server_fd, greeting, sizeof(greeting) - 1, 0) > 0);
	assert_int_equal(handshake_step(pair.client), HANDSHAKE_FAILED);
	assert_int_equal(handshake_failure(pair.client)->refusal, REFUSAL_NOT_TLS);
	assert_string_equal(handshake_failure(pair.client)->detail.text,
	                    "the server does not speak TLS: it said \"SSH-2.0-OpenSSH_9.2\\\"\\x1b[31m\"");
	hands_pair_close(&pair);
}

static void test_the_library_is_new_enough(void **state)
{
	(void)state;
	assert_int_equal(handshake_library_is_old(), 0);
	assert_int_equal(strncmp(handshake_library_version(), "3.6.", 4), 0);
}

static void test_a_setup_refuses_an_empty_protocol_name(void **state)
{
	(void)state;
	struct handshake_setup *setup = NULL;
	struct ps_cause cause;
	const char *const alpn[] = { "" };
	struct handshake_setup_config config = { .role = TLS_CLIENT, .alpn = alpn, .n_alpn = 1 };
	assert_int_equal(handshake_setup_new(&config, &setup, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "an ALPN name has 1 to 255 bytes, not 0");
	assert_null(setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ends_agree_on_the_secrets),
		cmocka_unit_test(test_rsa_keys_work_at_both_ends),
		cmocka_unit_test(test_a_chain_arrives_with_its_intermediates),
		cmocka_unit_test(test_the_judge_of_a_client_is_called_once_with_the_leaf_first),
		cmocka_unit_test(test_alpn_is_agreed_when_both_name_it),
		cmocka_unit_test(test_a_server_without_alpn_ignores_what_is_offered),
		cmocka_unit_test(test_a_server_with_another_protocol_refuses_by_alert),
		cmocka_unit_test(test_a_server_echoes_a_name_that_is_its_callers_own),
		cmocka_unit_test(test_a_protocol_the_setup_does_not_know_is_an_error),
		cmocka_unit_test(test_a_client_without_a_certificate_does_not_get_through),
		cmocka_unit_test(test_a_client_that_refuses_the_server_never_shows_its_certificate),
		cmocka_unit_test(test_data_flows_both_ways_afterwards),
		cmocka_unit_test(test_the_next_byte_of_the_socket_is_record_zero),
		cmocka_unit_test(test_a_refusal_after_the_handshake_is_read_by_our_client),
		cmocka_unit_test(test_a_refusal_before_the_handshake_is_read_by_our_client),
		cmocka_unit_test(test_every_suite_of_a_client_is_spoken),
		cmocka_unit_test(test_a_client_with_anothers_certificate_is_refused),
		cmocka_unit_test(test_a_server_with_anothers_certificate_is_refused),
		cmocka_unit_test(test_a_server_that_asks_for_no_certificate_is_fine),
		cmocka_unit_test(test_a_client_that_speaks_only_tls12_is_told_the_version),
		cmocka_unit_test(test_a_server_that_speaks_only_tls12_is_named_so),
		cmocka_unit_test(test_a_client_without_a_group_of_ours_is_told),
		cmocka_unit_test(test_a_group_that_needs_a_second_hello_works),
		cmocka_unit_test(test_a_client_that_distrusts_us_is_heard_in_the_clear),
		cmocka_unit_test(test_a_peer_that_never_speaks_closed_before_its_hello),
		cmocka_unit_test(test_a_server_that_is_no_tls_server_is_quoted),
		cmocka_unit_test(test_the_library_is_new_enough),
		cmocka_unit_test(test_a_setup_refuses_an_empty_protocol_name),
	};
	return cmocka_run_group_tests_name("handshake", tests, start, stop);
}
