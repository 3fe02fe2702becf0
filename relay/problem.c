/* SPDX-License-Identifier: Apache-2.0 */
#include "problem.h"

#include <stdio.h>
#include <string.h>

#include "portseal/text.h"

#define BODY_MAX 1024

static const char *title_of(unsigned status)
{
	static const struct {
		unsigned status;
		const char *title;
	} titles[] = {
		{ 400, "Bad Request" },         { 403, "Forbidden" },
		{ 404, "Not Found" },           { 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },     { 409, "Conflict" },
		{ 413, "Content Too Large" },   { 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },   { 500, "Internal Server Error" },
		{ 501, "Not Implemented" },     { 502, "Bad Gateway" },
		{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Error";
}

static void add_member(struct text *text, const char *name, const char *value)
{
	text_addf(text, "\"%s\":\"", name);
	text_add_json(text, value, strlen(value));
	text_add(text, "\"");
}

enum ps_err problem_answer(struct h2_stream *stream, const struct problem *problem)
{
	char body[BODY_MAX];
	char seconds[16];
	struct h2_field fields[3] = { { "content-type", "application/problem+json" } };
	struct h2_response response = { .status = problem->status, .content_length = -1, .fields = fields, .n_fields = 1 };
	struct text text;

	text_init(&text, body, sizeof(body));
	text_add(&text, "{\"type\":\"about:blank\",");
	add_member(&text, "title", title_of(problem->status));
	text_addf(&text, ",\"status\":%u,", problem->status);
	add_member(&text, "reason", problem->reason);
	if (problem->detail != NULL) {
		text_add(&text, ",");
		add_member(&text, "detail", problem->detail);
	}
	text_add(&text, "}\n");
	if (problem->retry_after_s > 0) {
		(void)snprintf(seconds, sizeof(seconds), "%u", problem->retry_after_s);
		fields[response.n_fields++] = (struct h2_field){ "retry-after", seconds };
	}
	if (problem->allow != NULL)
		fields[response.n_fields++] = (struct h2_field){ "allow", problem->allow };
	return h2_answer(stream, &response, body, text.len);
}

unsigned problem_status(enum refusal refusal)
{
	switch (refusal) {
	case REFUSAL_UNKNOWN_SERVICE:
		return 404;
	case REFUSAL_TOO_MANY_CONNECTIONS:
	case REFUSAL_TOO_MANY_HANDSHAKES:
	case REFUSAL_AUDIT_FAILED:
	case REFUSAL_INTERNAL:
		return 503;
	default:
		return 403;
	}
}

struct problem problem_of_connect(enum connect_result result)
{
	static const struct problem problems[] = {
		[CONNECT_OK] = { .status = 200, .reason = "done" },
		[CONNECT_NO_NAME] = { .status = 502, .reason = "target-name", .detail = "the application's name is not known" },
		[CONNECT_REFUSED] = { .status = 502, .reason = "target-refused", .detail = "the application does not listen" },
		[CONNECT_TIMEOUT] = { .status = 504, .reason = "target-timeout", .detail = "the application does not answer" },
		[CONNECT_UNREACHABLE] = { .status = 502,
		                          .reason = "target-unreachable",
		                          .detail = "there is no way to the application" },
		[CONNECT_RESET] = { .status = 502,
		                    .reason = "target-reset",
		                    .detail = "the application broke the connection off" },
		[CONNECT_FAILED] = { .status = 502, .reason = "target-failed", .detail = "the application was not reached" },
	};

	return problems[result];
}
