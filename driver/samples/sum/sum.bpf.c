// SPDX-License-Identifier: MIT
/*
 * sum.bpf.c - adds up what lies in the shared memory, where it lies: a plain
 * share without rings. A kick takes the next piece; while it is at work, the
 * program can see how far it has come, and when it is done it raises an event.
 * The sum is FNV-1a over 64-bit words, which tells order as well.
 */
#include "../../bpf/kshm.bpf.h"
#include "../../bpf/kshm_loop.bpf.h"

char _license[] SEC("license") = "Dual MIT/GPL";

#define SUM_DATA 4096 /* where the piece begins */
#define SUM_PRIME 0x100000001b3ull
#define SUM_WORDS (1u << 20) /* at most, in one kick */

/* The start of the share; the words of the two sides lie 128 bytes apart. */
struct sum_page {
	kshm_u64 words; /* by the program: of this piece */
	kshm_u64 before; /* by the program: the sum so far */
	kshm_u64 pad0[14];
	kshm_u64 done;  /* by the kernel: words so far, of all pieces, in steps */
	kshm_u64 sum;   /* by the kernel: with this piece */
	kshm_u64 pieces;
};

KSHM_KICK
{
	struct kshm_state *c = kshm_share();
	struct sum_page KSHM_SHARED *page;
	const kshm_u64 KSHM_SHARED *from;
	kshm_u64 words, left, done, sum;
	struct kshm_slot *s;

	if (!c || c->length < SUM_DATA)
		return KSHM_EINVAL;
	s = kshm_try();
	if (!s)
		return KSHM_EBUSY;
	page = (struct sum_page KSHM_SHARED *)kshm_memory(c);
	from = (const kshm_u64 KSHM_SHARED *)(kshm_memory(c) + SUM_DATA);
	words = kshm_read(&page->words);
	sum = kshm_read(&page->before);
	done = kshm_read(&page->done);
	if (words > SUM_WORDS || words > (c->length - SUM_DATA) / 8)
		words = 0; /* not to be believed */
	for (left = words; KSHM_MAY(left); left--) {
		sum = (sum ^ kshm_read(from)) * SUM_PRIME;
		from++;
		if (!(left & 511))
			kshm_write(&page->done, page->done + 512);
	}
	if (!left) {
		kshm_write(&page->sum, sum);
		kshm_write(&page->pieces, page->pieces + 1);
	} else {
		kshm_write(&page->done, done); /* interrupted for too long: once more */
	}
	kshm_exit(s);
	if (left)
		return KSHM_EBUSY;
	kshm_notify();
	return 0;
}
