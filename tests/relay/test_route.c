/* SPDX-License-Identifier: Apache-2.0 */
/* route: who asks for a service gets that one, or none; never another. */
#include "route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "portseal/conf_field.h"

enum { BILLING, DATABASE, MAIL, N_SERVICES };

static const char *billing_sni[] = { "billing.example.com", "pay.example.com" };
static const char *database_alpn[] = { "postgresql", "pg" };
static const char *mail_sni[] = { "mail.example.com" };
static const char *mail_alpn[] = { "smtp" };

static struct relay_service services[N_SERVICES];
static struct relay_config config;
static struct route_protocols protocols;
static struct client_hello hello;
static struct route route;

static int open_protocols(size_t n_services)
{
	services[BILLING] = (struct relay_service){ .name = "billing" };
	services[BILLING].sni.n = 2;
	services[BILLING].sni.at = billing_sni;
	services[DATABASE] = (struct relay_service){ .name = "database" };
	services[DATABASE].alpn.n = 2;
	services[DATABASE].alpn.at = database_alpn;
	services[MAIL] = (struct relay_service){ .name = "mail" };
	services[MAIL].sni.n = 1;
	services[MAIL].sni.at = mail_sni;
	services[MAIL].alpn.n = 1;
	services[MAIL].alpn.at = mail_alpn;
	config = (struct relay_config){ .services_list = { .at = services, .n = n_services } };
	hello = (struct client_hello){ .offers_tls13 = true };
	route = (struct route){ .kind = ROUTE_NOWHERE, .service = 77, .alpn = "unset", .missed = "unset" };
	return route_protocols_new(&config, &protocols) == PS_OK ? 0 : -1;
}

static int open_three(void **state)
{
	(void)state;
	return open_protocols(N_SERVICES);
}

static int open_one(void **state)
{
	(void)state;
	return open_protocols(1);
}

static int close_protocols(void **state)
{
	(void)state;
	route_protocols_clear(&protocols);
	return 0;
}

static void offer(const char *name)
{
	hello.alpn[hello.n_alpn].bytes = (const uint8_t *)name;
	hello.alpn[hello.n_alpn].len = strlen(name);
	hello.n_alpn++;
}

static void name_server(const char *name)
{
	hello.server_name_len = strlen(name);
	memcpy(hello.server_name, name, hello.server_name_len + 1);
}

static void assert_route(int listener_service, int service, const char *alpn)
{
	route_choose(&config, &protocols, listener_service, &hello, &route);
	assert_int_equal(route.kind, ROUTE_STREAM);
	assert_int_equal(route.service, service);
	if (alpn == NULL)
		assert_null(route.alpn);
	else
		assert_string_equal(route.alpn, alpn);
}

static void assert_h2(int listener_service)
{
	route_choose(&config, &protocols, listener_service, &hello, &route);
	assert_int_equal(route.kind, ROUTE_H2);
	assert_int_equal(route.service, listener_service);
	assert_string_equal(route.alpn, "h2");
}

static void test_protocols_are_each_service_by_name_and_what_they_declare(void **state)
{
	static const char *const names[] = {
		"portseal/billing", "portseal/database", "portseal/mail", "postgresql", "pg", "smtp", "h2",
	};
	(void)state;
	assert_int_equal(protocols.n, sizeof(names) / sizeof(names[0]));
	for (size_t i = 0; i < protocols.n; i++)
		assert_string_equal(protocols.names[i], names[i]);
}

static void test_clearing_leaves_no_protocols(void **state)
{
	(void)state;
	route_protocols_clear(&protocols);
	assert_int_equal(protocols.n, 0);
	assert_null(protocols.names);
}

static void test_portseal_protocol_chooses_its_service(void **state)
{
	(void)state;
	offer("portseal/database");
	assert_route(CONFIG_NO_SERVICE, DATABASE, "portseal/database");
}

static void test_a_declared_protocol_chooses_its_service(void **state)
{
	(void)state;
	offer("pg");
	assert_route(CONFIG_NO_SERVICE, DATABASE, "pg");
}

static void test_the_answer_is_of_the_table_and_not_of_the_client(void **state)
{
	(void)state;
	char bytes[] = "portseal/mail";
	offer(bytes);
	assert_route(CONFIG_NO_SERVICE, MAIL, "portseal/mail");
	assert_ptr_equal(route.alpn, protocols.names[MAIL]);
}

static void test_the_clients_first_choice_that_is_known_counts(void **state)
{
	(void)state;
	offer("http/1.1");
	offer("smtp");
	offer("portseal/billing");
	assert_route(CONFIG_NO_SERVICE, MAIL, "smtp");
}

static void test_a_service_name_chooses_by_sni(void **state)
{
	(void)state;
	name_server("pay.example.com");
	assert_route(CONFIG_NO_SERVICE, BILLING, NULL);
}

static void test_protocol_goes_before_name(void **state)
{
	(void)state;
	name_server("billing.example.com");
	offer("portseal/mail");
	assert_route(CONFIG_NO_SERVICE, MAIL, "portseal/mail");
}

