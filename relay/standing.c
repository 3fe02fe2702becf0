/* SPDX-License-Identifier: Apache-2.0 */
#include "standing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256

/* Each but the first has a queue. */
enum standing_state {
	STANDING_JUDGED, /* by the generation in force, or the worker has not heard of a newer one */
	STANDING_WANTED, /* to be asked for, and somebody waits for the answer: before those that are just due */
	STANDING_DUE,    /* to be asked for */
	STANDING_ASKED,  /* the answer is awaited; in the order in which they were asked */
	STANDING_STATES,
};

TAILQ_HEAD(standing_queue, standing);

struct standing {
	enum standing_state state;
	TAILQ_ENTRY(standing) turn;
	bool is_wanted; /* until it is judged */
	uint64_t asked_ms;
	uint64_t open_ms;    /* since when it is not judged; 0: nobody has looked at the clock yet */
	uint64_t id;         /* its bucket is in the lowest digit, to be found by */
	uint32_t generation; /* that judged it last */
	int64_t not_after;
	LIST_HEAD(standing_members, standing_member) members;
	LIST_ENTRY(standing) bucket;
	uint64_t first_conn;  /* who asked first */
	bool known;           /* it was judged at least once */
	bool keep;            /* what lives stays, whatever becomes of the right */
	enum refusal refusal; /* for whoever comes now */
	char *detail;         /* NULL: none */
	struct service_terms terms;
	char asked[HANDOVER_ASKED_MAX];
	char service_name[HANDOVER_SERVICE_MAX]; /* "" until it is known */
	uint8_t pin[IDENTITY_PIN_LEN];
	struct audit_who *who; /* only as long as its text; NULL: no audit trail */
	size_t der_len;
	uint8_t der[];
};

struct standings {
	uint32_t generation;
	uint64_t next_id;
	struct standing_queue queues[STANDING_STATES];
	size_t n_open; /* in them */
	LIST_HEAD(standing_bucket, standing) buckets[BUCKETS];
};

enum ps_err standings_new(struct standings **standings)
{
	struct standings *fresh = calloc(1, sizeof(*fresh));

	if (fresh == NULL)
		return PS_E_NOMEM;
	for (size_t i = 0; i < STANDING_STATES; i++)
		TAILQ_INIT(&fresh->queues[i]);
	*standings = fresh;
	return PS_OK;
}

static void set_state(struct standings *standings, struct standing *standing, enum standing_state state)
{
	if (standing->state != STANDING_JUDGED) {
		TAILQ_REMOVE(&standings->queues[standing->state], standing, turn);
		standings->n_open--;
	}
	if (state != STANDING_JUDGED) {
		TAILQ_INSERT_TAIL(&standings->queues[state], standing, turn);
		standings->n_open++;
	} else {
		standing->open_ms = 0;
		standing->is_wanted = false;
	}
	standing->state = state;
}

static void set_due(struct standings *standings, struct standing *standing)
{
	set_state(standings, standing, standing->is_wanted ? STANDING_WANTED : STANDING_DUE);
}

static void forget(struct standings *standings, struct standing *standing)
{
	set_state(standings, standing, STANDING_JUDGED);
	LIST_REMOVE(standing, bucket);
	free(standing->who);
	free(standing->detail);
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
			free(standing->detail);
			free(standing);
		}
	free(standings);
}

/* Who asks for what. */
struct key {
	const uint8_t *pin;
	const char *asked;
	const uint8_t *der;
	size_t der_len;
	const struct audit_who *who; /* not part of it: what is kept with it; NULL: nothing */
};

static bool is_same(const struct standing *standing, const struct key *key)
{
	return memcmp(standing->pin, key->pin, sizeof(standing->pin)) == 0 && strcmp(standing->asked, key->asked) == 0 &&
	       standing->der_len == key->der_len && memcmp(standing->der, key->der, standing->der_len) == 0;
}

/* A pin is a SHA-256: any byte of it is a hash. */
static struct standing *find(struct standings *standings, const struct key *key)
{
	struct standing *standing;

	LIST_FOREACH(standing, &standings->buckets[key->pin[0]], bucket)
	if (is_same(standing, key))
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

static struct standing *add(struct standings *standings, const struct key *key)
{
	struct standing *standing = calloc(1, sizeof(*standing) + key->der_len);

