/* SPDX-License-Identifier: Apache-2.0 */
/* client_hello: real hellos (the corpus of the fuzz target) are read; nothing hostile is believed. */
#include "portseal/client_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CORPUS "tests/fuzz/corpus/client_hello/"

/* A hello built byte by byte; the lengths of record, message and extensions are set by seal(). */
struct hello_bytes {
	uint8_t at[CLIENT_HELLO_PEEK_MAX];
	size_t len;
};

static void read_corpus(const char *name, struct hello_bytes *bytes)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), CORPUS "%s", name);
	file = fopen(path, "rb");
	assert_non_null(file);
	bytes->len = fread(bytes->at, 1, sizeof(bytes->at), file);
	(void)fclose(file);
	assert_true(bytes->len > 0);
}

static void add(struct hello_bytes *bytes, const void *more, size_t len)
{
	assert_true(bytes->len + len <= sizeof(bytes->at));
	memcpy(bytes->at + bytes->len, more, len);
	bytes->len += len;
}

#define ADD(bytes_, literal_) add(bytes_, literal_, sizeof(literal_) - 1)

static void put(uint8_t *at, size_t n_bytes, size_t number)
{
	while (n_bytes > 0) {
		at[--n_bytes] = (uint8_t)number;
		number >>= 8;
	}
}

#define EXTENSIONS_AT 50 /* where begin() leaves room for their length */

static void begin(struct hello_bytes *bytes)
{
	const uint8_t random[32] = { 1 };

	bytes->len = 0;
	ADD(bytes, "\x16\x03\x01\0\0\x01\0\0\0\x03\x03");
	add(bytes, random, sizeof(random));
	ADD(bytes, "\0\0\x02\x13\x01\x01\0\0\0");
	assert_int_equal(bytes->len, EXTENSIONS_AT + 2);
}

static enum client_hello_look look(struct hello_bytes *bytes, struct client_hello *hello)
{
	put(bytes->at + 3, 2, bytes->len - 5);
	put(bytes->at + 6, 3, bytes->len - 9);
	put(bytes->at + EXTENSIONS_AT, 2, bytes->len - EXTENSIONS_AT - 2);
	return client_hello_look(bytes->at, bytes->len, hello);
}

static void add_extension(struct hello_bytes *bytes, unsigned int type, const void *body, size_t len)
{
	uint8_t header[4];

	put(header, 2, type);
	put(header + 2, 2, len);
	add(bytes, header, sizeof(header));
	add(bytes, body, len);
}

#define EXTENSION(bytes_, type_, literal_) add_extension(bytes_, type_, literal_, sizeof(literal_) - 1)

static void add_server_name(struct hello_bytes *bytes, const void *name, size_t len)
{
	uint8_t body[512];

	put(body, 2, len + 3);
	body[2] = 0;
	put(body + 3, 2, len);
	memcpy(body + 5, name, len);
	add_extension(bytes, 0, body, len + 5);
}

static void assert_alpn(const struct client_hello *hello, size_t i, const char *name)
{
	assert_true(i < hello->n_alpn);
	assert_int_equal(hello->alpn[i].len, strlen(name));
	assert_memory_equal(hello->alpn[i].bytes, name, strlen(name));
}

static void test_openssl_is_read(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	read_corpus("openssl", &bytes);
	assert_int_equal(client_hello_look(bytes.at, bytes.len, &hello), CLIENT_HELLO_WHOLE);
	assert_true(hello.offers_tls13);
	assert_string_equal(hello.server_name, "billing.example.com");
	assert_int_equal(hello.server_name_len, 19);
	assert_int_equal(hello.n_alpn, 2);
	assert_alpn(&hello, 0, "h2");
	assert_alpn(&hello, 1, "portseal/billing");
}

static void test_openssl_with_tls12_only_is_read(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	read_corpus("openssl12", &bytes);
	assert_int_equal(client_hello_look(bytes.at, bytes.len, &hello), CLIENT_HELLO_WHOLE);
	assert_false(hello.offers_tls13);
	assert_string_equal(hello.server_name, "");
	assert_false(hello.server_name_malformed);
	assert_int_equal(hello.n_alpn, 0);
}

