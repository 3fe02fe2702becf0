/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/run.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#include "portseal/aead.h"
#include "portseal/clock.h"
#include "portseal/handshake.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "spool/carrier.h"
#include "spool/command.h"
#include "spool/courier.h"
#include "spool/run_log.h"
#include "spool/serving.h"
#include "spool/spool_take.h"
#include "spool/terms.h"
#include "usage.h"

#define PATIENCE_MS 2000 /* for the spool's lock; what waits in the network waits with us */
#define WATCH_MS 1000
#define N_SIGNALS 3

enum run_state {
	RUN_SERVING,
	RUN_DRAINING, /* no more messages are begun; those under way may end */
	RUN_CUTTING,  /* the time to drain is over: they were cut, and what became of them is written */
	RUN_CLOSING,  /* all is written; the connections close */
	RUN_OVER,     /* handles are closing */
};

struct run {
	struct config_options options;
	struct terms *terms;
	struct spool *spool;
	struct serving serving;
	struct courier *courier;
	struct carrier *carrier;
	enum run_state state;
	bool cut;
	bool troubled; /* the spool's last error is in the log */
	uv_loop_t loop;
	uv_timer_t turn;
	uv_timer_t deadline;
	uv_timer_t watch;      /* of the files */
	uint64_t loaded, seen; /* their fingerprints: when they were loaded, and when last looked at */
	uv_poll_t wake;
	uv_signal_t signals[N_SIGNALS];
};

static const char *const exit_codes =
	"TERM and INT end it: what is under way is finished within timeouts.drain; a second one ends it at once. HUP loads\n"
	"configuration, certificate, key and authority anew.\n"
	"\n"
	"Exit codes:\n"
	"  0  ended, and nothing was cut\n"
	"  1  ended, and something was cut: it stays in the spool\n"
	"  2  usage\n"
	"  3  configuration, our own certificate or key, or a spool that cannot be used\n"
	"  8  no space is left for the spool\n";

static const struct sender_config *config_of(const struct run *run)
{
	return run->terms->config;
}

static void end(struct run *run)
{
	run->state = RUN_OVER;
	uv_close((uv_handle_t *)&run->turn, NULL);
	uv_close((uv_handle_t *)&run->deadline, NULL);
	uv_close((uv_handle_t *)&run->watch, NULL);
	if (run->serving.wake_fd >= 0)
		uv_close((uv_handle_t *)&run->wake, NULL);
	for (int i = 0; i < N_SIGNALS; i++)
		uv_close((uv_handle_t *)&run->signals[i], NULL);
}

static void on_empty(void *owner)
{
	struct run *run = owner;

	if (run->state == RUN_CLOSING)
		end(run);
}

static void tell_trouble(struct run *run, enum ps_err err, const struct ps_cause *cause)
{
	if (err == PS_OK && run->troubled)
		log_event(LOG_INFO, "spool-mended", "the spool can be used again");
	else if (err != PS_OK && !run->troubled)
		log_event(LOG_ERROR, "spool-failed", "%s", cause->text);
	run->troubled = err != PS_OK;
}

/* When nothing moves, disk space that is no longer needed is given back. */
static void shrink_when_idle(struct run *run)
{
	struct ps_cause cause;

	if (courier_n_flying(run->courier) == 0 && spool_shrink(run->spool, &cause) != PS_OK)
		log_event(LOG_DEBUG, "spool-not-shrunk", "%s", cause.text);
}

static void close_when_done(struct run *run)
{
	if (run->state != RUN_DRAINING && run->state != RUN_CUTTING)
		return;
	if (courier_n_flying(run->courier) > 0 || courier_n_landed(run->courier) > 0)
		return;
	run->state = RUN_CLOSING;
	carrier_close(run->carrier);
}

static void on_turn(uv_timer_t *timer)
{
	struct run *run = timer->data;
	const struct courier_time now = { .steady_ms = clock_now_ms(), .wall_ms = clock_wall_ms() };
	struct ps_cause cause;
	uint64_t next_ms;
	const enum ps_err err = courier_turn(run->courier, &now, &next_ms, &cause);

	tell_trouble(run, err, &cause);
	if (err == PS_OK && next_ms == COURIER_LOOK_MS)
		shrink_when_idle(run);
	close_when_done(run);
	if (run->state != RUN_OVER && !uv_is_active((const uv_handle_t *)&run->turn))
		uv_timer_start(&run->turn, on_turn, next_ms, 0);
}

static void turn_soon(struct run *run)
{
	if (run->state != RUN_OVER)
		uv_timer_start(&run->turn, on_turn, 0, 0);
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
	struct run *run = poll->data;

	(void)status;
	(void)events;
	serving_hear(&run->serving);
	turn_soon(run);
}

static void on_landed(void *owner)
{
	turn_soon(owner);
}

static void on_post(void *owner, struct courier_task *task)
{
	struct run *run = owner;

	carrier_post(run->carrier, task);
}

