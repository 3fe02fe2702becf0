/* SPDX-License-Identifier: Apache-2.0 */
#include "sources.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS 1024 /* a power of two */

TAILQ_HEAD(source_line, sources_place);

struct source {
	struct net_source key;
	size_t n_shaking;
	size_t n_waiting; /* in line */
	struct source_line line;
	bool has_turn; /* stands in sources.turns: somebody waits and the source's limit allows it */
	LIST_ENTRY(source) bucket;
	TAILQ_ENTRY(source) turn;
};

struct sources {
	size_t limit;
	size_t per_source;
	size_t n_shaking;
	size_t n_waiting;
	uint64_t seed; /* so that nobody can choose addresses that share a bucket */
	TAILQ_HEAD(source_turns, source) turns;
	LIST_HEAD(source_bucket, source) buckets[BUCKETS];
};

enum ps_err sources_new(size_t limit, size_t per_source, struct sources **sources)
{
	struct sources *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	if (getrandom(&fresh->seed, sizeof(fresh->seed), 0) != (ssize_t)sizeof(fresh->seed)) {
		free(fresh);
		return PS_E_IO;
	}
	fresh->limit = limit;
	fresh->per_source = per_source;
	TAILQ_INIT(&fresh->turns);
	*sources = fresh;
	return PS_OK;
}

static void forget(struct source *source)
{
	LIST_REMOVE(source, bucket);
	free(source);
}

void sources_free(struct sources *sources)
{
	struct source *source;
	struct source *next;

	if (sources == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (source = LIST_FIRST(&sources->buckets[i]); source != NULL; source = next) {
			next = LIST_NEXT(source, bucket);
			free(source);
		}
	free(sources);
}

static size_t bucket_of(const struct sources *sources, const struct net_source *key)
{
	uint64_t hash = sources->seed;

	for (size_t i = 0; i < sizeof(key->bytes); i++) {
		hash = (hash ^ key->bytes[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return (size_t)hash & (BUCKETS - 1);
}

static struct source *find(struct sources *sources, const struct net_source *key)
{
	size_t bucket = bucket_of(sources, key);
	struct source *source;

	LIST_FOREACH(source, &sources->buckets[bucket], bucket)
	if (memcmp(&source->key, key, sizeof(*key)) == 0)
		return source;
	source = calloc(1, sizeof(*source));
	if (source == NULL)
		return NULL;
	source->key = *key;
	TAILQ_INIT(&source->line);
	LIST_INSERT_HEAD(&sources->buckets[bucket], source, bucket);
	return source;
}

/* Keeps the turns true after any change of a source; a source that nobody belongs to any more goes. */
static void settle(struct sources *sources, struct source *source)
{
	bool may = !TAILQ_EMPTY(&source->line) && source->n_shaking < sources->per_source;

	if (may && !source->has_turn)
		TAILQ_INSERT_TAIL(&sources->turns, source, turn);
	else if (!may && source->has_turn)
		TAILQ_REMOVE(&sources->turns, source, turn);
	source->has_turn = may;
	if (TAILQ_EMPTY(&source->line) && source->n_shaking == 0)
		forget(source);
}

enum ps_err sources_wait(struct sources *sources, const struct net_source *key, struct sources_place *place)
{
	struct source *source = find(sources, key);

	if (source == NULL)
		return PS_E_NOMEM;
	place->source = source;
	place->shaking = false;
	TAILQ_INSERT_TAIL(&source->line, place, line);
	source->n_waiting++;
	sources->n_waiting++;
	settle(sources, source);
	return PS_OK;
}

struct sources_place *sources_next(struct sources *sources)
{
	struct source *source = TAILQ_FIRST(&sources->turns);
	struct sources_place *place;

	if (source == NULL || sources->n_shaking >= sources->limit)
		return NULL;
	place = TAILQ_FIRST(&source->line);
	TAILQ_REMOVE(&source->line, place, line);
	source->n_waiting--;
	/* To the end of the turns, whatever it still has in line. */
	TAILQ_REMOVE(&sources->turns, source, turn);
	source->has_turn = false;
	place->shaking = true;
	source->n_shaking++;
	sources->n_shaking++;
	sources->n_waiting--;
	settle(sources, source);
	return place;
}

struct sources_place *sources_last_of_longest(const struct sources *sources)
{
	const struct source *longest = NULL;
	const struct source *source;

	for (size_t i = 0; i < BUCKETS; i++)
		LIST_FOREACH(source, &sources->buckets[i], bucket)
	if (source->n_waiting > (longest == NULL ? 0 : longest->n_waiting))
		longest = source;
	return longest == NULL ? NULL : TAILQ_LAST(&longest->line, source_line);
}

void sources_leave(struct sources *sources, struct sources_place *place)
{
	struct source *source = place->source;

	if (source == NULL)
		return;
	if (place->shaking) {
		source->n_shaking--;
		sources->n_shaking--;
	} else {
		TAILQ_REMOVE(&source->line, place, line);
		source->n_waiting--;
		sources->n_waiting--;
	}
	place->source = NULL;
	place->shaking = false;
	settle(sources, source);
}

size_t sources_n_shaking(const struct sources *sources)
{
	return sources->n_shaking;
}

size_t sources_n_waiting(const struct sources *sources)
{
	return sources->n_waiting;
}
