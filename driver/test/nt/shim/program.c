// SPDX-License-Identifier: MIT
/*
 * program.c - what a program does with the device.
 */
#include "tests.h"
#include "sched.h"
#include <sched.h>

NTSTATUS status_of(enum kshm_reason reason)
{
	static const NTSTATUS of[] = {
		[KSHM_LIVE] = STATUS_PENDING,
		[KSHM_END_DONE] = STATUS_SUCCESS,
		[KSHM_END_CLOSED] = STATUS_FILE_CLOSED,
		[KSHM_END_EXIT] = STATUS_PROCESS_IS_TERMINATING,
		[KSHM_END_REVOKED] = STATUS_REQUEST_ABORTED,
		[KSHM_END_GONE] = STATUS_DEVICE_REMOVED,
		[KSHM_END_CORRUPT] = STATUS_DATA_ERROR,
		[KSHM_END_CANCELLED] = STATUS_CANCELLED,
	};

	return of[reason];
}

void share_args(struct kshm_share_args *args, struct nt_call *call, struct nt_memory *memory,
		kshm_u64 cookie)
{
	bool rw = memory->writable;

	*args = (struct kshm_share_args){
		.size = sizeof(*args),
		.address = (uintptr_t)memory->user,
		.length = memory->size,
		.cookie = cookie,
		.access = rw ? KSHM_ACCESS_READ | KSHM_ACCESS_WRITE : KSHM_ACCESS_READ,
	};
	*call = (struct nt_call){
		.code = rw ? KSHM_CTL_SHARE : KSHM_CTL_SHARE_READ,
		.in = args,
		.in_length = sizeof(*args),
		.out_length = (ULONG)memory->size,
		.memory = memory,
	};
}

NTSTATUS share_begin(struct nt_file *file, struct nt_memory *memory, kshm_u64 cookie,
		     struct nt_req **req)
{
	struct kshm_share_args args;
	struct nt_call call;

	share_args(&args, &call, memory, cookie);
	return nt_ioctl(file, &call, req);
}

NTSTATUS call_now(struct nt_file *file, ULONG code, const void *in, ULONG in_length, void *out,
		  ULONG out_length, ULONG_PTR *written)
{
	struct nt_call call = {.code = code,
			       .in = in,
			       .in_length = in_length,
			       .out = out,
			       .out_length = out_length};
	struct nt_req *req = NULL;
	NTSTATUS status;

	status = nt_ioctl(file, &call, &req);
	if (!req)
		return status;
	status = nt_wait(req);
	if (written)
		*written = req->information;
	nt_reap(req);
	return status;
}

NTSTATUS call_done(struct nt_file *file, kshm_u64 cookie, kshm_u32 *reason)
{
	struct kshm_share_cmd cmd = {.size = sizeof(cmd), .share = cookie};

	return call_now(file, KSHM_CTL_DONE, &cmd, sizeof(cmd), reason, sizeof(*reason), NULL);
}

NTSTATUS call_kick(struct nt_file *file, kshm_u64 cookie)
{
	struct kshm_share_cmd cmd = {.size = sizeof(cmd), .share = cookie};

	return call_now(file, KSHM_CTL_KICK, &cmd, sizeof(cmd), NULL, 0, NULL);
}

NTSTATUS call_stats(struct nt_file *file, kshm_u64 cookie, struct kshm_stats *stats)
{
	*stats = (struct kshm_stats){.size = sizeof(*stats), .share = cookie};
	return call_now(file, KSHM_CTL_STATS, stats, sizeof(*stats), stats, sizeof(*stats),
			NULL);
}

NTSTATUS wait_begin(struct nt_file *file, kshm_u64 cookie, struct kshm_wait *wait,
		    struct nt_req **req)
{
	struct nt_call call = {.code = KSHM_CTL_WAIT,
			       .in = wait,
			       .in_length = sizeof(*wait),
			       .out = wait,
			       .out_length = sizeof(*wait)};

	wait->size = sizeof(*wait);
	wait->flags = 0;
	wait->share = cookie;
	return nt_ioctl(file, &call, req);
}

static bool idle(void *unused)
{
	(void)unused;
	return nt_work_idle() && nt_dpc_idle();
}

void settle(void)
{
	if (nt_scheduled)
		sched_block(idle, NULL);
	while (!idle(NULL))
		sched_yield();
}
