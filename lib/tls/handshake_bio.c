/* SPDX-License-Identifier: Apache-2.0 */
#include "handshake_internal.h"

#include <errno.h>
#include <sys/socket.h>

#include <mbedtls/net_sockets.h>

#include "portseal/record.h"

/* One change_cipher_spec, or two after a HelloRetryRequest, and perhaps a warning: more is a flood. */
#define IDLE_RECORDS_MAX 4
#define ALERT_RECORD_LEN (RECORD_HEADER_LEN + 2)

void handshake_bio_init(struct handshake_bio *bio, int fd)
{
	*bio = (struct handshake_bio){
		.fd = fd,
		.out = BUF_INIT,
		.total_left = HANDSHAKE_TOTAL_BYTES,
		.alert_sent = ALERT_NONE,
	};
}

void handshake_bio_clear(struct handshake_bio *bio)
{
	buf_release(&bio->out);
}

static size_t sniff_body(struct handshake_sniffer *in, const uint8_t *bytes, size_t len)
{
	size_t n = len < in->body_left ? len : in->body_left;
	bool alert = in->header[0] == RECORD_ALERT;

	for (size_t i = 0; alert && i < n && in->alert_len < sizeof(in->alert); i++)
		in->alert[in->alert_len++] = bytes[i];
	in->body_left -= n;
	if (in->body_left == 0)
		in->header_len = 0;
	return n;
}

static void sniff_header(struct handshake_sniffer *in, uint8_t byte)
{
	if (in->header_len == 0)
		in->alert_len = 0;
	in->header[in->header_len++] = byte;
	if (in->header_len < sizeof(in->header))
		return;
	in->body_left = (size_t)in->header[3] << 8 | in->header[4];
	if (in->header[0] == RECORD_CHANGE_CIPHER_SPEC || in->header[0] == RECORD_ALERT)
		in->n_idle++;
	if (in->body_left == 0)
		in->header_len = 0;
}

static void sniff(struct handshake_sniffer *in, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len;) {
		if (in->header_len == sizeof(in->header))
			i += sniff_body(in, bytes + i, len - i);
		else
			sniff_header(in, bytes[i++]);
	}
}

static int io_failed(struct handshake_bio *bio, int number, int mbedtls_code)
{
	bio->error = number;
	return mbedtls_code;
}

int handshake_bio_flush(struct handshake_bio *bio)
{
	while (buf_len(&bio->out) > 0) {
		ssize_t n = send(bio->fd, buf_front(&bio->out), buf_len(&bio->out), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			buf_consume(&bio->out, (size_t)n);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return MBEDTLS_ERR_SSL_WANT_WRITE;
		else if (errno != EINTR)
			return io_failed(bio, errno, MBEDTLS_ERR_NET_SEND_FAILED);
	}
	return 0;
}

static size_t share(const struct handshake_bio *bio, size_t asked)
{
	size_t most = bio->turn_left < bio->total_left ? bio->turn_left : bio->total_left;

	return asked < most ? asked : most;
}

static int received(struct handshake_bio *bio, const uint8_t *bytes, size_t len)
{
	bio->turn_left -= len;
	bio->total_left -= len;
	bio->received += len;
	bio->answered = false;
	bio->error = 0;
	sniff(&bio->in, bytes, len);
	return (int)len;
}

int handshake_bio_recv(void *ctx, unsigned char *bytes, size_t len)
{
	struct handshake_bio *bio = ctx;
	int flushed = handshake_bio_flush(bio);
	ssize_t n;

	if (flushed == MBEDTLS_ERR_SSL_WANT_WRITE)
		return flushed;
	if (flushed != 0)
		buf_reset(&bio->out); /* the peer reads no more; perhaps it said why before it closed */
	bio->muted = bio->last_flight;
	if (bio->total_left == 0 || bio->in.n_idle > IDLE_RECORDS_MAX) {
		bio->flooded = true;
		return MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE;
	}
	if (bio->turn_left == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	do
		n = recv(bio->fd, bytes, share(bio, len), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return received(bio, bytes, (size_t)n);
	if (n == 0) {
		bio->eof = true;
		return MBEDTLS_ERR_SSL_CONN_EOF;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		bio->blocked = true;
		return MBEDTLS_ERR_SSL_WANT_READ;
	}
	return io_failed(bio, errno, MBEDTLS_ERR_NET_RECV_FAILED);
}

/* Always takes everything: mbedTLS then hands over exactly one record a call, and never keeps one back. */
int handshake_bio_send(void *ctx, const unsigned char *bytes, size_t len)
{
	struct handshake_bio *bio = ctx;

	bio->answered = true;
	if (bio->muted)
		return (int)len;
	if (len == ALERT_RECORD_LEN && bytes[0] == RECORD_ALERT)
		bio->alert_sent = bytes[ALERT_RECORD_LEN - 1];
	return buf_append(&bio->out, bytes, len) == PS_OK ? (int)len : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

uint8_t handshake_bio_plain_alert(const struct handshake_bio *bio)
{
	return bio->in.alert_len == sizeof(bio->in.alert) ? bio->in.alert[1] : (uint8_t)ALERT_NONE;
}

bool handshake_bio_not_tls(const struct handshake_bio *bio)
{
	const uint8_t *header = bio->in.header;

	if (bio->received == 0 || bio->received > RECORD_HEADER_LEN)
		return false;
	if (header[0] < RECORD_CHANGE_CIPHER_SPEC || header[0] > RECORD_APPLICATION_DATA)
		return true;
	return bio->received > 1 && header[1] != 3;
}
