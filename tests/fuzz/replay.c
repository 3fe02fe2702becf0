/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay -- runs one fuzz target over its corpus without a fuzzer: every file, every truncation of it, every flipped bit.
 *
 * Each input lies in a heap block of exactly its size, so that a sanitizer sees the first byte read beyond it.
 * Of a file above SPREAD bytes, SPREAD places are tried, evenly spread.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SPREAD 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static unsigned long n_inputs;

static void *must_allocate(size_t len)
{
	void *block = malloc(len > 0 ? len : 1);

	if (block == NULL) {
		fprintf(stderr, "replay: out of memory\n");
		exit(1);
	}
	return block;
}

static void run(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len); /* of length 0 where len is 0: there nothing may be read at all */

	if (exact == NULL && len > 0) {
		fprintf(stderr, "replay: out of memory\n");
		exit(1);
	}
	if (len > 0)
		memcpy(exact, bytes, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	n_inputs++;
}

static void run_variants(uint8_t *bytes, size_t len)
{
	size_t step = len / SPREAD + 1;

	run(bytes, len);
	for (size_t cut = 0; cut < len; cut += step)
		run(bytes, cut);
	for (size_t at = 0; at < len; at += step) {
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[at] = (uint8_t)(bytes[at] ^ (1U << bit));
			run(bytes, len);
			bytes[at] = (uint8_t)(bytes[at] ^ (1U << bit));
		}
	}
}

static void replay_file(const char *path, size_t len)
{
	uint8_t *bytes = must_allocate(len);
	FILE *file = fopen(path, "rb");

	if (file == NULL || fread(bytes, 1, len, file) != len) {
		fprintf(stderr, "replay: %s: cannot be read\n", path);
		exit(1);
	}
	fclose(file);
	run_variants(bytes, len);
	free(bytes);
}

static unsigned replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	unsigned n_files = 0;

	if (dir == NULL) {
		fprintf(stderr, "replay: %s: %s\n", folder, strerror(errno));
		return 0;
	}
	for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
		char path[4096];
		struct stat info;
		int path_len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);

		if (path_len < 0 || (size_t)path_len >= sizeof path || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
			continue;
		replay_file(path, (size_t)info.st_size);
		n_files++;
	}
	closedir(dir);
	return n_files;
}

int main(int argc, char **argv)
{
	unsigned n_files;

	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
		return 2;
	}
	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	n_files = replay_folder(argv[1]);
	if (n_files == 0) {
		fprintf(stderr, "replay: %s holds no file: expected at least one valid input\n", argv[1]);
		return 1;
	}
	printf("%lu inputs out of %u files\n", n_inputs, n_files);
	return 0;
}
