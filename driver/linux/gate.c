// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A counted gate that can be shut: see internal.h. */
#include "internal.h"

#define GATE_PATIENCE (5 * HZ) /* a driver that takes longer is reported */

void kshm_gate_init(struct kshm_gate *gate)
{
	atomic_set(&gate->inside, 0);
	init_completion(&gate->idle);
}

/* A full barrier when it succeeds: what is done inside stays inside. */
bool kshm_gate_enter(struct kshm_gate *gate)
{
	return atomic_inc_unless_negative(&gate->inside);
}

/* A full barrier, paired with the one in kshm_gate_shut(). */
bool kshm_gate_leave(struct kshm_gate *gate)
{
	return atomic_dec_return(&gate->inside) == INT_MIN;
}

void kshm_gate_exit(struct kshm_gate *gate)
{
	if (kshm_gate_leave(gate))
		complete(&gate->idle);
}

/*
 * Once per gate. Whoever was inside now is waited for by its last leave, and
 * not by a look at the count: the one who leaves still touches the gate.
 */
void kshm_gate_shut(struct kshm_gate *gate)
{
	gate->busy = atomic_fetch_add(INT_MIN, &gate->inside) > 0;
}

void kshm_gate_drain(struct kshm_gate *gate, const char *what)
{
	if (!gate->busy)
		return;
	if (!wait_for_completion_timeout(&gate->idle, GATE_PATIENCE)) {
		pr_warn("kshm: still waiting for %s of a driver\n", what);
		wait_for_completion(&gate->idle);
	}
}
