// SPDX-License-Identifier: MIT
/*
 * fail.c - each call that can fail fails once: loading and sharing are refused with a status
 * that says so, and nothing is left behind.
 */
#include "tests.h"
#include <stdio.h>

static struct nt_memory *memory;

static bool is_refusal(NTSTATUS status)
{
	return status == STATUS_INSUFFICIENT_RESOURCES || status == STATUS_ACCESS_DENIED ||
	       status == STATUS_OBJECT_NAME_COLLISION || status == STATUS_INVALID_PARAMETER;
}

/* A whole life, with the nth fallible call failing. False if it did not come to that. */
static bool live(long nth)
{
	HANDLE event = nt_event_handle(nt_me->proc, EVENT_MODIFY_STATE);
	struct kshm_share_args args;
	struct nt_req *req = NULL;
	struct nt_call call;
	struct nt_file *file;
	NTSTATUS status;
	kshm_u32 reason;
	bool failed;

	nt_fail_in = nth;
	status = nt_load(DriverEntry);
	if (!NT_SUCCESS(status)) {
		CHECK(is_refusal(status));
		goto out;
	}
	status = nt_open(3, 0, NULL, &file);
	if (NT_SUCCESS(status)) {
		share_args(&args, &call, memory, 1);
		args.event = (uintptr_t)event;
		args.rings[0] = (struct kshm_ring_group){
			.capacity = KSHM_RING_MIN_CAPACITY, .count = 1, .flags = nth & 1};
		status = nt_ioctl(file, &call, &req);
		if (status == STATUS_PENDING)
			CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS);
		nt_reap(req);
		nt_close(file);
	}
	CHECK(status == STATUS_PENDING || is_refusal(status));
	nt_unload();
out:
	failed = nt_fail_in == 0;
	nt_fail_in = 0;
	nt_close_handle(nt_me->proc, event);
	settle();
	nt_check_leaks("after a failure");
	return failed;
}

void test_fail(void)
{
	long n, total = 0;

	nt_start_processors(2);
	drv.MaxRings = 1;
	memory = nt_memory(3 * PAGE_SIZE, true);
	for (nt_registry_kind = 0; nt_registry_kind < 3; nt_registry_kind++) {
		for (n = 1; live(n); n++)
			total++;
	}
	printf("fail: %ld points\n", total);
	CHECK(total > 30);
}
