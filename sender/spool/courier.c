/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/courier.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "spool/spool_take.h"

#define EXPIRE_EVERY_MS 1000
#define EXPIRE_MAX 100 /* in one turn */
#define TROUBLE_MS 1000
#define CLOCK_STEP_MS 1000 /* less than so much is drift, not a step */

TAILQ_HEAD(courier_tasks, courier_task);
SLIST_HEAD(lanes, lane);

/* A pause after failures, and the probe behind it. */
struct gate {
	uint64_t failures; /* in a row */
	uint64_t shut_until_ms;
};

struct lane {
	SLIST_ENTRY(lane) entry;
	char service[SPOOL_SERVICE_SIZE];
	size_t flying;
	struct gate gate;
};

struct courier {
	struct courier_config config;
	struct lanes lanes;
	struct courier_tasks flying, landed;
	size_t n_flying, n_landed;
	struct gate relay;
	bool draining;
	bool clock_seen;
	int64_t clock_gap_ms; /* wall - steady, when last looked */
	uint64_t expire_at_ms;
	struct courier_time now; /* of this turn */
	uint64_t next_ms;        /* of this turn */
};

static void wake_in(struct courier *courier, uint64_t ms)
{
	if (ms < courier->next_ms)
		courier->next_ms = ms;
}

static struct lane *find_lane(struct courier *courier, const char *service)
{
	struct lane *lane;

	SLIST_FOREACH(lane, &courier->lanes, entry)
	if (strcmp(lane->service, service) == 0)
		return lane;
	lane = calloc(1, sizeof(*lane));
	if (lane == NULL)
		return NULL;
	memcpy(lane->service, service, strlen(service) + 1);
	SLIST_INSERT_HEAD(&courier->lanes, lane, entry);
	return lane;
}

static bool is_open(struct courier *courier, const struct gate *gate)
{
	if (courier->now.steady_ms >= gate->shut_until_ms)
		return true;
	wake_in(courier, gate->shut_until_ms - courier->now.steady_ms);
	return false;
}

/* Failures of one volley count once: those that come in while it is shut were on their way before. */
static uint64_t shut(struct courier *courier, struct gate *gate, uint64_t least_ms)
{
	const struct spool_settings *settings = courier->config.settings;

	if (courier->now.steady_ms >= gate->shut_until_ms)
		gate->failures++;
	uint64_t wait_ms = verdict_wait_ms(settings->retry.first_ms, settings->retry.max_ms, gate->failures,
	                                   courier->config.random(courier->config.owner));
	if (wait_ms < least_ms)
		wait_ms = least_ms;
	if (gate->shut_until_ms < courier->now.steady_ms + wait_ms)
		gate->shut_until_ms = courier->now.steady_ms + wait_ms;
	return gate->shut_until_ms - courier->now.steady_ms;
}

static uint64_t wait_of_message(const struct courier *courier, const struct courier_task *task)
{
	const struct spool_settings *settings = courier->config.settings;
	const uint64_t wait_ms = verdict_wait_ms(settings->retry.first_ms, settings->retry.max_ms, task->message.attempts,
	                                         courier->config.random(courier->config.owner));

	return wait_ms > task->verdict.retry_after_ms ? wait_ms : task->verdict.retry_after_ms;
}

/* What the verdict means for those that wait behind it. */
static void learn(struct courier *courier, struct courier_task *task)
{
	struct lane *lane = find_lane(courier, task->message.service);
	const struct verdict *verdict = &task->verdict;

	if (lane != NULL && lane->flying > 0)
		lane->flying--;
	if (verdict->scope != VERDICT_RELAY || verdict->fate == VERDICT_DELIVERED)
		courier->relay = (struct gate){ 0 };
	if (verdict->fate != VERDICT_RETRY) {
		if (lane != NULL)
			lane->gate = (struct gate){ 0 };
		return;
	}
	task->wait_ms = wait_of_message(courier, task);
	if (verdict->scope == VERDICT_RELAY)
		task->wait_ms = shut(courier, &courier->relay, verdict->retry_after_ms);
	else if (verdict->scope == VERDICT_SERVICE && lane != NULL)
		(void)shut(courier, &lane->gate, verdict->retry_after_ms);
}

void courier_landed(struct courier_task *task)
{
	struct courier *courier = task->courier;

	assert(task->state == COURIER_FLYING);
	task->state = COURIER_LANDED;
	TAILQ_REMOVE(&courier->flying, task, entry);
	TAILQ_INSERT_TAIL(&courier->landed, task, entry);
	courier->n_flying--;
	courier->n_landed++;
}

static enum ps_err write_one(const struct courier *courier, const struct courier_task *task, struct ps_cause *cause)
{
	const struct verdict *verdict = &task->verdict;
	const struct spool_failure failure = {
		.reason = verdict->reason,
		.detail = verdict->detail,
		.dead = verdict->fate == VERDICT_DEAD,
		.now_ms = courier->now.wall_ms,
		.due_ms = courier->now.wall_ms + (int64_t)task->wait_ms,
		.uncertain = verdict->uncertain,
		.unsent = verdict->unsent,
	};

