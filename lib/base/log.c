/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log -- one event a line on stderr, as text or as JSON, written with one write(2).
 *
 * Owns:   the level, the format and the descriptor in force.
 * Never:  allocates, waits for a full pipe, or lets a value end its field, its line or its quotes.
 */
#include "portseal/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TAIL_MAX 16     /* the longest end of a line: ,"cut":true} and its newline */
#define ELLIPSIS_ROOM 4 /* text marks a cut there, which must not reach into a field that stays */
#define DETAIL_MAX 1024

static struct {
	enum log_level level;
	enum log_format format;
	int fd;
} setup = { .level = LOG_INFO, .format = LOG_TEXT, .fd = STDERR_FILENO };

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *const format_names[] = { "text", "json" };

void log_setup(enum log_level level, enum log_format format, int fd)
{
	setup.level = level;
	setup.format = format;
	setup.fd = fd;
}

bool log_is_on(enum log_level level)
{
	return level <= setup.level;
}

static void add_time(struct text *text)
{
	struct timespec now = { 0 };
	struct tm utc = { 0 };
	char seconds[32] = "";
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
	text_addf(text, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

/* What came before goes back to the state of `before` when the field did not fit. */
static void keep_or_leave_out(struct log_line *line, const struct text *before)
{
	if (!line->text.cut && line->text.len + ELLIPSIS_ROOM <= line->text.cap)
		return;
	line->text = *before;
	line->text.at[line->text.len] = '\0';
	line->cut = true;
}

/* False for what a reader (or a script that splits at blanks and "=") could take for something else. */
static bool is_bare(const char *value)
{
	if (*value == '\0')
		return false;
	for (; *value != '\0'; value++)
		if (*value <= ' ' || *value > '~' || *value == '"' || *value == '\\' || *value == '=')
			return false;
	return true;
}

static void add_string(struct log_line *line, const char *key, const char *value, bool quoted)
{
	if (line->off || value == NULL)
		return;
	const struct text before = line->text;
	if (setup.format == LOG_JSON) {
		text_addf(&line->text, ",\"%s\":\"", key);
		text_add_json(&line->text, value, strlen(value));
		text_add(&line->text, "\"");
	} else if (quoted) {
		text_addf(&line->text, " %s=\"", key);
		text_add_escaped(&line->text, value, strlen(value));
		text_add(&line->text, "\"");
	} else {
		text_addf(&line->text, " %s=%s", key, value);
	}
	keep_or_leave_out(line, &before);
}

void log_begin(struct log_line *line, enum log_level level, uint64_t conn, const char *event)
{
	line->cut = false;
	line->off = !log_is_on(level);
	if (line->off)
		return;

	char id[9] = "";
	snprintf(id, sizeof(id), "%08" PRIx32, (uint32_t)(conn & UINT32_MAX));
	text_init(&line->text, line->storage, sizeof(line->storage) - TAIL_MAX);
	if (setup.format == LOG_JSON)
		text_add(&line->text, "{\"time\":\"");
	add_time(&line->text);
	text_addf(&line->text, setup.format == LOG_JSON ? "\",\"level\":\"%s\"" : " %s", level_names[level]);
	log_word(line, "conn", conn == 0 ? NULL : id);
	log_word(line, "event", event);
}

void log_word(struct log_line *line, const char *key, const char *value)
{
	add_string(line, key, value, value != NULL && !is_bare(value));
}

void log_text(struct log_line *line, const char *key, const char *value)
{
	add_string(line, key, value, true);
}

void log_number(struct log_line *line, const char *key, uint64_t value)
{
	if (line->off)
		return;
	const struct text before = line->text;
	text_addf(&line->text, setup.format == LOG_JSON ? ",\"%s\":%" PRIu64 : " %s=%" PRIu64, key, value);
	keep_or_leave_out(line, &before);
}

void log_end(struct log_line *line)
{
	if (line->off)
		return;
	line->text.cap = sizeof(line->storage);
	if (setup.format == LOG_JSON)
		text_add(&line->text, line->cut ? ",\"cut\":true}\n" : "}\n");
	else
		text_add(&line->text, line->cut ? " cut=true\n" : "\n");

	/* A line that a full pipe does not take is lost: a relay does not stand still for its log. */
	const int saved = errno;
	while (write(setup.fd, line->text.at, line->text.len) < 0 && errno == EINTR)
		continue;
	errno = saved;
	line->off = true;
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	if (!log_is_on(level))
		return;
	char detail[DETAIL_MAX];
	va_list args;
	va_start(args, format);
	const int n = vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);

	struct log_line line;
	log_begin(&line, level, 0, event);
	if (n >= 0)
		log_text(&line, "detail", detail);
	if (n < 0 || (size_t)n >= sizeof(detail))
		line.cut = true;
	log_end(&line);
}

bool log_level_parse(const char *word, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(word, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_format_parse(const char *word, enum log_format *format)
{
	for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++) {
		if (strcmp(word, format_names[i]) == 0) {
			*format = (enum log_format)i;
			return true;
		}
	}
	return false;
}
