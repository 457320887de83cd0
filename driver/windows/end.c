// SPDX-License-Identifier: MIT
/*
 * end.c - the end of a share, in two steps.
 *
 * First somebody decides it, at any IRQL up to DISPATCH_LEVEL: DONE, the cancel routine,
 * CLEANUP, the death of the process, the driver. The first one wins; from then on nobody new
 * enters. Then a work item, at PASSIVE_LEVEL, stops the driver, waits for whoever is inside,
 * and completes the request, which makes the I/O manager unmap and unlock the pages.
 */
#include "kit.h"

static NTSTATUS KshmStatusOf(enum kshm_reason Reason)
{
	switch (Reason) {
	case KSHM_END_DONE:
		return STATUS_SUCCESS;
	case KSHM_END_CLOSED:
		return STATUS_FILE_CLOSED;
	case KSHM_END_EXIT:
		return STATUS_PROCESS_IS_TERMINATING;
	case KSHM_END_GONE:
		return STATUS_DEVICE_REMOVED;
	case KSHM_END_CORRUPT:
		return STATUS_DATA_ERROR;
	case KSHM_END_CANCELLED:
		return STATUS_CANCELLED;
	default:
		return STATUS_REQUEST_ABORTED;
	}
}

/* Nobody calls into the driver, uses the memory, or is about to wake anybody, any more. */
VOID KshmDrain(PKSHM_BODY Body)
{
	KshmPatientWait(&Body->Users.Drained, "KshmExit");
	if (Body->DpcUsed)
		KeFlushQueuedDpcs();
}

static VOID NTAPI KshmEndRoutine(PDEVICE_OBJECT Object, PVOID Context)
{
	PKSHM_BODY body = Context;
	PKSHM_DEVICE device = body->Device;
	const KSHM_DRIVER *driver = device->Driver;
	ULONG_PTR written = 0;
	KIRQL irql;

	UNREFERENCED_PARAMETER(Object);
	KshmPatientWait(&body->Calls.Drained, "Kick or Work");
	if (driver->Stop != NULL)
		driver->Stop(&body->Share, body->Reason);
	KshmDrain(body);
	KshmUnmap(body);
	if (body->Reason == KSHM_END_DONE && (body->Share.Access & KSHM_ACCESS_WRITE))
		written = body->Share.Length;
	/* Before the completion: who sees it may share again at once. */
	KeAcquireSpinLock(&device->Lock, &irql);
	body->Ended = TRUE;
	body->Charged = 0;
	KshmShed(body);
	KeReleaseSpinLock(&device->Lock, irql);
	KshmEndWaits(body);
	if (body->Event != NULL)
		ObDereferenceObject(body->Event);
	KshmComplete(body->Irp, KshmStatusOf(body->Reason), written);
	/* The request, the file and the memory may be gone. */
	KeAcquireSpinLock(&device->Lock, &irql);
	RemoveEntryList(&body->DeviceLink);
	KeReleaseSpinLock(&device->Lock, irql);
	KeSetEvent(&body->Gone, IO_NO_INCREMENT, FALSE);
	KshmRelease(body);
}

/* Lock held, the request in nobody's hands but the caller's. */
VOID KshmQueueEnd(PKSHM_BODY Body)
{
	IoQueueWorkItem(Body->EndItem, KshmEndRoutine, DelayedWorkQueue, Body);
}

/* Lock held. */
VOID KshmDecide(PKSHM_BODY Body, enum kshm_reason Reason)
{
	Body->Reason = Reason;
	KshmRundownClose(&Body->Calls);
	KshmRundownClose(&Body->Users);
	if (Body->Ready)
		KshmQueueEnd(Body);
}

/* Lock held. A share that is not ready yet ends when it would pend. */
VOID KshmEndLocked(PKSHM_BODY Body, enum kshm_reason Reason)
{
	if (Body->Reason != KSHM_LIVE)
		return;
	if (Body->Ready && !KshmPendingRemove(Body->Irp))
		return; /* IoCancelIrp was first: KshmShareCancelled is on its way */
	KshmDecide(Body, Reason);
}

VOID KshmEnd(PKSHM_BODY Body, enum kshm_reason Reason)
{
	PKSHM_DEVICE device = Body->Device;
	KIRQL irql;

	KeAcquireSpinLock(&device->Lock, &irql);
	KshmEndLocked(Body, Reason);
	KeReleaseSpinLock(&device->Lock, irql);
}

