/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passage_internal -- what passage.c (one passage) and passage_dial.c (what is dialled for all) share.
 */
#ifndef PORTSEAL_SENDER_PASSAGE_INTERNAL_H
#define PORTSEAL_SENDER_PASSAGE_INTERNAL_H

#include <sys/queue.h>

#include "dials.h"
#include "passage.h"
#include "portseal/buf.h"
#include "relays.h"

#define PASSAGE_REASON_MAX 48

enum passage_state {
	PASSAGE_WAITING,  /* for a link with room; in the list */
	PASSAGE_DIALLING, /* for a connection of its own */
	PASSAGE_ASKED,    /* CONNECT was sent; in the list */
	PASSAGE_ANSWERED, /* not by 200: what is said about it is still coming */
	PASSAGE_THROUGH,
	PASSAGE_REFUSED, /* to be told, or told */
};

/* Why it was not let through, as far as it was tried. */
struct passage_failure {
	char reason[PASSAGE_REASON_MAX];
	char detail[PS_CAUSE_MAX];
};

struct passage {
	struct passages *all;
	void *owner;
	enum passage_state state;
	bool told; /* REFUSED: its owner knows */
	char service[HANDOVER_SERVICE_MAX];
	uint32_t generation; /* in which `relay` is counted */
	uint32_t relay;      /* RELAYS_NONE: it counts at none */
	uint32_t tried;      /* set of relays that failed it */
	unsigned n_tries;
	unsigned n_timeouts;
	uint64_t asked_ms;
	struct h2_stream *stream; /* ASKED, ANSWERED */
	const struct pool_facts *facts;
	unsigned status; /* of the answer */
	struct buf body; /* of an answer that refuses */
	struct passage_failure *failure;
	TAILQ_ENTRY(passage) link; /* WAITING, ASKED, or REFUSED and not told */
};

TAILQ_HEAD(passage_list, passage);

struct passages {
	struct passages_config config;
	struct pool *pool;
	struct dials *dials;
	struct relays relays;
	char relay_texts[RELAYS_MAX][ADDRESS_TEXT_MAX];
	uint64_t warm_ms[RELAYS_MAX]; /* when a link that nobody waits for may be dialled */
	struct passage_list waiting, asked, refused;
	uv_timer_t timer;
	bool shut; /* nobody will come any more */
};

/* passage.c */

/* On to the next relay that was not tried; REFUSED when there is none. Not in any list. */
void passage_seek(struct passage *passage);

/* Sends CONNECT if a link to its relay has room. Not in any list. */
bool passage_ask(struct passage *passage);

/* Remembers why, for the case that it was the last relay. */
void passage_note(struct passage *passage, const char *reason, const char *detail);

/* A connection of its own. */
void passage_go_raw(struct passage *passage, const struct handover *handover, int fd);

/* passage_dial.c */

/* pool_config's, and dials_config's. */
void passages_on_room(void *owner, uint32_t relay);
void passages_on_loss(void *owner, uint32_t relay, const struct h2_report *report, bool opened);
void passages_on_answer(void *owner, const struct dials_asked *asked, struct handover_message *message);

/* Must it dial for itself? */
bool passages_want_own(const struct passages *passages, const struct passage *passage);
enum dial_offer passages_offer(const struct passages *passages, const struct passage *passage);

/* Links to this relay: as many as help. */
void passages_tend(struct passages *passages, uint32_t relay);

/* Sets the timer for whatever is due next. */
void passages_arm(struct passages *passages, uint64_t at_ms);

#endif
