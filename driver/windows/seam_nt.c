// SPDX-License-Identifier: MIT
/*
 * seam_nt.c - the shared memory is the request's own: locked by the I/O manager before the kit
 * sees it, unmapped and unlocked by it at the completion.
 */
#include "kit.h"

const ULONG KshmSeamTail = 0;

NTSTATUS KshmMap(PKSHM_BODY Body, const struct kshm_share_args *Args)
{
	PMDL mdl = Body->Irp->MdlAddress;
	ULONG priority = NormalPagePriority | MdlMappingNoExecute;
	ULONG64 start = KshmNanoseconds();

	if (MmGetMdlByteOffset(mdl) != 0)
		return STATUS_MAPPED_ALIGNMENT;
	if ((ULONG_PTR)MmGetMdlVirtualAddress(mdl) != Args->address ||
	    MmGetMdlByteCount(mdl) != Args->length)
		return STATUS_INVALID_PARAMETER;
	if (!(Args->access & KSHM_ACCESS_WRITE))
		priority |= MdlMappingNoWrite;
	Body->Share.Base = MmGetSystemAddressForMdlSafe(mdl, priority);
	if (Body->Share.Base == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	Body->MapTime = KshmNanoseconds() - start;
	return STATUS_SUCCESS;
}

VOID KshmUnmap(PKSHM_BODY Body)
{
	UNREFERENCED_PARAMETER(Body);
}

BOOLEAN KshmCallerEnding(VOID)
{
	return PsIsThreadTerminating(KSHM_THIS_THREAD);
}

/* In the caller's process: the handle means nothing in any other. */
NTSTATUS KshmReferenceEvent(PKSHM_BODY Body, const struct kshm_share_args *Args)
{
	if (Args->event == 0)
		return STATUS_SUCCESS;
	return ObReferenceObjectByHandle((HANDLE)(ULONG_PTR)Args->event, EVENT_MODIFY_STATE,
					 KSHM_EVENT_TYPE, UserMode, (PVOID *)&Body->Event,
					 NULL);
}
