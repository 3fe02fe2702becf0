/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_value -- one value of a configuration: its type, its range, its default.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conf_internal.h"
#include "portseal/file.h"
#include "portseal/units.h"

#define PATH_CAP 4096

const char *conf_value_type(const config_setting_t *setting)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_GROUP:
		return "a group { }";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "a whole number";
	case CONFIG_TYPE_FLOAT:
		return "a fraction";
	case CONFIG_TYPE_STRING:
		return "a string";
	case CONFIG_TYPE_BOOL:
		return "true or false";
	case CONFIG_TYPE_ARRAY:
		return "an array [ ]";
	case CONFIG_TYPE_LIST:
		return "a list ( )";
	default:
		return "nothing";
	}
}

static enum ps_err wrong_type(const config_setting_t *setting, const char *expected, struct ps_cause *cause)
{
	return ps_cause_set(cause, PS_E_CONFIG, "expected %s, got %s", expected, conf_value_type(setting));
}

/* A string as all of them must be: not empty, no control bytes (libconfig turns "\n" into one). */
static enum ps_err read_string(const config_setting_t *setting, const char *expected, const char **string,
                               struct ps_cause *cause)
{
	if (config_setting_type(setting) != CONFIG_TYPE_STRING)
		return wrong_type(setting, expected, cause);
	const char *value = config_setting_get_string(setting);
	if (value == NULL || value[0] == '\0')
		return ps_cause_set(cause, PS_E_CONFIG, "expected %s, got an empty one", expected);
	for (const char *at = value; *at != '\0'; at++) {
		if ((unsigned char)*at >= ' ' && *at != 0x7f)
			continue;
		char quoted[TEXT_QUOTED_MAX];
		return ps_cause_set(cause, PS_E_CONFIG, "%s holds a control byte", text_quoted(quoted, value));
	}
	*string = value;
	return PS_OK;
}

static enum ps_err read_path(struct conf *conf, const config_setting_t *setting, const char **path,
                             struct ps_cause *cause)
{
	const char *written = NULL;
	const enum ps_err err = read_string(setting, "a string with a path", &written, cause);
	if (err != PS_OK)
		return err;

	char resolved[PATH_CAP];
	if (file_resolve(conf->dir, written, resolved, sizeof(resolved)) != PS_OK)
		return ps_cause_set(cause, PS_E_CONFIG, "path longer than %d bytes", PATH_CAP - 1);
	const size_t size = strlen(resolved) + 1;
	char *copy = conf_alloc(conf, size, 1);
	if (copy == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	memcpy(copy, resolved, size);
	*path = copy;
	return PS_OK;
}

static uint64_t max_of(const struct conf_key *key)
{
	return key->max == 0 ? UINT64_MAX : key->max;
}

/* 90000 as "90s": the largest unit that divides. */
static void print_in_unit(enum conf_type type, uint64_t value, char *out, size_t cap)
{
	static const struct {
		enum conf_type type;
		uint64_t factor;
		const char *name;
	} units[] = {
		{ CONF_DURATION, 86400000, "d" }, { CONF_DURATION, 3600000, "h" }, { CONF_DURATION, 60000, "m" },
		{ CONF_DURATION, 1000, "s" },     { CONF_DURATION, 1, "ms" },      { CONF_SIZE, 1024 * 1024 * 1024, "G" },
		{ CONF_SIZE, 1024 * 1024, "M" },  { CONF_SIZE, 1024, "K" },
	};
	const char *name = "";
	uint64_t shown = value;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && value != 0; i++) {
		if (units[i].type == type && value % units[i].factor == 0) {
			name = units[i].name;
			shown = value / units[i].factor;
			break;
		}
	}
	snprintf(out, cap, "%" PRIu64 "%s", shown, name);
}

