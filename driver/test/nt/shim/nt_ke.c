// SPDX-License-Identifier: MIT
/*
 * nt_ke.c - processors, IRQL, spin locks, events, DPCs and work items.
 */
#define _GNU_SOURCE
#include "nt.h"
#include "sched.h"
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

__thread struct nt_cpu *nt_me;

_Noreturn void nt_bug(const char *name, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "nt: BUG: %s: ", name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " [%s, IRQL %d]\n", nt_me ? nt_me->name : "?", nt_me ? nt_me->irql : 0);
	sched_explain();
	_exit(3);
}

ULONG DbgPrint(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	return 0;
}

uint64_t nt_random(void)
{
	uint64_t x = nt_me->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return nt_me->random = x;
}

void nt_cpu_init(struct nt_cpu *cpu, const char *name, struct nt_proc *proc)
{
	static uint64_t seeds = 0x9e3779b97f4a7c15;
	uint64_t seed = __atomic_add_fetch(&seeds, 0x2545f4914f6cdd1d, __ATOMIC_RELAXED);

	*cpu = (struct nt_cpu){.name = name, .proc = proc, .random = seed};
}

void nt_point(const char *where)
{
	if (nt_scheduled)
		sched_point(where);
	else if (nt_random() % 64 == 0)
		sched_yield();
}

void nt_require(KIRQL most, const char *where)
{
	nt_point(where);
	if (nt_me->irql > most)
		nt_bug("IRQL", "%s at %d, allowed up to %d", where, nt_me->irql, most);
}

void nt_paged_code(const char *where)
{
	if (nt_me->irql > APC_LEVEL)
		nt_bug("paged code", "%s", where);
}

KIRQL KeGetCurrentIrql(void)
{
	return nt_me->irql;
}

void nt_raise(KIRQL irql)
{
	nt_me->irql = irql;
}

/* Waiting: in free mode on one of a few condition variables, chosen by the address waited on.
 */
static struct bucket {
	pthread_mutex_t lock;
	pthread_cond_t cond;
} buckets[64] = {[0 ... 63] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER}};

static struct bucket *bucket(void *key)
{
	return &buckets[((uintptr_t)key >> 4) % 64];
}

