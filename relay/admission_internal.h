/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission_internal -- one connection on its way in, shared by the files of admission alone:
 * admission.c carries it through its states, admission_judge.c decides, admission_refuse.c turns it away.
 */
#ifndef PORTSEAL_RELAY_ADMISSION_INTERNAL_H
#define PORTSEAL_RELAY_ADMISSION_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "admission.h"
#include "portseal/address.h"
#include "portseal/client_hello.h"
#include "portseal/identity.h"
#include "portseal/judge.h"
#include "portseal/refusal.h"
#include "sources.h"

enum admission_state {
	ADMISSION_HELLO,     /* the ClientHello is not whole yet; it stays in the socket */
	ADMISSION_LINE,      /* whole; waits for its source's turn */
	ADMISSION_HANDSHAKE, /* mbedTLS is at work */
	ADMISSION_RECORD,    /* may enter; its line of the audit trail is being written */
};

struct admission {
	struct admissions *all;
	enum admission_state state;
	int fd;
	int listener_service;
	bool stalled;  /* woken without new bytes: the next tick looks again */
	size_t peeked; /* bytes seen in the socket so far */
	uint64_t conn;
	uint64_t begun_ms;
	uint64_t shaking_ms; /* when the handshake began */
	struct net_source source;
	struct sources_place place;
	struct route route;
	struct handshake *handshake;
	struct identity *identity; /* of whoever may enter */
	struct verdict *verdict;
	struct audit_wait *wait;
	uv_poll_t poll;
	TAILQ_ENTRY(admission) link;
	char peer[ADDRESS_TEXT_MAX];
};

TAILQ_HEAD(admission_list, admission);

struct admissions {
	struct admissions_config config;
	struct sources *sources;
	struct admission_list list; /* in the order of arrival, so in the order of deadlines */
	size_t n;
	size_t n_hello; /* of them in ADMISSION_HELLO */
	uv_timer_t tick;
	uint8_t peek[CLIENT_HELLO_PEEK_MAX];
};

/* What is told of a refusal beside its reason; NULL or ALERT_NONE where there is nothing. */
struct refusal_facts {
	const struct identity *identity;
	uint8_t alert;
	const char *detail;
};

enum farewell {
	FAREWELL_CLOSE,  /* nothing was said: just close */
	FAREWELL_LINGER, /* something was: let it be read */
};

/* Takes it out of everything; the socket is the caller's afterwards. */
int admission_detach(struct admission *admission);

/* The handshake is done: who is it, and may it reach what it asks for? */
void admission_judge(struct admission *admission);

/* Something ended and made room for whoever is in line. */
void admissions_start_next(struct admissions *all);

/* Its line is written, or need not be: to a worker. */
void admission_hand_over(struct admission *admission);

void admission_set_state(struct admission *admission, enum admission_state state);

/* Each of these logs the one line and ends the admission. */
void admission_end_refused(struct admission *admission, enum refusal refusal, const struct refusal_facts *facts,
                           enum farewell farewell);
void admission_refuse_silently(struct admission *admission, enum refusal refusal, const char *detail);
/* Before any context exists: the alert goes out in the clear. */
void admission_refuse_plainly(struct admission *admission, enum refusal refusal, const char *detail);
/* After the handshake: sealed under the application keys, where every peer can read it. */
void admission_refuse_sealed(struct admission *admission, enum refusal refusal, const struct identity *identity,
                             const char *detail);
void admission_refuse_http(struct admission *admission);

#endif
