/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file -- reads whole small files, and writes files that appear whole or not at all.
 */
#ifndef PORTSEAL_FILE_H
#define PORTSEAL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "portseal/buf.h"
#include "portseal/err.h"

/* Appends the whole file to `out` plus one NUL that buf_len does not count (mbedTLS wants it behind PEM).
 * PS_E_LIMIT when it is larger than max. A failure leaves `out` with what it held before; the cause names the path
 * and what is wrong with it. */
enum ps_err file_read(const char *path, size_t max, struct buf *out, struct ps_cause *cause) PS_MUST_CHECK;

enum file_overwrite { FILE_KEEP_EXISTING, FILE_REPLACE };

/* Writes a temporary file of exactly `mode` in the same directory (O_EXCL, umask-proof, mode right before the first
 * byte), fsyncs it, puts it in place (link for FILE_KEEP_EXISTING: an existing file is PS_E_CONFIG and stays; rename
 * for FILE_REPLACE), fsyncs the directory. A failure leaves neither a temporary nor a partial file. */
enum ps_err file_write(const char *path, const void *bytes, size_t len, mode_t mode, enum file_overwrite overwrite,
                       struct ps_cause *cause) PS_MUST_CHECK;

/* PS_E_CONFIG with mode and owner named when group or others may read or write the file, or when its owner is
 * neither root nor the effective user. */
enum ps_err file_check_private(const char *path, struct ps_cause *cause) PS_MUST_CHECK;

/* The same of a directory in which nobody else may put, replace or remove anything: PS_E_CONFIG when group or others may
 * write to it (sticky or not: what is not there yet could be put there), when its owner is neither root nor the
 * effective user, and when it cannot be looked at or is none. The cause names what mends it. */
enum ps_err file_check_directory(const char *path, struct ps_cause *cause) PS_MUST_CHECK;

/* That of the directory in which `path` lies, there or not yet, and of the one to which it leads as a link: for a file
 * beside which others matter (SQLite believes whatever `-wal` lies beside a database). */
enum ps_err file_check_place(const char *path, struct ps_cause *cause) PS_MUST_CHECK;

/* Writes base_dir/path to out when `path` is relative (base_dir is the directory of the configuration file, "" the
 * working directory), else path. PS_E_LIMIT when out_cap is too small. */
enum ps_err file_resolve(const char *base_dir, const char *path, char *out, size_t out_cap) PS_MUST_CHECK;

/* All of it to a blocking descriptor, however often write(2) is interrupted or short; PS_E_IO leaves errno. */
enum ps_err file_write_all(int fd, const void *bytes, size_t len) PS_MUST_CHECK;

/* Mixes into `sum` whatever changes when the file is written, replaced or removed; NULL leaves it as it is. Begin with
 * FILE_FINGERPRINT. */
#define FILE_FINGERPRINT UINT64_C(0x100000001b3)
uint64_t file_fingerprint(uint64_t sum, const char *path);

#endif
