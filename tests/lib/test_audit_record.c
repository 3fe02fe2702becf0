/* SPDX-License-Identifier: Apache-2.0 */
/* audit_record: what one role says and the other hears, and what it does not believe. */
#include "portseal/audit_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct audit_who who;

static struct audit_entry full_entry(void)
{
	static const char names[] = "pin\0serial\0client\0subject\0issuer\0DNS=a.example";
	struct audit_entry entry = { .event = AUDIT_CLOSED,
		                         .conn = 0x1122334455667788,
		                         .stream = 7,
		                         .status = 204,
		                         .in = 11,
		                         .out = 12,
		                         .ms = 13,
		                         .peer = "[2001:db8::7]:443",
		                         .service = "billing",
		                         .reason = "done",
		                         .detail = "a \"detail\"\n",
		                         .receipt = "r-1",
		                         .who = &who,
		                         .has_sha256 = true };

	memset(&who, 0, sizeof(who));
	memcpy(who.text, names, sizeof(names));
	who.len = sizeof(names);
	memset(entry.sha256, 0xab, sizeof(entry.sha256));
	return entry;
}

static void test_a_record_arrives_as_it_was_packed(void **state)
{
	const struct audit_entry entry = full_entry();
	uint8_t bytes[AUDIT_RECORD_MAX];
	size_t len = audit_record_pack(42, 3, &entry, bytes);
	struct audit_record record;

	(void)state;
	assert_int_equal(audit_record_unpack(bytes, len, &record), PS_OK);
	assert_int_equal(record.id, 42);
	assert_int_equal(record.lost, 3);
	assert_int_equal(record.entry.event, AUDIT_CLOSED);
	assert_int_equal(record.entry.conn, entry.conn);
	assert_int_equal(record.entry.stream, 7);
	assert_int_equal(record.entry.status, 204);
	assert_int_equal(record.entry.in + record.entry.out + record.entry.ms, 36);
	assert_string_equal(record.entry.peer, entry.peer);
	assert_string_equal(record.entry.service, entry.service);
	assert_string_equal(record.entry.reason, entry.reason);
	assert_string_equal(record.entry.detail, entry.detail);
	assert_string_equal(record.entry.receipt, entry.receipt);
	assert_memory_equal(record.entry.sha256, entry.sha256, sizeof(entry.sha256));
	assert_int_equal(record.entry.who->len, who.len);
	assert_memory_equal(record.entry.who->text, who.text, who.len);
	assert_false(record.entry.again);
	audit_record_set_again(bytes);
	assert_int_equal(audit_record_unpack(bytes, len, &record), PS_OK);
	assert_true(record.entry.again);
}

static void test_texts_that_are_too_long_are_cut_and_fit(void **state)
{
	struct audit_entry entry = full_entry();
	uint8_t bytes[AUDIT_RECORD_MAX];
	struct audit_record record;
	char text[5000];
	size_t len;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	entry.peer = entry.service = entry.reason = entry.detail = entry.receipt = text;
	who.len = sizeof(who.text);
	memset(who.text, 'y', sizeof(who.text));
	for (size_t i = 1; i <= 5; i++)
		who.text[i * 300 - 1] = '\0';
	who.text[sizeof(who.text) - 1] = '\0';
	len = audit_record_pack(1, 0, &entry, bytes);
	assert_in_range(len, 1, AUDIT_RECORD_MAX);
	assert_int_equal(audit_record_unpack(bytes, len, &record), PS_OK);
	assert_int_equal(record.entry.who->len, sizeof(who.text));
}

static void test_every_truncation_and_every_surplus_is_refused(void **state)
{
	const struct audit_entry entry = full_entry();
	uint8_t bytes[AUDIT_RECORD_MAX + 1] = { 0 };
	size_t len = audit_record_pack(1, 0, &entry, bytes);
	struct audit_record record;

	(void)state;
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut + 1); /* so that a sanitizer sees what is read behind it */

		assert_non_null(copy);
		memcpy(copy, bytes, cut);
		assert_int_equal(audit_record_unpack(copy, cut, &record), PS_E_PROTO);
		free(copy);
	}
	assert_int_equal(audit_record_unpack(bytes, len + 1, &record), PS_E_PROTO);
	assert_int_equal(audit_record_unpack(bytes, sizeof(bytes), &record), PS_E_PROTO);
}

