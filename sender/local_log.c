/* SPDX-License-Identifier: Apache-2.0 */
#include "local_log.h"

#include <inttypes.h>
#include <stdio.h>

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

static const char *const pipe_end_names[] = {
	[H2_PIPE_DONE] = "done",
	[H2_PIPE_STREAM_RESET] = "relay-reset",
	[H2_PIPE_STREAM_CUT] = "relay-cut",
	[H2_PIPE_UNPROCESSED] = "relay-reset",
	[H2_PIPE_PLAIN_RESET] = "client-reset",
	[H2_PIPE_IDLE] = "idle",
	[H2_PIPE_ABORTED] = "drain",
	[H2_PIPE_NO_MEMORY] = "no-memory",
};

static uint64_t age_ms(const struct local_facts *facts)
{
	return uv_now(facts->loop) - facts->started_ms;
}

static const char *service_of(const struct local_facts *facts)
{
	return facts->service[0] == '\0' ? NULL : facts->service;
}

void local_log_accepted(const struct local_facts *facts, const struct local_relay *relay)
{
	struct log_line line;
	char pool[9];

	log_begin(&line, LOG_INFO, facts->conn, "accepted");
	log_word(&line, "peer", facts->peer);
	log_word(&line, "service", service_of(facts));
	log_text(&line, "relay", relay->name);
	log_word(&line, "relay_address", relay->address);
	log_word(&line, "cipher", suite_find(relay->suite)->name);
	if (relay->pool != 0) {
		(void)snprintf(pool, sizeof(pool), "%08" PRIx32, (uint32_t)(relay->pool & UINT32_MAX)); /* as its own lines */
		log_word(&line, "pool", pool);
		log_number(&line, "stream", relay->stream);
	}
	log_end(&line);
}

static void end_closed(struct log_line *line, const struct local_facts *facts, uint64_t in, uint64_t out)
{
	log_word(line, "peer", facts->peer);
	log_word(line, "service", service_of(facts));
	log_number(line, "in", in);
	log_number(line, "out", out);
	log_number(line, "ms", age_ms(facts));
	log_end(line);
}

void local_log_closed(const struct local_facts *facts, const struct bridge_report *report)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, facts->conn, "closed");
	log_word(&line, "reason", end_names[report->end]);
	if (report->end == BRIDGE_SEALED_ALERT)
		log_word(&line, "alert", alert_name(report->peer_alert));
	end_closed(&line, facts, report->to_sealed, report->to_plain);
}

void local_log_pipe_closed(const struct local_facts *facts, const struct h2_pipe_report *report)
{
	struct log_line line;

	log_begin(&line, LOG_INFO, facts->conn, "closed");
	log_word(&line, "reason", pipe_end_names[report->end]);
	if (report->end == H2_PIPE_STREAM_RESET)
		log_word(&line, "code", h2_code_name(report->code));
	end_closed(&line, facts, report->to_stream, report->to_plain);
}

void local_log_refused(const struct local_facts *facts, const char *reason, const char *detail)
{
	struct log_line line;

	log_begin(&line, LOG_WARN, facts->conn, "refused");
	log_word(&line, "reason", reason);
	log_word(&line, "peer", facts->peer);
	log_word(&line, "service", service_of(facts));
	log_text(&line, "detail", detail[0] == '\0' ? NULL : detail);
	log_number(&line, "ms", age_ms(facts));
	log_end(&line);
}