VOID KshmShareCancelled(PIRP Irp, PVOID Owner)
{
	PKSHM_BODY body = Owner;
	PKSHM_DEVICE device = body->Device;
	KIRQL irql;

	UNREFERENCED_PARAMETER(Irp);
	KeAcquireSpinLock(&device->Lock, &irql);
	KshmDecide(body, KSHM_END_CANCELLED);
	KeReleaseSpinLock(&device->Lock, irql);
}

VOID KshmWaitGone(PKSHM_BODY Body)
{
	KshmPatientWait(&Body->Gone, "the end of a share");
}

BOOLEAN KshmMatchFile(PKSHM_BODY Body, PVOID File)
{
	return Body->File == File;
}

BOOLEAN KshmMatchAny(PKSHM_BODY Body, PVOID Unused)
{
	UNREFERENCED_PARAMETER(Body);
	UNREFERENCED_PARAMETER(Unused);
	return TRUE;
}

static BOOLEAN KshmMatchProcess(PKSHM_BODY Body, PVOID Process)
{
	return Body->Process == (HANDLE)Process;
}

static PKSHM_BODY KshmFirst(PKSHM_DEVICE Device, KSHM_MATCH *Match, PVOID Key)
{
	PKSHM_BODY found = NULL;
	PLIST_ENTRY e;
	KIRQL irql;

	KeAcquireSpinLock(&Device->Lock, &irql);
	for (e = Device->Bodies.Flink; e != &Device->Bodies && found == NULL; e = e->Flink) {
		PKSHM_BODY body = CONTAINING_RECORD(e, KSHM_BODY, DeviceLink);

		if (Match(body, Key)) {
			InterlockedIncrement(&body->References);
			found = body;
		}
	}
	KeReleaseSpinLock(&Device->Lock, irql);
	return found;
}

/* Ends all at once, then waits for each. New ones must be kept out by the caller. */
VOID KshmEndAll(PKSHM_DEVICE Device, KSHM_MATCH *Match, PVOID Key, enum kshm_reason Reason)
{
	PKSHM_BODY body;
	PLIST_ENTRY e;
	KIRQL irql;

	PAGED_CODE();
	KeAcquireSpinLock(&Device->Lock, &irql);
	for (e = Device->Bodies.Flink; e != &Device->Bodies; e = e->Flink) {
		body = CONTAINING_RECORD(e, KSHM_BODY, DeviceLink);
		if (Match(body, Key))
			KshmEndLocked(body, Reason);
	}
	KeReleaseSpinLock(&Device->Lock, irql);
	while ((body = KshmFirst(Device, Match, Key)) != NULL) {
		KshmWaitGone(body);
		KshmRelease(body);
	}
}

/*
 * The last thread of a process is exiting, and its address space is about to go: locked pages
 * left behind would be a bugcheck. Its handles may live on in another process, so CLEANUP
 * alone does not cover this; nor does cancellation, for a handle bound to a completion port.
 */
VOID NTAPI KshmProcessNotify(HANDLE Parent, HANDLE Process, BOOLEAN Create)
{
	UNREFERENCED_PARAMETER(Parent);
	if (!Create)
		KshmEndAll(KshmTheDevice, KshmMatchProcess, Process, KSHM_END_EXIT);
}

VOID KshmRevoke(PKSHM_SHARE Share)
{
	KshmEnd(KshmBody(Share), KSHM_END_REVOKED);
}

VOID KshmCorrupt(PKSHM_SHARE Share, ULONG64 Offset, ULONG Why)
{
	PKSHM_BODY body = KshmBody(Share);
	PKSHM_DEVICE device = body->Device;
	KIRQL irql;

	KeAcquireSpinLock(&device->Lock, &irql);
	if (body->Reason == KSHM_LIVE) {
		body->CorruptOffset = Offset;
		body->CorruptWhy = Why;
		KshmEndLocked(body, KSHM_END_CORRUPT);
	}
	KeReleaseSpinLock(&device->Lock, irql);
}

VOID KshmRevokeAll(VOID)
{
	PKSHM_DEVICE device = KshmTheDevice;
	KIRQL irql;

	PAGED_CODE();
	KeAcquireSpinLock(&device->Lock, &irql);
	device->Stopping = TRUE;
	KeReleaseSpinLock(&device->Lock, irql);
	KshmEndAll(device, KshmMatchAny, NULL, KSHM_END_GONE);
}

BOOLEAN KshmEnter(PKSHM_SHARE Share)
{
	return KshmRundownEnter(&KshmBody(Share)->Users);
}

VOID KshmExit(PKSHM_SHARE Share)
{
	KshmRundownExit(&KshmBody(Share)->Users);
}

BOOLEAN KshmEnding(PKSHM_SHARE Share)
{
	return KshmRundownClosed(&KshmBody(Share)->Users);
}
