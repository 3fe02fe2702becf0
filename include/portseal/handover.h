/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover -- what a gatekeeper passes to a worker with a socket whose handshake is done, and (sender) what a worker asks
 * a gatekeeper to dial. Travels over a slot's channel; both ends are the same executable.
 *
 * A relay's worker knows no configuration: what it needs for a connection comes with it. It keeps the chain that the
 * client presented, to have it judged again when another generation of gatekeepers is in force.
 *
 * Never:  carries a certificate's private key. Whoever holds a struct handover wipes its secrets after use.
 */
#ifndef PORTSEAL_HANDOVER_H
#define PORTSEAL_HANDOVER_H

#include <stdint.h>

#include "portseal/address.h"
#include "portseal/audit_line.h"
#include "portseal/err.h"
#include "portseal/identity.h"
#include "portseal/refusal.h"
#include "portseal/service_terms.h"
#include "portseal/suite.h"

enum handover_type {
	HANDOVER_CONNECTION = 100, /* gatekeeper to worker: struct handover and the socket */
	HANDOVER_DIAL,             /* sender's worker to any gatekeeper: struct handover_dial */
	HANDOVER_DIAL_FAILED,      /* sender's gatekeeper to the worker: struct handover_dial_failed */
	HANDOVER_REJUDGE,          /* relay's worker to any gatekeeper: struct handover_rejudge */
	HANDOVER_JUDGED,           /* the gatekeeper's answer: struct handover_judged */
};

#define HANDOVER_SERVICE_MAX 64
#define HANDOVER_ASKED_MAX 264 /* a service, or the host:port by which a proxy's client means it */
#define HANDOVER_PRESENTED_MAX 16384

/* The certificates by which a client was let in, DER behind DER, leaf first. */
struct handover_presented {
	uint32_t len;
	uint8_t der[HANDOVER_PRESENTED_MAX]; /* only `len` bytes travel */
};

struct handover {
	uint64_t conn;       /* the connection's id in the log; sender: the id of the worker's request */
	uint64_t started_ms; /* CLOCK_MONOTONIC when it was accepted (or dialled) */
	uint32_t service;    /* relay: index in the configuration */
	uint32_t is_h2;      /* HTTP/2 was agreed by ALPN; 0: the connection is one of the service */
	struct traffic_secrets secrets;
	uint8_t client_pin[IDENTITY_PIN_LEN];
	int64_t not_after;           /* of the peer's certificate; sender: or of ours, if that ends earlier */
	char peer[ADDRESS_TEXT_MAX]; /* as text for the log */
	char client[IDENTITY_LABEL_MAX];
	/* Relay only: */
	uint32_t generation;                     /* whose rules admitted it */
	uint32_t max_streams;                    /* of an HTTP/2 connection */
	char service_name[HANDOVER_SERVICE_MAX]; /* HTTP/2: the only one that exists there, as the listener says; "": any */
	struct service_terms terms;              /* HTTP/2: only idle_ms counts, for a connection without streams */
	struct audit_who who;                    /* for the audit trail; len 0 where none is written */
	struct handover_presented presented;     /* last: its end does not travel */
};

struct handover_dial {
	uint64_t conn;
	uint32_t generation;                /* the worker's: a gatekeeper of another one does not dial */
	uint32_t relay;                     /* index in the configuration */
	uint32_t offer;                     /* sender/dial.h: enum dial_offer */
	char service[HANDOVER_SERVICE_MAX]; /* "": none is named */
};

struct handover_dial_failed {
	uint64_t conn;
	uint32_t again;     /* not 0: nothing was tried, as worker and gatekeeper are of two generations: ask again */
	uint32_t exit_code; /* of the contract: 3 to 8 */
	uint32_t refusal;   /* enum refusal, REFUSAL_NONE when it was not about identity */
	char text[PS_CAUSE_MAX];
};

/* May whoever presented this (still) reach that service? */
struct handover_rejudge {
	uint64_t id;                    /* the worker's, comes back with the answer */
	uint64_t conn;                  /* of whoever is the first to need it, for the log; 0: it was answered before */
	uint32_t generation;            /* at least this one must answer */
	char asked[HANDOVER_ASKED_MAX]; /* the service as the client names it; "": is the chain good? */
	struct handover_presented presented; /* last, likewise */
};

struct handover_judged {
	uint64_t id;
	uint32_t generation; /* of the gatekeeper; older than asked for: ask again, it is about to end */
	uint32_t refusal;    /* enum refusal */
	uint32_t keep;       /* what lives already may stay, whatever the verdict */
	int64_t not_after;   /* as far as the verdict holds; INT64_MAX: without end */
	char service_name[HANDOVER_SERVICE_MAX]; /* what was meant; "": none */
	struct service_terms terms;              /* how to carry it, unless it is refused */
	char detail[PS_CAUSE_MAX];
};

/* Sends over a slot's channel with the socket; wipes nothing of the caller's. */
enum ps_err handover_send(int slot, const struct handover *handover, int fd) PS_MUST_CHECK;

/* Any message of a slot's channel, checked: lengths, NUL-terminated strings, known suite. *fd is the caller's, -1 if none.
 * PS_E_AGAIN, PS_E_CLOSED, PS_E_PROTO (message dropped, descriptor closed). PS_E_LIMIT: a connection whose socket was
 * lost because this process has no descriptor left: the message tells which, and whoever counts it must forget it. */
struct handover_message {
	enum handover_type type;
	int fd;
	union {
		struct handover connection;
		struct handover_dial dial;
		struct handover_dial_failed failed;
		struct handover_rejudge rejudge;
		struct handover_judged judged;
	} body;
};
enum ps_err handover_receive(int slot, struct handover_message *message) PS_MUST_CHECK;

enum ps_err handover_send_dial(int slot, const struct handover_dial *dial) PS_MUST_CHECK;
enum ps_err handover_send_rejudge(int slot, const struct handover_rejudge *rejudge) PS_MUST_CHECK;
enum ps_err handover_send_judged(int slot, const struct handover_judged *judged) PS_MUST_CHECK;
enum ps_err handover_send_dial_failed(int slot, const struct handover_dial_failed *failed) PS_MUST_CHECK;

#endif
