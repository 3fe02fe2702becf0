/* SPDX-License-Identifier: Apache-2.0 */
#include "results.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "portseal/clock.h"
#include "portseal/log.h"

#define BATCH_MAX 256
#define RETRY_MS 1000
#define RETRIED_MAX 256 /* records and releases that could not be written; those beyond stay "under way" */
#define PATH_LEN_MAX 1024

enum verb { CLAIM, RECORD, RELEASE };

struct results_call {
	STAILQ_ENTRY(results_call) link;
	enum verb verb;
	struct results_key key;
	struct results_record record; /* RECORD: to write; CLAIM: what was found */
	enum results_found found;
	results_answer_fn *on_answer; /* NULL: nobody asks any more */
	void *owner;
};

STAILQ_HEAD(calls, results_call);

struct results {
	struct results_db_config config;
	char path[PATH_LEN_MAX];
	uv_loop_t *loop;
	uv_work_t work;
	uv_timer_t retry;
	struct calls waiting;
	struct calls batch; /* while `working`, the thread's */
	size_t n_waiting;
	size_t n_retried;
	bool working;
	bool stopped;
	bool failed; /* and that was logged */
	/* The thread's while working: */
	struct results_db *db;
	enum ps_err err;
	struct ps_cause cause;
};

static enum ps_err do_call(struct results *results, struct results_call *call, int64_t now_ms)
{
	switch (call->verb) {
	case CLAIM:
		return results_db_claim(results->db, &call->key, now_ms, &call->found, &call->record, &results->cause);
	case RECORD:
		return results_db_record(results->db, &call->key, &call->record, now_ms, &results->cause);
	case RELEASE:
		break;
	}
	return results_db_release(results->db, &call->key, &results->cause);
}

/* In a thread of the pool. A database that failed is opened anew each time: the file may be another one by now. */
static void on_work(uv_work_t *work)
{
	struct results *results = work->data;
	const int64_t now_ms = clock_wall_ms();
	struct results_call *call;
	enum ps_err err = PS_OK;

	if (results->db == NULL)
		err = results_db_open(&results->config, &results->db, &results->cause);
	if (err == PS_OK)
		err = results_db_begin(results->db, now_ms, &results->cause);
	STAILQ_FOREACH(call, &results->batch, link)
	{
		if (err == PS_OK)
			err = do_call(results, call, now_ms);
	}
	if (err == PS_OK)
		err = results_db_commit(results->db, &results->cause);
	if (err != PS_OK && results->db != NULL) {
		results_db_undo(results->db);
		results_db_close(results->db);
		results->db = NULL;
	}
	results->err = err;
}

static void call_free(struct results_call *call)
{
	buf_release(&call->record.reply);
	free(call);
}

static void queue(struct results *results, struct results_call *call)
{
	STAILQ_INSERT_TAIL(&results->waiting, call, link);
	results->n_waiting++;
}

static void log_change(struct results *results)
{
	if (results->err != PS_OK && !results->failed)
		log_event(LOG_ERROR, "message-store-failed", "%s; messages with an idempotency key are refused meanwhile",
		          results->cause.text);
	if (results->err == PS_OK && results->failed)
		log_event(LOG_INFO, "message-store-recovered", "%s", results->path);
	results->failed = results->err != PS_OK;
}

static void tell(struct results *results, struct results_call *call)
{
	const struct results_answer answer = {
		.err = results->err,
		.cause = results->cause.text,
		.found = call->found,
		.record = call->verb == CLAIM && call->found == RESULTS_DONE ? &call->record : NULL,
	};

	if (call->on_answer != NULL) {
		results_answer_fn *on_answer = call->on_answer;
		call->on_answer = NULL;
		on_answer(call->owner, &answer);
	} else if (call->verb == CLAIM && results->err == PS_OK && call->found != RESULTS_DONE &&
	           call->found != RESULTS_UNDER_WAY) {
		results_release(results, &call->key);
	}
}

static void flush(struct results *results);

static void on_retry(uv_timer_t *timer)
{
	flush(timer->data);
}

