// SPDX-License-Identifier: MIT
/*
 * event.c - events for the program: a count, waited for with pended WAIT requests, and event
 * objects that are set as well.
 *
 * No event is lost: KshmNotify counts first and looks for waiters under the lock afterwards;
 * KshmWait, under the same lock, compares the count before it waits.
 */
#include "kit.h"

static struct kshm_wait *KshmWaitOf(PIRP Irp)
{
	return Irp->AssociatedIrp
		.SystemBuffer; /* the system's copy: the program cannot change it */
}

static ULONG64 KshmEvents(PKSHM_BODY Body)
{
	return (ULONG64)InterlockedCompareExchange64(&Body->Events, 0, 0);
}

/* Moves the waiters that have seen at most that many events to Woken, the caller's. */
static VOID KshmTakeWaits(PKSHM_BODY Body, ULONG64 Seen, PLIST_ENTRY Woken)
{
	PKSHM_DEVICE device = Body->Device;
	PLIST_ENTRY e, next;
	KIRQL irql;

	InitializeListHead(Woken);
	KeAcquireSpinLock(&device->Lock, &irql);
	for (e = Body->Waiters.Irps.Flink; e != &Body->Waiters.Irps; e = next) {
		PIRP irp = CONTAINING_RECORD(e, IRP, Tail.Overlay.ListEntry);

		next = e->Flink;
		if (KshmWaitOf(irp)->events <= Seen && KshmPendingRemove(irp))
			InsertTailList(Woken, e);
	}
	KeReleaseSpinLock(&device->Lock, irql);
}

static VOID KshmCompleteWaits(PKSHM_BODY Body, PLIST_ENTRY Woken, NTSTATUS Status)
{
	while (!IsListEmpty(Woken)) {
		PIRP irp =
			CONTAINING_RECORD(RemoveHeadList(Woken), IRP, Tail.Overlay.ListEntry);

		KshmWaitOf(irp)->events = KshmEvents(Body);
		KshmComplete(irp, Status, NT_SUCCESS(Status) ? sizeof(struct kshm_wait) : 0);
		KshmRelease(Body);
	}
}

static VOID KshmWake(PKSHM_BODY Body)
{
	PKSHM_DEVICE device = Body->Device;
	LIST_ENTRY woken;

	KshmTakeWaits(Body, KshmEvents(Body) - 1, &woken);
	if (!IsListEmpty(&woken))
		InterlockedIncrement64(&Body->Wakes);
	KshmCompleteWaits(Body, &woken, STATUS_SUCCESS);
	if (Body->Event != NULL)
		KeSetEvent(Body->Event, IO_NO_INCREMENT, FALSE);
	if (device->NamedEvent != NULL)
		KeSetEvent(device->NamedEvent, IO_NO_INCREMENT, FALSE);
}

VOID NTAPI KshmNotifyDpc(PKDPC Dpc, PVOID Context, PVOID Unused1, PVOID Unused2)
{
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Unused1);
	UNREFERENCED_PARAMETER(Unused2);
	KshmWake(Context);
}

VOID KshmNotify(PKSHM_SHARE Share)
{
	PKSHM_BODY body = KshmBody(Share);

	InterlockedIncrement64(&body->Events);
	if (KeGetCurrentIrql() <= DISPATCH_LEVEL) {
		KshmWake(body);
		return;
	}
	InterlockedExchange(&body->DpcUsed, 1); /* read by KshmDrain, when no caller is left */
	KeInsertQueueDpc(&body->Dpc, NULL, NULL);
}

/* The share has ended: its waiters have nothing to wait for. */
VOID KshmEndWaits(PKSHM_BODY Body)
{
	LIST_ENTRY woken;

	KshmTakeWaits(Body, ~0ULL, &woken);
	KshmCompleteWaits(Body, &woken, STATUS_FILE_CLOSED);
}

VOID KshmWaiterCancelled(PIRP Irp, PVOID Owner)
{
	KshmComplete(Irp, STATUS_CANCELLED, 0);
	KshmRelease(Owner);
}

/* Lock held. */
static BOOLEAN KshmHasRoomToWait(PKSHM_BODY Body)
{
	PLIST_ENTRY e;
	ULONG waits = 0;

	for (e = Body->Waiters.Irps.Flink; e != &Body->Waiters.Irps; e = e->Flink)
		waits++;
	return waits < KSHM_MAX_WAITS;
}

NTSTATUS KshmWait(PKSHM_DEVICE Device, PIRP Irp)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	struct kshm_wait *wait;
	BOOLEAN mine = TRUE;
	PKSHM_BODY body;
	NTSTATUS status;
	KIRQL irql;

	status = KshmCommand(Irp, sizeof(*wait), sizeof(*wait), 0, (PVOID *)&wait);
	if (!NT_SUCCESS(status))
		return status;
	body = KshmFind(Device, stack->FileObject->FsContext, wait->share);
	if (body == NULL)
		return STATUS_NOT_FOUND;
	KeAcquireSpinLock(&Device->Lock, &irql);
	if (body->Reason != KSHM_LIVE) {
		status = STATUS_FILE_CLOSED;
	} else if (KshmEvents(body) > wait->events) {
		wait->events = KshmEvents(body);
		Irp->IoStatus.Information = sizeof(*wait);
	} else if (!KshmHasRoomToWait(body)) {
		status = STATUS_QUOTA_EXCEEDED;
	} else {
		IoMarkIrpPending(Irp);
		status = STATUS_PENDING;
		mine = !KshmPendingInsert(&body->Waiters, Irp, body);
	}
	KeReleaseSpinLock(&Device->Lock, irql);
	if (status == STATUS_PENDING && mine)
		KshmComplete(Irp, STATUS_CANCELLED, 0);
	if (mine)
		KshmRelease(body); /* else the waiter keeps it */
	return status;
}
