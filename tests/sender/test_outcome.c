/* SPDX-License-Identifier: Apache-2.0 */
#include "outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct outcome_names with_service = { .relay = "relay.test:8443",
	                                               .server_name = "relay.test",
	                                               .service = "billing" };
static const struct outcome_names without_service = { .relay = "relay.test:8443", .server_name = "relay.test" };

static void assert_says(const struct outcome *outcome, const char *words)
{
	if (strstr(outcome->cause.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", outcome->cause.text, words);
}

static void test_alerts_about_our_certificate_mean_refused(void **state)
{
	static const uint8_t alerts[] = {
		ALERT_CERTIFICATE_REQUIRED,    ALERT_UNKNOWN_CA,
		ALERT_BAD_CERTIFICATE,         ALERT_CERTIFICATE_EXPIRED,
		ALERT_CERTIFICATE_REVOKED,     ALERT_UNSUPPORTED_CERTIFICATE,
		ALERT_CERTIFICATE_UNKNOWN,     ALERT_ACCESS_DENIED,
		ALERT_UNRECOGNIZED_NAME,       ALERT_DECRYPT_ERROR,
		ALERT_NO_APPLICATION_PROTOCOL, ALERT_HANDSHAKE_FAILURE,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(alerts); i++) {
		struct outcome outcome;

		outcome_of_alert(&outcome, alerts[i], &without_service);
		assert_int_equal(outcome.code, OUTCOME_REFUSED);
		assert_int_equal(outcome.refusal, REFUSAL_PEER_ALERT);
		assert_says(&outcome, "relay.test:8443: ");
		assert_says(&outcome, alert_name(alerts[i]));
	}
}

static void test_internal_error_means_not_delivered(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_of_alert(&outcome, ALERT_INTERNAL_ERROR, &with_service);
	assert_int_equal(outcome.code, OUTCOME_UNDELIVERED);
	assert_says(&outcome, "the application is down");
}

static void test_an_alert_that_nobody_expects_is_unforeseen_and_named(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_of_alert(&outcome, 173, &with_service);
	assert_int_equal(outcome.code, OUTCOME_UNFORESEEN);
	assert_says(&outcome, "alert_173");
}

static void test_an_unknown_service_is_named(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_of_alert(&outcome, ALERT_UNRECOGNIZED_NAME, &with_service);
	assert_says(&outcome, "the relay has no service \"billing\"");
}

static void test_a_relay_that_wants_a_service_gets_the_option_named(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_of_alert(&outcome, ALERT_UNRECOGNIZED_NAME, &without_service);
	assert_says(&outcome, "--service");
}

static void test_a_denied_service_is_named(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_of_alert(&outcome, ALERT_ACCESS_DENIED, &with_service);
	assert_says(&outcome, "to use the service \"billing\"");
}

static void test_every_failure_to_connect_means_no_relay_and_keeps_the_cause(void **state)
{
	const struct ps_cause cause = { "192.0.2.7:8443: the system's words" };

	(void)state;
	for (enum connect_result result = CONNECT_NO_NAME; result <= CONNECT_FAILED; result++) {
		struct outcome outcome;

		outcome_of_connect(&outcome, result, &cause, &with_service);
		assert_int_equal(outcome.code, OUTCOME_NO_RELAY);
		assert_int_equal(outcome.refusal, REFUSAL_NONE);
		assert_says(&outcome, cause.text);
	}
}

static struct outcome of_handshake(enum refusal refusal, uint8_t alert, const struct ps_cause *judged)
{
	const struct handshake_failure failure = {
		.refusal = refusal, .alert_sent = ALERT_NONE, .alert_received = alert, .detail = { "what was seen" }
	};
	struct outcome outcome;

	outcome_of_handshake(&outcome, &failure, judged, &with_service);
	assert_int_equal(outcome.refusal, refusal);
	return outcome;
}

static void test_our_refusals_of_the_certificate_mean_wrong_relay(void **state)
{
	static const enum refusal refusals[] = {
		REFUSAL_NO_CERTIFICATE,  REFUSAL_UNKNOWN_CA,    REFUSAL_BAD_SIGNATURE, REFUSAL_EXPIRED,
		REFUSAL_NOT_YET_VALID,   REFUSAL_WRONG_PURPOSE, REFUSAL_WEAK_KEY,      REFUSAL_NAME_CONSTRAINTS,
		REFUSAL_BAD_CERTIFICATE, REFUSAL_WRONG_NAME,
	};
	const struct ps_cause judged = { "CN=relay" };

	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct outcome outcome = of_handshake(refusals[i], ALERT_NONE, &judged);

		assert_int_equal(outcome.code, OUTCOME_WRONG_RELAY);
		assert_says(&outcome, "(CN=relay)");
	}
}

static void test_a_wrong_name_says_which_was_expected(void **state)
{
	(void)state;
	const struct outcome outcome = of_handshake(REFUSAL_WRONG_NAME, ALERT_NONE, NULL);

	assert_says(&outcome, "other names than \"relay.test\"");
	assert_says(&outcome, "--server-name");
}

static void test_what_never_became_tls_means_no_relay(void **state)
{
	static const enum refusal refusals[] = { REFUSAL_NOT_TLS, REFUSAL_CLOSED_BEFORE_HELLO, REFUSAL_TLS_VERSION,
		                                     REFUSAL_TLS_FAILED, REFUSAL_HANDSHAKE_TIMEOUT };

	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		assert_int_equal(of_handshake(refusals[i], ALERT_NONE, NULL).code, OUTCOME_NO_RELAY);
}

static void test_an_alert_during_the_handshake_counts_as_the_relays_word(void **state)
{
	(void)state;
	assert_int_equal(of_handshake(REFUSAL_PEER_ALERT, ALERT_UNKNOWN_CA, NULL).code, OUTCOME_REFUSED);
	assert_int_equal(of_handshake(REFUSAL_PEER_ALERT, ALERT_PROTOCOL_VERSION, NULL).code, OUTCOME_NO_RELAY);
}

static void test_a_relay_that_is_overloaded_is_told_from_an_application_that_is_down(void **state)
{
	(void)state;
	const struct outcome outcome = of_handshake(REFUSAL_PEER_ALERT, ALERT_INTERNAL_ERROR, NULL);

	assert_int_equal(outcome.code, OUTCOME_UNDELIVERED);
	assert_says(&outcome, "too many handshakes");
}

static void test_a_fault_of_our_own_is_unforeseen(void **state)
{
	(void)state;
	assert_int_equal(of_handshake(REFUSAL_INTERNAL, ALERT_NONE, NULL).code, OUTCOME_UNFORESEEN);
}

static void test_an_unconfirmed_service_says_how_to_do_without(void **state)
{
	struct outcome outcome;

	(void)state;
	outcome_of_unconfirmed(&outcome, &with_service);
	assert_int_equal(outcome.code, OUTCOME_REFUSED);
	assert_string_equal(
		outcome.cause.text,
		"relay.test:8443 did not confirm the service \"billing\": is it a Portseal relay? without --service any TLS server will do");
}

static void test_a_line_holds_no_control_byte_of_a_service(void **state)
{
	const struct outcome_names hostile = { .relay = "r:1", .server_name = "r", .service = "a\x1b[31m\nb" };
	struct outcome outcome;

	(void)state;
	outcome_of_unconfirmed(&outcome, &hostile);
	assert_null(strpbrk(outcome.cause.text, "\x1b\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alerts_about_our_certificate_mean_refused),
		cmocka_unit_test(test_internal_error_means_not_delivered),
		cmocka_unit_test(test_an_alert_that_nobody_expects_is_unforeseen_and_named),
		cmocka_unit_test(test_an_unknown_service_is_named),
		cmocka_unit_test(test_a_relay_that_wants_a_service_gets_the_option_named),
		cmocka_unit_test(test_a_denied_service_is_named),
		cmocka_unit_test(test_every_failure_to_connect_means_no_relay_and_keeps_the_cause),
		cmocka_unit_test(test_our_refusals_of_the_certificate_mean_wrong_relay),
		cmocka_unit_test(test_a_wrong_name_says_which_was_expected),
		cmocka_unit_test(test_what_never_became_tls_means_no_relay),
		cmocka_unit_test(test_an_alert_during_the_handshake_counts_as_the_relays_word),
		cmocka_unit_test(test_a_relay_that_is_overloaded_is_told_from_an_application_that_is_down),
		cmocka_unit_test(test_a_fault_of_our_own_is_unforeseen),
		cmocka_unit_test(test_an_unconfirmed_service_says_how_to_do_without),
		cmocka_unit_test(test_a_line_holds_no_control_byte_of_a_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
