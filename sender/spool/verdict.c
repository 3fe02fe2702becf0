/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/verdict.h"

#include <stdio.h>

struct status_row {
	unsigned from, to;
	enum verdict_fate fate;
	enum verdict_scope scope;
	bool uncertain, mendable;
	const char *reason; /* where the relay gave none */
};

/* The first row that fits. */
static const struct status_row rows[] = {
	{ 200, 299, VERDICT_DELIVERED, VERDICT_MESSAGE, false, false, "delivered" },
	{ 401, 401, VERDICT_RETRY, VERDICT_SERVICE, false, true, "not-allowed" },
	{ 403, 403, VERDICT_RETRY, VERDICT_SERVICE, false, true, "not-allowed" },
	{ 404, 404, VERDICT_RETRY, VERDICT_SERVICE, false, true, "unknown-service" },
	{ 408, 408, VERDICT_RETRY, VERDICT_SERVICE, true, false, "timeout" },
	{ 409, 409, VERDICT_RETRY, VERDICT_MESSAGE, false, false, "under-way" },
	{ 413, 413, VERDICT_DEAD, VERDICT_MESSAGE, false, true, "message-too-long" },
	{ 421, 421, VERDICT_RETRY, VERDICT_RELAY, false, true, "wrong-relay" },
	{ 425, 425, VERDICT_RETRY, VERDICT_MESSAGE, false, false, "too-early" },
	{ 429, 429, VERDICT_RETRY, VERDICT_SERVICE, false, false, "rate-limited" },
	{ 400, 499, VERDICT_DEAD, VERDICT_MESSAGE, false, true, "bad-request" },
	{ 501, 501, VERDICT_RETRY, VERDICT_SERVICE, false, true, "not-implemented" },
	{ 502, 502, VERDICT_RETRY, VERDICT_SERVICE, true, false, "application-failed" },
	{ 503, 503, VERDICT_RETRY, VERDICT_SERVICE, false, false, "unavailable" },
	{ 504, 504, VERDICT_RETRY, VERDICT_SERVICE, true, false, "application-timeout" },
	{ 500, 599, VERDICT_RETRY, VERDICT_SERVICE, true, false, "relay-failed" },
	{ 0, 999999, VERDICT_RETRY, VERDICT_SERVICE, true, true, "unexpected-answer" },
};

void verdict_of_status(struct verdict *verdict, unsigned status, const char *reason, const char *detail,
                       uint64_t retry_after_ms)
{
	const struct status_row *row = rows;

	while (status < row->from || status > row->to)
		row++;
	*verdict = (struct verdict){
		.fate = row->fate,
		.scope = row->scope,
		.uncertain = row->uncertain,
		.mendable = row->mendable,
		.retry_after_ms = retry_after_ms < VERDICT_RETRY_AFTER_MAX_MS ? retry_after_ms : VERDICT_RETRY_AFTER_MAX_MS,
	};
	(void)snprintf(verdict->reason, sizeof(verdict->reason), "%s",
	               reason != NULL && reason[0] != '\0' ? reason : row->reason);
	if (detail != NULL && detail[0] != '\0')
		(void)snprintf(verdict->detail, sizeof(verdict->detail), "%s", detail);
	else
		(void)snprintf(verdict->detail, sizeof(verdict->detail), "the relay answered %u", status);
}

void verdict_of_outcome(struct verdict *verdict, const struct outcome *outcome, bool unsent)
{
	static const char *const words[] = {
		[OUTCOME_OWN_SETUP] = "own-setup",       [OUTCOME_NO_RELAY] = "relay-not-reached",
		[OUTCOME_WRONG_RELAY] = "wrong-relay",   [OUTCOME_REFUSED] = "refused",
		[OUTCOME_UNDELIVERED] = "not-delivered",
	};
	const size_t n = sizeof(words) / sizeof(words[0]);
	const char *word = (size_t)outcome->code < n ? words[outcome->code] : NULL;

	verdict_of_break(verdict, VERDICT_RELAY, unsent, word != NULL ? word : "unforeseen", outcome->cause.text);
	verdict->mendable =
		outcome->code == OUTCOME_OWN_SETUP || outcome->code == OUTCOME_WRONG_RELAY || outcome->code == OUTCOME_REFUSED;
}

void verdict_of_break(struct verdict *verdict, enum verdict_scope scope, bool unsent, const char *reason,
                      const char *detail)
{
	*verdict = (struct verdict){ .fate = VERDICT_RETRY, .scope = scope, .uncertain = !unsent, .unsent = unsent };
	(void)snprintf(verdict->reason, sizeof(verdict->reason), "%s", reason);
	(void)snprintf(verdict->detail, sizeof(verdict->detail), "%s", detail);
}

uint64_t verdict_wait_ms(uint64_t first_ms, uint64_t max_ms, uint64_t failures, uint64_t random)
{
	uint64_t wait_ms = first_ms;

	for (uint64_t i = 1; i < failures && wait_ms < max_ms; i++)
		wait_ms *= 2;
	if (wait_ms > max_ms)
		wait_ms = max_ms;
	return wait_ms - random % (wait_ms / 2 + 1);
}
