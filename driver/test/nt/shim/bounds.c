// SPDX-License-Identifier: MIT
/*
 * bounds.c - what a program gets out of the kit, and what it can make the kit hold or do, has
 * bounds.
 */
#include "tests.h"
#include "../../../windows/kit.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define WAITS 64                   /* of one share: docs/windows.md */
#define REMEMBERED 4               /* ended shares of one open */
#define CONTROL_FORGETFUL 0x222404 /* the driver leaves *OutLength alone */

static struct nt_proc program = {.pid = (HANDLE)100, .user = 1};
static struct nt_file *file;
static struct nt_memory *memory;
static long rows;

static _Atomic int works;
static _Atomic bool held;

static void hold_work(void)
{
	works++;
	while (held)
		sched_yield();
}

static void wait_for_work(int n)
{
	while (works < n)
		sched_yield();
}

/* Asks for Work again and again while it runs: the second time changes nothing any more. */
static void ask_often(PKSHM_SHARE share)
{
	PKSHM_BODY body = KshmBody(share);
	KSHM_BODY once;
	int i;

	KshmQueue(share);
	once = *body;
	for (i = 0; i < 1000; i++) {
		KshmQueue(share);
		CHECK(!memcmp(&once, body, sizeof(once)));
	}
}

/* However often Work is asked for, nothing grows that could wrap, and it runs alone. */
static void test_work(void)
{
	struct nt_req *req = NULL;
	kshm_u32 reason;

	CHECK(share_begin(file, memory, 1, &req) == STATUS_PENDING);
	held = true;
	drv_in_work = hold_work;
	CHECK(call_kick(file, 1) == STATUS_SUCCESS);
	wait_for_work(1);
	while (!nt_dpc_idle())
		sched_yield();
	CHECK(drv_call(memory, ask_often));
	held = false;
	wait_for_work(2);
	settle();
	CHECK(works == 2);
	CHECK(drv_call(memory, KshmQueue));
	wait_for_work(3);
	settle();
	drv_in_work = NULL;
	CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS);
	nt_reap(req);
	rows++;
}

/* One WAIT more than a share takes is refused, until one of them is gone. */
static void test_waits(void)
{
	struct kshm_wait wait[WAITS + 1];
	struct nt_req *req = NULL, *waits[WAITS], *more = NULL;
	kshm_u32 reason;
	long pool;
	int i;

	CHECK(share_begin(file, memory, 1, &req) == STATUS_PENDING);
	memset(wait, 0, sizeof(wait));
	for (i = 0; i < WAITS; i++)
		CHECK(wait_begin(file, 1, &wait[i], &waits[i]) == STATUS_PENDING);
	pool = nt_pool;
	CHECK(wait_begin(file, 1, &wait[WAITS], &more) == STATUS_QUOTA_EXCEEDED);
	CHECK(nt_done(more) && more->information == 0 && nt_pool == pool);
	nt_reap(more);
	nt_cancel(waits[0]);
	CHECK(nt_wait(waits[0]) == STATUS_CANCELLED);
	nt_reap(waits[0]);
	CHECK(wait_begin(file, 1, &wait[0], &waits[0]) == STATUS_PENDING);
	CHECK(drv_call(memory, KshmNotify));
	for (i = 0; i < WAITS; i++) {
		CHECK(nt_wait(waits[i]) == STATUS_SUCCESS && wait[i].events == 1);
		nt_reap(waits[i]);
	}
	CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS);
	nt_reap(req);
	rows += 2;
}

static void end_with_ring(kshm_u64 cookie)
{
	struct kshm_share_args args;
	struct kshm_stats stats;
	struct nt_req *req = NULL;
	struct nt_call call;
	kshm_u32 reason;

	share_args(&args, &call, memory, cookie);
	args.rings[0] = (struct kshm_ring_group){
		.capacity = KSHM_RING_MIN_CAPACITY, .count = 1, .flags = KSHM_RING_TO_USER};
	CHECK(nt_ioctl(file, &call, &req) == STATUS_PENDING);
	CHECK(call_done(file, cookie, &reason) == STATUS_SUCCESS);
	nt_reap(req);
	settle();
	CHECK(call_stats(file, cookie, &stats) == STATUS_SUCCESS);
	CHECK(stats.rings[KSHM_RING_TO_USER].records == 1); /* the driver's, at the start */
}

/* Ended shares are remembered by their numbers alone, and only the last ones. */
static void test_remembered(void)
{
	long pool, items;
	int i;

	end_with_ring(1);
	pool = nt_pool;
	items = nt_items;
	for (i = 0; i < 64; i++) {
		end_with_ring(1);
		CHECK(nt_pool == pool && nt_items == items);
	}
	for (i = 0; i < 64; i++)
		end_with_ring(100 + i);
	CHECK(nt_items == 0);
	CHECK(nt_pool == pool + REMEMBERED - 1);
	rows += 2;
}

/* A driver that says nothing of its answer's length gives away nothing of the kernel's. */
static void test_answer(void)
{
	char out[200], in[] = "echo";
	ULONG_PTR written = 0;
	size_t i;

	CHECK(call_now(file, CONTROL_FORGETFUL, in, sizeof(in), out, sizeof(out), &written) ==
	      STATUS_SUCCESS);
	CHECK(written == sizeof(out) && !memcmp(out, in, sizeof(in)));
	for (i = sizeof(in); i < sizeof(out); i++)
		CHECK(out[i] == 0);
	rows++;
}

void test_bounds(void)
{
	nt_start_processors(2);
	memory = nt_memory(KSHM_RING_MIN_CAPACITY + KSHM_RING_CONTROL, true);
	nt_me->proc = &program;
	drv.MaxRings = 1;
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
	test_work();
	test_waits();
	test_remembered();
	test_answer();
	nt_close(file);
	settle();
	nt_unload();
	nt_check_leaks("after the bounds");
	printf("bounds: %ld rows\n", rows);
}
