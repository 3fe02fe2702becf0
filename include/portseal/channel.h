/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel -- messages between our own processes over SOCK_SEQPACKET, each with at most one descriptor (SCM_RIGHTS).
 *
 * Never:  blocks; trusts a length or type it received: the other role may be the one that was broken into.
 */
#ifndef PORTSEAL_CHANNEL_H
#define PORTSEAL_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/err.h"

#define CHANNEL_MESSAGE_MAX 20480 /* a hand-over with the longest chain a handshake message holds */

/* Two connected ends, CLOEXEC and non-blocking. */
enum ps_err channel_pair(int ends[static 2]) PS_MUST_CHECK;

/* Sends type and body as one message, with a copy of pass_fd unless it is -1 (the caller's stays open).
 * PS_E_AGAIN: the queue is full. PS_E_CLOSED: nobody holds the other end. */
enum ps_err channel_send(int end, uint32_t type, const void *body, size_t body_len, int pass_fd) PS_MUST_CHECK;

/* Receives one message; *fd is the caller's, -1 when none came. PS_E_PROTO: too long, or more descriptors than one
 * (all closed). PS_E_LIMIT: the message is here, but its descriptor is lost, for this process has none left; *fd is -1.
 * PS_E_AGAIN, PS_E_CLOSED. */
enum ps_err channel_receive(int end, uint32_t *type, uint8_t body[static CHANNEL_MESSAGE_MAX], size_t *body_len,
                            int *fd) PS_MUST_CHECK;

#endif
