/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "portseal/log.h"

#define SECOND ((uint64_t)1000)
#define AGE_MAX_MS (24 * 3600 * SECOND)
#define REPLACE_MS (30 * SECOND) /* certificates that end sooner are not worth another handshake */

enum link_state {
	LINK_OPENING,  /* the relay's settings have not come */
	LINK_OPEN,     /* takes streams */
	LINK_STALE,    /* likewise, until another is OPEN */
	LINK_RETIRING, /* finishes those that it has */
};

struct link {
	struct pool *pool;
	struct link *next;
	enum link_state state;
	struct h2 *h2;
	uint64_t opened_ms; /* 0: it has not been */
	uint64_t retire_ms;
	uint64_t used_ms; /* when it had a stream last, as far as somebody looked */
	struct pool_facts facts;
};

struct pool {
	struct pool_config config;
	struct h2_scratch *scratch;
	struct link *links;
	size_t n;
};

static const char *const end_names[] = {
	[H2_DONE] = "done",
	[H2_PEER_CUT] = "relay-cut",
	[H2_PEER_RESET] = "relay-reset",
	[H2_PEER_LEFT] = "relay-left",
	[H2_PEER_ALERT] = "relay-alert",
	[H2_PEER_GOAWAY] = "relay-goaway",
	[H2_PEER_PROTOCOL] = "relay-protocol",
	[H2_PEER_HTTP] = "relay-http",
	[H2_PEER_ABUSE] = "relay-abuse",
	[H2_ABORTED] = "drain",
	[H2_NO_MEMORY] = "no-memory",
};

static void log_opened(const struct link *link)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, link->facts.conn, "pool-opened");
	log_text(&line, "relay", link->facts.name);
	log_word(&line, "relay_address", link->facts.address);
	log_word(&line, "cipher", suite_find(link->facts.suite)->name);
	log_end(&line);
}

static void log_closed(const struct link *link, const struct h2_report *report)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, link->facts.conn, "pool-closed");
	log_word(&line, "reason", end_names[report->end]);
	if (report->end == H2_PEER_ALERT)
		log_word(&line, "alert", alert_name(report->peer_alert));
	else if (report->code != H2_NO_ERROR)
		log_word(&line, "code", h2_code_name(report->code));
	log_word(&line, "relay_address", link->facts.address);
	log_number(&line, "streams", report->n_streams);
	log_number(&line, "in", report->out);
	log_number(&line, "out", report->in);
	log_end(&line);
}

static void retire(struct link *link)
{
	if (link->state == LINK_RETIRING)
		return;
	link->state = LINK_RETIRING;
	h2_shut(link->h2);
}

static void open_link(struct link *link)
{
	link->state = LINK_OPEN;
	link->opened_ms = link->used_ms = uv_now(link->pool->config.loop);
	log_opened(link);
	for (struct link *other = link->pool->links; other != NULL; other = other->next)
		if (other->state == LINK_STALE && other->facts.relay == link->facts.relay)
			retire(other);
}

static void on_capacity(void *owner)
{
	struct link *link = owner;
	struct pool *pool = link->pool;

	if (link->state == LINK_OPENING)
		open_link(link);
	if (link->state != LINK_RETIRING)
		pool->config.on_room(pool->config.owner, link->facts.relay);
}

static void on_goaway(void *owner)
{
	struct link *link = owner;
	struct pool *pool = link->pool;
	const bool opened = link->state != LINK_OPENING;

	if (link->state == LINK_RETIRING)
		return;
	retire(link);
	pool->config.on_loss(pool->config.owner, link->facts.relay, NULL, opened);
}

static void on_end(void *owner, const struct h2_report *report)
{
	struct link *link = owner;
	struct pool *pool = link->pool;
	const uint32_t relay = link->facts.relay;
	const bool opened = link->opened_ms != 0;
	const bool expected = link->state == LINK_RETIRING;
	struct link **at = &pool->links;

	log_closed(link, report);
	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	pool->n--;
	free(link);
	if (!expected)
		pool->config.on_loss(pool->config.owner, relay, report, opened);
}

static const struct h2_events events = {
	.on_capacity = on_capacity,
	.on_goaway = on_goaway,
	.on_end = on_end,
};

/* Ahead of the end of the certificates, and not all links of all workers at once. */
static uint64_t lifetime_ms(int64_t not_after)
{
	const int64_t left = not_after - (int64_t)time(NULL);
	uint64_t most = AGE_MAX_MS;
	uint32_t chance = 0;

	if (left > 0 && (uint64_t)left < AGE_MAX_MS / SECOND)
		most = (uint64_t)left * SECOND;
	if (most <= REPLACE_MS)
		return UINT64_MAX / 2;
	(void)!getrandom(&chance, sizeof(chance), 0);
	return most * 9 / 10 - chance % (most / 20);
}

static struct link *new_link(struct pool *pool, uint32_t relay, const struct handover *handover)
{
	struct link *link = calloc(1, sizeof(*link));

	if (link == NULL)
		return NULL;
	link->pool = pool;
	link->retire_ms = uv_now(pool->config.loop) + lifetime_ms(handover->not_after);
	link->facts.conn = handover->conn;
	link->facts.relay = relay;
	link->facts.suite = handover->secrets.suite;
	(void)snprintf(link->facts.name, sizeof(link->facts.name), "%s", handover->client);
	(void)snprintf(link->facts.address, sizeof(link->facts.address), "%s", handover->peer);
	return link;
}