	if (standing == NULL)
		return NULL;
	standing->id = ++standings->next_id * BUCKETS + key->pin[0];
	memcpy(standing->asked, key->asked, strlen(key->asked)); /* shorter, by the contract */
	memcpy(standing->pin, key->pin, sizeof(standing->pin));
	standing->der_len = key->der_len;
	memcpy(standing->der, key->der, standing->der_len);
	standing->who = key->who == NULL ? NULL : copy_who(key->who);
	LIST_INIT(&standing->members);
	LIST_INSERT_HEAD(&standings->buckets[standing->pin[0]], standing, bucket);
	return standing;
}

static struct standing *find_or_add(struct standings *standings, const struct key *key)
{
	struct standing *standing = find(standings, key);

	return standing != NULL ? standing : add(standings, key);
}

static void enter(struct standings *standings, struct standing *standing, const struct standing_holder *holder,
                  struct standing_member *member)
{
	if ((standing->generation < standings->generation || !standing->known) && standing->state == STANDING_JUDGED)
		set_due(standings, standing);
	member->standing = standing;
	member->holder = holder;
	LIST_INSERT_HEAD(&standing->members, member, link);
}

/* A gatekeeper let it in. What it says of the future counts where nothing newer is known. */
static void note_admission(struct standing *standing, const struct handover *handover)
{
	if (standing->known && standing->refusal == REFUSAL_NONE)
		return;
	if (!standing->known && !LIST_EMPTY(&standing->members))
		return; /* others wait for the answer */
	standing->known = true;
	standing->refusal = REFUSAL_NONE;
	standing->generation = handover->generation;
	standing->not_after = handover->not_after;
	standing->terms = handover->terms;
	memcpy(standing->service_name, handover->service_name, sizeof(standing->service_name));
}

enum ps_err standings_join(struct standings *standings, const struct handover *handover,
                           const struct standing_holder *holder, struct standing_member *member)
{
	const struct key key = {
		.pin = handover->client_pin,
		.asked = handover->is_h2 ? "" : handover->service_name,
		.der = handover->presented.der,
		.der_len = handover->presented.len,
		.who = &handover->who,
	};
	struct standing *standing = find_or_add(standings, &key);

	if (standing == NULL)
		return PS_E_NOMEM;
	note_admission(standing, handover);
	/* An older generation may still hand over while it retires. */
	if (handover->generation < standing->generation)
		standing->generation = handover->generation;
	enter(standings, standing, holder, member);
	return PS_OK;
}

enum ps_err standings_join_service(struct standings *standings, const struct standing *chain, const char *asked,
                                   uint64_t conn, const struct standing_holder *holder, struct standing_member *member)
{
	const struct key key = {
		.pin = chain->pin, .asked = asked, .der = chain->der, .der_len = chain->der_len, .who = chain->who
	};
	struct standing *standing = find_or_add(standings, &key);

	if (standing == NULL)
		return PS_E_NOMEM;
	if (!standing->known && standing->first_conn == 0)
		standing->first_conn = conn;
	enter(standings, standing, holder, member);
	return PS_OK;
}

enum standing_verdict standing_verdict(const struct standing *standing)
{
	if (!standing->known || standing->state != STANDING_JUDGED)
		return STANDING_OPEN;
	return standing->refusal == REFUSAL_NONE ? STANDING_ALLOWED : STANDING_REFUSED;
}

enum refusal standing_refusal(const struct standing *standing)
{
	return standing->refusal;
}

const char *standing_detail(const struct standing *standing)
{
	return standing->detail == NULL ? "" : standing->detail;
}

const struct service_terms *standing_terms(const struct standing *standing)
{
	return &standing->terms;
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
	return standing->service_name[0] != '\0' ? standing->service_name : standing->asked;
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
		set_due(standings, standing);
}

void standings_want(struct standings *standings, struct standing *standing)
{
	if (standing->state == STANDING_JUDGED)
		return;
	standing->is_wanted = true;
	if (standing->state == STANDING_DUE)
		set_due(standings, standing);
}

static enum ps_err ask(struct standings *standings, const struct standing *standing, int slot)
{
	struct handover_rejudge rejudge = {
		.id = standing->id,
		.conn = standing->known ? 0 : standing->first_conn,
		.generation = standings->generation,
	};

