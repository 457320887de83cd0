// SPDX-License-Identifier: MIT
/*
 * limits.c - what one open, one user and one share may have.
 *
 * The user is that of the process that asks. The sums are taken over the living bodies each
 * time, so there is no second account that could drift from them.
 */
#include "kit.h"

#define GIB (1ULL << 30)

ULONG64 KshmMinLength(const KSHM_DRIVER *Driver)
{
	return Driver->MinLength ? Driver->MinLength : 1;
}

ULONG64 KshmMaxLength(const KSHM_DRIVER *Driver)
{
	ULONG64 most = 4 * GIB - PAGE_SIZE; /* the length of a request has 32 bits */
	ULONG64 length = Driver->MaxLength ? Driver->MaxLength : GIB;

	return length < most ? length : most;
}

ULONG64 KshmMaxUserBytes(const KSHM_DRIVER *Driver)
{
	return Driver->MaxUserBytes ? Driver->MaxUserBytes : GIB;
}

ULONG KshmMaxOpenShares(const KSHM_DRIVER *Driver)
{
	return Driver->MaxOpenShares ? Driver->MaxOpenShares : 16;
}

ULONG KshmMaxUserShares(const KSHM_DRIVER *Driver)
{
	return Driver->MaxUserShares ? Driver->MaxUserShares : 64;
}

/* Lock held. */
static NTSTATUS KshmUserHasRoom(PKSHM_BODY Body)
{
	PKSHM_DEVICE device = Body->Device;
	ULONG64 bytes = Body->Charged;
	ULONG shares = 1;
	PLIST_ENTRY e;

	for (e = device->Bodies.Flink; e != &device->Bodies; e = e->Flink) {
		PKSHM_BODY other = CONTAINING_RECORD(e, KSHM_BODY, DeviceLink);

		if (other->Ended || !KshmSameUser(&other->User, &Body->User))
			continue;
		bytes += other->Charged;
		shares++;
	}
	if (bytes > KshmMaxUserBytes(device->Driver) ||
	    shares > KshmMaxUserShares(device->Driver))
		return STATUS_QUOTA_EXCEEDED;
	return STATUS_SUCCESS;
}

/* Lock held. */
static NTSTATUS KshmFileHasRoom(PKSHM_BODY Body)
{
	PKSHM_FILE file = Body->File;
	ULONG shares = 1;
	PLIST_ENTRY e;

	for (e = file->Bodies.Flink; e != &file->Bodies; e = e->Flink) {
		PKSHM_BODY other = CONTAINING_RECORD(e, KSHM_BODY, FileLink);

		if (other->Ended)
			continue;
		if (other->Share.Cookie == Body->Share.Cookie)
			return STATUS_OBJECT_NAME_COLLISION;
		shares++;
	}
	if (shares > KshmMaxOpenShares(Body->Device->Driver))
		return STATUS_QUOTA_EXCEEDED;
	return STATUS_SUCCESS;
}

/* Enters the body into the lists, where it counts; the file's list holds a reference. */
NTSTATUS KshmReserve(PKSHM_BODY Body)
{
	PKSHM_DEVICE device = Body->Device;
	NTSTATUS status = STATUS_SUCCESS;
	KIRQL irql;

	KeAcquireSpinLock(&device->Lock, &irql);
	if (device->Stopping)
		status = STATUS_DELETE_PENDING;
	else if (Body->File->Closed)
		status = STATUS_FILE_CLOSED;
	if (NT_SUCCESS(status))
		status = KshmFileHasRoom(Body);
	if (NT_SUCCESS(status))
		status = KshmUserHasRoom(Body);
	if (NT_SUCCESS(status)) {
		Body->References++;
		InsertTailList(&Body->File->Bodies, &Body->FileLink);
		InsertTailList(&device->Bodies, &Body->DeviceLink);
	}
	KeReleaseSpinLock(&device->Lock, irql);
	return status;
}