/* What was claimed must be given back or recorded some day. */
static bool keep_for_later(struct results *results, struct results_call *call)
{
	if (results->err == PS_OK || call->verb == CLAIM || results->n_retried >= RETRIED_MAX || results->stopped)
		return false;
	if (results->err == PS_E_LIMIT) {
		buf_release(&call->record.reply); /* without its reply there may be room for it */
		call->record.reply_kept = false;
	}
	results->n_retried++;
	queue(results, call);
	return true;
}

static void on_worked(uv_work_t *work, int status)
{
	struct results *results = work->data;
	struct calls done = STAILQ_HEAD_INITIALIZER(done);
	struct results_call *call;

	(void)status;
	results->working = false;
	results->n_retried = 0;
	log_change(results);
	STAILQ_CONCAT(&done, &results->batch);
	while ((call = STAILQ_FIRST(&done)) != NULL) {
		STAILQ_REMOVE_HEAD(&done, link);
		tell(results, call);
		if (!keep_for_later(results, call))
			call_free(call);
	}
	if (results->err == PS_OK)
		flush(results);
	else if (!results->stopped && results->n_waiting > 0)
		(void)uv_timer_start(&results->retry, on_retry, RETRY_MS, 0);
}

static void flush(struct results *results)
{
	if (results->working || results->n_waiting == 0)
		return;
	for (size_t n = 0; n < BATCH_MAX && results->n_waiting > 0; n++, results->n_waiting--) {
		struct results_call *call = STAILQ_FIRST(&results->waiting);
		STAILQ_REMOVE_HEAD(&results->waiting, link);
		STAILQ_INSERT_TAIL(&results->batch, call, link);
	}
	results->working = uv_queue_work(results->loop, &results->work, on_work, on_worked) == 0;
}

static struct results_call *ask(struct results *results, enum verb verb, const struct results_key *key,
                                results_answer_fn *on_answer, void *owner)
{
	struct results_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->verb = verb;
	call->key = *key;
	call->on_answer = on_answer;
	call->owner = owner;
	queue(results, call);
	return call;
}

struct results_call *results_claim(struct results *results, const struct results_key *key, results_answer_fn *on_answer,
                                   void *owner)
{
	struct results_call *call = ask(results, CLAIM, key, on_answer, owner);

	flush(results);
	return call;
}

struct results_call *results_record(struct results *results, const struct results_key *key,
                                    struct results_record *record, results_answer_fn *on_answer, void *owner)
{
	struct results_call *call = ask(results, RECORD, key, on_answer, owner);

	if (call != NULL) {
		call->record = *record;
		record->reply = BUF_INIT;
	}
	flush(results);
	return call;
}

void results_release(struct results *results, const struct results_key *key)
{
	if (ask(results, RELEASE, key, NULL, NULL) == NULL)
		log_event(LOG_WARN, "no-memory", "a message's key stays under way until this worker ends");
	flush(results);
}

void results_forget(struct results_call *call)
{
	call->on_answer = NULL;
}

bool results_is_idle(const struct results *results)
{
	return !results->working && (results->n_waiting == 0 || results->failed);
}

enum ps_err results_new(uv_loop_t *loop, const struct results_db_config *config, struct results **results)
{
	struct results *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return PS_E_NOMEM;
	made->config = *config;
	(void)strncpy(made->path, config->path, sizeof(made->path) - 1);
	made->config.path = made->path;
	made->loop = loop;
	made->work.data = made;
	STAILQ_INIT(&made->waiting);
	STAILQ_INIT(&made->batch);
	(void)uv_timer_init(loop, &made->retry);
	made->retry.data = made;
	*results = made;
	/* An empty batch: what is wrong is told at the start, and what a predecessor left is found. */
	made->working = uv_queue_work(loop, &made->work, on_work, on_worked) == 0;
	return PS_OK;
}

void results_stop(struct results *results)
{
	if (results == NULL || results->stopped)
		return;
	results->stopped = true;
	uv_close((uv_handle_t *)&results->retry, NULL);
}

void results_free(struct results *results)
{
	struct results_call *call;

	if (results == NULL)
		return;
	while ((call = STAILQ_FIRST(&results->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&results->waiting, link);
		call_free(call);
	}
	results_db_close(results->db);
	free(results);
}
