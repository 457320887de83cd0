// SPDX-License-Identifier: MIT
/*
 * kshm_nt.h - the system's headers, and what some sets of them lack.
 *
 * The kit needs a few declarations beyond <ntddk.h>. Including <ntifs.h> for them would pull in
 * the whole file-system interface, so they are declared here.
 */
#ifndef KSHM_NT_H
#define KSHM_NT_H

#ifndef KSHM_NT
#define KSHM_NT
#endif

#include <ntddk.h>

#ifdef __GNUC__
/* INIT is thrown away after DriverEntry. */
#define KSHM_INIT __attribute__((section("INIT"), noinline))
#else
#define KSHM_INIT __declspec(code_seg("INIT"))
#endif

#ifndef MdlMappingNoExecute
#define MdlMappingNoExecute 0x40000000
#endif
#ifndef MdlMappingNoWrite
#define MdlMappingNoWrite 0x80000000
#endif

/* What a static analyser is told of a function's IRQL; some headers have no such words. */
#ifndef _IRQL_requires_
#define _IRQL_requires_(irql)
#endif
#ifndef _IRQL_requires_max_
#define _IRQL_requires_max_(irql)
#endif
#ifndef _Must_inspect_result_
#define _Must_inspect_result_
#endif

#if defined(__MINGW32__)
/* The import thunk: the headers' ExEventObjectType has one level of indirection too many. */
extern POBJECT_TYPE **__imp_ExEventObjectType;
#define KSHM_EVENT_TYPE (**__imp_ExEventObjectType)
/* Likewise the function: the headers' inline one looks like no array to the compiler. */
extern PETHREAD(NTAPI *__imp_PsGetCurrentThread)(VOID);
#define KSHM_THIS_THREAD (__imp_PsGetCurrentThread())
#else
#define KSHM_EVENT_TYPE (*ExEventObjectType)
#define KSHM_THIS_THREAD PsGetCurrentThread()
#endif

#ifndef _NTIFS_
NTSYSAPI NTSTATUS NTAPI ZwOpenProcessTokenEx(HANDLE Process, ACCESS_MASK Access,
					     ULONG Attributes, PHANDLE Token);
NTSYSAPI NTSTATUS NTAPI ZwQueryInformationToken(HANDLE Token, ULONG Class, PVOID Information,
						ULONG Length, PULONG Needed);
NTKERNELAPI NTSTATUS NTAPI ObOpenObjectByPointer(PVOID Object, ULONG Attributes,
						 PACCESS_STATE State, ACCESS_MASK Access,
						 POBJECT_TYPE Type, KPROCESSOR_MODE Mode,
						 PHANDLE Handle);
NTKERNELAPI BOOLEAN NTAPI PsIsThreadTerminating(PETHREAD Thread);
NTSYSAPI NTSTATUS NTAPI ZwSetSecurityObject(HANDLE Handle, SECURITY_INFORMATION What,
					    PSECURITY_DESCRIPTOR Descriptor);
#endif

/* Shared words: fetched once, checked, and only then used. */
#ifdef __GNUC__
#define KshmRead32(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define KshmReadAcquire64(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define KshmWrite64(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define KshmWriteRelease64(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#else
#define KshmRead32(p) ReadULongNoFence((volatile ULONG *)(p))
#define KshmReadAcquire64(p) ReadULong64Acquire((volatile ULONG64 *)(p))
#define KshmWrite64(p, v) WriteULong64NoFence((volatile ULONG64 *)(p), v)
#define KshmWriteRelease64(p, v) WriteULong64Release((volatile ULONG64 *)(p), v)

/* The port of kshm_ring.h, which brings its own for GNU compilers. */
#define kshm_read(p) ReadULong64NoFence((volatile ULONG64 *)(p))
#define kshm_read_acquire(p) KshmReadAcquire64(p)
#define kshm_write(p, v) KshmWrite64(p, v)
#define kshm_publish(p, v) ((void)InterlockedExchange64((volatile LONG64 *)(p), (LONG64)(v)))
#define kshm_barrier() _ReadWriteBarrier()
#define kshm_increment(p) ((void)InterlockedIncrement64((volatile LONG64 *)(p)))
#endif

_Static_assert(sizeof(PVOID) == 8, "the kit is for 64-bit systems");

#endif /* KSHM_NT_H */
