/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/clock.h"
#include "portseal/log.h"
#include "session_internal.h"

/* The reason of event=closed for each way a connection ends. */
static const char *end_reason(const struct h2_report *report)
{
	static const char *const reasons[] = {
		[H2_DONE] = "done",
		[H2_PEER_CUT] = "client-cut",
		[H2_PEER_RESET] = "client-reset",
		[H2_PEER_LEFT] = "client-left",
		[H2_PEER_ALERT] = "client-alert",
		[H2_PEER_GOAWAY] = "client-goaway",
		[H2_PEER_PROTOCOL] = "client-protocol",
		[H2_PEER_HTTP] = "client-http2",
		[H2_PEER_ABUSE] = "client-abuse", /* never told: the report has its name */
		[H2_ABORTED] = "drain",
		[H2_NO_MEMORY] = "no-memory",
	};

	return report->abuse != NULL ? report->abuse : reasons[report->end];
}

/* What the lines of the end tell. */
struct closing {
	const char *reason;
	const char *detail;
	uint64_t ms;
};

static struct closing closing_of(const struct session *session)
{
	struct closing closing = { .ms = clock_now_ms() - session->started_ms };

	if (session->fallen != REFUSAL_NONE && session->report.end == H2_ABORTED) {
		closing.reason = refusal_name(session->fallen);
		closing.detail = session->fall_detail;
	} else {
		closing.reason = session->turned_away != NULL ? session->turned_away : end_reason(&session->report);
	}
	return closing;
}

static void record_end(const struct session *session, const struct closing *closing)
{
	const struct audit_entry entry = {
		.conn = session->conn,
		.who = standing_who(session->member.standing),
		.service = session->only_service[0] != '\0' ? session->only_service : NULL,
		.reason = closing->reason,
		.detail = closing->detail,
		.in = session->report.in,
		.out = session->report.out,
		.ms = closing->ms,
	};

	audit_closed(session->all->config.audit, &entry);
}

static void log_closed(const struct session *session, const struct closing *closing)
{
	const struct h2_report *report = &session->report;
	const uint8_t alert = report->end == H2_PEER_ALERT ? report->peer_alert : report->sent_alert;
	struct log_line line;

	log_begin(&line, LOG_INFO, session->conn, "closed");
	log_word(&line, "reason", closing->reason);
	log_word(&line, "protocol", "h2");
	log_number(&line, "in", report->in);
	log_number(&line, "out", report->out);
	log_number(&line, "ms", closing->ms);
	log_number(&line, "streams", report->n_streams);
	log_number(&line, "refused", session->n_refused);
	if (report->code != H2_NO_ERROR)
		log_word(&line, "code", h2_code_name(report->code));
	if (alert != ALERT_NONE)
		log_word(&line, "alert", alert_name(alert));
	log_text(&line, "detail", closing->detail);
	log_end(&line);
}

/* Logs the one closing line and frees; the socket is gone or given away, and so are its requests. */
static void end(struct session *session)
{
	struct sessions *all = session->all;
	const struct closing closing = closing_of(session);

	log_closed(session, &closing);
	record_end(session, &closing);
	all->config.on_end(all->config.owner, session->client_pin);
	claims_clear(session);
	standings_leave(all->config.standings, &session->member);
	LIST_REMOVE(session, link);
	all->n--;
	free(session->fall_detail);
	free(session);
}

void session_end_if_over(struct session *session)
{
	if (session->over && session->n_exchanges == 0)
		end(session);
}

static void on_request(void *owner, struct h2_stream *stream, const struct h2_request *request)
{
	exchange_begin(owner, stream, request);
}

static void on_h2_end(void *owner, const struct h2_report *report)
{
	struct session *session = owner;

	session->h2 = NULL;
	session->over = true;
	session->report = *report;
	session_end_if_over(session);
}

static const struct h2_events h2_events = { .on_request = on_request, .on_end = on_h2_end };

static void on_fall(struct standing_member *member, enum refusal refusal, const char *detail)
{
	struct session *session = (struct session *)((char *)member - offsetof(struct session, member));
	struct h2 *h2 = session->h2;
	struct exchange *next;

	if (session->fallen != REFUSAL_NONE)
		return;
	session->fallen = refusal;
	session->fall_detail = strdup(detail); /* without it the line just says less */
	for (struct exchange *exchange = LIST_FIRST(&session->exchanges); exchange != NULL; exchange = next) {
		next = LIST_NEXT(exchange, link);
		exchange_fall(exchange, refusal, detail);
	}
	if (h2 != NULL) /* otherwise the session may be gone with its last exchange */
		h2_abort(h2, refusal_alert(refusal));
}

static const struct standing_holder holder = { .on_fall = on_fall };

