/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err -- the words for a failure: one text per category, and causes that layers prefix on the way up.
 *
 * Never:  allocates, logs, or lets a cause span two lines.
 */
#include "portseal/err.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *ps_err_text(enum ps_err err)
{
	switch (err) {
	case PS_OK:
		return "ok";
	case PS_E_AGAIN:
		return "not possible yet";
	case PS_E_CLOSED:
		return "closed by the other side";
	case PS_E_IO:
		return "input or output failed";
	case PS_E_PROTO:
		return "protocol broken by the peer";
	case PS_E_AUTH:
		return "not authorised";
	case PS_E_CONFIG:
		return "configuration not usable";
	case PS_E_LIMIT:
		return "limit reached";
	case PS_E_TIMEOUT:
		return "timed out";
	case PS_E_NOMEM:
		return "out of memory";
	case PS_E_BUG:
		return "internal error";
	}
	return "unknown error";
}

/* Drops the part of a UTF-8 sequence that truncation left at the end. */
static void trim_partial_utf8(char *text, size_t len)
{
	size_t lead = len;
	while (lead > 0 && len - lead < 4) {
		const unsigned char byte = (unsigned char)text[--lead];
		if (byte < 0x80)
			return;
		if (byte >= 0xc0) {
			const size_t whole = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
			if (len - lead < whole)
				text[lead] = '\0';
			return;
		}
	}
}

/* Libraries end their messages in newlines; a cause stays one line whatever was put into it. */
static void flatten(char *text)
{
	for (; *text != '\0'; text++) {
		const unsigned char byte = (unsigned char)*text;
		if (byte < 0x20 || byte == 0x7f)
			*text = ' ';
	}
}

/* Formats behind the `used` bytes that are there already; returns the new length. */
static size_t add_va(char text[static PS_CAUSE_MAX], size_t used, const char *format, va_list args) PS_PRINTF(3, 0);

static size_t add_va(char text[static PS_CAUSE_MAX], size_t used, const char *format, va_list args)
{
	const int n = vsnprintf(text + used, PS_CAUSE_MAX - used, format, args);
	if (n < 0) {
		text[used] = '\0';
		return used;
	}
	if ((size_t)n < PS_CAUSE_MAX - used)
		return used + (size_t)n;
	trim_partial_utf8(text, PS_CAUSE_MAX - 1);
	return strlen(text);
}

static size_t add(char text[static PS_CAUSE_MAX], size_t used, const char *format, ...) PS_PRINTF(3, 4);

static size_t add(char text[static PS_CAUSE_MAX], size_t used, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	used = add_va(text, used, format, args);
	va_end(args);
	return used;
}

enum ps_err ps_cause_set(struct ps_cause *cause, enum ps_err err, const char *format, ...)
{
	if (cause == NULL)
		return err;
	char made[PS_CAUSE_MAX]; /* aside, because an argument may point into the cause */
	va_list args;
	va_start(args, format);
	add_va(made, 0, format, args);
	va_end(args);
	flatten(made);
	memcpy(cause->text, made, sizeof(made));
	return err;
}

enum ps_err ps_cause_prefix(struct ps_cause *cause, enum ps_err err, const char *format, ...)
{
	if (cause == NULL)
		return err;
	char made[PS_CAUSE_MAX];
	va_list args;
	va_start(args, format);
	const size_t used = add_va(made, 0, format, args);
	va_end(args);
	add(made, used, ": %s", cause->text);
	flatten(made);
	memcpy(cause->text, made, sizeof(made));
	return err;
}

enum ps_err ps_cause_errno(struct ps_cause *cause, enum ps_err err, int number, const char *format, ...)
{
	if (cause == NULL)
		return err;
	char made[PS_CAUSE_MAX];
	va_list args;
	va_start(args, format);
	const size_t used = add_va(made, 0, format, args);
	va_end(args);
	const char *why = strerror(number);
	/* "Connection refused" becomes lower case in the middle of a line, "RPC ..." stays. */
	const bool lower = why[0] != '\0' && islower((unsigned char)why[1]);
	if (lower)
		add(made, used, ": %c%s", tolower((unsigned char)why[0]), why + 1);
	else
		add(made, used, ": %s", why);
	flatten(made);
	memcpy(cause->text, made, sizeof(made));
	return err;
}
