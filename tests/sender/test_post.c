/* SPDX-License-Identifier: Apache-2.0 */
/* post: against a relay that the test plays, over a socket and one loop. */
#include "post.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/digest.h"
#include "portseal/h2.h"

#define LEN_MAX 300000
#define MESSAGES_MAX 64
#define TRIES_MAX 1000000

/* What the relay does with each message, when it is whole. */
enum play {
	PLAY_REPLY,      /* 200, the payload is the reply */
	PLAY_TRAILER,    /* the same, the receipt behind it */
	PLAY_NO_CONTENT, /* 204 */
	PLAY_NO_RECEIPT, /* 200 without one */
	PLAY_WRONG,      /* a receipt for another payload */
	PLAY_FORBID,     /* 403, at once */
	PLAY_TOO_MANY,   /* 429 */
	PLAY_CUT_REPLY,  /* a part of the reply, then a reset */
	PLAY_SILENCE,    /* never answers */
	PLAY_REFUSED,    /* REFUSED_STREAM at once */
	PLAY_ALERT,      /* the connection ends with access_denied */
};

struct served {
	struct h2_stream *stream;
	struct digest *digest;
	uint8_t *payload;
	size_t len, given;
	char path[64], key[64], type[64];
	bool whole, reset;
};

struct told {
	bool done;
	size_t given;
	bool source_fails, source_waits;
	struct post_message *message;
	size_t reply_len;
	bool reply_is_payload;
	struct post_result result;
};

static struct {
	uv_loop_t loop;
	struct h2_scratch *scratch;
	struct watches *watches;
	struct linger_set *linger;
	struct h2 *relay;
	struct post *post;
	struct outcome ended;
	enum play play;
	struct served served[MESSAGES_MAX];
	size_t n_served;
	bool has_room;
	uint8_t payload[LEN_MAX];
	size_t payload_len;
} rig;

static void receipt_of(const struct served *served, char value[static RECEIPT_TEXT_MAX])
{
	uint8_t sha256[DIGEST_LEN];
	struct receipt receipt;

	assert_int_equal(digest_end(served->digest, sha256), PS_OK);
	if (rig.play == PLAY_WRONG)
		sha256[0] ^= 1;
	assert_int_equal(receipt_make(sha256, 1764225264, &receipt), PS_OK);
	(void)receipt_print(&receipt, value);
}

static void answer(struct served *served)
{
	char value[RECEIPT_TEXT_MAX];
	const struct h2_field receipt = { RECEIPT_HEADER, value };
	struct h2_response response = { .status = 200, .content_length = -1, .fields = &receipt, .n_fields = 1 };
	bool end = false;

	if (rig.play == PLAY_SILENCE)
		return;
	if (rig.play == PLAY_NO_CONTENT) {
		response.status = 204;
		end = true;
	}
	if (rig.play == PLAY_TRAILER || rig.play == PLAY_NO_RECEIPT)
		response.n_fields = 0;
	else
		receipt_of(served, value);
	assert_int_equal(h2_respond(served->stream, &response, end), PS_OK);
	h2_stream_ready(served->stream);
}

static void on_body(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	struct served *served = owner;

	assert_true(served->len + len <= LEN_MAX);
	memcpy(served->payload + served->len, bytes, len);
	served->len += len;
	digest_add(served->digest, bytes, len);
	h2_stream_consume(stream, len);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	struct served *served = owner;

	(void)stream;
	served->whole = true;
	answer(served);
}

static size_t on_pull(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end)
{
	struct served *served = owner;
	const size_t left = served->len - served->given;
	const size_t n = left < max ? left : max;
	char value[RECEIPT_TEXT_MAX];

	if (rig.play == PLAY_CUT_REPLY && served->given > 0) {
		h2_stream_reset(stream, H2_INTERNAL_ERROR);
		return 0;
	}
	memcpy(room, served->payload + served->given, n);
	served->given += n;
	*end = served->given == served->len && rig.play != PLAY_CUT_REPLY;
	if (*end && rig.play == PLAY_TRAILER) {
		receipt_of(served, value);
		assert_int_equal(h2_stream_trail(stream, &(struct h2_field){ RECEIPT_HEADER, value }, 1), PS_OK);
	}
	return n;
}

