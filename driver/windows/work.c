// SPDX-License-Identifier: MIT
/*
 * work.c - calls of the driver's Work, one at a time per share.
 */
#include "kit.h"

/*
 * A state, not a count: however often Work is asked for, nothing wraps. Whoever takes it from
 * IDLE queues the item, and leaves it a place in Calls.
 */
enum { IDLE, CALLING, WANTED };

static VOID NTAPI KshmWorkRoutine(PDEVICE_OBJECT Object, PVOID Context)
{
	PKSHM_BODY body = Context;

	UNREFERENCED_PARAMETER(Object);
	do {
		InterlockedExchange(&body->WorkState, CALLING);
		body->Device->Driver->Work(&body->Share);
	} while (InterlockedCompareExchange(&body->WorkState, IDLE, CALLING) != CALLING);
	KshmRundownExit(&body->Calls);
	KshmRelease(body);
}

VOID KshmQueue(PKSHM_SHARE Share)
{
	PKSHM_BODY body = KshmBody(Share);

	if (body->Device->Driver->Work == NULL || !KshmRundownEnter(&body->Calls))
		return;
	if (InterlockedExchange(&body->WorkState, WANTED) != IDLE) {
		KshmRundownExit(&body->Calls);
		return;
	}
	InterlockedIncrement(&body->References);
	IoQueueWorkItem(body->WorkItem, KshmWorkRoutine, DelayedWorkQueue, body);
}
