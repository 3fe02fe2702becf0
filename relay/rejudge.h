/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rejudge -- a gatekeeper's answers to workers who ask whether those they carry may stay.
 *
 * Any gatekeeper may pick up any question. One of an earlier generation than the question asks for says so, and is asked
 * no more once it has stopped watching.
 */
#ifndef PORTSEAL_RELAY_REJUDGE_H
#define PORTSEAL_RELAY_REJUDGE_H

#include <uv.h>

#include "config.h"
#include "portseal/err.h"
#include "portseal/supervisor.h"
#include "portseal/trust.h"

struct rejudge;

/* All is borrowed. */
enum ps_err rejudge_new(uv_loop_t *loop, const struct role_env *env, const struct relay_config *config,
                        struct trust *trust, struct rejudge **rejudge) PS_MUST_CHECK;

/* Watches every slot from now on: its generation is in force. */
void rejudge_start(struct rejudge *rejudge);

/* Answers no more: this generation retires. Harmless on NULL and when repeated. */
void rejudge_stop(struct rejudge *rejudge);

/* After the loop has closed the handles. */
void rejudge_free(struct rejudge *rejudge);

#endif
