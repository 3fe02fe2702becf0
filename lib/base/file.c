/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file -- reads whole small files, and writes files that appear whole or not at all.
 *
 * Never:  follows a link that someone left where a temporary file goes, or leaves half a file behind.
 */
#include "portseal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "portseal/text.h"

#define READ_STEP 4096
#define TEMPORARY_TRIES 16

static enum ps_err cause_path(struct ps_cause *cause, const char *path, int number)
{
	char escaped[TEXT_QUOTED_MAX];
	return ps_cause_errno(cause, PS_E_IO, number, "%s", text_escaped(escaped, path));
}

/* read(2) until the end of the file, or one byte more than `max`. */
static enum ps_err read_all(int fd, size_t max, struct buf *out, const char *path, struct ps_cause *cause)
{
	char escaped[TEXT_QUOTED_MAX];
	size_t total = 0;
	for (;;) {
		if (buf_reserve(out, READ_STEP + 1) != PS_OK)
			return ps_cause_set(cause, PS_E_NOMEM, "%s: out of memory", text_escaped(escaped, path));
		const ssize_t n = read(fd, out->data + out->end, READ_STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cause_path(cause, path, errno);
		out->end += (size_t)n;
		if (n == 0)
			break;
		if ((size_t)n > max - total)
			return ps_cause_set(cause, PS_E_LIMIT, "%s: larger than %zu bytes", text_escaped(escaped, path), max);
		total += (size_t)n;
	}
	out->data[out->end] = '\0';
	return PS_OK;
}

enum ps_err file_read(const char *path, size_t max, struct buf *out, struct ps_cause *cause)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return cause_path(cause, path, errno);

	const size_t before = buf_len(out);
	const enum ps_err err = read_all(fd, max, out, path, cause);
	close(fd);
	if (err != PS_OK && buf_len(out) > before) {
		const size_t read_len = buf_len(out) - before;
		out->end -= read_len;
		ps_wipe(out->data + out->end, read_len);
	}
	return err;
}

enum ps_err file_write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len > 0) {
		const ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return PS_E_IO;
		at += n;
		len -= (size_t)n;
	}
	return PS_OK;
}

/* Where a file is to appear; everything happens relative to dir_fd, so that a renamed directory does no harm. */
struct place {
	int dir_fd;
	const char *name;
	char temporary[NAME_MAX + 1]; /* "" while there is none */
};

