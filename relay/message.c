/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message -- the life of a message, and the way of its payload.
 */
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message_internal.h"
#include "portseal/log.h"
#include "session.h"

#define RETRY_UNDER_WAY_S 1
#define REASON_STORE "message-store"

static void on_timer_closed(uv_handle_t *handle)
{
	struct message *message = handle->data;

	buf_release(&message->record.reply);
	digest_free(message->digest);
	free(message);
}

/* Lets go of everything but the exchange; the memory follows with the timer. */
static void wind_up(struct message *message, bool clean)
{
	message->state = MESSAGE_OVER;
	if (message->counted)
		message_count_leave(message->all->config.count, message->key.client);
	if (message->left)
		message->all->n_left--;
	if (message->call != NULL)
		results_forget(message->call);
	else if (message->claimed)
		results_release(message->all->config.results, &message->key);
	message->call = NULL;
	message_target_end(message->target, clean);
	message->target = NULL;
	LIST_REMOVE(message, link);
	uv_close((uv_handle_t *)&message->deadline, on_timer_closed);
}

/* From the exchange, which is freed. A message that is under way has gone on without it by then. */
static void on_release(struct exchange *exchange)
{
	struct message *message = exchange->work;

	exchange->work = NULL;
	if (message != NULL && message->exchange == exchange && message->state != MESSAGE_OVER) {
		message->exchange = NULL;
		wind_up(message, false);
	}
}

/* Without the message, which has ended or goes on. */
static struct exchange *part_from_exchange(struct message *message)
{
	struct exchange *exchange = message->exchange;

	message->exchange = NULL;
	if (exchange != NULL)
		exchange->work = NULL;
	return exchange;
}

static void close_exchange(struct message *message, struct exchange *exchange, const char *reason, uint32_t code,
                           const char *detail)
{
	const struct exchange_closing closing = {
		.reason = reason,
		.in = message->target != NULL ? message_target_taken(message->target) : 0,
		.out = message->out,
		.code = code,
		.status = message->status,
		.detail = detail,
		.id = message->has_receipt ? message->receipt.id : NULL,
		.sha256 = message->has_receipt ? message->receipt.sha256 : NULL,
	};

	exchange_close(exchange, &closing);
}

static void log_gone_on(const struct message *message, const char *reason)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, 0, "message-went-on");
	log_word(&line, "service", message->key.service);
	log_word(&line, "id", message->has_receipt ? message->receipt.id : NULL);
	log_number(&line, "out", message->out);
	log_word(&line, "reason", reason);
	log_end(&line);
}

void message_close(struct message *message, const char *reason, uint32_t code, bool clean)
{
	struct exchange *exchange = part_from_exchange(message);

	if (exchange != NULL)
		close_exchange(message, exchange, reason, code, NULL);
	else
		log_gone_on(message, reason);
	wind_up(message, clean);
}

void message_fail(struct message *message, const struct problem *problem, const char *private_detail)
{
	struct exchange *exchange = part_from_exchange(message);

	if (exchange == NULL) {
		log_gone_on(message, problem->reason);
	} else if (message->status == 0) {
		exchange_refuse(exchange, problem, private_detail);
	} else {
		if (exchange->stream != NULL)
			h2_stream_abandon(exchange->stream, H2_INTERNAL_ERROR);
		exchange->stream = NULL;
		close_exchange(message, exchange, problem->reason, H2_INTERNAL_ERROR, private_detail);
	}
	wind_up(message, false);
}