/* True once ready(arg); false after the timeout (0: none). */
bool nt_block(bool (*ready)(void *), void *arg, void *key, int64_t timeout_ns)
{
	struct bucket *b = bucket(key);
	struct timespec until;
	bool ok;

	if (nt_scheduled) {
		sched_block(ready, arg);
		return true;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ns / 1000000000 + (timeout_ns ? 0 : 60);
	pthread_mutex_lock(&b->lock);
	while (!(ok = ready(arg)))
		if (pthread_cond_timedwait(&b->cond, &b->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&b->lock);
	if (!ok && !timeout_ns)
		nt_bug("hang", "waited a minute");
	return ok;
}

void nt_wake(void *key)
{
	struct bucket *b = bucket(key);

	if (nt_scheduled)
		return;
	pthread_mutex_lock(&b->lock);
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

/* Spin locks hold their owner. */
void KeInitializeSpinLock(PKSPIN_LOCK lock)
{
	*lock = 0;
}

static bool lock_is_free(void *lock)
{
	return __atomic_load_n((PKSPIN_LOCK)lock, __ATOMIC_RELAXED) == 0;
}

static bool try_lock(PKSPIN_LOCK lock)
{
	KSPIN_LOCK none = 0;

	return __atomic_compare_exchange_n(lock, &none, (KSPIN_LOCK)nt_me, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void KeAcquireSpinLock(PKSPIN_LOCK lock, PKIRQL irql)
{
	nt_require(DISPATCH_LEVEL, __func__);
	if (__atomic_load_n(lock, __ATOMIC_RELAXED) == (KSPIN_LOCK)nt_me)
		nt_bug("deadlock", "spin lock acquired twice");
	*irql = nt_me->irql;
	nt_me->irql = DISPATCH_LEVEL;
	while (!try_lock(lock)) {
		if (nt_scheduled)
			sched_block(lock_is_free, lock);
		else
			sched_yield();
	}
	nt_me->locks++;
}

void KeReleaseSpinLock(PKSPIN_LOCK lock, KIRQL irql)
{
	if (__atomic_load_n(lock, __ATOMIC_RELAXED) != (KSPIN_LOCK)nt_me)
		nt_bug("spin lock", "released by another than its owner");
	nt_me->locks--;
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
	nt_me->irql = irql;
	nt_point(__func__);
}

/* Events. */
#define EVENT_MAGIC 0x65766e74

static void check_event(PKEVENT event, const char *where)
{
	if (event->Magic != EVENT_MAGIC)
		nt_bug("event", "%s of something that is no event", where);
}

void KeInitializeEvent(PKEVENT event, EVENT_TYPE type, BOOLEAN state)
{
	*event = (KEVENT){.Type = type, .Magic = EVENT_MAGIC, .Signalled = state};
}

bool nt_event_peek(PKEVENT event)
{
	return __atomic_load_n(&event->Signalled, __ATOMIC_ACQUIRE) != 0;
}

LONG KeSetEvent(PKEVENT event, LONG increment, BOOLEAN wait)
{
	LONG was;

	(void)increment;
	nt_require(DISPATCH_LEVEL, __func__);
	if (wait)
		nt_bug("event", "KeSetEvent with Wait");
	check_event(event, __func__);
	/* The waiter may free the event as soon as it is set: only the address is used after.
	 */
	was = __atomic_exchange_n(&event->Signalled, 1, __ATOMIC_ACQ_REL);
	nt_wake(event);
	return was;
}

void KeClearEvent(PKEVENT event)
{
	nt_require(DISPATCH_LEVEL, __func__);
	check_event(event, __func__);
	__atomic_store_n(&event->Signalled, 0, __ATOMIC_RELEASE);
}

static bool take_event(void *arg)
{
	PKEVENT event = arg;
	LONG set = 1;

	if (event->Type == NotificationEvent)
		return nt_event_peek(event);
	return __atomic_compare_exchange_n(&event->Signalled, &set, 0, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

NTSTATUS KeWaitForSingleObject(PVOID object, int reason, KPROCESSOR_MODE mode,
			       BOOLEAN alertable, PLARGE_INTEGER timeout)
{
	(void)reason;
	(void)alertable;
	if (mode != KernelMode)
		nt_bug("wait", "killable");
	if (timeout && timeout->QuadPart >= 0)
		nt_bug("wait", "absolute timeout");
	nt_require(APC_LEVEL, __func__);
	check_event(object, __func__);
	return nt_block(take_event, object, object, timeout ? -timeout->QuadPart * 100 : 0)
		       ? STATUS_SUCCESS
		       : STATUS_TIMEOUT;
}

LARGE_INTEGER KeQueryPerformanceCounter(PLARGE_INTEGER frequency)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	frequency->QuadPart = 10000000;
	return (LARGE_INTEGER){now.tv_sec * 10000000 + now.tv_nsec / 100};
}

/* Work items: a queue that a few processors serve. */
struct nt_work_item {
	PDEVICE_OBJECT device;
	IO_WORKITEM_ROUTINE *routine;
	PVOID context;
	bool queued;
	struct nt_work_item *next;
};
static struct {
	pthread_mutex_t lock;
	struct nt_work_item *first, **last;
	PKDPC dpcs;
	int running, dpcs_running;
} queues = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void device_release(PDEVICE_OBJECT device)
{
	if (__atomic_sub_fetch(&device->References, 1, __ATOMIC_SEQ_CST) == 0) {
		free(device->DeviceExtension);
		free(device);
	}
}

void IoDeleteDevice(PDEVICE_OBJECT device)
{
	nt_require(APC_LEVEL, __func__);
	device->DriverObject->DeviceObject = NULL;
	device_release(device);
}

PIO_WORKITEM IoAllocateWorkItem(PDEVICE_OBJECT device)
{
	struct nt_work_item *item;

	nt_require(DISPATCH_LEVEL, __func__);
	if (nt_fails(__func__))
		return NULL;
	item = calloc(1, sizeof(*item));
	item->device = device;
	nt_items++;
	return item;
}

void IoFreeWorkItem(PIO_WORKITEM item)
{
	nt_require(DISPATCH_LEVEL, __func__);
	if (item->queued)
		nt_bug("work item", "freed while queued");
	nt_items--;
	free(item);
}

void IoQueueWorkItem(PIO_WORKITEM item, IO_WORKITEM_ROUTINE *routine, int queue, PVOID context)
{
	(void)queue;
	nt_require(DISPATCH_LEVEL, __func__);
	if (!item)
		nt_bug("work item", "queued although it is freed, or never was");
	pthread_mutex_lock(&queues.lock);
	if (item->queued)
		nt_bug("work item", "queued twice");
	item->queued = true;
	item->routine = routine;
	item->context = context;
	item->next = NULL;
	__atomic_add_fetch(&item->device->References, 1, __ATOMIC_SEQ_CST);
	if (!queues.first)
		queues.last = &queues.first;
	*queues.last = item;
	queues.last = &item->next;
	pthread_mutex_unlock(&queues.lock);
	nt_wake(&queues.first);
}

bool nt_work_idle(void)
{
	bool idle;

	pthread_mutex_lock(&queues.lock);
	idle = !queues.first && !queues.running;
	pthread_mutex_unlock(&queues.lock);
	return idle;
}

/* Runs one item; false if there is none. */
bool nt_work_once(void)
{
	struct nt_work_item item, *first;

	pthread_mutex_lock(&queues.lock);
	first = queues.first;
	if (first) {
		queues.first = first->next;
		queues.running++;
		first->queued = false;
		item = *first; /* the routine may free it */
	}
	pthread_mutex_unlock(&queues.lock);
	if (!first)
		return false;
	item.routine(item.device, item.context);
	if (nt_me->irql != PASSIVE_LEVEL || nt_me->locks)
		nt_bug("IRQL", "a work item returned at %d with %d locks", nt_me->irql,
		       nt_me->locks);
	device_release(item.device);
	pthread_mutex_lock(&queues.lock);
	queues.running--;
	pthread_mutex_unlock(&queues.lock);
	return true;
}

/* DPCs: a queue that one processor serves at DISPATCH_LEVEL. */
void KeInitializeDpc(PKDPC dpc, KDEFERRED_ROUTINE *routine, PVOID context)
{
	*dpc = (KDPC){.Routine = routine, .Context = context};
}

BOOLEAN KeInsertQueueDpc(PKDPC dpc, PVOID a, PVOID b)
{
	bool was;

	(void)a;
	(void)b;
	nt_point(__func__);
	pthread_mutex_lock(&queues.lock);
	was = dpc->Inserted;
	if (!was) {
		dpc->Inserted = TRUE;
		dpc->Next = queues.dpcs;
		queues.dpcs = dpc;
	}
	pthread_mutex_unlock(&queues.lock);
	nt_wake(&queues.dpcs);
	return !was;
}

bool nt_dpc_idle(void)
{
	bool idle;

	pthread_mutex_lock(&queues.lock);
	idle = !queues.dpcs && !queues.dpcs_running;
	pthread_mutex_unlock(&queues.lock);
	return idle;
}

bool nt_dpc_once(void)
{
	KDEFERRED_ROUTINE *routine = NULL;
	PVOID context = NULL;
	PKDPC dpc;

	pthread_mutex_lock(&queues.lock);
	dpc = queues.dpcs;
	if (dpc) {
		queues.dpcs = dpc->Next;
		queues.dpcs_running++;
		dpc->Inserted = FALSE;
		routine = dpc->Routine;
		context = dpc->Context;
	}
	pthread_mutex_unlock(&queues.lock);
	if (!dpc)
		return false;
	nt_raise(DISPATCH_LEVEL);
	routine(dpc, context, NULL, NULL);
	nt_raise(PASSIVE_LEVEL);
	pthread_mutex_lock(&queues.lock);
	queues.dpcs_running--;
	pthread_mutex_unlock(&queues.lock);
	nt_wake(&queues.dpcs_running);
	return true;
}

static bool no_dpc(void *unused)
{
	(void)unused;
	return nt_dpc_idle();
}

void KeFlushQueuedDpcs(void)
{
	nt_require(PASSIVE_LEVEL, __func__);
	nt_block(no_dpc, NULL, &queues.dpcs_running, 0);
}

bool nt_work_waits(void)
{
	bool waits;

	pthread_mutex_lock(&queues.lock);
	waits = queues.first != NULL;
	pthread_mutex_unlock(&queues.lock);
	return waits;
}

bool nt_dpc_waits(void)
{
	bool waits;

	pthread_mutex_lock(&queues.lock);
	waits = queues.dpcs != NULL;
	pthread_mutex_unlock(&queues.lock);
	return waits;
}

static bool some_work(void *unused)
{
	(void)unused;
	return nt_work_waits();
}

static bool some_dpc(void *unused)
{
	(void)unused;
	return nt_dpc_waits();
}

static void *worker_thread(void *cpu)
{
	nt_me = cpu;
	for (;;)
		if (!nt_work_once())
			nt_block(some_work, NULL, &queues.first, 100000000000000);
	return NULL;
}

static void *dpc_thread(void *cpu)
{
	nt_me = cpu;
	for (;;)
		if (!nt_dpc_once())
			nt_block(some_dpc, NULL, &queues.dpcs, 100000000000000);
	return NULL;
}

/* Free mode: threads that live as long as the program. */
void nt_start_processors(int workers)
{
	static struct nt_cpu cpus[9];
	pthread_t thread;
	int i;

	for (i = 0; i < workers && i < 8; i++) {
		nt_cpu_init(&cpus[i], "worker", &nt_system);
		pthread_create(&thread, NULL, worker_thread, &cpus[i]);
	}
	nt_cpu_init(&cpus[8], "dpc", &nt_system);
	pthread_create(&thread, NULL, dpc_thread, &cpus[8]);
}
