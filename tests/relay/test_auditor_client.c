/* SPDX-License-Identifier: Apache-2.0 */
/* auditor_client: what a role left behind is written or counted, whatever there is of it. audit_client: what it could not
 * even send is told. */
#include "auditor_client.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit_client.h"
#include "portseal/channel.h"
#include "portseal/log.h"

static struct {
	uv_loop_t loop;
	struct auditor_clients *clients;
	int role; /* the role's end of the channel */
	uint64_t next_id;
	uint64_t n_records;
	uint64_t n_lost;
	unsigned n_told; /* calls of on_lost */
	char why[128];
	char log[64];
} rig;

static void on_record(void *owner, const struct audit_record *record)
{
	(void)owner;
	assert_int_equal(record->entry.event, AUDIT_REFUSED);
	rig.n_records++;
}

static void on_lost(void *owner, uint64_t n, const char *why)
{
	(void)owner;
	rig.n_lost += n;
	rig.n_told++;
	(void)snprintf(rig.why, sizeof(rig.why), "%s", why);
}

static int start(void **state)
{
	int ends[2];
	int log;

	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.next_id = 1;
	(void)snprintf(rig.log, sizeof(rig.log), "/tmp/portseal-auditor-XXXXXX");
	log = mkstemp(rig.log);
	assert_int_not_equal(log, -1);
	log_setup(LOG_INFO, LOG_TEXT, log);
	assert_int_equal(uv_loop_init(&rig.loop), 0);
	const struct auditor_clients_config config = {
		.loop = &rig.loop, .policy = AUDIT_REFUSE, .on_record = on_record, .on_lost = on_lost
	};
	assert_int_equal(auditor_clients_new(&config, &rig.clients), PS_OK);
	assert_int_equal(channel_pair(ends), PS_OK);
	rig.role = ends[0];
	auditor_clients_add(rig.clients, ends[1]);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	if (rig.role >= 0)
		close(rig.role);
	auditor_clients_close(rig.clients);
	assert_int_equal(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
	auditor_clients_free(rig.clients);
	assert_int_equal(uv_loop_close(&rig.loop), 0);
	log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
	return unlink(rig.log);
}

/* How often the log has `word`. */
static unsigned logged(const char *word)
{
	static char text[65536];
	const int fd = open(rig.log, O_RDONLY | O_CLOEXEC);
	const ssize_t len = read(fd, text, sizeof(text) - 1);
	unsigned n = 0;

	close(fd);
	assert_in_range(len, 0, sizeof(text) - 1);
	text[len] = '\0';
	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		n++;
	return n;
}

/* The auditor reads whatever the channel does not take any more. */
static void tell(const void *record, size_t len)
{
	enum ps_err err;

	while ((err = channel_send(rig.role, AUDIT_MESSAGE_RECORD, record, len, -1)) == PS_E_AGAIN)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	assert_int_equal(err, PS_OK);
}

static size_t tell_one(uint64_t lost)
{
	static char detail[1024];
	const struct audit_entry entry = { .event = AUDIT_REFUSED, .conn = 1, .reason = "not-allowed", .detail = detail };
	uint8_t packed[AUDIT_RECORD_MAX];
	size_t len;

	memset(detail, 'x', sizeof(detail) - 1);
	len = audit_record_pack(rig.next_id++, lost, &entry, packed);
	tell(packed, len);
	return len;
}

/* Three times what is kept. Returns how many records that were. */
static uint64_t tell_too_many(void)
{
	uint64_t n = 0;

	for (size_t len = 0; len < 3 * (size_t)AUDITOR_KEPT_MAX; n++)
		len += tell_one(0);
	return n;
}

static void role_ends(void)
{
	close(rig.role);
	rig.role = -1;
	while (auditor_clients_count(rig.clients) > 0)
		if (uv_run(&rig.loop, UV_RUN_ONCE) == 0 && auditor_clients_count(rig.clients) > 0)
			fail_msg("nobody looks at the channel any more");
}

static void resume(void)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	struct audit_hello hello;
	uint32_t type;
	size_t len;
	int fd;

	assert_int_equal(channel_receive(rig.role, &type, body, &len, &fd), PS_OK);
	assert_int_equal(type, AUDIT_MESSAGE_HELLO);
	assert_int_equal(audit_hello_unpack(body, len, &hello), PS_OK);
	while (channel_send(rig.role, AUDIT_MESSAGE_RESUME, &hello.number, sizeof(hello.number), -1) == PS_E_AGAIN)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
}

