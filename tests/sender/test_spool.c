/* SPDX-License-Identifier: Apache-2.0 */
/* spool: what was kept is there, whole, in order and within its limits, whoever dies and whatever the file looks like. */
#include "spool/spool.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "portseal/file.h"
#include "spool/spool_queue.h"
#include "spool/spool_take.h"
#include "spool/stage.h"

#define NOON INT64_C(1764158400000)
#define HOUR INT64_C(3600000)

static char dir[64];
static char path[sizeof(dir) + sizeof("/spool.db")];
static struct spool *spool;
static struct ps_cause cause;

static const struct spool_put_config usual = {
	.service = "app", .now_ms = NOON, .ttl_ms = 0, .max_messages = 1000000, .max_bytes = UINT64_C(1) << 40
};

#define MUST(call) \
	do { \
		cause.text[0] = '\0'; \
		const enum ps_err must_err = (call); \
		assert_string_equal(cause.text, ""); \
		assert_int_equal(must_err, PS_OK); \
	} while (0)

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/portseal-test-spool-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/spool.db", dir);
	return spool_open(path, &spool, &cause) == PS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "spool.db", "spool.db-wal", "spool.db-shm", "db-wal", "db-shm" };
	char each[sizeof(path) + 8];
	(void)state;
	spool_close(spool);
	spool = NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(each, sizeof(each), "%s/%s", dir, names[i]);
		unlink(each);
	}
	return rmdir(dir);
}

static enum ps_err put(const struct spool_put_config *config, const char *text, char id[static SPOOL_ID_SIZE])
{
	struct spool_stage stage;
	spool_stage_init(&stage, path, 1 << 20);
	enum ps_err err = spool_stage_add(&stage, text, strlen(text), &cause);
	if (err == PS_OK)
		err = spool_put(spool, config, &stage, id, &cause);
	spool_stage_clear(&stage);
	return err;
}

static void must_put_to(const char *service, int64_t now_ms, const char *text)
{
	struct spool_put_config config = usual;
	char id[SPOOL_ID_SIZE];
	config.service = service;
	config.now_ms = now_ms;
	MUST(put(&config, text, id));
}

static enum ps_err claim(const char *service, bool ordered, int64_t now_ms, struct spool_message *message,
                         int64_t *due_ms)
{
	struct spool_claim asked = { .service = service, .ordered = ordered, .now_ms = now_ms };
	MUST(spool_begin(spool, &cause));
	const enum ps_err err = spool_claim(spool, &asked, message, &cause);
	MUST(spool_commit(spool, &cause));
	if (due_ms != NULL)
		*due_ms = asked.due_ms;
	return err;
}

static void must_claim(const char *service, bool ordered, int64_t now_ms, struct spool_message *message)
{
	assert_int_equal(claim(service, ordered, now_ms, message, NULL), PS_OK);
}

static void give_back(int64_t seq, bool dead, int64_t now_ms, int64_t due_ms)
{
	const struct spool_failure failure = {
		.reason = "cut", .detail = "it broke", .dead = dead, .now_ms = now_ms, .due_ms = due_ms, .uncertain = true
	};
	MUST(spool_begin(spool, &cause));
	MUST(spool_settle_failed(spool, seq, &failure, &cause));
	MUST(spool_commit(spool, &cause));
}

static void deliver(int64_t seq)
{
	MUST(spool_begin(spool, &cause));
	MUST(spool_settle_delivered(spool, seq, &cause));
	MUST(spool_commit(spool, &cause));
}

static void assert_payload(int64_t seq, const char *expected)
{
	char got[64] = "";
	size_t n;
	MUST(spool_read(spool, seq, 0, got, sizeof(got), &n, &cause));
	assert_int_equal(n, strlen(expected));
	assert_memory_equal(got, expected, n);
}

static struct spool_totals totals(void)
{
	struct spool_totals now;
	MUST(spool_totals(spool, &now, &cause));
	return now;
}

