/* SPDX-License-Identifier: Apache-2.0 */
#include "message_rate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "client_place.h"

#define PLACES 16384
#define SECOND_US UINT64_C(1000000)

struct message_rate {
	uint64_t seed;
	void *memory;
	_Atomic uint64_t *whole_us; /* PLACES of them, shared: when the allowance is whole again */
};

enum ps_err message_rate_new(struct message_rate **rate)
{
	struct message_rate *made = calloc(1, sizeof(*made));
	void *memory;

	if (made == NULL)
		return PS_E_NOMEM;
	memory = mmap(NULL, PLACES * sizeof(*made->whole_us), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		free(made);
		return PS_E_NOMEM;
	}
	made->memory = memory;
	made->whole_us = memory; /* zeroed: all are whole */
	if (getrandom(&made->seed, sizeof(made->seed), 0) != (ssize_t)sizeof(made->seed)) {
		message_rate_free(made);
		return PS_E_IO;
	}
	*rate = made;
	return PS_OK;
}

void message_rate_free(struct message_rate *rate)
{
	if (rate == NULL)
		return;
	(void)munmap(rate->memory, PLACES * sizeof(*rate->whole_us));
	free(rate);
}

uint64_t message_rate_take(struct message_rate *rate, const uint8_t client[static IDENTITY_PIN_LEN],
                           const char *service, uint64_t per_second, uint64_t now_us)
{
	_Atomic uint64_t *place = &rate->whole_us[client_place(rate->seed, client, service, PLACES)];
	const uint64_t each_us = SECOND_US / per_second > 0 ? SECOND_US / per_second : 1;
	const uint64_t burst_us = SECOND_US > each_us ? SECOND_US - each_us : 0; /* a second's worth, this one included */
	uint64_t whole = atomic_load_explicit(place, memory_order_relaxed);
	uint64_t from;

	do {
		from = whole > now_us ? whole : now_us;
		if (from - now_us > burst_us)
			return (from - now_us - burst_us + 999) / 1000;
	} while (!atomic_compare_exchange_weak_explicit(place, &whole, from + each_us, memory_order_relaxed,
	                                                memory_order_relaxed));
	return 0;
}
