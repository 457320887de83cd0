// SPDX-License-Identifier: MIT
/*
 * nt_ob.c - pool, objects and handles, processes, the registry, and what must not leak.
 */
#define _GNU_SOURCE
#include "nt.h"
#include "../../../windows/kshm_nt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Atomic long nt_pool, nt_kernel_handles, nt_references, nt_items, nt_locked, nt_irps;
_Atomic long nt_fail_in;
struct nt_proc nt_system = {.pid = (HANDLE)4, .user = 18, .load_driver = NT_ENABLED};

bool nt_fails(const char *where)
{
	(void)where;
	return nt_fail_in > 0 && --nt_fail_in == 0;
}

void nt_check_leaks(const char *when)
{
	if (nt_pool || nt_kernel_handles || nt_references || nt_items || nt_irps)
		nt_bug("leak",
		       "%s: %ld pool blocks, %ld handles, %ld references, %ld work items, "
		       "%ld requests",
		       when, nt_pool, nt_kernel_handles, nt_references, nt_items, nt_irps);
	if (nt_locked)
		nt_bug("locked pages", "%s: %ld", when, nt_locked);
}

/* Pool: what it holds at first is rubbish, and so is what it leaves behind. */
struct block {
	SIZE_T size;
	ULONG tag;
};

PVOID ExAllocatePoolWithTag(int pool, SIZE_T size, ULONG tag)
{
	struct block *b;

	nt_require(DISPATCH_LEVEL, __func__);
	if (pool != NonPagedPoolNx)
		nt_bug("pool", "executable or paged");
	if (nt_fails(__func__))
		return NULL;
	b = malloc(sizeof(*b) + size);
	*b = (struct block){size, tag};
	memset(b + 1, 0xa5, size);
	nt_pool++;
	return b + 1;
}

void ExFreePoolWithTag(PVOID p, ULONG tag)
{
	struct block *b = (struct block *)p - 1;

	nt_require(DISPATCH_LEVEL, __func__);
	if (b->tag != tag)
		nt_bug("pool", "freed with another tag");
	memset(p, 0xdd, b->size);
	nt_pool--;
	free(b);
}

void RtlInitUnicodeString(PUNICODE_STRING s, PCWSTR text)
{
	USHORT n = 0;

	while (text[n])
		n++;
	*s = (UNICODE_STRING){n * 2, n * 2 + 2, (PWCHAR)text};
}

/* Objects: events, and something else to refuse. */
struct nt_type {
	const char *name;
};
static struct nt_type event_type = {"Event"}, other_type = {"Other"};
static POBJECT_TYPE event_type_pointer = &event_type;
POBJECT_TYPE *ExEventObjectType = &event_type_pointer;

struct nt_object {
	KEVENT event; /* first: an object is its event */
	POBJECT_TYPE type;
	_Atomic int references;
};

static struct nt_object *new_object(POBJECT_TYPE type)
{
	struct nt_object *o = calloc(1, sizeof(*o));

	KeInitializeEvent(&o->event, SynchronizationEvent, FALSE);
	o->type = type;
	o->references = 1;
	return o;
}

static void release_object(struct nt_object *o)
{
	if (--o->references == 0)
		free(o);
}

static HANDLE insert_handle(struct nt_proc *proc, struct nt_object *o, ACCESS_MASK access)
{
	size_t i;

	for (i = 0; i < 8; i++)
		if (!proc->handles[i].object) {
			proc->handles[i].object = o;
			proc->handles[i].access = access;
			return (HANDLE)(4 * (i + 1));
		}
	nt_bug("test", "no free handle");
}

HANDLE nt_event_handle(struct nt_proc *proc, ACCESS_MASK access)
{
	return insert_handle(proc, new_object(&event_type), access);
}

HANDLE nt_other_handle(struct nt_proc *proc)
{
	return insert_handle(proc, new_object(&other_type), ~0u);
}

PKEVENT nt_event_of(struct nt_proc *proc, HANDLE handle)
{
	return &proc->handles[(uintptr_t)handle / 4 - 1].object->event;
}

/* What another handle of the event would keep alive. */
void nt_reference_event(PKEVENT event)
{
	((struct nt_object *)event)->references++;
}

void nt_release_event(PKEVENT event)
{
	release_object((struct nt_object *)event);
}

