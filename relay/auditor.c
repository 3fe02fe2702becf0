/* SPDX-License-Identifier: Apache-2.0 */
#include "auditor.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "audit_memory.h"
#include "auditor_client.h"
#include "portseal/audit_file.h"
#include "portseal/channel.h"
#include "portseal/credentials.h"
#include "portseal/log.h"
#include "relay.h"

#define TICK_MS 100
#define RETRY_MS 1000
#define SYNC_MS 1000
#define HEAD_LINES 1000 /* so many are signed without waiting for audit.sign_every */
#define EXIT_CONFIG 3
#define EXIT_UNFORESEEN 1

struct auditor {
	const struct role_env *env;
	struct relay *relay;
	uv_loop_t loop;
	struct credentials *credentials;
	struct audit_file *file;
	struct auditor_clients *clients;
	uv_poll_t control;
	uv_check_t turn_end;
	uv_timer_t tick;
	bool in_batch;  /* records came in this turn */
	bool is_ending; /* nobody new will come: when the last has gone, so do we */
	struct audit_report report;
	uint64_t tried_ms; /* while it fails: when it was tried last */
	uint64_t synced_ms;
	uint64_t signed_ms; /* or when the first line after a head was written */
};

static void publish(struct auditor *auditor, const struct audit_file_state *state)
{
	auditor->report.past = state->past;
	auditor->report.unsigned_lines = state->unsigned_lines;
	if (state->head_seq != 0) {
		auditor->report.head_seq = state->head_seq;
		memcpy(auditor->report.head, state->head, sizeof(auditor->report.head));
	}
	audit_memory_store(auditor->relay->audit_memory, &auditor->report);
}

static void lose(struct auditor *auditor, uint64_t n, const char *why)
{
	audit_file_lose(auditor->file, n, why);
	auditor->report.lost_in_all += n;
}

/* Said once for each episode, with its cause. */
static void note_failure(struct auditor *auditor, const struct ps_cause *cause)
{
	const char *what = auditor->relay->config->audit.on_failure == AUDIT_REFUSE ? "whoever comes is refused"
	                                                                            : "what comes is not on record";
	struct text text;

	auditor->tried_ms = uv_now(&auditor->loop);
	if (auditor->report.failing_since == 0) {
		auditor->report.failing_since = (int64_t)time(NULL);
		log_event(LOG_ERROR, "audit-failing", "%s: %s until it can be written", cause->text, what);
	}
	text_init(&text, auditor->report.cause, sizeof(auditor->report.cause));
	text_add(&text, cause->text);
}

static void note_success(struct auditor *auditor, uint64_t lost)
{
	if (auditor->report.failing_since == 0)
		return;
	auditor->report.failing_since = 0;
	log_event(LOG_INFO, "audit-recovered", "the audit trail is written again; %" PRIu64 " records are missing", lost);
}

/* Writes what is there to write. False: it could not; `cause` says why. */
static bool commit(struct auditor *auditor, struct ps_cause *cause)
{
	struct audit_file_state before;
	struct audit_file_state after;
	bool was_signed;

	audit_file_state(auditor->file, &before);
	if (audit_file_commit(auditor->file, cause) == PS_OK) {
		note_success(auditor, before.lost);
	} else {
		note_failure(auditor, cause);
		audit_file_state(auditor->file, &after);
		auditor->report.lost_in_all += after.lost - before.lost;
	}
	audit_file_state(auditor->file, &after);
	was_signed = before.unsigned_lines == 0 || after.head_seq != before.head_seq;
	if (was_signed)
		auditor->signed_ms = uv_now(&auditor->loop);
	publish(auditor, &after);
	return auditor->report.failing_since == 0;
}

static void log_head(const struct audit_file_state *state, const char *why)
{
	char hex[2 * AUDIT_HASH_LEN + 1];
	struct log_line line;
	struct text text;

	text_init(&text, hex, sizeof(hex));
	text_add_hex(&text, state->head, sizeof(state->head));
	log_begin(&line, LOG_INFO, 0, "audit-head");
	log_number(&line, "seq", state->head_seq);
	log_word(&line, "chain", hex);
	log_word(&line, "why", why);
	log_end(&line);
}

