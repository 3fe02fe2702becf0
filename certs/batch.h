/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch -- several files of one directory that change together, also when the power goes in between.
 *
 * The new files are written into DIR/.next. Renaming that to DIR/.commit is the moment at which the change has
 * happened; moving its files into place is only tidying up, and whoever comes next finishes it (batch_recover).
 *
 *     DIR/.next    being written; whoever finds it throws it away
 *     DIR/.commit  decided; whoever finds it moves its files into DIR
 *
 * The caller holds the lock of the directory.
 */
#ifndef CERTS_BATCH_H
#define CERTS_BATCH_H

#include <sys/types.h>

#include "portseal/buf.h"
#include "portseal/err.h"

/* Finishes or throws away what an earlier run left. Harmless where there is nothing. */
enum ps_err batch_recover(const char *dir, struct ps_cause *cause) PS_MUST_CHECK;

/* Begins an empty batch. After any failure until batch_commit, call batch_abandon. */
enum ps_err batch_begin(const char *dir, struct ps_cause *cause) PS_MUST_CHECK;

/* The whole content of DIR/file, with exactly this mode. */
enum ps_err batch_add(const char *dir, const char *file, const struct buf *content, mode_t mode, struct ps_cause *cause)
	PS_MUST_CHECK;

/* Replaces all the files. A failure before the decisive moment leaves everything as it was. */
enum ps_err batch_commit(const char *dir, struct ps_cause *cause) PS_MUST_CHECK;

void batch_abandon(const char *dir);

#endif
