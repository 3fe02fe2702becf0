/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_internal -- the inside of a message in a worker: its way to the application (message.c) and the way back
 * (message_reply.c).
 */
#ifndef PORTSEAL_RELAY_MESSAGE_INTERNAL_H
#define PORTSEAL_RELAY_MESSAGE_INTERNAL_H

#include "message.h"
#include "message_target.h"
#include "portseal/digest.h"

enum message_state {
	MESSAGE_BEGUN,      /* its right is being asked for */
	MESSAGE_CLAIMING,   /* whose is it to deliver? */
	MESSAGE_COMPARING,  /* a repeat: is it the same payload? */
	MESSAGE_CONNECTING, /* to the application */
	MESSAGE_DELIVERING, /* the payload is on its way */
	MESSAGE_REPLYING,   /* delivered; the reply has not ended */
	MESSAGE_RECORDING,  /* the reply has ended; the record is on its way to the disk */
	MESSAGE_ANSWERED,   /* the answer's end was given to the stream */
	MESSAGE_OVER,       /* only its timer's close callback is awaited */
};

struct messages {
	struct messages_config config;
	LIST_HEAD(message_list, message) list;
	size_t n_left; /* of them, without their client */
};

struct message {
	struct messages *all;
	LIST_ENTRY(message) link;
	enum message_state state;
	struct exchange *exchange; /* NULL: its client left, it goes on for the record */
	bool left;                 /* that is so */
	struct service_terms terms;
	struct message_target *target;
	uv_timer_t deadline;
	uint64_t began_ms;
	/* The key: */
	bool has_key;
	bool counted; /* among those of its client */
	bool claimed; /* to be recorded or released */
	struct results_key key;
	struct results_call *call;
	struct results_record record; /* to be written; or what was found */
	/* The payload: */
	int64_t content_length;
	bool payload_ended;
	struct digest *digest;
	uint8_t sha256[DIGEST_LEN];
	uint64_t in;
	/* The reply: */
	struct receipt receipt;
	bool has_receipt;
	unsigned status;  /* of the answer that has begun; 0: none has */
	bool trails;      /* the receipt goes behind the body */
	bool reply_waits; /* some of it is there, and the answer has not begun */
	bool reply_ended;
	bool replayed;
	uint64_t out;
};

/* message.c */
/* Answers with the problem, if no answer has begun, else resets the stream; resets the application; ends the message. */
void message_fail(struct message *message, const struct problem *problem, const char *private_detail);
/* It is over, in good order or because its client left: `clean` ends the application's connection with a FIN. */
void message_close(struct message *message, const char *reason, uint32_t code, bool clean);

/* message_reply.c */
/* Of the application's side: */
void message_on_delivered(void *owner);
void message_on_readable(void *owner);
void message_on_failed(void *owner, const char *reason, const char *detail);
size_t message_on_pull(void *owner, struct h2_stream *stream, uint8_t *room, size_t max, bool *end);
/* The payload has been given on: may an answer have to begin now, lest both wait for each other? */
void message_reply_early(struct message *message);
/* The recorded answer, to a repeat of the same payload. */
void message_replay(struct message *message);

#endif