	if (verdict->fate == VERDICT_DELIVERED)
		return spool_settle_delivered(courier->config.spool, task->message.seq, cause);
	return spool_settle_failed(courier->config.spool, task->message.seq, &failure, cause);
}

static enum ps_err write_landed(struct courier *courier, struct ps_cause *cause)
{
	struct courier_task *task;
	enum ps_err err = PS_OK;

	TAILQ_FOREACH(task, &courier->landed, entry)
	{
		err = write_one(courier, task, cause);
		if (err != PS_OK)
			break;
	}
	return err;
}

static void forget_landed(struct courier *courier)
{
	struct courier_task *task;

	while ((task = TAILQ_FIRST(&courier->landed)) != NULL) {
		TAILQ_REMOVE(&courier->landed, task, entry);
		courier->n_landed--;
		courier->config.on_settled(courier->config.owner, task, courier->now.steady_ms - task->began_ms);
		free(task);
	}
}

static bool has_room(struct courier *courier, const struct lane *lane, bool ordered)
{
	const size_t most = courier->relay.failures > 0 ? 1 : (size_t)courier->config.settings->in_flight;

	if (courier->n_flying >= most || !is_open(courier, &courier->relay))
		return false;
	if (lane->flying > 0 && (ordered || lane->gate.failures > 0))
		return false;
	return is_open(courier, &lane->gate);
}

static void take_off(struct courier *courier, struct lane *lane, struct courier_task *task)
{
	task->courier = courier;
	task->state = COURIER_FLYING;
	task->began_ms = courier->now.steady_ms;
	courier->n_flying++;
	lane->flying++;
}

/* PS_E_CLOSED: the lane has nothing that may go now. */
static enum ps_err claim_from(struct courier *courier, const char *service, struct courier_tasks *claimed,
                              struct ps_cause *cause)
{
	struct lane *lane = find_lane(courier, service);
	struct spool_claim claim = {
		.service = service,
		.ordered = spool_settings_ordered(courier->config.settings, service),
		.now_ms = courier->now.wall_ms,
	};
	struct courier_task *task;

	if (lane == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	if (!has_room(courier, lane, claim.ordered))
		return PS_E_CLOSED;
	task = calloc(1, sizeof(*task));
	if (task == NULL)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	const enum ps_err err = spool_claim(courier->config.spool, &claim, &task->message, cause);
	if (err != PS_OK) {
		free(task);
		if (err == PS_E_CLOSED && claim.due_ms != INT64_MAX)
			wake_in(courier, (uint64_t)(claim.due_ms - courier->now.wall_ms));
		return err;
	}
	take_off(courier, lane, task);
	TAILQ_INSERT_TAIL(claimed, task, entry);
	return PS_OK;
}

/* One of each service, round after round, until nobody has more or nothing more may fly. */
static enum ps_err claim_due(struct courier *courier, struct courier_tasks *claimed, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;
	bool more = !courier->draining;

	while (more && err == PS_OK) {
		char service[SPOOL_SERVICE_SIZE] = "";

		more = false;
		while ((err = spool_next_service(courier->config.spool, service, cause)) == PS_OK) {
			const enum ps_err claim_err = claim_from(courier, service, claimed, cause);

			if (claim_err == PS_OK)
				more = true;
			else if (claim_err != PS_E_CLOSED)
				return claim_err;
		}
		if (err == PS_E_CLOSED)
			err = PS_OK;
	}
	return err;
}

/* The claims were not written: they never were. */
static void give_up_claims(struct courier *courier, struct courier_tasks *claimed)
{
	struct courier_task *task;

	while ((task = TAILQ_FIRST(claimed)) != NULL) {
		struct lane *lane = find_lane(courier, task->message.service);

		TAILQ_REMOVE(claimed, task, entry);
		courier->n_flying--;
		if (lane != NULL && lane->flying > 0)
			lane->flying--;
		free(task);
	}
}

static void post_claimed(struct courier *courier, struct courier_tasks *claimed)
{
	struct courier_task *task;

	while ((task = TAILQ_FIRST(claimed)) != NULL) {
		TAILQ_REMOVE(claimed, task, entry);
		TAILQ_INSERT_TAIL(&courier->flying, task, entry);
		courier->config.post(courier->config.owner, task);
	}
}

static enum ps_err bury_expired(struct courier *courier, struct courier_tasks *buried, struct ps_cause *cause)
{
	enum ps_err err = PS_OK;

