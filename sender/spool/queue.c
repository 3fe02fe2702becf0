/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "portseal/clock.h"
#include "portseal/text.h"
#include "spool/command.h"
#include "spool/queue_print.h"
#include "spool/serving.h"
#include "spool/spool_queue.h"
#include "usage.h"

struct queue {
	struct config_options options;
	struct args_list ids;
	const char *json, *dead, *all, *payload, *service, *help;
	struct sender_config *config;
	struct spool *spool; /* NULL: there is none yet, and so nothing in it */
	struct outcome outcome;
};

static const char *const exit_codes = "ID is a message's id, or as much of its beginning as no other has.\n"
									  "\n"
									  "Exit codes:\n"
									  "  0  done\n"
									  "  1  no such message, or something unforeseen\n"
									  "  2  usage\n"
									  "  3  configuration, or a spool that cannot be used\n"
									  "  8  no space is left for the change\n";

#define ROWS(queue) \
	{ "config", 'c', "FILE", "the configuration, which names the spool", &(queue)->options.file, NULL }, \
		{ "json", 0, NULL, "JSON instead of lines", &(queue)->json, NULL }, \
	{ \
		"help", 'h', NULL, "this text", &(queue)->help, NULL \
	}

#define END \
	{ \
		NULL, 0, NULL, NULL, NULL, NULL \
	}

/* False with the outcome set. */
static bool check(struct queue *queue, enum ps_err err, const struct ps_cause *cause)
{
	if (err == PS_OK)
		return true;
	outcome_set(&queue->outcome, command_code(err), "%s", cause->text);
	return false;
}

static bool open_spool(struct queue *queue)
{
	struct ps_cause cause;

	if (command_load(&queue->options, &queue->config, &queue->outcome) != PS_OK)
		return false;
	const enum ps_err err = spool_open_existing(queue->config->spool.path, &queue->spool, &cause);
	return err == PS_E_CLOSED || check(queue, err, &cause);
}

static bool is_served(const struct queue *queue)
{
	return serving_is_on(queue->config->spool.path);
}

static int finish(struct queue *queue)
{
	spool_close(queue->spool);
	config_free(queue->config);
	if (queue->outcome.code != OUTCOME_DONE)
		usage_print_failure(&queue->outcome);
	return (int)queue->outcome.code;
}

/* Reads the command line; false when the command is over, with *code. */
static bool begin(struct queue *queue, const struct args_option *table, int argc, char *const *argv,
                  const char *synopsis, const char *purpose, int *code)
{
	struct ps_cause cause;
	char prefix[32];

	(void)snprintf(prefix, sizeof(prefix), "queue %s: ", argv[0]);
	if (args_parse(table, argc, argv, &queue->ids, &cause) != PS_OK) {
		*code = usage_error(prefix, &cause);
		return false;
	}
	if (queue->help != NULL) {
		usage_print(synopsis, purpose, table, exit_codes);
		*code = OUTCOME_DONE;
		return false;
	}
	if (!open_spool(queue)) {
		*code = finish(queue);
		return false;
	}
	return true;
}

static bool is_wanted(const struct queue *queue, const struct spool_message *message)
{
	return (queue->dead == NULL || message->state == SPOOL_DEAD) &&
	       (queue->service == NULL || strcmp(message->service, queue->service) == 0);
}

static void list_messages(struct queue *queue)
{
	struct spool_message message = { .seq = 0 };
	struct ps_cause cause;
	enum ps_err err;
	bool first = true;

	while ((err = spool_walk(queue->spool, message.seq, &message, &cause)) == PS_OK) {
		if (!is_wanted(queue, &message))
			continue;
		if (queue->json != NULL)
			printf("%s", first ? "" : ",");
		else if (first)
			queue_print_head();
		if (queue->json != NULL)
			queue_json_message(&message);
		else
			queue_print_line(&message);
		first = false;
	}
	if (err != PS_E_CLOSED)
		(void)check(queue, err, &cause);
}

