/* SPDX-License-Identifier: Apache-2.0 */
#include "introduce.h"

#include <signal.h>

#include "portseal/channel.h"
#include "portseal/log.h"

enum ps_err introduce_open(const struct children *children, struct child *child, int *near)
{
	int ends[2];
	enum ps_err err;

	*near = -1;
	if (children->config->run_auditor == NULL || child->kind == ROLE_AUDITOR)
		return PS_OK;
	err = channel_pair(ends);
	if (err != PS_OK)
		return err;
	*near = ends[0];
	child->audit = ends[1];
	return PS_OK;
}

static const struct child *find_auditor(const struct children *children)
{
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].kind == ROLE_AUDITOR && children->at[i].pid > 0 && children->at[i].control >= 0)
			return &children->at[i];
	return NULL;
}

static void tell_auditor(const struct child *auditor, enum role_message type, uint64_t number, int fd)
{
	if (channel_send(auditor->control, type, &number, sizeof(number), fd) == PS_OK)
		return;
	log_event(LOG_ERROR, "role-hangs", "auditor does not read what it is told: it is killed");
	kill(auditor->pid, SIGKILL);
}

void introduce(struct children *children, const struct child *child)
{
	const struct child *auditor = find_auditor(children);

	if (auditor == NULL)
		return;
	if (child != auditor) {
		tell_auditor(auditor, ROLE_CLIENT, child->kind, child->audit);
		return;
	}
	for (unsigned i = 0; i < children->n; i++)
		if (children->at[i].audit >= 0)
			tell_auditor(auditor, ROLE_CLIENT, children->at[i].kind, children->at[i].audit);
	introduce_tell_lost(children, 0);
}

void introduce_tell_lost(struct children *children, uint64_t connections)
{
	const struct child *auditor = find_auditor(children);

	if (children->config->run_auditor == NULL)
		return;
	children->untold += connections;
	if (auditor == NULL || children->untold == 0)
		return;
	tell_auditor(auditor, ROLE_LOST, children->untold, -1);
	children->untold = 0;
}
