// SPDX-License-Identifier: MIT
/*
 * driver.c - a driver of the kit that touches the memory wherever it may, and checks what the
 * kit promises: Stop once, after Kick and Work; the completion after the last bracket.
 */
#include "tests.h"
#include <stdlib.h>

struct drv_share {
	PKSHM_SHARE share;
	bool stopped; /* guarded by drv_lock: nobody enters any more */
	_Atomic int entered, kicks, works, stops;
};

static KSPIN_LOCK drv_lock;
NTSTATUS drv_share_status, drv_kick_status, drv_control_status;
bool drv_revoke_in_share;
void (*drv_in_work)(void);

/* A store into the shared memory, or a load where only that is allowed. */
static void touch(PKSHM_SHARE share)
{
	char *last = (char *)share->Base + share->Length - 1;

	if (share->Access & KSHM_ACCESS_WRITE)
		__atomic_add_fetch(last, 1, __ATOMIC_RELAXED);
	else
		__atomic_load_n(last, __ATOMIC_RELAXED);
	nt_point("touch");
}

/* A record goes into each ring that the driver produces into, and none comes from the others.
 */
static void check_rings(PKSHM_SHARE share)
{
	ULONG i, length;
	PKSHM_RING ring;

	for (i = 0; i < share->RingCount; i++) {
		ring = &share->Rings[i];
		if (!(ring->Flags & KSHM_RING_TO_USER)) {
			CHECK(!kshm_consumer_next(&ring->Consumer, &length));
			CHECK(KshmRingGood(share, &ring->Consumer.ring));
			continue;
		}
		CHECK(kshm_producer_reserve(&ring->Producer, 8) != NULL);
		kshm_producer_commit(&ring->Producer, 8);
		kshm_producer_flush(&ring->Producer);
		CHECK(KshmRingGood(share, &ring->Producer.ring));
	}
}

/* What the program wrote into the rings, when it kicks. */
static void read_rings(PKSHM_SHARE share)
{
	ULONG i, length;

	for (i = 0; i < share->RingCount; i++)
		if (!(share->Rings[i].Flags & KSHM_RING_TO_USER)) {
			kshm_consumer_next(&share->Rings[i].Consumer, &length);
			KshmRingGood(share, &share->Rings[i].Consumer.ring);
		}
}

static NTSTATUS Share(PKSHM_SHARE share)
{
	struct nt_memory *memory = nt_memory_at(share->Base);
	struct drv_share *d;
	KIRQL irql;

	CHECK(nt_me->irql == PASSIVE_LEVEL && nt_me->locks == 0);
	if (drv_share_status != STATUS_SUCCESS)
		return drv_share_status;
	d = calloc(1, sizeof(*d));
	*(struct drv_share **)share->Priv = d;
	touch(share);
	check_rings(share);
	KeAcquireSpinLock(&drv_lock, &irql);
	d->share = share;
	memory->context = d;
	free(memory->last);
	memory->last = NULL;
	KeReleaseSpinLock(&drv_lock, irql);
	if (drv_revoke_in_share)
		KshmRevoke(share);
	return STATUS_SUCCESS;
}

static NTSTATUS Kick(PKSHM_SHARE share)
{
	struct drv_share *d = *(struct drv_share **)share->Priv;

	d->kicks++;
	if (d->stops)
		nt_bug("touch after stop", "Kick");
	touch(share);
	read_rings(share);
	KshmNotify(share);
	drv_notify_from_isr(share);
	KshmQueue(share);
	touch(share);
	if (d->stops)
		nt_bug("touch after stop", "Kick under way");
	d->kicks--;
	return drv_kick_status;
}

static VOID Work(PKSHM_SHARE share)
{
	struct drv_share *d = *(struct drv_share **)share->Priv;

	CHECK(nt_me->irql == PASSIVE_LEVEL && nt_me->locks == 0);
	if (d->works++)
		nt_bug("work", "two at a time");
	if (d->stops)
		nt_bug("touch after stop", "Work");
	if (drv_in_work)
		drv_in_work();
	touch(share);
	KshmNotify(share);
	d->works--;
}

