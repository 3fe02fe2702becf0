/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requests -- small requests and their answers: as fast as they are answered, each on a new connection, or by the clock.
 *
 * By the clock each connection has a timetable, and a request's latency counts from its place there, whether or not the
 * answer before it was late (as wrk2 does): a proxy that stalls is charged with everything that waited.
 *
 * Owns:   the connections of one run, one epoll loop.
 * Never:  counts an answer that is not byte for byte the request.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "histogram.h"
#include "load.h"
#include "pattern.h"

#define EVENTS 64
#define ERRORS_MAX 1000 /* then the run is given up */

enum pace { PACE_KEPT, PACE_NEW, PACE_CLOCK };

enum slot_state {
	SLOT_CLOSED,
	SLOT_CONNECTING,
	SLOT_READY,   /* nothing under way */
	SLOT_WAITING, /* for the rest of an answer */
};

struct slot {
	enum slot_state state;
	int fd;
	uint32_t index;
	uint32_t got;      /* bytes of the answer */
	uint64_t next;     /* number of the next request in this connection's timetable */
	uint64_t since_ns; /* when the one under way was begun, or was due */
	uint8_t request[1 + LOAD_SIZE_MAX];
};

struct run {
	const struct load_options *options;
	enum pace pace;
	int epoll, timer;
	struct slot *slots;
	uint32_t warm;     /* connections that answered once; the run starts when all have */
	uint64_t start_ns; /* 0: warming up */
	uint64_t end_ns;   /* of asking */
	uint64_t last_answer_ns;
	uint64_t timetable; /* the next request of all, by the clock */
	uint64_t under_way; /* connecting or waiting */
	uint64_t answered, errors, unanswered;
	struct histogram latency;
};

static void slot_close(struct run *run, struct slot *slot)
{
	if (slot->state == SLOT_CONNECTING || slot->state == SLOT_WAITING)
		run->under_way--;
	if (slot->state != SLOT_CLOSED)
		close(slot->fd);
	slot->state = SLOT_CLOSED;
}

static void slot_open(struct run *run, struct slot *slot)
{
	slot->since_ns = clock_ns();
	slot->fd = load_connect(&run->options->address);
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = slot };
	if (slot->fd < 0 || epoll_ctl(run->epoll, EPOLL_CTL_ADD, slot->fd, &event) != 0) {
		if (slot->fd >= 0)
			close(slot->fd);
		run->errors++;
		return;
	}
	slot->state = SLOT_CONNECTING;
	run->under_way++;
}

/* A kept connection that breaks stays broken, one of many new ones makes room for the next. */
static void slot_fail(struct run *run, struct slot *slot)
{
	slot_close(run, slot);
	run->errors++;
	if (run->pace == PACE_NEW && run->errors < ERRORS_MAX && clock_ns() < run->end_ns)
		slot_open(run, slot);
}

/* The connection's first request goes out behind the byte that tells the backend to echo. */
static void slot_ask(struct run *run, struct slot *slot, bool is_first)
{
	const uint64_t id = slot->next++ * run->options->connections + slot->index;
	slot->request[0] = LOAD_ECHO;
	memcpy(&slot->request[1], pattern_at(id), run->options->size);
	memcpy(&slot->request[1], &id, sizeof(id));
	slot->got = 0;
	if (slot->state == SLOT_READY)
		run->under_way++;
	slot->state = SLOT_WAITING;
	const size_t skip = is_first ? 0 : 1;
	if (!load_send_whole(slot->fd, &slot->request[skip], 1 + run->options->size - skip))
		slot_fail(run, slot);
}

static uint64_t due_ns(const struct run *run, uint64_t number)
{
	const uint64_t rate = run->options->rate;
	return run->start_ns + number / rate * CLOCK_SECOND + number % rate * CLOCK_SECOND / rate;
}

/* Asks what the connection's timetable has had for it by now; true if there was something. */
static bool slot_catch_up(struct run *run, struct slot *slot, uint64_t now)
{
	const uint64_t due = due_ns(run, slot->next * run->options->connections + slot->index);
	if (due > now || due >= run->end_ns)
		return false;
	slot->since_ns = due;
	slot_ask(run, slot, false);
	return true;
}

