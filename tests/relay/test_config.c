/* SPDX-License-Identifier: Apache-2.0 */
/* config of the relay: the contract's sample, every default, every error with its line and its words. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/file.h"

/* One line each, so that what follows LISTEN TLS is in line 3. */
#define LISTEN "listen = ( { address = \":8443\"; } );\n"
#define TLS "tls = { certificate = \"r.crt\"; key = \"r.key\"; client_ca = \"ca.crt\"; };\n"
#define SERVICES "services = ( { name = \"a\"; target = \"tcp://127.0.0.1:7000\"; allow = ( { any = true; } ); } );\n"
#define SERVICE(keys) \
	LISTEN TLS "services = (\n { name = \"a\"; target = \"tcp://127.0.0.1:7000\"; allow = ( { any = true; } );\n" keys \
			   " } );"

static char dir[] = "/tmp/portseal-test-config-XXXXXX";
static char path[sizeof(dir) + sizeof("/relay.conf")];

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/relay.conf", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static enum ps_err load(const char *text, struct relay_config **config, struct ps_cause *cause)
{
	assert_int_equal(file_write(path, text, strlen(text), 0600, FILE_REPLACE, NULL), PS_OK);
	return config_load(path, config, cause);
}

static struct relay_config *must_load(const char *text)
{
	struct relay_config *config = NULL;
	struct ps_cause cause = { "" };
	const enum ps_err err = load(text, &config, &cause);
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
	struct relay_config *config = must_load(
		"listen = ( { address = \":8443\"; } );              // service = \"name\" binds a port to one service\n"
		"tls = {\n"
		"  certificate = \"pki/relay.crt\";  key = \"pki/relay.key\";\n"
		"  client_ca   = \"pki/ca.crt\";\n"
		"  crl         = \"pki/ca.crl\";                     // optional; if set, an expired or missing CRL refuses\n"
		"};\n"
		"services = (\n"
		"  { name   = \"billing\";\n"
		"    target = \"tcp://127.0.0.1:7000\";\n"
		"    sni    = [ \"Billing.example.com\" ];\n"
		"    alpn   = [ \"postgresql\" ];\n"
		"    allow  = ( { cn = \"alice\"; },\n"
		"               { dns = \"*.tills.example.com\"; },  // * is one label\n"
		"               { uri = \"spiffe://example.com/billing/*\"; },\n"
		"               { ou = \"finance\"; },\n"
		"               { spki_sha256 = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"; },\n"
		"               { any = true; } );\n"
		"  } );\n"
		"limits   = { handshakes = 512; handshakes_per_source = 16; connections = 10000; connections_per_client = 0; };\n"
		"timeouts = { handshake = \"5s\"; connect = \"5s\"; idle = \"1h\"; drain = \"30s\"; message = \"30s\"; };\n"
		"log      = { level = \"info\"; format = \"text\"; };  // or \"json\"\n"
		"processes = { gatekeepers = 2; workers = 3; };    // default: one per core\n");

	assert_string_equal(config->path, path);
	assert_int_equal(config->listeners_list.n, 1);
	assert_int_equal(config_listeners(config)[0].address.port, 8443);
	assert_int_equal(config_listeners(config)[0].service, CONFIG_NO_SERVICE);
	assert_string_equal(in_dir(config->tls.certificate), "pki/relay.crt");
	assert_string_equal(in_dir(config->tls.key), "pki/relay.key");
	assert_string_equal(in_dir(config->tls.client_ca), "pki/ca.crt");
	assert_int_equal(config->tls.crl.n, 1);
	assert_string_equal(in_dir(config->tls.crl.at[0]), "pki/ca.crl");
	assert_int_equal(config->tls.crl_policy, CRL_REQUIRED);

	assert_int_equal(config->services_list.n, 1);
	const struct relay_service *service = config_services(config);
	assert_string_equal(service->name, "billing");
	assert_int_equal(service->line, 8);
	assert_string_equal(service->target.host, "127.0.0.1");
	assert_int_equal(service->target.port, 7000);
	assert_string_equal(service->sni.at[0], "billing.example.com");
	assert_string_equal(service->alpn.at[0], "postgresql");
	assert_int_equal(service->allow.n_rules, 6);
	assert_string_equal(service->allow.rules[0].cn, "alice");
	assert_string_equal(service->allow.rules[3].ou, "finance");
	assert_true(service->allow.rules[5].any);
	assert_int_equal(config->timeouts.message_ms, 30000);
	assert_int_equal(config->processes.gatekeepers, 2);
	assert_int_equal(config->processes.workers, 3);
	config_free(config);
}