static VOID Stop(PKSHM_SHARE share, enum kshm_reason reason)
{
	struct drv_share *d = *(struct drv_share **)share->Priv;
	KIRQL irql;

	CHECK(nt_me->irql == PASSIVE_LEVEL && nt_me->locks == 0);
	CHECK(reason != KSHM_LIVE);
	if (d->stops++)
		nt_bug("ended twice", "Stop was called again");
	if (d->kicks || d->works)
		nt_bug("touch after stop", "Kick or Work still under way");
	touch(share);
	KeAcquireSpinLock(&drv_lock, &irql);
	d->stopped = true;
	KeReleaseSpinLock(&drv_lock, irql);
}

/* Called by the shim before the pages are unlocked. */
static void on_complete(struct nt_req *req)
{
	struct drv_share *d;
	KIRQL irql;

	if (!req->memory || !req->pended)
		return; /* no share, or a refused one */
	KeAcquireSpinLock(&drv_lock, &irql);
	d = req->memory->context;
	req->memory->context = NULL;
	req->memory->last = d; /* kept: a late callback finds that it has been stopped */
	KeReleaseSpinLock(&drv_lock, irql);
	CHECK(d != NULL);
	if (d->entered)
		nt_bug("lost drain", "%d inside at the completion", d->entered);
	if (d->kicks || d->works)
		nt_bug("lost drain", "Kick or Work under way at the completion");
	if (d->stops != 1)
		nt_bug("stop", "called %d times before the completion", d->stops);
}

/* A bracket around a use of the memory by a part of the driver that the kit does not call. */
struct drv_share *drv_enter(struct nt_memory *memory)
{
	struct drv_share *d;
	KIRQL irql;

	KeAcquireSpinLock(&drv_lock, &irql);
	d = memory->context;
	if (d && !d->stopped && KshmEnter(d->share))
		d->entered++;
	else
		d = NULL;
	KeReleaseSpinLock(&drv_lock, irql);
	return d;
}

void drv_leave(struct drv_share *d)
{
	touch(d->share);
	d->entered--;
	KshmExit(d->share);
}

bool drv_call(struct nt_memory *memory, VOID (*call)(PKSHM_SHARE))
{
	struct drv_share *d = drv_enter(memory);

	if (!d)
		return false;
	call(d->share);
	drv_leave(d);
	return true;
}

void drv_notify_from_isr(PKSHM_SHARE share)
{
	KIRQL irql = nt_me->irql;

	nt_raise(NT_DEVICE_LEVEL);
	KshmNotify(share);
	nt_raise(irql);
}

void drv_corrupt(PKSHM_SHARE share)
{
	KshmCorrupt(share, 64, 7);
}

static NTSTATUS Control(ULONG code, PVOID buffer, ULONG in_length, PULONG out_length)
{
	if (code == 0x222404)
		return drv_control_status; /* says nothing of the length */
	if (in_length < *out_length)
		*out_length = in_length;
	(void)buffer; /* an echo: input and output are the same buffer */
	return drv_control_status;
}

KSHM_DRIVER drv = {
	.Name = L"test",
	.Version = 42,
	.Class = KSHM_CLASS(L"{00000000-0000-0000-0000-000000000000}"),
	.EventName = L"\\BaseNamedObjects\\KshmTest",
	.PrivSize = sizeof(struct drv_share *),
	.MaxLength = 1 << 20,
	.MaxUserBytes = 1 << 20,
	.MaxOpenShares = 4,
	.MaxUserShares = 6,
	.Share = Share,
	.Kick = Kick,
	.Work = Work,
	.Stop = Stop,
	.Control = Control,
};

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry)
{
	(void)registry;
	nt_on_complete = on_complete;
	KeInitializeSpinLock(&drv_lock);
	return KshmLoad(driver, &drv);
}
