// SPDX-License-Identifier: MIT
/*
 * loop_windows.c - a driver with rings: the half of loop_linux.c that sends records back. A
 * kick asks for Work, which serves all rings until each of them sleeps.
 */
#include "../../windows/kshm_kit.h"

#define TURN 64 /* records of one ring before the next ring's turn */
#define RINGS 32

/* The nth ring of that direction, or NULL. */
static PKSHM_RING LoopRing(PKSHM_SHARE Share, ULONG Direction, ULONG n)
{
	ULONG i;

	for (i = 0; i < Share->RingCount; i++)
		if (Share->Rings[i].Flags == Direction && n-- == 0)
			return &Share->Rings[i];
	return NULL;
}

static VOID LoopAwake(struct kshm_ring *Ring)
{
	if (Ring->armed & 1)
		kshm_ring_disarm(Ring);
}

/* Puts a copy into the way back. FALSE: no space now. */
static BOOLEAN LoopSendBack(struct kshm_producer *Out, const VOID *Record, kshm_u32 Length)
{
	PVOID copy;

	if (Length > KSHM_RECORD_MAX(Out->ring.capacity)) {
		kshm_producer_drop(Out);
		return TRUE;
	}
	copy = kshm_producer_reserve(Out, Length);
	if (copy == NULL)
		return FALSE;
	RtlCopyMemory(copy, Record, Length);
	return kshm_producer_commit(Out, Length) == 0;
}

/* Shows what the program has to see before this side sleeps. */
static VOID LoopSettle(PKSHM_SHARE Share, struct kshm_consumer *In, struct kshm_producer *Out)
{
	int wake = kshm_consumer_flush(In);

	kshm_ring_show(&In->ring);
	if (Out != NULL) {
		wake |= kshm_producer_flush(Out);
		kshm_producer_show(Out);
	}
	if (wake)
		KshmNotify(Share);
}

/*
 * Serves a ring for a turn. TRUE if it may have more at once; else it sleeps, until the program
 * kicks, or is corrupt.
 */
static BOOLEAN LoopServe(PKSHM_SHARE Share, struct kshm_consumer *In, struct kshm_producer *Out)
{
	const VOID *record = NULL;
	kshm_u32 length = 0;
	ULONG i;

	LoopAwake(&In->ring);
	if (Out != NULL)
		LoopAwake(&Out->ring);
	for (i = 0; i < TURN; i++) {
		record = kshm_consumer_next(In, &length);
		if (record == NULL || (Out != NULL && !LoopSendBack(Out, record, length)))
			break;
		if (kshm_consumer_release(In))
			KshmNotify(Share);
	}
	LoopSettle(Share, In, Out);
	if (i == TURN)
		return TRUE;
	if (record != NULL)
		return !kshm_producer_arm(Out, length) && KshmRingGood(Share, &Out->ring);
	return !kshm_consumer_arm(In) && KshmRingGood(Share, &In->ring);
}

static VOID LoopWork(PKSHM_SHARE Share)
{
	PKSHM_RING in, out;
	BOOLEAN more = TRUE;
	ULONG n;

	while (more && !KshmEnding(Share)) {
		more = FALSE;
		for (n = 0; (in = LoopRing(Share, KSHM_RING_TO_KERNEL, n)) != NULL; n++) {
			out = LoopRing(Share, KSHM_RING_TO_USER, n);
			if (LoopServe(Share, &in->Consumer,
				      out != NULL ? &out->Producer : NULL))
				more = TRUE;
		}
	}
}

/* Nobody kicks who does not see a ring armed: that is Work's first. */
static NTSTATUS LoopShare(PKSHM_SHARE Share)
{
	KshmQueue(Share);
	return STATUS_SUCCESS;
}

static const KSHM_DRIVER Loop = {
	.Name = L"loop",
	.Version = 1,
	.Class = KSHM_CLASS(L"{0d5c2f5b-8e0c-4e0f-9c4e-5b7b0c7a1d21}"),
	.MaxRings = RINGS,
	.Share = LoopShare,
	.Work = LoopWork,
};

KSHM_INIT NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Registry)
{
	UNREFERENCED_PARAMETER(Registry);
	return KshmLoad(Driver, &Loop);
}
