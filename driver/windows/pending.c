// SPDX-License-Identifier: MIT
/*
 * pending.c - a cancel-safe queue of pended requests, each owned by exactly one of: the queue,
 * its cancel routine, or whoever removed it.
 *
 * Ownership is the cancel routine's pointer. Who exchanges it for NULL and gets it back owns
 * the request; who gets NULL back has lost it to IoCancelIrp, and the cancel routine, waiting
 * for the lock or about to, will take it off the queue itself.
 */
#include "kit.h"

#define QUEUE_OF(irp) ((PKSHM_PENDING)(irp)->Tail.Overlay.DriverContext[0])
#define OWNER_OF(irp) ((irp)->Tail.Overlay.DriverContext[1])

VOID KshmPendingInit(PKSHM_PENDING Queue, PKSPIN_LOCK Lock, VOID (*Cancelled)(PIRP, PVOID))
{
	InitializeListHead(&Queue->Irps);
	Queue->Lock = Lock;
	Queue->Cancelled = Cancelled;
}

static DRIVER_CANCEL KshmPendingCancel;

static VOID NTAPI KshmPendingCancel(PDEVICE_OBJECT Device, PIRP Irp)
{
	PKSHM_PENDING queue = QUEUE_OF(Irp);
	KIRQL irql;

	UNREFERENCED_PARAMETER(Device);
	IoReleaseCancelSpinLock(Irp->CancelIrql);
	KeAcquireSpinLock(queue->Lock, &irql);
	RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
	KeReleaseSpinLock(queue->Lock, irql);
	queue->Cancelled(Irp, OWNER_OF(Irp));
}

/* Lock held. FALSE: the request was cancelled before, and is still the caller's. */
BOOLEAN KshmPendingInsert(PKSHM_PENDING Queue, PIRP Irp, PVOID Owner)
{
	Irp->Tail.Overlay.DriverContext[0] = Queue;
	Irp->Tail.Overlay.DriverContext[1] = Owner;
	InsertTailList(&Queue->Irps, &Irp->Tail.Overlay.ListEntry);
	(VOID) IoSetCancelRoutine(Irp, KshmPendingCancel);
	/* IoCancelIrp sets Cancel, then takes the routine: one of the two sees the other. */
	if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
		RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
		return FALSE;
	}
	return TRUE;
}

/* Lock held, Irp inserted and not completed. TRUE: it is the caller's now. */
BOOLEAN KshmPendingRemove(PIRP Irp)
{
	if (IoSetCancelRoutine(Irp, NULL) == NULL)
		return FALSE;
	RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
	return TRUE;
}
