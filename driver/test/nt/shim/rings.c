// SPDX-License-Identifier: MIT
/*
 * rings.c - rings in a share, as the kit makes them; and statuses of the driver's that must not
 * go out as they are.
 */
#include "tests.h"
#include <stdio.h>
#include <string.h>

#define CAPACITY KSHM_RING_MIN_CAPACITY
#define STRIDE (CAPACITY + KSHM_RING_CONTROL)

static struct nt_proc program = {.pid = (HANDLE)100, .user = 1};
static struct nt_file *file;
static struct nt_memory *memory;
static long rows;

/* Two rings to the kernel, and one back behind them. */
static const struct kshm_ring_group good[KSHM_RING_GROUPS] = {
	{.offset = 0, .capacity = CAPACITY, .count = 2},
	{.offset = 2 * STRIDE, .capacity = CAPACITY, .count = 1, .flags = KSHM_RING_TO_USER},
};

static NTSTATUS share_rings(const struct kshm_ring_group *table, struct nt_req **req)
{
	struct kshm_share_args args;
	struct nt_call call;

	share_args(&args, &call, memory, 1);
	memcpy(args.rings, table, sizeof(args.rings));
	return nt_ioctl(file, &call, req);
}

static void refuse(const struct kshm_ring_group *table, NTSTATUS expected, const char *what)
{
	struct nt_req *req = NULL;
	NTSTATUS status = share_rings(table, &req);

	rows++;
	if (status != expected)
		nt_bug("status", "%s: %#x instead of %#x", what, (unsigned)status,
		       (unsigned)expected);
	nt_reap(req);
}

static void test_tables(void)
{
	struct kshm_ring_group table[KSHM_RING_GROUPS];

#define BAD(change, status, what)                                                              \
	do {                                                                                   \
		memcpy(table, good, sizeof(table));                                            \
		change;                                                                        \
		refuse(table, status, what);                                                   \
	} while (0)
	BAD(table[0].capacity = CAPACITY + 8, STATUS_INVALID_PARAMETER, "capacity");
	BAD(table[0].capacity = 0, STATUS_INVALID_PARAMETER, "capacity 0");
	BAD(table[0].capacity = 1u << 31, STATUS_INVALID_PARAMETER, "capacity beyond all");
	BAD(table[0].count = 0, STATUS_INVALID_PARAMETER, "count 0");
	BAD(table[0].count = ~0u, STATUS_INVALID_PARAMETER, "count all ones");
	BAD(table[0].flags = 2, STATUS_INVALID_PARAMETER, "flags");
	BAD(table[1].reserved = 1, STATUS_INVALID_PARAMETER, "reserved");
	BAD(table[1].offset++, STATUS_INVALID_PARAMETER, "offset misaligned");
	BAD(table[1].offset = ~0ull << 12, STATUS_INVALID_PARAMETER, "offset beyond the share");
	BAD(table[1].offset = STRIDE, STATUS_INVALID_PARAMETER, "overlap");
	BAD(table[1].count = 2, STATUS_INVALID_PARAMETER, "beyond the share");
	BAD(table[7].flags = 1, STATUS_INVALID_PARAMETER, "flags of an unused entry");
	drv.MaxRings = 2;
	BAD((void)0, STATUS_INVALID_BUFFER_SIZE, "more than the driver takes");
	drv.MaxRings = 0;
	BAD((void)0, STATUS_NOT_SUPPORTED, "a driver without rings");
	drv.MaxRings = 3;
#undef BAD
}

static struct kshm_ring_control *control(ULONG ring)
{
	return (struct kshm_ring_control *)(memory->user + (size_t)ring * STRIDE);
}

/* STATS counts the driver's record, whatever the program writes to the statistics page. */
static void test_counted(void)
{
	struct {
		struct kshm_stats stats;
		kshm_u64 more;
	} answer;
	const struct kshm_ring_counters *to_user = &answer.stats.rings[KSHM_RING_TO_USER];
	ULONG old = KSHM_STATS_1_0;

	memset(&control(2)->producer_show, 0xff, sizeof(control(2)->producer_show));
	CHECK(call_stats(file, 1, &answer.stats) == STATUS_SUCCESS);
	CHECK(answer.stats.size == sizeof(answer.stats));
	CHECK(to_user->records == 1 && to_user->bytes == 8 && to_user->drops == 0);
	CHECK(answer.stats.rings[KSHM_RING_TO_KERNEL].records == 0);

	memset(&answer, 0xa5, sizeof(answer));
	answer.stats = (struct kshm_stats){.size = old, .share = 1};
	answer.stats.rings[0].records = 5;
	CHECK(call_now(file, KSHM_CTL_STATS, &answer, old, &answer, old, NULL) ==
	      STATUS_SUCCESS);
	CHECK(answer.stats.size == old && answer.stats.length == memory->size);
	CHECK(answer.stats.rings[0].records == 5);
	rows += 2;
}