static void test_a_message_is_kept_claimed_and_gone_when_delivered(void **state)
{
	struct spool_message message;
	char id[SPOOL_ID_SIZE];
	(void)state;
	MUST(put(&usual, "hello", id));
	must_claim("app", false, NOON, &message);
	assert_string_equal(message.id, id);
	assert_string_equal(message.service, "app");
	assert_int_equal(message.len, 5);
	assert_int_equal(message.attempts, 1);
	assert_payload(message.seq, "hello");
	assert_int_equal(claim("app", false, NOON, &message, NULL), PS_E_CLOSED);
	deliver(message.seq);
	assert_int_equal(totals().messages, 0);
	assert_int_equal(totals().bytes, 0);
	assert_int_equal(totals().kept, 1);
	assert_int_equal(totals().delivered, 1);
	assert_int_equal(spool_walk(spool, 0, &message, &cause), PS_E_CLOSED);
}

static void test_an_id_is_a_random_uuid(void **state)
{
	char a[SPOOL_ID_SIZE];
	char b[SPOOL_ID_SIZE];
	(void)state;
	MUST(put(&usual, "", a));
	MUST(put(&usual, "", b));
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 36);
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
}

/* Sizes around the edges of a part and of the stage's memory, in writes of an odd size. */
static void test_payloads_of_every_size_come_back_whole(void **state)
{
	static const size_t sizes[] = { 0,
		                            1,
		                            SPOOL_PART - 1,
		                            SPOOL_PART,
		                            SPOOL_PART + 1,
		                            SPOOL_STAGE_MEMORY,
		                            SPOOL_STAGE_MEMORY + 1,
		                            3 * SPOOL_STAGE_MEMORY + 7 };
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct spool_stage stage;
		struct spool_message message;
		char id[SPOOL_ID_SIZE];
		uint8_t piece[10007];
		spool_stage_init(&stage, path, UINT64_C(1) << 30);
		for (size_t at = 0; at < sizes[i]; at += sizeof(piece)) {
			const size_t len = sizes[i] - at < sizeof(piece) ? sizes[i] - at : sizeof(piece);
			for (size_t j = 0; j < len; j++)
				piece[j] = (uint8_t)((at + j) * 31 % 251);
			MUST(spool_stage_add(&stage, piece, len, &cause));
		}
		MUST(spool_put(spool, &usual, &stage, id, &cause));
		spool_stage_clear(&stage);
		must_claim("app", false, NOON, &message);
		assert_int_equal(message.len, sizes[i]);
		size_t total = 0;
		size_t n = 1;
		while (n > 0) {
			MUST(spool_read(spool, message.seq, total, piece, sizeof(piece), &n, &cause));
			for (size_t j = 0; j < n; j++)
				assert_int_equal(piece[j], (total + j) * 31 % 251);
			total += n;
		}
		assert_int_equal(total, sizes[i]);
		deliver(message.seq);
	}
}

static void test_a_message_over_its_limit_is_refused(void **state)
{
	struct spool_stage stage;
	(void)state;
	spool_stage_init(&stage, path, 4);
	MUST(spool_stage_add(&stage, "1234", 4, &cause));
	assert_int_equal(spool_stage_add(&stage, "5", 1, &cause), PS_E_LIMIT);
	assert_string_equal(cause.text, "the message is larger than 4 bytes: spool.max_message allows no more");
	spool_stage_clear(&stage);
}

static void test_a_full_spool_refuses_and_keeps_what_it_has(void **state)
{
	struct spool_put_config config = usual;
	char id[SPOOL_ID_SIZE];
	(void)state;
	config.max_messages = 2;
	config.max_bytes = 10;
	MUST(put(&config, "12345", id));
	assert_int_equal(put(&config, "123456", id), PS_E_LIMIT);
	assert_non_null(strstr(cause.text, "spool.max_bytes"));
	MUST(put(&config, "12345", id));
	assert_int_equal(put(&config, "", id), PS_E_LIMIT);
	assert_non_null(strstr(cause.text, "spool.max_messages"));
	assert_int_equal(totals().messages, 2);
	assert_int_equal(totals().bytes, 10);
	assert_int_equal(totals().kept, 2);
}

static void test_the_oldest_due_message_goes_first(void **state)
{
	struct spool_message message;
	(void)state;
	must_put_to("app", NOON, "first");
	must_put_to("app", NOON + 1, "second");
	must_claim("app", false, NOON + 2, &message);
	assert_payload(message.seq, "first");
	give_back(message.seq, false, NOON + 2, NOON + 1000);
	must_claim("app", false, NOON + 3, &message);
	assert_payload(message.seq, "second");
}

