/* SPDX-License-Identifier: Apache-2.0 */
#include "results_db.h"

#include <fcntl.h>
#include <libgen.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW INT64_C(1764225264000)
#define WINDOW_MS 60000
#define BEGINNINGS 50

static char path[64];

static enum ps_err open_slot(unsigned slot, struct results_db **db, struct ps_cause *cause)
{
	const struct results_db_config config = {
		.path = path, .window_ms = WINDOW_MS, .max_size = 1024 * 1024, .slot = slot, .n_slots = 2
	};

	return results_db_open(&config, db, cause);
}

static struct results_db *must_open(unsigned slot)
{
	struct results_db *db = NULL;
	struct ps_cause cause = { "" };

	if (open_slot(slot, &db, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	return db;
}

static struct results_key key_of(uint8_t client, const char *service, const char *key)
{
	struct results_key made = { .client = { client } };

	(void)snprintf(made.service, sizeof(made.service), "%s", service);
	(void)snprintf(made.key, sizeof(made.key), "%s", key);
	return made;
}

static enum results_found claim(struct results_db *db, const struct results_key *key, int64_t now_ms,
                                struct results_record *record)
{
	enum results_found found = RESULTS_NEW;
	struct ps_cause cause = { "" };

	if (results_db_begin(db, now_ms, &cause) != PS_OK ||
	    results_db_claim(db, key, now_ms, &found, record, &cause) != PS_OK || results_db_commit(db, &cause) != PS_OK)
		fail_msg("%s", cause.text);
	return found;
}

static void record_reply(struct results_db *db, const struct results_key *key, const char *reply)
{
	struct results_record record = { .status = 200, .reply_kept = reply != NULL };

	assert_int_equal(receipt_make((const uint8_t *)"0123456789abcdef0123456789abcdef", 77, &record.receipt), PS_OK);
	if (reply != NULL && reply[0] != '\0')
		assert_int_equal(buf_append(&record.reply, reply, strlen(reply)), PS_OK);
	assert_int_equal(results_db_begin(db, NOW, NULL), PS_OK);
	assert_int_equal(results_db_record(db, key, &record, NOW, NULL), PS_OK);
	assert_int_equal(results_db_commit(db, NULL), PS_OK);
	buf_release(&record.reply);
}

static int make_path(void **state)
{
	char dir[] = "/tmp/portseal-results-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/results", dir);
	return 0;
}

static void remove_files(void)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", ".lock", "-journal" };
	char name[96];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		(void)unlink(name);
	}
}

static int remove_path(void **state)
{
	(void)state;
	remove_files();
	*strrchr(path, '/') = '\0';
	return rmdir(path);
}

static void test_a_key_is_claimed_once_and_its_record_is_found(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	const struct results_key key = key_of(1, "billing", "k1");
	struct results_record record = { .status = 0 };

	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_NEW);
	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_UNDER_WAY);
	record_reply(db, &key, "thanks\n");
	assert_int_equal(claim(db, &key, NOW + 1, &record), RESULTS_DONE);
	assert_int_equal(record.status, 200);
	assert_true(record.reply_kept);
	assert_int_equal(buf_len(&record.reply), 7);
	assert_memory_equal(buf_front(&record.reply), "thanks\n", 7);
	assert_int_equal(record.receipt.time, 77);
	assert_int_equal(strlen(record.receipt.id), RECEIPT_ID_LEN);
	assert_memory_equal(record.receipt.sha256, "0123456789abcdef0123456789abcdef", RECEIPT_SHA256_LEN);
	buf_release(&record.reply);
	results_db_close(db);
}

static void test_an_empty_reply_is_a_reply_and_one_that_was_not_kept_is_none(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	const struct results_key empty = key_of(1, "billing", "empty");
	const struct results_key lost = key_of(1, "billing", "lost");
	struct results_record record = { .status = 0 };

	assert_int_equal(claim(db, &empty, NOW, &record), RESULTS_NEW);
	assert_int_equal(claim(db, &lost, NOW, &record), RESULTS_NEW);
	record_reply(db, &empty, "");
	record_reply(db, &lost, NULL);
	assert_int_equal(claim(db, &empty, NOW, &record), RESULTS_DONE);
	assert_true(record.reply_kept);
	assert_int_equal(buf_len(&record.reply), 0);
	assert_int_equal(claim(db, &lost, NOW, &record), RESULTS_DONE);
	assert_false(record.reply_kept);
	results_db_close(db);
}

