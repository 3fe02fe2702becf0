/* SPDX-License-Identifier: Apache-2.0 */
/* handover: what arrives is whole and means something, or it is dropped with its descriptor. */
#include "portseal/handover.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/channel.h"

struct fixture {
	int near, far;
	int n_open; /* descriptors of this process, both ends included */
	struct handover connection;
	struct handover_dial dial;
	struct handover_dial_failed failed;
	struct handover_message got;
};

static struct fixture fixture;

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static int set_up(void **state)
{
	int ends[2];

	(void)state;
	memset(&fixture, 0, sizeof(fixture));
	fixture.connection = (struct handover){
		.conn = 0x7f3a09c1,
		.started_ms = 123456789,
		.service = 3,
		.secrets = { .suite = SUITE_AES_256_GCM_SHA384, .client = "client secret", .server = "server secret" },
		.client_pin = "pin",
		.not_after = -5,
		.peer = "192.0.2.7:51123",
		.client = "alice",
	};
	fixture.dial = (struct handover_dial){ .conn = 17, .generation = 2, .relay = 1, .offer = 1, .service = "app" };
	fixture.failed =
		(struct handover_dial_failed){ .conn = 18, .exit_code = 5, .refusal = REFUSAL_UNKNOWN_CA, .text = "no" };
	if (channel_pair(ends) != PS_OK)
		return -1;
	fixture.near = ends[0];
	fixture.far = ends[1];
	fixture.n_open = count_descriptors();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(count_descriptors(), fixture.n_open);
	close(fixture.near);
	close(fixture.far);
	return 0;
}

static enum ps_err receive(void)
{
	return handover_receive(fixture.near, &fixture.got);
}

static void assert_dropped(void)
{
	assert_int_equal(receive(), PS_E_PROTO);
	assert_int_equal(fixture.got.fd, -1);
	assert_int_equal(count_descriptors(), fixture.n_open);
}

static void assert_connection_dropped(void)
{
	assert_int_equal(handover_send(fixture.far, &fixture.connection, STDIN_FILENO), PS_OK);
	assert_dropped();
}

static void test_a_connection_arrives_whole_with_its_socket(void **state)
{
	(void)state;
	struct stat sent, arrived;
	int line[2];
	assert_int_equal(pipe(line), 0);
	assert_int_equal(handover_send(fixture.far, &fixture.connection, line[0]), PS_OK);
	assert_int_equal(receive(), PS_OK);
	assert_int_equal(fixture.got.type, HANDOVER_CONNECTION);
	assert_memory_equal(&fixture.got.body.connection, &fixture.connection, offsetof(struct handover, presented.der));
	assert_int_not_equal(fixture.got.fd, line[0]);
	assert_int_equal(fstat(line[0], &sent), 0);
	assert_int_equal(fstat(fixture.got.fd, &arrived), 0);
	assert_int_equal(arrived.st_ino, sent.st_ino);
	close(fixture.got.fd);
	close(line[0]);
	close(line[1]);
}

static void test_every_suite_may_be_handed_over(void **state)
{
	static const uint16_t suites[] = { SUITE_AES_128_GCM_SHA256, SUITE_AES_256_GCM_SHA384,
		                               SUITE_CHACHA20_POLY1305_SHA256 };
	(void)state;
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		fixture.connection.secrets.suite = suites[i];
		assert_int_equal(handover_send(fixture.far, &fixture.connection, STDIN_FILENO), PS_OK);
		assert_int_equal(receive(), PS_OK);
		assert_int_equal(fixture.got.body.connection.secrets.suite, suites[i]);
		close(fixture.got.fd);
	}
}

static void test_a_request_to_dial_arrives(void **state)
{
	(void)state;
	assert_int_equal(handover_send_dial(fixture.far, &fixture.dial), PS_OK);
	assert_int_equal(receive(), PS_OK);
	assert_int_equal(fixture.got.type, HANDOVER_DIAL);
	assert_int_equal(fixture.got.fd, -1);
	assert_int_equal(fixture.got.body.dial.conn, 17);
	assert_int_equal(fixture.got.body.dial.generation, 2);
	assert_string_equal(fixture.got.body.dial.service, "app");
}

