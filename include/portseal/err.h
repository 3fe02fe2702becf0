/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err -- the categories of failure a caller acts on, and the words that explain one to a person.
 *
 * A function that can fail returns enum ps_err; one that must say more fills a struct ps_cause.
 * The codes of a library (mbedTLS, libuv, errno) stop in the file that called it.
 */
#ifndef PORTSEAL_ERR_H
#define PORTSEAL_ERR_H

#define PS_MUST_CHECK __attribute__((warn_unused_result))
#define PS_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))

enum ps_err {
	PS_OK = 0,
	PS_E_AGAIN,   /* nothing wrong: not possible yet, wait for the descriptor */
	PS_E_CLOSED,  /* the other side ended cleanly */
	PS_E_IO,      /* the operating system refused; errno was turned into the cause */
	PS_E_PROTO,   /* the peer broke the protocol: its connection ends */
	PS_E_AUTH,    /* the peer is not who it should be, or may not do this */
	PS_E_CONFIG,  /* what the operator wrote cannot be meant */
	PS_E_LIMIT,   /* a limit of ours is reached */
	PS_E_TIMEOUT, /* the time given is over */
	PS_E_NOMEM,   /* out of memory */
	PS_E_BUG,     /* a library failed where it cannot: say so and stop that connection */
};

/* Returns a static lower-case text, never NULL. */
const char *ps_err_text(enum ps_err err);

#define PS_CAUSE_MAX 512

/* What went wrong, for a person: "pki/relay.key: mode 0644 lets others read it". One line, no newline,
 * truncated to fit. Text of a peer or of a file that it quotes is escaped already. */
struct ps_cause {
	char text[PS_CAUSE_MAX];
};

/* Sets the text and returns `err`, so that a caller can write: return ps_cause_set(cause, PS_E_IO, ...).
 * A NULL cause is allowed: then only the code is passed on. */
enum ps_err ps_cause_set(struct ps_cause *cause, enum ps_err err, const char *format, ...) PS_PRINTF(3, 4);

/* Puts "prefix: " before a cause that a lower layer set; returns `err`. */
enum ps_err ps_cause_prefix(struct ps_cause *cause, enum ps_err err, const char *format, ...) PS_PRINTF(3, 4);

/* Sets "what: why", `why` being the system's words for the errno value `number`, in lower case; returns `err`. */
enum ps_err ps_cause_errno(struct ps_cause *cause, enum ps_err err, int number, const char *format, ...)
	PS_PRINTF(4, 5);

#endif
