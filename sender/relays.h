/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relays -- which of several relays a worker turns to: in order, or where the least is under way; a dead one rests.
 *
 * A relay that failed rests for a tenth of a second, doubling to ten, each time a little more or less, so that a crowd does
 * not come back at once. When its rest is over, one attempt finds out whether it works; until then all others go elsewhere.
 *
 * Plain data and a clock that the caller reads: milliseconds that only rise.
 */
#ifndef PORTSEAL_SENDER_RELAYS_H
#define PORTSEAL_SENDER_RELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAYS_MAX 16
#define RELAYS_NONE UINT32_MAX

enum relays_balance {
	RELAYS_ORDER, /* the first that works */
	RELAYS_LEAST, /* the one with the least under way; of equals the first */
};

/* What we know of its protocols. */
enum relay_speech {
	RELAY_UNKNOWN, /* whoever dials first will find out */
	RELAY_H2,
	RELAY_RAW, /* one TLS connection each */
};

struct relays_one {
	enum relay_speech speech;
	unsigned n_failures; /* in a row */
	bool trying;         /* the attempt that finds out whether it works again is under way */
	uint64_t failed_ms;  /* the last one */
	uint64_t rest_ms;    /* until then */
	size_t outstanding;
};

struct relays {
	enum relays_balance balance;
	uint32_t n;
	struct relays_one at[RELAYS_MAX];
};

/* The best one that is not in the set `tried` (bit i: relay i): one that works, else the one whose rest ends first.
 * RELAYS_NONE when all are in it. */
uint32_t relays_choose(const struct relays *relays, uint32_t tried, uint64_t now_ms);

/* True when somebody should see to a connection to it before anybody asks: it is the best one, or a better one that
 * rests, or every one counts. */
bool relays_is_wanted(const struct relays *relays, uint32_t relay, uint64_t now_ms);

bool relays_is_resting(const struct relays *relays, uint32_t relay, uint64_t now_ms);

/* An attempt begins; it ends with one of the other two. */
void relays_attempt(struct relays *relays, uint32_t relay);
/* `chance` is a random number: how long exactly it rests. */
void relays_failed(struct relays *relays, uint32_t relay, uint64_t now_ms, uint32_t chance);
void relays_worked(struct relays *relays, uint32_t relay);

#endif
