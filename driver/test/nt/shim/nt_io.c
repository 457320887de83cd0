// SPDX-License-Identifier: MIT
/*
 * nt_io.c - the I/O manager: drivers, devices, files, requests, MDLs.
 */
#define _GNU_SOURCE
#include "nt.h"
#include "../../../include/kshm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

/* A request in the kernel. The first part outlives the completion, the IRP does not. */
struct nt_irp {
	_Atomic int completed;
	_Atomic int pins; /* of the IRP: 1 until completed, and one per IoCancelIrp under way */
	_Atomic int
		references;  /* of this: one for the pins, one per call of a dispatch routine */
	_Atomic bool marked; /* as pending */
	struct nt_req *req;
	UCHAR major;
	PMDL mdl;
	PVOID buffer;
	IRP irp;
};

static DRIVER_OBJECT driver;
static bool loaded;
static pthread_mutex_t io_lock = PTHREAD_MUTEX_INITIALIZER;
static KSPIN_LOCK cancel_lock;
_Atomic long nt_files;
void (*nt_on_complete)(struct nt_req *req);

/* Completed IRPs are kept for a while, out of bounds, so that a late touch is seen. */
#define QUARANTINE 1024
static struct nt_irp *quarantine[QUARANTINE];
static unsigned quarantined;

static void bury(struct nt_irp *n)
{
	struct nt_irp *old;

	pthread_mutex_lock(&io_lock);
	old = quarantine[quarantined % QUARANTINE];
	quarantine[quarantined++ % QUARANTINE] = n;
	pthread_mutex_unlock(&io_lock);
	if (old) {
		UNPOISON(&old->irp, sizeof(old->irp));
		free(old);
	}
}

static void release_irp(struct nt_irp *n)
{
	if (--n->references == 0)
		bury(n);
}

static void unpin(struct nt_irp *n)
{
	if (--n->pins > 0)
		return;
	memset(&n->irp, 0xdd, sizeof(n->irp));
	POISON(&n->irp, sizeof(n->irp));
	release_irp(n);
}

void IoMarkIrpPending(PIRP irp)
{
	struct nt_irp *n = CONTAINING_RECORD(irp, struct nt_irp, irp);

	if (n->completed)
		nt_bug("touch after completion", "marked as pending too late");
	n->marked = true;
	if (n->req)
		n->req->pended = true;
}

/* From here on IoCancelIrp may have the routine complete the request, unless a lock stops it.
 */
DRIVER_CANCEL *IoSetCancelRoutine(PIRP irp, DRIVER_CANCEL *routine)
{
	nt_point(__func__);
	if (routine && !nt_me->locks && !CONTAINING_RECORD(irp, struct nt_irp, irp)->marked)
		nt_bug("pending", "a cancel routine before the request is marked");
	return __atomic_exchange_n(&irp->CancelRoutine, routine, __ATOMIC_SEQ_CST);
}

/* Drivers and devices. */
NTSTATUS IoCreateDevice(PDRIVER_OBJECT d, ULONG extension, PUNICODE_STRING name, ULONG type,
			ULONG characteristics, BOOLEAN exclusive, PDEVICE_OBJECT *device)
{
	PDEVICE_OBJECT dev;

	(void)name;
	(void)exclusive;
	nt_require(APC_LEVEL, __func__);
	if (type != FILE_DEVICE_UNKNOWN || characteristics != FILE_DEVICE_SECURE_OPEN)
		nt_bug("device", "names below it would not be secured");
	if (nt_fails(__func__))
		return STATUS_INSUFFICIENT_RESOURCES;
	dev = calloc(1, sizeof(*dev));
	dev->DeviceExtension = calloc(1, extension + 1);
	dev->Flags = DO_DEVICE_INITIALIZING;
	dev->DriverObject = d;
	dev->References = 1;
	d->DeviceObject = dev;
	*device = dev;
	return STATUS_SUCCESS;
}

NTSTATUS IoCreateSymbolicLink(PUNICODE_STRING link, PUNICODE_STRING name)
{
	(void)link;
	(void)name;
	nt_require(PASSIVE_LEVEL, __func__);
	if (nt_fails(__func__))
		return STATUS_OBJECT_NAME_COLLISION;
	nt_references++;
	return STATUS_SUCCESS;
}

NTSTATUS IoDeleteSymbolicLink(PUNICODE_STRING link)
{
	(void)link;
	nt_require(PASSIVE_LEVEL, __func__);
	nt_references--;
	return STATUS_SUCCESS;
}

