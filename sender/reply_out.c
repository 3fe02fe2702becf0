/* SPDX-License-Identifier: Apache-2.0 */
#include "reply_out.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind {
	KIND_FILE,   /* takes everything at once */
	KIND_SOCKET, /* can be written without blocking, whatever its flags say */
	KIND_PIPE,   /* takes PIPE_BUF bytes without blocking when poll(2) says so; a terminal, too */
};

static enum kind kind_of(int fd)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return KIND_PIPE;
	if (S_ISSOCK(status.st_mode))
		return KIND_SOCKET;
	return S_ISREG(status.st_mode) ? KIND_FILE : KIND_PIPE;
}

static ssize_t write_some(const struct reply_out *out)
{
	const size_t len = buf_len(&out->kept);

	switch ((enum kind)out->kind) {
	case KIND_SOCKET:
		return send(out->fd, buf_front(&out->kept), len, MSG_NOSIGNAL | MSG_DONTWAIT);
	case KIND_PIPE:
		if (!watch_fd_is_ready(&out->watch)) {
			errno = EAGAIN;
			return -1;
		}
		return write(out->fd, buf_front(&out->kept), len < PIPE_BUF ? len : PIPE_BUF);
	case KIND_FILE:
		break;
	}
	return write(out->fd, buf_front(&out->kept), len);
}

static void flush(struct reply_out *out)
{
	while (buf_len(&out->kept) > 0) {
		ssize_t n = write_some(out);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			watch_fd_start(&out->watch);
			return;
		}
		if (n < 0) {
			out->failed = errno;
			n = (ssize_t)buf_len(&out->kept);
		}
		buf_consume(&out->kept, (size_t)n);
		out->on_taken(out->owner, (size_t)n);
	}
	buf_release(&out->kept);
}

static void on_ready(void *owner)
{
	flush(owner);
}

enum ps_err reply_out_init(struct reply_out *out, uv_loop_t *loop, int fd, void (*on_taken)(void *owner, size_t len),
                           void *owner)
{
	*out = (struct reply_out){
		.fd = fd, .kind = (int)kind_of(fd), .kept = BUF_INIT, .on_taken = on_taken, .owner = owner
	};
	return watch_fd_init(&out->watch, loop, fd, WATCH_WRITABLE, on_ready, out);
}

enum ps_err reply_out_add(struct reply_out *out, const void *bytes, size_t len)
{
	const bool waits = buf_len(&out->kept) > 0;

	if (out->failed != 0) {
		out->on_taken(out->owner, len);
		return PS_OK;
	}
	if (buf_append(&out->kept, bytes, len) != PS_OK)
		return PS_E_NOMEM;
	if (!waits)
		flush(out);
	return PS_OK;
}

bool reply_out_is_done(const struct reply_out *out)
{
	return buf_len(&out->kept) == 0;
}

void reply_out_close(struct reply_out *out)
{
	watch_fd_close(&out->watch);
	buf_release(&out->kept);
}