static void arm(struct run *run)
{
	const uint64_t due = due_ns(run, run->timetable);
	const struct itimerspec at = { .it_value = { .tv_sec = (time_t)(due / CLOCK_SECOND),
		                                         .tv_nsec = (long)(due % CLOCK_SECOND) } };
	if (due < run->end_ns)
		timerfd_settime(run->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* Wakes those connections whose time has come and that are not behind; the others catch up by themselves. */
static void on_timer(struct run *run)
{
	uint64_t expirations;
	if (read(run->timer, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		run->errors++;
	const uint64_t now = clock_ns();
	for (; due_ns(run, run->timetable) <= now && due_ns(run, run->timetable) < run->end_ns; run->timetable++) {
		struct slot *slot = &run->slots[run->timetable % run->options->connections];
		if (slot->state == SLOT_READY)
			slot_catch_up(run, slot, now);
	}
	arm(run);
}

static void begin(struct run *run)
{
	run->start_ns = clock_ns();
	run->end_ns = run->start_ns + run->options->duration_ns;
	for (uint32_t i = 0; i < run->options->connections; i++) {
		struct slot *slot = &run->slots[i];
		slot->next = 0;
		slot->since_ns = run->start_ns;
		if (run->pace == PACE_NEW)
			slot_open(run, slot);
		else if (run->pace == PACE_KEPT && slot->state == SLOT_READY)
			slot_ask(run, slot, false);
	}
	if (run->pace == PACE_CLOCK)
		arm(run);
}

static void on_answer(struct run *run, struct slot *slot)
{
	const uint64_t now = clock_ns();
	slot->state = SLOT_READY;
	run->under_way--;
	if (run->start_ns == 0) {
		if (++run->warm == run->options->connections)
			begin(run);
		return;
	}
	run->answered++;
	run->last_answer_ns = now;
	histogram_add(&run->latency, now - slot->since_ns);
	switch (run->pace) {
	case PACE_KEPT:
		slot->since_ns = now;
		if (now < run->end_ns)
			slot_ask(run, slot, false);
		break;
	case PACE_NEW:
		slot_close(run, slot);
		if (now < run->end_ns)
			slot_open(run, slot);
		break;
	case PACE_CLOCK:
		slot_catch_up(run, slot, now);
		break;
	}
}

/* One request is under way at most, so what comes is the rest of its answer and nothing else. */
static void on_readable(struct run *run, struct slot *slot)
{
	uint8_t bytes[LOAD_SIZE_MAX + 1];
	const ssize_t got = recv(slot->fd, bytes, sizeof(bytes), 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || slot->state != SLOT_WAITING || (size_t)got > run->options->size - slot->got ||
	    memcmp(bytes, &slot->request[1 + slot->got], (size_t)got) != 0) {
		slot_fail(run, slot);
		return;
	}
	slot->got += (uint32_t)got;
	if (slot->got == run->options->size)
		on_answer(run, slot);
}

static void on_event(struct run *run, struct slot *slot, uint32_t events)
{
	if (slot->state == SLOT_CLOSED)
		return;
	if ((events & (EPOLLERR | EPOLLHUP)) != 0)
		slot_fail(run, slot);
	else if (slot->state == SLOT_CONNECTING)
		slot_ask(run, slot, true);
	else if ((events & EPOLLIN) != 0)
		on_readable(run, slot);
}

/* By the clock a request may be due and not even sent: that, too, must be answered. */
static bool is_over(const struct run *run, uint64_t give_up_ns)
{
	const uint64_t now = clock_ns();
	if (run->errors >= ERRORS_MAX || now >= give_up_ns)
		return true;
	if (run->start_ns == 0)
		return run->errors > 0; /* a warm-up that cannot be completed */
	return now >= run->end_ns && run->under_way == 0;
}

static void drive(struct run *run)
{
	struct epoll_event events[EVENTS];
	uint64_t give_up_ns = clock_ns() + run->options->duration_ns + 2 * LOAD_GRACE_NS;
	while (!is_over(run, give_up_ns)) {
		const int n = epoll_wait(run->epoll, events, EVENTS, 20);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				on_timer(run);
			else
				on_event(run, events[i].data.ptr, events[i].events);
		}
	}
}

/* What was due and got no answer is charged with the time until now. */
static void charge_unanswered(struct run *run)
{
	const uint64_t now = clock_ns();
	for (uint32_t i = 0; i < run->options->connections && run->start_ns != 0; i++) {
		struct slot *slot = &run->slots[i];
		if (slot->state == SLOT_WAITING || slot->state == SLOT_CONNECTING) {
			histogram_add(&run->latency, now - slot->since_ns);
			run->unanswered++;
		}
		if (run->pace != PACE_CLOCK)
			continue;
		for (;; slot->next++) {
			const uint64_t due = due_ns(run, slot->next * run->options->connections + i);
			if (due >= run->end_ns || due > now)
				break;
			histogram_add(&run->latency, now - due);
			run->unanswered++;
		}
	}
}

static double quantile_us(const struct run *run, unsigned int per_mille)
{
	return (double)histogram_quantile(&run->latency, per_mille) / 1000.0;
}

static int report(const struct run *run)
{
	const double seconds =
		run->answered > 0 ? (double)(run->last_answer_ns - run->start_ns) / (double)CLOCK_SECOND : 0.0;
	printf("{\"answered\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"unanswered\": %" PRIu64 ", \"seconds\": %.6f, "
	       "\"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
	       run->answered, run->errors, run->unanswered, seconds,
	       run->answered > 0 ? (double)run->answered / seconds : 0.0, quantile_us(run, 500), quantile_us(run, 990),
	       quantile_us(run, 999), quantile_us(run, 1000));
	return run->answered == 0 || run->errors > 0 || run->unanswered > 0;
}

static bool run_open(struct run *run)
{
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	run->slots = calloc(run->options->connections, sizeof(*run->slots));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	if (run->epoll < 0 || run->timer < 0 || run->slots == NULL ||
	    epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->timer, &event) != 0)
		return false;
	for (uint32_t i = 0; i < run->options->connections; i++)
		run->slots[i].index = i;
	return true;
}

static void run_close(struct run *run)
{
	for (uint32_t i = 0; run->slots != NULL && i < run->options->connections; i++)
		slot_close(run, &run->slots[i]);
	free(run->slots);
	if (run->epoll >= 0)
		close(run->epoll);
	if (run->timer >= 0)
		close(run->timer);
}

static int run_at(enum pace pace, const struct load_options *options)
{
	static struct run run; /* zeroed; its histogram is large for a stack */
	int status = 1;
	run.options = options;
	run.pace = pace;
	if (run_open(&run)) {
		if (pace == PACE_NEW)
			begin(&run);
		for (uint32_t i = 0; i < options->connections && pace != PACE_NEW; i++)
			slot_open(&run, &run.slots[i]);
		drive(&run);
		charge_unanswered(&run);
		status = report(&run);
	} else {
		perror("portseal-load");
	}
	run_close(&run);
	return status;
}

int load_kept(const struct load_options *options)
{
	return run_at(PACE_KEPT, options);
}

int load_new(const struct load_options *options)
{
	return run_at(PACE_NEW, options);
}

int load_rate(const struct load_options *options)
{
	return run_at(PACE_CLOCK, options);
}
