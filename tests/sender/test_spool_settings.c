/* SPDX-License-Identifier: Apache-2.0 */
/* settings of the spool: defaults, every key, every error with its place. */
#include "spool/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct file {
	struct spool_settings spool;
};

static const struct conf_key keys[] = {
	{ .name = "spool", .type = CONF_GROUP, .offset = 0, .keys = spool_settings_keys },
	{ .name = NULL },
};

static enum ps_err load(const char *text, struct file *file, struct conf **conf, struct ps_cause *cause)
{
	memset(file, 0, sizeof(*file));
	*conf = NULL;
	cause->text[0] = '\0';
	enum ps_err err = conf_parse(text, strlen(text), "/etc/s.conf", keys, file, conf, cause);
	if (err == PS_OK)
		err = spool_settings_check(&file->spool, *conf, cause);
	return err;
}

static struct conf *must_load(const char *text, struct file *file)
{
	struct conf *conf;
	struct ps_cause cause;
	const enum ps_err err = load(text, file, &conf, &cause);
	assert_string_equal(cause.text, "");
	assert_int_equal(err, PS_OK);
	return conf;
}

static void test_without_the_group_there_is_no_spool(void **state)
{
	struct file file;
	(void)state;
	struct conf *conf = must_load("", &file);
	assert_null(file.spool.path);
	conf_free(conf);
}

static void test_a_path_is_enough_and_the_rest_has_defaults(void **state)
{
	struct file file;
	(void)state;
	struct conf *conf = must_load("spool = { path = \"spool.db\"; };", &file);
	assert_string_equal(file.spool.path, "/etc/spool.db");
	assert_int_equal(file.spool.max_messages, 100000);
	assert_int_equal(file.spool.max_bytes, 1 << 30);
	assert_int_equal(file.spool.max_message, 10 << 20);
	assert_int_equal(file.spool.ttl_ms, 7 * 86400000);
	assert_int_equal(file.spool.in_flight, 16);
	assert_int_equal(file.spool.retry.first_ms, 1000);
	assert_int_equal(file.spool.retry.max_ms, 300000);
	assert_false(spool_settings_ordered(&file.spool, "any"));
	conf_free(conf);
}

static void test_every_key_is_heeded(void **state)
{
	struct file file;
	(void)state;
	struct conf *conf =
		must_load("spool = { path = \"/a\"; max_messages = 5; max_bytes = \"2K\"; max_message = \"1K\"; "
	              "ttl = \"0\"; in_flight = 3; retry = { first = \"2s\"; max = \"3s\"; };"
	              "services = ( { name = \"a\"; ordered = true; }, { name = \"b\"; } ); };",
	              &file);
	assert_string_equal(file.spool.path, "/a");
	assert_int_equal(file.spool.max_messages, 5);
	assert_int_equal(file.spool.max_bytes, 2048);
	assert_int_equal(file.spool.max_message, 1024);
	assert_int_equal(file.spool.ttl_ms, 0);
	assert_int_equal(file.spool.in_flight, 3);
	assert_int_equal(file.spool.retry.first_ms, 2000);
	assert_int_equal(file.spool.retry.max_ms, 3000);
	assert_true(spool_settings_ordered(&file.spool, "a"));
	assert_false(spool_settings_ordered(&file.spool, "b"));
	conf_free(conf);
}

static void test_errors_name_their_place(void **state)
{
	static const struct {
		const char *text, *cause;
	} rows[] = {
		{ "spool = { };", "/etc/s.conf:1: spool.path: missing" },
		{ "spool = { path = \"a\"; ttl = \"-1s\"; };",
		  "/etc/s.conf:1: spool.ttl: \"-1s\" is not a duration such as 500ms, 10s, 5m or 24h" },
		{ "spool = { path = \"a\"; in_flight = 0; };", "/etc/s.conf:1: spool.in_flight: 0 is not between 1 and 1000" },
		{ "spool = { path = \"a\"; max_bytes = \"1\"; };",
		  "/etc/s.conf:1: spool.max_bytes: 1 is not between 1K and 1024G" },
		{ "spool = { path = \"a\"; retry = { first = \"2s\"; max = \"1s\"; }; };",
		  "/etc/s.conf:1: spool.retry: first is longer than max" },
		{ "spool = { path = \"a\"; services = (\n{ name = \"x\"; },\n{ name = \"x\"; } ); };",
		  "/etc/s.conf:3: spool.services: \"x\" stands in line 2 already" },
		{ "spool = { path = \"a\"; services = ( { name = \"a/b\"; } ); };",
		  "/etc/s.conf:1: spool.services.name: \"a/b\" is not a service name: letters, digits, \"-\", \"_\" and \".\", "
		  "at most 63 of them" },
		{ "spool = { path = \"a\"; order = 1; };",
		  "/etc/s.conf:1: spool.order: unknown key, expected one of: path, max_messages, max_bytes, max_message, ttl, "
		  "in_flight, retry, services" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct file file;
		struct conf *conf;
		struct ps_cause cause;
		assert_int_equal(load(rows[i].text, &file, &conf, &cause), PS_E_CONFIG);
		assert_string_equal(cause.text, rows[i].cause);
		conf_free(conf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_the_group_there_is_no_spool),
		cmocka_unit_test(test_a_path_is_enough_and_the_rest_has_defaults),
		cmocka_unit_test(test_every_key_is_heeded),
		cmocka_unit_test(test_errors_name_their_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
