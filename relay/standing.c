/* SPDX-License-Identifier: Apache-2.0 */
#include "standing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256

enum standing_state {
	STANDING_JUDGED, /* by the generation in force, or the worker has not heard of a newer one */
	STANDING_DUE,    /* to be asked for */
	STANDING_ASKED,  /* the answer is awaited */
};

struct standing {
	enum standing_state state;
	uint64_t asked_ms;
	uint64_t id;         /* its bucket is in the lowest digit, to be found by */
	uint32_t generation; /* that judged it last */
	int64_t not_after;
	LIST_HEAD(standing_members, standing_member) members;
	LIST_ENTRY(standing) bucket;
	char service_name[HANDOVER_SERVICE_MAX];
	uint8_t pin[IDENTITY_PIN_LEN];
	struct audit_who *who; /* only as long as its text; NULL: no audit trail */
	size_t der_len;
	uint8_t der[];
};

struct standings {
	standing_fall_fn *on_fall;
	void *owner;
	uint32_t generation;
	uint64_t next_id;
	size_t n_open; /* due or asked */
	LIST_HEAD(standing_bucket, standing) buckets[BUCKETS];
};

enum ps_err standings_new(standing_fall_fn *on_fall, void *owner, struct standings **standings)
{
	struct standings *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	fresh->on_fall = on_fall;
	fresh->owner = owner;
	*standings = fresh;
	return PS_OK;
}

static void set_state(struct standings *standings, struct standing *standing, enum standing_state state)
{
	if (standing->state != STANDING_JUDGED)
		standings->n_open--;
	if (state != STANDING_JUDGED)
		standings->n_open++;
	standing->state = state;
}

static void forget(struct standings *standings, struct standing *standing)
{
	set_state(standings, standing, STANDING_JUDGED);
	LIST_REMOVE(standing, bucket);
	free(standing->who);
	free(standing);
}