static void test_the_example_that_is_shipped_is_understood(void **state)
{
	(void)state;
	struct relay_config *config = NULL;
	struct ps_cause cause = { "" };
	const enum ps_err err = config_load("packaging/examples/relay.conf", &config, &cause);
	assert_string_equal(cause.text, "");
	assert_int_equal(err, PS_OK);
	assert_int_equal(config->services_list.n, 2);
	assert_int_equal(config_listeners(config)[1].service, 1);
	assert_int_equal(config_services(config)[0].allow.n_rules, 4);
	config_free(config);
}

static void test_absent_keys_have_the_defaults_of_the_manual(void **state)
{
	(void)state;
	struct relay_config *config = must_load(LISTEN TLS SERVICES);
	assert_int_equal(config->tls.crl.n, 0);
	assert_int_equal(config->tls.crl_policy, CRL_REQUIRED);
	assert_int_equal(config->limits.handshakes, 512);
	assert_int_equal(config->limits.handshakes_per_source, 16);
	assert_int_equal(config->limits.waiting, 4096);
	assert_int_equal(config->limits.connections, 10000);
	assert_int_equal(config->limits.connections_per_client, 0);
	assert_int_equal(config->timeouts.handshake_ms, 5000);
	assert_int_equal(config->timeouts.connect_ms, 5000);
	assert_int_equal(config->timeouts.idle_ms, 3600000);
	assert_int_equal(config->timeouts.drain_ms, 30000);
	assert_int_equal(config->timeouts.message_ms, 30000);
	assert_int_equal(config->limits.messages_per_second, 0);
	assert_int_equal(config->limits.messages_per_client, 1000);
	assert_null(config->messages.store);
	assert_int_equal(config_services(config)[0].reply.kind, REPLY_UNTIL_CLOSE);
	assert_int_equal(config_services(config)[0].max_message, 10 * 1024 * 1024);
	assert_int_equal(config->log.level, LOG_INFO);
	assert_int_equal(config->log.format, LOG_TEXT);
	assert_in_range(config->processes.gatekeepers, 1, 64);
	assert_int_equal(config->processes.workers, config->processes.gatekeepers);
	const struct relay_service *service = config_services(config);
	assert_int_equal(service->sni.n, 0);
	assert_int_equal(service->alpn.n, 0);
	assert_false(service->exposed);
	config_free(config);
}

static void test_listeners_find_their_services_and_sockets_their_place(void **state)
{
	(void)state;
	struct relay_config *config =
		must_load("listen = ( { address = \"unix:in.sock\"; service = \"b\"; }, { address = \"[::1]:0\"; } );\n" TLS
	              "services = ( { name = \"a\"; target = \"unix:/run/a\"; allow = ( { any = true; } ); },\n"
	              "             { name = \"b\"; target = \"unix:b.sock\"; allow = ( { any = true; } ); } );\n"
	              "log = { level = \"debug\"; format = \"json\"; };");
	assert_int_equal(config_listeners(config)[0].service, 1);
	assert_int_equal(config_listeners(config)[1].service, CONFIG_NO_SERVICE);
	assert_string_equal(in_dir(config_listeners(config)[0].address.path), "in.sock");
	assert_string_equal(config_services(config)[0].target.path, "/run/a");
	assert_string_equal(in_dir(config_services(config)[1].target.path), "b.sock");
	assert_int_equal(config->log.level, LOG_DEBUG);
	assert_int_equal(config->log.format, LOG_JSON);
	config_free(config);
}

