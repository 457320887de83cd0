// SPDX-License-Identifier: MIT
/*
 * nt.h - the test's side of the shim: programs, their memory, handles and requests.
 *
 * The shim runs in one of two modes. Free: threads are processors, as under the sanitizers.
 * Scheduled: fibers on one thread, handed over at marked points only, so that every meeting of
 * two parts of the kit can be arranged and repeated (sched.c).
 */
#ifndef NT_H
#define NT_H

#include "fake/ntddk.h"
#include <pthread.h>
#include <stdbool.h>

/* A processor, or a fiber that stands for one. */
struct nt_cpu {
	KIRQL irql;
	int locks; /* spin locks held */
	struct nt_proc *proc;
	const char *name;
	uint64_t random;
	_Atomic bool killed;
};
extern __thread struct nt_cpu *nt_me;

struct nt_proc {
	HANDLE pid;
	int user;                                                  /* stands for the SID */
	bool wow64;                                                /* a 32-bit program */
	enum { NT_NOT_HELD, NT_DISABLED, NT_ENABLED } load_driver; /* SeLoadDriverPrivilege */
	_Atomic int locked;                                        /* pages */
	struct {
		struct nt_object *object;
		ACCESS_MASK access;
	} handles[8]; /* handle = 4 * (index + 1) */
};

/* Memory of a program, which the kernel can map a second time. */
struct nt_memory {
	char *user;      /* the program's view */
	char *kernel[2]; /* the kernel's: writable, read-only; no access unless mapped */
	size_t size;
	pthread_mutex_t lock;
	int mapped[2];
	bool writable; /* for the program */
	void *context; /* the test driver's, of the share made of it */
	void *last;    /* likewise, of the one before */
	struct nt_memory *next;
};

struct nt_file {
	FILE_OBJECT object;
	int handles;    /* guarded by nt_io_lock, like references */
	int references; /* handles, and requests that are not reaped */
	int access;     /* KSHM_FILE_* granted */
};

/* A request as the program sees it: an OVERLAPPED. */
struct nt_req {
	struct nt_file *file;
	struct nt_proc *proc;
	struct nt_irp *irp; /* guarded by lock; NULL once completed */
	pthread_mutex_t lock;
	KEVENT done;
	bool pended;
	NTSTATUS status; /* of the completion */
	ULONG_PTR information;
	ULONG code;
	void *out;
	ULONG out_length;
	struct nt_memory *memory;
};

/* What a call of DeviceIoControl passes. */
struct nt_call {
	ULONG code;
	const void *in;
	ULONG in_length;
	void *out; /* METHOD_BUFFERED */
	ULONG out_length;
	struct nt_memory *memory; /* METHOD_*_DIRECT: the out-buffer */
	ULONG64 offset;
};

/* nt_io.c */
NTSTATUS nt_load(NTSTATUS (*entry)(PDRIVER_OBJECT, PUNICODE_STRING));
void nt_unload(void);
bool nt_loaded(void);
NTSTATUS nt_open(int access, ULONG flags, PCWSTR below, struct nt_file **file);
void nt_duplicate(struct nt_file *file);
void nt_close(struct nt_file *file); /* one handle */
void nt_reference(struct nt_file *file);
void nt_release(struct nt_file *file);
extern _Atomic long nt_files;
NTSTATUS nt_ioctl(struct nt_file *file, const struct nt_call *call, struct nt_req **slot);
bool nt_done(struct nt_req *req);
NTSTATUS nt_wait(struct nt_req *req);
void nt_cancel(struct nt_req *req);
void nt_reap(struct nt_req *req); /* waits first */
struct nt_memory *nt_memory(size_t size, bool writable);
struct nt_memory *nt_memory_at(PVOID kernel);
extern void (*nt_on_complete)(struct nt_req *req);

/* nt_ke.c */
void nt_start_processors(int workers);
void nt_raise(KIRQL irql);
void nt_cpu_init(struct nt_cpu *cpu, const char *name, struct nt_proc *proc);
bool nt_block(bool (*ready)(void *), void *arg, void *key, int64_t timeout_ns);
void nt_wake(void *key);
void nt_require(KIRQL most, const char *where);
bool nt_event_peek(PKEVENT event);
uint64_t nt_random(void);
bool nt_work_idle(void);
bool nt_work_waits(void);
bool nt_dpc_waits(void);
bool nt_work_once(void);
bool nt_dpc_idle(void);
bool nt_dpc_once(void);

/* nt_ob.c */
extern _Atomic long nt_fail_in; /* the nth call that can fail fails; 0: none */
bool nt_fails(const char *where);
extern ULONG nt_registry_kind; /* what the class key holds: see nt_ob.c */
PKEVENT nt_named_event(void);
HANDLE nt_event_handle(struct nt_proc *proc, ACCESS_MASK access);
PKEVENT nt_event_of(struct nt_proc *proc, HANDLE handle);
void nt_reference_event(PKEVENT event);
void nt_release_event(PKEVENT event);
HANDLE nt_other_handle(struct nt_proc *proc);
void nt_close_handle(struct nt_proc *proc, HANDLE handle);
void nt_process_exit(struct nt_proc *proc);
extern struct nt_proc nt_system;
void nt_check_leaks(const char *when);
extern _Atomic long nt_pool, nt_kernel_handles, nt_references, nt_items, nt_locked, nt_irps;
extern UCHAR nt_descriptor[256];
extern ULONG nt_descriptor_length;

/* sched.c */
extern bool nt_scheduled;

#endif /* NT_H */
