/* SPDX-License-Identifier: Apache-2.0 */
/*
 * expiry -- lists what will expire, and the stages at which that is told.
 */
#include "portseal/expiry.h"

#include <stdlib.h>

#include <mbedtls/x509_crt.h>

#include "portseal/crl.h"

#define NOTICE (EXPIRY_SOON_DAYS * EXPIRY_DAY + EXPIRY_DAY - 1) /* whole days are told, so 30 and a part */

static void add(struct expiry_list *list, const char *what, const mbedtls_x509_name *name, int64_t at, int64_t notice)
{
	struct expiry *item = &list->items[list->n++];

	*item = (struct expiry){ .what = what, .at = at, .notice = notice, .told = EXPIRY_FAR };
	certificate_name(name, item->name);
}

static void add_list(struct expiry_list *list, const struct crl *crl)
{
	int64_t half = (crl_next_update(crl) - crl_this_update(crl)) / 2;

	add(list, "crl", crl_issuer(crl), crl_next_update(crl), half < NOTICE ? half : NOTICE);
}

/* Is there a newer list of the same issuer? Of two that are equally new the first counts. */
static bool is_superseded(const struct trust *trust, size_t index)
{
	const struct crl *crl = trust_crl(trust, index);

	for (size_t i = 0; i < trust_n_crls(trust); i++) {
		const struct crl *other = trust_crl(trust, i);

		if (i == index || !certificate_same_name(crl_issuer(other), crl_issuer(crl)))
			continue;
		if (crl_is_newer(other, crl) || (!crl_is_newer(crl, other) && i < index))
			return true;
	}
	return false;
}

enum ps_err expiry_list_fill(struct expiry_list *list, struct credentials *credentials, struct trust *trust)
{
	const mbedtls_x509_crt *ours = credentials_chain(credentials);
	size_t n = trust_n_anchors(trust) + trust_n_crls(trust);

	for (const mbedtls_x509_crt *at = ours; at != NULL; at = at->next)
		n++;
	struct expiry_list fresh = { .items = calloc(n, sizeof(struct expiry)) };
	if (fresh.items == NULL)
		return PS_E_NOMEM;
	for (const mbedtls_x509_crt *at = ours; at != NULL; at = at->next)
		add(&fresh, at == ours ? "certificate" : "intermediate", &at->subject, certificate_time(&at->valid_to), NOTICE);
	for (const mbedtls_x509_crt *at = trust_anchors(trust); at != NULL; at = at->next)
		add(&fresh, "ca", &at->subject, certificate_time(&at->valid_to), NOTICE);
	for (size_t i = 0; i < trust_n_crls(trust); i++)
		if (!is_superseded(trust, i))
			add_list(&fresh, trust_crl(trust, i));
	*list = fresh;
	return PS_OK;
}

void expiry_list_clear(struct expiry_list *list)
{
	free(list->items);
	*list = (struct expiry_list){ .items = NULL };
}

int64_t expiry_days(int64_t at, int64_t now)
{
	return at >= now ? (at - now) / EXPIRY_DAY : -1 - (now - at - 1) / EXPIRY_DAY;
}

int64_t expiry_stage(int64_t days)
{
	static const int64_t stages[] = { 1, 7, 14, EXPIRY_SOON_DAYS };

	if (days < 0)
		return -1;
	for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
		if (days <= stages[i])
			return stages[i];
	}
	return EXPIRY_FAR;
}

int64_t expiry_stage_of(const struct expiry *expiry, int64_t now)
{
	return expiry->at - now > expiry->notice ? EXPIRY_FAR : expiry_stage(expiry_days(expiry->at, now));
}

bool expiry_is_news(struct expiry *expiry, int64_t now)
{
	int64_t stage = expiry_stage_of(expiry, now);

	if (stage >= expiry->told)
		return false;
	expiry->told = stage;
	return true;
}
