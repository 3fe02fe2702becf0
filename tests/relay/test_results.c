/* SPDX-License-Identifier: Apache-2.0 */
#include "results.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/log.h"

static struct {
	char dir[64];
	char path[96];
	uv_loop_t loop;
	struct results *results;
} rig;

struct heard {
	unsigned times;
	enum ps_err err;
	enum results_found found;
	char reply[64];
};

static void on_answer(void *owner, const struct results_answer *answer)
{
	struct heard *heard = owner;

	heard->times++;
	heard->err = answer->err;
	heard->found = answer->found;
	if (answer->record != NULL)
		(void)snprintf(heard->reply, sizeof(heard->reply), "%.*s", (int)buf_len(&answer->record->reply),
		               (const char *)buf_front(&answer->record->reply));
}

static int start(void **state)
{
	(void)state;
	(void)snprintf(rig.dir, sizeof(rig.dir), "/tmp/portseal-results-XXXXXX");
	assert_non_null(mkdtemp(rig.dir));
	(void)snprintf(rig.path, sizeof(rig.path), "%s/results", rig.dir);
	const struct results_db_config config = {
		.path = rig.path, .window_ms = 60000, .max_size = 1024 * 1024, .slot = 0, .n_slots = 1
	};
	assert_int_equal(uv_loop_init(&rig.loop), 0);
	assert_int_equal(results_new(&rig.loop, &config, &rig.results), PS_OK);
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return remove(path);
}

static int stop(void **state)
{
	(void)state;
	results_stop(rig.results);
	assert_int_equal(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
	results_free(rig.results);
	assert_int_equal(uv_loop_close(&rig.loop), 0);
	(void)chmod(rig.path, 0600);
	return nftw(rig.dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

static void run_until(const struct heard *heard, unsigned times)
{
	while (heard->times < times)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
}

static void run_idle(void)
{
	while (!results_is_idle(rig.results))
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
}

static struct results_key key_of(const char *key)
{
	struct results_key made = { .service = "billing" };

	(void)snprintf(made.key, sizeof(made.key), "%s", key);
	return made;
}

static void record_thanks(const struct results_key *key, struct heard *heard)
{
	struct results_record record = { .status = 200, .reply_kept = true };

	assert_int_equal(receipt_make((const uint8_t *)"0123456789abcdef0123456789abcdef", 77, &record.receipt), PS_OK);
	assert_int_equal(buf_append(&record.reply, "thanks", 6), PS_OK);
	assert_non_null(results_record(rig.results, key, &record, on_answer, heard));
	assert_null(record.reply.data);
}

static void test_of_two_who_claim_at_once_one_delivers(void **state)
{
	(void)state;
	const struct results_key key = key_of("k");
	struct heard one = { 0 };
	struct heard other = { 0 };

	assert_non_null(results_claim(rig.results, &key, on_answer, &one));
	assert_non_null(results_claim(rig.results, &key, on_answer, &other));
	assert_int_equal(one.times + other.times, 0);
	run_until(&one, 1);
	run_until(&other, 1);
	assert_int_equal(one.found, RESULTS_NEW);
	assert_int_equal(other.found, RESULTS_UNDER_WAY);
}

static void test_a_record_is_given_to_whoever_comes_later(void **state)
{
	(void)state;
	const struct results_key key = key_of("k");
	struct heard heard = { 0 };

	assert_non_null(results_claim(rig.results, &key, on_answer, &heard));
	run_until(&heard, 1);
	record_thanks(&key, &heard);
	run_until(&heard, 2);
	assert_int_equal(heard.err, PS_OK);
	assert_non_null(results_claim(rig.results, &key, on_answer, &heard));
	run_until(&heard, 3);
	assert_int_equal(heard.found, RESULTS_DONE);
	assert_string_equal(heard.reply, "thanks");
}

static void test_what_nobody_waits_for_any_more_is_released(void **state)
{
	(void)state;
	const struct results_key key = key_of("k");
	struct heard heard = { 0 };

	results_forget(results_claim(rig.results, &key, on_answer, &heard));
	run_idle();
	assert_int_equal(heard.times, 0);
	assert_non_null(results_claim(rig.results, &key, on_answer, &heard));
	run_until(&heard, 1);
	assert_int_equal(heard.found, RESULTS_NEW);
}

static void test_hundreds_go_in_a_few_batches_and_each_is_answered(void **state)
{
	(void)state;
	static struct heard heard[600];

	memset(heard, 0, sizeof(heard));
	for (size_t i = 0; i < 600; i++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "%zu", i);
		const struct results_key key = key_of(name);
		assert_non_null(results_claim(rig.results, &key, on_answer, &heard[i]));
	}
	run_idle();
	for (size_t i = 0; i < 600; i++) {
		assert_int_equal(heard[i].times, 1);
		assert_int_equal(heard[i].found, RESULTS_NEW);
	}
}

static void test_while_the_store_fails_claims_are_refused_and_records_are_kept_for_later(void **state)
{
	(void)state;
	const struct results_key key = key_of("k");
	const struct results_key other = key_of("other");
	struct heard heard = { 0 };

	assert_non_null(results_claim(rig.results, &key, on_answer, &heard));
	run_until(&heard, 1);
	/* A file that others may read is not opened. */
	results_stop(rig.results);
	assert_int_equal(uv_run(&rig.loop, UV_RUN_NOWAIT), 0);
	results_free(rig.results);
	const struct results_db_config config = {
		.path = rig.path, .window_ms = 60000, .max_size = 1024 * 1024, .slot = 0, .n_slots = 1
	};
	assert_int_equal(chmod(rig.path, 0644), 0);
	assert_int_equal(results_new(&rig.loop, &config, &rig.results), PS_OK);
	assert_non_null(results_claim(rig.results, &other, on_answer, &heard));
	run_until(&heard, 2);
	assert_int_equal(heard.err, PS_E_CONFIG);
	record_thanks(&key, &heard);
	run_until(&heard, 3);
	assert_int_equal(heard.err, PS_E_CONFIG);
	assert_int_equal(chmod(rig.path, 0600), 0);
	assert_non_null(results_claim(rig.results, &other, on_answer, &heard));
	run_until(&heard, 4);
	assert_int_equal(heard.err, PS_OK);
	assert_int_equal(heard.found, RESULTS_NEW);
	assert_non_null(results_claim(rig.results, &key, on_answer, &heard));
	run_until(&heard, 5);
	assert_int_equal(heard.found, RESULTS_DONE);
	assert_string_equal(heard.reply, "thanks");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(test_of_two_who_claim_at_once_one_delivers),
		TEST(test_a_record_is_given_to_whoever_comes_later),
		TEST(test_what_nobody_waits_for_any_more_is_released),
		TEST(test_hundreds_go_in_a_few_batches_and_each_is_answered),
		TEST(test_while_the_store_fails_claims_are_refused_and_records_are_kept_for_later),
	};
	log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
