/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log -- one event a line on stderr, as text or as JSON, written with one write(2).
 *
 *   2026-11-22T09:33:07.347Z info conn=7f3a09c1 event=accepted peer=192.0.2.7:51123 client="alice" service=billing
 *
 * Only programs log, once, where the decision is taken; lib/ returns. Text from a peer is escaped here. Never a
 * payload byte, never key material. A line is built in the caller's storage; nothing is allocated. A field for which the
 * line has no room is left out whole, and the line then ends in cut=true.
 */
#ifndef PORTSEAL_LOG_H
#define PORTSEAL_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "portseal/text.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

#define LOG_LINE_MAX 3072 /* with its newline below PIPE_BUF, so lines of several processes never mix */

struct log_line {
	bool off; /* below the level in force: every call on it is free */
	bool cut; /* a field was left out or shortened */
	struct text text;
	char storage[LOG_LINE_MAX];
};

/* Before the first line; kept across fork. `fd` is 2 but in tests. */
void log_setup(enum log_level level, enum log_format format, int fd);
bool log_is_on(enum log_level level);

/* time, level, event. conn 0: the line belongs to no connection. */
void log_begin(struct log_line *line, enum log_level level, uint64_t conn, const char *event);

/* A word of our own (service, reason, address): bare in text, quoted only where it could be misread. A NULL value
 * leaves the field out. */
void log_word(struct log_line *line, const char *key, const char *value);
/* Text that may hold anything: quoted and escaped. A NULL value leaves the field out. */
void log_text(struct log_line *line, const char *key, const char *value);
void log_number(struct log_line *line, const char *key, uint64_t value);
/* Writes the line; errno stays as it was. */
void log_end(struct log_line *line);

/* A whole line in one call: event, then detail="..." */
void log_event(enum log_level level, const char *event, const char *format, ...) PS_PRINTF(3, 4);

bool log_level_parse(const char *word, enum log_level *level);
bool log_format_parse(const char *word, enum log_format *format);

#endif
