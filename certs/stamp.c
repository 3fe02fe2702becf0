/* SPDX-License-Identifier: Apache-2.0 */
#include "stamp.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "portseal/units.h"

#define FIRST_MOMENT INT64_C(946684800)   /* 2000-01-01 00:00:00Z */
#define LAST_MOMENT INT64_C(253402300799) /* 9999-12-31 23:59:59Z */
#define MAX_DAYS 36500

static bool is_representable(int64_t moment)
{
	return moment >= FIRST_MOMENT && moment <= LAST_MOMENT;
}

static int two_digits(const char *at)
{
	return (at[0] - '0') * 10 + (at[1] - '0');
}

static enum ps_err not_a_stamp(const char *string, struct ps_cause *cause)
{
	return ps_cause_set(cause, PS_E_CONFIG, "\"%.40s\" is not a UTC time such as 20261122093307Z", string);
}

enum ps_err stamp_parse(const char *string, int64_t *moment, struct ps_cause *cause)
{
	if (strlen(string) != 15 || strspn(string, "0123456789") != 14 || string[14] != 'Z')
		return not_a_stamp(string, cause);

	struct tm tm = { 0 };
	tm.tm_year = two_digits(string) * 100 + two_digits(string + 2) - 1900;
	tm.tm_mon = two_digits(string + 4) - 1;
	tm.tm_mday = two_digits(string + 6);
	tm.tm_hour = two_digits(string + 8);
	tm.tm_min = two_digits(string + 10);
	tm.tm_sec = two_digits(string + 12);
	struct tm asked = tm;
	int64_t seconds = timegm(&tm); /* turns the 31st of February into March: compare */
	if (tm.tm_mon != asked.tm_mon || tm.tm_mday != asked.tm_mday || tm.tm_hour != asked.tm_hour ||
	    tm.tm_min != asked.tm_min || tm.tm_sec != asked.tm_sec || !is_representable(seconds))
		return not_a_stamp(string, cause);
	*moment = seconds;
	return PS_OK;
}

static struct tm utc(int64_t moment)
{
	time_t seconds = (time_t)moment;
	struct tm tm = { 0 };
	gmtime_r(&seconds, &tm);
	return tm;
}

void stamp_print(int64_t moment, char out[static STAMP_CAP])
{
	struct tm tm = utc(moment);
	strftime(out, STAMP_CAP, "%Y%m%d%H%M%SZ", &tm);
}

void stamp_print_day(int64_t moment, char out[static STAMP_DAY_CAP])
{
	struct tm tm = utc(moment);
	strftime(out, STAMP_DAY_CAP, "%Y-%m-%d", &tm);
}

void stamp_print_readable(int64_t moment, char out[static STAMP_READABLE_CAP])
{
	struct tm tm = utc(moment);
	strftime(out, STAMP_READABLE_CAP, "%Y-%m-%d %H:%M:%SZ", &tm);
}

/* Seconds that were asked for by --days or --for, or the default. */
static enum ps_err length_of(const struct stamp_wish *wish, int64_t default_days, int64_t *seconds,
                             struct ps_cause *cause)
{
	uint64_t number = 0;
	if (wish->lasts != NULL) {
		enum ps_err err = units_parse_duration(wish->lasts, &number, cause);
		if (err != PS_OK)
			return ps_cause_prefix(cause, err, "--for");
		if (number == 0 || number / 1000 > (uint64_t)MAX_DAYS * STAMP_SECONDS_PER_DAY)
			return ps_cause_set(cause, PS_E_CONFIG, "--for: %s is not between 1ms and %dd", wish->lasts, MAX_DAYS);
		*seconds = (int64_t)((number + 999) / 1000);
		return PS_OK;
	}

	if (wish->days != NULL) {
		enum ps_err err = units_parse_count(wish->days, 1, MAX_DAYS, &number, cause);
		if (err != PS_OK)
			return ps_cause_prefix(cause, err, "--days");
		default_days = (int64_t)number;
	}
	*seconds = default_days * STAMP_SECONDS_PER_DAY;
	return PS_OK;
}

enum ps_err stamp_span_of(const struct stamp_wish *wish, int64_t now, int64_t slack_s, int64_t default_days,
                          struct stamp_span *span, struct ps_cause *cause)
{
	if ((wish->days != NULL) + (wish->lasts != NULL) + (wish->not_after != NULL) > 1)
		return ps_cause_set(cause, PS_E_CONFIG, "--days, --for and --not-after exclude each other");

	int64_t from = now - slack_s;
	int64_t start = now; /* the slack is not taken off the days */
	if (wish->not_before != NULL) {
		enum ps_err err = stamp_parse(wish->not_before, &from, cause);
		if (err != PS_OK)
			return ps_cause_prefix(cause, err, "--not-before");
		start = from;
	}

	int64_t until = 0;
	if (wish->not_after != NULL) {
		enum ps_err err = stamp_parse(wish->not_after, &until, cause);
		if (err != PS_OK)
			return ps_cause_prefix(cause, err, "--not-after");
	} else {
		int64_t seconds = 0;
		enum ps_err err = length_of(wish, default_days, &seconds, cause);
		if (err != PS_OK)
			return err;
		until = start + seconds;
	}

	if (until <= from)
		return ps_cause_set(cause, PS_E_CONFIG, "--not-after lies before the beginning of the validity");
	if (!is_representable(from) || !is_representable(until))
		return ps_cause_set(cause, PS_E_CONFIG, "the validity must lie between the years 2000 and 9999");
	span->from = from;
	span->until = until;
	return PS_OK;
}
