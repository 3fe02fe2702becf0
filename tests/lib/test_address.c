/* SPDX-License-Identifier: Apache-2.0 */
/* address: what is a place, what is none, and how places are told. */
#include "portseal/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_every_form_is_understood_and_printed(void **state)
{
	(void)state;
	static const struct {
		const char *string, *host;
		uint16_t port;
		const char *printed;
	} rows[] = {
		{ "127.0.0.1:7000", "127.0.0.1", 7000, "127.0.0.1:7000" },
		{ ":8443", "", 8443, ":8443" },
		{ "[::1]:443", "::1", 443, "[::1]:443" },
		{ "[2001:DB8:0:0::1]:65535", "2001:db8::1", 65535, "[2001:db8::1]:65535" },
		{ "[fe80::1%eth0]:1", "fe80::1%eth0", 1, "[fe80::1%eth0]:1" },
		{ "relay.example.com:8443", "relay.example.com", 8443, "relay.example.com:8443" },
		{ "my_host-1:1", "my_host-1", 1, "my_host-1:1" },
		{ "localhost.:1", "localhost.", 1, "localhost.:1" },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address address;
		char out[ADDRESS_TEXT_MAX];
		assert_int_equal(address_parse(rows[i].string, false, &address, NULL), PS_OK);
		assert_int_equal(address.kind, ADDRESS_TCP);
		assert_string_equal(address.host, rows[i].host);
		assert_int_equal(address.port, rows[i].port);
		address_print(&address, out);
		assert_string_equal(out, rows[i].printed);
	}
}

static void test_a_unix_path_is_understood_and_printed_escaped(void **state)
{
	(void)state;
	struct address address;
	char out[ADDRESS_TEXT_MAX];
	assert_int_equal(address_parse("unix:/run/a\nb", false, &address, NULL), PS_OK);
	assert_int_equal(address.kind, ADDRESS_UNIX);
	assert_int_equal(address.port, 0);
	assert_string_equal(address.path, "/run/a\nb");
	address_print(&address, out);
	assert_string_equal(out, "unix:/run/a\\x0ab");
}

static void test_what_is_no_place_is_refused(void **state)
{
	(void)state;
	static const char *const strings[] = {
		"",           ":",         "8443",       "host",        "host:",    "host:http",
		"host:65536", "host:-1",   "host:+1",    "host: 1",     "host:0",   "host:000080",
		"::1:80",     "[::1]",     "[::1:80",    "[]:80",       "[::g]:80", "[127.0.0.1]:80",
		"[::1]x:80",  "[::1%]:80", "[::1% ]:80", "256.1.1.1:1", "10.1:1",   "1.2.3.4.5:1",
		"7000:1",     "a b:1",     ".a:1",       "a..b:1",      "-a:1",     "*:1",
		"tcp://a:1",  "a/b:1",     "a:1\n",      "[:1",         "]:1",      "h\xc3\xb6st:1",
	};
	for (size_t i = 0; i < COUNT(strings); i++) {
		struct address address = { .port = 4242 };
		struct ps_cause cause;
		assert_int_equal(address_parse(strings[i], false, &address, &cause), PS_E_CONFIG);
		assert_int_equal(address.port, 4242);
		assert_non_null(strstr(cause.text, " is not HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH"));
	}
}

static void test_port_zero_is_for_who_asks_for_it(void **state)
{
	(void)state;
	struct address address;
	assert_int_equal(address_parse("127.0.0.1:0", true, &address, NULL), PS_OK);
	assert_int_equal(address.port, 0);
	assert_int_equal(address_parse("127.0.0.1:0", false, &address, NULL), PS_E_CONFIG);
}

static void test_a_host_of_any_length_is_bounded(void **state)
{
	(void)state;
	char string[ADDRESS_HOST_MAX + 8];
	struct address address;
	for (size_t len = ADDRESS_HOST_MAX - 1; len <= ADDRESS_HOST_MAX; len++) {
		memset(string, 'a', len);
		memcpy(string + len, ":1", 3);
		assert_int_equal(address_parse(string, false, &address, NULL), len < ADDRESS_HOST_MAX ? PS_OK : PS_E_CONFIG);
	}
}

