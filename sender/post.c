/* SPDX-License-Identifier: Apache-2.0 */
#include "post.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/digest.h"
#include "portseal/h2.h"
#include "portseal/linger.h"
#include "post_answer.h"

#define PATH_MAX_LEN 128
#define LOOK_MS 100 /* how often messages that stand still are looked for; a shorter timeout is looked for more often */

struct post_message {
	struct post *post;
	LIST_ENTRY(post_message) link;
	struct post_message_config config; /* its strings are gone */
	char service[64];
	struct h2_stream *stream; /* NULL: closed with its connection, whose end says why */
	struct digest *digest;
	bool source_waits; /* it is our own input that is waited for */
	bool source_ended;
	bool source_failed;
	bool timed_out;
	size_t kept; /* bytes of the reply that the owner has not done with */
	uint64_t moved_ms;
	struct post_answer answer;
	struct post_result result;
};

struct post {
	struct post_config config;
	struct h2 *h2; /* NULL once it has ended */
	struct h2_scratch *scratch;
	struct linger_set *linger;
	struct watches *watches;
	uv_timer_t timer;
	bool going; /* takes no more messages */
	size_t n;
	LIST_HEAD(post_messages, post_message) messages;
};

static struct outcome_names names_of(const struct post_message *message)
{
	struct outcome_names names = message->post->config.names;

	names.service = message->service;
	return names;
}

static void message_free(struct post_message *message)
{
	LIST_REMOVE(message, link);
	message->post->n--;
	digest_free(message->digest);
	post_answer_clear(&message->answer);
	free(message);
}

static void message_done(struct post_message *message)
{
	message->config.on_done(message->config.owner, &message->result);
	message_free(message);
}

static void moved(struct post_message *message)
{
	message->moved_ms = uv_now(message->post->config.loop);
}

static void set_broken(struct post_message *message, const char *why)
{
	message->result.fate = POST_UNKNOWN;
	message->result.has_receipt = message->answer.has_receipt;
	message->result.receipt = message->answer.receipt;
	outcome_set(&message->result.outcome, OUTCOME_UNDELIVERED,
	            "%s: %s after %" PRIu64 " bytes sent and %" PRIu64
	            " bytes of reply: it may have been delivered, or not",
	            message->post->config.names.relay, why, message->result.sent, message->result.reply_len);
}

static void set_cancelled(struct post_message *message)
{
	message->result.fate = POST_CANCELLED;
	outcome_set(&message->result.outcome, OUTCOME_USAGE,
	            "the payload ended before it was whole, after %" PRIu64 " bytes", message->result.sent);
}

/* The answer is whole. */
static void set_answered(struct post_message *message)
{
	const struct outcome_names names = names_of(message);
	uint8_t sha256[DIGEST_LEN];
	const bool hashed = digest_end(message->digest, sha256) == PS_OK;

	post_answer_judge(&message->answer, hashed ? sha256 : NULL, &names, &message->result);
}

static void set_unprocessed(struct post_message *message)
{
	message->result.fate = POST_UNPROCESSED;
	outcome_set(&message->result.outcome, OUTCOME_NO_RELAY,
	            "%s: the relay is ending and did nothing with the message: try again",
	            message->post->config.names.relay);
}

static void on_closed(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct post_message *message = owner;
	char why[64];

	(void)stream;
	message->stream = NULL;
	if (message->source_failed) {
		set_cancelled(message);
	} else if (message->answer.complete) {
		set_answered(message);
	} else if (message->timed_out) {
		(void)snprintf(why, sizeof(why), "nothing moved for %" PRIu64 " ms", message->post->config.timeout_ms);
		set_broken(message, why);
	} else if (end->fate == H2_FATE_UNPROCESSED) {
		set_unprocessed(message);
	} else if (end->fate == H2_FATE_CUT) {
		set_broken(message, "the connection broke off");
		return; /* the connection's end, which follows, knows better */
	} else {
		(void)snprintf(why, sizeof(why), "the relay broke it off (%s)", h2_code_name(end->code));
		set_broken(message, why);
	}
	message_done(message);
}

/* What the relay's end of the body was told to be must be what comes. */
static bool is_as_told(const struct post_message *message, size_t n, enum post_read read)
{
	const uint64_t total = message->result.sent + n;

	if (message->config.length < 0)
		return true;
	return read == POST_END ? total == (uint64_t)message->config.length : total <= (uint64_t)message->config.length;
}

