// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Rings in a share: the table that SHARE brings is checked, and the driver gets
 * its side of each ring in kernel memory, attached to an empty ring. Geometry
 * comes from the kit's copy of the table and never from the share.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "internal.h"

static u32 count_rings(const struct kshm_share_args *a)
{
	u32 i, n = 0;

	for (i = 0; i < KSHM_RING_GROUPS; i++)
		n += a->rings[i].count;
	return n;
}

/*
 * The length has been found good. -EOPNOTSUPP: the driver takes no rings;
 * -EINVAL: a bad table, or rings that the kernel may not write to; -ERANGE:
 * more rings than the driver takes.
 */
int kshm_check_rings(const struct kshm_device *device, const struct kshm_share_args *a)
{
	if (!memchr_inv(a->rings, 0, sizeof(a->rings)))
		return 0;
	if (!device->max_rings)
		return -EOPNOTSUPP;
	if (!(a->access & KSHM_ACCESS_WRITE) ||
	    !kshm_ring_table_valid(a->rings, KSHM_RING_GROUPS, a->length))
		return -EINVAL;
	return count_rings(a) <= device->max_rings ? 0 : -ERANGE;
}

static void attach(struct kshm_session *ses, struct kshm_share_ring *ring,
		   const struct kshm_ring_group *g, u32 index)
{
	ring->flags = g->flags;
	ring->index = index;
	if (g->flags & KSHM_RING_TO_USER)
		kshm_producer_init(&ring->producer, ses->share.base, g, index);
	else
		kshm_consumer_init(&ring->consumer, ses->share.base, g, index);
}

/* Before share(), on mapped memory. What it allocates goes with the session. */
int kshm_make_rings(struct kshm_session *ses, const struct kshm_share_args *a)
{
	const struct kshm_ring_group *g = a->rings;
	struct kshm_share_ring *ring;
	u32 n = count_rings(a), i;

	if (!n)
		return 0;
	ring = kvcalloc(n, sizeof(*ring), GFP_KERNEL_ACCOUNT);
	if (!ring)
		return -ENOMEM;
	ses->share.rings = ring;
	ses->share.nrings = n;
	for (; g < a->rings + KSHM_RING_GROUPS; g++) {
		kshm_ring_format(ses->share.base, g);
		for (i = 0; i < g->count; i++, ring++) {
			ring->group = g - a->rings;
			attach(ses, ring, g, i);
		}
		cond_resched();
	}
	return 0;
}

/* For STATS, from the sides' own counters; the page that shows them is no source. */
void kshm_count_rings(const struct kshm_share *s, struct kshm_ring_counters sum[2])
{
	const struct kshm_share_ring *ring;

	for (ring = s->rings; ring < s->rings + s->nrings; ring++) {
		if (ring->flags & KSHM_RING_TO_USER)
			kshm_producer_count(&ring->producer, &sum[KSHM_RING_TO_USER]);
		else
			kshm_ring_count(&ring->consumer.ring, &sum[KSHM_RING_TO_KERNEL]);
	}
}
