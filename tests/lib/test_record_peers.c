/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our records against those of OpenSSL and GnuTLS, each as client and as server.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "each_aead.h"
#include "foreign_peer.h"
#include "mint.h"
#include "tls/tls_stream_private.h"

#define BULK (512 * 1024)
#define BULK_PART (64 * 1024)

static const uint16_t all_suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384,
	                                   SUITE_CHACHA20_POLY1305_SHA256 };

#define N_SUITES (sizeof(all_suites) / sizeof(all_suites[0]))
#define SUITE SUITE_AES_256_GCM_SHA384

static const char *const openssl_client[] = { "openssl", "s_client", "-connect", "%ADDRESS%", NULL };
static const char *const openssl_server[] = { "openssl", "s_server", "-accept", "%ADDRESS%", "-cert",
	                                          "%CERT%",  "-key",     "%KEY%",   NULL };
static const char *const gnutls_client[] = { "gnutls-cli", "--insecure", "--inline-commands", "-p", "%PORT%",
	                                         "127.0.0.1",  NULL };
static const char *const gnutls_server[] = { "gnutls-serv", "--echo",        "-p",    "%PORT%", "--x509certfile",
	                                         "%CERT%",      "--x509keyfile", "%KEY%", NULL };

static void skip_without(const char *program)
{
	if (!foreign_peer_exists(program))
		skip();
}

static void type(struct foreign_peer *peer, const char *line)
{
	foreign_peer_type(peer, line, strlen(line));
}

static void send_line(struct foreign_peer *peer, const char *line)
{
	assert_int_equal(tls_stream_seal(peer->stream, (const uint8_t *)line, strlen(line), &peer->wire_out), PS_OK);
}

static void await_output(struct foreign_peer *peer, const char *text)
{
	foreign_peer_await_output(peer, text, strlen(text));
}

/* The peer sends a line of this text, behind all it sent before. */
static void peer_sends(struct foreign_peer *peer, const char *line)
{
	size_t before = buf_len(&peer->payload);

	type(peer, line);
	foreign_peer_await_payload(peer, before + strlen(line));
	assert_memory_equal(buf_front(&peer->payload) + before, line, strlen(line));
}

/* Digits in lines: no peer takes them for a command. */
static uint8_t *bulk_new(void)
{
	uint8_t *bulk = malloc(BULK);

	assert_non_null(bulk);
	uint32_t random = 1;
	for (size_t i = 0; i < BULK; i++) {
		random = random * 1664525 + 1013904223;
		bulk[i] = i % 64 == 63 ? '\n' : (uint8_t)('0' + (random >> 16) % 10);
	}
	return bulk;
}

/* Much in both directions at once, our key updated on the way, every other time with a request. */
static void exchange_bulk(struct foreign_peer *peer)
{
	uint8_t *bulk = bulk_new();

	foreign_peer_type(peer, bulk, BULK);
	for (size_t at = 0; at < BULK; at += BULK_PART) {
		assert_int_equal(tls_stream_seal(peer->stream, bulk + at, BULK_PART, &peer->wire_out), PS_OK);
		assert_int_equal(tls_stream_update_key(peer->stream, at / BULK_PART % 2 == 0, &peer->wire_out), PS_OK);
		foreign_peer_await_sent(peer);
	}
	foreign_peer_await_payload(peer, BULK);
	assert_int_equal(buf_len(&peer->payload), BULK);
	assert_memory_equal(buf_front(&peer->payload), bulk, BULK);
	foreign_peer_await_output(peer, bulk, BULK);
	free(bulk);
}

static void test_bulk_with_an_openssl_client(void **state)
{
	(void)state;
	skip_without("openssl");
	for (size_t i = 0; i < N_SUITES; i++) {
		struct foreign_peer *peer = foreign_peer_client(openssl_client, all_suites[i]);
		exchange_bulk(peer);
		foreign_peer_free(peer);
	}
}

static void test_bulk_with_an_openssl_server_and_its_tickets(void **state)
{
	(void)state;
	skip_without("openssl");
	for (size_t i = 0; i < N_SUITES; i++) {
		struct foreign_peer *peer = foreign_peer_server(openssl_server, "ACCEPT", all_suites[i]);
		peer_sends(peer, "0\n");
		assert_int_equal(peer->stream->open.sequence, 3); /* two tickets went before */
		buf_reset(&peer->payload);
		exchange_bulk(peer);
		foreign_peer_free(peer);
	}
}

