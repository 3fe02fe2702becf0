/* SPDX-License-Identifier: Apache-2.0 */
#include "carriage.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/clock.h"
#include "portseal/connector.h"
#include "portseal/log.h"
#include "portseal/net.h"
#include "portseal/tls_stream.h"
#include "problem.h"

struct carriage {
	struct carriages *all;
	LIST_ENTRY(carriage) link;
	uint64_t conn;
	uint64_t started_ms;
	uint64_t idle_ms;
	struct standing_member member;
	uint8_t client_pin[IDENTITY_PIN_LEN];
	/* Once its right is gone: */
	enum refusal fallen;
	char *fall_detail;
	/* Until the target is reached: */
	int sealed_fd;
	struct tls_stream *stream;
	struct connector *connector;
	/* From then on: */
	struct bridge *bridge;
};

struct carriages {
	struct carriages_config config;
	LIST_HEAD(carriage_list, carriage) list;
	size_t n;
};

/* The reason of event=closed for each way a bridge ends. */
static const char *end_reason(enum bridge_end end)
{
	static const char *const reasons[] = {
		[BRIDGE_DONE] = "done",
		[BRIDGE_SEALED_TRUNCATED] = "client-cut",
		[BRIDGE_SEALED_RESET] = "client-reset",
		[BRIDGE_SEALED_ALERT] = "client-alert",
		[BRIDGE_SEALED_PROTOCOL] = "client-protocol",
		[BRIDGE_PLAIN_RESET] = "target-reset",
		[BRIDGE_IDLE] = "idle",
		[BRIDGE_ABORTED] = "drain",
		[BRIDGE_NO_MEMORY] = "no-memory",
	};

	return reasons[end];
}

/* What a line of the end tells beside the reason. */
struct closing {
	const char *reason;
	uint64_t in;
	uint64_t out;
	uint8_t alert;
	const char *detail;
};

static const char *service_name(const struct carriage *carriage)
{
	return carriage->member.standing == NULL ? NULL : standing_service(carriage->member.standing);
}

static void record_end(const struct carriage *carriage, const struct closing *closing)
{
	const struct audit_entry entry = {
		.conn = carriage->conn,
		.service = service_name(carriage),
		.who = carriage->member.standing == NULL ? NULL : standing_who(carriage->member.standing),
		.reason = closing->reason,
		.detail = closing->detail,
		.in = closing->in,
		.out = closing->out,
		.ms = clock_now_ms() - carriage->started_ms,
	};

	audit_closed(carriage->all->config.audit, &entry);
}

/* Logs the one closing line and frees; the sockets are gone or given away. */
static void end(struct carriage *carriage, const struct closing *closing)
{
	struct carriages *all = carriage->all;
	struct log_line line;

	log_begin(&line, LOG_INFO, carriage->conn, "closed");
	log_word(&line, "reason", closing->reason);
	log_word(&line, "service", service_name(carriage));
	log_number(&line, "in", closing->in);
	log_number(&line, "out", closing->out);
	log_number(&line, "ms", clock_now_ms() - carriage->started_ms);
	if (closing->alert != ALERT_NONE)
		log_word(&line, "alert", alert_name(closing->alert));
	log_text(&line, "detail", closing->detail);
	log_end(&line);
	record_end(carriage, closing);
	all->config.on_end(all->config.owner, carriage->client_pin);
	standings_leave(all->config.standings, &carriage->member);
	LIST_REMOVE(carriage, link);
	all->n--;
	free(carriage->fall_detail);
	free(carriage);
}

/* The target cannot be had: the client reads an alert, never a clean end. */
static void end_undelivered(struct carriage *carriage, const char *reason, const char *detail, enum alert last_words)
{
	struct closing closing = { .reason = reason, .alert = ALERT_NONE, .detail = detail };
	struct buf alert = BUF_INIT;

	if (carriage->stream != NULL && tls_stream_fail(carriage->stream, last_words, &alert) == PS_OK &&
	    send(carriage->sealed_fd, buf_front(&alert), buf_len(&alert), MSG_NOSIGNAL) > 0)
		closing.alert = (uint8_t)last_words;
	buf_release(&alert);
	tls_stream_free(carriage->stream);
	linger_close(carriage->all->config.linger, carriage->sealed_fd);
	end(carriage, &closing);
}

static void on_bridge_end(void *owner, const struct bridge_report *report)
{
	struct carriage *carriage = owner;
	struct closing closing = {
		.reason = end_reason(report->end),
		.in = report->to_plain,
		.out = report->to_sealed,
		.alert = report->end == BRIDGE_SEALED_ALERT ? report->peer_alert : report->sent_alert,
	};

	if (report->end == BRIDGE_ABORTED && carriage->fallen != REFUSAL_NONE) {
		closing.reason = refusal_name(carriage->fallen);
		closing.detail = carriage->fall_detail;
	}
	end(carriage, &closing);
}

static void log_connected(const struct carriage *carriage, const char *target)
{
	struct log_line line;

	log_begin(&line, LOG_DEBUG, carriage->conn, "connected");
	log_word(&line, "service", service_name(carriage));
	log_word(&line, "target", target);
	log_end(&line);
}