void nt_close_handle(struct nt_proc *proc, HANDLE handle)
{
	size_t i = (uintptr_t)handle / 4 - 1;

	release_object(proc->handles[i].object);
	proc->handles[i].object = NULL;
}

NTSTATUS ObReferenceObjectByHandle(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type,
				   KPROCESSOR_MODE mode, PVOID *object, PVOID information)
{
	size_t i = (uintptr_t)handle / 4 - 1;
	struct nt_object *o;

	(void)information;
	nt_require(PASSIVE_LEVEL, __func__);
	if (mode != UserMode)
		nt_bug("handle", "a program's handle used with the kernel's rights");
	if (type != &event_type)
		nt_bug("handle", "referenced without a type");
	if (nt_fails(__func__))
		return STATUS_INSUFFICIENT_RESOURCES;
	if (handle == (HANDLE)-1 || handle == (HANDLE)-2)
		return STATUS_OBJECT_TYPE_MISMATCH; /* the process or thread itself */
	if ((uintptr_t)handle % 4 || i >= 8 || !nt_me->proc->handles[i].object)
		return STATUS_INVALID_HANDLE;
	o = nt_me->proc->handles[i].object;
	if (o->type != type)
		return STATUS_OBJECT_TYPE_MISMATCH;
	if ((nt_me->proc->handles[i].access & access) != access)
		return STATUS_ACCESS_DENIED;
	o->references++;
	nt_references++;
	*object = o;
	return STATUS_SUCCESS;
}

void ObDereferenceObject(PVOID object)
{
	nt_require(DISPATCH_LEVEL, __func__);
	nt_references--;
	release_object(object);
}

/* Kernel handles: what they stand for does not matter, that they are closed does. */
#define KERNEL_HANDLE ((HANDLE)0xffffffff80000004)
#define EVENT_HANDLE ((HANDLE)0xffffffff80000008)
static struct nt_object *named_event;

static NTSTATUS kernel_handle(PHANDLE handle, const char *where)
{
	nt_require(PASSIVE_LEVEL, where);
	if (nt_fails(where))
		return STATUS_INSUFFICIENT_RESOURCES;
	nt_kernel_handles++;
	*handle = KERNEL_HANDLE;
	return STATUS_SUCCESS;
}

NTSTATUS ZwClose(HANDLE handle)
{
	nt_require(PASSIVE_LEVEL, __func__);
	if (handle == EVENT_HANDLE)
		release_object(named_event);
	else if (handle != KERNEL_HANDLE)
		nt_bug("handle", "ZwClose of %p", handle);
	nt_kernel_handles--;
	return STATUS_SUCCESS;
}

PKEVENT IoCreateSynchronizationEvent(PUNICODE_STRING name, PHANDLE handle)
{
	(void)name;
	nt_require(PASSIVE_LEVEL, __func__);
	if (nt_fails(__func__))
		return NULL;
	named_event = new_object(&event_type);
	nt_kernel_handles++;
	*handle = EVENT_HANDLE;
	return &named_event->event;
}

PKEVENT nt_named_event(void)
{
	return &named_event->event;
}

/* Processes. */
static CREATE_PROCESS_NOTIFY *notify;

HANDLE PsGetCurrentProcessId(void)
{
	return nt_me->proc->pid;
}

PETHREAD PsGetCurrentThread(void)
{
	return nt_me;
}

BOOLEAN PsIsThreadTerminating(PETHREAD thread)
{
	return thread->killed;
}

NTSTATUS PsSetCreateProcessNotifyRoutine(CREATE_PROCESS_NOTIFY *routine, BOOLEAN remove)
{
	nt_require(PASSIVE_LEVEL, __func__);
	if (!remove && nt_fails(__func__))
		return STATUS_INVALID_PARAMETER;
	nt_references += remove ? -1 : 1;
	notify = remove ? NULL : routine;
	return STATUS_SUCCESS;
}

/* The last thread of a program ends; its handles are closed afterwards, by the caller. */
void nt_process_exit(struct nt_proc *proc)
{
	if (notify)
		notify((HANDLE)4, proc->pid, FALSE);
	if (proc->locked)
		nt_bug("locked pages", "%d of a process that is gone", proc->locked);
}

BOOLEAN IoIs32bitProcess(PIRP irp)
{
	(void)irp;
	return nt_me->proc->wow64;
}

