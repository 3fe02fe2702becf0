/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: told what is waited for and is so, never of what is over, and not one system call too many. They are counted, and
 * may be refused, by the epoll_ctl() of this file.
 */
#include "portseal/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 300 /* more than one batch */

/* One watched end of a socket pair; `theirs` is the test's. */
struct end {
	struct watch watch;
	int ours, theirs;
	unsigned n_calls;
	uint32_t events; /* of the last call */
	void (*act)(struct end *end);
	struct end *other;
};

struct fixture {
	uv_loop_t loop;
	struct watches *watches;
};

static struct fixture fixture;
static unsigned n_ctl;
static int refusal; /* errno of the next calls; 0: they are made */

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	n_ctl++;
	errno = refusal;
	return refusal != 0 ? -1 : (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

static int open_loop(void **state)
{
	(void)state;
	if (uv_loop_init(&fixture.loop) != 0 || watches_new(&fixture.loop, &fixture.watches) != PS_OK)
		return -1;
	n_ctl = 0;
	return 0;
}

/* Every test ends with nothing watched, and so with a loop that has nothing to do. */
static int close_loop(void **state)
{
	(void)state;
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	watches_free(fixture.watches);
	(void)uv_run(&fixture.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&fixture.loop);
}

static void turn(void)
{
	(void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

static void on_event(void *owner, uint32_t events)
{
	struct end *end = owner;

	end->n_calls++;
	end->events = events;
	if (end->act != NULL)
		end->act(end);
}

static void begin(struct end *end)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	*end = (struct end){ .ours = fds[0], .theirs = fds[1] };
	watch_begin(&end->watch, fixture.watches, end->ours, on_event, end);
}

static void set(struct end *end, uint32_t mask)
{
	assert_int_equal(watch_set(&end->watch, mask), PS_OK);
}

static void write_to(struct end *end)
{
	assert_int_equal(send(end->theirs, "x", 1, MSG_NOSIGNAL), 1);
}

static void drop(struct end *end)
{
	watch_close(&end->watch);
	if (end->theirs >= 0)
		(void)close(end->theirs);
}

static void assert_called(const struct end *end, unsigned n_calls, uint32_t events)
{
	assert_int_equal(end->n_calls, n_calls);
	assert_int_equal(end->events, events);
}

static void test_it_is_told_what_it_waits_for_until_it_is_taken(void **state)
{
	(void)state;
	struct end end;
	char byte;
	begin(&end);
	set(&end, EPOLLIN);
	turn();
	assert_called(&end, 0, 0);
	write_to(&end);
	turn();
	turn();
	assert_called(&end, 2, EPOLLIN);
	assert_int_equal(read(end.ours, &byte, 1), 1);
	turn();
	assert_called(&end, 2, EPOLLIN);
	set(&end, EPOLLIN | EPOLLOUT);
	turn();
	assert_called(&end, 3, EPOLLOUT);
	drop(&end);
}

static void test_a_change_is_one_system_call_and_no_change_is_none(void **state)
{
	(void)state;
	struct end end;
	begin(&end);
	assert_int_equal(n_ctl, 0);
	watch_stop(&end.watch); /* it is not watched */
	assert_int_equal(n_ctl, 0);
	set(&end, EPOLLIN);
	assert_int_equal(n_ctl, 1);
	set(&end, EPOLLIN);
	assert_int_equal(n_ctl, 1);
	set(&end, 0);
	assert_int_equal(n_ctl, 2);
	set(&end, EPOLLOUT);
	assert_int_equal(n_ctl, 3);
	watch_stop(&end.watch);
	assert_int_equal(n_ctl, 4);
	set(&end, 0);
	assert_int_equal(n_ctl, 5);
	drop(&end);
	assert_int_equal(n_ctl, 5);
}

static void test_with_a_mask_of_0_only_a_hang_up_is_told_and_again_and_again(void **state)
{
	(void)state;
	struct end end;
	begin(&end);
	set(&end, 0);
	write_to(&end);
	turn();
	assert_called(&end, 0, 0);
	(void)close(end.theirs);
	end.theirs = -1;
	turn();
	turn();
	assert_called(&end, 2, EPOLLHUP);
	watch_stop(&end.watch);
	turn();
	assert_called(&end, 2, EPOLLHUP);
	drop(&end);
}

/* What hangs up can be read and written, whatever the kernel says of that: it is met there. */
static void test_a_hang_up_tells_the_whole_mask(void **state)
{
	(void)state;
	struct end end;
	int fds[2];
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	end = (struct end){ .ours = fds[0], .theirs = -1 };
	watch_begin(&end.watch, fixture.watches, end.ours, on_event, &end);
	set(&end, EPOLLIN);
	(void)close(fds[1]);
	turn();
	assert_called(&end, 1, EPOLLIN | EPOLLHUP);
	drop(&end);
}

static void stop_other(struct end *end)
{
	watch_stop(&end->watch);
	watch_stop(&end->other->watch);
}

/* Both are in one batch; whichever comes first, the other is not called. */
static void test_an_end_from_within_a_call_holds_for_the_rest_of_the_batch(void **state)
{
	(void)state;
	struct end a, b;
	begin(&a);
	begin(&b);
	a.act = b.act = stop_other;
	a.other = &b;
	b.other = &a;
	set(&a, EPOLLIN);
	set(&b, EPOLLIN);
	write_to(&a);
	write_to(&b);
	turn();
	assert_int_equal(a.n_calls + b.n_calls, 1);
	drop(&a);
	drop(&b);
}

static void free_other(struct end *end)
{
	struct end *other = end->other;

	if (other == NULL)
		return;
	drop(other);
	free(other);
	end->other = NULL;
}

/* The address sanitizer would tell of a call into what is gone. */
static void test_the_memory_of_what_was_closed_may_go_within_the_batch(void **state)
{
	(void)state;
	struct end end, *others[2];
	begin(&end);
	for (int i = 0; i < 2; i++) {
		others[i] = malloc(sizeof(struct end));
		assert_non_null(others[i]);
		begin(others[i]);
	}
	/* On both sides of it in the batch; the one before has been called by then. */
	set(others[0], EPOLLIN);
	set(&end, EPOLLIN);
	set(others[1], EPOLLIN);
	write_to(others[0]);
	write_to(&end);
	write_to(others[1]);
	end.act = free_other;
	end.other = others[1];
	turn();
	assert_int_equal(end.n_calls, 1);
	assert_null(end.other);
	drop(others[0]);
	free(others[0]);
	drop(&end);
}

static void replace_other(struct end *end)
{
	struct end *other = end->other;
	const int fd = other->ours;

	end->act = NULL;
	drop(other);
	begin(other);
	assert_int_equal(other->ours, fd); /* the lowest that is free */
	set(other, EPOLLIN);
}

static void test_a_descriptor_that_is_used_again_is_not_told_of_the_one_before(void **state)
{
	(void)state;
	struct end a, b;
	begin(&b); /* the lower descriptors: found again first */
	begin(&a);
	a.act = replace_other;
	a.other = &b;
	set(&a, EPOLLIN);
	set(&b, EPOLLIN);
	write_to(&a); /* first in the batch */
	write_to(&b);
	turn();
	assert_int_equal(a.n_calls, 1);
	assert_called(&b, 0, 0);
	write_to(&b);
	turn();
	assert_called(&b, 1, EPOLLIN);
	drop(&a);
	drop(&b);
}

static void silence_other(struct end *end)
{
	set(end->other, 0);
	set(end, 0);
}

static void test_what_is_not_waited_for_any_more_is_not_told(void **state)
{
	(void)state;
	struct end a, b;
	begin(&a);
	begin(&b);
	a.act = b.act = silence_other;
	a.other = &b;
	b.other = &a;
	set(&a, EPOLLIN);
	set(&b, EPOLLIN);
	write_to(&a);
	write_to(&b);
	turn();
	turn();
	assert_int_equal(a.n_calls + b.n_calls, 1);
	set(&a, EPOLLIN);
	a.act = NULL;
	turn();
	assert_int_equal(a.events, EPOLLIN);
	drop(&a);
	drop(&b);
}

/* Another descriptor of it lives, and the set would tell of it. */
static void test_what_others_have_as_well_is_stopped_before_it_is_closed(void **state)
{
	(void)state;
	struct end end;
	begin(&end);
	set(&end, EPOLLIN);
	const int copy = dup(end.ours);
	write_to(&end);
	watch_stop(&end.watch);
	drop(&end);
	turn();
	assert_called(&end, 0, 0);
	(void)close(copy);
}

static void test_a_turn_takes_one_batch_and_everybody_has_a_turn(void **state)
{
	(void)state;
	static struct end ends[MANY];
	unsigned n_called = 0;
	for (int i = 0; i < MANY; i++) {
		begin(&ends[i]);
		set(&ends[i], EPOLLIN);
		write_to(&ends[i]);
	}
	turn();
	for (int i = 0; i < MANY; i++)
		n_called += ends[i].n_calls;
	assert_in_range(n_called, 1, MANY - 1);
	turn();
	for (int i = 0; i < MANY; i++)
		assert_in_range(ends[i].n_calls, 1, 2);
	for (int i = 0; i < MANY; i++)
		drop(&ends[i]);
}

static void on_late(uv_timer_t *timer)
{
	write_to(timer->data);
	uv_close((uv_handle_t *)timer, NULL);
}

static void drop_it(struct end *end)
{
	drop(end);
}

static void test_the_loop_runs_as_long_as_something_is_watched(void **state)
{
	(void)state;
	struct end end;
	uv_timer_t timer;
	begin(&end);
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_NOWAIT), 0);
	set(&end, EPOLLIN);
	assert_int_not_equal(uv_run(&fixture.loop, UV_RUN_NOWAIT), 0);
	(void)uv_timer_init(&fixture.loop, &timer);
	timer.data = &end;
	(void)uv_timer_start(&timer, on_late, 1, 0);
	uv_unref((uv_handle_t *)&timer);
	end.act = drop_it;
	assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(end.n_calls, 1);
}

