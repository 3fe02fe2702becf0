/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf -- walks a configuration and the table of what may stand in it, side by side.
 *
 * Owns:   in struct conf, libconfig's tree and every string, array and list that a table filled in.
 * Never:  follows an @include, or takes a key that the table does not know.
 */
#include "portseal/conf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_internal.h"
#include "portseal/buf.h"
#include "portseal/file.h"

#define KEYS_MAX 64 /* in one group of a table */
#define KEY_PATH_MAX 256

/* A group on the way down: "services", then "allow". */
struct scope {
	struct conf *conf;
	const struct scope *parent; /* NULL: this is the file itself */
	const char *name;
	unsigned line;
	struct ps_cause *cause;
};

void *conf_alloc(struct conf *conf, size_t n, size_t size)
{
	if (size != 0 && n > (SIZE_MAX - sizeof(struct conf_block)) / size)
		return NULL;
	struct conf_block *block = calloc(1, sizeof(*block) + n * size);
	if (block == NULL)
		return NULL;
	block->next = conf->blocks;
	conf->blocks = block;
	return block->bytes;
}

static struct conf *conf_new(const char *path)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	if (conf == NULL)
		return NULL;
	config_init(&conf->tree);
	text_escaped(conf->file, path);

	const char *slash = strrchr(path, '/');
	const size_t dir_len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
	conf->dir = conf_alloc(conf, dir_len + 1, 1);
	if (conf->dir == NULL) {
		conf_free(conf);
		return NULL;
	}
	memcpy(conf->dir, path, dir_len);
	return conf;
}

void conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	config_destroy(&conf->tree);
	while (conf->blocks != NULL) {
		struct conf_block *next = conf->blocks->next;
		free(conf->blocks);
		conf->blocks = next;
	}
	free(conf);
}

const char *conf_dir(const struct conf *conf)
{
	return conf->dir;
}

enum ps_err conf_fail(const struct conf *conf, unsigned line, struct ps_cause *cause, const char *format, ...)
{
	char said[PS_CAUSE_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
	return ps_cause_set(cause, PS_E_CONFIG, "%s:%u: %s", conf->file, line, said);
}

static void add_key_path(struct text *text, const struct scope *scope)
{
	if (scope->parent == NULL)
		return;
	add_key_path(text, scope->parent);
	text_addf(text, "%s.", scope->name);
}

/* Puts "FILE:LINE: group.key: " before what is wrong with that key; returns `err`. */
static enum ps_err at_key(const struct scope *scope, const char *name, unsigned line, enum ps_err err)
{
	char storage[KEY_PATH_MAX];
	struct text path;
	text_init(&path, storage, sizeof(storage));
	add_key_path(&path, scope);
	text_add(&path, name);
	return ps_cause_prefix(scope->cause, err, "%s:%u: %s", scope->conf->file, line, storage);
}

static enum ps_err unknown_key(const struct scope *scope, const config_setting_t *setting, const struct conf_key *keys)
{
	const char *names[KEYS_MAX + 1] = { NULL };
	char storage[PS_CAUSE_MAX / 2];
	struct text known;
	text_init(&known, storage, sizeof(storage));
	size_t n = 0;
	for (; keys->name != NULL; keys++) {
		if (keys->type == CONF_REFUSED)
			continue;
		assert(n < KEYS_MAX);
		names[n++] = keys->name;
		text_addf(&known, "%s%s", n > 1 ? ", " : "", keys->name);
	}

