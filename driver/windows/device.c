// SPDX-License-Identifier: MIT
/*
 * device.c - loading and unloading, and the requests that are not control codes.
 */
#include "kit.h"

PKSHM_DEVICE KshmTheDevice;

NTSTATUS KshmComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
	Irp->IoStatus.Status = Status;
	Irp->IoStatus.Information = Information;
	IoCompleteRequest(Irp, IO_NO_INCREMENT);
	return Status;
}

static DRIVER_DISPATCH KshmDispatchCreate, KshmDispatchCleanup, KshmDispatchClose,
	KshmDispatchControl;

static NTSTATUS KshmCreate(PKSHM_DEVICE Device, PFILE_OBJECT FileObject)
{
	PKSHM_FILE file;
	BOOLEAN stopping;
	KIRQL irql;

	if (FileObject->FileName.Length != 0)
		return STATUS_OBJECT_NAME_NOT_FOUND; /* there is nothing below the device */
	KeAcquireSpinLock(&Device->Lock, &irql);
	stopping = Device->Stopping;
	KeReleaseSpinLock(&Device->Lock, irql);
	if (stopping)
		return STATUS_DELETE_PENDING;
	file = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(*file), KSHM_TAG);
	if (file == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	InitializeListHead(&file->Bodies);
	file->Closed = FALSE;
	FileObject->FsContext = file;
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI KshmDispatchCreate(PDEVICE_OBJECT Object, PIRP Irp)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

	PAGED_CODE();
	return KshmComplete(Irp, KshmCreate(Object->DeviceExtension, stack->FileObject), 0);
}

/* The last handle is closed; requests may still be under way. */
static NTSTATUS NTAPI KshmDispatchCleanup(PDEVICE_OBJECT Object, PIRP Irp)
{
	PKSHM_DEVICE device = Object->DeviceExtension;
	PKSHM_FILE file = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;
	KIRQL irql;

	PAGED_CODE();
	KeAcquireSpinLock(&device->Lock, &irql);
	file->Closed = TRUE;
	KeReleaseSpinLock(&device->Lock, irql);
	KshmEndAll(device, KshmMatchFile, file, KSHM_END_CLOSED);
	return KshmComplete(Irp, STATUS_SUCCESS, 0);
}

