/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/status_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "portseal/net.h"

#define PATIENCE_MS 5000
#define ANSWER_MAX 65536

enum ps_err status_socket_open(const char *path, int *fd, struct ps_cause *cause)
{
	struct address address = { .kind = ADDRESS_UNIX };
	int fds[NET_LISTEN_MAX];
	size_t n_fds = 0;

	if (strlen(path) >= sizeof(address.path))
		return ps_cause_set(cause, PS_E_CONFIG, "status: the path is longer than %zu bytes", sizeof(address.path) - 1);
	memcpy(address.path, path, strlen(path));
	const enum ps_err err = net_listen(&address, fds, &n_fds, cause);
	if (err == PS_OK)
		*fd = fds[0];
	return err;
}

static enum ps_err read_to_end(int fd, struct buf *answer)
{
	for (;;) {
		struct pollfd polled = { .fd = fd, .events = POLLIN };
		char part[4096];

		if (poll(&polled, 1, PATIENCE_MS) <= 0 || buf_len(answer) > ANSWER_MAX)
			return PS_E_TIMEOUT;
		const ssize_t got = read(fd, part, sizeof(part));
		if (got < 0)
			return PS_E_IO;
		if (got == 0)
			return buf_append(answer, "", 1);
		if (buf_append(answer, part, (size_t)got) != PS_OK)
			return PS_E_NOMEM;
	}
}

enum ps_err status_socket_ask(const char *path, struct buf *answer, struct ps_cause *cause)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(un.sun_path))
		return ps_cause_set(cause, PS_E_CONFIG, "status: the path is too long for a socket");
	memcpy(un.sun_path, path, strlen(path));
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ps_cause_errno(cause, PS_E_IO, errno, "%s: no socket to ask with", path);
	enum ps_err err;
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		err = ps_cause_errno(cause, PS_E_IO, errno, "%s: nobody answers", path);
	else if ((err = read_to_end(fd, answer)) != PS_OK)
		(void)ps_cause_set(cause, err, "%s: the answer did not come whole", path);
	close(fd);
	return err;
}

bool status_socket_is_good(const char *answer)
{
	return strstr(answer, "\"state\":\"serving\"") != NULL && strstr(answer, "\"ok\":false") == NULL;
}
