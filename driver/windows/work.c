// SPDX-License-Identifier: MIT
/*
 * work.c - calls of the driver's Work, one at a time per share.
 */
#include "kit.h"

static VOID NTAPI KshmWorkRoutine(PDEVICE_OBJECT Object, PVOID Context)
{
	PKSHM_BODY body = Context;
	LONG served;

	UNREFERENCED_PARAMETER(Object);
	do {
		served = InterlockedCompareExchange(&body->WorkWanted, 0, 0);
		body->Device->Driver->Work(&body->Share);
	} while (InterlockedExchangeAdd(&body->WorkWanted, -served) != served);
	KshmRundownExit(&body->Calls);
	KshmRelease(body);
}

/* Who raises WorkWanted from 0 queues the item, and leaves it a place in Calls. */
VOID KshmQueue(PKSHM_SHARE Share)
{
	PKSHM_BODY body = KshmBody(Share);

	if (body->Device->Driver->Work == NULL || !KshmRundownEnter(&body->Calls))
		return;
	if (InterlockedIncrement(&body->WorkWanted) != 1) {
		KshmRundownExit(&body->Calls);
		return;
	}
	InterlockedIncrement(&body->References);
	IoQueueWorkItem(body->WorkItem, KshmWorkRoutine, DelayedWorkQueue, body);
}
