/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor_advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "portseal/alert.h"

static char storage[DOCTOR_TEXT_MAX];

static struct text fresh(void)
{
	struct text text;

	text_init(&text, storage, sizeof(storage));
	return text;
}

static void assert_says(const struct text *text, const char *words)
{
	if (strstr(text->at, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text->at, words);
}

static void test_each_alert_behind_the_relays_certificate_has_its_step(void **state)
{
	static const struct {
		uint8_t alert;
		enum doctor_step step;
	} cases[] = {
		{ ALERT_PROTOCOL_VERSION, DOCTOR_TLS },          { ALERT_CERTIFICATE_REQUIRED, DOCTOR_ADMISSION },
		{ ALERT_UNKNOWN_CA, DOCTOR_ADMISSION },          { ALERT_BAD_CERTIFICATE, DOCTOR_ADMISSION },
		{ ALERT_CERTIFICATE_EXPIRED, DOCTOR_ADMISSION }, { ALERT_CERTIFICATE_REVOKED, DOCTOR_ADMISSION },
		{ ALERT_CERTIFICATE_UNKNOWN, DOCTOR_ADMISSION }, { ALERT_UNSUPPORTED_CERTIFICATE, DOCTOR_ADMISSION },
		{ ALERT_DECRYPT_ERROR, DOCTOR_ADMISSION },       { ALERT_ACCESS_DENIED, DOCTOR_SERVICE },
		{ ALERT_UNRECOGNIZED_NAME, DOCTOR_SERVICE },     { ALERT_NO_APPLICATION_PROTOCOL, DOCTOR_SERVICE },
		{ ALERT_INTERNAL_ERROR, DOCTOR_APPLICATION },    { 173, DOCTOR_ADMISSION },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(doctor_step_name(doctor_step_of_alert(cases[i].alert, true)),
		                    doctor_step_name(cases[i].step));
}

static void test_before_the_relays_certificate_only_the_service_can_be_meant(void **state)
{
	(void)state;
	assert_int_equal(doctor_step_of_alert(ALERT_HANDSHAKE_FAILURE, false), DOCTOR_TLS);
	assert_int_equal(doctor_step_of_alert(ALERT_INTERNAL_ERROR, false), DOCTOR_TLS);
	assert_int_equal(doctor_step_of_alert(ALERT_UNKNOWN_CA, false), DOCTOR_TLS);
	assert_int_equal(doctor_step_of_alert(173, false), DOCTOR_TLS);
	assert_int_equal(doctor_step_of_alert(ALERT_NO_APPLICATION_PROTOCOL, false), DOCTOR_SERVICE);
	assert_int_equal(doctor_step_of_alert(ALERT_UNRECOGNIZED_NAME, false), DOCTOR_SERVICE);
}

static void test_our_refusals_of_a_certificate_belong_to_the_relay(void **state)
{
	(void)state;
	for (enum refusal refusal = REFUSAL_NO_CERTIFICATE; refusal <= REFUSAL_WRONG_NAME; refusal++)
		assert_int_equal(doctor_step_of_refusal(refusal), DOCTOR_RELAY);
	for (enum refusal refusal = REFUSAL_NOT_TLS; refusal <= REFUSAL_TLS_FAILED; refusal++)
		assert_int_equal(doctor_step_of_refusal(refusal), DOCTOR_TLS);
	assert_int_equal(doctor_step_of_refusal(REFUSAL_UNKNOWN_SERVICE), DOCTOR_SERVICE);
}

static void test_every_refusal_has_a_remedy(void **state)
{
	(void)state;
	for (enum refusal refusal = REFUSAL_NONE; refusal < REFUSAL_COUNT; refusal++) {
		struct text remedy = fresh();

		doctor_advise_refusal(&remedy, refusal);
		assert_int_not_equal(remedy.len, 0);
		assert_false(remedy.cut);
	}
}

static void test_every_alert_has_a_remedy(void **state)
{
	(void)state;
	for (unsigned alert = 0; alert <= ALERT_NONE; alert++) {
		struct text remedy = fresh();

		doctor_advise_alert(&remedy, alert % 3 == 0 ? DOCTOR_TLS : DOCTOR_ADMISSION, (uint8_t)alert, alert % 2 == 0);
		assert_int_not_equal(remedy.len, 0);
		assert_false(remedy.cut);
	}
}

static void test_a_relay_that_is_overloaded_is_no_matter_of_the_application(void **state)
{
	struct text remedy = fresh();

	(void)state;
	doctor_advise_alert(&remedy, DOCTOR_TLS, ALERT_INTERNAL_ERROR, true);
	assert_says(&remedy, "limits.handshakes");
	remedy = fresh();
	doctor_advise_alert(&remedy, DOCTOR_APPLICATION, ALERT_INTERNAL_ERROR, true);
	assert_says(&remedy, "portseal-relay check");
}

static void test_a_service_that_was_not_named_is_asked_for(void **state)
{
	struct text remedy = fresh();

	(void)state;
	doctor_advise_alert(&remedy, DOCTOR_SERVICE, ALERT_UNRECOGNIZED_NAME, false);
	assert_says(&remedy, "name a service by --service");
	remedy = fresh();
	doctor_advise_alert(&remedy, DOCTOR_SERVICE, ALERT_UNRECOGNIZED_NAME, true);
	assert_says(&remedy, "compare --service");
}

static void test_the_ways_to_fail_to_connect_are_told_apart_with_their_commands(void **state)
{
	const struct address address = { .kind = ADDRESS_TCP, .host = "2001:db8::7", .port = 8443 };
	static const char *const words[] = {
		[CONNECT_REFUSED] = "ss -ltn 'sport = :8443'",
		[CONNECT_TIMEOUT] = "traceroute -T -p 8443 2001:db8::7",
		[CONNECT_UNREACHABLE] = "ip route get 2001:db8::7",
		[CONNECT_RESET] = "ss -ltnp 'sport = :8443'",
		[CONNECT_FAILED] = "nft list ruleset",
	};

	(void)state;
	for (enum connect_result result = CONNECT_REFUSED; result <= CONNECT_FAILED; result++) {
		struct text remedy = fresh();

		doctor_advise_connect(&remedy, result, &address);
		assert_says(&remedy, words[result]);
		assert_string_not_equal(doctor_connect_words(result), doctor_connect_words(CONNECT_OK));
	}
}

static void test_a_unix_socket_is_looked_at_with_ls(void **state)
{
	const struct address address = { .kind = ADDRESS_UNIX, .path = "/run/portseal/relay.sock" };
	struct text remedy = fresh();

	(void)state;
	doctor_advise_connect(&remedy, CONNECT_REFUSED, &address);
	assert_says(&remedy, "ls -l /run/portseal/relay.sock");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_alert_behind_the_relays_certificate_has_its_step),
		cmocka_unit_test(test_before_the_relays_certificate_only_the_service_can_be_meant),
		cmocka_unit_test(test_our_refusals_of_a_certificate_belong_to_the_relay),
		cmocka_unit_test(test_every_refusal_has_a_remedy),
		cmocka_unit_test(test_every_alert_has_a_remedy),
		cmocka_unit_test(test_a_relay_that_is_overloaded_is_no_matter_of_the_application),
		cmocka_unit_test(test_a_service_that_was_not_named_is_asked_for),
		cmocka_unit_test(test_the_ways_to_fail_to_connect_are_told_apart_with_their_commands),
		cmocka_unit_test(test_a_unix_socket_is_looked_at_with_ls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