static void test_keys_of_others_and_of_other_services_are_other_keys(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	const struct results_key keys[] = { key_of(1, "billing", "k"), key_of(2, "billing", "k"), key_of(1, "mail", "k"),
		                                key_of(1, "billing", "K") };
	struct results_record record;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_int_equal(claim(db, &keys[i], NOW, &record), RESULTS_NEW);
	results_db_close(db);
}

static void test_what_was_released_can_be_claimed_again_but_no_record_is_released(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	const struct results_key key = key_of(1, "billing", "k");
	struct results_record record = { .status = 0 };

	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_NEW);
	assert_int_equal(results_db_release(db, &key, NULL), PS_OK);
	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_NEW);
	record_reply(db, &key, "x");
	assert_int_equal(results_db_release(db, &key, NULL), PS_OK);
	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_DONE);
	buf_release(&record.reply);
	results_db_close(db);
}

static void test_records_outlive_the_relay(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	const struct results_key key = key_of(1, "billing", "k");
	struct results_record record = { .status = 0 };

	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_NEW);
	record_reply(db, &key, "x");
	results_db_close(db);
	db = must_open(1);
	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_DONE);
	buf_release(&record.reply);
	results_db_close(db);
}

/* Opens it as soon as `go` is closed by everybody else; the exit code says whether that went well. */
static pid_t fork_one_that_opens(unsigned slot, const int go[2])
{
	const pid_t pid = fork();
	struct results_db *db = NULL;
	struct ps_cause cause = { "" };
	char byte;

	if (pid != 0)
		return pid;
	(void)close(go[1]);
	const bool began = read(go[0], &byte, 1) == 0;
	const enum ps_err err = open_slot(slot, &db, &cause);
	if (err != PS_OK)
		(void)fprintf(stderr, "slot %u: %s\n", slot, cause.text);
	_exit(began && err == PS_OK ? 0 : 1);
}

static void test_workers_that_begin_at_once_wait_for_each_other(void **state)
{
	(void)state;
	for (int round = 0; round < BEGINNINGS; round++) {
		pid_t pids[2];
		int go[2];

		remove_files();
		assert_int_equal(pipe(go), 0);
		for (unsigned slot = 0; slot < 2; slot++)
			assert_true((pids[slot] = fork_one_that_opens(slot, go)) > 0);
		(void)close(go[0]);
		(void)close(go[1]);
		for (unsigned slot = 0; slot < 2; slot++) {
			int status = -1;
			assert_int_equal(waitpid(pids[slot], &status, 0), pids[slot]);
			assert_int_equal(status, 0);
		}
	}
}

static void test_what_a_dead_worker_left_is_unknown_and_what_a_living_one_does_is_under_way(void **state)
{
	(void)state;
	struct results_db *dying = must_open(0);
	struct results_db *living = must_open(1);
	const struct results_key of_dying = key_of(1, "billing", "dying");
	const struct results_key of_living = key_of(1, "billing", "living");
	struct results_record record;

	assert_int_equal(claim(dying, &of_dying, NOW, &record), RESULTS_NEW);
	assert_int_equal(claim(living, &of_living, NOW, &record), RESULTS_NEW);
	results_db_close(dying);
	assert_int_equal(claim(living, &of_dying, NOW, &record), RESULTS_UNDER_WAY);
	dying = must_open(0);
	assert_int_equal(claim(dying, &of_living, NOW, &record), RESULTS_UNDER_WAY);
	assert_int_equal(claim(living, &of_dying, NOW, &record), RESULTS_REPEAT_UNKNOWN);
	assert_int_equal(claim(dying, &of_dying, NOW, &record), RESULTS_UNDER_WAY);
	results_db_close(dying);
	results_db_close(living);
}

static void test_behind_the_window_a_key_is_new(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	const struct results_key key = key_of(1, "billing", "k");
	struct results_record record = { .status = 0 };

	assert_int_equal(claim(db, &key, NOW, &record), RESULTS_NEW);
	record_reply(db, &key, "x");
	assert_int_equal(claim(db, &key, NOW + WINDOW_MS - 1, &record), RESULTS_DONE);
	buf_release(&record.reply);
	assert_int_equal(claim(db, &key, NOW + WINDOW_MS, &record), RESULTS_NEW);
	results_db_close(db);
}