static void list(struct queue *queue)
{
	struct spool_totals totals = { 0 };
	struct ps_cause cause;

	if (queue->spool != NULL && !check(queue, spool_totals(queue->spool, &totals, &cause), &cause))
		return;
	if (queue->json != NULL)
		printf("{\"list\":[");
	if (queue->spool != NULL)
		list_messages(queue);
	if (queue->json != NULL) {
		printf("],");
		queue_json_totals(&totals, is_served(queue));
		printf("}\n");
	} else {
		queue_print_totals(&totals, is_served(queue));
	}
}

static int list_main(int argc, char *const *argv)
{
	struct queue queue = { 0 };
	const struct args_option table[] = {
		{ "dead", 0, NULL, "only what was given up", &queue.dead, NULL },
		{ "service", 0, "NAME", "only messages for this service", &queue.service, NULL },
		ROWS(&queue),
		END,
	};
	int code;

	if (!begin(&queue, table, argc, argv, "queue list -c FILE [--dead] [--service NAME] [--json]",
	           "Lists the messages in the spool, oldest first.", &code))
		return code;
	if (queue.ids.n > 0)
		outcome_set(&queue.outcome, OUTCOME_USAGE, "queue list: takes no ID: see queue show");
	else
		list(&queue);
	return finish(&queue);
}

/* False with the outcome set. */
static bool find(struct queue *queue, const char *id, struct spool_message *message)
{
	char quoted[TEXT_QUOTED_MAX];
	struct ps_cause cause;
	const enum ps_err err = queue->spool == NULL ? PS_E_CLOSED : spool_find(queue->spool, id, message, &cause);

	if (err == PS_E_CLOSED)
		outcome_set(&queue->outcome, OUTCOME_UNFORESEEN, "no message %s in the spool: was it delivered meanwhile?",
		            text_quoted(quoted, id));
	else if (err == PS_E_LIMIT)
		outcome_set(&queue->outcome, OUTCOME_UNFORESEEN, "several messages begin with %s: give more of the id",
		            text_quoted(quoted, id));
	else
		(void)check(queue, err, &cause);
	return err == PS_OK;
}

static void write_payload(struct queue *queue, const struct spool_message *message)
{
	char part[SPOOL_PART];
	struct ps_cause cause;
	uint64_t offset = 0;
	size_t n = 1;

	while (n > 0) {
		if (!check(queue, spool_read(queue->spool, message->seq, offset, part, sizeof(part), &n, &cause), &cause))
			return;
		if (fwrite(part, 1, n, stdout) != n) {
			outcome_set(&queue->outcome, OUTCOME_UNFORESEEN, "stdout did not take the payload");
			return;
		}
		offset += n;
	}
	if (fflush(stdout) != 0)
		outcome_set(&queue->outcome, OUTCOME_UNFORESEEN, "stdout did not take the payload");
}

static void show(struct queue *queue)
{
	struct spool_message message;

	if (!find(queue, queue->ids.at[0], &message))
		return;
	if (queue->payload != NULL) {
		write_payload(queue, &message);
	} else if (queue->json != NULL) {
		queue_json_message(&message);
		printf("\n");
	} else {
		queue_print_message(&message);
	}
}

static int show_main(int argc, char *const *argv)
{
	struct queue queue = { 0 };
	const struct args_option table[] = {
		{ "payload", 0, NULL, "write the payload itself to stdout", &queue.payload, NULL },
		ROWS(&queue),
		END,
	};
	int code;

	if (!begin(&queue, table, argc, argv, "queue show ID -c FILE [--payload] [--json]", "Shows one message.", &code))
		return code;
	if (queue.ids.n != 1)
		outcome_set(&queue.outcome, OUTCOME_USAGE, "queue show: one ID is needed");
	else
		show(&queue);
	return finish(&queue);
}

static void print_count(const struct queue *queue, const char *word, uint64_t n)
{
	if (queue->json != NULL)
		printf("{\"%s\":%" PRIu64 "}\n", word, n);
	else
		printf("%s: %" PRIu64 " message%s\n", word, n, n == 1 ? "" : "s");
}

/* False with the outcome set: either IDs or the flag, not both and not neither. */
static bool check_which(struct queue *queue, const char *command, const char *flag, bool flag_given)
{
	if (flag_given != (queue->ids.n > 0))
		return true;
	outcome_set(&queue->outcome, OUTCOME_USAGE, "queue %s: give either IDs or %s", command, flag);
	return false;
}

