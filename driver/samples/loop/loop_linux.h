/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the two halves of the loop driver share. */
#ifndef LOOP_LINUX_H
#define LOOP_LINUX_H

#include <linux/atomic.h>
#include "kshm_kit.h"
#include "loop.h"

#define LOOP_RINGS 64 /* per share and direction */

struct loop_state {
	struct kshm_share *share;
	struct list_head list;
	struct kshm_share_ring *in[LOOP_RINGS];
	struct kshm_share_ring *out[LOOP_RINGS];
	u32 ins, outs;
	atomic_t cpu[LOOP_RINGS]; /* of a produced ring, plus 1; 0: none yet */
	u64 last_ns[LOOP_RINGS]; /* of its latest record */
	u64 sum;
	u64 asleep_ns; /* since when work() waits for a kick */
};

ssize_t loop_produce(struct kshm_share *s, const struct loop_produce *c, struct loop_result *r);

#endif /* LOOP_LINUX_H */