/* Its client left. What can be recorded goes on. */
static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct message *message = owner;
	const bool goes_on = message->claimed && message->payload_ended &&
	                     (message->state == MESSAGE_DELIVERING || message->state == MESSAGE_REPLYING ||
	                      message->state == MESSAGE_RECORDING);
	const char *reason = end->fate == H2_FATE_RESET ? "client-reset"
	                     : end->fate == H2_FATE_CUT ? "client-cut"
	                                                : "client-protocol";

	(void)stream;
	message->exchange->stream = NULL;
	if (message->state == MESSAGE_ANSWERED &&
	    (end->fate == H2_FATE_DONE || (end->fate == H2_FATE_RESET && end->code == H2_NO_ERROR))) {
		message_close(message, "done", H2_NO_ERROR, true);
	} else if (goes_on) {
		message->left = true;
		message->all->n_left++;
		close_exchange(message, part_from_exchange(message), reason, end->code, "it goes on, for the record");
		if (message->reply_waits)
			message_on_readable(message);
	} else {
		message_close(message, reason, end->code, false);
	}
}

static void fail_too_long(struct message *message)
{
	const struct problem too_long = { .status = 413,
		                              .reason = "message-too-long",
		                              .detail = "it is longer than max_message of this service" };

	message_fail(message, &too_long, NULL);
}

static void on_body(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	struct message *message = owner;

	message->in += len;
	if (message->in > message->terms.max_message) {
		fail_too_long(message);
		return;
	}
	digest_add(message->digest, bytes, len);
	if (message->state == MESSAGE_COMPARING) {
		h2_stream_consume(stream, len);
		return;
	}
	const size_t taken = message_target_write(message->target, bytes, len);
	if (taken > 0)
		h2_stream_consume(stream, taken);
	message_reply_early(message);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	struct message *message = owner;
	const struct problem fault = { .status = 500, .reason = "internal" };

	(void)stream;
	message->payload_ended = true;
	if (digest_end(message->digest, message->sha256) != PS_OK)
		message_fail(message, &fault, "the digest failed");
	else if (message->state == MESSAGE_COMPARING)
		message_replay(message);
	else
		message_target_finish(message->target);
}

/* While the body is not wanted yet: the stream keeps it, as its window allows. */
static const struct h2_stream_events waiting_events = { .on_closed = on_closed };

static const struct h2_stream_events body_events = {
	.on_body = on_body,
	.on_body_end = on_body_end,
	.on_pull = message_on_pull,
	.on_closed = on_closed,
};

static void take_body(struct message *message)
{
	h2_stream_attach(message->exchange->stream, &body_events, message);
}

static void on_deadline(uv_timer_t *timer)
{
	struct message *message = timer->data;
	const bool waits_for_client =
		message->state == MESSAGE_COMPARING ||
		(message->state == MESSAGE_DELIVERING && !message->payload_ended && message_target_is_hungry(message->target));
	const struct problem client = { .status = 408,
		                            .reason = "client-timeout",
		                            .detail = "the payload did not come within timeouts.message" };
	const struct problem application = { .status = 504,
		                                 .reason = "message-timeout",
		                                 .detail =
		                                     "the application did not take it and reply within timeouts.message" };

	if (message->state == MESSAGE_RECORDING)
		return; /* it is delivered; the disk has a deadline of its own */
	message_fail(message, waits_for_client ? &client : &application, NULL);
}

static void on_connected(void *owner)
{
	struct message *message = owner;

	message->state = MESSAGE_DELIVERING;
	take_body(message);
}

static void on_taken(void *owner, size_t len)
{
	struct message *message = owner;

	if (message->exchange != NULL && message->exchange->stream != NULL)
		h2_stream_consume(message->exchange->stream, len);
}

static const struct message_target_events target_events = {
	.on_connected = on_connected,
	.on_taken = on_taken,
	.on_delivered = message_on_delivered,
	.on_readable = message_on_readable,
	.on_failed = message_on_failed,
};

static void connect_target(struct message *message)
{
	const struct message_target_config config = {
		.loop = message->all->config.loop,
		.watches = message->all->config.watches,
		.linger = message->all->config.linger,
		.address = &message->terms.target,
		.connect_ms = message->terms.connect_ms,
		.reply = { .kind = (enum reply_kind)message->terms.reply_kind, .idle_ms = message->terms.reply_idle_ms },
		.events = &target_events,
		.owner = message,
	};
	const struct problem no_memory = { .status = 503, .reason = "no-memory" };

	message->state = MESSAGE_CONNECTING;
	if (message_target_new(&config, &message->target) != PS_OK)
		message_fail(message, &no_memory, NULL);
}

