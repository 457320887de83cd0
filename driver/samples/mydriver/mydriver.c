// SPDX-License-Identifier: MIT
/*
 * mydriver.c - the recipe itself, without the kit: one shared buffer, whatever its address and
 * length, an event by name, and a code of its own that works on the memory.
 *
 *   0x00220006  SHARE  pends; the out-buffer is the shared memory
 *   0x00220008  DONE   completes SHARE, then itself
 *   0x0022000c  POKE   adds 1 to every shared byte and sets \BaseNamedObjects\MyDriverEvent
 *
 * The memory is touched only with Lock held and Pended set, so whoever takes Pended under the
 * lock has drained the driver's use, and may complete the request at once.
 *
 * Open to every user, with the system's default descriptor, and without a cap on what they
 * lock: do not ship it so. The kit's KshmSecure() and limits.c show what is missing.
 */
#include "../../windows/kshm_nt.h"

#define SHARE CTL_CODE(FILE_DEVICE_UNKNOWN, 1, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)
#define DONE CTL_CODE(FILE_DEVICE_UNKNOWN, 2, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define POKE CTL_CODE(FILE_DEVICE_UNKNOWN, 3, METHOD_BUFFERED, FILE_ANY_ACCESS)
_Static_assert(SHARE == 0x00220006 && DONE == 0x00220008, "the numbers of the recipe");

#define MOST (1 << 20)    /* bytes that POKE goes over: nobody else runs there meanwhile */
#define CLOSED ((PVOID)1) /* FsContext of a file whose last handle is closed */

static KSPIN_LOCK Lock;
static PIRP Pended;  /* the share */
static LONG Ending;  /* requests that were taken off Pended and are being completed */
static KEVENT Quiet; /* there are none */
static PFILE_OBJECT Owner;
static HANDLE Process;
static PUCHAR Base;
static ULONG Length;
static PKEVENT Event;
static HANDLE EventHandle;
static UNICODE_STRING Link;

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
	Irp->IoStatus.Status = Status;
	Irp->IoStatus.Information = Information;
	IoCompleteRequest(Irp, IO_NO_INCREMENT);
	return Status;
}

/* Lock held, Pended set. NULL: Cancel is on its way, and completes the request. */
static PIRP Take(VOID)
{
	PIRP irp = Pended;

	Pended = NULL;
	if (Ending++ == 0)
		KeClearEvent(&Quiet);
	return IoSetCancelRoutine(irp, NULL) != NULL ? irp : NULL;
}

/* Completes a request that has been taken. */
static VOID Finish(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
	KIRQL irql;

	Complete(Irp, Status, Information);
	KeAcquireSpinLock(&Lock, &irql);
	if (--Ending == 0)
		KeSetEvent(&Quiet, IO_NO_INCREMENT, FALSE);
	KeReleaseSpinLock(&Lock, irql);
}

/* Ends the share if it is that of File or of Exiting; both NULL: any. */
static BOOLEAN End(PFILE_OBJECT File, HANDLE Exiting, NTSTATUS Status)
{
	PIRP irp = NULL;
	ULONG length;
	KIRQL irql;

	KeAcquireSpinLock(&Lock, &irql);
	if (Pended != NULL && (File == NULL || File == Owner) &&
	    (Exiting == NULL || Exiting == Process))
		irp = Take();
	length = Length;
	KeReleaseSpinLock(&Lock, irql);
	if (irp != NULL)
		Finish(irp, Status, NT_SUCCESS(Status) ? length : 0);
	return irp != NULL;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
	KIRQL irql;

	UNREFERENCED_PARAMETER(Device);
	IoReleaseCancelSpinLock(Irp->CancelIrql);
	KeAcquireSpinLock(&Lock, &irql);
	if (Pended == Irp)
		Take();
	KeReleaseSpinLock(&Lock, irql);
	Finish(Irp, STATUS_CANCELLED, 0);
}

static VOID WaitQuiet(VOID)
{
	KeWaitForSingleObject(&Quiet, Executive, KernelMode, FALSE, NULL);
}

/* A process must not go while its pages are locked, whoever is completing its request. */
static VOID NTAPI ProcessNotify(HANDLE Parent, HANDLE Exiting, BOOLEAN Create)
{
	UNREFERENCED_PARAMETER(Parent);
	if (Create)
		return;
	End(NULL, Exiting, STATUS_PROCESS_IS_TERMINATING);
	WaitQuiet();
}

