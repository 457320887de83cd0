// SPDX-License-Identifier: MIT
/*
 * share.c - SHARE: from the request to a pended request, which is the share.
 */
#include "kit.h"

/* The memory is offered twice, in the arguments and as the request's MDL; they must agree. */
static NTSTATUS KshmCheckShare(PKSHM_DEVICE Device, PIRP Irp,
			       const struct kshm_share_args *Args, ULONG Access)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

	if (Args->access != Access || Args->reserved != 0)
		return STATUS_INVALID_PARAMETER;
	if (stack->FileObject->Flags & FO_SYNCHRONOUS_IO)
		return STATUS_INVALID_DEVICE_STATE; /* DONE could never arrive */
	if (Irp->MdlAddress == NULL ||
	    Args->length != stack->Parameters.DeviceIoControl.OutputBufferLength)
		return STATUS_INVALID_PARAMETER;
	if (Args->address % PAGE_SIZE != 0)
		return STATUS_MAPPED_ALIGNMENT;
	if (Args->length < KshmMinLength(Device->Driver) ||
	    Args->length > KshmMaxLength(Device->Driver))
		return STATUS_INVALID_BUFFER_SIZE;
	return KshmCheckRings(Device->Driver, Args);
}

static NTSTATUS KshmCreateBody(PKSHM_DEVICE Device, PIRP Irp,
			       const struct kshm_share_args *Args, PKSHM_BODY *Result)
{
	SIZE_T size = KSHM_PRIV_OFFSET + Device->Driver->PrivSize;
	PKSHM_BODY body = ExAllocatePoolWithTag(NonPagedPoolNx, size, KSHM_TAG);

	if (body == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	RtlZeroMemory(body, size);
	body->Share.Priv = (PUCHAR)body + KSHM_PRIV_OFFSET;
	body->References = 1;
	body->Device = Device;
	body->File = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;
	body->Irp = Irp;
	body->Process = PsGetCurrentProcessId();
	body->Charged = (Args->length + PAGE_SIZE - 1) & ~(ULONG64)(PAGE_SIZE - 1);
	body->Share.Cookie = Args->cookie;
	body->Share.Length = Args->length;
	body->Share.Access = Args->access;
	KshmRundownInit(&body->Calls);
	KshmRundownInit(&body->Users);
	KshmPendingInit(&body->Waiters, &Device->Lock, KshmWaiterCancelled);
	KeInitializeEvent(&body->Gone, NotificationEvent, FALSE);
	KeInitializeDpc(&body->Dpc, KshmNotifyDpc, body);
	/* Ahead of any need: the end of a share must not depend on memory. */
	body->EndItem = IoAllocateWorkItem(Device->Object);
	body->WorkItem = IoAllocateWorkItem(Device->Object);
	if (body->EndItem == NULL || body->WorkItem == NULL) {
		KshmRelease(body);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	*Result = body;
	return STATUS_SUCCESS;
}

static VOID KshmFreeItem(PIO_WORKITEM *Item)
{
	if (*Item != NULL)
		IoFreeWorkItem(*Item);
	*Item = NULL;
}

/*
 * Lock held, or nobody else has the body. What only a live share needs goes: an ended one that
 * is remembered is charged to nobody.
 */
VOID KshmShed(PKSHM_BODY Body)
{
	KshmFreeItem(&Body->EndItem); /* may be the one that runs: a routine may free its own */
	KshmFreeItem(&Body->WorkItem);
	KshmFreeRings(Body);
}

/* IRQL <= DISPATCH_LEVEL, with or without the lock. */
VOID KshmRelease(PKSHM_BODY Body)
{
	if (InterlockedDecrement(&Body->References) != 0)
		return;
	KshmShed(Body);
	ExFreePoolWithTag(Body, KSHM_TAG);
}

/* The share of that cookie, live or ended, with a reference; NULL while it is being made. */
PKSHM_BODY KshmFind(PKSHM_DEVICE Device, PKSHM_FILE File, kshm_u64 Cookie)
{
	PKSHM_BODY found = NULL;
	PLIST_ENTRY e;
	KIRQL irql;

	KeAcquireSpinLock(&Device->Lock, &irql);
	for (e = File->Bodies.Flink; e != &File->Bodies; e = e->Flink) {
		PKSHM_BODY body = CONTAINING_RECORD(e, KSHM_BODY, FileLink);

		if (body->Ready && body->Share.Cookie == Cookie) {
			InterlockedIncrement(&body->References);
			found = body;
			break;
		}
	}
	KeReleaseSpinLock(&Device->Lock, irql);
	return found;
}

/* A share that was reserved and did not come to be. The request is still the caller's. */
static VOID KshmAbandon(PKSHM_BODY Body)
{
	PKSHM_DEVICE device = Body->Device;
	KIRQL irql;

	KshmEnd(Body, KSHM_END_REVOKED);
	KshmDrain(Body);
	KshmUnmap(Body);
	if (Body->Event != NULL)
		ObDereferenceObject(Body->Event);
	KeAcquireSpinLock(&device->Lock, &irql);
	RemoveEntryList(&Body->FileLink);
	RemoveEntryList(&Body->DeviceLink);
	KeReleaseSpinLock(&device->Lock, irql);
	KeSetEvent(&Body->Gone, IO_NO_INCREMENT, FALSE);
	KshmRelease(Body); /* the list's */
	KshmRelease(Body);
}

/*
 * Lock held. The file forgets ended shares: that of the same cookie, and the oldest ones. Not
 * before the new share is sure to come: a refusal changes nothing.
 */
static VOID KshmForget(PKSHM_BODY Body)
{
	PKSHM_FILE file = Body->File;
	PLIST_ENTRY e, older;
	ULONG ended = 0;

	for (e = file->Bodies.Blink; e != &file->Bodies; e = older) {
		PKSHM_BODY other = CONTAINING_RECORD(e, KSHM_BODY, FileLink);

		older = e->Blink;
		if (!other->Ended)
			continue;
		if (other->Share.Cookie != Body->Share.Cookie && ++ended < KSHM_REMEMBER)
			continue;
		RemoveEntryList(e);
		KshmRelease(other);
	}
}

/*
 * The request waits from here on. What came meanwhile, a cancellation or an end that found the
 * share not ready, ends it at once, in the same way as later.
 */
static NTSTATUS KshmPend(PKSHM_BODY Body)
{
	PKSHM_DEVICE device = Body->Device;
	KIRQL irql;

	IoMarkIrpPending(Body->Irp);
	KeAcquireSpinLock(&device->Lock, &irql);
	KshmForget(Body);
	Body->Ready = TRUE;
	if (Body->Reason != KSHM_LIVE)
		KshmQueueEnd(Body);
	else if (!KshmPendingInsert(&device->Pended, Body->Irp, Body))
		KshmDecide(Body, KSHM_END_CANCELLED);
	KeReleaseSpinLock(&device->Lock, irql);
	return STATUS_PENDING;
}

NTSTATUS KshmShare(PKSHM_DEVICE Device, PIRP Irp, ULONG Access)
{
	struct kshm_share_args *args;
	PKSHM_BODY body;
	NTSTATUS status;

	PAGED_CODE();
	status = KshmCommand(Irp, sizeof(*args), 0, KshmSeamTail, (PVOID *)&args);
	if (!NT_SUCCESS(status))
		return status;
	status = KshmCheckShare(Device, Irp, args, Access);
	if (!NT_SUCCESS(status))
		return status;
	status = KshmCreateBody(Device, Irp, args, &body);
	if (!NT_SUCCESS(status))
		return status;
	status = KshmCaller(&body->User);
	if (NT_SUCCESS(status))
		status = KshmReserve(body);
	if (!NT_SUCCESS(status)) {
		KshmRelease(body);
		return status;
	}
	status = KshmReferenceEvent(body, args);
	if (NT_SUCCESS(status))
		status = KshmMap(body, args);
	if (NT_SUCCESS(status))
		status = KshmMakeRings(body, args);
	if (NT_SUCCESS(status) && Device->Driver->Share != NULL)
		status = KshmVerdict(Device->Driver->Share(&body->Share));
	if (!NT_SUCCESS(status)) {
		KshmAbandon(body);
		return status;
	}
	return KshmPend(body);
}
