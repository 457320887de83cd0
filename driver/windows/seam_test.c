// SPDX-License-Identifier: MIT
/*
 * seam_test.c - NOT FOR USE. For systems that hand a driver a copy of the caller's memory and
 * cannot resolve the caller's handles, such as Wine: the program names a section and an event,
 * and the driver maps and opens those. Any caller could name any section. And for systems that
 * cancel requests which have completed, such as Wine.
 */
#include "kit.h"
#include "seam_test.h"

const ULONG KshmSeamTail = sizeof(struct kshm_test_tail);

static const struct kshm_test_tail *KshmTail(PKSHM_BODY Body,
					     const struct kshm_share_args *Args)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Body->Irp);
	ULONG length = stack->Parameters.DeviceIoControl.InputBufferLength;

	if (length - Args->size != sizeof(struct kshm_test_tail))
		return NULL;
	return (const struct kshm_test_tail *)((const UCHAR *)Args + Args->size);
}

static VOID KshmTestName(PUNICODE_STRING Name, POBJECT_ATTRIBUTES Attributes,
			 const unsigned short *Text)
{
	ULONG n = 0;

	while (n < KSHM_TEST_NAME - 1 && Text[n] != 0)
		n++;
	Name->Buffer = (PWCHAR)Text;
	Name->Length = (USHORT)(n * sizeof(WCHAR));
	Name->MaximumLength = Name->Length;
	InitializeObjectAttributes(Attributes, Name, OBJ_KERNEL_HANDLE, NULL, NULL);
}

static NTSTATUS KshmMapSection(PKSHM_BODY Body, const struct kshm_test_tail *Tail)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	HANDLE section;
	SIZE_T size = 0;
	NTSTATUS status;

	KshmTestName(&name, &attributes, Tail->section);
	status = ZwOpenSection(&section, SECTION_MAP_READ | SECTION_MAP_WRITE, &attributes);
	if (!NT_SUCCESS(status))
		return status;
	status = ZwMapViewOfSection(section, ZwCurrentProcess(), &Body->Seam, 0, 0, NULL, &size,
				    ViewUnmap, 0, PAGE_READWRITE);
	ZwClose(section);
	if (!NT_SUCCESS(status))
		return status;
	if (Tail->offset > size || size - Tail->offset < Body->Share.Length)
		return STATUS_INVALID_VIEW_SIZE; /* KshmUnmap follows */
	Body->Share.Base = (PUCHAR)Body->Seam + Tail->offset;
	return STATUS_SUCCESS;
}

NTSTATUS KshmMap(PKSHM_BODY Body, const struct kshm_share_args *Args)
{
	const struct kshm_test_tail *tail = KshmTail(Body, Args);
	ULONG priority = NormalPagePriority | MdlMappingNoExecute;

	if (tail != NULL && tail->section[0] != 0)
		return KshmMapSection(Body, tail);
	Body->Share.Base = MmGetSystemAddressForMdlSafe(Body->Irp->MdlAddress, priority);
	return Body->Share.Base != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

/* The system will write its copy of the memory back, over the section: make them equal. */
VOID KshmUnmap(PKSHM_BODY Body)
{
	PVOID copy;

	if (Body->Seam == NULL)
		return;
	copy = MmGetSystemAddressForMdlSafe(Body->Irp->MdlAddress, NormalPagePriority);
	if (copy != NULL && Body->Share.Base != NULL &&
	    (Body->Share.Access & KSHM_ACCESS_WRITE))
		RtlCopyMemory(copy, Body->Share.Base, Body->Share.Length);
	ZwUnmapViewOfSection(ZwCurrentProcess(), Body->Seam);
	Body->Seam = NULL;
}

NTSTATUS KshmReferenceEvent(PKSHM_BODY Body, const struct kshm_share_args *Args)
{
	const struct kshm_test_tail *tail = KshmTail(Body, Args);
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	HANDLE event;
	NTSTATUS status;

	if (tail == NULL || tail->event[0] == 0)
		return STATUS_SUCCESS;
	KshmTestName(&name, &attributes, tail->event);
	status = ZwOpenEvent(&event, EVENT_MODIFY_STATE, &attributes);
	if (!NT_SUCCESS(status))
		return status;
	status = ObReferenceObjectByHandle(event, EVENT_MODIFY_STATE, KSHM_EVENT_TYPE,
					   KernelMode, (PVOID *)&Body->Event, NULL);
	ZwClose(event);
	return status;
}

/* Wine has no word for it. */
BOOLEAN KshmCallerEnding(VOID)
{
	return FALSE;
}

/*
 * Wine orders a cancellation by the address of the request. A request that completes before
 * the order arrives is freed, and the order takes whatever request lies there by then, be it
 * another program's. So a request that has completed stays where it is, without a cancel
 * routine, until KSHM_KEPT more have. Wine hands out orders and requests in their order, one
 * after the other: by then it has handed out whatever was on its way, as long as fewer
 * requests than that are on their way at once.
 */
#define KSHM_KEPT 1024

typedef VOID(FASTCALL *KSHM_COMPLETE)(PIRP Irp, CCHAR Boost);

/* By the linker's --wrap the kit calls the first instead of the import, which is the second. */
extern const KSHM_COMPLETE __wrap___imp_IofCompleteRequest;
extern const KSHM_COMPLETE __real___imp_IofCompleteRequest;

static PVOID volatile KshmKept[KSHM_KEPT];
static volatile LONG KshmKeeps;

/* In place of Wine's own completion routine, which it has at its only driver's location. */
static NTSTATUS NTAPI KshmKeep(PDEVICE_OBJECT Device, PIRP Irp, PVOID Routine)
{
	PVOID context = Irp->Tail.Overlay.DriverContext[2];
	NTSTATUS status = ((PIO_COMPLETION_ROUTINE)Routine)(Device, Irp, context);
	ULONG slot;
	PIRP oldest;

	if (status == STATUS_MORE_PROCESSING_REQUIRED)
		return status; /* nobody has been told its address yet; the caller frees it */
	slot = (ULONG)InterlockedIncrement(&KshmKeeps) % KSHM_KEPT;
	oldest = InterlockedExchangePointer(&KshmKept[slot], Irp);
	if (oldest != NULL)
		__real___imp_IofCompleteRequest(oldest, IO_NO_INCREMENT); /* frees it */
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static VOID FASTCALL KshmTestComplete(PIRP Irp, CCHAR Boost)
{
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);

	if (stack->CompletionRoutine != NULL) {
		Irp->Tail.Overlay.DriverContext[2] = stack->Context; /* the kit uses 0 and 1 */
		stack->Context = (PVOID)stack->CompletionRoutine;
		stack->CompletionRoutine = KshmKeep;
	}
	__real___imp_IofCompleteRequest(Irp, Boost);
}

const KSHM_COMPLETE __wrap___imp_IofCompleteRequest = KshmTestComplete;
