/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/file.h"

static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[512];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/portseal-batch-XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
	(void)state;
	static const char *const leftovers[] = { "a.key", "b.crt", ".next/a.key", ".next/b.crt", ".commit/a.key" };
	for (size_t i = 0; i < sizeof(leftovers) / sizeof(leftovers[0]); i++)
		unlink(in_dir(leftovers[i]));
	rmdir(in_dir(".next"));
	rmdir(in_dir(".commit"));
	return rmdir(dir);
}

static struct buf text(const char *string)
{
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, string, strlen(string)), PS_OK);
	return buf;
}

static void put(const char *name, const char *content)
{
	assert_int_equal(file_write(in_dir(name), content, strlen(content), 0600, FILE_REPLACE, NULL), PS_OK);
}

static void assert_content(const char *name, const char *expected)
{
	struct buf file = BUF_INIT;
	assert_int_equal(file_read(in_dir(name), 100, &file, NULL), PS_OK);
	assert_string_equal((const char *)buf_front(&file), expected);
	buf_release(&file);
}

static void assert_absent(const char *name)
{
	assert_int_not_equal(access(in_dir(name), F_OK), 0);
}

static void test_all_files_of_a_batch_appear_with_their_modes(void **state)
{
	(void)state;
	struct buf key = text("key");
	struct buf certificate = text("certificate");
	struct stat status;
	assert_int_equal(batch_begin(dir, NULL), PS_OK);
	assert_int_equal(batch_add(dir, "a.key", &key, 0600, NULL), PS_OK);
	assert_int_equal(batch_add(dir, "b.crt", &certificate, 0644, NULL), PS_OK);
	assert_absent("a.key");
	assert_int_equal(batch_commit(dir, NULL), PS_OK);
	assert_content("a.key", "key");
	assert_content("b.crt", "certificate");
	assert_int_equal(stat(in_dir("a.key"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_absent(".next");
	assert_absent(".commit");
	buf_release(&key);
	buf_release(&certificate);
}

static void test_a_batch_that_is_abandoned_changes_nothing(void **state)
{
	(void)state;
	struct buf key = text("new");
	put("a.key", "old");
	assert_int_equal(batch_begin(dir, NULL), PS_OK);
	assert_int_equal(batch_add(dir, "a.key", &key, 0600, NULL), PS_OK);
	batch_abandon(dir);
	assert_content("a.key", "old");
	assert_absent(".next");
	buf_release(&key);
}

static void test_recovery_throws_away_what_was_not_decided(void **state)
{
	(void)state;
	put("a.key", "old");
	assert_int_equal(mkdir(in_dir(".next"), 0700), 0);
	put(".next/a.key", "new");
	assert_int_equal(batch_recover(dir, NULL), PS_OK);
	assert_content("a.key", "old");
	assert_absent(".next");
}

static void test_recovery_finishes_what_was_decided(void **state)
{
	(void)state;
	put("a.key", "old");
	put("b.crt", "new, moved before the kill");
	assert_int_equal(mkdir(in_dir(".commit"), 0700), 0);
	put(".commit/a.key", "new");
	assert_int_equal(batch_recover(dir, NULL), PS_OK);
	assert_content("a.key", "new");
	assert_content("b.crt", "new, moved before the kill");
	assert_absent(".commit");
}

static void test_recovery_of_a_tidy_directory_changes_nothing(void **state)
{
	(void)state;
	put("a.key", "old");
	assert_int_equal(batch_recover(dir, NULL), PS_OK);
	assert_content("a.key", "old");
}

static void test_a_link_in_place_of_the_decided_directory_is_not_followed(void **state)
{
	(void)state;
	struct ps_cause cause = { "" };
	assert_int_equal(symlink("/", in_dir(".commit")), 0);
	assert_int_equal(batch_recover(dir, &cause), PS_E_IO);
	assert_string_not_equal(cause.text, "");
	assert_int_equal(unlink(in_dir(".commit")), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_files_of_a_batch_appear_with_their_modes),
		TEST(test_a_batch_that_is_abandoned_changes_nothing),
		TEST(test_recovery_throws_away_what_was_not_decided),
		TEST(test_recovery_finishes_what_was_decided),
		TEST(test_recovery_of_a_tidy_directory_changes_nothing),
		TEST(test_a_link_in_place_of_the_decided_directory_is_not_followed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
