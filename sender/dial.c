/* SPDX-License-Identifier: Apache-2.0 */
#include "dial.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dial_setup.h"
#include "portseal/buf.h"
#include "portseal/clock.h"
#include "portseal/connector.h"
#include "portseal/handshake.h"
#include "portseal/judge.h"
#include "portseal/record.h"
#include "portseal/tls_stream.h"

#define LISTEN_BYTES 65536 /* read at most from a peer that did not confirm the service */
#define LISTEN_SPANS 8
#define DISCARD_BYTES 65536

enum dial_state {
	DIAL_CONNECTING, /* connector works */
	DIAL_SHAKING,    /* the handshake, within its deadline */
	DIAL_LISTENING,  /* the service was not confirmed: does the peer say why? */
	DIAL_OVER,       /* called back or cancelled; the handles are closing */
};

struct dial {
	struct dial_config config;
	const struct sender_relay *relay;
	char relay_text[ADDRESS_TEXT_MAX];
	enum dial_state state;
	uv_timer_t timer;
	uv_poll_t poll;
	bool has_poll;
	int open_handles;
	struct connector *connector;
	int fd; /* -1: none, or handed over */
	struct handshake *handshake;
	struct tls_stream *stream; /* while listening */
	struct buf wire;
	size_t heard; /* bytes read while listening */
	uint64_t shaking_since_ms;
	char offer[DIAL_OFFER_TEXT_MAX];
	struct verdict verdict;
	struct dial_result result;
};

static struct outcome_names names_of(const struct dial *dial)
{
	return (struct outcome_names){
		.relay = dial->relay_text,
		.server_name = dial->relay->server_name,
		.service = dial->config.service,
	};
}

static void on_closed(uv_handle_t *handle)
{
	struct dial *dial = handle->data;

	if (--dial->open_handles > 0)
		return;
	ps_wipe(dial, sizeof(*dial));
	free(dial);
}

