/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission_refuse -- the ways to turn a connection away: what it reads, and the one line that says why.
 */
#include "admission_internal.h"

#include <sys/socket.h>
#include <unistd.h>

#include "portseal/log.h"

static const char plain_http_answer[] =
	"HTTP/1.1 400 Bad Request\r\n"
	"content-type: text/plain\r\n"
	"content-length: 84\r\n"
	"connection: close\r\n"
	"\r\n"
	"This port speaks TLS 1.3 with client certificates. Your client sent it plain HTTP.\r\n";

static const char *service_name(const struct admission *admission)
{
	const struct relay_config *config = admission->all->config.config;

	return admission->route.service == CONFIG_NO_SERVICE ? NULL
	                                                     : config_services(config)[admission->route.service].name;
}

static void log_refusal(const struct admission *admission, enum refusal refusal, const struct refusal_facts *facts)
{
	/* A health check that connects and goes is no event for an operator. */
	enum log_level level = refusal == REFUSAL_CLOSED_BEFORE_HELLO ? LOG_DEBUG : LOG_INFO;
	char label[IDENTITY_LABEL_MAX];
	struct log_line line;

	log_begin(&line, level, admission->conn, "refused");
	log_word(&line, "reason", refusal_name(refusal));
	log_word(&line, "peer", admission->peer);
	if (facts->identity != NULL) {
		identity_label(facts->identity, label);
		log_text(&line, "client", label);
		log_text(&line, "subject", facts->identity->subject);
		log_text(&line, "issuer", facts->identity->issuer);
	}
	log_word(&line, "service", service_name(admission));
	if (facts->alert != ALERT_NONE)
		log_word(&line, "alert", alert_name(facts->alert));
	log_text(&line, "detail", facts->detail);
	log_number(&line, "ms", uv_now(admission->all->config.loop) - admission->begun_ms);
	log_end(&line);
}

/* A health check that connects and goes is none of an auditor's business either. */
static void record_refusal(const struct admission *admission, enum refusal refusal, const struct refusal_facts *facts)
{
	struct audit_client *audit = admission->all->config.audit;
	struct audit_entry entry = {
		.conn = admission->conn,
		.peer = admission->peer,
		.service = service_name(admission),
		.reason = refusal_name(refusal),
		.detail = facts->detail,
		.ms = uv_now(admission->all->config.loop) - admission->begun_ms,
	};
	struct audit_who who;

	if (!audit_is_on(audit) || refusal == REFUSAL_CLOSED_BEFORE_HELLO)
		return;
	if (facts->identity != NULL) {
		audit_who_set(&who, facts->identity);
		entry.who = &who;
	}
	audit_refused(audit, &entry);
}

void admission_end_refused(struct admission *admission, enum refusal refusal, const struct refusal_facts *facts,
                           enum farewell farewell)
{
	struct linger_set *linger = admission->all->config.linger;
	int fd;

	log_refusal(admission, refusal, facts);
	record_refusal(admission, refusal, facts);
	fd = admission_detach(admission);
	if (farewell == FAREWELL_LINGER)
		linger_close(linger, fd);
	else
		close(fd);
}

void admission_refuse_silently(struct admission *admission, enum refusal refusal, const char *detail)
{
	struct refusal_facts facts = { NULL, ALERT_NONE, detail };

	admission_end_refused(admission, refusal, &facts, FAREWELL_CLOSE);
}

void admission_refuse_plainly(struct admission *admission, enum refusal refusal, const char *detail)
{
	struct refusal_facts facts = { NULL, (uint8_t)refusal_alert(refusal), detail };

	handshake_refuse_plain(admission->fd, refusal_alert(refusal));
	admission_end_refused(admission, refusal, &facts, FAREWELL_LINGER);
}

void admission_refuse_sealed(struct admission *admission, enum refusal refusal, const struct identity *identity,
                             const char *detail)
{
	struct refusal_facts facts = { identity, (uint8_t)refusal_alert(refusal), detail };

	handshake_refuse(admission->handshake, refusal_alert(refusal));
	admission_end_refused(admission, refusal, &facts, FAREWELL_LINGER);
}

void admission_refuse_http(struct admission *admission)
{
	struct refusal_facts facts = { NULL, ALERT_NONE, "plain HTTP" };

	if (send(admission->fd, plain_http_answer, sizeof(plain_http_answer) - 1, MSG_NOSIGNAL) < 0)
		facts.detail = "plain HTTP; it did not wait for an answer";
	admission_end_refused(admission, REFUSAL_NOT_TLS, &facts, FAREWELL_LINGER);
}
