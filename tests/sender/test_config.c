/* SPDX-License-Identifier: Apache-2.0 */
/* config of the sender: file, options, both; every default, every error with its place and its words. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/file.h"

/* One line each, so that what follows RELAYS TLS is in line 3. */
#define RELAYS "relays = ( { address = \"relay.example.com:8443\"; } );\n"
#define TLS "tls = { certificate = \"a.crt\"; key = \"a.key\"; relay_ca = \"ca.crt\"; };\n"
#define TUNNELS "tunnels = ( { listen = \"127.0.0.1:5432\"; service = \"postgres\"; } );\n"

static char dir[] = "/tmp/portseal-test-config-XXXXXX";
static char path[sizeof(dir) + sizeof("/sender.conf")];

static const struct config_options all_options = {
	.relay = "r.example.com:1", .certificate = "c", .key = "k", .relay_ca = "ca"
};

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/sender.conf", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

/* With a text, `options.file` is that text's file. */
static enum ps_err load(const char *text, struct config_options options, bool needs_tunnels,
                        struct sender_config **config, struct ps_cause *cause)
{
	if (text != NULL) {
		assert_int_equal(file_write(path, text, strlen(text), 0600, FILE_REPLACE, NULL), PS_OK);
		options.file = path;
	}
	return config_load(&options, needs_tunnels, config, cause);
}

static struct sender_config *must_load(const char *text, struct config_options options, bool needs_tunnels)
{
	struct sender_config *config = NULL;
	struct ps_cause cause = { "" };
	const enum ps_err err = load(text, options, needs_tunnels, &config, &cause);
	assert_string_equal(cause.text, "");
	assert_int_equal(err, PS_OK);
	return config;
}

static const char *in_dir(const char *file_path)
{
	assert_memory_equal(file_path, dir, strlen(dir));
	return file_path + strlen(dir) + 1;
}

static void test_the_sample_of_the_manual_is_understood(void **state)
{
	(void)state;
	struct sender_config *config = must_load(
		"relays  = ( { address = \"relay.example.com:8443\"; server_name = \"relay.example.com\"; } );   // several: later\n"
		"tls     = { certificate = \"pki/alice.crt\"; key = \"pki/alice.key\"; relay_ca = \"pki/ca.crt\"; };\n"
		"tunnels = ( { listen = \"127.0.0.1:5432\"; service = \"postgres\"; } );\n"
		"protocol = \"tls\"; service = \"billing\";\n",
		(struct config_options){ 0 }, true);
	assert_string_equal(config_relay(config)->address.host, "relay.example.com");
	assert_string_equal(config_relay(config)->address_text, "relay.example.com:8443");
	assert_int_equal(config_relay(config)->address.port, 8443);
	assert_string_equal(config_relay(config)->server_name, "relay.example.com");
	assert_string_equal(in_dir(config->tls.certificate), "pki/alice.crt");
	assert_string_equal(in_dir(config->tls.key), "pki/alice.key");
	assert_string_equal(in_dir(config->tls.relay_ca), "pki/ca.crt");
	assert_int_equal(config->tunnels_list.n, 1);
	assert_int_equal(config_tunnels(config)->listen.port, 5432);
	assert_string_equal(config_tunnels(config)->service, "postgres");
	assert_int_equal(config_tunnels(config)->line, 3);
	assert_int_equal(config->protocol, SENDER_PROTOCOL_TLS);
	assert_string_equal(config->service, "billing");
	config_free(config);
}

static void test_the_example_that_is_shipped_is_understood(void **state)
{
	(void)state;
	struct sender_config *config =
		must_load(NULL, (struct config_options){ .file = "packaging/examples/sender.conf" }, true);
	assert_int_equal(config->tunnels_list.n, 2);
	assert_string_equal(config->service, "billing");
	config_free(config);
}

static void test_several_relays_are_taken_in_their_order(void **state)
{
	(void)state;
	struct sender_config *config =
		must_load("relays = ( { address = \"a:1\"; }, { address = \"b:2\"; server_name = \"n\"; } );\n" TLS
	              "protocol = \"h2\"; balance = \"least\"; pool = { min = 2; max = 3; idle = \"5s\"; };",
	              (struct config_options){ 0 }, false);
	assert_int_equal(config->relays_list.n, 2);
	assert_string_equal(config_relays(config)[0].server_name, "a");
	assert_string_equal(config_relays(config)[1].address.host, "b");
	assert_string_equal(config_relays(config)[1].server_name, "n");
	assert_int_equal(config->protocol, SENDER_PROTOCOL_H2);
	assert_int_equal(config->balance, RELAYS_LEAST);
	assert_int_equal(config->pool.min, 2);
	assert_int_equal(config->pool.max, 3);
	assert_int_equal(config->pool.idle_ms, 5000);
	config_free(config);
}

