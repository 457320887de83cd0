// SPDX-License-Identifier: MIT
/*
 * count.bpf.c - counts the events that live.bpf.c makes records of, and knows
 * nothing of kshm: what a test believes.
 */
#include "live.h"

#define SEC(name) __attribute__((section(name), used))

char _license[] SEC("license") = "Dual MIT/GPL";

struct count {
	unsigned long long events[8]; /* by source; a line of its own */
};

struct {
	int (*type)[6]; /* one per CPU, an array */
	int (*max_entries)[1];
	unsigned int *key;
	struct count *value;
} counts SEC(".maps");

static void *(*const lookup)(void *map, const void *key) = (void *)1;

static inline __attribute__((always_inline)) int count(int source)
{
	unsigned int zero = 0;
	struct count *c = lookup(&counts, &zero);

	if (c && live_ours())
		__sync_fetch_and_add(&c->events[source], 1);
	return 0;
}

SEC("raw_tp/sys_enter")
int count_syscall(unsigned long long *args)
{
	return args[1] == LIVE_SYSCALL ? count(0) : 0;
}

SEC("raw_tp/local_timer_entry")
int count_timer(void *args)
{
	(void)args;
	return count(1);
}

SEC("perf_event")
int count_sample(void *ctx)
{
	(void)ctx;
	return count(2);
}
