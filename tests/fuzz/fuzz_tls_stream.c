/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_tls_stream -- a peer that holds the keys and says anything.
 *
 * The input is one byte of settings, then commands: an opcode, a length of two bytes, and so many bytes. Most commands
 * are sealed as records of that type, so that the stream under test gets past its AEAD; others go on the wire as they
 * are, or call the stream. What it opens and what it seals must hold together after each.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portseal/record.h"
#include "portseal/tls_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* its caller is the fuzzer */

enum command {
	COMMAND_RAW = 0,      /* bytes on the wire */
	COMMAND_KEY_UPDATE,   /* the peer updates its key; the first byte is request_update */
	COMMAND_SEAL,         /* tls_stream_seal */
	COMMAND_CLOSE,        /* tls_stream_close */
	COMMAND_FAIL,         /* tls_stream_fail */
	COMMAND_UPDATE_KEY,   /* tls_stream_update_key */
	COMMAND_DRAIN,        /* what the stream sealed reaches the peer */
	COMMAND_RECORDS = 16, /* this and above: a sealed record of that type */
};

struct world {
	struct tls_stream *stream;
	struct record_key seal, open;
	struct buf wire, sent;
	size_t max_spans;
	enum ps_err end;
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void world_init(struct world *world, uint8_t settings)
{
	struct traffic_secrets secrets = { .suite = (uint16_t)(SUITE_AES_128_GCM_SHA256 + settings % 3) };
	enum tls_role role = settings & 0x40 ? TLS_CLIENT : TLS_SERVER;

	memset(secrets.client, 1, sizeof(secrets.client));
	memset(secrets.server, 2, sizeof(secrets.server));
	const struct suite *suite = suite_find(secrets.suite);
	const uint8_t *theirs = role == TLS_CLIENT ? secrets.server : secrets.client;
	const uint8_t *ours = role == TLS_CLIENT ? secrets.client : secrets.server;
	*world = (struct world){ .max_spans = settings & 0x80 ? 1 : 4 };
	require(tls_stream_new(role, &secrets, &world->stream) == PS_OK);
	require(record_key_init(&world->seal, suite, theirs) == PS_OK);
	require(record_key_init(&world->open, suite, ours) == PS_OK);
}

static void world_clear(struct world *world)
{
	tls_stream_free(world->stream);
	record_key_clear(&world->seal);
	record_key_clear(&world->open);
	buf_release(&world->wire);
	buf_release(&world->sent);
}

static void check_opened(const struct tls_opened *opened, const struct iovec *spans, const uint8_t *bytes, size_t len)
{
	const uint8_t *at = bytes;
	size_t payload = 0;

	require(opened->consumed <= len);
	for (size_t i = 0; i < opened->n_spans; i++) {
		const uint8_t *start = spans[i].iov_base;
		require(start >= at && spans[i].iov_len > 0 && spans[i].iov_len <= RECORD_MAX_BODY);
		at = start + spans[i].iov_len;
		payload += spans[i].iov_len;
	}
	require(at <= bytes + opened->consumed);
	require(payload == opened->payload);
}

/* Everything on the wire reaches the stream, in a block of its own so that a sanitizer sees its edges. */
static void deliver(struct world *world)
{
	struct tls_opened opened = { .more = true };
	struct iovec spans[4];

	while (opened.more) {
		size_t len = buf_len(&world->wire);
		uint8_t *bytes = malloc(len);
		require(bytes != NULL || len == 0);
		if (len > 0)
			memcpy(bytes, buf_front(&world->wire), len);
		enum ps_err err = tls_stream_open(world->stream, bytes, len, spans, world->max_spans, &opened, &world->sent);
		check_opened(&opened, spans, bytes, len);
		require(world->end == PS_OK || (err == world->end && opened.n_spans == 0));
		require(err != PS_E_NOMEM && err != PS_E_BUG);
		require(!opened.more || opened.consumed > 0);
		world->end = err;
		buf_consume(&world->wire, opened.consumed);
		/* What was not consumed was not touched: the rest must open when more of it comes. */
		require(len == opened.consumed ||
		        memcmp(bytes + opened.consumed, buf_front(&world->wire), len - opened.consumed) == 0);
		free(bytes);
	}
}

/* The stream never seals what its peer cannot open. */
static void drain(struct world *world)
{
	struct record record;
	enum alert alert;

	while (buf_len(&world->sent) > 0) {
		require(record_open(&world->open, buf_front(&world->sent), buf_len(&world->sent), &record, &alert) == PS_OK);
		buf_consume(&world->sent, record.wire_len);
		if (record.type == RECORD_HANDSHAKE) {
			require(record.body_len == 5 && record.body[0] == 24);
			require(record_key_update(&world->open) == PS_OK);
		}
	}
}

static void send_key_update(struct world *world, uint8_t request)
{
	const uint8_t message[] = { 24, 0, 0, 1, request };

	require(record_seal(&world->seal, RECORD_HANDSHAKE, message, sizeof(message), &world->wire) == PS_OK);
	require(record_key_update(&world->seal) == PS_OK);
}

static void seal(struct world *world, const uint8_t *bytes, size_t len)
{
	size_t before = buf_len(&world->sent);
	enum ps_err err = tls_stream_seal(world->stream, bytes, len, &world->sent);

	require(err == PS_OK || err == PS_E_CLOSED);
	require(buf_len(&world->sent) - before <= tls_stream_sealed_max(len));
}

static void run(struct world *world, uint8_t command, const uint8_t *bytes, size_t len)
{
	uint8_t first = len > 0 ? bytes[0] : 0;
	enum ps_err err = PS_OK;

	switch (command) {
	case COMMAND_RAW:
		err = buf_append(&world->wire, bytes, len);
		break;
	case COMMAND_KEY_UPDATE:
		send_key_update(world, first);
		break;
	case COMMAND_SEAL:
		seal(world, bytes, len);
		break;
	case COMMAND_CLOSE:
		err = tls_stream_close(world->stream, &world->sent);
		break;
	case COMMAND_FAIL:
		err = tls_stream_fail(world->stream, first, &world->sent);
		world->end = world->end == PS_OK ? PS_E_PROTO : world->end;
		break;
	case COMMAND_UPDATE_KEY:
		err = tls_stream_update_key(world->stream, first & 1, &world->sent);
		require(err == PS_OK || err == PS_E_CLOSED);
		err = PS_OK;
		break;
	case COMMAND_DRAIN:
		drain(world);
		break;
	default:
		if (command >= COMMAND_RECORDS && len <= RECORD_MAX_BODY)
			err = record_seal(&world->seal, command, bytes, len, &world->wire);
	}
	require(err == PS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world world;

	if (size == 0)
		return 0;
	world_init(&world, data[0]);
	size_t at = 1;
	while (size - at >= 3) {
		uint8_t command = data[at];
		size_t len = (size_t)data[at + 1] << 8 | data[at + 2];
		at += 3;
		if (len > size - at)
			len = size - at;
		run(&world, command, data + at, len);
		deliver(&world);
		at += len;
	}
	drain(&world);
	world_clear(&world);
	return 0;
}
