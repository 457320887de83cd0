// SPDX-License-Identifier: MIT
/*
 * live.bpf.c - records from hooks of the running kernel: system calls, and the
 * timer interrupt, which also comes in the middle of the other's records; and
 * samples of whatever perf event a test attaches them to.
 */
#include "../../bpf/kshm.bpf.h"
#include "../../bpf/kshm_loop.bpf.h"
#include "live.h"

char _license[] SEC("license") = "Dual MIT/GPL";

const volatile kshm_u32 live_size = 64; /* bytes per record, multiple of 8, 32 and up */

struct live_record {
	kshm_u64 ns;
	kshm_u64 sequence; /* of its CPU; a gap is a drop */
	kshm_u32 cpu;
	kshm_u32 source; /* 0: system call, 1: timer interrupt, 2: sample */
	kshm_u64 check;	 /* sequence with all bits turned; the rest are sequences */
};

/* The next sequence number of each CPU; 64 bytes apart. */
struct live_next {
	kshm_u64 sequence;
	kshm_u64 pad[7];
};

struct {
	KSHM_FIELD(type, KSHM_MAP_ARRAY);
	KSHM_FIELD(max_entries, 1024);
	kshm_u32 *key;
	struct live_next *value;
} live_next SEC(".maps");

/* Number and time are taken inside of the slot: they grow within each ring. */
KSHM_ONCE int live_produce(kshm_u32 source)
{
	kshm_u32 cpu = kshm_bpf_cpu();
	struct live_next *next = kshm_bpf_lookup(&live_next, &cpu);
	struct live_record KSHM_SHARED *r;
	struct kshm_slot *s;
	kshm_u64 n;

	if (!next)
		return 0;
	s = kshm_enter();
	if (!s)
		return 0;
	n = __sync_fetch_and_add(&next->sequence, 1);
	r = kshm_reserve(s, live_size);
	if (r) {
		r->ns = kshm_bpf_ktime();
		r->sequence = n;
		r->cpu = cpu;
		r->source = source;
		r->check = ~n;
		if (live_size > sizeof(*r) && kshm_fill(r + 1, (live_size - sizeof(*r)) / 8, n))
			kshm_drop(s);
		else
			kshm_commit(s, live_size);
	} else {
		kshm_drop(s);
	}
	kshm_exit(s);
	return 0;
}

SEC("raw_tp/sys_enter")
int live_on_syscall(kshm_u64 *args)
{
	if (args[1] == LIVE_SYSCALL && live_ours())
		live_produce(0);
	return 0;
}

SEC("raw_tp/local_timer_entry")
int live_on_timer(void *args)
{
	(void)args;
	if (live_ours())
		live_produce(1);
	return 0;
}

SEC("perf_event")
int live_on_sample(void *ctx)
{
	(void)ctx;
	if (live_ours())
		live_produce(2);
	return 0;
}

/* Where CPU *at takes its next number: each record writes that word. */
SEC("syscall")
int live_where(kshm_u64 *at)
{
	kshm_u32 cpu = *at;

	*at = (kshm_u64)kshm_bpf_lookup(&live_next, &cpu);
	return 0;
}
