/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct names names;
static struct ps_cause cause;

static int start_empty(void **state)
{
	(void)state;
	memset(&names, 0, sizeof(names));
	memset(&cause, 0, sizeof(cause));
	return 0;
}

typedef enum ps_err (*setter)(struct names *names, const char *text, struct ps_cause *cause);

static void all_accepted(setter set, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (set(&names, texts[i], &cause) != PS_OK)
			fail_msg("\"%s\" was refused: %s", texts[i], cause.text);
	}
}

static void all_refused(setter set, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (set(&names, texts[i], &cause) != PS_E_CONFIG)
			fail_msg("\"%s\" was accepted", texts[i]);
		assert_null(strpbrk(cause.text, "\n\033"));
	}
	assert_int_equal(names.n_sans, 0);
	assert_string_equal(names.cn, "");
}

#define LETTERS_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LETTERS_65 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com"

static void test_a_name_that_is_readable_text_is_accepted(void **state)
{
	(void)state;
	static const char *const texts[] = { "alice",    "a",          "x.crt",        "two words", "a,b+c\"d\\e<f>;g=h",
		                                 "#1",       "Zo\xc3\xab", "\xe6\x97\xa5", "ca2",       "index",
		                                 LETTERS_64, "a.." };
	all_accepted(names_set_cn, texts, COUNT(texts));
}

static void test_a_name_that_no_file_could_have_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "/", "a/b", "../a", ".", "..", ".hidden", "-rf", "ca", "CA", "Ca" };
	all_refused(names_set_cn, texts, COUNT(texts));
}

static void test_a_name_with_controls_or_broken_utf8_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "a\nb",           "a\tb",  "\033[31m", "a\x7f",        "a\xc2\x85z",
		                                 "a\xff",          "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		                                 "a\xe2\x80\xaez", " a",    "a ",       LETTERS_65 };
	all_refused(names_set_cn, texts, COUNT(texts));
}

static void test_the_length_of_a_name_counts_characters(void **state)
{
	(void)state;
	char umlauts[2 * 65 + 1];
	for (size_t i = 0; i < 65; i++)
		memcpy(umlauts + 2 * i, "\xc3\xa4", 2);
	umlauts[2 * 65] = '\0';
	assert_int_equal(names_set_cn(&names, umlauts, &cause), PS_E_CONFIG);
	umlauts[2 * 64] = '\0';
	assert_int_equal(names_set_cn(&names, umlauts, &cause), PS_OK);
	assert_string_equal(names.cn, umlauts);
}

static void test_host_names_are_accepted(void **state)
{
	(void)state;
	static const char *const texts[] = { "localhost", "a.example.com", "*.example.com", "xn--zo-hja.example",
		                                 "a_b.c",     "1and1.com",     "3.example" };
	all_accepted(names_add_dns, texts, COUNT(texts));
	assert_int_equal(names.n_sans, COUNT(texts));
}

static void test_what_is_no_host_name_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",    ".",    "a..b", "a.",    ".a",  "*",     "*.",      "*a.b", "a.*.b",
		"a b", "-a.b", "a-.b", "a:443", "a/b", "*.*.b", "a.b\xc3", "a\n",  LONG_LABEL
	};
	all_refused(names_add_dns, texts, COUNT(texts));
}

static void test_a_host_name_that_reads_as_an_address_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "192.0.2.1", "::1", "[::1]", "127.1", "1", "a.example.1", "2001:db8::1" };
	all_refused(names_add_dns, texts, COUNT(texts));
}

static void test_addresses_are_kept_in_network_order_and_canonical_text(void **state)
{
	(void)state;
	assert_int_equal(names_add_ip(&names, "192.0.2.1", &cause), PS_OK);
	assert_int_equal(names_add_ip(&names, "2001:0DB8:0::0001", &cause), PS_OK);
	assert_int_equal(names.sans[0].address_len, 4);
	assert_memory_equal(names.sans[0].address, "\xc0\x00\x02\x01", 4);
	assert_int_equal(names.sans[1].address_len, 16);
	assert_string_equal(names.sans[1].text, "2001:db8::1");
}

static void test_what_is_no_address_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "",           "a",   "1.2.3",        "1.2.3.256",
		                                 "01.2.3.4.5", "::g", "192.0.2.0/24", "fe80::1%eth0" };
	all_refused(names_add_ip, texts, COUNT(texts));
}

static void test_uris_are_accepted(void **state)
{
	(void)state;
	static const char *const texts[] = { "spiffe://example.com/a/b", "urn:x", "a+b-c.d:e", "https://a/%20?x=1#y" };
	all_accepted(names_add_uri, texts, COUNT(texts));
}