static void test_a_failed_message_waits_until_it_is_due_and_says_when(void **state)
{
	struct spool_message message;
	int64_t due_ms;
	(void)state;
	must_put_to("app", NOON, "x");
	must_claim("app", false, NOON, &message);
	give_back(message.seq, false, NOON, NOON + 1000);
	assert_int_equal(claim("app", false, NOON + 999, &message, &due_ms), PS_E_CLOSED);
	assert_int_equal(due_ms, NOON + 1000);
	must_claim("app", false, NOON + 1000, &message);
	assert_int_equal(message.attempts, 2);
	assert_int_equal(message.uncertain, 1);
	assert_string_equal(message.reason, "cut");
	assert_string_equal(message.detail, "it broke");
	assert_int_equal(totals().uncertain, 1);
}

static void test_an_ordered_service_never_overtakes(void **state)
{
	struct spool_message message;
	int64_t due_ms;
	(void)state;
	must_put_to("app", NOON, "first");
	must_put_to("app", NOON, "second");
	must_claim("app", true, NOON, &message);
	assert_int_equal(claim("app", true, NOON, &message, &due_ms), PS_E_CLOSED);
	assert_int_equal(due_ms, INT64_MAX);
	give_back(message.seq, false, NOON, NOON + 1000);
	assert_int_equal(claim("app", true, NOON + 1, &message, &due_ms), PS_E_CLOSED);
	assert_int_equal(due_ms, NOON + 1000);
	must_claim("app", true, NOON + 1000, &message);
	assert_payload(message.seq, "first");
	give_back(message.seq, true, NOON, NOON);
	must_claim("app", true, NOON + 1000, &message);
	assert_payload(message.seq, "second");
}

static void test_services_are_told_one_after_the_other(void **state)
{
	char service[SPOOL_SERVICE_SIZE] = "";
	(void)state;
	must_put_to("b", NOON, "1");
	must_put_to("a", NOON, "2");
	must_put_to("b", NOON, "3");
	MUST(spool_next_service(spool, service, &cause));
	assert_string_equal(service, "a");
	MUST(spool_next_service(spool, service, &cause));
	assert_string_equal(service, "b");
	assert_int_equal(spool_next_service(spool, service, &cause), PS_E_CLOSED);
}

/* Whoever wrote them: they must not be found again and again. */
static void test_a_service_name_that_nothing_here_has_written_is_damage(void **state)
{
	static const char *const changes[] = {
		"UPDATE message SET service = printf('%.*c', 64, 'x')",
		"UPDATE message SET service = CAST(x'610062' AS TEXT)",
	};
	sqlite3 *db;
	(void)state;
	must_put_to("a", NOON, "1");
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char service[SPOOL_SERVICE_SIZE] = "";
		assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, changes[i], NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		assert_int_equal(spool_next_service(spool, service, &cause), PS_E_CONFIG);
		assert_non_null(strstr(cause.text, "damaged"));
	}
}

static void test_what_was_under_way_at_the_end_of_a_process_is_uncertain_and_due(void **state)
{
	struct spool_message message;
	uint64_t n;
	(void)state;
	must_put_to("app", NOON, "x");
	must_put_to("app", NOON, "y");
	must_claim("app", false, NOON, &message);
	spool_close(spool);
	spool = NULL;
	MUST(spool_open_existing(path, &spool, &cause));
	MUST(spool_reclaim(spool, NOON + 5, &n, &cause));
	assert_int_equal(n, 1);
	assert_int_equal(totals().uncertain, 1);
	must_claim("app", true, NOON + 5, &message);
	assert_payload(message.seq, "x");
	assert_string_equal(message.reason, "interrupted");
	assert_int_equal(message.attempts, 2);
}

