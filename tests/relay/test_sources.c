/* SPDX-License-Identifier: Apache-2.0 */
/* sources: a crowd from one address delays itself, and nobody else. */
#include "sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PLACES 32
#define MANY 5000 /* sources; more than there are buckets */

static const struct net_source a = { { 4, 192, 0, 2, 1 } };
static const struct net_source b = { { 4, 192, 0, 2, 2 } };
static const struct net_source c = { { 6, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1 } };

static struct sources *sources;
static struct sources_place places[PLACES];

static void open_line(size_t limit, size_t per_source)
{
	memset(places, 0, sizeof(places));
	assert_int_equal(sources_new(limit, per_source, &sources), PS_OK);
}

static int close_line(void **state)
{
	(void)state;
	sources_free(sources);
	sources = NULL;
	return 0;
}

static void come(const struct net_source *from, size_t place)
{
	assert_int_equal(sources_wait(sources, from, &places[place]), PS_OK);
}

static void assert_next(size_t place)
{
	struct sources_place *next = sources_next(sources);

	assert_non_null(next);
	assert_int_equal(next - places, place);
	assert_true(next->shaking);
}

static void assert_nobody_next(void)
{
	assert_null(sources_next(sources));
}

static void test_an_empty_line_has_nobody_next(void **state)
{
	(void)state;
	open_line(4, 4);
	assert_nobody_next();
	assert_int_equal(sources_n_waiting(sources), 0);
	assert_int_equal(sources_n_shaking(sources), 0);
}

static void test_one_source_is_served_in_the_order_of_coming(void **state)
{
	(void)state;
	open_line(4, 4);
	for (size_t i = 0; i < 3; i++)
		come(&a, i);
	for (size_t i = 0; i < 3; i++)
		assert_next(i);
	assert_nobody_next();
}

static void test_waiting_and_shaking_are_counted(void **state)
{
	(void)state;
	open_line(4, 4);
	come(&a, 0);
	come(&b, 1);
	assert_int_equal(sources_n_waiting(sources), 2);
	assert_next(0);
	assert_int_equal(sources_n_waiting(sources), 1);
	assert_int_equal(sources_n_shaking(sources), 1);
	sources_leave(sources, &places[0]);
	sources_leave(sources, &places[1]);
	assert_int_equal(sources_n_waiting(sources), 0);
	assert_int_equal(sources_n_shaking(sources), 0);
}

static void test_no_more_than_the_limit_shake_hands_at_once(void **state)
{
	(void)state;
	open_line(2, 2);
	come(&a, 0);
	come(&b, 1);
	come(&c, 2);
	assert_next(0);
	assert_next(1);
	assert_nobody_next();
	sources_leave(sources, &places[0]);
	assert_next(2);
}

static void test_no_more_of_a_source_than_its_limit_shake_hands_at_once(void **state)
{
	(void)state;
	open_line(8, 2);
	for (size_t i = 0; i < 4; i++)
		come(&a, i);
	assert_next(0);
	assert_next(1);
	assert_nobody_next();
	sources_leave(sources, &places[1]);
	assert_next(2);
	assert_nobody_next();
}

static void test_a_source_at_its_limit_does_not_hinder_another(void **state)
{
	(void)state;
	open_line(8, 1);
	come(&a, 0);
	come(&a, 1);
	come(&b, 2);
	assert_next(0);
	assert_next(2);
	assert_nobody_next();
}

static void test_sources_take_turns(void **state)
{
	(void)state;
	open_line(32, 32);
	for (size_t i = 0; i < 4; i++)
		come(&a, i); /* a crowd, before the others */
	come(&b, 4);
	come(&b, 5);
	come(&c, 6);
	assert_next(0);
	assert_next(4);
	assert_next(6);
	assert_next(1);
	assert_next(5);
	assert_next(2);
	assert_next(3);
	assert_nobody_next();
}

static void test_who_comes_again_and_again_does_not_overtake(void **state)
{
	(void)state;
	open_line(1, 1);
	come(&a, 0);
	come(&a, 1);
	come(&b, 2);
	assert_next(0);
	sources_leave(sources, &places[0]);
	come(&a, 0);
	assert_next(2);
	sources_leave(sources, &places[2]);
	assert_next(1);
}

static void test_who_leaves_the_line_is_not_served(void **state)
{
	(void)state;
	open_line(4, 4);
	for (size_t i = 0; i < 3; i++)
		come(&a, i);
	sources_leave(sources, &places[1]);
	assert_null(places[1].source);
	assert_next(0);
	assert_next(2);
	assert_nobody_next();
}

