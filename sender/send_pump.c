/* SPDX-License-Identifier: Apache-2.0 */
#include "send_pump.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "portseal/buf.h"
#include "portseal/clock.h"
#include "portseal/net.h"
#include "portseal/record.h"

#define CHUNK_LEN (4 * RECORD_MAX_BODY) /* read from the input at a time */
#define WIRE_MIN (4 * (RECORD_HEADER_LEN + RECORD_MAX_CIPHERTEXT))
#define SPANS_MAX 64

enum output_kind {
	OUTPUT_FILE,   /* takes everything at once */
	OUTPUT_SOCKET, /* can be written without blocking, whatever its flags say */
	OUTPUT_PIPE,   /* takes PIPE_BUF bytes without blocking when poll(2) says so; a terminal, too */
};

/* What the relay has still to say. */
enum relay_state {
	RELAY_REPLIES,
	RELAY_CLOSED,   /* its close_notify came */
	RELAY_CONFIRMS, /* it came before we had sent everything: only a clean end of TCP says that all was taken */
	RELAY_GONE,
};

struct pump {
	const struct send_pump_config *config;
	struct send_pump_report *report;
	enum output_kind output;
	enum relay_state relay;
	bool input_ended;
	bool write_failed; /* the relay takes no more; why, it may still tell */
	bool failed;       /* report->outcome says how; the reply that came before is written out first */
	uint64_t sealed;   /* payload bytes sealed */
	uint64_t moved_ms; /* the last time that anything moved */
	struct buf out;    /* sealed, on its way to the relay */
	struct buf wire;   /* received; the spans point into it */
	struct iovec spans[SPANS_MAX];
	size_t n_spans, at_span;
	size_t opened; /* bytes of `wire` that the spans lie in */
	bool more;     /* whole records lie behind these */
	uint8_t chunk[CHUNK_LEN];
};

/* The first failure is the one that is told. */
static void fail(struct pump *pump, enum outcome_code code, const char *format, ...) PS_PRINTF(3, 4);

static void fail(struct pump *pump, enum outcome_code code, const char *format, ...)
{
	char text[PS_CAUSE_MAX];
	va_list args;

	if (pump->failed)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	outcome_set(&pump->report->outcome, code, "%s", text);
	pump->failed = true;
}

static void fail_at_relay(struct pump *pump, const char *what, uint64_t bytes, const char *advice)
{
	fail(pump, OUTCOME_UNDELIVERED, "%s: %s after %" PRIu64 " bytes: %s", pump->config->names.relay, what, bytes,
	     advice);
}

static bool reply_waits(const struct pump *pump)
{
	return pump->at_span < pump->n_spans;
}

static bool all_is_sent(const struct pump *pump)
{
	return pump->input_ended && buf_len(&pump->out) == 0;
}

static void on_stream_ended(struct pump *pump, enum ps_err err)
{
	pump->relay = err == PS_E_CLOSED ? RELAY_CLOSED : RELAY_GONE;
	if (err == PS_E_CLOSED && !all_is_sent(pump))
		pump->relay = RELAY_CONFIRMS;
	if (err == PS_E_CLOSED || pump->failed)
		return;
	if (err == PS_E_IO) {
		outcome_of_alert(&pump->report->outcome, tls_stream_peer_alert(pump->config->stream), &pump->config->names);
		pump->failed = true;
	} else if (err == PS_E_PROTO) {
		fail_at_relay(pump, "the reply was damaged or forged", pump->report->received, "try again");
	} else {
		fail(pump, OUTCOME_UNFORESEEN, "%s: the record layer failed: %s", pump->config->names.relay, ps_err_text(err));
	}
}

/* Opens what is in `wire`, as far as there are spans for it. */
static void open_wire(struct pump *pump)
{
	struct tls_opened opened;
	const enum ps_err err = tls_stream_open(pump->config->stream, buf_front(&pump->wire), buf_len(&pump->wire),
	                                        pump->spans, SPANS_MAX, &opened, &pump->out);

	pump->n_spans = opened.n_spans;
	pump->at_span = 0;
	pump->opened = opened.consumed;
	pump->more = err == PS_OK && opened.more;
	if (err != PS_OK)
		on_stream_ended(pump, err);
}

/* What the spans lay in is done with: goes on to the records behind. */
static void advance_wire(struct pump *pump)
{
	while (!reply_waits(pump)) {
		buf_consume(&pump->wire, pump->opened);
		pump->opened = 0;
		if (!pump->more)
			return;
		open_wire(pump);
	}
}

