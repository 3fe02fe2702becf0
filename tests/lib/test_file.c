/* SPDX-License-Identifier: Apache-2.0 */
/* file: whole or not at all, with the right mode, and nothing left behind. */
#include "portseal/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/portseal-file-XXXXXX";
static char path[sizeof(dir) + 16];

static int enter_empty_dir(void **state)
{
	(void)state;
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	return 0;
}

/* Returns how many entries there are besides . and .. ; removes them if told to. */
static int entries(bool remove_them)
{
	DIR *open_dir = opendir(dir);
	assert_non_null(open_dir);
	int n = 0;
	for (struct dirent *entry = readdir(open_dir); entry != NULL; entry = readdir(open_dir)) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		n++;
		if (remove_them)
			assert_int_equal(unlinkat(dirfd(open_dir), entry->d_name, 0), 0);
	}
	closedir(open_dir);
	return n;
}

static int leave_dir(void **state)
{
	(void)state;
	entries(true);
	return rmdir(dir);
}

static void assert_content(const char *expected)
{
	struct buf buf = BUF_INIT;
	assert_int_equal(file_read(path, 1000, &buf, NULL), PS_OK);
	assert_string_equal((const char *)buf_front(&buf), expected);
	buf_release(&buf);
}

static mode_t mode_of(const char *file)
{
	struct stat st;
	assert_int_equal(stat(file, &st), 0);
	return st.st_mode & 07777;
}

static void test_what_was_written_is_read_back_with_a_nul_behind(void **state)
{
	(void)state;
	struct buf buf = BUF_INIT;
	assert_int_equal(file_write(path, "abc", 3, 0600, FILE_KEEP_EXISTING, NULL), PS_OK);
	assert_int_equal(buf_append(&buf, "> ", 2), PS_OK);
	assert_int_equal(file_read(path, 3, &buf, NULL), PS_OK);
	assert_int_equal(buf_len(&buf), 5);
	assert_string_equal((const char *)buf_front(&buf), "> abc");
	assert_int_equal(entries(false), 1);
	buf_release(&buf);
}

static void test_an_empty_file_is_an_empty_text(void **state)
{
	(void)state;
	assert_int_equal(file_write(path, NULL, 0, 0600, FILE_KEEP_EXISTING, NULL), PS_OK);
	assert_content("");
}

static void test_a_file_of_many_reads_is_whole(void **state)
{
	(void)state;
	const size_t len = 100001;
	char *bytes = malloc(len);
	assert_non_null(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i % 251);
	struct buf buf = BUF_INIT;
	assert_int_equal(file_write(path, bytes, len, 0600, FILE_KEEP_EXISTING, NULL), PS_OK);
	assert_int_equal(file_read(path, len, &buf, NULL), PS_OK);
	assert_int_equal(buf_len(&buf), len);
	assert_memory_equal(buf_front(&buf), bytes, len);
	buf_release(&buf);
	free(bytes);
}

static void test_a_file_over_the_maximum_is_refused_and_forgotten(void **state)
{
	(void)state;
	struct ps_cause cause;
	struct buf buf = BUF_INIT;
	assert_int_equal(buf_append(&buf, "kept", 4), PS_OK);
	assert_int_equal(file_write(path, "secret", 6, 0600, FILE_KEEP_EXISTING, NULL), PS_OK);
	assert_int_equal(file_read(path, 5, &buf, &cause), PS_E_LIMIT);
	assert_non_null(strstr(cause.text, "/file: larger than 5 bytes"));
	assert_int_equal(buf_len(&buf), 4);
	assert_null(memmem(buf.data, buf.cap, "secret", 6));
	buf_release(&buf);
}

static void test_a_missing_file_is_named_and_escaped(void **state)
{
	(void)state;
	struct ps_cause cause;
	struct buf buf = BUF_INIT;
	assert_int_equal(file_read("no\nsuch", 5, &buf, &cause), PS_E_IO);
	assert_string_equal(cause.text, "no\\x0asuch: no such file or directory");
	assert_int_equal(file_read("/", 5, &buf, &cause), PS_E_IO);
	assert_string_equal(cause.text, "/: is a directory");
	buf_release(&buf);
}

static void test_the_mode_is_exact_under_any_umask(void **state)
{
	(void)state;
	static const mode_t umasks[] = { 0, 022, 077, 0777 };
	static const mode_t modes[] = { 0600, 0644, 0400 };
	for (size_t i = 0; i < 4; i++) {
		for (size_t j = 0; j < 3; j++) {
			const mode_t before = umask(umasks[i]);
			const enum ps_err err = file_write(path, "x", 1, modes[j], FILE_REPLACE, NULL);
			umask(before);
			assert_int_equal(err, PS_OK);
			assert_int_equal(mode_of(path), modes[j]);
		}
	}
}

