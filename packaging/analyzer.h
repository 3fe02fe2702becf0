/* SPDX-License-Identifier: Apache-2.0 */
/*
 * analyzer -- what clang-tidy cannot see from one source: these functions return the code they are given.
 *
 * Included before every source but err.c by packaging/lint, never by a build.
 */
#include "portseal/err.h"

#define ps_cause_set(cause, err, ...) ((void)ps_cause_set(cause, err, __VA_ARGS__), (err))
#define ps_cause_prefix(cause, err, ...) ((void)ps_cause_prefix(cause, err, __VA_ARGS__), (err))
#define ps_cause_errno(cause, err, ...) ((void)ps_cause_errno(cause, err, __VA_ARGS__), (err))
