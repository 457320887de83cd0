// SPDX-License-Identifier: MIT
/*
 * ring.c - rings in a share: the table that SHARE brings is checked, and the driver gets its
 * side of each ring in pool memory, attached to an empty ring. Geometry comes from the system's
 * copy of the table and never from the share.
 */
#include "kit.h"

static ULONG KshmCountRings(const struct kshm_share_args *Args)
{
	ULONG i, n = 0;

	for (i = 0; i < KSHM_RING_GROUPS; i++)
		n += Args->rings[i].count;
	return n;
}

static BOOLEAN KshmNoRings(const struct kshm_share_args *Args)
{
	const UCHAR *bytes = (const UCHAR *)Args->rings;

	return KshmIsZero(bytes, bytes + sizeof(Args->rings));
}

/* The length has been found good. */
NTSTATUS KshmCheckRings(const KSHM_DRIVER *Driver, const struct kshm_share_args *Args)
{
	if (KshmNoRings(Args))
		return STATUS_SUCCESS;
	if (Driver->MaxRings == 0)
		return STATUS_NOT_SUPPORTED;
	if (!(Args->access & KSHM_ACCESS_WRITE) ||
	    !kshm_ring_table_valid(Args->rings, KSHM_RING_GROUPS, Args->length))
		return STATUS_INVALID_PARAMETER;
	return KshmCountRings(Args) <= Driver->MaxRings ? STATUS_SUCCESS
							: STATUS_INVALID_BUFFER_SIZE;
}

static VOID KshmAttach(PKSHM_BODY Body, PKSHM_RING Ring, const struct kshm_ring_group *Group,
		       ULONG Index)
{
	Ring->Flags = Group->flags;
	Ring->Index = Index;
	if (Group->flags & KSHM_RING_TO_USER)
		kshm_producer_init(&Ring->Producer, Body->Share.Base, Group, Index);
	else
		kshm_consumer_init(&Ring->Consumer, Body->Share.Base, Group, Index);
}

/* From the sides' own counters; the page that shows them is no source. */
static VOID KshmAddUp(const KSHM_SHARE *Share, struct kshm_ring_counters Sum[2])
{
	ULONG i;

	for (i = 0; i < Share->RingCount; i++)
		if (Share->Rings[i].Flags & KSHM_RING_TO_USER)
			kshm_producer_count(&Share->Rings[i].Producer, &Sum[KSHM_RING_TO_USER]);
		else
			kshm_ring_count(&Share->Rings[i].Consumer.ring,
					&Sum[KSHM_RING_TO_KERNEL]);
}

/* Lock held. For STATS. */
VOID KshmRingStats(PKSHM_BODY Body, struct kshm_ring_counters Sum[2])
{
	RtlCopyMemory(Sum, Body->Counted, sizeof(Body->Counted));
	KshmAddUp(&Body->Share, Sum);
}

/* Lock held, or nobody else has the body. What STATS shows of the rings stays. */
VOID KshmFreeRings(PKSHM_BODY Body)
{
	if (Body->Share.Rings == NULL)
		return;
	KshmAddUp(&Body->Share, Body->Counted);
	ExFreePoolWithTag(Body->Share.Rings, KSHM_TAG);
	Body->Share.Rings = NULL;
	Body->Share.RingCount = 0;
}

/* Before the driver's Share, on mapped memory. KshmShed frees the rings. */
NTSTATUS KshmMakeRings(PKSHM_BODY Body, const struct kshm_share_args *Args)
{
	ULONG count = KshmCountRings(Args), group, i;
	PKSHM_RING ring;

	if (count == 0)
		return STATUS_SUCCESS;
	ring = ExAllocatePoolWithTag(NonPagedPoolNx, count * sizeof(*ring), KSHM_TAG);
	if (ring == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	RtlZeroMemory(ring, count * sizeof(*ring));
	Body->Share.Rings = ring;
	Body->Share.RingCount = count;
	for (group = 0; group < KSHM_RING_GROUPS; group++) {
		kshm_ring_format(Body->Share.Base, &Args->rings[group]);
		for (i = 0; i < Args->rings[group].count; i++, ring++) {
			ring->Group = group;
			KshmAttach(Body, ring, &Args->rings[group], i);
		}
	}
	return STATUS_SUCCESS;
}
