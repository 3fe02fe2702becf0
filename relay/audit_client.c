/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_client.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "portseal/audit_record.h"
#include "portseal/channel.h"
#include "portseal/clock.h"
#include "portseal/log.h"

#define RECORDS_MAX 8192 /* without an answer; of at most AUDIT_RECORD_MAX bytes */
#define TICK_MS 100
#define LAST_PATIENCE_MS 1000

/* One record, from the call to the answer. */
struct audit_wait {
	struct audit_client *client;
	STAILQ_ENTRY(audit_wait) link;
	uint64_t id;
	uint64_t since_ms;
	bool sent;
	audit_written_fn *on_written; /* NULL: nobody waits (any more) */
	void *owner;
	size_t len;
	uint8_t bytes[];
};

STAILQ_HEAD(audit_waits, audit_wait);

struct audit_client {
	uv_loop_t *loop;
	int channel;
	uv_poll_t poll;
	uv_timer_t tick;
	unsigned n_handles;
	struct audit_waits queue;    /* in the order of their numbers: sent ones, then others */
	struct audit_wait *unsent;   /* the first of the others; NULL: there are none */
	struct audit_waits hopeless; /* found no room: their owners are told at the next tick */
	size_t n;
	uint64_t last_id;
	uint64_t lost; /* to be told with the next record that has room */
	enum audit_policy policy;
	uint64_t auditor; /* the number of the one that said hello last */
	bool greeted;     /* an auditor has said hello */
	bool resume_due;  /* and has not been answered yet */
	bool silent;      /* the patience with it was over: said once */
};

static void on_channel(uv_poll_t *poll, int status, int events);

bool audit_is_on(const struct audit_client *client)
{
	return client != NULL;
}

static void watch(struct audit_client *client, bool for_room)
{
	uv_poll_start(&client->poll, for_room ? UV_READABLE | UV_WRITABLE : UV_READABLE, on_channel);
}

static enum ps_err send_resume(struct audit_client *client)
{
	enum ps_err err;

	if (!client->resume_due)
		return PS_OK;
	err = channel_send(client->channel, AUDIT_MESSAGE_RESUME, &client->auditor, sizeof(client->auditor), -1);
	client->resume_due = err != PS_OK;
	return err;
}

/* As many as the channel takes. */
static void send_queued(struct audit_client *client)
{
	enum ps_err err;

	if (!client->greeted)
		return;
	err = send_resume(client);
	while (client->unsent != NULL && err == PS_OK) {
		struct audit_wait *wait = client->unsent;

		err = channel_send(client->channel, AUDIT_MESSAGE_RECORD, wait->bytes, wait->len, -1);
		wait->sent = err == PS_OK;
		if (wait->sent)
			client->unsent = STAILQ_NEXT(wait, link);
	}
	watch(client, err == PS_E_AGAIN);
}

/* Its owner hears it once; it may call us again meanwhile. */
static void tell_owner(struct audit_wait *wait, bool goes_on, const char *cause)
{
	audit_written_fn *on_written = wait->on_written;

	wait->on_written = NULL;
	if (on_written != NULL)
		on_written(wait->owner, goes_on, cause);
}

/* Another auditor reads the channel: whatever has no answer goes to it, in order. */
static void on_hello(struct audit_client *client, const struct audit_hello *hello)
{
	struct audit_wait *wait;

	client->policy = (enum audit_policy)hello->policy;
	client->auditor = hello->number;
	client->greeted = true;
	client->resume_due = true;
	STAILQ_FOREACH(wait, &client->queue, link)
	{
		if (wait->sent)
			audit_record_set_again(wait->bytes);
		wait->sent = false;
	}
	client->unsent = STAILQ_FIRST(&client->queue);
}

static void on_answer(struct audit_client *client, const struct audit_answer *answer)
{
	struct audit_wait *wait;

	client->policy = (enum audit_policy)answer->policy;
	if (client->silent)
		log_event(LOG_INFO, "audit-answers", "the auditor answers again");
	client->silent = false;
	while ((wait = STAILQ_FIRST(&client->queue)) != NULL && wait->sent && wait->id <= answer->upto) {
		STAILQ_REMOVE_HEAD(&client->queue, link);
		client->n--;
		tell_owner(wait, answer->written == 1 || client->policy == AUDIT_CONTINUE, answer->cause);
		free(wait);
	}
}