	if (courier->now.steady_ms < courier->expire_at_ms)
		return PS_OK;
	for (int i = 0; i < EXPIRE_MAX && err == PS_OK; i++) {
		struct courier_task *task = calloc(1, sizeof(*task));

		if (task == NULL)
			return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
		err = spool_expire(courier->config.spool, courier->now.wall_ms, &task->message, cause);
		if (err == PS_OK)
			TAILQ_INSERT_TAIL(buried, task, entry);
		else
			free(task);
	}
	return err == PS_E_CLOSED ? PS_OK : err;
}

static void tell_buried(struct courier *courier, struct courier_tasks *buried)
{
	struct courier_task *task;
	int n = 0;

	for (; (task = TAILQ_FIRST(buried)) != NULL; n++) {
		TAILQ_REMOVE(buried, task, entry);
		courier->config.on_expired(courier->config.owner, &task->message);
		free(task);
	}
	if (courier->now.steady_ms < courier->expire_at_ms)
		return;
	courier->expire_at_ms = courier->now.steady_ms + (n < EXPIRE_MAX ? EXPIRE_EVERY_MS : 0);
	if (n == EXPIRE_MAX)
		wake_in(courier, 0);
}

/* The wall clock jumped back against the steady one. */
static enum ps_err watch_clock(struct courier *courier, struct ps_cause *cause)
{
	const int64_t gap_ms = courier->now.wall_ms - (int64_t)courier->now.steady_ms;

	if (!courier->clock_seen || gap_ms < courier->clock_gap_ms - CLOCK_STEP_MS) {
		const enum ps_err err = spool_mend_clock(courier->config.spool, courier->now.wall_ms, cause);

		if (err != PS_OK)
			return err;
	}
	courier->clock_seen = true;
	courier->clock_gap_ms = gap_ms;
	return PS_OK;
}

/* Lanes of services that rest are made again when they are needed. */
static void sweep_lanes(struct courier *courier)
{
	struct lane *lane = SLIST_FIRST(&courier->lanes);

	while (lane != NULL) {
		struct lane *next = SLIST_NEXT(lane, entry);

		if (lane->flying == 0 && lane->gate.failures == 0) {
			SLIST_REMOVE(&courier->lanes, lane, lane, entry);
			free(lane);
		}
		lane = next;
	}
}

static void free_tasks(struct courier_tasks *tasks)
{
	struct courier_task *task;

	while ((task = TAILQ_FIRST(tasks)) != NULL) {
		TAILQ_REMOVE(tasks, task, entry);
		free(task);
	}
}

/* Expired ones first: what is dead shall not be sent. */
static enum ps_err write_and_claim(struct courier *courier, struct ps_cause *cause)
{
	struct courier_tasks claimed = TAILQ_HEAD_INITIALIZER(claimed);
	struct courier_tasks buried = TAILQ_HEAD_INITIALIZER(buried);
	enum ps_err err = spool_begin(courier->config.spool, cause);

	if (err != PS_OK)
		return err;
	err = write_landed(courier, cause);
	if (err == PS_OK)
		err = bury_expired(courier, &buried, cause);
	if (err == PS_OK)
		err = claim_due(courier, &claimed, cause);
	if (err == PS_OK)
		err = spool_commit(courier->config.spool, cause);
	if (err != PS_OK) {
		spool_rollback(courier->config.spool);
		give_up_claims(courier, &claimed);
		free_tasks(&buried);
		return err;
	}
	forget_landed(courier);
	tell_buried(courier, &buried);
	post_claimed(courier, &claimed);
	return PS_OK;
}

/* Once for each that landed since the last turn: whatever happens to its writing. */
static void learn_landed(struct courier *courier)
{
	struct courier_task *task;

	TAILQ_FOREACH(task, &courier->landed, entry)
	{
		if (task->learnt)
			continue;
		task->learnt = true;
		learn(courier, task);
	}
}

enum ps_err courier_turn(struct courier *courier, const struct courier_time *now, uint64_t *next_ms,
                         struct ps_cause *cause)
{
	courier->now = *now;
	courier->next_ms = COURIER_LOOK_MS;
	learn_landed(courier);
	enum ps_err err = watch_clock(courier, cause);
	if (err == PS_OK)
		err = write_and_claim(courier, cause);
	if (err != PS_OK)
		wake_in(courier, TROUBLE_MS);
	else
		sweep_lanes(courier);
	*next_ms = courier->next_ms;
	return err;
}

enum ps_err courier_new(const struct courier_config *config, struct courier **courier)
{
	struct courier *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	SLIST_INIT(&fresh->lanes);
	TAILQ_INIT(&fresh->flying);
	TAILQ_INIT(&fresh->landed);
	*courier = fresh;
	return PS_OK;
}

void courier_free(struct courier *courier)
{
	struct lane *lane;

	if (courier == NULL)
		return;
	free_tasks(&courier->flying);
	free_tasks(&courier->landed);
	while ((lane = SLIST_FIRST(&courier->lanes)) != NULL) {
		SLIST_REMOVE_HEAD(&courier->lanes, entry);
		free(lane);
	}
	free(courier);
}

void courier_use_settings(struct courier *courier, const struct spool_settings *settings)
{
	courier->config.settings = settings;
}

void courier_drain(struct courier *courier)
{
	courier->draining = true;
}

size_t courier_n_flying(const struct courier *courier)
{
	return courier->n_flying;
}

size_t courier_n_landed(const struct courier *courier)
{
	return courier->n_landed;
}