static void stop_run(struct end *end)
{
	char byte;

	assert_int_equal(read(end->ours, &byte, 1), 1);
	watches_stop(fixture.watches);
}

static void test_run_serves_the_loop_and_what_is_watched(void **state)
{
	(void)state;
	struct end end;
	uv_timer_t timer;
	begin(&end);
	set(&end, EPOLLIN);
	end.act = stop_run;
	(void)uv_timer_init(&fixture.loop, &timer);
	timer.data = &end;
	(void)uv_timer_start(&timer, on_late, 5, 0);
	watches_run(fixture.watches);
	assert_called(&end, 1, EPOLLIN);
	end.act = NULL; /* and under uv_run again */
	write_to(&end);
	turn();
	assert_called(&end, 2, EPOLLIN);
	drop(&end);
}

static void test_run_ends_when_nothing_is_left(void **state)
{
	(void)state;
	struct end end;
	watches_run(fixture.watches);
	begin(&end);
	set(&end, EPOLLIN);
	write_to(&end);
	end.act = drop_it;
	watches_run(fixture.watches);
	assert_int_equal(end.n_calls, 1);
}

/* A descriptor that libuv is asked to wait for while this set is served, or as the last thing in a turn of the loop. */
static uv_poll_t asked;
static unsigned n_asked;