	const char *nearest = text_nearest(config_setting_name(setting), names);
	enum ps_err err = PS_E_CONFIG;
	if (nearest != NULL)
		ps_cause_set(scope->cause, err, "unknown key, did you mean \"%s\"?", nearest);
	else
		ps_cause_set(scope->cause, err, "unknown key, expected one of: %s", storage);
	return at_key(scope, config_setting_name(setting), config_setting_source_line(setting), err);
}

static enum ps_err check_known(const struct scope *scope, const config_setting_t *group, const struct conf_key *keys)
{
	const int n = config_setting_length(group);
	for (int i = 0; i < n; i++) {
		const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
		const struct conf_key *key = keys;
		while (key->name != NULL && strcmp(key->name, config_setting_name(setting)) != 0)
			key++;
		if (key->name == NULL)
			return unknown_key(scope, setting, keys);
	}
	return PS_OK;
}

static enum ps_err fill_defaults(const struct conf_key *keys, void *target, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	for (; keys->name != NULL && err == PS_OK; keys++) {
		void *field = (char *)target + keys->offset;
		if (keys->type == CONF_GROUP)
			err = fill_defaults(keys->keys, field, cause);
		else if (keys->type != CONF_LIST)
			err = conf_value_default(keys, field, cause);
	}
	return err;
}

static enum ps_err fill_group(const struct scope *scope, const config_setting_t *group, const struct conf_key *keys,
                              void *target);

/* One group that is the value of `key`, or one element of the list that is. */
static enum ps_err fill_nested(const struct scope *scope, const struct conf_key *key, const config_setting_t *group,
                               void *target)
{
	const unsigned line = config_setting_source_line(group);
	const struct scope inner = {
		.conf = scope->conf, .parent = scope, .name = key->name, .line = line, .cause = scope->cause
	};
	enum ps_err err = PS_OK;
	if (config_setting_type(group) != CONFIG_TYPE_GROUP) {
		ps_cause_set(scope->cause, PS_E_CONFIG, "expected a group { }, got %s", conf_value_type(group));
		return at_key(scope, key->name, line, PS_E_CONFIG);
	}
	err = fill_group(&inner, group, key->keys, target);
	if (err != PS_OK || key->parse == NULL)
		return err;
	err = key->parse(NULL, target, scope->cause);
	return err == PS_OK ? PS_OK : at_key(scope, key->name, line, err);
}

static enum ps_err fill_list(const struct scope *scope, const struct conf_key *key, const config_setting_t *setting,
                             struct conf_list *list)
{
	const unsigned line = config_setting_source_line(setting);
	if (config_setting_type(setting) != CONFIG_TYPE_LIST) {
		ps_cause_set(scope->cause, PS_E_CONFIG, "expected a list ( { ... }, ... ), got %s", conf_value_type(setting));
		return at_key(scope, key->name, line, PS_E_CONFIG);
	}
	const size_t n = (size_t)config_setting_length(setting);
	enum ps_err err = conf_value_check_length(key, n, scope->cause);
	if (err != PS_OK)
		return at_key(scope, key->name, line, err);