/* Security. */
UCHAR nt_descriptor[256];
ULONG nt_descriptor_length;
ULONG nt_registry_kind; /* 0: no key, 1: no value, 2: a descriptor, 3: a broken one */

BOOLEAN SeSinglePrivilegeCheck(LUID privilege, KPROCESSOR_MODE mode)
{
	nt_require(PASSIVE_LEVEL, __func__);
	return privilege.LowPart == SE_LOAD_DRIVER_PRIVILEGE && mode == UserMode &&
	       nt_me->proc->load_driver == NT_ENABLED;
}

NTSTATUS ZwOpenProcessTokenEx(HANDLE process, ACCESS_MASK access, ULONG attributes,
			      PHANDLE token)
{
	if (process != ZwCurrentProcess() || access != 8 || attributes != OBJ_KERNEL_HANDLE)
		nt_bug("token", "opened in another way than meant");
	return kernel_handle(token, __func__);
}

NTSTATUS ZwQueryInformationToken(HANDLE token, ULONG class, PVOID information, ULONG length,
				 PULONG needed)
{
	UCHAR *bytes = information;

	(void)token;
	nt_require(PASSIVE_LEVEL, __func__);
	if (nt_fails(__func__))
		return STATUS_INSUFFICIENT_RESOURCES;
	if (class != 1 || length < 32)
		nt_bug("token", "queried in another way than meant");
	*(PVOID *)bytes = bytes + 16;
	bytes[16] = 1;
	bytes[24] = (UCHAR)nt_me->proc->user;
	*needed = 28;
	return STATUS_SUCCESS;
}

NTSTATUS ObOpenObjectByPointer(PVOID object, ULONG attributes, PACCESS_STATE state,
			       ACCESS_MASK access, POBJECT_TYPE type, KPROCESSOR_MODE mode,
			       PHANDLE handle)
{
	(void)object;
	(void)state;
	(void)type;
	if (attributes != OBJ_KERNEL_HANDLE || access != WRITE_DAC || mode != KernelMode)
		nt_bug("handle", "device opened in another way than meant");
	return kernel_handle(handle, __func__);
}

NTSTATUS ZwSetSecurityObject(HANDLE handle, SECURITY_INFORMATION what, PSECURITY_DESCRIPTOR sd)
{
	const UCHAR *bytes = sd;

	(void)handle;
	nt_require(PASSIVE_LEVEL, __func__);
	if (what != DACL_SECURITY_INFORMATION)
		nt_bug("security", "more than a DACL");
	if (nt_fails(__func__))
		return STATUS_ACCESS_DENIED;
	nt_descriptor_length = bytes[16] + (bytes[bytes[16] + 2] | bytes[bytes[16] + 3] << 8);
	memcpy(nt_descriptor, sd, nt_descriptor_length);
	return STATUS_SUCCESS;
}

BOOLEAN RtlValidRelativeSecurityDescriptor(PVOID sd, ULONG length, SECURITY_INFORMATION what)
{
	return what == DACL_SECURITY_INFORMATION && length >= 20 && *(UCHAR *)sd == 1;
}

NTSTATUS ZwOpenKey(PHANDLE key, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes)
{
	(void)access;
	(void)attributes;
	if (nt_registry_kind == 0)
		return STATUS_OBJECT_NAME_NOT_FOUND;
	return kernel_handle(key, __func__);
}

NTSTATUS ZwQueryValueKey(HANDLE key, PUNICODE_STRING name, int class, PVOID information,
			 ULONG length, PULONG needed)
{
	static const UCHAR acl[28] = {1, 0, 4, 0x90, [16] = 20, [20] = 2, 0, 8};
	PKEY_VALUE_PARTIAL_INFORMATION value = information;

	(void)key;
	(void)name;
	(void)class;
	(void)length;
	nt_require(PASSIVE_LEVEL, __func__);
	if (nt_fails(__func__))
		return STATUS_INSUFFICIENT_RESOURCES;
	if (nt_registry_kind == 1)
		return STATUS_OBJECT_NAME_NOT_FOUND;
	value->Type = REG_BINARY;
	value->DataLength = sizeof(acl);
	memcpy(value->Data, acl, sizeof(acl));
	value->Data[0] = nt_registry_kind == 2;
	*needed = sizeof(*value) + sizeof(acl);
	return STATUS_SUCCESS;
}