static void on_settled(void *owner, const struct courier_task *task, uint64_t took_ms)
{
	(void)owner;
	run_log_settled(task, took_ms);
}

static void on_expired(void *owner, const struct spool_message *message)
{
	(void)owner;
	run_log_expired(message);
}

static uint64_t on_random(void *owner)
{
	uint64_t random = 0;

	(void)owner;
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = uv_hrtime();
	return random;
}

static void on_deadline(uv_timer_t *timer)
{
	struct run *run = timer->data;

	if (run->state == RUN_CUTTING || run->state == RUN_CLOSING) {
		/* What cannot be written even now is under way for whoever comes next: tried again, with the same key. */
		_exit(OUTCOME_UNFORESEEN);
	}
	run->state = RUN_CUTTING;
	run->cut = courier_n_flying(run->courier) > 0;
	log_event(LOG_WARN, "drain-timeout", "%zu messages are cut; they stay in the spool",
	          courier_n_flying(run->courier));
	uv_timer_start(&run->deadline, on_deadline, PATIENCE_MS, 0);
	carrier_abort(run->carrier);
	turn_soon(run);
}

static void drain(struct run *run)
{
	if (run->state != RUN_SERVING) {
		log_event(LOG_WARN, "killed", "a second signal: what is under way stays in the spool");
		_exit(OUTCOME_UNFORESEEN);
	}
	run->state = RUN_DRAINING;
	log_event(LOG_INFO, "draining", "%zu messages are under way", courier_n_flying(run->courier));
	courier_drain(run->courier);
	uv_timer_start(&run->deadline, on_deadline, config_of(run)->timeouts.drain_ms, 0);
	turn_soon(run);
}

static void reload(struct run *run)
{
	struct terms *terms = NULL;
	struct outcome outcome;

	if (terms_load(&run->options, &terms, &outcome) == PS_OK &&
	    strcmp(terms->config->spool.path, spool_path(run->spool)) != 0) {
		terms_free(terms);
		terms = NULL;
		outcome_set(&outcome, OUTCOME_OWN_SETUP, "spool.path has changed: that needs a restart");
	}
	if (terms == NULL) {
		log_event(LOG_ERROR, "reload-failed", "%s", outcome.cause.text);
		return;
	}
	const struct sender_config *config = terms->config;
	courier_use_settings(run->courier, &config->spool);
	carrier_use_terms(run->carrier, terms);
	terms_free(run->terms);
	run->terms = terms;
	log_setup(config->log.level, config->log.format, STDERR_FILENO);
	run->loaded = terms_fingerprint(terms);
	log_event(LOG_INFO, "reloaded", "the next connection is made by the new configuration");
	turn_soon(run);
}

/* A file has changed, and has stayed the same since the last look. */
static void on_watch(uv_timer_t *timer)
{
	struct run *run = timer->data;
	const uint64_t now = terms_fingerprint(run->terms);

	if (run->state == RUN_SERVING && now != 0 && now != run->loaded && now == run->seen) {
		log_event(LOG_INFO, "files-changed", "reloading");
		reload(run);
		run->loaded = now; /* if it failed, too: until they change again */
	}
	if (run->loaded == 0)
		run->loaded = now;
	run->seen = now;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct run *run = handle->data;

	if (number != SIGHUP)
		drain(run);
	else if (run->state == RUN_SERVING)
		reload(run);
}