static enum ps_err check_range(const struct conf_key *key, uint64_t value, struct ps_cause *cause)
{
	if (value >= key->min && value <= max_of(key))
		return PS_OK;
	char given[32];
	char min[32];
	char max[32];
	print_in_unit(key->type, value, given, sizeof(given));
	print_in_unit(key->type, key->min, min, sizeof(min));
	print_in_unit(key->type, max_of(key), max, sizeof(max));
	if (key->max == 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%s is below %s", given, min);
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not between %s and %s", given, min, max);
}

static enum ps_err read_number(const struct conf_key *key, const config_setting_t *setting, uint64_t *number,
                               struct ps_cause *cause)
{
	const long long value = config_setting_type(setting) == CONFIG_TYPE_INT64 ? config_setting_get_int64(setting)
	                                                                          : config_setting_get_int(setting);
	if (value < 0)
		return ps_cause_set(cause, PS_E_CONFIG, "%lld is negative", value);
	const enum ps_err err = check_range(key, (uint64_t)value, cause);
	if (err == PS_OK)
		*number = (uint64_t)value;
	return err;
}

static bool is_number(const config_setting_t *setting)
{
	const int type = config_setting_type(setting);
	return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

/* COUNT, DURATION or SIZE as a person wrote it. */
static enum ps_err parse_number(const struct conf_key *key, const char *text, uint64_t *number, struct ps_cause *cause)
{
	uint64_t value = 0;
	enum ps_err err = PS_OK;
	if (key->type == CONF_DURATION)
		err = units_parse_duration(text, &value, cause);
	else if (key->type == CONF_SIZE)
		err = units_parse_size(text, &value, cause);
	else
		err = units_parse_count(text, key->min, max_of(key), &value, cause);
	if (err == PS_OK)
		err = check_range(key, value, cause);
	if (err == PS_OK)
		*number = value;
	return err;
}

static enum ps_err read_measure(const struct conf_key *key, const config_setting_t *setting, uint64_t *number,
                                struct ps_cause *cause)
{
	if (key->type == CONF_SIZE && is_number(setting))
		return read_number(key, setting, number, cause);
	const char *text = NULL;
	const char *expected = key->type == CONF_SIZE ? "a size such as \"64K\"" : "a duration such as \"10s\"";
	const enum ps_err err = read_string(setting, expected, &text, cause);
	return err == PS_OK ? parse_number(key, text, number, cause) : err;
}

enum ps_err conf_value_check_length(const struct conf_key *key, size_t n, struct ps_cause *cause)
{
	if (n < key->min)
		return ps_cause_set(cause, PS_E_CONFIG, "%zu given, at least %" PRIu64 " expected", n, key->min);
	if (n > max_of(key))
		return ps_cause_set(cause, PS_E_CONFIG, "%zu given, at most %" PRIu64 " expected", n, key->max);
	return PS_OK;
}

static enum ps_err read_strings(struct conf *conf, const struct conf_key *key, const config_setting_t *setting,
                                struct conf_strings *strings, struct ps_cause *cause)
{
	static const char expected[] = "a string or an array of strings";
	const int type = config_setting_type(setting);
	const bool several = type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
	const size_t n = several ? (size_t)config_setting_length(setting) : 1;
	enum ps_err err = conf_value_check_length(key, n, cause);
	if (err != PS_OK || n == 0)
		return err;

	const char **at = conf_alloc(conf, n, sizeof(*at));
	if (at == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n && err == PS_OK; i++) {
		const config_setting_t *element = several ? config_setting_get_elem(setting, (unsigned)i) : setting;
		err = key->type == CONF_PATHS ? read_path(conf, element, &at[i], cause)
		                              : read_string(element, expected, &at[i], cause);
	}
	if (err == PS_OK)
		*strings = (struct conf_strings){ .at = at, .n = n };
	return err;
}

static enum ps_err read_typed(struct conf *conf, const struct conf_key *key, const config_setting_t *setting,
                              void *field, struct ps_cause *cause)
{
	const char *text = NULL;
	enum ps_err err = PS_OK;
	switch (key->type) {
	case CONF_STRING:
		return read_string(setting, "a string", field, cause);
	case CONF_PATH:
		return read_path(conf, setting, field, cause);
	case CONF_BOOL:
		if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
			return wrong_type(setting, "true or false", cause);
		*(bool *)field = config_setting_get_bool(setting) != 0;
		return PS_OK;
	case CONF_COUNT:
		if (!is_number(setting))
			return wrong_type(setting, "a whole number", cause);
		return read_number(key, setting, field, cause);
	case CONF_DURATION:
	case CONF_SIZE:
		return read_measure(key, setting, field, cause);
	case CONF_STRINGS:
	case CONF_PATHS:
		return read_strings(conf, key, setting, field, cause);
	case CONF_CUSTOM:
		err = read_string(setting, "a string", &text, cause);
		return err == PS_OK ? key->parse(text, field, cause) : err;
	case CONF_REFUSED:
		return ps_cause_set(cause, PS_E_CONFIG, "%s", key->default_text);
	case CONF_GROUP:
	case CONF_LIST:
		break;
	}
	return ps_cause_set(cause, PS_E_BUG, "a key of an unknown type");
}

enum ps_err conf_value_read(struct conf *conf, const struct conf_key *key, const config_setting_t *setting, void *field,
                            struct ps_cause *cause)
{
	const enum ps_err err = read_typed(conf, key, setting, field, cause);
	if (err != PS_OK || key->type == CONF_CUSTOM || key->parse == NULL)
		return err;
	return key->parse(NULL, field, cause);
}

enum ps_err conf_value_default(const struct conf_key *key, void *field, struct ps_cause *cause)
{
	const char *text = key->default_text;
	if (text == NULL)
		return PS_OK;
	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
		*(const char **)field = text;
		return PS_OK;
	case CONF_BOOL:
		*(bool *)field = strcmp(text, "true") == 0;
		return PS_OK;
	case CONF_COUNT:
	case CONF_DURATION:
	case CONF_SIZE:
		return parse_number(key, text, field, cause);
	case CONF_CUSTOM:
		return key->parse(text, field, cause);
	case CONF_REFUSED:
		return PS_OK;
	case CONF_STRINGS:
	case CONF_PATHS:
	case CONF_GROUP:
	case CONF_LIST:
		break;
	}
	return ps_cause_set(cause, PS_E_BUG, "no default is possible");
}
