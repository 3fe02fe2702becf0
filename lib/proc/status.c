/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "portseal/net.h"
#include "portseal/scoreboard.h"
#include "portseal/text.h"

#define STATUS_MAX 65536 /* with every place of `children` taken */
#define ANSWERS_PER_TURN 8

static void add_time(struct text *text, const char *key, time_t when)
{
	struct tm utc;
	char date[32];

	if (when == 0 || gmtime_r(&when, &utc) == NULL || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		text_addf(text, "\"%s\":null", key);
	else
		text_addf(text, "\"%s\":\"%s\"", key, date);
}

static void add_roles(struct text *text, const struct children *children)
{
	static const char *const standings[] = { "vacant", "trial", "in-force", "retiring" };
	const char *between = "";

	text_add(text, "\"roles\":[");
	for (unsigned i = 0; i < children->n; i++) {
		const struct child *child = &children->at[i];

		if (child->standing == CHILD_VACANT)
			continue;
		text_addf(text,
		          "%s{\"role\":\"%s\",\"index\":%u,\"pid\":%d,\"generation\":%u,\"standing\":\"%s\",\"ready\":%s}",
		          between, children_kind_name(child->kind), child->index, (int)child->pid, child->generation,
		          standings[child->standing], child->ready ? "true" : "false");
		between = ",";
	}
	text_add(text, "]");
}

static void add_reload(struct text *text, const struct reload *reload)
{
	text_addf(text, "\"generation\":%u,", reload->generation);
	add_time(text, "since", reload->since);
	text_add(text, ",\"last_reload\":");
	if (reload->tried == 0) {
		text_add(text, "null");
		return;
	}
	text_add(text, "{");
	add_time(text, "at", reload->tried);
	text_addf(text, ",\"ok\":%s,\"cause\":\"", reload->failure.text[0] == '\0' ? "true" : "false");
	text_add_json(text, reload->failure.text, strlen(reload->failure.text));
	text_add(text, "\"}");
}

static void build(struct text *text, const struct supervisor_config *config, const struct reload *reload, bool draining)
{
	text_addf(text, "{\"program\":\"%s\",\"version\":\"%s\",\"pid\":%d,\"state\":\"%s\",", config->program, PS_VERSION,
	          (int)getpid(), draining ? "draining" : "serving");
	add_reload(text, reload);
	if (config->board != NULL)
		text_addf(text, ",\"connections\":%" PRIu64, scoreboard_total(config->board));
	if (config->add_status != NULL)
		config->add_status(reload->daemon, text);
	text_add(text, ",");
	add_roles(text, reload->children);
	text_add(text, "}\n");
}

void status_answer(const struct supervisor_config *config, const struct reload *reload, bool draining)
{
	for (int i = 0; i < ANSWERS_PER_TURN; i++) {
		struct sockaddr_storage peer;
		socklen_t peer_len = sizeof(peer);
		char storage[STATUS_MAX];
		struct text text;
		int fd;

		if (net_accept(config->status_fd, &fd, &peer, &peer_len) != PS_OK)
			return;
		text_init(&text, storage, sizeof(storage));
		build(&text, config, reload, draining);
		/* A fresh socket's buffer takes it whole; whoever does not read it has not been told. */
		(void)send(fd, text.at, text.len, MSG_NOSIGNAL);
		close(fd);
	}
}
