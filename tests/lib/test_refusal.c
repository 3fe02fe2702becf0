/* SPDX-License-Identifier: Apache-2.0 */
/* refusal: the words other people's scripts rest on. */
#include "portseal/refusal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_each_refusal_has_a_name_and_a_text_of_its_own(void **state)
{
	(void)state;
	for (int a = 0; a < REFUSAL_COUNT; a++) {
		assert_non_null(refusal_name((enum refusal)a));
		assert_non_null(refusal_text((enum refusal)a));
		for (int b = a + 1; b < REFUSAL_COUNT; b++) {
			assert_string_not_equal(refusal_name((enum refusal)a), refusal_name((enum refusal)b));
			assert_string_not_equal(refusal_text((enum refusal)a), refusal_text((enum refusal)b));
		}
	}
}

static void test_names_are_those_of_the_contract(void **state)
{
	(void)state;
	static const struct {
		enum refusal refusal;
		const char *name;
		enum alert alert;
	} cases[] = {
		{ REFUSAL_NOT_TLS, "not-tls", ALERT_NONE },
		{ REFUSAL_CLOSED_BEFORE_HELLO, "closed-before-hello", ALERT_NONE },
		{ REFUSAL_HANDSHAKE_TIMEOUT, "handshake-timeout", ALERT_NONE },
		{ REFUSAL_TLS_VERSION, "tls-version", ALERT_PROTOCOL_VERSION },
		{ REFUSAL_TLS_FAILED, "tls-failed", ALERT_HANDSHAKE_FAILURE },
		{ REFUSAL_PEER_ALERT, "peer-alert", ALERT_NONE },
		{ REFUSAL_NO_CERTIFICATE, "no-certificate", ALERT_CERTIFICATE_REQUIRED },
		{ REFUSAL_UNKNOWN_CA, "unknown-ca", ALERT_UNKNOWN_CA },
		{ REFUSAL_BAD_SIGNATURE, "bad-signature", ALERT_BAD_CERTIFICATE },
		{ REFUSAL_EXPIRED, "expired", ALERT_CERTIFICATE_EXPIRED },
		{ REFUSAL_NOT_YET_VALID, "not-yet-valid", ALERT_CERTIFICATE_EXPIRED },
		{ REFUSAL_REVOKED, "revoked", ALERT_CERTIFICATE_REVOKED },
		{ REFUSAL_CRL_EXPIRED, "crl-expired", ALERT_CERTIFICATE_UNKNOWN },
		{ REFUSAL_CRL_MISSING, "crl-missing", ALERT_CERTIFICATE_UNKNOWN },
		{ REFUSAL_WRONG_PURPOSE, "wrong-purpose", ALERT_UNSUPPORTED_CERTIFICATE },
		{ REFUSAL_WEAK_KEY, "weak-key", ALERT_UNSUPPORTED_CERTIFICATE },
		{ REFUSAL_NAME_CONSTRAINTS, "name-constraints", ALERT_BAD_CERTIFICATE },
		{ REFUSAL_BAD_CERTIFICATE, "bad-certificate", ALERT_BAD_CERTIFICATE },
		{ REFUSAL_WRONG_NAME, "wrong-name", ALERT_BAD_CERTIFICATE },
		{ REFUSAL_NOT_ALLOWED, "not-allowed", ALERT_ACCESS_DENIED },
		{ REFUSAL_UNKNOWN_SERVICE, "unknown-service", ALERT_UNRECOGNIZED_NAME },
		{ REFUSAL_UNKNOWN_PROTOCOL, "unknown-protocol", ALERT_NO_APPLICATION_PROTOCOL },
		{ REFUSAL_TOO_MANY_HANDSHAKES, "too-many-handshakes", ALERT_INTERNAL_ERROR },
		{ REFUSAL_TOO_MANY_CONNECTIONS, "too-many-connections", ALERT_INTERNAL_ERROR },
		{ REFUSAL_RATE_LIMITED, "rate-limited", ALERT_INTERNAL_ERROR },
		{ REFUSAL_AUDIT_FAILED, "audit-failed", ALERT_INTERNAL_ERROR },
		{ REFUSAL_INTERNAL, "internal", ALERT_INTERNAL_ERROR },
	};

	assert_int_equal(sizeof cases / sizeof cases[0], REFUSAL_COUNT - 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_string_equal(refusal_name(cases[i].refusal), cases[i].name);
		assert_int_equal(refusal_alert(cases[i].refusal), cases[i].alert);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_refusal_has_a_name_and_a_text_of_its_own),
		cmocka_unit_test(test_names_are_those_of_the_contract),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
