/* SPDX-License-Identifier: Apache-2.0 */
#include "send_many.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "many_input.h"
#include "reply_out.h"
#include "send_result.h"

#define HELD_FACTOR 4                     /* done, but behind one that is not: so many times in_flight are held */
#define OUTPUT_HELD_MAX ((size_t)1 << 20) /* replies that stdout did not take, before no more messages are begun */

struct item {
	TAILQ_ENTRY(item) link;
	struct send_many *many;
	uint64_t index;
	struct buf payload;
	size_t sent;
	struct buf reply;
	struct post_message *message; /* NULL: not under way */
	bool begun, done, too_long;
	struct post_result result;
};

struct send_many {
	struct send_many_config config;
	uv_loop_t loop;
	struct post *post; /* NULL: none */
	struct many_input input;
	struct reply_out output;
	TAILQ_HEAD(items, item) items; /* in the order of the input */
	size_t n_items, n_under_way;
	uint64_t n_read, n_delivered, n_failed;
	uint64_t n_done_before; /* when this connection began */
	struct outcome worst;
	struct outcome ended; /* of the last connection */
};

static void worsen(struct send_many *many, const struct outcome *outcome)
{
	if (outcome->code > many->worst.code)
		many->worst = *outcome;
}

static void show_progress(struct send_many *many)
{
	if (many->config.progress)
		fprintf(stderr, "\r%" PRIu64 " delivered, %" PRIu64 " failed, %zu under way\x1b[K", many->n_delivered,
		        many->n_failed, many->n_under_way);
}

static void item_free(struct item *item)
{
	TAILQ_REMOVE(&item->many->items, item, link);
	item->many->n_items--;
	buf_release(&item->payload);
	buf_release(&item->reply);
	free(item);
}

static void put_reply(struct send_many *many, const struct item *item)
{
	const bool whole = item->result.fate == POST_DELIVERED;
	const size_t len = whole ? buf_len(&item->reply) : 0;
	const uint8_t prefix[4] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };
	enum ps_err err = PS_OK;

	if (many->config.framing == SEND_MANY_PREFIXED)
		err = reply_out_add(&many->output, prefix, sizeof(prefix));
	if (err == PS_OK && len > 0)
		err = reply_out_add(&many->output, buf_front(&item->reply), len);
	if (err != PS_OK || many->output.failed != 0) {
		struct outcome outcome;
		outcome_set(&outcome, OUTCOME_UNFORESEEN, "stdout: a reply cannot be written: %s",
		            err != PS_OK ? ps_err_text(err) : strerror(many->output.failed));
		if (many->worst.code == OUTCOME_DONE)
			many->worst = outcome;
		if (many->post != NULL)
			post_abort(many->post);
	}
}

/* Results in the order of the input: those that are behind one that is not done wait. */
static void tell_done(struct send_many *many)
{
	struct item *next;

	for (struct item *item = TAILQ_FIRST(&many->items); item != NULL && item->done; item = next) {
		next = TAILQ_NEXT(item, link);
		if (many->config.progress)
			fputs("\r\x1b[K", stderr);
		send_result_print_line(stderr, many->config.json, item->index, &item->result);
		put_reply(many, item);
		worsen(many, &item->result.outcome);
		item_free(item);
	}
	show_progress(many);
}

static enum post_read on_read(void *owner, uint8_t *room, size_t max, size_t *n)
{
	struct item *item = owner;
	const size_t left = buf_len(&item->payload) - item->sent;

	*n = left < max ? left : max;
	memcpy(room, buf_front(&item->payload) + item->sent, *n);
	item->sent += *n;
	return item->sent == buf_len(&item->payload) ? POST_END : POST_MORE;
}

static void on_reply(void *owner, const uint8_t *bytes, size_t len)
{
	struct item *item = owner;

	if (item->too_long || buf_len(&item->reply) + len > SEND_MANY_LEN_MAX ||
	    buf_append(&item->reply, bytes, len) != PS_OK) {
		item->too_long = true;
		buf_release(&item->reply);
	}
	post_taken(item->message, len);
}

static void fill(struct send_many *many);

static void on_done(void *owner, const struct post_result *result)
{
	struct item *item = owner;
	struct send_many *many = item->many;

	item->message = NULL;
	many->n_under_way--;
	if (result->fate == POST_UNPROCESSED) { /* again, over the next connection */
		item->begun = false;
		item->sent = 0;
		return;
	}
	item->done = true;
	item->result = *result;
	if (item->too_long) {
		item->result.fate = POST_UNKNOWN;
		outcome_set(&item->result.outcome, OUTCOME_LIMIT,
		            "delivered, but its reply is longer than %zu bytes: send it alone", SEND_MANY_LEN_MAX);
	}
	if (item->result.fate == POST_DELIVERED)
		many->n_delivered++;
	else
		many->n_failed++;
	tell_done(many);
	fill(many);
}

