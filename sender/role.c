/* SPDX-License-Identifier: Apache-2.0 */
#include "role.h"

#include <string.h>
#include <unistd.h>

#include "portseal/channel.h"

static void begin_drain(struct role_control *control, uint64_t within_ms)
{
	role_end(control);
	control->on_drain(control->owner, within_ms);
}

/* False when there is nothing more: at the moment, or ever. */
static bool take_word(struct role_control *control)
{
	uint8_t body[CHANNEL_MESSAGE_MAX];
	uint64_t within_ms;
	uint32_t type;
	size_t body_len;
	int fd;
	const enum ps_err err = channel_receive(control->env->control, &type, body, &body_len, &fd);

	if (err == PS_E_AGAIN)
		return false;
	if (err != PS_OK && err != PS_E_LIMIT) { /* a descriptor that was lost is -1 */
		begin_drain(control, control->fallback_ms);
		return false;
	}
	if (type != ROLE_DRAIN || body_len != sizeof(within_ms)) {
		control->on_word(control->owner, type, body, body_len, fd);
		return control->listening;
	}
	if (fd >= 0)
		(void)close(fd);
	memcpy(&within_ms, body, sizeof(within_ms));
	begin_drain(control, within_ms);
	return false;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct role_control *control = poll->data;

	(void)events;
	/* A supervisor that died with words of ours unread is an error, at which libuv stops: its last words come first. */
	while (take_word(control) && status < 0)
		;
}

enum ps_err role_begin(struct role_control *control, uv_loop_t *loop)
{
	if (uv_poll_init(loop, &control->poll, control->env->control) != 0)
		return PS_E_NOMEM;
	control->poll.data = control;
	control->listening = true;
	if (uv_poll_start(&control->poll, UV_READABLE, on_control) != 0)
		return PS_E_NOMEM;
	return channel_send(control->env->control, ROLE_READY, NULL, 0, -1);
}

void role_end(struct role_control *control)
{
	if (control->listening)
		uv_close((uv_handle_t *)&control->poll, NULL);
	control->listening = false;
}

int role_fatal(const struct role_env *env, const char *line)
{
	/* Without a supervisor that listens there is nobody to tell. */
	(void)!channel_send(env->control, ROLE_FATAL, line, strlen(line), -1);
	return ROLE_EXIT_FATAL;
}

void role_close_loop(uv_loop_t *loop)
{
	(void)uv_run(loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(loop);
}
