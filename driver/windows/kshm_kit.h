// SPDX-License-Identifier: MIT
/*
 * kshm_kit.h - what a driver that shares memory through kshm includes.
 *
 * Fill a KSHM_DRIVER, call KshmLoad from DriverEntry, and link the kit's C files into the
 * driver. The kit does the device, its security, the pended request, mapping, accounting,
 * cancellation, the death of either side, events and statistics. One kit device per driver.
 */
#ifndef KSHM_KIT_H
#define KSHM_KIT_H

#include "kshm_nt.h"
#include "../include/kshm.h"
#include "../include/kshm_ring.h"

/*
 * The driver's side of a ring, in kernel memory. kshm_ring.h says how to use it and who may:
 * one context at a time, so a producer in interrupts is one of one interrupt alone.
 */
typedef struct _KSHM_RING {
	union {
		struct kshm_producer Producer; /* with KSHM_RING_TO_USER */
		struct kshm_consumer Consumer; /* with KSHM_RING_TO_KERNEL */
	};
	ULONG Flags; /* KSHM_RING_* */
	ULONG Group; /* entry of the program's table that it comes from */
	ULONG Index; /* in that group */
} KSHM_RING, *PKSHM_RING;

/*
 * A share. It exists from the call of Share until Stop has returned and every KshmEnter has
 * met its KshmExit; a driver keeps no pointer to it, and none into its memory, beyond that.
 */
typedef struct _KSHM_SHARE {
	kshm_u64 Cookie;  /* the program's own name for the share */
	PVOID Base;       /* the shared bytes in system space; no-execute */
	SIZE_T Length;    /* bytes, 1 and up */
	ULONG Access;     /* KSHM_ACCESS_*; without WRITE, a store through Base is a bugcheck */
	PVOID Priv;       /* PrivSize bytes of the driver's own, zeroed */
	PKSHM_RING Rings; /* in the order of the program's table */
	ULONG RingCount;  /* 0: the program asked for none */
} KSHM_SHARE, *PKSHM_SHARE;

/*
 * The registry key of a device class. A self-relative security descriptor in its value
 * Security takes the place of the built-in one: full access for SYSTEM and Administrators.
 */
#define KSHM_CLASS(guid)                                                                       \
	L"\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Class"                      \
	L"\\" guid L"\\Properties"

typedef struct _KSHM_DRIVER {
	PCWSTR Name;          /* L"digest": \Device\kshm_digest, \\.\kshm_digest; < 32 chars */
	ULONG Version;        /* the driver's own number, shown by INFO */
	PCWSTR Class;         /* KSHM_CLASS(L"{guid}") of its own, or NULL */
	PCWSTR EventName;     /* set by every KshmNotify: L"\\BaseNamedObjects\\X"; or NULL */
	ULONG PrivSize;       /* bytes of Priv */
	ULONG64 MinLength;    /* bytes per share; 0: 1 */
	ULONG64 MaxLength;    /* bytes per share; 0: 1 GiB */
	ULONG64 MaxUserBytes; /* locked bytes per user; 0: 1 GiB */
	ULONG MaxOpenShares;  /* live shares per open; 0: 16 */
	ULONG MaxUserShares;  /* live shares per user; 0: 64 */
	ULONG MaxRings;       /* per share; 0: the driver knows no rings */

	/*
	 * All optional, all at PASSIVE_LEVEL without a lock of the kit held. Share, Kick and
	 * Control run in the caller's process, Work and Stop in any. A status that is no
	 * success is an error (0xC...); a warning or STATUS_PENDING becomes
	 * STATUS_INTERNAL_ERROR.
	 */

	/*
	 * A new share. A failure refuses it: Stop will not be called, so the driver has undone
	 * its own half-done work, asked for no Work and left no bracket open.
	 */
	NTSTATUS (*Share)(PKSHM_SHARE Share);
	/*
	 * The program has something to do. Runs concurrently with itself, and must be short.
	 * Without it, a kick asks for Work.
	 */
	NTSTATUS (*Kick)(PKSHM_SHARE Share);
	/* Asked for with KshmQueue. One at a time per share; a long one watches KshmEnding. */
	VOID (*Work)(PKSHM_SHARE Share);
	/*
	 * The share ends: once, after the last Kick and Work. When it returns, the driver has
	 * no timer, DPC, interrupt or thread left that would call KshmEnter, or KshmNotify
	 * outside of a bracket.
	 */
	VOID (*Stop)(PKSHM_SHARE Share, enum kshm_reason Reason);
	/*
	 * A METHOD_BUFFERED code of the driver's own. Input and output are the same Buffer;
	 * *OutLength is its room on entry and the bytes written to it on return. What is
	 * beyond the input is zero.
	 */
	NTSTATUS (*Control)(ULONG Code, PVOID Buffer, ULONG InLength, PULONG OutLength);
	/* The image is about to go; no share exists. */
	VOID (*Unload)(VOID);
} KSHM_DRIVER, *PKSHM_DRIVER;

