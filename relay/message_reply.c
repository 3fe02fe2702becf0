/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_reply -- the way back: the application's reply, the receipt, the record, the answer.
 */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "message_internal.h"
#include "portseal/log.h"
#include "portseal/text.h"

#define SCRATCH_LEN 16384 /* read at once of a reply that only the record wants */
#define FIELDS_MAX 3
#define TYPE_JSON "application/problem+json"

static struct h2_stream *stream_of(const struct message *message)
{
	return message->exchange != NULL ? message->exchange->stream : NULL;
}

static void fail_internal(struct message *message, const char *what)
{
	const struct problem fault = { .status = 500, .reason = "internal" };

	message_fail(message, &fault, what);
}

/* Begins the answer. The receipt stands in the header, if there is one by now. */
static enum ps_err respond(struct message *message, unsigned status, int64_t length, bool end)
{
	char receipt[RECEIPT_TEXT_MAX];
	struct h2_field fields[FIELDS_MAX];
	size_t n = 0;

	if (status == 200)
		fields[n++] = (struct h2_field){ "content-type", "application/octet-stream" };
	if (message->has_receipt) {
		(void)receipt_print(&message->receipt, receipt);
		fields[n++] = (struct h2_field){ RECEIPT_HEADER, receipt };
	} else {
		fields[n++] = (struct h2_field){ "trailer", RECEIPT_HEADER };
		message->trails = true;
	}
	if (message->replayed)
		fields[n++] = (struct h2_field){ "portseal-replayed", "?1" };
	const struct h2_response response = { .status = status, .content_length = length, .fields = fields, .n_fields = n };
	message->status = status;
	return h2_respond(stream_of(message), &response, end);
}

static void begin_reply(struct message *message)
{
	const enum ps_err err = respond(message, 200, -1, false);

	if (err == PS_OK)
		h2_stream_ready(stream_of(message));
	else if (err == PS_E_CLOSED)
		message->status = 0; /* the client has just left: on_closed follows, and the message may go on without it */
	else
		fail_internal(message, "the answer could not begin");
}

/* The answer's end may be given now. */
static void finish(struct message *message)
{
	const bool had_answer = message->status != 0;

	message->state = MESSAGE_ANSWERED;
	if (stream_of(message) == NULL) {
		message_close(message, "done", H2_NO_ERROR, true);
		return;
	}
	if (had_answer) {
		h2_stream_ready(stream_of(message));
		return;
	}
	const bool none = message->terms.reply_kind == REPLY_NONE;
	if (respond(message, none ? 204 : 200, none ? -1 : 0, true) != PS_OK)
		fail_internal(message, "the answer could not be given");
}

static void on_recorded(void *owner, const struct results_answer *answer)
{
	struct message *message = owner;

	message->call = NULL;
	if (answer->err != PS_OK)
		log_event(LOG_ERROR, "message-unrecorded",
		          "message %s was delivered, but what became of it is not on the disk: %s", message->receipt.id,
		          answer->cause);
	finish(message);
}

static void record(struct message *message)
{
	message->state = MESSAGE_RECORDING;
	message->record.status = message->terms.reply_kind == REPLY_NONE ? 204 : 200;
	message->record.receipt = message->receipt;
	message->call = results_record(message->all->config.results, &message->key, &message->record, on_recorded, message);
	message->claimed = false;
	if (message->call == NULL)
		fail_internal(message, "out of memory: the record was not made");
}

/* Delivered, and the reply has ended. */
static void conclude(struct message *message)
{
	if (message->claimed)
		record(message);
	else
		finish(message);
}

static void keep_for_record(struct message *message, const uint8_t *bytes, size_t len)
{
	struct results_record *kept = &message->record;

	if (!message->claimed || !kept->reply_kept || len == 0)
		return;
	kept->reply_kept =
		buf_len(&kept->reply) + len <= message->all->config.max_reply && buf_append(&kept->reply, bytes, len) == PS_OK;
	if (!kept->reply_kept)
		buf_release(&kept->reply);
}

static size_t read_reply(struct message *message, uint8_t *room, size_t max)
{
	bool ended = false;
	const size_t len = message_target_read(message->target, room, max, &ended);

	message->out += len;
	message->reply_ended = ended;
	keep_for_record(message, room, len);
	return len;
}

/* The stream gets the end of the body. */
static bool give_end(struct message *message, struct h2_stream *stream)
{
	char receipt[RECEIPT_TEXT_MAX];

	if (message->state != MESSAGE_ANSWERED)
		return false;
	if (!message->trails)
		return true;
	(void)receipt_print(&message->receipt, receipt);
	const struct h2_field field = { RECEIPT_HEADER, receipt };
	if (h2_stream_trail(stream, &field, 1) == PS_OK)
		return true;
	h2_stream_reset(stream, H2_INTERNAL_ERROR);
	return false;
}

