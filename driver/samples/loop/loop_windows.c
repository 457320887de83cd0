// SPDX-License-Identifier: MIT
/*
 * loop_windows.c - a driver with rings. This half sends records back; source_windows.c makes
 * them. A kick asks for Work, which serves all rings until each of them sleeps.
 */
#include "loop_windows.h"

#define TURN 64 /* records of one ring before the next ring's turn */

static LIST_ENTRY LoopShares;
static KSPIN_LOCK LoopSharesLock;

PKSHM_RING LoopRing(PKSHM_SHARE Share, ULONG Direction, ULONG n)
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

/* The words of a record without a way back; the program may change them meanwhile. */
static VOID LoopAddUp(PKSHM_SHARE Share, const VOID *Record, kshm_u32 Length)
{
	PLOOP_STATE state = Share->Priv;
	const ULONG64 *word = Record;
	ULONG64 sum = state->Sum;

	for (; Length >= sizeof(*word); Length -= sizeof(*word))
		sum += kshm_read(word++);
	KshmWrite64(&state->Sum, sum);
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
		if (Out == NULL)
			LoopAddUp(Share, record, length);
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
	PLOOP_STATE state = Share->Priv;
	KIRQL irql;

	state->Share = Share;
	KeAcquireSpinLock(&LoopSharesLock, &irql);
	InsertTailList(&LoopShares, &state->List);
	KeReleaseSpinLock(&LoopSharesLock, irql);
	KshmQueue(Share);
	return STATUS_SUCCESS;
}

static VOID LoopStop(PKSHM_SHARE Share, enum kshm_reason Reason)
{
	PLOOP_STATE state = Share->Priv;
	KIRQL irql;

	UNREFERENCED_PARAMETER(Reason);
	KeAcquireSpinLock(&LoopSharesLock, &irql);
	RemoveEntryList(&state->List);
	KeReleaseSpinLock(&LoopSharesLock, irql);
}

/* The share with this cookie, entered. */
static PKSHM_SHARE LoopFind(kshm_u64 Cookie)
{
	PKSHM_SHARE found = NULL;
	PLIST_ENTRY entry;
	KIRQL irql;

	KeAcquireSpinLock(&LoopSharesLock, &irql);
	for (entry = LoopShares.Flink; entry != &LoopShares && found == NULL;
	     entry = entry->Flink) {
		PKSHM_SHARE share = CONTAINING_RECORD(entry, LOOP_STATE, List)->Share;

		if (share->Cookie == Cookie && KshmEnter(share))
			found = share;
	}
	KeReleaseSpinLock(&LoopSharesLock, irql);
	return found;
}

static VOID LoopCount(PKSHM_SHARE Share, struct loop_counts *Counts)
{
	PLOOP_STATE state = Share->Priv;
	ULONG i;

	RtlZeroMemory(Counts, sizeof(*Counts));
	Counts->sum = KshmReadAcquire64(&state->Sum);
	for (i = 0; i < Share->RingCount; i++) {
		struct kshm_ring_counters sum = {0};

		if (Share->Rings[i].Flags & KSHM_RING_TO_USER) {
			kshm_producer_count(&Share->Rings[i].Producer, &sum);
			Counts->drops += sum.drops;
		} else {
			kshm_ring_count(&Share->Rings[i].Consumer.ring, &sum);
			Counts->records += sum.records;
		}
	}
}

/* What the codes take and give; both begin with a cookie. */
static NTSTATUS LoopControl(ULONG Code, PVOID Buffer, ULONG InLength, PULONG OutLength)
{
	BOOLEAN produce = Code == LOOP_CTL_PRODUCE;
	ULONG in = produce ? sizeof(struct loop_produce) : sizeof(kshm_u64);
	ULONG out = produce ? sizeof(struct loop_result) : sizeof(struct loop_counts);
	NTSTATUS status = STATUS_SUCCESS;
	struct loop_produce what;
	PKSHM_SHARE share;

	if (!produce && Code != LOOP_CTL_COUNTS)
		return STATUS_INVALID_DEVICE_REQUEST;
	if (InLength != in)
		return STATUS_INFO_LENGTH_MISMATCH;
	if (*OutLength < out)
		return STATUS_BUFFER_TOO_SMALL;
	RtlZeroMemory(&what, sizeof(what));
	RtlCopyMemory(&what, Buffer, in);
	share = LoopFind(what.cookie);
	if (share == NULL)
		return STATUS_NOT_FOUND;
	if (produce)
		status = LoopProduce(share, &what, Buffer);
	else
		LoopCount(share, Buffer);
	KshmExit(share);
	*OutLength = out;
	return status;
}

static const KSHM_DRIVER Loop = {
	.Name = L"loop",
	.Version = 1,
	.Class = KSHM_CLASS(L"{0d5c2f5b-8e0c-4e0f-9c4e-5b7b0c7a1d21}"),
	.PrivSize = sizeof(LOOP_STATE),
	.MaxRings = LOOP_RINGS,
	.Share = LoopShare,
	.Work = LoopWork,
	.Stop = LoopStop,
	.Control = LoopControl,
};

KSHM_INIT NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Registry)
{
	UNREFERENCED_PARAMETER(Registry);
	InitializeListHead(&LoopShares);
	KeInitializeSpinLock(&LoopSharesLock);
	return KshmLoad(Driver, &Loop);
}
