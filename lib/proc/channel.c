/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Room for more than the one descriptor that is allowed, so that a surplus arrives here and can be closed. */
#define DESCRIPTORS_SEEN 4

enum ps_err channel_pair(int ends[static 2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
		return errno == EMFILE || errno == ENFILE ? PS_E_LIMIT : PS_E_IO;
	return PS_OK;
}

static enum ps_err error_of_errno(void)
{
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ETOOMANYREFS:
		return PS_E_AGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return PS_E_CLOSED;
	case ENOMEM:
		return PS_E_NOMEM;
	default:
		return PS_E_IO;
	}
}

enum ps_err channel_send(int end, uint32_t type, const void *body, size_t body_len, int pass_fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec parts[2] = { { &type, sizeof(type) }, { (void *)(uintptr_t)body, body_len } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = body_len > 0 ? 2 : 1 };
	ssize_t sent;

	if (body_len > CHANNEL_MESSAGE_MAX)
		return PS_E_LIMIT;
	if (pass_fd >= 0) {
		struct cmsghdr *header;

		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &pass_fd, sizeof(int));
	}
	do
		sent = sendmsg(end, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? error_of_errno() : PS_OK;
}

/* Keeps the only descriptor of the message, or closes all of them when there are several. */
static enum ps_err take_descriptor(struct msghdr *message, int *fd)
{
	enum ps_err err = PS_OK;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= header->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
			int passed;

			memcpy(&passed, CMSG_DATA(header) + at, sizeof(int));
			if (*fd >= 0) {
				close(passed);
				err = PS_E_PROTO;
			} else {
				*fd = passed;
			}
		}
	}
	if (err != PS_OK) {
		close(*fd);
		*fd = -1;
	}
	return err;
}

enum ps_err channel_receive(int end, uint32_t *type, uint8_t body[static CHANNEL_MESSAGE_MAX], size_t *body_len,
                            int *fd)
{
	union {
		char bytes[CMSG_SPACE(DESCRIPTORS_SEEN * sizeof(int))];
		struct cmsghdr align;
	} control;
	uint32_t received_type = 0;
	struct iovec parts[2] = { { &received_type, sizeof(received_type) }, { body, CHANNEL_MESSAGE_MAX } };
	struct msghdr message = {
		.msg_iov = parts, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	int received_fd = -1;
	ssize_t got;

	/* ECONNRESET, told once: the other end closed without reading all of ours. What it sent before is still here. */
	do
		got = recvmsg(end, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && (errno == EINTR || errno == ECONNRESET));
	if (got < 0)
		return error_of_errno();
	if (take_descriptor(&message, &received_fd) != PS_OK)
		return PS_E_PROTO;
	/* Zero bytes are the end, unless a descriptor comes with them: then somebody sent a message of nothing. */
	if (got == 0 && received_fd < 0)
		return PS_E_CLOSED;
	const bool lost = received_fd < 0 && (message.msg_flags & MSG_CTRUNC) != 0;
	const int cut = lost ? MSG_TRUNC : MSG_TRUNC | MSG_CTRUNC;
	if ((size_t)got < sizeof(received_type) || (message.msg_flags & cut) != 0) {
		if (received_fd >= 0)
			close(received_fd);
		return PS_E_PROTO;
	}
	*type = received_type;
	*body_len = (size_t)got - sizeof(received_type);
	*fd = received_fd;
	return lost ? PS_E_LIMIT : PS_OK;
}