static void test_an_existing_file_stays_unless_replaced(void **state)
{
	(void)state;
	struct ps_cause cause;
	assert_int_equal(file_write(path, "old", 3, 0600, FILE_KEEP_EXISTING, NULL), PS_OK);
	assert_int_equal(file_write(path, "new", 3, 0644, FILE_KEEP_EXISTING, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "/file: exists already"));
	assert_content("old");
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(entries(false), 1);

	assert_int_equal(file_write(path, "new", 3, 0644, FILE_REPLACE, NULL), PS_OK);
	assert_content("new");
	assert_int_equal(mode_of(path), 0644);
	assert_int_equal(entries(false), 1);
}

static void test_a_link_is_neither_followed_nor_overwritten(void **state)
{
	(void)state;
	char victim[sizeof(path) + 8];
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	assert_int_equal(symlink("victim", path), 0);
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_KEEP_EXISTING, NULL), PS_E_CONFIG);
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_REPLACE, NULL), PS_OK);
	assert_int_equal(access(victim, F_OK), -1);
	assert_content("x");
}

static void test_a_directory_in_the_way_leaves_nothing_behind(void **state)
{
	(void)state;
	struct ps_cause cause;
	char below[sizeof(path) + 8];
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_REPLACE, &cause), PS_E_IO);
	assert_non_null(strstr(cause.text, "/file: is a directory"));
	assert_int_equal(entries(false), 1);
	assert_int_equal(rmdir(path), 0);

	snprintf(below, sizeof(below), "%s/below", path);
	assert_int_equal(file_write(below, "x", 1, 0600, FILE_REPLACE, &cause), PS_E_IO);
	assert_non_null(strstr(cause.text, "/file/below: no such file or directory"));
	assert_int_equal(entries(false), 0);
}

static void test_a_path_without_a_name_is_refused(void **state)
{
	(void)state;
	struct ps_cause cause;
	assert_int_equal(file_write("/tmp/", "x", 1, 0600, FILE_REPLACE, &cause), PS_E_IO);
	assert_string_equal(cause.text, "/tmp/: is a directory");
	assert_int_equal(file_write("", "x", 1, 0600, FILE_REPLACE, NULL), PS_E_IO);
}

/* In a child whose files may have 4 bytes: every write beyond that fails. */
static int write_in_a_small_world(void)
{
	const struct rlimit limit = { 4, 4 };
	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
		return 90;
	struct ps_cause cause;
	if (file_write(path, "too long", 8, 0600, FILE_REPLACE, &cause) != PS_E_IO)
		return 91;
	return strstr(cause.text, "/file: file too large") != NULL ? 0 : 92;
}

static void test_a_full_disk_leaves_the_old_file_and_no_other(void **state)
{
	(void)state;
	assert_int_equal(file_write(path, "old", 3, 0600, FILE_KEEP_EXISTING, NULL), PS_OK);
	const pid_t child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0)
		_exit(write_in_a_small_world());
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_content("old");
	assert_int_equal(entries(false), 1);
}

static void test_a_private_file_is_accepted(void **state)
{
	(void)state;
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_REPLACE, NULL), PS_OK);
	assert_int_equal(file_check_private(path, NULL), PS_OK);
	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(file_check_private(path, NULL), PS_OK);
}

static void test_a_file_open_to_others_is_refused(void **state)
{
	(void)state;
	static const mode_t modes[] = { 0640, 0604, 0620, 0602, 0666 };
	struct ps_cause cause;
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_REPLACE, NULL), PS_OK);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		char expected[16];
		snprintf(expected, sizeof(expected), "mode %04o", (unsigned)modes[i]);
		assert_int_equal(chmod(path, modes[i]), 0);
		assert_int_equal(file_check_private(path, &cause), PS_E_CONFIG);
		assert_non_null(strstr(cause.text, expected));
	}
}

static void test_a_file_of_a_third_user_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	struct ps_cause cause;
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_REPLACE, NULL), PS_OK);
	assert_int_equal(chown(path, 65533, (gid_t)-1), 0);
	assert_int_equal(file_check_private(path, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "owner 65533"));
}

static void test_a_missing_private_file_is_named(void **state)
{
	(void)state;
	struct ps_cause cause;
	assert_int_equal(file_check_private("missing", &cause), PS_E_IO);
	assert_string_equal(cause.text, "missing: no such file or directory");
}

static void test_a_directory_that_only_we_may_change_is_accepted(void **state)
{
	(void)state;
	static const mode_t modes[] = { 0700, 0755, 0500 };
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(dir, modes[i]), 0);
		assert_int_equal(file_check_directory(dir, NULL), PS_OK);
	}
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_a_directory_that_others_may_change_is_refused(void **state)
{
	(void)state;
	static const mode_t modes[] = { 0770, 0720, 0702, 0777, 01777, 03770 };
	struct ps_cause cause;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		char expected[sizeof(dir) + 80];
		snprintf(expected, sizeof(expected), "%s: mode %04o lets others change what is in the directory: chmod go-w",
		         dir, (unsigned)modes[i]);
		assert_int_equal(chmod(dir, modes[i]), 0);
		assert_int_equal(file_check_directory(dir, &cause), PS_E_CONFIG);
		assert_string_equal(cause.text, expected);
	}
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_a_directory_of_a_third_user_is_refused(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	struct ps_cause cause;
	assert_int_equal(chown(dir, 65533, (gid_t)-1), 0);
	assert_int_equal(file_check_directory(dir, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "belongs to user 65533"));
}