/* False when there is nothing more at the moment. */
static bool take_message(struct audit_client *client)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	struct audit_answer answer;
	struct audit_hello hello;
	uint32_t type;
	size_t len;
	int fd;

	if (channel_receive(client->channel, &type, body, &len, &fd) != PS_OK)
		return false;
	if (fd >= 0)
		close(fd);
	if (type == AUDIT_MESSAGE_HELLO && audit_hello_unpack(body, len, &hello) == PS_OK)
		on_hello(client, &hello);
	else if (type == AUDIT_MESSAGE_ANSWER && audit_answer_unpack(body, len, &answer) == PS_OK)
		on_answer(client, &answer);
	else
		log_event(LOG_ERROR, "audit-malformed", "the auditor sent what is no answer; it was dropped");
	return true;
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
	struct audit_client *client = poll->data;

	(void)events;
	while (take_message(client))
		;
	if (status < 0) /* the supervisor is gone, and so is the auditor: the ticks tell who waits */
		uv_poll_stop(poll);
	else
		send_queued(client);
}

static void lose_patience(struct audit_client *client, struct audit_wait *wait)
{
	if (!client->silent)
		log_event(LOG_ERROR, "audit-unanswered", "the auditor has not answered for %d ms; %s", AUDIT_PATIENCE_MS,
		          client->policy == AUDIT_REFUSE ? "whoever comes is refused until it does" : "going on without it");
	client->silent = true;
	tell_owner(wait, client->policy == AUDIT_CONTINUE, "the auditor does not answer");
}

static void on_tick(uv_timer_t *timer)
{
	struct audit_client *client = timer->data;
	uint64_t now = uv_now(client->loop);
	struct audit_wait *wait;

	while ((wait = STAILQ_FIRST(&client->hopeless)) != NULL) {
		STAILQ_REMOVE_HEAD(&client->hopeless, link);
		tell_owner(wait, client->policy == AUDIT_CONTINUE, "too many records wait for the auditor");
		free(wait);
	}
	/* An owner that is told may forget others, but none of them leaves the queue. */
	STAILQ_FOREACH(wait, &client->queue, link)
	{
		if (now - wait->since_ms < AUDIT_PATIENCE_MS)
			break;
		if (wait->on_written != NULL)
			lose_patience(client, wait);
	}
	if (client->n == 0 && STAILQ_EMPTY(&client->hopeless))
		uv_timer_stop(timer);
}

static struct audit_wait *put(struct audit_client *client, const struct audit_entry *entry,
                              audit_written_fn *on_written, void *owner)
{
	uint8_t packed[AUDIT_RECORD_MAX];
	size_t len = audit_record_pack(client->last_id + 1, client->lost, entry, packed);
	bool has_room = client->n < RECORDS_MAX;
	struct audit_wait *wait = has_room || on_written != NULL ? calloc(1, sizeof(*wait) + len) : NULL;

	if (wait == NULL) {
		client->lost++;
		return NULL;
	}
	wait->client = client;
	wait->since_ms = uv_now(client->loop);
	wait->on_written = on_written;
	wait->owner = owner;
	if (!uv_is_active((uv_handle_t *)&client->tick))
		uv_timer_start(&client->tick, on_tick, TICK_MS, TICK_MS);
	if (!has_room) {
		client->lost++;
		STAILQ_INSERT_TAIL(&client->hopeless, wait, link);
		return wait;
	}
	wait->id = ++client->last_id;
	client->lost = 0;
	wait->len = len;
	memcpy(wait->bytes, packed, len);
	STAILQ_INSERT_TAIL(&client->queue, wait, link);
	if (client->unsent == NULL)
		client->unsent = wait;
	client->n++;
	send_queued(client);
	return wait;
}

