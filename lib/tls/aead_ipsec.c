/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_ipsec -- the AEAD of intel-ipsec-mb: x86-64 with AES-NI, in SSE, AVX2 or AVX-512 as the processor has it.
 *
 * An expanded AES-GCM key is 1 KB, and making one costs no more than a system call. So a key is kept as it came, and the
 * expanded form in a table of the process, for those that were used last: idle connections cost nothing there.
 *
 * Owns:   the table, and of the library's manager the few functions that are called.
 * Never:  hands the library a pointer that may be NULL: its functions would then do nothing and say nothing.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include "aead_private.h"
#include "portseal/buf.h"

#define NEEDED (IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ)

struct aead_key {
	enum suite_id suite;
	uint8_t bytes[SUITE_KEY_MAX];
	struct schedule *schedule; /* NULL: not in the table at the moment */
};

struct schedule {
	alignas(64) struct gcm_key_data gcm;
	struct aead_key *owner; /* NULL: free */
	bool recent;            /* used since the hand of the clock came by last */
};

static struct schedule schedules[AEAD_IPSEC_SCHEDULES];
static size_t hand;

static struct {
	aes_gcm_pre_t pre128, pre256;
	aes_gcm_enc_dec_t seal128, seal256, open128, open256;
	chacha_poly_init_t chacha_init;
	chacha_poly_enc_dec_update_t chacha_seal, chacha_open;
	chacha_poly_finalize_t chacha_tag;
} lib;

static const char *label = NULL; /* once started */

static const char *label_of(IMB_ARCH arch)
{
	switch (arch) {
	case IMB_ARCH_SSE:
		return "ipsec-mb/sse";
	case IMB_ARCH_AVX2:
		return "ipsec-mb/avx2";
	case IMB_ARCH_AVX512:
		return "ipsec-mb/avx512";
	default:
		return "ipsec-mb/avx";
	}
}

static const char *ipsec_label(void)
{
	return label == NULL ? "ipsec-mb" : label;
}

static enum ps_err lacks_instructions(struct ps_cause *cause)
{
	return ps_cause_set(cause, PS_E_CONFIG, "ipsec-mb needs AES-NI and PCLMULQDQ, which this processor does not have");
}

static enum ps_err take_functions(IMB_MGR *manager, struct ps_cause *cause)
{
	IMB_ARCH arch = IMB_ARCH_NONE;

	if ((manager->features & NEEDED) != NEEDED)
		return lacks_instructions(cause);
	init_mb_mgr_auto(manager, &arch);
	if (imb_get_errno(manager) != 0)
		return ps_cause_set(cause, PS_E_BUG, "ipsec-mb %s does not start: %s", imb_get_version_str(),
		                    imb_get_strerror(imb_get_errno(manager)));
	lib.pre128 = manager->gcm128_pre;
	lib.pre256 = manager->gcm256_pre;
	lib.seal128 = manager->gcm128_enc;
	lib.seal256 = manager->gcm256_enc;
	lib.open128 = manager->gcm128_dec;
	lib.open256 = manager->gcm256_dec;
	lib.chacha_init = manager->chacha20_poly1305_init;
	lib.chacha_seal = manager->chacha20_poly1305_enc_update;
	lib.chacha_open = manager->chacha20_poly1305_dec_update;
	lib.chacha_tag = manager->chacha20_poly1305_finalize;
	label = label_of(arch);
	return PS_OK;
}

enum ps_err aead_ipsec_start(uint64_t hidden, struct ps_cause *cause)
{
	/* 200 KB, of which ten pointers are needed. */
	IMB_MGR *manager = alloc_mb_mgr(hidden);
	if (manager == NULL && imb_get_errno(NULL) == ENOMEM)
		return ps_cause_set(cause, PS_E_NOMEM, "out of memory");
	if (manager == NULL)
		return lacks_instructions(cause); /* a library built without emulation says so at once */
	const enum ps_err err = take_functions(manager, cause);
	free_mb_mgr(manager);
	return err;
}

static enum ps_err ipsec_start(struct ps_cause *cause)
{
	return label != NULL ? PS_OK : aead_ipsec_start(0, cause);
}

/* The clock: whoever was used since the hand's last round is passed over once. */
static struct schedule *free_schedule(void)
{
	while (schedules[hand].owner != NULL && schedules[hand].recent) {
		schedules[hand].recent = false;
		hand = (hand + 1) % AEAD_IPSEC_SCHEDULES;
	}
	struct schedule *found = &schedules[hand];
	hand = (hand + 1) % AEAD_IPSEC_SCHEDULES;
	if (found->owner != NULL)
		found->owner->schedule = NULL;
	return found;
}