static void test_a_failure_to_dial_arrives(void **state)
{
	(void)state;
	assert_int_equal(handover_send_dial_failed(fixture.far, &fixture.failed), PS_OK);
	assert_int_equal(receive(), PS_OK);
	assert_int_equal(fixture.got.type, HANDOVER_DIAL_FAILED);
	assert_int_equal(fixture.got.fd, -1);
	assert_int_equal(fixture.got.body.failed.conn, 18);
	assert_int_equal(fixture.got.body.failed.exit_code, 5);
	assert_int_equal(fixture.got.body.failed.refusal, REFUSAL_UNKNOWN_CA);
	assert_string_equal(fixture.got.body.failed.text, "no");
}

static void test_an_empty_slot_says_again(void **state)
{
	(void)state;
	assert_int_equal(receive(), PS_E_AGAIN);
}

static void test_a_slot_without_another_end_is_closed(void **state)
{
	int ends[2];
	(void)state;
	assert_int_equal(channel_pair(ends), PS_OK);
	close(ends[1]);
	assert_int_equal(handover_receive(ends[0], &fixture.got), PS_E_CLOSED);
	assert_int_equal(handover_send(ends[0], &fixture.connection, STDIN_FILENO), PS_E_CLOSED);
	close(ends[0]);
}

/* Every length up to the longest that a channel carries, but the right one. */
static void refuse_wrong_lengths(uint32_t type, const void *body, size_t body_len, int fd)
{
	static uint8_t bytes[CHANNEL_MESSAGE_MAX];

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, body, body_len);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		if (len == body_len)
			continue;
		assert_int_equal(channel_send(fixture.far, type, bytes, len, fd), PS_OK);
		assert_int_equal(receive(), PS_E_PROTO);
		assert_int_equal(fixture.got.fd, -1);
	}
	assert_int_equal(count_descriptors(), fixture.n_open);
}

static void test_a_connection_of_any_other_length_is_dropped(void **state)
{
	(void)state;
	refuse_wrong_lengths(HANDOVER_CONNECTION, &fixture.connection, offsetof(struct handover, presented.der),
	                     STDIN_FILENO);
}

static void test_a_request_to_dial_of_any_other_length_is_dropped(void **state)
{
	(void)state;
	refuse_wrong_lengths(HANDOVER_DIAL, &fixture.dial, sizeof(fixture.dial), -1);
}

static void test_a_failure_of_any_other_length_is_dropped(void **state)
{
	(void)state;
	refuse_wrong_lengths(HANDOVER_DIAL_FAILED, &fixture.failed, sizeof(fixture.failed), -1);
}

static void test_a_connection_without_its_socket_is_dropped(void **state)
{
	(void)state;
	assert_int_equal(handover_send(fixture.far, &fixture.connection, -1), PS_OK);
	assert_dropped();
}

static void test_a_connection_whose_socket_finds_no_descriptor_is_told(void **state)
{
	struct rlimit before;
	struct rlimit none;

	(void)state;
	assert_int_equal(handover_send(fixture.near, &fixture.connection, fixture.near), PS_OK);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	const enum ps_err err = handover_receive(fixture.far, &fixture.got);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(err, PS_E_LIMIT);
	assert_int_equal(fixture.got.fd, -1);
	assert_int_equal(fixture.got.type, HANDOVER_CONNECTION);
	assert_int_equal(fixture.got.body.connection.conn, fixture.connection.conn);
}

static void test_a_descriptor_that_comes_with_a_request_to_dial_is_closed(void **state)
{
	(void)state;
	assert_int_equal(channel_send(fixture.far, HANDOVER_DIAL, &fixture.dial, sizeof(fixture.dial), STDIN_FILENO),
	                 PS_OK);
	assert_dropped();
}