static void retry(struct queue *queue)
{
	const struct spool_retry anew = { .now_ms = clock_wall_ms(), .ttl_ms = queue->config->spool.ttl_ms };
	struct spool_message message;
	struct ps_cause cause;
	uint64_t n = 0;
	enum ps_err err = PS_OK;

	if (queue->all != NULL && queue->spool != NULL)
		err = spool_retry_all(queue->spool, &anew, &n, &cause);
	for (size_t i = 0; i < queue->ids.n && err == PS_OK; i++) {
		if (!find(queue, queue->ids.at[i], &message))
			break;
		err = spool_retry(queue->spool, message.seq, &anew, &cause);
		n += err == PS_OK ? 1 : 0;
	}
	if (err == PS_E_CLOSED)
		outcome_set(&queue->outcome, OUTCOME_UNFORESEEN, "%s: is under way just now", message.id);
	else
		(void)check(queue, err, &cause);
	if (n > 0)
		(void)serving_wake(queue->config->spool.path);
	print_count(queue, "retried", n);
}

static int retry_main(int argc, char *const *argv)
{
	struct queue queue = { 0 };
	const struct args_option table[] = {
		{ "all", 0, NULL, "every message, dead ones included", &queue.all, NULL },
		ROWS(&queue),
		END,
	};
	int code;

	if (!begin(&queue, table, argc, argv, "queue retry ID... | --all -c FILE [--json]",
	           "Makes messages due at once; a dead one begins a new life.", &code))
		return code;
	if (check_which(&queue, "retry", "--all", queue.all != NULL))
		retry(&queue);
	return finish(&queue);
}

static void drop(struct queue *queue)
{
	struct spool_message message;
	struct ps_cause cause;
	uint64_t n = 0;
	enum ps_err err = PS_OK;

	if (queue->dead != NULL && queue->spool != NULL)
		err = spool_drop_dead(queue->spool, &n, &cause);
	for (size_t i = 0; i < queue->ids.n && err == PS_OK; i++) {
		if (!find(queue, queue->ids.at[i], &message))
			break;
		err = spool_drop(queue->spool, message.seq, is_served(queue), &cause);
		n += err == PS_OK ? 1 : 0;
	}
	if (err == PS_E_CLOSED)
		outcome_set(&queue->outcome, OUTCOME_UNFORESEEN, "%s: is under way just now", message.id);
	else
		(void)check(queue, err, &cause);
	print_count(queue, "dropped", n);
}

static int drop_main(int argc, char *const *argv)
{
	struct queue queue = { 0 };
	const struct args_option table[] = {
		{ "dead", 0, NULL, "every message that was given up", &queue.dead, NULL },
		ROWS(&queue),
		END,
	};
	int code;

	if (!begin(&queue, table, argc, argv, "queue drop ID... | --dead -c FILE [--json]",
	           "Throws messages away for good; none that is under way.", &code))
		return code;
	if (check_which(&queue, "drop", "--dead", queue.dead != NULL))
		drop(&queue);
	return finish(&queue);
}

static const struct args_command commands[] = {
	{ "list", "-c FILE [--dead] [--json]", "what is in the spool", list_main },
	{ "show", "ID -c FILE [--payload]", "one message, or its payload", show_main },
	{ "retry", "ID... | --all", "try it again now; revives what is dead", retry_main },
	{ "drop", "ID... | --dead", "throw it away", drop_main },
	{ NULL, NULL, NULL, NULL },
};

int queue_main(int argc, char *const *argv)
{
	const struct args_command *command;
	struct ps_cause cause;

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		printf("usage: %s queue COMMAND [OPTION]...\n\n", PROGRAM);
		args_print_commands(stdout, PROGRAM " queue", commands);
		return OUTCOME_DONE;
	}
	if (argc < 2) {
		(void)ps_cause_set(&cause, PS_E_CONFIG, "a command is missing: list, show, retry or drop");
		return usage_error("queue: ", &cause);
	}
	command = args_find_command(commands, argv[1], &cause);
	if (command == NULL)
		return usage_error("queue: ", &cause);
	return command->run(argc - 1, argv + 1);
}
