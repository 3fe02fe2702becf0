/* SPDX-License-Identifier: Apache-2.0 */
#include "portseal/rest.h"

#include <stdlib.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

static void give_back(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0);
#endif
}

static void on_timer(uv_timer_t *timer)
{
	struct rest *rest = timer->data;

	if (rest->stirred)
		(void)uv_timer_start(timer, on_timer, REST_AFTER_MS, 0);
	else
		give_back();
	rest->stirred = false;
}

void rest_init(struct rest *rest, uv_loop_t *loop)
{
	(void)uv_timer_init(loop, &rest->timer); /* cannot fail */
	rest->timer.data = rest;
	rest->stirred = false;
}

void rest_stir(struct rest *rest)
{
	rest->stirred = true;
	if (!uv_is_active((uv_handle_t *)&rest->timer) && !uv_is_closing((uv_handle_t *)&rest->timer))
		(void)uv_timer_start(&rest->timer, on_timer, REST_AFTER_MS, 0);
}

void rest_end(struct rest *rest)
{
	if (!uv_is_closing((uv_handle_t *)&rest->timer))
		uv_close((uv_handle_t *)&rest->timer, NULL);
}
