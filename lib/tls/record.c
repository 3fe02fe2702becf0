/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/record.h"

#include <assert.h>
#include <string.h>

#include "portseal/key_schedule.h"

enum ps_err record_key_init(struct record_key *key, const struct suite *suite, const uint8_t *secret)
{
	uint8_t bytes[SUITE_KEY_MAX];

	*key = (struct record_key){ .suite = suite, .provider = aead_provider() };
	memcpy(key->secret, secret, suite->hash_len);

	enum ps_err err = key_schedule_traffic(suite, secret, bytes, key->iv);
	if (err == PS_OK)
		err = key->provider->key_new(suite, bytes, &key->aead);
	ps_wipe(bytes, sizeof(bytes));
	if (err != PS_OK)
		record_key_clear(key);
	return err;
}

enum ps_err record_key_update(struct record_key *key)
{
	struct record_key next = { 0 };
	uint8_t secret[SUITE_HASH_MAX];

	enum ps_err err = key_schedule_next(key->suite, key->secret, secret);
	if (err == PS_OK)
		err = record_key_init(&next, key->suite, secret);
	ps_wipe(secret, sizeof(secret));
	if (err != PS_OK)
		return err;

	record_key_clear(key);
	*key = next;
	ps_wipe(&next, sizeof(next));
	return PS_OK;
}

void record_key_clear(struct record_key *key)
{
	if (key->aead != NULL)
		key->provider->key_free(key->aead);
	ps_wipe(key, sizeof(*key));
}

/* Section 5.3: the sequence number, big-endian, over the last bytes of the IV. */
static void nonce_write(const struct record_key *key, uint8_t nonce[static SUITE_IV_LEN])
{
	memcpy(nonce, key->iv, SUITE_IV_LEN);
	for (size_t i = 0; i < sizeof(key->sequence); i++)
		nonce[SUITE_IV_LEN - 1 - i] ^= (uint8_t)(key->sequence >> (8 * i));
}

static void header_write(uint8_t header[static RECORD_HEADER_LEN], size_t ciphertext_len)
{
	header[0] = RECORD_APPLICATION_DATA;
	header[1] = 3;
	header[2] = 3;
	header[3] = (uint8_t)(ciphertext_len >> 8);
	header[4] = (uint8_t)ciphertext_len;
}

enum ps_err record_seal_in_place(struct record_key *key, enum record_type type, uint8_t *record, size_t body_len)
{
	uint8_t nonce[SUITE_IV_LEN];
	uint8_t *text = record + RECORD_HEADER_LEN;

	assert(body_len <= RECORD_MAX_BODY);
	if (key->sequence >= key->suite->seal_limit)
		return PS_E_LIMIT;
	header_write(record, body_len + 1 + SUITE_TAG_LEN);
	text[body_len] = (uint8_t)type;
	nonce_write(key, nonce);
	const enum ps_err err = key->provider->seal(key->aead, nonce, record, RECORD_HEADER_LEN, text, body_len + 1);
	if (err == PS_OK)
		key->sequence++;
	else
		ps_wipe(text, body_len + 1);
	return err;
}

enum ps_err record_seal(struct record_key *key, enum record_type type, const uint8_t *body, size_t body_len,
                        struct buf *out)
{
	enum ps_err err = buf_reserve(out, body_len + RECORD_EXPANSION);
	if (err != PS_OK)
		return err;
	uint8_t *record = out->data + out->end;
	if (body_len != 0)
		memcpy(record + RECORD_HEADER_LEN, body, body_len);
	err = record_seal_in_place(key, type, record, body_len);
	if (err == PS_OK)
		out->end += body_len + RECORD_EXPANSION;
	return err;
}

static enum ps_err refuse(enum alert reason, enum alert *alert)
{
	*alert = reason;
	return PS_E_PROTO;
}

/* Finds the content type behind the content: the last byte that is not padding. */
static enum ps_err strip_padding(struct record *record, size_t inner_len, enum alert *alert)
{
	if (inner_len > RECORD_MAX_BODY + 1)
		return refuse(ALERT_RECORD_OVERFLOW, alert);
	while (inner_len > 0 && record->body[inner_len - 1] == 0)
		inner_len--;
	if (inner_len == 0)
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
	record->type = record->body[inner_len - 1];
	record->body_len = inner_len - 1;
	return PS_OK;
}

/* What the header alone gives away. */
static enum ps_err check_header(const struct record_key *key, const uint8_t *header, size_t ciphertext_len,
                                enum alert *alert)
{
	if (header[0] != RECORD_APPLICATION_DATA)
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
	if (ciphertext_len > RECORD_MAX_CIPHERTEXT)
		return refuse(ALERT_RECORD_OVERFLOW, alert);
	if (ciphertext_len < SUITE_TAG_LEN)
		return refuse(ALERT_BAD_RECORD_MAC, alert);
	if (key->sequence >= key->suite->open_limit)
		return refuse(ALERT_UNEXPECTED_MESSAGE, alert);
	return PS_OK;
}

enum ps_err record_open(struct record_key *key, uint8_t *bytes, size_t len, struct record *record, enum alert *alert)
{
	uint8_t nonce[SUITE_IV_LEN];

	size_t wire_len = record_wire_len(bytes, len);
	if (wire_len == 0)
		return PS_E_AGAIN;
	enum ps_err err = check_header(key, bytes, wire_len - RECORD_HEADER_LEN, alert);
	if (err != PS_OK)
		return err;
	if (wire_len > len)
		return PS_E_AGAIN;

	struct record opened = { .body = bytes + RECORD_HEADER_LEN, .wire_len = wire_len };
	size_t inner_len = wire_len - RECORD_HEADER_LEN - SUITE_TAG_LEN;
	nonce_write(key, nonce);
	err = key->provider->open(key->aead, nonce, bytes, RECORD_HEADER_LEN, opened.body, inner_len);
	if (err == PS_E_PROTO)
		return refuse(ALERT_BAD_RECORD_MAC, alert);
	if (err != PS_OK)
		return err;
	key->sequence++;

	err = strip_padding(&opened, inner_len, alert);
	if (err == PS_OK)
		*record = opened;
	return err;
}

size_t record_wire_len(const uint8_t *bytes, size_t len)
{
	if (len < RECORD_HEADER_LEN)
		return 0;
	return RECORD_HEADER_LEN + ((size_t)bytes[3] << 8 | bytes[4]);
}
