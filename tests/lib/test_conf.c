/* SPDX-License-Identifier: Apache-2.0 */
/* conf: what a table makes of a file, and every error with its line and its words. */
#include "portseal/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct item {
	const char *name;
	struct conf_list parts;
	unsigned line;
};

struct part {
	uint64_t size;
};

struct sample {
	const char *string, *path;
	bool flag;
	uint64_t count, wait_ms, bytes, floor;
	struct conf_strings words;
	struct {
		const char *certificate, *key;
		uint64_t depth;
	} tls;
	struct conf_list items;
	char shouted[16];
};

static enum ps_err shout(const char *text, void *field, struct ps_cause *cause)
{
	char *out = field;
	if (strlen(text) >= sizeof(((struct sample *)NULL)->shouted))
		return ps_cause_set(cause, PS_E_CONFIG, "\"%s\" is too loud", text);
	for (; *text != '\0'; text++)
		*out++ = (char)(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
	return PS_OK;
}

static enum ps_err refuse_bob(const char *text, void *field, struct ps_cause *cause)
{
	assert_null(text);
	const struct item *item = field;
	return item->name != NULL && strcmp(item->name, "bob") == 0 ? ps_cause_set(cause, PS_E_CONFIG, "bob is not welcome")
	                                                            : PS_OK;
}

static enum ps_err refuse_thirteen(const char *text, void *field, struct ps_cause *cause)
{
	assert_null(text);
	return *(const uint64_t *)field == 13 ? ps_cause_set(cause, PS_E_CONFIG, "13 is unlucky") : PS_OK;
}

#define AT(field) offsetof(struct sample, field)

static const struct conf_key tls_keys[] = {
	{ .name = "certificate", .type = CONF_PATH, .offset = AT(tls.certificate) - AT(tls), .required = true },
	{ .name = "key", .type = CONF_PATH, .offset = AT(tls.key) - AT(tls) },
	{ .name = "depth", .type = CONF_COUNT, .offset = AT(tls.depth) - AT(tls), .default_text = "3" },
	{ .name = NULL },
};

static const struct conf_key part_keys[] = {
	{ .name = "size", .type = CONF_SIZE, .offset = offsetof(struct part, size), .required = true },
	{ .name = NULL },
};

static const struct conf_key item_keys[] = {
	{ .name = "name", .type = CONF_STRING, .offset = offsetof(struct item, name), .required = true },
	{ .name = "parts",
	  .type = CONF_LIST,
	  .offset = offsetof(struct item, parts),
	  .keys = part_keys,
	  .element_size = sizeof(struct part),
	  .line_offset = CONF_NO_LINE,
	  .min = 1,
	  .max = 2 },
	{ .name = NULL },
};

static const struct conf_key keys[] = {
	{ .name = "string", .type = CONF_STRING, .offset = AT(string), .default_text = "none" },
	{ .name = "path", .type = CONF_PATH, .offset = AT(path) },
	{ .name = "flag", .type = CONF_BOOL, .offset = AT(flag), .default_text = "true" },
	{ .name = "count",
	  .type = CONF_COUNT,
	  .offset = AT(count),
	  .min = 1,
	  .max = 100,
	  .default_text = "7",
	  .parse = refuse_thirteen },
	{ .name = "floor", .type = CONF_COUNT, .offset = AT(floor), .min = 5, .default_text = "5" },
	{ .name = "wait", .type = CONF_DURATION, .offset = AT(wait_ms), .min = 100, .max = 90000, .default_text = "5s" },
	{ .name = "bytes",
	  .type = CONF_SIZE,
	  .offset = AT(bytes),
	  .min = 1024,
	  .max = 10 * 1024 * 1024,
	  .default_text = "64K" },
	{ .name = "words", .type = CONF_STRINGS, .offset = AT(words), .max = 3 },
	{ .name = "tls", .type = CONF_GROUP, .offset = AT(tls), .keys = tls_keys },
	{ .name = "items",
	  .type = CONF_LIST,
	  .offset = AT(items),
	  .keys = item_keys,
	  .element_size = sizeof(struct item),
	  .line_offset = offsetof(struct item, line),
	  .parse = refuse_bob },
	{ .name = "shout", .type = CONF_CUSTOM, .offset = AT(shouted), .parse = shout, .default_text = "quiet" },
	{ .name = "many", .type = CONF_REFUSED, .default_text = "one only in this version" },
	{ .name = NULL },
};

static enum ps_err parse(const char *text, struct sample *sample, struct conf **conf, struct ps_cause *cause)
{
	memset(sample, 0, sizeof(*sample));
	return conf_parse(text, strlen(text), "etc/x.conf", keys, sample, conf, cause);
}

static void test_every_type_is_read(void **state)
{
	(void)state;
	struct sample sample;
	struct conf *conf = NULL;
	struct ps_cause cause = { "" };
	const enum ps_err err = parse("string = \"a b\"; path = \"pki/ca.crt\"; flag = false; count = 100;\n"
	                              "wait = \"90s\"; bytes = \"10M\"; words = [ \"x\", \"y\" ]; floor = 999999999;\n"
	                              "tls = { certificate = \"/abs.crt\"; key = \"k\"; depth = 9; };\n"
	                              "items = ( { name = \"p\"; },\n"
	                              "          { name = \"q\"; parts = ( { size = 5; }, { size = \"2K\"; } ); } );\n"
	                              "shout = \"hey\"; # the end",
	                              &sample, &conf, &cause);
	assert_string_equal(cause.text, "");
	assert_int_equal(err, PS_OK);
	assert_string_equal(sample.string, "a b");
	assert_string_equal(sample.path, "etc/pki/ca.crt");
	assert_false(sample.flag);
	assert_int_equal(sample.count, 100);
	assert_int_equal(sample.floor, 999999999);
	assert_int_equal(sample.wait_ms, 90000);
	assert_int_equal(sample.bytes, 10 * 1024 * 1024);
	assert_int_equal(sample.words.n, 2);
	assert_string_equal(sample.words.at[1], "y");
	assert_string_equal(sample.tls.certificate, "/abs.crt");
	assert_string_equal(sample.tls.key, "etc/k");
	assert_int_equal(sample.tls.depth, 9);
	assert_string_equal(sample.shouted, "HEY");
	assert_int_equal(sample.items.n, 2);
	const struct item *items = sample.items.at;
	assert_string_equal(items[0].name, "p");
	assert_int_equal(items[0].line, 4);
	assert_int_equal(items[0].parts.n, 0);
	assert_int_equal(items[1].line, 5);
	assert_int_equal(items[1].parts.n, 2);
	assert_int_equal(((const struct part *)items[1].parts.at)[1].size, 2048);
	assert_string_equal(conf_dir(conf), "etc/");
	conf_free(conf);
}

static void assert_defaults(const struct sample *sample)
{
	assert_string_equal(sample->string, "none");
	assert_null(sample->path);
	assert_true(sample->flag);
	assert_int_equal(sample->count, 7);
	assert_int_equal(sample->floor, 5);
	assert_int_equal(sample->wait_ms, 5000);
	assert_int_equal(sample->bytes, 65536);
	assert_int_equal(sample->words.n, 0);
	assert_null(sample->tls.certificate);
	assert_int_equal(sample->tls.depth, 3);
	assert_int_equal(sample->items.n, 0);
	assert_string_equal(sample->shouted, "QUIET");
}

static void test_absent_keys_have_their_defaults(void **state)
{
	(void)state;
	struct sample sample;
	struct conf *conf = NULL;
	assert_int_equal(parse("// nothing\n", &sample, &conf, NULL), PS_OK);
	assert_defaults(&sample);
	conf_free(conf);
}

static void test_defaults_need_no_file(void **state)
{
	(void)state;
	struct sample sample = { 0 };
	struct conf *conf = NULL;
	assert_int_equal(conf_defaults(keys, &sample, &conf, NULL), PS_OK);
	assert_defaults(&sample);
	assert_string_equal(conf_dir(conf), "");
	conf_free(conf);
}

static void test_strings_may_be_one_an_array_or_a_list(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
		{ "words = \"a\";", 1 },
		{ "words = [\"a\"];", 1 },
		{ "words = (\"a\", \"b\");", 2 },
		{ "words = [];", 0 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sample sample;
		struct conf *conf = NULL;
		assert_int_equal(parse(rows[i].text, &sample, &conf, NULL), PS_OK);
		assert_int_equal(sample.words.n, rows[i].n);
		if (rows[i].n > 0)
			assert_string_equal(sample.words.at[0], "a");
		conf_free(conf);
	}
}

static void test_brackets_in_strings_and_comments_do_not_count(void **state)
{
	(void)state;
	struct sample sample;
	struct conf *conf = NULL;
	assert_int_equal(
		parse("string = \"( \\\" { \\\\\"; # ( [ {\n// @include \"x\"\n/* \"\n ( 0x1F 99999999999 */ count = 1;\n",
	          &sample, &conf, NULL),
		PS_OK);
	assert_string_equal(sample.string, "( \" { \\");
	conf_free(conf);
}

struct wrong {
	const char *text;
	const char *cause;
};

static void assert_each_refused(const struct wrong *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sample sample;
		struct conf *conf = NULL;
		struct ps_cause cause = { "" };
		const enum ps_err err = parse(rows[i].text, &sample, &conf, &cause);
		assert_string_equal(cause.text, rows[i].cause);
		assert_int_equal(err, PS_E_CONFIG);
		assert_null(conf);
	}
}

