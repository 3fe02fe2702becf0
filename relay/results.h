/* SPDX-License-Identifier: Apache-2.0 */
/*
 * results -- a worker's access to the results of messages (results_db), without blocking its loop.
 *
 * What is asked for while a batch is on its way to the disk goes with the next one: one fsync for all of them. Every answer
 * comes after its batch is on the disk, from the loop.
 *
 * Owns:   the database. Logs when it fails and when it works again.
 * Never:  blocks.
 */
#ifndef PORTSEAL_RELAY_RESULTS_H
#define PORTSEAL_RELAY_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "portseal/err.h"
#include "results_db.h"

struct results;
struct results_call; /* something asked for */

enum ps_err results_new(uv_loop_t *loop, const struct results_db_config *config, struct results **results)
	PS_MUST_CHECK;

struct results_answer {
	enum ps_err err; /* PS_OK, or nothing was done: PS_E_LIMIT when it is full */
	const char *cause;
	enum results_found found;            /* of a claim */
	const struct results_record *record; /* RESULTS_DONE; borrowed until the event returns */
};
typedef void results_answer_fn(void *owner, const struct results_answer *answer);

/* Whose is it to deliver the message? NULL: out of memory. */
struct results_call *results_claim(struct results *results, const struct results_key *key, results_answer_fn *on_answer,
                                   void *owner);

/* It was delivered. Takes the record's reply. A record that cannot be written is tried again while the worker lives. */
struct results_call *results_record(struct results *results, const struct results_key *key,
                                    struct results_record *record, results_answer_fn *on_answer, void *owner);

/* It was not delivered after all: whoever claims it next may try. */
void results_release(struct results *results, const struct results_key *key);

/* The owner has no use for the answer any more. What it had claimed is released. */
void results_forget(struct results_call *call);

/* Nothing is asked for and unanswered. */
bool results_is_idle(const struct results *results);

/* The worker ends: after the loop has run out. */
void results_stop(struct results *results);
void results_free(struct results *results);

#endif