static void fail_unclaimed(struct message *message, const struct results_answer *answer)
{
	const struct problem failed = { .status = 503,
		                            .reason = answer->err == PS_E_LIMIT ? REASON_STORE "-full" : REASON_STORE "-failed",
		                            .detail = "what became of it could not be recorded: it was not delivered",
		                            .retry_after_s = RETRY_UNDER_WAY_S };

	message_fail(message, &failed, answer->cause);
}

/* Copies what was found: it is the store's. */
static bool keep_record(struct message *message, const struct results_record *found)
{
	message->record = *found;
	message->record.reply = BUF_INIT;
	return buf_len(&found->reply) == 0 ||
	       buf_append(&message->record.reply, buf_front(&found->reply), buf_len(&found->reply)) == PS_OK;
}

static void log_repeated(const struct message *message)
{
	struct log_line line;

	log_begin(&line, LOG_WARN, 0, "message-repeated-unknown");
	log_word(&line, "service", message->key.service);
	log_text(&line, "key", message->key.key);
	log_text(&line, "detail", "an earlier try ended with its worker: the application may see this message twice");
	log_end(&line);
}

static void on_claimed(void *owner, const struct results_answer *answer)
{
	struct message *message = owner;
	const struct problem under_way = { .status = 409,
		                               .reason = "message-under-way",
		                               .detail = "a message with this idempotency key is under way",
		                               .retry_after_s = RETRY_UNDER_WAY_S };
	const struct problem no_memory = { .status = 503, .reason = "no-memory" };

	message->call = NULL;
	if (answer->err != PS_OK) {
		fail_unclaimed(message, answer);
	} else if (answer->found == RESULTS_UNDER_WAY) {
		message_fail(message, &under_way, NULL);
	} else if (answer->found != RESULTS_DONE) {
		message->claimed = true;
		if (answer->found == RESULTS_REPEAT_UNKNOWN)
			log_repeated(message);
		connect_target(message);
	} else if (keep_record(message, answer->record)) {
		message->state = MESSAGE_COMPARING;
		take_body(message);
	} else {
		message_fail(message, &no_memory, NULL);
	}
}

static void claim(struct message *message)
{
	const struct problem no_memory = { .status = 503, .reason = "no-memory" };

	message->state = MESSAGE_CLAIMING;
	message->call = results_claim(message->all->config.results, &message->key, on_claimed, message);
	if (message->call == NULL)
		message_fail(message, &no_memory, NULL);
}

static bool is_within_rate(struct message *message)
{
	struct message_rate *rate = message->all->config.rate;
	uint64_t wait_ms = 0;

	if (rate != NULL && message->terms.messages_per_second > 0)
		wait_ms = message_rate_take(rate, message->key.client, message->key.service, message->terms.messages_per_second,
		                            uv_hrtime() / 1000);
	if (wait_ms == 0)
		return true;
	const struct problem too_many = { .status = 429,
		                              .reason = refusal_name(REFUSAL_RATE_LIMITED),
		                              .detail = "more messages a second than limits.messages_per_second",
		                              .retry_after_s = (unsigned)((wait_ms + 999) / 1000) };
	message_fail(message, &too_many, NULL);
	return false;
}

/* One with a key may go on without its client: then nothing else counts what it holds. */
static bool is_within_count(struct message *message)
{
	const uint32_t limit = message->terms.messages_per_client;
	const struct problem too_many = { .status = 503,
		                              .reason = "too-many-streams",
		                              .detail =
		                                  "more messages with a key are under way than limits.messages_per_client",
		                              .retry_after_s = RETRY_UNDER_WAY_S };

	if (!message->has_key || limit == 0)
		return true;
	message->counted = message_count_take(message->all->config.count, message->key.client, limit);
	if (!message->counted)
		message_fail(message, &too_many, NULL);
	return message->counted;
}