void standings_free(struct standings *standings)
{
	struct standing *standing;
	struct standing *next;

	if (standings == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (standing = LIST_FIRST(&standings->buckets[i]); standing != NULL; standing = next) {
			next = LIST_NEXT(standing, bucket);
			free(standing->who);
			free(standing);
		}
	free(standings);
}

static bool is_same(const struct standing *standing, const struct handover *handover)
{
	return memcmp(standing->pin, handover->client_pin, sizeof(standing->pin)) == 0 &&
	       strcmp(standing->service_name, handover->service_name) == 0 &&
	       standing->der_len == handover->presented.len &&
	       memcmp(standing->der, handover->presented.der, standing->der_len) == 0;
}

/* A pin is a SHA-256: any byte of it is a hash. */
static struct standing *find(struct standings *standings, const struct handover *handover)
{
	struct standing *standing;

	LIST_FOREACH(standing, &standings->buckets[handover->client_pin[0]], bucket)
	if (is_same(standing, handover))
		return standing;
	return NULL;
}

/* Without memory for it the lines say less. */
static struct audit_who *copy_who(const struct audit_who *who)
{
	size_t size = offsetof(struct audit_who, text) + who->len;
	struct audit_who *copy = who->len > 0 ? malloc(size) : NULL;

	if (copy != NULL)
		memcpy(copy, who, size);
	return copy;
}

static struct standing *add(struct standings *standings, const struct handover *handover)
{
	struct standing *standing = calloc(1, sizeof(*standing) + handover->presented.len);

	if (standing == NULL)
		return NULL;
	standing->id = ++standings->next_id * BUCKETS + handover->client_pin[0];
	standing->generation = handover->generation;
	standing->not_after = handover->not_after;
	memcpy(standing->service_name, handover->service_name, sizeof(standing->service_name));
	memcpy(standing->pin, handover->client_pin, sizeof(standing->pin));
	standing->der_len = handover->presented.len;
	memcpy(standing->der, handover->presented.der, standing->der_len);
	standing->who = copy_who(&handover->who);
	LIST_INIT(&standing->members);
	LIST_INSERT_HEAD(&standings->buckets[standing->pin[0]], standing, bucket);
	return standing;
}

enum ps_err standings_join(struct standings *standings, const struct handover *handover, struct standing_member *member)
{
	struct standing *standing = find(standings, handover);

	if (standing == NULL)
		standing = add(standings, handover);
	if (standing == NULL)
		return PS_E_NOMEM;
	/* An older generation may still hand over while it retires. */
	if (handover->generation < standing->generation)
		standing->generation = handover->generation;
	if (standing->generation < standings->generation && standing->state == STANDING_JUDGED)
		set_state(standings, standing, STANDING_DUE);
	member->standing = standing;
	LIST_INSERT_HEAD(&standing->members, member, link);
	return PS_OK;
}

void standings_leave(struct standings *standings, struct standing_member *member)
{
	struct standing *standing = member->standing;

	if (standing == NULL)
		return;
	LIST_REMOVE(member, link);
	member->standing = NULL;
	if (LIST_EMPTY(&standing->members))
		forget(standings, standing);
}

const char *standing_service(const struct standing *standing)
{
	return standing->service_name;
}

const struct audit_who *standing_who(const struct standing *standing)
{
	return standing->who;
}

void standings_set_generation(struct standings *standings, uint32_t generation)
{
	struct standing *standing;

	standings->generation = generation;
	/* Also those asked for already: whoever answers may be of the generation before. */
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_FOREACH(standing, &standings->buckets[i], bucket)
	if (standing->generation < generation)
		set_state(standings, standing, STANDING_DUE);
}

static enum ps_err ask(struct standings *standings, const struct standing *standing, int slot)
{
	struct handover_rejudge rejudge = { .id = standing->id, .generation = standings->generation };

	memcpy(rejudge.service_name, standing->service_name, sizeof(rejudge.service_name));
	rejudge.presented.len = (uint32_t)standing->der_len;
	memcpy(rejudge.presented.der, standing->der, standing->der_len);
	return handover_send_rejudge(slot, &rejudge);
}

static bool is_to_be_asked(const struct standing *standing, uint64_t now_ms)
{
	return standing->state == STANDING_DUE ||
	       (standing->state == STANDING_ASKED && now_ms - standing->asked_ms >= STANDING_PATIENCE_MS);
}

void standings_ask(struct standings *standings, int slot, uint64_t now_ms)
{
	struct standing *standing;

	for (size_t i = 0; i < BUCKETS && standings->n_open > 0; i++)
		LIST_FOREACH(standing, &standings->buckets[i], bucket)
		{
			if (!is_to_be_asked(standing, now_ms))
				continue;
			if (ask(standings, standing, slot) != PS_OK)
				return;
			set_state(standings, standing, STANDING_ASKED);
			standing->asked_ms = now_ms;
		}
}

bool standings_are_open(const struct standings *standings)
{
	return standings->n_open > 0;
}

static struct standing *find_id(struct standings *standings, uint64_t id)
{
	struct standing *standing;

	LIST_FOREACH(standing, &standings->buckets[id % BUCKETS], bucket)
	if (standing->id == id)
		return standing;
	return NULL;
}

/* The last member that leaves takes the standing with it. */
static void fall(struct standings *standings, struct standing *standing, enum refusal refusal, const char *detail)
{
	struct standing_member *next;

	for (struct standing_member *member = LIST_FIRST(&standing->members); member != NULL; member = next) {
		next = LIST_NEXT(member, link);
		standings->on_fall(standings->owner, member, refusal, detail);
	}
}

void standings_answer(struct standings *standings, const struct handover_judged *judged)
{
	struct standing *standing = find_id(standings, judged->id);

	if (standing == NULL)
		return; /* its connections have ended meanwhile */
	if (judged->generation < standings->generation) {
		set_state(standings, standing, STANDING_DUE);
		return;
	}
	set_state(standings, standing, STANDING_JUDGED);
	standing->generation = judged->generation;
	standing->not_after = judged->not_after;
	if (judged->refusal != REFUSAL_NONE)
		fall(standings, standing, (enum refusal)judged->refusal, judged->detail);
}

void standings_expire(struct standings *standings, int64_t now)
{
	struct standing *next;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct standing *standing = LIST_FIRST(&standings->buckets[i]); standing != NULL; standing = next) {
			next = LIST_NEXT(standing, bucket);
			if (now > standing->not_after)
				fall(standings, standing, REFUSAL_EXPIRED,
				     "a certificate that it showed expired while it was connected");
		}
}
