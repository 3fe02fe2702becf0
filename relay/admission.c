/* SPDX-License-Identifier: Apache-2.0 */
#include "admission.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admission_internal.h"
#include "portseal/client_hello.h"
#include "portseal/log.h"

#define TICK_MS 50
/* When every place is taken and others wait, a handshake that has been idle on its peer for so long gives way. */
#define GIVE_WAY_MS 1000

static const char *const state_names[] = { "hello", "line", "handshake", "record" };

static void on_poll(uv_poll_t *poll, int status, int events);

void admission_set_state(struct admission *admission, enum admission_state state)
{
	struct log_line line;

	log_begin(&line, LOG_DEBUG, admission->conn, "state");
	log_word(&line, "from", state_names[admission->state]);
	log_word(&line, "to", state_names[state]);
	log_end(&line);
	if (admission->state == ADMISSION_HELLO)
		admission->all->n_hello--;
	admission->state = state;
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle->data);
}

int admission_detach(struct admission *admission)
{
	struct admissions *all = admission->all;
	int fd = admission->fd;

	if (admission->state == ADMISSION_HELLO)
		all->n_hello--;
	handshake_free(admission->handshake);
	audit_forget(admission->wait);
	identity_free(admission->identity);
	free(admission->verdict);
	sources_leave(all->sources, &admission->place);
	TAILQ_REMOVE(&all->list, admission, link);
	all->n--;
	uv_close((uv_handle_t *)&admission->poll, on_poll_closed);
	return fd;
}

static void fail(struct admission *admission)
{
	const struct handshake_failure *failure = handshake_failure(admission->handshake);
	struct refusal_facts facts = { NULL, failure->alert_sent, failure->detail.text };

	if (failure->alert_received != ALERT_NONE)
		facts.alert = failure->alert_received;
	admission_end_refused(admission, failure->refusal, &facts,
	                      failure->alert_sent != ALERT_NONE ? FAREWELL_LINGER : FAREWELL_CLOSE);
}

static void shake(struct admission *admission)
{
	switch (handshake_step(admission->handshake)) {
	case HANDSHAKE_WANT_READ:
	case HANDSHAKE_YIELD: /* what is left lies in the socket: the next turn wakes for it */
		uv_poll_start(&admission->poll, UV_READABLE, on_poll);
		break;
	case HANDSHAKE_WANT_WRITE:
		uv_poll_start(&admission->poll, UV_WRITABLE, on_poll);
		break;
	case HANDSHAKE_DONE:
		net_ack_now(admission->fd);
		admission_judge(admission);
		break;
	case HANDSHAKE_FAILED:
		fail(admission);
		break;
	}
}

static void begin_handshake(struct admission *admission)
{
	struct handshake_config config = { .fd = admission->fd,
		                               .alpn = admission->route.alpn,
		                               .echo = route_echo(&admission->route) };

	admission_set_state(admission, ADMISSION_HANDSHAKE);
	admission->shaking_ms = uv_now(admission->all->config.loop);
	if (handshake_new(admission->all->config.setup, &config, &admission->handshake) != PS_OK) {
		admission_refuse_plainly(admission, REFUSAL_INTERNAL, "out of memory");
		return;
	}
	shake(admission);
}

static struct admission *of_place(struct sources_place *place)
{
	return (struct admission *)((char *)place - offsetof(struct admission, place));
}

void admissions_start_next(struct admissions *all)
{
	struct sources_place *place;

	while ((place = sources_next(all->sources)) != NULL)
		begin_handshake(of_place(place));
}