static void test_a_descriptor_that_comes_with_a_failure_is_closed(void **state)
{
	(void)state;
	assert_int_equal(
		channel_send(fixture.far, HANDOVER_DIAL_FAILED, &fixture.failed, sizeof(fixture.failed), STDIN_FILENO), PS_OK);
	assert_dropped();
}

static void test_an_unknown_suite_is_dropped(void **state)
{
	static const uint16_t suites[] = { 0, 0x1300, 0x1304, 0x1305, 0xffff };
	(void)state;
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		fixture.connection.secrets.suite = suites[i];
		assert_connection_dropped();
	}
}

static void test_a_peer_without_its_end_is_dropped(void **state)
{
	(void)state;
	memset(fixture.connection.peer, 'p', sizeof(fixture.connection.peer));
	assert_connection_dropped();
}

static void test_a_client_without_its_end_is_dropped(void **state)
{
	(void)state;
	memset(fixture.connection.client, 'c', sizeof(fixture.connection.client));
	assert_connection_dropped();
}

static void test_a_failure_whose_text_has_no_end_is_dropped(void **state)
{
	(void)state;
	memset(fixture.failed.text, 't', sizeof(fixture.failed.text));
	assert_int_equal(handover_send_dial_failed(fixture.far, &fixture.failed), PS_OK);
	assert_dropped();
}

static void test_texts_may_fill_their_storage(void **state)
{
	(void)state;
	memset(fixture.connection.peer, 'p', sizeof(fixture.connection.peer) - 1);
	memset(fixture.connection.client, 'c', sizeof(fixture.connection.client) - 1);
	assert_int_equal(handover_send(fixture.far, &fixture.connection, STDIN_FILENO), PS_OK);
	assert_int_equal(receive(), PS_OK);
	close(fixture.got.fd);
}

static void test_a_refusal_that_does_not_exist_is_dropped(void **state)
{
	static const uint32_t refusals[] = { REFUSAL_COUNT, REFUSAL_COUNT + 1, UINT32_MAX };
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		fixture.failed.refusal = refusals[i];
		assert_int_equal(handover_send_dial_failed(fixture.far, &fixture.failed), PS_OK);
		assert_dropped();
	}
}

static void test_every_refusal_that_exists_may_be_told(void **state)
{
	(void)state;
	for (uint32_t refusal = REFUSAL_NONE; refusal < REFUSAL_COUNT; refusal++) {
		fixture.failed.refusal = refusal;
		assert_int_equal(handover_send_dial_failed(fixture.far, &fixture.failed), PS_OK);
		assert_int_equal(receive(), PS_OK);
		assert_int_equal(fixture.got.body.failed.refusal, refusal);
	}
}

static void test_an_unknown_type_is_dropped_with_its_descriptor(void **state)
{
	static const uint32_t types[] = { 0, 1, HANDOVER_CONNECTION - 1, HANDOVER_JUDGED + 1, UINT32_MAX };
	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_int_equal(channel_send(fixture.far, types[i], &fixture.dial, sizeof(fixture.dial), STDIN_FILENO), PS_OK);
		assert_dropped();
	}
}

static void test_what_follows_a_dropped_message_arrives(void **state)
{
	(void)state;
	assert_int_equal(channel_send(fixture.far, HANDOVER_CONNECTION, "junk", 4, STDIN_FILENO), PS_OK);
	assert_int_equal(handover_send_dial(fixture.far, &fixture.dial), PS_OK);
	assert_dropped();
	assert_int_equal(receive(), PS_OK);
	assert_int_equal(fixture.got.type, HANDOVER_DIAL);
}

static struct handover_rejudge question(void)
{
	return (struct handover_rejudge){
		.id = 21, .generation = 2, .asked = "billing", .presented = { .len = 5, .der = "chain" }
	};
}