static void on_target(void *owner, enum connect_result result, int fd, const char *peer, const struct ps_cause *cause)
{
	struct carriage *carriage = owner;
	struct carriages_config *config = &carriage->all->config;
	struct bridge_config bridge = {
		.loop = config->loop,
		.watches = config->watches,
		.scratch = config->scratch,
		.linger = config->linger,
		.sealed_fd = carriage->sealed_fd,
		.stream = carriage->stream,
		.plain_fd = fd,
		.idle_ms = carriage->idle_ms,
		.on_end = on_bridge_end,
		.owner = carriage,
	};

	carriage->connector = NULL;
	if (result != CONNECT_OK) {
		end_undelivered(carriage, problem_of_connect(result).reason, cause->text, ALERT_INTERNAL_ERROR);
		return;
	}
	log_connected(carriage, peer);
	carriage->sealed_fd = -1;
	carriage->stream = NULL;
	if (bridge_new(&bridge, &carriage->bridge) != PS_OK)
		end(carriage, &(struct closing){ .reason = "no-memory", .alert = ALERT_NONE });
}

static void log_accepted(const struct carriage *carriage, const struct handover *handover)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, handover->conn, "accepted");
	log_word(&line, "peer", handover->peer);
	log_text(&line, "client", handover->client);
	log_word(&line, "service", service_name(carriage));
	log_word(&line, "cipher", suite_find(handover->secrets.suite)->name);
	log_end(&line);
}

/* Its right is gone: the client reads the alert of the refusal, the log says its name. */
static void on_fall(struct standing_member *member, enum refusal refusal, const char *detail)
{
	struct carriage *carriage = (struct carriage *)((char *)member - offsetof(struct carriage, member));

	if (carriage->bridge == NULL) {
		connector_cancel(carriage->connector);
		end_undelivered(carriage, refusal_name(refusal), detail, refusal_alert(refusal));
		return;
	}
	if (carriage->fallen != REFUSAL_NONE)
		return;
	carriage->fallen = refusal;
	carriage->fall_detail = strdup(detail); /* without it the line just says less */
	bridge_abort(carriage->bridge, refusal_alert(refusal));
}

static const struct standing_holder holder = { .on_fall = on_fall };

static struct carriage *new_carriage(struct carriages *carriages, const struct handover *handover, int fd)
{
	struct carriage *carriage = calloc(1, sizeof(*carriage));

	if (carriage == NULL)
		return NULL;
	carriage->all = carriages;
	carriage->conn = handover->conn;
	carriage->started_ms = handover->started_ms;
	carriage->idle_ms = handover->terms.idle_ms;
	carriage->sealed_fd = fd;
	memcpy(carriage->client_pin, handover->client_pin, sizeof(carriage->client_pin));
	if (standings_join(carriages->config.standings, handover, &holder, &carriage->member) != PS_OK) {
		free(carriage);
		return NULL;
	}
	LIST_INSERT_HEAD(&carriages->list, carriage, link);
	carriages->n++;
	return carriage;
}

void carriages_begin(struct carriages *carriages, const struct handover *handover, int fd, bool has_room)
{
	struct connector_config connector = {
		.loop = carriages->config.loop,
		.watches = carriages->config.watches,
		.address = &handover->terms.target,
		.timeout_ms = handover->terms.connect_ms,
		.on_done = on_target,
	};
	struct carriage *carriage = new_carriage(carriages, handover, fd);

	if (carriage == NULL) {
		const struct audit_entry entry = {
			.conn = handover->conn, .service = handover->service_name, .who = &handover->who, .reason = "no-memory"
		};

		log_event(LOG_WARN, "no-memory", "a connection was closed at once");
		audit_closed(carriages->config.audit, &entry);
		if (fd >= 0)
			close(fd);
		carriages->config.on_end(carriages->config.owner, handover->client_pin);
		return;
	}
	if (fd >= 0)
		net_arm_reset(fd); /* from here on, should this process die; the bridge or linger_close disarms it */
	log_accepted(carriage, handover);
	if (fd < 0) {
		end(carriage, &(struct closing){ .reason = "no-descriptors", .alert = ALERT_NONE });
		return;
	}
	connector.owner = carriage;
	if (tls_stream_new(TLS_SERVER, &handover->secrets, &carriage->stream) != PS_OK ||
	    (has_room && connector_new(&connector, &carriage->connector) != PS_OK))
		end_undelivered(carriage, "no-memory", NULL, ALERT_INTERNAL_ERROR);
	else if (!has_room)
		end_undelivered(carriage, "no-descriptors", "the worker is full", ALERT_INTERNAL_ERROR);
}

enum ps_err carriages_new(const struct carriages_config *config, struct carriages **carriages)
{
	struct carriages *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->config = *config;
	LIST_INIT(&fresh->list);
	*carriages = fresh;
	return PS_OK;
}

size_t carriages_count(const struct carriages *carriages)
{
	return carriages->n;
}

void carriages_abort(struct carriages *carriages)
{
	struct carriage *next;

	for (struct carriage *carriage = LIST_FIRST(&carriages->list); carriage != NULL; carriage = next) {
		next = LIST_NEXT(carriage, link);
		if (carriage->bridge != NULL) {
			bridge_abort(carriage->bridge, ALERT_INTERNAL_ERROR);
		} else {
			connector_cancel(carriage->connector);
			end_undelivered(carriage, "drain", NULL, ALERT_INTERNAL_ERROR);
		}
	}
}

void carriages_free(struct carriages *carriages)
{
	free(carriages);
}
