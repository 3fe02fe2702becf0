/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_log -- the lines that the delivering daemon writes of its messages.
 */
#ifndef PORTSEAL_SENDER_SPOOL_RUN_LOG_H
#define PORTSEAL_SENDER_SPOOL_RUN_LOG_H

#include <stdint.h>

#include "spool/courier.h"
#include "spool/spool.h"

/* event=delivered, event=delivery-failed or event=dead-letter */
void run_log_settled(const struct courier_task *task, uint64_t took_ms);

/* event=dead-letter reason=expired */
void run_log_expired(const struct spool_message *message);

#endif