enum ps_err pool_add(struct pool *pool, uint32_t relay, const struct handover *handover, int fd)
{
	struct link *link = new_link(pool, relay, handover);
	struct tls_stream *stream = NULL;

	if (link == NULL || tls_stream_new(TLS_CLIENT, &handover->secrets, &stream) != PS_OK) {
		free(link);
		close(fd);
		return PS_E_NOMEM;
	}
	const struct h2_config config = {
		.loop = pool->config.loop,
		.watches = pool->config.watches,
		.scratch = pool->scratch,
		.linger = pool->config.linger,
		.fd = fd,
		.stream = stream,
		.role = H2_CLIENT,
		.events = &events,
		.owner = link,
	};
	const enum ps_err err = h2_new(&config, &link->h2);
	if (err != PS_OK) {
		free(link);
		return err;
	}
	link->next = pool->links;
	pool->links = link;
	pool->n++;
	return PS_OK;
}

static struct link *pick(const struct pool *pool, uint32_t relay)
{
	struct link *best = NULL;

	for (struct link *link = pool->links; link != NULL; link = link->next)
		if (link->facts.relay == relay && (link->state == LINK_OPEN || link->state == LINK_STALE) &&
		    h2_capacity(link->h2) > 0 && (best == NULL || h2_n_streams(link->h2) < h2_n_streams(best->h2)))
			best = link;
	return best;
}

enum ps_err pool_open(struct pool *pool, uint32_t relay, const struct h2_request *request,
                      const struct h2_stream_events *stream_events, void *owner, struct h2_stream **stream,
                      const struct pool_facts **facts)
{
	struct link *link = pick(pool, relay);

	if (link == NULL)
		return PS_E_LIMIT;
	const enum ps_err err = h2_open(link->h2, request, false, stream_events, owner, stream);
	if (err != PS_OK)
		return err == PS_E_NOMEM ? err : PS_E_LIMIT;
	link->used_ms = uv_now(pool->config.loop);
	*facts = &link->facts;
	return PS_OK;
}

void pool_doubt(struct pool *pool, const struct pool_facts *facts)
{
	for (struct link *link = pool->links; link != NULL; link = link->next)
		if (&link->facts == facts)
			retire(link);
}

size_t pool_count(const struct pool *pool, uint32_t relay)
{
	size_t n = 0;

	for (const struct link *link = pool->links; link != NULL; link = link->next)
		n += link->facts.relay == relay && (link->state == LINK_OPENING || link->state == LINK_OPEN);
	return n;
}

size_t pool_count_opening(const struct pool *pool, uint32_t relay)
{
	size_t n = 0;

	for (const struct link *link = pool->links; link != NULL; link = link->next)
		n += link->facts.relay == relay && link->state == LINK_OPENING;
	return n;
}

size_t pool_streams(const struct pool *pool, uint32_t relay)
{
	size_t n = 0;

	for (const struct link *link = pool->links; link != NULL; link = link->next)
		if (link->facts.relay == relay && link->state != LINK_RETIRING)
			n += h2_n_streams(link->h2);
	return n;
}

size_t pool_count_all(const struct pool *pool)
{
	return pool->n;
}

/* Does what is due for one; returns when something will be. */
static uint64_t tend(struct link *link, size_t min, uint64_t idle_ms)
{
	const struct pool *pool = link->pool;
	const uint64_t now_ms = uv_now(pool->config.loop);

	if (h2_n_streams(link->h2) > 0)
		link->used_ms = now_ms;
	if (now_ms >= link->retire_ms) {
		link->state = LINK_STALE;
		return now_ms; /* for its replacement */
	}
	if (pool_count(pool, link->facts.relay) <= min)
		return link->retire_ms;
	if (now_ms >= link->used_ms + idle_ms) {
		retire(link);
		return UINT64_MAX;
	}
	return link->used_ms + idle_ms < link->retire_ms ? link->used_ms + idle_ms : link->retire_ms;
}

uint64_t pool_tend(struct pool *pool, size_t min, uint64_t idle_ms)
{
	uint64_t next_ms = UINT64_MAX;

	for (struct link *link = pool->links; link != NULL; link = link->next) {
		const uint64_t due_ms = link->state == LINK_OPEN ? tend(link, min, idle_ms) : UINT64_MAX;

		if (due_ms < next_ms)
			next_ms = due_ms;
	}
	return next_ms;
}

void pool_retire(struct pool *pool)
{
	for (struct link *link = pool->links; link != NULL; link = link->next)
		retire(link);
}

void pool_abort(struct pool *pool)
{
	for (struct link *link = pool->links; link != NULL; link = link->next) {
		link->state = LINK_RETIRING;
		h2_abort(link->h2, ALERT_INTERNAL_ERROR);
	}
}

enum ps_err pool_new(const struct pool_config *config, struct pool **pool)
{
	struct pool *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	const enum ps_err err = h2_scratch_new(&fresh->scratch);
	if (err != PS_OK) {
		free(fresh);
		return err;
	}
	*pool = fresh;
	return PS_OK;
}

void pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	h2_scratch_free(pool->scratch);
	free(pool);
}