static void test_gnutls_is_read(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	read_corpus("gnutls", &bytes);
	assert_int_equal(client_hello_look(bytes.at, bytes.len, &hello), CLIENT_HELLO_WHOLE);
	assert_true(hello.offers_tls13);
	assert_string_equal(hello.server_name, "billing.example.com");
	assert_int_equal(hello.n_alpn, 1);
	assert_alpn(&hello, 0, "postgresql");
}

static void test_curl_is_read(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	read_corpus("curl", &bytes);
	assert_int_equal(client_hello_look(bytes.at, bytes.len, &hello), CLIENT_HELLO_WHOLE);
	assert_true(hello.offers_tls13);
	assert_string_equal(hello.server_name, "relay.example.com");
	assert_alpn(&hello, 0, "h2");
	assert_alpn(&hello, 1, "http/1.1");
}

static void test_python_is_read(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	read_corpus("python", &bytes);
	assert_int_equal(client_hello_look(bytes.at, bytes.len, &hello), CLIENT_HELLO_WHOLE);
	assert_true(hello.offers_tls13);
	assert_string_equal(hello.server_name, "relay.example.com");
	assert_int_equal(hello.n_alpn, 0);
}

static const char *const whole[] = { "openssl", "openssl12", "gnutls", "curl", "python" };
#define N_WHOLE (sizeof(whole) / sizeof(whole[0]))

static void test_every_truncation_asks_for_the_rest(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_WHOLE; i++) {
		struct hello_bytes bytes;
		read_corpus(whole[i], &bytes);
		for (size_t len = 0; len < bytes.len; len++) {
			struct client_hello hello;
			uint8_t *exact = malloc(len + 1);
			assert_non_null(exact);
			memcpy(exact + 1, bytes.at, len); /* the end is the end of the block */
			assert_int_equal(client_hello_look(exact + 1, len, &hello), CLIENT_HELLO_PARTIAL);
			assert_int_equal(hello.need, len < 5 ? 5 : bytes.len);
			free(exact);
		}
	}
}

static void test_bytes_behind_the_hello_change_nothing(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	read_corpus("openssl", &bytes);
	ADD(&bytes, "\x14\x03\x03\0\x01\x01");
	assert_int_equal(client_hello_look(bytes.at, bytes.len, &hello), CLIENT_HELLO_WHOLE);
	assert_string_equal(hello.server_name, "billing.example.com");
}

/* Goal: no flipped byte is read past the end (under the sanitizers) or believed to be something impossible. */
static void test_no_flipped_byte_does_harm(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_WHOLE; i++) {
		struct hello_bytes bytes;
		read_corpus(whole[i], &bytes);
		for (size_t at = 0; at < bytes.len; at++) {
			struct client_hello hello;
			uint8_t *exact = malloc(bytes.len);
			assert_non_null(exact);
			memcpy(exact, bytes.at, bytes.len);
			for (int bit = 0; bit < 9; bit++) {
				exact[at] = (uint8_t)(bit == 8 ? 0xff : bytes.at[at] ^ 1 << bit);
				(void)client_hello_look(exact, bytes.len, &hello);
				assert_int_equal(strlen(hello.server_name), hello.server_name_len);
				assert_true(hello.n_alpn <= CLIENT_HELLO_ALPN_MAX);
			}
			free(exact);
		}
	}
}

static enum client_hello_look look_at(const char *text)
{
	struct client_hello hello;

	return client_hello_look((const uint8_t *)text, strlen(text), &hello);
}

