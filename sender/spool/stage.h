/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage -- a payload on its way into the spool: in memory while it is small, else in a file without a name beside the spool.
 *
 * It is taken in whole before the spool is locked, so that a slow writer in front of us keeps nobody waiting.
 */
#ifndef PORTSEAL_SENDER_SPOOL_STAGE_H
#define PORTSEAL_SENDER_SPOOL_STAGE_H

#include <stddef.h>
#include <stdint.h>

#include "portseal/buf.h"
#include "portseal/err.h"
#include "spool/spool.h"

#define SPOOL_STAGE_MEMORY ((size_t)1024 * 1024)

/* Caller's storage. */
struct spool_stage {
	const char *beside; /* borrowed: the spool's path */
	uint64_t max;       /* of one message, and what it is called in the cause */
	struct buf memory;
	int fd; /* -1: all of it is in memory */
	uint64_t len;
};

void spool_stage_init(struct spool_stage *stage, const char *beside, uint64_t max);
void spool_stage_clear(struct spool_stage *stage);

/* PS_E_LIMIT: over `max`, or the disk is full. */
enum ps_err spool_stage_add(struct spool_stage *stage, const void *bytes, size_t len, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Exactly `len` bytes from `offset` on, which it holds. */
enum ps_err spool_stage_read(const struct spool_stage *stage, uint64_t offset, void *out, size_t len,
                             struct ps_cause *cause) PS_MUST_CHECK;

struct spool_put_config {
	const char *service;
	int64_t now_ms;
	uint64_t ttl_ms; /* 0: for ever */
	uint64_t max_messages, max_bytes;
};

/* Keeps the payload as one message; when this returns PS_OK it is on the disk. PS_E_LIMIT also: the spool is full. */
enum ps_err spool_put(struct spool *spool, const struct spool_put_config *config, const struct spool_stage *stage,
                      char id[static SPOOL_ID_SIZE], struct ps_cause *cause) PS_MUST_CHECK;

/* The same as one of several, between spool_begin and spool_commit. After a failure, roll back. */
enum ps_err spool_add(struct spool *spool, const struct spool_put_config *config, const struct spool_stage *stage,
                      char id[static SPOOL_ID_SIZE], struct ps_cause *cause) PS_MUST_CHECK;

#endif
