/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>

#include "exchange_connect.h"
#include "message.h"
#include "portseal/clock.h"
#include "portseal/log.h"
#include "session_internal.h"

#define MESSAGES_PATH "/messages/"
#define RETRY_AFTER_S 1

const struct sessions_config *exchange_config(const struct exchange *exchange)
{
	return &exchange->session->all->config;
}

const uint8_t *exchange_client_pin(const struct exchange *exchange)
{
	return exchange->session->client_pin;
}

static void begin_line(struct log_line *line, const struct exchange *exchange, enum log_level level, const char *event,
                       uint32_t stream_id)
{
	log_begin(line, level, exchange->session->conn, event);
	log_number(line, "stream", stream_id);
	log_word(line, "kind", exchange->kind == NULL ? NULL : exchange->kind->name);
}

void exchange_opened(const struct exchange *exchange, const char *target)
{
	struct log_line line;

	begin_line(&line, exchange, LOG_DEBUG, "stream-opened", exchange->id);
	log_word(&line, "service", exchange->service);
	log_word(&line, "target", target);
	log_end(&line);
}

/* What tells of the end: a message has one line, whatever became of it. */
static const char *event_of(const struct exchange *exchange, const char *usual)
{
	return exchange->kind != NULL && exchange->kind->event != NULL ? exchange->kind->event : usual;
}

static void log_refused(const struct exchange *exchange, const struct problem *problem, const char *private_detail)
{
	struct log_line line;

	begin_line(&line, exchange, LOG_INFO, event_of(exchange, "stream-refused"), exchange->id);
	log_word(&line, "reason", problem->reason);
	log_number(&line, "status", problem->status);
	log_text(&line, "service", exchange->service); /* perhaps one that does not exist */
	log_text(&line, "detail", private_detail != NULL && private_detail[0] != '\0' ? private_detail : problem->detail);
	log_number(&line, "ms", clock_now_ms() - exchange->started_ms);
	log_end(&line);
}

static void log_closed(const struct exchange *exchange, const struct exchange_closing *closing, bool fell)
{
	struct log_line line;

	begin_line(&line, exchange, LOG_INFO, event_of(exchange, "stream-closed"), exchange->id);
	log_word(&line, "reason", fell ? refusal_name(exchange->fallen) : closing->reason);
	log_word(&line, "service", exchange->service);
	log_number(&line, "in", closing->in);
	log_number(&line, "out", closing->out);
	log_number(&line, "ms", clock_now_ms() - exchange->started_ms);
	if (closing->status != 0)
		log_number(&line, "status", closing->status);
	if (closing->code != H2_NO_ERROR)
		log_word(&line, "code", h2_code_name(closing->code));
	log_word(&line, "id", closing->id);
	log_text(&line, "detail", fell ? exchange->fall_detail : closing->detail);
	log_end(&line);
}

/* What the audit trail is told of it in any case. */
static struct audit_entry entry_of(const struct exchange *exchange)
{
	return (struct audit_entry){
		.conn = exchange->session->conn,
		.stream = exchange->id,
		.who = standing_who(exchange->session->member.standing),
		.service = exchange->service,
		.ms = clock_now_ms() - exchange->started_ms,
	};
}

static void record_refused(const struct exchange *exchange, const struct problem *problem, const char *private_detail)
{
	struct audit_entry entry = entry_of(exchange);

	entry.reason = problem->reason;
	entry.status = problem->status;
	entry.detail = private_detail != NULL ? private_detail : problem->detail;
	audit_refused(exchange->session->all->config.audit, &entry);
}

static void record_closed(const struct exchange *exchange, const struct exchange_closing *closing, bool fell)
{
	struct audit_entry entry = entry_of(exchange);

	entry.reason = fell ? refusal_name(exchange->fallen) : closing->reason;
	entry.detail = fell ? exchange->fall_detail : closing->detail;
	entry.in = closing->in;
	entry.out = closing->out;
	entry.status = closing->status;
	entry.receipt = closing->id;
	entry.has_sha256 = closing->sha256 != NULL;
	if (closing->sha256 != NULL)
		memcpy(entry.sha256, closing->sha256, sizeof(entry.sha256));
	audit_closed(exchange->session->all->config.audit, &entry);
}

static void exchange_free(struct exchange *exchange)
{
	struct session *session = exchange->session;

	audit_forget(exchange->wait);
	if (exchange->kind != NULL && exchange->kind->release != NULL)
		exchange->kind->release(exchange);
	if (exchange->stream != NULL)
		h2_stream_abandon(exchange->stream, H2_CANCEL);
	claim_release(exchange);
	LIST_REMOVE(exchange, link);
	session->n_exchanges--;
	session->all->n_exchanges--;
	free(exchange->fall_detail);
	free(exchange);
	session_end_if_over(session);
}