static void assert_defaults(const struct sender_config *config)
{
	assert_int_equal(config->balance, RELAYS_ORDER);
	assert_int_equal(config->pool.min, 1);
	assert_int_equal(config->pool.max, 8);
	assert_int_equal(config->pool.idle_ms, 60000);
	assert_int_equal(config->protocol, SENDER_PROTOCOL_AUTO);
	assert_null(config->service);
	assert_int_equal(config->timeouts.connect_ms, 10000);
	assert_int_equal(config->timeouts.handshake_ms, 5000);
	assert_int_equal(config->timeouts.idle_ms, 3600000);
	assert_int_equal(config->timeouts.drain_ms, 30000);
	assert_int_equal(config->timeouts.progress_ms, 30000);
	assert_int_equal(config->log.level, LOG_INFO);
	assert_int_equal(config->log.format, LOG_TEXT);
	assert_in_range(config->processes.gatekeepers, 1, 64);
	assert_int_equal(config->processes.workers, config->processes.gatekeepers);
	assert_int_equal(config->tunnels_list.n, 0);
}

static void test_absent_keys_have_the_defaults_of_the_manual(void **state)
{
	(void)state;
	struct sender_config *config = must_load(RELAYS TLS, (struct config_options){ 0 }, false);
	assert_defaults(config);
	assert_string_equal(config_relay(config)->server_name, "relay.example.com");
	config_free(config);
}

static void test_options_alone_are_enough(void **state)
{
	(void)state;
	struct sender_config *config = must_load(NULL, all_options, false);
	assert_defaults(config);
	assert_string_equal(config_relay(config)->address.host, "r.example.com");
	assert_string_equal(config_relay(config)->address_text, "r.example.com:1");
	assert_string_equal(config_relay(config)->server_name, "r.example.com");
	assert_string_equal(config->tls.certificate, "c");
	assert_string_equal(config->tls.key, "k");
	assert_string_equal(config->tls.relay_ca, "ca");
	config_free(config);
}

static void test_options_win_over_the_file(void **state)
{
	(void)state;
	const struct config_options options = { .relay = "[::1]:9",
		                                    .certificate = "c",
		                                    .key = "k",
		                                    .relay_ca = "ca",
		                                    .service = "s",
		                                    .timeout = "2m",
		                                    .listen = "127.0.0.1:1" };
	struct sender_config *config = must_load("relays = ( { address = \"x:1\"; server_name = \"y\"; } );\n" TLS TUNNELS
	                                         "service = \"old\"; timeouts = { message = \"5s\"; };",
	                                         options, true);
	assert_string_equal(config_relay(config)->address.host, "::1");
	assert_string_equal(config_relay(config)->server_name, "::1");
	assert_string_equal(config->tls.certificate, "c");
	assert_string_equal(config->tls.key, "k");
	assert_string_equal(config->tls.relay_ca, "ca");
	assert_string_equal(config->service, "s");
	assert_int_equal(config->timeouts.progress_ms, 120000);
	assert_int_equal(config->tunnels_list.n, 1);
	assert_int_equal(config_tunnels(config)->listen.port, 1);
	assert_string_equal(config_tunnels(config)->service, "s");
	assert_int_equal(config_tunnels(config)->line, 0);
	config_free(config);
}

static void test_a_server_name_alone_goes_with_the_relay_of_the_file(void **state)
{
	(void)state;
	struct sender_config *config = must_load(RELAYS TLS, (struct config_options){ .server_name = "n" }, false);
	assert_string_equal(config_relay(config)->address.host, "relay.example.com");
	assert_string_equal(config_relay(config)->server_name, "n");
	config_free(config);
}

static void test_the_file_says_how_long_send_waits(void **state)
{
	(void)state;
	struct sender_config *config =
		must_load(RELAYS TLS "timeouts = { message = \"5s\"; };", (struct config_options){ 0 }, false);
	assert_int_equal(config->timeouts.progress_ms, 5000);
	config_free(config);
}

static void test_a_tunnel_may_be_exposed_or_without_service_or_a_socket(void **state)
{
	(void)state;
	struct sender_config *config =
		must_load(RELAYS TLS "tunnels = ( { listen = \":1\"; exposed = true; }, { listen = \"unix:t.sock\"; } );",
	              (struct config_options){ 0 }, true);
	assert_true(config_tunnels(config)[0].exposed);
	assert_null(config_tunnels(config)[0].service);
	assert_string_equal(in_dir(config_tunnels(config)[1].listen.path), "t.sock");
	config_free(config);
}

