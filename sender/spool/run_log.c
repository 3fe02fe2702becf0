/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/run_log.h"

#include "portseal/log.h"

static void begin(struct log_line *line, enum log_level level, const char *event, const struct spool_message *message)
{
	log_begin(line, level, 0, event);
	log_word(line, "message", message->id);
	log_word(line, "service", message->service);
	log_number(line, "attempt", message->attempts);
}

static void log_delivered(const struct courier_task *task, uint64_t took_ms)
{
	struct log_line line;

	begin(&line, LOG_INFO, "delivered", &task->message);
	log_number(&line, "bytes", task->message.len);
	log_number(&line, "reply", task->reply_len);
	log_word(&line, "receipt", task->receipt[0] == '\0' ? NULL : task->receipt);
	if (task->message.uncertain > 0)
		log_number(&line, "uncertain", task->message.uncertain);
	log_number(&line, "ms", took_ms);
	log_end(&line);
}

void run_log_settled(const struct courier_task *task, uint64_t took_ms)
{
	const struct verdict *verdict = &task->verdict;
	const bool dead = verdict->fate == VERDICT_DEAD;
	struct log_line line;

	if (verdict->fate == VERDICT_DELIVERED) {
		log_delivered(task, took_ms);
		return;
	}
	begin(&line, dead || verdict->mendable ? LOG_WARN : LOG_INFO, dead ? "dead-letter" : "delivery-failed",
	      &task->message);
	log_word(&line, "reason", verdict->reason);
	if (verdict->uncertain)
		log_word(&line, "uncertain", "true");
	if (!dead)
		log_number(&line, "retry_ms", task->wait_ms);
	log_number(&line, "ms", took_ms);
	log_text(&line, "detail", verdict->detail);
	log_end(&line);
}

void run_log_expired(const struct spool_message *message)
{
	struct log_line line;

	begin(&line, LOG_WARN, "dead-letter", message);
	log_word(&line, "reason", "expired");
	if (message->reason[0] != '\0')
		log_word(&line, "last", message->reason);
	log_text(&line, "detail", message->detail[0] == '\0' ? NULL : message->detail);
	log_end(&line);
}