static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct served *served = owner;

	(void)stream;
	served->stream = NULL;
	served->reset = end->fate != H2_FATE_DONE;
}

static const struct h2_stream_events served_events = {
	.on_body = on_body, .on_body_end = on_body_end, .on_pull = on_pull, .on_closed = on_closed
};

static void copy_field(char out[64], const struct h2_request *request, const char *name)
{
	const char *value = h2_field_value(request->fields, request->n_fields, name);

	(void)snprintf(out, 64, "%s", value != NULL ? value : "");
}

static void on_request(void *owner, struct h2_stream *stream, const struct h2_request *request)
{
	static const char problem[] = "{\"status\":403,\"reason\":\"not-allowed\",\"detail\":\"no rule \\u0007\"}";
	const struct h2_field fields[] = { { "retry-after", "7" } };
	const struct h2_response refusal = {
		.status = rig.play == PLAY_FORBID ? 403 : 429, .content_length = -1, .fields = fields, .n_fields = 1
	};
	struct served *served = &rig.served[rig.n_served++];

	(void)owner;
	(void)snprintf(served->path, sizeof(served->path), "%s", request->path);
	copy_field(served->key, request, "idempotency-key");
	copy_field(served->type, request, "content-type");
	served->stream = stream;
	served->payload = malloc(LEN_MAX);
	assert_non_null(served->payload);
	assert_int_equal(digest_new(&served->digest), PS_OK);
	h2_stream_attach(stream, &served_events, served);
	if (rig.play == PLAY_FORBID || rig.play == PLAY_TOO_MANY)
		assert_int_equal(h2_answer(stream, &refusal, problem, sizeof(problem) - 1), PS_OK);
	if (rig.play == PLAY_REFUSED)
		h2_stream_reset(stream, H2_REFUSED_STREAM);
	if (rig.play == PLAY_ALERT)
		h2_abort(rig.relay, ALERT_ACCESS_DENIED);
}

static void on_relay_end(void *owner, const struct h2_report *report)
{
	(void)owner;
	(void)report;
	rig.relay = NULL;
}

static const struct h2_events relay_events = { .on_request = on_request, .on_end = on_relay_end };

static void on_room(void *owner)
{
	(void)owner;
	rig.has_room = true;
}

static void on_post_end(void *owner, const struct outcome *outcome)
{
	(void)owner;
	rig.post = NULL;
	rig.ended = *outcome;
}

static void turn_until(const bool *condition)
{
	for (int i = 0; !*condition && i < TRIES_MAX; i++)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	assert_true(*condition);
}

static void start_with(enum play play, uint64_t timeout_ms)
{
	const struct traffic_secrets secrets = { .suite = SUITE_AES_128_GCM_SHA256, .client = { 1 }, .server = { 2 } };
	struct h2_config relay = { .loop = &rig.loop, .role = H2_SERVER, .max_streams = 100, .events = &relay_events };
	int fds[2];

	memset(&rig, 0, sizeof(rig));
	rig.play = play;
	for (size_t i = 0; i < LEN_MAX; i++)
		rig.payload[i] = (uint8_t)(i * 31 + i / 251);
	rig.payload_len = LEN_MAX;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(uv_loop_init(&rig.loop), 0);
	assert_int_equal(h2_scratch_new(&rig.scratch), PS_OK);
	assert_int_equal(linger_new(&rig.loop, &rig.linger), PS_OK);
	assert_int_equal(watches_new(&rig.loop, &rig.watches), PS_OK);
	assert_int_equal(tls_stream_new(TLS_SERVER, &secrets, &relay.stream), PS_OK);
	relay.scratch = rig.scratch;
	relay.watches = rig.watches;
	relay.linger = rig.linger;
	relay.fd = fds[1];
	assert_int_equal(h2_new(&relay, &rig.relay), PS_OK);
	const struct post_config post = {
		.loop = &rig.loop,
		.fd = fds[0],
		.secrets = &secrets,
		.names = { .relay = "relay:8443", .server_name = "relay.test" },
		.timeout_ms = timeout_ms,
		.on_room = on_room,
		.on_end = on_post_end,
	};
	assert_int_equal(post_new(&post, &rig.post), PS_OK);
	turn_until(&rig.has_room);
}