/* Whatever it makes of a changed byte, its strings end inside the message. */
static void test_a_changed_byte_is_refused_or_harmless(void **state)
{
	const struct audit_entry entry = full_entry();
	uint8_t bytes[AUDIT_RECORD_MAX];
	size_t len = audit_record_pack(1, 0, &entry, bytes);
	struct audit_record record;

	(void)state;
	for (size_t i = 0; i < len; i++)
		for (unsigned value = 0; value < 256; value += 15) {
			uint8_t before = bytes[i];

			bytes[i] = (uint8_t)value;
			if (audit_record_unpack(bytes, len, &record) == PS_OK) {
				assert_in_range(record.entry.event, 0, AUDIT_EVENT_COUNT - 1);
				assert_true(audit_who_is_good(record.entry.who));
				assert_in_range((size_t)((const uint8_t *)record.entry.detail - bytes), 1, len - 1);
			}
			bytes[i] = before;
		}
}

/* Added up, they would come round to 0, and hide what others lost. */
static void test_a_loss_beyond_measure_is_refused(void **state)
{
	const struct audit_entry entry = full_entry();
	struct audit_record record;
	uint8_t packed[AUDIT_RECORD_MAX];

	(void)state;
	size_t len = audit_record_pack(1, UINT32_MAX, &entry, packed);
	assert_int_equal(audit_record_unpack(packed, len, &record), PS_OK);
	assert_int_equal(record.lost, UINT32_MAX);
	len = audit_record_pack(1, UINT64_MAX - 41, &entry, packed);
	assert_int_equal(audit_record_unpack(packed, len, &record), PS_E_PROTO);
}

static void test_who_needs_its_five_strings(void **state)
{
	struct audit_who made = { .len = 4, .text = "a\0b" };

	(void)state;
	assert_false(audit_who_is_good(&made));
	made.len = 5;
	memset(made.text, 0, 5);
	assert_true(audit_who_is_good(&made));
	made.text[4] = 'x';
	assert_false(audit_who_is_good(&made));
	made.len = AUDIT_WHO_MAX + 1;
	assert_false(audit_who_is_good(&made));
	made.len = 0;
	assert_true(audit_who_is_good(&made));
}

static void test_answers_and_hellos_are_checked(void **state)
{
	struct audit_answer answer = { .upto = 5, .written = 1, .policy = AUDIT_CONTINUE, .cause = "why" };
	struct audit_hello hello = { .policy = AUDIT_CONTINUE };
	struct audit_answer heard;
	struct audit_hello greeted;

	(void)state;
	assert_int_equal(audit_answer_unpack((const uint8_t *)&answer, sizeof(answer), &heard), PS_OK);
	assert_string_equal(heard.cause, "why");
	assert_int_equal(audit_answer_unpack((const uint8_t *)&answer, sizeof(answer) - 1, &heard), PS_E_PROTO);
	answer.written = 2;
	assert_int_equal(audit_answer_unpack((const uint8_t *)&answer, sizeof(answer), &heard), PS_E_PROTO);
	answer.written = 0;
	memset(answer.cause, 'x', sizeof(answer.cause));
	assert_int_equal(audit_answer_unpack((const uint8_t *)&answer, sizeof(answer), &heard), PS_E_PROTO);
	assert_int_equal(audit_hello_unpack((const uint8_t *)&hello, sizeof(hello), &greeted), PS_OK);
	hello.policy = AUDIT_CONTINUE + 1;
	assert_int_equal(audit_hello_unpack((const uint8_t *)&hello, sizeof(hello), &greeted), PS_E_PROTO);
	assert_int_equal(audit_hello_unpack((const uint8_t *)&hello, 0, &greeted), PS_E_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_record_arrives_as_it_was_packed),
		cmocka_unit_test(test_texts_that_are_too_long_are_cut_and_fit),
		cmocka_unit_test(test_every_truncation_and_every_surplus_is_refused),
		cmocka_unit_test(test_a_changed_byte_is_refused_or_harmless),
		cmocka_unit_test(test_a_loss_beyond_measure_is_refused),
		cmocka_unit_test(test_who_needs_its_five_strings),
		cmocka_unit_test(test_answers_and_hellos_are_checked),
	};

	return cmocka_run_group_tests_name("audit_record", tests, NULL, NULL);
}
