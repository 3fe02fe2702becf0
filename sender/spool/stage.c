/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "portseal/file.h"
#include "portseal/text.h"

void spool_stage_init(struct spool_stage *stage, const char *beside, uint64_t max)
{
	*stage = (struct spool_stage){ .beside = beside, .max = max, .memory = BUF_INIT, .fd = -1 };
}

void spool_stage_clear(struct spool_stage *stage)
{
	buf_release(&stage->memory);
	if (stage->fd >= 0)
		(void)close(stage->fd);
	spool_stage_init(stage, stage->beside, stage->max);
}

static enum ps_err fail(const struct spool_stage *stage, int number, struct ps_cause *cause)
{
	char path[TEXT_QUOTED_MAX];
	const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;

	return ps_cause_errno(cause, full ? PS_E_LIMIT : PS_E_IO, number, "%s: no room beside it for this message",
	                      text_escaped(path, stage->beside));
}

/* A file that vanishes with us, whatever becomes of us: O_TMPFILE, or, where a file system has none, one whose name is
 * removed at once. */
static int open_nameless(const char *beside)
{
	char path[PATH_MAX];
	const char *slash = strrchr(beside, '/');
	const int dir_len = slash == NULL ? 1 : (int)(slash - beside + 1);
	const char *dir = slash == NULL ? "." : beside;

	if (snprintf(path, sizeof(path), "%.*s", dir_len, dir) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	if (snprintf(path, sizeof(path), "%s.XXXXXX", beside) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

static enum ps_err move_to_file(struct spool_stage *stage, struct ps_cause *cause)
{
	const int fd = open_nameless(stage->beside);

	if (fd < 0)
		return fail(stage, errno, cause);
	if (file_write_all(fd, buf_front(&stage->memory), buf_len(&stage->memory)) != PS_OK) {
		const int number = errno;

		(void)close(fd);
		return fail(stage, number, cause);
	}
	buf_release(&stage->memory);
	stage->fd = fd;
	return PS_OK;
}

enum ps_err spool_stage_add(struct spool_stage *stage, const void *bytes, size_t len, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;

	if (len == 0)
		return PS_OK;
	if (len > stage->max || stage->len > stage->max - len)
		return ps_cause_set(cause, PS_E_LIMIT,
		                    "the message is larger than %" PRIu64 " bytes: spool.max_message allows no more",
		                    stage->max);
	if (stage->fd < 0 && buf_len(&stage->memory) + len > SPOOL_STAGE_MEMORY)
		err = move_to_file(stage, cause);
	if (err != PS_OK)
		return err;
	if (stage->fd >= 0 && file_write_all(stage->fd, bytes, len) != PS_OK)
		return fail(stage, errno, cause);
	if (stage->fd < 0 && buf_append(&stage->memory, bytes, len) != PS_OK)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	stage->len += len;
	return PS_OK;
}

enum ps_err spool_stage_read(const struct spool_stage *stage, uint64_t offset, void *out, size_t len,
                             struct ps_cause *cause)
{
	char *at = out;

	if (stage->fd < 0) {
		memcpy(out, buf_front(&stage->memory) + offset, len);
		return PS_OK;
	}
	while (len > 0) {
		const ssize_t n = pread(stage->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(stage, n < 0 ? errno : EIO, cause);
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return PS_OK;
}