static void on_asked(uv_poll_t *poll, int status, int events)
{
	assert_int_equal(status, 0);
	assert_int_equal(events, UV_READABLE);
	n_asked++;
	uv_close((uv_handle_t *)poll, NULL);
}

static void ask_loop(struct end *end)
{
	assert_int_equal(uv_poll_init(&fixture.loop, &asked, end->other->ours), 0);
	assert_int_equal(uv_poll_start(&asked, UV_READABLE, on_asked), 0);
	watch_stop(&end->watch);
}

static void ask_loop_at_last(uv_handle_t *timer)
{
	ask_loop(timer->data);
}

static void on_early(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, ask_loop_at_last);
}

static void test_what_the_loop_is_asked_meanwhile_is_heard(void **state)
{
	(void)state;
	struct end a, b;
	uv_timer_t timer;
	begin(&a);
	begin(&b);
	a.other = &b;
	write_to(&a);
	write_to(&b);
	n_asked = 0;
	a.act = ask_loop;
	set(&a, EPOLLIN);
	watches_run(fixture.watches);
	assert_int_equal(n_asked, 1);
	(void)uv_timer_init(&fixture.loop, &timer);
	timer.data = &a;
	(void)uv_timer_start(&timer, on_early, 1, 0);
	watches_run(fixture.watches);
	assert_int_equal(n_asked, 2);
	drop(&a);
	drop(&b);
}

