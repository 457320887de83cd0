// SPDX-License-Identifier: MIT
//go:build ignore

/* events.bpf.c - a record for each program that begins and each that ends. */
#include "../../driver/bpf/kshm.bpf.h"

char _license[] SEC("license") = "Dual MIT/GPL";

static kshm_u64 (*const current_ids)(void) = (void *)14;
static long (*const current_name)(void *to, kshm_u32 size) = (void *)16;

/* What main.go reads. */
struct event {
	kshm_u64 ns;
	kshm_u32 pid;
	kshm_u32 exit; /* 1: it ends; 0: it has become another program */
	kshm_u64 name[2];
};

KSHM_INLINE int report(kshm_u32 exit)
{
	struct kshm_slot *s = kshm_enter();
	struct event KSHM_SHARED *e;
	kshm_u64 name[2] = {};

	if (!s)
		return 0;
	current_name(name, sizeof(name));
	e = kshm_reserve(s, sizeof(*e));
	if (e) {
		e->ns = kshm_bpf_ktime();
		e->pid = current_ids() >> 32;
		e->exit = exit;
		e->name[0] = name[0];
		e->name[1] = name[1];
		kshm_commit(s, sizeof(*e));
	} else {
		kshm_drop(s);
	}
	kshm_exit(s);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_exec(void *ctx)
{
	(void)ctx;
	return report(0);
}

SEC("tp_btf/sched_process_exit")
int on_exit(void *ctx)
{
	kshm_u64 ids = current_ids();

	(void)ctx;
	return (kshm_u32)ids == ids >> 32 ? report(1) : 0; /* the main thread */
}