static const struct gcm_key_data *expanded(struct aead_key *key)
{
	if (key->schedule == NULL) {
		key->schedule = free_schedule();
		key->schedule->owner = key;
		(key->suite == SUITE_AES_128_GCM_SHA256 ? lib.pre128 : lib.pre256)(key->bytes, &key->schedule->gcm);
	}
	key->schedule->recent = true;
	return &key->schedule->gcm;
}

static enum ps_err ipsec_key_new(const struct suite *suite, const uint8_t *bytes, struct aead_key **out)
{
	struct aead_key *key = calloc(1, sizeof(*key));
	if (key == NULL)
		return PS_E_NOMEM;
	key->suite = suite->id;
	memcpy(key->bytes, bytes, suite->key_len);
	*out = key;
	return PS_OK;
}

static void ipsec_key_free(struct aead_key *key)
{
	if (key == NULL)
		return;
	if (key->schedule != NULL)
		ps_wipe(key->schedule, sizeof(*key->schedule));
	ps_wipe(key, sizeof(*key));
	free(key);
}

struct chacha_work {
	const uint8_t *nonce, *aad;
	size_t aad_len;
	uint8_t *text;
	size_t len;
	uint8_t *tag; /* written */
};

static void chacha(const struct aead_key *key, chacha_poly_enc_dec_update_t update, const struct chacha_work *work)
{
	struct chacha20_poly1305_context_data context = { 0 };

	lib.chacha_init(key->bytes, &context, work->nonce, work->aad, work->aad_len);
	update(key->bytes, &context, work->text, work->text, work->len);
	lib.chacha_tag(&context, work->tag, SUITE_TAG_LEN);
	ps_wipe(&context, sizeof(context));
}

static enum ps_err ipsec_seal(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
                              size_t aad_len, uint8_t *text, size_t len)
{
	struct gcm_context_data context = { 0 };

	if (key->suite == SUITE_CHACHA20_POLY1305_SHA256) {
		const struct chacha_work work = { nonce, aad, aad_len, text, len, text + len };
		chacha(key, lib.chacha_seal, &work);
		return PS_OK;
	}
	(key->suite == SUITE_AES_128_GCM_SHA256 ? lib.seal128 : lib.seal256)(
		expanded(key), &context, text, text, len, nonce, aad, aad_len, text + len, SUITE_TAG_LEN);
	ps_wipe(&context, sizeof(context));
	return PS_OK;
}

/* In the same time, wherever the first difference lies. */
static bool is_same_tag(const uint8_t *one, const uint8_t *other)
{
	uint64_t a[2], b[2];

	memcpy(a, one, sizeof(a));
	memcpy(b, other, sizeof(b));
	volatile uint64_t difference = (a[0] ^ b[0]) | (a[1] ^ b[1]);
	return difference == 0;
}

static enum ps_err ipsec_open(struct aead_key *key, const uint8_t nonce[static SUITE_IV_LEN], const uint8_t *aad,
                              size_t aad_len, uint8_t *text, size_t len)
{
	struct gcm_context_data context = { 0 };
	uint8_t tag[SUITE_TAG_LEN];

	/* A library that did nothing would leave a tag that is false. */
	memcpy(tag, text + len, sizeof(tag));
	tag[0] ^= 0xff;
	if (key->suite == SUITE_CHACHA20_POLY1305_SHA256) {
		const struct chacha_work work = { nonce, aad, aad_len, text, len, tag };
		chacha(key, lib.chacha_open, &work);
	} else {
		(key->suite == SUITE_AES_128_GCM_SHA256 ? lib.open128 : lib.open256)(expanded(key), &context, text, text, len,
		                                                                     nonce, aad, aad_len, tag, SUITE_TAG_LEN);
		ps_wipe(&context, sizeof(context));
	}
	const bool genuine = is_same_tag(tag, text + len);
	/* The tag that a forger would have needed. */
	ps_wipe(tag, sizeof(tag));
	if (!genuine)
		ps_wipe(text, len);
	return genuine ? PS_OK : PS_E_PROTO;
}

const struct aead_provider aead_ipsec = {
	.name = "ipsec-mb",
	.start = ipsec_start,
	.label = ipsec_label,
	.key_new = ipsec_key_new,
	.key_free = ipsec_key_free,
	.seal = ipsec_seal,
	.open = ipsec_open,
};