static void test_a_clock_set_back_stalls_nothing(void **state)
{
	struct spool_message message;
	(void)state;
	must_put_to("app", NOON, "x");
	must_claim("app", false, NOON, &message);
	give_back(message.seq, false, NOON, NOON + 1000);
	assert_int_equal(claim("app", false, NOON - HOUR, &message, NULL), PS_E_CLOSED);
	MUST(spool_mend_clock(spool, NOON - HOUR, &cause));
	must_claim("app", false, NOON - HOUR, &message);
	assert_payload(message.seq, "x");
}

static void test_a_message_whose_time_is_over_dies_with_its_last_failure(void **state)
{
	struct spool_put_config config = usual;
	struct spool_message message;
	char id[SPOOL_ID_SIZE];
	(void)state;
	config.ttl_ms = 1000;
	MUST(put(&config, "x", id));
	must_claim("app", false, NOON, &message);
	give_back(message.seq, false, NOON, NOON + 500);
	MUST(spool_begin(spool, &cause));
	assert_int_equal(spool_expire(spool, NOON + 999, &message, &cause), PS_E_CLOSED);
	MUST(spool_expire(spool, NOON + 1000, &message, &cause));
	assert_int_equal(spool_expire(spool, NOON + 1000, &message, &cause), PS_E_CLOSED);
	MUST(spool_commit(spool, &cause));
	MUST(spool_walk(spool, 0, &message, &cause));
	assert_int_equal(message.state, SPOOL_DEAD);
	assert_string_equal(message.reason, "expired");
	assert_string_equal(message.detail, "cut: it broke");
	assert_payload(message.seq, "x");
	assert_int_equal(totals().died, 1);
}

static void test_a_dead_message_can_be_retried_and_lives_anew(void **state)
{
	struct spool_put_config config = usual;
	const struct spool_retry retry = { .now_ms = NOON + HOUR, .ttl_ms = 1000 };
	struct spool_message message;
	char id[SPOOL_ID_SIZE];
	uint64_t n;
	(void)state;
	config.ttl_ms = 1000;
	MUST(put(&config, "x", id));
	must_claim("app", false, NOON, &message);
	assert_int_equal(spool_retry(spool, message.seq, &retry, &cause), PS_E_CLOSED); /* under way */
	give_back(message.seq, true, NOON, NOON);
	MUST(spool_retry(spool, message.seq, &retry, &cause));
	must_claim("app", false, NOON + HOUR, &message);
	assert_string_equal(message.id, id);
	assert_int_equal(message.expires_ms, NOON + HOUR + 1000);
	give_back(message.seq, false, NOON + HOUR, NOON + 2 * HOUR);
	MUST(spool_retry_all(spool, &retry, &n, &cause));
	assert_int_equal(n, 1);
	must_claim("app", false, NOON + HOUR, &message);
}

static void test_messages_are_found_by_the_beginning_of_their_id(void **state)
{
	struct spool_message message;
	char id[SPOOL_ID_SIZE];
	char start[9];
	(void)state;
	MUST(put(&usual, "x", id));
	snprintf(start, sizeof(start), "%.8s", id);
	MUST(spool_find(spool, start, &message, &cause));
	assert_string_equal(message.id, id);
	MUST(spool_find(spool, id, &message, &cause));
	assert_int_equal(spool_find(spool, "zz", &message, &cause), PS_E_CLOSED);
	assert_int_equal(spool_find(spool, "", &message, &cause), PS_E_CLOSED);
	for (int i = 0; i < 16; i++)
		MUST(put(&usual, "y", id));
	snprintf(start, sizeof(start), "%.8s", id);
	MUST(spool_find(spool, start, &message, &cause));
	assert_string_equal(message.id, id);
}

static void test_dropping_takes_the_payload_too_but_nothing_that_is_under_way(void **state)
{
	struct spool_message message;
	char gone[8];
	size_t got;
	uint64_t n;
	(void)state;
	must_put_to("app", NOON, "x");
	must_put_to("app", NOON, "y");
	must_put_to("app", NOON, "z");
	must_claim("app", false, NOON, &message);
	assert_int_equal(spool_drop(spool, message.seq, true, &cause), PS_E_CLOSED);
	MUST(spool_drop(spool, message.seq, false, &cause));
	MUST(spool_read(spool, message.seq, 0, gone, sizeof(gone), &got, &cause));
	assert_int_equal(got, 0);
	must_claim("app", false, NOON, &message);
	give_back(message.seq, true, NOON, NOON);
	MUST(spool_drop_dead(spool, &n, &cause));
	assert_int_equal(n, 1);
	assert_int_equal(totals().messages, 1);
	assert_int_equal(totals().dropped, 2);
}