static void test_a_source_whose_only_place_leaves_loses_its_turn(void **state)
{
	(void)state;
	open_line(4, 4);
	come(&a, 0);
	come(&b, 1);
	sources_leave(sources, &places[0]);
	assert_next(1);
	assert_nobody_next();
}

static void test_leaving_at_the_limit_of_a_source_keeps_the_limit(void **state)
{
	(void)state;
	open_line(8, 1);
	for (size_t i = 0; i < 3; i++)
		come(&a, i);
	assert_next(0);
	sources_leave(sources, &places[1]); /* from the line: frees no handshake */
	assert_nobody_next();
	sources_leave(sources, &places[0]);
	assert_next(2);
}

static void test_leaving_twice_is_harmless(void **state)
{
	(void)state;
	open_line(4, 4);
	come(&a, 0);
	assert_next(0);
	sources_leave(sources, &places[0]);
	sources_leave(sources, &places[0]);
	sources_leave(sources, &places[1]); /* never came */
	assert_int_equal(sources_n_shaking(sources), 0);
	assert_int_equal(sources_n_waiting(sources), 0);
}

static void test_a_place_may_be_used_again(void **state)
{
	(void)state;
	open_line(1, 1);
	for (int i = 0; i < 100; i++) {
		come(i % 2 == 0 ? &a : &b, 0);
		assert_next(0);
		sources_leave(sources, &places[0]);
	}
}

static void test_many_sources_are_told_apart(void **state)
{
	(void)state;
	static struct sources_place crowd[MANY];
	memset(crowd, 0, sizeof(crowd));
	open_line(MANY, 1);
	for (size_t i = 0; i < MANY; i++) {
		const struct net_source from = { { 4, 10, 0, (uint8_t)(i >> 8), (uint8_t)i } };
		assert_int_equal(sources_wait(sources, &from, &crowd[i]), PS_OK);
	}
	for (size_t i = 0; i < MANY; i++)
		assert_ptr_equal(sources_next(sources), &crowd[i]);
	for (size_t i = 0; i < MANY; i++)
		sources_leave(sources, &crowd[i]);
	assert_int_equal(sources_n_shaking(sources), 0);
}

static void test_the_longest_line_loses_its_last(void **state)
{
	(void)state;
	open_line(1, 1);
	assert_null(sources_last_of_longest(sources));
	come(&a, 0);
	come(&b, 1);
	come(&a, 2);
	come(&a, 3);
	come(&c, 4);
	come(&c, 5);
	assert_ptr_equal(sources_last_of_longest(sources), &places[3]);
	sources_leave(sources, &places[3]);
	assert_next(0);
	assert_ptr_equal(sources_last_of_longest(sources), &places[5]);
}

/* Under the address sanitizer, a leak would fail. */
static void test_freeing_lets_go_of_those_inside(void **state)
{
	(void)state;
	open_line(4, 1);
	come(&a, 0);
	come(&a, 1);
	come(&b, 2);
	assert_next(0);
}

static void test_freeing_nothing_is_harmless(void **state)
{
	(void)state;
	sources_free(NULL);
}

#define on_line(test) cmocka_unit_test_teardown(test, close_line)

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_line(test_an_empty_line_has_nobody_next),
		on_line(test_one_source_is_served_in_the_order_of_coming),
		on_line(test_waiting_and_shaking_are_counted),
		on_line(test_no_more_than_the_limit_shake_hands_at_once),
		on_line(test_no_more_of_a_source_than_its_limit_shake_hands_at_once),
		on_line(test_a_source_at_its_limit_does_not_hinder_another),
		on_line(test_sources_take_turns),
		on_line(test_who_comes_again_and_again_does_not_overtake),
		on_line(test_who_leaves_the_line_is_not_served),
		on_line(test_a_source_whose_only_place_leaves_loses_its_turn),
		on_line(test_leaving_at_the_limit_of_a_source_keeps_the_limit),
		on_line(test_leaving_twice_is_harmless),
		on_line(test_a_place_may_be_used_again),
		on_line(test_many_sources_are_told_apart),
		on_line(test_the_longest_line_loses_its_last),
		on_line(test_freeing_lets_go_of_those_inside),
		on_line(test_freeing_nothing_is_harmless),
	};
	return cmocka_run_group_tests_name("sources", tests, NULL, NULL);
}
