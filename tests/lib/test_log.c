/* SPDX-License-Identifier: Apache-2.0 */
/* log: the line, its order, its escaping, its end when there is no room, in both formats. */
#include "portseal/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STAMP_LEN 24 /* 2026-11-22T09:33:07.347Z */

static int pipe_out[2];
static char logged[2 * LOG_LINE_MAX];

static int open_pipe(void **state)
{
	(void)state;
	if (pipe2(pipe_out, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	return 0;
}

static int close_pipe(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
	close(pipe_out[0]);
	close(pipe_out[1]);
	return 0;
}

static void set_up(enum log_level level, enum log_format format)
{
	log_setup(level, format, pipe_out[1]);
}

/* All that was logged since the last call; what a text line says behind its time. */
static const char *read_logged(void)
{
	const ssize_t n = read(pipe_out[0], logged, sizeof(logged) - 1);
	logged[n > 0 ? n : 0] = '\0';
	return logged;
}

static const char *behind_stamp(void)
{
	read_logged();
	assert_in_range(strlen(logged), STAMP_LEN + 1, sizeof(logged));
	return logged + STAMP_LEN;
}

static void test_a_line_has_time_level_connection_event_and_fields_in_that_order(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_TEXT);
	struct log_line line;
	log_begin(&line, LOG_INFO, 0x7f3a09c1, "accepted");
	log_word(&line, "peer", "192.0.2.7:51123");
	log_text(&line, "client", "alice");
	log_word(&line, "service", "billing");
	log_number(&line, "ms", 12);
	log_end(&line);
	assert_string_equal(
		behind_stamp(),
		" info conn=7f3a09c1 event=accepted peer=192.0.2.7:51123 client=\"alice\" service=billing ms=12\n");
}

static void test_the_time_is_utc_with_milliseconds(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, "started", "%s", "x");
	const char *form = "dddd-dd-ddTdd:dd:dd.dddZ ";
	read_logged();
	for (size_t i = 0; form[i] != '\0'; i++) {
		if (form[i] == 'd')
			assert_in_range(logged[i], '0', '9');
		else
			assert_int_equal(logged[i], form[i]);
	}
}

static void test_json_is_one_object_a_line(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_JSON);
	struct log_line line;
	log_begin(&line, LOG_WARN, 0xffffffff00000001, "refused");
	log_text(&line, "client", "a\"\\\n");
	log_number(&line, "in", UINT64_MAX);
	log_end(&line);
	read_logged();
	const char *start = "{\"time\":\"";
	assert_memory_equal(logged, start, strlen(start));
	assert_string_equal(logged + strlen(start) + STAMP_LEN,
	                    "\",\"level\":\"warn\",\"conn\":\"00000001\",\"event\":\"refused\","
	                    "\"client\":\"a\\\"\\\\\\n\",\"in\":18446744073709551615}\n");
}

static void test_a_line_of_no_connection_has_no_conn(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_TEXT);
	log_event(LOG_ERROR, "role-died", "worker %d", 3);
	assert_string_equal(behind_stamp(), " error event=role-died detail=\"worker 3\"\n");
}

static void test_text_of_a_peer_cannot_forge_a_field_or_a_line(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_TEXT);
	struct log_line line;
	log_begin(&line, LOG_INFO, 0, "refused");
	log_text(&line, "client", "x\" service=root\nevent=accepted");
	log_end(&line);
	assert_string_equal(behind_stamp(), " info event=refused client=\"x\\\" service=root\\x0aevent=accepted\"\n");
}

static void test_a_word_that_could_be_misread_is_quoted(void **state)
{
	(void)state;
	static const struct {
		const char *word;
		const char *line;
	} rows[] = {
		{ "unix:/run/a b", " info event=e w=\"unix:/run/a b\"\n" },
		{ "a=b", " info event=e w=\"a=b\"\n" },
		{ "a\"b", " info event=e w=\"a\\\"b\"\n" },
		{ "", " info event=e w=\"\"\n" },
		{ "a\nb", " info event=e w=\"a\\x0ab\"\n" },
		{ "\xff", " info event=e w=\"\\xff\"\n" },
		{ "[2001:db8::1]:443", " info event=e w=[2001:db8::1]:443\n" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_up(LOG_INFO, LOG_TEXT);
		struct log_line line;
		log_begin(&line, LOG_INFO, 0, "e");
		log_word(&line, "w", rows[i].word);
		log_end(&line);
		assert_string_equal(behind_stamp(), rows[i].line);
	}
}

static void test_a_null_value_leaves_its_field_out(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_TEXT);
	struct log_line line;
	log_begin(&line, LOG_INFO, 0, "closed");
	log_word(&line, "service", NULL);
	log_text(&line, "client", NULL);
	log_number(&line, "in", 0);
	log_end(&line);
	assert_string_equal(behind_stamp(), " info event=closed in=0\n");
}