static void start(enum play play)
{
	start_with(play, 60000);
}

static void stop(void)
{
	if (rig.post != NULL)
		post_shut(rig.post);
	for (int i = 0; rig.post != NULL && i < TRIES_MAX; i++)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	assert_null(rig.post);
	if (rig.relay != NULL)
		h2_shut(rig.relay);
	for (int i = 0; rig.relay != NULL && i < TRIES_MAX; i++)
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	linger_free(rig.linger);
	watches_free(rig.watches);
	assert_int_equal(uv_run(&rig.loop, UV_RUN_DEFAULT), 0);
	h2_scratch_free(rig.scratch);
	assert_int_equal(uv_loop_close(&rig.loop), 0);
	for (size_t i = 0; i < rig.n_served; i++) {
		free(rig.served[i].payload);
		digest_free(rig.served[i].digest);
	}
}

static enum post_read on_read(void *owner, uint8_t *room, size_t max, size_t *n)
{
	struct told *told = owner;
	const size_t left = rig.payload_len - told->given;

	if (told->source_fails && told->given > 0)
		return POST_FAILED;
	if (told->source_waits && told->given > 0)
		return POST_WAIT;
	*n = left < max ? left : max;
	if ((told->source_waits || told->source_fails) && *n > 1000)
		*n = 1000;
	memcpy(room, rig.payload + told->given, *n);
	told->given += *n;
	return told->given == rig.payload_len ? POST_END : POST_MORE;
}

static void on_reply(void *owner, const uint8_t *bytes, size_t len)
{
	struct told *told = owner;

	if (told->reply_len == 0)
		told->reply_is_payload = true;
	if (told->reply_len + len > rig.payload_len || memcmp(bytes, rig.payload + told->reply_len, len) != 0)
		told->reply_is_payload = false;
	told->reply_len += len;
	post_taken(told->message, len);
}

static void on_done(void *owner, const struct post_result *result)
{
	struct told *told = owner;

	assert_false(told->done);
	told->done = true;
	told->message = NULL;
	told->result = *result;
}

static void begin(struct told *told, int64_t length, const char *key)
{
	const struct post_message_config config = {
		.service = "billing",
		.key = key,
		.length = length,
		.on_read = on_read,
		.on_reply = on_reply,
		.on_done = on_done,
		.owner = told,
	};

	assert_int_equal(post_begin(rig.post, &config, &told->message), PS_OK);
}

static struct post_result post_one(enum play play)
{
	struct told told = { .done = false };

	start(play);
	begin(&told, POST_LENGTH_UNKNOWN, NULL);
	turn_until(&told.done);
	return told.result;
}

static void test_a_message_arrives_whole_and_so_does_its_reply(void **state)
{
	(void)state;
	static const enum play plays[] = { PLAY_REPLY, PLAY_TRAILER };

	for (size_t i = 0; i < sizeof(plays) / sizeof(plays[0]); i++) {
		struct told told = { .done = false };

		start(plays[i]);
		begin(&told, LEN_MAX, "k-1");
		turn_until(&told.done);
		assert_int_equal(told.result.fate, POST_DELIVERED);
		assert_int_equal(told.result.outcome.code, OUTCOME_DONE);
		assert_int_equal(told.result.sent, LEN_MAX);
		assert_int_equal(told.result.reply_len, LEN_MAX);
		assert_int_equal(told.reply_len, LEN_MAX);
		assert_true(told.reply_is_payload);
		assert_true(told.result.has_receipt);
		assert_int_equal(told.result.receipt.time, 1764225264);
		assert_memory_equal(rig.served[0].payload, rig.payload, LEN_MAX);
		assert_string_equal(rig.served[0].path, "/messages/billing");
		assert_string_equal(rig.served[0].key, "k-1");
		assert_string_equal(rig.served[0].type, "application/octet-stream");
		stop();
		assert_int_equal(rig.ended.code, OUTCOME_DONE);
	}
}