/* No request of this file is left, so all its bodies have ended. */
static NTSTATUS NTAPI KshmDispatchClose(PDEVICE_OBJECT Object, PIRP Irp)
{
	PKSHM_FILE file = IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext;

	UNREFERENCED_PARAMETER(Object);
	if (file == NULL)
		return KshmComplete(Irp, STATUS_SUCCESS, 0); /* Wine closes what was refused */
	while (!IsListEmpty(&file->Bodies))
		KshmRelease(
			CONTAINING_RECORD(RemoveHeadList(&file->Bodies), KSHM_BODY, FileLink));
	ExFreePoolWithTag(file, KSHM_TAG);
	return KshmComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI KshmDispatchControl(PDEVICE_OBJECT Object, PIRP Irp)
{
	NTSTATUS status;

	Irp->IoStatus.Information = 0;
	status = KshmControl(Object->DeviceExtension, Irp);
	if (status == STATUS_PENDING)
		return status; /* the request may be gone */
	return KshmComplete(Irp, status, NT_SUCCESS(status) ? Irp->IoStatus.Information : 0);
}

/*
 * Called when no handle is open, so no share is live. The last end may still be on its way out
 * of its work item.
 */
static VOID NTAPI KshmUnload(PDRIVER_OBJECT DriverObject)
{
	PKSHM_DEVICE device = KshmTheDevice;

	UNREFERENCED_PARAMETER(DriverObject);
	PAGED_CODE();
	ASSERT(IsListEmpty(&device->Pended.Irps));
	PsSetCreateProcessNotifyRoutine(KshmProcessNotify, TRUE);
	KshmEndAll(device, KshmMatchAny, NULL, KSHM_END_GONE);
	if (device->Driver->Unload != NULL)
		device->Driver->Unload();
	IoDeleteSymbolicLink(&device->Link);
	if (device->NamedEventHandle != NULL)
		ZwClose(device->NamedEventHandle);
	KshmTheDevice = NULL;
	IoDeleteDevice(device->Object);
}

/* Buffer = Prefix, "kshm_", Name, cut to 63 characters. */
KSHM_INIT static VOID KshmJoin(PUNICODE_STRING String, WCHAR Buffer[64], PCWSTR Prefix,
			       PCWSTR Name)
{
	PCWSTR parts[] = {Prefix, L"kshm_", Name};
	ULONG i, n = 0;

	for (i = 0; i < 3; i++)
		while (*parts[i] != 0 && n < 63)
			Buffer[n++] = *parts[i]++;
	Buffer[n] = 0;
	RtlInitUnicodeString(String, Buffer);
}

/* The kit as DriverEntry leaves it, but for its device. */
KSHM_INIT static VOID KshmStart(PDRIVER_OBJECT DriverObject)
{
	DriverObject->MajorFunction[IRP_MJ_CREATE] = KshmDispatchCreate;
	DriverObject->MajorFunction[IRP_MJ_CLEANUP] = KshmDispatchCleanup;
	DriverObject->MajorFunction[IRP_MJ_CLOSE] = KshmDispatchClose;
	DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = KshmDispatchControl;
	DriverObject->DriverUnload = KshmUnload;
}

KSHM_INIT static NTSTATUS KshmName(PKSHM_DEVICE Device, PUNICODE_STRING Name)
{
	UNICODE_STRING event;
	NTSTATUS status;

	if (Device->Driver->EventName != NULL) {
		RtlInitUnicodeString(&event, Device->Driver->EventName);
		Device->NamedEvent =
			IoCreateSynchronizationEvent(&event, &Device->NamedEventHandle);
		if (Device->NamedEvent == NULL)
			return STATUS_INSUFFICIENT_RESOURCES;
	}
	KshmJoin(&Device->Link, Device->LinkBuffer, L"\\DosDevices\\", Device->Driver->Name);
	status = IoCreateSymbolicLink(&Device->Link, Name);
	if (NT_SUCCESS(status)) {
		status = PsSetCreateProcessNotifyRoutine(KshmProcessNotify, FALSE);
		if (NT_SUCCESS(status))
			return status;
		IoDeleteSymbolicLink(&Device->Link);
	}
	if (Device->NamedEventHandle != NULL)
		ZwClose(Device->NamedEventHandle);
	return status;
}

KSHM_INIT NTSTATUS KshmLoad(PDRIVER_OBJECT DriverObject, const KSHM_DRIVER *Driver)
{
	UNICODE_STRING name;
	WCHAR buffer[64];
	PDEVICE_OBJECT object;
	PKSHM_DEVICE device;
	NTSTATUS status;

	KshmJoin(&name, buffer, L"\\Device\\", Driver->Name);
	status = IoCreateDevice(DriverObject, sizeof(*device), &name, FILE_DEVICE_UNKNOWN,
				FILE_DEVICE_SECURE_OPEN, FALSE, &object);
	if (!NT_SUCCESS(status))
		return status;
	device = object->DeviceExtension;
	device->Object = object;
	device->Driver = Driver;
	KeInitializeSpinLock(&device->Lock);
	InitializeListHead(&device->Bodies);
	KshmPendingInit(&device->Pended, &device->Lock, KshmShareCancelled);
	KshmTheDevice = device;
	status = KshmSecure(device);
	if (NT_SUCCESS(status))
		status = KshmName(device, &name);
	if (!NT_SUCCESS(status)) {
		KshmTheDevice = NULL;
		IoDeleteDevice(object);
		return status;
	}
	KshmStart(DriverObject);
	object->Flags &= ~DO_DEVICE_INITIALIZING;
	return STATUS_SUCCESS;
}
