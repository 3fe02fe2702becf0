/* SPDX-License-Identifier: Apache-2.0 */
/*
 * post_answer -- what the relay answers to one message, and what that makes of it: fate, exit code, words for a person.
 *
 * Owns:   the body of a problem, until post_answer_clear.
 */
#ifndef PORTSEAL_SENDER_POST_ANSWER_H
#define PORTSEAL_SENDER_POST_ANSWER_H

#include "portseal/buf.h"
#include "portseal/h2.h"
#include "post.h"

struct post_answer {
	unsigned status; /* 0: none yet */
	bool complete;
	bool has_receipt;
	struct receipt receipt;
	uint64_t retry_after_s;
	struct buf body; /* of a problem */
};

void post_answer_begin(struct post_answer *answer, const struct h2_response *response);

/* Fields behind the body: the receipt, where the reply began before all was delivered. */
void post_answer_trail(struct post_answer *answer, const struct h2_field *fields, size_t n_fields);

/* Its body is the application's reply, else a problem. */
bool post_answer_is_reply(const struct post_answer *answer);

/* Bytes of a problem; those beyond PROBLEM_BODY_MAX are dropped. */
void post_answer_add(struct post_answer *answer, const uint8_t *bytes, size_t len);

/* It is complete: fills fate, outcome, reason, receipt. `sha256` is that of the payload sent, NULL if it is not known. */
void post_answer_judge(const struct post_answer *answer, const uint8_t *sha256, const struct outcome_names *names,
                       struct post_result *result);

void post_answer_clear(struct post_answer *answer);

/* Of the connection: OUTCOME_DONE where it ended in good order. */
void post_answer_of_end(const struct h2_report *report, const struct outcome_names *names, struct outcome *outcome);

#endif