/* A head is on the disk before it is told. */
static void sign(struct auditor *auditor, const char *why)
{
	struct audit_file_state state;
	struct ps_cause cause;

	audit_file_state(auditor->file, &state);
	if (state.unsigned_lines == 0)
		return;
	if (audit_file_add_head(auditor->file, why) != PS_OK) {
		ps_cause_set(&cause, PS_E_BUG, "the head could not be signed");
		note_failure(auditor, &cause);
	} else if (commit(auditor, &cause) && audit_file_sync(auditor->file, &cause) == PS_OK) {
		audit_file_state(auditor->file, &state);
		log_head(&state, why);
	}
}

/* Another file at the path, or none: the last head of the old one was signed, the next one is opened. */
static void follow(struct auditor *auditor)
{
	struct audit_file_state before;
	struct audit_file_state after;
	struct ps_cause cause;

	audit_file_state(auditor->file, &before);
	if (!audit_file_follow(auditor->file))
		return;
	audit_file_state(auditor->file, &after);
	publish(auditor, &after);
	if (after.head_seq != before.head_seq)
		log_head(&after, "rotation");
	log_event(LOG_INFO, "audit-rotated", "%s was moved or changed: going on in a new one",
	          auditor->relay->config->audit.file);
	(void)commit(auditor, &cause);
}

static void begin_batch(struct auditor *auditor)
{
	if (!auditor->in_batch)
		follow(auditor);
	auditor->in_batch = true;
}

static void on_record(void *owner, const struct audit_record *record)
{
	struct auditor *auditor = owner;

	begin_batch(auditor);
	/* What cannot be added fails the whole batch. */
	if (audit_file_add(auditor->file, &record->entry) != PS_OK)
		return;
}

static void on_lost(void *owner, uint64_t n, const char *why)
{
	struct auditor *auditor = owner;

	begin_batch(auditor);
	lose(auditor, n, why);
}

static void on_turn_end(uv_check_t *check)
{
	struct auditor *auditor = check->data;
	struct audit_file_state state;
	struct ps_cause cause;
	bool written;

	if (!auditor->in_batch)
		return;
	auditor->in_batch = false;
	written = commit(auditor, &cause);
	auditor_clients_answer(auditor->clients, written ? NULL : cause.text);
	audit_file_state(auditor->file, &state);
	if (written && state.unsigned_lines >= HEAD_LINES)
		sign(auditor, "lines");
}

static void finish(struct auditor *auditor, const char *why)
{
	on_turn_end(&auditor->turn_end);
	follow(auditor);
	sign(auditor, why);
	uv_stop(&auditor->loop);
}

static void sync_now(struct auditor *auditor)
{
	struct ps_cause cause;

	auditor->synced_ms = uv_now(&auditor->loop);
	if (audit_file_sync(auditor->file, &cause) != PS_OK)
		note_failure(auditor, &cause);
}

static void on_tick(uv_timer_t *timer)
{
	struct auditor *auditor = timer->data;
	uint64_t now = uv_now(&auditor->loop);
	struct audit_file_state state;
	struct ps_cause cause;

	auditor_clients_retry(auditor->clients);
	follow(auditor);
	audit_file_state(auditor->file, &state);
	if (auditor->report.failing_since != 0 ? now - auditor->tried_ms >= RETRY_MS : state.lost > 0)
		(void)commit(auditor, &cause);
	if (state.unsigned_lines > 0 && auditor->report.failing_since == 0 &&
	    now - auditor->signed_ms >= auditor->relay->config->audit.sign_every_ms)
		sign(auditor, "interval");
	else if (state.unsynced && now - auditor->synced_ms >= SYNC_MS)
		sync_now(auditor);
	if (auditor->is_ending && auditor_clients_count(auditor->clients) == 0)
		finish(auditor, "stop");
}

