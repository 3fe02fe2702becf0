/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_client -- a gatekeeper's or worker's way to the audit trail: one call at each place where something is let in,
 * turned away or ends.
 *
 *     struct audit_entry entry = { .conn = ..., .service = ..., .who = ... };
 *     switch (audit_accepted(client, &entry, on_written, self, &self->wait)) {
 *     case AUDIT_OFF:       go on now                      (no audit is configured)
 *     case AUDIT_ASKED:     wait for on_written             (never called from inside)
 *     case AUDIT_UNASKABLE: refuse with REFUSAL_AUDIT_FAILED (no memory)
 *     }
 *
 * A record is kept until the auditor has answered; one whose auditor dies meanwhile is sent again to the next. Nobody
 * waits longer than AUDIT_PATIENCE_MS: then the policy decides that the auditor last told.
 *
 * Never:  blocks, but in audit_client_free. What is told without a callback costs a copy and, mostly, one sendmsg.
 */
#ifndef PORTSEAL_RELAY_AUDIT_CLIENT_H
#define PORTSEAL_RELAY_AUDIT_CLIENT_H

#include <stdbool.h>
#include <uv.h>

#include "portseal/audit_line.h"
#include "portseal/err.h"

#define AUDIT_PATIENCE_MS 2000

struct audit_client; /* NULL wherever no audit is configured: every call below takes that */
struct audit_wait;

/* Takes the channel, -1 where there is none: then *client is NULL. */
enum ps_err audit_client_new(uv_loop_t *loop, int channel, struct audit_client **client) PS_MUST_CHECK;

/* Waits at most a second for what is not answered yet; what could not even be sent is logged as dropped. Callbacks that
 * are left are not called. The loop must run once more for libuv to let go of the handles. */
void audit_client_free(struct audit_client *client);

bool audit_is_on(const struct audit_client *client);

/* `goes_on`: the line is written, or on_failure = "continue". Otherwise refuse: REFUSAL_AUDIT_FAILED; `cause` says why. */
typedef void audit_written_fn(void *owner, bool goes_on, const char *cause);

enum audit_asked { AUDIT_OFF, AUDIT_ASKED, AUDIT_UNASKABLE };

/* Before anything of it reaches the application: a connection, a stream or a message (`entry->stream`). The event is set here; the entry is copied. `*wait` is set for AUDIT_ASKED, and to NULL else. */
enum audit_asked audit_accepted(struct audit_client *client, const struct audit_entry *entry,
                                audit_written_fn *on_written, void *owner, struct audit_wait **wait);

/* The owner is gone: its callback is not called. The line is written all the same: tell how it ended. NULL is harmless. */
void audit_forget(struct audit_wait *wait);

/* Told, not waited for. Every audit_accepted is followed by one audit_closed (reason, in, out, ms) or, when it did not
 * come that far, audit_refused; a message's has its status, digest and receipt. Streams and connections that were turned
 * away without being asked for have audit_refused alone. */
void audit_refused(struct audit_client *client, const struct audit_entry *entry);
void audit_closed(struct audit_client *client, const struct audit_entry *entry);

#endif