static bool begin(struct item *item)
{
	const struct post_message_config message = {
		.service = item->many->config.names.service,
		.length = (int64_t)buf_len(&item->payload),
		.on_read = on_read,
		.on_reply = on_reply,
		.on_done = on_done,
		.owner = item,
	};

	item->begun = post_begin(item->many->post, &message, &item->message) == PS_OK;
	if (item->begun)
		item->many->n_under_way++;
	return item->begun;
}

/* The next one that is not under way: one left over, or one of the input. NULL: none now. */
static struct item *next_item(struct send_many *many)
{
	struct item *item;

	TAILQ_FOREACH(item, &many->items, link)
	{
		if (!item->begun)
			return item;
	}
	item = calloc(1, sizeof(*item));
	if (item == NULL || !many_input_take(&many->input, &item->payload)) {
		free(item);
		return NULL;
	}
	item->many = many;
	item->index = ++many->n_read;
	TAILQ_INSERT_TAIL(&many->items, item, link);
	many->n_items++;
	return item;
}

static void fill(struct send_many *many)
{
	while (many->post != NULL && many->n_under_way < many->config.in_flight && post_room(many->post) > 0 &&
	       many->n_items < (size_t)HELD_FACTOR * many->config.in_flight &&
	       buf_len(&many->output.kept) < OUTPUT_HELD_MAX) {
		struct item *item = next_item(many);

		if (item == NULL || !begin(item))
			break;
	}
	if (many->post != NULL && many_input_is_over(&many->input) && many->n_items == 0)
		post_shut(many->post);
	show_progress(many);
}

static void on_input(void *owner)
{
	fill(owner);
}

static void on_room(void *owner)
{
	fill(owner);
}

static void on_taken(void *owner, size_t len)
{
	struct send_many *many = owner;

	(void)len;
	if (buf_len(&many->output.kept) < OUTPUT_HELD_MAX && many->post != NULL && post_is_open(many->post) &&
	    many->output.watch.epoll_fd >= 0)
		fill(many);
}

static void on_end(void *owner, const struct outcome *outcome)
{
	struct send_many *many = owner;

	many->post = NULL;
	many->ended = *outcome;
}

enum ps_err send_many_new(const struct send_many_config *config, struct send_many **many)
{
	struct send_many *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	made->config = *config;
	TAILQ_INIT(&made->items);
	if (uv_loop_init(&made->loop) != 0) {
		free(made);
		return PS_E_NOMEM;
	}
	if (many_input_init(&made->input, &made->loop, config->input_fd, config->framing == SEND_MANY_LINES, on_input,
	                    made) != PS_OK ||
	    reply_out_init(&made->output, &made->loop, config->output_fd, on_taken, made) != PS_OK) {
		free(made);
		return PS_E_IO;
	}
	*many = made;
	return PS_OK;
}

bool send_many_run(struct send_many *many, const struct dial_result *dial)
{
	const struct post_config post = {
		.loop = &many->loop,
		.fd = dial->fd,
		.secrets = &dial->secrets,
		.names = many->config.names,
		.timeout_ms = many->config.timeout_ms,
		.on_room = on_room,
		.on_end = on_end,
		.owner = many,
	};
	const uint64_t before = many->n_delivered + many->n_failed;

	if (post_new(&post, &many->post) != PS_OK) {
		outcome_set(&many->worst, OUTCOME_UNFORESEEN, "cannot start: no memory or descriptors");
		return false;
	}
	while (many->post != NULL)
		(void)uv_run(&many->loop, UV_RUN_ONCE);
	worsen(many, &many->ended);
	const bool left = many->n_items > 0 || !many_input_is_over(&many->input);
	return left && many->ended.code == OUTCOME_DONE && many->output.failed == 0 &&
	       many->n_delivered + many->n_failed > before;
}

static void tell_left(struct send_many *many)
{
	struct outcome outcome;

	if (many->input.error != 0) {
		outcome_set(&outcome, OUTCOME_USAGE, "%s: %s", many->config.input_name, many_input_error(&many->input));
		worsen(many, &outcome);
	} else if (many->n_items > 0 || !many_input_is_over(&many->input)) {
		outcome_set(&outcome, OUTCOME_NO_RELAY, "%s: the connection ended before message %" PRIu64 " was sent",
		            many->config.names.relay, many->n_delivered + many->n_failed + 1);
		worsen(many, &outcome);
	}
}

void send_many_finish(struct send_many *many, struct outcome *outcome)
{
	struct item *next;

	tell_left(many);
	while (!reply_out_is_done(&many->output))
		(void)uv_run(&many->loop, UV_RUN_ONCE);
	if (many->config.progress)
		fputs("\r\x1b[K", stderr);
	send_result_print_sum(stderr, many->config.json, many->n_delivered, many->n_failed);
	*outcome = many->worst;
	for (struct item *item = TAILQ_FIRST(&many->items); item != NULL; item = next) {
		next = TAILQ_NEXT(item, link);
		item_free(item);
	}
	many_input_close(&many->input);
	reply_out_close(&many->output);
	(void)uv_run(&many->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&many->loop);
	free(many);
}