static void test_what_a_role_left_is_written(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		(void)tell_one(0);
	role_ends();
	assert_int_equal(rig.n_records, 3);
	assert_int_equal(rig.n_lost, 0);
	assert_int_equal(logged("audit-dropped"), 0);
}

/* It closed with our HELLO unread, which is an error to the poll: it must not end with a part of them. */
static void test_a_full_channel_is_read_to_its_end(void **state)
{
	const struct audit_entry entry = { .event = AUDIT_REFUSED, .conn = 1 };
	uint8_t packed[AUDIT_RECORD_MAX];
	uint64_t n = 0;
	size_t len;

	(void)state;
	do
		len = audit_record_pack(++n, 0, &entry, packed);
	while (channel_send(rig.role, AUDIT_MESSAGE_RECORD, packed, len, -1) == PS_OK);
	assert_in_range(n, 66, UINT64_MAX); /* more than are read in one turn */
	role_ends();
	assert_int_equal(rig.n_records, n - 1);
	assert_int_equal(rig.n_lost, 0);
}

static void test_what_a_role_left_beyond_the_room_is_counted_and_told_once(void **state)
{
	(void)state;
	const uint64_t n = tell_too_many();

	role_ends();
	assert_in_range(rig.n_records, 1, n - 1);
	assert_int_equal(rig.n_records + rig.n_lost, n);
	assert_int_equal(rig.n_told, 1);
	assert_string_equal(rig.why, "a role ended: no room for all it left");
	assert_int_equal(logged("audit-dropped"), 1);
}

static void test_what_a_dropped_record_says_was_lost_before_it_is_counted_too(void **state)
{
	(void)state;
	const uint64_t n = tell_too_many();

	(void)tell_one(17);
	role_ends();
	assert_int_equal(rig.n_records + rig.n_lost, n + 1 + 17);
}

static void test_what_has_no_room_to_be_a_record_is_counted(void **state)
{
	uint8_t great[AUDIT_RECORD_MAX + 1] = { 0 };

	(void)state;
	tell(great, sizeof(great));
	(void)tell_one(0);
	role_ends();
	assert_int_equal(rig.n_records, 1);
	assert_int_equal(rig.n_lost, 1);
}

static void test_what_a_living_role_sends_again_is_not_lost(void **state)
{
	(void)state;
	(void)tell_too_many();
	resume();
	rig.next_id = 1;
	(void)tell_one(0);
	role_ends();
	assert_int_equal(rig.n_records, 1);
	assert_int_equal(rig.n_lost, 0);
	assert_int_equal(logged("audit-dropped"), 0);
}

static void test_a_role_that_ends_unheard_tells_how_many_records_go_with_it(void **state)
{
	const struct audit_entry entry = { .conn = 1, .reason = "not-allowed" };
	struct audit_client *client = NULL;
	int ends[2];

	(void)state;
	assert_int_equal(channel_pair(ends), PS_OK);
	assert_int_equal(audit_client_new(&rig.loop, ends[0], &client), PS_OK);
	for (int i = 0; i < 10000; i++)
		audit_refused(client, &entry);
	close(ends[1]); /* nobody has read it, and nobody will */
	audit_client_free(client);
	assert_int_equal(logged("audit-dropped"), 1);
	assert_int_equal(logged("detail=\"10000 records were not sent"), 1);
	role_ends();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(test_what_a_role_left_is_written),
		TEST(test_a_full_channel_is_read_to_its_end),
		TEST(test_what_a_role_left_beyond_the_room_is_counted_and_told_once),
		TEST(test_what_a_dropped_record_says_was_lost_before_it_is_counted_too),
		TEST(test_what_has_no_room_to_be_a_record_is_counted),
		TEST(test_what_a_living_role_sends_again_is_not_lost),
		TEST(test_a_role_that_ends_unheard_tells_how_many_records_go_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
