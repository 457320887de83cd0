// SPDX-License-Identifier: MIT
/*
 * poll.bpf.c - a driver that looks for requests by itself, ten thousand times a
 * second, with a timer of its own: the first word is the question, the second
 * becomes its complement.
 */
#include "../../bpf/kshm.bpf.h"

char _license[] SEC("license") = "Dual MIT/GPL";

enum { POLL_NS = 100000 };

struct poll_timer {
	struct bpf_timer timer;
	kshm_u64 begun; /* the share */
};

struct {
	KSHM_FIELD(type, KSHM_MAP_ARRAY);
	KSHM_FIELD(max_entries, 1);
	kshm_u32 *key;
	struct poll_timer *value;
} poll_timer SEC(".maps");

/* Whoever looks first answers: another share may have the same memory. */
KSHM_INLINE void poll_answer(struct kshm_state *c)
{
	kshm_u64 KSHM_SHARED *words = (kshm_u64 KSHM_SHARED *)kshm_memory(c);
	kshm_u64 question = kshm_read(&words[0]);

	if (question && kshm_xchg(&words[1], ~question) != ~question)
		kshm_notify();
}

static int poll_look(void *map, kshm_u32 *key, struct poll_timer *t)
{
	struct kshm_state *c = kshm_share();
	struct kshm_slot *s = kshm_enter();

	(void)map;
	(void)key;
	if (s && c) {
		t->begun = 1;
		if (c->length >= 16)
			poll_answer(c);
		kshm_exit(s);
	} else if (t->begun) {
		return 0; /* it ends */
	}
	kshm_bpf_timer_start(&t->timer, POLL_NS, 0);
	return 0;
}

SEC("syscall")
int poll_start(void *ctx)
{
	kshm_u32 zero = 0;
	struct poll_timer *t = kshm_bpf_lookup(&poll_timer, &zero);

	(void)ctx;
	if (!t || kshm_bpf_timer_init(&t->timer, &poll_timer, 1 /* CLOCK_MONOTONIC */))
		return KSHM_EINVAL;
	kshm_bpf_timer_callback(&t->timer, poll_look);
	return kshm_bpf_timer_start(&t->timer, POLL_NS, 0);
}

/* It looks anyway. */
KSHM_KICK
{
	return 0;
}