static void start_handles(struct run *run)
{
	static const int numbers[N_SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

	(void)uv_timer_init(&run->loop, &run->turn);
	(void)uv_timer_init(&run->loop, &run->deadline);
	(void)uv_timer_init(&run->loop, &run->watch);
	run->turn.data = run->deadline.data = run->watch.data = run;
	run->loaded = run->seen = terms_fingerprint(run->terms);
	(void)uv_timer_start(&run->watch, on_watch, WATCH_MS, WATCH_MS);
	for (int i = 0; i < N_SIGNALS; i++) {
		(void)uv_signal_init(&run->loop, &run->signals[i]);
		run->signals[i].data = run;
		(void)uv_signal_start(&run->signals[i], on_signal, numbers[i]);
	}
	if (run->serving.wake_fd < 0)
		return;
	if (uv_poll_init(&run->loop, &run->wake, run->serving.wake_fd) != 0) {
		serving_end_wake(&run->serving);
		return;
	}
	run->wake.data = run;
	(void)uv_poll_start(&run->wake, UV_READABLE, on_wake);
}

static enum ps_err make_parts(struct run *run, struct ps_cause *cause)
{
	const struct courier_config couriering = {
		.spool = run->spool,
		.settings = &config_of(run)->spool,
		.post = on_post,
		.on_settled = on_settled,
		.on_expired = on_expired,
		.random = on_random,
		.owner = run,
	};
	const struct carrier_config carrying = {
		.loop = &run->loop,
		.spool = run->spool,
		.terms = run->terms,
		.on_landed = on_landed,
		.on_empty = on_empty,
		.owner = run,
	};
	enum ps_err err = courier_new(&couriering, &run->courier);

	if (err == PS_OK)
		err = carrier_new(&carrying, &run->carrier);
	return err == PS_OK ? PS_OK : ps_cause_set(cause, err, "out of memory");
}

/* One process at a time; what the one before left under way is nobody's now. */
static enum ps_err take_over(struct run *run, uint64_t *reclaimed, struct ps_cause *cause)
{
	const char *path = config_of(run)->spool.path;
	enum ps_err err = spool_open(path, &run->spool, cause);

	if (err == PS_OK)
		err = serving_begin(path, &run->serving, cause);
	if (err == PS_E_AGAIN)
		err = PS_E_CONFIG;
	if (err == PS_OK)
		err = spool_check(run->spool, cause);
	if (err == PS_OK)
		err = spool_reclaim(run->spool, clock_wall_ms(), reclaimed, cause);
	if (err == PS_OK)
		spool_set_patience(run->spool, PATIENCE_MS);
	return err;
}

static void log_started(const struct run *run, uint64_t reclaimed)
{
	const struct sender_config *config = config_of(run);
	struct spool_totals totals = { 0 };
	char relay[ADDRESS_TEXT_MAX];
	struct ps_cause cause;
	struct log_line line;

	(void)!spool_totals(run->spool, &totals, &cause);
	address_print(&config_relay(config)->address, relay);
	log_begin(&line, LOG_INFO, 0, "started");
	log_word(&line, "version", PS_VERSION);
	log_word(&line, "mbedtls", handshake_library_version());
	log_word(&line, "aead", aead_provider()->label());
	log_word(&line, "relay", relay);
	log_text(&line, "spool", spool_path(run->spool));
	log_number(&line, "messages", totals.messages);
	log_number(&line, "uncertain", reclaimed);
	log_end(&line);
}

static int serve(struct run *run)
{
	struct outcome outcome;
	struct ps_cause cause;
	uint64_t reclaimed = 0;
	enum ps_err err = take_over(run, &reclaimed, &cause);

	if (err == PS_OK)
		err = make_parts(run, &cause);
	if (err != PS_OK) {
		outcome_set(&outcome, command_code(err), "%s", cause.text);
		usage_print_failure(&outcome);
		return (int)outcome.code;
	}
	start_handles(run);
	log_started(run, reclaimed);
	turn_soon(run);
	(void)uv_run(&run->loop, UV_RUN_DEFAULT);
	log_event(LOG_INFO, "ended", "%s", run->cut ? "some messages were cut; they stay in the spool" : "nothing was cut");
	return run->cut ? OUTCOME_UNFORESEEN : OUTCOME_DONE;
}

static int run_with(const struct config_options *options, const char *aead_warning)
{
	struct run run = { .options = *options, .serving = { .lock_fd = -1, .wake_fd = -1 } };
	struct outcome outcome;

	if (terms_load(options, &run.terms, &outcome) != PS_OK) {
		usage_print_failure(&outcome);
		return (int)outcome.code;
	}
	log_setup(config_of(&run)->log.level, config_of(&run)->log.format, STDERR_FILENO);
	if (aead_warning[0] != '\0')
		log_event(LOG_WARN, "aead-fallback", "%s: going on with %s", aead_warning, aead_provider()->label());
	if (handshake_library_is_old())
		log_event(LOG_WARN, "old-library", "mbedTLS %s has known holes that a relay could use: install 3.6.6 or newer",
		          handshake_library_version());
	(void)net_raise_nofile();
	(void)signal(SIGPIPE, SIG_IGN);
	if (uv_loop_init(&run.loop) != 0) {
		terms_free(run.terms);
		return OUTCOME_UNFORESEEN;
	}
	const int code = serve(&run);
	(void)uv_loop_close(&run.loop);
	carrier_free(run.carrier);
	courier_free(run.courier);
	serving_end(&run.serving);
	spool_close(run.spool);
	terms_free(run.terms);
	return code;
}

int run_main(int argc, char *const *argv)
{
	struct config_options options = { 0 };
	const char *help = NULL;
	const struct args_option table[] = {
		USAGE_RELAY_ROWS(&options),
		{ "help", 'h', NULL, "this text", &help, NULL },
		{ NULL, 0, NULL, NULL, NULL, NULL },
	};
	struct ps_cause cause;

	if (args_parse(table, argc, argv, NULL, &cause) != PS_OK)
		return usage_error("run: ", &cause);
	if (help != NULL) {
		usage_print("run -c FILE", "Delivers the messages that send --spool keeps in the spool.", table, exit_codes);
		return OUTCOME_DONE;
	}
	const enum outcome_code code = usage_select_aead("run: ", options.aead, &cause);
	if (code != OUTCOME_DONE)
		return (int)code;
	return run_with(&options, cause.text);
}