static void test_a_target_elsewhere_is_taken_when_it_is_said_to_be_exposed(void **state)
{
	(void)state;
	struct relay_config *config = must_load(LISTEN TLS "services = ( { name = \"a\"; target = \"tcp://10.0.0.5:7000\"; "
	                                                   "exposed = true; allow = ( { any = true; } ); } );");
	assert_true(config_services(config)->exposed);
	config_free(config);
}

struct wrong {
	const char *text;
	const char *cause; /* behind "DIR/" */
};

static void assert_each_refused(const struct wrong *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct relay_config *config = NULL;
		struct ps_cause cause = { "" };
		const enum ps_err err = load(rows[i].text, &config, &cause);
		assert_string_equal(in_dir(cause.text), rows[i].cause);
		assert_int_equal(err, PS_E_CONFIG);
		assert_null(config);
	}
}

#define ASSERT_EACH_REFUSED(rows) assert_each_refused(rows, sizeof(rows) / sizeof(rows[0]))

static void test_what_must_be_there_is_missed(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "", "relay.conf:1: listen: missing" },
		{ LISTEN SERVICES, "relay.conf:1: tls: missing" },
		{ LISTEN TLS, "relay.conf:1: services: missing" },
		{ "listen = ();\n" TLS SERVICES, "relay.conf:1: listen: 0 given, at least 1 expected" },
		{ "\nlisten = ( { } );\n" TLS SERVICES, "relay.conf:2: listen.address: missing" },
		{ LISTEN TLS "services = ();", "relay.conf:3: services: 0 given, at least 1 expected" },
		{ LISTEN "tls = { key = \"k\"; client_ca = \"c\"; };", "relay.conf:2: tls.certificate: missing" },
		{ LISTEN "tls = { certificate = \"k\"; client_ca = \"c\"; };", "relay.conf:2: tls.key: missing" },
		{ LISTEN "tls = { certificate = \"k\"; key = \"c\"; };", "relay.conf:2: tls.client_ca: missing" },
		{ LISTEN TLS "services = (\n { target = \"unix:/x\"; } );", "relay.conf:4: services.name: missing" },
		{ LISTEN TLS "services = (\n { name = \"x\"; } );", "relay.conf:4: services.target: missing" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_service_for_nobody_says_how_to_allow_everybody(void **state)
{
	(void)state;
	static const char expected[] = "relay.conf:4: services.allow: missing: say which clients may reach \"a\", or "
								   "allow = ( { any = true; } ) for every certificate that the CA signed";
	static const struct wrong rows[] = {
		{ LISTEN TLS "services = (\n { name = \"a\"; target = \"unix:/x\"; } );", expected },
		{ LISTEN TLS "services = (\n { name = \"a\"; target = \"unix:/x\"; allow = (); } );", expected },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_unknown_keys_are_refused_in_every_group(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "service = 1;", "relay.conf:1: service: unknown key, did you mean \"services\"?" },
		{ "listen = (\n{ adress = \":1\"; } );",
		  "relay.conf:2: listen.adress: unknown key, did you mean \"address\"?" },
		{ LISTEN "\ntls = { certifcate = \"x\"; };",
		  "relay.conf:3: tls.certifcate: unknown key, did you mean \"certificate\"?" },
		{ SERVICE("alow = 1;"), "relay.conf:5: services.alow: unknown key, did you mean \"allow\"?" },
		{ LISTEN TLS "services = ( { name = \"a\"; target = \"unix:/x\"; allow = (\n { email = \"x\"; } ); } );",
		  "relay.conf:4: services.allow.email: unknown key, expected one of: cn, ou, dns, uri, spki_sha256, any" },
		{ LISTEN TLS SERVICES "limits = { handshake = 1; };",
		  "relay.conf:4: limits.handshake: unknown key, did you mean \"handshakes\"?" },
		{ LISTEN TLS SERVICES "timeouts = { drian = \"1s\"; };",
		  "relay.conf:4: timeouts.drian: unknown key, did you mean \"drain\"?" },
		{ LISTEN TLS SERVICES "log = { file = \"x\"; };",
		  "relay.conf:4: log.file: unknown key, expected one of: level, format" },
		{ LISTEN TLS SERVICES "processes = { worker = 1; };",
		  "relay.conf:4: processes.worker: unknown key, did you mean \"workers\"?" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_addresses_and_targets_that_cannot_be_meant_are_refused(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ "listen = ( { address = \"8443\"; } );",
		  "relay.conf:1: listen.address: \"8443\" is not HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH" },
		{ "listen = ( { address = \":1\"; },\n { address = \":1\"; } );\n" TLS SERVICES,
		  "relay.conf:2: listen.address: :1 stands in line 1 already" },
		{ LISTEN TLS "services = (\n { name = \"a\";\n target = \"tpc://127.0.0.1:7000\"; } );",
		  "relay.conf:5: services.target: \"tpc://127.0.0.1:7000\" is not tcp://HOST:PORT, unix:PATH or udp://HOST:PORT" },
		{ LISTEN TLS "services = (\n { name = \"a\";\n target = \"udp://127.0.0.1:53\"; } );",
		  "relay.conf:5: services.target: \"udp://127.0.0.1:53\": UDP targets are not served yet" },
		{ LISTEN TLS "services = (\n { name = \"a\"; target = \"unix:/x\";\n authority = [ \"db.example.com\" ]; } );",
		  "relay.conf:5: services.authority: \"db.example.com\" is not HOST:PORT" },
		{ LISTEN TLS "services = (\n { name = \"a\";\n targets = ( \"unix:/x\", \"unix:/y\" ); } );",
		  "relay.conf:5: services.targets: one target only in this version: target = \"...\"" },
		{ LISTEN TLS
		  "services = (\n { name = \"a\"; target = \"tcp://10.0.0.5:7000\"; allow = ( { any = true; } ); } );",
		  "relay.conf:4: services.target: 10.0.0.5:7000 is not on this host, and the traffic there is plain: say exposed = true if that is meant" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_names_of_services_are_unique_and_plain(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ LISTEN TLS "services = ( { name = \"a b\"; } );",
		  "relay.conf:3: services.name: \"a b\" is not a service name: letters, digits, \"-\", \"_\" and \".\", at most 63 of them" },
		{ SERVICE("}, { name = \"a\"; target = \"unix:/x\"; allow = ( { any = true; } );"),
		  "relay.conf:5: services.name: \"a\" is the name of another service already (line 4)" },
		{ "listen = (\n{ address = \":1\"; service = \"b\"; } );" TLS SERVICES,
		  "relay.conf:2: listen.service: there is no service \"b\", did you mean \"a\"?" },
		{ "listen = (\n{ address = \":1\"; service = \"billing\"; } );" TLS SERVICES,
		  "relay.conf:2: listen.service: there is no service \"billing\"" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_name_that_clients_choose_by_belongs_to_one_service(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ SERVICE(
			  "sni = \"a.b\"; }, { name = \"b\"; target = \"unix:/x\"; allow = ( { any = true; } ); sni = \"A.B\";"),
		  "relay.conf:5: services.sni: \"a.b\" belongs to service \"a\" already (line 4)" },
		{ SERVICE(
			  "alpn = \"x\"; }, { name = \"b\"; target = \"unix:/x\"; allow = ( { any = true; } ); alpn = [\"y\", \"x\"];"),
		  "relay.conf:5: services.alpn: \"x\" belongs to service \"a\" already (line 4)" },
		{ SERVICE("alpn = [ \"x\", \"x\" ];"),
		  "relay.conf:4: services.alpn: \"x\" belongs to service \"a\" already (line 4)" },
		{ SERVICE("alpn = \"h2\";"),
		  "relay.conf:5: services.alpn: \"h2\" is reserved: every service has portseal/NAME without being told" },
		{ SERVICE("alpn = \"portseal/a\";"),
		  "relay.conf:5: services.alpn: \"portseal/a\" is reserved: every service has portseal/NAME without being told" },
		{ SERVICE("sni = [ \"*.example.com\" ];"),
		  "relay.conf:5: services.sni: \"*.example.com\" is not a DNS name in full (no wildcard, no IP address)" },
		{ SERVICE("sni = \"10.0.0.1\";"),
		  "relay.conf:5: services.sni: \"10.0.0.1\" is not a DNS name in full (no wildcard, no IP address)" },
		{ SERVICE("sni = \"a..b\";"),
		  "relay.conf:5: services.sni: \"a..b\" is not a DNS name in full (no wildcard, no IP address)" },
		{ SERVICE("sni = \"a.\";"),
		  "relay.conf:5: services.sni: \"a.\" is not a DNS name in full (no wildcard, no IP address)" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_protocol_name_has_255_bytes_at_most(void **state)
{
	(void)state;
	char text[1024];
	for (int len = 255; len <= 256; len++) {
		struct relay_config *config = NULL;
		struct ps_cause cause = { "" };
		snprintf(text, sizeof(text), SERVICE("alpn = \"%0*d\";"), len, 0);
		assert_int_equal(load(text, &config, &cause), len == 255 ? PS_OK : PS_E_CONFIG);
		if (len == 256)
			assert_string_equal(in_dir(cause.text),
			                    "relay.conf:5: services.alpn: a protocol's name has at most 255 bytes");
		config_free(config);
	}
}

static void test_a_rule_that_cannot_be_meant_carries_its_line(void **state)
{
	(void)state;
	static const char *const rules[] = { "{ }",
		                                 "{ any = false; }",
		                                 "{ any = true; cn = \"a\"; }",
		                                 "{ dns = \"a*.b\"; }",
		                                 "{ uri = \"spiffe://x/**/y\"; }",
		                                 "{ spki_sha256 = \"abc\"; }" };
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		char text[1024];
		struct relay_config *config = NULL;
		struct ps_cause cause = { "" };
		snprintf(text, sizeof(text),
		         LISTEN TLS "services = ( { name = \"a\"; target = \"unix:/x\"; allow = ( { cn = \"b\"; },\n%s ); } );",
		         rules[i]);
		assert_int_equal(load(text, &config, &cause), PS_E_CONFIG);
		static const char start[] = "relay.conf:4: services.allow: ";
		assert_memory_equal(in_dir(cause.text), start, strlen(start));
	}
}

static void test_numbers_out_of_range_say_the_range(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ LISTEN TLS SERVICES "limits = { handshakes = 0; };",
		  "relay.conf:4: limits.handshakes: 0 is not between 1 and 65536" },
		{ LISTEN TLS SERVICES "limits = { handshakes_per_source = 0; };",
		  "relay.conf:4: limits.handshakes_per_source: 0 is not between 1 and 65536" },
		{ LISTEN TLS SERVICES "limits = { waiting = 0; };",
		  "relay.conf:4: limits.waiting: 0 is not between 1 and 10000000" },
		{ LISTEN TLS SERVICES "limits = { connections = 0; };",
		  "relay.conf:4: limits.connections: 0 is not between 1 and 10000000" },
		{ LISTEN TLS SERVICES "limits = { connections_per_client = -1; };",
		  "relay.conf:4: limits.connections_per_client: -1 is negative" },
		{ LISTEN TLS SERVICES "timeouts = { handshake = \"99ms\"; };",
		  "relay.conf:4: timeouts.handshake: 99ms is not between 100ms and 10m" },
		{ LISTEN TLS SERVICES "timeouts = { connect = \"11m\"; };",
		  "relay.conf:4: timeouts.connect: 11m is not between 100ms and 10m" },
		{ LISTEN TLS SERVICES "timeouts = { idle = \"0\"; };",
		  "relay.conf:4: timeouts.idle: 0 is not between 1s and 365d" },
		{ LISTEN TLS SERVICES "timeouts = { drain = \"25h\"; };",
		  "relay.conf:4: timeouts.drain: 25h is not between 0 and 1d" },
		{ LISTEN TLS SERVICES "timeouts = { message = \"0s\"; };",
		  "relay.conf:4: timeouts.message: 0 is not between 100ms and 1d" },
		{ LISTEN TLS SERVICES "processes = { gatekeepers = 65; };",
		  "relay.conf:4: processes.gatekeepers: 65 is not between 1 and 64" },
		{ LISTEN TLS SERVICES "processes = { workers = 0; };",
		  "relay.conf:4: processes.workers: 0 is not between 1 and 64" },
		{ LISTEN TLS SERVICES "log = { level = \"loud\"; };",
		  "relay.conf:4: log.level: \"loud\" is not \"error\", \"warn\", \"info\" or \"debug\"" },
		{ LISTEN TLS SERVICES "log = { format = \"xml\"; };",
		  "relay.conf:4: log.format: \"xml\" is not \"text\" or \"json\"" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_revocation_lists_may_be_several(void **state)
{
	(void)state;
	struct relay_config *config =
		must_load(LISTEN "tls = { certificate = \"r.crt\"; key = \"r.key\"; client_ca = \"ca.crt\"; "
	                     "crl = [ \"a.crl\", \"/b.crl\" ]; crl_policy = \"if-present\"; };\n" SERVICES);

	assert_int_equal(config->tls.crl.n, 2);
	assert_string_equal(in_dir(config->tls.crl.at[0]), "a.crl");
	assert_string_equal(config->tls.crl.at[1], "/b.crl");
	assert_int_equal(config->tls.crl_policy, CRL_IF_PRESENT);
	config_free(config);
}

static void test_rules_on_trial_stand_beside_the_others(void **state)
{
	(void)state;
	struct relay_config *config = must_load(SERVICE("would_allow = ( { cn = \"alice\"; }, { ou = \"till\"; } );"));
	const struct relay_service *service = &config_services(config)[0];

	assert_int_equal(service->allow.n_rules, 1);
	assert_int_equal(service->would_allow.n_rules, 2);
	assert_string_equal(service->would_allow.rules[1].ou, "till");
	config_free(config);
}

static void test_rules_on_trial_must_be_meant_as_well(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ SERVICE("would_allow = ( );"), "relay.conf:5: services.would_allow: 0 given, at least 1 expected" },
		{ SERVICE("would_allow = ( { cn = \"a*\"; } );"),
		  "relay.conf:5: services.would_allow: cn: \"a*\" has a wildcard, which only dns and uri know" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_policy_that_cannot_be_meant_is_refused(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ LISTEN "tls = { certificate = \"r\"; key = \"k\"; client_ca = \"c\"; crl_policy = \"never\"; };" SERVICES,
		  "relay.conf:2: tls.crl_policy: \"never\" is neither \"required\" nor \"if-present\"" },
		{ LISTEN "tls = { certificate = \"r\"; key = \"k\"; client_ca = \"c\"; crl = [ ]; };" SERVICES,
		  "relay.conf:2: tls.crl: 0 given, at least 1 expected" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_messages_have_keys_of_their_own(void **state)
{
	(void)state;
	struct relay_config *config = must_load(SERVICE(
		"reply = \"idle:200ms\"; max_message = \"64K\";") "limits = { messages_per_second = 5; messages_per_client = 9; };\n"
	                                                      "messages = { store = \"results\"; window = \"1h\"; max_reply = \"1K\"; max_size = \"2M\"; };");

	assert_int_equal(config_services(config)[0].reply.kind, REPLY_IDLE);
	assert_int_equal(config_services(config)[0].reply.idle_ms, 200);
	assert_int_equal(config_services(config)[0].max_message, 65536);
	assert_int_equal(config->limits.messages_per_second, 5);
	assert_int_equal(config->limits.messages_per_client, 9);
	assert_non_null(strstr(config->messages.store, "/results"));
	assert_int_equal(config->messages.window_ms, 3600000);
	assert_int_equal(config->messages.max_reply, 1024);
	assert_int_equal(config->messages.max_size, 2 * 1024 * 1024);
	config_free(config);
}

static void test_keys_of_messages_that_cannot_be_meant_are_refused(void **state)
{
	(void)state;
	static const struct wrong rows[] = {
		{ SERVICE("reply = \"lines\";"),
		  "relay.conf:5: services.reply: \"lines\" is not \"until-close\", \"none\", \"line\" or \"idle:200ms\"" },
		{ LISTEN TLS SERVICES "messages = { store = \"r\"; window = \"1s\"; };",
		  "relay.conf:4: messages.window: 1s is not between 1m and 365d" },
		{ LISTEN TLS SERVICES "timeouts = { message = \"1h\"; };\nmessages = { store = \"r\"; window = \"30m\"; };",
		  "relay.conf: messages.window: shorter than timeouts.message: a message would be forgotten while it is under way" },
	};
	ASSERT_EACH_REFUSED(rows);
}

static void test_a_file_that_is_not_there_is_named(void **state)
{
	(void)state;
	struct relay_config *config = NULL;
	struct ps_cause cause;
	assert_int_equal(config_load("/nonexistent/relay.conf", &config, &cause), PS_E_IO);
	assert_string_equal(cause.text, "/nonexistent/relay.conf: no such file or directory");
	assert_null(config);
	config_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sample_of_the_manual_is_understood),
		cmocka_unit_test(test_the_example_that_is_shipped_is_understood),
		cmocka_unit_test(test_absent_keys_have_the_defaults_of_the_manual),
		cmocka_unit_test(test_listeners_find_their_services_and_sockets_their_place),
		cmocka_unit_test(test_a_target_elsewhere_is_taken_when_it_is_said_to_be_exposed),
		cmocka_unit_test(test_what_must_be_there_is_missed),
		cmocka_unit_test(test_a_service_for_nobody_says_how_to_allow_everybody),
		cmocka_unit_test(test_unknown_keys_are_refused_in_every_group),
		cmocka_unit_test(test_addresses_and_targets_that_cannot_be_meant_are_refused),
		cmocka_unit_test(test_names_of_services_are_unique_and_plain),
		cmocka_unit_test(test_a_name_that_clients_choose_by_belongs_to_one_service),
		cmocka_unit_test(test_a_protocol_name_has_255_bytes_at_most),
		cmocka_unit_test(test_a_rule_that_cannot_be_meant_carries_its_line),
		cmocka_unit_test(test_numbers_out_of_range_say_the_range),
		cmocka_unit_test(test_revocation_lists_may_be_several),
		cmocka_unit_test(test_rules_on_trial_stand_beside_the_others),
		cmocka_unit_test(test_rules_on_trial_must_be_meant_as_well),
		cmocka_unit_test(test_a_policy_that_cannot_be_meant_is_refused),
		cmocka_unit_test(test_messages_have_keys_of_their_own),
		cmocka_unit_test(test_keys_of_messages_that_cannot_be_meant_are_refused),
		cmocka_unit_test(test_a_file_that_is_not_there_is_named),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
