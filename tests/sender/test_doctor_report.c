/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct written {
	struct doctor_report report;
	char *bytes;
	size_t len;
};

static uint64_t now_ms;

static uint64_t fake_clock(void)
{
	return now_ms;
}

static struct written *start(bool json)
{
	struct written *written = calloc(1, sizeof(*written));

	assert_non_null(written);
	written->report.out = open_memstream(&written->bytes, &written->len);
	assert_non_null(written->report.out);
	written->report.json = json;
	written->report.now_ms = fake_clock;
	return written;
}

/* Compares all that was written. */
static void finish(struct written *written, const char *expected)
{
	doctor_conclude(&written->report);
	fclose(written->report.out);
	assert_string_equal(written->bytes, expected);
	free(written->bytes);
	free(written);
}

/* A step that took 7 ms. */
static bool take(struct written *written, enum doctor_step step, const char *const texts[static 3],
                 enum outcome_code code)
{
	struct doctor_finding *finding = doctor_begin(&written->report, step);

	text_add(&finding->detail, texts[0]);
	text_add(&finding->cause, texts[1]);
	text_add(&finding->remedy, texts[2]);
	now_ms += 7;
	return doctor_end(&written->report, finding, code);
}

static const char *const good[] = { "relay.test: 192.0.2.7", "", "" };
static const char *const doubtful[] = { "pki/alice.crt", "it ends soon", "renew it" };
static const char *const bad[] = { "relay.test:8443", "192.0.2.7:8443 refused", "ss -ltn" };

static void test_an_open_way_is_one_line_for_each_step(void **state)
{
	struct written *written = start(false);

	(void)state;
	assert_true(take(written, DOCTOR_NAME, good, OUTCOME_DONE));
	finish(written, "ok    name         relay.test: 192.0.2.7 (7 ms)\n"
	                "the way is open\n");
}

static void test_a_warning_goes_on_and_is_counted(void **state)
{
	struct written *written = start(false);

	(void)state;
	assert_true(take(written, DOCTOR_CERTIFICATE, doubtful, OUTCOME_DONE));
	finish(written, "warn  certificate  pki/alice.crt (7 ms)\n"
	                "      cause:  it ends soon\n"
	                "      remedy: renew it\n"
	                "the way is open; warnings: 1\n");
}

static void test_a_failure_stops_with_its_exit_code(void **state)
{
	struct written *written = start(false);

	(void)state;
	assert_false(take(written, DOCTOR_TCP, bad, OUTCOME_NO_RELAY));
	finish(written, "FAIL  tcp          relay.test:8443 (7 ms)\n"
	                "      cause:  192.0.2.7:8443 refused\n"
	                "      remedy: ss -ltn\n"
	                "stopped at the first failure: exit code 4\n");
}

static void test_json_is_one_object_in_the_end(void **state)
{
	struct written *written = start(true);

	(void)state;
	(void)take(written, DOCTOR_NAME, good, OUTCOME_DONE);
	(void)take(written, DOCTOR_TCP, bad, OUTCOME_NO_RELAY);
	finish(written,
	       "{\"exit_code\": 4, \"steps\": [\n"
	       "  {\"step\": \"name\", \"ok\": true, \"warning\": false, \"ms\": 7, \"detail\": \"relay.test: 192.0.2.7\", "
	       "\"cause\": null, \"remedy\": null},\n"
	       "  {\"step\": \"tcp\", \"ok\": false, \"warning\": false, \"ms\": 7, \"detail\": \"relay.test:8443\", "
	       "\"cause\": \"192.0.2.7:8443 refused\", \"remedy\": \"ss -ltn\"}\n"
	       "]}\n");
}

static void test_json_escapes_quotes_and_backslashes(void **state)
{
	static const char *const quoted[] = { "said \\x1b \"here\"", "", "" };
	struct written *written = start(true);

	(void)state;
	(void)take(written, DOCTOR_TLS, quoted, OUTCOME_NO_RELAY);
	finish(written, "{\"exit_code\": 4, \"steps\": [\n"
	                "  {\"step\": \"tls\", \"ok\": false, \"warning\": false, \"ms\": 7, "
	                "\"detail\": \"said \\\\x1b \\\"here\\\"\", \"cause\": null, \"remedy\": null}\n"
	                "]}\n");
}

static void test_a_text_that_does_not_fit_is_cut_and_still_json(void **state)
{
	struct written *written = start(true);
	char backslashes[2 * DOCTOR_TEXT_MAX];
	const char *const texts[] = { backslashes, "", "" };

	(void)state;
	memset(backslashes, '\\', sizeof(backslashes) - 1);
	backslashes[sizeof(backslashes) - 1] = '\0';
	(void)take(written, DOCTOR_TLS, texts, OUTCOME_NO_RELAY);
	doctor_conclude(&written->report);
	fclose(written->report.out);
	assert_non_null(strstr(written->bytes, "\\\\\\\\\xe2\x80\xa6\", \"cause\""));
	free(written->bytes);
	free(written);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_open_way_is_one_line_for_each_step),
		cmocka_unit_test(test_a_warning_goes_on_and_is_counted),
		cmocka_unit_test(test_a_failure_stops_with_its_exit_code),
		cmocka_unit_test(test_json_is_one_object_in_the_end),
		cmocka_unit_test(test_json_escapes_quotes_and_backslashes),
		cmocka_unit_test(test_a_text_that_does_not_fit_is_cut_and_still_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