static size_t on_pull(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end)
{
	struct post_message *message = owner;
	size_t n = 0;
	const enum post_read read = message->config.on_read(message->config.owner, room, max, &n);

	message->source_waits = read == POST_WAIT;
	if (read == POST_WAIT)
		return 0;
	if (read == POST_FAILED || !is_as_told(message, n, read)) {
		message->source_failed = true;
		h2_stream_reset(stream, H2_CANCEL);
		return 0;
	}
	assert(n <= max && (n > 0 || read == POST_END));
	digest_add(message->digest, room, n);
	message->result.sent += n;
	message->source_ended = read == POST_END;
	*end = read == POST_END;
	moved(message);
	return n;
}

static void on_response(void *owner, struct h2_stream *stream, const struct h2_response *response)
{
	struct post_message *message = owner;

	(void)stream;
	moved(message);
	post_answer_begin(&message->answer, response);
	message->result.status = response->status;
}

static void on_body(void *owner, struct h2_stream *stream, uint8_t *bytes, size_t len)
{
	struct post_message *message = owner;

	moved(message);
	if (!post_answer_is_reply(&message->answer)) {
		post_answer_add(&message->answer, bytes, len);
		h2_stream_consume(stream, len);
		return;
	}
	message->result.reply_len += len;
	message->kept += len;
	if (message->config.on_reply == NULL)
		post_taken(message, len);
	else
		message->config.on_reply(message->config.owner, bytes, len);
}

static void on_trailer(void *owner, struct h2_stream *stream, const struct h2_field *fields, size_t n_fields)
{
	struct post_message *message = owner;

	(void)stream;
	post_answer_trail(&message->answer, fields, n_fields);
}

static void on_body_end(void *owner, struct h2_stream *stream)
{
	struct post_message *message = owner;

	moved(message);
	message->answer.complete = true;
	if (!message->source_ended)
		h2_stream_reset(stream, H2_CANCEL); /* the relay has decided: the rest would be for nothing */
}

static const struct h2_stream_events stream_events = {
	.on_response = on_response,
	.on_body = on_body,
	.on_trailer = on_trailer,
	.on_body_end = on_body_end,
	.on_pull = on_pull,
	.on_closed = on_closed,
};

/* It is the relay's turn, and has been for too long. */
static bool stands_still(const struct post_message *message, uint64_t now_ms)
{
	return message->stream != NULL && !message->source_waits && message->kept == 0 && !message->answer.complete &&
	       now_ms - message->moved_ms >= message->post->config.timeout_ms;
}

static void on_look(uv_timer_t *timer)
{
	struct post *post = timer->data;
	const uint64_t now_ms = uv_now(post->config.loop);
	struct post_message *message;

	LIST_FOREACH(message, &post->messages, link)
	{
		if (message->timed_out || !stands_still(message, now_ms))
			continue;
		message->timed_out = true;
		h2_stream_reset(message->stream, H2_CANCEL);
	}
}

static void on_capacity(void *owner)
{
	struct post *post = owner;

	if (!post->going)
		post->config.on_room(post->config.owner);
}

static void on_goaway(void *owner)
{
	struct post *post = owner;

	post->going = true;
	h2_shut(post->h2);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct post *post = handle->data;

	linger_free(post->linger);
	watches_free(post->watches);
	h2_scratch_free(post->scratch);
	free(post);
}

static void on_end(void *owner, const struct h2_report *report)
{
	struct post *post = owner;
	struct post_message *next;
	struct outcome outcome;

	post->going = true;
	post->h2 = NULL;
	post_answer_of_end(report, &post->config.names, &outcome);
	for (struct post_message *message = LIST_FIRST(&post->messages); message != NULL; message = next) {
		next = LIST_NEXT(message, link);
		if (outcome.code != OUTCOME_DONE)
			message->result.outcome = outcome;
		message_done(message);
	}
	post->config.on_end(post->config.owner, &outcome);
	uv_close((uv_handle_t *)&post->timer, on_timer_closed);
}

static const struct h2_events connection_events = {
	.on_capacity = on_capacity,
	.on_goaway = on_goaway,
	.on_end = on_end,
};

