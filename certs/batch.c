/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "portseal/file.h"

#define NEXT ".next"
#define COMMIT ".commit"

static enum ps_err failed(struct ps_cause *cause, const char *what, const char *dir, const char *file)
{
	return ps_cause_set(cause, PS_E_IO, "%s/%s: %s: %s", dir, file, what, strerror(errno));
}

static enum ps_err sync_dir(const char *dir, struct ps_cause *cause)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool synced = fd >= 0 && fsync(fd) == 0;
	int error = errno;
	if (fd >= 0)
		close(fd);
	return synced ? PS_OK : ps_cause_set(cause, PS_E_IO, "%s: cannot be synced: %s", dir, strerror(error));
}

/* Both descriptors belong to the caller's walk; `name` is an entry of `from`. */
typedef int (*entry_action)(int from, int to, const char *name);

static int move_entry(int from, int to, const char *name)
{
	return renameat(from, name, to, name);
}

static int remove_entry(int from, int to, const char *name)
{
	(void)to;
	return unlinkat(from, name, 0);
}

static bool ends_in_key(const char *name)
{
	size_t len = strlen(name);
	return len > 4 && strcmp(name + len - 4, ".key") == 0;
}

enum which { KEYS_ONLY, EVERYTHING };

/* Returns 0 or -1 with errno. Restarts after each entry: readdir promises nothing about a directory that changes. */
static int for_each_entry(int from, int to, enum which which, entry_action action)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	if (entries == NULL) {
		if (copy >= 0)
			close(copy);
		return -1;
	}

	int result = 0;
	errno = 0;
	const struct dirent *entry = NULL;
	while (result == 0 && (entry = readdir(entries)) != NULL) {
		bool skip = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
		if (skip || (which == KEYS_ONLY && !ends_in_key(entry->d_name)))
			continue;
		result = action(from, to, entry->d_name);
		rewinddir(entries);
	}
	int error = errno;
	closedir(entries);
	errno = error;
	return result != 0 || (entry == NULL && error != 0) ? -1 : 0;
}

/* Empties and removes DIR/sub by `action`; a directory that is not there is done already. */
static enum ps_err drain(const char *dir, const char *sub, entry_action action, struct ps_cause *cause)
{
	int to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int from = to < 0 ? -1 : openat(to, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	enum ps_err err = PS_OK;
	if (from < 0) {
		if (errno != ENOENT)
			err = failed(cause, "cannot be opened", dir, sub);
		goto done;
	}

	/* keys first: whoever reads along sees no certificate whose key is still to come */
	if (for_each_entry(from, to, KEYS_ONLY, action) != 0 || for_each_entry(from, to, EVERYTHING, action) != 0 ||
	    fsync(to) != 0 || unlinkat(to, sub, AT_REMOVEDIR) != 0)
		err = failed(cause, "cannot be cleared", dir, sub);
done:
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return err;
}

enum ps_err batch_recover(const char *dir, struct ps_cause *cause)
{
	enum ps_err err = drain(dir, COMMIT, move_entry, cause);
	if (err != PS_OK)
		return err;
	return drain(dir, NEXT, remove_entry, cause);
}

enum ps_err batch_begin(const char *dir, struct ps_cause *cause)
{
	char path[PATH_MAX];
	enum ps_err err = batch_recover(dir, cause);
	if (err != PS_OK)
		return err;
	if (snprintf(path, sizeof(path), "%s/" NEXT, dir) >= (int)sizeof(path))
		return ps_cause_set(cause, PS_E_CONFIG, "%.60s...: the path is too long", dir);
	if (mkdir(path, 0700) != 0)
		return failed(cause, "cannot be created", dir, NEXT);
	return PS_OK;
}

enum ps_err batch_add(const char *dir, const char *file, const struct buf *content, mode_t mode, struct ps_cause *cause)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/" NEXT "/%s", dir, file) >= (int)sizeof(path))
		return ps_cause_set(cause, PS_E_CONFIG, "%.60s...: the path is too long", dir);
	return file_write(path, buf_front(content), buf_len(content), mode, FILE_REPLACE, cause);
}

enum ps_err batch_commit(const char *dir, struct ps_cause *cause)
{
	char next[PATH_MAX];
	char commit[PATH_MAX];
	if (snprintf(next, sizeof(next), "%s/" NEXT, dir) >= (int)sizeof(next) ||
	    snprintf(commit, sizeof(commit), "%s/" COMMIT, dir) >= (int)sizeof(commit))
		return ps_cause_set(cause, PS_E_CONFIG, "%.60s...: the path is too long", dir);
	enum ps_err err = sync_dir(next, cause);
	if (err != PS_OK)
		return err;
	if (rename(next, commit) != 0)
		return failed(cause, "cannot be renamed", dir, NEXT);
	err = sync_dir(dir, cause);
	if (err != PS_OK)
		return err;
	return drain(dir, COMMIT, move_entry, cause);
}

void batch_abandon(const char *dir)
{
	enum ps_err err = drain(dir, NEXT, remove_entry, NULL);
	(void)err; /* what cannot be removed now is removed by the next run */
}
