/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamp -- moments as certificates and the index write them (20261122093307Z, always UTC), and spans of validity.
 *
 * Moments are seconds since 1970. Years 2000 to 9999: what X.509 can say without a second thought.
 */
#ifndef CERTS_STAMP_H
#define CERTS_STAMP_H

#include <stdint.h>

#include "portseal/err.h"

#define STAMP_CAP 16 /* 14 digits, Z and NUL */
#define STAMP_DAY_CAP 12
#define STAMP_READABLE_CAP 24
#define STAMP_SECONDS_PER_DAY 86400

enum ps_err stamp_parse(const char *string, int64_t *moment, struct ps_cause *cause) PS_MUST_CHECK;

/* "20261122093307Z". The moment is one that stamp_parse or stamp_span accepted. */
void stamp_print(int64_t moment, char out[static STAMP_CAP]);

/* "2026-11-22". */
void stamp_print_day(int64_t moment, char out[static STAMP_DAY_CAP]);

/* "2026-11-22 09:33:07Z". */
void stamp_print_readable(int64_t moment, char out[static STAMP_READABLE_CAP]);

struct stamp_span {
	int64_t from;
	int64_t until; /* still within */
};

/* What a person said of a validity; NULL where nothing was said. */
struct stamp_wish {
	const char *days;
	const char *lasts; /* a duration */
	const char *not_before;
	const char *not_after;
};

/* Begins `slack_s` before now unless not_before is given (a clock may be slow), ends after `default_days` unless days,
 * lasts or not_after says otherwise. PS_E_CONFIG names the option that cannot be meant. */
enum ps_err stamp_span_of(const struct stamp_wish *wish, int64_t now, int64_t slack_s, int64_t default_days,
                          struct stamp_span *span, struct ps_cause *cause) PS_MUST_CHECK;

#endif