static void test_an_unknown_protocol_leaves_the_choice_to_the_name(void **state)
{
	(void)state;
	name_server("mail.example.com");
	offer("http/1.1");
	assert_route(CONFIG_NO_SERVICE, MAIL, NULL);
}

static void test_a_part_of_a_name_is_not_the_name(void **state)
{
	static const char *const names[] = { "billing.example.co", "billing.example.com.x", "example.com", "x" };
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		name_server(names[i]);
		assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	}
}

static void test_nothing_asked_of_several_services_is_none(void **state)
{
	(void)state;
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
}

static void test_nothing_asked_of_the_only_service_is_that_one(void **state)
{
	(void)state;
	assert_route(CONFIG_NO_SERVICE, BILLING, NULL);
}

static void test_an_unknown_name_is_the_only_service(void **state)
{
	(void)state;
	name_server("relay.example.com");
	offer("something/1");
	assert_route(CONFIG_NO_SERVICE, BILLING, NULL);
}

static void test_h2_leaves_the_choice_to_each_stream(void **state)
{
	(void)state;
	offer("h2");
	assert_h2(CONFIG_NO_SERVICE);
	name_server("billing.example.com");
	assert_h2(CONFIG_NO_SERVICE);
}

static void test_h2_at_a_listener_of_one_service_knows_only_that(void **state)
{
	(void)state;
	offer("h2");
	assert_h2(MAIL);
	hello.n_alpn = 0;
	offer("h2");
	offer("portseal/mail");
	assert_h2(MAIL);
}

static void test_the_first_of_h2_and_a_service_counts(void **state)
{
	(void)state;
	offer("portseal/mail");
	offer("h2");
	assert_route(CONFIG_NO_SERVICE, MAIL, "portseal/mail");
	hello.n_alpn = 0;
	offer("h2");
	offer("portseal/mail");
	assert_h2(CONFIG_NO_SERVICE);
}

static void test_a_web_client_speaks_h2_where_no_application_is_named(void **state)
{
	(void)state;
	offer("h2");
	offer("http/1.1");
	assert_h2(CONFIG_NO_SERVICE);
	name_server("relay.example.com");
	assert_h2(CONFIG_NO_SERVICE);
}

static void test_a_web_client_speaks_to_the_application_that_is_named(void **state)
{
	(void)state;
	offer("h2");
	offer("http/1.1");
	assert_route(DATABASE, DATABASE, NULL);
	name_server("billing.example.com");
	assert_route(CONFIG_NO_SERVICE, BILLING, NULL);
}

static void test_http_1_leads_nowhere_where_no_application_is_named(void **state)
{
	(void)state;
	offer("http/1.1");
	name_server("relay.example.com");
	route_choose(&config, &protocols, CONFIG_NO_SERVICE, &hello, &route);
	assert_int_equal(route.kind, ROUTE_NOWHERE);
	assert_int_equal(route.service, CONFIG_NO_SERVICE);
}

/* Names that are not there: near ones, declared protocols of another kind, none at all. */
static void assert_never_another(void)
{
	static const char *const names[] = {
		"portseal/unknown", "portseal/billin",     "portseal/billing2",
		"portseal/Billing", "portseal/postgresql", "portseal/",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		hello.n_alpn = 0;
		offer(names[i]);
		assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	}
}

static void test_an_unknown_portseal_service_is_never_the_only_one(void **state)
{
	(void)state;
	assert_never_another();
}

static void test_an_unknown_portseal_service_is_never_that_of_the_name(void **state)
{
	(void)state;
	name_server("billing.example.com");
	assert_never_another();
}

static void test_the_unknown_portseal_service_is_named_cut_to_fit(void **state)
{
	char long_name[200] = "portseal/";
	(void)state;
	offer("portseal/reddis");
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	assert_string_equal(route.missed, "portseal/reddis");
	memset(long_name + strlen(long_name), 'x', sizeof(long_name) - strlen(long_name) - 1);
	hello.n_alpn = 0;
	offer(long_name);
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	assert_int_equal(strlen(route.missed), ROUTE_MISSED_MAX - 1);
	assert_memory_equal(route.missed, long_name, ROUTE_MISSED_MAX - 1);
}

static void test_an_unknown_service_is_confirmed_like_a_known_one(void **state)
{
	(void)state;
	offer("portseal/reddis");
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	assert_string_equal(route_echo(&route), "portseal/reddis");
}

static void test_what_no_service_could_be_called_is_not_confirmed(void **state)
{
	static const char nul[] = "portseal/reddis\0x";
	static const char *const names[] = { "portseal/", "portseal/a/b", "portseal/a b", "portseal/\xc3\xa4" };
	char longest[200] = "portseal/";
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		hello.n_alpn = 0;
		offer(names[i]);
		assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
		assert_null(route_echo(&route));
	}
	hello.n_alpn = 0;
	offer(nul);
	hello.alpn[0].len = sizeof(nul) - 1;
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	assert_null(route_echo(&route));
	memset(longest + strlen(longest), 'x', CONF_FIELD_SERVICE_MAX + 1);
	hello.n_alpn = 0;
	offer(longest);
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
	assert_null(route_echo(&route));
}

