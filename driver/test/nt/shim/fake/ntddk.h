// SPDX-License-Identifier: MIT
/*
 * ntddk.h - as much of <ntddk.h> as the kit and the samples use, with the widths of 64-bit
 * Windows, for a driver compiled as a Linux program. The functions are in nt_*.c.
 *
 * Every call into the system is a marked point: nt_point() is where the scheduler may hand the
 * processor to somebody else.
 */
#ifndef FAKE_NTDDK_H
#define FAKE_NTDDK_H

#include <stddef.h>
#include <stdint.h>

#define NTAPI
#define NTKERNELAPI
#define NTSYSAPI
#define VOID void
#define TRUE 1
#define FALSE 0

typedef void *PVOID, *HANDLE, **PHANDLE;
typedef unsigned char UCHAR, BOOLEAN, KIRQL, *PUCHAR, *PKIRQL;
typedef char CCHAR;
typedef unsigned short USHORT, WCHAR, *PWCHAR;
typedef const WCHAR *PCWSTR;
typedef int32_t LONG, NTSTATUS;
typedef uint32_t ULONG, ACCESS_MASK, SECURITY_INFORMATION, *PULONG;
typedef int64_t LONG64, LONGLONG;
typedef uint64_t ULONG64, ULONG_PTR, SIZE_T;
typedef signed char KPROCESSOR_MODE;
typedef union {
	LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;
typedef struct {
	ULONG LowPart;
	LONG HighPart;
} LUID, *PLUID;
typedef void *PSECURITY_DESCRIPTOR, *PACCESS_STATE;
typedef struct nt_type *POBJECT_TYPE;

#define UNREFERENCED_PARAMETER(x) ((void)(x))
#define CONTAINING_RECORD(address, type, field)                                                \
	((type *)((char *)(address) - offsetof(type, field)))
#define PAGE_SIZE 4096

/* Statuses: the numbers of <ntstatus.h>. */
#define NT_SUCCESS(s) ((NTSTATUS)(s) >= 0)
#define NT_ERROR(s) ((ULONG)(s) >> 30 == 3)
#define NT_STATUSES(X)                                                                         \
	X(STATUS_SUCCESS, 0x00000000)                                                          \
	X(STATUS_TIMEOUT, 0x00000102)                                                          \
	X(STATUS_PENDING, 0x00000103)                                                          \
	X(STATUS_BUFFER_OVERFLOW, 0x80000005)                                                  \
	X(STATUS_INFO_LENGTH_MISMATCH, 0xC0000004)                                             \
	X(STATUS_ACCESS_VIOLATION, 0xC0000005)                                                 \
	X(STATUS_INVALID_HANDLE, 0xC0000008)                                                   \
	X(STATUS_INVALID_PARAMETER, 0xC000000D)                                                \
	X(STATUS_INVALID_DEVICE_REQUEST, 0xC0000010)                                           \
	X(STATUS_ACCESS_DENIED, 0xC0000022)                                                    \
	X(STATUS_BUFFER_TOO_SMALL, 0xC0000023)                                                 \
	X(STATUS_OBJECT_TYPE_MISMATCH, 0xC0000024)                                             \
	X(STATUS_OBJECT_NAME_NOT_FOUND, 0xC0000034)                                            \
	X(STATUS_OBJECT_NAME_COLLISION, 0xC0000035)                                            \
	X(STATUS_DATA_ERROR, 0xC000003E)                                                       \
	X(STATUS_SHARING_VIOLATION, 0xC0000043)                                                \
	X(STATUS_QUOTA_EXCEEDED, 0xC0000044)                                                   \
	X(STATUS_DELETE_PENDING, 0xC0000056)                                                   \
	X(STATUS_PRIVILEGE_NOT_HELD, 0xC0000061)                                               \
	X(STATUS_INVALID_SECURITY_DESCR, 0xC0000079)                                           \
	X(STATUS_INSUFFICIENT_RESOURCES, 0xC000009A)                                           \
	X(STATUS_NOT_SUPPORTED, 0xC00000BB)                                                    \
	X(STATUS_INTERNAL_ERROR, 0xC00000E5)                                                   \
	X(STATUS_PROCESS_IS_TERMINATING, 0xC000010A)                                           \
	X(STATUS_CANCELLED, 0xC0000120)                                                        \
	X(STATUS_FILE_CLOSED, 0xC0000128)                                                      \
	X(STATUS_INVALID_DEVICE_STATE, 0xC0000184)                                             \
	X(STATUS_INVALID_BUFFER_SIZE, 0xC0000206)                                              \
	X(STATUS_MAPPED_ALIGNMENT, 0xC0000220)                                                 \
	X(STATUS_NOT_FOUND, 0xC0000225)                                                        \
	X(STATUS_REQUEST_ABORTED, 0xC0000240)                                                  \
	X(STATUS_DEVICE_REMOVED, 0xC00002B6)
enum {
#define X(name, number) name = (NTSTATUS)number,
	NT_STATUSES(X)
#undef X
};

/* Run-time library. */
typedef struct _LIST_ENTRY {
	struct _LIST_ENTRY *Flink, *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

static inline void InitializeListHead(PLIST_ENTRY h)
{
	h->Flink = h->Blink = h;
}
static inline BOOLEAN IsListEmpty(const LIST_ENTRY *h)
{
	return h->Flink == h;
}
static inline BOOLEAN RemoveEntryList(PLIST_ENTRY e)
{
	e->Blink->Flink = e->Flink;
	e->Flink->Blink = e->Blink;
	return e->Flink == e->Blink;
}
static inline PLIST_ENTRY RemoveHeadList(PLIST_ENTRY h)
{
	PLIST_ENTRY e = h->Flink;

	RemoveEntryList(e);
	return e;
}
static inline void InsertTailList(PLIST_ENTRY h, PLIST_ENTRY e)
{
	e->Flink = h;
	e->Blink = h->Blink;
	h->Blink->Flink = e;
	h->Blink = e;
}

typedef struct {
	USHORT Length, MaximumLength;
	PWCHAR Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
void RtlInitUnicodeString(PUNICODE_STRING s, PCWSTR text);
BOOLEAN RtlValidRelativeSecurityDescriptor(PVOID sd, ULONG length, SECURITY_INFORMATION what);
#define RtlZeroMemory(p, n) __builtin_memset(p, 0, n)
#define RtlCopyMemory(d, s, n) __builtin_memcpy(d, s, n)

/* Marked points, processors, assertions. */
void nt_point(const char *where);
void nt_paged_code(const char *where);
_Noreturn void nt_bug(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
ULONG DbgPrint(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define PAGED_CODE() nt_paged_code(__func__)
#define ASSERT(x) ((x) ? (void)0 : nt_bug("assertion", "%s: %s", __func__, #x))

#define NT_INTERLOCKED(type, name, args, how)                                                  \
	static inline type name args                                                           \
	{                                                                                      \
		nt_point(#name);                                                               \
		return how;                                                                    \
	}
NT_INTERLOCKED(LONG, InterlockedIncrement, (volatile LONG * p),
	       __atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST))
NT_INTERLOCKED(LONG, InterlockedDecrement, (volatile LONG * p),
	       __atomic_sub_fetch(p, 1, __ATOMIC_SEQ_CST))
NT_INTERLOCKED(LONG, InterlockedExchange, (volatile LONG * p, LONG v),
	       __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))
NT_INTERLOCKED(LONG, InterlockedExchangeAdd, (volatile LONG * p, LONG v),
	       __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST))
NT_INTERLOCKED(LONG64, InterlockedIncrement64, (volatile LONG64 * p),
	       __atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST))
NT_INTERLOCKED(LONG, InterlockedCompareExchange, (volatile LONG * p, LONG v, LONG was),
	       (__atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST),
		was))
NT_INTERLOCKED(LONG64, InterlockedCompareExchange64,
	       (volatile LONG64 * p, LONG64 v, LONG64 was),
	       (__atomic_compare_exchange_n(p, &was, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST),
		was))

/* IRQL, spin locks, events, DPCs. */
#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#define NT_DEVICE_LEVEL 5
KIRQL KeGetCurrentIrql(void);

typedef ULONG_PTR KSPIN_LOCK, *PKSPIN_LOCK;
void KeInitializeSpinLock(PKSPIN_LOCK lock);
void KeAcquireSpinLock(PKSPIN_LOCK lock, PKIRQL irql);
void KeReleaseSpinLock(PKSPIN_LOCK lock, KIRQL irql);

typedef enum { NotificationEvent, SynchronizationEvent } EVENT_TYPE;
typedef struct {
	LONG Signalled;
	EVENT_TYPE Type;
	ULONG Magic;
} KEVENT, *PKEVENT;
void KeInitializeEvent(PKEVENT event, EVENT_TYPE type, BOOLEAN state);
LONG KeSetEvent(PKEVENT event, LONG increment, BOOLEAN wait);
void KeClearEvent(PKEVENT event);
enum { Executive = 0, KernelMode = 0, UserMode = 1 };
NTSTATUS KeWaitForSingleObject(PVOID object, int reason, KPROCESSOR_MODE mode,
			       BOOLEAN alertable, PLARGE_INTEGER timeout);

struct _KDPC;
typedef VOID KDEFERRED_ROUTINE(struct _KDPC *dpc, PVOID context, PVOID a, PVOID b);
typedef struct _KDPC {
	KDEFERRED_ROUTINE *Routine;
	PVOID Context;
	BOOLEAN Inserted;
	struct _KDPC *Next;
} KDPC, *PKDPC;
void KeInitializeDpc(PKDPC dpc, KDEFERRED_ROUTINE *routine, PVOID context);
BOOLEAN KeInsertQueueDpc(PKDPC dpc, PVOID a, PVOID b);
void KeFlushQueuedDpcs(void);
LARGE_INTEGER KeQueryPerformanceCounter(PLARGE_INTEGER frequency);

/* Pool and MDLs. */
enum { NonPagedPoolNx = 512 };
PVOID ExAllocatePoolWithTag(int pool, SIZE_T size, ULONG tag);
void ExFreePoolWithTag(PVOID p, ULONG tag);

typedef struct _MDL {
	ULONG ByteOffset, ByteCount;
	PVOID StartVa;
	PVOID MappedSystemVa;
	struct nt_memory *Memory; /* the shim's */
} MDL, *PMDL;
enum { NormalPagePriority = 16 };
PVOID MmGetSystemAddressForMdlSafe(PMDL mdl, ULONG priority);
#define MmGetMdlByteCount(mdl) ((mdl)->ByteCount)
#define MmGetMdlByteOffset(mdl) ((mdl)->ByteOffset)
#define MmGetMdlVirtualAddress(mdl) ((PVOID)((char *)(mdl)->StartVa + (mdl)->ByteOffset))

/* The I/O manager. */
#define FILE_DEVICE_UNKNOWN 0x22
#define FILE_DEVICE_SECURE_OPEN 0x100
#define METHOD_BUFFERED 0
#define METHOD_IN_DIRECT 1
#define METHOD_OUT_DIRECT 2
#define FILE_ANY_ACCESS 0
#define CTL_CODE(device, function, method, access)                                             \
	(((device) << 16) | ((access) << 14) | ((function) << 2) | (method))
#define FO_SYNCHRONOUS_IO 0x2
#define DO_DEVICE_INITIALIZING 0x80
#define IO_NO_INCREMENT 0
enum {
	IRP_MJ_CREATE = 0x00,
	IRP_MJ_CLOSE = 0x02,
	IRP_MJ_DEVICE_CONTROL = 0x0e,
	IRP_MJ_CLEANUP = 0x12,
	IRP_MJ_MAXIMUM_FUNCTION = 0x1b,
};

struct _DRIVER_OBJECT;
struct _IRP;
typedef struct _DEVICE_OBJECT {
	PVOID DeviceExtension;
	ULONG Flags;
	struct _DRIVER_OBJECT *DriverObject;
	LONG References; /* the shim's: 1 until deleted, and one per queued work item */
} DEVICE_OBJECT, *PDEVICE_OBJECT;
typedef NTSTATUS DRIVER_DISPATCH(PDEVICE_OBJECT device, struct _IRP *irp);
typedef VOID DRIVER_CANCEL(PDEVICE_OBJECT device, struct _IRP *irp);
typedef VOID (*PDRIVER_UNLOAD)(struct _DRIVER_OBJECT *driver);
typedef struct _DRIVER_OBJECT {
	PDEVICE_OBJECT DeviceObject;
	PDRIVER_UNLOAD DriverUnload;
	DRIVER_DISPATCH *MajorFunction[IRP_MJ_MAXIMUM_FUNCTION + 1];
} DRIVER_OBJECT, *PDRIVER_OBJECT;

typedef struct _FILE_OBJECT {
	ULONG Flags;
	PVOID FsContext;
	UNICODE_STRING FileName;
} FILE_OBJECT, *PFILE_OBJECT;

typedef struct {
	UCHAR MajorFunction;
	struct {
		struct {
			ULONG OutputBufferLength, InputBufferLength, IoControlCode;
		} DeviceIoControl;
	} Parameters;
	PDEVICE_OBJECT DeviceObject;
	PFILE_OBJECT FileObject;
} IO_STACK_LOCATION, *PIO_STACK_LOCATION;

typedef struct _IRP {
	PMDL MdlAddress;
	struct {
		PVOID SystemBuffer;
	} AssociatedIrp;
	struct {
		NTSTATUS Status;
		ULONG_PTR Information;
	} IoStatus;
	_Atomic(BOOLEAN) Cancel; /* read by the driver while IoCancelIrp writes it */
	KIRQL CancelIrql;
	DRIVER_CANCEL *CancelRoutine;
	struct {
		struct {
			PVOID DriverContext[4];
			LIST_ENTRY ListEntry;
		} Overlay;
	} Tail;
	IO_STACK_LOCATION Stack; /* the shim's */
} IRP, *PIRP;

static inline PIO_STACK_LOCATION IoGetCurrentIrpStackLocation(PIRP irp)
{
	return &irp->Stack;
}
void IoMarkIrpPending(PIRP irp);
DRIVER_CANCEL *IoSetCancelRoutine(PIRP irp, DRIVER_CANCEL *routine);
void IoReleaseCancelSpinLock(KIRQL irql);
void IoCompleteRequest(PIRP irp, CCHAR boost);
BOOLEAN IoIs32bitProcess(PIRP irp);
NTSTATUS IoCreateDevice(PDRIVER_OBJECT driver, ULONG extension, PUNICODE_STRING name,
			ULONG type, ULONG characteristics, BOOLEAN exclusive,
			PDEVICE_OBJECT *device);
void IoDeleteDevice(PDEVICE_OBJECT device);
NTSTATUS IoCreateSymbolicLink(PUNICODE_STRING link, PUNICODE_STRING name);
NTSTATUS IoDeleteSymbolicLink(PUNICODE_STRING link);
PKEVENT IoCreateSynchronizationEvent(PUNICODE_STRING name, PHANDLE handle);

typedef struct nt_work_item *PIO_WORKITEM;
typedef VOID IO_WORKITEM_ROUTINE(PDEVICE_OBJECT device, PVOID context);
enum { DelayedWorkQueue = 1 };
PIO_WORKITEM IoAllocateWorkItem(PDEVICE_OBJECT device);
void IoFreeWorkItem(PIO_WORKITEM item);
void IoQueueWorkItem(PIO_WORKITEM item, IO_WORKITEM_ROUTINE *routine, int queue, PVOID context);

/* Objects, processes, registry, security. */
#define OBJ_CASE_INSENSITIVE 0x40
#define OBJ_KERNEL_HANDLE 0x200
#define WRITE_DAC 0x40000
#define EVENT_MODIFY_STATE 2
#define DACL_SECURITY_INFORMATION 4
#define SE_LOAD_DRIVER_PRIVILEGE 10
#define KEY_READ 0x20019
#define REG_BINARY 3
typedef struct {
	PUNICODE_STRING ObjectName;
} OBJECT_ATTRIBUTES, *POBJECT_ATTRIBUTES;
#define InitializeObjectAttributes(a, name, flags, root, sd) ((a)->ObjectName = (name))
typedef struct {
	ULONG TitleIndex, Type, DataLength;
	UCHAR Data[1];
} KEY_VALUE_PARTIAL_INFORMATION, *PKEY_VALUE_PARTIAL_INFORMATION;
enum { KeyValuePartialInformation = 2 };
extern POBJECT_TYPE *ExEventObjectType;
NTSTATUS ObReferenceObjectByHandle(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type,
				   KPROCESSOR_MODE mode, PVOID *object, PVOID information);
void ObDereferenceObject(PVOID object);
HANDLE PsGetCurrentProcessId(void);
typedef struct nt_cpu *PETHREAD;
PETHREAD PsGetCurrentThread(void);
#define ZwCurrentProcess() ((HANDLE) - 1)
typedef VOID CREATE_PROCESS_NOTIFY(HANDLE parent, HANDLE process, BOOLEAN create);
NTSTATUS PsSetCreateProcessNotifyRoutine(CREATE_PROCESS_NOTIFY *routine, BOOLEAN remove);
BOOLEAN SeSinglePrivilegeCheck(LUID privilege, KPROCESSOR_MODE mode);
NTSTATUS ZwOpenKey(PHANDLE key, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes);
NTSTATUS ZwQueryValueKey(HANDLE key, PUNICODE_STRING name, int class, PVOID information,
			 ULONG length, PULONG needed);
NTSTATUS ZwClose(HANDLE handle);

#endif /* FAKE_NTDDK_H */