static void test_changes_that_are_rolled_back_never_were(void **state)
{
	struct spool_claim asked = { .service = "app", .now_ms = NOON };
	struct spool_message message;
	(void)state;
	must_put_to("app", NOON, "x");
	MUST(spool_begin(spool, &cause));
	MUST(spool_claim(spool, &asked, &message, &cause));
	spool_rollback(spool);
	must_claim("app", false, NOON, &message);
	assert_int_equal(message.attempts, 1);
}

static void test_the_file_is_for_its_owner_only(void **state)
{
	struct stat status;
	struct spool *other = NULL;
	(void)state;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(spool_open(path, &other, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "others may read or write it (expected 0600)"));
}

static void test_nobody_else_may_put_files_beside_it(void **state)
{
	char elsewhere[sizeof(path) + 16];
	char link[sizeof(path) + 16];
	char real[sizeof(path) + 32];
	struct spool *other = NULL;
	(void)state;
	assert_int_equal(chmod(dir, 0770), 0);
	assert_int_equal(spool_open(path, &other, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "mode 0770 lets others change what is in the directory"));
	assert_int_equal(spool_open_existing(path, &other, &cause), PS_E_CONFIG);
	assert_int_equal(chmod(dir, 0700), 0);
	MUST(spool_open(path, &other, &cause));
	spool_close(other);
	/* A new one is not even made, and a link does not hide where the files are. */
	snprintf(elsewhere, sizeof(elsewhere), "%s/wide", dir);
	snprintf(real, sizeof(real), "%s/spool.db", elsewhere);
	snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	assert_int_equal(chmod(elsewhere, 01777), 0);
	assert_int_equal(spool_open(real, &other, &cause), PS_E_CONFIG);
	assert_int_equal(access(real, F_OK), -1);
	assert_int_equal(file_write(real, "", 0, 0600, FILE_REPLACE, NULL), PS_OK);
	assert_int_equal(symlink(real, link), 0);
	assert_int_equal(spool_open(link, &other, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "wide: mode 1777"));
	unlink(link);
	unlink(real);
	assert_int_equal(rmdir(elsewhere), 0);
}

static void write_other(const char *name, const char *text, size_t len, char out[static sizeof(path) + 16])
{
	snprintf(out, sizeof(path) + 16, "%s/%s", dir, name);
	assert_int_equal(file_write(out, text, len, 0600, FILE_REPLACE, NULL), PS_OK);
}

static void test_other_files_are_refused_and_left_alone(void **state)
{
	char other[sizeof(path) + 16];
	char text[8192];
	struct spool *opened = NULL;
	sqlite3 *db = NULL;
	(void)state;
	memset(text, 'x', sizeof(text));
	write_other("text", text, sizeof(text), other);
	assert_int_equal(spool_open(other, &opened, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "no spool but some other file"));
	unlink(other);
	write_other("db", "", 0, other);
	assert_int_equal(sqlite3_open(other, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(spool_open(other, &opened, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "a database, but not a spool"));
	unlink(other);
	assert_int_equal(spool_open(dir, &opened, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "no regular file"));
	assert_int_equal(spool_open_existing(other, &opened, &cause), PS_E_CLOSED);
	assert_null(opened);
}

static void test_a_newer_format_is_refused(void **state)
{
	sqlite3 *db = NULL;
	struct spool *opened = NULL;
	(void)state;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(spool_open(path, &opened, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "its format is 99 and this program knows 1"));
}

static void test_a_damaged_page_is_found(void **state)
{
	char junk[2048];
	(void)state;
	for (int i = 0; i < 200; i++)
		must_put_to("app", NOON, "a message that fills its page a little");
	spool_close(spool);
	spool = NULL;
	memset(junk, 0x5a, sizeof(junk));
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	const int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 3 * 4096), sizeof(junk));
	close(fd);
	enum ps_err err = spool_open_existing(path, &spool, &cause);
	if (err == PS_OK)
		err = spool_check(spool, &cause);
	assert_int_equal(err, PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "it is damaged"));
}