NTSTATUS nt_load(NTSTATUS (*entry)(PDRIVER_OBJECT, PUNICODE_STRING))
{
	NTSTATUS status;

	memset(&driver, 0, sizeof(driver));
	status = entry(&driver, NULL);
	if (!NT_SUCCESS(status) && driver.DeviceObject)
		nt_bug("leak", "a device after a failed DriverEntry");
	if (NT_SUCCESS(status))
		driver.DeviceObject->Flags &= ~DO_DEVICE_INITIALIZING;
	loaded = NT_SUCCESS(status);
	return status;
}

bool nt_loaded(void)
{
	return loaded;
}

void nt_unload(void)
{
	loaded = false;
	driver.DriverUnload(&driver);
	if (driver.DeviceObject)
		nt_bug("leak", "a device after DriverUnload");
}

/* Requests. */
static struct nt_irp *new_irp(struct nt_file *file, UCHAR major)
{
	struct nt_irp *n = calloc(1, sizeof(*n));

	n->pins = n->references = 1;
	n->major = major;
	n->irp.Stack.MajorFunction = major;
	n->irp.Stack.DeviceObject = driver.DeviceObject;
	n->irp.Stack.FileObject = &file->object;
	nt_irps++;
	return n;
}

static NTSTATUS dispatch(struct nt_irp *n)
{
	DRIVER_DISPATCH *routine = driver.MajorFunction[n->major];
	NTSTATUS status;

	n->references++;
	status = routine(driver.DeviceObject, &n->irp);
	if (nt_me->irql != PASSIVE_LEVEL || nt_me->locks)
		nt_bug("IRQL", "dispatch routine returned at %d", nt_me->irql);
	if (n->marked != (status == STATUS_PENDING))
		nt_bug("pending", "the return says %#x, the request %smarked", (unsigned)status,
		       n->marked ? "" : "not ");
	if (status != STATUS_PENDING && !n->completed)
		nt_bug("pending", "neither completed nor pended");
	if (((ULONG)status >> 30) == 2)
		nt_bug("status", "%#x is a warning: it would post a completion packet",
		       (unsigned)status);
	release_irp(n);
	return status;
}

static void unlock_memory(struct nt_irp *n);

void IoCompleteRequest(PIRP irp, CCHAR boost)
{
	struct nt_irp *n = CONTAINING_RECORD(irp, struct nt_irp, irp);
	struct nt_req *req = n->req;

	(void)boost;
	nt_require(DISPATCH_LEVEL, __func__);
	if (n->completed++)
		nt_bug("double completion", "major function %#x", n->major);
	if (__atomic_load_n(&irp->CancelRoutine, __ATOMIC_SEQ_CST))
		nt_bug("cancel routine not cleared", "major function %#x", n->major);
	if (irp->IoStatus.Status == STATUS_PENDING)
		nt_bug("status", "completed as pending");
	if (irp->MdlAddress != n->mdl)
		nt_bug("leaked MDL", "the request's MDL was taken off it");
	if (req) {
		req->status = irp->IoStatus.Status;
		req->information = irp->IoStatus.Information;
		if (nt_on_complete)
			nt_on_complete(req);
		if (n->mdl) {
			unlock_memory(n);
		} else if (NT_SUCCESS(req->status) && req->out) {
			if (req->information > req->out_length)
				nt_bug("information", "%lu bytes into %u",
				       (unsigned long)req->information, req->out_length);
			memcpy(req->out, irp->AssociatedIrp.SystemBuffer, req->information);
		}
		free(n->buffer);
		pthread_mutex_lock(&req->lock);
		req->irp = NULL;
		pthread_mutex_unlock(&req->lock);
	}
	nt_irps--;
	unpin(n);
	if (req)
		KeSetEvent(&req->done, 0, FALSE);
}

void IoReleaseCancelSpinLock(KIRQL irql)
{
	KeReleaseSpinLock(&cancel_lock, irql);
}

/* CancelIoEx, or a thread's end. The request may complete meanwhile, but not vanish. */
void nt_cancel(struct nt_req *req)
{
	DRIVER_CANCEL *routine;
	struct nt_irp *n;
	KIRQL irql;

	pthread_mutex_lock(&req->lock);
	n = req->irp;
	if (n)
		n->pins++; /* completed under the same lock, so not 0 */
	pthread_mutex_unlock(&req->lock);
	if (!n)
		return;
	KeAcquireSpinLock(&cancel_lock, &irql);
	routine = NULL;
	if (!n->completed) {
		n->irp.Cancel = TRUE;
		nt_point("IoCancelIrp");
		routine = __atomic_exchange_n(&n->irp.CancelRoutine, NULL, __ATOMIC_SEQ_CST);
		n->irp.CancelIrql = irql;
	}
	if (routine)
		routine(driver.DeviceObject, &n->irp);
	else
		KeReleaseSpinLock(&cancel_lock, irql);
	if (nt_me->irql != irql || nt_me->locks)
		nt_bug("IRQL", "cancel routine returned at %d", nt_me->irql);
	unpin(n);
}

