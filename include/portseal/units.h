/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units -- durations and sizes as a person writes them: 500ms, 10s, 5m, 24h, 30d; 64K, 10M, 2G, 1500.
 */
#ifndef PORTSEAL_UNITS_H
#define PORTSEAL_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

/* Milliseconds; a unit is required (ms, s, m, h, d) except for a plain 0. Overflow and signs are errors.
 * The cause says what was expected: "\"10 sec\" is not a duration such as 500ms, 10s, 5m or 24h". */
enum ps_err units_parse_duration(const char *string, uint64_t *ms, struct ps_cause *cause) PS_MUST_CHECK;

/* Bytes; K, M, G are powers of 1024. */
enum ps_err units_parse_size(const char *string, uint64_t *bytes, struct ps_cause *cause) PS_MUST_CHECK;

/* A whole decimal number in [min, max]. */
enum ps_err units_parse_count(const char *string, uint64_t min, uint64_t max, uint64_t *count, struct ps_cause *cause)
	PS_MUST_CHECK;

#endif