static void set_low_water(int fd, size_t bytes)
{
	int value = (int)bytes;

	/* Only a saving of wake-ups; where it cannot be set (unix sockets) the stall handling serves. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value)) != 0)
		errno = 0;
}

static void stand_in_line(struct admission *admission, const struct client_hello *hello)
{
	const struct admissions_config *config = &admission->all->config;

	route_choose(config->config, config->protocols, admission->listener_service, hello, &admission->route);
	if (admission->route.kind == ROUTE_NOWHERE) {
		admission_refuse_plainly(admission, REFUSAL_UNKNOWN_PROTOCOL,
		                         "it offers HTTP/1.1 only, and nothing says for which service; HTTP/2 is spoken here");
		return;
	}
	set_low_water(admission->fd, 1);
	uv_poll_stop(&admission->poll);
	if (sources_wait(admission->all->sources, &admission->source, &admission->place) != PS_OK) {
		admission_refuse_plainly(admission, REFUSAL_INTERNAL, "out of memory");
		return;
	}
	admission_set_state(admission, ADMISSION_LINE);
	admissions_start_next(admission->all);
}

/* The hello is not whole: sleep until it may be, or until the next tick when nothing came since last time. */
static void wait_for_more(struct admission *admission, size_t seen, size_t need)
{
	if (seen > admission->peeked) {
		admission->peeked = seen;
		set_low_water(admission->fd, need);
		return;
	}
	admission->stalled = true;
	uv_poll_stop(&admission->poll);
}

static void look_at_hello(struct admission *admission, bool disconnected)
{
	struct client_hello hello;
	ssize_t seen = recv(admission->fd, admission->all->peek, sizeof(admission->all->peek), MSG_PEEK);

	if (seen < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (seen <= 0) {
		admission_refuse_silently(admission, REFUSAL_CLOSED_BEFORE_HELLO,
		                          seen == 0 ? "it sent nothing" : strerror(errno));
		return;
	}
	switch (client_hello_look(admission->all->peek, (size_t)seen, &hello)) {
	case CLIENT_HELLO_PARTIAL:
		if (disconnected)
			admission_refuse_silently(admission, REFUSAL_CLOSED_BEFORE_HELLO,
			                          "it closed in the middle of its ClientHello");
		else
			wait_for_more(admission, (size_t)seen, hello.need);
		break;
	case CLIENT_HELLO_WHOLE:
		if (hello.offers_tls13)
			stand_in_line(admission, &hello);
		else
			admission_refuse_plainly(admission, REFUSAL_TLS_VERSION, "it offers TLS 1.2 or older only");
		break;
	case CLIENT_HELLO_NO_HINT:
		stand_in_line(admission, NULL);
		break;
	case CLIENT_HELLO_HTTP:
		admission_refuse_http(admission);
		break;
	case CLIENT_HELLO_NOT_TLS:
		admission_refuse_silently(admission, REFUSAL_NOT_TLS, "its first bytes are not TLS");
		break;
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct admission *admission = poll->data;
	struct admissions *all = admission->all;

	if (admission->state == ADMISSION_HELLO)
		look_at_hello(admission, status < 0 || (events & UV_DISCONNECT) != 0);
	else if (admission->state == ADMISSION_HANDSHAKE)
		shake(admission);
	/* Whatever just ended made room. */
	admissions_start_next(all);
}

static void wait_for_hello(struct admission *admission)
{
	admission->stalled = false;
	if (uv_poll_start(&admission->poll, UV_READABLE | UV_DISCONNECT, on_poll) != 0)
		admission_refuse_silently(admission, REFUSAL_INTERNAL, "it could not be watched");
}

static void miss_deadline(struct admission *admission)
{
	switch (admission->state) {
	case ADMISSION_HELLO:
		admission_refuse_silently(admission, REFUSAL_HANDSHAKE_TIMEOUT,
		                          admission->peeked > 0 ? "its ClientHello did not become whole" : "it said nothing");
		break;
	case ADMISSION_LINE:
		admission_refuse_plainly(admission, REFUSAL_TOO_MANY_HANDSHAKES, "its turn did not come in time");
		break;
	case ADMISSION_HANDSHAKE:
		admission_refuse_silently(admission, REFUSAL_HANDSHAKE_TIMEOUT, "the handshake did not end");
		break;
	case ADMISSION_RECORD:
		admission_refuse_sealed(admission, REFUSAL_AUDIT_FAILED, admission->identity,
		                        "the auditor did not answer in time");
		break;
	}
}

/* Every place is taken and others wait: the oldest handshake that waits for its peer gives way. */
static void make_room(struct admissions *all)
{
	struct admission *admission;

	if (sources_n_waiting(all->sources) == 0 || sources_n_shaking(all->sources) < all->config.handshakes)
		return;
	TAILQ_FOREACH(admission, &all->list, link)
	{
		if (admission->state != ADMISSION_HANDSHAKE)
			continue;
		if (uv_now(all->config.loop) - admission->shaking_ms >= GIVE_WAY_MS)
			admission_refuse_silently(admission, REFUSAL_TOO_MANY_HANDSHAKES, "it kept a place while others waited");
		return;
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct admissions *all = timer->data;
	uint64_t now = uv_now(all->config.loop);
	uint64_t limit_ms = all->config.config->timeouts.handshake_ms;
	struct admission *admission;
	struct admission *next;

	while ((admission = TAILQ_FIRST(&all->list)) != NULL && now - admission->begun_ms >= limit_ms)
		miss_deadline(admission);
	for (admission = TAILQ_FIRST(&all->list); admission != NULL; admission = next) {
		next = TAILQ_NEXT(admission, link);
		if (admission->state == ADMISSION_HELLO && admission->stalled)
			wait_for_hello(admission);
	}
	make_room(all);
	admissions_start_next(all);
	if (all->n == 0)
		uv_timer_stop(&all->tick);
}

/* Too many sockets wait. If most are in line, a crowd is there, and the last to join the biggest goes. If most still
 * owe their ClientHello, whoever has made us wait longest goes. */
static void bound_waiting(struct admissions *all)
{
	size_t n_line = sources_n_waiting(all->sources);
	struct admission *admission;

	if (all->n_hello + n_line < all->config.waiting)
		return;
	if (n_line > all->n_hello) {
		admission = of_place(sources_last_of_longest(all->sources));
		admission_refuse_plainly(admission, REFUSAL_TOO_MANY_HANDSHAKES,
		                         "limits.waiting is reached and it is the last of the longest line");
		return;
	}
	TAILQ_FOREACH(admission, &all->list, link)
	if (admission->state == ADMISSION_HELLO) {
		admission_refuse_silently(admission, REFUSAL_TOO_MANY_HANDSHAKES,
		                          "limits.waiting is reached and it is the oldest");
		return;
	}
}

static uint64_t fresh_conn(void)
{
	uint64_t conn = 0;

	while ((uint32_t)conn == 0)
		if (getrandom(&conn, sizeof(conn), 0) < 0)
			conn++;
	return conn;
}

void admissions_begin(struct admissions *admissions, int fd, const struct sockaddr *peer, socklen_t peer_len,
                      int service)
{
	struct admission *admission;

	bound_waiting(admissions);
	admission = calloc(1, sizeof(*admission));
	if (admission == NULL || uv_poll_init(admissions->config.loop, &admission->poll, fd) != 0) {
		log_event(LOG_WARN, "no-memory", "a connection was closed at once");
		free(admission);
		close(fd);
		return;
	}
	admission->poll.data = admission;
	admission->all = admissions;
	admission->state = ADMISSION_HELLO;
	admission->fd = fd;
	admission->listener_service = service;
	admission->route.service = CONFIG_NO_SERVICE;
	admission->conn = fresh_conn();
	admission->begun_ms = uv_now(admissions->config.loop);
	admission->source = net_source_of(peer);
	address_text(peer, peer_len, admission->peer);
	TAILQ_INSERT_TAIL(&admissions->list, admission, link);
	admissions->n++;
	admissions->n_hello++;
	if (admissions->n == 1)
		uv_timer_start(&admissions->tick, on_tick, TICK_MS, TICK_MS);
	wait_for_hello(admission);
}

enum ps_err admissions_new(const struct admissions_config *config, struct admissions **admissions)
{
	struct admissions *fresh = calloc(1, sizeof(*fresh));
	enum ps_err err;

	if (fresh == NULL)
		return PS_E_NOMEM;
	err = sources_new(config->handshakes, config->handshakes_per_source, &fresh->sources);
	if (err != PS_OK) {
		free(fresh);
		return err;
	}
	fresh->config = *config;
	TAILQ_INIT(&fresh->list);
	uv_timer_init(config->loop, &fresh->tick);
	fresh->tick.data = fresh;
	*admissions = fresh;
	return PS_OK;
}

void admissions_drain(struct admissions *admissions)
{
	struct admission *next;

	for (struct admission *admission = TAILQ_FIRST(&admissions->list); admission != NULL; admission = next) {
		next = TAILQ_NEXT(admission, link);
		if (admission->state == ADMISSION_HELLO)
			admission_refuse_silently(admission, REFUSAL_CLOSED_BEFORE_HELLO, "the relay is draining");
	}
}

size_t admissions_count(const struct admissions *admissions)
{
	return admissions->n;
}

static void on_tick_closed(uv_handle_t *handle)
{
	struct admissions *admissions = handle->data;

	sources_free(admissions->sources);
	free(admissions);
}

void admissions_free(struct admissions *admissions)
{
	if (admissions == NULL)
		return;
	while (!TAILQ_EMPTY(&admissions->list))
		admission_refuse_silently(TAILQ_FIRST(&admissions->list), REFUSAL_INTERNAL, "the gatekeeper ends");
	uv_close((uv_handle_t *)&admissions->tick, on_tick_closed);
}