void exchange_refuse(struct exchange *exchange, const struct problem *problem, const char *private_detail)
{
	log_refused(exchange, problem, private_detail);
	record_refused(exchange, problem, private_detail);
	exchange->session->n_refused++;
	if (exchange->stream != NULL && problem_answer(exchange->stream, problem) == PS_OK) {
		h2_stream_attach(exchange->stream, NULL, NULL);
		exchange->stream = NULL; /* it ends by itself */
	}
	exchange_free(exchange);
}

void exchange_close(struct exchange *exchange, const struct exchange_closing *closing)
{
	const bool fell = exchange->fallen != REFUSAL_NONE;
	struct exchange_closing told = *closing;

	if (exchange->cut)
		told.reason = "drain";
	log_closed(exchange, &told, fell);
	if (exchange->recorded)
		record_closed(exchange, &told, fell);
	exchange_free(exchange);
}

/* What its client may not. The particulars are for the log alone: they speak of rules and of certificates. */
static void refuse_by(struct exchange *exchange, enum refusal refusal, const char *detail)
{
	const struct problem problem = {
		.status = problem_status(refusal),
		.reason = refusal_name(refusal),
		.detail = refusal_text(refusal),
		.retry_after_s = problem_status(refusal) == 503 ? RETRY_AFTER_S : 0,
	};

	exchange_refuse(exchange, &problem, detail);
}

static void refuse_full(struct exchange *exchange, const char *reason, const char *detail)
{
	const struct problem problem = {
		.status = 503, .reason = reason, .detail = detail, .retry_after_s = RETRY_AFTER_S
	};

	exchange_refuse(exchange, &problem, NULL);
}

static void begin(struct exchange *exchange)
{
	exchange->begun = true;
	exchange->kind->begin(exchange, standing_terms(exchange->claim->member.standing));
}

static void on_written(void *owner, bool goes_on, const char *cause)
{
	struct exchange *exchange = owner;

	exchange->wait = NULL;
	if (goes_on)
		exchange_settle(exchange); /* its right may have become a question again meanwhile */
	else
		refuse_by(exchange, REFUSAL_AUDIT_FAILED, cause);
}

/* Nothing begins before it is on record. */
static void record_and_begin(struct exchange *exchange)
{
	const struct audit_entry entry = entry_of(exchange);
	struct audit_client *audit = exchange->session->all->config.audit;

	if (exchange->recorded || !exchange->kind->is_recorded || !audit_is_on(audit)) {
		begin(exchange);
		return;
	}
	exchange->recorded = true;
	switch (audit_accepted(audit, &entry, on_written, exchange, &exchange->wait)) {
	case AUDIT_OFF:
		begin(exchange);
		break;
	case AUDIT_ASKED:
		break;
	case AUDIT_UNASKABLE:
		refuse_by(exchange, REFUSAL_AUDIT_FAILED, "out of memory");
		break;
	}
}

void exchange_settle(struct exchange *exchange)
{
	const struct session *session = exchange->session;
	const struct standing *standing = exchange->claim->member.standing;

	if (exchange->begun || exchange->wait != NULL)
		return;
	exchange->service = standing_service(standing);
	if (standing_verdict(standing) == STANDING_REFUSED)
		refuse_by(exchange, standing_refusal(standing), standing_detail(standing));
	else if (session->only_service[0] != '\0' && strcmp(session->only_service, exchange->service) != 0)
		refuse_by(exchange, REFUSAL_UNKNOWN_SERVICE, "it is not the service of the port that was called");
	else if (!session->all->config.has_room(session->all->config.owner))
		refuse_full(exchange, "no-descriptors", "the relay is full");
	else if (standing_verdict(standing) == STANDING_ALLOWED)
		record_and_begin(exchange);
	else if (session->all->draining)
		exchange_give_up(exchange);
}

void exchange_give_up(struct exchange *exchange)
{
	if (exchange->begun || exchange->wait != NULL)
		return;
	if (exchange->session->all->draining)
		refuse_full(exchange, "drain", "the relay ends");
	else
		refuse_by(exchange, REFUSAL_INTERNAL, "no gatekeeper has said in time whether it may");
}

