/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold -- many connections that do nothing, once each has been answered; at the end each must answer again.
 *
 * Prints a line when all are idle, and holds them until its stdin ends.
 *
 * Owns:   the connections, one epoll loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "load.h"
#include "pattern.h"

#define EVENTS 64
#define AT_ONCE 32 /* that connect or wait for an answer */
#define QUESTION 8
#define PATIENCE_NS (120 * CLOCK_SECOND)

struct held {
	int fd; /* -1: broken */
	uint32_t index;
};

struct run {
	const struct load_options *options;
	int epoll;
	struct held *held;
	uint32_t begun, answered, broken; /* of this round */
};

static void fail(struct run *run, struct held *held)
{
	close(held->fd);
	held->fd = -1;
	run->broken++;
}

static void watch(const struct run *run, struct held *held, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = held };
	epoll_ctl(run->epoll, EPOLL_CTL_MOD, held->fd, &event);
}

static void ask(struct run *run, struct held *held, bool is_first)
{
	uint8_t question[1 + QUESTION] = { LOAD_ECHO };
	memcpy(&question[1], pattern_at(held->index), QUESTION);
	const size_t skip = is_first ? 0 : 1;
	if (!load_send_whole(held->fd, &question[skip], sizeof(question) - skip))
		fail(run, held);
	else if (is_first)
		watch(run, held, EPOLLIN);
}

static void on_event(struct run *run, struct held *held, uint32_t events)
{
	uint8_t answer[QUESTION + 1];
	if (held->fd < 0)
		return;
	if ((events & EPOLLOUT) != 0 && (events & (EPOLLERR | EPOLLHUP)) == 0) {
		ask(run, held, true);
		return;
	}
	/* So few bytes never come in pieces: each proxy passes them on as one record. */
	if (recv(held->fd, answer, sizeof(answer), 0) != QUESTION || !pattern_matches(held->index, answer, QUESTION))
		fail(run, held);
	else
		run->answered++;
}

static void begin_one(struct run *run, bool is_first)
{
	struct held *held = &run->held[run->begun];
	held->index = run->begun++;
	if (!is_first) {
		if (held->fd >= 0)
			ask(run, held, false);
		return;
	}
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = held };
	held->fd = load_connect(&run->options->address);
	if (held->fd < 0)
		run->broken++;
	else if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, held->fd, &event) != 0)
		fail(run, held);
}

/* Every connection is asked once; false if one of them does not answer rightly. */
static bool round_of_questions(struct run *run, bool is_first)
{
	struct epoll_event events[EVENTS];
	const uint64_t give_up_ns = clock_ns() + PATIENCE_NS;
	run->begun = 0;
	run->answered = 0;
	while (run->answered < run->options->connections && run->broken == 0 && clock_ns() < give_up_ns) {
		while (run->begun < run->options->connections && run->begun - run->answered < AT_ONCE)
			begin_one(run, is_first);
		const int n = epoll_wait(run->epoll, events, EVENTS, 100);
		for (int i = 0; i < n; i++)
			on_event(run, events[i].data.ptr, events[i].events);
	}
	return run->answered == run->options->connections;
}

int load_hold(const struct load_options *options)
{
	struct run run = { .options = options, .epoll = epoll_create1(EPOLL_CLOEXEC) };
	bool ok = false;
	run.held = calloc(options->connections, sizeof(*run.held));
	if (run.epoll < 0 || run.held == NULL) {
		perror("portseal-load: hold");
		goto done;
	}
	if (round_of_questions(&run, true)) {
		printf("{\"holding\": %u}\n", (unsigned int)run.answered);
		fflush(stdout);
		while (getchar() != EOF)
			;
		ok = round_of_questions(&run, false);
	}
	printf("{\"answered\": %u, \"errors\": %u}\n", (unsigned int)run.answered, (unsigned int)run.broken);
	for (uint32_t i = 0; i < run.begun; i++) {
		if (run.held[i].fd >= 0)
			close(run.held[i].fd);
	}
done:
	if (run.epoll >= 0)
		close(run.epoll);
	free(run.held);
	return ok ? 0 : 1;
}
