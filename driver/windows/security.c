// SPDX-License-Identifier: MIT
/*
 * security.c - who may open the device, who is charged, who may stop it.
 */
#include "kit.h"

#define TOKEN_USER_CLASS 1          /* TokenUser */
#define TOKEN_MAY_QUERY 8           /* TOKEN_QUERY */
#define FULL 0xff, 0x01, 0x1f, 0x00 /* FILE_ALL_ACCESS */

/* D:P(A;;FA;;;SY)(A;;FA;;;BA), self-relative. */
static const UCHAR KshmDescriptor[] = {
	1,    0, 0x04, 0x90, /* revision; self-relative, a DACL, protected */
	0,    0, 0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 20, 0,  0, 0, /* no owner, group, SACL;
									 the DACL */
	2,    0, 52,   0,    2,    0, 0, 0, /* ACL: revision, size, two entries */
	0,    0, 20,   0,    FULL, 1, 1, 0, 0, 0, 0, 0, 5,  18, 0, 0, 0, /* S-1-5-18 */
	0,    0, 24,   0,    FULL, 1, 2, 0, 0, 0, 0, 0, 5,  32, 0, 0, 0,
	0x20, 2, 0,    0, /* S-1-5-32-544 */
};
_Static_assert(sizeof(KshmDescriptor) == 72, "the descriptor is whole");

KSHM_INIT static NTSTATUS KshmSetDescriptor(PDEVICE_OBJECT Device, const VOID *Descriptor)
{
	NTSTATUS status;
	HANDLE handle;

	status = ObOpenObjectByPointer(Device, OBJ_KERNEL_HANDLE, NULL, WRITE_DAC, NULL,
				       KernelMode, &handle);
	if (!NT_SUCCESS(status))
		return status;
	status = ZwSetSecurityObject(handle, DACL_SECURITY_INFORMATION, (PVOID)Descriptor);
	ZwClose(handle);
	return status;
}

/* The administrator's descriptor, from the key of the device class. NULL: none there. */
KSHM_INIT static NTSTATUS KshmReadDescriptor(PCWSTR Class, PVOID *Buffer, PVOID *Descriptor)
{
	ULONG size = 0x1000;
	PKEY_VALUE_PARTIAL_INFORMATION value;
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	NTSTATUS status;
	HANDLE key;

	RtlInitUnicodeString(&name, Class);
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
				   NULL, NULL);
	status = ZwOpenKey(&key, KEY_READ, &attributes);
	if (!NT_SUCCESS(status))
		return status == STATUS_OBJECT_NAME_NOT_FOUND ? STATUS_SUCCESS : status;
	status = STATUS_INSUFFICIENT_RESOURCES;
	value = *Buffer = ExAllocatePoolWithTag(NonPagedPoolNx, size, KSHM_TAG);
	if (value != NULL) {
		RtlInitUnicodeString(&name, L"Security");
		status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, value, size,
					 &size);
		if (status == STATUS_OBJECT_NAME_NOT_FOUND)
			status = STATUS_SUCCESS;
		else if (NT_SUCCESS(status) && value->Type == REG_BINARY &&
			 RtlValidRelativeSecurityDescriptor(value->Data, value->DataLength,
							    DACL_SECURITY_INFORMATION))
			*Descriptor = value->Data;
		else if (NT_SUCCESS(status))
			status = STATUS_INVALID_SECURITY_DESCR;
	}
	ZwClose(key);
	return status;
}

/* The device cannot be opened before DriverEntry has returned, so there is no gap. */
KSHM_INIT NTSTATUS KshmSecure(PKSHM_DEVICE Device)
{
	PVOID buffer = NULL, descriptor = NULL;
	NTSTATUS status = STATUS_SUCCESS;

	if (Device->Driver->Class != NULL)
		status = KshmReadDescriptor(Device->Driver->Class, &buffer, &descriptor);
	if (NT_SUCCESS(status))
		status = KshmSetDescriptor(Device->Object,
					   descriptor != NULL ? descriptor : KshmDescriptor);
	if (buffer != NULL)
		ExFreePoolWithTag(buffer, KSHM_TAG);
	return status;
}

/* The user of the calling process. */
NTSTATUS KshmCaller(PKSHM_USER User)
{
	NTSTATUS status;
	HANDLE token;
	ULONG needed;

	status = ZwOpenProcessTokenEx(ZwCurrentProcess(), TOKEN_MAY_QUERY, OBJ_KERNEL_HANDLE,
				      &token);
	if (!NT_SUCCESS(status))
		return status;
	RtlZeroMemory(User, sizeof(*User));
	status = ZwQueryInformationToken(token, TOKEN_USER_CLASS, User, sizeof(*User), &needed);
	ZwClose(token);
	return status;
}

/* Any IRQL, unlike RtlEqualSid. */
BOOLEAN KshmSameUser(const KSHM_USER *A, const KSHM_USER *B)
{
	ULONG i;

	for (i = 0; i < sizeof(A->Bytes); i++)
		if (A->Bytes[i] != B->Bytes[i])
			return FALSE;
	return TRUE;
}

BOOLEAN KshmMayUnload(VOID)
{
	LUID privilege = {SE_LOAD_DRIVER_PRIVILEGE, 0};

	return SeSinglePrivilegeCheck(privilege, UserMode);
}