static void on_begin(struct exchange *exchange, const struct service_terms *terms)
{
	struct message *message = exchange->work;
	const uint64_t waited_ms = uv_now(message->all->config.loop) - message->began_ms;

	message->terms = *terms;
	memcpy(message->key.client, exchange_client_pin(exchange), sizeof(message->key.client));
	(void)snprintf(message->key.service, sizeof(message->key.service), "%s", exchange->service);
	h2_stream_attach(exchange->stream, &waiting_events, message);
	if (message->content_length >= 0 && (uint64_t)message->content_length > terms->max_message) {
		fail_too_long(message);
		return;
	}
	if (!is_within_rate(message) || !is_within_count(message))
		return;
	(void)uv_timer_start(&message->deadline, on_deadline,
	                     terms->message_ms > waited_ms ? terms->message_ms - waited_ms : 0, 0);
	if (message->has_key)
		claim(message);
	else
		connect_target(message);
}

static void on_abort(struct exchange *exchange, enum h2_code code)
{
	struct message *message = exchange->work;

	if (exchange->stream != NULL)
		h2_stream_abandon(exchange->stream, code);
	exchange->stream = NULL;
	message_close(message, "drain", code, false);
}

/* The key as it is, or as a structured field's string. */
static bool take_key(struct message *message, const char *value)
{
	size_t len = strlen(value);

	if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
		value++;
		len -= 2;
	}
	if (len == 0 || len > RESULTS_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (value[i] <= ' ' || value[i] > '~' || value[i] == '"' || value[i] == '\\')
			return false;
	memcpy(message->key.key, value, len);
	message->key.key[len] = '\0';
	message->has_key = true;
	return true;
}

static bool refuse_request(struct exchange *exchange, unsigned status, const char *reason, const char *detail)
{
	const struct problem problem = { .status = status, .reason = reason, .detail = detail };

	exchange_refuse(exchange, &problem, NULL);
	return false;
}

static struct message *message_new(struct exchange *exchange, struct messages *all)
{
	struct message *message = calloc(1, sizeof(*message));

	if (message == NULL)
		return NULL;
	if (digest_new(&message->digest) != PS_OK) {
		free(message);
		return NULL;
	}
	message->all = all;
	message->exchange = exchange;
	message->began_ms = uv_now(all->config.loop);
	message->record = (struct results_record){ .reply_kept = true, .reply = BUF_INIT };
	(void)uv_timer_init(all->config.loop, &message->deadline);
	message->deadline.data = message;
	LIST_INSERT_HEAD(&all->list, message, link);
	return message;
}

static bool on_prepare(struct exchange *exchange, const struct h2_request *request)
{
	struct messages *all = exchange_config(exchange)->messages;
	const char *key = h2_field_value(request->fields, request->n_fields, "idempotency-key");
	struct message *message;

	if (key != NULL && all->config.results == NULL)
		return refuse_request(exchange, 501, "no-store",
		                      "this relay has no messages.store: it takes no idempotency key");
	message = message_new(exchange, all);
	if (message == NULL)
		return refuse_request(exchange, 503, "no-memory", NULL);
	exchange->work = message;
	message->content_length = request->content_length;
	if (key != NULL && !take_key(message, key))
		return refuse_request(exchange, 400, "bad-key",
		                      "an idempotency-key has 1 to 128 visible ASCII characters, without quote and backslash");
	return true;
}

const struct exchange_kind message_kind = {
	.name = "message",
	.event = "message",
	.is_recorded = true,
	.prepare = on_prepare,
	.begin = on_begin,
	.abort = on_abort,
	.release = on_release,
};