static void log_accepted(const struct handover *handover)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, handover->conn, "accepted");
	log_word(&line, "peer", handover->peer);
	log_text(&line, "client", handover->client);
	log_word(&line, "protocol", "h2");
	log_word(&line, "service", handover->service_name[0] != '\0' ? handover->service_name : NULL);
	log_word(&line, "cipher", suite_find(handover->secrets.suite)->name);
	log_end(&line);
}

static struct session *new_session(struct sessions *sessions, const struct handover *handover)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return NULL;
	session->all = sessions;
	session->conn = handover->conn;
	session->started_ms = handover->started_ms;
	session->max_streams = handover->max_streams;
	session->questions = CLAIM_QUESTIONS;
	session->questions_ms = clock_now_ms();
	session->report = (struct h2_report){ .peer_alert = ALERT_NONE, .sent_alert = ALERT_NONE };
	memcpy(session->client_pin, handover->client_pin, sizeof(session->client_pin));
	memcpy(session->only_service, handover->service_name, sizeof(session->only_service));
	LIST_INIT(&session->claims);
	LIST_INIT(&session->exchanges);
	if (standings_join(sessions->config.standings, handover, &holder, &session->member) != PS_OK) {
		free(session);
		return NULL;
	}
	LIST_INSERT_HEAD(&sessions->list, session, link);
	sessions->n++;
	return session;
}

/* The client reads an alert, never a clean end. */
static void turn_away(struct session *session, int fd, struct tls_stream *stream, const char *reason)
{
	struct buf alert = BUF_INIT;

	session->turned_away = reason;
	if (stream != NULL && tls_stream_fail(stream, ALERT_INTERNAL_ERROR, &alert) == PS_OK &&
	    send(fd, buf_front(&alert), buf_len(&alert), MSG_NOSIGNAL) > 0)
		session->report.sent_alert = ALERT_INTERNAL_ERROR;
	buf_release(&alert);
	tls_stream_free(stream);
	if (fd >= 0)
		linger_close(session->all->config.linger, fd);
	end(session);
}

static void start_h2(struct session *session, const struct handover *handover, int fd, struct tls_stream *stream)
{
	const struct sessions_config *config = &session->all->config;
	const struct h2_config h2 = {
		.loop = config->loop,
		.watches = config->watches,
		.scratch = config->scratch,
		.linger = config->linger,
		.fd = fd,
		.stream = stream,
		.role = H2_SERVER,
		.max_streams = handover->max_streams,
		.idle_ms = handover->terms.idle_ms,
		.events = &h2_events,
		.owner = session,
	};

	if (h2_new(&h2, &session->h2) != PS_OK)
		turn_away(session, -1, NULL, "no-memory");
	else if (session->all->draining)
		h2_shut(session->h2);
}

void sessions_begin(struct sessions *sessions, const struct handover *handover, int fd, bool has_room)
{
	struct session *session = new_session(sessions, handover);
	struct tls_stream *stream = NULL;

	if (session == NULL) {
		const struct audit_entry entry = { .conn = handover->conn, .who = &handover->who, .reason = "no-memory" };

		log_event(LOG_WARN, "no-memory", "a connection was closed at once");
		audit_closed(sessions->config.audit, &entry);
		if (fd >= 0)
			close(fd);
		sessions->config.on_end(sessions->config.owner, handover->client_pin);
		return;
	}
	log_accepted(handover);
	if (fd >= 0 && tls_stream_new(TLS_SERVER, &handover->secrets, &stream) != PS_OK)
		turn_away(session, fd, NULL, "no-memory");
	else if (fd < 0 || !has_room)
		turn_away(session, fd, stream, "no-descriptors");
	else
		start_h2(session, handover, fd, stream);
}

enum ps_err sessions_new(const struct sessions_config *config, struct sessions **sessions)
{
	struct sessions *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	LIST_INIT(&fresh->list);
	*sessions = fresh;
	return PS_OK;
}

size_t sessions_count(const struct sessions *sessions)
{
	return sessions->n;
}

size_t sessions_exchanges(const struct sessions *sessions)
{
	return sessions->n_exchanges;
}

void sessions_drain(struct sessions *sessions)
{
	struct session *session;

	sessions->draining = true;
	LIST_FOREACH(session, &sessions->list, link)
	if (session->h2 != NULL)
		h2_shut(session->h2);
}

static void cut(struct session *session)
{
	struct h2 *h2 = session->h2;
	struct exchange *next;

	for (struct exchange *exchange = LIST_FIRST(&session->exchanges); exchange != NULL; exchange = next) {
		next = LIST_NEXT(exchange, link);
		exchange_cut(exchange);
	}
	if (h2 != NULL) /* otherwise the session may be gone with its last exchange */
		h2_abort(h2, ALERT_INTERNAL_ERROR);
}

void sessions_abort(struct sessions *sessions)
{
	struct session *next;

	for (struct session *session = LIST_FIRST(&sessions->list); session != NULL; session = next) {
		next = LIST_NEXT(session, link);
		cut(session);
	}
}

void sessions_free(struct sessions *sessions)
{
	free(sessions);
}
