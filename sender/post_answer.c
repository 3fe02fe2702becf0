/* SPDX-License-Identifier: Apache-2.0 */
#include "post_answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "portseal/text.h"
#include "portseal/units.h"

#define RETRY_AFTER_MAX_S (24 * 3600)

/* What each status means to a sender. */
static const struct meaning {
	unsigned status;
	enum outcome_code code;
	const char *text;
} meanings[] = {
	{ 403, OUTCOME_REFUSED, "ask its operator for a rule that does" },
	{ 404, OUTCOME_REFUSED, "check the name" },
	{ 409, OUTCOME_UNDELIVERED, "a message with this idempotency key is under way: try again in a moment" },
	{ 410, OUTCOME_UNFORESEEN,
	  "a message with this idempotency key was delivered before, and its reply was too long to be kept" },
	{ 413, OUTCOME_LIMIT, "the message is longer than this service takes (max_message)" },
	{ 422, OUTCOME_REFUSED, "this idempotency key belongs to another payload" },
	{ 429, OUTCOME_LIMIT, "too many messages a second" },
	{ 501, OUTCOME_REFUSED,
	  "the relay keeps no results: its operator can set messages.store, or send without an idempotency key" },
	{ 502, OUTCOME_UNDELIVERED, "the relay could not deliver: the application is down or broke off" },
	{ 503, OUTCOME_UNDELIVERED, "the relay cannot deliver now" },
	{ 504, OUTCOME_UNDELIVERED, "the relay could not deliver: the application took too long" },
};

static const struct meaning *meaning_of(unsigned status)
{
	static const struct meaning refused = { 0, OUTCOME_REFUSED, "the relay does not take this request" };
	static const struct meaning failed = { 0, OUTCOME_UNDELIVERED, "the relay could not deliver" };
	static const struct meaning strange = { 0, OUTCOME_UNFORESEEN, "the answer is not one of a Portseal relay" };

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].status == status)
			return &meanings[i];
	if (status >= 400 && status < 500)
		return &refused;
	return status >= 500 && status < 600 ? &failed : &strange;
}

void post_answer_trail(struct post_answer *answer, const struct h2_field *fields, size_t n_fields)
{
	const char *receipt = h2_field_value(fields, n_fields, RECEIPT_HEADER);

	if (receipt != NULL && !answer->has_receipt)
		answer->has_receipt = receipt_parse(receipt, strlen(receipt), &answer->receipt) == PS_OK;
}

void post_answer_begin(struct post_answer *answer, const struct h2_response *response)
{
	const char *retry_after = h2_field_value(response->fields, response->n_fields, "retry-after");

	answer->status = response->status;
	post_answer_trail(answer, response->fields, response->n_fields);
	if (retry_after != NULL &&
	    units_parse_count(retry_after, 0, RETRY_AFTER_MAX_S, &answer->retry_after_s, NULL) != PS_OK)
		answer->retry_after_s = 0;
}

bool post_answer_is_reply(const struct post_answer *answer)
{
	return answer->status == 200;
}

void post_answer_add(struct post_answer *answer, const uint8_t *bytes, size_t len)
{
	const size_t room = PROBLEM_BODY_MAX - buf_len(&answer->body);

	if (len > room)
		len = room;
	if (len > 0 && buf_append(&answer->body, bytes, len) != PS_OK)
		return; /* the words get shorter */
}

static void set_problem(const struct post_answer *answer, const struct outcome_names *names, struct post_result *result)
{
	const struct meaning *meaning = meaning_of(answer->status);
	char storage[PS_CAUSE_MAX];
	struct problem problem = { .reason = "" };
	struct text line;

	if (problem_parse((const char *)buf_front(&answer->body), buf_len(&answer->body), &problem) != PS_OK)
		problem = (struct problem){ .reason = "" };
	memcpy(result->reason, problem.reason, sizeof(result->reason));
	result->fate = POST_ANSWERED;
	text_init(&line, storage, sizeof(storage));
	text_addf(&line, "%s: %s\"", names->relay,
	          answer->status == 403   ? "the relay does not allow our certificate to use the service "
	          : answer->status == 404 ? "the relay has no service "
	                                  : "service ");
	text_add_escaped(&line, names->service, strlen(names->service));
	text_addf(&line, "\": %s (%u", meaning->text, answer->status);
	if (problem.reason[0] != '\0')
		text_addf(&line, " %s", problem.reason);
	if (problem.detail[0] != '\0') {
		text_add(&line, ": ");
		text_add_escaped(&line, problem.detail, strlen(problem.detail));
	}
	text_add(&line, ")");
	if (answer->retry_after_s > 0)
		text_addf(&line, ": again in %" PRIu64 " s", answer->retry_after_s);
	outcome_set(&result->outcome, meaning->code, "%s", storage);
}

void post_answer_judge(const struct post_answer *answer, const uint8_t *sha256, const struct outcome_names *names,
                       struct post_result *result)
{
	const bool is_delivery = answer->status == 200 || answer->status == 204;

	result->status = answer->status;
	result->retry_after_s = answer->retry_after_s;
	result->has_receipt = answer->has_receipt;
	result->receipt = answer->receipt;
	if (!is_delivery) {
		set_problem(answer, names, result);
		return;
	}
	result->fate = POST_UNKNOWN;
	if (!answer->has_receipt)
		outcome_set(&result->outcome, OUTCOME_UNFORESEEN,
		            "%s: the answer has no receipt: is it a Portseal relay? the message may not have been delivered",
		            names->relay);
	else if (sha256 == NULL || memcmp(sha256, answer->receipt.sha256, RECEIPT_SHA256_LEN) != 0)
		outcome_set(&result->outcome, OUTCOME_UNFORESEEN, "%s: the receipt is for another payload than was sent",
		            names->relay);
	else
		result->fate = POST_DELIVERED;
	if (result->fate == POST_DELIVERED)
		result->outcome = (struct outcome){ .code = OUTCOME_DONE, .refusal = REFUSAL_NONE };
}

void post_answer_clear(struct post_answer *answer)
{
	buf_release(&answer->body);
}

void post_answer_of_end(const struct h2_report *report, const struct outcome_names *names, struct outcome *outcome)
{
	static const char *const texts[] = {
		[H2_PEER_CUT] = "the connection was cut off",
		[H2_PEER_RESET] = "the connection broke",
		[H2_PEER_LEFT] = "the relay ended the connection with messages under way",
		[H2_PEER_GOAWAY] = "the relay ended the connection for a fault of ours",
		[H2_PEER_PROTOCOL] = "what came was damaged or forged",
		[H2_PEER_HTTP] = "the relay broke HTTP/2, or we did",
		[H2_PEER_ABUSE] = "the relay went beyond a limit of ours",
		[H2_ABORTED] = "given up",
		[H2_NO_MEMORY] = "out of memory",
	};

	*outcome = (struct outcome){ .code = OUTCOME_DONE, .refusal = REFUSAL_NONE };
	if (report->end == H2_DONE)
		return;
	/* A GOAWAY comes before it; the alert says more. */
	if (report->end == H2_PEER_ALERT || (report->end == H2_PEER_GOAWAY && report->peer_alert != ALERT_NONE)) {
		struct outcome_names named = *names;
		named.service = NULL;
		outcome_of_alert(outcome, report->peer_alert, &named);
		return;
	}
	outcome_set(outcome, OUTCOME_UNDELIVERED, "%s: %s (%s)", names->relay, texts[report->end],
	            report->abuse != NULL ? report->abuse : h2_code_name(report->code));
}
