/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/scoreboard.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Clients hash into buckets; a bucket's cells are searched one by one. Twice as many cells as connections, so that a
 * bucket is full only when somebody holds many certificates whose pins collide on purpose: then he is refused. */
#define CROWDED_SHARE 8 /* an eighth more than others is no crowd */
#define BUCKET_CELLS 16

/* A holder needs microseconds. Who waits longer than this takes the lock from it: it died, or means no good. */
#define LOCK_PATIENCE_NS 50000000
#define LOCK_NAP_NS 20000
#define LOCK_YIELDS 64

struct client_cell {
	uint8_t key[SCOREBOARD_KEY_LEN];
	uint32_t queued;
	uint32_t live_total; /* the sum of live[] */
	uint32_t live[SCOREBOARD_SLOTS];
};

/* What every role can write, a broken one whatever it likes: numbers only. No pointer, index or size is taken from
 * here, and for that reason no pthread mutex is in here either (a robust one is a list node). */
struct counts {
	_Atomic uint64_t total; /* queued and live, all slots */
	_Atomic uint64_t live[SCOREBOARD_SLOTS];
	_Atomic pid_t holder; /* of the lock that guards the cells; 0: nobody */
	struct client_cell cells[];
};

/* Each process's own copy. */
struct scoreboard {
	struct scoreboard_config config;
	size_t mapped;
	size_t n_buckets; /* 0: clients are not counted */
	struct counts *counts;
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

enum ps_err scoreboard_new(const struct scoreboard_config *config, struct scoreboard **board)
{
	size_t n_buckets = buckets_for(config);
	size_t mapped = sizeof(struct counts) + n_buckets * BUCKET_CELLS * sizeof(struct client_cell);
	struct scoreboard *fresh = malloc(sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	*fresh = (struct scoreboard){ .config = *config, .mapped = mapped, .n_buckets = n_buckets };
	fresh->counts = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fresh->counts == MAP_FAILED) {
		free(fresh);
		return PS_E_NOMEM;
	}
	*board = fresh;
	return PS_OK;
}

bool scoreboard_set_limits(struct scoreboard *board, const struct scoreboard_config *config)
{
	board->config = *config;
	return board->n_buckets > 0 || config->connections_per_client == 0;
}

void scoreboard_free(struct scoreboard *board)
{
	if (board == NULL)
		return;
	munmap(board->counts, board->mapped);
	free(board);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits for the lock, but not for ever. Taken from its holder, every cell is still a valid cell: that one died or was
 * stopped between two plain stores, and at worst a count is off by one. */
static void lock(struct scoreboard *board)
{
	const struct timespec nap = { .tv_sec = 0, .tv_nsec = LOCK_NAP_NS };
	int64_t since = 0;
	pid_t nobody = 0;

	for (unsigned i = 0; !atomic_compare_exchange_strong(&board->counts->holder, &nobody, getpid()); i++) {
		if (since == 0) {
			since = now_ns();
		} else if (now_ns() - since > LOCK_PATIENCE_NS) {
			atomic_store(&board->counts->holder, getpid());
			return;
		}
		if (i < LOCK_YIELDS)
			sched_yield();
		else
			nanosleep(&nap, NULL);
		nobody = 0;
	}
}

/* Unless somebody lost patience and holds it now. */
static void unlock(struct scoreboard *board)
{
	pid_t self = getpid();

	atomic_compare_exchange_strong(&board->counts->holder, &self, 0);
}

/* The client's cell, or a free one of its bucket, or NULL when the bucket is full. Under the lock. */
static struct client_cell *find_cell(struct scoreboard *board, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *unused = NULL;
	struct client_cell *bucket;
	uint64_t hash;

	/* A pin is a SHA-256: any eight bytes of it are a hash already. */
	memcpy(&hash, client, sizeof(hash));
	bucket = &board->counts->cells[(hash & (board->n_buckets - 1)) * BUCKET_CELLS];
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
	admitted = board->config.connections_per_client == 0 ||
	           (cell != NULL && cell->queued + cell->live_total < board->config.connections_per_client);
	if (admitted && cell != NULL)
		cell->queued++;
	unlock(board);
	return admitted;
}

/* Adds one while the count is below the limit. */
static bool count_up(_Atomic uint64_t *count, uint64_t limit)
{
	uint64_t old = atomic_load(count);

	while (old < limit)
		if (atomic_compare_exchange_weak(count, &old, old + 1))
			return true;
	return false;
}

/* A worker that was broken into may have falsified the count: never wrap. */
static void count_down(_Atomic uint64_t *count, uint64_t by)
{
	uint64_t old = atomic_load(count);

	while (!atomic_compare_exchange_weak(count, &old, old > by ? old - by : 0))
		;
}

enum scoreboard_answer scoreboard_admit(struct scoreboard *board, unsigned slot,
                                        const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	(void)slot;
	if (!count_up(&board->counts->total, board->config.connections))
		return SCOREBOARD_FULL;
	if (board->n_buckets > 0 && !admit_client(board, client)) {
		count_down(&board->counts->total, 1);
		return SCOREBOARD_CLIENT_FULL;
	}
	return SCOREBOARD_ADMITTED;
}

void scoreboard_withdraw(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *cell;

	(void)slot;
	count_down(&board->counts->total, 1);
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

	(void)count_up(&board->counts->live[slot], UINT64_MAX);
	if (board->n_buckets == 0)
		return;
	lock(board);
	cell = find_cell(board, client);
	if (cell != NULL && cell->queued > 0) {
		cell->queued--;
		cell->live[slot]++;
		cell->live_total++;
	}
	unlock(board);
}

void scoreboard_leave(struct scoreboard *board, unsigned slot, const uint8_t client[static SCOREBOARD_KEY_LEN])
{
	struct client_cell *cell;

	count_down(&board->counts->live[slot], 1);
	count_down(&board->counts->total, 1);
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

void scoreboard_join_slot(struct scoreboard *board, unsigned slot)
{
	(void)count_up(&board->counts->total, UINT64_MAX);
	(void)count_up(&board->counts->live[slot], UINT64_MAX);
}

void scoreboard_leave_slot(struct scoreboard *board, unsigned slot)
{
	count_down(&board->counts->live[slot], 1);
	count_down(&board->counts->total, 1);
}

bool scoreboard_is_crowded(const struct scoreboard *board, unsigned slot, unsigned n_slots)
{
	const uint64_t ours = scoreboard_live(board, slot);
	uint64_t least = ours;

	for (unsigned other = 0; other < n_slots; other++) {
		const uint64_t theirs = scoreboard_live(board, other);
		least = theirs < least ? theirs : least;
	}
	return ours - least > 1 + least / CROWDED_SHARE;
}

uint64_t scoreboard_clear_slot(struct scoreboard *board, unsigned slot)
{
	uint64_t lost = atomic_exchange(&board->counts->live[slot], 0);

	count_down(&board->counts->total, lost);
	if (board->n_buckets == 0)
		return lost;
	lock(board);
	for (size_t i = 0; i < board->n_buckets * BUCKET_CELLS; i++) {
		struct client_cell *cell = &board->counts->cells[i];
		uint32_t of_slot = cell->live[slot];

		cell->live_total -= of_slot < cell->live_total ? of_slot : cell->live_total;
		cell->live[slot] = 0;
	}
	unlock(board);
	return lost;
}

uint64_t scoreboard_live(const struct scoreboard *board, unsigned slot)
{
	return atomic_load(&board->counts->live[slot]);
}

uint64_t scoreboard_total(const struct scoreboard *board)
{
	return atomic_load(&board->counts->total);
}
