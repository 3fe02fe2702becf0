/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expiry -- what of ours will expire, and when that is to be told.
 *
 * Pure but for memory: the clock is the caller's.
 */
#ifndef PORTSEAL_EXPIRY_H
#define PORTSEAL_EXPIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/certificate.h"
#include "portseal/credentials.h"
#include "portseal/err.h"
#include "portseal/trust.h"

#define EXPIRY_DAY INT64_C(86400) /* seconds */
#define EXPIRY_SOON_DAYS 30
#define EXPIRY_FAR INT64_MAX /* of a stage: nothing to tell yet */

/* One certificate or list of ours. */
struct expiry {
	const char *what;                /* "certificate", "intermediate", "ca", "crl" */
	char name[CERTIFICATE_NAME_MAX]; /* its subject, a list's issuer */
	int64_t at;                      /* seconds since 1970: notAfter, nextUpdate */
	int64_t notice;                  /* seconds before `at` from which on it may be told */
	int64_t told;                    /* the stage told last, EXPIRY_FAR at first; expiry_is_news keeps it */
};

struct expiry_list {
	struct expiry *items;
	size_t n;
};

/* Our chain, every anchor, and of each issuer the newest list; an older one beside it does no harm. Notice is 30 days,
 * but for a list at most half of its life: many live no longer than that, and a fresh one is nothing to warn of. */
enum ps_err expiry_list_fill(struct expiry_list *list, struct credentials *credentials, struct trust *trust)
	PS_MUST_CHECK;
void expiry_list_clear(struct expiry_list *list);

/* Whole days from `now` until `at`; negative once it is over. */
int64_t expiry_days(int64_t at, int64_t now);

/* The nearest of 30, 14, 7, 1 that so many days are within, -1 once it is over, EXPIRY_FAR while it is farther. */
int64_t expiry_stage(int64_t days);

/* The same for this one, as of `now`, with its notice. */
int64_t expiry_stage_of(const struct expiry *expiry, int64_t now);

/* Has it reached a stage that was not told yet? Then it is told now. */
bool expiry_is_news(struct expiry *expiry, int64_t now);

#endif
