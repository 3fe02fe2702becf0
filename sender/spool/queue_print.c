/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/queue_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "portseal/receipt.h"
#include "portseal/text.h"
#include "spool/command.h"

#define JSON_MAX 2048

static const char *moment(int64_t ms, char out[static RECEIPT_TIME_MAX])
{
	if (ms == INT64_MAX)
		(void)snprintf(out, RECEIPT_TIME_MAX, "never");
	else
		receipt_print_time(ms / 1000, out);
	return out;
}

void queue_print_head(void)
{
	printf("%-36s  %-16s  %-9s  %-20s  %10s  %5s  %s\n", "ID", "SERVICE", "STATE", "KEPT", "BYTES", "TRIED",
	       "LAST FAILURE");
}

void queue_print_line(const struct spool_message *message)
{
	char kept[RECEIPT_TIME_MAX];

	printf("%-36s  %-16s  %-9s  %-20s  %10" PRIu64 "  %5" PRIu64 "  ", message->id, message->service,
	       command_state(message->state), moment(message->kept_ms, kept), message->len, message->attempts);
	if (message->reason[0] == '\0')
		puts("-");
	else
		printf("%s: %s\n", message->reason, message->detail);
}

void queue_print_message(const struct spool_message *message)
{
	char time[RECEIPT_TIME_MAX];

	printf("id         %s\nservice    %s\nstate      %s\nbytes      %" PRIu64 "\n", message->id, message->service,
	       command_state(message->state), message->len);
	printf("kept       %s\n", moment(message->kept_ms, time));
	printf("expires    %s\n", moment(message->expires_ms, time));
	if (message->state == SPOOL_WAITING)
		printf("due        %s\n", moment(message->due_ms, time));
	printf("attempts   %" PRIu64 "\nuncertain  %" PRIu64 "\n", message->attempts, message->uncertain);
	if (message->reason[0] != '\0')
		printf("reason     %s\ndetail     %s\n", message->reason, message->detail);
}

void queue_print_totals(const struct spool_totals *totals, bool served)
{
	printf("%" PRIu64 " message%s with %" PRIu64 " bytes; %s\n", totals->messages, totals->messages == 1 ? "" : "s",
	       totals->bytes, served ? "being delivered" : "nobody delivers: start portseal-sender run");
	printf("ever: %" PRIu64 " kept, %" PRIu64 " delivered, %" PRIu64 " died, %" PRIu64 " dropped, %" PRIu64
	       " attempts uncertain\n",
	       totals->kept, totals->delivered, totals->died, totals->dropped, totals->uncertain);
}

static void json_string(struct text *out, const char *name, const char *value)
{
	text_addf(out, ",\"%s\":\"", name);
	text_add_json(out, value, strlen(value));
	text_add(out, "\"");
}

static void json_moment(struct text *out, const char *name, int64_t ms)
{
	char time[RECEIPT_TIME_MAX];

	if (ms != INT64_MAX)
		json_string(out, name, moment(ms, time));
}

void queue_json_message(const struct spool_message *message)
{
	char storage[JSON_MAX];
	struct text out;

	text_init(&out, storage, sizeof(storage));
	text_addf(&out, "{\"id\":\"%s\"", message->id);
	json_string(&out, "service", message->service);
	json_string(&out, "state", command_state(message->state));
	text_addf(&out, ",\"bytes\":%" PRIu64 ",\"attempts\":%" PRIu64 ",\"uncertain\":%" PRIu64, message->len,
	          message->attempts, message->uncertain);
	json_moment(&out, "kept", message->kept_ms);
	json_moment(&out, "expires", message->expires_ms);
	if (message->state == SPOOL_WAITING)
		json_moment(&out, "due", message->due_ms);
	if (message->reason[0] != '\0') {
		json_string(&out, "reason", message->reason);
		json_string(&out, "detail", message->detail);
	}
	printf("%s}", storage);
}

void queue_json_totals(const struct spool_totals *totals, bool served)
{
	printf("\"served\":%s,\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"delivered\":%" PRIu64
	       ",\"died\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"uncertain\":%" PRIu64,
	       served ? "true" : "false", totals->messages, totals->bytes, totals->kept, totals->delivered, totals->died,
	       totals->dropped, totals->uncertain);
}