static void tell(struct audit_client *client, enum audit_event event, const struct audit_entry *entry)
{
	struct audit_entry set = *entry;

	set.event = event;
	if (client != NULL)
		(void)put(client, &set, NULL, NULL);
}

static enum audit_asked ask(struct audit_client *client, enum audit_event event, const struct audit_entry *entry,
                            audit_written_fn *on_written, void *owner, struct audit_wait **wait)
{
	struct audit_entry set = *entry;

	set.event = event;
	*wait = NULL;
	if (client == NULL)
		return AUDIT_OFF;
	*wait = put(client, &set, on_written, owner);
	return *wait == NULL ? AUDIT_UNASKABLE : AUDIT_ASKED;
}

enum ps_err audit_client_new(uv_loop_t *loop, int channel, struct audit_client **client)
{
	struct audit_client *fresh;

	*client = NULL;
	if (channel < 0)
		return PS_OK;
	fresh = calloc(1, sizeof(*fresh));
	if (fresh == NULL || uv_poll_init(loop, &fresh->poll, channel) != 0) {
		free(fresh);
		return PS_E_NOMEM;
	}
	fresh->loop = loop;
	fresh->channel = channel;
	fresh->policy = AUDIT_REFUSE; /* until the auditor says otherwise */
	fresh->poll.data = fresh;
	fresh->n_handles = 2;
	uv_timer_init(loop, &fresh->tick);
	fresh->tick.data = fresh;
	STAILQ_INIT(&fresh->queue);
	STAILQ_INIT(&fresh->hopeless);
	watch(fresh, false);
	*client = fresh;
	return PS_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct audit_client *client = handle->data;

	if (--client->n_handles == 0)
		free(client);
}

/* The role ends: what it told last is to be written. */
static void wait_for_answers(struct audit_client *client)
{
	uint64_t until = clock_now_ms() + LAST_PATIENCE_MS;
	struct audit_wait *wait;

	STAILQ_FOREACH(wait, &client->queue, link)
	wait->on_written = NULL;
	while (client->n > 0 && clock_now_ms() < until) {
		struct pollfd polled = { .fd = client->channel, .events = POLLIN };

		send_queued(client);
		(void)poll(&polled, 1, TICK_MS);
		while (take_message(client))
			;
		if ((polled.revents & (POLLHUP | POLLERR)) != 0)
			return;
	}
}

/* What was sent lies in the channel, where the next auditor finds it. Of the rest the trail knows nothing. */
static void tell_dropped(const struct audit_client *client)
{
	uint64_t n = client->lost;

	for (const struct audit_wait *wait = client->unsent; wait != NULL; wait = STAILQ_NEXT(wait, link))
		n++;
	if (n > 0)
		log_event(LOG_ERROR, "audit-dropped", "%" PRIu64 " records were not sent to the auditor: no gap counts them",
		          n);
}

void audit_client_free(struct audit_client *client)
{
	struct audit_wait *wait;

	if (client == NULL)
		return;
	wait_for_answers(client);
	tell_dropped(client);
	while ((wait = STAILQ_FIRST(&client->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&client->queue, link);
		free(wait);
	}
	while ((wait = STAILQ_FIRST(&client->hopeless)) != NULL) {
		STAILQ_REMOVE_HEAD(&client->hopeless, link);
		free(wait);
	}
	uv_poll_stop(&client->poll);
	uv_close((uv_handle_t *)&client->poll, on_handle_closed);
	uv_close((uv_handle_t *)&client->tick, on_handle_closed);
	close(client->channel);
}

enum audit_asked audit_accepted(struct audit_client *client, const struct audit_entry *entry,
                                audit_written_fn *on_written, void *owner, struct audit_wait **wait)
{
	return ask(client, AUDIT_ACCEPTED, entry, on_written, owner, wait);
}

void audit_forget(struct audit_wait *wait)
{
	if (wait != NULL)
		wait->on_written = NULL;
}

void audit_refused(struct audit_client *client, const struct audit_entry *entry)
{
	tell(client, AUDIT_REFUSED, entry);
}

void audit_closed(struct audit_client *client, const struct audit_entry *entry)
{
	tell(client, AUDIT_CLOSED, entry);
}
