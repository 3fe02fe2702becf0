/* SPDX-License-Identifier: Apache-2.0 */
#include "auditor_client.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/channel.h"
#include "portseal/log.h"
#include "portseal/text.h"

#define RECORDS_PER_TURN 64

enum state {
	GREETED, /* has not heard or answered our hello yet */
	TELLING,
};

struct auditor_client {
	struct auditor_clients *all;
	LIST_ENTRY(auditor_client) link;
	enum state state;
	int channel;
	uv_poll_t poll;
	bool hello_due;
	uint64_t last_id;     /* taken */
	uint64_t answered_id; /* an answer was sent for it */
	bool malformed;       /* said once */
	struct audit_answer answer;
	bool answer_due;
	struct buf kept;     /* GREETED: records, each behind its length */
	uint64_t n_not_kept; /* GREETED: that found no room there */
};

struct auditor_clients {
	struct auditor_clients_config config;
	uint64_t number; /* our own, for HELLO */
	LIST_HEAD(auditor_client_list, auditor_client) list;
	size_t n;
};

enum ps_err auditor_clients_new(const struct auditor_clients_config *config, struct auditor_clients **clients)
{
	struct auditor_clients *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	*fresh = (struct auditor_clients){ .config = *config, .number = uv_hrtime() };
	LIST_INIT(&fresh->list);
	*clients = fresh;
	return PS_OK;
}

static void take_record(struct auditor_client *client, const uint8_t *body, size_t len)
{
	const struct auditor_clients_config *config = &client->all->config;
	struct audit_record record;

	if (audit_record_unpack(body, len, &record) != PS_OK || record.id <= client->last_id) {
		if (!client->malformed)
			log_event(LOG_ERROR, "audit-malformed", "a role sent what is no record; it is counted as lost");
		client->malformed = true;
		config->on_lost(config->owner, 1, "a record was malformed");
		return;
	}
	client->last_id = record.id;
	if (record.lost > 0)
		config->on_lost(config->owner, record.lost, "too many records waited");
	config->on_record(config->owner, &record);
}

/* Either it is kept whole, or it counts, with those that it says were lost before it. */
static void keep(struct auditor_client *client, const uint8_t *body, size_t len)
{
	uint32_t prefix = (uint32_t)len;
	struct audit_record record;

	if (len <= AUDIT_RECORD_MAX && buf_len(&client->kept) + sizeof(prefix) + len <= AUDITOR_KEPT_MAX &&
	    buf_reserve(&client->kept, sizeof(prefix) + len) == PS_OK &&
	    buf_append(&client->kept, &prefix, sizeof(prefix)) == PS_OK && buf_append(&client->kept, body, len) == PS_OK)
		return;
	client->n_not_kept++;
	if (audit_record_unpack(body, len, &record) == PS_OK)
		client->n_not_kept += record.lost;
}

static void forget_kept(struct auditor_client *client)
{
	buf_release(&client->kept);
	client->n_not_kept = 0;
}

/* The role is gone and nobody will send them again. */
static void take_kept(struct auditor_client *client)
{
	while (buf_len(&client->kept) > 0) {
		uint8_t body[AUDIT_RECORD_MAX];
		uint32_t len;

		memcpy(&len, buf_front(&client->kept), sizeof(len));
		memcpy(body, buf_front(&client->kept) + sizeof(len), len);
		buf_consume(&client->kept, sizeof(len) + len);
		take_record(client, body, len);
	}
	if (client->n_not_kept > 0) {
		log_event(LOG_ERROR, "audit-dropped", "%" PRIu64 " records of a role that ended found no room; counted as lost",
		          client->n_not_kept);
		client->all->config.on_lost(client->all->config.owner, client->n_not_kept,
		                            "a role ended: no room for all it left");
	}
	forget_kept(client);
}

static void on_closed(uv_handle_t *handle)
{
	struct auditor_client *client = handle->data;

	close(client->channel);
	buf_release(&client->kept);
	free(client);
}

static void remove_client(struct auditor_client *client)
{
	take_kept(client);
	LIST_REMOVE(client, link);
	client->all->n--;
	uv_close((uv_handle_t *)&client->poll, on_closed);
}

