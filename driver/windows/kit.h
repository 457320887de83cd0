// SPDX-License-Identifier: MIT
/*
 * kit.h - inside the kit. Not for drivers.
 *
 * One spin lock, KSHM_DEVICE.Lock, guards every list, queue, Reason and flag below. It is a
 * leaf: nothing of the driver's and no cancel lock is taken while it is held.
 */
#ifndef KSHM_KIT_INTERNAL_H
#define KSHM_KIT_INTERNAL_H

#include "kshm_kit.h"

#define KSHM_TAG 0x6d68734b /* "Kshm" */
#define KSHM_REMEMBER 4     /* ended shares per open whose statistics can still be read */
#define KSHM_MAX_WAITS 64   /* pended WAITs per share: each event looks at all of them */
#define KSHM_PATIENCE 5     /* seconds until a wait for a driver is complained about */

/* rundown.c: counts users until it is closed, then tells when the last has left. */
typedef struct _KSHM_RUNDOWN {
	volatile LONG Word; /* bit 0: closed; above it: users */
	KEVENT Drained;
} KSHM_RUNDOWN, *PKSHM_RUNDOWN;

VOID KshmRundownInit(PKSHM_RUNDOWN Rundown);
BOOLEAN KshmRundownEnter(PKSHM_RUNDOWN Rundown);
VOID KshmRundownExit(PKSHM_RUNDOWN Rundown);
BOOLEAN KshmRundownClosed(PKSHM_RUNDOWN Rundown);
VOID KshmRundownClose(PKSHM_RUNDOWN Rundown);
VOID KshmPatientWait(PKEVENT Event, const char *For);

/* pending.c */
typedef struct _KSHM_PENDING {
	LIST_ENTRY Irps;
	PKSPIN_LOCK Lock;
	/* The request is off the queue and the caller's; DISPATCH_LEVEL or below. */
	VOID (*Cancelled)(PIRP Irp, PVOID Owner);
} KSHM_PENDING, *PKSHM_PENDING;

VOID KshmPendingInit(PKSHM_PENDING Queue, PKSPIN_LOCK Lock, VOID (*Cancelled)(PIRP, PVOID));
BOOLEAN KshmPendingInsert(PKSHM_PENDING Queue, PIRP Irp, PVOID Owner);
BOOLEAN KshmPendingRemove(PIRP Irp);

typedef struct _KSHM_DEVICE {
	PDEVICE_OBJECT Object;
	const KSHM_DRIVER *Driver;
	KSPIN_LOCK Lock;
	LIST_ENTRY Bodies;   /* every body from SHARE until its request has completed */
	KSHM_PENDING Pended; /* the live shares' requests */
	BOOLEAN Stopping;    /* no new shares */
	PKEVENT NamedEvent;
	HANDLE NamedEventHandle;
	UNICODE_STRING Link;
	WCHAR LinkBuffer[64];
} KSHM_DEVICE, *PKSHM_DEVICE;

typedef struct _KSHM_FILE {
	LIST_ENTRY Bodies; /* oldest first: the live ones, and the ended ones remembered */
	BOOLEAN Closed;    /* the last handle is closed: no new shares */
} KSHM_FILE, *PKSHM_FILE;

/* A user, as a token tells it: TOKEN_USER, and the SID it points to, zero beyond. */
typedef struct _KSHM_USER {
	PVOID Sid;
	ULONG64 Attributes;
	UCHAR Bytes[72];
} KSHM_USER, *PKSHM_USER;

/* A share as the kit sees it; the driver's Priv follows at KSHM_PRIV_OFFSET. */
typedef struct _KSHM_BODY {
	KSHM_SHARE Share;
	PKSHM_DEVICE Device;
	PKSHM_FILE File;       /* valid until the request has completed */
	PIRP Irp;              /* the pended request; likewise */
	LIST_ENTRY DeviceLink; /* in KSHM_DEVICE.Bodies */
	LIST_ENTRY FileLink;   /* in KSHM_FILE.Bodies */
	volatile LONG References;
	/*
	 * Ready: the request pends, commands find the share. Reason: KSHM_LIVE until somebody
	 * has decided the end. Ended: nothing is charged any more, the cookie is free again.
	 */
	BOOLEAN Ready;
	BOOLEAN Ended;
	enum kshm_reason Reason;
	HANDLE Process;
	KSHM_USER User;
	ULONG64 Charged;    /* bytes, whole pages */
	KSHM_RUNDOWN Calls; /* Kick and Work under way: drained before Stop */
	KSHM_RUNDOWN Users; /* the driver's brackets: drained after Stop */
	PIO_WORKITEM EndItem;
	PIO_WORKITEM WorkItem;
	volatile LONG WorkState; /* work.c */
	KEVENT Gone;             /* the request has completed */
	PKEVENT Event;
	KSHM_PENDING Waiters;
	KDPC Dpc;
	volatile LONG DpcUsed;
	volatile LONG64 Kicks, Events, Wakes;
	ULONG64 MapTime; /* nanoseconds */
	ULONG64 CorruptOffset;
	ULONG CorruptWhy;
	struct kshm_ring_counters Counted[2]; /* of the rings, once ended: they are gone */
	PVOID Seam;                           /* seam_*.c's own */
} KSHM_BODY, *PKSHM_BODY;

