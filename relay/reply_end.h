/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_end -- where the reply to a message ends: at the application's close, at the end of a line, when it has been
 * silent for so long, or before it begins.
 *
 * Never:  does I/O, keeps bytes or a clock. The caller arms the timer that reply_end_patience asks for.
 */
#ifndef PORTSEAL_RELAY_REPLY_END_H
#define PORTSEAL_RELAY_REPLY_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

enum reply_kind {
	REPLY_UNTIL_CLOSE, /* all that the application writes until its FIN */
	REPLY_NONE,        /* there is none: delivered is when the application's host has every byte */
	REPLY_LINE,        /* up to and with the first newline, or until its FIN */
	REPLY_IDLE,        /* until the application, once it has begun, is silent for idle_ms, or until its FIN */
};

struct reply_rule {
	enum reply_kind kind;
	uint32_t idle_ms; /* REPLY_IDLE: 1 to REPLY_IDLE_MAX_MS */
};

#define REPLY_IDLE_MAX_MS (10 * 60 * 1000)

/* The `parse` of a conf_key, into a struct reply_rule: "until-close", "none", "line" or "idle:TIME". */
enum ps_err reply_rule_parse(const char *text, void *field, struct ps_cause *cause) PS_MUST_CHECK;

struct reply_end {
	struct reply_rule rule;
	uint64_t len; /* bytes of the reply so far */
	bool ended;
};

void reply_end_init(struct reply_end *reply, struct reply_rule rule);

/* How many of these bytes of the application belong to the reply; the others come after its end. */
size_t reply_end_take(struct reply_end *reply, const uint8_t *bytes, size_t len);

/* The application's FIN: ends every reply. */
void reply_end_close(struct reply_end *reply);

/* Silence of this length ends it; 0: none does (yet). */
uint32_t reply_end_patience(const struct reply_end *reply);

/* The application has been silent for reply_end_patience. */
void reply_end_silence(struct reply_end *reply);

/* True where the application is told by a FIN that the message is whole. Where a line or a silence ends the reply, the
 * connection stays open both ways until then: such applications often take a FIN for a farewell. */
bool reply_rule_half_closes(struct reply_rule rule);

#endif
