/* SPDX-License-Identifier: Apache-2.0 */
#include "reload.h"

#include <stdio.h>
#include <string.h>

#include "portseal/clock.h"
#include "portseal/log.h"

#define TRIAL_MS 30000
#define LOOK_MS 1000

static uint64_t look_at_files(const struct reload *reload)
{
	return reload->config->fingerprint == NULL ? 0 : reload->config->fingerprint(reload->daemon);
}

void reload_init(struct reload *reload, const struct supervisor_config *config, struct children *children)
{
	*reload = (struct reload){ .config = config, .children = children, .daemon = config->daemon, .generation = 1 };
	reload->since = time(NULL);
	reload->fingerprint = reload->seen = look_at_files(reload);
	reload->look_ms = clock_now_ms() + LOOK_MS;
}

static void note_failure(struct reload *reload, const char *why)
{
	snprintf(reload->failure.text, sizeof(reload->failure.text), "%s", why);
	log_event(LOG_ERROR, "reload-failed", "generation %u stays in force: %s", reload->generation, why);
}

void reload_begin(struct reload *reload)
{
	struct ps_cause cause = { "" };

	if (reload->config->prepare == NULL) {
		log_event(LOG_WARN, "reload-ignored", "this daemon reads its configuration only at start");
		return;
	}
	if (reload->on_trial) {
		reload->again = true;
		return;
	}
	reload->tried = time(NULL);
	/* As they are now: what changes while they are read is a change still to come. */
	reload->fingerprint = reload->seen = look_at_files(reload);
	if (reload->config->prepare(reload->daemon, &reload->next, &cause) != PS_OK) {
		note_failure(reload, cause.text);
		return;
	}
	if (children_add_trial(reload->children, reload->generation + 1, reload->next) != PS_OK) {
		reload->config->abandon(reload->next);
		note_failure(reload, "too many gatekeepers of earlier generations still finish their handshakes");
		return;
	}
	reload->on_trial = true;
	reload->trial_end_ms = clock_now_ms() + (reload->config->trial_ms > 0 ? reload->config->trial_ms : TRIAL_MS);
}

static void end_trial(struct reload *reload)
{
	reload->on_trial = false;
	reload->next = NULL;
}

void reload_fail(struct reload *reload, const char *why)
{
	if (!reload->on_trial)
		return;
	children_drop_trial(reload->children);
	reload->config->abandon(reload->next);
	end_trial(reload);
	note_failure(reload, why);
}

/* The next generation may be the first that is watched, or the first that is not. */
static void begin_or_end_watch(struct reload *reload)
{
	uint64_t fingerprint = look_at_files(reload);

	if ((fingerprint == 0) != (reload->fingerprint == 0))
		reload->fingerprint = reload->seen = fingerprint;
}

static void commit(struct reload *reload)
{
	void *old = reload->daemon;
	struct log_line line;

	children_promote_trial(reload->children, reload->next);
	reload->daemon = reload->next;
	reload->generation++;
	reload->since = time(NULL);
	reload->failure.text[0] = '\0';
	end_trial(reload);
	reload->config->commit(old, reload->daemon);
	children_tell_generation(reload->children, reload->generation);
	begin_or_end_watch(reload);
	log_begin(&line, LOG_INFO, 0, "reloaded");
	log_number(&line, "generation", reload->generation);
	log_end(&line);
}

/* A change counts once it has been the same for two looks: files are written one after the other. */
static void watch_files(struct reload *reload)
{
	uint64_t now = clock_now_ms();
	uint64_t seen;

	if (now < reload->look_ms)
		return;
	reload->look_ms = now + LOOK_MS;
	seen = look_at_files(reload);
	if (seen != reload->fingerprint && seen == reload->seen && !reload->on_trial) {
		log_event(LOG_INFO, "files-changed", "reloading");
		reload_begin(reload);
	}
	reload->seen = seen;
}

void reload_remember(struct reload *reload)
{
	reload->again = true;
}

void reload_go_on(struct reload *reload)
{
	if (reload->on_trial && children_trial_ready(reload->children))
		commit(reload);
	else if (reload->on_trial && clock_now_ms() >= reload->trial_end_ms)
		reload_fail(reload, "its gatekeepers were not ready in time");
	if (!reload->on_trial && reload->again) {
		reload->again = false;
		reload_begin(reload);
	}
	children_end_overdue(reload->children);
	if (reload->fingerprint != 0)
		watch_files(reload);
}

uint64_t reload_next_ms(const struct reload *reload)
{
	uint64_t next_ms = children_next_overdue_ms(reload->children);

	if (reload->on_trial && reload->trial_end_ms < next_ms)
		next_ms = reload->trial_end_ms;
	if (reload->fingerprint != 0 && reload->look_ms < next_ms)
		next_ms = reload->look_ms;
	return next_ms;
}

void reload_stop(struct reload *reload)
{
	reload->again = false;
	if (!reload->on_trial)
		return;
	children_drop_trial(reload->children);
	reload->config->abandon(reload->next);
	end_trial(reload);
}
