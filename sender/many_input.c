/* SPDX-License-Identifier: Apache-2.0 */
#include "many_input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "send_many.h"

#define READ_LEN ((size_t)64 * 1024)
#define PREFIX_LEN 4

enum ps_err many_input_init(struct many_input *input, uv_loop_t *loop, int fd, bool lines,
                            void (*on_ready)(void *owner), void *owner)
{
	*input = (struct many_input){ .fd = fd, .lines = lines, .read = BUF_INIT };
	return watch_fd_init(&input->watch, loop, fd, WATCH_READABLE, on_ready, owner);
}

/* Bytes of the whole message at the front, its prefix included; 0: it is not whole. */
static size_t whole(struct many_input *input)
{
	const uint8_t *bytes = buf_front(&input->read);
	const size_t len = buf_len(&input->read);
	const uint8_t *newline;

	if (len == 0)
		return 0;
	if (!input->lines) {
		if (len < PREFIX_LEN)
			return 0;
		const size_t told = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
		if (told > SEND_MANY_LEN_MAX)
			input->error = MANY_INPUT_TOO_LONG;
		return input->error == 0 && len - PREFIX_LEN >= told ? PREFIX_LEN + told : 0;
	}
	newline = memchr(bytes + input->looked, '\n', len - input->looked);
	input->looked = newline == NULL ? len : 0;
	if (newline == NULL && len > SEND_MANY_LEN_MAX)
		input->error = MANY_INPUT_TOO_LONG;
	if (newline != NULL)
		return (size_t)(newline - bytes) + 1;
	return input->ended && input->error == 0 ? len : 0; /* the last line may have no newline */
}

/* True: something changed, look again. */
static bool read_more(struct many_input *input)
{
	ssize_t n;

	if (!watch_fd_is_ready(&input->watch)) {
		watch_fd_start(&input->watch);
		return false;
	}
	if (buf_reserve(&input->read, READ_LEN) != PS_OK) {
		input->error = MANY_INPUT_NO_MEMORY;
		return false;
	}
	n = read(input->fd, input->read.data + input->read.end, READ_LEN);
	if (n < 0 && errno == EAGAIN) {
		watch_fd_start(&input->watch);
		return false;
	}
	if (n > 0)
		input->read.end += (size_t)n;
	else if (n == 0)
		input->ended = true;
	else if (errno != EINTR)
		input->error = errno;
	return true;
}

bool many_input_take(struct many_input *input, struct buf *message)
{
	const size_t prefix = input->lines ? 0 : PREFIX_LEN;
	size_t len;

	while (input->error == 0 && (len = whole(input)) == 0 && input->error == 0) {
		if (input->ended && buf_len(&input->read) > 0)
			input->error = MANY_INPUT_CUT;
		if (input->ended || !read_more(input))
			return false;
	}
	if (input->error != 0)
		return false;
	if (len > prefix && buf_append(message, buf_front(&input->read) + prefix, len - prefix) != PS_OK) {
		input->error = MANY_INPUT_NO_MEMORY;
		return false;
	}
	buf_consume(&input->read, len);
	input->looked = 0;
	return true;
}

bool many_input_is_over(const struct many_input *input)
{
	return input->error != 0 || (input->ended && buf_len(&input->read) == 0);
}

const char *many_input_error(const struct many_input *input)
{
	switch (input->error) {
	case MANY_INPUT_TOO_LONG:
		return "a message of more than 64 MiB: send it alone, without --each-line or --length-prefixed";
	case MANY_INPUT_CUT:
		return "it ended within a message";
	case MANY_INPUT_NO_MEMORY:
		return "out of memory";
	default:
		return strerror(input->error);
	}
}

void many_input_close(struct many_input *input)
{
	watch_fd_close(&input->watch);
	buf_release(&input->read);
}
