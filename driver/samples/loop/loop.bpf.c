// SPDX-License-Identifier: MIT
/*
 * loop.bpf.c - the loop driver as eBPF programs. A kick sends each record of
 * every TO_KERNEL ring back through the ring of the CPU that it runs on; one
 * that does not fit there it drops, and one that takes longer to copy than the
 * kernel lets a loop run. In a share without rings it answers: the first word
 * is the question, the second becomes its complement. loop_produce makes
 * records of its own, as many as it is told.
 */
#include "../../bpf/kshm.bpf.h"
#include "../../bpf/kshm_loop.bpf.h"

char _license[] SEC("license") = "Dual MIT/GPL";

struct loop_burst {
	kshm_u64 records; /* in: to produce; out: not done for want of space */
	kshm_u64 first;	  /* value of the words of the first record; then one more each */
	kshm_u32 size;	  /* bytes per record, multiple of 8 */
	kshm_u32 batch;	  /* records per flush; 0: as kshm_exit() decides */
	kshm_u32 patience; /* looks for space before it gives up */
	kshm_u32 reserved;
};

SEC("syscall")
int loop_produce(struct loop_burst *args)
{
	kshm_u64 left = args->records, n = args->first;
	kshm_u32 size = args->size, batch = args->batch, open = 0;
	kshm_u32 patience = args->patience, looks = 0;
	struct kshm_slot *s = kshm_try();

	if (!s)
		return KSHM_EBUSY;
	while (KSHM_MAY(left)) {
		kshm_u64 KSHM_SHARED *to = kshm_reserve(s, size);

		if (!to) {
			if (looks++ >= patience)
				break;
			kshm_flush(s);
			continue;
		}
		looks = 0;
		if (kshm_fill(to, size / 8, n))
			break;
		kshm_commit(s, size);
		n++;
		left--;
		if (++open == batch) {
			kshm_flush(s);
			open = 0;
		}
	}
	if (batch)
		kshm_flush(s);
	kshm_exit(s);
	args->records = left;
	return 0;
}

/* Echo all records of one ring. Returns 0 if there may be more. */
KSHM_INLINE int loop_echo(struct kshm_slot *s, struct kshm_input *in)
{
	const kshm_u64 KSHM_SHARED *from = NULL;
	kshm_u64 KSHM_SHARED *to;

	kshm_input_awake(in);
	while (KSHM_MAY(from = kshm_input_next(in))) {
		to = kshm_reserve(s, in->length);
		if (!to || kshm_copy(to, from, (in->length + 7) / 8))
			kshm_drop(s);
		else
			kshm_commit(s, in->length);
		kshm_input_release(in);
	}
	return kshm_input_sleep(in);
}

KSHM_ONCE int loop_ring(kshm_u32 n)
{
	struct kshm_input *in = kshm_input_enter(n);
	struct kshm_slot *s;

	if (!in)
		return 0;
	s = kshm_try();
	if (s) {
		while (KSHM_MAY(!loop_echo(s, in)))
			;
		kshm_flush(s);
		kshm_exit(s);
	}
	return kshm_input_exit(in);
}

/* No rings: one word asks, the next one answers. */
KSHM_INLINE int loop_answer(struct kshm_state *c)
{
	kshm_u64 KSHM_SHARED *words = (kshm_u64 KSHM_SHARED *)kshm_memory(c);
	struct kshm_slot *s = kshm_try();

	if (!s)
		return KSHM_EBUSY;
	kshm_write(&words[1], ~kshm_read(&words[0]));
	kshm_exit(s);
	kshm_notify();
	return 0;
}

struct loop_turn {
	kshm_u32 rings; /* looked at */
	int result;
};

static long loop_input(void *map, kshm_u32 *n, struct kshm_input *in, struct loop_turn *t)
{
	(void)map;
	if (kshm_read(&in->state) == KSHM_SLOT_CLOSED)
		return 1;
	t->rings++;
	t->result |= loop_ring(*n);
	return 0;
}

KSHM_KICK
{
	struct kshm_state *c = kshm_share();
	struct loop_turn t = {};

	kshm_bpf_for_each(&kshm_inputs, loop_input, &t, 0);
	if (!t.rings && c && c->length >= 16)
		return loop_answer(c);
	return t.result;
}

/* What a driver may do at any time. */
SEC("syscall")
int loop_revoke(void *ctx)
{
	(void)ctx;
	return kshm_revoke();
}