static void test_what_is_no_uri_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "",      "a",    ":a",         "a:",   "1a:b", "a:b c",
		                                 "a:<b>", "a:\"", "a:\xc3\xa4", "a:\n", "//a" };
	all_refused(names_add_uri, texts, COUNT(texts));
}

static void test_a_uri_longer_than_its_storage_is_refused(void **state)
{
	(void)state;
	char uri[NAMES_TEXT_CAP + 1];
	memset(uri, 'a', sizeof(uri));
	memcpy(uri, "urn:", 4);
	uri[NAMES_TEXT_CAP] = '\0';
	assert_int_equal(names_add_uri(&names, uri, &cause), PS_E_CONFIG);
	uri[NAMES_TEXT_CAP - 1] = '\0';
	assert_int_equal(names_add_uri(&names, uri, &cause), PS_OK);
	assert_string_equal(names.sans[0].text, uri);
}

static void test_the_same_name_twice_is_there_once(void **state)
{
	(void)state;
	assert_int_equal(names_add_dns(&names, "a.example", &cause), PS_OK);
	assert_int_equal(names_add_dns(&names, "a.example", &cause), PS_OK);
	assert_int_equal(names.n_sans, 1);
}

static void test_one_name_too_many_is_refused(void **state)
{
	(void)state;
	char uri[] = "urn:00";
	for (size_t i = 0; i < NAMES_SANS_MAX; i++) {
		uri[4] = (char)('0' + i / 10);
		uri[5] = (char)('0' + i % 10);
		assert_int_equal(names_add_uri(&names, uri, &cause), PS_OK);
	}
	assert_int_equal(names_add_uri(&names, "urn:more", &cause), PS_E_CONFIG);
	assert_int_equal(names.n_sans, NAMES_SANS_MAX);
}

static void test_a_relay_is_known_by_its_name_only_if_that_is_a_host(void **state)
{
	(void)state;
	assert_int_equal(names_set_cn(&names, "192.0.2.1", &cause), PS_OK);
	assert_int_equal(names_add_cn_as_host(&names, &cause), PS_OK);
	assert_int_equal(names.sans[0].kind, SAN_IP);
	assert_int_equal(names_set_cn(&names, "Front Desk", &cause), PS_OK);
	assert_int_equal(names_add_cn_as_host(&names, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "--dns"));
}

static void test_a_subject_escapes_every_byte_that_could_mean_something(void **state)
{
	(void)state;
	char storage[NAMES_SUBJECT_CAP];
	struct text text;
	text_init(&text, storage, sizeof(storage));
	assert_int_equal(names_set_cn(&names, "a,b=\"\\", &cause), PS_OK);
	assert_int_equal(names_set_ou(&names, "x y", &cause), PS_OK);
	names_subject(&names, &text);
	assert_string_equal(storage, "OU=x\\20y,CN=a\\2Cb\\3D\\22\\5C");
}

static void test_the_longest_subject_fits_its_storage(void **state)
{
	(void)state;
	char longest[NAMES_CN_CAP] = "";
	char storage[NAMES_SUBJECT_CAP];
	struct text text;
	for (size_t i = 0; i < 50; i++) /* characters of four bytes: 200 bytes */
		memcpy(longest + 4 * i, "\xf0\x9f\x98\x80", 4);
	longest[200] = '\0';
	text_init(&text, storage, sizeof(storage));
	assert_int_equal(names_set_cn(&names, longest, &cause), PS_OK);
	assert_int_equal(names_set_ou(&names, longest, &cause), PS_OK);
	names_subject(&names, &text);
	assert_false(text.cut);
}

#define TEST(function) cmocka_unit_test_setup(function, start_empty)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_name_that_is_readable_text_is_accepted),
		TEST(test_a_name_that_no_file_could_have_is_refused),
		TEST(test_a_name_with_controls_or_broken_utf8_is_refused),
		TEST(test_the_length_of_a_name_counts_characters),
		TEST(test_host_names_are_accepted),
		TEST(test_what_is_no_host_name_is_refused),
		TEST(test_a_host_name_that_reads_as_an_address_is_refused),
		TEST(test_addresses_are_kept_in_network_order_and_canonical_text),
		TEST(test_what_is_no_address_is_refused),
		TEST(test_uris_are_accepted),
		TEST(test_what_is_no_uri_is_refused),
		TEST(test_a_uri_longer_than_its_storage_is_refused),
		TEST(test_the_same_name_twice_is_there_once),
		TEST(test_one_name_too_many_is_refused),
		TEST(test_a_relay_is_known_by_its_name_only_if_that_is_a_host),
		TEST(test_a_subject_escapes_every_byte_that_could_mean_something),
		TEST(test_the_longest_subject_fits_its_storage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
