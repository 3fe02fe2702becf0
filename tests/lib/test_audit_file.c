/* SPDX-License-Identifier: Apache-2.0 */
/* audit_file: whatever happens to the file or to us, the chain goes on and says so. */
#include "portseal/audit_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mint.h"
#include "portseal/identity.h"
#include "trail_rig.h"

#define FILES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static struct trail_rig rig;

static int begin(void **state)
{
	(void)state;
	trail_rig_begin(&rig);
	trail_open(&rig, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	trail_rig_end(&rig);
	return 0;
}

static struct audit_file_state state_of(void)
{
	struct audit_file_state state;

	audit_file_state(rig.file, &state);
	return state;
}

static void move(const char *to)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/%s", rig.directory, to);
	assert_int_equal(rename(rig.path, path), 0);
}

static void assert_good(const char *const *files, uint64_t lines)
{
	trail_verify(&rig, files, false);
	if (rig.n_findings > 0)
		fail_msg("%s:%u: %s", rig.at[0].file, (unsigned)rig.at[0].line, rig.at[0].text);
	assert_int_equal(rig.verdict.lines, lines);
}

static void test_the_file_is_private_and_begins_a_trail(void **state)
{
	struct stat st;

	(void)state;
	trail_add(&rig, "alice");
	assert_int_equal(stat(rig.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_good(FILES("audit.log"), 3);
}

static void test_a_line_says_all_that_is_known(void **state)
{
	struct audit_who who = { .len = 0 };
	struct audit_entry entry = { .event = AUDIT_CLOSED,
		                         .conn = 0x17,
		                         .stream = 5,
		                         .status = 200,
		                         .in = 9,
		                         .out = 11,
		                         .ms = 13,
		                         .peer = "[::1]:7",
		                         .service = "s",
		                         .reason = "done",
		                         .detail = "d\"\n",
		                         .receipt = "r-1",
		                         .who = &who,
		                         .has_sha256 = true,
		                         .again = true };
	const char names[] = "PIN=\0"
						 "5eria1\0"
						 "al\nice\0"
						 "CN=alice\0"
						 "CN=CA\0"
						 "CN=alice\0"
						 "URI=spiffe://x/y";
	struct ps_cause cause;
	size_t len;
	char *bytes;

	(void)state;
	memcpy(who.text, names, sizeof(names));
	who.len = sizeof(names);
	assert_int_equal(audit_file_add(rig.file, &entry), PS_OK);
	assert_int_equal(audit_file_commit(rig.file, &cause), PS_OK);
	bytes = strchr(trail_read(&rig, "audit.log", &len), '\n') + 1;
	assert_non_null(strstr(bytes, ",\"event\":\"closed\",\"conn\":\"00000017\",\"stream\":5,\"peer\":\"[::1]:7\","
	                              "\"service\":\"s\",\"reason\":\"done\",\"status\":200,\"in\":9,\"out\":11,\"ms\":13,"
	                              "\"receipt\":\"r-1\",\"sha256\":\"0000"));
	assert_non_null(strstr(bytes,
	                       ",\"pin\":\"PIN=\",\"serial\":\"5eria1\",\"client\":\"al\\nice\",\"subject\":\"CN=alice\","
	                       "\"issuer\":\"CN=CA\",\"names\":[\"CN=alice\",\"URI=spiffe://x/y\"],"
	                       "\"detail\":\"d\\\"\\n\",\"again\":true,\"chain\":\""));
}

static void test_a_moved_file_is_followed_and_no_line_is_lost(void **state)
{
	(void)state;
	trail_add(&rig, "alice");
	move("audit.1");
	assert_true(audit_file_follow(rig.file));
	assert_false(audit_file_follow(rig.file));
	trail_add(&rig, "bob");
	move("audit.2");
	assert_true(audit_file_follow(rig.file));
	trail_add(&rig, "carol");
	assert_good(FILES("audit.1", "audit.2", "audit.log"), 11);
	assert_int_equal(rig.verdict.head_seq, 8); /* each old one ends in a head: 4 and 8 */
}

static void test_files_in_the_wrong_order_or_missing_are_found(void **state)
{
	int at;

	(void)state;
	trail_add(&rig, "alice");
	move("audit.1");
	audit_file_follow(rig.file);
	trail_add(&rig, "bob");
	move("audit.2");
	audit_file_follow(rig.file);
	trail_add(&rig, "carol");
	trail_verify(&rig, FILES("audit.1", "audit.log"), false);
	assert_int_equal(rig.n_findings, 1);
	at = trail_found(&rig, AUDIT_MISSING);
	assert_string_equal(rig.at[at].file, "audit.log");
	assert_int_equal(rig.at[at].line, 1);
	assert_non_null(strstr(rig.at[at].text, "5 to 8 are missing: is a file missing"));
	trail_verify(&rig, FILES("audit.2", "audit.1", "audit.log"), false);
	assert_int_not_equal(rig.n_findings, 0);
	trail_verify(&rig, FILES("audit.2", "audit.log"), false);
	assert_int_equal(rig.n_findings, 0);
	assert_int_not_equal(trail_found(&rig, AUDIT_NOTE_CONTINUES), -1);
}

static void test_an_empty_file_of_another_hand_is_continued(void **state)
{
	(void)state;
	trail_add(&rig, "alice");
	move("audit.1");
	trail_write(&rig, "audit.log", "", 0); /* logrotate's `create` */
	assert_true(audit_file_follow(rig.file));
	trail_add(&rig, "bob");
	assert_good(FILES("audit.1", "audit.log"), 7);
}

static void test_the_next_process_goes_on_where_the_last_one_ended(void **state)
{
	size_t len;

	(void)state;
	trail_add(&rig, "alice");
	trail_close(&rig);
	trail_open(&rig, NULL);
	trail_add(&rig, "bob");
	assert_good(FILES("audit.log"), 6);
	assert_non_null(strstr(trail_read(&rig, "audit.log", &len), "\"event\":\"resumed\",\"after\":\"no stop\""));
	trail_sign(&rig, "stop");
	trail_close(&rig);
	trail_open(&rig, NULL);
	trail_add(&rig, "carol");
	assert_good(FILES("audit.log"), 10);
	assert_non_null(strstr(trail_read(&rig, "audit.log", &len), "\"event\":\"resumed\",\"after\":\"stop\""));
}

static void test_every_torn_tail_is_set_aside_and_said(void **state)
{
	char *bytes;
	size_t len;
	size_t whole;

	(void)state;
	trail_add(&rig, "alice");
	trail_close(&rig);
	bytes = trail_read(&rig, "audit.log", &len);
	whole = len - 1;
	while (bytes[whole - 1] != '\n')
		whole--;
	for (size_t cut = whole + 1; cut < len; cut += 13) {
		char said[64];
		size_t again_len;

		trail_write(&rig, "audit.log", bytes, cut);
		trail_open(&rig, NULL);
		trail_add(&rig, "bob");
		assert_int_equal(state_of().torn_bytes, cut - whole);
		trail_close(&rig);
		assert_good(FILES("audit.log"), 6); /* begin, accepted; resumed, torn, and bob's two */
		assert_int_not_equal(trail_found(&rig, AUDIT_NOTE_SET_ASIDE), -1);
		(void)snprintf(said, sizeof(said), "\"event\":\"torn\",\"bytes\":%zu,", cut - whole);
		assert_non_null(strstr(trail_read(&rig, "audit.log", &again_len), said));
	}
}

static void test_a_file_that_is_torn_in_its_first_line_begins_again(void **state)
{
	char *bytes;
	size_t len;

	(void)state;
	trail_add(&rig, "alice");
	trail_close(&rig);
	bytes = trail_read(&rig, "audit.log", &len);
	trail_write(&rig, "audit.log", bytes, 40);
	trail_open(&rig, NULL);
	trail_add(&rig, "bob");
	assert_good(FILES("audit.log"), 4);
}

static void test_a_file_cut_behind_our_back_is_missed_by_the_verifier(void **state)
{
	struct audit_past past;
	char *bytes;
	size_t len;

	(void)state;
	trail_add(&rig, "alice");
	bytes = trail_read(&rig, "audit.log", &len);
	trail_add(&rig, "bob");
	past = state_of().past;
	trail_close(&rig);
	trail_write(&rig, "audit.log", bytes, len);
	trail_open(&rig, &past);
	trail_add(&rig, "carol");
	trail_verify(&rig, FILES("audit.log"), false);
	assert_int_equal(rig.n_findings, 1);
	assert_int_equal(rig.at[0].finding, AUDIT_MISSING);
	assert_int_equal(rig.at[0].line, 4);
	assert_non_null(strstr(trail_read(&rig, "audit.log", &len), "\"missing\":2,"));
}

static void test_a_file_that_vanished_is_continued_from_what_was_known(void **state)
{
	struct audit_past past;

	(void)state;
	trail_add(&rig, "alice");
	past = state_of().past;
	trail_close(&rig);
	move("audit.1");
	trail_open(&rig, &past);
	trail_add(&rig, "bob");
	assert_good(FILES("audit.1", "audit.log"), 6);
}

static void test_a_file_truncated_in_place_is_noticed_at_once(void **state)
{
	(void)state;
	trail_add(&rig, "alice");
	assert_int_equal(truncate(rig.path, 0), 0); /* logrotate's `copytruncate` */
	assert_true(audit_file_follow(rig.file));
	trail_add(&rig, "bob");
	assert_good(FILES("audit.log"), 3);
	assert_int_equal(rig.verdict.first_seq, 4);
}

/* Hashes need no key: whoever may write the file can append a line that follows. */
static void append_forged(void)
{
	char storage[AUDIT_LINE_MAX];
	struct audit_chain chain = state_of().past.chain;
	struct text text;
	FILE *file = fopen(rig.path, "a");

	assert_non_null(file);
	text_init(&text, storage, sizeof(storage));
	audit_line_begin(&text, &chain, 0, "accepted");
	audit_line_text(&text, "client", "mallory");
	audit_line_close(&text, &chain);
	assert_int_equal(fwrite(text.at, 1, text.len, file), text.len);
	assert_int_equal(fclose(file), 0);
}

static void test_a_line_of_another_hand_is_not_followed_nor_signed(void **state)
{
	size_t len;

	(void)state;
	trail_add(&rig, "alice");
	append_forged();
	assert_true(audit_file_follow(rig.file));
	trail_add(&rig, "bob");
	trail_sign(&rig, "stop");
	trail_verify(&rig, FILES("audit.log"), false);
	assert_int_not_equal(rig.n_findings, 0);
	assert_int_equal(rig.at[0].finding, AUDIT_MISPLACED);
	assert_int_equal(rig.at[0].line, 5); /* ours, which has the number that the forger's took */
	assert_non_null(strstr(trail_read(&rig, "audit.log", &len), "\"after\":\"no stop\",\"foreign\":1,"));
}

static void test_what_is_no_trail_is_left_alone(void **state)
{
	static const char *const texts[] = { "hello\n", "{}\n{}\n", "{\"seq\":1}\ntorn" };
	struct ps_cause cause;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		trail_write(&rig, "audit.log", texts[i], strlen(texts[i]));
		assert_int_equal(audit_file_open(rig.file, &cause), PS_E_CONFIG);
		assert_non_null(strstr(cause.text, "audit.log"));
		assert_string_equal(trail_read(&rig, "audit.log", &len), texts[i]);
	}
}

static void test_another_trail_is_not_continued(void **state)
{
	struct audit_past past;
	struct ps_cause cause;

	(void)state;
	trail_add(&rig, "alice");
	past = state_of().past;
	past.trail[0] = past.trail[0] == 'a' ? 'b' : 'a';
	trail_close(&rig);
	trail_open(&rig, &past);
	assert_int_equal(audit_file_open(rig.file, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "another trail"));
}

static void test_two_writers_are_refused(void **state)
{
	struct audit_file *first = rig.file;
	struct ps_cause cause;

	(void)state;
	trail_add(&rig, "alice");
	trail_open(&rig, NULL);
	assert_int_equal(audit_file_open(rig.file, &cause), PS_E_CONFIG);
	assert_non_null(strstr(cause.text, "another process"));
	audit_file_free(first);
	assert_int_equal(audit_file_open(rig.file, &cause), PS_OK);
}

/* The kernel cuts a write at this size as it does on a full disk: some bytes, then an error. */
static void limit_size(size_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_disk_that_is_full_in_the_middle_of_a_batch_leaves_nothing_of_it(void **state)
{
	const struct audit_entry entry = { .event = AUDIT_ACCEPTED, .conn = 1, .service = "billing" };
	struct ps_cause cause;
	size_t before;
	size_t after;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	trail_add(&rig, "alice");
	(void)trail_read(&rig, "audit.log", &before);
	for (size_t room = 0; room < 500; room += 17) {
		limit_size(before + room);
		for (int i = 0; i < 5; i++)
			assert_int_equal(audit_file_add(rig.file, &entry), PS_OK);
		assert_int_equal(audit_file_commit(rig.file, &cause), PS_E_IO);
		limit_size(0);
		(void)trail_read(&rig, "audit.log", &after);
		assert_int_equal(after, before);
	}
	assert_non_null(strstr(cause.text, "audit.log: file too large"));
	assert_int_equal(state_of().lost, 150);
	assert_good(FILES("audit.log"), 3);
	trail_add(&rig, "bob");
	assert_int_equal(state_of().lost, 0);
	assert_good(FILES("audit.log"), 6);
	assert_int_equal(rig.verdict.lost, 150);
	assert_int_equal(rig.at[trail_found(&rig, AUDIT_NOTE_GAP)].line, 4);
}

static void test_a_directory_that_is_gone_loses_and_counts_until_it_is_back(void **state)
{
	const struct audit_entry entry = { .event = AUDIT_REFUSED, .conn = 1 };
	char away[300];
	struct ps_cause cause;

	(void)state;
	trail_add(&rig, "alice");
	(void)snprintf(away, sizeof(away), "%s.away", rig.directory);
	assert_int_equal(rename(rig.directory, away), 0);
	assert_true(audit_file_follow(rig.file)); /* a head in the file that went with it */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(audit_file_add(rig.file, &entry), PS_E_IO);
		assert_int_equal(audit_file_commit(rig.file, &cause), PS_E_IO);
	}
	assert_int_equal(state_of().lost, 3);
	assert_int_equal(rename(away, rig.directory), 0);
	trail_add(&rig, "bob");
	assert_good(FILES("audit.log"), 8);
	assert_int_equal(rig.verdict.lost, 3);
}

static void test_names_without_room_are_left_out_whole(void **state)
{
	char text[] = "a-name-of-some-length.tills.example.com";
	struct identity_name names[100];
	struct identity identity = { .names = names, .n_names = 100, .issuer = text, .subject = text };
	struct audit_who who;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		names[i] = (struct identity_name){ IDENTITY_DNS, sizeof(text) - 1, text };
	audit_who_set(&who, &identity);
	assert_true(audit_who_is_good(&who));
	assert_int_equal(who.cut, 1);
	identity.n_names = 1;
	audit_who_set(&who, &identity);
	assert_int_equal(who.cut, 0);
	assert_true(audit_who_is_good(&who));
}

static void test_the_probe_says_what_would_fail(void **state)
{
	struct ps_cause cause;
	char path[300];

	(void)state;
	assert_int_equal(audit_file_probe(rig.path, &cause), PS_OK);
	assert_int_equal(access(rig.path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/none/audit.log", rig.directory);
	assert_int_not_equal(audit_file_probe(path, &cause), PS_OK);
	assert_int_not_equal(audit_file_probe(rig.directory, &cause), PS_OK);
	assert_non_null(strstr(cause.text, "regular file"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_file_is_private_and_begins_a_trail),
		TEST(test_a_line_says_all_that_is_known),
		TEST(test_a_moved_file_is_followed_and_no_line_is_lost),
		TEST(test_files_in_the_wrong_order_or_missing_are_found),
		TEST(test_an_empty_file_of_another_hand_is_continued),
		TEST(test_the_next_process_goes_on_where_the_last_one_ended),
		TEST(test_every_torn_tail_is_set_aside_and_said),
		TEST(test_a_file_that_is_torn_in_its_first_line_begins_again),
		TEST(test_a_file_cut_behind_our_back_is_missed_by_the_verifier),
		TEST(test_a_file_that_vanished_is_continued_from_what_was_known),
		TEST(test_a_file_truncated_in_place_is_noticed_at_once),
		TEST(test_a_line_of_another_hand_is_not_followed_nor_signed),
		TEST(test_what_is_no_trail_is_left_alone),
		TEST(test_another_trail_is_not_continued),
		TEST(test_two_writers_are_refused),
		TEST(test_a_disk_that_is_full_in_the_middle_of_a_batch_leaves_nothing_of_it),
		TEST(test_a_directory_that_is_gone_loses_and_counts_until_it_is_back),
		TEST(test_names_without_room_are_left_out_whole),
		TEST(test_the_probe_says_what_would_fail),
	};

	return cmocka_run_group_tests_name("audit_file", tests, NULL, NULL);
}