static void test_an_empty_message_is_a_message(void **state)
{
	(void)state;
	static const int64_t lengths[] = { 0, POST_LENGTH_UNKNOWN };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct told told = { .done = false };

		start(PLAY_NO_CONTENT);
		rig.payload_len = 0;
		begin(&told, lengths[i], NULL);
		turn_until(&told.done);
		assert_int_equal(told.result.fate, POST_DELIVERED);
		assert_int_equal(told.result.status, 204);
		assert_true(rig.served[0].whole);
		stop();
	}
}

static void test_many_at_once_each_have_their_own_fate(void **state)
{
	(void)state;
	static struct told told[MESSAGES_MAX];

	memset(told, 0, sizeof(told));
	start(PLAY_REPLY);
	for (size_t i = 0; i < MESSAGES_MAX; i++)
		begin(&told[i], LEN_MAX, NULL);
	for (size_t i = 0; i < MESSAGES_MAX; i++) {
		turn_until(&told[i].done);
		assert_int_equal(told[i].result.fate, POST_DELIVERED);
		assert_true(told[i].reply_is_payload);
	}
	stop();
}

static void test_an_answer_without_a_receipt_is_no_delivery(void **state)
{
	(void)state;
	const struct post_result result = post_one(PLAY_NO_RECEIPT);

	assert_int_equal(result.fate, POST_UNKNOWN);
	assert_int_equal(result.outcome.code, OUTCOME_UNFORESEEN);
	stop();
}

static void test_a_receipt_for_another_payload_is_no_delivery(void **state)
{
	(void)state;
	const struct post_result result = post_one(PLAY_WRONG);

	assert_int_equal(result.fate, POST_UNKNOWN);
	assert_int_equal(result.outcome.code, OUTCOME_UNFORESEEN);
	assert_non_null(strstr(result.outcome.cause.text, "another payload"));
	stop();
}

static void test_a_problem_is_told_with_reason_and_exit_code(void **state)
{
	(void)state;
	struct post_result result = post_one(PLAY_FORBID);

	assert_int_equal(result.fate, POST_ANSWERED);
	assert_int_equal(result.status, 403);
	assert_string_equal(result.reason, "not-allowed");
	assert_int_equal(result.outcome.code, OUTCOME_REFUSED);
	assert_non_null(strstr(result.outcome.cause.text, "no rule \\x07"));
	stop();
	result = post_one(PLAY_TOO_MANY);
	assert_int_equal(result.outcome.code, OUTCOME_LIMIT);
	assert_int_equal(result.retry_after_s, 7);
	stop();
}

static void test_a_reply_that_breaks_off_is_unknown(void **state)
{
	(void)state;
	const struct post_result result = post_one(PLAY_CUT_REPLY);

	assert_int_equal(result.fate, POST_UNKNOWN);
	assert_int_equal(result.outcome.code, OUTCOME_UNDELIVERED);
	assert_true(result.has_receipt);
	stop();
}

static void test_what_was_not_processed_says_so(void **state)
{
	(void)state;
	const struct post_result result = post_one(PLAY_REFUSED);

	assert_int_equal(result.fate, POST_UNPROCESSED);
	stop();
}

static void test_a_relay_that_stays_silent_is_given_up(void **state)
{
	(void)state;
	struct told told = { .done = false };

	start_with(PLAY_SILENCE, 100);
	begin(&told, POST_LENGTH_UNKNOWN, NULL);
	turn_until(&told.done);
	assert_int_equal(told.result.fate, POST_UNKNOWN);
	assert_int_equal(told.result.outcome.code, OUTCOME_UNDELIVERED);
	assert_non_null(strstr(told.result.outcome.cause.text, "nothing moved for 100 ms"));
	stop();
	assert_true(rig.served[0].reset);
}

static void test_a_source_that_fails_never_ends_cleanly(void **state)
{
	(void)state;
	struct told told = { .source_fails = true };

	start(PLAY_REPLY);
	begin(&told, POST_LENGTH_UNKNOWN, NULL);
	turn_until(&told.done);
	assert_int_equal(told.result.fate, POST_CANCELLED);
	turn_until(&rig.served[0].reset);
	assert_false(rig.served[0].whole);
	stop();
}