static void test_http_is_recognised(void **state)
{
	(void)state;
	assert_int_equal(look_at("GET / HTTP/1.1\r\n"), CLIENT_HELLO_HTTP);
	assert_int_equal(look_at("GET "), CLIENT_HELLO_HTTP);
	assert_int_equal(look_at("PRI * HTTP/2.0\r\n"), CLIENT_HELLO_HTTP);
	assert_int_equal(look_at("OPTIONS *"), CLIENT_HELLO_HTTP);
	assert_int_equal(look_at("CONNECT a:1 HTTP/1.1"), CLIENT_HELLO_HTTP);
	assert_int_equal(look_at("GETTY"), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(look_at("get / "), CLIENT_HELLO_NOT_TLS);
}

static void test_the_beginning_of_a_method_waits_for_one_more_byte(void **state)
{
	(void)state;
	struct client_hello hello;
	assert_int_equal(client_hello_look((const uint8_t *)"PU", 2, &hello), CLIENT_HELLO_PARTIAL);
	assert_int_equal(hello.need, 3);
	assert_int_equal(client_hello_look((const uint8_t *)"OPTION", 6, &hello), CLIENT_HELLO_PARTIAL);
	assert_int_equal(hello.need, 7);
}

static void test_other_protocols_are_not_tls(void **state)
{
	(void)state;
	assert_int_equal(look_at("SSH-2.0-OpenSSH_9.2\r\n"), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(look_at("S"), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(look_at("\x16\x02"), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(look_at("\x16\x03\x05"), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(look_at("\x80\x2e\x01\x03\x01"), CLIENT_HELLO_NOT_TLS); /* the hello of SSL 2.0 */
}

static void test_a_record_length_out_of_range_is_not_tls(void **state)
{
	(void)state;
	struct client_hello hello;
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x00\x00", 5, &hello), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x40\x01", 5, &hello), CLIENT_HELLO_NOT_TLS);
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x40\x00", 5, &hello), CLIENT_HELLO_PARTIAL);
	assert_int_equal(hello.need, CLIENT_HELLO_PEEK_MAX);
}

static void test_what_mbedtls_must_judge_gives_no_hint(void **state)
{
	(void)state;
	struct client_hello hello;
	/* a fragment of a hello, another message, a record that ends before or after its message */
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x00\x03\x01", 6, &hello), CLIENT_HELLO_NO_HINT);
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x01\x00\x02", 6, &hello), CLIENT_HELLO_NO_HINT);
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x01\x00\x01\0\0\xfd", 9, &hello),
	                 CLIENT_HELLO_NO_HINT);
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x01\x00\x01\0\0\xfb", 9, &hello),
	                 CLIENT_HELLO_NO_HINT);
	assert_int_equal(client_hello_look((const uint8_t *)"\x16\x03\x01\x01\x00\x01\0\0\xfc", 9, &hello),
	                 CLIENT_HELLO_PARTIAL);
}

static void test_grease_is_tolerated(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	begin(&bytes);
	EXTENSION(&bytes, 0x0a0a, "");
	EXTENSION(&bytes, 43, "\x06\x1a\x1a\x03\x04\x03\x03");
	EXTENSION(&bytes, 16, "\0\x06\x02\x2a\x2a\x02h2");
	EXTENSION(&bytes, 0x3a3a, "\0");
	assert_int_equal(look(&bytes, &hello), CLIENT_HELLO_WHOLE);
	assert_true(hello.offers_tls13);
	assert_alpn(&hello, 0, "**");
	assert_alpn(&hello, 1, "h2");
}

static void test_only_the_first_protocols_are_kept(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	begin(&bytes);
	EXTENSION(&bytes, 16,
	          "\0\x24\x01"
	          "a\x01"
	          "b\x01"
	          "c\x01"
	          "d\x01"
	          "e\x01"
	          "f\x01"
	          "g\x01"
	          "h\x01"
	          "i\x01"
	          "j\x01"
	          "k\x01"
	          "l\x01"
	          "m\x01"
	          "n\x01"
	          "o\x01"
	          "p\x01"
	          "q\x01"
	          "r");
	assert_int_equal(look(&bytes, &hello), CLIENT_HELLO_WHOLE);
	assert_int_equal(hello.n_alpn, CLIENT_HELLO_ALPN_MAX);
	assert_alpn(&hello, CLIENT_HELLO_ALPN_MAX - 1, "p");
}

static void assert_name(const void *name, size_t len, const char *wanted, bool malformed)
{
	struct hello_bytes bytes;
	struct client_hello hello;

	begin(&bytes);
	add_server_name(&bytes, name, len);
	assert_int_equal(look(&bytes, &hello), CLIENT_HELLO_WHOLE);
	assert_string_equal(hello.server_name, wanted);
	assert_int_equal(hello.server_name_malformed, malformed);
}

static void test_a_name_is_lower_case_or_malformed(void **state)
{
	(void)state;
	char longest[256];
	memset(longest, 'a', sizeof(longest));
	assert_name("Relay_1.Example-A.COM", 21, "relay_1.example-a.com", false);
	assert_name("a\0b", 3, "", true);
	assert_name("a b", 3, "", true);
	assert_name("\x1b[31m", 5, "", true);
	assert_name("m\xc3\xbcller.de", 10, "", true);
	assert_name(longest, 256, "", true);
	longest[255] = 0;
	assert_name(longest, 255, longest, false);
}

#define NO_HINT_FOR(type_, literal_) \
	do { \
		struct hello_bytes bytes_; \
		struct client_hello hello_; \
		begin(&bytes_); \
		EXTENSION(&bytes_, type_, literal_); \
		assert_int_equal(look(&bytes_, &hello_), CLIENT_HELLO_NO_HINT); \
		assert_int_equal(hello_.n_alpn, 0); \
		assert_string_equal(hello_.server_name, ""); \
	} while (0)

static void test_inconsistent_extensions_give_no_hint(void **state)
{
	(void)state;
	NO_HINT_FOR(0, "");     /* empty */
	NO_HINT_FOR(0, "\0\0"); /* an empty list */
	NO_HINT_FOR(0, "\0\x05\0\0\x01"
	               "a"); /* the list is longer than the extension */
	NO_HINT_FOR(0, "\0\x03\0\0\x01"
	               "a"); /* and shorter */
	NO_HINT_FOR(0, "\0\x08\0\0\x01"
	               "a\0\0\x01"
	               "b"); /* two host names */
	NO_HINT_FOR(0, "\0\x04\0\0\x02"
	               "a");                 /* the name is longer than the list */
	NO_HINT_FOR(16, "\0\x01\0");         /* an empty protocol name */
	NO_HINT_FOR(16, "\0\x04\x02h2\x05"); /* one that is not there */
	NO_HINT_FOR(16, "\0\x03\x02h2\0");   /* a byte too many */
	NO_HINT_FOR(43, "");                 /* no versions */
	NO_HINT_FOR(43, "\x03\x03\x04\x03"); /* one and a half */
	NO_HINT_FOR(43, "\x02\x03\x04\0");   /* a byte too many */
}

static void test_an_extension_sent_twice_gives_no_hint(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	begin(&bytes);
	EXTENSION(&bytes, 43, "\x02\x03\x04");
	EXTENSION(&bytes, 43, "\x02\x03\x04");
	assert_int_equal(look(&bytes, &hello), CLIENT_HELLO_NO_HINT);
	assert_false(hello.offers_tls13);
}

static void test_more_extensions_than_any_client_sends_give_no_hint(void **state)
{
	(void)state;
	struct hello_bytes bytes;
	struct client_hello hello;
	begin(&bytes);
	for (unsigned int type = 1000; type < 1064; type++)
		EXTENSION(&bytes, type, "");
	assert_int_equal(look(&bytes, &hello), CLIENT_HELLO_WHOLE);
	EXTENSION(&bytes, 1064, "");
	assert_int_equal(look(&bytes, &hello), CLIENT_HELLO_NO_HINT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_openssl_is_read),
		cmocka_unit_test(test_openssl_with_tls12_only_is_read),
		cmocka_unit_test(test_gnutls_is_read),
		cmocka_unit_test(test_curl_is_read),
		cmocka_unit_test(test_python_is_read),
		cmocka_unit_test(test_every_truncation_asks_for_the_rest),
		cmocka_unit_test(test_bytes_behind_the_hello_change_nothing),
		cmocka_unit_test(test_no_flipped_byte_does_harm),
		cmocka_unit_test(test_http_is_recognised),
		cmocka_unit_test(test_the_beginning_of_a_method_waits_for_one_more_byte),
		cmocka_unit_test(test_other_protocols_are_not_tls),
		cmocka_unit_test(test_a_record_length_out_of_range_is_not_tls),
		cmocka_unit_test(test_what_mbedtls_must_judge_gives_no_hint),
		cmocka_unit_test(test_grease_is_tolerated),
		cmocka_unit_test(test_only_the_first_protocols_are_kept),
		cmocka_unit_test(test_a_name_is_lower_case_or_malformed),
		cmocka_unit_test(test_inconsistent_extensions_give_no_hint),
		cmocka_unit_test(test_an_extension_sent_twice_gives_no_hint),
		cmocka_unit_test(test_more_extensions_than_any_client_sends_give_no_hint),
	};
	return cmocka_run_group_tests_name("client_hello", tests, NULL, NULL);
}
