/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "portseal/rest.h"

#define N_PIECES 4000
#define PIECE 4000

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

static size_t resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	char line[128], *resident;

	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	resident = strchr(line, ' '); /* behind the size */
	assert_non_null(resident);
	return strtoul(resident, NULL, 10);
}

/* A crowd's memory, freed but for one piece behind it, as after handshakes whose connections live on. */
static void *leave_a_crowds_memory(void)
{
	static void *pieces[N_PIECES];

	for (size_t i = 0; i < N_PIECES; i++) {
		pieces[i] = malloc(PIECE);
		assert_non_null(pieces[i]);
		memset(pieces[i], 1, PIECE);
	}
	for (size_t i = 0; i < N_PIECES - 1; i++)
		free(pieces[i]);
	return pieces[N_PIECES - 1];
}

static void test_memory_goes_back_once_nothing_was_done_for_a_while(void **state)
{
	struct rest rest;
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	rest_init(&rest, &loop);
	void *last = leave_a_crowds_memory();
	const size_t before = resident_pages();
	const uint64_t begun = uv_hrtime();
	rest_stir(&rest);
	uv_run(&loop, UV_RUN_DEFAULT); /* until the timer has nothing to wait for */
	assert_true(uv_hrtime() - begun >= (uint64_t)REST_AFTER_MS * 1000000);
	if (!IS_SANITIZED) /* whose allocator is another */
		assert_true(resident_pages() + (size_t)N_PIECES * PIECE / (size_t)sysconf(_SC_PAGESIZE) / 2 < before);
	free(last);
	rest_end(&rest);
	rest_end(&rest);
	rest_stir(&rest);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_what_rests_wakes_nobody(void **state)
{
	struct rest rest;
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	rest_init(&rest, &loop);
	assert_false(uv_loop_alive(&loop));
	rest_end(&rest);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_goes_back_once_nothing_was_done_for_a_while),
		cmocka_unit_test(test_what_rests_wakes_nobody),
	};

	return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
