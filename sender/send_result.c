/* SPDX-License-Identifier: Apache-2.0 */
#include "send_result.h"

#include <inttypes.h>
#include <string.h>

#include "portseal/file.h"
#include "portseal/text.h"

#define LINE_MAX_LEN 2048
#define RECEIPT_MODE 0600

static void add_receipt(struct text *text, const struct receipt *receipt)
{
	char time[RECEIPT_TIME_MAX];

	receipt_print_time(receipt->time, time);
	text_addf(text, "\"id\":\"%s\",\"sha256\":\"", receipt->id);
	text_add_hex(text, receipt->sha256, sizeof(receipt->sha256));
	text_addf(text, "\",\"time\":\"%s\"", time);
}

static void add_json(struct text *text, uint64_t index, const struct post_result *result)
{
	const char *why = result->outcome.cause.text;

	text_addf(text, "{\"index\":%" PRIu64 ",\"delivered\":%s,\"status\":%u,\"reason\":\"%s\",\"receipt\":", index,
	          result->fate == POST_DELIVERED ? "true" : "false", result->status, result->reason);
	if (result->has_receipt) {
		text_add(text, "{");
		add_receipt(text, &result->receipt);
		text_add(text, "}");
	} else {
		text_add(text, "null");
	}
	text_addf(text, ",\"bytes\":%" PRIu64 ",\"reply_bytes\":%" PRIu64 ",\"exit_code\":%d,\"detail\":\"", result->sent,
	          result->reply_len, (int)result->outcome.code);
	if (result->outcome.code != OUTCOME_DONE)
		text_add_json(text, why, strlen(why));
	text_add(text, "\"}");
}

void send_result_print_line(FILE *out, bool json, uint64_t index, const struct post_result *result)
{
	char storage[LINE_MAX_LEN];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	if (json)
		add_json(&text, index, result);
	else if (result->fate == POST_DELIVERED)
		text_addf(&text, "message %" PRIu64 ": delivered, receipt %s, %" PRIu64 " bytes of reply", index,
		          result->receipt.id, result->reply_len);
	else
		text_addf(&text, "message %" PRIu64 ": failed: %s", index, result->outcome.cause.text);
	fprintf(out, "%s\n", storage);
}

void send_result_print_sum(FILE *out, bool json, uint64_t n_delivered, uint64_t n_failed)
{
	if (json)
		fprintf(out, "{\"delivered\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n", n_delivered, n_failed);
	else
		fprintf(out, "%" PRIu64 " delivered, %" PRIu64 " failed\n", n_delivered, n_failed);
}

enum ps_err send_result_write_receipt(const char *path, const struct outcome_names *names,
                                      const struct post_result *result, struct ps_cause *cause)
{
	char storage[LINE_MAX_LEN];
	struct text text;

	text_init(&text, storage, sizeof(storage));
	text_add(&text, "{");
	add_receipt(&text, &result->receipt);
	text_add(&text, ",\"relay\":\"");
	text_add_json(&text, names->server_name, strlen(names->server_name));
	text_add(&text, "\",\"service\":\"");
	text_add_json(&text, names->service, strlen(names->service));
	text_addf(&text, "\",\"status\":%u,\"bytes\":%" PRIu64 ",\"reply_bytes\":%" PRIu64 "}\n", result->status,
	          result->sent, result->reply_len);
	return file_write(path, storage, text.len, RECEIPT_MODE, FILE_REPLACE, cause);
}
