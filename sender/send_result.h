/* SPDX-License-Identifier: Apache-2.0 */
/*
 * send_result -- what became of a message, in words and as JSON.
 */
#ifndef PORTSEAL_SENDER_SEND_RESULT_H
#define PORTSEAL_SENDER_SEND_RESULT_H

#include <stdbool.h>
#include <stdio.h>

#include "post.h"

/* One line for the message of that number:
 *     message 3: delivered, receipt 6f1c..., 12 bytes of reply
 *     {"index":3,"delivered":true,"status":200,"reason":"","receipt":{...},"reply_bytes":12,"exit_code":0} */
void send_result_print_line(FILE *out, bool json, uint64_t index, const struct post_result *result);

void send_result_print_sum(FILE *out, bool json, uint64_t n_delivered, uint64_t n_failed);

/* The receipt as a JSON file of mode 0600, whole or not at all. */
enum ps_err send_result_write_receipt(const char *path, const struct outcome_names *names,
                                      const struct post_result *result, struct ps_cause *cause) PS_MUST_CHECK;

#endif