static void test_bulk_with_a_gnutls_client(void **state)
{
	(void)state;
	skip_without("gnutls-cli");
	for (size_t i = 0; i < N_SUITES; i++) {
		struct foreign_peer *peer = foreign_peer_client(gnutls_client, all_suites[i]);
		exchange_bulk(peer);
		foreign_peer_free(peer);
	}
}

static void test_a_gnutls_server_echoes_through_key_updates(void **state)
{
	(void)state;
	skip_without("gnutls-serv");
	for (size_t i = 0; i < N_SUITES; i++) {
		struct foreign_peer *peer = foreign_peer_server(gnutls_server, "done", all_suites[i]);
		for (size_t n = 1; n <= 20; n++) {
			send_line(peer, "0123456789\n");
			foreign_peer_await_payload(peer, 11 * n);
			assert_memory_equal(buf_front(&peer->payload) + 11 * (n - 1), "0123456789\n", 11);
			if (n % 4 == 0) /* GnuTLS takes eight updates a second */
				assert_int_equal(tls_stream_update_key(peer->stream, n % 8 == 0, &peer->wire_out), PS_OK);
		}
		foreign_peer_free(peer);
	}
}

enum asks { ASKS_NOTHING, ASKS_US };

/* The peer updated its key in between: its data is read, and ours is under a new key if it asked for one. */
static void finish_update(struct foreign_peer *peer, const uint8_t *old_seal_secret, enum asks asks)
{
	peer_sends(peer, "1 after\n");
	send_line(peer, "2 answer\n");
	await_output(peer, "2 answer\n");
	bool updated = memcmp(peer->stream->seal.secret, old_seal_secret, SUITE_HASH_MAX) != 0;
	assert_int_equal(updated, asks == ASKS_US);
	foreign_peer_free(peer);
}

/* A client says when it took the command; its KeyUpdate goes out with the next data. */
static void client_updates_key(struct foreign_peer *peer, const char *command, const char *taken, enum asks asks)
{
	const struct record_key seal = peer->stream->seal, open = peer->stream->open;

	peer_sends(peer, "0 before\n");
	type(peer, command);
	await_output(peer, taken);
	peer_sends(peer, "3 under the new key\n");
	assert_memory_not_equal(peer->stream->open.secret, open.secret, SUITE_HASH_MAX);
	finish_update(peer, seal.secret, asks);
}

/* A server sends its KeyUpdate at once. */
static void server_updates_key(struct foreign_peer *peer, const char *command, enum asks asks)
{
	const struct record_key seal = peer->stream->seal;

	peer_sends(peer, "0 before\n");
	type(peer, command);
	foreign_peer_await_key_update(peer);
	finish_update(peer, seal.secret, asks);
}

static void test_an_openssl_client_updates_its_key(void **state)
{
	(void)state;
	skip_without("openssl");
	client_updates_key(foreign_peer_client(openssl_client, SUITE), "k\n", "KEYUPDATE", ASKS_NOTHING);
	client_updates_key(foreign_peer_client(openssl_client, SUITE), "K\n", "KEYUPDATE", ASKS_US);
}

static void test_an_openssl_server_updates_its_key(void **state)
{
	(void)state;
	skip_without("openssl");
	server_updates_key(foreign_peer_server(openssl_server, "ACCEPT", SUITE), "k\n", ASKS_NOTHING);
	server_updates_key(foreign_peer_server(openssl_server, "ACCEPT", SUITE), "K\n", ASKS_US);
}

static void test_a_gnutls_client_updates_its_key(void **state)
{
	(void)state;
	skip_without("gnutls-cli");
	client_updates_key(foreign_peer_client(gnutls_client, SUITE), "^rekey^\n", "Rekey was completed", ASKS_US);
}

static void test_an_openssl_client_closes_and_reads_our_close_notify(void **state)
{
	struct foreign_peer *peer;

	(void)state;
	skip_without("openssl");
	peer = foreign_peer_client(openssl_client, SUITE);
	peer_sends(peer, "0\n");
	foreign_peer_type_end(peer);
	foreign_peer_await_end(peer);
	assert_int_equal(peer->end, PS_E_CLOSED);
	foreign_peer_free(peer);

	peer = foreign_peer_client(openssl_client, SUITE);
	send_line(peer, "0 last words\n");
	assert_int_equal(tls_stream_close(peer->stream, &peer->wire_out), PS_OK);
	await_output(peer, "0 last words\nclosed");
	foreign_peer_await_end(peer);
	assert_int_equal(peer->end, PS_E_CLOSED);
	foreign_peer_free(peer);
}