#define ASSERT_EACH_REFUSED(rows) assert_each_refused(rows, sizeof(rows) / sizeof(rows[0]))

static void test_unknown_keys_are_refused_with_the_nearest_known(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "count = 1;\nflat = true;", "etc/x.conf:2: flat: unknown key, did you mean \"flag\"?" },
		{ "\n\ntls = { certifcate = \"x\"; };",
		  "etc/x.conf:3: tls.certifcate: unknown key, did you mean \"certificate\"?" },
		{ "tls = {\n nonsense = 1; };",
		  "etc/x.conf:2: tls.nonsense: unknown key, expected one of: certificate, key, depth" },
		{ "items = (\n { name = \"a\"; parts = (\n { siz = 1; } ); } );",
		  "etc/x.conf:3: items.parts.siz: unknown key, did you mean \"size\"?" },
		{ "man = 1;", "etc/x.conf:1: man: unknown key, expected one of: string, path, flag, count, floor, wait, "
		              "bytes, words, tls, items, shout" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_wrong_type_says_what_was_expected(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "string = 1;", "etc/x.conf:1: string: expected a string, got a whole number" },
		{ "path = [\"x\"];", "etc/x.conf:1: path: expected a string with a path, got an array [ ]" },
		{ "flag = \"yes\";", "etc/x.conf:1: flag: expected true or false, got a string" },
		{ "flag = 1;", "etc/x.conf:1: flag: expected true or false, got a whole number" },
		{ "count = \"5\";", "etc/x.conf:1: count: expected a whole number, got a string" },
		{ "count = 1.5;", "etc/x.conf:1: count: expected a whole number, got a fraction" },
		{ "wait = 5;", "etc/x.conf:1: wait: expected a duration such as \"10s\", got a whole number" },
		{ "wait = \"5\";", "etc/x.conf:1: wait: \"5\" is not a duration such as 500ms, 10s, 5m or 24h" },
		{ "bytes = true;", "etc/x.conf:1: bytes: expected a size such as \"64K\", got true or false" },
		{ "bytes = \"x\";", "etc/x.conf:1: bytes: \"x\" is not a size such as 1500, 64K, 10M or 2G" },
		{ "words = 1;", "etc/x.conf:1: words: expected a string or an array of strings, got a whole number" },
		{ "words = [1];", "etc/x.conf:1: words: expected a string or an array of strings, got a whole number" },
		{ "tls = \"x\";", "etc/x.conf:1: tls: expected a group { }, got a string" },
		{ "tls = ();", "etc/x.conf:1: tls: expected a group { }, got a list ( )" },
		{ "items = { };", "etc/x.conf:1: items: expected a list ( { ... }, ... ), got a group { }" },
		{ "items = [ ];", "etc/x.conf:1: items: expected a list ( { ... }, ... ), got an array [ ]" },
		{ "items = ( { name = \"x\"; },\n\"y\" );", "etc/x.conf:2: items: expected a group { }, got a string" },
		{ "shout = 1;", "etc/x.conf:1: shout: expected a string, got a whole number" },
		{ "shout = \"aaaabbbbccccdddd\";", "etc/x.conf:1: shout: \"aaaabbbbccccdddd\" is too loud" },
		{ "many = (1);", "etc/x.conf:1: many: one only in this version" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_out_of_range_says_the_range(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "count = 0;", "etc/x.conf:1: count: 0 is not between 1 and 100" },
		{ "count = 101;", "etc/x.conf:1: count: 101 is not between 1 and 100" },
		{ "count = -1;", "etc/x.conf:1: count: -1 is negative" },
		{ "count = 13;", "etc/x.conf:1: count: 13 is unlucky" },
		{ "floor = 4;", "etc/x.conf:1: floor: 4 is below 5" },
		{ "wait = \"99ms\";", "etc/x.conf:1: wait: 99ms is not between 100ms and 90s" },
		{ "wait = \"2m\";", "etc/x.conf:1: wait: 2m is not between 100ms and 90s" },
		{ "wait = \"0\";", "etc/x.conf:1: wait: 0 is not between 100ms and 90s" },
		{ "bytes = \"11M\";", "etc/x.conf:1: bytes: 11M is not between 1K and 10M" },
		{ "bytes = 1;", "etc/x.conf:1: bytes: 1 is not between 1K and 10M" },
		{ "words = [\"a\",\"b\",\"c\",\"d\"];", "etc/x.conf:1: words: 4 given, at most 3 expected" },
		{ "items = ( { name = \"a\"; parts = (); } );", "etc/x.conf:1: items.parts: 0 given, at least 1 expected" },
		{ "items = ( { name = \"a\"; parts = ({size=1;},{size=1;},{size=1;}); } );",
		  "etc/x.conf:1: items.parts: 3 given, at most 2 expected" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_missing_key_names_the_line_of_its_group(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "\n\ntls = {\n key = \"x\"; };", "etc/x.conf:3: tls.certificate: missing" },
		{ "items = (\n { name = \"x\"; },\n { } );", "etc/x.conf:3: items.name: missing" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_check_of_an_element_names_its_line(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "items = (\n { name = \"alice\"; },\n { name = \"bob\"; } );", "etc/x.conf:3: items: bob is not welcome" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_strings_hold_text_only(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "\nstring = \"\";", "etc/x.conf:2: string: expected a string, got an empty one" },
		{ "words = [\"a\", \"\"];", "etc/x.conf:1: words: expected a string or an array of strings, got an empty one" },
		{ "string = \"a\\nb\";", "etc/x.conf:1: string: \"a\\x0ab\" holds a control byte" },
		{ "string = \"a\\x7fb\";", "etc/x.conf:1: string: \"a\\x7fb\" holds a control byte" },
		{ "\nstring = \"alice\\x00.evil\";", "etc/x.conf:2: \\x00 in a string would end it there" },
		{ "\nstring = \"a\001\";", "etc/x.conf:2: control byte 0x01: a configuration is plain text" },
		{ "\n# \177", "etc/x.conf:2: control byte 0x7f: a configuration is plain text" },
		{ "\nstring = \"a\nb\";", "etc/x.conf:2: this string is not closed on its line" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_syntax_errors_say_what_and_where(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "count = 1;\nflag 2;", "etc/x.conf:2: syntax error here or just before: expected NAME = VALUE;" },
		{ "flag = true;\n\nflag = true;", "etc/x.conf:3: the same key twice in one group" },
		{ "tls = {\n key = \"a\";\n key = \"b\"; };", "etc/x.conf:3: the same key twice in one group" },
		{ "words = [\"a\", 1];", "etc/x.conf:1: mismatched element type in array" },
		{ "\ntls = {\n key = \"a\";\n", "etc/x.conf:2: \"{\" is never closed" },
		{ "items = (\n {\n );", "etc/x.conf:3: \")\" where \"}\" should close the \"{\" of line 2" },
		{ "words = [ \"a\" );", "etc/x.conf:1: \")\" where \"]\" should close the \"[\" of line 1" },
		{ "\n};", "etc/x.conf:2: \"}\" closes nothing" },
		{ "\n\n/* \n\n", "etc/x.conf:3: this comment is never closed" },
		{ "\n@include \"x.conf\"", "etc/x.conf:2: @include is not supported: a configuration is one file" },
		{ "\n  @include \"x.conf\"", "etc/x.conf:2: @include is not supported: a configuration is one file" },
		{ "a=((((((((((((((((((((((((((((((((((", "etc/x.conf:1: brackets nested more than 32 deep" },
	};
	ASSERT_EACH_REFUSED(rows);
}

/* libconfig 1.5 reads 4294967297 as 1. */
static void test_numbers_that_the_library_would_truncate_are_refused(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "\ncount = 4294967297;", "etc/x.conf:2: a number above 999999999 is more than any key takes" },
		{ "count = -4294967297;", "etc/x.conf:1: a number above 999999999 is more than any key takes" },
		{ "count = 4294967297L;", "etc/x.conf:1: a number above 999999999 is more than any key takes" },
		{ "count = 0x100000001;", "etc/x.conf:1: numbers are written in decimal here" },
		{ "count = 0b101;", "etc/x.conf:1: numbers are written in decimal here" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_nul_bytes_are_refused(void **state)
{
	(void)state;
	static const char text[] = "count = 1;\n\0 count = 2;";
	struct sample sample = { 0 };
	struct conf *conf = NULL;
	struct ps_cause cause;
	assert_int_equal(conf_parse(text, sizeof(text) - 1, "x.conf", keys, &sample, &conf, &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "x.conf:2: control byte 0x00: a configuration is plain text");
}

static void test_a_file_that_is_not_there_is_named(void **state)
{
	(void)state;
	struct sample sample = { 0 };
	struct conf *conf = NULL;
	struct ps_cause cause;
	assert_int_equal(conf_load("/nonexistent/x.conf", keys, &sample, &conf, &cause), PS_E_IO);
	assert_string_equal(cause.text, "/nonexistent/x.conf: no such file or directory");
}

static void test_a_file_larger_than_a_mebibyte_is_refused(void **state)
{
	(void)state;
	char path[] = "/tmp/portseal-test-conf-XXXXXX";
	const int fd = mkstemp(path);
	assert_in_range(fd, 0, 1024);
	assert_int_equal(ftruncate(fd, (off_t)CONF_FILE_MAX + 1), 0);
	close(fd);
	struct sample sample = { 0 };
	struct conf *conf = NULL;
	struct ps_cause cause;
	const enum ps_err err = conf_load(path, keys, &sample, &conf, &cause);
	unlink(path);
	assert_int_equal(err, PS_E_LIMIT);
	assert_non_null(strstr(cause.text, ": larger than 1048576 bytes"));
}

static void test_a_file_is_read_and_its_directory_is_the_base_of_paths(void **state)
{
	(void)state;
	char path[] = "/tmp/portseal-test-conf-XXXXXX";
	const int fd = mkstemp(path);
	assert_in_range(fd, 0, 1024);
	const char *text = "path = \"ca.crt\";\n";
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	struct sample sample = { 0 };
	struct conf *conf = NULL;
	const enum ps_err err = conf_load(path, keys, &sample, &conf, NULL);
	unlink(path);
	assert_int_equal(err, PS_OK);
	assert_string_equal(sample.path, "/tmp/ca.crt");
	conf_free(conf);
}

static void test_what_only_the_whole_shows_is_said_in_the_same_form(void **state)
{
	(void)state;
	struct sample sample;
	struct conf *conf = NULL;
	struct ps_cause cause;
	assert_int_equal(parse("count = 1;", &sample, &conf, NULL), PS_OK);
	assert_int_equal(conf_fail(conf, 12, &cause, "services.name: \"%s\" twice", "a"), PS_E_CONFIG);
	assert_string_equal(cause.text, "etc/x.conf:12: services.name: \"a\" twice");
	conf_free(conf);
	conf_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_is_read),
		cmocka_unit_test(test_absent_keys_have_their_defaults),
		cmocka_unit_test(test_defaults_need_no_file),
		cmocka_unit_test(test_strings_may_be_one_an_array_or_a_list),
		cmocka_unit_test(test_brackets_in_strings_and_comments_do_not_count),
		cmocka_unit_test(test_unknown_keys_are_refused_with_the_nearest_known),
		cmocka_unit_test(test_a_wrong_type_says_what_was_expected),
		cmocka_unit_test(test_out_of_range_says_the_range),
		cmocka_unit_test(test_a_missing_key_names_the_line_of_its_group),
		cmocka_unit_test(test_a_check_of_an_element_names_its_line),
		cmocka_unit_test(test_strings_hold_text_only),
		cmocka_unit_test(test_syntax_errors_say_what_and_where),
		cmocka_unit_test(test_numbers_that_the_library_would_truncate_are_refused),
		cmocka_unit_test(test_nul_bytes_are_refused),
		cmocka_unit_test(test_a_file_that_is_not_there_is_named),
		cmocka_unit_test(test_a_file_larger_than_a_mebibyte_is_refused),
		cmocka_unit_test(test_a_file_is_read_and_its_directory_is_the_base_of_paths),
		cmocka_unit_test(test_what_only_the_whole_shows_is_said_in_the_same_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