size_t message_on_pull(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end)
{
	struct message *message = owner;
	size_t len = 0;

	if (message->status == 0)
		return 0;
	if (!message->reply_ended && message->state < MESSAGE_RECORDING) {
		message->reply_waits = false;
		len = read_reply(message, room, max);
		if (message->reply_ended && message->state == MESSAGE_REPLYING)
			conclude(message);
	}
	*end = message->reply_ended && give_end(message, stream);
	return len;
}

/* Nobody waits for the reply but the record. The application may have to be read before it takes the rest. */
static void read_for_record(struct message *message)
{
	uint8_t scratch[SCRATCH_LEN];

	while ((message->state == MESSAGE_DELIVERING || message->state == MESSAGE_REPLYING) && !message->reply_ended &&
	       read_reply(message, scratch, sizeof(scratch)) > 0)
		;
	if (message->state == MESSAGE_REPLYING && message->reply_ended)
		conclude(message);
}

void message_on_readable(void *owner)
{
	struct message *message = owner;

	message->reply_waits = true;
	if (stream_of(message) == NULL)
		read_for_record(message);
	else if (message->status != 0)
		h2_stream_ready(stream_of(message));
	else if (message->state == MESSAGE_REPLYING)
		begin_reply(message);
	else
		message_reply_early(message);
}

/* An application that takes no more until its reply is read would wait for us, and we for it. */
void message_reply_early(struct message *message)
{
	if (message->state == MESSAGE_DELIVERING && message->status == 0 && message->reply_waits &&
	    stream_of(message) != NULL && message_target_has_reply(message->target) &&
	    !message_target_is_hungry(message->target))
		begin_reply(message);
}

void message_on_delivered(void *owner)
{
	struct message *message = owner;

	if (receipt_make(message->sha256, (int64_t)time(NULL), &message->receipt) != PS_OK) {
		fail_internal(message, "no random numbers");
		return;
	}
	message->has_receipt = true;
	message->state = MESSAGE_REPLYING;
	if (message->terms.reply_kind == REPLY_NONE)
		message->reply_ended = true;
	if (message->reply_ended)
		conclude(message);
	else if (message->reply_waits)
		message_on_readable(message);
}

void message_on_failed(void *owner, const char *reason, const char *detail)
{
	struct message *message = owner;
	const struct problem problem = { .status = strcmp(reason, "target-timeout") == 0 ? 504
		                                       : strcmp(reason, "no-memory") == 0    ? 503
		                                                                             : 502,
		                             .reason = reason };

	message_fail(message, &problem, detail);
}

/* 410, with the receipt: it was delivered. */
static enum ps_err answer_gone(struct message *message, struct h2_stream *stream)
{
	static const char body[] =
		"{\"type\":\"about:blank\",\"title\":\"Gone\",\"status\":410,\"reason\":\"reply-not-kept\","
		"\"detail\":\"it was delivered before, and its reply was too long to be kept\"}\n";
	char receipt[RECEIPT_TEXT_MAX];

	(void)receipt_print(&message->receipt, receipt);
	const struct h2_field fields[] = { { "content-type", TYPE_JSON }, { RECEIPT_HEADER, receipt } };
	const struct h2_response response = { .status = 410, .content_length = -1, .fields = fields, .n_fields = 2 };
	message->status = 410;
	return h2_answer(stream, &response, body, sizeof(body) - 1);
}

static enum ps_err answer_replayed(struct message *message, struct h2_stream *stream)
{
	const struct buf *reply = &message->record.reply;
	char receipt[RECEIPT_TEXT_MAX];

	(void)receipt_print(&message->receipt, receipt);
	const struct h2_field fields[] = { { RECEIPT_HEADER, receipt },
		                               { "portseal-replayed", "?1" },
		                               { "content-type", "application/octet-stream" } };
	const struct h2_response response = { .status = message->record.status,
		                                  .content_length = -1,
		                                  .fields = fields,
		                                  .n_fields = message->record.status == 200 ? 3 : 2 };
	message->status = message->record.status;
	return h2_answer(stream, &response, buf_front(reply), buf_len(reply));
}

void message_replay(struct message *message)
{
	struct h2_stream *stream = stream_of(message);
	const struct problem other = { .status = 422,
		                           .reason = "key-of-another-payload",
		                           .detail = "this idempotency key belongs to a message with another payload" };
	enum ps_err err;

	if (memcmp(message->sha256, message->record.receipt.sha256, DIGEST_LEN) != 0) {
		message_fail(message, &other, NULL);
		return;
	}
	message->receipt = message->record.receipt;
	message->has_receipt = true;
	message->replayed = true;
	message->state = MESSAGE_ANSWERED;
	message->out = buf_len(&message->record.reply);
	err = message->record.reply_kept ? answer_replayed(message, stream) : answer_gone(message, stream);
	if (err != PS_OK)
		fail_internal(message, "the recorded answer could not be given");
}