static void test_a_sound_spool_passes_its_check(void **state)
{
	(void)state;
	must_put_to("app", NOON, "x");
	MUST(spool_check(spool, &cause));
	MUST(spool_shrink(spool, &cause));
	MUST(spool_check(spool, &cause));
}

/* Also its log, which stays when a spool is closed and would be a stranger to the next one of that name. */
static void unlink_whole(const char *file)
{
	char name[256];

	unlink(file);
	(void)snprintf(name, sizeof(name), "%s-wal", file);
	unlink(name);
	(void)snprintf(name, sizeof(name), "%s-shm", file);
	unlink(name);
}

/* Several processes put and one is killed in the middle: the others' messages are all there, each whole. */
static void test_processes_that_put_at_once_and_die_leave_whole_messages(void **state)
{
	enum { PUTTERS = 4, EACH = 25 };
	pid_t putters[PUTTERS + 1];
	struct spool_message message = { .seq = 0 };
	int counted = 0;
	(void)state;
	spool_close(spool);
	spool = NULL;
	unlink_whole(path);
	for (int i = 0; i <= PUTTERS; i++) {
		putters[i] = fork();
		if (putters[i] != 0)
			continue;
		char id[SPOOL_ID_SIZE];
		if (spool_open(path, &spool, &cause) != PS_OK)
			_exit(fprintf(stderr, "%s\n", cause.text) > 0);
		/* The one that will be killed goes on for longer, but not for ever: nobody may be there to kill it. */
		for (int j = 0; j < (i == PUTTERS ? 20 * EACH : EACH); j++)
			if (put(&usual, "payload", id) != PS_OK)
				_exit(fprintf(stderr, "%s\n", cause.text) > 0);
		_exit(0);
	}
	for (int i = 0; i < PUTTERS; i++) {
		int status;
		assert_int_equal(waitpid(putters[i], &status, 0), putters[i]);
		assert_int_equal(status, 0);
	}
	kill(putters[PUTTERS], SIGKILL);
	waitpid(putters[PUTTERS], NULL, 0);
	MUST(spool_open_existing(path, &spool, &cause));
	MUST(spool_check(spool, &cause));
	for (; spool_walk(spool, message.seq, &message, &cause) == PS_OK; counted++)
		assert_payload(message.seq, "payload");
	assert_in_range(counted, PUTTERS * EACH, 1000000);
	assert_int_equal(totals().messages, counted);
	assert_int_equal(totals().bytes, 7 * counted);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_message_is_kept_claimed_and_gone_when_delivered),
		TEST(test_an_id_is_a_random_uuid),
		TEST(test_payloads_of_every_size_come_back_whole),
		TEST(test_a_message_over_its_limit_is_refused),
		TEST(test_a_full_spool_refuses_and_keeps_what_it_has),
		TEST(test_the_oldest_due_message_goes_first),
		TEST(test_a_failed_message_waits_until_it_is_due_and_says_when),
		TEST(test_an_ordered_service_never_overtakes),
		TEST(test_services_are_told_one_after_the_other),
		TEST(test_a_service_name_that_nothing_here_has_written_is_damage),
		TEST(test_what_was_under_way_at_the_end_of_a_process_is_uncertain_and_due),
		TEST(test_a_clock_set_back_stalls_nothing),
		TEST(test_a_message_whose_time_is_over_dies_with_its_last_failure),
		TEST(test_a_dead_message_can_be_retried_and_lives_anew),
		TEST(test_messages_are_found_by_the_beginning_of_their_id),
		TEST(test_dropping_takes_the_payload_too_but_nothing_that_is_under_way),
		TEST(test_changes_that_are_rolled_back_never_were),
		TEST(test_the_file_is_for_its_owner_only),
		TEST(test_nobody_else_may_put_files_beside_it),
		TEST(test_other_files_are_refused_and_left_alone),
		TEST(test_a_newer_format_is_refused),
		TEST(test_a_damaged_page_is_found),
		TEST(test_a_sound_spool_passes_its_check),
		TEST(test_processes_that_put_at_once_and_die_leave_whole_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