static enum ps_err connect_h2(struct post *post)
{
	struct h2_config h2 = {
		.loop = post->config.loop,
		.fd = post->config.fd,
		.role = H2_CLIENT,
		.events = &connection_events,
		.owner = post,
	};
	enum ps_err err = h2_scratch_new(&post->scratch);

	if (err == PS_OK)
		err = linger_new(post->config.loop, &post->linger);
	if (err == PS_OK)
		err = watches_new(post->config.loop, &post->watches);
	if (err == PS_OK)
		err = tls_stream_new(TLS_CLIENT, post->config.secrets, &h2.stream);
	if (err != PS_OK) {
		close(post->config.fd);
		return err;
	}
	h2.scratch = post->scratch;
	h2.linger = post->linger;
	h2.watches = post->watches;
	return h2_new(&h2, &post->h2);
}

enum ps_err post_new(const struct post_config *config, struct post **post)
{
	struct post *made = calloc(1, sizeof(*made));
	enum ps_err err;

	if (made == NULL) {
		close(config->fd);
		return PS_E_NOMEM;
	}
	made->config = *config;
	LIST_INIT(&made->messages);
	(void)uv_timer_init(config->loop, &made->timer);
	made->timer.data = made;
	err = connect_h2(made);
	made->config.secrets = NULL;
	if (err != PS_OK) {
		uv_close((uv_handle_t *)&made->timer, on_timer_closed);
		return err;
	}
	const uint64_t look_ms = config->timeout_ms / 4 < LOOK_MS ? config->timeout_ms / 4 + 1 : LOOK_MS;
	(void)uv_timer_start(&made->timer, on_look, look_ms, look_ms);
	*post = made;
	return PS_OK;
}

size_t post_room(const struct post *post)
{
	return post->going || post->h2 == NULL ? 0 : h2_capacity(post->h2);
}

bool post_is_open(const struct post *post)
{
	return !post->going;
}

void post_shut(struct post *post)
{
	post->going = true;
	if (post->h2 != NULL)
		h2_shut(post->h2);
}

void post_abort(struct post *post)
{
	post->going = true;
	if (post->h2 != NULL)
		h2_abort(post->h2, ALERT_INTERNAL_ERROR);
}

static enum ps_err open_stream(struct post_message *message, const struct post_message_config *config)
{
	char path[PATH_MAX_LEN];
	struct h2_field fields[3] = { { "content-type", "application/octet-stream" } };
	size_t n = 1;

	(void)snprintf(path, sizeof(path), "/messages/%s", message->service);
	if (config->key != NULL)
		fields[n++] = (struct h2_field){ "idempotency-key", config->key };
	const struct h2_request request = {
		.method = "POST",
		.scheme = "https",
		.authority = message->post->config.names.server_name,
		.path = path,
		.content_length = config->length,
		.fields = fields,
		.n_fields = n,
	};
	message->source_ended = config->length == 0;
	return h2_open(message->post->h2, &request, message->source_ended, &stream_events, message, &message->stream);
}

enum ps_err post_begin(struct post *post, const struct post_message_config *config, struct post_message **message)
{
	struct post_message *made;
	enum ps_err err;

	if (post->going)
		return PS_E_CLOSED;
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return PS_E_NOMEM;
	made->post = post;
	made->config = *config;
	made->config.service = made->config.key = NULL;
	(void)snprintf(made->service, sizeof(made->service), "%s", config->service);
	moved(made);
	LIST_INSERT_HEAD(&post->messages, made, link);
	post->n++;
	err = digest_new(&made->digest);
	if (err == PS_OK)
		err = open_stream(made, config);
	if (err != PS_OK) {
		message_free(made);
		return err;
	}
	*message = made;
	return PS_OK;
}

void post_ready(struct post_message *message)
{
	message->source_waits = false;
	moved(message);
	if (message->stream != NULL)
		h2_stream_ready(message->stream);
}

void post_taken(struct post_message *message, size_t len)
{
	assert(len <= message->kept);
	message->kept -= len;
	moved(message);
	if (message->stream != NULL)
		h2_stream_consume(message->stream, len);
}

bool post_is_key(const char *key)
{
	const size_t len = strlen(key);

	if (len == 0 || len > POST_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] > '~' || key[i] == '"' || key[i] == '\\')
			return false;
	return true;
}