static void test_an_openssl_server_answers_our_close_notify(void **state)
{
	struct foreign_peer *peer;

	(void)state;
	skip_without("openssl");
	peer = foreign_peer_server(openssl_server, "ACCEPT", SUITE);
	peer_sends(peer, "0\n");
	assert_int_equal(tls_stream_close(peer->stream, &peer->wire_out), PS_OK);
	await_output(peer, "DONE");
	foreign_peer_await_end(peer);
	assert_int_equal(peer->end, PS_E_CLOSED);
	foreign_peer_free(peer);
}

/* gnutls-cli ends two seconds after its own end, whoever was not given the processor meanwhile: false. */
static bool a_gnutls_client_reads_after_its_end(void)
{
	static const char line[] = "1 after its end\n";
	struct foreign_peer *peer = foreign_peer_client(gnutls_client, SUITE);

	peer_sends(peer, "0\n");
	foreign_peer_type_end(peer);
	foreign_peer_await_end(peer);
	assert_int_equal(peer->end, PS_E_CLOSED);
	send_line(peer, line);
	const bool read = foreign_peer_says(peer, line, strlen(line));
	foreign_peer_free(peer);
	return read;
}

static void test_a_gnutls_client_closes_its_half_only(void **state)
{
	bool read = false;

	(void)state;
	skip_without("gnutls-cli");
	for (int i = 0; i < 5 && !read; i++)
		read = a_gnutls_client_reads_after_its_end();
	assert_true(read);
}

static void test_our_refusal_is_read_by_name(void **state)
{
	struct foreign_peer *peer;

	(void)state;
	skip_without("openssl");
	peer = foreign_peer_client(openssl_client, SUITE);
	assert_int_equal(tls_stream_fail(peer->stream, ALERT_ACCESS_DENIED, &peer->wire_out), PS_OK);
	await_output(peer, "alert access denied");
	foreign_peer_free(peer);

	skip_without("gnutls-cli");
	peer = foreign_peer_client(gnutls_client, SUITE);
	assert_int_equal(tls_stream_fail(peer->stream, ALERT_ACCESS_DENIED, &peer->wire_out), PS_OK);
	await_output(peer, "Access was denied");
	foreign_peer_free(peer);
}

static void test_a_forged_record_of_ours_is_answered_with_bad_record_mac(void **state)
{
	struct foreign_peer *peer;

	(void)state;
	skip_without("openssl");
	peer = foreign_peer_client(openssl_client, SUITE);
	send_line(peer, "0\n");
	peer->wire_out.data[peer->wire_out.end - 1] ^= 1;
	foreign_peer_await_end(peer);
	assert_int_equal(peer->end, PS_E_IO);
	assert_int_equal(tls_stream_peer_alert(peer->stream), ALERT_BAD_RECORD_MAC);
	foreign_peer_free(peer);
}

static int free_certificates(void **state)
{
	(void)state;
	mint_free_all();
	return 0;
}

static int run_group(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bulk_with_an_openssl_client),
		cmocka_unit_test(test_bulk_with_an_openssl_server_and_its_tickets),
		cmocka_unit_test(test_bulk_with_a_gnutls_client),
		cmocka_unit_test(test_a_gnutls_server_echoes_through_key_updates),
		cmocka_unit_test(test_an_openssl_client_updates_its_key),
		cmocka_unit_test(test_an_openssl_server_updates_its_key),
		cmocka_unit_test(test_a_gnutls_client_updates_its_key),
		cmocka_unit_test(test_an_openssl_client_closes_and_reads_our_close_notify),
		cmocka_unit_test(test_an_openssl_server_answers_our_close_notify),
		cmocka_unit_test(test_a_gnutls_client_closes_its_half_only),
		cmocka_unit_test(test_our_refusal_is_read_by_name),
		cmocka_unit_test(test_a_forged_record_of_ours_is_answered_with_bad_record_mac),
	};

	return cmocka_run_group_tests_name("record_peers", tests, NULL, free_certificates);
}

int main(void)
{
	return with_each_aead(run_group);
}