static void test_a_known_service_and_a_listeners_are_no_echo(void **state)
{
	(void)state;
	offer("portseal/mail");
	assert_route(CONFIG_NO_SERVICE, MAIL, "portseal/mail");
	assert_null(route_echo(&route));
	hello.n_alpn = 0;
	offer("portseal/reddis");
	assert_route(DATABASE, DATABASE, NULL);
	assert_null(route_echo(&route));
}

static void test_nothing_is_missed_where_a_service_is_found(void **state)
{
	(void)state;
	offer("smtp");
	route_choose(&config, &protocols, CONFIG_NO_SERVICE, &hello, &route);
	assert_string_equal(route.missed, "");
}

static void test_an_unknown_portseal_service_is_never_that_of_a_later_protocol(void **state)
{
	(void)state;
	offer("portseal/unknown");
	offer("smtp");
	assert_route(CONFIG_NO_SERVICE, CONFIG_NO_SERVICE, NULL);
}

static void test_the_listener_decides_against_protocol_and_name(void **state)
{
	(void)state;
	name_server("billing.example.com");
	offer("smtp");
	assert_route(DATABASE, DATABASE, NULL);
}

static void test_the_listener_confirms_a_protocol_of_its_service(void **state)
{
	(void)state;
	offer("portseal/mail");
	assert_route(MAIL, MAIL, "portseal/mail");
	hello.n_alpn = 0;
	offer("smtp");
	assert_route(MAIL, MAIL, "smtp");
}

static void test_the_listener_confirms_nothing_that_was_not_asked(void **state)
{
	(void)state;
	assert_route(DATABASE, DATABASE, NULL);
}

static void test_without_a_readable_hello_the_listener_decides(void **state)
{
	(void)state;
	route_choose(&config, &protocols, MAIL, NULL, &route);
	assert_int_equal(route.service, MAIL);
	assert_null(route.alpn);
}

static void test_without_a_readable_hello_none_of_several_is_chosen(void **state)
{
	(void)state;
	route_choose(&config, &protocols, CONFIG_NO_SERVICE, NULL, &route);
	assert_int_equal(route.service, CONFIG_NO_SERVICE);
	assert_null(route.alpn);
}

static void test_without_a_readable_hello_the_only_service_is_chosen(void **state)
{
	(void)state;
	route_choose(&config, &protocols, CONFIG_NO_SERVICE, NULL, &route);
	assert_int_equal(route.service, BILLING);
	assert_null(route.alpn);
}

#define of_three(test) cmocka_unit_test_setup_teardown(test, open_three, close_protocols)
#define of_one(test) cmocka_unit_test_setup_teardown(test, open_one, close_protocols)

int main(void)
{
	const struct CMUnitTest tests[] = {
		of_three(test_protocols_are_each_service_by_name_and_what_they_declare),
		of_three(test_clearing_leaves_no_protocols),
		of_three(test_portseal_protocol_chooses_its_service),
		of_three(test_a_declared_protocol_chooses_its_service),
		of_three(test_the_answer_is_of_the_table_and_not_of_the_client),
		of_three(test_the_clients_first_choice_that_is_known_counts),
		of_three(test_a_service_name_chooses_by_sni),
		of_three(test_protocol_goes_before_name),
		of_three(test_an_unknown_protocol_leaves_the_choice_to_the_name),
		of_three(test_a_part_of_a_name_is_not_the_name),
		of_three(test_nothing_asked_of_several_services_is_none),
		of_one(test_nothing_asked_of_the_only_service_is_that_one),
		of_one(test_an_unknown_name_is_the_only_service),
		of_three(test_h2_leaves_the_choice_to_each_stream),
		of_three(test_h2_at_a_listener_of_one_service_knows_only_that),
		of_three(test_the_first_of_h2_and_a_service_counts),
		of_three(test_a_web_client_speaks_h2_where_no_application_is_named),
		of_three(test_a_web_client_speaks_to_the_application_that_is_named),
		of_three(test_http_1_leads_nowhere_where_no_application_is_named),
		of_one(test_http_1_leads_nowhere_where_no_application_is_named),
		of_one(test_an_unknown_portseal_service_is_never_the_only_one),
		of_three(test_an_unknown_portseal_service_is_never_that_of_the_name),
		of_three(test_the_unknown_portseal_service_is_named_cut_to_fit),
		of_three(test_an_unknown_service_is_confirmed_like_a_known_one),
		of_three(test_what_no_service_could_be_called_is_not_confirmed),
		of_three(test_a_known_service_and_a_listeners_are_no_echo),
		of_three(test_nothing_is_missed_where_a_service_is_found),
		of_three(test_an_unknown_portseal_service_is_never_that_of_a_later_protocol),
		of_three(test_the_listener_decides_against_protocol_and_name),
		of_three(test_the_listener_confirms_a_protocol_of_its_service),
		of_three(test_the_listener_confirms_nothing_that_was_not_asked),
		of_three(test_without_a_readable_hello_the_listener_decides),
		of_three(test_without_a_readable_hello_none_of_several_is_chosen),
		of_one(test_without_a_readable_hello_the_only_service_is_chosen),
	};
	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
