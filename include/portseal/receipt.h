/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receipt -- what a relay says of a message that it delivered: which one, what was in it, and when.
 *
 *   portseal-receipt: "6f1c...";sha256=:BASE64:;time=@1764225264        (a structured field, RFC 9651)
 *
 * It is the relay's word, given on a connection on which the relay proved who it is; it carries no signature of its own.
 */
#ifndef PORTSEAL_RECEIPT_H
#define PORTSEAL_RECEIPT_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

#define RECEIPT_HEADER "portseal-receipt"
#define RECEIPT_ID_LEN 32 /* hexadecimal digits of 128 random bits */
#define RECEIPT_SHA256_LEN 32
#define RECEIPT_TEXT_MAX 128

struct receipt {
	char id[RECEIPT_ID_LEN + 1];
	uint8_t sha256[RECEIPT_SHA256_LEN]; /* of the payload */
	int64_t time;                       /* seconds since 1970, by the relay's clock */
};

/* With an id of its own. PS_E_IO: the system has no random numbers. */
enum ps_err receipt_make(const uint8_t sha256[static RECEIPT_SHA256_LEN], int64_t time, struct receipt *receipt)
	PS_MUST_CHECK;

/* The value of the header; returns its length. */
size_t receipt_print(const struct receipt *receipt, char out[static RECEIPT_TEXT_MAX]);

/* The value as receipt_print writes it, parameters in any order; others may follow a later version's. PS_E_PROTO
 * for anything else: *receipt stays as it was. */
enum ps_err receipt_parse(const char *value, size_t len, struct receipt *receipt) PS_MUST_CHECK;

/* "2026-11-27T06:34:24Z" */
#define RECEIPT_TIME_MAX 32
void receipt_print_time(int64_t time, char out[static RECEIPT_TIME_MAX]);

#endif