/* Files. */
static NTSTATUS file_request(struct nt_file *file, UCHAR major)
{
	struct nt_irp *n = new_irp(file, major);
	NTSTATUS status;

	status = dispatch(n);
	if (status == STATUS_PENDING)
		nt_bug("pending", "major function %#x pended", major);
	return status;
}

NTSTATUS nt_open(int access, ULONG flags, PCWSTR below, struct nt_file **result)
{
	struct nt_file *file = calloc(1, sizeof(*file));
	NTSTATUS status;

	file->object.Flags = flags;
	if (below)
		RtlInitUnicodeString(&file->object.FileName, below);
	file->handles = file->references = 1;
	file->access = access;
	status = file_request(file, IRP_MJ_CREATE);
	if (!NT_SUCCESS(status)) {
		free(file);
		return status;
	}
	nt_files++;
	*result = file;
	return status;
}

static int count(struct nt_file *file, int handles, int references)
{
	int left;

	pthread_mutex_lock(&io_lock);
	file->handles += handles;
	file->references += references;
	left = handles ? file->handles : file->references;
	pthread_mutex_unlock(&io_lock);
	return left;
}

void nt_release(struct nt_file *file)
{
	if (count(file, 0, -1) > 0)
		return;
	file_request(file, IRP_MJ_CLOSE);
	free(file);
	nt_files--;
}

/* A reference without a handle. */
void nt_reference(struct nt_file *file)
{
	count(file, 0, 1);
}

void nt_duplicate(struct nt_file *file)
{
	count(file, 1, 1);
}

void nt_close(struct nt_file *file)
{
	if (count(file, -1, 0) == 0)
		file_request(file, IRP_MJ_CLEANUP);
	nt_release(file);
}

/* Memory: one file in memory, mapped for the program and twice for the kernel. */
static struct nt_memory *memories; /* made before there are threads, never freed */

struct nt_memory *nt_memory(size_t size, bool writable)
{
	struct nt_memory *m = calloc(1, sizeof(*m));
	int fd = memfd_create("nt", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		nt_bug("test", "no memory");
	m->user = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	m->kernel[0] = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);
	m->kernel[1] = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);
	m->size = size;
	m->writable = writable;
	pthread_mutex_init(&m->lock, NULL);
	close(fd);
	m->next = memories;
	memories = m;
	return m;
}

struct nt_memory *nt_memory_at(PVOID kernel)
{
	struct nt_memory *m = memories;

	while (m && (size_t)((char *)kernel - m->kernel[0]) >= m->size &&
	       (size_t)((char *)kernel - m->kernel[1]) >= m->size)
		m = m->next;
	return m;
}

static ULONG pages(PMDL mdl)
{
	return (mdl->ByteOffset + mdl->ByteCount + PAGE_SIZE - 1) / PAGE_SIZE;
}

static NTSTATUS lock_memory(struct nt_irp *n, const struct nt_call *call)
{
	PMDL mdl;

	if ((call->code & 3) == METHOD_OUT_DIRECT && !call->memory->writable)
		return STATUS_ACCESS_VIOLATION;
	mdl = calloc(1, sizeof(*mdl));
	mdl->Memory = call->memory;
	mdl->ByteOffset = call->offset % PAGE_SIZE;
	mdl->ByteCount = call->out_length;
	mdl->StartVa = call->memory->user + call->offset - mdl->ByteOffset;
	n->mdl = n->irp.MdlAddress = mdl;
	n->req->proc->locked += (int)pages(mdl);
	nt_locked += pages(mdl);
	return STATUS_SUCCESS;
}

#define READ_ONLY(mdl) ((ULONG_PTR)(mdl)->MappedSystemVa & 1) /* in the shim's keeping */

