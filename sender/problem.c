/* SPDX-License-Identifier: Apache-2.0 */
#include "problem.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DEPTH_MAX 16
#define KEY_MAX 16

struct json {
	const char *at;
	const char *end;
};

static void skip_space(struct json *json)
{
	while (json->at < json->end && memchr(" \t\r\n", *json->at, 4) != NULL)
		json->at++;
}

static bool take(struct json *json, char c)
{
	skip_space(json);
	if (json->at == json->end || *json->at != c)
		return false;
	json->at++;
	return true;
}

static bool take_hex4(struct json *json, uint32_t *code)
{
	static const char digits[] = "0123456789abcdef";

	*code = 0;
	for (int i = 0; i < 4; i++) {
		const char *digit = NULL;
		if (json->at < json->end)
			digit = memchr(digits, *json->at >= 'A' && *json->at <= 'F' ? *json->at - 'A' + 'a' : *json->at, 16);
		if (digit == NULL)
			return false;
		*code = *code << 4 | (uint32_t)(digit - digits);
		json->at++;
	}
	return true;
}

/* What is beyond ASCII becomes "?": nothing of ours escapes such characters. */
static bool take_escape(struct json *json, char *c)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	uint32_t code;

	if (json->at == json->end)
		return false;
	if (*json->at == 'u') {
		json->at++;
		if (!take_hex4(json, &code))
			return false;
		*c = code > 0 && code < 0x80 ? (char)code : '?';
		return true;
	}
	found = memchr(from, *json->at, sizeof(from) - 1);
	if (found == NULL)
		return false;
	json->at++;
	*c = to[found - from];
	return true;
}

/* The string's content as far as it fits into `out`. */
static bool take_string(struct json *json, char *out, size_t cap)
{
	size_t len = 0;

	if (!take(json, '"'))
		return false;
	while (json->at < json->end && *json->at != '"') {
		char c = *json->at++;
		if ((unsigned char)c < 0x20 || (c == '\\' && !take_escape(json, &c)))
			return false;
		if (len + 1 < cap)
			out[len++] = c;
	}
	out[len] = '\0';
	return take(json, '"');
}

/* A value of any kind, passed over: brackets must match in number and depth, not in kind. */
static bool skip_value(struct json *json)
{
	char unused[1];
	unsigned depth = 0;

	do {
		skip_space(json);
		if (json->at == json->end)
			return false;
		const char c = *json->at;
		if (c == '"') {
			if (!take_string(json, unused, sizeof(unused)))
				return false;
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth-- == 0)
			return false;
		if (depth > DEPTH_MAX)
			return false;
		json->at++;
		/* A number or a word is taken whole. */
		while (depth == 0 && json->at < json->end && memchr(",}] \t\r\n", *json->at, 7) == NULL && c != '}' && c != ']')
			json->at++;
	} while (depth > 0);
	return true;
}

/* Our words only: they are shown and compared. */
static bool is_word(const char *word)
{
	return word[strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static bool take_member(struct json *json, struct problem *problem)
{
	char key[KEY_MAX];
	bool is_string;

	if (!take_string(json, key, sizeof(key)) || !take(json, ':'))
		return false;
	skip_space(json);
	is_string = json->at < json->end && *json->at == '"';
	if (is_string && strcmp(key, "detail") == 0)
		return take_string(json, problem->detail, sizeof(problem->detail));
	if (!is_string || strcmp(key, "reason") != 0)
		return skip_value(json);
	if (!take_string(json, problem->reason, sizeof(problem->reason)))
		return false;
	if (!is_word(problem->reason))
		problem->reason[0] = '\0';
	return true;
}

static bool take_object(struct json *json, struct problem *problem)
{
	if (!take(json, '{'))
		return false;
	if (!take(json, '}')) {
		do {
			if (!take_member(json, problem))
				return false;
		} while (take(json, ','));
		if (!take(json, '}'))
			return false;
	}
	skip_space(json);
	return json->at == json->end;
}

enum ps_err problem_parse(const char *body, size_t len, struct problem *problem)
{
	struct json json = { body, body + len };
	struct problem read = { .reason = "" };

	*problem = read;
	if (!take_object(&json, &read))
		return PS_E_PROTO;
	*problem = read;
	return PS_OK;
}
