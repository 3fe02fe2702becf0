/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditor_client -- one gatekeeper or worker, as the auditor sees it: a channel on which records come and answers go.
 *
 *     GREETED ──RESUME──▶ TELLING ──the role has closed──▶ gone
 *        └───the role has closed: what it left is taken──▶ gone
 *
 * In GREETED, records are those that the auditor before did not read: they are kept, and dropped when the role resumes,
 * since it sends them again. Those that find no room are counted, and lost when the role has closed.
 *
 * Owns:   the channel's end.
 * Never:  keeps more than AUDITOR_KEPT_MAX bytes of a role, or drops a record without telling.
 */
#ifndef PORTSEAL_RELAY_AUDITOR_CLIENT_H
#define PORTSEAL_RELAY_AUDITOR_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "portseal/audit_record.h"
#include "portseal/err.h"

#define AUDITOR_KEPT_MAX (4u * 1024 * 1024) /* more than a channel holds */

struct auditor_clients;

struct auditor_clients_config {
	uv_loop_t *loop;
	enum audit_policy policy;
	void (*on_record)(void *owner, const struct audit_record *record);
	void (*on_lost)(void *owner, uint64_t n, const char *why); /* so many records that were told cannot be written */
	void *owner;
};

/* Copies the configuration. */
enum ps_err auditor_clients_new(const struct auditor_clients_config *config, struct auditor_clients **clients)
	PS_MUST_CHECK;
/* Lets go of the channels: what lies in them waits for the next auditor. The loop must run once more. */
void auditor_clients_close(struct auditor_clients *clients);
/* Behind that. */
void auditor_clients_free(struct auditor_clients *clients);

/* Takes the channel. */
void auditor_clients_add(struct auditor_clients *clients, int channel);

/* Answers every record since the last call. `cause` NULL: they are written. */
void auditor_clients_answer(struct auditor_clients *clients, const char *cause);

/* Whatever a full channel did not take before. */
void auditor_clients_retry(struct auditor_clients *clients);

size_t auditor_clients_count(const struct auditor_clients *clients);

#endif