static struct handover_judged judgement(void)
{
	return (struct handover_judged){
		.id = 21, .generation = 2, .refusal = REFUSAL_REVOKED, .not_after = -1, .detail = "why"
	};
}

static void test_a_question_arrives_with_its_chain(void **state)
{
	(void)state;
	const struct handover_rejudge sent = question();
	assert_int_equal(handover_send_rejudge(fixture.far, &sent), PS_OK);
	assert_int_equal(receive(), PS_OK);
	assert_int_equal(fixture.got.type, HANDOVER_REJUDGE);
	assert_int_equal(fixture.got.fd, -1);
	assert_memory_equal(&fixture.got.body.rejudge, &sent, offsetof(struct handover_rejudge, presented.der) + 5);
}

static void test_the_longest_chain_arrives(void **state)
{
	(void)state;
	struct handover_rejudge sent = question();
	sent.presented.len = HANDOVER_PRESENTED_MAX;
	memset(sent.presented.der, 'd', sizeof(sent.presented.der));
	assert_int_equal(handover_send_rejudge(fixture.far, &sent), PS_OK);
	assert_int_equal(receive(), PS_OK);
	assert_memory_equal(&fixture.got.body.rejudge, &sent, sizeof(sent));
}

static void test_a_question_of_any_other_length_is_dropped(void **state)
{
	(void)state;
	const struct handover_rejudge sent = question();
	refuse_wrong_lengths(HANDOVER_REJUDGE, &sent, offsetof(struct handover_rejudge, presented.der) + 5, -1);
}

static void test_a_chain_of_another_length_than_it_says_is_dropped(void **state)
{
	static const uint32_t lengths[] = { 0, 4, 6, HANDOVER_PRESENTED_MAX, HANDOVER_PRESENTED_MAX + 1, UINT32_MAX };
	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct handover_rejudge sent = question();
		sent.presented.len = lengths[i];
		fixture.connection.presented.len = lengths[i];
		assert_int_equal(channel_send(fixture.far, HANDOVER_REJUDGE, &sent,
		                              offsetof(struct handover_rejudge, presented.der) + 5, -1),
		                 PS_OK);
		assert_dropped();
		assert_int_equal(channel_send(fixture.far, HANDOVER_CONNECTION, &fixture.connection,
		                              offsetof(struct handover, presented.der) + 5, STDIN_FILENO),
		                 PS_OK);
		assert_dropped();
	}
}

static void test_a_descriptor_that_comes_with_a_question_is_closed(void **state)
{
	(void)state;
	const struct handover_rejudge sent = question();
	const struct handover_judged told = judgement();
	assert_int_equal(channel_send(fixture.far, HANDOVER_REJUDGE, &sent,
	                              offsetof(struct handover_rejudge, presented.der) + 5, STDIN_FILENO),
	                 PS_OK);
	assert_dropped();
	assert_int_equal(channel_send(fixture.far, HANDOVER_JUDGED, &told, sizeof(told), STDIN_FILENO), PS_OK);
	assert_dropped();
}

static void test_a_service_without_its_end_is_dropped(void **state)
{
	(void)state;
	struct handover_rejudge sent = question();
	memset(sent.asked, 's', sizeof(sent.asked));
	assert_int_equal(handover_send_rejudge(fixture.far, &sent), PS_OK);
	assert_dropped();
	memset(fixture.connection.service_name, 's', sizeof(fixture.connection.service_name));
	assert_connection_dropped();
}

static void test_a_target_without_its_end_is_dropped(void **state)
{
	(void)state;
	memset(fixture.connection.terms.target.host, 'h', sizeof(fixture.connection.terms.target.host));
	assert_connection_dropped();
	memset(&fixture.connection.terms.target, 0, sizeof(fixture.connection.terms.target));
	memset(fixture.connection.terms.target.path, 'p', sizeof(fixture.connection.terms.target.path));
	assert_connection_dropped();
}

