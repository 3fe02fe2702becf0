/* SPDX-License-Identifier: Apache-2.0 */
#include "local_log.h"

#include "outcome.h"
#include "portseal/log.h"

static const char *const end_names[] = {
	[BRIDGE_DONE] = "done",
	[BRIDGE_SEALED_TRUNCATED] = "relay-cut",
	[BRIDGE_SEALED_RESET] = "relay-reset",
	[BRIDGE_SEALED_ALERT] = "relay-alert",
	[BRIDGE_SEALED_PROTOCOL] = "relay-protocol",
	[BRIDGE_PLAIN_RESET] = "client-reset",
	[BRIDGE_IDLE] = "idle",
	[BRIDGE_ABORTED] = "drain",
	[BRIDGE_NO_MEMORY] = "no-memory",
};

static uint64_t age_ms(const struct local_facts *facts)
{
	return uv_now(facts->loop) - facts->started_ms;
}

static const char *service_of(const struct local_facts *facts)
{
	return facts->service[0] == '\0' ? NULL : facts->service;
}

void local_log_accepted(const struct local_facts *facts, const struct handover *handover)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, facts->conn, "accepted");
	log_word(&line, "peer", facts->peer);
	log_word(&line, "service", service_of(facts));
	log_text(&line, "relay", handover->client);
	log_word(&line, "relay_address", handover->peer);
	log_word(&line, "cipher", suite_find(handover->secrets.suite)->name);
	log_end(&line);
}

void local_log_closed(const struct local_facts *facts, const struct bridge_report *report)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, facts->conn, "closed");
	log_word(&line, "reason", end_names[report->end]);
	if (report->end == BRIDGE_SEALED_ALERT)
		log_word(&line, "alert", alert_name(report->peer_alert));
	log_word(&line, "peer", facts->peer);
	log_word(&line, "service", service_of(facts));
	log_number(&line, "in", report->to_sealed);
	log_number(&line, "out", report->to_plain);
	log_number(&line, "ms", age_ms(facts));
	log_end(&line);
}

void local_log_refused(const struct local_facts *facts, const char *reason, const char *detail)
{
	struct log_line line;

	log_begin(&line, LOG_WARN, facts->conn, "refused");
	log_word(&line, "reason", reason);
	log_word(&line, "peer", facts->peer);
	log_word(&line, "service", service_of(facts));
	log_text(&line, "detail", detail);
	log_number(&line, "ms", age_ms(facts));
	log_end(&line);
}

static const char *reason_of(const struct handover_dial_failed *failed)
{
	if (failed->refusal != REFUSAL_NONE)
		return refusal_name((enum refusal)failed->refusal);
	switch (failed->exit_code) {
	case OUTCOME_NO_RELAY:
		return "relay-not-reached";
	case OUTCOME_UNDELIVERED:
		return "relay-failed";
	default:
		return "internal";
	}
}

void local_log_dial_failed(const struct local_facts *facts, const struct handover_dial_failed *failed)
{
	local_log_refused(facts, reason_of(failed), failed->text);
}