struct wrong {
	const char *text;
	struct config_options options;
	bool needs_tunnels;
	const char *cause; /* with a text: behind "DIR/" where it starts with a place */
};

static void assert_each_refused(const struct wrong *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sender_config *config = NULL;
		struct ps_cause cause = { "" };
		const enum ps_err err = load(rows[i].text, rows[i].options, rows[i].needs_tunnels, &config, &cause);
		const bool placed = cause.text[0] == '/';
		assert_string_equal(placed ? in_dir(cause.text) : cause.text, rows[i].cause);
		assert_int_equal(err, PS_E_CONFIG);
		assert_null(config);
	}
}

#define ASSERT_EACH_REFUSED(rows) assert_each_refused(rows, sizeof(rows) / sizeof(rows[0]))

static void test_what_is_missing_is_named_by_option_and_key(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ .cause = "no relay given: use --relay HOST:PORT or \"relays\" in the configuration file" },
		{ .text = "relays = ();\n" TLS,
		  .cause = "no relay given: use --relay HOST:PORT or \"relays\" in the configuration file" },
		{ .text = RELAYS,
		  .cause = "no certificate given: use --cert FILE or \"tls.certificate\" in the configuration file" },
		{ .options = { .relay = "r:1", .certificate = "c" },
		  .cause = "no key given: use --key FILE or \"tls.key\" in the configuration file" },
		{ .text = RELAYS "tls = { certificate = \"c\"; key = \"k\"; };",
		  .cause = "no CA of the relay given: use --ca FILE or \"tls.relay_ca\" in the configuration file" },
		{ .text = RELAYS TLS,
		  .needs_tunnels = true,
		  .cause = "no tunnel given: use --listen ADDRESS or \"tunnels\" in the configuration file" },
		{ .text = "relays = ( { address = \"unix:r.sock\"; } );\n" TLS,
		  .cause = "no server name given: a relay at unix:PATH needs --server-name NAME or \"server_name\"" },
		{ .text = "relays = (\n{ server_name = \"x\"; } );", .cause = "sender.conf:2: relays.address: missing" },
		{ .text = "tunnels = (\n{ service = \"x\"; } );", .cause = "sender.conf:2: tunnels.listen: missing" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_errors_of_options_name_the_option(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ .options = { .relay = "nowhere" },
		  .cause = "--relay: \"nowhere\" is not HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH" },
		{ .options = { .relay = ":8443" }, .cause = "--relay: \":8443\" names no host: expected HOST:PORT" },
		{ .options = { .relay = "" }, .cause = "--relay: expected a value, got an empty one" },
		{ .options = { .certificate = "" }, .cause = "--cert: expected a value, got an empty one" },
		{ .options = { .key = "" }, .cause = "--key: expected a value, got an empty one" },
		{ .options = { .relay_ca = "" }, .cause = "--ca: expected a value, got an empty one" },
		{ .options = { .relay = "r:1", .server_name = "" },
		  .cause = "--server-name: expected a value, got an empty one" },
		{ .options = { .service = "a/b" },
		  .cause =
		      "--service: \"a/b\" is not a service name: letters, digits, \"-\", \"_\" and \".\", at most 63 of them" },
		{ .options = { .timeout = "10" },
		  .cause = "--timeout: \"10\" is not a duration such as 500ms, 10s, 5m or 24h" },
		{ .options = { .timeout = "0" }, .cause = "--timeout: 0 is not between 100ms and 1d" },
		{ .options = { .listen = "x" },
		  .needs_tunnels = true,
		  .cause = "--listen: \"x\" is not HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH" },
		{ .options = { .listen = ":5432" },
		  .needs_tunnels = true,
		  .cause =
		      "--listen: :5432 is open to other hosts, and the traffic there is plain: if that is meant, say exposed = true in a configuration file" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_errors_of_the_file_name_their_line(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ .text = "relays = ( { address = \":1\"; } );",
		  .cause = "sender.conf:1: relays.address: \":1\" names no host: expected HOST:PORT" },
		{ .text = "\nprotocol = \"quic\";",
		  .cause = "sender.conf:2: protocol: \"quic\" is not \"auto\", \"h2\" or \"tls\"" },
		{ .text = "balance = \"random\";",
		  .cause = "sender.conf:1: balance: \"random\" is not \"order\" or \"least\"" },
		{ .text = "reload = \"never\";", .cause = "sender.conf:1: reload: \"never\" is not \"signal\" or \"auto\"" },
		{ .text = "pool = { max = 0; };", .cause = "sender.conf:1: pool.max: 0 is not between 1 and 64" },
		{ .text = "service = \"a b\";",
		  .cause =
		      "sender.conf:1: service: \"a b\" is not a service name: letters, digits, \"-\", \"_\" and \".\", at most 63 of them" },
		{ .text = "tunnels = (\n{ listen = \"0.0.0.0:1\"; } );",
		  .cause =
		      "sender.conf:2: tunnels.listen: 0.0.0.0:1 is open to other hosts, and the traffic there is plain: say exposed = true if that is meant" },
		{ .text = "tunnels = ( { listen = \"127.0.0.1:1\"; },\n{ listen = \"127.0.0.1:1\"; } );",
		  .cause = "sender.conf:2: tunnels.listen: 127.0.0.1:1 stands in line 1 already" },
		{ .text = "tunnels = ( { listen = \"127.0.0.1:1\"; service = \"\"; } );",
		  .cause = "sender.conf:1: tunnels.service: expected a string, got an empty one" },
		{ .text = "timeouts = { connect = \"0\"; };",
		  .cause = "sender.conf:1: timeouts.connect: 0 is not between 100ms and 10m" },
		{ .text = "timeouts = { handshake = \"0\"; };",
		  .cause = "sender.conf:1: timeouts.handshake: 0 is not between 100ms and 10m" },
		{ .text = "timeouts = { idle = \"0\"; };",
		  .cause = "sender.conf:1: timeouts.idle: 0 is not between 1s and 365d" },
		{ .text = "timeouts = { drain = \"2d\"; };",
		  .cause = "sender.conf:1: timeouts.drain: 2d is not between 0 and 1d" },
		{ .text = "timeouts = { message = \"0\"; };",
		  .cause = "sender.conf:1: timeouts.message: 0 is not between 100ms and 1d" },
		{ .text = "processes = { workers = 65; };",
		  .cause = "sender.conf:1: processes.workers: 65 is not between 1 and 64" },
		{ .text = "log = { level = \"x\"; };",
		  .cause = "sender.conf:1: log.level: \"x\" is not \"error\", \"warn\", \"info\" or \"debug\"" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_unknown_keys_are_refused_in_every_group(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ .text = "relay = 1;", .cause = "sender.conf:1: relay: unknown key, did you mean \"relays\"?" },
		{ .text = "relays = ( { adress = 1; } );",
		  .cause = "sender.conf:1: relays.adress: unknown key, did you mean \"address\"?" },
		{ .text = "tls = { client_ca = \"x\"; };",
		  .cause = "sender.conf:1: tls.client_ca: unknown key, expected one of: certificate, key, relay_ca" },
		{ .text = "tunnels = ( { target = 1; } );",
		  .cause = "sender.conf:1: tunnels.target: unknown key, expected one of: listen, service, exposed" },
		{ .text = "timeouts = { progress = \"1s\"; };",
		  .cause =
		      "sender.conf:1: timeouts.progress: unknown key, expected one of: connect, handshake, idle, drain, message" },
		{ .text = "log = { levle = 1; };", .cause = "sender.conf:1: log.levle: unknown key, did you mean \"level\"?" },
		{ .text = "processes = { gatekeeper = 1; };",
		  .cause = "sender.conf:1: processes.gatekeeper: unknown key, did you mean \"gatekeepers\"?" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_listen_matters_to_tunnels_only(void **state)
{
	(void)state;
	struct config_options options = all_options;
	options.listen = "nonsense";
	struct sender_config *config = must_load(NULL, options, false);
	assert_int_equal(config->tunnels_list.n, 0);
	config_free(config);
	config_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sample_of_the_manual_is_understood),
		cmocka_unit_test(test_the_example_that_is_shipped_is_understood),
		cmocka_unit_test(test_several_relays_are_taken_in_their_order),
		cmocka_unit_test(test_absent_keys_have_the_defaults_of_the_manual),
		cmocka_unit_test(test_options_alone_are_enough),
		cmocka_unit_test(test_options_win_over_the_file),
		cmocka_unit_test(test_a_server_name_alone_goes_with_the_relay_of_the_file),
		cmocka_unit_test(test_the_file_says_how_long_send_waits),
		cmocka_unit_test(test_a_tunnel_may_be_exposed_or_without_service_or_a_socket),
		cmocka_unit_test(test_what_is_missing_is_named_by_option_and_key),
		cmocka_unit_test(test_errors_of_options_name_the_option),
		cmocka_unit_test(test_errors_of_the_file_name_their_line),
		cmocka_unit_test(test_unknown_keys_are_refused_in_every_group),
		cmocka_unit_test(test_listen_matters_to_tunnels_only),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