static void test_a_judgement_arrives(void **state)
{
	(void)state;
	const struct handover_judged sent = judgement();
	assert_int_equal(handover_send_judged(fixture.far, &sent), PS_OK);
	assert_int_equal(receive(), PS_OK);
	assert_int_equal(fixture.got.type, HANDOVER_JUDGED);
	assert_memory_equal(&fixture.got.body.judged, &sent, sizeof(sent));
}

static void test_a_judgement_of_any_other_length_is_dropped(void **state)
{
	(void)state;
	const struct handover_judged sent = judgement();
	refuse_wrong_lengths(HANDOVER_JUDGED, &sent, sizeof(sent), -1);
}

static void test_a_judgement_that_means_nothing_is_dropped(void **state)
{
	static const uint32_t refusals[] = { REFUSAL_COUNT, REFUSAL_COUNT + 1, UINT32_MAX };
	(void)state;
	struct handover_judged sent = judgement();
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		sent.refusal = refusals[i];
		assert_int_equal(handover_send_judged(fixture.far, &sent), PS_OK);
		assert_dropped();
	}
	sent = judgement();
	memset(sent.detail, 'd', sizeof(sent.detail));
	assert_int_equal(handover_send_judged(fixture.far, &sent), PS_OK);
	assert_dropped();
	sent = judgement();
	memset(sent.service_name, 's', sizeof(sent.service_name));
	assert_int_equal(handover_send_judged(fixture.far, &sent), PS_OK);
	assert_dropped();
	sent = judgement();
	memset(sent.terms.target.path, 'p', sizeof(sent.terms.target.path));
	assert_int_equal(handover_send_judged(fixture.far, &sent), PS_OK);
	assert_dropped();
}

#define on_slot(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_slot(test_a_connection_arrives_whole_with_its_socket),
		on_slot(test_every_suite_may_be_handed_over),
		on_slot(test_a_request_to_dial_arrives),
		on_slot(test_a_failure_to_dial_arrives),
		on_slot(test_an_empty_slot_says_again),
		on_slot(test_a_slot_without_another_end_is_closed),
		on_slot(test_a_connection_of_any_other_length_is_dropped),
		on_slot(test_a_request_to_dial_of_any_other_length_is_dropped),
		on_slot(test_a_failure_of_any_other_length_is_dropped),
		on_slot(test_a_connection_without_its_socket_is_dropped),
		on_slot(test_a_connection_whose_socket_finds_no_descriptor_is_told),
		on_slot(test_a_descriptor_that_comes_with_a_request_to_dial_is_closed),
		on_slot(test_a_descriptor_that_comes_with_a_failure_is_closed),
		on_slot(test_an_unknown_suite_is_dropped),
		on_slot(test_a_peer_without_its_end_is_dropped),
		on_slot(test_a_client_without_its_end_is_dropped),
		on_slot(test_a_failure_whose_text_has_no_end_is_dropped),
		on_slot(test_texts_may_fill_their_storage),
		on_slot(test_a_refusal_that_does_not_exist_is_dropped),
		on_slot(test_every_refusal_that_exists_may_be_told),
		on_slot(test_an_unknown_type_is_dropped_with_its_descriptor),
		on_slot(test_what_follows_a_dropped_message_arrives),
		on_slot(test_a_question_arrives_with_its_chain),
		on_slot(test_the_longest_chain_arrives),
		on_slot(test_a_question_of_any_other_length_is_dropped),
		on_slot(test_a_chain_of_another_length_than_it_says_is_dropped),
		on_slot(test_a_descriptor_that_comes_with_a_question_is_closed),
		on_slot(test_a_service_without_its_end_is_dropped),
		on_slot(test_a_target_without_its_end_is_dropped),
		on_slot(test_a_judgement_arrives),
		on_slot(test_a_judgement_of_any_other_length_is_dropped),
		on_slot(test_a_judgement_that_means_nothing_is_dropped),
	};
	return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
