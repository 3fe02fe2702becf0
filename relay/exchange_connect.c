/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_connect.h"

#include <stdlib.h>

#include "portseal/connector.h"
#include "portseal/h2_pipe.h"
#include "session.h"

/* What a CONNECT holds: first the way to its target, then the pipe. */
struct tunnel {
	uint64_t idle_ms;
	struct connector *connector; /* NULL once it is there */
	struct h2_pipe *pipe;
};

static const char *end_reason(enum h2_pipe_end end)
{
	static const char *const reasons[] = {
		[H2_PIPE_DONE] = "done",
		[H2_PIPE_STREAM_RESET] = "client-reset",
		[H2_PIPE_STREAM_CUT] = "connection-ended",
		[H2_PIPE_UNPROCESSED] = "client-reset", /* cannot be: that is a server's word */
		[H2_PIPE_PLAIN_RESET] = "target-reset",
		[H2_PIPE_IDLE] = "idle",
		[H2_PIPE_ABORTED] = "drain",
		[H2_PIPE_NO_MEMORY] = "no-memory",
	};

	return reasons[end];
}

static void on_pipe_end(void *owner, const struct h2_pipe_report *report)
{
	struct exchange *exchange = owner;
	const struct exchange_closing closing = {
		.reason = end_reason(report->end),
		.in = report->to_plain,
		.out = report->to_stream,
		.code = report->code,
	};

	exchange_close(exchange, &closing);
}

static void start_pipe(struct exchange *exchange, int fd)
{
	const struct h2_response ok = { .status = 200, .content_length = -1 };
	struct tunnel *tunnel = exchange->work;
	const struct h2_pipe_config config = {
		.loop = exchange_config(exchange)->loop,
		.watches = exchange_config(exchange)->watches,
		.stream = exchange->stream,
		.plain_fd = fd,
		.idle_ms = tunnel->idle_ms,
		.on_end = on_pipe_end,
		.owner = exchange,
	};

	if (h2_respond(exchange->stream, &ok, false) != PS_OK)
		h2_stream_reset(exchange->stream, H2_INTERNAL_ERROR); /* the pipe meets that end */
	exchange->stream = NULL;                                  /* the pipe's from here on */
	if (h2_pipe_new(&config, &tunnel->pipe) != PS_OK)
		exchange_close(exchange, &(struct exchange_closing){ .reason = "no-memory", .code = H2_INTERNAL_ERROR });
}

static void on_target(void *owner, enum connect_result result, int fd, const char *peer, const struct ps_cause *cause)
{
	struct exchange *exchange = owner;
	struct tunnel *tunnel = exchange->work;
	const struct problem problem = problem_of_connect(result);

	tunnel->connector = NULL;
	if (result != CONNECT_OK) {
		exchange_refuse(exchange, &problem, cause->text);
		return;
	}
	exchange_opened(exchange, peer);
	start_pipe(exchange, fd);
}

static void begin(struct exchange *exchange, const struct service_terms *terms)
{
	const struct problem no_memory = { .status = 503, .reason = "no-memory" };
	struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
	const struct connector_config config = {
		.loop = exchange_config(exchange)->loop,
		.watches = exchange_config(exchange)->watches,
		.address = &terms->target,
		.timeout_ms = terms->connect_ms,
		.on_done = on_target,
		.owner = exchange,
	};

	exchange->work = tunnel;
	if (tunnel == NULL || connector_new(&config, &tunnel->connector) != PS_OK) {
		exchange_refuse(exchange, &no_memory, NULL);
		return;
	}
	tunnel->idle_ms = terms->idle_ms;
}

static void abort_tunnel(struct exchange *exchange, enum h2_code code)
{
	struct tunnel *tunnel = exchange->work;

	if (tunnel->pipe != NULL)
		h2_pipe_abort(tunnel->pipe, code);
	else
		exchange_close(exchange, &(struct exchange_closing){ .reason = "drain", .code = code });
}

static void release(struct exchange *exchange)
{
	struct tunnel *tunnel = exchange->work;

	if (tunnel == NULL)
		return;
	connector_cancel(tunnel->connector);
	free(tunnel);
}

const struct exchange_kind exchange_connect = {
	.name = "connect",
	.is_recorded = true,
	.begin = begin,
	.abort = abort_tunnel,
	.release = release,
};