	char *at = conf_alloc(scope->conf, n, key->element_size);
	if (at == NULL)
		return ps_cause_set(scope->cause, PS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const config_setting_t *group = config_setting_get_elem(setting, (unsigned)i);
		char *element = at + i * key->element_size;
		if (key->line_offset != CONF_NO_LINE)
			*(unsigned *)(void *)(element + key->line_offset) = config_setting_source_line(group);
		err = fill_nested(scope, key, group, element);
		if (err != PS_OK)
			return err;
	}
	*list = (struct conf_list){ .at = at, .n = n };
	return PS_OK;
}

static enum ps_err fill_key(const struct scope *scope, const struct conf_key *key, const config_setting_t *setting,
                            void *field)
{
	if (key->type == CONF_GROUP)
		return fill_nested(scope, key, setting, field);
	if (key->type == CONF_LIST)
		return fill_list(scope, key, setting, field);
	const enum ps_err err = conf_value_read(scope->conf, key, setting, field, scope->cause);
	return err == PS_OK ? PS_OK : at_key(scope, key->name, config_setting_source_line(setting), err);
}

static enum ps_err fill_group(const struct scope *scope, const config_setting_t *group, const struct conf_key *keys,
                              void *target)
{
	enum ps_err err = check_known(scope, group, keys);
	for (; keys->name != NULL && err == PS_OK; keys++) {
		const config_setting_t *setting = config_setting_get_member(group, keys->name);
		void *field = (char *)target + keys->offset;
		if (setting != NULL) {
			err = fill_key(scope, keys, setting, field);
		} else if (keys->required) {
			ps_cause_set(scope->cause, PS_E_CONFIG, "missing");
			err = at_key(scope, keys->name, scope->line, PS_E_CONFIG);
		} else if (keys->type == CONF_GROUP) {
			err = fill_defaults(keys->keys, field, scope->cause);
		} else if (keys->type != CONF_LIST) {
			err = conf_value_default(keys, field, scope->cause);
		}
	}
	return err;
}

/* libconfig's own words are short; its line is right, or one behind where something is missing at a line's end. */
static enum ps_err parse_error(struct conf *conf, struct ps_cause *cause)
{
	const char *text = config_error_text(&conf->tree);
	const int line = config_error_line(&conf->tree);
	if (text == NULL)
		text = "not readable";
	else if (strcmp(text, "syntax error") == 0)
		text = "syntax error here or just before: expected NAME = VALUE;";
	else if (strcmp(text, "duplicate setting name") == 0)
		text = "the same key twice in one group";
	return conf_fail(conf, line > 0 ? (unsigned)line : 1, cause, "%s", text);
}

/* libconfig wants a C string, and its 1.5 a newline behind a comment on the last line. */
static enum ps_err read_tree(struct conf *conf, const char *text, size_t len, struct ps_cause *cause)
{
	struct buf copy = BUF_INIT;
	const char *end = len > 0 && text[len - 1] == '\n' ? "" : "\n";
	enum ps_err err = buf_append(&copy, text, len);
	if (err == PS_OK)
		err = buf_append(&copy, end, strlen(end) + 1);
	if (err != PS_OK)
		ps_cause_set(cause, err, "out of memory");
	else if (config_read_string(&conf->tree, (const char *)buf_front(&copy)) != CONFIG_TRUE)
		err = parse_error(conf, cause);
	buf_release(&copy);
	return err;
}

enum ps_err conf_parse(const char *text, size_t len, const char *path, const struct conf_key *keys, void *target,
                       struct conf **conf, struct ps_cause *cause)
{
	struct conf *made = conf_new(path);
	if (made == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");

	unsigned line = 0;
	enum ps_err err = conf_scan(text, len, &line, cause);
	if (err != PS_OK) {
		ps_cause_prefix(cause, err, "%s:%u", made->file, line);
		goto done;
	}
	const struct scope file = { .conf = made, .parent = NULL, .name = "", .line = 1, .cause = cause };
	err = read_tree(made, text, len, cause);
	if (err == PS_OK)
		err = fill_group(&file, config_root_setting(&made->tree), keys, target);
	if (err == PS_OK) {
		*conf = made;
		made = NULL;
	}

done:
	conf_free(made);
	return err;
}

enum ps_err conf_load(const char *path, const struct conf_key *keys, void *target, struct conf **conf,
                      struct ps_cause *cause)
{
	struct buf text = BUF_INIT;
	enum ps_err err = file_read(path, CONF_FILE_MAX, &text, cause);
	if (err == PS_OK)
		err = conf_parse((const char *)buf_front(&text), buf_len(&text), path, keys, target, conf, cause);
	buf_release(&text);
	return err;
}

enum ps_err conf_defaults(const struct conf_key *keys, void *target, struct conf **conf, struct ps_cause *cause)
{
	struct conf *made = conf_new("");
	if (made == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	const enum ps_err err = fill_defaults(keys, target, cause);
	if (err == PS_OK)
		*conf = made;
	else
		conf_free(made);
	return err;
}

enum ps_err conf_option(const struct conf_key *key, const char *option, const char *text, void *field,
                        struct ps_cause *cause)
{
	struct conf_key given = *key;
	given.default_text = text;
	enum ps_err err = text[0] == '\0' ? ps_cause_set(cause, PS_E_CONFIG, "expected a value, got an empty one")
	                                  : conf_value_default(&given, field, cause);
	if (err == PS_OK && key->type != CONF_CUSTOM && key->parse != NULL)
		err = key->parse(NULL, field, cause);
	return err == PS_OK ? PS_OK : ps_cause_prefix(cause, err, "%s", option);
}
