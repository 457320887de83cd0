// SPDX-License-Identifier: MIT
/*
 * hold.bpf.c - the loop driver, and a program that leaves off in the middle:
 * hold_take returns with its CPU's slot, as seen by others while a program is
 * preempted, or by all for ever if an object forgets kshm_exit(). hold_give
 * ends it, on the same CPU.
 */
#include "../../samples/loop/loop.bpf.c"

SEC("syscall")
int hold_take(void *ctx)
{
	(void)ctx;
	return kshm_enter() ? 0 : KSHM_EBUSY;
}

SEC("syscall")
int hold_give(void *ctx)
{
	kshm_u32 n = kshm_bpf_cpu() * KSHM_BPF_LEVELS;
	struct kshm_slot *s = kshm_bpf_lookup(&kshm_slots, &n);

	(void)ctx;
	if (!s || kshm_read(&s->state) != KSHM_SLOT_BUSY)
		return KSHM_EINVAL;
	kshm_exit(s);
	return 0;
}