static void test_a_unix_path_is_bounded_and_needed(void **state)
{
	(void)state;
	struct address address;
	struct ps_cause cause;
	assert_int_equal(address_parse("unix:", false, &address, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"unix:\" lacks the path of a socket");
	char string[128] = "unix:";
	memset(string + 5, 'a', 107);
	string[5 + 107] = '\0';
	assert_int_equal(address_parse(string, false, &address, &cause), PS_OK);
	assert_int_equal(strlen(address.path), 107);
	string[5 + 107] = 'a';
	string[5 + 108] = '\0';
	assert_int_equal(address_parse(string, false, &address, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "is too long: the system takes 107 bytes"));
}

static void test_targets_are_understood(void **state)
{
	(void)state;
	struct address address;
	assert_int_equal(address_parse_target("tcp://127.0.0.1:7000", &address, NULL), PS_OK);
	assert_string_equal(address.host, "127.0.0.1");
	assert_int_equal(address.port, 7000);
	assert_int_equal(address_parse_target("tcp://[::1]:7000", &address, NULL), PS_OK);
	assert_string_equal(address.host, "::1");
	assert_int_equal(address_parse_target("unix:/run/app", &address, NULL), PS_OK);
	assert_int_equal(address.kind, ADDRESS_UNIX);
	assert_string_equal(address.path, "/run/app");
}

static void test_what_is_no_target_is_told_the_forms(void **state)
{
	(void)state;
	static const char *const strings[] = {
		"tpc://127.0.0.1:7000", "127.0.0.1:7000", "tcp://:7000", "tcp://a:0", "tcp://a", "", "tcp://", "TCP://a:1"
	};
	struct address address;
	struct ps_cause cause;
	for (size_t i = 0; i < COUNT(strings); i++) {
		assert_int_equal(address_parse_target(strings[i], &address, &cause), PS_E_CONFIG);
		assert_non_null(strstr(cause.text, " is not tcp://HOST:PORT, unix:PATH or udp://HOST:PORT"));
	}
	assert_int_equal(address_parse_target("tpc://127.0.0.1:7000", &address, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"tpc://127.0.0.1:7000\" is not tcp://HOST:PORT, unix:PATH or udp://HOST:PORT");
	assert_int_equal(address_parse_target("unix:", &address, &cause), PS_E_CONFIG);
}

static void test_a_udp_target_is_told_to_wait(void **state)
{
	(void)state;
	struct address address;
	struct ps_cause cause;
	assert_int_equal(address_parse_target("udp://127.0.0.1:53", &address, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "\"udp://127.0.0.1:53\": UDP targets are not served yet");
}

static void test_loopback_is_recognised_and_nothing_else(void **state)
{
	(void)state;
	static const struct {
		const char *string;
		bool loopback;
	} rows[] = {
		{ "127.0.0.1:1", true },
		{ "127.255.0.9:1", true },
		{ "[::1]:1", true },
		{ "localhost:1", true },
		{ "LocalHost:1", true },
		{ "[::ffff:127.0.0.1]:1", true },
		{ "unix:/run/a", true },
		{ ":1", false },
		{ "0.0.0.0:1", false },
		{ "[::]:1", false },
		{ "128.0.0.1:1", false },
		{ "192.0.2.1:1", false },
		{ "[2001:db8::1]:1", false },
		{ "[::ffff:192.0.2.1]:1", false },
		{ "localhost.example.com:1", false },
		{ "127.0.0.1.example.com:1", false },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address address;
		assert_int_equal(address_parse(rows[i].string, false, &address, NULL), PS_OK);
		assert_int_equal(address_is_loopback(&address), rows[i].loopback);
	}
}

static void test_peers_are_told_as_ip_and_port(void **state)
{
	(void)state;
	char out[ADDRESS_TEXT_MAX];
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(51123) };
	assert_int_equal(inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr), 1);
	address_text((struct sockaddr *)&v4, sizeof(v4), out);
	assert_string_equal(out, "192.0.2.7:51123");

	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(443) };
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr), 1);
	address_text((struct sockaddr *)&v6, sizeof(v6), out);
	assert_string_equal(out, "[2001:db8::1]:443");
	v6.sin6_scope_id = 3;
	address_text((struct sockaddr *)&v6, sizeof(v6), out);
	assert_string_equal(out, "[2001:db8::1%3]:443");
	v6.sin6_scope_id = 0;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.7", &v6.sin6_addr), 1);
	address_text((struct sockaddr *)&v6, sizeof(v6), out);
	assert_string_equal(out, "192.0.2.7:443");
}

static void test_unix_peers_are_told_escaped(void **state)
{
	(void)state;
	char out[ADDRESS_TEXT_MAX];
	const socklen_t offset = offsetof(struct sockaddr_un, sun_path);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	address_text((struct sockaddr *)&un, offset, out);
	assert_string_equal(out, "unix:");

	memcpy(un.sun_path, "/run/a\n", 8);
	address_text((struct sockaddr *)&un, offset + 8, out);
	assert_string_equal(out, "unix:/run/a\\x0a");

	memcpy(un.sun_path, "\0x\0y", 4);
	address_text((struct sockaddr *)&un, offset + 4, out);
	assert_string_equal(out, "unix:@x\\x00y");

	memset(un.sun_path, 'p', sizeof(un.sun_path)); /* a path without a NUL is allowed to fill it */
	address_text((struct sockaddr *)&un, sizeof(un), out);
	assert_int_equal(strlen(out), 5 + sizeof(un.sun_path));
}

static void test_a_truncated_or_foreign_address_is_unknown(void **state)
{
	(void)state;
	char out[ADDRESS_TEXT_MAX];
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	address_text((struct sockaddr *)&v4, sizeof(v4) - 1, out);
	assert_string_equal(out, "unknown");
	address_text((struct sockaddr *)&v4, 0, out);
	assert_string_equal(out, "unknown");
	v4.sin_family = AF_UNSPEC;
	address_text((struct sockaddr *)&v4, sizeof(v4), out);
	assert_string_equal(out, "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_form_is_understood_and_printed),
		cmocka_unit_test(test_a_unix_path_is_understood_and_printed_escaped),
		cmocka_unit_test(test_what_is_no_place_is_refused),
		cmocka_unit_test(test_port_zero_is_for_who_asks_for_it),
		cmocka_unit_test(test_a_host_of_any_length_is_bounded),
		cmocka_unit_test(test_a_unix_path_is_bounded_and_needed),
		cmocka_unit_test(test_targets_are_understood),
		cmocka_unit_test(test_what_is_no_target_is_told_the_forms),
		cmocka_unit_test(test_a_udp_target_is_told_to_wait),
		cmocka_unit_test(test_loopback_is_recognised_and_nothing_else),
		cmocka_unit_test(test_peers_are_told_as_ip_and_port),
		cmocka_unit_test(test_unix_peers_are_told_escaped),
		cmocka_unit_test(test_a_truncated_or_foreign_address_is_unknown),
	};
	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
