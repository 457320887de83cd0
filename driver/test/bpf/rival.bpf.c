// SPDX-License-Identifier: MIT
/*
 * rival.bpf.c - the same records as loop.bpf.c and live.bpf.c make, through
 * the BPF ring buffer and the perf buffer, for "kshm bench bpf".
 */
#include "../../include/kshm.h"
#include "live.h"

#define SEC(name) __attribute__((section(name), used))
#define FIELD(name, value) int (*name)[value]
#define INLINE static inline __attribute__((always_inline))

char _license[] SEC("license") = "Dual MIT/GPL";

enum {
	MAP_PERF_EVENT_ARRAY = 4,
	RB_NO_WAKEUP = 1,
	RB_FORCE_WAKEUP = 2,
	RING_BYTES = 1 << 20,
};

static void *(*const lookup)(void *map, const void *key) = (void *)1;
static void *(*const reserve)(void *ring, kshm_u64 size, kshm_u64 flags) = (void *)131;
static void (*const submit)(void *data, kshm_u64 flags) = (void *)132;
static long (*const perf_output)(void *ctx, void *map, kshm_u64 flags, void *data,
				 kshm_u64 size) = (void *)25;

const volatile kshm_u32 rival_size = 64;  /* bytes per record: 64, 256 or 1024 */
const volatile kshm_u32 rival_wake = 0;	  /* records per wake-up; 0: as the kernel decides */

struct {
	FIELD(type, 27);
	FIELD(max_entries, RING_BYTES);
} rival_ring SEC(".maps");

struct {
	FIELD(type, MAP_PERF_EVENT_ARRAY);
	FIELD(key_size, 4);
	FIELD(value_size, 4);
} rival_perf SEC(".maps");

struct scratch {
	kshm_u64 words[128];
	kshm_u64 count;
};

struct {
	FIELD(type, 6); /* one per CPU, an array */
	FIELD(max_entries, 1);
	kshm_u32 *key;
	struct scratch *value;
} rival_scratch SEC(".maps");

struct rival_burst {
	kshm_u64 records; /* in: to produce; out: not done for want of space */
	kshm_u64 first;
};

INLINE void write_words(kshm_u64 *to, kshm_u64 value)
{
	kshm_u32 i;

#pragma unroll
	for (i = 0; i < 128; i++) {
		if (i >= rival_size / 8)
			break;
		to[i] = value;
	}
}

/* One record; 0 if there is no space. The verifier wants a constant size. */
INLINE int one(kshm_u64 value, kshm_u64 flags)
{
	kshm_u64 *to = reserve(&rival_ring, rival_size, 0);

	if (!to)
		return 0;
	write_words(to, value);
	submit(to, flags);
	return 1;
}

INLINE kshm_u64 wake_flags(kshm_u64 n)
{
	if (!rival_wake)
		return 0;
	return n % rival_wake ? RB_NO_WAKEUP : RB_FORCE_WAKEUP;
}

struct turns {
	kshm_u64 left, n;
};

static long turn(kshm_u32 i, struct turns *t)
{
	(void)i;
	if (!one(t->n, wake_flags(t->n + 1)))
		return 1;
	t->n++;
	t->left--;
	return 0;
}

static long (*const loop)(kshm_u32 turns, void *fn, void *ctx, kshm_u64 flags) = (void *)181;

SEC("syscall")
int rival_produce(struct rival_burst *args)
{
	struct turns t = { .left = args->records, .n = args->first };

	loop(args->records, turn, &t, 0);
	args->records = t.left;
	return 0;
}

/* The last record of a trial: it is all ones, and always wakes. */
SEC("syscall")
int rival_end(struct rival_burst *args)
{
	args->records = !one(~0ull, RB_FORCE_WAKEUP);
	return 0;
}

SEC("raw_tp/sys_enter")
int rival_on_syscall(kshm_u64 *args)
{
	kshm_u32 zero = 0;
	struct scratch *s = lookup(&rival_scratch, &zero);

	if (args[1] == LIVE_SYSCALL && live_ours() && s && one(s->count, wake_flags(s->count + 1)))
		s->count++;
	return 0;
}

SEC("raw_tp/sys_enter")
int rival_perf_on_syscall(kshm_u64 *args)
{
	kshm_u32 zero = 0;
	struct scratch *s = lookup(&rival_scratch, &zero);

	if (args[1] != LIVE_SYSCALL || !live_ours() || !s)
		return 0;
	write_words(s->words, s->count);
	if (!perf_output(args, &rival_perf, 0xffffffff /* this CPU */, s->words, rival_size))
		s->count++;
	return 0;
}