	memcpy(rejudge.asked, standing->asked, sizeof(rejudge.asked));
	rejudge.presented.len = (uint32_t)standing->der_len;
	memcpy(rejudge.presented.der, standing->der, standing->der_len);
	return handover_send_rejudge(slot, &rejudge);
}

static struct standing *first_to_ask(struct standings *standings)
{
	struct standing *wanted = TAILQ_FIRST(&standings->queues[STANDING_WANTED]);

	return wanted != NULL ? wanted : TAILQ_FIRST(&standings->queues[STANDING_DUE]);
}

void standings_ask(struct standings *standings, int slot, uint64_t now_ms)
{
	struct standing *standing;

	while ((standing = TAILQ_FIRST(&standings->queues[STANDING_ASKED])) != NULL &&
	       now_ms - standing->asked_ms >= STANDING_PATIENCE_MS)
		set_due(standings, standing);
	while ((standing = first_to_ask(standings)) != NULL && ask(standings, standing, slot) == PS_OK) {
		set_state(standings, standing, STANDING_ASKED);
		standing->asked_ms = now_ms;
	}
}

static void tell_late(struct standing *standing)
{
	struct standing_member *next;

	for (struct standing_member *member = LIST_FIRST(&standing->members); member != NULL; member = next) {
		next = LIST_NEXT(member, link);
		if (member->holder->on_late != NULL)
			member->holder->on_late(member);
	}
}

void standings_give_up(struct standings *standings, uint64_t now_ms)
{
	struct standing *next;

	for (size_t i = 0; i < BUCKETS && standings->n_open > 0; i++)
		for (struct standing *standing = LIST_FIRST(&standings->buckets[i]); standing != NULL; standing = next) {
			next = LIST_NEXT(standing, bucket);
			if (standing->state == STANDING_JUDGED)
				continue;
			if (standing->open_ms == 0 && now_ms != UINT64_MAX)
				standing->open_ms = now_ms;
			if (now_ms - standing->open_ms >= STANDING_WAIT_MS)
				tell_late(standing);
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
static void fall(struct standing *standing, enum refusal refusal, const char *detail)
{
	struct standing_member *next;

	for (struct standing_member *member = LIST_FIRST(&standing->members); member != NULL; member = next) {
		next = LIST_NEXT(member, link);
		member->holder->on_fall(member, refusal, detail);
	}
}

static void tell_known(struct standing *standing)
{
	struct standing_member *next;

	for (struct standing_member *member = LIST_FIRST(&standing->members); member != NULL; member = next) {
		next = LIST_NEXT(member, link);
		if (member->holder->on_known != NULL)
			member->holder->on_known(member);
	}
}

/* Without memory for its words a refusal just says less. */
static void note_refusal(struct standing *standing, enum refusal refusal, const char *detail)
{
	free(standing->detail);
	standing->detail = refusal == REFUSAL_NONE ? NULL : strdup(detail);
	standing->refusal = refusal;
}

void standings_answer(struct standings *standings, const struct handover_judged *judged)
{
	struct standing *standing = find_id(standings, judged->id);

	if (standing == NULL)
		return; /* its connections have ended meanwhile */
	if (judged->generation < standings->generation) {
		set_due(standings, standing);
		return;
	}
	const bool is_first = !standing->known;
	set_state(standings, standing, STANDING_JUDGED);
	standing->known = true;
	standing->keep = judged->keep != 0;
	standing->generation = judged->generation;
	standing->not_after = judged->not_after;
	standing->terms = judged->terms;
	memcpy(standing->service_name, judged->service_name, sizeof(standing->service_name));
	note_refusal(standing, (enum refusal)judged->refusal, judged->detail);
	if (judged->refusal != REFUSAL_NONE && (is_first || !standing->keep))
		fall(standing, (enum refusal)judged->refusal, judged->detail);
	else
		tell_known(standing);
}

static void expire(struct standing *standing)
{
	const char *detail = "a certificate that it showed expired while it was connected";

	if (standing->refusal == REFUSAL_NONE)
		note_refusal(standing, REFUSAL_EXPIRED, detail);
	if (!standing->keep)
		fall(standing, REFUSAL_EXPIRED, detail);
}

void standings_expire(struct standings *standings, int64_t now)
{
	struct standing *next;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct standing *standing = LIST_FIRST(&standings->buckets[i]); standing != NULL; standing = next) {
			next = LIST_NEXT(standing, bucket);
			if (standing->known && now > standing->not_after)
				expire(standing);
		}
}
