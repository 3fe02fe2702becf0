/* SPDX-License-Identifier: Apache-2.0 */
#include "send_post.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reply_out.h"
#include "watch_fd.h"

struct posting {
	const struct send_post_config *config;
	struct post_result *result;
	uv_loop_t loop;
	struct post *post;            /* NULL once it has ended */
	struct post_message *message; /* NULL before and after */
	bool begun, done;
	int input_error;
	struct watch_fd input;
	struct reply_out output;
};

static void on_input(void *owner)
{
	struct posting *posting = owner;

	if (posting->message != NULL)
		post_ready(posting->message);
}

static enum post_read on_read(void *owner, uint8_t *room, size_t max, size_t *n)
{
	struct posting *posting = owner;
	ssize_t got;

	if (!watch_fd_is_ready(&posting->input)) {
		watch_fd_start(&posting->input);
		return POST_WAIT;
	}
	do
		got = read(posting->config->input_fd, room, max);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN) {
		watch_fd_start(&posting->input);
		return POST_WAIT;
	}
	if (got < 0) {
		posting->input_error = errno;
		return POST_FAILED;
	}
	*n = (size_t)got;
	return got == 0 ? POST_END : POST_MORE;
}

static void on_reply(void *owner, const uint8_t *bytes, size_t len)
{
	struct posting *posting = owner;

	if (reply_out_add(&posting->output, bytes, len) != PS_OK)
		post_abort(posting->post);
}

static void on_taken(void *owner, size_t len)
{
	struct posting *posting = owner;

	if (posting->message != NULL)
		post_taken(posting->message, len);
	if (posting->output.failed != 0 && posting->post != NULL)
		post_abort(posting->post);
}

static void on_done(void *owner, const struct post_result *result)
{
	struct posting *posting = owner;
	const struct send_post_config *config = posting->config;

	posting->message = NULL;
	posting->done = true;
	*posting->result = *result;
	if (result->fate == POST_CANCELLED && posting->input_error != 0)
		outcome_set(&posting->result->outcome, OUTCOME_USAGE, "%s: cannot be read: %s", config->input_name,
		            strerror(posting->input_error));
	else if (result->fate == POST_CANCELLED)
		outcome_set(&posting->result->outcome, OUTCOME_USAGE, "%s: changed while it was read", config->input_name);
	if (posting->post != NULL)
		post_shut(posting->post);
}

/* What is still to come of a regular file; 0 is what files say that are made as they are read. */
static int64_t length_of(int fd)
{
	struct stat status;
	off_t at;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
		return POST_LENGTH_UNKNOWN;
	at = lseek(fd, 0, SEEK_CUR);
	return at < 0 || at > status.st_size ? POST_LENGTH_UNKNOWN : status.st_size - at;
}

static void on_room(void *owner)
{
	struct posting *posting = owner;
	const struct post_message_config message = {
		.service = posting->config->names.service,
		.key = posting->config->key,
		.length = length_of(posting->config->input_fd),
		.on_read = on_read,
		.on_reply = on_reply,
		.on_done = on_done,
		.owner = posting,
	};

	if (posting->begun)
		return;
	posting->begun = true;
	if (post_begin(posting->post, &message, &posting->message) != PS_OK)
		post_abort(posting->post);
}

static void on_end(void *owner, const struct outcome *outcome)
{
	struct posting *posting = owner;

	posting->post = NULL;
	if (posting->done)
		return;
	posting->done = true;
	posting->result->fate = posting->begun ? POST_UNKNOWN : POST_UNPROCESSED;
	posting->result->outcome = *outcome;
	if (outcome->code == OUTCOME_DONE)
		outcome_set(&posting->result->outcome, OUTCOME_NO_RELAY, "%s: the relay ended the connection: try again",
		            posting->config->names.relay);
}

static void run(struct posting *posting)
{
	const struct send_post_config *config = posting->config;
	const struct post_config post = {
		.loop = &posting->loop,
		.fd = config->dial->fd,
		.secrets = &config->dial->secrets,
		.names = config->names,
		.timeout_ms = config->timeout_ms,
		.on_room = on_room,
		.on_end = on_end,
		.owner = posting,
	};

	if (post_new(&post, &posting->post) != PS_OK)
		return;
	while (posting->post != NULL || !reply_out_is_done(&posting->output))
		(void)uv_run(&posting->loop, UV_RUN_ONCE);
	if (posting->output.failed != 0) /* what the relay said is lost here anyhow: our own fault comes first */
		outcome_set(&posting->result->outcome, OUTCOME_UNFORESEEN, "stdout: the reply cannot be written: %s",
		            strerror(posting->output.failed));
}

void send_post_run(const struct send_post_config *config, struct post_result *result)
{
	struct posting posting = { .config = config, .result = result };

	*result = (struct post_result){ .fate = POST_UNPROCESSED };
	outcome_set(&result->outcome, OUTCOME_UNFORESEEN, "cannot start: no memory or descriptors");
	if (uv_loop_init(&posting.loop) != 0) {
		close(config->dial->fd);
		return;
	}
	if (watch_fd_init(&posting.input, &posting.loop, config->input_fd, WATCH_READABLE, on_input, &posting) == PS_OK) {
		if (reply_out_init(&posting.output, &posting.loop, config->output_fd, on_taken, &posting) == PS_OK) {
			run(&posting);
			reply_out_close(&posting.output);
		} else {
			close(config->dial->fd);
		}
		watch_fd_close(&posting.input);
	} else {
		close(config->dial->fd);
	}
	(void)uv_run(&posting.loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&posting.loop);
}
