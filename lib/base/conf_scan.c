/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_scan -- looks at a configuration's text before libconfig does, for what libconfig 1.5 misreads in silence or
 * explains badly.
 *
 * Never:  decides what a key means; whatever passes here is still parsed and judged.
 */
#include <ctype.h>
#include <string.h>

#include "conf_internal.h"

#define DEPTH_MAX 32
#define DIGITS_MAX 9 /* libconfig 1.5 keeps 32 bits of a longer number and says nothing */

struct scan {
	const char *at;
	const char *end;
	unsigned line;
	unsigned depth;
	struct {
		char bracket;
		unsigned line;
	} open[DEPTH_MAX];
	struct ps_cause *cause;
};

static bool next_is(const struct scan *scan, const char *word)
{
	const size_t len = strlen(word);
	return (size_t)(scan->end - scan->at) >= len && memcmp(scan->at, word, len) == 0;
}

/* Blanks are all that may stand between the bytes of a text file; a newline is counted. */
static enum ps_err step(struct scan *scan)
{
	const unsigned char byte = (unsigned char)*scan->at;
	if ((byte < ' ' && byte != '\n' && byte != '\t' && byte != '\r') || byte == 0x7f)
		return ps_cause_set(scan->cause, PS_E_CONFIG, "control byte 0x%02x: a configuration is plain text", byte);
	if (byte == '\n')
		scan->line++;
	scan->at++;
	return PS_OK;
}

static enum ps_err skip_line(struct scan *scan)
{
	enum ps_err err = PS_OK;
	while (err == PS_OK && scan->at < scan->end && *scan->at != '\n')
		err = step(scan);
	return err;
}

static enum ps_err skip_comment(struct scan *scan)
{
	const unsigned opened = scan->line;
	scan->at += 2;
	while (scan->at < scan->end) {
		if (next_is(scan, "*/")) {
			scan->at += 2;
			return PS_OK;
		}
		const enum ps_err err = step(scan);
		if (err != PS_OK)
			return err;
	}
	scan->line = opened;
	return ps_cause_set(scan->cause, PS_E_CONFIG, "this comment is never closed");
}

static enum ps_err skip_string(struct scan *scan)
{
	scan->at++;
	while (scan->at < scan->end && *scan->at != '\n') {
		if (*scan->at == '"') {
			scan->at++;
			return PS_OK;
		}
		if (next_is(scan, "\\x00"))
			return ps_cause_set(scan->cause, PS_E_CONFIG, "\\x00 in a string would end it there");
		/* The byte behind a backslash is neither a quote nor a backslash of its own. */
		const bool escaped = next_is(scan, "\\\"") || next_is(scan, "\\\\");
		if (escaped)
			scan->at++;
		const enum ps_err err = step(scan);
		if (err != PS_OK)
			return err;
	}
	return ps_cause_set(scan->cause, PS_E_CONFIG, "this string is not closed on its line");
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '+' || c == '*' || c == '.';
}

/* A name, true or false, or a number. */
static enum ps_err skip_word(struct scan *scan)
{
	const char *start = scan->at;
	while (scan->at < scan->end && is_word(*scan->at))
		scan->at++;
	if (*start == '-' || *start == '+')
		start++;
	size_t digits = 0;
	while (start + digits < scan->at && isdigit((unsigned char)start[digits]))
		digits++;
	if (digits > DIGITS_MAX)
		return ps_cause_set(scan->cause, PS_E_CONFIG, "a number above 999999999 is more than any key takes");
	if (digits == 1 && *start == '0' && scan->at - start > 1 && strchr("xXbBoOqQ", start[1]) != NULL)
		return ps_cause_set(scan->cause, PS_E_CONFIG, "numbers are written in decimal here");
	return PS_OK;
}

static enum ps_err open_bracket(struct scan *scan)
{
	if (scan->depth == DEPTH_MAX)
		return ps_cause_set(scan->cause, PS_E_CONFIG, "brackets nested more than %d deep", DEPTH_MAX);
	scan->open[scan->depth].bracket = *scan->at;
	scan->open[scan->depth].line = scan->line;
	scan->depth++;
	scan->at++;
	return PS_OK;
}

static enum ps_err close_bracket(struct scan *scan)
{
	const char bracket = *scan->at;
	if (scan->depth == 0)
		return ps_cause_set(scan->cause, PS_E_CONFIG, "\"%c\" closes nothing", bracket);
	scan->depth--;
	const char opened = scan->open[scan->depth].bracket;
	const char wanted = opened == '(' ? ')' : opened == '[' ? ']' : '}';
	if (bracket != wanted)
		return ps_cause_set(scan->cause, PS_E_CONFIG, "\"%c\" where \"%c\" should close the \"%c\" of line %u", bracket,
		                    wanted, opened, scan->open[scan->depth].line);
	scan->at++;
	return PS_OK;
}

static enum ps_err scan_next(struct scan *scan)
{
	const char c = *scan->at;
	if (c == '#' || next_is(scan, "//"))
		return skip_line(scan);
	if (next_is(scan, "/*"))
		return skip_comment(scan);
	if (c == '"')
		return skip_string(scan);
	if (c == '@')
		return ps_cause_set(scan->cause, PS_E_CONFIG, "@include is not supported: a configuration is one file");
	if (c == '(' || c == '[' || c == '{')
		return open_bracket(scan);
	if (c == ')' || c == ']' || c == '}')
		return close_bracket(scan);
	if (is_word(c))
		return skip_word(scan);
	return step(scan);
}

enum ps_err conf_scan(const char *text, size_t len, unsigned *line, struct ps_cause *cause)
{
	struct scan scan = { .at = text, .end = text + len, .line = 1, .depth = 0, .cause = cause };
	enum ps_err err = PS_OK;
	while (err == PS_OK && scan.at < scan.end)
		err = scan_next(&scan);
	if (err == PS_OK && scan.depth > 0) {
		scan.line = scan.open[scan.depth - 1].line;
		err = ps_cause_set(cause, PS_E_CONFIG, "\"%c\" is never closed", scan.open[scan.depth - 1].bracket);
	}
	*line = scan.line;
	return err;
}