static void take(struct auditor_client *client, uint32_t type, const uint8_t *body, size_t len)
{
	uint64_t number = 0;

	if (type == AUDIT_MESSAGE_RESUME && len == sizeof(number))
		memcpy(&number, body, sizeof(number));
	if (type == AUDIT_MESSAGE_RESUME && number == client->all->number) {
		forget_kept(client);
		client->state = TELLING;
		client->last_id = client->answered_id = 0; /* it sends again what it has no answer for */
	} else if (type == AUDIT_MESSAGE_RESUME) {
		forget_kept(client); /* to an auditor before us: what came before it was void already */
	} else if (client->state == GREETED) {
		keep(client, body, len);
	} else {
		take_record(client, body, len);
	}
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
	struct auditor_client *client = poll->data;
	const bool is_stopped = status < 0; /* by libuv: the role has closed with answers of ours unread */
	uint8_t body[CHANNEL_MESSAGE_MAX];
	enum ps_err err = PS_OK;
	uint32_t type;
	size_t len;
	int fd;

	(void)events;
	for (int i = 0; (i < RECORDS_PER_TURN || is_stopped) && (err == PS_OK || err == PS_E_PROTO); i++) {
		err = channel_receive(client->channel, &type, body, &len, &fd);
		if (err != PS_OK)
			continue;
		if (fd >= 0)
			close(fd);
		take(client, type, body, len);
	}
	if (err == PS_E_CLOSED)
		remove_client(client);
	else if (is_stopped)
		uv_poll_start(poll, UV_READABLE, on_channel);
}

static void greet(struct auditor_client *client)
{
	struct audit_hello hello = { .number = client->all->number, .policy = (uint64_t)client->all->config.policy };

	client->hello_due = channel_send(client->channel, AUDIT_MESSAGE_HELLO, &hello, sizeof(hello), -1) == PS_E_AGAIN;
}

void auditor_clients_add(struct auditor_clients *clients, int channel)
{
	struct auditor_client *client = calloc(1, sizeof(*client));

	if (client == NULL || uv_poll_init(clients->config.loop, &client->poll, channel) != 0) {
		log_event(LOG_ERROR, "no-memory", "a role cannot be heard: it waits for the next auditor");
		close(channel);
		free(client);
		return;
	}
	client->all = clients;
	client->channel = channel;
	client->state = GREETED;
	client->poll.data = client;
	LIST_INSERT_HEAD(&clients->list, client, link);
	clients->n++;
	greet(client);
	uv_poll_start(&client->poll, UV_READABLE, on_channel);
}

static void send_answer(struct auditor_client *client)
{
	enum ps_err err = channel_send(client->channel, AUDIT_MESSAGE_ANSWER, &client->answer, sizeof(client->answer), -1);

	client->answer_due = err == PS_E_AGAIN;
}

/* An answer that a full channel did not take covers those after it, too: if either failed, all of them did. */
void auditor_clients_answer(struct auditor_clients *clients, const char *cause)
{
	struct auditor_client *client;

	LIST_FOREACH(client, &clients->list, link)
	{
		if (client->answered_id == client->last_id)
			continue;
		struct text text;
		bool written = cause == NULL && !(client->answer_due && client->answer.written == 0);

		client->answered_id = client->last_id;
		memset(&client->answer, 0, sizeof(client->answer));
		client->answer.upto = client->last_id;
		client->answer.written = written ? 1 : 0;
		client->answer.policy = (uint32_t)clients->config.policy;
		text_init(&text, client->answer.cause, sizeof(client->answer.cause));
		text_add(&text, cause == NULL ? "" : cause);
		send_answer(client);
	}
}

void auditor_clients_retry(struct auditor_clients *clients)
{
	struct auditor_client *client;

	LIST_FOREACH(client, &clients->list, link)
	{
		if (client->hello_due)
			greet(client);
		if (client->answer_due)
			send_answer(client);
	}
}

size_t auditor_clients_count(const struct auditor_clients *clients)
{
	return clients->n;
}

void auditor_clients_close(struct auditor_clients *clients)
{
	struct auditor_client *client;

	if (clients == NULL)
		return;
	while ((client = LIST_FIRST(&clients->list)) != NULL) {
		LIST_REMOVE(client, link);
		uv_close((uv_handle_t *)&client->poll, on_closed);
	}
	clients->n = 0;
}

void auditor_clients_free(struct auditor_clients *clients)
{
	free(clients);
}
