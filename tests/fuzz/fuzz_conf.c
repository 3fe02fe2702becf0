/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration's text, read through a table that has every type. An operator wrote it, but a typing error must never
 * be more than an error. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/conf.h"

struct item {
	const char *name;
	uint64_t size;
	unsigned line;
};

struct sample {
	const char *string, *path;
	bool flag;
	uint64_t count, wait_ms;
	struct conf_strings words;
	struct {
		const char *key;
	} tls;
	struct conf_list items;
	size_t custom_len;
};

static enum ps_err measure(const char *text, void *field, struct ps_cause *cause)
{
	(void)cause;
	*(size_t *)field = strlen(text);
	return PS_OK;
}

static const struct conf_key tls_keys[] = {
	{ .name = "key", .type = CONF_PATH, .offset = 0, .required = true },
	{ .name = NULL },
};

static const struct conf_key item_keys[] = {
	{ .name = "name", .type = CONF_STRING, .offset = offsetof(struct item, name), .required = true },
	{ .name = "size", .type = CONF_SIZE, .offset = offsetof(struct item, size), .default_text = "64K" },
	{ .name = NULL },
};

static const struct conf_key keys[] = {
	{ .name = "string", .type = CONF_STRING, .offset = offsetof(struct sample, string) },
	{ .name = "path", .type = CONF_PATH, .offset = offsetof(struct sample, path) },
	{ .name = "flag", .type = CONF_BOOL, .offset = offsetof(struct sample, flag) },
	{ .name = "count", .type = CONF_COUNT, .offset = offsetof(struct sample, count), .min = 1, .max = 9 },
	{ .name = "wait", .type = CONF_DURATION, .offset = offsetof(struct sample, wait_ms) },
	{ .name = "words", .type = CONF_STRINGS, .offset = offsetof(struct sample, words), .max = 3 },
	{ .name = "tls", .type = CONF_GROUP, .offset = offsetof(struct sample, tls), .keys = tls_keys },
	{ .name = "items",
	  .type = CONF_LIST,
	  .offset = offsetof(struct sample, items),
	  .keys = item_keys,
	  .element_size = sizeof(struct item),
	  .line_offset = offsetof(struct item, line) },
	{ .name = "custom", .type = CONF_CUSTOM, .offset = offsetof(struct sample, custom_len), .parse = measure },
	{ .name = NULL },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the string it was reading when a syntax error follows: 64 bytes of a program that then ends. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sample sample = { 0 };
	struct conf *conf = NULL;
	struct ps_cause cause = { "" };
	const enum ps_err err = conf_parse((const char *)data, size, "d/f.conf", keys, &sample, &conf, &cause);
	if (err != PS_OK) {
		/* Every error names the file, and no cause is more than a line. */
		if (strncmp(cause.text, "d/f.conf:", 9) != 0 || strchr(cause.text, '\n') != NULL)
			abort();
		return 0;
	}
	if (sample.count > 9 || sample.words.n > 3)
		abort();
	for (size_t i = 0; i < sample.words.n; i++)
		if (sample.words.at[i][0] == '\0')
			abort();
	const struct item *items = sample.items.at;
	for (size_t i = 0; i < sample.items.n; i++)
		if (items[i].name == NULL || items[i].line == 0)
			abort();
	conf_free(conf);
	return 0;
}