static void test_two_relays_do_not_share_it(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	struct results_db *other = NULL;
	struct ps_cause cause;

	assert_int_equal(open_slot(0, &other, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "in use by another relay"));
	results_db_close(db);
}

static void test_a_file_that_others_may_read_is_refused(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	struct ps_cause cause;
	struct stat status;

	results_db_close(db);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(open_slot(0, &db, &cause), PS_E_CONFIG);
}

static void test_a_directory_that_others_may_write_to_is_refused(void **state)
{
	(void)state;
	char directory[sizeof(path)];
	struct results_db *db = NULL;
	struct ps_cause cause;

	snprintf(directory, sizeof(directory), "%s", path);
	assert_int_equal(chmod(dirname(directory), 0777), 0);
	assert_int_equal(open_slot(0, &db, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "mode 0777 lets others change what is in the directory: chmod go-w"));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(chmod(directory, 0700), 0);
}

static void test_a_damaged_file_says_so_and_stays(void **state)
{
	(void)state;
	static const char damage[] = "this is no database, and long enough to be looked at";
	const int fd = open(path, O_WRONLY | O_CREAT, 0600);
	struct results_db *db = NULL;
	struct ps_cause cause;
	struct stat status;

	assert_true(fd >= 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, damage, sizeof(damage)), sizeof(damage));
	close(fd);
	assert_int_equal(open_slot(0, &db, &cause), PS_E_IO);
	assert_non_null(strstr(cause.text, "move it away"));
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 100 * sizeof(damage));
}

static void test_a_full_store_takes_nothing_new_and_forgets_nothing(void **state)
{
	(void)state;
	struct results_db *db = must_open(0);
	struct results_record record = { .status = 200, .reply_kept = true };
	static char big[100000];
	enum ps_err err = PS_OK;
	struct ps_cause cause = { "" };
	struct results_key first = key_of(1, "billing", "0");

	memset(big, 'x', sizeof(big));
	assert_int_equal(receipt_make((const uint8_t *)"0123456789abcdef0123456789abcdef", 77, &record.receipt), PS_OK);
	for (int i = 0; err == PS_OK && i < 100; i++) {
		char name[16];
		enum results_found found;
		(void)snprintf(name, sizeof(name), "%d", i);
		const struct results_key key = key_of(1, "billing", name);

		assert_int_equal(results_db_begin(db, NOW, NULL), PS_OK);
		err = results_db_claim(db, &key, NOW, &found, &record, &cause);
		assert_int_equal(buf_append(&record.reply, big, sizeof(big)), PS_OK);
		if (err == PS_OK)
			err = results_db_record(db, &key, &record, NOW, &cause);
		if (err == PS_OK)
			err = results_db_commit(db, &cause);
		buf_release(&record.reply);
	}
	assert_int_equal(err, PS_E_LIMIT);
	assert_non_null(strstr(cause.text, "full"));
	results_db_undo(db);
	assert_int_equal(claim(db, &first, NOW, &record), RESULTS_DONE);
	assert_int_equal(buf_len(&record.reply), sizeof(big));
	buf_release(&record.reply);
	/* And has room again behind the window. */
	first = key_of(1, "billing", "new");
	assert_int_equal(claim(db, &first, NOW + WINDOW_MS, &record), RESULTS_NEW);
	results_db_close(db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_path, remove_path)
	const struct CMUnitTest tests[] = {
		TEST(test_a_key_is_claimed_once_and_its_record_is_found),
		TEST(test_an_empty_reply_is_a_reply_and_one_that_was_not_kept_is_none),
		TEST(test_keys_of_others_and_of_other_services_are_other_keys),
		TEST(test_what_was_released_can_be_claimed_again_but_no_record_is_released),
		TEST(test_records_outlive_the_relay),
		TEST(test_workers_that_begin_at_once_wait_for_each_other),
		TEST(test_what_a_dead_worker_left_is_unknown_and_what_a_living_one_does_is_under_way),
		TEST(test_behind_the_window_a_key_is_new),
		TEST(test_two_relays_do_not_share_it),
		TEST(test_a_file_that_others_may_read_is_refused),
		TEST(test_a_directory_that_others_may_write_to_is_refused),
		TEST(test_a_damaged_file_says_so_and_stays),
		TEST(test_a_full_store_takes_nothing_new_and_forgets_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