static void test_what_is_no_directory_is_named(void **state)
{
	(void)state;
	struct ps_cause cause;
	assert_int_equal(file_check_directory("missing", &cause), PS_E_CONFIG);
	assert_string_equal(cause.text, "missing: no such file or directory");
	assert_int_equal(file_write(path, "x", 1, 0600, FILE_REPLACE, NULL), PS_OK);
	assert_int_equal(file_check_directory(path, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "is not a directory"));
}

static void test_relative_paths_are_relative_to_the_base(void **state)
{
	(void)state;
	static const struct {
		const char *base, *path, *resolved;
	} rows[] = {
		{ "/etc/ps", "pki/a.crt", "/etc/ps/pki/a.crt" },
		{ "/etc/ps/", "a", "/etc/ps/a" },
		{ "/etc/ps", "/a", "/a" },
		{ "", "a", "a" },
		{ "/", "a", "/a" },
		{ ".", "a", "./a" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[32];
		assert_int_equal(file_resolve(rows[i].base, rows[i].path, out, sizeof(out)), PS_OK);
		assert_string_equal(out, rows[i].resolved);
	}
}

static void test_a_path_that_does_not_fit_is_refused(void **state)
{
	(void)state;
	char out[4] = "old";
	assert_int_equal(file_resolve("/b", "a", out, sizeof(out)), PS_E_LIMIT);
	assert_string_equal(out, "old");
	assert_int_equal(file_resolve("b", "a", out, sizeof(out)), PS_OK);
	assert_string_equal(out, "b/a");
}

static void test_write_all_reports_a_closed_descriptor(void **state)
{
	(void)state;
	assert_int_equal(file_write_all(-1, "x", 1), PS_E_IO);
	assert_int_equal(errno, EBADF);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, enter_empty_dir, leave_dir)

static void test_a_fingerprint_changes_with_the_file(void **state)
{
	(void)state;
	struct ps_cause cause;
	uint64_t before = file_fingerprint(FILE_FINGERPRINT, "watched"), after;

	assert_int_equal(file_fingerprint(FILE_FINGERPRINT, NULL), FILE_FINGERPRINT);
	assert_int_equal(file_fingerprint(FILE_FINGERPRINT, "watched"), before);
	for (const char *content = "xyz"; *content != '\0'; content++, before = after) {
		assert_int_equal(file_write("watched", content, strlen(content), 0600, FILE_REPLACE, &cause), PS_OK);
		after = file_fingerprint(FILE_FINGERPRINT, "watched");
		assert_int_not_equal(after, before);
	}
	assert_int_equal(unlink("watched"), 0);
	assert_int_not_equal(file_fingerprint(FILE_FINGERPRINT, "watched"), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_what_was_written_is_read_back_with_a_nul_behind),
		IN_DIR(test_an_empty_file_is_an_empty_text),
		IN_DIR(test_a_file_of_many_reads_is_whole),
		IN_DIR(test_a_file_over_the_maximum_is_refused_and_forgotten),
		cmocka_unit_test(test_a_missing_file_is_named_and_escaped),
		IN_DIR(test_the_mode_is_exact_under_any_umask),
		IN_DIR(test_an_existing_file_stays_unless_replaced),
		IN_DIR(test_a_link_is_neither_followed_nor_overwritten),
		IN_DIR(test_a_directory_in_the_way_leaves_nothing_behind),
		cmocka_unit_test(test_a_path_without_a_name_is_refused),
		IN_DIR(test_a_full_disk_leaves_the_old_file_and_no_other),
		IN_DIR(test_a_private_file_is_accepted),
		IN_DIR(test_a_file_open_to_others_is_refused),
		IN_DIR(test_a_file_of_a_third_user_is_refused),
		cmocka_unit_test(test_a_missing_private_file_is_named),
		IN_DIR(test_a_directory_that_only_we_may_change_is_accepted),
		IN_DIR(test_a_directory_that_others_may_change_is_refused),
		IN_DIR(test_a_directory_of_a_third_user_is_refused),
		IN_DIR(test_what_is_no_directory_is_named),
		cmocka_unit_test(test_relative_paths_are_relative_to_the_base),
		cmocka_unit_test(test_a_path_that_does_not_fit_is_refused),
		cmocka_unit_test(test_write_all_reports_a_closed_descriptor),
		IN_DIR(test_a_fingerprint_changes_with_the_file),
	};
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