/* number: errno, or 0 for the end of TCP. */
static void on_relay_gone(struct pump *pump, int number)
{
	const bool confirmed = pump->relay == RELAY_CONFIRMS && number == 0 && !pump->write_failed;

	pump->relay = confirmed ? RELAY_CLOSED : RELAY_GONE;
	if (confirmed)
		return;
	if (number == ETIMEDOUT)
		fail_at_relay(pump, "the connection timed out", pump->report->received, "is the network still up?");
	else if (number == 0 && !pump->write_failed)
		fail_at_relay(pump, "the reply was cut off", pump->report->received, "the relay's log may say why");
	else
		fail(pump, OUTCOME_UNDELIVERED,
		     "%s: the connection was reset after %" PRIu64 " bytes sent and %" PRIu64 " bytes of reply: %s",
		     pump->config->names.relay, pump->report->sent, pump->report->received,
		     "the application broke off, or our certificate was refused; the relay's log says which");
}

/* The spans still to be written would move with the buffer: only called while there are none. */
static void read_relay(struct pump *pump)
{
	if (buf_room(&pump->wire) < WIRE_MIN && buf_reserve(&pump->wire, WIRE_MIN) != PS_OK) {
		fail(pump, OUTCOME_UNFORESEEN, "out of memory");
		return;
	}
	const ssize_t n =
		recv(pump->config->relay_fd, pump->wire.data + pump->wire.end, buf_room(&pump->wire), MSG_DONTWAIT);
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			on_relay_gone(pump, n == 0 ? 0 : errno);
		return;
	}
	pump->moved_ms = clock_now_ms();
	if (pump->relay == RELAY_CONFIRMS)
		return; /* nothing counts behind a close_notify */
	pump->wire.end += (size_t)n;
	open_wire(pump);
	advance_wire(pump);
}

/* In TLS 1.3 a client hears of its refusal after it has begun to send: its writes fail, and the reason waits to be read. */
static void on_write_failed(struct pump *pump)
{
	pump->write_failed = true;
	pump->input_ended = true;
	buf_reset(&pump->out);
}

static void write_relay(struct pump *pump)
{
	const ssize_t n =
		send(pump->config->relay_fd, buf_front(&pump->out), buf_len(&pump->out), MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			on_write_failed(pump);
		return;
	}
	pump->moved_ms = clock_now_ms();
	buf_consume(&pump->out, (size_t)n);
	if (buf_len(&pump->out) > 0)
		return;
	pump->report->sent = pump->sealed;
	if (pump->input_ended && pump->relay == RELAY_CONFIRMS)
		(void)shutdown(pump->config->relay_fd, SHUT_WR);
}

static void seal(struct pump *pump, size_t len)
{
	enum ps_err err;

	if (len > 0) {
		err = tls_stream_seal(pump->config->stream, pump->chunk, len, &pump->out);
	} else {
		pump->input_ended = true;
		err = tls_stream_close(pump->config->stream, &pump->out);
	}
	pump->sealed += len;
	if (err == PS_OK)
		write_relay(pump);
	else if (err != PS_E_CLOSED)
		fail(pump, OUTCOME_UNFORESEEN, "%s: the record layer failed: %s", pump->config->names.relay, ps_err_text(err));
}

static void read_input(struct pump *pump)
{
	const ssize_t n = read(pump->config->input_fd, pump->chunk, sizeof(pump->chunk));

	if (n >= 0) {
		pump->moved_ms = clock_now_ms();
		seal(pump, (size_t)n);
	} else if (errno != EAGAIN && errno != EINTR) {
		fail(pump, OUTCOME_USAGE, "%s: cannot be read: %s", pump->config->input_name, strerror(errno));
	}
}

static ssize_t write_some(const struct pump *pump, const struct iovec *span)
{
	switch (pump->output) {
	case OUTPUT_SOCKET:
		return send(pump->config->output_fd, span->iov_base, span->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	case OUTPUT_PIPE:
		return write(pump->config->output_fd, span->iov_base, span->iov_len < PIPE_BUF ? span->iov_len : PIPE_BUF);
	case OUTPUT_FILE:
		break;
	}
	return write(pump->config->output_fd, span->iov_base, span->iov_len);
}

static void write_output(struct pump *pump)
{
	struct iovec *span = &pump->spans[pump->at_span];
	const ssize_t n = write_some(pump, span);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		/* What the relay said is lost here anyhow: our own fault comes first. */
		pump->failed = false;
		fail(pump, OUTCOME_UNFORESEEN, "stdout: the reply cannot be written: %s", strerror(errno));
		pump->n_spans = 0;
		pump->more = false;
		return;
	}
	pump->moved_ms = clock_now_ms();
	pump->report->received += (uint64_t)n;
	span->iov_base = (uint8_t *)span->iov_base + n;
	span->iov_len -= (size_t)n;
	if (span->iov_len == 0)
		pump->at_span++;
	advance_wire(pump);
}

static bool is_over(const struct pump *pump)
{
	if (reply_waits(pump))
		return false;
	return pump->failed || (all_is_sent(pump) && pump->relay != RELAY_REPLIES && pump->relay != RELAY_CONFIRMS);
}