/* An alert of ours may be under way: what came in and was not read would make close() a reset that overtakes it. */
static void close_heard_out(int fd)
{
	uint8_t discarded[4096];
	size_t total = 0;
	ssize_t n;

	(void)shutdown(fd, SHUT_WR);
	while (total < DISCARD_BYTES && (n = recv(fd, discarded, sizeof(discarded), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	close(fd);
}

/* Lets go of everything; the memory follows when libuv is done with the handles. */
static void wind_up(struct dial *dial)
{
	dial->state = DIAL_OVER;
	if (dial->has_poll)
		uv_close((uv_handle_t *)&dial->poll, on_closed);
	uv_close((uv_handle_t *)&dial->timer, on_closed);
	connector_cancel(dial->connector);
	dial->connector = NULL;
	handshake_free(dial->handshake);
	dial->handshake = NULL;
	tls_stream_free(dial->stream);
	dial->stream = NULL;
	buf_release(&dial->wire);
	if (dial->fd >= 0)
		close_heard_out(dial->fd);
	dial->fd = -1;
}

/* The outcome is set. */
static void finish(struct dial *dial)
{
	struct dial_result result = dial->result;

	result.fd = -1;
	if (result.outcome.code == OUTCOME_DONE) {
		result.fd = dial->fd;
		dial->fd = -1;
	}
	wind_up(dial);
	dial->config.on_done(dial->config.owner, &result);
	ps_wipe(&result, sizeof(result));
}

static void finish_unconfirmed(struct dial *dial)
{
	const struct outcome_names names = names_of(dial);

	if (dial->config.offer == DIAL_OFFER_H2)
		outcome_of_no_h2(&dial->result.outcome, &names);
	else
		outcome_of_unconfirmed(&dial->result.outcome, &names);
	finish(dial);
}

static void fail_here(struct dial *dial, enum ps_err err, const char *what)
{
	outcome_set(&dial->result.outcome, OUTCOME_UNFORESEEN, "%s: %s: %s", dial->relay_text, what, ps_err_text(err));
	finish(dial);
}

static void on_heard(uv_poll_t *poll, int status, int events)
{
	struct dial *dial = poll->data;
	const struct outcome_names names = names_of(dial);
	struct iovec spans[LISTEN_SPANS];
	struct tls_opened opened = { .more = true };
	struct buf reply = BUF_INIT;
	enum ps_err err = PS_OK;

	(void)status;
	(void)events;
	if (buf_reserve(&dial->wire, RECORD_MAX_CIPHERTEXT) != PS_OK) {
		finish_unconfirmed(dial);
		return;
	}
	const ssize_t n = recv(dial->fd, dial->wire.data + dial->wire.end, buf_room(&dial->wire), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		dial->wire.end += (size_t)n;
		dial->heard += (size_t)n;
	}
	while (err == PS_OK && opened.more) {
		err = tls_stream_open(dial->stream, buf_front(&dial->wire), buf_len(&dial->wire), spans, LISTEN_SPANS, &opened,
		                      &reply);
		buf_consume(&dial->wire, opened.consumed);
	}
	buf_release(&reply);
	if (err == PS_E_IO) {
		dial->result.alert = tls_stream_peer_alert(dial->stream);
		outcome_of_alert(&dial->result.outcome, dial->result.alert, &names);
		finish(dial);
	} else if (err != PS_OK || n <= 0 || dial->heard > LISTEN_BYTES) {
		finish_unconfirmed(dial);
	}
}

static void on_listen_timeout(uv_timer_t *timer)
{
	finish_unconfirmed(timer->data);
}

/* TLS works, but the peer may be anything: nothing may be sent to it. */
static void listen_for_reason(struct dial *dial)
{
	const enum ps_err err = tls_stream_new(TLS_CLIENT, &dial->result.secrets, &dial->stream);

	if (err != PS_OK) {
		fail_here(dial, err, "the record layer");
		return;
	}
	dial->state = DIAL_LISTENING;
	uv_timer_start(&dial->timer, on_listen_timeout, DIAL_LISTEN_MS, 0);
	uv_poll_start(&dial->poll, UV_READABLE, on_heard);
}

static bool is_confirmed(const struct dial *dial, const char *alpn)
{
	char wanted[DIAL_ALPN_MAX];

	if (dial->config.offer == DIAL_OFFER_H2)
		return false;
	if (dial->config.service == NULL)
		return true;
	dial_setup_alpn(dial->config.service, wanted);
	return alpn != NULL && strcmp(alpn, wanted) == 0;
}

static void on_shaken(struct dial *dial)
{
	const char *alpn = handshake_alpn(dial->handshake);

	handshake_secrets(dial->handshake, &dial->result.secrets);
	dial->result.shake_ms = clock_now_ms() - dial->shaking_since_ms;
	dial->result.h2 = dial->config.offer != DIAL_OFFER_TLS && alpn != NULL && strcmp(alpn, DIAL_ALPN_H2) == 0;
	if (!dial->result.h2 && !is_confirmed(dial, alpn)) {
		listen_for_reason(dial);
		return;
	}
	dial->result.outcome = (struct outcome){ .code = OUTCOME_DONE, .refusal = REFUSAL_NONE };
	finish(dial);
}

static void on_shake_failed(struct dial *dial, const struct handshake_failure *failure)
{
	const struct outcome_names names = names_of(dial);
	const bool ours = dial->verdict.refusal != REFUSAL_NONE && dial->verdict.refusal == failure->refusal;

	outcome_of_handshake(&dial->result.outcome, failure, ours ? &dial->verdict.detail : NULL, &names);
	dial->result.alert = failure->alert_received;
	dial->result.seen = ours ? dial->verdict.detail : failure->detail;
	finish(dial);
}

static void on_shakeable(uv_poll_t *poll, int status, int events);

static void shake(struct dial *dial)
{
	switch (handshake_step(dial->handshake)) {
	case HANDSHAKE_WANT_READ:
		uv_poll_start(&dial->poll, UV_READABLE, on_shakeable);
		break;
	case HANDSHAKE_WANT_WRITE:
	case HANDSHAKE_YIELD: /* writable is what the socket nearly always is: the next turn of the loop */
		uv_poll_start(&dial->poll, UV_WRITABLE, on_shakeable);
		break;
	case HANDSHAKE_DONE:
		on_shaken(dial);
		break;
	case HANDSHAKE_FAILED:
		on_shake_failed(dial, handshake_failure(dial->handshake));
		break;
	}
}

/* Errors of the socket show when the handshake reads it. */
static void on_shakeable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	shake(poll->data);
}

static void on_shake_timeout(uv_timer_t *timer)
{
	static const struct handshake_failure timed_out = {
		.refusal = REFUSAL_HANDSHAKE_TIMEOUT,
		.alert_sent = ALERT_NONE,
		.alert_received = ALERT_NONE,
	};

	on_shake_failed(timer->data, &timed_out);
}

static enum refusal on_peer(void *owner, struct mbedtls_x509_crt *chain)
{
	struct dial *dial = owner;
	const struct dial_setup *setup = dial->config.setup;
	struct identity *identity = NULL;

	judge_chain(setup->trust, PURPOSE_SERVER, chain, (int64_t)time(NULL), &dial->verdict, &identity);
	if (dial->verdict.refusal == REFUSAL_NONE)
		judge_name(identity, dial->relay->server_name, &dial->verdict);
	if (identity != NULL) {
		identity_label(identity, dial->result.relay);
		memcpy(dial->result.pin, identity->pin, sizeof(dial->result.pin));
		dial->result.not_after = identity->not_after;
	}
	identity_free(identity);
	dial->result.accepted = dial->verdict.refusal == REFUSAL_NONE;
	return dial->verdict.refusal;
}

static enum ps_err start_handshake(struct dial *dial)
{
	const struct handshake_config config = {
		.fd = dial->fd,
		.alpn = dial->offer[0] != '\0' ? dial->offer : NULL,
		.server_name = dial->relay->server_name,
		.on_peer = on_peer,
		.owner = dial,
	};

	dial->shaking_since_ms = clock_now_ms();
	if (uv_poll_init(dial->config.loop, &dial->poll, dial->fd) != 0)
		return PS_E_NOMEM;
	dial->poll.data = dial;
	dial->has_poll = true;
	dial->open_handles++;
	return handshake_new(dial->config.setup->shared, &config, &dial->handshake);
}

static void on_connected(void *owner, enum connect_result result, int fd, const char *peer,
                         const struct ps_cause *cause)
{
	struct dial *dial = owner;
	const struct outcome_names names = names_of(dial);

	dial->connector = NULL;
	if (result != CONNECT_OK) {
		outcome_of_connect(&dial->result.outcome, result, cause, &names);
		finish(dial);
		return;
	}
	dial->fd = fd;
	(void)snprintf(dial->result.peer, sizeof(dial->result.peer), "%s", peer);
	const enum ps_err err = start_handshake(dial);
	if (err != PS_OK) {
		fail_here(dial, err, "the handshake could not begin");
		return;
	}
	dial->state = DIAL_SHAKING;
	uv_timer_start(&dial->timer, on_shake_timeout, dial->config.setup->config->timeouts.handshake_ms, 0);
	shake(dial);
}

static struct dial *allocate(const struct dial_config *config)
{
	struct dial *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return NULL;
	assert(config->relay < config->setup->config->relays_list.n);
	fresh->config = *config;
	fresh->relay = &config_relays(config->setup->config)[config->relay];
	address_print(&fresh->relay->address, fresh->relay_text);
	fresh->state = DIAL_CONNECTING;
	fresh->fd = -1;
	fresh->wire = BUF_INIT;
	fresh->result.alert = ALERT_NONE;
	dial_setup_offer(config->offer, config->service, fresh->offer);
	return fresh;
}

static void start_timer(struct dial *dial)
{
	(void)uv_timer_init(dial->config.loop, &dial->timer);
	dial->timer.data = dial;
	dial->open_handles++;
}

enum ps_err dial_new(const struct dial_config *config, struct dial **dial)
{
	struct dial *fresh = allocate(config);

	if (fresh == NULL)
		return PS_E_NOMEM;

	const struct connector_config connecting = {
		.loop = config->loop,
		.address = &fresh->relay->address,
		.memory = &config->setup->memories[config->relay],
		.timeout_ms = config->setup->config->timeouts.connect_ms,
		.on_done = on_connected,
		.owner = fresh,
	};
	const enum ps_err err = connector_new(&connecting, &fresh->connector);
	if (err != PS_OK) {
		free(fresh);
		return err;
	}
	start_timer(fresh);
	*dial = fresh;
	return PS_OK;
}

enum ps_err dial_on(const struct dial_config *config, int fd, const char *peer, struct dial **dial)
{
	struct dial *fresh = allocate(config);

	if (fresh == NULL) {
		close(fd);
		return PS_E_NOMEM;
	}
	fresh->fd = fd;
	(void)snprintf(fresh->result.peer, sizeof(fresh->result.peer), "%s", peer);
	start_timer(fresh);
	const enum ps_err err = start_handshake(fresh);
	if (err != PS_OK) {
		wind_up(fresh);
		return err;
	}
	fresh->state = DIAL_SHAKING;
	uv_timer_start(&fresh->timer, on_shake_timeout, config->setup->config->timeouts.handshake_ms, 0);
	uv_poll_start(&fresh->poll, UV_WRITABLE, on_shakeable);
	*dial = fresh;
	return PS_OK;
}

void dial_cancel(struct dial *dial)
{
	if (dial == NULL)
		return;
	assert(dial->state != DIAL_OVER);
	wind_up(dial);
}

uint64_t dial_patience_ms(const struct sender_config *config)
{
	return config->timeouts.connect_ms + config->timeouts.handshake_ms + DIAL_LISTEN_MS;
}