/* The program's positions of before are gone; the driver's record is there. */
static void test_formatted(void)
{
	struct nt_req *req = NULL;
	struct kshm_info info = {.size = sizeof(info)};
	struct kshm_consumer consumer;
	kshm_u32 reason, length = 0;

	CHECK(call_now(file, KSHM_CTL_INFO, &info, sizeof(info), &info, sizeof(info), NULL) ==
	      STATUS_SUCCESS);
	CHECK(info.features & KSHM_FEATURE_RINGS);
	memset(memory->user, 0xff, memory->size);
	CHECK(share_rings(good, &req) == STATUS_PENDING);
	CHECK(control(1)->magic == KSHM_RING_MAGIC && control(1)->index == 1);
	CHECK(control(2)->flags == KSHM_RING_TO_USER && control(2)->capacity == CAPACITY);
	CHECK(control(0)->producer.position == 0 && control(0)->consumer.position == 0);
	kshm_consumer_init(&consumer, memory->user, &good[1], 0);
	CHECK(kshm_consumer_next(&consumer, &length) && length == 8);
	test_counted();
	CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS && reason == KSHM_END_DONE);
	nt_reap(req);
	rows++;
}

/* A word that breaks the protocol ends the share, with its place and what is wrong. */
static void test_corrupt(void)
{
	struct nt_req *req = NULL;
	struct kshm_stats stats;
	kshm_u32 reason;

	CHECK(share_rings(good, &req) == STATUS_PENDING);
	control(1)->producer.position = 12;
	CHECK(call_kick(file, 1) == STATUS_SUCCESS);
	CHECK(nt_wait(req) == STATUS_DATA_ERROR);
	nt_reap(req);
	CHECK(call_stats(file, 1, &stats) == STATUS_SUCCESS);
	CHECK(stats.corrupt_why == KSHM_CORRUPT_UNALIGNED);
	CHECK(stats.corrupt_offset ==
	      (kshm_u64)((char *)&control(1)->producer.position - memory->user));
	CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS && reason == KSHM_END_CORRUPT);
	rows++;
}

/* A read-only share takes no rings: the kernel could not write its positions. */
static void test_read_only(void)
{
	struct kshm_share_args args;
	struct nt_req *req = NULL;
	struct nt_call call;

	share_args(&args, &call, memory, 1);
	memcpy(args.rings, good, sizeof(args.rings));
	args.access = KSHM_ACCESS_READ;
	call.code = KSHM_CTL_SHARE_READ;
	CHECK(nt_ioctl(file, &call, &req) == STATUS_INVALID_PARAMETER);
	nt_reap(req);
	rows++;
}

/* A driver that breaks the rule about statuses breaks nothing else. */
static void test_verdicts(void)
{
	static const NTSTATUS wrong[] = {STATUS_PENDING, STATUS_BUFFER_OVERFLOW};
	struct nt_req *req;
	kshm_u32 reason;
	int i;

	for (i = 0; i < 2; i++) {
		drv_control_status = wrong[i];
		CHECK(call_now(file, 0x222400, NULL, 0, NULL, 0, NULL) ==
		      STATUS_INTERNAL_ERROR);
		drv_control_status = STATUS_SUCCESS;
		drv_share_status = wrong[i];
		req = NULL;
		CHECK(share_begin(file, memory, 1, &req) == STATUS_INTERNAL_ERROR);
		nt_reap(req);
		drv_share_status = STATUS_SUCCESS;
		CHECK(share_begin(file, memory, 1, &req) == STATUS_PENDING);
		drv_kick_status = wrong[i];
		CHECK(call_kick(file, 1) == STATUS_INTERNAL_ERROR);
		drv_kick_status = STATUS_SUCCESS;
		CHECK(call_done(file, 1, &reason) == STATUS_SUCCESS);
		nt_reap(req);
		rows += 3;
	}
}

void test_rings(void)
{
	nt_start_processors(2);
	memory = nt_memory(3 * STRIDE, true);
	nt_me->proc = &program;
	drv.MaxRings = 3;
	CHECK(NT_SUCCESS(nt_load(DriverEntry)));
	CHECK(NT_SUCCESS(nt_open(3, 0, NULL, &file)));
	test_tables();
	test_formatted();
	test_corrupt();
	test_read_only();
	test_verdicts();
	nt_close(file);
	settle();
	nt_unload();
	nt_check_leaks("after the rings");
	printf("rings: %ld rows\n", rows);
}
