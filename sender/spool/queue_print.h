/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_print -- messages of the spool for a person, one line each, or as JSON.
 */
#ifndef PORTSEAL_SENDER_SPOOL_QUEUE_PRINT_H
#define PORTSEAL_SENDER_SPOOL_QUEUE_PRINT_H

#include <stdbool.h>

#include "spool/spool.h"

void queue_print_head(void);
void queue_print_line(const struct spool_message *message);
void queue_print_message(const struct spool_message *message);
/* `served`: a process delivers from it. */
void queue_print_totals(const struct spool_totals *totals, bool served);

void queue_json_message(const struct spool_message *message);
/* Its members, without braces: "served":true,"messages":3,... */
void queue_json_totals(const struct spool_totals *totals, bool served);

#endif