PVOID MmGetSystemAddressForMdlSafe(PMDL mdl, ULONG priority)
{
	struct nt_memory *m = mdl->Memory;
	int ro = (priority & 0x80000000) != 0;
	size_t at = (size_t)((char *)mdl->StartVa - m->user);

	nt_require(DISPATCH_LEVEL, __func__);
	if (!(priority & 0x40000000))
		nt_bug("mapping", "executable");
	if (nt_fails(__func__))
		return NULL;
	pthread_mutex_lock(&m->lock);
	if (m->mapped[ro]++ == 0)
		mprotect(m->kernel[ro], m->size, ro ? PROT_READ : PROT_READ | PROT_WRITE);
	pthread_mutex_unlock(&m->lock);
	mdl->MappedSystemVa = (PVOID)((ULONG_PTR)(m->kernel[ro] + at) | (ULONG_PTR)ro);
	return m->kernel[ro] + at + mdl->ByteOffset;
}

static void unlock_memory(struct nt_irp *n)
{
	struct nt_memory *m = n->mdl->Memory;
	int ro = READ_ONLY(n->mdl) != 0;

	if (n->mdl->MappedSystemVa) {
		pthread_mutex_lock(&m->lock);
		if (--m->mapped[ro] == 0)
			mprotect(m->kernel[ro], m->size, PROT_NONE);
		pthread_mutex_unlock(&m->lock);
	}
	n->req->proc->locked -= (int)pages(n->mdl);
	nt_locked -= pages(n->mdl);
	free(n->mdl);
}

/* DeviceIoControl. The request is the caller's, to be reaped. */
static NTSTATUS prepare(struct nt_irp *n, const struct nt_call *call)
{
	bool direct = (call->code & 3) != METHOD_BUFFERED;
	int need = call->code >> 14 & 3;
	ULONG room = direct ? 0 : call->out_length;

	if ((n->req->file->access & need) != need)
		return STATUS_ACCESS_DENIED;
	if (call->in_length > room)
		room = call->in_length;
	if (room) {
		n->buffer = malloc(room);
		memset(n->buffer, 0xa5, room); /* beyond the input, rubbish */
		if (call->in_length)
			memcpy(n->buffer, call->in, call->in_length);
		n->irp.AssociatedIrp.SystemBuffer = n->buffer;
	}
	return direct && call->out_length ? lock_memory(n, call) : STATUS_SUCCESS;
}

/* A handle becomes a reference, unless it is closed already. */
static bool use_handle(struct nt_file *file)
{
	bool open;

	pthread_mutex_lock(&io_lock);
	open = file->handles > 0;
	if (open)
		file->references++;
	pthread_mutex_unlock(&io_lock);
	return open;
}

/* The request is stored before the driver sees it, for whoever wants to cancel it. */
NTSTATUS nt_ioctl(struct nt_file *file, const struct nt_call *call, struct nt_req **slot)
{
	struct nt_req *req;
	struct nt_irp *n;
	NTSTATUS status;

	if (!use_handle(file))
		return STATUS_INVALID_HANDLE;
	req = calloc(1, sizeof(*req));
	n = new_irp(file, IRP_MJ_DEVICE_CONTROL);

	*req = (struct nt_req){.file = file,
			       .proc = nt_me->proc,
			       .irp = n,
			       .code = call->code,
			       .out = call->out,
			       .memory = call->memory,
			       .out_length = call->out ? call->out_length : 0};
	pthread_mutex_init(&req->lock, NULL);
	KeInitializeEvent(&req->done, NotificationEvent, FALSE);
	n->req = req;
	n->irp.Stack.Parameters.DeviceIoControl.IoControlCode = call->code;
	n->irp.Stack.Parameters.DeviceIoControl.InputBufferLength = call->in_length;
	n->irp.Stack.Parameters.DeviceIoControl.OutputBufferLength = call->out_length;
	status = prepare(n, call);
	__atomic_store_n(slot, req, __ATOMIC_RELEASE);
	if (NT_SUCCESS(status))
		return dispatch(n);
	pthread_mutex_lock(&req->lock);
	req->irp = NULL; /* refused before the driver saw it */
	pthread_mutex_unlock(&req->lock);
	req->status = status;
	free(n->buffer);
	nt_irps--;
	unpin(n);
	KeSetEvent(&req->done, 0, FALSE);
	return status;
}

bool nt_done(struct nt_req *req)
{
	return nt_event_peek(&req->done);
}

NTSTATUS nt_wait(struct nt_req *req)
{
	KeWaitForSingleObject(&req->done, Executive, KernelMode, FALSE, NULL);
	return req->status;
}

void nt_reap(struct nt_req *req)
{
	nt_wait(req);
	nt_release(req->file);
	pthread_mutex_destroy(&req->lock);
	free(req);
}
