/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/scoreboard.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* Clients hash into buckets; a bucket's cells are searched one by one. Twice as many cells as connections, so that a
 * bucket is full only when somebody holds many certificates whose pins collide on purpose: then he is refused. */
#define BUCKET_CELLS 16

struct client_cell {
	uint8_t key[SCOREBOARD_KEY_LEN];
	uint32_t queued;
	uint32_t live_total; /* the sum of live[] */
	uint16_t live[SCOREBOARD_SLOTS];
};

struct scoreboard {
	struct scoreboard_config config;
	size_t mapped;
	_Atomic uint64_t queued;
	_Atomic uint64_t live[SCOREBOARD_SLOTS];
	pthread_mutex_t mutex; /* guards the cells */
	size_t n_buckets;      /* 0: clients are not counted */
	struct client_cell cells[];
};

static size_t buckets_for(const struct scoreboard_config *config)
{
	size_t n_buckets = 16;

	if (config->connections_per_client == 0)
		return 0;
	while (n_buckets * BUCKET_CELLS < 2 * config->connections)
		n_buckets *= 2;
	return n_buckets;
}

static enum ps_err init_mutex(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;
	enum ps_err err = PS_E_NOMEM;

	if (pthread_mutexattr_init(&attr) != 0)
		return PS_E_NOMEM;
	if (pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0 &&
	    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0 && pthread_mutex_init(mutex, &attr) == 0)
		err = PS_OK;
	pthread_mutexattr_destroy(&attr);
	return err;
}

enum ps_err scoreboard_new(const struct scoreboard_config *config, struct scoreboard **board)
{
	size_t n_buckets = buckets_for(config);
	size_t mapped = sizeof(struct scoreboard) + n_buckets * BUCKET_CELLS * sizeof(struct client_cell);
	struct scoreboard *fresh;

	fresh = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED)
		return PS_E_NOMEM;
	fresh->config = *config;
	fresh->mapped = mapped;
	fresh->n_buckets = n_buckets;
	if (init_mutex(&fresh->mutex) != PS_OK) {
		munmap(fresh, mapped);
		return PS_E_NOMEM;
	}
	*board = fresh;
	return PS_OK;
}

void scoreboard_free(struct scoreboard *board)
{
	if (board != NULL)
		munmap(board, board->mapped);
}

static void lock(struct scoreboard *board)
{
	/* The holder died between two plain stores: every cell is still a valid cell, at worst one count is off by one. */
	if (pthread_mutex_lock(&board->mutex) == EOWNERDEAD)
		pthread_mutex_consistent(&board->mutex);
}

static void unlock(struct scoreboard *board)
{
	pthread_mutex_unlock(&board->mutex);
}

/* The client's cell, or a free one of its bucket, or NULL when the bucket is full. Under the lock. */
static struct client_cell *find_cell(struct scoreboard *board, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *unused = NULL;
	struct client_cell *bucket;
	uint64_t hash;

	/* A pin is a SHA-256: any eight bytes of it are a hash already. */
	memcpy(&hash, client, sizeof(hash));
	bucket = &board->cells[(hash & (board->n_buckets - 1)) * BUCKET_CELLS];
	for (size_t i = 0; i < BUCKET_CELLS; i++) {
		struct client_cell *cell = &bucket[i];

		if (cell->queued + cell->live_total == 0) {
			if (unused == NULL)
				unused = cell;
		} else if (memcmp(cell->key, client, SCOREBOARD_KEY_LEN) == 0) {
			return cell;
		}
	}
	if (unused != NULL) {
		memset(unused, 0, sizeof(*unused));
		memcpy(unused->key, client, SCOREBOARD_KEY_LEN);
	}
	return unused;
}

static bool admit_client(struct scoreboard *board, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *cell;
	bool admitted;

	lock(board);
	cell = find_cell(board, client);
	admitted = cell != NULL && cell->queued + cell->live_total < board->config.connections_per_client;
	if (admitted)
		cell->queued++;
	unlock(board);
	return admitted;
}

static void add_saturating(_Atomic uint64_t *count, int change)
{
	uint64_t old = atomic_load(count);

	/* A worker that was broken into may have falsified the count: never wrap. */
	while (!(change < 0 && old == 0) &&
	       !atomic_compare_exchange_weak(count, &old, change < 0 ? old - 1 : old + 1))
		;
}

enum scoreboard_answer scoreboard_admit(struct scoreboard *board, unsigned slot,
                                        const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	(void)slot;
	/* Two gatekeepers may both see the last free place: count first, then look. */
	add_saturating(&board->queued, 1);
	if (scoreboard_total(board) > board->config.connections) {
		add_saturating(&board->queued, -1);
		return SCOREBOARD_FULL;
	}
	if (board->n_buckets > 0 && !admit_client(board, client)) {
		add_saturating(&board->queued, -1);
		return SCOREBOARD_CLIENT_FULL;
	}
	return SCOREBOARD_ADMITTED;
}

void scoreboard_withdraw(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *cell;

	(void)slot;
	add_saturating(&board->queued, -1);
	if (board->n_buckets == 0)
		return;
	lock(board);
	cell = find_cell(board, client);
	if (cell != NULL && cell->queued > 0)
		cell->queued--;
	unlock(board);
}

void scoreboard_take(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *cell;

	/* Live first: the total may be too high for a moment, never too low. */
	add_saturating(&board->live[slot], 1);
	add_saturating(&board->queued, -1);
	if (board->n_buckets == 0)
		return;
	lock(board);
	cell = find_cell(board, client);
	if (cell != NULL && cell->queued > 0 && cell->live[slot] < UINT16_MAX) {
		cell->queued--;
		cell->live[slot]++;
		cell->live_total++;
	}
	unlock(board);
}

void scoreboard_leave(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *cell;

	add_saturating(&board->live[slot], -1);
	if (board->n_buckets == 0)
		return;
	lock(board);
	cell = find_cell(board, client);
	if (cell != NULL && cell->live[slot] > 0 && cell->live_total > 0) {
		cell->live[slot]--;
		cell->live_total--;
	}
	unlock(board);
}

uint64_t scoreboard_clear_slot(struct scoreboard *board, unsigned slot)
{
	uint64_t lost = atomic_exchange(&board->live[slot], 0);

	lock(board);
	for (size_t i = 0; i < board->n_buckets * BUCKET_CELLS; i++) {
		struct client_cell *cell = &board->cells[i];
		uint32_t of_slot = cell->live[slot];

		cell->live_total -= of_slot < cell->live_total ? of_slot : cell->live_total;
		cell->live[slot] = 0;
	}
	unlock(board);
	return lost;
}

uint64_t scoreboard_live(const struct scoreboard *board, unsigned slot)
{
	return atomic_load(&board->live[slot]);
}

uint64_t scoreboard_total(const struct scoreboard *board)
{
	uint64_t total = atomic_load(&board->queued);

	for (unsigned slot = 0; slot < SCOREBOARD_SLOTS; slot++)
		total += atomic_load(&board->live[slot]);
	return total;
}
