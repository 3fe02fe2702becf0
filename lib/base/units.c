/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units -- durations, sizes and counts as a person writes them.
 *
 * Never:  accepts a sign, a space, a fraction or a number that does not fit.
 */
#include "portseal/units.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "portseal/text.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Reads the leading digits; returns what follows them, or NULL when there are none or too many. */
static const char *read_digits(const char *string, uint64_t *number)
{
	uint64_t value = 0;
	const char *at = string;
	for (; *at >= '0' && *at <= '9'; at++) {
		const uint64_t digit = (uint64_t)(*at - '0');
		if (value > (UINT64_MAX - digit) / 10)
			return NULL;
		value = value * 10 + digit;
	}
	if (at == string)
		return NULL;
	*number = value;
	return at;
}

/* A number followed by one of the units, which end with a NULL name. */
static bool parse_scaled(const char *string, const struct unit *units, uint64_t *result)
{
	uint64_t number = 0;
	const char *rest = read_digits(string, &number);
	if (rest == NULL)
		return false;
	for (; units->name != NULL; units++) {
		if (strcmp(rest, units->name) != 0)
			continue;
		if (number > UINT64_MAX / units->factor)
			return false;
		*result = number * units->factor;
		return true;
	}
	return false;
}

enum ps_err units_parse_duration(const char *string, uint64_t *ms, struct ps_cause *cause)
{
	static const struct unit units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 86400000 }, { NULL, 0 },
	};
	if (strcmp(string, "0") == 0) {
		*ms = 0;
		return PS_OK;
	}
	if (parse_scaled(string, units, ms))
		return PS_OK;
	char quoted[TEXT_QUOTED_MAX];
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not a duration such as 500ms, 10s, 5m or 24h",
	                    text_quoted(quoted, string));
}

enum ps_err units_parse_size(const char *string, uint64_t *bytes, struct ps_cause *cause)
{
	static const struct unit units[] = {
		{ "", 1 }, { "K", 1024 }, { "M", 1024 * 1024 }, { "G", 1024 * 1024 * 1024 }, { NULL, 0 },
	};
	if (parse_scaled(string, units, bytes))
		return PS_OK;
	char quoted[TEXT_QUOTED_MAX];
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not a size such as 1500, 64K, 10M or 2G",
	                    text_quoted(quoted, string));
}

enum ps_err units_parse_count(const char *string, uint64_t min, uint64_t max, uint64_t *count, struct ps_cause *cause)
{
	uint64_t number = 0;
	const char *rest = read_digits(string, &number);
	if (rest != NULL && *rest == '\0' && number >= min && number <= max) {
		*count = number;
		return PS_OK;
	}
	char quoted[TEXT_QUOTED_MAX];
	return ps_cause_set(cause, PS_E_CONFIG, "%s is not a whole number from %" PRIu64 " to %" PRIu64,
	                    text_quoted(quoted, string), min, max);
}
