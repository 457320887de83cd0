// SPDX-License-Identifier: MIT
/*
 * source_windows.c - sources of records: threads and DPCs on any CPUs, all into the same ring
 * if need be. What makes them one producer is a spin lock, held for a few records at a time.
 */
#include "loop_windows.h"

#define SECTION 32768 /* bytes of records at one go, at DISPATCH_LEVEL */
#define SECOND 1000000000ull

typedef struct _LOOP_SOURCE {
	PKSHM_SHARE Share;
	struct kshm_producer *Producer;
	PKSPIN_LOCK Lock;
	ULONG64 *Latest;
	struct loop_produce What;
	ULONG64 Deadline; /* nanoseconds */
	ULONG64 Next;     /* record */
	ULONG64 Produced, Dropped;
	ULONG Left; /* records of this batch */
	NTSTATUS Status;
	BOOLEAN More; /* what the DPC says */
	BOOLEAN Last; /* this step, since the caller's thread is being killed */
	KEVENT Over;
} LOOP_SOURCE, *PLOOP_SOURCE;

static VOID LoopFill(PLOOP_SOURCE Source, struct loop_record *Record)
{
	ULONG64 *word = (ULONG64 *)(Record + 1), now = KshmNanoseconds();
	ULONG i;

	/* The counters of two processors may differ by a tick. */
	if (*Source->Latest < now)
		*Source->Latest = now;
	Record->ns = *Source->Latest;
	Record->source = Source->What.source;
	Record->sequence = Source->Next;
	for (i = 0; i < (Source->What.size - sizeof(*Record)) / sizeof(*word); i++)
		word[i] = Source->Next;
}

/* A record or a drop. FALSE, and neither, if the ring is corrupt, or full and the source waits.
 */
static BOOLEAN LoopOne(PLOOP_SOURCE Source)
{
	struct loop_record *record = kshm_producer_reserve(Source->Producer, Source->What.size);

	if (record != NULL) {
		LoopFill(Source, record);
		kshm_producer_commit(Source->Producer, Source->What.size);
		Source->Produced++;
	} else if (!KshmRingGood(Source->Share, &Source->Producer->ring)) {
		Source->Status = STATUS_DATA_ERROR;
		return FALSE;
	} else if (Source->What.flags & LOOP_WAIT) {
		return FALSE;
	} else {
		kshm_producer_drop(Source->Producer);
		Source->Dropped++;
	}
	Source->Next++;
	return TRUE;
}

/*
 * Some records, published after the last of a batch, when there is no space and
 * before the source stops: what counts as produced is there to be seen. FALSE
 * when there is nothing more to do. IRQL <= DISPATCH_LEVEL.
 */
static BOOLEAN LoopStep(PLOOP_SOURCE Source)
{
	ULONG count = SECTION / Source->What.size, stuck = 0;
	int wake = 0;
	BOOLEAN more;
	KIRQL irql;

	KeAcquireSpinLock(Source->Lock, &irql);
	do {
		if (Source->Next == Source->What.records || !LoopOne(Source))
			stuck = 1;
		else
			Source->Left--;
	} while (!stuck && Source->Left > 0 && count-- > 1);
	more = Source->Next < Source->What.records && NT_SUCCESS(Source->Status) &&
	       !Source->Last && !KshmEnding(Source->Share) &&
	       KshmNanoseconds() < Source->Deadline;
	if (stuck || Source->Left == 0 || !more) {
		wake = kshm_producer_flush(Source->Producer);
		Source->Left = Source->What.batch;
	}
	KeReleaseSpinLock(Source->Lock, irql);
	if (wake)
		KshmNotify(Source->Share);
	return more;
}

static VOID NTAPI LoopDpc(PKDPC Dpc, PVOID Context, PVOID Unused1, PVOID Unused2)
{
	PLOOP_SOURCE source = Context;

	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Unused1);
	UNREFERENCED_PARAMETER(Unused2);
	source->More = LoopStep(source);
	KeSetEvent(&source->Over, IO_NO_INCREMENT, FALSE);
}

/* One DPC after another, so that none of them lasts. */
static VOID LoopRunDpcs(PLOOP_SOURCE Source)
{
	KDPC dpc;

	KeInitializeEvent(&Source->Over, SynchronizationEvent, FALSE);
	KeInitializeDpc(&dpc, LoopDpc, Source);
	do {
		Source->Last = KshmCallerEnding();
		KeInsertQueueDpc(&dpc, NULL, NULL);
		KeWaitForSingleObject(&Source->Over, Executive, KernelMode, FALSE, NULL);
	} while (Source->More);
	/* It may still be returning. */
	KeFlushQueuedDpcs();
}

static NTSTATUS LoopCheck(PKSHM_SHARE Share, const struct loop_produce *What, PKSHM_RING Ring)
{
	if (Ring == NULL || LoopRing(Share, KSHM_RING_TO_KERNEL, What->ring) != NULL)
		return STATUS_NOT_FOUND;
	if (What->size < sizeof(struct loop_record) || What->size % 8 != 0 ||
	    What->size > LOOP_MAX_SIZE ||
	    What->size > KSHM_RECORD_MAX(Ring->Producer.ring.capacity) || What->batch == 0 ||
	    What->batch > LOOP_MAX_BATCH || What->source >= LOOP_NESTED ||
	    (What->flags & ~(kshm_u32)LOOP_WAIT) != 0)
		return STATUS_INVALID_PARAMETER;
	if (What->context != LOOP_TASK && What->context != LOOP_SOFTIRQ)
		return STATUS_NOT_SUPPORTED;
	if (What->flags != 0 && What->context != LOOP_TASK)
		return STATUS_INVALID_PARAMETER;
	return STATUS_SUCCESS;
}

NTSTATUS LoopProduce(PKSHM_SHARE Share, const struct loop_produce *What,
		     struct loop_result *Result)
{
	PKSHM_RING ring = LoopRing(Share, KSHM_RING_TO_USER, What->ring);
	ULONG64 begin = KshmNanoseconds();
	PLOOP_STATE state = Share->Priv;
	LOOP_SOURCE source;
	NTSTATUS status;

	status = LoopCheck(Share, What, ring);
	if (!NT_SUCCESS(status))
		return status;
	RtlZeroMemory(&source, sizeof(source));
	source.Share = Share;
	source.Producer = &ring->Producer;
	source.Lock = &state->Source[What->ring].Lock;
	source.Latest = &state->Source[What->ring].Latest;
	source.What = *What;
	source.Deadline = begin + LOOP_SECONDS * SECOND;
	source.Left = What->batch;
	if (What->context == LOOP_SOFTIRQ)
		LoopRunDpcs(&source);
	else
		do {
			source.Last = KshmCallerEnding();
		} while (LoopStep(&source));
	RtlZeroMemory(Result, sizeof(*Result));
	Result->produced = source.Produced;
	Result->dropped = source.Dropped;
	Result->ns = KshmNanoseconds() - begin;
	return source.Status;
}