static NTSTATUS Share(PIRP Irp, PIO_STACK_LOCATION Stack)
{
	PVOID base;
	NTSTATUS status = STATUS_PENDING;
	KIRQL irql;

	if (Stack->FileObject->Flags & FO_SYNCHRONOUS_IO)
		return STATUS_INVALID_DEVICE_STATE;
	if (Irp->MdlAddress == NULL)
		return STATUS_INVALID_PARAMETER;
	base = MmGetSystemAddressForMdlSafe(Irp->MdlAddress,
					    NormalPagePriority | MdlMappingNoExecute);
	if (base == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	KeAcquireSpinLock(&Lock, &irql);
	if (Pended != NULL) {
		status = STATUS_SHARING_VIOLATION;
	} else if (Stack->FileObject->FsContext == CLOSED) {
		status = STATUS_FILE_CLOSED; /* Cleanup was first, and would not come again */
	} else {
		(VOID) IoSetCancelRoutine(Irp, Cancel);
		if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
			status = STATUS_CANCELLED;
		} else {
			IoMarkIrpPending(Irp);
			Pended = Irp;
			Owner = Stack->FileObject;
			Process = PsGetCurrentProcessId();
			Base = base;
			Length = Stack->Parameters.DeviceIoControl.OutputBufferLength;
		}
	}
	KeReleaseSpinLock(&Lock, irql);
	return status;
}

static NTSTATUS Poke(PFILE_OBJECT File)
{
	NTSTATUS status = STATUS_NOT_FOUND;
	KIRQL irql;
	ULONG i;

	KeAcquireSpinLock(&Lock, &irql);
	if (Pended != NULL && Owner == File && Length > MOST) {
		status = STATUS_INVALID_BUFFER_SIZE;
	} else if (Pended != NULL && Owner == File) {
		for (i = 0; i < Length; i++)
			Base[i]++;
		status = STATUS_SUCCESS;
	}
	KeReleaseSpinLock(&Lock, irql);
	if (NT_SUCCESS(status))
		KeSetEvent(Event, IO_NO_INCREMENT, FALSE);
	return status;
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT Device, PIRP Irp)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	NTSTATUS status;

	UNREFERENCED_PARAMETER(Device);
	switch (stack->Parameters.DeviceIoControl.IoControlCode) {
	case SHARE:
		status = Share(Irp, stack);
		break;
	case DONE:
		status = End(stack->FileObject, NULL, STATUS_SUCCESS) ? STATUS_SUCCESS
								      : STATUS_NOT_FOUND;
		break;
	case POKE:
		status = Poke(stack->FileObject);
		break;
	default:
		status = STATUS_INVALID_DEVICE_REQUEST;
	}
	return status == STATUS_PENDING ? status : Complete(Irp, status, 0);
}

static NTSTATUS NTAPI Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
	PFILE_OBJECT file = IoGetCurrentIrpStackLocation(Irp)->FileObject;
	KIRQL irql;

	UNREFERENCED_PARAMETER(Device);
	KeAcquireSpinLock(&Lock, &irql);
	file->FsContext = CLOSED;
	KeReleaseSpinLock(&Lock, irql);
	End(file, NULL, STATUS_FILE_CLOSED);
	return Complete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI CreateClose(PDEVICE_OBJECT Device, PIRP Irp)
{
	UNREFERENCED_PARAMETER(Device);
	return Complete(Irp, STATUS_SUCCESS, 0);
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
	ASSERT(Pended == NULL);
	PsSetCreateProcessNotifyRoutine(ProcessNotify, TRUE);
	WaitQuiet();
	IoDeleteSymbolicLink(&Link);
	ZwClose(EventHandle);
	IoDeleteDevice(Driver->DeviceObject);
}

KSHM_INIT NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Registry)
{
	UNICODE_STRING name, event;
	PDEVICE_OBJECT device;
	NTSTATUS status;

	UNREFERENCED_PARAMETER(Registry);
	KeInitializeSpinLock(&Lock);
	KeInitializeEvent(&Quiet, NotificationEvent, TRUE);
	RtlInitUnicodeString(&name, L"\\Device\\mydriver");
	RtlInitUnicodeString(&Link, L"\\DosDevices\\mydriver");
	RtlInitUnicodeString(&event, L"\\BaseNamedObjects\\MyDriverEvent");
	status = IoCreateDevice(Driver, 0, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
				FALSE, &device);
	if (!NT_SUCCESS(status))
		return status;
	status = STATUS_INSUFFICIENT_RESOURCES;
	Event = IoCreateSynchronizationEvent(&event, &EventHandle);
	if (Event == NULL)
		goto delete_device;
	status = IoCreateSymbolicLink(&Link, &name);
	if (!NT_SUCCESS(status))
		goto close_event;
	status = PsSetCreateProcessNotifyRoutine(ProcessNotify, FALSE);
	if (!NT_SUCCESS(status))
		goto delete_link;
	Driver->MajorFunction[IRP_MJ_CREATE] = CreateClose;
	Driver->MajorFunction[IRP_MJ_CLOSE] = CreateClose;
	Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
	Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
	Driver->DriverUnload = Unload;
	return STATUS_SUCCESS;

delete_link:
	IoDeleteSymbolicLink(&Link);
close_event:
	ZwClose(EventHandle);
delete_device:
	IoDeleteDevice(device);
	return status;
}