static void test_a_source_that_is_not_as_long_as_told_never_ends_cleanly(void **state)
{
	(void)state;
	static const int64_t lengths[] = { LEN_MAX - 1, LEN_MAX + 1, 1 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct told told = { .done = false };

		start(PLAY_REPLY);
		begin(&told, lengths[i], NULL);
		turn_until(&told.done);
		assert_int_equal(told.result.fate, POST_CANCELLED);
		stop();
		assert_false(rig.n_served > 0 && rig.served[0].whole);
	}
}

static void test_our_own_input_may_take_its_time(void **state)
{
	(void)state;
	struct told slow = { .source_waits = true };

	start_with(PLAY_REPLY, 50);
	begin(&slow, POST_LENGTH_UNKNOWN, NULL);
	for (int i = 0; i < 3; i++) { /* longer than its patience with the relay */
		const uint64_t until = uv_hrtime() + UINT64_C(50000000);
		while (uv_hrtime() < until)
			(void)uv_run(&rig.loop, UV_RUN_ONCE);
	}
	assert_false(slow.done);
	slow.source_waits = false;
	post_ready(slow.message);
	turn_until(&slow.done);
	assert_int_equal(slow.result.fate, POST_DELIVERED);
	stop();
}

static void test_a_refused_certificate_is_told_by_every_message(void **state)
{
	(void)state;
	const struct post_result result = post_one(PLAY_ALERT);

	assert_int_equal(result.fate, POST_UNKNOWN);
	assert_int_equal(result.outcome.code, OUTCOME_REFUSED);
	stop();
	assert_int_equal(rig.ended.code, OUTCOME_REFUSED);
}

static void test_a_relay_that_leaves_takes_no_more(void **state)
{
	(void)state;
	struct told told = { .done = false };
	const struct post_message_config config = { .service = "billing", .length = 0, .on_done = on_done, .owner = &told };
	struct post_message *message = NULL;

	start(PLAY_REPLY);
	h2_shut(rig.relay);
	for (int i = 0; rig.post != NULL && i < TRIES_MAX; i++) {
		if (!post_is_open(rig.post))
			assert_int_equal(post_begin(rig.post, &config, &message), PS_E_CLOSED);
		(void)uv_run(&rig.loop, UV_RUN_ONCE);
	}
	assert_null(rig.post);
	assert_int_equal(rig.ended.code, OUTCOME_DONE);
	stop();
}

static void test_keys_are_visible_ascii(void **state)
{
	(void)state;
	char long_key[POST_KEY_MAX + 2];

	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = '\0';
	assert_false(post_is_key(long_key));
	assert_true(post_is_key(long_key + 1));
	assert_true(post_is_key("8e03978e-40d5-43dd-bc93-6894a57f9324"));
	assert_false(post_is_key(""));
	assert_false(post_is_key("a b"));
	assert_false(post_is_key("a\"b"));
	assert_false(post_is_key("a\\b"));
	assert_false(post_is_key("\xc3\xa9"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_arrives_whole_and_so_does_its_reply),
		cmocka_unit_test(test_an_empty_message_is_a_message),
		cmocka_unit_test(test_many_at_once_each_have_their_own_fate),
		cmocka_unit_test(test_an_answer_without_a_receipt_is_no_delivery),
		cmocka_unit_test(test_a_receipt_for_another_payload_is_no_delivery),
		cmocka_unit_test(test_a_problem_is_told_with_reason_and_exit_code),
		cmocka_unit_test(test_a_reply_that_breaks_off_is_unknown),
		cmocka_unit_test(test_what_was_not_processed_says_so),
		cmocka_unit_test(test_a_relay_that_stays_silent_is_given_up),
		cmocka_unit_test(test_a_source_that_fails_never_ends_cleanly),
		cmocka_unit_test(test_a_source_that_is_not_as_long_as_told_never_ends_cleanly),
		cmocka_unit_test(test_our_own_input_may_take_its_time),
		cmocka_unit_test(test_a_refused_certificate_is_told_by_every_message),
		cmocka_unit_test(test_a_relay_that_leaves_takes_no_more),
		cmocka_unit_test(test_keys_are_visible_ascii),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