static void tell_timeout(struct pump *pump)
{
	char what[64];

	(void)snprintf(what, sizeof(what), "nothing moved for %" PRIu64 " ms", pump->config->timeout_ms);
	if (buf_len(&pump->out) > 0)
		fail_at_relay(pump, what, pump->report->sent,
		              "the relay takes no more of the payload; does the application read?");
	else if (pump->report->received > 0)
		fail_at_relay(pump, what, pump->report->received, "the application does not end its reply");
	else
		fail(pump, OUTCOME_UNDELIVERED, "%s: no reply within %" PRIu64 " ms: %" PRIu64 " bytes were sent, %s",
		     pump->config->names.relay, pump->config->timeout_ms, pump->report->sent,
		     "the application does not answer");
}

/* How long poll may wait: for ever while it is our own input or output that is waited for. */
static int patience(struct pump *pump)
{
	const bool relays_turn = buf_len(&pump->out) > 0 || pump->input_ended;

	if (reply_waits(pump) || !relays_turn)
		return -1;
	const uint64_t waited_ms = clock_now_ms() - pump->moved_ms;
	if (waited_ms >= pump->config->timeout_ms)
		return 0;
	const uint64_t left_ms = pump->config->timeout_ms - waited_ms;
	return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

static short relay_events(const struct pump *pump)
{
	int events = 0;

	if (buf_len(&pump->out) > 0)
		events |= POLLOUT;
	/* Behind a close_notify the end of TCP would be told again and again while we still send. */
	if (!reply_waits(pump) && (pump->relay == RELAY_REPLIES || all_is_sent(pump)))
		events |= POLLIN;
	return (short)events;
}

static void turn(struct pump *pump)
{
	const struct send_pump_config *config = pump->config;
	const bool wants_input = !pump->input_ended && buf_len(&pump->out) == 0;
	const int timeout = patience(pump);
	const short events = relay_events(pump);
	/* A reset is told whatever is asked for, and again and again: only where it can be acted upon. */
	const bool watches_relay = events != 0 || (pump->relay == RELAY_CONFIRMS && !all_is_sent(pump));
	struct pollfd polled[3] = {
		{ .fd = watches_relay ? config->relay_fd : -1, .events = events },
		{ .fd = wants_input ? config->input_fd : -1, .events = POLLIN },
		{ .fd = reply_waits(pump) ? config->output_fd : -1, .events = POLLOUT },
	};

	const int n = poll(polled, 3, timeout);
	if (n == 0 && timeout >= 0) {
		tell_timeout(pump);
		return;
	}
	if (n < 0)
		return;
	const int relay = polled[0].revents;
	if (polled[2].revents != 0)
		write_output(pump);
	if ((polled[0].events & POLLIN) != 0 && (relay & (POLLIN | POLLHUP | POLLERR)) != 0)
		read_relay(pump);
	if (!pump->failed && buf_len(&pump->out) > 0 && (relay & (POLLOUT | POLLHUP | POLLERR)) != 0)
		write_relay(pump);
	else if (!pump->failed && pump->relay == RELAY_CONFIRMS && !all_is_sent(pump) && (relay & (POLLHUP | POLLERR)) != 0)
		on_write_failed(pump);
	if (!pump->failed && polled[1].revents != 0)
		read_input(pump);
}

static enum output_kind output_kind_of(int fd)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return OUTPUT_PIPE;
	if (S_ISSOCK(status.st_mode))
		return OUTPUT_SOCKET;
	return S_ISREG(status.st_mode) ? OUTPUT_FILE : OUTPUT_PIPE;
}

void send_pump_run(const struct send_pump_config *config, struct send_pump_report *report)
{
	struct pump pump = {
		.config = config,
		.report = report,
		.output = output_kind_of(config->output_fd),
		.moved_ms = clock_now_ms(),
		.out = BUF_INIT,
		.wire = BUF_INIT,
	};

	*report = (struct send_pump_report){ .outcome = { .code = OUTCOME_DONE } };
	while (!is_over(&pump))
		turn(&pump);
	if (!pump.failed && pump.write_failed)
		fail_at_relay(&pump, "the relay stopped taking the payload", report->sent,
		              "the application did not read all of it");
	/* An alert of ours to a peer that broke the protocol, while it may still be read. Else a reset: a FIN would let the
	 * relay wait for a reply that nobody reads any more. */
	if (pump.failed && tls_stream_sent_alert(config->stream) != ALERT_NONE)
		(void)send(config->relay_fd, buf_front(&pump.out), buf_len(&pump.out), MSG_NOSIGNAL | MSG_DONTWAIT);
	else if (pump.failed)
		net_arm_reset(config->relay_fd);
	ps_wipe(pump.chunk, sizeof(pump.chunk));
	buf_release(&pump.out);
	buf_release(&pump.wire);
}
