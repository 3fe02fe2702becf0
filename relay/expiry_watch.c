/* SPDX-License-Identifier: Apache-2.0 */
#include "expiry_watch.h"

#include <time.h>

#include "portseal/log.h"

#define LOOK_MS (UINT64_C(60) * 60 * 1000)

static void tell(const struct expiry *expiry, int64_t now)
{
	int64_t days = expiry_days(expiry->at, now);
	char date[CERTIFICATE_DATE_MAX];
	struct log_line line;

	certificate_date(expiry->at, date);
	log_begin(&line, LOG_WARN, 0, days < 0 ? "expired" : "expires-soon");
	log_word(&line, "what", expiry->what);
	log_text(&line, "name", expiry->name);
	if (days >= 0)
		log_number(&line, "days", (uint64_t)days);
	log_word(&line, "at", date);
	log_end(&line);
}

static void look(struct expiry_watch *watch)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = 0; i < watch->list.n; i++)
		if (expiry_is_news(&watch->list.items[i], now))
			tell(&watch->list.items[i], now);
}

static void on_timer(uv_timer_t *timer)
{
	look(timer->data);
}

enum ps_err expiry_watch_start(struct expiry_watch *watch, uv_loop_t *loop, struct credentials *credentials,
                               struct trust *trust)
{
	enum ps_err err = expiry_list_fill(&watch->list, credentials, trust);

	if (err != PS_OK)
		return err;
	uv_timer_init(loop, &watch->timer);
	watch->timer.data = watch;
	uv_timer_start(&watch->timer, on_timer, LOOK_MS, LOOK_MS);
	uv_unref((uv_handle_t *)&watch->timer);
	look(watch);
	return PS_OK;
}

void expiry_watch_clear(struct expiry_watch *watch)
{
	expiry_list_clear(&watch->list);
}