static void take_control(struct auditor *auditor, uint32_t type, const uint8_t *body, size_t body_len, int fd)
{
	uint64_t number = 0;

	if (body_len == sizeof(number))
		memcpy(&number, body, sizeof(number));
	if (type == ROLE_CLIENT && fd >= 0) {
		auditor_clients_add(auditor->clients, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (type == ROLE_LOST)
		lose(auditor, number, "a worker died: its connections have no closed line");
	else if (type == ROLE_DRAIN)
		auditor->is_ending = true;
	else if (type == ROLE_RETIRE)
		finish(auditor, "reload");
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct auditor *auditor = poll->data;
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint32_t type;
	size_t body_len;
	enum ps_err err;
	int fd;

	(void)status;
	(void)events;
	while ((err = channel_receive(auditor->env->control, &type, body, &body_len, &fd)) == PS_OK)
		take_control(auditor, type, body, body_len, fd);
	if (err == PS_E_CLOSED) {
		/* The supervisor is gone: the others drain, and we end after them. */
		uv_poll_stop(poll);
		auditor->is_ending = true;
	}
}

static enum ps_err load(struct auditor *auditor, struct ps_cause *cause)
{
	const struct relay_config *config = auditor->relay->config;
	struct audit_file_config file = { .path = config->audit.file,
		                              .sync_always = config->audit.sync == AUDIT_SYNC_ALWAYS };
	const struct auditor_clients_config clients = { .loop = &auditor->loop,
		                                            .policy = config->audit.on_failure,
		                                            .on_record = on_record,
		                                            .on_lost = on_lost,
		                                            .owner = auditor };
	enum ps_err err =
		credentials_load(config->tls.certificate, config->tls.key, PURPOSE_SERVER, &auditor->credentials, cause);

	if (err != PS_OK)
		return err;
	audit_memory_load(auditor->relay->audit_memory, &auditor->report);
	file.credentials = auditor->credentials;
	file.past = auditor->report.past;
	err = audit_file_new(&file, &auditor->file);
	if (err == PS_OK)
		err = auditor_clients_new(&clients, &auditor->clients);
	if (err != PS_OK)
		return ps_cause_set(cause, err, "out of memory");
	/* A file that is no trail, or cannot be made, is the operator's to mend. One that is full may recover. */
	err = audit_file_open(auditor->file, cause);
	return err == PS_OK ? PS_OK : ps_cause_prefix(cause, err, "audit.file");
}

static void tell_torn(struct auditor *auditor)
{
	struct audit_file_state state;

	audit_file_state(auditor->file, &state);
	if (state.torn_bytes > 0)
		log_event(LOG_WARN, "audit-torn", "%s: a last line without its end (%" PRIu64 " bytes) was set aside",
		          auditor->relay->config->audit.file, state.torn_bytes);
}

static bool start(struct auditor *auditor)
{
	struct ps_cause cause;

	if (uv_poll_init(&auditor->loop, &auditor->control, auditor->env->control) != 0)
		return false;
	uv_check_init(&auditor->loop, &auditor->turn_end);
	uv_timer_init(&auditor->loop, &auditor->tick);
	auditor->control.data = auditor->turn_end.data = auditor->tick.data = auditor;
	tell_torn(auditor);
	(void)commit(auditor, &cause);
	return uv_poll_start(&auditor->control, UV_READABLE, on_control) == 0 &&
	       uv_check_start(&auditor->turn_end, on_turn_end) == 0 &&
	       uv_timer_start(&auditor->tick, on_tick, TICK_MS, TICK_MS) == 0;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void end(struct auditor *auditor)
{
	auditor_clients_close(auditor->clients);
	uv_walk(&auditor->loop, close_handle, NULL);
	uv_run(&auditor->loop, UV_RUN_DEFAULT);
	uv_loop_close(&auditor->loop);
	auditor_clients_free(auditor->clients);
	audit_file_free(auditor->file);
	credentials_free(auditor->credentials);
}

static int say_fatal(const struct auditor *auditor, const struct ps_cause *cause)
{
	if (channel_send(auditor->env->control, ROLE_FATAL, cause->text, strlen(cause->text), -1) != PS_OK)
		log_event(LOG_ERROR, "role-failed", "auditor: %s", cause->text);
	return EXIT_CONFIG;
}

int auditor_run(const struct role_env *env)
{
	struct auditor *auditor = calloc(1, sizeof(*auditor));
	struct rlimit none = { 0, 0 };
	struct ps_cause cause = { "out of memory" };
	int exit_code = 0;

	if (auditor == NULL || uv_loop_init(&auditor->loop) != 0) {
		free(auditor);
		return EXIT_UNFORESEEN;
	}
	auditor->env = env;
	auditor->relay = env->daemon;
	log_setup(auditor->relay->config->log.level, auditor->relay->config->log.format, STDERR_FILENO);
	relay_close_sockets(auditor->relay);
	relay_keep_own_sockets(auditor->relay);
	setrlimit(RLIMIT_CORE, &none);  /* a dump would hold the private key */
	(void)signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is a full disk, and not our end */
	if (load(auditor, &cause) != PS_OK)
		exit_code = say_fatal(auditor, &cause);
	else if (start(auditor) && channel_send(env->control, ROLE_READY, NULL, 0, -1) == PS_OK)
		uv_run(&auditor->loop, UV_RUN_DEFAULT);
	end(auditor);
	free(auditor);
	return exit_code;
}