static int open_dir(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	*name = slash == NULL ? path : slash + 1;
	if (**name == '\0') {
		errno = path[0] == '\0' ? ENOENT : EISDIR;
		return -1;
	}
	char dir[PATH_MAX] = ".";
	if (slash != NULL) {
		const size_t len = slash == path ? 1 : (size_t)(slash - path);
		if (len >= sizeof(dir)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(dir, path, len);
		dir[len] = '\0';
	}
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Returns the descriptor of a new `.NAME.XXXXXX`, or -1 with errno. */
static int open_temporary(struct place *place)
{
	for (int i = 0; i < TEMPORARY_TRIES; i++) {
		uint8_t random[3];
		if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
			return -1;
		char name[sizeof(place->temporary)];
		struct text text;
		text_init(&text, name, sizeof(name));
		text_add(&text, ".");
		text_add(&text, place->name);
		text_add(&text, ".");
		text_add_hex(&text, random, sizeof(random));
		if (text.cut) {
			errno = ENAMETOOLONG;
			return -1;
		}
		const int fd = openat(place->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0)
			memcpy(place->temporary, name, sizeof(name));
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

/* False with errno. The mode is right before the first byte: nobody can have opened it too widely. */
static bool fill_temporary(struct place *place, const void *bytes, size_t len, mode_t mode)
{
	const int fd = open_temporary(place);
	if (fd < 0)
		return false;
	const bool done = fchmod(fd, mode) == 0 && file_write_all(fd, bytes, len) == PS_OK && fsync(fd) == 0;
	const int saved = errno;
	const bool closed = close(fd) == 0;
	if (!done)
		errno = saved;
	return done && closed;
}

/* False with errno; EEXIST when there is a file already that must stay. */
static bool put_in_place(struct place *place, enum file_overwrite overwrite)
{
	if (overwrite == FILE_KEEP_EXISTING)
		return linkat(place->dir_fd, place->temporary, place->dir_fd, place->name, 0) == 0;
	if (renameat(place->dir_fd, place->temporary, place->dir_fd, place->name) != 0)
		return false;
	place->temporary[0] = '\0';
	return true;
}

/* Some file systems know no fsync of a directory and say EINVAL: nothing more can be had there. */
static bool sync_dir(int dir_fd)
{
	return fsync(dir_fd) == 0 || errno == EINVAL;
}

enum ps_err file_write(const char *path, const void *bytes, size_t len, mode_t mode, enum file_overwrite overwrite,
                       struct ps_cause *cause)
{
	char escaped[TEXT_QUOTED_MAX];
	struct place place = { .dir_fd = -1, .name = NULL, .temporary = "" };
	enum ps_err err = PS_OK;

	place.dir_fd = open_dir(path, &place.name);
	if (place.dir_fd < 0 || !fill_temporary(&place, bytes, len, mode)) {
		err = cause_path(cause, path, errno);
		goto done;
	}
	if (!put_in_place(&place, overwrite)) {
		err = errno == EEXIST && overwrite == FILE_KEEP_EXISTING
		          ? ps_cause_set(cause, PS_E_CONFIG, "%s: exists already", text_escaped(escaped, path))
		          : cause_path(cause, path, errno);
		goto done;
	}
	if (place.temporary[0] != '\0' && unlinkat(place.dir_fd, place.temporary, 0) == 0)
		place.temporary[0] = '\0';
	if (!sync_dir(place.dir_fd))
		err = cause_path(cause, path, errno);

done:
	if (place.temporary[0] != '\0')
		(void)unlinkat(place.dir_fd, place.temporary, 0);
	if (place.dir_fd >= 0)
		close(place.dir_fd);
	return err;
}

enum ps_err file_check_private(const char *path, struct ps_cause *cause)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return cause_path(cause, path, errno);

	char escaped[TEXT_QUOTED_MAX];
	const unsigned mode = st.st_mode & 07777;
	const char *problem = NULL;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		problem = "the owner is neither root nor the user who runs this";
	else if ((mode & 066) != 0)
		problem = "others may read or write it (expected 0600)";
	if (problem == NULL)
		return PS_OK;
	return ps_cause_set(cause, PS_E_CONFIG, "%s: mode %04o, owner %lu: %s", text_escaped(escaped, path), mode,
	                    (unsigned long)st.st_uid, problem);
}

enum ps_err file_check_directory(const char *path, struct ps_cause *cause)
{
	char escaped[TEXT_QUOTED_MAX];
	struct stat st;

	text_escaped(escaped, path);
	if (stat(path, &st) != 0)
		return ps_cause_errno(cause, PS_E_CONFIG, errno, "%s", escaped);
	if (!S_ISDIR(st.st_mode))
		return ps_cause_set(cause, PS_E_CONFIG, "%s: is not a directory", escaped);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return ps_cause_set(
			cause, PS_E_CONFIG,
			"%s: the directory belongs to user %lu, who is neither root nor the user who runs this: chown it", escaped,
			(unsigned long)st.st_uid);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s: mode %04o lets others change what is in the directory: chmod go-w",
		                    escaped, (unsigned)(st.st_mode & 07777));
	return PS_OK;
}

static enum ps_err check_parent(const char *path, struct ps_cause *cause)
{
	char copy[PATH_MAX];
	char escaped[TEXT_QUOTED_MAX];
	const size_t len = strlen(path);

	if (len >= sizeof(copy))
		return ps_cause_errno(cause, PS_E_CONFIG, ENAMETOOLONG, "%s", text_escaped(escaped, path));
	memcpy(copy, path, len + 1);
	return file_check_directory(dirname(copy), cause);
}

enum ps_err file_check_place(const char *path, struct ps_cause *cause)
{
	char real[PATH_MAX];
	const enum ps_err err = check_parent(path, cause);

	if (err != PS_OK || realpath(path, real) == NULL) /* what is not there leads nowhere */
		return err;
	return check_parent(real, cause);
}

enum ps_err file_resolve(const char *base_dir, const char *path, char *out, size_t out_cap)
{
	const bool alone = path[0] == '/' || base_dir[0] == '\0';
	const size_t base_len = alone ? 0 : strlen(base_dir);
	const bool slash = base_len > 0 && base_dir[base_len - 1] != '/';
	const size_t path_len = strlen(path);
	if (base_len + (slash ? 1 : 0) + path_len >= out_cap)
		return PS_E_LIMIT;
	(void)snprintf(out, out_cap, "%.*s%s%s", (int)base_len, base_dir, slash ? "/" : "", path);
	return PS_OK;
}

uint64_t file_fingerprint(uint64_t sum, const char *path)
{
	struct stat st = { 0 };
	if (path == NULL)
		return sum;
	if (stat(path, &st) != 0)
		st.st_size = -1;
	sum = (sum ^ (uint64_t)st.st_mtim.tv_sec) * FILE_FINGERPRINT;
	sum = (sum ^ (uint64_t)st.st_mtim.tv_nsec) * FILE_FINGERPRINT;
	sum = (sum ^ (uint64_t)st.st_ino) * FILE_FINGERPRINT;
	return (sum ^ (uint64_t)st.st_size) * FILE_FINGERPRINT;
}