static void test_lines_below_the_level_are_not_written(void **state)
{
	(void)state;
	set_up(LOG_WARN, LOG_TEXT);
	struct log_line line;
	log_begin(&line, LOG_INFO, 1, "accepted");
	log_word(&line, "peer", "x");
	log_text(&line, "client", "x");
	log_number(&line, "ms", 1);
	log_end(&line);
	log_event(LOG_DEBUG, "state", "x");
	assert_string_equal(read_logged(), "");
	assert_true(log_is_on(LOG_WARN));
	assert_false(log_is_on(LOG_INFO));
}

static void test_a_field_without_room_is_left_out_whole_and_the_next_one_stays(void **state)
{
	(void)state;
	char huge[LOG_LINE_MAX];
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	static const char *const expected[] = {
		[LOG_TEXT] = " info event=refused reason=expired cut=true\n",
		[LOG_JSON] = "\",\"level\":\"info\",\"event\":\"refused\",\"reason\":\"expired\",\"cut\":true}\n",
	};
	for (enum log_format format = LOG_TEXT; format <= LOG_JSON; format++) {
		set_up(LOG_INFO, format);
		struct log_line line;
		log_begin(&line, LOG_INFO, 0, "refused");
		log_text(&line, "client", huge);
		log_word(&line, "reason", "expired");
		log_end(&line);
		const char *rest = behind_stamp();
		assert_string_equal(format == LOG_JSON ? rest + strlen("{\"time\":\"") : rest, expected[format]);
	}
}

static void test_every_length_of_a_field_ends_in_one_whole_line(void **state)
{
	(void)state;
	char value[LOG_LINE_MAX];
	for (size_t len = LOG_LINE_MAX - 100; len < LOG_LINE_MAX; len++) {
		memset(value, 'x', len);
		value[len] = '\0';
		set_up(LOG_INFO, LOG_TEXT);
		struct log_line line;
		log_begin(&line, LOG_INFO, 0, "e");
		log_text(&line, "v", value);
		log_number(&line, "n", 1);
		log_end(&line);
		const char *rest = behind_stamp();
		const size_t rest_len = strlen(rest);
		assert_in_range(STAMP_LEN + rest_len, 1, LOG_LINE_MAX);
		assert_int_equal(rest[rest_len - 1], '\n');
		assert_ptr_equal(strchr(rest, '\n'), rest + rest_len - 1);
		if (strstr(rest, "v=") == NULL)
			assert_string_equal(rest, " info event=e n=1 cut=true\n");
		else
			assert_non_null(strstr(rest, "x\" "));
	}
}

static void test_a_detail_that_is_too_long_is_marked(void **state)
{
	(void)state;
	set_up(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, "e", "%2000d", 1);
	const char *end = " \" cut=true\n";
	const char *rest = behind_stamp();
	assert_string_equal(rest + strlen(rest) - strlen(end), end);
}

static void test_logging_leaves_errno_alone(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_TEXT, -1);
	errno = ENOENT;
	log_event(LOG_INFO, "e", "x");
	assert_int_equal(errno, ENOENT);
}

static void test_levels_and_formats_are_known_by_their_words(void **state)
{
	(void)state;
	static const char *const levels[] = { "error", "warn", "info", "debug" };
	for (unsigned i = 0; i < 4; i++) {
		enum log_level level = LOG_ERROR;
		assert_true(log_level_parse(levels[i], &level));
		assert_int_equal(level, i);
	}
	enum log_level level = LOG_DEBUG;
	enum log_format format = LOG_TEXT;
	assert_false(log_level_parse("Info", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_true(log_format_parse("json", &format));
	assert_int_equal(format, LOG_JSON);
	assert_true(log_format_parse("text", &format));
	assert_int_equal(format, LOG_TEXT);
	assert_false(log_format_parse("xml", &format));
}

#define in_pipe(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_pipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pipe(test_a_line_has_time_level_connection_event_and_fields_in_that_order),
		in_pipe(test_the_time_is_utc_with_milliseconds),
		in_pipe(test_json_is_one_object_a_line),
		in_pipe(test_a_line_of_no_connection_has_no_conn),
		in_pipe(test_text_of_a_peer_cannot_forge_a_field_or_a_line),
		in_pipe(test_a_word_that_could_be_misread_is_quoted),
		in_pipe(test_a_null_value_leaves_its_field_out),
		in_pipe(test_lines_below_the_level_are_not_written),
		in_pipe(test_a_field_without_room_is_left_out_whole_and_the_next_one_stays),
		in_pipe(test_every_length_of_a_field_ends_in_one_whole_line),
		in_pipe(test_a_detail_that_is_too_long_is_marked),
		in_pipe(test_logging_leaves_errno_alone),
		cmocka_unit_test(test_levels_and_formats_are_known_by_their_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
