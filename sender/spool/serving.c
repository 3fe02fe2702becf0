/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "portseal/text.h"

#define LOCK "-lock"
#define WAKE "-wake"
#define PID_MAX 24
#define LOCK_TRIES 10 /* who only looks whether it is locked holds it for a moment */
#define LOCK_WAIT_MS 10

static bool place(const char *spool_path, const char *suffix, char out[static PATH_MAX])
{
	return snprintf(out, PATH_MAX, "%s%s", spool_path, suffix) < PATH_MAX;
}

static enum ps_err name_holder(int fd, const char *path, struct ps_cause *cause)
{
	char holder[PID_MAX] = "";
	char escaped[TEXT_QUOTED_MAX];
	const ssize_t n = pread(fd, holder, sizeof(holder) - 1, 0);

	holder[n > 0 ? n : 0] = '\0';
	holder[strspn(holder, "0123456789")] = '\0';
	return ps_cause_set(cause, PS_E_AGAIN, "%s: another portseal-sender delivers from it already%s%s",
	                    text_escaped(escaped, path), holder[0] == '\0' ? "" : ": process ", holder);
}

/* Who it is, for the message of the next who comes; nothing depends on it. */
static void write_holder(int fd)
{
	char text[PID_MAX];
	const int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
		return;
}

static bool try_lock(int fd)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK)
			return false;
		(void)poll(NULL, 0, LOCK_WAIT_MS);
		errno = EWOULDBLOCK;
	}
	return false;
}

static enum ps_err lock(const char *spool_path, int *fd, struct ps_cause *cause)
{
	char path[PATH_MAX];
	char escaped[TEXT_QUOTED_MAX];

	if (!place(spool_path, LOCK, path))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: the path is too long", text_escaped(escaped, spool_path));
	const int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	if (opened < 0)
		return ps_cause_errno(cause, errno == ENOSPC || errno == EDQUOT ? PS_E_LIMIT : PS_E_CONFIG, errno, "%s",
		                      text_escaped(escaped, path));
	enum ps_err err = PS_OK;
	if (!try_lock(opened))
		err = errno == EWOULDBLOCK ? name_holder(opened, spool_path, cause)
		                           : ps_cause_errno(cause, PS_E_IO, errno, "%s", text_escaped(escaped, path));
	if (err != PS_OK) {
		(void)close(opened);
		return err;
	}
	write_holder(opened);
	*fd = opened;
	return PS_OK;
}

static bool is_our_pipe(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) &&
	       (status.st_uid == geteuid() || status.st_uid == 0 || geteuid() == 0);
}

/* For reading and writing, so that it never comes to its end when the last writer goes. */
static int open_wake(const char *spool_path)
{
	char path[PATH_MAX];

	if (!place(spool_path, WAKE, path) || (mkfifo(path, 0600) != 0 && errno != EEXIST))
		return -1;
	const int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && is_our_pipe(fd))
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

enum ps_err serving_begin(const char *spool_path, struct serving *serving, struct ps_cause *cause)
{
	struct serving fresh = { .lock_fd = -1, .wake_fd = -1 };
	const enum ps_err err = lock(spool_path, &fresh.lock_fd, cause);

	if (err != PS_OK)
		return err;
	fresh.wake_fd = open_wake(spool_path);
	*serving = fresh;
	return PS_OK;
}

void serving_end_wake(struct serving *serving)
{
	if (serving->wake_fd >= 0)
		(void)close(serving->wake_fd);
	serving->wake_fd = -1;
}

void serving_end(struct serving *serving)
{
	serving_end_wake(serving);
	if (serving->lock_fd >= 0)
		(void)close(serving->lock_fd);
	serving->lock_fd = -1;
}

void serving_hear(const struct serving *serving)
{
	char heard[512];

	while (read(serving->wake_fd, heard, sizeof(heard)) == (ssize_t)sizeof(heard))
		;
}

bool serving_wake(const char *spool_path)
{
	char path[PATH_MAX];

	if (!place(spool_path, WAKE, path))
		return false;
	/* Without a reader this fails: nobody serves. */
	const int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	const bool woken = is_our_pipe(fd) && (write(fd, "", 1) == 1 || errno == EAGAIN); /* full: it is awake already */
	(void)close(fd);
	return woken;
}

bool serving_is_on(const char *spool_path)
{
	char path[PATH_MAX];

	if (!place(spool_path, LOCK, path))
		return false;
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	const bool on = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	(void)close(fd);
	return on;
}