static void on_word(uv_poll_t *poll, int status, int events)
{
	const struct end *end = poll->data;

	(void)status;
	(void)events;
	assert_int_equal(end->n_calls, 0);
	uv_close((uv_handle_t *)poll, NULL);
}

static void test_what_the_loop_has_comes_before_what_came_with_it(void **state)
{
	(void)state;
	struct end end, channel;
	uv_poll_t poll;
	begin(&end);
	begin(&channel);
	set(&end, EPOLLIN);
	end.act = stop_run;
	assert_int_equal(uv_poll_init(&fixture.loop, &poll, channel.ours), 0);
	poll.data = &end;
	assert_int_equal(uv_poll_start(&poll, UV_READABLE, on_word), 0);
	turn();
	write_to(&end); /* the earlier of the two */
	write_to(&channel);
	watches_run(fixture.watches);
	assert_called(&end, 1, EPOLLIN);
	assert_true(uv_is_closing((uv_handle_t *)&poll));
	drop(&end);
	drop(&channel);
}

static void test_what_cannot_be_waited_for_is_refused(void **state)
{
	(void)state;
	char name[] = "/tmp/portseal-watch-XXXXXX";
	struct watch watch;
	const int fd = mkstemp(name);
	assert_true(fd >= 0);
	(void)unlink(name);
	watch_begin(&watch, fixture.watches, fd, on_event, NULL);
	assert_int_equal(watch_set(&watch, EPOLLIN), PS_E_IO);
	assert_false(watch.watched);
	watch_close(&watch);
}

static void test_a_set_that_is_full_is_a_limit_and_may_be_tried_again(void **state)
{
	(void)state;
	struct end end;
	begin(&end);
	refusal = ENOSPC;
	assert_int_equal(watch_set(&end.watch, EPOLLIN), PS_E_LIMIT);
	refusal = ENOMEM;
	assert_int_equal(watch_set(&end.watch, EPOLLIN), PS_E_NOMEM);
	refusal = 0;
	set(&end, EPOLLIN);
	write_to(&end);
	turn();
	assert_called(&end, 1, EPOLLIN);
	drop(&end);
}

#define on_loop(test) cmocka_unit_test_setup_teardown(test, open_loop, close_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_loop(test_it_is_told_what_it_waits_for_until_it_is_taken),
		on_loop(test_a_change_is_one_system_call_and_no_change_is_none),
		on_loop(test_with_a_mask_of_0_only_a_hang_up_is_told_and_again_and_again),
		on_loop(test_a_hang_up_tells_the_whole_mask),
		on_loop(test_an_end_from_within_a_call_holds_for_the_rest_of_the_batch),
		on_loop(test_the_memory_of_what_was_closed_may_go_within_the_batch),
		on_loop(test_a_descriptor_that_is_used_again_is_not_told_of_the_one_before),
		on_loop(test_what_is_not_waited_for_any_more_is_not_told),
		on_loop(test_what_others_have_as_well_is_stopped_before_it_is_closed),
		on_loop(test_a_turn_takes_one_batch_and_everybody_has_a_turn),
		on_loop(test_the_loop_runs_as_long_as_something_is_watched),
		on_loop(test_run_serves_the_loop_and_what_is_watched),
		on_loop(test_run_ends_when_nothing_is_left),
		on_loop(test_what_the_loop_is_asked_meanwhile_is_heard),
		on_loop(test_what_the_loop_has_comes_before_what_came_with_it),
		on_loop(test_what_cannot_be_waited_for_is_refused),
		on_loop(test_a_set_that_is_full_is_a_limit_and_may_be_tried_again),
	};
	return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