/*
 * From DriverEntry, as the last thing that can fail: programs may come from then on. Driver
 * must live as long as the image. On failure nothing is left.
 */
_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS KshmLoad(PDRIVER_OBJECT DriverObject, const KSHM_DRIVER *Driver);

/*
 * Brackets a use of the memory outside the callbacks. KshmEnter fails once the share has begun
 * to end; the end waits for every bracket. IRQL <= DISPATCH_LEVEL.
 */
_IRQL_requires_max_(DISPATCH_LEVEL)
BOOLEAN KshmEnter(PKSHM_SHARE Share);
_IRQL_requires_max_(DISPATCH_LEVEL)
VOID KshmExit(PKSHM_SHARE Share);

/* The end has begun: Kick and Work should return soon. Any IRQL. */
BOOLEAN KshmEnding(PKSHM_SHARE Share);

/*
 * The calling thread is being killed, and its program waits for it: a Control that takes long
 * should return soon. In the caller's thread; PASSIVE_LEVEL.
 */
_IRQL_requires_(PASSIVE_LEVEL)
BOOLEAN KshmCallerEnding(VOID);

/* Raises an event for the program. Any IRQL; above DISPATCH_LEVEL a DPC does the waking. */
VOID KshmNotify(PKSHM_SHARE Share);

/* Asks for a call of Work; several may be merged into one. IRQL <= DISPATCH_LEVEL. */
_IRQL_requires_max_(DISPATCH_LEVEL)
VOID KshmQueue(PKSHM_SHARE Share);

/* Ends the share, later. IRQL <= DISPATCH_LEVEL, from a callback or inside a bracket. */
_IRQL_requires_max_(DISPATCH_LEVEL)
VOID KshmRevoke(PKSHM_SHARE Share);

/* The same because the shared word at Offset is broken; Why is shown by STATS. */
_IRQL_requires_max_(DISPATCH_LEVEL)
VOID KshmCorrupt(PKSHM_SHARE Share, ULONG64 Offset, ULONG Why);

/* A clock that never steps back, for the times in records and statistics. Any IRQL. */
ULONG64 KshmNanoseconds(VOID);

/*
 * Ends all shares, refuses new ones from now on, and returns when none is left: for the
 * removal of a PnP device, and behind the STOP code. PASSIVE_LEVEL, not from a callback.
 */
_IRQL_requires_(PASSIVE_LEVEL)
VOID KshmRevokeAll(VOID);

/*
 * TRUE while the ring is good. Else ends the share with what was wrong, an enum kshm_corrupt.
 * To be asked after a call that got no record or no space. IRQL <= DISPATCH_LEVEL.
 */
static inline BOOLEAN KshmRingGood(PKSHM_SHARE Share, const struct kshm_ring *Ring)
{
	if (Ring->corrupt_why == 0)
		return TRUE;
	KshmCorrupt(Share, Ring->corrupt_offset, Ring->corrupt_why);
	return FALSE;
}

#endif /* KSHM_KIT_H */
