/* SPDX-License-Identifier: Apache-2.0 */
#include "message_count.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "client_place.h"

#define PLACES 16384

struct message_count {
	uint64_t seed;
	unsigned n_slots;
	unsigned slot;             /* this process's own */
	_Atomic uint32_t *numbers; /* shared: PLACES for each slot */
};

static size_t size_of(const struct message_count *count)
{
	return (size_t)count->n_slots * PLACES * sizeof(*count->numbers);
}

enum ps_err message_count_new(unsigned n_slots, struct message_count **count)
{
	struct message_count *made = calloc(1, sizeof(*made));
	void *memory;

	if (made == NULL)
		return PS_E_NOMEM;
	made->n_slots = n_slots;
	memory = mmap(NULL, size_of(made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		free(made);
		return PS_E_NOMEM;
	}
	made->numbers = memory; /* zeroed */
	if (getrandom(&made->seed, sizeof(made->seed), 0) != (ssize_t)sizeof(made->seed)) {
		message_count_free(made);
		return PS_E_IO;
	}
	*count = made;
	return PS_OK;
}

void message_count_free(struct message_count *count)
{
	if (count == NULL)
		return;
	(void)munmap(count->numbers, size_of(count));
	free(count);
}

/* Pages that nobody wrote to stay untouched. */
void message_count_start(struct message_count *count, unsigned slot)
{
	assert(slot < count->n_slots);
	count->slot = slot;
	for (size_t place = 0; place < PLACES; place++) {
		_Atomic uint32_t *number = &count->numbers[(size_t)slot * PLACES + place];

		if (atomic_load_explicit(number, memory_order_relaxed) != 0)
			atomic_store_explicit(number, 0, memory_order_relaxed);
	}
}

static uint64_t sum(const struct message_count *count, size_t place)
{
	uint64_t total = 0;

	for (size_t slot = 0; slot < count->n_slots; slot++)
		total += atomic_load_explicit(&count->numbers[slot * PLACES + place], memory_order_relaxed);
	return total;
}

static _Atomic uint32_t *own(const struct message_count *count, size_t place)
{
	return &count->numbers[(size_t)count->slot * PLACES + place];
}

/* Counted first, and then looked: of two workers at the limit none may go beyond it, at worst both are refused. */
bool message_count_take(struct message_count *count, const uint8_t client[static IDENTITY_PIN_LEN], uint64_t limit)
{
	const size_t place = client_place(count->seed, client, "", PLACES);

	(void)atomic_fetch_add(own(count, place), 1);
	if (sum(count, place) <= limit)
		return true;
	message_count_leave(count, client);
	return false;
}

void message_count_leave(struct message_count *count, const uint8_t client[static IDENTITY_PIN_LEN])
{
	_Atomic uint32_t *number = own(count, client_place(count->seed, client, "", PLACES));

	if (atomic_load(number) > 0) /* nobody else writes to it but a worker that is broken: never wrap */
		(void)atomic_fetch_sub(number, 1);
}