#define KSHM_PRIV_OFFSET ((sizeof(KSHM_BODY) + 15) & ~(SIZE_T)15)
#define KshmBody(share) CONTAINING_RECORD(share, KSHM_BODY, Share)

typedef BOOLEAN KSHM_MATCH(PKSHM_BODY Body, PVOID Key);

/* device.c */
extern PKSHM_DEVICE KshmTheDevice;
NTSTATUS KshmComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information);

/* security.c */
NTSTATUS KshmSecure(PKSHM_DEVICE Device);
NTSTATUS KshmCaller(PKSHM_USER User);
BOOLEAN KshmSameUser(const KSHM_USER *A, const KSHM_USER *B);
BOOLEAN KshmMayUnload(VOID);

/* control.c */
NTSTATUS KshmControl(PKSHM_DEVICE Device, PIRP Irp);
BOOLEAN KshmIsZero(const UCHAR *From, const UCHAR *To);
NTSTATUS KshmVerdict(NTSTATUS Status);
NTSTATUS KshmCommand(PIRP Irp, ULONG Size, ULONG Room, ULONG Tail, PVOID *Command);

/* limits.c */
ULONG64 KshmMinLength(const KSHM_DRIVER *Driver);
ULONG64 KshmMaxLength(const KSHM_DRIVER *Driver);
ULONG64 KshmMaxUserBytes(const KSHM_DRIVER *Driver);
ULONG KshmMaxOpenShares(const KSHM_DRIVER *Driver);
ULONG KshmMaxUserShares(const KSHM_DRIVER *Driver);
NTSTATUS KshmReserve(PKSHM_BODY Body);

/* share.c */
NTSTATUS KshmShare(PKSHM_DEVICE Device, PIRP Irp, ULONG Access);
PKSHM_BODY KshmFind(PKSHM_DEVICE Device, PKSHM_FILE File, kshm_u64 Cookie);
VOID KshmShed(PKSHM_BODY Body);
VOID KshmRelease(PKSHM_BODY Body);

/* ring.c */
NTSTATUS KshmCheckRings(const KSHM_DRIVER *Driver, const struct kshm_share_args *Args);
NTSTATUS KshmMakeRings(PKSHM_BODY Body, const struct kshm_share_args *Args);
VOID KshmRingStats(PKSHM_BODY Body, struct kshm_ring_counters Sum[2]);
VOID KshmFreeRings(PKSHM_BODY Body);

/* end.c */
VOID KshmDrain(PKSHM_BODY Body);
VOID KshmQueueEnd(PKSHM_BODY Body);
VOID KshmDecide(PKSHM_BODY Body, enum kshm_reason Reason);
VOID KshmEndLocked(PKSHM_BODY Body, enum kshm_reason Reason);
VOID KshmEnd(PKSHM_BODY Body, enum kshm_reason Reason);
VOID KshmEndAll(PKSHM_DEVICE Device, KSHM_MATCH *Match, PVOID Key, enum kshm_reason Reason);
VOID KshmWaitGone(PKSHM_BODY Body);
VOID KshmShareCancelled(PIRP Irp, PVOID Owner);
BOOLEAN KshmMatchFile(PKSHM_BODY Body, PVOID File);
BOOLEAN KshmMatchAny(PKSHM_BODY Body, PVOID Unused);
VOID NTAPI KshmProcessNotify(HANDLE Parent, HANDLE Process, BOOLEAN Create);

/* event.c */
NTSTATUS KshmWait(PKSHM_DEVICE Device, PIRP Irp);
VOID KshmWaiterCancelled(PIRP Irp, PVOID Owner);
VOID KshmEndWaits(PKSHM_BODY Body);
KDEFERRED_ROUTINE KshmNotifyDpc;

/*
 * The seam. seam_nt.c is the shipped one. seam_test.c maps a named section instead of the MDL,
 * for systems that hand the driver a copy of the memory, and is never shipped. KshmCallerEnding
 * of kshm_kit.h is of the seam as well.
 */
extern const ULONG KshmSeamTail; /* bytes that may follow the arguments of SHARE */
NTSTATUS KshmMap(PKSHM_BODY Body, const struct kshm_share_args *Args);
VOID KshmUnmap(PKSHM_BODY Body);
NTSTATUS KshmReferenceEvent(PKSHM_BODY Body, const struct kshm_share_args *Args);

#endif /* KSHM_KIT_INTERNAL_H */