void exchange_fall(struct exchange *exchange, enum refusal refusal, const char *detail)
{
	if (exchange->fallen != REFUSAL_NONE)
		return;
	if (!exchange->begun) {
		refuse_by(exchange, refusal, detail);
		return;
	}
	exchange->fallen = refusal;
	exchange->fall_detail = strdup(detail); /* without it the line just says less */
	exchange->kind->abort(exchange, H2_CANCEL);
}

void exchange_cut(struct exchange *exchange)
{
	exchange->cut = true;
	if (exchange->begun)
		exchange->kind->abort(exchange, H2_CANCEL);
	else
		refuse_full(exchange, "drain", "the relay ends");
}

/* The client gave up before its right was known, or its kind had anything to do with the stream. */
static void on_closed_early(void *owner, struct h2_stream *stream, const struct h2_stream_end *end)
{
	struct exchange *exchange = owner;
	const struct exchange_closing closing = {
		.reason = end->fate == H2_FATE_CUT ? "connection-ended" : "client-reset",
		.code = end->code,
	};

	(void)stream;
	exchange->stream = NULL;
	exchange_close(exchange, &closing);
}

static const struct h2_stream_events waiting_events = { .on_closed = on_closed_early };

static struct exchange *exchange_new(struct session *session, struct h2_stream *stream)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	if (exchange == NULL)
		return NULL;
	exchange->session = session;
	exchange->stream = stream;
	exchange->id = h2_stream_id(stream);
	exchange->started_ms = clock_now_ms();
	LIST_INSERT_HEAD(&session->exchanges, exchange, link);
	session->n_exchanges++;
	session->all->n_exchanges++;
	h2_stream_attach(stream, &waiting_events, exchange);
	return exchange;
}

/* What the request asks for: its kind and the service as it names it, or the problem with it. */
static bool understand(const struct h2_request *request, struct exchange *exchange, struct problem *problem)
{
	if (strcmp(request->method, "CONNECT") == 0) {
		exchange->kind = &exchange_connect;
		exchange->service = request->authority;
		return true;
	}
	if (strncmp(request->path, MESSAGES_PATH, strlen(MESSAGES_PATH)) == 0 && strcmp(request->method, "POST") == 0) {
		exchange->kind = &message_kind;
		exchange->service = request->path + strlen(MESSAGES_PATH);
		return true;
	}
	if (strncmp(request->path, MESSAGES_PATH, strlen(MESSAGES_PATH)) == 0)
		*problem = (struct problem){
			.status = 405, .reason = "method", .detail = "messages are sent by POST", .allow = "POST"
		};
	else
		*problem = (struct problem){ .status = 404, .reason = "not-found", .detail = "there is nothing at this path" };
	return false;
}

/* The service's name is good until it is held by the claim. */
static void ask(struct exchange *exchange)
{
	struct session *session = exchange->session;
	char asked[HANDOVER_ASKED_MAX];

	/* TRAP: "" is what the connection itself asked for, and got: it names no service. */
	if (exchange->service[0] == '\0') {
		exchange->service = NULL;
		refuse_by(exchange, REFUSAL_UNKNOWN_SERVICE, "no service is named");
		return;
	}
	if (strlen(exchange->service) >= sizeof(asked)) {
		exchange->service = NULL;
		refuse_by(exchange, REFUSAL_UNKNOWN_SERVICE, "its name is longer than any that there is");
		return;
	}
	memcpy(asked, exchange->service, strlen(exchange->service) + 1);
	exchange->service = NULL;
	switch (claim_hold(session, asked, exchange)) {
	case PS_OK:
		exchange_settle(exchange);
		break;
	case PS_E_LIMIT:
		refuse_full(exchange, "too-many-services", "this connection asks for too many services in too short a time");
		break;
	case PS_E_CLOSED:
		refuse_full(exchange, "drain", "the relay ends");
		break;
	default:
		refuse_full(exchange, "no-memory", NULL);
	}
}

void exchange_begin(struct session *session, struct h2_stream *stream, const struct h2_request *request)
{
	struct exchange *exchange = exchange_new(session, stream);
	struct problem problem;

	if (exchange == NULL) {
		h2_stream_abandon(stream, H2_INTERNAL_ERROR);
		return;
	}
	/* What ended at the client may still be on its way to a slow application: that counts, too. */
	if (session->n_exchanges > 2 * (size_t)session->max_streams) {
		refuse_full(exchange, "too-many-streams", "too much of this connection is still on its way");
		return;
	}
	if (!understand(request, exchange, &problem)) {
		exchange_refuse(exchange, &problem, NULL);
		return;
	}
	if (exchange->kind->prepare == NULL || exchange->kind->prepare(exchange, request))
		ask(exchange);
}
