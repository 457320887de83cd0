// SPDX-License-Identifier: MIT
/*
 * rundown.c - run-down protection that can be closed at DISPATCH_LEVEL.
 *
 * EX_RUNDOWN_REF closes only by waiting, at PASSIVE_LEVEL; here the end of a share is decided
 * at DISPATCH_LEVEL and must keep new users out from that moment.
 *
 * Drained is set exactly once, by whoever makes the word "closed, no users": the closer or the
 * last user. The waiter always waits for it, even if the word already says so; it frees the
 * memory afterwards, and the setter must not be in front of its KeSetEvent then.
 */
#include "kit.h"

#define CLOSED 1
#define USER 2

VOID KshmRundownInit(PKSHM_RUNDOWN Rundown)
{
	Rundown->Word = 0;
	KeInitializeEvent(&Rundown->Drained, NotificationEvent, FALSE);
}

BOOLEAN KshmRundownEnter(PKSHM_RUNDOWN Rundown)
{
	LONG word = InterlockedCompareExchange(&Rundown->Word, USER, 0);
	LONG seen;

	if (word == 0)
		return TRUE;
	for (; !(word & CLOSED); word = seen) {
		seen = InterlockedCompareExchange(&Rundown->Word, word + USER, word);
		if (seen == word)
			return TRUE;
	}
	return FALSE;
}

VOID KshmRundownExit(PKSHM_RUNDOWN Rundown)
{
	if (InterlockedExchangeAdd(&Rundown->Word, -USER) == (CLOSED | USER))
		KeSetEvent(&Rundown->Drained, IO_NO_INCREMENT, FALSE);
}

BOOLEAN KshmRundownClosed(PKSHM_RUNDOWN Rundown)
{
	return (InterlockedCompareExchange(&Rundown->Word, 0, 0) & CLOSED) != 0;
}

/* Called once. */
VOID KshmRundownClose(PKSHM_RUNDOWN Rundown)
{
	if (InterlockedExchangeAdd(&Rundown->Word, CLOSED) == 0)
		KeSetEvent(&Rundown->Drained, IO_NO_INCREMENT, FALSE);
}

/* Waits as long as it takes: giving up would free memory that is in use. */
VOID KshmPatientWait(PKEVENT Event, const char *For)
{
	LARGE_INTEGER timeout;
	ULONG waited = 0;

	PAGED_CODE();
	timeout.QuadPart = -10000000LL * KSHM_PATIENCE;
	while (KeWaitForSingleObject(Event, Executive, KernelMode, FALSE, &timeout) ==
	       STATUS_TIMEOUT) {
		waited += KSHM_PATIENCE;
		DbgPrint("kshm: waiting for %s for %u s\n", For, (unsigned int)waited);
	}
}
