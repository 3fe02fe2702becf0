/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/send_spool.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "portseal/clock.h"
#include "portseal/text.h"
#include "portseal/units.h"
#include "spool/command.h"
#include "spool/serving.h"
#include "spool/spool_queue.h"
#include "spool/stage.h"
#include "usage.h"

#define LOOK_MS 20
#define WAIT_MAX_MS ((uint64_t)24 * 60 * 60 * 1000)

struct keeping {
	const struct send_spool_config *config;
	struct spool *spool;
	struct spool_stage stage;
	char id[SPOOL_ID_SIZE];
	struct outcome *outcome;
};

enum ps_err send_spool_check(bool spool, const char *wait, const char *other, uint64_t *wait_ms, struct ps_cause *cause)
{
	uint64_t parsed = 0;
	enum ps_err err = PS_OK;

	if (wait != NULL && !spool)
		return ps_cause_set(cause, PS_E_CONFIG, "--wait goes with --spool only: see --timeout");
	if (spool && other != NULL)
		return ps_cause_set(cause, PS_E_CONFIG, "%s does not go with --spool: the message is sent later", other);
	if (wait != NULL)
		err = units_parse_duration(wait, &parsed, cause);
	if (err == PS_OK && parsed > WAIT_MAX_MS)
		err = ps_cause_set(cause, PS_E_CONFIG, "more than 24h");
	if (err != PS_OK)
		return ps_cause_prefix(cause, err, "--wait");
	*wait_ms = parsed;
	return PS_OK;
}

/* True when the payload is whole. */
static bool take_in(struct keeping *keeping)
{
	char piece[SPOOL_PART];
	char name[TEXT_QUOTED_MAX];
	struct ps_cause cause;

	for (;;) {
		const ssize_t n = read(keeping->config->input_fd, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			(void)poll(&(struct pollfd){ .fd = keeping->config->input_fd, .events = POLLIN }, 1, -1);
			continue;
		}
		if (n < 0)
			outcome_set(keeping->outcome, OUTCOME_USAGE, "%s: cannot be read: %s",
			            text_escaped(name, keeping->config->input_name), strerror(errno));
		if (n <= 0)
			return n == 0;
		const enum ps_err err = spool_stage_add(&keeping->stage, piece, (size_t)n, &cause);
		if (err != PS_OK) {
			outcome_set(keeping->outcome, command_code(err), "%s", cause.text);
			return false;
		}
	}
}

static bool put(struct keeping *keeping)
{
	const struct spool_settings *settings = &keeping->config->config->spool;
	const struct spool_put_config putting = {
		.service = keeping->config->config->service,
		.now_ms = clock_wall_ms(),
		.ttl_ms = settings->ttl_ms,
		.max_messages = settings->max_messages,
		.max_bytes = settings->max_bytes,
	};
	struct ps_cause cause;
	const enum ps_err err = spool_put(keeping->spool, &putting, &keeping->stage, keeping->id, &cause);

	if (err != PS_OK)
		outcome_set(keeping->outcome, command_code(err), "%s", cause.text);
	return err == PS_OK;
}

/* Given up, while we waited. */
static void say_dead(struct keeping *keeping, const struct spool_message *message)
{
	const bool too_large = strcmp(message->reason, "message-too-long") == 0;

	outcome_set(keeping->outcome, too_large ? OUTCOME_LIMIT : OUTCOME_UNDELIVERED,
	            "%s: given up: %s: %s (see queue show)", keeping->id, message->reason, message->detail);
}

/* True when it is decided. */
static bool look(struct keeping *keeping, uint64_t dropped_before)
{
	struct spool_message message;
	struct spool_totals totals;
	struct ps_cause cause;
	enum ps_err err = spool_find(keeping->spool, keeping->id, &message, &cause);

	if (err == PS_OK && message.state != SPOOL_DEAD)
		return false;
	if (err == PS_OK) {
		say_dead(keeping, &message);
		return true;
	}
	if (err == PS_E_CLOSED)
		err = spool_totals(keeping->spool, &totals, &cause);
	if (err == PS_OK && totals.dropped != dropped_before)
		outcome_set(keeping->outcome, OUTCOME_UNFORESEEN,
		            "%s: no longer in the spool: either delivered, or dropped by somebody", keeping->id);
	else if (err == PS_OK)
		keeping->outcome->code = OUTCOME_DONE;
	return err == PS_OK;
}

static void wait_for_delivery(struct keeping *keeping, uint64_t dropped_before)
{
	const uint64_t until_ms = clock_now_ms() + keeping->config->wait_ms;

	while (!look(keeping, dropped_before) && clock_now_ms() < until_ms)
		(void)poll(NULL, 0, LOOK_MS);
}

static void keep(struct keeping *keeping)
{
	const char *path = keeping->config->config->spool.path;
	char escaped[TEXT_QUOTED_MAX];
	struct spool_totals before = { 0 };
	struct ps_cause cause;
	const enum ps_err err = spool_totals(keeping->spool, &before, &cause);

	if (err != PS_OK) {
		outcome_set(keeping->outcome, command_code(err), "%s", cause.text);
		return;
	}
	if (!take_in(keeping) || !put(keeping))
		return;
	const bool woken = serving_wake(path);
	outcome_set(keeping->outcome, OUTCOME_KEPT, "%s: kept in the spool, to be delivered later", keeping->id);
	printf("%s\n", keeping->id);
	(void)fflush(stdout);
	if (keeping->config->verbose)
		fprintf(stderr, "%s: %" PRIu64 " bytes are kept in %s; %s\n", PROGRAM, keeping->stage.len,
		        text_escaped(escaped, path), woken ? "portseal-sender run has been woken" : "nobody delivers just now");
	if (keeping->config->wait_ms > 0)
		wait_for_delivery(keeping, before.dropped);
}

void send_spool(const struct send_spool_config *config, struct outcome *outcome)
{
	struct keeping keeping = { .config = config, .outcome = outcome };
	const struct spool_settings *settings = &config->config->spool;
	struct ps_cause cause;

	if (config->config->service == NULL) {
		outcome_set(outcome, OUTCOME_USAGE, "no service given: a message in the spool needs --service NAME");
		return;
	}
	const enum ps_err err = spool_open(settings->path, &keeping.spool, &cause);
	if (err != PS_OK) {
		outcome_set(outcome, command_code(err), "%s", cause.text);
		return;
	}
	spool_stage_init(&keeping.stage, settings->path, settings->max_message);
	keep(&keeping);
	spool_stage_clear(&keeping.stage);
	spool_close(keeping.spool);
}
