/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2_header -- header blocks: those that come are collected field by field, those that go are put together
 * (RFC 9113, section 8). That names and values are well-formed is nghttp2's check, made before it shows them.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2_private.h"

#define FIELD_OVERHEAD 32 /* section 6.5.2 */
#define PSEUDO_MAX 4
#define OUT_MAX (PSEUDO_MAX + 1 + H2_FIELDS_MAX)
#define NUMBER_MAX sizeof("-9223372036854775808")

void h2_header_begin(struct h2 *h2)
{
	buf_reset(&h2->block);
	h2->n_fields = 0;
	h2->list_size = 0;
	h2->header_overflow = false;
}

bool h2_header_add(struct h2 *h2, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len)
{
	h2->list_size += name_len + value_len + FIELD_OVERHEAD;
	if (h2->header_overflow || h2->list_size > H2_HEADER_LIST_MAX || h2->n_fields == H2_FIELDS_MAX ||
	    buf_reserve(&h2->block, name_len + value_len + 2) != PS_OK) {
		h2->header_overflow = true;
		return false;
	}
	/* Both are NUL-terminated, and hold no other NUL. */
	if (buf_append(&h2->block, name, name_len + 1) != PS_OK || buf_append(&h2->block, value, value_len + 1) != PS_OK)
		return false; /* cannot be: the room is there */
	h2->n_fields++;
	return true;
}

static void read_pseudo(struct h2_header *header, const char *name, const char *value)
{
	if (strcmp(name, ":method") == 0)
		header->request.method = value;
	else if (strcmp(name, ":scheme") == 0)
		header->request.scheme = value;
	else if (strcmp(name, ":authority") == 0)
		header->request.authority = value;
	else if (strcmp(name, ":path") == 0)
		header->request.path = value;
	else if (strcmp(name, ":status") == 0)
		header->response.status = (unsigned)strtoul(value, NULL, 10);
}

void h2_header_read(const struct h2 *h2, struct h2_header *header)
{
	const char *at = (const char *)buf_front(&h2->block);
	size_t n = 0;
	int64_t content_length = -1;

	header->request = (struct h2_request){ .method = "", .scheme = "", .authority = "", .path = "" };
	header->response = (struct h2_response){ 0 };
	for (size_t i = 0; i < h2->n_fields; i++) {
		const char *name = at;
		const char *value = name + strlen(name) + 1;
		at = value + strlen(value) + 1;
		if (name[0] == ':') {
			read_pseudo(header, name, value);
			continue;
		}
		if (strcmp(name, "content-length") == 0)
			content_length = strtoll(value, NULL, 10); /* digits, and in range, by nghttp2's check */
		header->fields[n++] = (struct h2_field){ name, value };
	}
	header->request.content_length = header->response.content_length = content_length;
	header->request.fields = header->response.fields = header->fields;
	header->request.n_fields = header->response.n_fields = n;
}

const char *h2_field_value(const struct h2_field *fields, size_t n_fields, const char *name)
{
	for (size_t i = 0; i < n_fields; i++)
		if (strcmp(fields[i].name, name) == 0)
			return fields[i].value;
	return NULL;
}

/* A header block on its way out. nghttp2 copies it; it writes to none of it. */
struct outgoing {
	nghttp2_nv nv[OUT_MAX];
	size_t n;
	char number[NUMBER_MAX];
	char status[NUMBER_MAX];
};

static void put(struct outgoing *out, const char *name, const char *value)
{
	assert(out->n < OUT_MAX);
	out->nv[out->n++] = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = strlen(name),
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = strlen(value),
	};
}

static void put_pseudo(struct outgoing *out, const char *name, const char *value)
{
	if (value != NULL && value[0] != '\0')
		put(out, name, value);
}

static void put_rest(struct outgoing *out, int64_t content_length, const struct h2_field *fields, size_t n_fields)
{
	assert(n_fields <= H2_FIELDS_MAX);
	if (content_length >= 0) {
		(void)snprintf(out->number, sizeof(out->number), "%lld", (long long)content_length);
		put(out, "content-length", out->number);
	}
	for (size_t i = 0; i < n_fields; i++)
		put(out, fields[i].name, fields[i].value);
}

static enum ps_err err_of(int error)
{
	switch (error) {
	case 0:
		return PS_OK;
	case NGHTTP2_ERR_NOMEM:
		return PS_E_NOMEM;
	case NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE:
	case NGHTTP2_ERR_DATA_EXIST:
		return PS_E_CLOSED;
	default:
		return PS_E_BUG;
	}
}

enum ps_err h2_header_submit_request(struct h2 *h2, const struct h2_request *request, bool end,
                                     struct h2_stream *stream)
{
	const nghttp2_data_provider body = { .source.ptr = stream, .read_callback = h2_body_read };
	struct outgoing out = { .n = 0 };

	put_pseudo(&out, ":method", request->method);
	put_pseudo(&out, ":scheme", request->scheme);
	put_pseudo(&out, ":authority", request->authority);
	put_pseudo(&out, ":path", request->path);
	put_rest(&out, request->content_length, request->fields, request->n_fields);
	const int32_t id = nghttp2_submit_request(h2->session, NULL, out.nv, out.n, end ? NULL : &body, stream);
	if (id < 0)
		return err_of(id);
	stream->id = id;
	return PS_OK;
}

enum ps_err h2_header_submit_response(struct h2_stream *stream, const struct h2_response *response, bool end)
{
	const nghttp2_data_provider body = { .source.ptr = stream, .read_callback = h2_body_read };
	struct outgoing out = { .n = 0 };

	(void)snprintf(out.status, sizeof(out.status), "%u", response->status);
	put(&out, ":status", out.status);
	put_rest(&out, response->content_length, response->fields, response->n_fields);
	return err_of(nghttp2_submit_response(stream->h2->session, stream->id, out.nv, out.n, end ? NULL : &body));
}

enum ps_err h2_header_submit_trailer(struct h2_stream *stream, const struct h2_field *fields, size_t n_fields)
{
	struct outgoing out = { .n = 0 };

	put_rest(&out, -1, fields, n_fields);
	return err_of(nghttp2_submit_trailer(stream->h2->session, stream->id, out.nv, out.n));
}
